/* alba-proxy: objects for clients, fragments for ASDs.
 *
 * Start: registry (asked until it answers) -> engine -> server -> ready, and its record in the
 * registry. Stop: the same backwards, HTTP first. */
#include <stdlib.h>

#include <jansson.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/addrs.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "loop/run.h"
#include "meta/connect.h"
#include "meta/proxy_presence.h"
#include "meta/registry.h"
#include "proxy/config.h"
#include "proxy/engine.h"
#include "proxy/figures.h"
#include "proxy/own_record.h"
#include "proxy/server.h"

enum { FS_DIRS_MAX = 16, CALLS_END_MS = 2000, CALLS_TICK_MS = 200 };

struct proxy {
    struct daemon *daemon;
    struct registry *registry;
    struct engine *engine;
    struct proxy_server *server;
    struct proxy_presence *presence; /* NULL: not in the registry */
    struct http_server *http;
    struct metrics metrics;
    struct metric_collector collector;
    char *fs_dirs[FS_DIRS_MAX];
    struct net_tls *tls;        /* for what we connect to; NULL: none */
    struct net_tls *server_tls; /* for who connects to us; NULL: none */
    struct key_files keys;
    struct connect connect;
    bool connected;       /* `connect` is to be closed */
    uv_timer_t calls_end; /* while the engine closes */
};

/* ---- figures ---- */

static void collect(struct metric_collector *collector, struct buf *out)
{
    struct proxy *p = container_of(collector, struct proxy, collector);

    if (p->engine != NULL && p->server != NULL) {
        const struct metric_single figures[] = {
            {"proxy_connections", METRIC_GAUGE, proxy_server_connections(p->server),
             "Open connections."},
            {"proxy_requests_running", METRIC_GAUGE, p->server->running, "In flight."},
            {"proxy_slow_requests_total", METRIC_COUNTER, p->server->slow_total,
             "Requests that took slow_request_ms or longer."},
            {"proxy_request_memory_bytes", METRIC_GAUGE, p->server->room.used_bytes,
             "Large requests, coming or running."},
        };

        metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
        figures_print(p->engine, out);
    }
}

static json_t *status(void *ctx)
{
    const struct proxy *p = ctx;
    json_t *o = json_pack("{s:b}", "ready", p->server != NULL);

    if (p->server != NULL) {
        const char *alba_id = registry_view_alba_id(registry_view(p->registry));

        json_object_set_new(o, "alba_id", json_string(alba_id));
        json_object_set_new(o, "connections",
                            json_integer((json_int_t)proxy_server_connections(p->server)));
        json_object_set_new(o, "requests_running", json_integer((json_int_t)p->server->running));
        figures_status(p->engine, o);
    }
    return o;
}

static int ready(void *ctx, struct err *why)
{
    const struct proxy *p = ctx;

    return p->server != NULL ? 0 : err_say(why, ERR_BUSY, "the registry does not answer yet");
}

/* ---- start ---- */

static int check_fs_dirs(struct proxy *p, const struct proxy_config *config, struct err *e)
{
    int rc = config->fs_dirs.count <= FS_DIRS_MAX
                 ? 0
                 : err_say(e, ERR_CONFIG, "at most %d fs_dirs", FS_DIRS_MAX);

    for (unsigned i = 0; rc == 0 && i < config->fs_dirs.count; i++) {
        rc = fs_dir_check(config->fs_dirs.items[i], &p->fs_dirs[i], e);
    }
    return rc;
}

static int set_keys(struct proxy *p, const struct proxy_config *config, struct err *e)
{
    return key_files_set(&p->keys, (const char *const *)config->key_files.items,
                         config->key_files.count, e);
}

static void announce(struct proxy *p, const struct proxy_config *config,
                     const struct daemon_addrs *addrs)
{
    struct proxy_record record;
    struct proxy_presence_options options = {.self = &record,
                                             .interval_ms = (unsigned)(config->announce_s * 1000)};
    uint16_t ports[DAEMON_ADDRS_MAX];

    if (options.interval_ms != 0) {
        for (unsigned i = 0; i < addrs->count; i++) {
            ports[i] = proxy_server_port(p->server, i);
        }
        own_record_make(config, addrs, ports, &record);
        p->presence = proxy_presence_new(registry_kv(p->registry), &options);
    }
}

static int start_server(struct proxy *p, const struct proxy_config *config, struct err *e)
{
    struct daemon_addrs addrs = {0};
    struct proxy_server_options options = {
        .addrs = addrs.items,
        .tls = p->server_tls,
        .fd_socket = config->socket,
        .connections_max = (unsigned)config->connections_max,
        .request_bytes_max = (size_t)config->request_bytes_max,
        .request_timeout_ms = (unsigned)(config->request_timeout_s * 1000),
        .slow_request_ms = (unsigned)config->slow_request_ms,
        .fs = {.dirs = (const char *const *)p->fs_dirs, .dir_count = config->fs_dirs.count}};
    unsigned tls_at;
    int rc = daemon_addrs_tcp(&addrs, &config->ips, config->port, e);

    tls_at = addrs.count;
    rc = rc != 0 || !config->server_tls.given
             ? rc
             : daemon_addrs_tls(&addrs, &config->ips, config->server_tls.port, e);
    rc = rc != 0 ? rc : daemon_addrs_unix(&addrs, config->socket, e);
    options.addr_count = addrs.count;
    rc = rc != 0 ? rc : proxy_server_new(p->engine, &options, &p->server, e);
    if (rc == 0) {
        log_info("proxy", "serving", "alba_id=%s port=%u tls_port=%u socket=%s",
                 registry_view_alba_id(registry_view(p->registry)),
                 config->port != CONFIG_NONE ? proxy_server_port(p->server, 0) : 0,
                 config->server_tls.given ? proxy_server_port(p->server, tls_at) : 0,
                 config->socket != NULL ? config->socket : "-");
        announce(p, config, &addrs);
    }
    return rc;
}

static uint64_t object_bytes_max(const struct proxy_config *config)
{
    return config->object_bytes_max != CONFIG_NONE ? (uint64_t)config->object_bytes_max : 0;
}

static int start_engine(struct proxy *p, const struct proxy_config *config, struct err *e)
{
    struct engine_options options = {.memory_bytes = (size_t)config->memory_bytes,
                                     .manifest_cache_bytes = (size_t)config->manifest_cache_bytes,
                                     .index_cache_bytes = (size_t)config->index_cache_bytes,
                                     .block_cache_bytes = (size_t)config->block_cache_bytes,
                                     .osd_timeout_ms = (unsigned)(config->osd_timeout_s * 1000),
                                     .hedge_reads = config->hedge_reads,
                                     .upload_slack = config->upload_slack,
                                     .object_bytes_max = object_bytes_max(config),
                                     .keys = &p->keys,
                                     .near_places = (const char *const *)config->near_places.items,
                                     .near_place_count = config->near_places.count,
                                     .osd_socket_dir = config->asd_socket_dir};

    bigmem_keep(options.memory_bytes);
    p->engine = engine_new(daemon_loop(p->daemon), p->registry, &options);
    if (p->engine == NULL) {
        return err_say(e, ERR_FAILED, "threads could not be made");
    }
    registry_poll(p->registry, (unsigned)(config->refresh_s * 1000) + 1, engine_registry_changed,
                  p->engine);
    return 0;
}

static void on_registry(void *ctx, int rc, const struct err *e)
{
    struct proxy *p = ctx;
    const struct proxy_config *config = daemon_config(p->daemon);
    struct err why = {0};

    if (rc != 0) {
        daemon_fail(p->daemon, e);
        return;
    }
    p->registry = p->connect.registry;
    rc = start_engine(p, config, &why);
    rc = rc != 0 ? rc : start_server(p, config, &why);
    if (rc != 0) {
        daemon_fail(p->daemon, &why);
        return;
    }
    daemon_ready(p->daemon, "serving");
}

static int start_http(struct proxy *p, const struct proxy_config *config, struct err *e)
{
    struct daemon_addrs addrs = {0};
    struct http_options options = {
        .addrs = addrs.items, .metrics = &p->metrics, .status = status, .ready = ready, .ctx = p};
    int rc = daemon_addrs_tcp(&addrs, &config->http_ips, config->http_port, e);

    options.addr_count = addrs.count;
    metrics_init(&p->metrics);
    p->collector.collect = collect;
    metrics_collector(&p->metrics, &p->collector);
    if (rc != 0 || options.addr_count == 0) {
        return rc;
    }
    return http_server_new(daemon_loop(p->daemon), &options, &p->http, e);
}

static void release(struct proxy *p)
{
    for (unsigned i = 0; i < FS_DIRS_MAX; i++) {
        free(p->fs_dirs[i]);
    }
    key_files_release(&p->keys);
    net_tls_free(p->tls);
    net_tls_free(p->server_tls);
}

/* A start that failed leaves nothing open. */
static void abandon(struct proxy *p)
{
    bool done = false;

    connect_close(&p->connect, loop_set_true, &done);
    loop_run_until(daemon_loop(p->daemon), &done);
    release(p);
}

static int start(struct daemon *d, struct err *e)
{
    struct proxy *p = daemon_ctx(d);
    const struct proxy_config *config = daemon_config(d);
    int rc;

    p->daemon = d;
    key_files_init(&p->keys);
    rc = check_fs_dirs(p, config, e);
    rc = rc != 0 ? rc : set_keys(p, config, e);
    rc = rc != 0 ? rc : tls_config_open_client(&config->tls, &p->tls, e);
    rc = rc != 0 ? rc : tls_config_open_server(&config->server_tls, &p->server_tls, e);
    rc = rc != 0 ? rc
                 : connect_start(&p->connect, daemon_loop(d), config->registry_url, p->tls,
                                 on_registry, p, e);
    if (rc != 0) {
        release(p);
        return rc;
    }
    p->connected = true;
    rc = start_http(p, config, e);
    if (rc != 0) {
        abandon(p);
    }
    return rc;
}

/* ---- stop: one step after the other ---- */

static void stop_step(struct proxy *p);

static void on_http_closed(void *ctx)
{
    ((struct proxy *)ctx)->http = NULL;
    stop_step(ctx);
}

static void on_presence_closed(void *ctx)
{
    ((struct proxy *)ctx)->presence = NULL;
    stop_step(ctx);
}

static void on_server_closed(void *ctx)
{
    ((struct proxy *)ctx)->server = NULL;
    stop_step(ctx);
}

static void on_calls_end_closed(uv_handle_t *handle)
{
    stop_step(container_of((uv_timer_t *)handle, struct proxy, calls_end));
}

static void on_engine_closed(void *ctx)
{
    struct proxy *p = ctx;

    p->engine = NULL;
    uv_close((uv_handle_t *)&p->calls_end, on_calls_end_closed);
}

/* No client waits any more for what metadata does not answer. What it does answer is still asked
 * for: late fragments of what was acknowledged are entered. */
static void on_calls_tick(uv_timer_t *timer)
{
    registry_cancel_silent(container_of(timer, struct proxy, calls_end)->registry, CALLS_END_MS);
}

static void close_engine(struct proxy *p)
{
    registry_unwatch(p->registry);
    CHECK(uv_timer_init(daemon_loop(p->daemon), &p->calls_end) == 0);
    CHECK(uv_timer_start(&p->calls_end, on_calls_tick, CALLS_TICK_MS, CALLS_TICK_MS) == 0);
    engine_close(p->engine, on_engine_closed, p);
}

static void on_connect_closed(void *ctx)
{
    ((struct proxy *)ctx)->connected = false;
    stop_step(ctx);
}

static void stop_step(struct proxy *p)
{
    if (p->http != NULL) {
        http_server_close(p->http, on_http_closed, p);
    } else if (p->presence != NULL) {
        proxy_presence_close(p->presence, on_presence_closed, p);
    } else if (p->server != NULL) {
        proxy_server_close(p->server, on_server_closed, p);
    } else if (p->engine != NULL) {
        close_engine(p);
    } else if (p->connected) {
        connect_close(&p->connect, on_connect_closed, p);
    } else {
        release(p);
        daemon_stopped(p->daemon);
    }
}

static void stop(struct daemon *d)
{
    stop_step(daemon_ctx(d));
}

static void reload(struct daemon *d, const void *old)
{
    struct proxy *p = daemon_ctx(d);
    const struct proxy_config *config = daemon_config(d);
    struct err e;

    (void)old;
    if (p->engine != NULL) {
        engine_set_puts(p->engine, config->upload_slack, object_bytes_max(config));
        engine_set_hedging(p->engine, config->hedge_reads);
    }
    if (p->server != NULL) {
        proxy_server_set_slow_ms(p->server, (unsigned)config->slow_request_ms);
        proxy_server_set_timeout_ms(p->server, (unsigned)(config->request_timeout_s * 1000));
    }
    tls_config_reload_client(&config->tls, p->tls);
    tls_config_reload_server(&config->server_tls, p->server_tls);
    if (set_keys(p, config, &e) != 0) {
        log_error("proxy", "the keys stay as they were", "why=\"%s\"", e.msg);
    }
}

int main(int argc, char **argv)
{
    struct proxy proxy = {0};
    const struct daemon_options options = {.name = "alba-proxy",
                                           .summary = "objects for clients, fragments for ASDs",
                                           .keys = proxy_config_keys,
                                           .config_bytes = sizeof(struct proxy_config),
                                           .ctx = &proxy,
                                           .check = proxy_config_check,
                                           .start = start,
                                           .stop = stop,
                                           .reload = reload};

    return daemon_main(&options, argc, argv);
}
