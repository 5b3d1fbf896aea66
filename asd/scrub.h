/* The scrub: reads every value in the background, so that rot is found while other copies are
 * there to repair it from.
 *
 * A pass goes through all values in the order of their keys. Of each it checks the record, the
 * slab, the bytes against our CRC-32C and, where the store verifies checksums, the client's;
 * slabs are read past the page cache, where the file system can. The order of keys rather than
 * that of the disk: one key says how far a pass has come, whatever is written, deleted or moved
 * meanwhile, and no list of what lies where has to be held; on a disk with heads it costs a seek
 * per value, which at `rate` is a few in a second. Reads are Low and come by the MiB, a value
 * longer than that at once; then it waits until `rate` bytes per second are met.
 *
 * Loop thread; the work is done in the store's read pool. Memory: a MiB, and what it lists. */
#ifndef ASD_SCRUB_H
#define ASD_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "asd/verify.h"
#include "base/buf.h"
#include "base/err.h"

enum { ASD_SCRUB_LIST_MAX = 100 };

struct asd_scrub;
struct asd_store;
struct json_t;
typedef void (*asd_scrub_close_cb)(void *ctx);

struct asd_scrub_settings {
    uint64_t rate;       /* bytes per second; 0: it does not run */
    uint64_t interval_s; /* from the end of a pass to the next; not the time an ASD is down */
};

/* Goes on where an earlier process stopped. Blocks; call it before the loop serves anybody. */
int asd_scrub_new(struct asd_store *store, const struct asd_scrub_settings *settings,
                  struct asd_scrub **ret_scrub, struct err *e);
void asd_scrub_set(struct asd_scrub *scrub, const struct asd_scrub_settings *settings);
/* Begin a pass if none is under way. ERR_BUSY: the rate is 0. */
int asd_scrub_now(struct asd_scrub *scrub, struct err *e);
/* Ends what runs, notes how far it came, `cb`. Before the store is closed. */
void asd_scrub_close(struct asd_scrub *scrub, asd_scrub_close_cb cb, void *ctx);

/* A bad value of the pass under way, or of the last one. */
struct asd_scrub_bad {
    char *key; /* as asd_key_text() */
    enum asd_bad kind;
    char *why;
};

struct asd_scrub_stats {
    bool running;
    uint64_t pass, keys, bytes, cost_bytes, bad; /* as in struct asd_scrub_record */
    uint64_t started_s, ended_s, last_bad, paused_s;
    uint64_t total_keys, total_bytes; /* by this process */
    uint64_t bad_by_kind[ASD_BADS];   /* of the pass, as far as this process did it */
};
struct asd_scrub_stats asd_scrub_stats(const struct asd_scrub *scrub);
/* The first ASD_SCRUB_LIST_MAX that this process found. */
const struct asd_scrub_bad *asd_scrub_list(const struct asd_scrub *scrub, unsigned *ret_count);

/* For /status and /metrics. scrub_status.c */
struct json_t *asd_scrub_status(const struct asd_scrub *scrub);
void asd_scrub_collect(const struct asd_scrub *scrub, struct buf *out);

#endif
