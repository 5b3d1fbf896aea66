/* One node of a simulation: a disk, a journal on it, a map store, and at most one volume that it
 * has open through a simulated backend. Blocking helpers run the loop until they are done. */
#ifndef TESTS_LIB_VOL_NODE_H
#define TESTS_LIB_VOL_NODE_H

#include "lib/crash_disk.h"
#include "lib/vol_backend.h"
#include "lib/vol_io.h"
#include "volumedriver/volume_open.h"

struct vol_registry { /* gives epochs, keeps the verdict */
    uint32_t epoch;
    void (*claimed)(void *ctx); /* what happens between the claim and its answer; may be NULL */
    void *ctx;
    unsigned slow_turns; /* of the loop, before a claim is answered */
    struct volume_verdict verdict;
    bool judge_fails; /* a judgement is not stored … */
    bool judge_lost;  /* … or is, and the answer gets lost */
};

/* A backend in place of struct vol_backend. */
struct vol_link {
    struct backend *(*open)(void *ctx);
    void (*kill)(void *ctx);  /* nothing more goes out, all that is under way ends in doubt */
    void (*close)(void *ctx); /* every request was answered */
    void *ctx;
};

struct vol_node {
    struct vol_store *store;     /* NULL when there is a link */
    const struct vol_link *link; /* or NULL */
    struct vol_registry *registry;
    struct crash_disk *disk;
    struct vol_io io;
    char map_dir[64];
    uv_loop_t *loop; /* own_loop, or of whoever made the node */
    uv_loop_t own_loop;

    bool up;
    struct later later;
    struct journal *journal;
    struct map *map;
    struct pool *pool;
    struct volume_host host;
    struct vol_backend backend;
    struct volume *volume;
    bool accept_loss;
    uint64_t segment_bytes; /* of a new journal */
    uint64_t journal_bytes;
    unsigned pending; /* of the helpers */
    int rc;
};

extern const uint8_t vol_uuid[16];

void vol_node_init(struct vol_node *n, struct vol_store *s, struct vol_registry *r, uint64_t seed);
/* On somebody's loop, with somebody's backend; both outlive the node. */
void vol_node_init_on(struct vol_node *n, uv_loop_t *loop, const struct vol_link *link,
                      struct vol_registry *r, uint64_t seed);
void vol_node_release(struct vol_node *n);

/* Start the process: journal, map, volume. An error of the journal or of the opening is
 * returned, and the node is down again. */
int vol_node_start(struct vol_node *n);
/* The same with one try to open the volume. */
int vol_node_try(struct vol_node *n);
/* End it as kill -9 does: nothing more reaches disk or backend (but what was sent). The page cache
 * stays. */
void vol_node_kill(struct vol_node *n);
/* Cut the power (if it is not off) and settle the disk. */
void vol_node_power(struct vol_node *n, enum crash_mode mode, uint64_t seed);
/* The machine is replaced by an empty one. */
void vol_node_lose(struct vol_node *n, uint64_t seed);
void vol_node_forget_map(struct vol_node *n);
/* Close the volume and open it again, in the same process. */
int vol_node_reopen(struct vol_node *n, uint64_t drain_ms);
/* Clean shutdown; the rc of volume_close(). */
int vol_node_stop(struct vol_node *n, uint64_t drain_ms);
void vol_node_turn(struct vol_node *n, bool wait);

int vol_create(struct vol_node *n, uint64_t size_bytes, uint32_t sco_bytes);
int vol_drain(struct vol_node *n);
int vol_flush(struct vol_node *n);
int vol_read(struct vol_node *n, uint64_t offset, void *ret_data, size_t bytes);

/* A backend, a volume in it, and the node that is to open it. */
struct vol_world {
    struct vol_store store;
    struct vol_registry registry;
    struct vol_node node;
};

/* Incomplete objects are released at once. A failure ends the test. */
void vol_world_init(struct vol_world *w, uint64_t seed, uint64_t size_bytes, uint32_t sco_bytes);
void vol_world_release(struct vol_world *w);

#endif
