#include "sim/volume_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "net/proxy_route.h"
#include "volumedriver/backend_proxy.h"

enum { ROUTE_TIMEOUT_MS = 8000, AFTERLIFE_MS = 60, NAMES_MAX = BACKEND_UPDATES_MAX + 8 };

struct link_life {
    struct backend backend;
    struct volume_link *link;
    struct proxy_route *route;
    struct backend *proxy;
    struct list ops; /* gate_op.link, under way */
    bool dead;
    bool left; /* by the node */
};

/* It keeps copies of all that its author lent, who may be dead when the answer comes. */
struct gate_op {
    struct backend_req inner;
    struct backend_req *outer; /* NULL: nobody waits */
    backend_cb cb;
    struct link_life *life;
    struct list link;
    bool is_write;
    struct backend_slice *slices;
    const struct backend_slice *outer_slices;
    unsigned slice_count;
    struct backend_assert *asserts;
    unsigned assert_count;
    struct backend_update *updates;
    unsigned update_count;
    unsigned flags;
    char names[NAMES_MAX][BACKEND_NAME_BYTES]; /* of both */
};

static struct link_life *life_of(struct backend *b)
{
    return container_of(b, struct link_life, backend);
}

/* Power is off as soon as the disk says so, though the loop has not noticed. */
static bool is_dead(const struct link_life *life)
{
    struct vol_node *n = life->link->node;

    return life->dead || atomic_load(&n->io.killed) || crash_disk_is_off(n->disk);
}

static void on_route_closed(void *ctx)
{
    struct link_life *life = ctx;

    life->link->lives--;
    free(life);
}

static void life_end(struct link_life *life)
{
    if (life->left && list_empty(&life->ops)) {
        backend_proxy_free(life->proxy);
        proxy_route_close(life->route, on_route_closed, life);
    }
}

static void op_free(struct gate_op *op)
{
    for (unsigned i = 0; i < op->slice_count; i++) {
        free(op->slices[i].data);
    }
    for (unsigned i = 0; i < op->update_count; i++) {
        free((void *)(uintptr_t)op->updates[i].data);
    }
    free(op->slices);
    free(op->asserts);
    free(op->updates);
    free(op);
}

/* ---- answers ---- */

static int no_answer(const struct gate_op *op, struct backend_req *outer)
{
    return err_set(&outer->err, op->is_write ? ERR_IN_DOUBT : ERR_CANCELED, "no answer");
}

static void pass_on(struct gate_op *op, int rc)
{
    struct backend_req *outer = op->outer;

    if (is_dead(op->life)) {
        buf_release(&op->inner.names);
        op->cb(outer, no_answer(op, outer));
        return;
    }
    for (unsigned i = 0; i < op->slice_count && rc == 0; i++) {
        memcpy(op->outer_slices[i].data, op->slices[i].data, op->slices[i].bytes);
    }
    err_copy(&outer->err, &op->inner.err);
    outer->failed = op->inner.failed;
    outer->complete = op->inner.complete;
    outer->bytes = op->inner.bytes;
    outer->crc = op->inner.crc;
    outer->names = op->inner.names;
    outer->more = op->inner.more;
    op->cb(outer, rc);
}

static void on_inner(struct backend_req *inner, int rc)
{
    struct gate_op *op = container_of(inner, struct gate_op, inner);
    struct link_life *life = op->life;

    list_remove(&op->link);
    if (op->outer != NULL) {
        pass_on(op, rc);
    } else {
        buf_release(&inner->names);
    }
    op_free(op);
    life_end(life);
}

struct orphan { /* a request whose answer the gate gives */
    struct later_item later;
    struct backend_req *outer;
    backend_cb cb;
};

static void on_orphan(struct later_item *item)
{
    struct orphan *o = container_of(item, struct orphan, later);

    o->cb(o->outer, o->outer->err.code);
    free(o);
}

static void answer_later(struct gate_op *op)
{
    struct orphan *o = mem_zalloc(sizeof(*o));

    no_answer(op, op->outer);
    o->outer = op->outer;
    o->cb = op->cb;
    op->outer = NULL;
    later_run(&op->life->link->node->later, &o->later, on_orphan);
}

/* ---- requests ---- */

static struct gate_op *op_new(struct backend *b, struct backend_req *req, backend_cb cb)
{
    struct gate_op *op = mem_zalloc(sizeof(*op));

    *req = (struct backend_req){0};
    op->life = life_of(b);
    op->outer = req;
    op->cb = cb;
    list_push(&op->life->ops, &op->link);
    return op;
}

/* False: a dead node asks, or the connection breaks; the answer comes from here. */
static bool passes(struct gate_op *op)
{
    struct volume_link *link = op->life->link;
    bool dead = is_dead(op->life);
    bool cut = op->is_write && rnd_below(&link->rnd, 1000) < link->cut;
    uint64_t fate = cut ? rnd_below(&link->rnd, 3) : 0;

    if (dead || cut) {
        answer_later(op);
    }
    if (dead || (cut && fate == 0)) {
        list_remove(&op->link);
        op_free(op);
    } else if (cut && fate == 1) {
        list_remove(&op->link);
        list_push(&link->late, &op->link);
    }
    return !dead && (!cut || fate == 2);
}

static void send_apply(struct gate_op *op)
{
    struct backend *proxy = op->life->proxy;
    struct backend_transaction transaction = {.asserts = op->asserts,
                                              .assert_count = op->assert_count,
                                              .updates = op->updates,
                                              .update_count = op->update_count,
                                              .flags = op->flags};

    proxy->ops->apply(proxy, &op->inner, &transaction, on_inner);
}

void volume_link_late(struct volume_link *link)
{
    struct list *it;

    while (link->life != NULL && !is_dead(link->life) && (it = list_pop(&link->late)) != NULL) {
        struct gate_op *op = container_of(it, struct gate_op, link);

        op->life = link->life;
        list_push(&link->life->ops, &op->link);
        send_apply(op);
    }
}

static const char *keep_name(struct gate_op *op, unsigned i, const char *name)
{
    CHECK(i < NAMES_MAX);
    snprintf(op->names[i], BACKEND_NAME_BYTES, "%s", name);
    return op->names[i];
}

static void gate_apply(struct backend *b, struct backend_req *req,
                       const struct backend_transaction *t, backend_cb cb)
{
    struct gate_op *op = op_new(b, req, cb);

    op->is_write = true;
    op->flags = t->flags;
    op->asserts = mem_array(t->assert_count, sizeof(*op->asserts));
    op->assert_count = t->assert_count;
    for (unsigned i = 0; i < t->assert_count; i++) {
        op->asserts[i] = t->asserts[i];
        op->asserts[i].name = keep_name(op, i, t->asserts[i].name);
    }
    op->updates = mem_array(t->update_count, sizeof(*op->updates));
    op->update_count = t->update_count;
    for (unsigned i = 0; i < t->update_count; i++) {
        const struct backend_update *update = &t->updates[i];

        op->updates[i] = *update;
        op->updates[i].name = keep_name(op, t->assert_count + i, update->name);
        op->updates[i].data = update->data != NULL ? mem_dup(update->data, update->bytes) : NULL;
    }
    if (passes(op)) {
        send_apply(op);
    }
}

static void gate_read(struct backend *b, struct backend_req *req, const struct backend_read *read,
                      backend_cb cb)
{
    struct gate_op *op = op_new(b, req, cb);
    struct backend *proxy = op->life->proxy;
    struct backend_read inner = *read;

    op->outer_slices = read->slices;
    op->slices = mem_array(read->slice_count, sizeof(*op->slices));
    op->slice_count = read->slice_count;
    for (unsigned i = 0; i < read->slice_count; i++) {
        op->slices[i] = read->slices[i];
        op->slices[i].data = mem_alloc(read->slices[i].bytes);
    }
    inner.slices = op->slices;
    if (passes(op)) {
        proxy->ops->read(proxy, &op->inner, &inner, on_inner);
    }
}

static void gate_info(struct backend *b, struct backend_req *req, const char *name, backend_cb cb)
{
    struct gate_op *op = op_new(b, req, cb);
    struct backend *proxy = op->life->proxy;

    if (passes(op)) {
        proxy->ops->info(proxy, &op->inner, name, on_inner);
    }
}

static void gate_list(struct backend *b, struct backend_req *req, const char *prefix,
                      const char *after, backend_cb cb)
{
    struct gate_op *op = op_new(b, req, cb);
    struct backend *proxy = op->life->proxy;

    if (passes(op)) {
        proxy->ops->list(proxy, &op->inner, prefix, after, on_inner);
    }
}

static const struct backend_ops gate_ops = {
    .apply = gate_apply, .read = gate_read, .info = gate_info, .list = gate_list};

/* ---- lives ---- */

static struct backend *link_open(void *ctx)
{
    struct volume_link *link = ctx;
    struct link_life *life = mem_zalloc(sizeof(*life));

    CHECK(link->life == NULL);
    life->backend.ops = &gate_ops;
    life->link = link;
    list_init(&life->ops);
    life->route = proxy_route_new(link->node->loop,
                                  &(struct proxy_route_options){.proxies = link->addr,
                                                                .proxy_count = 1,
                                                                .timeout_ms = ROUTE_TIMEOUT_MS});
    life->proxy = backend_proxy_new(life->route, link->namespace);
    link->life = life;
    link->lives++;
    return &life->backend;
}

static void link_kill(void *ctx)
{
    struct volume_link *link = ctx;
    struct link_life *life = link->life;

    if (life != NULL) {
        life->dead = true;
        LIST_FOR_EACH (it, &life->ops) {
            struct gate_op *op = container_of(it, struct gate_op, link);

            if (op->outer != NULL) {
                answer_later(op);
            }
        }
        proxy_route_finish(life->route, (unsigned)rnd_below(&link->rnd, AFTERLIFE_MS));
    }
}

static void link_close(void *ctx)
{
    struct volume_link *link = ctx;
    struct link_life *life = link->life;

    LIST_FOR_EACH (it, &life->ops) {
        CHECK(container_of(it, struct gate_op, link)->outer == NULL);
    }
    link->life = NULL;
    life->left = true;
    life_end(life);
}

struct volume_link *volume_link_new(struct vol_node *node, const struct net_addr *addr,
                                    const char *namespace, uint64_t seed)
{
    struct volume_link *link = mem_zalloc(sizeof(*link));
    struct volume_link made = {
        .ops = {.open = link_open, .kill = link_kill, .close = link_close, .ctx = link},
        .node = node,
        .addr = addr,
        .namespace = namespace,
        .rnd = rnd_seed(seed)};

    memcpy(link, &made, sizeof(made));
    list_init(&link->late);
    return link;
}

static bool all_gone(void *ctx)
{
    return ((const struct volume_link *)ctx)->lives == 0;
}

void volume_link_free(struct volume_link *link)
{
    struct list *it;

    CHECK(link->life == NULL);
    while ((it = list_pop(&link->late)) != NULL) {
        op_free(container_of(it, struct gate_op, link));
    }
    loop_run_until_true(link->node->loop, all_gone, link);
    free(link);
}
