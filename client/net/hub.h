/* What the streams of one owner share: the read buffer for small frames, and a list of
 * tasks that run once more in this turn of the loop.
 *
 * Output queued while a batch of events is handled leaves in one system call per
 * connection: the tasks run right after polling (uv_check), or right before it when
 * the work came from a timer or from outside uv_run (uv_prepare). Loop thread only. */
#ifndef NET_HUB_H
#define NET_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"

enum {
    NET_HUB_HEADROOM_BYTES = 1024, /* for the unparsed end of the read before */
    NET_HUB_SCRATCH_BYTES = 65536
};

struct net_task {
    void (*run)(struct net_task *task);
    struct list link; /* private */
};

struct net_hub {
    uv_loop_t *loop;

    uint8_t *scratch;    /* private from here on: headroom, then scratch */
    uint8_t *plain;      /* headroom, then a record; NULL without TLS */
    unsigned handshakes; /* of TLS, not over yet */
    struct list silent;  /* those that wait for a word of their peer, the longest first */
    struct list tasks;
    struct list turns; /* tasks of net_hub_take_turn() */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    bool armed;
    int handles_open;
    void (*close_cb)(struct net_hub *hub);
};

void net_hub_init(struct net_hub *hub, uv_loop_t *loop);
void net_task_init(struct net_task *task, void (*run)(struct net_task *task));
/* `run` is called once, soon, from the loop; scheduling twice before that is one run. */
void net_hub_schedule(struct net_hub *hub, struct net_task *task);
void net_task_cancel(struct net_task *task);
/* As net_hub_schedule(), for what takes long: one such task in a turn of the loop, so that others
 * are served in between. */
void net_hub_take_turn(struct net_hub *hub, struct net_task *task);
/* All streams are closed and no task is scheduled. */
void net_hub_close(struct net_hub *hub, void (*cb)(struct net_hub *hub));

#endif
