#include "alba/restore_end.h"

#include "meta/registry_ids.h"
#include "meta/registry_record.h"

static int put_ids(struct session *s, const struct backup_head *head, struct kv_txn *txn)
{
    static const char *const names[2] = {REG_NEXT_ID, REG_RECOVERED};
    struct backup_page page = {0};
    json_t *records[2] = {NULL, NULL};
    struct slice slices[2];
    struct key keys[2];
    int rc;

    for (int i = 0; i < 2; i++) {
        slices[i] = reg_key(&keys[i], names[i], "");
    }
    rc = backup_get(s, s->kv, slices, 2, &page);
    for (int i = 0; rc == 0 && i < 2; i++) {
        if (page.items[i].found) {
            rc = value_open_json(slices[i], page.items[i].value, &records[i], &s->err);
        }
    }
    if (rc == 0) {
        registry_ids_raise(txn, records[0], records[1], 0,
                           json_pack("{s:I}", "restored_from_version", (json_int_t)head->version));
    }
    json_decref(records[0]);
    json_decref(records[1]);
    backup_page_release(&page);
    return rc;
}

int restore_end(struct session *s, const struct backup_head *head, struct slice mark,
                struct kv_txn *txn)
{
    json_t *json =
        json_pack("{s:I, s:s}", "version", (json_int_t)head->version, "commit", head->commit);
    struct buf value = {0};
    struct key key;
    struct slice k = reg_key(&key, REG_VERSION, "");

    value_make_json(&value, k, json);
    kv_txn_assert_equal(txn, k, mark);
    kv_txn_put(txn, k, slice_buf(&value));
    buf_release(&value);
    json_decref(json);
    return put_ids(s, head, txn);
}
