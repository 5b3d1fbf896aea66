/* What the files of NBD's transmission phase share: nbd_worker.c (one per loop), nbd_conn.c
 * (receiving, flow control, the end), nbd_pace.c (who stalls), nbd_command.c (checking and starting
 * requests), nbd_reply.c (building and sending replies); a request and its buffers are nbd_req.c.
 *
 * Worker thread only, but for the part of struct nbd_conn that says otherwise. */
#ifndef VOLUMEDRIVER_NBD_PRIVATE_H
#define VOLUMEDRIVER_NBD_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "volumedriver/nbd_conn.h"
#include "volumedriver/nbd_mail.h"
#include "volumedriver/nbd_pool.h"
#include "volumedriver/nbd_req.h"
#include "volumedriver/nbd_room.h"
#include "volumedriver/nbd_worker.h"
#include "volumedriver/volume.h"

enum {
    NBD_SCRATCH_BYTES = 128 * 1024,            /* one read of many small requests */
    NBD_REQS_IDLE_MAX = 2 * NBD_CONN_REQS_MAX, /* kept for later */
    NBD_STATUS_BYTES = 4096,                   /* buffer of a BLOCK_STATUS */
};

/* A volume with connections on this worker. */
struct nbd_target {
    struct volume *volume;
    unsigned conns;
    struct nbd_room_held held;
    struct list starved; /* requests the volume was too busy for, oldest first */
    struct list link;    /* nbd_worker.targets */
};

struct nbd_worker {
    uv_loop_t *loop;
    struct nbd_mailbox mailbox;
    uv_idle_t idle; /* keeps the loop from sleeping while something is due */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t sweep; /* stalled peers */
    uint64_t swept_ms;
    uv_timer_t retry; /* starved requests whose volume is busy with others' requests */
    struct list due;  /* connections with something to do at the end of this turn */
    struct list conns, targets;
    struct nbd_room room;
    struct nbd_pool pool;
    struct list reqs_idle;
    unsigned reqs_idle_count;
    uint8_t *scratch;
    struct log_limit log;
    unsigned handles_open;
    nbd_worker_close_cb close_cb;
    void *close_ctx;
};

enum nbd_conn_phase {
    NBD_CONN_OPEN,
    NBD_CONN_ENDING, /* no more requests are read; replies of those in flight are sent */
    NBD_CONN_DEAD,   /* socket closed; waits for the volume's callbacks */
};

struct nbd_conn {
    struct nbd_worker *worker; /* constant: this part */
    struct nbd_export *export;
    struct volume *volume;
    int fd;
    bool structured, allocation, read_only;
    unsigned stall_timeout_ms;
    char *peer;
    struct nbd_mailbox *home;
    nbd_conn_end_cb end_cb;
    void *ctx;
    struct nbd_mail start_mail, drain_mail, kill_mail, end_mail;
    struct list link; /* server thread: nbd_server.conns */

    enum nbd_conn_phase phase; /* worker thread from here on */
    bool draining;             /* the server closes: new requests are refused */
    bool blocked;              /* a limit is reached: not reading */
    bool send_blocked;         /* the socket takes no more */
    bool poll_open;
    int poll_events;
    uv_poll_t poll;
    struct nbd_target *target;
    struct list all;    /* nbd_worker.conns */
    struct list due;    /* nbd_worker.due */
    struct list hungry; /* nbd_room.hungry; for … */
    size_t want_bytes;
    bool want_write;

    uint8_t head[NBD_REQUEST_BYTES]; /* of the next request, as far as it came */
    size_t head_bytes;
    struct nbd_req *fill; /* a write whose payload is coming in */
    size_t fill_left;
    uint8_t *stash; /* read, but not taken yet because of `blocked` */
    size_t stash_bytes;

    unsigned reqs; /* all that exist: being filled, started, or with replies to send */
    size_t bytes;  /* their payload, what of it is still to come too */
    struct list out;
    uint64_t progress_ms, paced_ms; /* loop time: of any; of NBD_ROOM_PROGRESS_BYTES */
    size_t moved_bytes;             /* since paced_ms */
};

/* nbd_worker.c */
void nbd_worker_add(struct nbd_worker *w, struct nbd_conn *conn);
void nbd_worker_schedule(struct nbd_worker *w, struct nbd_conn *conn);
struct nbd_target *nbd_target_get(struct nbd_worker *w, struct volume *volume);
void nbd_target_put(struct nbd_target *target);

/* nbd_pace.c */
void nbd_conn_begins(struct nbd_conn *conn);              /* something whose time is measured */
void nbd_conn_moved(struct nbd_conn *conn, size_t bytes); /* to or from the peer */
bool nbd_conn_is_stalled(const struct nbd_conn *conn, uint64_t now_ms);

/* nbd_conn.c */
void nbd_conn_turn(struct nbd_conn *conn); /* what was put off to the end of the loop's turn */
void nbd_conn_close(struct nbd_conn *conn, const char *why); /* to DEAD; NULL: nothing to say */

/* nbd_command.c */
enum nbd_error nbd_command_check(const struct nbd_conn *conn, const struct nbd_request *cmd,
                                 const char **ret_message);
size_t nbd_command_bytes(const struct nbd_request *cmd); /* payload or room for it */
void nbd_command_start(struct nbd_req *req);

/* nbd_reply.c: they queue the reply and schedule the connection. */
void nbd_reply_error(struct nbd_req *req, enum nbd_error error, const char *message);
void nbd_reply_success(struct nbd_req *req);
void nbd_reply_read(struct nbd_req *req);
void nbd_reply_status(struct nbd_req *req);
void nbd_reply_send(struct nbd_conn *conn);

#endif
