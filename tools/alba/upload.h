/* A file as an object. One thread; blocks.
 *
 * The object is there when all of it is stored, or not at all. */
#ifndef ALBA_UPLOAD_H
#define ALBA_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "alba/target.h"

struct upload {
    const char *ns;
    const char *name;
    const char *path; /* from the root */
    uint64_t bytes;   /* of the file */
    bool allow_overwrite;
};

/* A private proxy reads the file itself, of any size; so does a running one on this machine, if
 * the file is too large for a request and lies where the proxy may read. SIGINT and SIGTERM end
 * the upload through a private proxy. Fails with cli->err. */
int upload_object(struct target *t, struct cli *cli, const struct upload *upload);

#endif
