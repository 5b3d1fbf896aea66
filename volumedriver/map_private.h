/* Inside of the map, shared by its source files only. */
#ifndef VOLUMEDRIVER_MAP_PRIVATE_H
#define VOLUMEDRIVER_MAP_PRIVATE_H

#include "loop/pool.h"
#include "volumedriver/map.h"
#include "volumedriver/map_db.h"
#include "volumedriver/map_key.h"
#include "volumedriver/map_task.h"

enum { MAP_WINDOW_PAGES = 256 }; /* loaded at once */

enum page_state { PAGE_LOADING, PAGE_READY };

struct page_key {
    uint64_t volume; /* map_volume.id */
    uint64_t page;
};

struct map_page {
    struct page_key key;
    struct map_volume *mv;
    uint64_t *locations; /* owned; NULL: all are `fill` */
    uint64_t fill;       /* LOCATION_NONE or LOCATION_ZERO */
    enum page_state state;
    bool is_dirty;
    struct list lru;  /* in map.clean, oldest first, while clean and READY */
    struct list link; /* in map_volume.pages */
    struct list dirty;
    UT_hash_handle hh;
};

struct map {
    uv_loop_t *loop;
    struct map_db *db;
    struct pool *pool;
    struct map_page *pages; /* uthash by key */
    struct list clean;
    struct list volumes;
    uint64_t bytes;
    uint64_t dirty_bytes;
    uint64_t budget_bytes;
    uint64_t next_id;
    struct map_task spill; /* stores dirty pages, so that they can be let go of */
    bool spilling;
    char *dir;
    bool stuck;          /* the store cannot be written; it goes when its disk can */
    bool broken;         /* it is to be made anew */
    bool renewing;       /* one of the two is tried in the pool */
    bool renew_now;      /* a disk that was full takes data */
    unsigned freezes;    /* checkpoints that hold an iterator */
    uint64_t renewed_ms; /* when the last one was made */
    uint64_t renew_wait_ms;
    uv_timer_t renew_timer;
    struct pool_work renew;
    struct err renew_err;
    int renew_rc;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

struct map_trail { /* what one applied SCO touched, until it is stored */
    struct list link;
    uint64_t ordinal;
    struct buf extents; /* {cluster u64, count u32} … */
};

/* map.c */
struct map_page *page_find(struct map_volume *mv, uint64_t page);
void page_set_array(struct map_page *p, uint64_t *locations, uint64_t fill);
void page_make_dirty(struct map_page *p);
void page_make_clean(struct map_page *p);
void pages_drop(struct map_volume *mv);
/* Start loading those that are not there. True when all are. */
bool pages_ensure(struct map_volume *mv, const uint64_t *pages, unsigned count);
void map_trim(struct map *map);
/* Dirty pages must not take the cache's place: beyond half of it, store those of the volume that
 * has most. */
void map_spill(struct map *map);
void map_volume_fail(struct map_volume *mv, int rc, const struct err *why);
/* map_open.c: the store cannot be written; it goes when nobody is in it any more. */
void map_store_stuck(struct map *map, const struct err *why);
void map_renew_step(struct map *map);

/* Step the tasks, or end a close, from the loop and later. The job is the volume's, not a task's:
 * a task may end before it comes round. */
void map_turn(struct map_volume *mv);

/* map_task.c: something the running task waited for is there. */
void map_tasks_step(struct map_volume *mv);
/* map_store.c: tasks that are one job in the pool. */
void map_store_start(struct map_task *task);
/* The task at the head of the queue has ended. */
void map_task_end(struct map_task *task, int rc);

#endif
