#include "proxy/maintenance/worker.h"

#include "base/check.h"
#include "base/log.h"
#include "base/rnd.h"
#include "loop/run.h"
#include "meta/proxy_presence.h"

/* Both in turn, when metadata does not answer: how long the calls at work may take before they
 * are canceled, and how long giving back the lease may take before it ends with the engine. */
enum { CALLS_END_MS = 2000, LEASE_END_MS = 2000 };

static void until(struct worker *w, const bool *done)
{
    loop_run_until(&w->loop, done);
}

static bool is_stopping(struct worker *w)
{
    bool stopping;

    uv_mutex_lock(&w->lock);
    stopping = w->is_stopping;
    uv_mutex_unlock(&w->lock);
    return stopping;
}

static void on_end_late(uv_timer_t *timer)
{
    struct worker *w = container_of(timer, struct worker, end);

    if (w->registry != NULL) {
        registry_cancel(w->registry);
    }
}

static void on_wake(uv_async_t *wake)
{
    struct worker *w = container_of(wake, struct worker, wake);

    CHECK(is_stopping(w));
    uv_timer_start(&w->end, on_end_late, CALLS_END_MS, 0);
}

/* ---- the thread ---- */

/* The lease is given back; when metadata does not answer, closing its engine ends that. */
struct lease_end {
    uv_timer_t timer;
    bool closed, timer_closed, late;
};

static void on_lease_late(uv_timer_t *timer)
{
    container_of(timer, struct lease_end, timer)->late = true;
}

static void on_lease_timer_closed(uv_handle_t *handle)
{
    container_of((uv_timer_t *)handle, struct lease_end, timer)->timer_closed = true;
}

static bool lease_ended(void *ctx)
{
    const struct lease_end *end = ctx;

    return end->closed || end->late;
}

static void give_back(struct worker *w, struct lease *lease, struct lease_end *end)
{
    *end = (struct lease_end){0};
    CHECK(uv_timer_init(&w->loop, &end->timer) == 0);
    CHECK(uv_timer_start(&end->timer, on_lease_late, LEASE_END_MS, 0) == 0);
    lease_close(lease, loop_set_true, &end->closed);
    loop_run_until_true(&w->loop, lease_ended, end);
    uv_close((uv_handle_t *)&end->timer, on_lease_timer_closed);
    until(w, &end->timer_closed);
}

static void set_agent(struct worker *w, bool has_agent)
{
    uv_mutex_lock(&w->lock);
    w->has_agent = has_agent;
    if (has_agent && w->is_stopping) {
        agent_stop(&w->agent);
    }
    uv_mutex_unlock(&w->lock);
    uv_async_send(&w->news);
}

/* Copies are safe to write from anywhere (KEYS.md); one agent is enough. */
static bool may_copy(void *ctx)
{
    const struct worker *w = ctx;

    return !atomic_load(&w->agent.stop) && lease_is_held(w->agent.lease);
}

static void on_copies(void *ctx, const struct registry_copy_status *status)
{
    agent_set_copies(&((struct worker *)ctx)->agent, status);
}

static struct registry_copier *start_copier(struct worker *w, struct registry *registry)
{
    struct registry_copy_options options = {.timeout_ms = w->options.osd_timeout_ms,
                                            .may_act = may_copy,
                                            .on_status = on_copies,
                                            .ctx = w};

    return registry_copier_new(&w->loop, registry, &options);
}

static void run_agent(struct worker *w, struct registry *registry, struct engine *engine,
                      struct lease_end *lease_end)
{
    char owner[RND_UUID_TEXT_BYTES];
    struct lease_options options = {.name = LEASE_MAINTENANCE,
                                    .owner = owner,
                                    .ttl_ms = AGENT_LEASE_MS,
                                    .renew_ms = AGENT_LEASE_MS / 4};
    struct proxy_presence *presence;
    struct registry_copier *copier;
    struct lease *lease;
    bool closed = false, presence_closed = false;

    rnd_uuid_text(owner);
    lease = lease_new(registry_kv(registry), &options);
    agent_init(&w->agent, registry, engine, &w->options.agent);
    w->agent.lease = lease;
    copier = start_copier(w, registry);
    presence = proxy_presence_new(registry_kv(registry), &(struct proxy_presence_options){0});
    set_agent(w, true);
    agent_run(&w->agent);
    set_agent(w, false);
    proxy_presence_close(presence, loop_set_true, &presence_closed);
    registry_copier_close(copier, loop_set_true, &closed);
    until(w, &closed);
    until(w, &presence_closed);
    agent_release(&w->agent);
    give_back(w, lease, lease_end);
}

static int run_engine(struct worker *w, struct registry *registry, struct lease_end *lease_end,
                      struct err *e)
{
    struct engine_options options = {.memory_bytes = 1 << 20,
                                     .osd_timeout_ms = w->options.osd_timeout_ms,
                                     .threads = 1,
                                     .keys = w->options.keys};
    struct engine *engine = engine_new(&w->loop, registry, &options);
    bool closed = false;

    if (engine == NULL) {
        return err_say(e, UV_EAGAIN, "threads cannot be made");
    }
    registry_poll(registry, CONNECT_POLL_MS, engine_registry_changed, engine);
    w->registry = registry;
    run_agent(w, registry, engine, lease_end);
    registry_unwatch(registry);
    w->registry = NULL;
    engine_close(engine, loop_set_true, &closed);
    until(w, &closed);
    return 0;
}

struct connecting {
    struct worker *worker;
    bool done;
    int rc;
    struct err *e;
};

static bool is_connected_or_stopping(void *ctx)
{
    struct connecting *c = ctx;

    return c->done || is_stopping(c->worker);
}

static void on_connected(void *ctx, int rc, const struct err *e)
{
    struct connecting *c = ctx;

    c->rc = rc != 0 ? err_copy(c->e, e) : 0;
    c->done = true;
}

static int run(struct worker *w, struct err *e)
{
    struct connecting connecting = {.worker = w, .e = e};
    struct lease_end lease_end = {.closed = true};
    struct connect connect;
    bool closed = false;
    int rc = connect_start(&connect, &w->loop, w->options.url, w->options.tls, on_connected,
                           &connecting, e);

    if (rc != 0) {
        return err_wrap(e, "albamgr_cfg_url");
    }
    loop_run_until_true(&w->loop, is_connected_or_stopping, &connecting);
    rc = connecting.rc;
    if (rc == 0 && connecting.done && !is_stopping(w)) {
        rc = run_engine(w, connect.registry, &lease_end, e);
    }
    connect_close(&connect, loop_set_true, &closed);
    until(w, &closed);
    until(w, &lease_end.closed);
    return rc;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct err e;
    int rc = run(w, &e);

    uv_mutex_lock(&w->lock);
    w->has_ended = true;
    w->rc = rc;
    if (rc != 0) {
        w->err = e;
    }
    uv_mutex_unlock(&w->lock);
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->end, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&w->loop) == 0);
    uv_async_send(&w->news);
}

/* ---- main thread ---- */

static void on_news_closed(uv_handle_t *handle)
{
    struct worker *w = container_of((uv_async_t *)handle, struct worker, news);

    uv_mutex_destroy(&w->lock);
    w->options.on_end(w->options.ctx, w->rc, &w->err);
}

static void on_news(uv_async_t *news)
{
    struct worker *w = container_of(news, struct worker, news);
    bool has_agent, has_ended;

    uv_mutex_lock(&w->lock);
    has_agent = w->has_agent;
    has_ended = w->has_ended;
    uv_mutex_unlock(&w->lock);
    if (has_agent && !w->has_told_work) {
        w->has_told_work = true;
        w->options.on_work(w->options.ctx);
    }
    if (has_ended) {
        uv_thread_join(&w->thread); /* its last wake-up may be on the way still */
        uv_close((uv_handle_t *)news, on_news_closed);
    }
}

int worker_start(struct worker *w, uv_loop_t *main_loop, const struct worker_options *options,
                 struct err *e)
{
    int rc;

    *w = (struct worker){.options = *options};
    CHECK(uv_mutex_init(&w->lock) == 0);
    CHECK(uv_loop_init(&w->loop) == 0);
    CHECK(uv_async_init(&w->loop, &w->wake, on_wake) == 0);
    CHECK(uv_timer_init(&w->loop, &w->end) == 0);
    CHECK(uv_async_init(main_loop, &w->news, on_news) == 0);
    rc = uv_thread_create(&w->thread, worker_main, w);
    if (rc == 0) {
        return 0;
    }
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->end, NULL);
    uv_close((uv_handle_t *)&w->news, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    uv_run(main_loop, UV_RUN_NOWAIT);
    CHECK(uv_loop_close(&w->loop) == 0);
    uv_mutex_destroy(&w->lock);
    return err_set(e, rc, "thread of the agent");
}

void worker_stop(struct worker *w)
{
    uv_mutex_lock(&w->lock);
    w->is_stopping = true;
    if (w->has_agent) {
        agent_stop(&w->agent);
    }
    if (!w->has_ended) {
        uv_async_send(&w->wake);
    }
    uv_mutex_unlock(&w->lock);
}

bool worker_status(struct worker *w, struct agent_status *ret_status)
{
    bool has_agent;

    uv_mutex_lock(&w->lock);
    has_agent = w->has_agent;
    if (has_agent) {
        agent_status(&w->agent, ret_status);
    }
    uv_mutex_unlock(&w->lock);
    return has_agent;
}
