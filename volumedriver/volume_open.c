#include "volumedriver/volume_open.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_opening.h"
#include "volumedriver/volume_past.h"

enum { RETAKE_RETRY_MS = 1000 };

static void read_tag(struct volume_opening *o);

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
        read_tag(o);
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
    o->v->backend->ops->read(o->v->backend, req, "volume", &o->slice, 1, true, on_root);
}

/* ---- TAKE ---- */

static void owner_is_ours(struct volume_opening *o)
{
    o->v->owner = o->after;
    if (o->retake) {
        volume_record_epoch(o);
        return;
    }
    o->v->epoch = o->v->claim.epoch;
    o->v->backend->ops->info(o->v->backend, &o->req, "volume", on_root_info);
}

static void on_taken(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);

    if (rc == 0) {
        owner_is_ours(o);
    } else if (rc == ERR_ASSERT_FAILED || rc == ERR_IN_DOUBT) {
        read_tag(o); /* it tells whose it is by now */
    } else {
        volume_opening_fail(o, rc, &req->err, "taking over");
    }
}

static void take(struct volume_opening *o)
{
    struct volume *v = o->v;
    struct backend_assert asserts[2] = {
        {.name = "owner_tag", .kind = BACKEND_CHECKSUM, .crc = crc32c(0, o->tag, VOLUME_TAG_BYTES)},
        {.name = OWNER_NAME, .kind = BACKEND_CHECKSUM, .crc = crc32c(0, o->owner, OWNER_BYTES)}};
    struct backend_update updates[2] = {
        {.name = "owner_tag", .data = o->new_tag, .bytes = VOLUME_TAG_BYTES},
        {.name = OWNER_NAME, .data = o->new_owner, .bytes = OWNER_BYTES}};

    put_u64le(o->new_tag, v->claim.epoch);
    owner_encode(&o->after, o->new_owner);
    updates[0].crc = crc32c(0, o->new_tag, VOLUME_TAG_BYTES);
    updates[1].crc = crc32c(0, o->new_owner, OWNER_BYTES);
    /* From here on what the backend names may be ours, whatever reply comes. */
    volume_note_epoch(v, v->claim.epoch);
    v->backend->ops->apply(v->backend, &o->req, asserts, 2, updates, 2, BACKEND_RESERVE, on_taken);
}

/* ---- CLAIM ---- */

/* Whether this journal may follow the owner that was read, under `epoch`. */
static int succeed(struct volume_opening *o, uint32_t epoch, struct owner *ret_after)
{
    struct volume *v = o->v;
    struct owner_claim want = {.epoch = epoch, .accept_loss = v->options.accept_loss};
    struct journal_stats journal;

    memcpy(want.journal, journal_id(v->host->journal), 16);
    journal_stats(v->host->journal, &journal);
    want.incarnation = journal.incarnation;
    want.wrote_before = volume_tried_epoch(v, o->before.epoch);
    return owner_succeed(&o->before, &want, ret_after, &o->req.err);
}

static void on_claim(struct volume_claim *claim, int rc)
{
    struct volume *v = container_of(claim, struct volume, claim);
    struct volume_opening *o = v->opening;

    if (rc == 0 && (claim->epoch <= claim->floor || claim->epoch > EPOCH_MAX)) {
        rc = err_set(&claim->err, ERR_CORRUPT, "epoch %" PRIu32 ", wanted above %" PRIu32,
                     claim->epoch, claim->floor);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &claim->err, "claiming it in the registry");
        return;
    }
    o->claimed = true;
    rc = succeed(o, claim->epoch, &o->after);
    if (rc != 0) {
        volume_opening_fail(o, rc, &o->req.err, "taking over");
        return;
    }
    take(o);
}

/* ---- OWNER ---- */

/* What is there after a try of ours with an outcome that said nothing: ours, as it was, of a life
 * of ours before this one, whose transaction happened only now, or of somebody who came later. */
static void judge_try(struct volume_opening *o, uint64_t tag)
{
    if (tag == o->v->claim.epoch || memcmp(o->owner, o->new_owner, OWNER_BYTES) == 0) {
        owner_is_ours(o);
    } else if (memcmp(o->owner, o->owner_before, OWNER_BYTES) == 0) {
        take(o);
    } else if (tag < o->v->claim.epoch && !o->retake) {
        err_set(&o->req.err, ERR_BUSY, "an older try, epoch %" PRIu64 ", has just succeeded", tag);
        volume_opening_fail(o, ERR_BUSY, &o->req.err, "taking over");
    } else {
        err_set(&o->req.err, ERR_FENCED, "owner_tag is %" PRIu64, tag);
        volume_opening_fail(o, ERR_FENCED, &o->req.err, "taking over");
    }
}

/* Above all that was ever written under: registry and backend may have been restored to an older
 * state each for itself. */
static uint32_t floor_of(const struct volume_opening *o, uint32_t owner_epoch)
{
    const struct volume *v = o->v;
    uint32_t seen = volume_epoch_seen(v), floor = owner_epoch;

    floor = v->epoch > floor ? v->epoch : floor;
    floor = seen > floor ? seen : floor;
    return o->root_epoch > floor ? o->root_epoch : floor;
}

static void on_owner(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);
    struct volume *v = o->v;
    uint64_t tag = get_u64le(o->tag);
    struct owner now;

    if (rc == 0) {
        rc = owner_decode(o->owner, OWNER_BYTES, v->uuid, &now, &req->err);
    }
    if (rc == 0 && now.epoch != tag && !o->claimed) {
        /* The two are replaced together; we read them one after the other. */
        rc = err_set(&req->err, ERR_BUSY, "somebody else is taking over");
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading its owner");
        return;
    }
    if (o->claimed) {
        judge_try(o, tag);
        return;
    }
    if (o->root_epoch == 0) {
        o->before = now;
    } else if (now.epoch != v->claim.epoch) {
        err_set(&req->err, ERR_FENCED, "owner_tag is %" PRIu64, tag);
        volume_opening_fail(o, ERR_FENCED, &req->err, "taking over");
        return;
    }
    memcpy(o->owner_before, o->owner, OWNER_BYTES);
    v->claim.floor = floor_of(o, now.epoch);
    rc = succeed(o, v->claim.floor + 1, &now);
    if (rc != 0) { /* an epoch would not help, and there are 16 million */
        volume_opening_fail(o, rc, &req->err, "taking over");
        return;
    }
    v->options.owner->claim(v->options.owner_ctx, v, &v->claim);
}

static void on_tag(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);

    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading owner_tag");
        return;
    }
    o->slice = (struct backend_slice){.bytes = OWNER_BYTES, .data = o->owner};
    o->v->backend->ops->read(o->v->backend, req, OWNER_NAME, &o->slice, 1, true, on_owner);
}

static void read_tag(struct volume_opening *o)
{
    o->slice = (struct backend_slice){.bytes = VOLUME_TAG_BYTES, .data = o->tag};
    o->v->backend->ops->read(o->v->backend, &o->req, "owner_tag", &o->slice, 1, true, on_tag);
}

static struct volume_opening *opening_new(struct volume *v, volume_open_cb cb, void *ctx)
{
    struct volume_opening *o = mem_zalloc(sizeof(*o));

    o->v = v;
    o->cb = cb;
    o->ctx = ctx;
    o->upto = UINT64_MAX;
    v->opening = o;
    v->claim.cb = on_claim;
    return o;
}

void volume_opening_start(struct volume *v, volume_open_cb cb, void *ctx)
{
    read_tag(opening_new(v, cb, ctx));
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
    read_tag(o);
}
