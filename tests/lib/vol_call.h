/* Requests to a volume of a node, one at a time; a failure ends the test. */
#ifndef TESTS_LIB_VOL_CALL_H
#define TESTS_LIB_VOL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/vol_node.h"
#include "volumedriver/volume.h"

enum { VOL_CALL_WAIT_MS = 60000 };

struct vol_call {
    struct volume_req req; /* give it with vol_call_done */
    int rc;
    bool done;
};

void vol_call_done(struct volume_req *req, int rc);
/* Turns the loop until it is answered, VOL_CALL_WAIT_MS at most. `rc`: what starting it returned.
 * Fails when it was answered from inside that. */
int vol_call_wait(struct vol_node *n, struct vol_call *c, int rc);

/* `bytes` times `byte`. */
int vol_put(struct vol_node *n, uint64_t offset, uint8_t byte, size_t bytes, unsigned flags);
void vol_expect(struct vol_node *n, uint64_t offset, uint8_t byte, size_t bytes);

#endif
