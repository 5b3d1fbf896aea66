#include "meta/registry_ids.h"

#include "base/check.h"
#include "base/clock.h"
#include "meta/registry_record.h"

static void put(struct kv_txn *txn, const char *name, json_t *take_json)
{
    struct buf value = {0};
    struct key key;

    CHECK(take_json != NULL);
    reg_key(&key, name, "");
    value_make_json(&value, slice_key(&key), take_json);
    kv_txn_put(txn, slice_key(&key), slice_buf(&value));
    buf_release(&value);
    json_decref(take_json);
}

int registry_ids_check(const json_t *ids, struct err *e)
{
    static const char *const names[] = {"osd", "namespace", "work"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (json_object_get(ids, names[i]) != NULL &&
            json_u64(ids, names[i], UINT64_MAX) > IDS_MAX) {
            return err_set(e, ERR_CORRUPT, "next %s id", names[i]);
        }
    }
    return 0;
}

void registry_ids_raise(struct kv_txn *txn, const json_t *ids, const json_t *before,
                        uint64_t namespace_id_seen, json_t *take_more)
{
    uint64_t known = json_u64(ids, "namespace", 1);
    uint64_t next =
        (namespace_id_seen >= known ? namespace_id_seen + 1 : known) + IDS_NAMESPACES_APART;
    uint64_t from = json_u64(before, "restored_from_version", 0);
    json_t *recovered = take_more != NULL ? take_more : json_object();
    struct err e;

    CHECK(registry_ids_check(ids, &e) == 0 && namespace_id_seen <= IDS_MAX);
    /* What an older restore cut off is still another history. */
    if (from != 0 && json_u64(recovered, "restored_from_version", 0) > from) {
        json_object_set_new(recovered, "restored_from_version", json_integer((json_int_t)from));
    }
    json_object_set_new(recovered, "at_us", json_integer((json_int_t)clock_wall_us()));
    json_object_set_new(recovered, "unsure_from",
                        json_integer((json_int_t)json_u64(before, "unsure_from", known)));
    json_object_set_new(recovered, "unsure_to", json_integer((json_int_t)next));
    put(txn, REG_RECOVERED, recovered);
    put(txn, REG_NEXT_ID,
        json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)(json_u64(ids, "osd", 1) + IDS_OSDS_APART),
                  "namespace", (json_int_t)next, "work",
                  (json_int_t)(json_u64(ids, "work", 1) + IDS_WORK_APART)));
}
