/* What a connection takes or brings, and in what time: who stands still, or is too slow while
 * others wait for the memory it holds, is closed by the sweep of nbd_worker.c. */
#include <assert.h>

#include "volumedriver/nbd_private.h"
#include "volumedriver/nbd_server.h"

/* Less than this, of all connections there can be, keeps nobody out. */
enum { HURRY_BYTES_MIN = NBD_CONN_BYTES_SURE / 2 };

static_assert((size_t)NBD_CONNECTIONS_MAX * HURRY_BYTES_MIN < NBD_TARGET_WRITE_BYTES_MAX,
              "see HURRY_BYTES_MIN");

/* The favoured one has what all others need: more is asked of it. */
static size_t progress_bytes(const struct nbd_conn *conn)
{
    return conn->worker->room.favoured == conn ? NBD_ROOM_WINDOW_BYTES : NBD_ROOM_PROGRESS_BYTES;
}

void nbd_conn_begins(struct nbd_conn *conn)
{
    conn->progress_ms = conn->paced_ms = uv_now(conn->worker->loop);
    conn->moved_bytes = 0;
}

void nbd_conn_moved(struct nbd_conn *conn, size_t bytes)
{
    conn->progress_ms = uv_now(conn->worker->loop);
    conn->moved_bytes += bytes;
    if (conn->moved_bytes >= progress_bytes(conn)) {
        conn->paced_ms = conn->progress_ms;
        conn->moved_bytes = 0;
    }
}

bool nbd_conn_is_stalled(const struct nbd_conn *conn, uint64_t now_ms)
{
    bool half_read = !conn->blocked && (conn->fill != NULL || conn->head_bytes != 0);

    if (conn->phase == NBD_CONN_DEAD || (!half_read && list_empty(&conn->out))) {
        return false;
    }
    return now_ms - conn->progress_ms > conn->stall_timeout_ms ||
           (now_ms - conn->paced_ms > NBD_ROOM_HURRY_MS && conn->bytes > HURRY_BYTES_MIN &&
            nbd_room_is_wanted_of(conn));
}
