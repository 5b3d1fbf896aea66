/* nsm_update: read, let the caller edit, compare-and-swap; again when another update came first.
 *
 * In doubt and then refused: what is stored is what we wrote -> done; else ERR_IN_DOUBT (the
 * fragments of this update are then left to garbage collection, which asks the manifest). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rnd.h"
#include "meta/nsm_private.h"

struct update_op {
    struct nsm_op op;
    uint8_t id[NSM_OBJECT_ID_BYTES];
    uint64_t gc_epoch;
    nsm_modify_cb modify;
    void *modify_ctx;
    struct buf old_value;
    struct buf new_value;
    struct manifest old;
    struct manifest edited;
    struct kv_txn txn;
    unsigned tries;
    bool judging; /* the read is to settle a doubt */
};

static void update_read(struct update_op *u);

static void update_finish(struct update_op *u, int rc, const struct err *e)
{
    struct nsm_reply *reply = u->op.reply;

    if (rc == 0) {
        reply->objects = mem_array(1, sizeof(*reply->objects));
        reply->objects[0] = (struct nsm_object){.found = true, .manifest = u->edited};
        reply->count = 1;
        u->edited = (struct manifest){0};
    }
    reply->gc_epoch_ended = rc == ERR_STALE;
    nsm_op_finish(&u->op, rc, e);
    manifest_release(&u->old);
    manifest_release(&u->edited);
    buf_release(&u->old_value);
    buf_release(&u->new_value);
    kv_txn_release(&u->txn);
    free(u);
}

/* ---- the transaction ---- */

static bool same_place(const struct manifest_fragment *a, const struct manifest_fragment *b)
{
    return b->has_osd && a->osd_id == b->osd_id && a->version == b->version;
}

/* Fragments that the old manifest names and the new one does not: to be deleted. */
static int put_dropped(struct update_op *u, struct err *e)
{
    size_t count = (size_t)u->old.chunk_count * manifest_fragments_per_chunk(&u->old);
    struct slice id = slice_of(u->id, sizeof(u->id));
    uint8_t commit_id[NS_COMMIT_ID_BYTES];
    struct manifest dropped;
    struct buf payload = {0};
    struct buf value = {0};
    struct key key;
    struct slice k;
    bool any = false;
    int rc = 0;

    manifest_copy(&dropped, &u->old);
    for (size_t i = 0; i < count; i++) {
        struct manifest_fragment *f = &dropped.fragments[i];

        f->has_osd = f->has_osd && !same_place(f, &u->edited.fragments[i]);
        any |= f->has_osd;
    }
    if (any) {
        rnd_bytes(commit_id, sizeof(commit_id));
        k = ns_key_dropped(&key, u->op.ns_id, id, u->edited.version_id);
        rc = manifest_encode(&dropped, MANIFEST_V3, &payload, e);
        if (rc == 0) {
            ns_value_obsolete(&value, k, commit_id, slice_buf(&payload));
            kv_txn_assert_absent(&u->txn, k); /* a version id drops fragments once */
            kv_txn_put(&u->txn, k, slice_buf(&value));
        }
    }
    manifest_release(&dropped);
    buf_release(&payload);
    buf_release(&value);
    return rc;
}

/* d/ keys follow the difference of two ascending lists. */
static void put_osds(struct update_op *u)
{
    struct slice id = slice_of(u->id, sizeof(u->id));
    uint64_t *before, *after;
    size_t before_count = ns_manifest_osds(&u->old, &before);
    size_t after_count = ns_manifest_osds(&u->edited, &after);
    struct buf value = {0};
    struct key key;

    for (size_t i = 0, j = 0; i < before_count || j < after_count;) {
        if (j == after_count || (i < before_count && before[i] < after[j])) {
            kv_txn_delete(&u->txn, ns_key_osd(&key, u->op.ns_id, before[i++], id));
        } else if (i == before_count || before[i] > after[j]) {
            struct slice k = ns_key_osd(&key, u->op.ns_id, after[j++], id);

            value.len = 0;
            value_make(&value, k, slice_of(NULL, 0));
            kv_txn_put(&u->txn, k, slice_buf(&value));
        } else {
            i++;
            j++;
        }
    }
    free(before);
    free(after);
    buf_release(&value);
}

static int build(struct update_op *u, struct err *e)
{
    struct key key;
    struct slice k;
    struct buf epoch = {0};

    if (!slice_eq(u->edited.object_id, u->old.object_id) ||
        !slice_eq(u->edited.name, u->old.name) || u->edited.chunk_count != u->old.chunk_count ||
        u->edited.scheme.k != u->old.scheme.k || u->edited.scheme.m != u->old.scheme.m) {
        return err_set(e, -EINVAL, "an update may not change id, name or layout of an object");
    }
    kv_txn_release(&u->txn);
    u->txn.reserve = true; /* epilogue and repair go on when a system is full */
    k = ns_key_epoch(&key, u->op.ns_id, u->gc_epoch);
    ns_value_epoch(&epoch, k);
    kv_txn_assert_equal(&u->txn, k, slice_buf(&epoch));
    buf_release(&epoch);

    k = ns_key_object(&key, u->op.ns_id, slice_of(u->id, sizeof(u->id)));
    u->new_value.len = 0;
    if (ns_value_manifest(&u->new_value, k, &u->edited, e) != 0) {
        return e->code;
    }
    kv_txn_assert_equal(&u->txn, k, slice_buf(&u->old_value));
    kv_txn_put(&u->txn, k, slice_buf(&u->new_value));
    put_osds(u);
    if (put_dropped(u, e) != 0) {
        return e->code;
    }
    return kv_txn_check(&u->txn, e);
}

/* ---- steps ---- */

static void on_slept(void *ctx, int rc, const struct kv_reply *reply)
{
    if (rc != 0) {
        update_finish(ctx, rc, reply->err);
        return;
    }
    update_read(ctx);
}

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct update_op *u = ctx;
    struct key key;
    struct err e;

    u->op.reply->attempts += result->sent;
    if (rc == 0 || rc == ERR_CANCELED) {
        update_finish(u, rc, result->err);
    } else if (result->doubted) {
        u->judging = true;
        update_read(u);
    } else if (rc != ERR_ASSERT_FAILED) {
        update_finish(u, rc, result->err);
    } else if (slice_eq(result->failed_key, ns_key_epoch(&key, u->op.ns_id, u->gc_epoch))) {
        err_set(&e, ERR_STALE, "gc epoch %llu", (unsigned long long)u->gc_epoch);
        update_finish(u, e.code, &e);
    } else if (!slice_eq(result->failed_key,
                         ns_key_object(&key, u->op.ns_id, slice_of(u->id, sizeof(u->id))))) {
        err_set(&e, ERR_EXISTS, "version id %u of the object", u->edited.version_id);
        update_finish(u, e.code, &e);
    } else if (++u->tries >= NSM_TRIES_MAX) {
        err_set(&e, ERR_BUSY, "others update this manifest all the time");
        update_finish(u, e.code, &e);
    } else {
        kv_sleep(u->op.nsm->kv, u->tries < 4 ? 0 : u->tries, on_slept, u);
    }
}

static void settle(struct update_op *u, int rc, const struct kv_reply *reply)
{
    struct err e;

    if (rc == 0 && reply->items[0].found &&
        slice_eq(reply->items[0].value, slice_buf(&u->new_value))) {
        update_finish(u, 0, NULL);
        return;
    }
    err_set(&e, ERR_IN_DOUBT, "update of a manifest");
    update_finish(u, e.code, &e);
}

static void on_read(void *ctx, int rc, const struct kv_reply *reply)
{
    struct update_op *u = ctx;
    const struct kv_item *item = reply->items;
    struct err e = {0};

    if (u->judging) {
        settle(u, rc, reply);
        return;
    }
    if (rc != 0) {
        update_finish(u, rc, reply->err);
        return;
    }
    if (!item->found) {
        err_set(&e, ERR_NOT_FOUND, "object");
        update_finish(u, e.code, &e);
        return;
    }
    manifest_release(&u->old);
    manifest_release(&u->edited);
    rc =
        ns_value_manifest_open(item->key, item->value, slice_of(u->id, sizeof(u->id)), &u->old, &e);
    if (rc != 0) {
        update_finish(u, rc, &e);
        return;
    }
    u->old_value.len = 0;
    buf_put(&u->old_value, item->value.data, item->value.len);
    manifest_copy(&u->edited, &u->old);
    rc = u->modify(u->modify_ctx, &u->edited);
    if (rc < 0) {
        err_set(&e, rc, "update of a manifest given up");
        update_finish(u, rc, &e);
    } else if (rc > 0) {
        update_finish(u, 0, NULL);
    } else if (build(u, &e) != 0) {
        update_finish(u, e.code, &e);
    } else {
        kv_commit(u->op.nsm->kv, &u->txn, u->op.deadline_ms, on_commit, u);
    }
}

static void update_read(struct update_op *u)
{
    struct key key;
    struct slice k = ns_key_object(&key, u->op.ns_id, slice_of(u->id, sizeof(u->id)));
    unsigned timeout_ms = kv_left_ms(u->op.deadline_ms);

    kv_get(u->op.nsm->kv, &k, 1, u->judging && timeout_ms < 2000 ? 2000 : timeout_ms, on_read, u);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    update_finish(ctx, rc, reply->err);
}

void nsm_update(struct nsm *nsm, uint64_t ns_id, struct slice object_id, uint64_t gc_epoch,
                nsm_modify_cb modify, nsm_cb cb, void *ctx)
{
    struct update_op *u = mem_zalloc(sizeof(*u));
    struct err e;

    nsm_op_init(&u->op, nsm, ns_id, 0, cb, ctx);
    u->gc_epoch = gc_epoch;
    u->modify = modify;
    u->modify_ctx = ctx;
    if (object_id.len != NSM_OBJECT_ID_BYTES) {
        err_set(&e, -EINVAL, "object id of %zu bytes", object_id.len);
        kv_fail(nsm->kv, &e, on_refused, u);
        return;
    }
    memcpy(u->id, object_id.data, NSM_OBJECT_ID_BYTES);
    update_read(u);
}
