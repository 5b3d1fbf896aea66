/* A front: one loop's access to a store, whose thread calls everything here. The first one comes
 * and goes with the store: asd_store_front(). */
#ifndef ASD_FRONT_H
#define ASD_FRONT_H

#include <stdbool.h>

#include <uv.h>

#include "asd/store.h"
#include "base/err.h"

enum { ASD_FRONT_ASK_MS = 100 };

/* One more, with `read_threads` of its own, on `loop`: call it before that runs, or on it. */
int asd_front_open(struct asd_store *store, uv_loop_t *loop, unsigned read_threads,
                   struct asd_front **ret_front, struct err *e);
/* Its applies that wait get ERR_CANCELED, so do its reads; what runs finishes; then `cb`, and
 * the front is gone. Not for the first one. */
void asd_front_close(struct asd_front *front, asd_store_close_cb cb, void *ctx);
/* Of an apply that was just submitted, in this turn of the loop: if it has waited for
 * ASD_FRONT_ASK_MS when its turn comes, or may have, as the loop was late (the process was
 * stopped), `is_wanted` is asked, by the commit thread. If it is not, it is not begun, and gets
 * ERR_CANCELED. */
void asd_front_ask(struct asd_store_apply *apply, bool (*is_wanted)(struct asd_store_op *op));

#endif
