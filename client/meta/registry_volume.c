/* Volume records.
 *
 * create, delete, and a put that changes the size are changes of the registry (others may need to
 * know); every other put is a compare-and-swap of the record alone: opens and DTL changes
 * of thousands of volumes do not queue behind one version.
 *
 * In doubt and then refused: the stored bytes are ours (each put carries a fresh stamp) -> done;
 * others' -> it never happens, ERR_ASSERT_FAILED with what is there. */
#include "meta/registry_volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/registry_private.h"
#include "meta/volume_record.h"

void registry_volume_release(struct registry_volume *volume)
{
    buf_release(&volume->raw);
}

void registry_volume_move(struct registry_volume *to, struct registry_volume *from)
{
    registry_volume_release(to);
    *to = *from;
    from->raw = (struct buf){0};
}

/* ---- operations ---- */

struct volume_op {
    struct change change;
    struct registry *registry;
    struct registry_volume volume; /* to be stored, or what was read */
    struct buf value;              /* its bytes */
    struct key key;
    uint64_t deadline_ms;
    bool is_delete;
    registry_volume_cb cb;
    void *ctx;
};

static struct volume_op *volume_of(struct change *c)
{
    return container_of(c, struct volume_op, change);
}

static struct volume_op *volume_new(struct registry *registry, const struct registry_volume *v,
                                    registry_volume_cb cb, void *ctx)
{
    struct volume_op *op = mem_zalloc(sizeof(*op));

    op->registry = registry;
    op->deadline_ms = clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS;
    op->cb = cb;
    op->ctx = ctx;
    if (v != NULL) {
        op->volume = *v;
        op->volume.raw = (struct buf){0};
        buf_put(&op->volume.raw, v->raw.data, v->raw.len);
    }
    return op;
}

static void volume_finish(struct volume_op *op, int rc, const struct err *e)
{
    op->cb(op->ctx, rc, e, &op->volume);
    registry_volume_release(&op->volume);
    buf_release(&op->value);
    free(op);
}

static void volume_done(struct change *change, int rc)
{
    struct volume_op *op = volume_of(change);

    if (rc == 0) {
        op->volume.raw.len = 0;
        buf_put(&op->volume.raw, op->value.data, op->value.len);
    }
    volume_finish(op, rc, &change->err);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    volume_finish(ctx, rc, reply->err);
}

static void volume_refuse(struct volume_op *op, const struct err *e)
{
    kv_fail(op->registry->kv, e, on_refused, op);
}

/* op->volume -> op->key, op->value. */
static int volume_encode(struct volume_op *op, struct err *e)
{
    json_t *json;

    if (volume_check(&op->volume, e) != 0) {
        return e->code;
    }
    json = volume_json(&op->volume);
    if (json == NULL) {
        return err_set(e, ERR_CONFIG, "volume '%s': a text is not UTF-8", op->volume.name);
    }
    reg_key(&op->key, REG_VOLUME, op->volume.name);
    value_make_json(&op->value, slice_key(&op->key), json);
    json_decref(json);
    return 0;
}

/* ---- create ---- */

static int build_create(struct change *c, const struct registry_view *view)
{
    struct volume_op *op = volume_of(c);

    (void)view;
    /* The bytes made before: a repetition stores the same record. */
    change_assert_absent(c, REG_VOLUME, op->volume.name, ERR_EXISTS);
    change_assert_absent(c, REG_VOLUME_ID, op->volume.uuid, ERR_EXISTS);
    change_put_value(c, REG_VOLUME, op->volume.name, slice_buf(&op->value));
    change_put_new(c, REG_VOLUME_ID, op->volume.uuid, json_pack("{s:s}", "name", op->volume.name));
    return 0;
}

void registry_volume_create(struct registry *registry, const struct registry_volume *volume,
                            registry_volume_cb cb, void *ctx)
{
    struct volume_op *op = volume_new(registry, volume, cb, ctx);
    struct err e;

    op->volume.owner[0] = op->volume.device[0] = '\0';
    op->volume.epoch = 0;
    op->volume.dtl = REGISTRY_DTL_NONE;
    op->volume.damage = (struct registry_damage){0};
    op->volume.created_us = clock_wall_us();
    if (volume_encode(op, &e) != 0) {
        volume_refuse(op, &e);
        return;
    }
    change_start(registry, &op->change, build_create, volume_done);
}

/* ---- get, list ---- */

static void on_record(void *ctx, int rc, const struct kv_reply *reply)
{
    struct volume_op *op = ctx;
    const struct kv_item *item = reply->items;
    struct err e = {0};

    if (rc == 0 && !item->found) {
        rc = err_set(&e, ERR_NOT_FOUND, "volume '%s'",
                     op->volume.name[0] != '\0' ? op->volume.name : op->volume.uuid);
    } else if (rc == 0) {
        rc = volume_parse(item->key, item->value, &op->volume, &e);
    }
    volume_finish(op, rc, e.code != 0 ? &e : reply->err);
}

static void read_record(struct volume_op *op)
{
    struct slice k = reg_key(&op->key, REG_VOLUME, op->volume.name);

    kv_get(op->registry->kv, &k, 1, kv_left_ms(op->deadline_ms), on_record, op);
}

void registry_volume_get(struct registry *registry, const char *name, registry_volume_cb cb,
                         void *ctx)
{
    struct volume_op *op = volume_new(registry, NULL, cb, ctx);
    struct err e;

    if (record_check_name("volume name", name, REGISTRY_VOLUME_NAME_BYTES - 1, &e) != 0) {
        volume_refuse(op, &e);
        return;
    }
    snprintf(op->volume.name, sizeof(op->volume.name), "%s", name);
    read_record(op);
}

static void on_name(void *ctx, int rc, const struct kv_reply *reply)
{
    struct volume_op *op = ctx;
    struct err e = {0};
    json_t *json;

    if (rc == 0 && !reply->items[0].found) {
        rc = err_set(&e, ERR_NOT_FOUND, "volume with UUID '%s'", op->volume.uuid);
    } else if (rc == 0) {
        rc = value_open_json(reply->items[0].key, reply->items[0].value, &json, &e);
    }
    if (rc == 0) {
        rc = volume_take_name(&op->volume, json);
        json_decref(json);
        if (rc != 0) {
            rc = err_set(&e, ERR_CORRUPT, "volume id '%s'", op->volume.uuid);
        }
    }
    if (rc != 0) {
        volume_finish(op, rc, e.code != 0 ? &e : reply->err);
        return;
    }
    read_record(op);
}

void registry_volume_get_uuid(struct registry *registry, const char *uuid, registry_volume_cb cb,
                              void *ctx)
{
    struct volume_op *op = volume_new(registry, NULL, cb, ctx);
    struct slice k;
    struct err e;

    if (strlen(uuid) != RND_UUID_TEXT_BYTES - 1) {
        err_set(&e, ERR_NOT_FOUND, "volume with UUID '%.60s'", uuid);
        volume_refuse(op, &e);
        return;
    }
    memcpy(op->volume.uuid, uuid, RND_UUID_TEXT_BYTES);
    k = reg_key(&op->key, REG_VOLUME_ID, uuid);
    kv_get(registry->kv, &k, 1, kv_left_ms(op->deadline_ms), on_name, op);
}

struct list_op {
    registry_volumes_cb cb;
    void *ctx;
};

static void on_list(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *op = ctx;
    struct registry_volume *volumes = mem_array(reply->count + 1, sizeof(*volumes));
    struct err e = {0};
    size_t count = 0;

    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        rc = volume_parse(reply->items[i].key, reply->items[i].value, &volumes[i], &e);
        count += rc == 0;
    }
    op->cb(op->ctx, rc, e.code != 0 ? &e : reply->err, volumes, rc == 0 ? count : 0,
           rc == 0 && reply->has_more);
    for (size_t i = 0; i < count; i++) {
        registry_volume_release(&volumes[i]);
    }
    free(volumes);
    free(op);
}

void registry_volume_list(struct registry *registry, const char *after, size_t limit,
                          registry_volumes_cb cb, void *ctx)
{
    struct list_op *op = mem_zalloc(sizeof(*op));
    struct key low, high;
    char bounded[REGISTRY_VOLUME_NAME_BYTES];

    op->cb = cb;
    op->ctx = ctx;
    snprintf(bounded, sizeof(bounded), "%s", after);
    reg_key(&low, REG_VOLUME, bounded);
    if (bounded[0] != '\0') {
        key_next(&low);
    }
    reg_key(&high, REG_VOLUME, "");
    key_prefix_end(&high);
    kv_range(registry->kv,
             &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = limit},
             0, on_list, op);
}

/* ---- put, delete ---- */

/* The swap failed: tell what is there instead; or it was ours, in spite of a lost reply. */
static void on_present(void *ctx, int rc, const struct kv_reply *reply)
{
    struct volume_op *op = ctx;
    const struct kv_item *item = reply->items;
    bool doubted = op->change.err.code == ERR_IN_DOUBT;
    struct err e = {0};

    if (rc != 0) {
        err_set(&e, doubted ? ERR_IN_DOUBT : rc, "volume '%s'", op->volume.name);
    } else if (!item->found) {
        err_set(&e, ERR_NOT_FOUND, "volume '%s'", op->volume.name);
    } else if (doubted && slice_eq(item->value, slice_buf(&op->volume.raw))) {
        err_set(&e, ERR_IN_DOUBT, "volume '%s'", op->volume.name); /* it may still come */
    } else {
        bool ours = slice_eq(item->value, slice_buf(&op->value));

        registry_volume_release(&op->volume);
        if (volume_parse(item->key, item->value, &op->volume, &e) == 0 && !ours) {
            err_set(&e, ERR_ASSERT_FAILED, "volume '%s' was changed by '%s'", op->volume.name,
                    op->volume.owner);
        }
    }
    volume_finish(op, e.code, &e);
}

static void read_present(struct volume_op *op, bool doubted)
{
    struct slice k = slice_key(&op->key);

    op->change.err.code = doubted ? ERR_IN_DOUBT : 0;
    kv_get(op->registry->kv, &k, 1, kv_left_ms(op->deadline_ms + 2000), on_present, op);
}

static void on_swapped(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct volume_op *op = ctx;

    kv_txn_release(&op->change.txn);
    if (rc == 0) {
        op->volume.raw.len = 0;
        buf_put(&op->volume.raw, op->value.data, op->value.len);
        volume_finish(op, 0, result->err);
    } else if (rc == ERR_CANCELED || (rc != ERR_ASSERT_FAILED && !result->doubted)) {
        volume_finish(op, rc, result->err);
    } else {
        read_present(op, result->doubted);
    }
}

static int build_put(struct change *c, const struct registry_view *view)
{
    struct volume_op *op = volume_of(c);

    (void)view;
    change_assert_value(c, REG_VOLUME, op->volume.name, slice_buf(&op->volume.raw),
                        ERR_ASSERT_FAILED);
    if (op->is_delete) {
        change_delete(c, REG_VOLUME, op->volume.name);
        change_delete(c, REG_VOLUME_ID, op->volume.uuid);
    } else {
        change_put_value(c, REG_VOLUME, op->volume.name, slice_buf(&op->value));
    }
    return 0;
}

static void changed(struct change *c, int rc)
{
    struct volume_op *op = volume_of(c);

    if (rc == ERR_ASSERT_FAILED) {
        read_present(op, false);
    } else {
        volume_done(c, rc);
    }
}

/* What `volume` was read from must be of this volume, and an owner changes by a higher epoch. */
static int check_step(const struct volume_op *op, bool *ret_resized, struct err *e)
{
    struct registry_volume old;
    int rc = 0;

    if (volume_parse(slice_key(&op->key), slice_buf(&op->volume.raw), &old, e) != 0) {
        return err_set(e, -EINVAL, "volume '%s' was not read before", op->volume.name);
    }
    if (strcmp(old.uuid, op->volume.uuid) != 0) {
        rc = err_set(e, -EINVAL, "volume '%s': another UUID", op->volume.name);
    } else if (op->volume.epoch < old.epoch ||
               (op->volume.epoch == old.epoch && strcmp(old.owner, op->volume.owner) != 0)) {
        rc = err_set(e, -EINVAL, "volume '%s': owner '%s' needs an epoch over %llu",
                     op->volume.name, op->volume.owner, (unsigned long long)old.epoch);
    }
    *ret_resized = old.size_bytes != op->volume.size_bytes;
    registry_volume_release(&old);
    return rc;
}

void registry_volume_put(struct registry *registry, const struct registry_volume *volume,
                         registry_volume_cb cb, void *ctx)
{
    struct volume_op *op = volume_new(registry, volume, cb, ctx);
    struct kv_txn *txn = &op->change.txn;
    bool resized = false;
    struct err e;

    if (volume_encode(op, &e) != 0 || check_step(op, &resized, &e) != 0) {
        volume_refuse(op, &e);
        return;
    }
    if (resized) {
        change_start(registry, &op->change, build_put, changed);
        return;
    }
    txn->reserve = true;
    kv_txn_assert_equal(txn, slice_key(&op->key), slice_buf(&op->volume.raw));
    kv_txn_put(txn, slice_key(&op->key), slice_buf(&op->value));
    kv_commit(registry->kv, txn, op->deadline_ms, on_swapped, op);
}

void registry_volume_delete(struct registry *registry, const struct registry_volume *volume,
                            registry_volume_cb cb, void *ctx)
{
    struct volume_op *op = volume_new(registry, volume, cb, ctx);
    bool resized;
    struct err e;

    op->is_delete = true;
    if (volume_encode(op, &e) != 0 || check_step(op, &resized, &e) != 0) {
        volume_refuse(op, &e);
        return;
    }
    change_start(registry, &op->change, build_put, changed);
}
