/* Looks into the home of an ASD that does not run: does the index fit the slabs, does every value
 * lie where its record says? FORMAT.md says what has to hold.
 *
 * Reads only: nothing in the home changes but access times. Memory: 1/8192 of what is in use in
 * slabs. One thread; blocks. */
#ifndef ASD_INSPECT_H
#define ASD_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asd/record.h"
#include "base/err.h"
#include "loop/io.h"

enum { ASD_FINDINGS_MAX = 1000 }; /* kept; more are counted */

enum asd_finding_kind {
    ASD_FINDING_DAMAGE,
    ASD_FINDING_SETTLED, /* what a crash may leave: the next start settles it */
    ASD_FINDING_NOTE,
    ASD_FINDING_KINDS
};

struct asd_finding {
    enum asd_finding_kind kind;
    bool has_key;
    struct slice key; /* owned; the client's, of the value it is about */
    char *text;
};

struct asd_inspect_options {
    const char *home;
    bool verify; /* read every value and compare its checksums */
    /* Bytes of slabs read, while values are verified; NULL: nobody asks. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *ctx;
    struct io *io; /* for all but the index; NULL: the operating system */
};

struct asd_inspected_slab {
    uint64_t number;
    bool has_file;
    bool has_record; /* of which these are: */
    struct asd_slab_record record;
    uint64_t live_bytes; /* sum over the values that name it */
    uint64_t free_bytes; /* to be punched */
    uint64_t values;
};

struct asd_inspection {
    char *asd_id; /* NULL: not known */
    char *node_id;
    uint8_t store_id[ASD_STORE_ID_BYTES];
    bool is_whole; /* all was looked at; else a finding says why not */

    struct asd_usage_record usage;
    uint64_t marked_commit;
    uint64_t used_bytes; /* what all values cost */
    uint64_t values;
    uint64_t slab_values; /* of them, in slabs */
    uint64_t free_records;
    uint64_t names;
    uint64_t read_values; /* verified */
    uint64_t read_bytes;

    struct asd_inspected_slab *slabs; /* by number */
    size_t slab_count;

    struct asd_finding *findings; /* as they were found */
    size_t finding_count;
    uint64_t counts[ASD_FINDING_KINDS];
};

/* 0: it was looked at, and *ret_inspection says what was found; release it. Else it could not be:
 * ERR_BUSY when an ASD uses the home, ERR_NOT_FOUND when there is no store, ERR_VERSION when newer
 * software wrote it, -EACCES, -EMFILE and the like when that says nothing about the home. */
int asd_inspect(const struct asd_inspect_options *options, struct asd_inspection *ret_inspection,
                struct err *e);
void asd_inspection_release(struct asd_inspection *inspection);

#endif
