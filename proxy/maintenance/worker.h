/* The thread of the maintenance agent, with its own loop: registry, engine, lease, rounds.
 *
 * connect (again and again) -> lease and agent -> stopped -> all closed -> on_end
 *
 * The main thread starts it, asks it to stop, and looks at worker_status(). All functions and
 * callbacks belong to the main thread. */
#ifndef PROXY_MAINTENANCE_WORKER_H
#define PROXY_MAINTENANCE_WORKER_H

#include <stdbool.h>

#include <uv.h>

#include "base/err.h"
#include "meta/connect.h"
#include "proxy/maintenance/agent.h"

struct worker_options {
    struct agent_options agent;
    const char *url;     /* borrowed until the end */
    struct net_tls *tls; /* likewise; as kv_open() takes it */
    unsigned osd_timeout_ms;
    struct key_files *keys;     /* borrowed until the end */
    void (*on_work)(void *ctx); /* the registry was reached */
    /* Nothing is left open. rc: why it ended by itself; 0: it was asked to. */
    void (*on_end)(void *ctx, int rc, const struct err *e);
    void *ctx;
};

struct worker {
    struct worker_options options; /* private, all of it */
    uv_thread_t thread;
    uv_loop_t loop;            /* of the thread */
    uv_async_t wake;           /* on that loop */
    uv_timer_t end;            /* on that loop: since it is to stop */
    struct registry *registry; /* the thread's; NULL while there is none */
    uv_async_t news;           /* on the main loop */
    bool has_told_work;

    uv_mutex_t lock; /* of what follows */
    bool is_stopping;
    bool has_agent;
    bool has_ended; /* the thread does nothing any more */
    int rc;
    struct err err;
    struct agent agent; /* belongs to the thread */
};

/* Non-zero: nothing was started. */
int worker_start(struct worker *worker, uv_loop_t *main_loop, const struct worker_options *options,
                 struct err *e);
void worker_stop(struct worker *worker); /* on_end follows */
/* False while the registry was not reached yet, and while it ends. Not behind on_end. */
bool worker_status(struct worker *worker, struct agent_status *ret_status);

#endif
