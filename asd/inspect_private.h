/* What the parts of an inspection share. Private to inspect*.c. */
#ifndef ASD_INSPECT_PRIVATE_H
#define ASD_INSPECT_PRIVATE_H

#include "asd/home.h"
#include "asd/index.h"
#include "asd/inspect.h"
#include "base/table.h"

/* What is said of a page of a slab; four bits each. */
enum page_bits { PAGE_VALUE = 1, PAGE_FREE = 2, PAGE_VALUE_BEGINS = 4, PAGE_NAME = 8 };

struct inspect_slab {
    struct asd_inspected_slab seen;
    uint8_t **pages; /* chunk by chunk; NULL: all 0 */
    size_t chunk_count;
    int fd;      /* -1: closed */
    bool usable; /* there is a file, and it is this slab's */
    UT_hash_handle hh;
};

struct inspect {
    const struct asd_inspect_options *options;
    struct asd_inspection *out;
    struct asd_home home; /* paths and identity */
    struct asd_index *index;
    struct inspect_slab *slabs;
    unsigned open_files;
    uint8_t *chunk;        /* to read into */
    uint64_t bad_values;   /* value records that cannot be read: sums are short of them */
    uint64_t nameless;     /* values in slabs without a name record */
    uint64_t bytes_wanted; /* to be verified */
};

/* ---- inspect.c ---- */

void inspect_found(struct inspect *in, enum asd_finding_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void inspect_found_key(struct inspect *in, enum asd_finding_kind kind, struct slice client_key,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* `rc` says something about what is stored. Else it could not be looked at, by want of rights,
 * descriptors, a path to the device or newer software: advice to delete would be wrong. */
bool inspect_is_damage(int rc);

/* ---- inspect_record.c ---- */

/* All records but store and usage, and with them the slab files. Fails when it could not be looked
 * at. */
int inspect_records(struct inspect *in, struct err *e);

/* ---- inspect_slab.c ---- */

struct inspect_slab *inspect_slab_find(struct inspect *in, uint64_t number);
struct inspect_slab *inspect_slab_add(struct inspect *in, uint64_t number,
                                      const struct asd_slab_record *record);
/* Files and records of slabs, one with the other. All records are loaded. */
int inspect_slab_files(struct inspect *in, struct err *e);
/* Sets `bits` on these pages, which lie in the slab; returns what any of them had before. */
unsigned inspect_slab_mark(struct inspect_slab *slab, uint64_t offset, uint64_t bytes,
                           unsigned bits);
unsigned inspect_slab_bits(const struct inspect_slab *slab, uint64_t offset);
/* Sums against the records; names against values. All values are loaded. */
void inspect_slab_totals(struct inspect *in);
void inspect_slabs_release(struct inspect *in);
/* Negative: it cannot be opened. */
int inspect_slab_fd(struct inspect *in, struct inspect_slab *slab);

/* ---- inspect_value.c ---- */

/* One value record as the index has it. Fails when it could not be looked at. */
int inspect_value(struct inspect *in, struct slice index_key, struct slice record, struct err *e);

#endif
