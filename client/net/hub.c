#include "net/hub.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

void net_hub_init(struct net_hub *hub, uv_loop_t *loop)
{
    *hub = (struct net_hub){.loop = loop, .handles_open = 3};
    hub->scratch = mem_alloc(NET_HUB_HEADROOM_BYTES + NET_HUB_SCRATCH_BYTES);
    list_init(&hub->tasks);
    list_init(&hub->turns);
    list_init(&hub->silent);
    uv_prepare_init(loop, &hub->prepare);
    uv_check_init(loop, &hub->check);
    uv_idle_init(loop, &hub->idle);
    hub->prepare.data = hub;
    hub->check.data = hub;
    hub->idle.data = hub;
}

void net_task_init(struct net_task *task, void (*run)(struct net_task *task))
{
    task->run = run;
    list_init(&task->link);
}

/* Tasks that are scheduled meanwhile wait for the next turn, so that a task which
 * schedules itself cannot hold the loop. */
static void run_tasks(struct net_hub *hub)
{
    struct list now;
    struct list *link;

    list_init(&now);
    list_splice(&now, &hub->tasks);
    while ((link = list_pop(&now)) != NULL) {
        struct net_task *task = container_of(link, struct net_task, link);

        task->run(task);
    }
    if (list_empty(&hub->tasks)) {
        hub->armed = false;
        uv_prepare_stop(&hub->prepare);
        uv_check_stop(&hub->check);
    }
}

static void on_idle(uv_idle_t *handle)
{
    struct net_hub *hub = handle->data;
    struct list *link = list_pop(&hub->turns);

    if (link != NULL) {
        struct net_task *task = container_of(link, struct net_task, link);

        task->run(task);
    }
    if (list_empty(&hub->turns)) {
        uv_idle_stop(&hub->idle);
    }
}

/* Then this turn does not wait for events: who waits for what the tasks did, and prepared before
 * us, looks again first. */
static void on_prepare(uv_prepare_t *handle)
{
    struct net_hub *hub = handle->data;

    uv_idle_start(&hub->idle, on_idle); /* first: a task may close the hub, and this with it */
    run_tasks(hub);
}

static void on_check(uv_check_t *handle)
{
    run_tasks(handle->data);
}

void net_hub_schedule(struct net_hub *hub, struct net_task *task)
{
    if (!list_empty(&task->link)) {
        return;
    }
    list_push(&hub->tasks, &task->link);
    if (!hub->armed) {
        hub->armed = true;
        uv_prepare_start(&hub->prepare, on_prepare);
        uv_check_start(&hub->check, on_check);
    }
}

void net_hub_take_turn(struct net_hub *hub, struct net_task *task)
{
    if (!list_empty(&task->link)) {
        return;
    }
    list_push(&hub->turns, &task->link);
    uv_idle_start(&hub->idle, on_idle);
}

void net_task_cancel(struct net_task *task)
{
    list_remove(&task->link);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_hub *hub = handle->data;

    if (--hub->handles_open == 0) {
        free(hub->scratch);
        free(hub->plain);
        hub->scratch = NULL;
        hub->plain = NULL;
        hub->close_cb(hub);
    }
}

void net_hub_close(struct net_hub *hub, void (*cb)(struct net_hub *hub))
{
    CHECK(list_empty(&hub->tasks) && list_empty(&hub->turns));
    hub->close_cb = cb;
    uv_close((uv_handle_t *)&hub->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&hub->check, on_handle_closed);
    uv_close((uv_handle_t *)&hub->idle, on_handle_closed);
}
