/* Life of a daemon: options -> configuration -> loop and signals -> start -> (ready) ->
 * stop -> stopped -> handles closed -> exit code.
 *
 * A signal to stop that comes while start is still working towards daemon_ready() goes the
 * same way: stop is called. After the first one the default of a second is to exit at once,
 * even if the loop is stuck. */

#include "daemon/daemon.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/notify.h"
#include "daemon/process.h"
#include "loop/run.h"

enum { EXIT_USAGE = 2, SIGNAL_COUNT = 4, TRIM_MS = 5000 };

static const int signal_numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

struct daemon {
    const struct daemon_options *options;
    const char *url; /* of the configuration */
    void *config;
    uv_loop_t loop;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t watchdog;
    uv_timer_t trim_timer;
    struct process_trim trim;
    bool may_create;
    bool started;     /* options->start returned 0 */
    bool stop_wanted; /* before it did */
    bool stopping;
    bool stopped;
    int exit_code;
};

struct command_line {
    const char *config_url;
    bool check;
    bool create;
    bool die_with_parent;
    long parent_pid; /* 0: not told */
};

/* ---- configuration ---- */

static void apply_log_level(const struct daemon *d, const void *config)
{
    for (const struct config_key *key = d->options->keys; key->name != NULL; key++) {
        if (strcmp(key->name, "log_level") == 0 && key->type == CONFIG_STRING) {
            const char *text = *(char *const *)((const char *)config + key->offset);
            enum log_level level;

            if (text != NULL && log_level_parse(text, &level) == 0) {
                log_set_level(level);
            }
        }
    }
}

static int load_config(struct daemon *d, void **ret_config, struct err *e)
{
    const struct daemon_options *o = d->options;
    void *config = mem_zalloc(o->config_bytes);
    int rc = config_load(o->keys, d->url, config, o->config_bytes, e);

    if (rc == 0 && o->check != NULL) {
        rc = o->check(config, e);
        if (rc != 0) {
            err_wrap(e, "config %.120s", d->url);
            config_release(o->keys, config);
        }
    }
    if (rc != 0) {
        free(config);
        return rc;
    }
    *ret_config = config;
    return 0;
}

static void free_config(struct daemon *d, void *config)
{
    config_release(d->options->keys, config);
    free(config);
}

struct reload {
    unsigned live;
    unsigned fixed;
};

static void on_change(void *ctx, const char *path, const struct config_key *key)
{
    struct reload *reload = ctx;

    if (key->flags & CONFIG_LIVE) {
        reload->live++;
        log_info("daemon", "configuration changed", "key=%s", path);
    } else {
        reload->fixed++;
        log_warn("daemon", "configuration change needs a restart", "key=%s", path);
    }
}

/* Take over the LIVE keys of `new`: swap their values between the two structs, so that what
 * each one owns stays owned once. */
static void swap_live(const struct config_key *keys, char *config, char *new)
{
    static const size_t sizes[] = {
        [CONFIG_STRING] = sizeof(char *), [CONFIG_PATH] = sizeof(char *),
        [CONFIG_INT] = sizeof(int64_t),   [CONFIG_SIZE] = sizeof(int64_t),
        [CONFIG_BOOL] = sizeof(bool),     [CONFIG_FLOAT] = sizeof(double),
        [CONFIG_OBJECT] = sizeof(bool),   [CONFIG_STRINGS] = sizeof(struct config_strings),
        [CONFIG_JSON] = sizeof(void *)};

    for (; keys->name != NULL; keys++) {
        if (keys->flags & CONFIG_LIVE) {
            char kept[sizeof(struct config_strings)];
            size_t bytes = sizes[keys->type];

            memcpy(kept, config + keys->offset, bytes);
            memcpy(config + keys->offset, new + keys->offset, bytes);
            memcpy(new + keys->offset, kept, bytes);
        }
        if (keys->type == CONFIG_OBJECT) {
            swap_live(keys->keys, config, new);
        }
    }
}

static void reload(struct daemon *d)
{
    struct reload changes = {0};
    void *new;
    struct err e;

    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_mono_ns() / 1000);
    if (load_config(d, &new, &e) != 0) {
        log_error("daemon", "configuration not reloaded", "error=\"%s\"", e.msg);
    } else {
        config_diff(d->options->keys, d->config, new, on_change, &changes);
        swap_live(d->options->keys, d->config, new);
        apply_log_level(d, d->config);
        if (d->options->reload != NULL) {
            d->options->reload(d, new);
        }
        free_config(d, new);
        log_info("daemon", "configuration reloaded", "changed=%u need_restart=%u", changes.live,
                 changes.fixed);
    }
    notify_send("READY=1");
}

/* ---- signals ---- */

static void exit_at_once(int signum)
{
    _exit(128 + signum);
}

static void stop(struct daemon *d)
{
    struct sigaction action = {.sa_handler = exit_at_once};

    if (!d->started) {
        d->stop_wanted = true;
        return;
    }
    if (d->stopping) {
        return;
    }
    d->stopping = true;
    for (unsigned i = 0; i < 2; i++) { /* SIGTERM, SIGINT */
        uv_signal_stop(&d->signals[i]);
        sigaction(signal_numbers[i], &action, NULL);
    }
    notify_send("STOPPING=1");
    d->options->stop(d);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;

    if (signum == SIGHUP || signum == SIGUSR1) {
        if (!d->stopping) {
            reload(d);
        }
        return;
    }
    log_info("daemon", "stopping", "signal=%s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
    stop(d);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify_send("WATCHDOG=1");
}

static void on_trim(uv_timer_t *timer)
{
    process_trim_malloc(&container_of(timer, struct daemon, trim_timer)->trim);
}

static void handles_open(struct daemon *d)
{
    uint64_t watchdog_ms = notify_watchdog_ms();

    CHECK(uv_loop_init(&d->loop) == 0);
    d->loop.data = d;
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        CHECK(uv_signal_init(&d->loop, &d->signals[i]) == 0);
        d->signals[i].data = d;
        CHECK(uv_signal_start(&d->signals[i], on_signal, signal_numbers[i]) == 0);
    }
    uv_timer_init(&d->loop, &d->watchdog);
    if (watchdog_ms > 1) {
        uv_timer_start(&d->watchdog, on_watchdog, watchdog_ms / 2, watchdog_ms / 2);
    }
    CHECK(uv_timer_init(&d->loop, &d->trim_timer) == 0);
    CHECK(uv_timer_start(&d->trim_timer, on_trim, TRIM_MS, TRIM_MS) == 0);
}

static void handles_close(struct daemon *d)
{
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
        uv_close((uv_handle_t *)&d->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&d->watchdog, NULL);
    uv_close((uv_handle_t *)&d->trim_timer, NULL);
}

/* ---- command line ---- */

static void print_usage(const struct daemon_options *o, FILE *out)
{
    fprintf(out,
            "%s: %s\n\n"
            "usage: %s --config FILE|file://FILE [options]\n"
            "  --check            read the configuration, report, exit\n"
            "%s%s%s"
            "  --help-config      print the keys of the configuration and their defaults\n"
            "  --log-sink SINK    console: (stderr); others are accepted with a warning\n"
            "  --die-with-parent[=PID]  stop when the process that started this one ends\n"
            "  --version          print the version\n"
            "  --help             print this\n"
            "signals: SIGTERM, SIGINT stop (a second one at once); SIGHUP, SIGUSR1 reload\n",
            o->name, o->summary, o->name, o->create_help != NULL ? "  --create           " : "",
            o->create_help != NULL ? o->create_help : "", o->create_help != NULL ? "\n" : "");
}

static void check_log_sink(const char *sink)
{
    if (strcmp(sink, "console:") != 0 && strcmp(sink, "console") != 0 &&
        strcmp(sink, "stderr") != 0) {
        log_warn("daemon", "log sink not supported, using stderr", "sink=%s", sink);
    }
}

/* 0: go on; 1: done, exit with *ret_code. */
static int parse_options(const struct daemon_options *o, int argc, char **argv,
                         struct command_line *ret_line, int *ret_code)
{
    enum { CONFIG = 1, CHECK_ONLY, CREATE, HELP, HELP_CONFIG, VERSION, LOG_SINK, DIE_WITH_PARENT };
    static const struct option options[] = {
        {"config", required_argument, NULL, CONFIG},
        {"check", no_argument, NULL, CHECK_ONLY},
        {"create", no_argument, NULL, CREATE},
        {"help", no_argument, NULL, HELP},
        {"help-config", no_argument, NULL, HELP_CONFIG},
        {"version", no_argument, NULL, VERSION},
        {"log-sink", required_argument, NULL, LOG_SINK},
        {"die-with-parent", optional_argument, NULL, DIE_WITH_PARENT},
        {0}};
    struct command_line line = {0};
    int option;

    *ret_code = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case CONFIG:
            line.config_url = optarg;
            break;
        case CHECK_ONLY:
            line.check = true;
            break;
        case CREATE:
            line.create = true;
            break;
        case DIE_WITH_PARENT:
            line.die_with_parent = true;
            line.parent_pid = optarg != NULL ? strtol(optarg, NULL, 10) : 0;
            break;
        case LOG_SINK:
            check_log_sink(optarg);
            break;
        case HELP:
            print_usage(o, stdout);
            return 1;
        case HELP_CONFIG:
            config_print_help(o->keys, stdout);
            return 1;
        case VERSION:
            printf("%s %s\n", o->name, ALBACORE_VERSION);
            return 1;
        default:
            fprintf(stderr, "try %s --help\n", o->name);
            *ret_code = EXIT_USAGE;
            return 1;
        }
    }
    if (optind != argc || line.config_url == NULL || (line.create && o->create_help == NULL)) {
        if (optind != argc) {
            fprintf(stderr, "%s: unexpected argument '%s'\n", o->name, argv[optind]);
        } else if (line.create && o->create_help == NULL) {
            fprintf(stderr, "%s: --create means nothing here\n", o->name);
        } else {
            fprintf(stderr, "%s: --config is missing\n", o->name);
        }
        fprintf(stderr, "try %s --help\n", o->name);
        *ret_code = EXIT_USAGE;
        return 1;
    }
    *ret_line = line;
    return 0;
}

/* ---- running ---- */

static void run(struct daemon *d)
{
    struct err e;

    handles_open(d);
    if (d->options->start(d, &e) != 0) {
        log_error("daemon", "start failed", "error=\"%s\"", e.msg);
        d->exit_code = EXIT_FAILURE;
        d->stopping = true;
        d->stopped = true;
    } else {
        d->started = true;
        if (d->stop_wanted) {
            stop(d);
        }
    }
    loop_run_until(&d->loop, &d->stopped);
    handles_close(d);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&d->loop) == 0); /* else a handle was left open: our mistake */
    log_info("daemon", "stopped", "name=%s exit_code=%d", d->options->name, d->exit_code);
}

int daemon_main(const struct daemon_options *options, int argc, char **argv)
{
    struct command_line line;
    struct daemon *d;
    struct err e;
    int code;

    process_open_standard_streams();
    process_tune_malloc();
    if (parse_options(options, argc, argv, &line, &code) != 0) {
        return code;
    }
    if (line.die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (line.parent_pid != 0 && line.parent_pid != (long)getppid()) {
            fprintf(stderr, "%s: process %ld, which started this one, is gone\n", options->name,
                    line.parent_pid);
            return EXIT_FAILURE;
        }
    }
    signal(SIGPIPE, SIG_IGN);

    d = mem_zalloc(sizeof *d);
    d->options = options;
    d->url = line.config_url;
    d->may_create = line.create;
    if (load_config(d, &d->config, &e) != 0) {
        fprintf(stderr, "%s: %s\n", options->name, e.msg);
        d->exit_code = EXIT_FAILURE;
    } else if (line.check) {
        printf("%s: configuration is good\n", line.config_url);
    } else {
        apply_log_level(d, d->config);
        run(d);
    }
    code = d->exit_code;
    if (d->config != NULL) {
        free_config(d, d->config);
    }
    free(d);
    return code;
}

/* ---- for the daemon ---- */

uv_loop_t *daemon_loop(struct daemon *d)
{
    return &d->loop;
}

const void *daemon_config(const struct daemon *d)
{
    return d->config;
}

void *daemon_ctx(const struct daemon *d)
{
    return d->options->ctx;
}

bool daemon_may_create(const struct daemon *d)
{
    return d->may_create;
}

void daemon_ready(struct daemon *d, const char *status)
{
    if (d->stopping) {
        return;
    }
    notify_send("READY=1\nSTATUS=%s", status);
    log_info("daemon", "ready", "name=%s version=%s status=\"%s\"", d->options->name,
             ALBACORE_VERSION, status);
}

void daemon_fail(struct daemon *d, const struct err *e)
{
    log_error("daemon", "failed", "error=\"%s\"", e->msg);
    d->exit_code = EXIT_FAILURE;
    stop(d);
}

void daemon_stopped(struct daemon *d)
{
    CHECK(d->stopping && !d->stopped);
    d->stopped = true;
}
