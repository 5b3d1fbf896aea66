/* Is the device going? How many of its reads fail.
 *
 * A bad sector is an error for one key; a device that is going fails read after read. So a read
 * that fails with an error of the device adds ASD_HEALTH_ERROR_COST to a score, one that succeeds
 * takes 1 off (of a slab, or of an inline value that the loop did not find in memory), and one of
 * the last 16 places that failed does not count again. At ASD_HEALTH_SCORE_BAD (16 places, or more
 * than every 16th read failing for a while) the ASD says that it is not healthy, until the score is
 * back at 0. It goes on serving what can be read. Any thread. */
#ifndef ASD_HEALTH_H
#define ASD_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { ASD_HEALTH_ERROR_COST = 16, ASD_HEALTH_SCORE_BAD = 256, ASD_HEALTH_SCORE_MAX = 512 };
/* So many bad places, read in turn, are told from a device that is going. */
enum { ASD_HEALTH_PLACES = 16 };

struct asd_store;

/* What is stored cannot be read: EIO, and what the block layer says of a bad medium or a protection
 * error. */
bool asd_health_is_medium(int rc);
/* An error of the device below a file, rather than of this process: that, or a lost path to it. */
bool asd_health_is_device(int rc);
/* No space, too many descriptors, too little memory: it passes, and the device is sound. */
bool asd_health_is_passing(int rc);
/* A read at `offset` of a slab came back with `rc`. */
void asd_health_read(struct asd_store *store, int rc, uint64_t slab, uint64_t offset);
/* The index failed to read, with an I/O error, what it holds of a key with this checksum.
 * asd_value_note_index() tells it. */
void asd_health_index_error(struct asd_store *store, uint32_t key_crc);
/* 0, or why not: out of service (the error it was), or ERR_FAILED: reads fail. */
int asd_health(const struct asd_store *store, struct err *ret_err);

#endif
