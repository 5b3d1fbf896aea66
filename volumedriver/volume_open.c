#include "volumedriver/volume_open.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_opening.h"

enum { RETAKE_RETRY_MS = 1000 };

/* ---- ends ---- */

void volume_opening_free(struct volume *v)
{
    struct volume_opening *o = v->opening;

    if (o == NULL) {
        return;
    }
    buf_release(&o->data);
    buf_release(&o->parts);
    buf_release(&o->garbage);
    chain_release(&o->chain);
    free(o);
    v->opening = NULL;
}

void volume_opening_end(struct volume_opening *o, int rc)
{
    struct volume *v = o->v;
    volume_open_cb cb = o->cb;
    void *ctx = o->ctx;

    volume_opening_free(v);
    if (cb != NULL) {
        cb(ctx, v, rc);
    }
    if (rc != 0 && cb != NULL) {
        volume_dispose(v);
    } else {
        volume_kick(v);
    }
}

void volume_opening_fail(struct volume_opening *o, int rc, const struct err *why, const char *what)
{
    struct volume *v = o->v;
    struct err e;

    err_copy(&e, why);
    e.code = rc;
    err_wrap(&e, "volume %s: %s", v->name, what);
    if (o->remap) {
        volume_opening_end(o, rc);
        volume_remap_end(v, &e);
        return;
    }
    if (o->retake && rc != ERR_FENCED && rc != ERR_FAILED) {
        /* A take may be in doubt, so nothing goes to the backend until one has succeeded. */
        v->retake_ms = volume_now_ms(v) + RETAKE_RETRY_MS;
    } else if (o->retake) {
        v->retaking = false;
        volume_stop(v, rc == ERR_FENCED ? VOLUME_FENCED : VOLUME_FAILED, &e);
    } else {
        err_copy(&v->err, &e);
    }
    volume_opening_end(o, rc);
}

/* ---- CHAIN ---- */

/* Objects from before the prefix that nothing names: left by a crash between put and root. */
static void judge_parts(struct volume_opening *o)
{
    const struct volume *v = o->v;

    for (size_t at = 0; at < o->parts.len;) {
        const char *name = (const char *)o->parts.data + at;
        uint64_t number = 0;
        bool named = sco_name_parse(name, strlen(name), 'm', &number) != 0;

        for (uint32_t i = 0; i < v->root.part_count && !named; i++) {
            named = v->root.parts[i].number == number;
        }
        if (!named) {
            buf_put(&o->garbage, name, strlen(name) + 1);
        }
        at += strlen(name) + 1;
    }
}

static void on_chain(struct chain *chain, int rc)
{
    struct volume_opening *o = container_of(chain, struct volume_opening, chain);
    struct volume *v = o->v;
    struct map_place start = {v->root.prefix_number, v->root.prefix_seq};

    if (rc == 0) {
        rc = chain_connect(chain, start, &chain->err);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &chain->err, "reading the chain of SCOs");
        return;
    }
    if (!o->remap) { /* its garbage is that of the opening */
        judge_parts(o);
    }
    volume_load_map(o);
}

/* ---- LIST ---- */

static void list_more(struct volume_opening *o, const char *prefix);

static void take_names(struct volume_opening *o, const char *prefix, const struct buf *names)
{
    for (size_t at = 0; at < names->len;) {
        const char *name = (const char *)names->data + at;
        size_t bytes = strlen(name);
        uint64_t number;

        if (bytes < sizeof(o->after_name)) {
            memcpy(o->after_name, name, bytes + 1);
        }
        if (*prefix == 'm') {
            buf_put(&o->parts, name, bytes + 1);
        } else if (sco_name_parse(name, bytes, 's', &number) == 0 &&
                   number > o->v->root.prefix_number && number <= o->upto) {
            chain_add(&o->chain, number);
        }
        at += bytes + 1;
    }
}

static void on_list(struct backend_req *req, int rc, const char *prefix)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);
    bool more = req->more;

    if (rc != 0) {
        buf_release(&req->names);
        volume_opening_fail(o, rc, &req->err, "listing");
        return;
    }
    take_names(o, prefix, &req->names);
    buf_release(&req->names);
    if (more) {
        list_more(o, prefix);
    } else if (*prefix == 's' && !o->remap) {
        o->after_name[0] = '\0';
        list_more(o, "m_");
    } else if (o->chain.count != 0) {
        chain_fetch(&o->chain, o->v->backend, o->v->uuid, on_chain);
    } else {
        on_chain(&o->chain, 0);
    }
}

static void on_scos(struct backend_req *req, int rc)
{
    on_list(req, rc, "s_");
}

static void on_parts(struct backend_req *req, int rc)
{
    on_list(req, rc, "m_");
}

static void list_more(struct volume_opening *o, const char *prefix)
{
    struct backend *b = o->v->backend;

    b->ops->list(b, &o->req, prefix, o->after_name, *prefix == 's' ? on_scos : on_parts);
}

/* ---- ROOT ---- */

static void on_root(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);
    struct volume *v = o->v;

    if (rc == 0) {
        rc = root_decode(o->data.data, o->data.len, v->uuid, &v->root, &req->err);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading the root");
        return;
    }
    if (v->root.epoch >= v->epoch) {
        /* Nothing that the registry or `owner_tag` knew: once more, with an epoch above it. */
        o->root_epoch = (uint32_t)v->root.epoch;
        o->claimed = false;
        root_release(&v->root);
        v->root = (struct root){0};
        volume_take(o);
        return;
    }
    v->root_crc = crc32c(0, o->data.data, o->data.len);
    v->map.keeps_zeroes = v->root.ancestor_count != 0;
    v->map.generation = v->root.head_generation;
    v->options.read_only = v->options.read_only || v->root.read_only || v->root.is_template;
    list_more(o, "s_");
}

static void on_root_info(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);

    if (rc == 0 && req->bytes > ROOT_BYTES_MAX) {
        rc = err_set(&req->err, ERR_CORRUPT, "it has %" PRIu64 " bytes", req->bytes);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading the root");
        return;
    }
    o->data.len = 0;
    o->slice = (struct backend_slice){.bytes = (uint32_t)req->bytes};
    o->slice.data = buf_extend(&o->data, (size_t)req->bytes);
    backend_read_fresh(o->v->backend, req, "volume", &o->slice, on_root);
}

void volume_read_root(struct volume_opening *o)
{
    struct backend *b = o->v->backend;

    b->ops->info(b, &o->req, "volume", on_root_info);
}

/* ---- entries ---- */

static struct volume_opening *opening_new(struct volume *v, volume_open_cb cb, void *ctx)
{
    struct volume_opening *o = mem_zalloc(sizeof(*o));

    o->v = v;
    o->cb = cb;
    o->ctx = ctx;
    o->upto = UINT64_MAX;
    v->opening = o;
    return o;
}

struct volume *volume_open(const struct volume_options *options, volume_open_cb cb, void *ctx)
{
    struct volume *v = mem_zalloc(sizeof(*v));

    v->options = *options;
    v->host = options->host;
    v->backend = options->backend;
    v->name = mem_strdup(options->name);
    v->options.name = v->name;
    memcpy(v->uuid, options->uuid, UUID_BYTES);
    v->state = VOLUME_OPENING;
    v->open_first = 1;
    list_init(&v->writes);
    list_init(&v->records);
    list_init(&v->stranded);
    list_init(&v->jobs);
    list_init(&v->drains);
    list_init(&v->remap.waits);
    map_volume_init(&v->map, v->host->map, v->uuid);
    v->map.on_fail = volume_map_failed;
    CHECK(uv_timer_init(v->host->loop, &v->timer) == 0);
    v->puts = volume_puts_join(v->host, options->preset);
    v->options.preset = v->puts->preset;
    list_push(&v->host->volumes, &v->link);
    volume_take(opening_new(v, cb, ctx));
    return v;
}

void volume_rebuild_map(struct volume *v)
{
    struct volume_opening *o = opening_new(v, NULL, NULL);

    o->remap = true;
    o->upto = v->committed.number;
    list_more(o, "s_");
}

void volume_retake(struct volume *v)
{
    struct volume_opening *o = opening_new(v, NULL, NULL);

    o->retake = true;
    v->retaking = true;
    volume_uploads_stop(v); /* nor may its jobs hold up the queue meanwhile */
    volume_take(o);
}
