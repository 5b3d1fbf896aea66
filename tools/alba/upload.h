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
    struct slice name;
    const char *path; /* from the root */
    uint64_t bytes;   /* of the file */
    bool allow_overwrite;
};

/* A private proxy reads the file itself. A running one gets it in one message, or, when it is over
 * 16 MiB, part by part (upload_stream.h). SIGINT and SIGTERM end the upload. Fails with
 * cli->err. */
int upload_object(struct target *t, struct cli *cli, const struct upload *upload);

#endif
