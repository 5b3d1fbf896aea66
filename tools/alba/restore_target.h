/* The engine of the registry as it is before a restore: may it be written to, and what of it goes.
 * One thread; calls block; they fail with s->err. */
#ifndef ALBA_RESTORE_TARGET_H
#define ALBA_RESTORE_TARGET_H

#include "alba/restore_fence.h"

struct restore_target {
    struct restore_fence fence; /* reg/version */
    json_t *ids;                /* that it has given out, for restore_end() */

    const struct restore_options *options; /* private from here on; borrowed */
    struct restore_result *result;         /* borrowed */
    json_t *osds;                          /* of the stream: long id -> OSD id; 0: not claimed */
    char alba_id[REGISTRY_ALBA_ID_BYTES];  /* whose OSD records it has; "": not known */
};

/* result->head is set when the stream was read. */
void restore_target_init(struct restore_target *target, const struct restore_options *options,
                         struct restore_result *result);
/* A record of the stream's registry; those that are no OSD's are passed over. */
void restore_target_note_osd(struct restore_target *target, struct slice key, struct slice value);

/* ERR_EXISTS: it holds metadata, without --force, or of another alba than the stream's. */
int restore_target_check(struct session *s, struct restore_target *target);
/* Checks again, marks it as being restored, and deletes what there is, but leases, and OSDs of
 * the same alba that were claimed after the backup. */
int restore_target_take(struct session *s, struct restore_target *target);
/* Is there such an OSD under this key, whose record the stream's must not replace? */
bool restore_target_keeps(const struct restore_target *target, struct slice key);
void restore_target_release(struct restore_target *target); /* accepts {0} */

#endif
