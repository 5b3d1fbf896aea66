/* Life of a daemon:
 *
 *   DOWN -start-> RUNNING -exit-> PAUSING -timer-> RUNNING …   (5 deaths a minute -> FAILED)
 *   RUNNING -hold-> STOPPING -exit-> HELD -start-> RUNNING
 *   RUNNING -stop_all-> STOPPING -exit-> DOWN
 *
 * In STOPPING the timer runs to SIGKILL. */
#include "alba/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

enum { PAUSE_MS_MIN = 200, PAUSE_MS_MAX = 5000 };

static void stop_next(struct supervisor *s);

const char *supervised_state_text(enum supervised_state state)
{
    static const char *const texts[] = {"down",     "running", "restarting",
                                        "stopping", "held",    "failed"};

    return texts[state];
}

void supervisor_init(struct supervisor *s, uv_loop_t *loop,
                     void (*on_change)(void *ctx, struct supervised *d), void *ctx)
{
    *s = (struct supervisor){.loop = loop, .on_change = on_change, .ctx = ctx};
}

struct supervised *supervisor_add(struct supervisor *s, const char *name, const char *const *args,
                                  const char *log_path)
{
    struct supervised *d;

    CHECK(s->count < SUPERVISOR_DAEMONS_MAX && strlen(name) < sizeof d->name);
    d = &s->daemons[s->count++];
    *d = (struct supervised){.supervisor = s, .log_path = mem_strdup(log_path)};
    snprintf(d->name, sizeof d->name, "%s", name);
    for (unsigned i = 0; args[i] != NULL; i++) {
        CHECK(i < SUPERVISOR_ARGS_MAX);
        d->args[i] = mem_strdup(args[i]);
    }
    return d;
}

struct supervised *supervisor_find(struct supervisor *s, const char *name)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (strcmp(s->daemons[i].name, name) == 0) {
            return &s->daemons[i];
        }
    }
    return NULL;
}

static void set_state(struct supervised *d, enum supervised_state state)
{
    d->state = state;
    d->supervisor->on_change(d->supervisor->ctx, d);
}

/* ---- start ---- */

static void on_exit_status(uv_process_t *process, int64_t exit_status, int signal_number);

static int spawn(struct supervised *d, struct err *e)
{
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}};
    uv_process_options_t options = {.flags = UV_PROCESS_DETACHED, /* Ctrl-C is the supervisor's */
                                    .exit_cb = on_exit_status,
                                    .file = d->args[0],
                                    .args = d->args,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    int log_fd = open(d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int rc;

    if (log_fd < 0) {
        return err_set(e, -errno, "log file %s", d->log_path);
    }
    for (int i = 1; i < 3; i++) {
        stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = log_fd};
    }
    rc = uv_spawn(d->supervisor->loop, &d->process, &options);
    close(log_fd);
    d->handles_open++; /* the handle must be closed even when the spawn failed */
    if (rc != 0) {
        return err_set(e, rc, "start %s", d->args[0]);
    }
    d->pid = d->process.pid;
    return 0;
}

static void on_spawn_failed_closed(uv_handle_t *handle)
{
    struct supervised *d = container_of((uv_process_t *)handle, struct supervised, process);

    d->handles_open--;
    if (d->supervisor->stopping) {
        stop_next(d->supervisor);
    }
}

int supervisor_start(struct supervised *d, struct err *e)
{
    int rc;

    if (d->state == SUPERVISED_RUNNING || d->state == SUPERVISED_STOPPING) {
        return err_say(e, ERR_BUSY, "%s is %s", d->name, supervised_state_text(d->state));
    }
    if (d->state == SUPERVISED_PAUSING) {
        uv_timer_stop(&d->timer);
    }
    if (d->handles_open == 0) {
        CHECK(uv_timer_init(d->supervisor->loop, &d->timer) == 0);
        d->handles_open++;
    }
    d->death_count = 0;
    rc = spawn(d, e);
    if (rc != 0) {
        uv_close((uv_handle_t *)&d->process, on_spawn_failed_closed);
        set_state(d, SUPERVISED_FAILED);
        return err_wrap(e, "daemon %s", d->name);
    }
    set_state(d, SUPERVISED_RUNNING);
    return 0;
}

static void on_pause_over(uv_timer_t *timer)
{
    struct supervised *d = container_of(timer, struct supervised, timer);
    struct err e;

    d->restarts++;
    if (spawn(d, &e) != 0) {
        snprintf(d->last_exit, sizeof d->last_exit, "%s", err_text(e.code));
        uv_close((uv_handle_t *)&d->process, on_spawn_failed_closed);
        set_state(d, SUPERVISED_FAILED);
        return;
    }
    set_state(d, SUPERVISED_RUNNING);
}

/* ---- exit ---- */

/* True when this death is one too many within the window. */
static bool note_death(struct supervised *d)
{
    uint64_t now = uv_now(d->supervisor->loop);

    d->deaths_ms[d->death_count % SUPERVISOR_DEATHS_MAX] = now;
    d->death_count++;
    /* The next place in the ring holds the oldest of the last DEATHS_MAX. */
    return d->death_count >= SUPERVISOR_DEATHS_MAX &&
           now - d->deaths_ms[d->death_count % SUPERVISOR_DEATHS_MAX] < SUPERVISOR_DEATHS_WINDOW_MS;
}

static unsigned pause_ms(const struct supervised *d)
{
    unsigned shift = d->death_count < 5 ? d->death_count : 5;
    unsigned ms = (unsigned)PAUSE_MS_MIN << (shift != 0 ? shift - 1 : 0);

    return ms < PAUSE_MS_MAX ? ms : PAUSE_MS_MAX;
}

static void report_stopped(struct supervised *d)
{
    supervised_cb cb = d->stopped_cb;

    d->stopped_cb = NULL;
    if (cb != NULL) {
        cb(d, d->stopped_ctx);
    }
}

static void on_exited_closed(uv_handle_t *handle)
{
    struct supervised *d = container_of((uv_process_t *)handle, struct supervised, process);
    struct supervisor *s = d->supervisor;

    d->handles_open--;
    if (d->hold_after_exit) {
        d->hold_after_exit = false;
        set_state(d, SUPERVISED_HELD);
        report_stopped(d);
    } else if (s->stopping) {
        set_state(d, SUPERVISED_DOWN);
    } else if (note_death(d)) {
        set_state(d, SUPERVISED_FAILED);
    } else {
        set_state(d, SUPERVISED_PAUSING);
        uv_timer_start(&d->timer, on_pause_over, pause_ms(d), 0);
    }
    if (s->stopping) {
        stop_next(s);
    }
}

static void on_exit_status(uv_process_t *process, int64_t exit_status, int signal_number)
{
    struct supervised *d = container_of(process, struct supervised, process);

    if (signal_number != 0) {
        snprintf(d->last_exit, sizeof d->last_exit, "signal %d (%s)", signal_number,
                 strsignal(signal_number));
    } else {
        snprintf(d->last_exit, sizeof d->last_exit, "exit code %d", (int)exit_status);
    }
    d->pid = 0;
    uv_timer_stop(&d->timer);
    uv_close((uv_handle_t *)process, on_exited_closed);
}

/* ---- stop ---- */

static void on_stop_overdue(uv_timer_t *timer)
{
    struct supervised *d = container_of(timer, struct supervised, timer);

    uv_process_kill(&d->process, SIGKILL);
}

static void signal_to_stop(struct supervised *d, bool kill_now)
{
    uv_process_kill(&d->process, kill_now ? SIGKILL : SIGTERM);
    uv_timer_start(&d->timer, on_stop_overdue, SUPERVISOR_STOP_MS, 0);
    set_state(d, SUPERVISED_STOPPING);
}

int supervisor_hold(struct supervised *d, bool kill_now, supervised_cb cb, void *ctx, struct err *e)
{
    if (d->state == SUPERVISED_STOPPING) {
        return err_say(e, ERR_BUSY, "%s is being stopped", d->name);
    }
    if (d->state == SUPERVISED_RUNNING) {
        d->hold_after_exit = true;
        d->stopped_cb = cb;
        d->stopped_ctx = ctx;
        signal_to_stop(d, kill_now);
        return 0;
    }
    if (d->state == SUPERVISED_PAUSING) {
        uv_timer_stop(&d->timer);
    }
    set_state(d, SUPERVISED_HELD);
    cb(d, ctx);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct supervised *d = container_of((uv_timer_t *)handle, struct supervised, timer);

    d->handles_open--;
    stop_next(d->supervisor);
}

/* Stops the daemon before the last one handled; each call goes on from an event. */
static void stop_next(struct supervisor *s)
{
    while (s->stop_next != 0) {
        struct supervised *d = &s->daemons[s->stop_next - 1];

        if (d->state == SUPERVISED_RUNNING) {
            signal_to_stop(d, false);
            return;
        }
        if (d->pid != 0 || d->handles_open > 1) {
            return; /* its exit goes on from here */
        }
        if (d->handles_open == 1) {
            if (!uv_is_closing((uv_handle_t *)&d->timer)) {
                uv_close((uv_handle_t *)&d->timer, on_timer_closed);
            }
            return;
        }
        s->stop_next--;
    }
    if (s->stopped_cb != NULL) {
        void (*cb)(void *) = s->stopped_cb;

        s->stopped_cb = NULL;
        cb(s->ctx);
    }
}

void supervisor_stop_all(struct supervisor *s, void (*cb)(void *ctx))
{
    CHECK(!s->stopping);
    s->stopping = true;
    s->stopped_cb = cb;
    s->stop_next = s->count;
    stop_next(s);
}

void supervisor_kill_all(struct supervisor *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->daemons[i].pid != 0) {
            kill(s->daemons[i].pid, SIGKILL);
        }
    }
}

void supervisor_release(struct supervisor *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct supervised *d = &s->daemons[i];

        CHECK(d->handles_open == 0);
        for (unsigned a = 0; d->args[a] != NULL; a++) {
            free(d->args[a]);
        }
        free(d->log_path);
    }
}
