/* Slab files: where values of 16 KiB and more live, and who may still be looking at them.
 *
 * The commit thread places, writes and flushes; any thread pins and reads; the reclaim
 * thread punches what nobody can see any more. Layout and the rule for punching:
 * FORMAT.md, "Slab file" and "A range is punched when". */
#ifndef ASD_SPACE_H
#define ASD_SPACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "asd/home.h"
#include "asd/record.h"
#include "asd/space_direct.h"
#include "base/err.h"
#include "base/list.h"
#include "base/table.h"

enum { ASD_PIN_SIDES = 2 };

struct asd_slab {
    uint64_t number;
    uint64_t size_bytes;

    uint64_t tail; /* these: commit thread (and start-up) */
    uint64_t live_bytes;
    bool sealed;
    bool dirty;          /* written and not flushed */
    struct list changed; /* in asd_space.changed: its record goes into the batch */

    uv_mutex_t flush_lock; /* flushes of one file take turns */
    bool flush_failed;     /* under flush_lock */
    bool header_lost;      /* set before fd: the device cannot read it; only to be read */
    bool unpunched;        /* reclaim thread: it has told that it cannot punch here */

    int fd;    /* these: under asd_space.lock; fd is -1 until first used */
    bool kept; /* set at start-up: with its tail, for this run (torn.h) */
    bool dead;
    uint64_t live_shown;  /* live_bytes, as of the last commit that changed them */
    bool sparse;          /* little lives in it: worth emptying */
    uint64_t stuck_above; /* not 0: it could not be emptied; left alone while more lives there */
    unsigned refs;        /* pins, frees, and 1 while in asd_space.slabs */
    unsigned side;        /* new pins take this one */
    unsigned pins[ASD_PIN_SIDES];
    struct list gathering; /* frees that wait for the sides to swap */
    struct list waiting;   /* frees that wait for pins[!side] to end */
    struct list link;      /* in asd_space.dead */
    struct list among;     /* in asd_space.sparse */
    UT_hash_handle hh;
};

/* A byte range that no value names any more. */
struct asd_free {
    struct list link;
    struct asd_slab *slab; /* holds a ref */
    uint64_t offset;
    uint64_t bytes;
};

struct asd_pin {
    struct asd_slab *slab; /* NULL: pins nothing */
    unsigned side;
};

struct asd_place {
    struct asd_slab *slab; /* NULL: none given */
    uint64_t offset;
    uint64_t bytes; /* aligned */
};

/* These: any thread; must not call back into here. */
typedef void (*asd_space_ready_cb)(void *ctx);
typedef void (*asd_space_lost_cb)(void *ctx, uint64_t slab, int rc); /* a header, for `rc` */

struct asd_space {
    struct io *io;
    const struct asd_home *home; /* borrowed */
    uint64_t slab_bytes;
    unsigned sparse_part; /* sparse: no more than one n-th of what was written lives */

    struct asd_slab *active; /* these: commit thread; active may be NULL */
    struct asd_space_direct direct;
    uint64_t next_slab;
    struct list changed;

    atomic_uint_fast64_t freed_seq; /* counts published batches with frees; changed under lock */
    uv_mutex_t lock;
    struct asd_slab *slabs;          /* these: under lock */
    struct list ready;               /* frees to be punched */
    struct list dead;                /* slabs to be dropped */
    struct list sparse;              /* slabs worth emptying */
    uint64_t stuck_count;            /* of them, could not be emptied */
    uint64_t pending, pending_bytes; /* frees not punched, slabs not dropped; of the frees */
    uint64_t room_shown;             /* behind the tail of the active slab, as of the last commit */
    asd_space_ready_cb on_ready;
    asd_space_lost_cb on_lost;
    void *ctx; /* of both */

    uv_mutex_t open_lock; /* one thread opens a slab's file */
};

/* What is 0 of `slab_bytes` and `sparse_part` gets a default. */
void asd_space_init(struct asd_space *s, const struct asd_home *home, uint64_t slab_bytes,
                    unsigned sparse_part, asd_space_ready_cb on_ready, asd_space_lost_cb on_lost,
                    void *ctx);
/* Closes files. Nobody may hold a pin. */
void asd_space_release(struct asd_space *s);

/* ---- start-up ---- */
int asd_space_load_slab(struct asd_space *s, uint64_t number, const struct asd_slab_record *r,
                        struct err *e);
int asd_space_load_free(struct asd_space *s, uint64_t number, uint64_t offset, uint64_t bytes,
                        struct err *e);
/* Unlinks files that no record names, punches behind the tail; later if `is_torn` (torn.h). */
int asd_space_recover(struct asd_space *s, bool is_torn, struct err *e);

/* ---- commit thread ---- */

/* Room for `bytes`, in the next slab if need be. -ENOSPC: no room for that. */
int asd_space_place(struct asd_space *s, uint32_t bytes, struct asd_place *ret_place,
                    struct err *e);
int asd_space_write(struct asd_space *s, const struct asd_place *place, const void *data,
                    uint32_t bytes, uint32_t *ret_crc /* CRC-32C of data */, struct err *e);
/* fdatasync of every slab written since; adds their number to *count. */
int asd_space_flush(struct asd_space *s, uint64_t *count, struct err *e);
void asd_space_name(struct asd_space *s, const struct asd_place *place); /* a value names it */
/* Push a free onto `frees`; `named`: of what a value names. ERR_CORRUPT: the slab counts less. */
int asd_space_free(struct asd_space *s, uint64_t number, uint64_t offset, uint64_t bytes,
                   bool named, struct list *frees, struct err *e);
struct asd_slab_record asd_slab_record_of(const struct asd_slab *slab);
/* The batch with these frees, and the records of all changed slabs, is durable. */
void asd_space_publish(struct asd_space *s, struct list *frees);

/* ---- any thread ---- */

/* Take this before a look-up, give it to asd_space_pin() after it. */
uint64_t asd_space_seq(struct asd_space *s);
/* -EAGAIN: something was freed meanwhile, look up again. ERR_CORRUPT: no such slab. */
int asd_space_pin(struct asd_space *s, uint64_t number, uint64_t seq, struct asd_pin *ret_pin);
void asd_space_unpin(struct asd_space *s, struct asd_pin *pin);
int asd_space_read(struct asd_space *s, struct asd_slab *slab, uint64_t offset, void *ret_data,
                   size_t bytes, struct err *e);
/* Does the file reach that far? 0, ERR_CORRUPT, or why not. */
int asd_space_check(struct asd_space *s, struct asd_slab *slab, uint64_t end, struct err *e);
uint64_t asd_space_pending(struct asd_space *s);
uint64_t asd_space_slab_count(struct asd_space *s);

#endif
