/* A journal without room for data: who waits for how long, and for whose records. The ring goes
 * round only when its oldest segment is free, so one volume that cannot upload stops them all.
 * Loop thread only. */
#ifndef VOLUMEDRIVER_JOURNAL_FULL_H
#define VOLUMEDRIVER_JOURNAL_FULL_H

#include <stdbool.h>
#include <stdint.h>

#include "volumedriver/uuid.h"

struct journal;

/* Data waits, or would. */
bool journal_is_full(const struct journal *j);
/* UUID of the volume whose data has waited longest for room, and how long; NULL: none waits. */
const uint8_t *journal_waiting(const struct journal *j, uint64_t *ret_ms);
/* What waits for room ends with `rc`. Returns the first seq that will not be written: the next data
 * of the volume starts there again. 0: nothing waited. */
uint64_t journal_cancel(struct journal *j, const uint8_t volume[UUID_BYTES], int rc);
/* Records of LSNs up to this one keep the oldest segment from being used again. */
uint64_t journal_oldest_lsn(const struct journal *j);
/* Volumes that have such a record which nobody took since the replay. */
void journal_pins(const struct journal *j, uint64_t lsn,
                  void (*cb)(void *ctx, const uint8_t volume[UUID_BYTES]), void *ctx);

#endif
