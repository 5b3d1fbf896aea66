/* registry (one moment) -> each namespace: t x i u -> names with their objects -> e a -> late x */
#include <stdlib.h>
#include <string.h>

#include "alba/backup.h"
#include "alba/progress.h"
#include "base/mem.h"
#include "meta/ns_keys.h"
#include "meta/nsm.h"
#include "meta/registry_copy.h"

enum { PAGE_KEYS = 1000, PAGE_NAMES = 128, NAME_TRIES_MAX = 16 };

struct writing {
    struct session *s;
    struct backup_file out;
    struct backup_counts counts;
    struct progress progress;
    struct kv *kv; /* of the namespace */
    uint64_t ns_id;
};

static int put_damaged(struct writing *w, struct slice key)
{
    w->counts.damaged++;
    return backup_put(&w->out, BACKUP_DAMAGED, key, slice_of(NULL, 0), &w->s->err);
}

static int put_item(struct writing *w, enum backup_type type, const struct kv_item *item)
{
    struct rd payload;
    struct err why;

    if (item->is_damaged || value_open(item->key, item->value, &payload, &why) != 0) {
        return put_damaged(w, item->key);
    }
    w->counts.values++;
    return backup_put(&w->out, type, item->key, item->value, &w->s->err);
}

/* ---- registry ---- */

struct taking {
    struct session *s;
    struct registry_snapshot snapshot;
};

static void on_snapshot(void *ctx, int rc, const struct err *e, struct registry_snapshot *snapshot)
{
    struct taking *t = ctx;

    if (rc == 0) {
        t->snapshot = *snapshot;
        snapshot->bytes = (struct buf){0};
    }
    session_done(t->s, rc, e);
}

static int put_registry(struct writing *w, FILE *file, struct backup_head *ret_head,
                        const struct registry_view **ret_view)
{
    struct taking t = {.s = w->s};
    struct slice key, value;
    struct rd r;
    int rc;

    registry_snapshot_read(w->s->kv, on_snapshot, &t);
    rc = session_wait(w->s);
    if (rc != 0) {
        return rc;
    }
    *ret_head = (struct backup_head){.version = t.snapshot.head.version,
                                     .time_us = t.snapshot.head.time_us};
    memcpy(ret_head->alba_id, t.snapshot.head.alba_id, sizeof(ret_head->alba_id));
    memcpy(ret_head->commit, t.snapshot.head.commit, sizeof(ret_head->commit));
    rc = backup_begin(&w->out, file, ret_head, &w->s->err);
    r = rd_of(t.snapshot.bytes.data, t.snapshot.bytes.len);
    while (rc == 0 && copy_next(&r, &key, &value)) {
        w->counts.values++;
        rc = backup_put(&w->out, BACKUP_VALUE, key, value, &w->s->err);
    }
    rc = rc != 0 ? rc
                 : copy_view(slice_buf(&t.snapshot.bytes), ret_head->version, ret_view, &w->s->err);
    buf_release(&t.snapshot.bytes);
    return rc;
}

/* ---- keys of one kind ---- */

/* Keys that were there, in their order: u16 length, bytes. */
struct key_list {
    struct buf bytes;
};

static bool is_next(struct rd *seen, struct slice key)
{
    while (rd_left(seen) != 0) {
        struct rd at = *seen;
        size_t len = rd_u16le(&at);
        struct slice one = slice_of(rd_bytes(&at, len), len);
        int order = slice_cmp(one, key);

        if (order > 0) {
            return false;
        }
        *seen = at;
        if (order == 0) {
            return true;
        }
    }
    return false;
}

/* false: there is none. */
static bool next_page(const struct backup_page *page, struct key *low)
{
    if (page->has_more) {
        struct slice last = page->items[page->count - 1].key;

        low->len = 0;
        key_put(low, last.data, last.len);
        key_next(low);
    }
    return page->has_more;
}

/* `list`, if not NULL, gets the keys; those in `before`, if not NULL, are left out. */
static int put_kind(struct writing *w, char kind, enum backup_type type, struct key_list *list,
                    const struct key_list *before)
{
    struct rd seen = before != NULL ? rd_of(before->bytes.data, before->bytes.len) : rd_of("", 0);
    struct backup_page page = {0};
    struct key low, high;
    int rc;

    if (kind == 'i') {
        ns_key_info(&low, w->ns_id);
        high = low;
        key_next(&high);
    } else {
        ns_key_root(&low, w->ns_id, kind);
        high = low;
        key_prefix_end(&high);
    }
    do {
        rc = backup_range(w->s, w->kv, slice_key(&low), slice_key(&high), PAGE_KEYS, false, &page);
        for (size_t i = 0; rc == 0 && i < page.count; i++) {
            struct slice key = page.items[i].key;

            if (before != NULL && is_next(&seen, key)) {
                continue;
            }
            if (list != NULL) {
                buf_put_u16le(&list->bytes, (uint16_t)key.len);
                buf_put(&list->bytes, key.data, key.len);
            }
            rc = put_item(w, type, &page.items[i]);
        }
    } while (rc == 0 && next_page(&page, &low));
    backup_page_release(&page);
    return rc;
}

/* ---- names and objects ---- */

/* The object, its name, and what follows from its manifest. */
static int put_object(struct writing *w, const struct kv_item *name, const struct kv_item *object,
                      struct slice id)
{
    struct manifest m;
    struct err why;
    uint64_t *osds = NULL;
    size_t count;
    int rc;

    if (object->is_damaged ||
        ns_value_manifest_open(object->key, object->value, id, &m, &why) != 0) {
        return put_damaged(w, object->key);
    }
    rc = put_item(w, BACKUP_VALUE, object);
    rc = rc != 0 ? rc : put_item(w, BACKUP_VALUE, name);
    count = ns_manifest_osds(&m, &osds);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct key key;
        struct slice k = ns_key_osd(&key, w->ns_id, osds[i], id);
        struct buf value = {0};

        value_make(&value, k, slice_of(NULL, 0));
        w->counts.values++;
        rc = backup_put(&w->out, BACKUP_VALUE, k, slice_buf(&value), &w->s->err);
        buf_release(&value);
    }
    w->counts.objects++;
    free(osds);
    manifest_release(&m);
    return rc;
}

/* Which object a name holds. */
static bool object_of(const struct kv_item *name, struct slice *ret_id)
{
    struct rd payload;
    struct err why;

    if (name->is_damaged || value_open(name->key, name->value, &payload, &why) != 0 ||
        rd_left(&payload) != NSM_OBJECT_ID_BYTES) {
        return false;
    }
    *ret_id = slice_of(payload.pos, NSM_OBJECT_ID_BYTES);
    return true;
}

/* The object was gone when it was asked for: its name has another by now, or none. */
static int put_name_again(struct writing *w, struct slice name_key)
{
    struct backup_page name = {0};
    struct backup_page object = {0};
    struct key key;
    struct slice k;
    struct slice id;
    bool done = false;
    int rc = 0;

    for (unsigned i = 0; i < NAME_TRIES_MAX && rc == 0 && !done; i++) {
        rc = backup_get(w->s, w->kv, &name_key, 1, &name);
        if (rc != 0 || !name.items[0].found) {
            break; /* deleted */
        }
        if (!object_of(&name.items[0], &id)) {
            rc = put_damaged(w, name_key);
            break;
        }
        k = ns_key_object(&key, w->ns_id, id);
        rc = backup_get(w->s, w->kv, &k, 1, &object);
        done = rc == 0 && (object.items[0].found || object.items[0].is_damaged);
        rc = done ? put_object(w, &name.items[0], &object.items[0], id) : rc;
    }
    if (rc == 0 && !done && name.count != 0 && name.items[0].found) {
        rc = put_damaged(w, name_key); /* it names what is not there, all the time */
    }
    backup_page_release(&name);
    backup_page_release(&object);
    return rc;
}

static int put_names(struct writing *w, const struct backup_page *names)
{
    struct key *keys = mem_array(names->count + 1, sizeof(*keys));
    struct slice *slices = mem_array(names->count + 1, sizeof(*slices));
    struct slice *ids = mem_array(names->count + 1, sizeof(*ids));
    struct backup_page objects = {0};
    int rc = 0;

    for (size_t i = 0; i < names->count && rc == 0; i++) {
        if (!object_of(&names->items[i], &ids[i])) {
            rc = put_damaged(w, names->items[i].key);
            ids[i] = slice_of(NULL, 0);
        }
        slices[i] = ns_key_object(&keys[i], w->ns_id, ids[i]); /* of none: nothing is there */
    }
    rc =
        rc != 0 || names->count == 0 ? rc : backup_get(w->s, w->kv, slices, names->count, &objects);
    for (size_t i = 0; i < names->count && rc == 0; i++) {
        if (ids[i].len == 0) {
            continue;
        }
        rc = objects.items[i].found || objects.items[i].is_damaged
                 ? put_object(w, &names->items[i], &objects.items[i], ids[i])
                 : put_name_again(w, names->items[i].key);
    }
    progress_show(&w->progress, w->out.bytes);
    backup_page_release(&objects);
    free(ids);
    free(slices);
    free(keys);
    return rc;
}

static int put_all_names(struct writing *w)
{
    struct backup_page page = {0};
    struct key low, high;
    int rc;

    ns_key_root(&low, w->ns_id, 'n');
    high = low;
    key_prefix_end(&high);
    do {
        rc = backup_range(w->s, w->kv, slice_key(&low), slice_key(&high), PAGE_NAMES, false, &page);
        rc = rc != 0 ? rc : put_names(w, &page);
    } while (rc == 0 && next_page(&page, &low));
    backup_page_release(&page);
    return rc;
}

/* ---- namespaces ---- */

static int put_namespace(struct writing *w, const struct registry_namespace *ns)
{
    struct key_list obsolete = {0};
    struct session *s = w->s;
    struct nsm *nsm;
    int rc = registry_nsm(s->registry, ns->nsm_host, &nsm, &s->err);

    if (rc == 0) {
        w->kv = nsm_kv(nsm);
        w->ns_id = ns->id;
        rc = backup_put_place(&w->out, ns->id, ns->nsm_host, &s->err);
    }
    rc = rc != 0 ? rc : put_kind(w, 't', BACKUP_VALUE, NULL, NULL);
    rc = rc != 0 ? rc : put_kind(w, 'x', BACKUP_VALUE, &obsolete, NULL);
    rc = rc != 0 ? rc : put_kind(w, 'i', BACKUP_VALUE, NULL, NULL);
    rc = rc != 0 ? rc : put_kind(w, 'u', BACKUP_VALUE, NULL, NULL);
    rc = rc != 0 ? rc : put_all_names(w);
    rc = rc != 0 ? rc : put_kind(w, 'e', BACKUP_VALUE, NULL, NULL);
    rc = rc != 0 ? rc : put_kind(w, 'a', BACKUP_VALUE, NULL, NULL);
    rc = rc != 0 ? rc : put_kind(w, 'x', BACKUP_LATE, NULL, &obsolete);
    buf_release(&obsolete.bytes);
    w->counts.namespaces++;
    return rc == 0 || rc == ERR_CANCELED ? rc : err_wrap(&s->err, "namespace '%.80s'", ns->name);
}

int backup_write(struct session *s, FILE *file, struct backup_head *ret_head,
                 struct backup_counts *ret_counts, json_t *lost)
{
    const struct registry_view *view = NULL;
    struct writing w = {.s = s};
    int rc;

    progress_begin(&w.progress, "metadata", 0, true);
    rc = put_registry(&w, file, ret_head, &view);
    for (size_t i = 0; rc == 0 && i < registry_view_namespace_count(view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(view, i);

        if (ns->state == REGISTRY_NS_LOST) {
            json_array_append_new(lost, json_string(ns->name));
        }
        rc = put_namespace(&w, ns);
    }
    for (size_t i = 0; rc == 0 && i < registry_view_removed_count(view); i++) {
        rc = put_namespace(&w, registry_view_removed(view, i));
    }
    rc = rc != 0 ? rc : backup_end(&w.out, &s->err);
    progress_end(&w.progress);
    registry_view_drop(view);
    backup_release(&w.out);
    *ret_counts = w.counts;
    return rc;
}
