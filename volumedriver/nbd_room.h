/* Memory for the payload of one worker's connections: who may have how much of it, and who
 * waits.
 *
 * A read has room for its whole answer before it starts: the volume fills it soon. A write's
 * bytes come from a peer, who may announce 32 MiB and stop. So it has room in windows, each
 * once there is something to put into it, and what is only announced keeps nobody out.
 *
 * Many writes that are each half there could hold all room and wait for more of it: the last
 * NBD_BLOCK_MAX_BYTES of the writes' room are kept for one connection at a time, the favoured
 * one, whose write can so always become whole. Worker thread only. */
#ifndef VOLUMEDRIVER_NBD_ROOM_H
#define VOLUMEDRIVER_NBD_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum {
    NBD_ROOM_WINDOW_BYTES = 1048576,
    /* While others wait for room, a peer that moves less than this within NBD_ROOM_HURRY_MS is
     * taken as stalled. */
    NBD_ROOM_PROGRESS_BYTES = 65536,
    NBD_ROOM_HURRY_MS = 5000,
};

struct nbd_conn;
struct nbd_worker;

struct nbd_room_held {
    size_t bytes, write_bytes; /* of all kinds; of it, of writes */
};

/* {0} but for `hungry` is an empty one. */
struct nbd_room {
    struct nbd_room_held held; /* by all connections */
    struct list hungry;        /* connections that wait, in the order in which they came */
    struct nbd_conn *favoured; /* NULL: nobody is */
};

/* False: the connection is on the list of those that wait, and scheduled when it may try again. */
bool nbd_room_take(struct nbd_conn *conn, bool is_write, size_t bytes);
void nbd_room_give(struct nbd_conn *conn, bool is_write, size_t bytes);
/* It has all bytes of its write, or gave it up. */
void nbd_room_unfavour(struct nbd_conn *conn);
/* It is dead and waits no more. */
void nbd_room_leave(struct nbd_conn *conn);
/* Do others wait for what this connection holds? */
bool nbd_room_is_wanted_of(const struct nbd_conn *conn);

#endif
