#include "alba/restore_end.h"

#include "base/hex.h"
#include "base/rnd.h"
#include "meta/registry_ids.h"
#include "meta/registry_record.h"

static const char *const counters[] = {"osd", "namespace", "work"};

/* ---- what was given out ---- */

static void raise_to(json_t *ids, const char *name, const json_t *from)
{
    uint64_t value = json_u64(from, name, 0);

    if (value > json_u64(ids, name, 0)) {
        json_object_set_new(ids, name, json_integer((json_int_t)value));
    }
}

static void lower_to(json_t *ids, const char *name, uint64_t value)
{
    if (value != 0 && value < json_u64(ids, name, UINT64_MAX)) {
        json_object_set_new(ids, name, json_integer((json_int_t)value));
    }
}

/* `from`: {osd, namespace, work}, and perhaps unsure_from, restored_from_version: the earliest. */
static void merge(json_t *ids, const json_t *from)
{
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        raise_to(ids, counters[i], from);
    }
    lower_to(ids, "unsure_from", json_u64(from, "unsure_from", json_u64(from, "namespace", 0)));
    lower_to(ids, "restored_from_version", json_u64(from, "restored_from_version", 0));
}

/* next-id and recovered of the registry there is. */
static int merge_records(struct session *s, struct kv *kv, json_t *ids)
{
    static const char *const names[2] = {REG_NEXT_ID, REG_RECOVERED};
    struct backup_page page = {0};
    struct slice slices[2];
    struct key keys[2];
    int rc;

    for (int i = 0; i < 2; i++) {
        slices[i] = reg_key(&keys[i], names[i], "");
    }
    rc = backup_get(s, kv, slices, 2, &page);
    for (int i = 0; rc == 0 && i < 2; i++) {
        json_t *json = NULL;

        if (page.items[i].found) {
            rc = value_open_json(slices[i], page.items[i].value, &json, &s->err);
        }
        if (json != NULL) {
            merge(ids, json);
            json_decref(json);
        }
    }
    backup_page_release(&page);
    return rc;
}

int restore_ids_read(struct session *s, const struct restore_fence *fence, json_t **ret_ids)
{
    json_t *ids = json_object();
    json_t *mark = NULL;
    struct err e;
    int rc;

    if (fence->mark.len != 0 &&
        value_open_json(slice_key(&fence->key), slice_buf(&fence->mark), &mark, &e) == 0) {
        merge(ids, json_object_get(mark, "ids"));
        json_decref(mark);
    }
    *ret_ids = ids;
    rc = merge_records(s, fence->kv, ids);
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        rc = 0; /* it is to be deleted, damaged or not */
    }
    return rc != 0 ? rc : registry_ids_check(ids, &s->err);
}

/* ---- the end ---- */

/* Returns the commit's id. */
static void put_change(struct kv_txn *txn, uint64_t version,
                       char ret_commit[COPY_COMMIT_TEXT_BYTES])
{
    uint8_t commit[(COPY_COMMIT_TEXT_BYTES - 1) / 2];
    char id[RECORD_ID_TEXT_BYTES];
    struct buf value = {0};
    struct key key;
    struct slice k;
    json_t *json;

    rnd_bytes(commit, sizeof(commit));
    hex_encode(ret_commit, commit, sizeof(commit));
    record_id_text(version, id);
    k = reg_key(&key, REG_CHANGE, id);
    json = json_pack("{s:s, s:[]}", "commit", ret_commit, "keys");
    value_make_json(&value, k, json);
    kv_txn_put(txn, k, slice_buf(&value));
    buf_release(&value);
    json_decref(json);
}

int restore_end(struct session *s, const struct backup_head *head, struct restore_fence *fence,
                const json_t *ids)
{
    uint64_t version = head->version + 1;
    char commit[COPY_COMMIT_TEXT_BYTES];
    json_t *all = json_deep_copy(ids);
    struct kv_txn txn = {0};
    int rc = merge_records(s, fence->kv, all);

    rc = rc != 0 ? rc : registry_ids_check(all, &s->err);
    if (rc == 0) {
        json_t *json;

        put_change(&txn, version, commit);
        registry_ids_raise(&txn, all, all, 0,
                           json_pack("{s:I}", "restored_from_version", (json_int_t)head->version));
        json = json_pack("{s:I, s:s}", "version", (json_int_t)version, "commit", commit);
        rc = restore_fence_put(s, fence, json, &txn);
        json_decref(json);
    }
    json_decref(all);
    kv_txn_release(&txn);
    return rc;
}
