#include "fault/asd_index_double.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"

struct entry {
    struct slice key;   /* owned */
    struct slice value; /* owned */
};

struct map { /* sorted by key */
    struct entry *entries;
    size_t count;
    size_t cap;
};

struct logged { /* a batch that may be lost, or may turn up */
    struct list link;
    struct asd_index_batch batch; /* bodies owned */
    bool failed;                  /* its writer was told so */
};

struct index_double {
    struct asd_index index;
    struct crash_disk *disk;
    pthread_mutex_t lock;
    struct map now;
    struct map durable;
    struct list log; /* batches behind `durable`, in order */
    bool keep_failed;
    struct slice fail_from;
    int fail_rc; /* of lists */
    int fail_next_rc;
    index_double_hook_cb hook;
    void *hook_ctx;
};

static struct slice slice_dup(struct slice s)
{
    return slice_of(mem_dup(s.data, s.len), s.len);
}

static void slice_drop(struct slice s)
{
    free((void *)(uintptr_t)s.data);
}

/* ---- map ---- */

static size_t map_lower(const struct map *m, struct slice key)
{
    size_t low = 0;
    size_t high = m->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (slice_cmp(m->entries[mid].key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct entry *map_find(struct map *m, struct slice key)
{
    size_t at = map_lower(m, key);

    return at < m->count && slice_eq(m->entries[at].key, key) ? &m->entries[at] : NULL;
}

static void map_set(struct map *m, struct slice key, struct slice value)
{
    size_t at = map_lower(m, key);

    if (at < m->count && slice_eq(m->entries[at].key, key)) {
        slice_drop(m->entries[at].value);
        m->entries[at].value = value;
        return;
    }
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 64 : m->cap * 2;
        m->entries = mem_realloc(m->entries, m->cap * sizeof(m->entries[0]));
    }
    memmove(&m->entries[at + 1], &m->entries[at], (m->count - at) * sizeof(m->entries[0]));
    m->entries[at] = (struct entry){.key = slice_dup(key), .value = value};
    m->count++;
}

static void map_delete(struct map *m, struct slice key)
{
    struct entry *found = map_find(m, key);

    if (found != NULL) {
        size_t at = (size_t)(found - m->entries);

        slice_drop(found->key);
        slice_drop(found->value);
        m->count--;
        memmove(&m->entries[at], &m->entries[at + 1], (m->count - at) * sizeof(m->entries[0]));
    }
}

static void map_clear(struct map *m)
{
    for (size_t i = 0; i < m->count; i++) {
        slice_drop(m->entries[i].key);
        slice_drop(m->entries[i].value);
    }
    free(m->entries);
    *m = (struct map){0};
}

static void map_copy(struct map *to, const struct map *from)
{
    map_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        map_set(to, from->entries[i].key, slice_dup(from->entries[i].value));
    }
}

static void map_apply(struct map *m, const struct asd_index_batch *batch)
{
    for (size_t i = 0; i < batch->change_count; i++) {
        struct slice key = asd_index_change_key(batch, i);
        struct slice head = asd_index_change_head(batch, i);
        struct slice body = batch->changes[i].body;
        struct buf value = {0};

        if (batch->changes[i].is_delete) {
            map_delete(m, key);
            continue;
        }
        buf_put(&value, head.data, head.len);
        buf_put(&value, body.data, body.len);
        map_set(m, key, slice_buf(&value)); /* takes over the bytes */
    }
}

/* ---- log ---- */

static void log_push(struct index_double *d, const struct asd_index_batch *batch, bool failed)
{
    struct logged *l = mem_zalloc(sizeof(*l));

    l->failed = failed;
    for (size_t i = 0; i < batch->change_count; i++) {
        struct slice key = asd_index_change_key(batch, i);

        if (batch->changes[i].is_delete) {
            asd_index_batch_delete(&l->batch, key);
        } else {
            asd_index_batch_put(&l->batch, key, asd_index_change_head(batch, i),
                                slice_dup(batch->changes[i].body));
        }
    }
    list_push(&d->log, &l->link);
}

/* Make the first `keep` batches of the log durable, forget the others. */
static void log_settle(struct index_double *d, uint64_t keep)
{
    struct list *link;

    while ((link = list_pop(&d->log)) != NULL) {
        struct logged *l = container_of(link, struct logged, link);

        if (keep > 0) {
            map_apply(&d->durable, &l->batch);
            keep--;
        }
        for (size_t i = 0; i < l->batch.change_count; i++) {
            slice_drop(l->batch.changes[i].body);
        }
        asd_index_batch_release(&l->batch);
        free(l);
    }
}

static void on_reboot(void *ctx, enum crash_mode mode, struct rnd *rnd)
{
    struct index_double *d = ctx;
    uint64_t count = 0;

    LIST_FOR_EACH (it, &d->log) {
        count++;
    }
    switch (mode) {
    case CRASH_KEEP_ALL:
        break;
    case CRASH_RANDOM:
        count = rnd_below(rnd, count + 1);
        break;
    default:
        count = 0;
    }
    log_settle(d, count);
    map_copy(&d->now, &d->durable);
}

/* ---- struct asd_index_ops ---- */

static struct index_double *double_of(struct asd_index *index)
{
    return container_of(index, struct index_double, index);
}

static int double_get(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                      struct err *e)
{
    struct index_double *d = double_of(index);
    const struct entry *found;
    int rc = ERR_NOT_FOUND;

    if (d->disk != NULL && crash_disk_is_off(d->disk)) {
        return err_set(e, -5, "index get");
    }
    pthread_mutex_lock(&d->lock);
    found = map_find(&d->now, key);
    if (found != NULL) {
        struct slice copy = slice_dup(found->value);

        *ret_value =
            (struct asd_index_value){.bytes = copy, .handle = (void *)(uintptr_t)copy.data};
        rc = 0;
    }
    pthread_mutex_unlock(&d->lock);
    if (d->hook != NULL) {
        d->hook(d->hook_ctx);
    }
    return rc;
}

/* It reads no disk; but who hooks look-ups wants to hold a thread. */
static int double_get_cached(struct asd_index *index, struct slice key,
                             struct asd_index_value *ret_value, struct err *e)
{
    return double_of(index)->hook != NULL ? ERR_BUSY : double_get(index, key, ret_value, e);
}

static void double_multi_get(struct asd_index *index, size_t count, const struct slice *keys,
                             struct asd_index_value *ret_values, int *ret_rcs, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        ret_rcs[i] = double_get(index, keys[i], &ret_values[i], e);
    }
}

static void double_release(struct asd_index *index, struct asd_index_value *value)
{
    (void)index;
    free(value->handle);
    *value = (struct asd_index_value){0};
}

static int double_iterate(struct asd_index *index, struct slice from, struct slice to, bool reverse,
                          asd_index_visit_cb visit, void *ctx, struct err *e)
{
    struct index_double *d = double_of(index);
    size_t begin;
    size_t end;
    int rc = 0;

    if (d->disk != NULL && crash_disk_is_off(d->disk)) {
        return err_set(e, -5, "index iterate");
    }
    pthread_mutex_lock(&d->lock);
    begin = map_lower(&d->now, from);
    end = map_lower(&d->now, to);
    if (d->fail_next_rc != 0) {
        rc = d->fail_next_rc;
        d->fail_next_rc = 0;
    } else if (slice_cmp(from, d->fail_from) >= 0) {
        rc = d->fail_rc;
    }
    for (size_t i = 0; rc == 0 && begin + i < end; i++) {
        const struct entry *at = &d->now.entries[reverse ? end - 1 - i : begin + i];

        if (d->fail_rc != 0 && slice_cmp(at->key, d->fail_from) >= 0) {
            rc = d->fail_rc;
        } else if (!visit(ctx, at->key, at->value)) {
            break;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return rc == 0 ? 0 : err_set(e, rc, "index iterate");
}

static int double_write(struct asd_index *index, const struct asd_index_batch *batch, bool sync,
                        struct err *e)
{
    struct index_double *d = double_of(index);
    bool maybe = false;
    int rc;

    pthread_mutex_lock(&d->lock);
    rc = d->disk != NULL ? crash_disk_step(d->disk, &maybe) : 0;
    if (rc == 0 || maybe || !crash_disk_is_off(d->disk)) {
        log_push(d, batch, rc != 0);
    }
    if (rc == 0) {
        map_apply(&d->now, batch);
        if (sync) {
            log_settle(d, UINT64_MAX);
        }
    }
    pthread_mutex_unlock(&d->lock);
    return rc == 0 ? 0 : err_set(e, rc, "index write");
}

static void double_close(struct asd_index *index)
{
    (void)index;
}

static const struct asd_index_ops double_ops = {.get = double_get,
                                                .get_cached = double_get_cached,
                                                .multi_get = double_multi_get,
                                                .release = double_release,
                                                .iterate = double_iterate,
                                                .write = double_write,
                                                .close = double_close};

struct index_double *index_double_new(struct crash_disk *disk)
{
    struct index_double *d = mem_zalloc(sizeof(*d));

    d->index.ops = &double_ops;
    d->disk = disk;
    list_init(&d->log);
    CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    if (disk != NULL) {
        crash_disk_attach(disk, on_reboot, d);
    }
    return d;
}

void index_double_free(struct index_double *d)
{
    if (d == NULL) {
        return;
    }
    if (d->disk != NULL) {
        crash_disk_detach(d->disk, d);
    }
    log_settle(d, 0);
    map_clear(&d->now);
    map_clear(&d->durable);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* As RocksDB's recovery does, makes all durable that it finds. */
struct asd_index *index_double_open(struct index_double *d)
{
    uint64_t keep = 0;

    LIST_FOR_EACH (it, &d->log) {
        if (container_of(it, struct logged, link)->failed) {
            d->keep_failed = !d->keep_failed;
            keep += d->keep_failed;
            break; /* the store stopped there */
        }
        keep++;
    }
    log_settle(d, keep);
    map_copy(&d->now, &d->durable);
    return &d->index;
}

void index_double_set_hook(struct index_double *d, index_double_hook_cb cb, void *ctx)
{
    d->hook = cb;
    d->hook_ctx = ctx;
}

size_t index_double_count(struct index_double *d, uint8_t kind)
{
    uint8_t next = (uint8_t)(kind + 1);
    size_t n;

    pthread_mutex_lock(&d->lock);
    n = map_lower(&d->now, slice_of(&next, 1)) - map_lower(&d->now, slice_of(&kind, 1));
    pthread_mutex_unlock(&d->lock);
    return n;
}

void index_double_corrupt(struct index_double *d, struct slice key, size_t at)
{
    struct entry *found;

    pthread_mutex_lock(&d->lock);
    found = map_find(&d->now, key);
    CHECK(found != NULL && at < found->value.len);
    ((uint8_t *)(uintptr_t)found->value.data)[at] ^= 0x10;
    pthread_mutex_unlock(&d->lock);
}

void index_double_fail_lists(struct index_double *d, struct slice from, int rc)
{
    pthread_mutex_lock(&d->lock);
    d->fail_from = from;
    d->fail_rc = rc;
    pthread_mutex_unlock(&d->lock);
}

void index_double_fail_next_list(struct index_double *d, int rc)
{
    pthread_mutex_lock(&d->lock);
    d->fail_next_rc = rc;
    pthread_mutex_unlock(&d->lock);
}
