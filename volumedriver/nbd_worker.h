/* The NBD side of one loop that owns volumes: its connections in transmission, their
 * buffers, and the sending of replies once per turn of the loop.
 *
 * Make one per loop that owns exported volumes and name it in their struct nbd_export. */
#ifndef VOLUMEDRIVER_NBD_WORKER_H
#define VOLUMEDRIVER_NBD_WORKER_H

#include <stdint.h>

#include <uv.h>

enum {
    /* Of one connection, from the request's header to its reply's last byte: beyond these no
     * more is read from the socket. */
    NBD_CONN_REQS_MAX = 256,
    NBD_CONN_BYTES_MAX = 64 * 1048576,
    /* Payload held for all connections of a worker; one that holds none may always have
     * NBD_CONN_BYTES_SURE. What of a write is only announced does not count. */
    NBD_WORKER_BYTES_MAX = 256 * 1048576,
    /* Of it for writes: they may wait for room in the journal, reads go on meanwhile. */
    NBD_WORKER_WRITE_BYTES_MAX = NBD_WORKER_BYTES_MAX / 4 * 3,
    /* Of both for one volume: others go on while its backend does not answer. */
    NBD_TARGET_BYTES_MAX = NBD_WORKER_BYTES_MAX / 4 * 3,
    NBD_TARGET_WRITE_BYTES_MAX = NBD_WORKER_WRITE_BYTES_MAX / 2,
    NBD_CONN_BYTES_SURE = 128 * 1024,
};

struct nbd_worker;
typedef void (*nbd_worker_close_cb)(void *ctx);

/* On the loop's thread, or before the loop runs. Keeps uv_run() from returning. */
struct nbd_worker *nbd_worker_new(uv_loop_t *loop);
/* On the loop's thread, when the server that used it is closed; later `cb`, and it is freed. */
void nbd_worker_close(struct nbd_worker *worker, nbd_worker_close_cb cb, void *ctx);

#endif
