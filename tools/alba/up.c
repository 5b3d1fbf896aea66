#include "alba/up.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alba/size.h"
#include "alba/verb.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/uri.h"
#include "loop/run.h"
#include "meta/registry_volume.h"

static json_t *describe_daemon(const struct up *up, const struct supervised *d)
{
    char *config = deployment_path(&up->d, "etc", d->name, ".json");
    char *http_name = mem_printf("%s-http", d->name);
    json_t *o = json_pack("{s:s, s:i, s:s, s:i, s:s, s:s, s:s}", "name", d->name, "pid", d->pid,
                          "state", supervised_state_text(d->state), "restarts", (int)d->restarts,
                          "last_exit", d->last_exit, "config", config, "log", d->log_path);
    json_t *port = json_object_get(up->d.ports, d->name);
    json_t *http = json_object_get(up->d.ports, http_name);

    if (port != NULL) {
        json_object_set_new(o, "address",
                            json_sprintf("127.0.0.1:%d", (int)json_integer_value(port)));
    }
    if (http != NULL) {
        json_object_set_new(o, "http",
                            json_sprintf("http://127.0.0.1:%d", (int)json_integer_value(http)));
    }
    free(http_name);
    free(config);
    return o;
}

json_t *up_describe(const struct up *up)
{
    static const char *const states[] = {"starting", "ready", "stopping"};
    json_t *list = json_array();
    char *url = deployment_path(&up->d, "", "alba.url", "");
    json_t *o = json_pack(
        "{s:i, s:i, s:b, s:s, s:s, s:s, s:o, s:o}", "version", 1, "pid", (int)getpid(), "ready",
        up->state == UP_READY, "state", states[up->state], "dir", up->d.dir, "alba_url", url,
        "status_url", json_sprintf("http://127.0.0.1:%d", (int)up->status_port), "daemons", list);
    json_t *proxy_port = json_object_get(up->d.ports, "proxy");
    json_t *nbd_port = json_object_get(up->d.ports, "nbd");

    for (unsigned i = 0; i < up->daemons.count; i++) {
        json_array_append_new(list, describe_daemon(up, &up->daemons.daemons[i]));
    }
    if (proxy_port != NULL) {
        json_object_set(o, "proxy_port", proxy_port);
    }
    if (nbd_port != NULL) { /* and the name of the disk */
        char *dir = uri_escape(up->d.dir, "/");

        json_object_set_new(o, "nbd_uri",
                            json_sprintf("nbd://127.0.0.1:%d/", (int)json_integer_value(nbd_port)));
        json_object_set_new(o, "nbd_unix_uri",
                            json_sprintf("nbd+unix:///?socket=%s/run/nbd.sock", dir));
        free(dir);
    }
    free(url);
    return o;
}

void up_save(struct up *up)
{
    json_t *doc = up_describe(up);
    char *text = json_dumps(doc, JSON_INDENT(2));
    struct err e;

    if (deployment_write_file(&up->d, "up.json", text, &e) != 0) {
        log_error("up", "up.json not written", "error=\"%s\"", e.msg);
    }
    free(text);
    json_decref(doc);
}

/* ---- life events ---- */

static void say_state(const struct supervised *d)
{
    switch (d->state) {
    case SUPERVISED_PAUSING:
        fprintf(stderr, "%s ended (%s); it is started again\n", d->name, d->last_exit);
        break;
    case SUPERVISED_FAILED:
        fprintf(
            stderr,
            "%s ended too often (last: %s) and is held down; look into %s, then: alba start %s\n",
            d->name, d->last_exit, d->log_path, d->name);
        break;
    case SUPERVISED_HELD:
        fprintf(stderr, "%s is held down\n", d->name);
        break;
    default:
        break;
    }
}

static void on_daemon_change(void *ctx, struct supervised *d)
{
    struct up *up = ctx;

    if (up->state != UP_STOPPING) {
        say_state(d);
    }
    up_save(up);
}

static void on_all_stopped(void *ctx)
{
    ((struct up *)ctx)->all_stopped = true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct up *up = handle->data;

    (void)number;
    up->stop_signals++;
    if (up->stop_signals > 1) {
        fprintf(stderr, "stopping at once\n");
        supervisor_kill_all(&up->daemons);
        return;
    }
    fprintf(stderr, "stopping; once more to stop at once\n");
    uv_stop(&up->s.loop);
}

static void watch_signals(struct up *up)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    for (unsigned i = 0; i < 2; i++) {
        CHECK(uv_signal_init(&up->s.loop, &up->signals[i]) == 0);
        up->signals[i].data = up;
        CHECK(uv_signal_start(&up->signals[i], on_signal, numbers[i]) == 0);
        up->handles_open++;
    }
}

static void stop_all(struct up *up)
{
    up->state = UP_STOPPING;
    up_save(up);
    supervisor_stop_all(&up->daemons, on_all_stopped);
    loop_run_until(&up->s.loop, &up->all_stopped);
    up_http_stop(up);
    up_save(up);
    for (unsigned i = 0; i < up->handles_open; i++) {
        uv_close((uv_handle_t *)&up->signals[i], NULL);
    }
}

/* ---- the verb ---- */

/* --volume NAME:SIZE */
static int read_volume(struct cli *cli, char **ret_name, uint64_t *ret_bytes)
{
    const char *wish = cli_option(cli, "volume");
    const char *colon = wish != NULL ? strrchr(wish, ':') : NULL;
    int rc;

    if (wish == NULL) {
        return 0;
    }
    if (colon == NULL || colon == wish) {
        return err_say(&cli->err, -EINVAL, "--volume=%.100s: want NAME:SIZE, e.g. disk:10GiB",
                       wish);
    }
    rc = size_parse(colon + 1, ret_bytes, &cli->err);
    if (rc != 0) {
        return err_wrap(&cli->err, "--volume=%.100s", wish);
    }
    *ret_name = mem_printf("%.*s", (int)(colon - wish), wish);
    rc = registry_volume_check_new(*ret_name, *ret_bytes, &cli->err);
    return rc == 0 ? 0 : err_wrap(&cli->err, "--volume=%.100s", wish);
}

static int read_counts(struct cli *cli, unsigned *ret_asds, unsigned *ret_nodes)
{
    int64_t asds = 0;
    int64_t nodes = 0;
    int rc = 0;

    if (cli_option(cli, "asds") != NULL) {
        rc = cli_number(cli, "asds", 1, DEPLOYMENT_ASDS_MAX, &asds);
    }
    if (rc == 0 && cli_option(cli, "nodes") != NULL) {
        rc = cli_number(cli, "nodes", 1, DEPLOYMENT_ASDS_MAX, &nodes);
    }
    *ret_asds = (unsigned)asds;
    *ret_nodes = (unsigned)nodes;
    return rc;
}

int up_run(struct cli *cli)
{
    struct up *up = mem_zalloc(sizeof *up);
    unsigned asds;
    unsigned nodes;
    int rc = read_counts(cli, &asds, &nodes);

    rc = rc != 0 ? rc : read_volume(cli, &up->volume_name, &up->volume_bytes);
    if (rc != 0) {
        free(up->volume_name);
        free(up);
        return rc;
    }
    up->cli = cli;
    rc = deployment_open(&up->d, deployment_dir(cli_option(cli, "dir")), asds, nodes, &cli->err);
    if (rc == 0) {
        session_init(&up->s);
        supervisor_init(&up->daemons, &up->s.loop, on_daemon_change, up);
        watch_signals(up);
        rc = up_start(up);
        while (rc == 0 && up->stop_signals == 0) {
            uv_run(&up->s.loop, UV_RUN_DEFAULT); /* until a signal */
        }
        stop_all(up);
        session_close(&up->s);
        supervisor_release(&up->daemons);
    }
    deployment_close(&up->d);
    free(up->volume_name);
    free(up);
    return rc;
}
