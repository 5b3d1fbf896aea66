#include "proxy/engine.h"

#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/shared_get.h"

enum {
    MEMORY_BYTES_DEFAULT = 384 << 20,
    LOOKUP_BYTES_MAX = 256 << 20,
    THREADS_DEFAULT = 4,
    POLL_MS_DEFAULT = 2000,
    LAZY_MS = 1000
};

static const struct engine_options defaults = {
    .memory_bytes = MEMORY_BYTES_DEFAULT, .osd_timeout_ms = 10000, .threads = THREADS_DEFAULT};

/* 0: it has none. */
static unsigned addresses_of(const struct registry_osd *osd, struct net_addr **ret_addrs)
{
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    struct err e;
    unsigned count = registry_osd_addrs(osd, addrs, &e);

    if (count == 0) {
        log_warn("engine", "bad osd address", "long_id=%s why=\"%s\"", osd->long_id, e.msg);
    } else {
        *ret_addrs = mem_dup(addrs, count * sizeof(*addrs));
    }
    return count;
}

void engine_registry_changed(void *ctx)
{
    struct engine *engine = ctx;
    const struct registry_view *view = registry_view(engine->registry);
    size_t count = registry_view_osd_count(view);
    struct osds_entry *entries;
    unsigned used = 0;

    if (engine->closing) {
        return; /* the OSDs may be gone while the last usage figures are written */
    }
    entries = mem_array(count + 1, sizeof(*entries));

    for (size_t i = 0; i < count; i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);
        struct osds_entry *entry = &entries[used];
        struct net_addr *addrs;

        entry->addr_count = osd->is_claimed ? addresses_of(osd, &addrs) : 0;
        if (entry->addr_count == 0) {
            continue;
        }
        entry->addrs = addrs;
        entry->id = osd->osd_id;
        entry->long_id = osd->long_id;
        entry->owner = registry_view_alba_id(view);
        entry->node_id = osd->node_id;
        entry->datacenter = osd->datacenter;
        entry->total_bytes = osd->capacity_bytes;
        entry->used_bytes = 0;
        entry->decommissioned = osd->is_decommissioned;
        used++;
    }
    osds_set(engine->osds, entries, used);
    for (unsigned i = 0; i < used; i++) {
        free((void *)(uintptr_t)entries[i].addrs);
    }
    free(entries);
}

static void on_timer(uv_timer_t *timer)
{
    struct engine *engine = container_of(timer, struct engine, timer);

    tags_flush(&engine->tags);
    repair_queue_tick(&engine->repairs);
    bigmem_trim(clock_mono_ms());
}

static void set_options(struct engine *engine, const struct engine_options *options)
{
    struct engine_options *o = &engine->options;

    *o = *options;
    o->near_places = NULL;
    o->near_place_count = 0;
    o->osd_socket_dir = NULL;
    o->memory_bytes = o->memory_bytes != 0 ? o->memory_bytes : defaults.memory_bytes;
    o->osd_timeout_ms = o->osd_timeout_ms != 0 ? o->osd_timeout_ms : defaults.osd_timeout_ms;
    o->threads = o->threads != 0 ? o->threads : defaults.threads;
}

void engine_set_puts(struct engine *engine, double upload_slack, uint64_t object_bytes_max)
{
    engine->options.upload_slack = upload_slack;
    engine->options.object_bytes_max = object_bytes_max;
}

void engine_set_hedging(struct engine *engine, bool hedge_reads)
{
    engine->options.hedge_reads = hedge_reads;
}

struct engine *engine_new(uv_loop_t *loop, struct registry *registry,
                          const struct engine_options *options)
{
    struct engine *engine = mem_zalloc(sizeof(*engine));
    uint64_t seed;

    engine->loop = loop;
    engine->registry = registry;
    set_options(engine, options);
    if (pool_new(loop, "proxy", engine->options.threads, ENGINE_POOL_QUEUE_MAX, &engine->pool) !=
        0) {
        free(engine);
        return NULL;
    }
    rnd_bytes(&seed, sizeof(seed));
    engine->rnd = rnd_seed(seed);
    later_init(&engine->later, loop);
    budget_init(&engine->budget, engine->options.memory_bytes, &engine->later);
    budget_init(&engine->streams, engine->options.memory_bytes / 2, &engine->later);
    budget_init(&engine->replies, engine->options.memory_bytes, &engine->later);
    engine->lookup_bytes_max = LOOKUP_BYTES_MAX;
    manifest_cache_init(&engine->manifests, engine->options.manifest_cache_bytes);
    index_cache_init(&engine->indexes, engine->options.index_cache_bytes);
    block_cache_init(&engine->blocks, engine->options.block_cache_bytes);
    epochs_init(&engine->epochs);
    stats_init(&engine->stats);
    list_init(&engine->overtaken_gets);
    hedge_init(&engine->hedge, engine);
    engine->usage = usage_new(registry, 0);
    tags_init(&engine->tags, engine);
    repair_queue_init(&engine->repairs, engine);
    engine->osds =
        osds_new(loop, &(struct osds_options){.timeout_ms = engine->options.osd_timeout_ms,
                                              .tls = kv_tls(registry_kv(registry)),
                                              .near_places = options->near_places,
                                              .near_place_count = options->near_place_count,
                                              .socket_dir = options->osd_socket_dir});
    CHECK(uv_timer_init(loop, &engine->timer) == 0);
    CHECK(uv_timer_start(&engine->timer, on_timer, LAZY_MS, LAZY_MS) == 0);
    engine_registry_changed(engine);
    return engine;
}

void engine_hold(struct engine *engine)
{
    engine->busy++;
}

/* ---- close: all work done -> usage, osds, pool, timer -> late callbacks ---- */

static void on_later_closed(void *ctx)
{
    struct engine *engine = ctx;
    void (*cb)(void *) = engine->close_cb;
    void *cb_ctx = engine->close_ctx;

    manifest_cache_release(&engine->manifests);
    index_cache_release(&engine->indexes);
    block_cache_release(&engine->blocks);
    epochs_release(&engine->epochs);
    stats_release(&engine->stats);
    tags_release(&engine->tags);
    repair_queue_release(&engine->repairs);
    free(engine);
    cb(cb_ctx);
}

static void on_part_closed(void *ctx)
{
    struct engine *engine = ctx;

    if (--engine->open == 0) {
        later_close(&engine->later, on_later_closed, engine);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_part_closed(container_of((uv_timer_t *)handle, struct engine, timer));
}

static void close_parts(struct engine *engine)
{
    engine->open = 5;
    hedge_close(&engine->hedge, on_part_closed);
    usage_close(engine->usage, on_part_closed, engine);
    osds_close(engine->osds, on_part_closed, engine);
    pool_close(engine->pool, on_part_closed, engine);
    uv_close((uv_handle_t *)&engine->timer, on_timer_closed);
}

void engine_drop(struct engine *engine)
{
    CHECK(engine->busy > 0);
    if (engine->busy == 1 && engine->closing) {
        tags_flush(&engine->tags); /* may hold the engine again */
    }
    if (--engine->busy == 0 && engine->closing) {
        close_parts(engine);
    }
}

void engine_close(struct engine *engine, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!engine->closing);
    engine->close_cb = cb;
    engine->close_ctx = ctx;
    engine_hold(engine);
    engine->closing = true;
    repair_queue_close(&engine->repairs);
    shared_gets_end_overtaken(engine);
    engine_drop(engine);
}
