/* The steps of `alba up`, each waited for, each harmless when it was done before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_call.h"
#include "alba/daemons.h"
#include "alba/management.h"
#include "alba/osds.h"
#include "alba/output.h"
#include "alba/up.h"
#include "alba/up_config.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "loop/io.h"
#include "loop/run.h"
#include "meta/kv.h"
#include "wire/asd_request.h"

enum { WAIT_MS = 60000, WAIT_PAUSE_MS = 50, CALL_MS = 5000 };

/* ---- waiting ---- */

/* uv_run() runs timers that are due before it polls: without uv_stop() it would then wait for
 * whatever comes next. */
static void on_pause(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
    uv_stop(timer->loop);
}

void up_pause(struct up *up)
{
    uv_timer_t timer;
    bool over = false;

    uv_timer_init(&up->s.loop, &timer);
    timer.data = &over;
    uv_update_time(&up->s.loop); /* management calls block */
    uv_timer_start(&timer, on_pause, WAIT_PAUSE_MS, 0);
    loop_run_until(&up->s.loop, &over);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&up->s.loop, UV_RUN_NOWAIT);
}

/* True when there is no sense in waiting for `d` any longer. */
static bool given_up(struct up *up, const struct supervised *d, uint64_t end_ms)
{
    if (up->stop_signals != 0) {
        err_set(&up->s.err, ERR_CANCELED, "start");
    } else if (d->state == SUPERVISED_FAILED) {
        err_say(&up->s.err, ERR_FAILED, "%s does not start (%s); see %s", d->name, d->last_exit,
                d->log_path);
    } else if (uv_now(&up->s.loop) > end_ms) {
        char why[ERR_MSG_BYTES];

        snprintf(why, sizeof why, "%s", up->s.err.msg);
        err_say(&up->s.err, -ETIMEDOUT, "%s does not answer (%s); see %s", d->name, why,
                d->log_path);
    } else {
        return false;
    }
    return true;
}

static int start_daemon(struct up *up, const char *name, const char *program,
                        struct supervised **ret_daemon)
{
    char *path = daemons_path(program, &up->s.err);
    char *config = deployment_path(&up->d, "etc", name, ".json");
    char *log = deployment_path(&up->d, "log", name, ".log");
    const char *args[] = {path, "--config", config, "--die-with-parent", NULL};
    int rc = path != NULL ? 0 : up->s.err.code;

    if (rc == 0) {
        *ret_daemon = supervisor_add(&up->daemons, name, args, log);
        rc = supervisor_start(*ret_daemon, &up->s.err);
    }
    free(path);
    free(config);
    free(log);
    return rc;
}

static uint16_t port_of(const struct up *up, const char *name)
{
    return (uint16_t)json_integer_value(json_object_get(up->d.ports, name));
}

int up_wait_asd(struct up *up, const struct supervised *d, char **ret_long_id)
{
    uint64_t end_ms = uv_now(&up->s.loop) + WAIT_MS;
    const struct asd_request request = {.code = ASD_GET_VERSION};
    struct asd_client_options options = {0};
    struct asd_answer answer;
    int rc = net_addr_tcp(&options.addr, "127.0.0.1", port_of(up, d->name), &up->s.err);

    while (rc == 0) {
        if (asd_call(&up->s.loop, &options, &request, CALL_MS, &answer, &up->s.err) == 0) {
            if (ret_long_id != NULL) {
                *ret_long_id = mem_strdup(answer.long_id);
            }
            asd_answer_release(&answer);
            return 0;
        }
        if (given_up(up, d, end_ms)) {
            return up->s.err.code;
        }
        up_pause(up);
    }
    return rc;
}

/* ---- steps ---- */

static int start_registry(struct up *up)
{
    struct supervised *meta;
    char *long_id = NULL;
    char *url = NULL;
    int rc = up_check_metadata(up);

    rc = rc != 0 ? rc : up_config_asd(&up->d, "meta", "meta", &up->s.err);
    rc = rc != 0 ? rc : start_daemon(up, "meta", "alba-asd", &meta);
    rc = rc != 0 ? rc : up_wait_asd(up, meta, &long_id);
    if (rc == 0) {
        url = mem_printf("asd://127.0.0.1:%d/%s\n", (int)port_of(up, "meta"), long_id);
        rc = deployment_write_file(&up->d, "alba.url", url, &up->s.err);
    }
    if (rc == 0) {
        url[strlen(url) - 1] = '\0';
        rc = kv_open(&up->s.loop, url, NULL, &up->s.kv, &up->s.err);
    }
    if (rc == 0) {
        up->s.registry = registry_new(up->s.kv);
        registry_refresh(up->s.registry, session_done, &up->s);
        rc = session_wait(&up->s);
        rc = rc == ERR_CONFIG ? up_wait_restored(up) : rc;
        rc = rc == ERR_NOT_FOUND || rc == ERR_IDENTITY ? up_recover_registry(up) : rc;
    }
    if (rc == 0) {
        registry_init(up->s.registry, session_done, &up->s);
        rc = session_wait(&up->s);
    }
    if (rc == 0) {
        registry_refresh(up->s.registry, session_done, &up->s);
        rc = session_wait(&up->s);
    }
    free(url);
    free(long_id);
    return rc;
}

static int adopt_asd(struct up *up, const struct supervised *d, const char *node_id)
{
    char *long_id = NULL;
    const struct registry_osd *osd;
    int rc = up_wait_asd(up, d, NULL);

    if (rc == 0) {
        rc = osd_register(&up->s, "127.0.0.1", port_of(up, d->name), node_id, "", &long_id);
        rc = rc == ERR_EXISTS ? 0 : rc;
    }
    if (rc == 0) {
        osd = registry_view_osd_find(registry_view(up->s.registry), long_id);
        if (osd == NULL || !osd->is_claimed) {
            registry_osd_claim(up->s.registry, long_id, session_done, &up->s);
            rc = session_wait(&up->s);
        }
    }
    free(long_id);
    return rc;
}

/* The others serve what it held, once all were adopted: fewer do not keep the volumes down. */
static bool goes_without(const struct up *up, const struct supervised *d)
{
    return d->state == SUPERVISED_FAILED &&
           registry_view_osd_count(registry_view(up->s.registry)) >= up->d.asds;
}

int up_start_asds(struct up *up)
{
    char name[32];
    char node_id[32];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && !up->asds_started && i < up->d.asds; i++) {
        snprintf(name, sizeof name, "asd%u", i);
        snprintf(node_id, sizeof node_id, "node%u", i % up->d.nodes);
        rc = up_config_asd(&up->d, name, node_id, &up->s.err);
        rc = rc != 0 ? rc : start_daemon(up, name, "alba-asd", &up->asds[i]);
    }
    up->asds_started = rc == 0;
    return rc;
}

static int start_asds(struct up *up)
{
    char node_id[32];
    int rc = up_start_asds(up);

    for (unsigned i = 0; rc == 0 && i < up->d.asds; i++) {
        snprintf(node_id, sizeof node_id, "node%u", i % up->d.nodes);
        rc = adopt_asd(up, up->asds[i], node_id);
        if (rc != 0 && goes_without(up, up->asds[i])) {
            output_note("going on without %s: %s", up->asds[i]->name, up->s.err.msg);
            rc = 0;
        }
    }
    return rc;
}

static int make_preset(struct up *up)
{
    struct preset preset;
    int rc;

    if (registry_view_preset_find(registry_view(up->s.registry), UP_PRESET) != NULL) {
        return 0;
    }
    up_preset(&up->d, &preset);
    registry_preset_create(up->s.registry, &preset, session_done, &up->s);
    rc = session_wait(&up->s);
    preset_release(&preset);
    return rc == ERR_EXISTS ? 0 : rc;
}

static int make_files_dir(struct up *up)
{
    char *files = deployment_path(&up->d, "", "files", "");
    int rc = io_make_dir(io_real(), files);

    if (rc != 0) {
        err_set(&up->s.err, rc, "make directory %s", files);
    }
    free(files);
    return rc;
}

static int start_proxy(struct up *up)
{
    uint64_t end_ms = uv_now(&up->s.loop) + WAIT_MS;
    const struct proxy_request ping = {.code = PROXY_PING};
    struct proxy_reply reply;
    struct supervised *proxy;
    char *uri;
    int rc = make_files_dir(up);

    rc = rc != 0 ? rc : up_config_proxy(&up->d, &up->s.err);
    rc = rc != 0 ? rc : start_daemon(up, "proxy", "alba-proxy", &proxy);
    if (rc != 0) {
        return rc;
    }
    uri = mem_printf("tcp://127.0.0.1:%d", (int)port_of(up, "proxy"));
    rc = session_use_proxy(&up->s, uri);
    free(uri);
    while (rc == 0) {
        if (session_proxy(&up->s, &ping, CALL_MS, &reply) == 0) {
            proxy_reply_release(&reply);
            return 0;
        }
        if (given_up(up, proxy, end_ms)) {
            return up->s.err.code;
        }
        up_pause(up);
    }
    return rc;
}

static int start_maintenance(struct up *up)
{
    struct supervised *agent;
    int rc = up_config_maintenance(&up->d, &up->s.err);

    return rc != 0 ? rc : start_daemon(up, "maintenance", "alba-maintenance", &agent);
}

/* ---- volumes ---- */

static int wait_volumedriver(struct up *up, const struct supervised *d, const char *socket_path)
{
    uint64_t end_ms = uv_now(&up->s.loop) + WAIT_MS;
    json_t *reply;

    for (;;) {
        if (management_call(socket_path, "GET", "/volumes", NULL, &reply, &up->s.err) == 0) {
            json_decref(reply);
            return 0;
        }
        if (given_up(up, d, end_ms)) {
            return up->s.err.code;
        }
        up_pause(up);
    }
}

/* --volume names a disk that is there, maybe of another size. */
static int keep_volume(struct up *up, const char *socket_path)
{
    char *name = management_escape(up->volume_name);
    char *target = mem_printf("/volumes/%s", name);
    json_t *disk = NULL;
    int rc = management_call(socket_path, "GET", target, NULL, &disk, &up->s.err);
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(disk, "size"));

    if (rc == 0 && bytes != up->volume_bytes) {
        fprintf(stderr, "disk '%s' is there already and keeps its size: %llu bytes, not %llu%s\n",
                up->volume_name, (unsigned long long)bytes, (unsigned long long)up->volume_bytes,
                bytes < up->volume_bytes ? "; alba vdisk-resize makes it larger" : "");
    }
    json_decref(disk);
    free(target);
    free(name);
    return rc;
}

static int make_volume(struct up *up, const char *socket_path)
{
    json_t *reply = NULL;
    json_t *body;
    int rc;

    if (up->volume_name == NULL) {
        return 0;
    }
    body = json_pack("{s:s, s:I, s:s}", "name", up->volume_name, "size",
                     (json_int_t)up->volume_bytes, "preset", UP_PRESET);
    rc = management_call(socket_path, "POST", "/volumes", body, &reply, &up->s.err);
    json_decref(body);
    json_decref(reply);
    return rc == ERR_EXISTS ? keep_volume(up, socket_path) : rc;
}

static int start_volumedriver(struct up *up)
{
    char *socket_path = deployment_path(&up->d, "run", "volumedriver", ".sock");
    struct supervised *driver;
    int rc = up_config_volumedriver(&up->d, &up->s.err);

    rc = rc != 0 ? rc : start_daemon(up, "volumedriver", "volumedriver", &driver);
    rc = rc != 0 ? rc : wait_volumedriver(up, driver, socket_path);
    rc = rc != 0 ? rc : make_volume(up, socket_path);
    free(socket_path);
    return rc;
}

static const struct step {
    const char *what;
    int (*run)(struct up *up);
} steps[] = {
    {"metadata ASD and registry", start_registry},
    {"ASDs", start_asds},
    {"preset", make_preset},
    {"proxy", start_proxy},
    {"maintenance agent", start_maintenance},
    {"volumedriver", start_volumedriver},
};

/* Standard output is for people, or it is one JSON document. */
static FILE *words_out(const struct up *up)
{
    return up->cli->to_json ? stderr : stdout;
}

static void say_ready(struct up *up)
{
    fprintf(words_out(up),
            "\n%u ASDs on %u nodes, a proxy on 127.0.0.1:%d, files for it below %s/files\n"
            "status:  http://127.0.0.1:%d\n"
            "disks:   nbd://127.0.0.1:%d/NAME or nbd+unix:///NAME?socket=%s/run/nbd.sock\n\n"
            "In another shell:\n"
            "  export ALBA_CONFIG=%s/alba.url ALBA_DIR=%s\n"
            "  alba status\n"
            "  alba vdisk-create mydisk 10GiB\n"
            "Ctrl-C stops everything; the same command brings it back with all data.\n",
            up->d.asds, up->d.nodes, (int)port_of(up, "proxy"), up->d.dir, (int)up->status_port,
            (int)port_of(up, "nbd"), up->d.dir, up->d.dir, up->d.dir);
    fflush(words_out(up));
}

int up_start(struct up *up)
{
    struct err *e = &up->s.err;
    int rc = 0;

    rc = up_wait_previous(up);
    if (rc == 0) {
        up->status_port = deployment_port(&up->d, "status", e);
        rc = up->status_port == 0 ? e->code : up_http_start(up, e);
    }
    for (unsigned i = 0; rc == 0 && i < sizeof steps / sizeof *steps; i++) {
        fprintf(words_out(up), "starting: %s\n", steps[i].what);
        fflush(words_out(up));
        rc = steps[i].run(up);
        if (rc != 0) {
            err_wrap(e, "%s", steps[i].what);
        }
        if (rc == 0) {
            rc = deployment_save(&up->d, e);
        }
    }
    if (rc != 0) {
        return err_copy(&up->cli->err, e);
    }
    up->state = UP_READY;
    up_save(up);
    say_ready(up);
    return 0;
}
