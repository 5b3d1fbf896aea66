/* The opening of a volume, shared by the files that do its steps:
 *
 *   volume_take.c   OWNER       owner_tag and `owner` are read
 *                   CLAIM       the registry elects us: an epoch above all that is known
 *                   TAKE        [both are as read] + ours: no put of an earlier life can land now
 *   volume_open.c   ROOT, LIST  nobody but us adds objects any more
 *                   CHAIN       SCOs behind the root's prefix; which of them follow each other
 *   volume_load.c   MAP         the local store is used when its root and place fit, else rebuilt:
 *                   PARTS, TRAILERS  from the checkpoint and the SCOs behind it
 *   volume_merge.c  JOURNAL     what it holds beyond the chain
 *                   RECORD      the epoch goes into the journal, durable; then requests are taken
 *
 * A failure ends the opening; nothing is half open, and the next one starts anew with the next
 * epoch. */
#ifndef VOLUMEDRIVER_VOLUME_OPENING_H
#define VOLUMEDRIVER_VOLUME_OPENING_H

#include "volumedriver/owner.h"
#include "volumedriver/volume_chain.h"
#include "volumedriver/volume_private.h"

enum { VOLUME_TAG_BYTES = 8 };

struct volume_opening {
    struct volume *v;
    volume_open_cb cb;
    void *ctx;
    bool retake; /* only OWNER to TAKE and RECORD: the volume goes on meanwhile */
    bool remap;  /* only LIST to MAP, the volume is open; up to `upto` */
    unsigned map_errors;
    uint64_t upto; /* SCOs behind it are not for this map */
    bool claimed;
    bool loss_accepted;
    struct backend_req req;
    struct backend_slice slice;
    uint8_t tag[VOLUME_TAG_BYTES]; /* as read */
    uint8_t owner[OWNER_BYTES];
    uint8_t owner_before[OWNER_BYTES]; /* as it was when we claimed */
    uint8_t new_tag[VOLUME_TAG_BYTES];
    uint8_t new_owner[OWNER_BYTES];
    struct owner before;
    uint32_t root_epoch; /* the root has a higher one than was claimed first; else 0 */
    struct volume_judgement judgement;
    struct owner after;
    struct buf data; /* an object, or a part of it */
    struct chain chain;
    struct buf parts; /* names of m_ objects, each with its NUL */
    struct buf garbage;
    char after_name[SCO_NAME_BYTES];
    struct map_task task;
    struct checkpoint_reader reader;
    struct checkpoint_run run; /* what is left of the last one read */
    struct journal_append record;
    uint32_t next; /* part, or link of the chain */
};

void volume_opening_end(struct volume_opening *o, int rc);
void volume_opening_fail(struct volume_opening *o, int rc, const struct err *why, const char *what);

void volume_take(struct volume_opening *o);      /* from OWNER on, also once more */
void volume_read_root(struct volume_opening *o); /* it is ours */
void volume_load_map(struct volume_opening *o);
void volume_merge_journal(struct volume_opening *o);
void volume_record_epoch(struct volume_opening *o);

/* volume_sweep.c: delete `names` (some), takes them over; `cb` when they are gone, or one failed.
 */
typedef void (*volume_sweep_cb)(void *ctx, int rc, const struct err *why);
void volume_sweep_await(struct volume *v, struct buf *names, volume_sweep_cb cb, void *ctx);

#endif
