/* look at the mark -> empty, or forced and of the same alba? -> mark -> delete -> mark
 *
 * What was claimed after the backup may hold fragments that manifests of NSM hosts name which are
 * not restored: such an OSD keeps its record, so that its id still leads there. Which alba the
 * records under a mark are of is in the mark, for a restore that goes on where one was cut. */
#include "alba/restore_target.h"

#include <stdio.h>
#include <string.h>

#include "alba/restore_end.h"
#include "meta/engine_owner.h"
#include "meta/registry_record.h"

enum { PAGE_KEYS = 100 };

static const char root[] = "/alba/v1/";

void restore_target_init(struct restore_target *target, const struct restore_options *options,
                         struct restore_result *result)
{
    *target = (struct restore_target){.options = options, .result = result, .osds = json_object()};
}

void restore_target_release(struct restore_target *target)
{
    restore_fence_release(&target->fence);
    json_decref(target->ids);
    json_decref(target->osds);
    *target = (struct restore_target){0};
}

/* ---- OSDs ---- */

static bool is_osd(struct slice key)
{
    struct slice tail = reg_key_tail(key);

    return tail.len > strlen(REG_OSD) && memcmp(tail.data, REG_OSD, strlen(REG_OSD)) == 0;
}

void restore_target_note_osd(struct restore_target *target, struct slice key, struct slice value)
{
    json_t *json = NULL;
    struct err why;

    if (is_osd(key) && value_open_json(key, value, &json, &why) == 0) {
        json_object_set_new(target->osds, json_text(json, "long_id", ""),
                            json_integer((json_int_t)json_u64(json, "osd_id", 0)));
        json_decref(json);
    }
}

static bool stream_gives(const struct restore_target *target, uint64_t osd_id)
{
    const char *long_id;
    json_t *id;

    json_object_foreach(target->osds, long_id, id)
    {
        if ((uint64_t)json_integer_value(id) == osd_id) {
            return true;
        }
    }
    return false;
}

/* Claimed here and not in the stream, with an id that is its own there, too. */
static void judge_osd(struct restore_target *target, const struct kv_item *item)
{
    json_t *json = NULL;
    struct err why;
    const char *long_id;
    uint64_t osd_id;

    if (item->is_damaged || value_open_json(item->key, item->value, &json, &why) != 0) {
        return;
    }
    long_id = json_text(json, "long_id", "");
    osd_id = json_u64(json, "osd_id", 0);
    if (osd_id != 0 && json_u64(target->osds, long_id, 0) == 0 && !stream_gives(target, osd_id)) {
        json_object_set_new(target->result->kept_osds, long_id, json_integer((json_int_t)osd_id));
    }
    json_decref(json);
}

bool restore_target_keeps(const struct restore_target *target, struct slice key)
{
    struct slice tail = reg_key_tail(key);
    char long_id[REGISTRY_ID_BYTES_MAX + 1] = "";

    if (!is_osd(key) || tail.len - strlen(REG_OSD) > REGISTRY_ID_BYTES_MAX) {
        return false;
    }
    memcpy(long_id, tail.data + strlen(REG_OSD), tail.len - strlen(REG_OSD));
    return json_object_get(target->result->kept_osds, long_id) != NULL;
}

/* Of records of OSDs all that are not kept. */
static int prune_osds(struct session *s, struct restore_target *target, struct key low,
                      struct slice high)
{
    struct backup_page page = {0};
    struct kv_txn txn = {0};
    int rc;

    do {
        rc = backup_range(s, s->kv, slice_key(&low), high, PAGE_KEYS, false, &page);
        for (size_t i = 0; rc == 0 && i < page.count; i++) {
            judge_osd(target, &page.items[i]);
            if (!restore_target_keeps(target, page.items[i].key)) {
                kv_txn_delete(&txn, page.items[i].key);
            }
        }
        if (rc == 0 && page.has_more) {
            low.len = 0;
            key_put(&low, page.items[page.count - 1].key.data, page.items[page.count - 1].key.len);
            key_next(&low);
        }
        rc = rc != 0 || txn.update_count == 0 ? rc : restore_fence_commit(s, &target->fence, &txn);
    } while (rc == 0 && page.has_more);
    backup_page_release(&page);
    kv_txn_release(&txn);
    return rc;
}

/* ---- may it be written to? ---- */

static int is_empty(struct session *s, struct slice low, struct slice high, bool *ret_empty)
{
    struct backup_page page = {0};
    int rc = backup_range(s, s->kv, low, high, 1, true, &page);

    *ret_empty = *ret_empty && page.count == 0;
    backup_page_release(&page);
    return rc;
}

static struct key end_of(struct key prefix)
{
    key_prefix_end(&prefix);
    return prefix;
}

/* Everything but leases, which agents take wherever they can. */
static int check_empty(struct session *s, const struct restore_target *target)
{
    struct key all = {0}, all_end, leases = {0}, leases_end;
    bool empty = true;
    int rc;

    key_put_text(&all, root);
    all_end = end_of(all);
    reg_key(&leases, REG_LEASE, "");
    leases_end = end_of(leases);
    rc = is_empty(s, slice_key(&all), slice_key(&leases), &empty);
    rc = rc != 0 ? rc : is_empty(s, slice_key(&leases_end), slice_key(&all_end), &empty);
    if (rc == 0 && !empty && !target->options->force) {
        rc = err_say(&s->err, ERR_EXISTS,
                     "there is metadata in %s already; --force deletes it and restores",
                     kv_url(s->kv));
    }
    return rc;
}

/* Of the registry that is there; else of the restore that was cut here. */
static int find_alba(struct session *s, struct restore_target *target)
{
    struct slice mark = slice_buf(&target->fence.mark);
    struct backup_page page = {0};
    json_t *json = NULL;
    const char *field = "id";
    struct key key;
    struct slice k = reg_key(&key, REG_ALBA, "");
    int rc = backup_get(s, s->kv, &k, 1, &page);
    struct err e;

    if (rc == 0 && page.items[0].found && !page.items[0].is_damaged) {
        value_open_json(k, page.items[0].value, &json, &e);
    } else if (rc == 0 && mark.len != 0) {
        field = "alba";
        value_open_json(slice_key(&target->fence.key), mark, &json, &e);
    }
    snprintf(target->alba_id, sizeof(target->alba_id), "%s", json_text(json, field, ""));
    json_decref(json);
    backup_page_release(&page);
    return rc;
}

/* --force is for the alba of the stream. */
static int check_alba(struct session *s, const struct restore_target *target)
{
    const char *there = target->alba_id;
    const char *other = target->options->replace_alba;
    const char *wanted = target->result->head.alba_id;

    if (there[0] == '\0' || strcmp(there, wanted) == 0 ||
        (other != NULL && strcmp(there, other) == 0)) {
        return 0;
    }
    return err_say(&s->err, ERR_EXISTS,
                   "%s holds the metadata of alba %.40s, the backup is of alba %.40s; "
                   "--replace-alba=%.40s deletes it all the same",
                   kv_url(s->kv), there, wanted, there);
}

/* It is an NSM host's: nothing of it is deleted for a registry. */
static int check_mark(struct session *s)
{
    struct backup_page page = {0};
    struct key key;
    struct slice k = engine_mark_key(&key);
    int rc = backup_get(s, s->kv, &k, 1, &page);

    if (rc == 0 && page.items[0].found) {
        rc = engine_mark_refuse(kv_url(s->kv), page.items[0].value, &s->err);
    }
    backup_page_release(&page);
    return rc;
}

int restore_target_check(struct session *s, struct restore_target *target)
{
    struct restore_fence *fence = &target->fence;
    int rc;

    fence->kv = s->kv;
    reg_key(&fence->key, REG_VERSION, "");
    rc = restore_fence_look(s, fence);
    rc = rc != 0 ? rc : check_mark(s);
    rc = rc != 0 ? rc : check_empty(s, target);
    rc = rc != 0 ? rc : find_alba(s, target);
    return rc != 0 ? rc : check_alba(s, target);
}

/* ---- taking it ---- */

static int empty(struct session *s, struct restore_target *target)
{
    bool is_same = strcmp(target->alba_id, target->result->head.alba_id) == 0;
    struct key all = {0}, all_end, osds = {0}, osds_end;
    int rc;

    key_put_text(&all, root);
    all_end = end_of(all);
    if (!is_same) {
        return restore_fence_empty(s, &target->fence, all, slice_key(&all_end));
    }
    reg_key(&osds, REG_OSD, "");
    osds_end = end_of(osds);
    rc = restore_fence_empty(s, &target->fence, all, slice_key(&osds));
    rc = rc != 0 ? rc : prune_osds(s, target, osds, slice_key(&osds_end));
    return rc != 0 ? rc : restore_fence_empty(s, &target->fence, osds_end, slice_key(&all_end));
}

/* Another mark when it is empty: a late copy of a delete fails as well. */
int restore_target_take(struct session *s, struct restore_target *target)
{
    struct kv_txn no_host = {0};
    struct key key;
    json_t *mark;
    int rc = restore_target_check(s, target);

    rc = rc != 0 ? rc : restore_ids_read(s, &target->fence, &target->ids);
    if (rc != 0) {
        return rc;
    }
    mark = json_pack("{s:O, s:s}", "ids", target->ids, "alba", target->alba_id);
    kv_txn_assert_absent(&no_host, engine_mark_key(&key));
    rc = restore_fence_swap(s, &target->fence, "restoring", mark, &no_host);
    if (rc == 0 && target->options->force) {
        rc = empty(s, target);
    }
    json_object_set_new(mark, "alba", json_string(target->result->head.alba_id));
    rc = rc != 0 ? rc : restore_fence_swap(s, &target->fence, "restoring", mark, NULL);
    json_decref(mark);
    return rc;
}
