/* The object engine: what every put and get of one process shares.
 *
 * Loop thread only; encoding, decoding and files run in `pool`. The registry is borrowed
 * and outlives the engine; its owner polls it and tells the engine of changes. */
#ifndef PROXY_ENGINE_H
#define PROXY_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "base/rnd.h"
#include "loop/later.h"
#include "loop/pool.h"
#include "meta/registry.h"
#include "meta/usage.h"
#include "proxy/block_cache.h"
#include "proxy/budget.h"
#include "proxy/epochs.h"
#include "proxy/hedge.h"
#include "proxy/index_cache.h"
#include "proxy/key_files.h"
#include "proxy/manifest_cache.h"
#include "proxy/osd_call.h"
#include "proxy/repair_queue.h"
#include "proxy/stats.h"
#include "proxy/tags.h"

struct asked_name;
struct shared_fragment; /* proxy/shared_get.h */

enum {
    ENGINE_POOL_QUEUE_MAX = 65536,
    ENGINE_REQUEST_TIMEOUT_MS = 120000 /* of a request that names no deadline */
};

struct engine_options {
    size_t memory_bytes; /* of all transfers together, and again of replies; 0: 384 MiB */
    size_t manifest_cache_bytes;
    size_t index_cache_bytes; /* fragment trailers */
    size_t block_cache_bytes;
    unsigned osd_timeout_ms;        /* 0: 10 s */
    bool hedge_reads;               /* reads that take too long go another way as well */
    double upload_slack;            /* share of the time so far to wait for stragglers */
    uint64_t object_bytes_max;      /* of new objects; 0: no limit of ours */
    unsigned threads;               /* of the pool; 0: 4 */
    struct key_files *keys;         /* borrowed, outlives the engine; NULL: none */
    const char *const *near_places; /* node ids, datacenters */
    unsigned near_place_count;
    const char *osd_socket_dir; /* of OSDs on this machine (proxy/osds.h); NULL: none */
};

struct engine {
    uv_loop_t *loop;
    struct engine_options options; /* without the strings */
    struct registry *registry;     /* borrowed */
    struct osds *osds;
    struct pool *pool;
    struct later later;
    struct budget budget;  /* of work: nothing in it waits for a peer */
    struct budget streams; /* of puts that do (ops_stream.c): they hold up each other only; half */
    struct budget replies; /* data of gets until peers have taken it; as much again */
    struct rnd rnd;        /* placement */
    size_t scratch_bytes;  /* that reads hold besides what they give out; counted in `budget` */
    size_t lookup_bytes_max; /* of manifests for one request: names are short, these are not */
    struct manifest_cache manifests;
    struct index_cache indexes;
    struct block_cache blocks;
    struct shared_fragment *shared_gets; /* questions to OSDs that others may join */
    struct list overtaken_gets;          /* whose answer nobody needs any more */
    struct hedge hedge;
    struct asked_name *asked_names; /* and to the namespace manager; proxy/lookup.c */
    struct epochs epochs;
    struct stats stats;
    struct usage *usage; /* puts add; maintenance subtracts what it deletes */
    struct tags tags;
    struct repair_queue repairs;
    struct log_limit corrupt_limit; /* of messages about bad fragments */
    struct log_limit incomplete_log;

    uv_timer_t timer; /* private from here on; for what is done lazily */
    unsigned busy;
    bool closing;
    unsigned open;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* The registry must have been refreshed once. NULL: threads could not be made. */
struct engine *engine_new(uv_loop_t *loop, struct registry *registry,
                          const struct engine_options *options);
/* For puts that begin from now on. */
void engine_set_puts(struct engine *engine, double upload_slack, uint64_t object_bytes_max);
/* Of reads that begin from now on. */
void engine_set_hedging(struct engine *engine, bool hedge_reads);
/* The on_change callback of registry_poll(); `engine` is a struct engine. */
void engine_registry_changed(void *engine);
/* What must end before the engine does: everything that holds a call, a timer or a buffer. */
void engine_hold(struct engine *engine);
void engine_drop(struct engine *engine);
/* Waits for all that hold it, then ends; `cb` when it is freed. Repairs that it still has to do are
 * left to maintenance, for which metadata is asked. */
void engine_close(struct engine *engine, void (*cb)(void *ctx), void *ctx);

#endif
