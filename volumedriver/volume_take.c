/* Becoming the owner of a volume, once per epoch: OWNER, CLAIM and TAKE of volume_opening.h. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_opening.h"
#include "volumedriver/volume_past.h"

/* ---- TAKE ---- */

static void owner_is_ours(struct volume_opening *o)
{
    o->v->owner = o->after;
    if (o->retake) {
        volume_record_epoch(o);
        return;
    }
    o->v->epoch = o->v->claim.epoch;
    volume_read_root(o);
}

static void on_taken(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);

    if (rc == 0) {
        owner_is_ours(o);
    } else if (rc == ERR_ASSERT_FAILED || rc == ERR_IN_DOUBT) {
        volume_take(o); /* it tells whose it is by now */
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
    v->backend->ops->apply(v->backend, &o->req,
                           &(struct backend_transaction){.asserts = asserts,
                                                         .assert_count = 2,
                                                         .updates = updates,
                                                         .update_count = 2,
                                                         .flags = BACKEND_RESERVE},
                           on_taken);
}

/* ---- CLAIM ---- */

/* Whether this journal may follow the owner that was read, under `epoch`. */
static int succeed(struct volume_opening *o, uint32_t epoch, struct owner *ret_after)
{
    struct volume *v = o->v;
    struct owner_claim want = {.epoch = epoch, .accept_loss = v->options.accept_loss};
    struct journal_stats journal;

    memcpy(want.journal, journal_id(v->host->journal), UUID_BYTES);
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
    v->claim.cb = on_claim;
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
    backend_read_fresh(o->v->backend, req, OWNER_NAME, &o->slice, on_owner);
}

void volume_take(struct volume_opening *o)
{
    o->slice = (struct backend_slice){.bytes = VOLUME_TAG_BYTES, .data = o->tag};
    backend_read_fresh(o->v->backend, &o->req, "owner_tag", &o->slice, on_tag);
}
