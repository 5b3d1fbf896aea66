/* What the process knows of a volume that it had open before. */
#ifndef VOLUMEDRIVER_VOLUME_PAST_H
#define VOLUMEDRIVER_VOLUME_PAST_H

#include "volumedriver/tail.h"
#include "volumedriver/uuid.h"
#include "volumedriver/volume_host.h"

struct volume;

void volume_return_tail(struct volume *v);
/* What the journal holds of it: as replayed, or as it was given back. */
void volume_take_tail(struct volume *v, struct tail *ret_tail);
/* The epoch is about to be taken: whatever comes of it, its author is this process. */
void volume_note_epoch(struct volume *v, uint32_t epoch);
bool volume_tried_epoch(const struct volume *v, uint32_t epoch);
/* Highest epoch that this process tried, or that stands in a record of its journal; 0: none. */
uint32_t volume_epoch_seen(const struct volume *v);
/* Of records of a volume that is not open here; 0: there are none. */
uint32_t volume_past_epoch(const struct volume_host *host, const uint8_t uuid[UUID_BYTES]);
/* Volumes that are not open, were, and have a record of that LSN or a lower one. */
void volume_pasts_pin(const struct volume_host *host, uint64_t lsn,
                      void (*cb)(void *ctx, const uint8_t uuid[UUID_BYTES]), void *ctx);
/* The volume was deleted for good and is not open here: its records give their places back. */
void volume_past_forget(struct volume_host *host, const uint8_t uuid[UUID_BYTES]);
void volume_pasts_release(struct volume_host *host);

#endif
