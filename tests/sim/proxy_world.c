#include "sim/proxy_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/run.h"
#include "wire/osd_keys.h"

/* ---- registry, waiting ---- */

struct wait {
    bool done;
    int rc;
    int32_t proxy_rc;
    struct err err;
};

void world_registry_done(void *done, int rc, const struct err *e)
{
    if (rc != 0) {
        fail_msg("registry: %s", e->msg);
    }
    *(bool *)done = true;
}

static void await(struct world *world, struct wait *w)
{
    loop_fixture_run_until(&world->base, &w->done);
    if (w->rc != 0) {
        fprintf(stderr, "world: %s\n", w->err.msg);
    }
    assert_int_equal(w->rc, 0);
}

void world_create_namespace(struct world *world, const char *name)
{
    bool created = false;

    registry_namespace_create(world->registry, name, "p", world_registry_done, &created);
    loop_fixture_run_until(&world->base, &created);
}

void world_delete_namespace(struct world *world, const char *name)
{
    bool deleted = false;

    registry_namespace_delete(world->registry, name, world_registry_done, &deleted);
    loop_fixture_run_until(&world->base, &deleted);
}

uint64_t world_seed(void)
{
    const char *text = getenv("SIM_SEED");
    uint64_t seed;

    if (text != NULL) {
        seed = strtoull(text, NULL, 0);
    } else {
        rnd_bytes(&seed, sizeof(seed));
    }
    print_message("SIM_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

struct fake_asd *world_register_asd(struct world *world, const char *long_id, const char *node_id)
{
    struct fake_asd *asd = fake_asd_new(&world->base.loop, long_id);
    struct registry_osd osd = {.long_id = long_id,
                               .ips = {"127.0.0.1"},
                               .ip_count = 1,
                               .port = asd->port,
                               .node_id = node_id,
                               .datacenter = "",
                               .capacity_bytes = 1 << 30};
    bool added = false;

    world->asds[world->asd_count++] = asd;
    registry_osd_add(world->registry, &osd, world_registry_done, &added);
    loop_fixture_run_until(&world->base, &added);
    return asd;
}

void world_add_asd(struct world *world, const char *long_id, const char *node_id)
{
    bool claimed = false;

    world_register_asd(world, long_id, node_id);
    registry_osd_claim(world->registry, long_id, world_registry_done, &claimed);
    loop_fixture_run_until(&world->base, &claimed);
}

static void make_engine(struct world *world)
{
    struct engine_options options = {.manifest_cache_bytes = 1 << 20,
                                     .index_cache_bytes = 1 << 20,
                                     .osd_timeout_ms = world->osd_timeout_ms,
                                     .hedge_reads = true,
                                     .upload_slack = 0.2,
                                     .threads = 2,
                                     .near_places = world->near_places,
                                     .near_place_count = world->near_place_count};

    world->engine = engine_new(&world->base.loop, world->registry, &options);
    assert_non_null(world->engine);
}

static void on_registry_change(void *ctx)
{
    struct world *world = ctx;

    if (world->engine != NULL) {
        engine_registry_changed(world->engine);
    }
}

static void close_engine(struct world *world)
{
    struct engine *engine = world->engine;
    bool closed = false;

    world->engine = NULL;
    engine_close(engine, loop_set_true, &closed);
    loop_fixture_run_until(&world->base, &closed);
}

void world_new_engine(struct world *world)
{
    close_engine(world);
    make_engine(world);
}

struct world *world_new(unsigned asds, unsigned nodes, const char *preset_json)
{
    return world_new_of(world_seed(), asds, nodes, preset_json);
}

void world_make_hasty(struct world *world)
{
    world->osd_timeout_ms = WORLD_HASTY_MS;
    world_new_engine(world);
}

struct world *world_new_of(uint64_t seed, unsigned asds, unsigned nodes, const char *preset_json)
{
    struct world *world = mem_zalloc(sizeof(*world));
    bool init = false, made_preset = false;
    struct preset preset;
    struct err e;

    world->seed = seed;
    world->osd_timeout_ms = WORLD_PATIENT_MS;
    world->rnd = rnd_seed(seed);
    log_set_level(getenv("SIM_LOG") != NULL ? LOG_DEBUG : LOG_NONE);
    signal(SIGPIPE, SIG_IGN); /* as the daemons do; connections break here */
    loop_fixture_init(&world->base);
    world->store = kv_mem_store_new(world->seed);
    world->kv = kv_mem_open(&world->base.loop, world->store);
    world->registry = registry_new(world->kv);
    registry_init(world->registry, world_registry_done, &init);
    loop_fixture_run_until(&world->base, &init);
    for (unsigned i = 0; i < asds; i++) {
        char long_id[32], node_id[32];

        snprintf(long_id, sizeof(long_id), "d%u", i);
        snprintf(node_id, sizeof(node_id), "n%u", i % nodes);
        world_add_asd(world, long_id, node_id);
    }
    if (preset_from_text(&preset, preset_json, strlen(preset_json), &e) != 0) {
        fprintf(stderr, "%s\n", e.msg);
        abort();
    }
    preset_set_name(&preset, "p");
    registry_preset_create(world->registry, &preset, world_registry_done, &made_preset);
    loop_fixture_run_until(&world->base, &made_preset);
    preset_release(&preset);
    world_create_namespace(world, "ns");
    world->ns_id = registry_view_namespace_find(registry_view(world->registry), "ns", 2)->id;
    make_engine(world);
    registry_poll(world->registry, 200, on_registry_change, world);
    return world;
}

static void on_check(uv_check_t *check)
{
    struct world_watch *watch = container_of(check, struct world_watch, check);
    size_t held = watch->engine->scratch_bytes;

    watch->most_bytes = held > watch->most_bytes ? held : watch->most_bytes;
    watch->is_beyond |= held != 0 && held + watch->besides_bytes > watch->engine->budget.used_bytes;
}

static void on_unwatched(uv_handle_t *handle)
{
    container_of((uv_check_t *)handle, struct world_watch, check)->closed = true;
}

void world_watch_start(struct world *world, struct world_watch *watch, size_t besides_bytes)
{
    *watch = (struct world_watch){.engine = world->engine, .besides_bytes = besides_bytes};
    assert_int_equal(uv_check_init(&world->base.loop, &watch->check), 0);
    assert_int_equal(uv_check_start(&watch->check, on_check), 0);
}

void world_watch_end(struct world *world, struct world_watch *watch)
{
    uv_close((uv_handle_t *)&watch->check, on_unwatched);
    loop_fixture_run_until(&world->base, &watch->closed);
}

void world_free(struct world *world)
{
    bool closed = false;

    for (unsigned i = 0; i < world->asd_count; i++) {
        fake_asd_set_fate(world->asds[i], NULL, NULL);
    }
    close_engine(world);
    registry_close(world->registry, loop_set_true, &closed);
    loop_fixture_run_until(&world->base, &closed);
    for (unsigned i = 0; i < world->asd_count; i++) {
        fake_asd_free(world->asds[i]);
    }
    loop_fixture_release(&world->base);
    kv_mem_store_free(world->store);
    free(world);
}

struct fake_asd *world_asd_of(struct world *world, uint64_t osd_id)
{
    const struct osd *osd = osds_find(world->engine->osds, osd_id);

    for (unsigned i = 0; i < world->asd_count && osd != NULL; i++) {
        if (strcmp(world->asds[i]->long_id, osd->long_id) == 0) {
            return world->asds[i];
        }
    }
    return NULL;
}

/* Pool work and sockets make progress between the looks. */
void world_settle(struct world *world)
{
    for (unsigned i = 0; i < 600 && world->engine->busy > 0; i++) {
        loop_fixture_run_ms(&world->base, 10);
    }
    assert_int_equal(world->engine->busy, 0);
}

void world_fill(struct world *world, uint8_t *ret_data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ret_data[i] = (i / 512) % 2 == 0 ? (uint8_t)rnd_next(&world->rnd) : (uint8_t)(i / 4096);
    }
}

/* ---- objects ---- */

/* What is put is a copy, which is gone as soon as the engine says it needs it no more. */
struct put_wait {
    struct wait w;
    unsigned holders; /* who waits, and the engine */
    struct proxy_update *updates;
    struct proxy_apply apply;
};

static void put_wait_drop(struct put_wait *p)
{
    if (--p->holders == 0) {
        free(p);
    }
}

static void on_sequence(void *ctx, struct sequence *sequence, int rc)
{
    struct put_wait *p = ctx;

    p->w.rc = rc;
    p->w.proxy_rc = sequence_proxy_rc(sequence);
    p->w.err = *sequence_err(sequence);
    p->w.done = true;
}

static void on_released(void *ctx)
{
    struct put_wait *p = ctx;

    assert_true(p->w.done);
    for (uint32_t i = 0; i < p->apply.update_count; i++) {
        struct slice data = p->updates[i].data;

        if (data.len != 0) {
            memset((void *)(uintptr_t)data.data, 0xee, data.len);
        }
        free((void *)(uintptr_t)data.data);
    }
    free(p->updates);
    put_wait_drop(p);
}

static struct put_wait *put_wait_new(const struct proxy_apply *apply)
{
    struct put_wait *p = mem_zalloc(sizeof(*p));

    p->holders = 2;
    p->apply = *apply;
    p->updates = mem_array(apply->update_count + 1, sizeof(*p->updates));
    p->apply.updates = p->updates;
    for (uint32_t i = 0; i < apply->update_count; i++) {
        p->updates[i] = apply->updates[i];
        p->updates[i].data.data = mem_dup(apply->updates[i].data.data, apply->updates[i].data.len);
    }
    return p;
}

int world_apply(struct world *world, const struct proxy_apply *apply, int32_t *ret_rc)
{
    struct put_wait *p = put_wait_new(apply);
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &p->apply, .release = on_released};
    int rc;

    sequence_start(world->engine, &spec, on_sequence, p);
    loop_fixture_run_until(&world->base, &p->w.done);
    rc = p->w.rc;
    if (ret_rc != NULL) {
        *ret_rc = p->w.proxy_rc;
    }
    if (rc != 0) {
        log_debug("world", "sequence failed", "why=\"%s\"", p->w.err.msg);
    }
    put_wait_drop(p);
    return rc;
}

int world_put(struct world *world, const char *name, const void *data, size_t bytes)
{
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str(name), .data = slice_of(data, bytes)};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};

    return world_apply(world, &apply, NULL);
}

int world_delete(struct world *world, const char *name)
{
    struct proxy_update update = {.kind = PROXY_UPDATE_DELETE, .name = slice_str(name)};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};

    return world_apply(world, &apply, NULL);
}

struct get_wait {
    struct wait w;
    uint8_t *data;
    size_t bytes;
};

static void on_get(void *ctx, struct get *get, int rc)
{
    struct get_wait *w = ctx;

    w->w.rc = rc;
    w->w.proxy_rc = get_proxy_rc(get);
    w->w.err = *get_err(get);
    w->w.done = true;
    if (rc == 0) {
        w->bytes = get_data(get, 0).len;
        w->data = mem_dup(get_data(get, 0).data, w->bytes);
    }
    get_free(get);
}

static int do_get(struct world *world, const struct get_item *item, int32_t *ret_rc,
                  uint8_t **ret_data, size_t *ret_bytes)
{
    struct get_spec spec = {.ns = slice_str("ns"),
                            .items = item,
                            .count = 1,
                            .should_cache = true,
                            .is_partial = item->slices != NULL};
    struct get_wait w = {0};

    get_start(world->engine, &spec, on_get, &w);
    loop_fixture_run_until(&world->base, &w.w.done);
    if (ret_rc != NULL) {
        *ret_rc = w.w.proxy_rc;
    }
    if (w.w.rc == 0) {
        *ret_data = w.data;
        *ret_bytes = w.bytes;
    } else {
        log_debug("world", "get failed", "why=\"%s\"", w.w.err.msg);
    }
    return w.w.rc;
}

int world_get(struct world *world, const char *name, uint8_t **ret_data, size_t *ret_bytes)
{
    struct get_item item = {.name = slice_str(name)};

    return do_get(world, &item, NULL, ret_data, ret_bytes);
}

int world_get_slices(struct world *world, const char *name, const struct proxy_slice *slices,
                     uint32_t count, int32_t *ret_rc, uint8_t **ret_data, size_t *ret_bytes)
{
    struct get_item item = {.name = slice_str(name), .slices = slices, .slice_count = count};

    return do_get(world, &item, ret_rc, ret_data, ret_bytes);
}

void world_expect(struct world *world, const char *name, const void *data, size_t bytes)
{
    uint8_t *got = NULL;
    size_t got_bytes = 0;

    assert_int_equal(world_get(world, name, &got, &got_bytes), 0);
    assert_int_equal(got_bytes, bytes);
    assert_int_equal(memcmp(got, data, bytes), 0);
    free(got);
}

struct manifest_wait {
    struct wait w;
    bool found;
    struct manifest manifest;
};

static void on_manifest(void *ctx, int rc, struct nsm_reply *reply)
{
    struct manifest_wait *w = ctx;

    w->w.rc = rc;
    w->w.done = true;
    if (rc == 0 && reply->objects[0].found) {
        w->found = true;
        w->manifest = reply->objects[0].manifest;
        reply->objects[0].manifest = (struct manifest){0};
    }
}

bool world_manifest(struct world *world, const char *name, struct manifest *ret_manifest)
{
    struct manifest_wait w = {0};
    struct slice names[] = {slice_str(name)};
    struct nsm *nsm;
    struct err e;

    assert_int_equal(
        registry_nsm(
            world->registry,
            registry_view_namespace_by_id(registry_view(world->registry), world->ns_id)->nsm_host,
            &nsm, &e),
        0);
    nsm_get(nsm, world->ns_id, names, 1, on_manifest, &w);
    await(world, &w.w);
    if (w.found) {
        *ret_manifest = w.manifest;
    }
    return w.found;
}

struct buf world_fragment_key(struct world *world, const struct manifest *m, uint32_t chunk,
                              uint32_t fragment)
{
    struct osd_fragment name = {.object_id = m->object_id,
                                .chunk = chunk,
                                .fragment = fragment,
                                .version = manifest_fragment_at(m, chunk, fragment)->version};
    struct buf key = {0};

    osd_key_put_fragment(&key, world->ns_id, &name);
    return key;
}

void world_make_stale(struct world *world, struct manifest *take_old)
{
    struct object *object;

    for (uint32_t c = 0; c < take_old->chunk_count; c++) {
        for (uint32_t i = 0; i < take_old->scheme.k + take_old->scheme.m; i++) {
            struct buf key = world_fragment_key(world, take_old, c, i);

            fake_asd_remove(world_asd_of(world, manifest_fragment_at(take_old, c, i)->osd_id),
                            slice_buf(&key));
            buf_release(&key);
        }
    }
    object = object_new(world->ns_id, take_old);
    manifest_cache_put(&world->engine->manifests, object);
    object_drop(object);
}

unsigned world_osd_reads(const struct world *world)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < world->asd_count; i++) {
        sum += world->asds[i]->reads;
    }
    return sum;
}

/* ---- threads ---- */

static void hold_thread(struct pool_work *work)
{
    uv_sem_wait(&container_of(work, struct world_hold_item, work)->hold->go);
}

static void on_let_go(struct pool_work *work, int rc)
{
    assert_int_equal(rc, 0);
    container_of(work, struct world_hold_item, work)->hold->ended++;
}

void world_hold_threads(struct world *world, struct world_hold *hold)
{
    *hold = (struct world_hold){.count = world->engine->options.threads};
    assert_true(hold->count <= sizeof(hold->items) / sizeof(*hold->items));
    assert_int_equal(uv_sem_init(&hold->go, 0), 0);
    for (unsigned i = 0; i < hold->count; i++) {
        hold->items[i].hold = hold;
        assert_int_equal(pool_submit(world->engine->pool, &hold->items[i].work, POOL_HIGH,
                                     hold_thread, on_let_go),
                         0);
    }
}

bool world_has_queued_work(void *world)
{
    const struct engine *engine = ((const struct world *)world)->engine;

    return pool_load(engine->pool) > engine->options.threads;
}

static bool have_ended(void *ctx)
{
    const struct world_hold *hold = ctx;

    return hold->ended == hold->count;
}

void world_let_go(struct world *world, struct world_hold *hold)
{
    for (unsigned i = 0; i < hold->count; i++) {
        uv_sem_post(&hold->go);
    }
    loop_run_until_true(&world->base.loop, have_ended, hold);
    uv_sem_destroy(&hold->go);
}
