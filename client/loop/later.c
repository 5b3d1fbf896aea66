#include "loop/later.h"

#include "base/check.h"

/* What callbacks queue anew runs in the same turn, a few rounds deep: a request goes through
 * several of them. Then I/O has its turn. */
enum { ROUNDS_MAX = 8 };

static void run_items(struct later *later)
{
    struct list now;
    struct list *link;

    list_init(&now);
    list_splice(&now, &later->items);
    while ((link = list_pop(&now)) != NULL) {
        struct later_item *item = container_of(link, struct later_item, link);

        item->cb(item);
    }
}

static void on_idle(uv_idle_t *idle)
{
    struct later *later = container_of(idle, struct later, idle);

    for (unsigned i = 0; i < ROUNDS_MAX && !list_empty(&later->items); i++) {
        run_items(later);
    }
    if (list_empty(&later->items)) {
        uv_idle_stop(&later->idle);
    }
}

void later_init(struct later *later, uv_loop_t *loop)
{
    list_init(&later->items);
    later->close_cb = NULL;
    CHECK(uv_idle_init(loop, &later->idle) == 0);
}

void later_run(struct later *later, struct later_item *item, later_cb cb)
{
    item->cb = cb;
    list_push(&later->items, &item->link);
    CHECK(uv_idle_start(&later->idle, on_idle) == 0); /* nothing when it is started */
}

void later_cancel(struct later_item *item)
{
    list_remove(&item->link);
}

static void on_closed(uv_handle_t *handle)
{
    struct later *later = container_of(handle, struct later, idle);

    later->close_cb(later->close_ctx);
}

void later_close(struct later *later, void (*cb)(void *ctx), void *ctx)
{
    CHECK(list_empty(&later->items));
    later->close_cb = cb;
    later->close_ctx = ctx;
    uv_close((uv_handle_t *)&later->idle, on_closed);
}
