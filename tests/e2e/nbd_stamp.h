/* Stamping writer and verifier: shows whether a disk keeps what it acknowledged, while its
 * server is killed and comes back. tests/e2e/nbd_stamp.c says how to call it. */
#ifndef TESTS_E2E_NBD_STAMP_H
#define TESTS_E2E_NBD_STAMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "e2e/nbd_stamp_client.h"
#include "e2e/nbd_stamp_table.h"

enum { STAMP_CONNECTIONS_MAX = 64, STAMP_DEPTH_MAX = 256 };

struct stamp_options {
    struct stamp_uri uri;
    const char *table_path;
    unsigned seconds;
    unsigned connections;
    unsigned depth;                      /* requests in flight on each */
    unsigned flush_every;                /* writes */
    unsigned deadline_s;                 /* for the server to come back */
    uint64_t offset_bytes, region_bytes; /* region 0: to the end */
    bool only_flushed; /* verify: what was flushed must be there, not all that was acked */
    atomic_bool *stop;
};

/* Connects, trying again until the deadline has passed or *stop is set. */
int stamp_connect(struct stamp_client *c, const struct stamp_options *o, struct err *e);

/* Both print their one line, and return the exit code. */
int stamp_write(const struct stamp_options *o);
int stamp_verify(const struct stamp_options *o);

#endif
