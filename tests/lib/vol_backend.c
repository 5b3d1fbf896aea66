#include "lib/vol_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"

enum op_kind { OP_APPLY, OP_READ, OP_INFO, OP_LIST };
enum { ASSERTS_MAX = 4, LIST_MAX = 7 };

struct op {
    struct list link;
    struct backend_req *req; /* NULL: nobody waits any more */
    backend_cb cb;
    enum op_kind kind;
    char name[BACKEND_NAME_BYTES];
    char after[BACKEND_NAME_BYTES];
    struct backend_assert asserts[ASSERTS_MAX];
    char assert_names[ASSERTS_MAX][BACKEND_NAME_BYTES];
    unsigned assert_count;
    struct backend_update updates[BACKEND_UPDATES_MAX];
    char update_names[BACKEND_UPDATES_MAX][BACKEND_NAME_BYTES];
    unsigned update_count;
    const struct backend_slice *slices;
    unsigned slice_count;
};

static bool chance(struct vol_store *s, unsigned percent)
{
    return rnd_below(&s->rnd, 100) < percent;
}

struct vol_object *vol_store_find(struct vol_store *s, const char *name)
{
    struct vol_object *o;

    HASH_FIND_STR(s->objects, name, o);
    return o;
}

void vol_store_delete(struct vol_store *s, const char *name)
{
    struct vol_object *o = vol_store_find(s, name);

    if (o != NULL) {
        HASH_DEL(s->objects, o);
        free(o->data);
        free(o);
    }
}

unsigned vol_store_count(struct vol_store *s, const char *prefix)
{
    struct vol_object *o, *next;
    unsigned count = 0;

    HASH_ITER (hh, s->objects, o, next) {
        count += strncmp(o->name, prefix, strlen(prefix)) == 0;
    }
    return count;
}

static void store_put(struct vol_store *s, const struct backend_update *u)
{
    struct vol_object *o;

    vol_store_delete(s, u->name);
    if (u->data == NULL) {
        return;
    }
    CHECK(crc32c(0, u->data, u->bytes) == u->crc);
    o = mem_zalloc(sizeof(*o));
    snprintf(o->name, sizeof(o->name), "%s", u->name);
    o->data = mem_dup(u->data, u->bytes);
    o->bytes = u->bytes;
    o->crc = u->crc;
    HASH_ADD_STR(s->objects, name, o);
}

void vol_store_add(struct vol_store *s, const char *name, const void *data, size_t bytes)
{
    store_put(s, &(struct backend_update){
                     .name = name, .data = data, .bytes = bytes, .crc = crc32c(0, data, bytes)});
}

/* ---- what operations do ---- */

static int do_apply(struct vol_store *s, struct op *op, unsigned *ret_failed)
{
    s->applies++;
    for (unsigned i = 0; i < op->assert_count; i++) {
        const struct backend_assert *a = &op->asserts[i];
        struct vol_object *o = vol_store_find(s, a->name);
        bool ok = a->kind == BACKEND_ABSENT ? o == NULL : o != NULL && o->crc == a->crc;

        if (!ok) {
            *ret_failed = i;
            return ERR_ASSERT_FAILED;
        }
    }
    for (unsigned i = 0; i < op->update_count; i++) {
        store_put(s, &op->updates[i]);
    }
    return 0;
}

static int do_read(struct vol_store *s, struct op *op)
{
    struct vol_object *o = vol_store_find(s, op->name);

    s->reads++;
    if (o == NULL) {
        return ERR_NOT_FOUND;
    }
    for (unsigned i = 0; i < op->slice_count; i++) {
        const struct backend_slice *x = &op->slices[i];

        if (x->offset > o->bytes || x->bytes > o->bytes - x->offset) {
            return -EINVAL;
        }
        memcpy(x->data, o->data + x->offset, x->bytes);
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void do_list(struct vol_store *s, struct op *op)
{
    const char **names = mem_array(HASH_COUNT(s->objects) + (size_t)1, sizeof(char *));
    struct vol_object *o, *next;
    unsigned count = 0;

    HASH_ITER (hh, s->objects, o, next) {
        if (strncmp(o->name, op->name, strlen(op->name)) == 0 && strcmp(o->name, op->after) > 0) {
            names[count++] = o->name;
        }
    }
    qsort(names, count, sizeof(char *), by_name);
    op->req->names = (struct buf){0};
    op->req->more = count > LIST_MAX;
    for (unsigned i = 0; i < count && i < LIST_MAX; i++) {
        buf_put(&op->req->names, names[i], strlen(names[i]) + 1);
    }
    free(names);
}

static int op_do(struct vol_store *s, struct op *op, struct backend_req *req)
{
    struct vol_object *o;

    req->complete = !chance(s, s->incomplete_percent);
    switch (op->kind) {
    case OP_APPLY:
        return do_apply(s, op, &req->failed);
    case OP_READ:
        return do_read(s, op);
    case OP_LIST:
        do_list(s, op);
        return 0;
    default:
        o = vol_store_find(s, op->name);
        if (o == NULL) {
            return ERR_NOT_FOUND;
        }
        req->bytes = o->bytes;
        req->crc = o->crc;
        return 0;
    }
}

/* ---- the queue ---- */

static void op_free(struct op *op, bool owns_data)
{
    for (unsigned i = 0; owns_data && i < op->update_count; i++) {
        free((void *)(uintptr_t)op->updates[i].data);
    }
    free(op);
}

/* Nobody will hear of it; it may still happen. */
static void op_leave(struct vol_store *s, struct op *op)
{
    if (op->kind != OP_APPLY) {
        op_free(op, false);
        return;
    }
    for (unsigned i = 0; i < op->update_count; i++) {
        struct backend_update *u = &op->updates[i];

        u->data = u->data != NULL ? mem_dup(u->data, u->bytes) : NULL;
    }
    op->req = NULL;
    list_push(&s->late, &op->link);
}

static void op_end(struct vol_backend *b, struct op *op)
{
    struct vol_store *s = b->store;
    struct backend_req *req = op->req;
    backend_cb cb = op->cb;
    int rc;

    list_remove(&op->link);
    if (b->dead || (op->kind == OP_APPLY && chance(s, s->doubt_percent))) {
        rc = err_set(&req->err, op->kind == OP_APPLY ? ERR_IN_DOUBT : ERR_CANCELED, "no reply");
        if (!b->dead && chance(s, 50)) {
            struct backend_req dummy;

            op_do(s, op, &dummy);
            op_free(op, false);
        } else {
            op_leave(s, op);
        }
    } else if (s->down || chance(s, s->fail_percent)) {
        rc = err_set(&req->err, UV_ECONNRESET, "backend");
        op_free(op, false);
    } else if (s->keep_scos && op->update_count != 0 && op->updates[0].data == NULL) {
        rc = err_set(&req->err, UV_EIO, "backend");
        op_free(op, false);
    } else {
        rc = op_do(s, op, req);
        if (rc != 0) {
            err_set(&req->err, rc, "%s", op->kind == OP_APPLY ? "apply" : op->name);
        }
        op_free(op, false);
    }
    cb(req, rc);
}

static void on_timer(uv_timer_t *timer)
{
    struct vol_backend *b = container_of(timer, struct vol_backend, timer);
    struct vol_store *s = b->store;
    struct list now, *link;

    list_init(&now);
    LIST_FOR_EACH_SAFE (it, &b->queue) {
        struct op *op = container_of(it, struct op, link);
        bool held = s->hold_scos && op->kind == OP_APPLY && op->update_count == 1 &&
                    strncmp(op->updates[0].name, "s_", 2) == 0;

        if (!b->dead && (held || chance(s, s->lazy_percent))) {
            continue;
        }
        list_remove(it);
        if (b->reversed || chance(s, 50)) {
            list_push_front(&now, it);
        } else {
            list_push(&now, it);
        }
    }
    while ((link = list_pop(&now)) != NULL) {
        op_end(b, container_of(link, struct op, link));
    }
    if (!list_empty(&b->queue)) {
        uv_timer_start(&b->timer, on_timer, 1, 0);
    }
}

static struct op *op_new(struct backend *backend, struct backend_req *req, enum op_kind kind,
                         const char *name, backend_cb cb)
{
    struct vol_backend *b = container_of(backend, struct vol_backend, backend);
    struct op *op = mem_zalloc(sizeof(*op));

    op->req = req;
    op->cb = cb;
    op->kind = kind;
    snprintf(op->name, sizeof(op->name), "%s", name);
    list_push(&b->queue, &op->link);
    if (!uv_is_active((uv_handle_t *)&b->timer)) {
        uv_timer_start(&b->timer, on_timer, 0, 0);
    }
    return op;
}

static void sim_apply(struct backend *b, struct backend_req *req,
                      const struct backend_transaction *t, backend_cb cb)
{
    struct op *op = op_new(b, req, OP_APPLY, "", cb);

    CHECK(t->assert_count <= ASSERTS_MAX && t->update_count <= BACKEND_UPDATES_MAX);
    op->assert_count = t->assert_count;
    op->update_count = t->update_count;
    for (unsigned i = 0; i < op->assert_count; i++) {
        op->asserts[i] = t->asserts[i];
        snprintf(op->assert_names[i], BACKEND_NAME_BYTES, "%s", t->asserts[i].name);
        op->asserts[i].name = op->assert_names[i];
    }
    for (unsigned i = 0; i < op->update_count; i++) {
        op->updates[i] = t->updates[i];
        snprintf(op->update_names[i], BACKEND_NAME_BYTES, "%s", t->updates[i].name);
        op->updates[i].name = op->update_names[i];
    }
}

/* It has no cache, so every read is fresh. */
static void sim_read(struct backend *b, struct backend_req *req, const struct backend_read *read,
                     backend_cb cb)
{
    struct op *op = op_new(b, req, OP_READ, read->name, cb);

    op->slices = read->slices;
    op->slice_count = read->slice_count;
}

static void sim_info(struct backend *b, struct backend_req *req, const char *name, backend_cb cb)
{
    op_new(b, req, OP_INFO, name, cb);
}

static void sim_list(struct backend *b, struct backend_req *req, const char *prefix,
                     const char *after, backend_cb cb)
{
    snprintf(op_new(b, req, OP_LIST, prefix, cb)->after, BACKEND_NAME_BYTES, "%s", after);
}

static const struct backend_ops ops = {
    .apply = sim_apply, .read = sim_read, .info = sim_info, .list = sim_list};

/* ---- life ---- */

void vol_store_init(struct vol_store *s, uint64_t seed)
{
    *s = (struct vol_store){.rnd = rnd_seed(seed)};
    list_init(&s->late);
}

void vol_store_trouble(struct vol_store *s, unsigned percent)
{
    s->fail_percent = percent;
    s->doubt_percent = percent;
    s->lazy_percent = 3 * percent;
    s->incomplete_percent = percent;
}

void vol_store_release(struct vol_store *s)
{
    struct vol_object *o, *next;
    struct list *link;

    HASH_ITER (hh, s->objects, o, next) {
        HASH_DEL(s->objects, o);
        free(o->data);
        free(o);
    }
    while ((link = list_pop(&s->late)) != NULL) {
        op_free(container_of(link, struct op, link), true);
    }
}

void vol_store_late(struct vol_store *s, unsigned percent)
{
    LIST_FOR_EACH_SAFE (it, &s->late) {
        struct op *op = container_of(it, struct op, link);
        unsigned failed;

        if (chance(s, percent)) {
            list_remove(it);
            do_apply(s, op, &failed);
            op_free(op, true);
        }
    }
}

void vol_backend_init(struct vol_backend *b, struct vol_store *s, uv_loop_t *loop)
{
    *b = (struct vol_backend){.backend.ops = &ops, .store = s, .loop = loop};
    list_init(&b->queue);
    uv_timer_init(loop, &b->timer);
}

void vol_backend_kill(struct vol_backend *b)
{
    b->dead = true;
}

static void on_closed(uv_handle_t *handle)
{
    container_of((uv_timer_t *)handle, struct vol_backend, timer)->closed = true;
}

void vol_backend_close(struct vol_backend *b)
{
    CHECK(list_empty(&b->queue));
    uv_close((uv_handle_t *)&b->timer, on_closed);
}
