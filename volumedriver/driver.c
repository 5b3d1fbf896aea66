/* Start: NBD, whose clients wait -> journal, map and threads -> registry -> the list of our volumes
 * -> each opened. Stop: clients cut off -> volumes closed -> everything else, backwards. */
#include "volumedriver/driver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/addrs.h"
#include "loop/io.h"
#include "volumedriver/driver_finish.h"
#include "volumedriver/driver_full.h"
#include "volumedriver/driver_moved.h"
#include "volumedriver/driver_notes.h"
#include "volumedriver/driver_settle.h"

enum { LIST_LIMIT = 200, TICK_MS = 1000, POLL_MS = 2000 };

static void stop_step(struct driver *d);

/* ---- start ---- */

static void on_pressure(void *ctx, uint64_t lsn)
{
    volume_host_pressure(&((struct driver *)ctx)->host, lsn);
}

static int make_dir(const char *path, struct err *e)
{
    int rc = io_make_dir(io_real(), path);

    return rc == 0 ? 0 : err_set(e, rc, "make directory %s", path);
}

static int open_journal(struct driver *d, struct err *e)
{
    char *dir = mem_printf("%s/journal", d->config->home);
    struct journal_options options = {.loop = d->loop,
                                      .io = io_real(),
                                      .dir = dir,
                                      .segment_bytes = (uint64_t)d->config->segment_bytes,
                                      .journal_bytes = (uint64_t)d->config->journal_bytes,
                                      .on_pressure = on_pressure,
                                      .ctx = d};
    int rc = make_dir(d->config->home, e);

    rc = rc != 0 ? rc : make_dir(dir, e);
    rc = rc != 0 ? rc : journal_open(&options, &d->journal, e);
    free(dir);
    return rc != 0 ? rc : driver_notes_apply(d->config->home, d->journal, e);
}

static int open_map(struct driver *d, struct err *e)
{
    char *dir = mem_printf("%s/map", d->config->home);
    int rc = map_open(d->loop, dir, (uint64_t)d->config->map_bytes, &d->map, e);

    free(dir);
    return rc;
}

static int open_proxies(struct driver *d, struct err *e)
{
    struct net_addr proxies[PROXY_CLIENT_ENDPOINTS_MAX];
    struct proxy_route_options options = {.proxies = proxies,
                                          .proxy_count = d->config->proxies.count,
                                          .tls = d->tls,
                                          .timeout_ms = (unsigned)d->config->backend_timeout_ms};
    int rc = 0;

    if (options.proxy_count > PROXY_CLIENT_ENDPOINTS_MAX) {
        return err_say(e, ERR_CONFIG, "at most %d proxies", PROXY_CLIENT_ENDPOINTS_MAX);
    }
    for (unsigned i = 0; rc == 0 && i < options.proxy_count; i++) {
        rc = net_addr_parse(&proxies[i], d->config->proxies.items[i], e);
    }
    if (rc == 0) {
        d->route = proxy_route_new(d->loop, &options);
    }
    return rc;
}

static int start_nbd(struct driver *d, struct err *e)
{
    struct daemon_addrs addrs = {0};
    struct nbd_server_options options = {.addrs = addrs.items, .exports = &d->exports};
    int rc = daemon_addrs_tcp(&addrs, &d->config->nbd_ips, d->config->nbd_port, e);

    static_assert((int)DAEMON_ADDRS_MAX <= (int)NBD_ADDRS_MAX, "all of them fit");
    rc = rc != 0 ? rc : daemon_addrs_unix(&addrs, d->config->nbd_socket, e);
    options.addr_count = addrs.count;
    return rc != 0 ? rc : nbd_server_new(d->loop, &options, &d->nbd, e);
}

static void list_from(struct driver *d, const char *after);

static void on_list(void *ctx, int rc, const struct err *e, const struct registry_volume *volumes,
                    size_t count, bool has_more)
{
    struct driver *d = ctx;
    struct err why;

    if (d->stopping) {
        return;
    }
    if (rc != 0) {
        log_error("driver", "volumes not listed, trying again", "error=\"%s\"", e->msg);
        return; /* on_tick() asks again */
    }
    for (size_t i = 0; i < count; i++) {
        bool is_ours = strcmp(volumes[i].owner, d->config->driver_id) == 0;
        bool is_nobodys = volumes[i].owner[0] == '\0'; /* made, and never opened */

        if (is_ours && volumes[i].state == REGISTRY_VOLUME_READY &&
            driver_volume_find(d, volumes[i].name) == NULL) {
            driver_volume_add(d, &volumes[i], NULL, NULL, &why); /* it is not stopping */
        } else if ((is_ours || is_nobodys) && volumes[i].state == REGISTRY_VOLUME_DELETING) {
            driver_finish_add(d, &volumes[i]);
        }
    }
    if (has_more && count != 0) {
        list_from(d, volumes[count - 1].name);
        return;
    }
    d->listed = true;
    d->listed_ms = uv_now(d->loop);
    driver_open_waiting(d);
}

static void list_from(struct driver *d, const char *after)
{
    registry_volume_list(d->connect.registry, after, LIST_LIMIT, on_list, d);
}

static void on_registry(void *ctx, int rc, const struct err *e)
{
    struct driver *d = ctx;

    if (rc != 0) {
        d->on_failed(d, e);
        return;
    }
    registry_poll(d->connect.registry, POLL_MS, NULL, NULL);
    d->reachable = true;
    list_from(d, "");
}

static void on_tick(uv_timer_t *timer)
{
    struct driver *d = container_of(timer, struct driver, timer);

    if (d->reachable && !d->listed) {
        list_from(d, "");
    }
    driver_open_waiting(d);
    driver_settle(d);
    driver_full_watch(d);
    driver_finish_deletes(d);
    driver_moved_watch(d);
}

int driver_start(struct driver *d, uv_loop_t *loop, const struct driver_config *config,
                 struct err *e)
{
    int rc;

    d->loop = loop;
    d->config = config;
    list_init(&d->volumes);
    list_init(&d->unfinished);
    d->exports.ops = &driver_exports_ops;
    later_init(&d->later, loop);
    CHECK(uv_timer_init(loop, &d->timer) == 0);
    d->later_open = d->timer_open = true;
    d->worker = nbd_worker_new(loop);
    rc = pool_new(loop, "sco", DRIVER_POOL_THREADS, DRIVER_POOL_QUEUE_MAX, &d->pool);
    rc = rc != 0 ? err_set(e, rc, "threads") : start_nbd(d, e);
    rc = rc != 0 ? rc : open_journal(d, e);
    rc = rc != 0 ? rc : open_map(d, e);
    rc = rc != 0 ? rc : open_proxies(d, e);
    if (rc != 0) {
        return rc;
    }
    d->host = (struct volume_host){.loop = loop,
                                   .later = &d->later,
                                   .journal = d->journal,
                                   .map = d->map,
                                   .pool = d->pool,
                                   .sco_age_ms = (uint64_t)config->sco_age_ms,
                                   .checkpoint_bytes = (uint64_t)config->checkpoint_bytes};
    volume_host_init(&d->host);
    rc = connect_start(&d->connect, loop, config->registry_url, d->tls, on_registry, d, e);
    if (rc == 0) {
        d->connected = true;
        uv_timer_start(&d->timer, on_tick, TICK_MS, TICK_MS);
    }
    return rc;
}

/* ---- stop ---- */

static void on_volume_closed(void *ctx, int rc, const struct err *e)
{
    (void)ctx; /* volumes_left() looks again */
    (void)rc;
    (void)e;
}

/* True when volumes are still to be waited for: they call stop_step() by the timer. */
static bool volumes_left(struct driver *d)
{
    struct err e;

    LIST_FOR_EACH_SAFE (it, &d->volumes) {
        struct driver_volume *v = container_of(it, struct driver_volume, link);

        /* Refused while it is closed already. */
        (void)driver_volume_close(v, DRIVER_VOLUME_DRAIN_MS, on_volume_closed, d, &e);
    }
    return !list_empty(&d->volumes) || d->operations != 0;
}

static void on_stop_tick(uv_timer_t *timer)
{
    stop_step(container_of(timer, struct driver, timer));
}

static void on_part_closed(void *ctx)
{
    stop_step(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    stop_step(container_of((uv_timer_t *)handle, struct driver, timer));
}

/* One part after the other; each is gone for us when its closing begins. */
static void stop_step(struct driver *d)
{
    if (volumes_left(d)) {
        uv_timer_start(&d->timer, on_stop_tick, 20, 0);
    } else if (d->nbd != NULL) {
        nbd_server_close(d->nbd, DRIVER_NBD_DRAIN_MS, on_part_closed, d);
        d->nbd = NULL;
    } else if (d->worker != NULL) {
        nbd_worker_close(d->worker, on_part_closed, d);
        d->worker = NULL;
    } else if (d->connected) {
        driver_finish_forget(d);
        connect_close(&d->connect, on_part_closed, d);
        d->connected = false;
    } else if (d->route != NULL) {
        proxy_route_close(d->route, on_part_closed, d);
        d->route = NULL;
    } else if (d->map != NULL) {
        map_close(d->map, on_part_closed, d);
        d->map = NULL;
    } else if (d->journal != NULL) {
        if (d->host.loop != NULL) {
            volume_host_release(&d->host);
        }
        journal_close(d->journal, on_part_closed, d);
        d->journal = NULL;
    } else if (d->pool != NULL) {
        pool_close(d->pool, on_part_closed, d);
        d->pool = NULL;
    } else if (d->later_open) {
        later_close(&d->later, on_part_closed, d);
        d->later_open = false;
    } else if (d->timer_open) {
        uv_close((uv_handle_t *)&d->timer, on_timer_closed);
        d->timer_open = false;
    } else {
        buf_release(&d->full_pins);
        d->stopped(d);
    }
}

void driver_stop(struct driver *d, void (*stopped)(struct driver *d))
{
    CHECK(!d->stopping);
    d->stopping = true;
    d->stopped = stopped;
    uv_timer_stop(&d->timer);
    if (d->route != NULL) {
        proxy_route_finish(d->route, DRIVER_BACKEND_DRAIN_MS);
    }
    stop_step(d);
}
