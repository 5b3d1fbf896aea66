/* Replacing the root: checkpoints of the map, and resize.
 *
 *   BUILD   freeze the map in its store, then make the next part (checkpoints only, to PART)
 *   PART    put it as m_…; again while parts follow. PART_ASK: is it there, after a doubt
 *   NEXT    tell the map's store the new root's id
 *   ROOT    [owner_tag, the root is the one we know] + the new one: the commit point
 *   ASK     whose root is there, after a doubtful outcome
 *   DONE    tell the map; delete parts that the new root does not name
 *
 * A failure other than of the map or of ownership is tried again after a while; when the map has
 * failed and nothing is in doubt, all of it is, behind the map's rebuilding. A crash anywhere
 * before ROOT leaves m_ objects that no root names; every open sweeps those. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_private.h"

enum {
    DELTAS_MIN = 16,  /* before the chain is merged into a new base, when that pays … */
    DELTAS_MAX = 256, /* … or anyway */
    RETRY_MS = 1000,
    CHECKPOINT_TRAILERS = 64 * 1048576,
};

enum change_state { BUILD, PART, PART_ASK, NEXT, ROOT, ASK, DONE };

struct root_change {
    struct volume *v;
    enum change_state state;
    bool waiting; /* until volume.root_retry_ms */
    struct map_checkpoint *cp;
    bool full;
    uint64_t trailer_bytes; /* that the checkpoint makes needless */
    struct root_part *parts;
    uint32_t part_count;
    uint32_t part_crc;
    uint64_t size_bytes; /* of the new root */
    struct root root;
    struct buf bytes;
    uint32_t crc;
    struct map_task task;
    struct backend_req req;
};

static void step(struct root_change *c);

/* ---- ends and retries ---- */

static void change_free(struct root_change *c)
{
    c->v->change = NULL;
    if (c->cp != NULL) {
        map_checkpoint_end(c->cp);
        free(c->cp);
    }
    root_release(&c->root);
    buf_release(&c->bytes);
    free(c->parts);
    free(c);
}

static void change_end(struct root_change *c, int rc, const struct err *why)
{
    struct volume *v = c->v;
    struct volume_resize *resize = c->cp == NULL ? v->resize : NULL;

    if (resize != NULL) {
        v->resize = NULL;
    }
    change_free(c);
    if (resize != NULL) {
        if (rc != 0) {
            err_copy(&resize->err, why);
        }
        resize->cb(resize, rc);
    }
    volume_kick(v);
}

/* What the map's store cannot tell or be told: a new one will do. A resize stays wanted unless
 * the root is there. */
static void map_failed(struct root_change *c)
{
    struct volume *v = c->v;

    if (c->state == DONE) {
        change_end(c, 0, NULL);
    } else {
        v->checkpointed = v->checkpointed && c->cp == NULL;
        change_free(c);
        volume_kick(v);
    }
}

/* A close drains what was acknowledged; a resize is not, and is not waited for. */
static bool may_try_on(const struct root_change *c)
{
    return volume_may_upload(c->v) && (c->cp != NULL || c->v->state != VOLUME_CLOSING);
}

static void retry(struct root_change *c)
{
    struct volume *v = c->v;
    struct err why = v->err;

    if (v->map.failed != 0 && c->state < ROOT) {
        map_failed(c);
        return;
    }
    if (!may_try_on(c)) {
        if (why.code == 0) {
            err_set(&why, ERR_CANCELED, "volume %s is closing", v->name);
        }
        change_end(c, why.code, &why);
        return;
    }
    c->waiting = true;
    v->root_retry_ms = volume_now_ms(v) + RETRY_MS;
    volume_kick(v);
}

static void give_up(struct root_change *c, int rc, const struct err *why)
{
    volume_stop(c->v, VOLUME_FAILED, why);
    change_end(c, rc, why);
}

/* ---- parts ---- */

static void on_part_ask(struct backend_req *req, int rc)
{
    struct root_change *c = container_of(req, struct root_change, req);
    struct err e;

    if (rc != 0) {
        c->state = PART;
        retry(c);
    } else if (req->bytes == c->cp->object.len && req->crc == c->part_crc) {
        c->state = c->cp->last ? NEXT : BUILD;
        step(c);
    } else {
        err_set(&e, ERR_CORRUPT, "checkpoint is there with other content");
        give_up(c, ERR_CORRUPT, &e);
    }
}

static void on_part(struct backend_req *req, int rc)
{
    struct root_change *c = container_of(req, struct root_change, req);
    char name[SCO_NAME_BYTES];

    if (rc == 0) {
        c->state = c->cp->last ? NEXT : BUILD;
        step(c);
    } else if (volume_is_fenced(c->v, req, rc)) {
        change_end(c, rc, &req->err);
    } else if (rc == ERR_ASSERT_FAILED) {
        checkpoint_name(c->parts[c->part_count - 1].number, name);
        c->state = PART_ASK;
        c->v->backend->ops->info(c->v->backend, req, name, on_part_ask);
    } else {
        retry(c);
    }
}

static void put_part(struct root_change *c)
{
    struct volume *v = c->v;
    struct root_part *part = &c->parts[c->part_count - 1];
    struct backend_assert asserts[2] = {volume_tag_assert(v), {.kind = BACKEND_ABSENT}};
    struct backend_update update = {
        .data = c->cp->object.data, .bytes = c->cp->object.len, .crc = c->part_crc};
    char name[SCO_NAME_BYTES];

    checkpoint_name(part->number, name);
    asserts[1].name = update.name = name;
    v->backend->ops->apply(v->backend, &c->req,
                           &(struct backend_transaction){.asserts = asserts,
                                                         .assert_count = 2,
                                                         .updates = &update,
                                                         .update_count = 1,
                                                         .flags = BACKEND_RESERVE},
                           on_part);
}

static void on_built(struct map_checkpoint *cp, int rc)
{
    struct root_change *c = cp->owner;
    struct root_part *part;

    if (rc != 0) {
        map_failed(c);
        return;
    }
    c->parts = mem_realloc(c->parts, (c->part_count + 1) * sizeof(*c->parts));
    part = &c->parts[c->part_count++];
    *part = (struct root_part){.number = sco_number(c->v->epoch, c->v->next_part_index++),
                               .bytes = cp->object.len,
                               .kind = c->full ? CHECKPOINT_BASE : CHECKPOINT_DELTA};
    c->part_crc = crc32c(0, cp->object.data, cp->object.len);
    c->v->stats.checkpoint_bytes += cp->object.len;
    c->state = PART;
    step(c);
}

static void build_part(struct root_change *c)
{
    struct volume *v = c->v;
    struct err e;

    buf_release(&c->cp->object);
    if (v->next_part_index > SCO_INDEX_MAX ||
        c->part_count + v->root.part_count >= ROOT_PARTS_MAX) {
        err_set(&e, ERR_TOO_LARGE, "checkpoint of too many parts");
        change_end(c, ERR_TOO_LARGE, &e);
        return;
    }
    map_checkpoint_next(c->cp, sco_number(v->epoch, v->next_part_index), v->epoch, on_built);
}

static void on_begun(struct map_checkpoint *cp, int rc)
{
    struct root_change *c = cp->owner;

    if (rc != 0) {
        map_failed(c);
        return;
    }
    c->trailer_bytes = c->v->trailer_bytes;
    step(c);
}

/* ---- the root ---- */

static void take_parts(struct root_change *c)
{
    struct root *r = &c->root;

    if (c->full) {
        r->part_count = 0;
    }
    r->parts = mem_realloc(r->parts, (r->part_count + c->part_count + 1) * sizeof(*r->parts));
    memcpy(r->parts + r->part_count, c->parts, c->part_count * sizeof(*r->parts));
    r->part_count += c->part_count;
    r->prefix_number = c->cp->place.number;
    r->prefix_seq = c->cp->place.seq;
    r->checkpoint_ordinal = c->cp->ordinal;
}

static void on_told(struct map_task *task, int rc)
{
    struct root_change *c = container_of(task, struct root_change, task);

    if (rc != 0) {
        map_failed(c);
        return;
    }
    c->state = ROOT;
    step(c);
}

/* A copy of the root as it is, with what changes. */
static void make_root(struct root_change *c)
{
    struct volume *v = c->v;
    struct err e;

    root_encode(&v->root, &c->bytes);
    CHECK(root_decode(c->bytes.data, c->bytes.len, v->uuid, &c->root, &e) == 0);
    memcpy(c->root.id_before, v->root.id, UUID_BYTES);
    rnd_bytes(c->root.id, sizeof(c->root.id));
    c->root.epoch = v->epoch;
    c->root.size_bytes = c->size_bytes != 0 ? c->size_bytes : v->root.size_bytes;
    if (c->cp != NULL) {
        take_parts(c);
    }
    c->bytes.len = 0;
    root_encode(&c->root, &c->bytes);
    c->crc = crc32c(0, c->bytes.data, c->bytes.len);
    map_set_next_root(&v->map, &c->task, c->root.id, on_told);
}

static void on_ask(struct backend_req *req, int rc)
{
    struct root_change *c = container_of(req, struct root_change, req);
    struct err e;

    if (rc == 0 && req->crc == c->crc && req->bytes == c->bytes.len) {
        c->state = DONE;
        step(c);
    } else if (rc != 0 || req->crc == c->v->root_crc) {
        c->state = rc != 0 ? ASK : ROOT;
        retry(c);
    } else {
        err_set(&e, ERR_FENCED, "the root is not the one this owner wrote");
        volume_stop(c->v, VOLUME_FENCED, &e);
        change_end(c, ERR_FENCED, &e);
    }
}

static void on_root(struct backend_req *req, int rc)
{
    struct root_change *c = container_of(req, struct root_change, req);

    if (rc == 0) {
        c->state = DONE;
        step(c);
    } else if (volume_is_fenced(c->v, req, rc)) {
        change_end(c, rc, &req->err);
    } else if (rc == ERR_ASSERT_FAILED || rc == ERR_IN_DOUBT) {
        c->state = ASK;
        step(c);
    } else {
        retry(c);
    }
}

static void put_root(struct root_change *c)
{
    struct volume *v = c->v;
    struct backend_assert asserts[2] = {
        volume_tag_assert(v), {.name = "volume", .kind = BACKEND_CHECKSUM, .crc = v->root_crc}};
    struct backend_update update = {
        .name = "volume", .data = c->bytes.data, .bytes = c->bytes.len, .crc = c->crc};

    v->backend->ops->apply(v->backend, &c->req,
                           &(struct backend_transaction){.asserts = asserts,
                                                         .assert_count = 2,
                                                         .updates = &update,
                                                         .update_count = 1,
                                                         .flags = BACKEND_RESERVE},
                           on_root);
}

static void on_replaced(struct map_task *task, int rc)
{
    struct root_change *c = container_of(task, struct root_change, task);

    if (rc != 0) {
        map_failed(c);
        return;
    }
    change_end(c, 0, NULL);
}

static void root_done(struct root_change *c)
{
    struct volume *v = c->v;
    struct root old = v->root;

    if (c->full && old.part_count != 0) {
        struct buf names = {0};

        for (uint32_t i = 0; i < old.part_count; i++) {
            char name[SCO_NAME_BYTES];

            checkpoint_name(old.parts[i].number, name);
            buf_put(&names, name, sizeof(name));
        }
        volume_sweep_start(v, &names);
    }
    v->root = c->root;
    v->root_crc = c->crc;
    c->root = (struct root){0};
    root_release(&old);
    if (c->cp != NULL) {
        v->trailer_bytes -= c->trailer_bytes;
        v->stats.checkpoints++;
    }
    map_root_replaced(&v->map, &c->task, v->root.checkpoint_ordinal,
                      c->cp != NULL ? c->cp->upto_ordinal : 0, on_replaced);
}

static void step(struct root_change *c)
{
    switch (c->state) {
    case BUILD:
        build_part(c);
        break;
    case PART:
        put_part(c);
        break;
    case NEXT:
        make_root(c);
        break;
    case ROOT:
        put_root(c);
        break;
    case ASK:
        c->v->backend->ops->info(c->v->backend, &c->req, "volume", on_ask);
        break;
    default:
        root_done(c);
        break;
    }
}

/* ---- who wants one ---- */

bool volume_wants_checkpoint(const struct volume *v)
{
    uint64_t limit =
        v->host->checkpoint_bytes != 0 ? v->host->checkpoint_bytes : CHECKPOINT_TRAILERS;

    if (v->state == VOLUME_CLOSING) {
        return !v->checkpointed && v->trailer_bytes != 0 && v->committed.seq == v->open_last &&
               map_can_store(v->host->map);
    }
    return v->trailer_bytes >= limit;
}

/* Merging writes the whole map, so deltas must have grown to its size first. */
static bool wants_base(const struct root *r)
{
    uint64_t base_bytes = 0, delta_bytes = 0;
    uint32_t deltas = 0;

    for (uint32_t i = 0; i < r->part_count; i++) {
        deltas += r->parts[i].kind == CHECKPOINT_DELTA;
        *(r->parts[i].kind == CHECKPOINT_DELTA ? &delta_bytes : &base_bytes) += r->parts[i].bytes;
    }
    return r->part_count == 0 || deltas >= DELTAS_MAX ||
           (deltas >= DELTAS_MIN && delta_bytes >= base_bytes);
}

static struct root_change *change_new(struct volume *v)
{
    struct root_change *c = mem_zalloc(sizeof(*c));

    c->v = v;
    v->change = c;
    return c;
}

void volume_root_pump(struct volume *v)
{
    struct root_change *c = v->change;

    if (c != NULL) {
        bool ends = !may_try_on(c) || (v->map.failed != 0 && c->state < ROOT);

        if (c->waiting && (volume_now_ms(v) >= v->root_retry_ms || ends)) {
            c->waiting = false;
            if (!ends) {
                step(c);
            } else {
                retry(c);
            }
        }
    } else if (v->resize != NULL && (!volume_may_upload(v) || v->state == VOLUME_CLOSING)) {
        struct volume_resize *resize = v->resize;

        v->resize = NULL;
        err_set(&resize->err, ERR_CANCELED, "volume %s is closing", v->name);
        resize->cb(resize, ERR_CANCELED);
    } else if (!volume_may_upload(v) || v->retaking || !volume_map_ready(v) ||
               !map_can_store(v->host->map)) {
        return;
    } else if (v->resize != NULL) {
        c = change_new(v);
        c->state = NEXT;
        c->size_bytes = v->resize->size_bytes;
        step(c);
    } else if (volume_wants_checkpoint(v)) {
        v->checkpointed = v->state == VOLUME_CLOSING;
        c = change_new(v);
        c->state = BUILD;
        c->full = wants_base(&v->root);
        c->cp = mem_zalloc(sizeof(*c->cp));
        map_checkpoint_begin(&v->map, c->cp, c->full, on_begun);
        c->cp->owner = c;
    }
}

bool volume_root_busy(const struct volume *v)
{
    return v->change != NULL && !v->change->waiting;
}
