/* The mark: how many commits have been acknowledged, at least, told outside the index.
 *
 * RocksDB cannot tell a log that lost acknowledged commits at its end from one that never had
 * them. So after every durable commit its number is written here, not flushed: it costs no
 * device flush, is exact after a kill, and after a power loss it is at most as old as the
 * kernel's write-back. It is never ahead of what was durable. Layout: FORMAT.md, "commits".
 * Blocking calls; one thread writes while another flushes, else one thread at a time. */
#ifndef ASD_MARK_H
#define ASD_MARK_H

#include <stdint.h>

#include "asd/home.h"
#include "base/err.h"

enum { ASD_MARK_SLOT_BYTES = 4096, ASD_MARK_SLOTS = 2, ASD_MARK_BYTES = 48 };

struct asd_mark {
    struct io *io;
    int fd; /* -1: closed */
    uint8_t store_id[ASD_STORE_ID_BYTES];
};

/* The highest number in a sound slot; 0 when there is none: a home of older software, or a
 * fresh one. */
int asd_mark_read(const struct asd_home *home, uint64_t *ret_commit, struct err *e);
/* Made if absent. Without room for that, nothing is marked: fd stays -1, as the caller set it. */
int asd_mark_open(struct asd_mark *mark, const struct asd_home *home, struct err *e);
/* Commit `commit` is durable. */
int asd_mark_write(struct asd_mark *mark, uint64_t commit, struct err *e);
/* What was written is durable. -EIO: it may never be. *e has the cause. */
int asd_mark_flush(struct asd_mark *mark, struct err *e);
void asd_mark_close(struct asd_mark *mark); /* flushes; {.fd = -1} is fine */

/* One slot as bytes. */
void asd_mark_encode(uint8_t ret_data[ASD_MARK_BYTES], const uint8_t *store_id, uint64_t commit);
/* ERR_CORRUPT: no sound slot, or another store's. ERR_VERSION. */
int asd_mark_decode(const uint8_t data[ASD_MARK_BYTES], const uint8_t *store_id,
                    uint64_t *ret_commit, struct err *e);

#endif
