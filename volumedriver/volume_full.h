/* Writes that wait for room in the journal, and whose records take it. Loop thread only. */
#ifndef VOLUMEDRIVER_VOLUME_FULL_H
#define VOLUMEDRIVER_VOLUME_FULL_H

#include "volumedriver/volume_open.h"

enum { VOLUME_FULL_MS_DEFAULT = 60000 }; /* then a write that waits fails */

/* How long the oldest write has been on its way into the journal; 0: none is. */
uint64_t volume_wait_ms(const struct volume *v);
/* When a write has waited for room for `wait_ms`, all that wait of its volume end with -ENOSPC. To
 * be called now and then. */
void volume_host_end_waits(struct volume_host *host, uint64_t wait_ms);
/* The volumes, open or not, that have records in the oldest segment of the ring: until they are
 * uploaded, or given up, nobody gets room. One may be named twice. */
void volume_host_pins(const struct volume_host *host, void (*cb)(void *ctx, const uint8_t uuid[16]),
                      void *ctx);

#endif
