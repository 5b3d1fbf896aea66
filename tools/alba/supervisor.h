/* Keeps a set of daemons running: starts them, restarts what dies, stops them in order.
 *
 * A daemon that dies is started again after a pause that grows from 0.2 s to 5 s. One that
 * dies SUPERVISOR_DEATHS_MAX times within a minute is held down and reported. Children are
 * told to die with this process (--die-with-parent). Output goes to a log file each. Loop
 * thread only. */
#ifndef ALBA_SUPERVISOR_H
#define ALBA_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"

enum {
    SUPERVISOR_DAEMONS_MAX = 80,
    SUPERVISOR_DEATHS_MAX = 5,
    SUPERVISOR_DEATHS_WINDOW_MS = 60000,
    SUPERVISOR_STOP_MS = 30000, /* between SIGTERM and SIGKILL */
    SUPERVISOR_ARGS_MAX = 8
};

enum supervised_state {
    SUPERVISED_DOWN, /* never started, or stopped with the whole */
    SUPERVISED_RUNNING,
    SUPERVISED_PAUSING,  /* died, waits to be started again */
    SUPERVISED_STOPPING, /* got its signal */
    SUPERVISED_HELD,     /* held down by an operator */
    SUPERVISED_FAILED    /* died too often: held down */
};

struct supervisor;
struct supervised;
typedef void (*supervised_cb)(struct supervised *d, void *ctx);

struct supervised { /* all fields are to be read only */
    char name[32];
    char *args[SUPERVISOR_ARGS_MAX + 1]; /* owned */
    char *log_path;                      /* owned */
    enum supervised_state state;
    int pid;            /* 0 unless running or stopping */
    unsigned restarts;  /* since the supervisor started */
    char last_exit[64]; /* "exit code 1", "signal 9 (Killed)", "" */
    struct supervisor *supervisor;

    uv_process_t process; /* private from here on */
    uv_timer_t timer;
    unsigned handles_open;
    uint64_t deaths_ms[SUPERVISOR_DEATHS_MAX];
    unsigned death_count;
    bool hold_after_exit;
    supervised_cb stopped_cb;
    void *stopped_ctx;
};

struct supervisor {
    uv_loop_t *loop;
    struct supervised daemons[SUPERVISOR_DAEMONS_MAX];
    unsigned count;
    bool stopping;
    void (*on_change)(void *ctx, struct supervised *d); /* any change of state */
    void *ctx;
    void (*stopped_cb)(void *ctx);
    unsigned stop_next; /* private: index + 1 of the daemon being stopped */
};

void supervisor_init(struct supervisor *s, uv_loop_t *loop,
                     void (*on_change)(void *ctx, struct supervised *d), void *ctx);
/* Adds a daemon, not started. `args` (NULL-ended, args[0] the program) are copied. */
struct supervised *supervisor_add(struct supervisor *s, const char *name, const char *const *args,
                                  const char *log_path);
struct supervised *supervisor_find(struct supervisor *s, const char *name); /* or NULL */
/* Starts a daemon that is down, held or failed; its count of deaths begins anew. */
int supervisor_start(struct supervised *d, struct err *e);
/* Ends it and keeps it down. 0: `cb` runs once it is gone, maybe at once. ERR_BUSY: it is
 * being stopped already. */
int supervisor_hold(struct supervised *d, bool kill_now, supervised_cb cb, void *ctx,
                    struct err *e);
/* Ends all daemons, the last added first, one after the other; then `cb`. */
void supervisor_stop_all(struct supervisor *s, void (*cb)(void *ctx));
/* A second request to stop: SIGKILL for everything that still runs. */
void supervisor_kill_all(struct supervisor *s);
const char *supervised_state_text(enum supervised_state state);
/* Frees strings; handles must be closed (stop_all does that). */
void supervisor_release(struct supervisor *s);

#endif
