/* One machine's deployment under a directory D, as `alba up` keeps it.
 *
 *   D/deployment.json   what the operator asked for and the ports in use; kept for ever
 *   D/alba.url          engine URL of the registry
 *   D/up.json           the running daemons (written by the supervisor)
 *   D/lock              held while `alba up` runs
 *   D/etc/NAME.json     each daemon's configuration, written at every start
 *   D/log/NAME.log      each daemon's output
 *   D/run/              unix sockets
 *   D/files/            where clients may have the proxy read and write files
 *   D/data/NAME/        each daemon's home
 *
 * One thread. */
#ifndef ALBA_DEPLOYMENT_H
#define ALBA_DEPLOYMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum { DEPLOYMENT_ASDS_MAX = 64, DEPLOYMENT_ASDS_DEFAULT = 6, DEPLOYMENT_NODES_DEFAULT = 3 };

struct deployment {
    char *dir; /* absolute; owned */
    unsigned asds;
    unsigned nodes;
    json_t *ports;                      /* name -> number; owned */
    struct deployment_port_hold *holds; /* of the ports in use; owned */
    int lock_fd;
};

/* Makes D if need be, locks it, loads or starts deployment.json. `asds` and `nodes` are
 * 0 for "as before, or the default"; other counts than before are refused. */
int deployment_open(struct deployment *d, const char *dir, unsigned asds, unsigned nodes,
                    struct err *e);
void deployment_close(struct deployment *d); /* also after a failed open */

/* The port kept under `name`; another one is picked when it is new, or taken,
 * which is said on standard error. Until
 * deployment_close() it is held: nobody but the daemon that is told about it gets it, not even
 * while that daemon is down. 0 and *e on failure. Call deployment_save() afterwards. */
uint16_t deployment_port(struct deployment *d, const char *name, struct err *e);
int deployment_save(struct deployment *d, struct err *e);

/* "D/sub/name" + suffix, freshly allocated. */
char *deployment_path(const struct deployment *d, const char *sub, const char *name,
                      const char *suffix);
/* Writes D/etc/NAME.json; takes over `config`. */
int deployment_write_config(struct deployment *d, const char *name, json_t *config, struct err *e);
/* Replaces D/<name> atomically. */
int deployment_write_file(struct deployment *d, const char *name, const char *text, struct err *e);

/* D as other verbs find it: --dir, else $ALBA_DIR, else "albacore". */
const char *deployment_dir(const char *option);
/* "unix://$ALBA_DIR/run/proxy.sock", fresh; NULL when ALBA_DIR is not set. */
char *deployment_proxy_uri(void);
/* "$ALBA_DIR/alba.url", fresh; NULL when ALBA_DIR is not set. */
char *deployment_config(void);

#endif
