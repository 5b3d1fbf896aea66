/* prepare -> look (empty, or a recovery that has not ended) -> take the marker -> delete what an
 * earlier one left -> write the records, a batch each -> version, next ids, end of the marker
 *
 * Each transaction asserts the marker, so of two recoveries the one that took it first stops. After
 * deletions the marker is taken anew: a late copy of one would delete what was written since. A
 * repetition of a batch writes the same again; that of the first and the last is recognised by
 * what is there. */
#include "meta/registry_restore.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "meta/engine_owner.h"
#include "meta/kv_commit.h"
#include "meta/registry_ids.h"
#include "meta/registry_record.h"

enum { TIMEOUT_MS = 60000, BATCH_UPDATES = 100, BATCH_BYTES = 512 * 1024, WIPE_KEYS = 100 };

struct restore_op {
    struct kv *kv;
    const struct restore_options *o;
    struct buf marker_seen; /* of the recovery before, or ours before this one; empty: none */
    struct buf marker;      /* ours */
    bool has_wiped;         /* … since we have this one */
    struct buf records;     /* to be written, in the form of a snapshot */
    struct rd left;         /* … of them */
    struct kv_txn txn;
    char commit[COPY_COMMIT_TEXT_BYTES];
    registry_cb cb;
    void *ctx;
};

static void finish(struct restore_op *op, int rc, const struct err *e)
{
    struct err why = {0};

    if (rc != 0) {
        err_copy(&why, e);
        err_wrap(&why, "recovery of the registry");
    }
    op->cb(op->ctx, rc, &why);
    kv_txn_release(&op->txn);
    buf_release(&op->marker_seen);
    buf_release(&op->marker);
    buf_release(&op->records);
    free(op);
}

static void fail(struct restore_op *op, int code, const char *why)
{
    struct err e;

    finish(op, err_say(&e, code, "%s", why), &e);
}

/* ---- what is written ---- */

static int put_json(struct buf *records, const char *prefix, const char *id, const json_t *json,
                    struct err *e)
{
    struct buf value = {0};
    struct key key;
    int rc;

    reg_key(&key, prefix, id);
    value_make_json(&value, slice_key(&key), json);
    rc = copy_put(records, slice_key(&key), slice_buf(&value), e);
    buf_release(&value);
    return rc;
}

static bool begins(struct slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

/* Its manifests are in the engine of a host of its own: they are there still. */
static bool has_manifests(const struct registry_view *view, const json_t *ns)
{
    const struct registry_nsm_host *host =
        registry_view_nsm_host_find(view, json_text(ns, "nsm_host", ""));

    return host != NULL && strcmp(host->url, "registry:") != 0;
}

/* A namespace without manifests is lost; whether a DTL has everything nobody knows any more. */
static void change_record(const struct registry_view *view, struct slice tail, json_t *json)
{
    if (begins(tail, REG_NAMESPACE) && !has_manifests(view, json)) {
        json_object_set_new(json, "state", json_string("lost"));
    } else if (begins(tail, REG_VOLUME) && strcmp(json_text(json, "dtl", "none"), "none") != 0) {
        json_object_set_new(json, "dtl", json_string("degraded"));
    }
}

static int take_records(struct restore_op *op, const struct registry_view *view, struct err *e)
{
    struct rd r = rd_of(op->o->snapshot.data, op->o->snapshot.len);
    struct slice key, value;
    int rc = 0;

    while (rc == 0 && copy_next(&r, &key, &value)) {
        struct slice tail = reg_key_tail(key);
        json_t *json;

        if (slice_eq(tail, slice_str(REG_NEXT_ID)) || slice_eq(tail, slice_str(REG_RECOVERED))) {
            continue; /* last */
        }
        if (!begins(tail, REG_NAMESPACE) && !begins(tail, REG_VOLUME)) {
            rc = copy_put(&op->records, key, value, e);
            continue;
        }
        rc = value_open_json(key, value, &json, e);
        if (rc == 0) {
            char *id = mem_printf("%.*s", (int)tail.len, (const char *)tail.data);

            change_record(view, tail, json);
            rc = put_json(&op->records, "", id, json, e);
            free(id);
            json_decref(json);
        }
    }
    return rc;
}

static int put_found(struct restore_op *op, const struct registry_view *view, struct err *e)
{
    const struct preset *preset = registry_view_preset_find(view, NULL);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < op->o->found_count; i++) {
        const struct restore_namespace *found = &op->o->found[i];
        struct registry_namespace ns = {
            .id = found->id,
            .name = found->name,
            .preset = preset != NULL ? preset->name : "default",
            .nsm_host = found->nsm_host != NULL ? found->nsm_host : "registry",
            .state = found->is_whole ? REGISTRY_NS_ACTIVE : REGISTRY_NS_LOST,
            .created_us = clock_wall_us()};
        json_t *json = record_namespace_json(&ns);

        rc = put_json(&op->records, REG_NAMESPACE, found->name, json, e);
        json_decref(json);
    }
    return rc;
}

static int check_ids(const struct restore_op *op, struct err *e)
{
    json_t *ids = copy_find(op->o->snapshot, REG_NEXT_ID);
    int rc = registry_ids_check(ids, e);

    json_decref(ids);
    return rc == 0 ? 0 : err_wrap(e, "copy of the registry");
}

static void txn_put(struct restore_op *op, const char *prefix, const char *id, json_t *take_json)
{
    struct buf value = {0};
    struct key key;

    CHECK(take_json != NULL);
    reg_key(&key, prefix, id);
    value_make_json(&value, slice_key(&key), take_json);
    kv_txn_put(&op->txn, slice_key(&key), slice_buf(&value));
    buf_release(&value);
    json_decref(take_json);
}

static void put_ids(struct restore_op *op)
{
    json_t *ids = copy_find(op->o->snapshot, REG_NEXT_ID);
    json_t *before = copy_find(op->o->snapshot, REG_RECOVERED);

    registry_ids_raise(&op->txn, ids, before, op->o->namespace_id_seen,
                       json_pack("{s:I, s:I}", "copy_version", (json_int_t)op->o->head->version,
                                 "copy_time_us", (json_int_t)op->o->head->time_us));
    json_decref(ids);
    json_decref(before);
}

/* ---- steps ---- */

static void wipe(struct restore_op *op);
static void mark(struct restore_op *op);
static void write_batch(struct restore_op *op);

static void txn_begin(struct restore_op *op)
{
    struct key key;

    kv_txn_release(&op->txn);
    kv_txn_assert_equal(&op->txn, reg_key(&key, REG_RECOVERING, ""), slice_buf(&op->marker));
}

static void txn_send(struct restore_op *op, kv_commit_cb cb)
{
    kv_commit(op->kv, &op->txn, clock_mono_ms() + TIMEOUT_MS, cb, op);
}

static void fail_commit(struct restore_op *op, int rc, const struct kv_commit_result *result)
{
    if (rc == ERR_ASSERT_FAILED) {
        fail(op, ERR_BUSY, "another one has taken over");
    } else {
        finish(op, rc, result->err);
    }
}

static void on_looked_for_ours(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;
    json_t *json;
    struct err e;

    if (rc != 0) {
        finish(op, rc, reply->err);
        return;
    }
    if (!reply->items[0].found) {
        fail(op, ERR_BUSY, "another one has taken over");
        return;
    }
    if (value_open_json(reply->items[0].key, reply->items[0].value, &json, &e) != 0) {
        finish(op, e.code, &e);
        return;
    }
    if (strcmp(json_text(json, "commit", ""), op->commit) == 0) {
        finish(op, 0, NULL);
    } else {
        fail(op, ERR_EXISTS, "another one has ended before");
    }
    json_decref(json);
}

static void on_finished(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct restore_op *op = ctx;
    struct key key;
    struct slice k;

    if (rc == ERR_ASSERT_FAILED && result->doubted) {
        k = reg_key(&key, REG_VERSION, "");
        kv_get(op->kv, &k, 1, 0, on_looked_for_ours, op);
    } else if (rc != 0) {
        fail_commit(op, rc, result);
    } else {
        finish(op, 0, NULL);
    }
}

static void write_end(struct restore_op *op)
{
    uint64_t seen =
        op->o->version_seen > op->o->head->version ? op->o->version_seen : op->o->head->version;
    uint64_t version = seen + RESTORE_VERSIONS_APART;
    char id[RECORD_ID_TEXT_BYTES];
    uint8_t commit[16];
    struct key key;

    rnd_bytes(commit, sizeof(commit));
    hex_encode(op->commit, commit, sizeof(commit));
    record_id_text(version, id);
    txn_begin(op);
    kv_txn_assert_absent(&op->txn, reg_key(&key, REG_VERSION, ""));
    txn_put(op, REG_VERSION, "",
            json_pack("{s:I, s:s}", "version", (json_int_t)version, "commit", op->commit));
    txn_put(op, REG_CHANGE, id, json_pack("{s:s, s:[]}", "commit", op->commit, "keys"));
    put_ids(op);
    kv_txn_delete(&op->txn, reg_key(&key, REG_RECOVERING, ""));
    txn_send(op, on_finished);
}

static void on_batch(void *ctx, int rc, const struct kv_commit_result *result)
{
    if (rc != 0) {
        fail_commit(ctx, rc, result);
    } else {
        write_batch(ctx);
    }
}

static void write_batch(struct restore_op *op)
{
    struct slice key, value;

    txn_begin(op);
    while (op->txn.update_count < BATCH_UPDATES && op->txn.bytes < BATCH_BYTES &&
           copy_next(&op->left, &key, &value)) {
        kv_txn_put(&op->txn, key, value);
    }
    if (op->txn.update_count == 0) {
        write_end(op);
    } else {
        txn_send(op, on_batch);
    }
}

static void on_wiped(void *ctx, int rc, const struct kv_commit_result *result)
{
    if (rc != 0) {
        fail_commit(ctx, rc, result);
    } else {
        wipe(ctx);
    }
}

static void on_leftovers(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;

    if (rc != 0) {
        finish(op, rc, reply->err);
        return;
    }
    txn_begin(op);
    for (size_t i = 0; i < reply->count; i++) {
        if (!slice_eq(reg_key_tail(reply->items[i].key), slice_str(REG_RECOVERING))) {
            kv_txn_delete(&op->txn, reply->items[i].key);
        }
    }
    if (op->txn.update_count != 0) {
        op->has_wiped = true;
        txn_send(op, on_wiped);
    } else if (op->has_wiped) {
        op->has_wiped = false;
        op->marker_seen.len = 0;
        buf_put(&op->marker_seen, op->marker.data, op->marker.len);
        mark(op);
    } else {
        write_batch(op);
    }
}

static void read_root(struct restore_op *op, const char *root, kv_cb cb)
{
    struct key low = {0}, high;

    key_put_text(&low, root);
    high = low;
    key_prefix_end(&high);
    kv_range(op->kv,
             &(struct kv_range){.low = slice_key(&low),
                                .high = slice_key(&high),
                                .limit = WIPE_KEYS,
                                .keys_only = true},
             0, cb, op);
}

/* What a recovery before this one wrote may be of another copy. */
static void wipe(struct restore_op *op)
{
    read_root(op, "/alba/v1/reg/", on_leftovers);
}

/* ---- the marker ---- */

static void on_marker_there(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;

    if (rc != 0) {
        finish(op, rc, reply->err);
    } else if (reply->items[0].found && slice_eq(reply->items[0].value, slice_buf(&op->marker))) {
        wipe(op);
    } else {
        fail(op, ERR_BUSY, "another one has taken over");
    }
}

static void on_marked(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct restore_op *op = ctx;
    struct key key;
    struct slice k;

    if (rc == ERR_ASSERT_FAILED && result->doubted) {
        k = reg_key(&key, REG_RECOVERING, "");
        kv_get(op->kv, &k, 1, 0, on_marker_there, op);
    } else if (rc != 0) {
        fail_commit(op, rc, result);
    } else {
        wipe(op);
    }
}

static void mark(struct restore_op *op)
{
    char id[RND_UUID_TEXT_BYTES];
    struct key key, version, host;
    json_t *json;

    rnd_uuid_text(id);
    json = json_pack("{s:s}", "id", id);
    reg_key(&key, REG_RECOVERING, "");
    kv_txn_release(&op->txn);
    op->marker.len = 0;
    value_make_json(&op->marker, slice_key(&key), json);
    json_decref(json);
    if (op->marker_seen.len != 0) {
        kv_txn_assert_equal(&op->txn, slice_key(&key), slice_buf(&op->marker_seen));
    } else {
        kv_txn_assert_absent(&op->txn, slice_key(&key));
    }
    kv_txn_assert_absent(&op->txn, reg_key(&version, REG_VERSION, ""));
    kv_txn_assert_absent(&op->txn, engine_mark_key(&host));
    kv_txn_put(&op->txn, slice_key(&key), slice_buf(&op->marker));
    txn_send(op, on_marked);
}

static void on_any_key(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;

    if (rc != 0) {
        finish(op, rc, reply->err);
    } else if (reply->count != 0) {
        fail(op, ERR_EXISTS, "the metadata store is not empty; only an empty one is written to");
    } else {
        mark(op);
    }
}

static void on_look(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;
    const struct kv_item *marker = &reply->items[1];

    if (rc != 0) {
        finish(op, rc, reply->err);
    } else if (reply->items[0].found) {
        fail(op, ERR_EXISTS, "the store holds a registry; only an empty one is written to");
    } else if (marker->found) {
        buf_put(&op->marker_seen, marker->value.data, marker->value.len);
        mark(op);
    } else {
        read_root(op, "/alba/v1/", on_any_key);
    }
}

static void on_prepared(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore_op *op = ctx;
    struct key keys[2];
    struct slice slices[2];

    if (rc != 0) {
        finish(op, rc, reply->err);
        return;
    }
    slices[0] = reg_key(&keys[0], REG_VERSION, "");
    slices[1] = reg_key(&keys[1], REG_RECOVERING, "");
    kv_get(op->kv, slices, 2, 0, on_look, op);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    finish(ctx, rc, reply->err);
}

void registry_restore(struct kv *kv, const struct restore_options *options, registry_cb cb,
                      void *ctx)
{
    struct restore_op *op = mem_zalloc(sizeof(*op));
    const struct registry_view *view;
    struct err e;

    op->kv = kv;
    op->o = options;
    op->cb = cb;
    op->ctx = ctx;
    if (copy_view(options->snapshot, options->head->version, &view, &e) != 0) {
        kv_fail(kv, &e, on_refused, op);
        return;
    }
    if (check_ids(op, &e) == 0 && take_records(op, view, &e) == 0 && put_found(op, view, &e) == 0) {
        op->left = rd_of(op->records.data, op->records.len);
        kv_prepare(kv, on_prepared, op);
    } else {
        kv_fail(kv, &e, on_refused, op);
    }
    registry_view_drop(view);
}
