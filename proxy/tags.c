#include "proxy/tags.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/engine.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

/* What waits for one OSD. */
struct tags_osd {
    struct osd *osd;
    struct tags_item *items; /* room for TAGS_PER_OSD_MAX, grown as needed */
    size_t count, cap;
    struct list link;
};

/* One Apply under way. */
struct batch {
    struct engine *engine;
    struct osd *osd;
    struct osd_call call;
    struct gather request;
    unsigned count;
    struct tags_item items[TAGS_BATCH_MAX];
};

enum { KEY_BYTES_MAX = 128 };

static void batch_send(struct batch *batch);

void tags_init(struct tags *tags, struct engine *engine)
{
    tags->engine = engine;
    list_init(&tags->osds);
}

static struct tags_osd *waiting_for(struct tags *tags, struct osd *osd)
{
    struct tags_osd *t;

    LIST_FOR_EACH (it, &tags->osds) {
        t = container_of(it, struct tags_osd, link);
        if (t->osd == osd) {
            return t;
        }
    }
    t = mem_zalloc(sizeof(*t));
    t->osd = osd;
    list_push(&tags->osds, &t->link);
    return t;
}

void tags_delete(struct tags *tags, struct osd *osd, const struct tags_item *item)
{
    struct tags_osd *t = waiting_for(tags, osd);

    if (t->count == TAGS_PER_OSD_MAX) {
        return;
    }
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 64 : t->cap * 2;
        t->items = mem_realloc(t->items, t->cap * sizeof(*t->items));
    }
    t->items[t->count++] = *item;
}

/* ---- one batch ---- */

static void batch_free(struct batch *batch)
{
    struct engine *engine = batch->engine;

    buf_release(&batch->call.asd.failed_key);
    gather_release(&batch->request);
    free(batch);
    engine_drop(engine);
}

static struct slice tag_key(struct buf *keys, const struct tags_item *item)
{
    struct osd_fragment name = {.object_id = slice_of(item->object_id, sizeof(item->object_id)),
                                .chunk = item->chunk,
                                .fragment = item->fragment,
                                .version = item->version};
    size_t at = keys->len;

    osd_key_put_gc_tag(keys, item->ns_id, item->gc_epoch, &name);
    return slice_of(keys->data + at, keys->len - at);
}

static struct slice data_key(struct buf *keys, const struct tags_item *item, bool recovery)
{
    struct osd_fragment name = {.object_id = slice_of(item->object_id, sizeof(item->object_id)),
                                .chunk = item->chunk,
                                .fragment = item->fragment,
                                .version = item->version};
    size_t at = keys->len;

    if (recovery) {
        osd_key_put_recovery(keys, item->ns_id, &name);
    } else {
        osd_key_put_fragment(keys, item->ns_id, &name);
    }
    return slice_of(keys->data + at, keys->len - at);
}

/* One tag is gone already: without it, the others still go. */
static void on_batch(struct osd_call *call, int rc)
{
    struct batch *batch = container_of(call, struct batch, call);
    struct slice failed = slice_buf(&call->asd.failed_key);
    unsigned left = 0;

    if (rc != ERR_ASSERT_FAILED) {
        if (rc != 0) {
            log_debug("tags", "left to garbage collection", "osd=%llu count=%u why=\"%s\"",
                      (unsigned long long)batch->osd->id, batch->count, call->asd.err.msg);
        }
        batch_free(batch);
        return;
    }
    for (unsigned i = 0; i < batch->count; i++) {
        struct buf key = {0};

        if (!slice_eq(tag_key(&key, &batch->items[i]), failed)) {
            batch->items[left++] = batch->items[i];
        }
        buf_release(&key);
    }
    buf_release(&call->asd.failed_key);
    if (left == 0 || left == batch->count) {
        batch_free(batch);
        return;
    }
    batch->count = left;
    batch_send(batch);
}

static void batch_send(struct batch *batch)
{
    struct asd_assert asserts[TAGS_BATCH_MAX];
    struct asd_update updates[3 * TAGS_BATCH_MAX];
    struct asd_request request = {.code = ASD_APPLY, .prio = ASD_PRIO_LOW};
    struct buf keys = {0};
    uint32_t n = 0;

    buf_reserve(&keys, (size_t)3 * TAGS_BATCH_MAX * KEY_BYTES_MAX);
    for (unsigned i = 0; i < batch->count; i++) {
        const struct tags_item *item = &batch->items[i];

        asserts[i] = (struct asd_assert){
            .key = tag_key(&keys, item), .value = slice_of(NULL, 0), .has_value = true};
        updates[n++] = (struct asd_update){.key = asserts[i].key, .is_delete = true};
        if (item->with_data) {
            updates[n++] =
                (struct asd_update){.key = data_key(&keys, item, false), .is_delete = true};
            updates[n++] =
                (struct asd_update){.key = data_key(&keys, item, true), .is_delete = true};
        }
    }
    CHECK(keys.len <= (size_t)3 * TAGS_BATCH_MAX * KEY_BYTES_MAX);
    request.apply = (struct asd_apply){
        .asserts = asserts, .assert_count = batch->count, .updates = updates, .update_count = n};
    gather_release(&batch->request);
    asd_request_encode(&request, &batch->request);
    buf_release(&keys);
    if (osd_call_start(batch->osd, &batch->call, &batch->request, OSD_WRITE,
                       batch->engine->options.osd_timeout_ms, on_batch) != 0) {
        batch_free(batch);
    }
}

static void flush_osd(struct tags *tags, struct tags_osd *t)
{
    for (size_t at = 0; at < t->count && !t->osd->aside; at += TAGS_BATCH_MAX) {
        struct batch *batch = mem_zalloc(sizeof(*batch));
        size_t left = t->count - at;

        batch->engine = tags->engine;
        batch->osd = t->osd;
        batch->count = left < TAGS_BATCH_MAX ? (unsigned)left : TAGS_BATCH_MAX;
        memcpy(batch->items, t->items + at, batch->count * sizeof(*batch->items));
        engine_hold(tags->engine);
        batch_send(batch);
    }
}

static void drop_all(struct tags *tags, bool send)
{
    struct list *link;

    while ((link = list_pop(&tags->osds)) != NULL) {
        struct tags_osd *t = container_of(link, struct tags_osd, link);

        if (send) {
            flush_osd(tags, t);
        }
        free(t->items);
        free(t);
    }
}

void tags_flush(struct tags *tags)
{
    drop_all(tags, true);
}

void tags_release(struct tags *tags)
{
    drop_all(tags, false);
}
