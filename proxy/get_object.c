/* One object of a get: checked, read, read again with a fresh manifest, compared with its
 * checksum. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "proxy/digest.h"
#include "proxy/get_private.h"
#include "proxy/rc.h"

static int prepare(struct get *g, const struct get_item *item, const struct get_result *result,
                   struct readable *ret_readable)
{
    int rc = readable_init(ret_readable, g->engine, result->object, &g->err);

    if (rc == 0) {
        ret_readable->use_cache = item->slices != NULL;
    }
    return rc;
}

int32_t get_object_check(struct get *g, const struct get_item *item, struct get_result *result,
                         struct readable *ret_readable)
{
    struct object_read_need need = object_read_need_of(g->engine, ret_readable);
    int32_t proxy_rc = PROXY_RC_OK;

    result->bytes = result->scratch_bytes = 0;
    if (result->object == NULL) {
        if (g->spec.missing_ok) {
            return PROXY_RC_OK;
        }
        err_set(&g->err, ERR_NOT_FOUND, "object %.*s",
                item->name.len < 200 ? (int)item->name.len : 200, (const char *)item->name.data);
        return PROXY_RC_OBJECT_NOT_FOUND;
    }
    if (prepare(g, item, result, ret_readable) != 0) {
        return PROXY_RC_UNKNOWN;
    }
    if (item->slices == NULL) {
        result->bytes = result->object->manifest.size_bytes;
        object_read_need_add(&need, 0, result->bytes);
    } else {
        proxy_rc = get_check_slices(item, result->object->manifest.size_bytes, &g->err);
    }
    for (uint32_t i = 0; i < item->slice_count && proxy_rc == PROXY_RC_OK; i++) {
        result->bytes += (uint64_t)item->slices[i].bytes;
        object_read_need_add(&need, (uint64_t)item->slices[i].offset,
                             (uint64_t)item->slices[i].bytes);
    }
    result->scratch_bytes = object_read_need_bytes(&need);
    return proxy_rc;
}

static void make_ranges(struct get_object *o)
{
    const struct get_item *item = o->item;
    uint32_t count = item->slices == NULL ? 1 : item->slice_count;
    uint8_t *at = o->result->data;

    free(o->ranges);
    o->ranges = mem_array(count + 1, sizeof(*o->ranges));
    if (item->slices == NULL) {
        o->ranges[0] = (struct object_read_range){.bytes = o->result->bytes, .dest = at};
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        o->ranges[i] = (struct object_read_range){.offset = (uint64_t)item->slices[i].offset,
                                                  .bytes = (uint64_t)item->slices[i].bytes,
                                                  .dest = at};
        at += item->slices[i].bytes;
    }
}

static void object_failed(struct get_object *o, int rc, int32_t proxy_rc)
{
    struct get *g = o->get;

    err_wrap(&g->err, "get %.*s", o->item->name.len < 100 ? (int)o->item->name.len : 100,
             (const char *)o->item->name.data);
    get_fail(g, rc, proxy_rc);
    get_step(g);
}

/* Pool thread: uses this object's data, constant by now. */
static void digest_run(struct pool_work *work)
{
    struct get_object *o = container_of(work, struct get_object, digest);
    struct digest digest;

    digest_init(&digest, o->result->object->manifest.checksum.algo);
    digest_add(&digest, o->result->data, o->result->bytes,
               digest.algo == CHECKSUM_CRC32C ? crc32c(0, o->result->data, o->result->bytes) : 0);
    o->checksum = digest_result(&digest);
    digest_release(&digest);
}

static void digest_done(struct pool_work *work, int rc)
{
    struct get_object *o = container_of(work, struct get_object, digest);
    struct get *g = o->get;

    g->pending--;
    if (!get_is_reading(g)) {
        get_step(g);
    } else if (rc != 0) {
        err_set(&g->err, rc, "checksum");
        object_failed(o, rc, rc_of(rc));
    } else if (!checksum_eq(&o->checksum, &o->result->object->manifest.checksum)) {
        err_set(&g->err, ERR_CHECKSUM, "object checksum");
        object_failed(o, ERR_CHECKSUM, PROXY_RC_CHECKSUM_MISMATCH);
    } else {
        get_object_done(o);
    }
}

static void start_digest(struct get_object *o)
{
    struct get *g = o->get;
    int rc;

    if (o->item->slices != NULL || o->result->object->manifest.checksum.algo == CHECKSUM_NONE) {
        get_object_done(o);
        return;
    }
    rc = pool_submit(g->engine->pool, &o->digest, POOL_HIGH, digest_run, digest_done);
    if (rc != 0) {
        err_set(&g->err, rc, "checksum");
        object_failed(o, rc, rc_of(rc));
        return;
    }
    g->pending++;
}

static void read_again(struct get_object *o);

static void on_read(struct object_read *read, int rc)
{
    struct get_object *o = container_of(read, struct get_object, read);
    struct get *g = o->get;

    g->pending--;
    g->cache_hits += read->cache_hits;
    g->cache_misses += read->cache_misses;
    o->is_reading = false;
    if (!get_is_reading(g)) {
        get_step(g);
    } else if (rc == 0) {
        start_digest(o);
    } else if (!o->has_retried) {
        read_again(o);
    } else {
        err_copy(&g->err, &read->err);
        object_failed(o, rc, rc_of(rc));
    }
}

static void read_now(struct get_object *o)
{
    struct get *g = o->get;
    size_t count = o->item->slices == NULL ? 1 : o->item->slice_count;

    make_ranges(o);
    g->pending++;
    o->is_reading = true;
    object_read_start(&o->read, g->engine, &o->readable, o->ranges, count, o->scratch_bytes,
                      on_read);
}

void get_object_start(struct get_object *o)
{
    if (prepare(o->get, o->item, o->result, &o->readable) != 0) {
        get_fail(o->get, o->get->err.code, PROXY_RC_UNKNOWN); /* its key went away, say */
    } else {
        read_now(o);
    }
}

static void on_looked_again(struct lookup *lookup, int rc)
{
    struct get_object *o = container_of(lookup, struct get_object, again);
    struct get *g = o->get;
    uint64_t had = o->result->bytes;
    int32_t proxy_rc;

    g->pending--;
    if (!get_is_reading(g)) {
        lookup_release(lookup);
        get_step(g);
        return;
    }
    if (rc != 0) {
        err_copy(&g->err, &lookup->err);
        lookup_release(lookup);
        object_failed(o, rc, rc_of(rc));
        return;
    }
    object_drop(o->result->object);
    o->result->object = lookup->objects[0];
    lookup->objects[0] = NULL;
    lookup_release(lookup);
    proxy_rc = get_object_check(g, o->item, o->result, &o->readable);
    if (proxy_rc != PROXY_RC_OK) {
        object_failed(o, g->err.code, proxy_rc);
    } else if (o->result->object == NULL) {
        get_object_done(o);
    } else if (o->result->bytes > had || o->result->scratch_bytes > o->scratch_bytes) {
        get_again(g);
    } else {
        read_now(o);
    }
}

static void read_again(struct get_object *o)
{
    struct get *g = o->get;
    struct lookup_spec spec = {.use = &g->use,
                               .names = &o->item->name,
                               .count = 1,
                               .consistent = true,
                               .should_cache = true};

    o->has_retried = true;
    g->engine->stats.totals.stale_manifests++;
    stats_add(&stats_of(&g->engine->stats, g->spec.ns)->manifest_stale, 1);
    g->pending++;
    lookup_start(&o->again, g->engine, &spec, on_looked_again);
}
