/* What every main has in common: options, configuration, signals, systemd, the loop.
 *
 *   int main(int argc, char **argv) { return daemon_main(&options, argc, argv); }
 *
 * --config, --check, --create (where it means something), --help, --help-config, --version,
 * --log-sink, --die-with-parent. SIGTERM and SIGINT stop: options->stop, then, when the daemon has
 * called daemon_stopped(), exit 0; a second one exits at once with 128 + its number. SIGHUP and
 * SIGUSR1 read the configuration again and call options->reload. SIGPIPE is ignored.
 *
 * Everything runs on the loop thread. At the end no handle may be left on the loop. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "base/err.h"
#include "daemon/config.h"

struct daemon;

struct daemon_options {
    const char *name;              /* "alba-asd" */
    const char *summary;           /* one line for --help */
    const struct config_key *keys; /* a STRING key "log_level", if any, is applied here */
    size_t config_bytes;           /* of the struct the keys fill */
    void *ctx;                     /* daemon_ctx() */
    const char *create_help;       /* of --create, daemon_may_create(); NULL: no such option */

    /* What a table cannot say, such as "port or tls". May be NULL. Also for --check. */
    int (*check)(const void *config, struct err *e);
    /* Begin to serve. Non-zero: nothing is left open, the daemon exits with 1. Call
     * daemon_ready() when clients are welcome, now or later. */
    int (*start)(struct daemon *d, struct err *e);
    /* Stop gracefully and call daemon_stopped() when everything is closed, now or later.
     * Called once, only after a successful start. */
    void (*stop)(struct daemon *d);
    /* New values of the LIVE keys are in daemon_config() already; `old` is freed after this.
     * Changes of other keys were warned of and not taken over. May be NULL. */
    void (*reload)(struct daemon *d, const void *old);
};

/* The exit code of the program. */
int daemon_main(const struct daemon_options *options, int argc, char **argv);

uv_loop_t *daemon_loop(struct daemon *d);
const void *daemon_config(const struct daemon *d);
void *daemon_ctx(const struct daemon *d);
bool daemon_may_create(const struct daemon *d); /* --create was given */

/* Tell systemd (READY=1, STATUS=`status`) and the log. */
void daemon_ready(struct daemon *d, const char *status);
/* As SIGTERM, but exit with 1 after an error that was logged from *e. */
void daemon_fail(struct daemon *d, const struct err *e);
void daemon_stopped(struct daemon *d);

#endif
