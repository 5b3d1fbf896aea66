#include "volumedriver/nbd_worker.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/nbd_private.h"

enum { SWEEP_MS = 1000, HANDLES = 5 /* without the mailbox's */ };

/* Connections that become due meanwhile wait for the next pass, so that none can hold the
 * loop. */
static void run_due(struct nbd_worker *w)
{
    struct list now;
    struct list *link;

    list_init(&now);
    list_splice(&now, &w->due);
    while ((link = list_pop(&now)) != NULL) {
        nbd_conn_turn(container_of(link, struct nbd_conn, due));
    }
    if (list_empty(&w->due)) {
        uv_idle_stop(&w->idle);
    }
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void on_prepare(uv_prepare_t *handle)
{
    run_due(handle->data);
}

static void on_check(uv_check_t *handle)
{
    run_due(handle->data);
}

/* Due connections run right after polling, or right before it when the work came from a timer.
 * What a prepare handle behind ours schedules would sleep through the poll: the idle handle
 * makes that poll return at once. */
void nbd_worker_schedule(struct nbd_worker *w, struct nbd_conn *conn)
{
    if (!list_empty(&conn->due)) {
        return;
    }
    if (list_empty(&w->due)) {
        uv_idle_start(&w->idle, on_idle);
    }
    list_push(&w->due, &conn->due);
}

static void on_sweep(uv_timer_t *timer)
{
    struct nbd_worker *w = timer->data;
    uint64_t now = uv_now(w->loop), since = now - w->swept_ms;

    w->swept_ms = now;
    if (list_empty(&w->conns)) {
        uv_timer_stop(&w->sweep);
    }
    if (since > 2 * SWEEP_MS) {
        return; /* we stood still ourselves: what they sent may not be read yet */
    }
    LIST_FOR_EACH (it, &w->conns) {
        struct nbd_conn *conn = container_of(it, struct nbd_conn, all);

        if (nbd_conn_is_stalled(conn, now)) {
            nbd_conn_close(conn, "the peer stalled");
        }
    }
}

void nbd_worker_add(struct nbd_worker *w, struct nbd_conn *conn)
{
    list_push(&w->conns, &conn->all);
    if (!uv_is_active((uv_handle_t *)&w->sweep)) {
        uv_timer_start(&w->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

struct nbd_worker *nbd_worker_new(uv_loop_t *loop)
{
    struct nbd_worker *w = mem_zalloc(sizeof(*w));

    w->loop = loop;
    w->scratch = mem_alloc(NBD_SCRATCH_BYTES);
    list_init(&w->due);
    list_init(&w->conns);
    list_init(&w->targets);
    list_init(&w->room.hungry);
    list_init(&w->reqs_idle);
    nbd_mailbox_init(&w->mailbox, loop);
    uv_idle_init(loop, &w->idle);
    uv_prepare_init(loop, &w->prepare);
    uv_check_init(loop, &w->check);
    uv_timer_init(loop, &w->sweep);
    uv_timer_init(loop, &w->retry);
    w->prepare.data = w;
    w->check.data = w;
    w->sweep.data = w;
    w->retry.data = w;
    uv_prepare_start(&w->prepare, on_prepare);
    uv_check_start(&w->check, on_check);
    return w;
}

static void free_when_closed(struct nbd_worker *w)
{
    if (--w->handles_open == 0) {
        nbd_worker_close_cb cb = w->close_cb;
        void *ctx = w->close_ctx;

        free(w);
        cb(ctx);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    free_when_closed(handle->data);
}

static void on_mailbox_closed(struct nbd_mailbox *box)
{
    free_when_closed(container_of(box, struct nbd_worker, mailbox));
}

void nbd_worker_close(struct nbd_worker *w, nbd_worker_close_cb cb, void *ctx)
{
    uv_handle_t *handles[HANDLES] = {(uv_handle_t *)&w->idle, (uv_handle_t *)&w->prepare,
                                     (uv_handle_t *)&w->check, (uv_handle_t *)&w->sweep,
                                     (uv_handle_t *)&w->retry};
    struct list *link;

    w->close_cb = cb;
    w->close_ctx = ctx;
    w->handles_open = 1 + HANDLES;
    nbd_mailbox_close(&w->mailbox, on_mailbox_closed);
    CHECK(list_empty(&w->conns) && list_empty(&w->targets) && w->room.held.bytes == 0);
    for (int i = 0; i < HANDLES; i++) {
        handles[i]->data = w;
        uv_close(handles[i], on_handle_closed);
    }
    while ((link = list_pop(&w->reqs_idle)) != NULL) {
        free(container_of(link, struct nbd_req, link));
    }
    nbd_pool_release(&w->pool);
    free(w->scratch);
}

struct nbd_target *nbd_target_get(struct nbd_worker *w, struct volume *volume)
{
    struct nbd_target *target;

    LIST_FOR_EACH (it, &w->targets) {
        target = container_of(it, struct nbd_target, link);
        if (target->volume == volume) {
            target->conns++;
            return target;
        }
    }
    target = mem_zalloc(sizeof(*target));
    target->volume = volume;
    target->conns = 1;
    list_init(&target->starved);
    list_push(&w->targets, &target->link);
    return target;
}

void nbd_target_put(struct nbd_target *target)
{
    if (--target->conns == 0) {
        CHECK(list_empty(&target->starved) && target->held.bytes == 0);
        list_remove(&target->link);
        free(target);
    }
}
