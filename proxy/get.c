/* NAMESPACE -> LOOKUP -> MEMORY -> READ -> END, as enum get_state has it.
 *
 * An object whose fragments are not there is READ again with a manifest from the namespace
 * manager: the one at hand may be old, or repair moved the fragments meanwhile. When that is of
 * another object, its slices are checked anew; a whole object that has become larger needs another
 * place in the reply: AGAIN gives all memory back and goes on with LOOKUP. */
#include "proxy/get.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/get_private.h"
#include "proxy/rc.h"

const struct err *get_err(const struct get *g)
{
    return &g->err;
}

int32_t get_proxy_rc(const struct get *g)
{
    return g->proxy_rc;
}

uint64_t get_ns_id(const struct get *g)
{
    return g->use.ns->id;
}

struct object *get_object(const struct get *g, size_t index)
{
    return g->results[index].object;
}

struct slice get_data(const struct get *g, size_t index)
{
    return slice_of(g->results[index].data, g->results[index].bytes);
}

struct slice get_all_data(const struct get *g)
{
    CHECK(g->spec.is_partial);
    return slice_of(g->data, g->data_bytes);
}

static void stop_waiting(struct get *g, struct budget_share *share)
{
    if (share->state == BUDGET_WAITING || share->state == BUDGET_GRANTED) {
        budget_give(share);
        g->pending--;
    }
}

static void stop_reading(struct get *g)
{
    for (size_t i = 0; i < g->object_count && g->state == GET_READ; i++) {
        if (g->objects[i].is_reading) {
            object_read_cancel(&g->objects[i].read);
        }
    }
}

/* g->err is set. */
void get_fail(struct get *g, int rc, int32_t proxy_rc)
{
    if (g->rc != 0) {
        return;
    }
    g->rc = rc;
    g->proxy_rc = proxy_rc;
    stop_waiting(g, &g->reply);
    stop_waiting(g, &g->share);
    stop_reading(g);
    g->state = GET_END;
}

void get_again(struct get *g)
{
    if (g->again_count++ == GET_AGAIN_MAX) {
        err_set(&g->err, ERR_STALE, "objects were replaced by larger ones time and again");
        get_fail(g, ERR_STALE, PROXY_RC_UNKNOWN);
    } else {
        stop_reading(g);
        g->state = GET_AGAIN;
    }
    get_step(g);
}

bool get_is_reading(const struct get *g)
{
    return g->state == GET_READ;
}

/* ---- the whole request ---- */

static void on_memory(struct budget_share *share)
{
    struct get *g = container_of(share, struct get, share);
    uint8_t *at;

    g->pending--;
    g->data = bigmem_alloc(g->data_bytes);
    at = g->data;
    for (size_t i = 0; i < g->spec.count; i++) {
        g->results[i].data = at;
        at += g->results[i].bytes;
    }
    g->object_count = g->spec.count < GET_OBJECTS_AT_ONCE ? g->spec.count : GET_OBJECTS_AT_ONCE;
    g->objects = mem_array(g->object_count + 1, sizeof(*g->objects));
    g->state = GET_READ;
    get_step(g);
}

static int32_t check_all(struct get *g)
{
    size_t sum = 0, most = 0, share = object_read_share_bytes(g->engine);
    struct readable readable;

    for (size_t i = 0; i < g->spec.count; i++) {
        const struct get_item *item = &g->spec.items[i];
        struct get_result *result = &g->results[i];
        int32_t proxy_rc;

        result->object = g->lookup.objects[i];
        g->lookup.objects[i] = NULL;
        proxy_rc = get_object_check(g, item, result, &readable);
        if (proxy_rc != PROXY_RC_OK) {
            return proxy_rc;
        }
        if (result->bytes > GET_BYTES_MAX - g->data_bytes) {
            err_set(&g->err, ERR_TOO_LARGE, "a reply of more than %d bytes", GET_BYTES_MAX);
            return PROXY_RC_TOO_LARGE;
        }
        g->data_bytes += result->bytes;
        sum += result->scratch_bytes;
        most = result->scratch_bytes > most ? result->scratch_bytes : most;
    }
    g->scratch_bytes = sum < GET_OBJECTS_AT_ONCE * most ? sum : GET_OBJECTS_AT_ONCE * most;
    if (g->scratch_bytes > share) {
        g->scratch_bytes = most > share ? most : share;
    }
    return PROXY_RC_OK;
}

/* A peer may take its time with the reply: what it holds up is other replies, not puts. */
static void on_reply_memory(struct budget_share *share)
{
    struct get *g = container_of(share, struct get, reply);

    budget_take(&g->engine->budget, &g->share, g->scratch_bytes, on_memory);
}

static void on_looked_up(struct lookup *lookup, int rc)
{
    struct get *g = container_of(lookup, struct get, lookup);
    int32_t proxy_rc;

    g->pending--;
    if (g->rc == 0 && rc != 0) {
        err_copy(&g->err, &lookup->err);
        get_fail(g, rc, rc_of(rc));
    }
    if (g->rc == 0) {
        proxy_rc = check_all(g);
        if (proxy_rc != PROXY_RC_OK) {
            get_fail(g, g->err.code, proxy_rc);
        }
    }
    lookup_release(lookup);
    if (g->rc == 0) {
        g->state = GET_MEMORY;
        g->pending++;
        budget_take(&g->engine->replies, &g->reply, g->data_bytes, on_reply_memory);
    }
    get_step(g);
}

static void start_lookup(struct get *g, bool consistent)
{
    struct lookup_spec spec = {.use = &g->use,
                               .names = g->names,
                               .count = g->spec.count,
                               .consistent = consistent,
                               .should_cache = g->spec.should_cache};

    g->state = GET_LOOKUP;
    g->pending++;
    lookup_start(&g->lookup, g->engine, &spec, on_looked_up);
}

static void on_namespace(void *ctx, int rc, const struct err *e)
{
    struct get *g = ctx;

    g->pending--;
    if (g->rc == 0 && rc != 0) {
        err_copy(&g->err, e);
        get_fail(g, rc, rc == ERR_NOT_FOUND ? PROXY_RC_NAMESPACE_NOT_FOUND : rc_of(rc));
    }
    if (g->rc == 0) {
        start_lookup(g, g->spec.consistent);
    }
    get_step(g);
}

static void count_end(struct get *g)
{
    struct engine *engine = g->engine;
    struct proxy_ns_stats *sums;
    double seconds = (double)(clock_mono_ns() - g->start_ns) / 1e9;
    size_t slices = 0;

    if (g->rc != 0) {
        engine->stats.totals.get_failures++;
        return; /* the name may be anything that a peer sends */
    }
    sums = stats_of(&engine->stats, g->spec.ns);
    engine->stats.totals.gets += g->spec.count;
    engine->stats.totals.get_bytes += g->data_bytes;
    stats_add(&sums->fragment_cache_hits, g->cache_hits);
    stats_add(&sums->fragment_cache_misses, g->cache_misses);
    for (size_t i = 0; i < g->spec.count; i++) {
        slices += g->spec.items[i].slice_count;
    }
    if (!g->spec.is_partial) {
        stat_sum_add(&sums->download, seconds);
    } else if (g->data_bytes == 0) {
        stat_sum_add(&sums->empty_partial_read_count, (double)slices);
        stat_sum_add(&sums->empty_partial_read_time, seconds);
        stat_sum_add(&sums->empty_partial_read_objects, (double)g->spec.count);
    } else {
        stat_sum_add(&sums->partial_read_bytes, (double)g->data_bytes);
        stat_sum_add(&sums->partial_read_count, (double)slices);
        stat_sum_add(&sums->partial_read_time, seconds);
        stat_sum_add(&sums->partial_read_objects, (double)g->spec.count);
    }
}

static struct get_object *free_slot(struct get *g)
{
    for (size_t i = 0; i < g->object_count; i++) {
        if (g->objects[i].item == NULL) {
            return &g->objects[i];
        }
    }
    return NULL;
}

static void clear_slot(struct get_object *o)
{
    free(o->ranges);
    o->ranges = NULL;
    o->item = NULL;
}

void get_object_done(struct get_object *o)
{
    struct get *g = o->get;

    g->scratch_used -= o->scratch_bytes;
    clear_slot(o);
    g->done++;
    get_step(g);
}

/* One at least: g->scratch_bytes is enough for each of them. */
static bool has_room(const struct get *g, const struct get_result *result)
{
    return result->scratch_bytes <= g->scratch_bytes - g->scratch_used;
}

static void step_read(struct get *g)
{
    struct get_object *o;

    while (g->rc == 0 && g->next < g->spec.count && (o = free_slot(g)) != NULL) {
        struct get_result *result = &g->results[g->next];

        if (result->bytes == 0) {
            g->done++;
        } else if (!has_room(g, result)) {
            break;
        } else {
            *o = (struct get_object){.get = g,
                                     .item = &g->spec.items[g->next],
                                     .result = result,
                                     .scratch_bytes = result->scratch_bytes};
            g->scratch_used += o->scratch_bytes;
            get_object_start(o);
        }
        g->next++;
    }
    if (g->done == g->spec.count) {
        g->state = GET_END;
    }
}

static void release_objects(struct get *g)
{
    for (size_t i = 0; i < g->spec.count; i++) {
        object_drop(g->results[i].object);
    }
    for (size_t i = 0; i < g->object_count; i++) {
        clear_slot(&g->objects[i]);
    }
    free(g->objects);
    bigmem_free(g->data);
}

static void step_again(struct get *g)
{
    release_objects(g);
    g->objects = NULL;
    g->object_count = g->next = g->done = 0;
    g->data = NULL;
    g->data_bytes = 0;
    g->scratch_used = 0;
    budget_give(&g->share);
    budget_give(&g->reply);
    memset(g->results, 0, g->spec.count * sizeof(*g->results));
    start_lookup(g, true);
}

void get_step(struct get *g)
{
    if (g->state == GET_READ) {
        step_read(g);
    }
    if (g->state == GET_AGAIN && g->pending == 0) {
        step_again(g);
    }
    if (g->state == GET_END && g->pending == 0) {
        g->pending = UINT32_MAX; /* nothing more comes */
        budget_give(&g->share);
        count_end(g);
        g->cb(g->ctx, g, g->rc);
    }
}

struct get *get_start(struct engine *engine, const struct get_spec *spec, get_cb cb, void *ctx)
{
    struct get *g = mem_zalloc(sizeof(*g));

    CHECK(spec->count <= GET_OBJECTS_MAX);
    g->engine = engine;
    g->spec = *spec;
    g->cb = cb;
    g->ctx = ctx;
    g->start_ns = clock_mono_ns();
    g->names = mem_array(spec->count + 1, sizeof(*g->names));
    g->results = mem_array(spec->count + 1, sizeof(*g->results));
    for (size_t i = 0; i < spec->count; i++) {
        g->names[i] = spec->items[i].name;
    }
    engine_hold(engine);
    g->pending = 1;
    g->open = (struct ns_open){.engine = engine,
                               .name = spec->ns,
                               .fresh = spec->consistent,
                               .ret_use = &g->use,
                               .cb = on_namespace,
                               .ctx = g};
    ns_open(&g->open);
    return g;
}

static void on_canceled(struct later_item *item)
{
    struct get *g = container_of(item, struct get, later);

    g->pending--;
    get_step(g);
}

void get_cancel(struct get *g)
{
    if (g->state == GET_END) {
        return;
    }
    err_set(&g->err, ERR_CANCELED, "get");
    get_fail(g, ERR_CANCELED, PROXY_RC_UNKNOWN);
    g->pending++;
    later_run(&g->engine->later, &g->later, on_canceled);
}

void get_free(struct get *g)
{
    struct engine *engine = g->engine;

    release_objects(g);
    budget_give(&g->reply);
    ns_drop(&g->use);
    free(g->names);
    free(g->results);
    free(g);
    engine_drop(engine);
}
