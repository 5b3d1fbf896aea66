/* A backend in memory for simulations: one namespace that outlives the nodes that use it.
 *
 * Operations wait in a queue; each turn of the loop lets some of them happen, in random order.
 * One may fail without having happened, happen and lose its reply, or lose its reply and
 * happen later, when its author is long dead. Asserts are judged when it happens. */
#ifndef TESTS_LIB_VOL_BACKEND_H
#define TESTS_LIB_VOL_BACKEND_H

#include <uv.h>

#include "base/list.h"
#include "base/rnd.h"
#include "base/table.h"
#include "volumedriver/backend.h"

struct vol_object {
    char name[BACKEND_NAME_BYTES];
    uint8_t *data;
    size_t bytes;
    uint32_t crc;
    UT_hash_handle hh;
};

struct vol_store { /* what is in the backend */
    struct vol_object *objects;
    struct list late; /* operations whose author got no answer */
    struct rnd rnd;
    unsigned fail_percent;  /* did not happen */
    unsigned doubt_percent; /* no reply */
    unsigned lazy_percent;  /* does not happen this turn */
    unsigned incomplete_percent;
    bool down;      /* everything fails */
    bool hold_scos; /* puts of SCOs stay in the queue */
    bool keep_scos; /* deletes of SCOs fail */
    uint64_t applies, reads;
};

struct vol_backend { /* one node's connection to it */
    struct backend backend;
    struct vol_store *store;
    struct list queue;
    uv_loop_t *loop;
    uv_timer_t timer;
    bool closed;
    bool dead;     /* its node was killed: operations end in doubt, some happen later */
    bool reversed; /* newest first */
};

void vol_store_init(struct vol_store *s, uint64_t seed);
void vol_store_release(struct vol_store *s);
/* Of 100 operations, so many fail and so many end in doubt. 0: none. */
void vol_store_trouble(struct vol_store *s, unsigned percent);
/* Operations of dead nodes: let some of them happen now. */
void vol_store_late(struct vol_store *s, unsigned percent);
struct vol_object *vol_store_find(struct vol_store *s, const char *name);
unsigned vol_store_count(struct vol_store *s, const char *prefix);
void vol_store_delete(struct vol_store *s, const char *name);
void vol_store_add(struct vol_store *s, const char *name, const void *data, size_t bytes);

void vol_backend_init(struct vol_backend *b, struct vol_store *s, uv_loop_t *loop);
void vol_backend_kill(struct vol_backend *b);
/* Nothing may be queued. `closed` is set when the loop has turned. */
void vol_backend_close(struct vol_backend *b);

#endif
