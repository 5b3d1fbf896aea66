/* A volume in memory for tests of front ends: the functions of volumedriver/volume.h over a
 * flat buffer, with faults and delays on demand. Link it instead of volumedriver_core.
 *
 * Requests complete later, from the loop, in submission order unless told otherwise; memory
 * of ranges that were never written, or zeroed, is given back and reported as holes. */
#ifndef TESTS_LIB_VOLUME_DOUBLE_H
#define TESTS_LIB_VOLUME_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "volumedriver/volume.h"

enum volume_double_ops { /* to be combined */
                         VOLUME_DOUBLE_READ = 1 << VOLUME_OP_READ,
                         VOLUME_DOUBLE_WRITE = 1 << VOLUME_OP_WRITE,
                         VOLUME_DOUBLE_FLUSH = 1 << VOLUME_OP_FLUSH,
                         VOLUME_DOUBLE_TRIM = 1 << VOLUME_OP_TRIM,
                         VOLUME_DOUBLE_ZEROES = 1 << VOLUME_OP_ZEROES,
                         VOLUME_DOUBLE_STATUS = 1 << VOLUME_OP_STATUS,
                         VOLUME_DOUBLE_ANY = 63,
};

/* `size_bytes` is a multiple of 4096. */
struct volume *volume_double_new(uv_loop_t *loop, const char *name, uint64_t size_bytes,
                                 bool readonly);
/* No requests are in flight. Run the loop once more, then it is freed. */
void volume_double_free(struct volume *v);

/* Submitted requests wait until they are let go. */
void volume_double_hold(struct volume *v, bool hold);
/* Complete the newest first. */
void volume_double_reverse(struct volume *v, bool reverse);
/* The next `count` requests of these kinds get `rc` from their callbacks, with `message`; or,
 * `at_once`, from the submit function. */
void volume_double_fail(struct volume *v, unsigned ops, int rc, bool at_once, unsigned count,
                        const char *message);
/* ERR_BUSY beyond so many; VOLUME_REQS_MAX at first. */
void volume_double_reqs_max(struct volume *v, unsigned reqs_max);

uint8_t *volume_double_data(struct volume *v);
unsigned volume_double_in_flight(const struct volume *v);
unsigned volume_double_peak(const struct volume *v); /* most in flight at once */
/* Flags of the last request that had some. */
unsigned volume_double_last_flags(const struct volume *v);

#endif
