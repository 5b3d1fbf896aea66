/* Callbacks that must not run inside the call that caused them: they run later, from the
 * loop, in the order they were asked for, before it waits for anything. Loop thread only. */
#ifndef LOOP_LATER_H
#define LOOP_LATER_H

#include <uv.h>

#include "base/list.h"

struct later_item;
typedef void (*later_cb)(struct later_item *item);

struct later_item { /* embedded by the caller; private while queued; {0} is fine */
    struct list link;
    later_cb cb;
};

struct later {
    uv_idle_t idle; /* private */
    struct list items;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

void later_init(struct later *later, uv_loop_t *loop);
/* `item` is not queued. It may be freed or queued again in `cb`. */
void later_run(struct later *later, struct later_item *item, later_cb cb);
/* `item` is queued; it will not run. */
void later_cancel(struct later_item *item);
/* Nothing is queued any more; `cb` runs when *later may be freed. */
void later_close(struct later *later, void (*cb)(void *ctx), void *ctx);

#endif
