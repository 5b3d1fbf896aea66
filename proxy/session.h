/* One client's connection: its settings, and the request that it waits for.
 *
 * Requests of a connection run strictly one after another: reading is paused while one
 * runs. An operation (ops_*.c) is started with the decoded request and ends it, once, with
 * session_reply() or session_fail(); what it borrows of the request lives until then. One that
 * does not end soon after its deadline (what it waits for cannot be called off) is left behind: the
 * client is told, another session goes on with the connection, and this one goes with its
 * operation. Loop thread only. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "net/server.h"
#include "proxy/server.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

struct session;
struct stream_op;
typedef void (*session_cancel_cb)(struct session *session);
typedef bool (*session_doubt_cb)(struct session *session);

struct session {
    struct proxy_server *server;
    struct net_conn *conn;
    unsigned manifest_version; /* of all replies; client's choice */
    bool is_local;             /* unix socket or loopback */
    bool may_have_keys;        /* is_local, or it has shown a certificate */

    struct proxy_request request; /* the one that runs */

    void *op;                 /* state of the operation; its own */
    session_cancel_cb cancel; /* ask the operation to end soon; NULL: it will */
    /* At the deadline: may it have been executed, or be yet? NULL: it changes nothing. */
    session_doubt_cb is_in_doubt;
    struct stream_op *stream; /* ops_stream.c: a put between two requests; NULL: none */

    bool is_running; /* private from here on */
    bool is_closed;
    bool has_timed_out;
    bool is_answered; /* at the deadline; the operation ends by itself, its result is nobody's */
    uint8_t *frame;
    uint32_t frame_bytes;
    struct frame_share share; /* of the server's memory for frames */
    uint64_t wait_ms;         /* since when the share waits */
    uint64_t head_ms;         /* when the head of a large frame came; 0: it is small */
    uint64_t start_ms;
    uint64_t deadline_ms;
    struct list link;
};

/* Called by server.c. */
struct session *session_new(struct proxy_server *server, struct net_conn *conn);
void session_on_frame_window(struct session *session, uint32_t frame_bytes, uint32_t window);
void session_on_frame(struct session *session, uint8_t *take_frame, uint32_t bytes);
void session_on_close(struct session *session);
/* Now and then: a frame that waited too long for room is given up, and the client told so; a
 * request past its deadline, or whose client has gone (reading is paused while it runs, so the
 * connection does not tell by itself), is canceled. */
void session_check(struct session *session, uint64_t now_ms);
void session_cancel(struct session *session);

/* ---- for operations ---- */

/* The bytes of a request, kept beyond its end. */
struct session_frame {
    struct net_conn *conn; /* private */
    struct proxy_server *server;
    uint8_t *data;
    struct frame_share share;
};

/* Those of the request that runs: what it was decoded to points into them. */
void session_keep_frame(struct session *session, struct session_frame *ret_frame);
void session_frame_release(struct session_frame *frame);

/* Encode and send. Borrowed bytes of the reply must stay until `sent` runs, once, later
 * (NULL: nothing is borrowed beyond this call). */
void session_reply(struct session *session, const struct proxy_reply *reply,
                   void (*sent)(void *ctx), void *ctx);
/* The usual reply without a payload. */
void session_reply_unit(struct session *session);
/* `rc` is an enum proxy_rc other than OK. */
void session_fail(struct session *session, int32_t rc, const char *text);
/* With an object's name as the message, whatever bytes it has. */
void session_fail_name(struct session *session, int32_t rc, struct slice name);

/* The request and its frame become the operation's own, or are freed before it ends; the server's
 * memory for frames is given back. Of session->request only the code stays. */
uint8_t *session_take_frame(struct session *session, struct proxy_request *ret_request);
void session_drop_frame(struct session *session);

/* Within its deadline, and the client still there? Asked right before a change is made: a proxy
 * that was stopped finds requests whose clients were told "outcome unknown" long ago. */
bool session_is_wanted(const struct session *session);

/* May this client name files, given fs_dirs? */
const struct fs_rules *session_fs_rules(const struct session *session);
/* What clients handed over, if this one may name it; NULL: it may not. */
const struct fds *session_fds(const struct session *session);

#endif
