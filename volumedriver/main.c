/* volumedriver: virtual disks over NBD, on objects. */
#include <stdlib.h>

#include <jansson.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/addrs.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "loop/run.h"
#include "volumedriver/driver.h"

struct program {
    struct driver driver;
    struct daemon *daemon;
    struct http_server *http;       /* figures, on TCP */
    struct http_server *management; /* on the unix socket */
    struct metrics metrics;
    struct metric_collector collector;
    bool abandoning; /* a start that failed is undone */
    bool abandoned;
};

static void collect(struct metric_collector *collector, struct buf *out)
{
    driver_figures(&container_of(collector, struct program, collector)->driver, out);
}

static json_t *status(void *ctx)
{
    return driver_status(&((struct program *)ctx)->driver);
}

static int ready(void *ctx, struct err *why)
{
    const struct program *p = ctx;

    return p->driver.ready ? 0 : err_say(why, ERR_BUSY, "volumes are still being opened");
}

/* ---- start ---- */

static int start_http(struct program *p, const struct driver_config *config, struct err *e)
{
    struct daemon_addrs management = {0}, figures = {0};
    struct http_options options = {.addrs = management.items,
                                   .addr_count = 1,
                                   .metrics = &p->metrics,
                                   .status = status,
                                   .ready = ready,
                                   .ctx = p};
    int rc = daemon_addrs_unix(&management, config->socket, e);

    rc = rc != 0 ? rc : daemon_addrs_tcp(&figures, &config->http_ips, config->http_port, e);
    rc = rc != 0 ? rc : http_server_new(daemon_loop(p->daemon), &options, &p->management, e);
    if (rc != 0 || figures.count == 0) {
        return rc;
    }
    options.addrs = figures.items;
    options.addr_count = figures.count;
    return http_server_new(daemon_loop(p->daemon), &options, &p->http, e);
}

static void on_ready(struct driver *driver)
{
    struct program *p = container_of(driver, struct program, driver);

    log_info("driver", "serving", "driver_id=%s home=%s", driver->config->driver_id,
             driver->config->home);
    daemon_ready(p->daemon, "serving");
}

static void on_failed(struct driver *driver, const struct err *e)
{
    daemon_fail(container_of(driver, struct program, driver)->daemon, e);
}

static void stop_step(struct program *p);

static int start(struct daemon *d, struct err *e)
{
    struct program *p = daemon_ctx(d);
    const struct driver_config *config = daemon_config(d);
    int rc;

    p->daemon = d;
    p->driver.on_ready = on_ready;
    p->driver.on_failed = on_failed;
    metrics_init(&p->metrics);
    p->collector.collect = collect;
    metrics_collector(&p->metrics, &p->collector);
    rc = tls_config_open_client(&config->tls, &p->driver.tls, e);
    rc = rc != 0 ? rc : start_http(p, config, e);
    rc = rc != 0 ? rc : driver_start(&p->driver, daemon_loop(d), config, e);
    if (rc == 0) {
        driver_api_routes(&p->driver, p->management);
        return 0;
    }
    p->abandoning = true;
    stop_step(p);
    loop_run_until(daemon_loop(d), &p->abandoned);
    return rc;
}

/* ---- stop ---- */

static void on_http_closed(void *ctx)
{
    ((struct program *)ctx)->http = NULL;
    stop_step(ctx);
}

static void on_management_closed(void *ctx)
{
    ((struct program *)ctx)->management = NULL;
    stop_step(ctx);
}

static void on_driver_stopped(struct driver *driver)
{
    struct program *p = container_of(driver, struct program, driver);

    net_tls_free(driver->tls);
    if (p->abandoning) {
        p->abandoned = true;
    } else {
        daemon_stopped(p->daemon);
    }
}

static void stop_step(struct program *p)
{
    if (p->http != NULL) {
        http_server_close(p->http, on_http_closed, p);
    } else if (p->management != NULL) {
        http_server_close(p->management, on_management_closed, p);
    } else if (p->driver.loop != NULL) {
        driver_stop(&p->driver, on_driver_stopped);
    } else {
        on_driver_stopped(&p->driver);
    }
}

static void stop(struct daemon *d)
{
    stop_step(daemon_ctx(d));
}

static void reload(struct daemon *d, const void *old)
{
    const struct program *p = daemon_ctx(d);
    const struct driver_config *config = daemon_config(d);

    (void)old;
    tls_config_reload_client(&config->tls, p->driver.tls);
}

int main(int argc, char **argv)
{
    struct program program = {0};
    const struct daemon_options options = {.name = "volumedriver",
                                           .summary = "virtual disks over NBD, on objects",
                                           .keys = driver_config_keys,
                                           .config_bytes = sizeof(struct driver_config),
                                           .ctx = &program,
                                           .check = driver_config_check,
                                           .start = start,
                                           .stop = stop,
                                           .reload = reload};

    return daemon_main(&options, argc, argv);
}
