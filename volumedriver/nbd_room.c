#include "volumedriver/nbd_room.h"

#include <assert.h>

#include "base/check.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_private.h"

static_assert((size_t)NBD_TARGET_WRITE_BYTES_MAX <=
                  (size_t)NBD_WORKER_WRITE_BYTES_MAX - NBD_BLOCK_MAX_BYTES,
              "the favoured write has its place beside those of its volume");

static bool target_has_room(const struct nbd_target *target, bool is_write, size_t bytes)
{
    const struct nbd_room_held *held = &target->held;

    return held->bytes + bytes <= NBD_TARGET_BYTES_MAX &&
           (!is_write || held->write_bytes + bytes <= NBD_TARGET_WRITE_BYTES_MAX);
}

static bool worker_has_room(const struct nbd_worker *w, bool is_write, size_t bytes, size_t kept)
{
    const struct nbd_room_held *held = &w->room.held;

    return held->bytes + bytes <= NBD_WORKER_BYTES_MAX &&
           (!is_write || held->write_bytes + bytes <= NBD_WORKER_WRITE_BYTES_MAX - kept);
}

static bool may_be_favoured(const struct nbd_conn *conn)
{
    const struct nbd_conn *favoured = conn->worker->room.favoured;

    return conn->fill != NULL && (favoured == NULL || favoured == conn);
}

/* What the oldest that waits is owed: who came later leaves it. That is one of the same volume, or,
 * of the worker's room, one whom nothing else keeps out. */
static size_t owed(const struct nbd_conn *conn, bool of_worker)
{
    LIST_FOR_EACH (it, &conn->worker->room.hungry) {
        const struct nbd_conn *other = container_of(it, struct nbd_conn, hungry);

        if (other == conn) {
            break;
        }
        if (other->target == conn->target ||
            (of_worker && target_has_room(other->target, other->want_write, other->want_bytes))) {
            return other->want_bytes;
        }
    }
    return 0;
}

static bool has_room(const struct nbd_conn *conn, bool is_write, size_t bytes)
{
    return target_has_room(conn->target, is_write, bytes + owed(conn, false)) &&
           worker_has_room(conn->worker, is_write, bytes + owed(conn, true), NBD_BLOCK_MAX_BYTES);
}

static bool has_room_if_favoured(const struct nbd_conn *conn, size_t bytes)
{
    return may_be_favoured(conn) && worker_has_room(conn->worker, true, bytes, 0);
}

bool nbd_room_take(struct nbd_conn *conn, bool is_write, size_t bytes)
{
    struct nbd_room *room = &conn->worker->room;
    bool sure = bytes == 0 || (conn->bytes == 0 && bytes <= NBD_CONN_BYTES_SURE);

    if (!sure && !has_room(conn, is_write, bytes)) {
        if (!has_room_if_favoured(conn, bytes)) {
            conn->want_bytes = bytes;
            conn->want_write = is_write;
            if (list_empty(&conn->hungry)) {
                list_push(&room->hungry, &conn->hungry);
            }
            return false;
        }
        room->favoured = conn;
    }
    list_remove(&conn->hungry);
    room->held.bytes += bytes;
    room->held.write_bytes += is_write ? bytes : 0;
    conn->target->held.bytes += bytes;
    conn->target->held.write_bytes += is_write ? bytes : 0;
    return true;
}

/* They stay on the list until they have their room, so none loses its place in it. */
static void feed_hungry(struct nbd_worker *w)
{
    LIST_FOR_EACH (it, &w->room.hungry) {
        struct nbd_conn *conn = container_of(it, struct nbd_conn, hungry);

        if (has_room(conn, conn->want_write, conn->want_bytes) ||
            has_room_if_favoured(conn, conn->want_bytes)) {
            nbd_worker_schedule(w, conn);
        }
    }
}

void nbd_room_give(struct nbd_conn *conn, bool is_write, size_t bytes)
{
    struct nbd_room *room = &conn->worker->room;

    room->held.bytes -= bytes;
    room->held.write_bytes -= is_write ? bytes : 0;
    conn->target->held.bytes -= bytes;
    conn->target->held.write_bytes -= is_write ? bytes : 0;
    feed_hungry(conn->worker);
}

void nbd_room_unfavour(struct nbd_conn *conn)
{
    struct nbd_room *room = &conn->worker->room;

    if (room->favoured == conn) {
        room->favoured = NULL;
        feed_hungry(conn->worker);
    }
}

void nbd_room_leave(struct nbd_conn *conn)
{
    list_remove(&conn->hungry);
    nbd_room_unfavour(conn);
    feed_hungry(conn->worker); /* they may have left room for it */
}

/* Who waits only for the share of its own volume wants nothing of other volumes' peers. */
bool nbd_room_is_wanted_of(const struct nbd_conn *conn)
{
    LIST_FOR_EACH (it, &conn->worker->room.hungry) {
        const struct nbd_conn *other = container_of(it, struct nbd_conn, hungry);

        if (other != conn &&
            (other->target == conn->target ||
             target_has_room(other->target, other->want_write, other->want_bytes))) {
            return true;
        }
    }
    return false;
}
