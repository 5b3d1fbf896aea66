/* A whole object backend in one process: metadata in memory, fake ASDs behind sockets, a
 * registry with them claimed, an engine; and calls that wait for their answer. */
#ifndef TESTS_SIM_PROXY_WORLD_H
#define TESTS_SIM_PROXY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/loop_fixture.h"
#include "proxy/engine.h"
#include "proxy/get.h"
#include "proxy/sequence.h"
#include "sim/proxy_fake_asd.h"
#include "unit/meta/kv_mem.h"

enum { WORLD_ASDS_MAX = 32, WORLD_PATIENT_MS = 600000, WORLD_HASTY_MS = 400 };

struct world {
    struct loop_fixture base;
    uint64_t seed;
    struct rnd rnd;
    struct kv_mem_store *store;
    struct kv *kv;
    struct registry *registry;
    struct fake_asd *asds[WORLD_ASDS_MAX];
    unsigned asd_count;
    struct engine *engine;
    const char *const *near_places; /* this and the next two: of the next engine */
    unsigned near_place_count;
    unsigned osd_timeout_ms;
    uint64_t ns_id; /* of namespace "ns" */
};

/* ASDs d0, d1, … on `nodes` nodes, preset "p" from this JSON, namespace "ns" on it. The seed
 * is $SIM_SEED or by chance, and is printed. However slow the machine is, no OSD is given up for
 * silent. */
struct world *world_new(unsigned asds, unsigned nodes, const char *preset_json);
/* world_new() from this seed, and nothing is printed. */
struct world *world_new_of(uint64_t seed, unsigned asds, unsigned nodes, const char *preset_json);
/* For tests in which OSDs hang: with a fresh engine, which gives them up after WORLD_HASTY_MS. */
void world_make_hasty(struct world *world);
uint64_t world_seed(void); /* $SIM_SEED or by chance; printed */
/* The preset JSON of one policy. */
#define WORLD_PRESET(policies, fragment, codec)                                                    \
    "{\"policies\":" policies ",\"fragment_size\":" #fragment ",\"compression\":\"" codec "\"}"
void world_free(struct world *world);       /* ends with nothing left on the loop */
void world_new_engine(struct world *world); /* close the engine, make a fresh one */
struct fake_asd *world_asd_of(struct world *world, uint64_t osd_id);
/* Wait until no background work is left. */
void world_settle(struct world *world);
/* Not claimed. */
struct fake_asd *world_register_asd(struct world *world, const char *long_id, const char *node_id);
void world_add_asd(struct world *world, const char *long_id, const char *node_id); /* claimed */
void world_fill(struct world *world, uint8_t *ret_data, size_t bytes); /* half compressible */

/* For calls of a registry that must succeed: sets *(bool *)done. */
void world_registry_done(void *done, int rc, const struct err *e);

/* ---- waiting calls; `name` is text ---- */

void world_create_namespace(struct world *world, const char *name);
void world_delete_namespace(struct world *world, const char *name);

/* Returns the code; *ret_rc (may be NULL) gets the proxy's. */
int world_put(struct world *world, const char *name, const void *data, size_t bytes);
int world_apply(struct world *world, const struct proxy_apply *apply, int32_t *ret_rc);
int world_delete(struct world *world, const char *name);
/* 0 and *ret_data is the caller's. */
int world_get(struct world *world, const char *name, uint8_t **ret_data, size_t *ret_bytes);
int world_get_slices(struct world *world, const char *name, const struct proxy_slice *slices,
                     uint32_t count, int32_t *ret_rc, uint8_t **ret_data, size_t *ret_bytes);
/* A fresh manifest; false: no such object. */
bool world_manifest(struct world *world, const char *name, struct manifest *ret_manifest);
/* get must give exactly these bytes */
void world_expect(struct world *world, const char *name, const void *data, size_t bytes);

/* What reads hold, and what the engine's budget has been asked for, whenever the loop has looked
 * for events. */
struct world_watch {
    size_t most_bytes; /* that they held */
    bool is_beyond;    /* at some time more than was taken */

    uv_check_t check; /* private from here on */
    const struct engine *engine;
    size_t besides_bytes;
    bool closed;
};

/* `besides_bytes` are held besides, as long as there are some. */
void world_watch_start(struct world *world, struct world_watch *watch, size_t besides_bytes);
void world_watch_end(struct world *world, struct world_watch *watch);

/* Key under which a fragment lies; the caller releases it. */
struct buf world_fragment_key(struct world *world, const struct manifest *m, uint32_t chunk,
                              uint32_t fragment);
/* The engine still takes this manifest for the last one, and its fragments are gone. */
void world_make_stale(struct world *world, struct manifest *take_old);
unsigned world_osd_reads(const struct world *world); /* that all OSDs got */

/* All threads of the engine's pool do nothing until they are let go; what they get to do waits. */
struct world_hold {
    struct world_hold_item { /* private */
        struct pool_work work;
        struct world_hold *hold;
    } items[16];
    uv_sem_t go;
    unsigned count, ended;
};

void world_hold_threads(struct world *world, struct world_hold *hold);
bool world_has_queued_work(void *world); /* behind held threads; to wait for */
void world_let_go(struct world *world, struct world_hold *hold);

#endif
