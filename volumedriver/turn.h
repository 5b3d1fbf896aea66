/* Calls that come later in the same loop turn: for answers that are known at once but may
 * not be given from inside the call that asks. One per loop; loop thread only. */
#ifndef VOLUMEDRIVER_TURN_H
#define VOLUMEDRIVER_TURN_H

#include <stdbool.h>

#include <uv.h>

#include "base/list.h"

struct turn_call;
typedef void (*turn_cb)(struct turn_call *call);

struct turn_call { /* embed it; the callback may free or add it again */
    struct list link;
    turn_cb cb;
};

struct turn {
    uv_check_t check; /* private */
    uv_idle_t idle;
    struct list calls;
    unsigned open;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

void turn_init(struct turn *turn, uv_loop_t *loop);
void turn_add(struct turn *turn, struct turn_call *call, turn_cb cb);
/* No calls may wait. *turn is dead after `cb`. */
void turn_close(struct turn *turn, void (*cb)(void *ctx), void *ctx);

#endif
