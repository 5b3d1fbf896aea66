/* A call goes: waiting -> flying (with a peer) -> callback, or back to waiting.
 *
 * Each peer is one proxy with a client for calls and one for pings, which must not queue behind
 * the calls. A tick looks after everything that has a time: it runs while there is a call, or a
 * peer is down. */
#include "net/proxy_route.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_request.h"

enum { TICK_MS = 50, LOG_EVERY_MS = 1000 };

struct proxy_route_peer {
    struct proxy_route *route;
    struct net_addr addr;
    struct proxy_client *calls, *pings;
    struct list flying;
    uint64_t heard_ms; /* the last sign of life, or the first call behind a rest */

    bool down;
    struct err why;
    uint64_t since_us;
    unsigned backoff_ms;
    uint64_t ping_ms; /* when down: not before */
    bool pinging;
    struct proxy_call ping;
    struct gather ping_request;
    struct log_limit log;
};

struct proxy_route {
    uv_timer_t tick;
    unsigned timeout_ms, silent_ms, ping_ms, peer_count, flying_count;
    struct list waiting;
    bool full;       /* a proxy's client took no more: new calls go behind those that wait */
    uint64_t end_ms; /* UINT64_MAX: not stopping */
    bool closing;
    unsigned open; /* clients and the timer */
    void (*close_cb)(void *ctx);
    void *close_ctx;
    struct proxy_route_peer peers[PROXY_CLIENT_ENDPOINTS_MAX];
};

static void on_tick(uv_timer_t *timer);
static void on_attempt(struct proxy_call *proxy, int rc);

static void watch(struct proxy_route *route)
{
    if (!uv_is_active((uv_handle_t *)&route->tick) && !route->closing) {
        uv_timer_start(&route->tick, on_tick, TICK_MS, TICK_MS);
    }
}

static unsigned backoff(unsigned ms)
{
    return ms < PROXY_ROUTE_BACKOFF_MS_MAX ? ms : PROXY_ROUTE_BACKOFF_MS_MAX;
}

/* ---- peers ---- */

static void peer_down(struct proxy_route_peer *peer, const struct err *why)
{
    unsigned long skipped;

    err_copy(&peer->why, why);
    if (peer->down) {
        return;
    }
    peer->down = true;
    peer->since_us = clock_wall_us();
    peer->ping_ms = clock_mono_ms() + peer->backoff_ms;
    peer->backoff_ms = backoff(2 * peer->backoff_ms);
    if (log_limit_pass(&peer->log, LOG_EVERY_MS, &skipped)) {
        log_warn("net", "proxy set aside", "proxy=%s why=\"%s\" skipped=%lu", peer->addr.text,
                 why->msg, skipped);
    }
    watch(peer->route);
}

/* Whoever waits for a proxy need not wait longer. */
static void peer_up(struct proxy_route_peer *peer)
{
    struct proxy_route *route = peer->route;
    unsigned long skipped;

    if (!peer->down) {
        return;
    }
    peer->down = false;
    if (log_limit_pass(&peer->log, LOG_EVERY_MS, &skipped)) {
        log_info("net", "proxy is back", "proxy=%s away_ms=%llu skipped=%lu", peer->addr.text,
                 (unsigned long long)(clock_wall_us() - peer->since_us) / 1000, skipped);
    }
    LIST_FOR_EACH (it, &route->waiting) {
        container_of(it, struct proxy_route_call, link)->due_ms = 0;
    }
    uv_timer_start(&route->tick, on_tick, 0, TICK_MS);
}

/* Its calls end with ERR_CANCELED, later; on_attempt() knows why. */
static void take_calls_back(struct proxy_route_peer *peer)
{
    LIST_FOR_EACH_SAFE (it, &peer->flying) {
        struct proxy_route_call *call = container_of(it, struct proxy_route_call, link);

        call->taken_back = true;
        proxy_call_cancel(&call->proxy);
    }
}

static void on_ping(struct proxy_call *ping, int rc)
{
    struct proxy_route_peer *peer = container_of(ping, struct proxy_route_peer, ping);
    uint64_t now_ms = clock_mono_ms();
    struct err e;

    peer->pinging = false;
    if (rc == 0) {
        peer->heard_ms = now_ms;
        peer_up(peer);
        return;
    }
    if (rc == ERR_CANCELED) {
        return;
    }
    if (peer->down) {
        err_copy(&peer->why, &ping->err);
        peer->ping_ms = now_ms + peer->backoff_ms;
        peer->backoff_ms = backoff(2 * peer->backoff_ms);
        return;
    }
    if (rc == UV_EOF || rc == UV_ECONNRESET || rc == UV_EPIPE) {
        peer->heard_ms = now_ms; /* who hangs up lives: it has all the connections that it may */
    }
    if (now_ms - peer->heard_ms < peer->route->silent_ms) {
        return; /* a call was answered meanwhile */
    }
    err_set(&e, rc, "proxy %s: no answer for %llu ms", peer->addr.text,
            (unsigned long long)(now_ms - peer->heard_ms));
    peer_down(peer, &e);
    take_calls_back(peer);
}

static void ping(struct proxy_route_peer *peer)
{
    if (!peer->pinging && proxy_client_call(peer->pings, &peer->ping, &peer->ping_request,
                                            peer->route->ping_ms, on_ping) == 0) {
        peer->pinging = true;
    }
}

static void look_after(struct proxy_route_peer *peer, uint64_t now_ms)
{
    if (peer->down
            ? now_ms >= peer->ping_ms
            : !list_empty(&peer->flying) && now_ms - peer->heard_ms >= peer->route->silent_ms) {
        ping(peer);
    }
}

/* The first one that is well, counted from the one that the call would like. */
static struct proxy_route_peer *pick(struct proxy_route *route, const struct proxy_route_call *call)
{
    for (unsigned i = 0; i < route->peer_count; i++) {
        struct proxy_route_peer *peer = &route->peers[(call->spread + i) % route->peer_count];

        if (!peer->down) {
            return peer;
        }
    }
    return NULL;
}

bool proxy_route_is_down(const struct proxy_route *route, struct err *ret_why,
                         uint64_t *ret_since_us)
{
    const struct proxy_route_peer *last = &route->peers[0];

    for (unsigned i = 0; i < route->peer_count; i++) {
        const struct proxy_route_peer *peer = &route->peers[i];

        if (!peer->down) {
            return false;
        }
        last = peer->since_us > last->since_us ? peer : last;
    }
    err_copy(ret_why, &last->why);
    *ret_since_us = last->since_us;
    return true;
}

/* ---- calls ---- */

static unsigned timeout_of(const struct proxy_route_call *call)
{
    return call->timeout_ms != 0 ? call->timeout_ms : call->route->timeout_ms;
}

static uint64_t deadline_of(const struct proxy_route_call *call)
{
    const struct proxy_route *route = call->route;

    return call->deadline_ms < route->end_ms ? call->deadline_ms : route->end_ms;
}

static void call_wait(struct proxy_route_call *call, uint64_t due_ms)
{
    call->peer = NULL;
    call->due_ms = due_ms;
    list_push(&call->route->waiting, &call->link);
    watch(call->route);
}

/* It is on no list. Callback of a call that never got an answer, or whose time is up. */
static void call_give_up(struct proxy_route_call *call)
{
    struct proxy_route *route = call->route;
    uint64_t since_us;
    bool canceled = !call->refused && (call->canceled || route->end_ms <= call->deadline_ms);
    int rc;

    call->proxy.proxy_code = 0;
    call->proxy.maybe_executed = false;
    if (call->err.code == 0 && !proxy_route_is_down(route, &call->err, &since_us)) {
        err_set(&call->err, UV_ETIMEDOUT, "proxy");
    }
    rc = canceled ? ERR_CANCELED : call->err.code;
    err_copy(&call->proxy.err, &call->err);
    call->proxy.err.code = rc;
    if (canceled) {
        err_wrap(&call->proxy.err, call->canceled ? "canceled" : "stopping");
    } else if (!call->refused) {
        err_wrap(&call->proxy.err, "no success within %u ms", timeout_of(call));
    }
    call->cb(call, rc);
}

/* Gives it to a proxy; false: none is well, or takes it. */
static bool call_start(struct proxy_route_call *call, uint64_t now_ms)
{
    struct proxy_route *route = call->route;
    struct proxy_route_peer *peer = pick(route, call);
    uint64_t left_ms = deadline_of(call) > now_ms ? deadline_of(call) - now_ms : 1;

    if (peer == NULL) {
        return false;
    }
    if (call->attempt_ms != 0 && route->end_ms == UINT64_MAX) {
        left_ms = call->attempt_ms;
    }
    call->taken_back = false;
    proxy_request_set_deadline(call->deadline_at, left_ms);
    if (proxy_client_call(peer->calls, &call->proxy, call->request, (unsigned)left_ms,
                          on_attempt) != 0) {
        call->refused = err_copy(&call->err, &call->proxy.err) != ERR_BUSY;
        if (call->refused) { /* for the next tick to end */
            uv_timer_start(&route->tick, on_tick, 0, TICK_MS);
        }
        route->full = route->full || !call->refused;
        return false;
    }
    if (list_empty(&peer->flying)) {
        peer->heard_ms = now_ms;
    }
    call->peer = peer;
    call->tries++;
    list_remove(&call->link);
    list_push(&peer->flying, &call->link);
    route->flying_count++;
    watch(route);
    return true;
}

static uint64_t due_of(const struct proxy_route_call *call, uint64_t now_ms)
{
    unsigned shift = call->tries < 7 ? call->tries : 7;

    return now_ms + backoff((unsigned)PROXY_ROUTE_BACKOFF_MS_MIN << shift);
}

bool proxy_route_again(struct proxy_route_call *call, bool proxy_is_bad, const struct err *why)
{
    uint64_t now_ms = clock_mono_ms();

    if (!call->repeatable || call->canceled || now_ms >= deadline_of(call)) {
        return false;
    }
    if (proxy_is_bad && call->peer != NULL) {
        peer_down(call->peer, why);
    }
    err_copy(&call->err, why);
    call_wait(call, due_of(call, now_ms));
    return true;
}

/* The proxy did not answer. The first other proxy is tried at once. */
static void on_no_answer(struct proxy_route_call *call, int rc)
{
    struct proxy_route_peer *peer = call->peer;
    uint64_t now_ms = clock_mono_ms();

    if (call->taken_back && peer->down) {
        rc = err_copy(&call->proxy.err, &peer->why);
    } else if (rc != ERR_CANCELED && (rc != UV_ETIMEDOUT || !call->proxy.maybe_executed)) {
        peer_down(peer, &call->proxy.err);
    }
    if (call->canceled || now_ms >= deadline_of(call) ||
        (!call->repeatable && call->proxy.maybe_executed)) {
        call->cb(call, rc);
        return;
    }
    err_copy(&call->err, &call->proxy.err);
    if (call->tries >= call->route->peer_count || !call_start(call, now_ms)) {
        call_wait(call, due_of(call, now_ms));
    }
}

/* A place is free: for whoever has waited longest, not for the next one to ask. */
static void start_oldest(struct proxy_route *route)
{
    uint64_t now_ms = clock_mono_ms();

    LIST_FOR_EACH (it, &route->waiting) {
        struct proxy_route_call *call = container_of(it, struct proxy_route_call, link);

        if (call->due_ms <= now_ms) {
            call_start(call, now_ms);
            return;
        }
    }
    route->full = false;
}

static void on_attempt(struct proxy_call *proxy, int rc)
{
    struct proxy_route_call *call = container_of(proxy, struct proxy_route_call, proxy);
    struct proxy_route *route = call->route;
    struct proxy_route_peer *peer = call->peer;

    list_remove(&call->link);
    route->flying_count--;
    if (rc != 0 && proxy->proxy_code == 0) {
        on_no_answer(call, rc);
        return;
    }
    peer->heard_ms = clock_mono_ms();
    if (rc == 0) {
        peer->backoff_ms = PROXY_ROUTE_BACKOFF_MS_MIN;
    }
    call->cb(call, rc);
    if (route->full) {
        start_oldest(route);
    }
}

void proxy_route_submit(struct proxy_route *route, struct proxy_route_call *call, proxy_route_cb cb)
{
    uint64_t now_ms = clock_mono_ms();

    CHECK(!route->closing);
    call->route = route;
    call->cb = cb;
    call->deadline_ms = now_ms + timeout_of(call);
    call->tries = 0;
    call->canceled = call->refused = false;
    call->err = (struct err){0};
    list_init(&call->link);
    if (route->full || now_ms >= deadline_of(call) || !call_start(call, now_ms)) {
        call_wait(call, now_ms);
    }
}

void proxy_route_cancel(struct proxy_route_call *call)
{
    call->canceled = true;
    if (call->peer != NULL) {
        proxy_call_cancel(&call->proxy);
    } else {
        uv_timer_start(&call->route->tick, on_tick, 0, TICK_MS);
    }
}

/* ---- the tick ---- */

/* A callback may submit calls, which go behind the others; those that it frees are its own. */
static void serve_waiting(struct proxy_route *route, uint64_t now_ms)
{
    struct list now;
    struct list *link;

    list_init(&now);
    list_splice(&now, &route->waiting);
    route->full = false;
    while ((link = list_pop(&now)) != NULL) {
        struct proxy_route_call *call = container_of(link, struct proxy_route_call, link);

        if (call->canceled || call->refused || now_ms >= deadline_of(call)) {
            call_give_up(call);
        } else if (now_ms < call->due_ms || !call_start(call, now_ms)) {
            list_push(&route->waiting, &call->link);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct proxy_route *route = container_of(timer, struct proxy_route, tick);
    uint64_t now_ms = clock_mono_ms();
    bool down = false;

    for (unsigned i = 0; i < route->peer_count; i++) {
        look_after(&route->peers[i], now_ms);
        if (now_ms >= route->end_ms) {
            take_calls_back(&route->peers[i]);
        }
        down = down || route->peers[i].down;
    }
    serve_waiting(route, now_ms);
    if (!down && route->flying_count == 0 && list_empty(&route->waiting)) {
        uv_timer_stop(timer);
    }
}

/* ---- life ---- */

struct proxy_route *proxy_route_new(uv_loop_t *loop, const struct proxy_route_options *options)
{
    struct proxy_route *route = mem_zalloc(sizeof(*route));

    CHECK(options->proxy_count > 0 && options->proxy_count <= PROXY_CLIENT_ENDPOINTS_MAX);
    CHECK(uv_timer_init(loop, &route->tick) == 0);
    route->timeout_ms = options->timeout_ms;
    route->silent_ms = options->silent_ms != 0 ? options->silent_ms : PROXY_ROUTE_SILENT_MS;
    route->ping_ms = options->ping_ms != 0 ? options->ping_ms : PROXY_ROUTE_PING_MS;
    route->peer_count = options->proxy_count;
    route->end_ms = UINT64_MAX;
    list_init(&route->waiting);
    for (unsigned i = 0; i < route->peer_count; i++) {
        struct proxy_route_peer *peer = &route->peers[i];
        struct proxy_client_options client = {
            .endpoints = &options->proxies[i], .endpoint_count = 1, .tls = options->tls};

        peer->route = route;
        peer->addr = options->proxies[i];
        peer->backoff_ms = PROXY_ROUTE_BACKOFF_MS_MIN;
        list_init(&peer->flying);
        peer->calls = proxy_client_new(loop, &client);
        client.connections_max = 1;
        peer->pings = proxy_client_new(loop, &client);
        proxy_request_encode(&(struct proxy_request){.code = PROXY_PING}, &peer->ping_request);
    }
    return route;
}

void proxy_route_finish(struct proxy_route *route, unsigned ms)
{
    route->end_ms = clock_mono_ms() + ms;
    watch(route);
}

static void closed_one(void *ctx)
{
    struct proxy_route *route = ctx;
    void (*cb)(void *ctx) = route->close_cb;

    ctx = route->close_ctx;
    if (--route->open != 0) {
        return;
    }
    for (unsigned i = 0; i < route->peer_count; i++) {
        gather_release(&route->peers[i].ping_request);
    }
    free(route);
    cb(ctx);
}

static void on_tick_closed(uv_handle_t *handle)
{
    closed_one(container_of((uv_timer_t *)handle, struct proxy_route, tick));
}

void proxy_route_close(struct proxy_route *route, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!route->closing && route->flying_count == 0 && list_empty(&route->waiting));
    route->closing = true;
    route->close_cb = cb;
    route->close_ctx = ctx;
    route->open = 1 + 2 * route->peer_count;
    for (unsigned i = 0; i < route->peer_count; i++) {
        proxy_client_close(route->peers[i].calls, closed_one, route);
        proxy_client_close(route->peers[i].pings, closed_one, route);
    }
    uv_close((uv_handle_t *)&route->tick, on_tick_closed);
}
