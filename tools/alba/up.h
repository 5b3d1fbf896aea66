/* `alba up`: a whole deployment on one machine under one supervisor. Loop thread only.
 *
 * Start:  metadata ASD -> registry -> ASDs (registered, claimed) -> preset -> proxy ->
 *         maintenance -> volumedriver -> volumes -> "ready"
 * Every step may be repeated: the next start after a crash anywhere goes through all of them. */
#ifndef ALBA_UP_H
#define ALBA_UP_H

#include <stdbool.h>

#include "alba/deployment.h"
#include "alba/session.h"
#include "alba/supervisor.h"

struct cli;
struct up_http;

enum up_state { UP_STARTING, UP_READY, UP_STOPPING };

struct up {
    struct session s; /* its loop runs everything */
    struct deployment d;
    struct supervisor daemons;
    struct up_http *http;
    struct cli *cli;
    char *volume_name; /* of --volume; NULL: none was asked for */
    uint64_t volume_bytes;
    struct supervised *asds[DEPLOYMENT_ASDS_MAX]; /* once they were started */
    bool asds_started;
    enum up_state state;
    unsigned stop_signals;
    bool all_stopped;
    uint16_t status_port;
    uv_signal_t signals[2];
    unsigned handles_open;
};

/* Everything about the deployment and its daemons; new reference. */
json_t *up_describe(const struct up *up);
/* Writes D/up.json. */
void up_save(struct up *up);

/* The verb: runs until a signal. */
int up_run(struct cli *cli);

/* ---- up_http.c: the status page, and stop and start of a daemon ---- */

/* Status on 127.0.0.1:status_port; the same and control on D/run/up.sock. */
int up_http_start(struct up *up, struct err *e);
void up_http_stop(struct up *up); /* accepts a start that failed; runs the loop until closed */

/* ---- up_start.c: the steps ---- */

int up_start(struct up *up);
/* Runs the loop for a moment. */
void up_pause(struct up *up);

/* Starts the daemons of the ASDs, unless they run. */
int up_start_asds(struct up *up);
/* Waits until the ASD answers; *ret_long_id (may be NULL) is who it says it is. */
int up_wait_asd(struct up *up, const struct supervised *d, char **ret_long_id);

/* ---- up_recover.c: a metadata store that is lost ---- */

/* Before the metadata ASD is started: its folder must be there, or --recover-registry makes it. */
int up_check_metadata(struct up *up);
/* A restore of up->s.kv was cut: keeps the metadata ASD running, says what is to be done, and waits
 * until somebody has done it. ERR_CANCELED after a signal. */
int up_wait_restored(struct up *up);
/* There is no registry in up->s.kv. 0: one is to be made; it never was, or it was recovered. */
int up_recover_registry(struct up *up);

/* ---- up_previous.c ---- */

/* Waits until no daemon of an earlier run is left: as long as a daemon may take to stop, then
 * they are killed. ERR_CANCELED after a signal. */
int up_wait_previous(struct up *up);

#endif
