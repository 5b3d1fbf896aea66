/* One connection of an ASD client: private to asd_client.c and asd_session.c. */
#ifndef NET_ASD_SESSION_H
#define NET_ASD_SESSION_H

#include "net/asd_client.h"
#include "net/hub.h"
#include "net/stream.h"
#include "wire/asd_request.h"
#include "wire/gather.h"

enum asd_session_state {
    ASD_SESSION_CONNECTING,
    ASD_SESSION_CLAIM, /* asked whose it is */
    ASD_SESSION_READY,
    ASD_SESSION_DROPPED
};

struct asd_session {
    struct net_stream stream;
    struct asd_client *client;
    enum asd_session_state state;
    unsigned version;
    bool is_local;        /* by client->local */
    uint64_t deadline_ms; /* until it is ready */
    struct list calls;    /* sent or being sent; at most one on version 1 */
    struct asd_v1_tail tail;
    struct net_out preamble;
    struct iovec preamble_iov;
    struct buf preamble_bytes;
    struct net_out claim_out;
    struct gather claim; /* the question */
};

struct asd_client {
    struct net_hub hub;
    struct net_addr addr; /* that of `addrs` whose turn it is */
    struct net_addr *addrs;
    unsigned addr_count;
    unsigned addr_index;    /* of `addr` */
    unsigned addrs_refused; /* one after another; since a session was ready, or calls failed */
    struct net_addr local;  /* tried first, if has_local */
    bool has_local;
    struct net_tls *tls; /* borrowed */
    char *long_id;       /* expected, or NULL */
    char *owner;         /* likewise */
    unsigned connect_timeout_ms;
    unsigned claim_timeout_ms;
    char server_id[ASD_ID_BYTES_MAX + 1];
    struct asd_session *session; /* connecting or ready, or NULL */
    unsigned sessions_open;      /* the dropped ones included */

    struct list waiting; /* not given to a session yet */
    struct list done;    /* answered, callback to run */
    struct net_task done_task;
    struct asd_call *slots[ASD_CLIENT_CALLS_MAX]; /* by the low bits of the id */
    uint16_t free_slots[ASD_CLIENT_CALLS_MAX];
    unsigned free_count;
    uint32_t id_high;
    uint8_t *delivered; /* frame of the callback that runs */
    uv_timer_t timer;
    uint64_t timer_at_ms; /* 0: not armed */
    bool closing;
    bool handles_closing;
    asd_client_close_cb close_cb;
    void *close_ctx;
};

/* Connect, by client->local or client->addr, and shake hands. On failure nothing was started. */
int asd_session_start(struct asd_client *client, unsigned version, bool is_local,
                      struct asd_session **ret_session);
/* The session is ready, and idle if it speaks version 1. */
void asd_session_send(struct asd_session *session, struct asd_call *call);
/* Its calls were taken off. It frees itself, then tells asd_client_session_closed(). */
void asd_session_drop(struct asd_session *session);

/* What a session tells its client. */
void asd_client_session_greeted(struct asd_client *client, struct slice server_id);
void asd_client_session_ready(struct asd_client *client);
void asd_client_session_refused(struct asd_client *client); /* not this version */
void asd_client_session_failed(struct asd_client *client, const struct err *e);
void asd_client_session_closed(struct asd_client *client);
/* The call answered by `id`, or NULL when nobody waits for it any more. */
struct asd_call *asd_client_call_by_id(const struct asd_client *client, uint32_t id);
/* Takes over `frame`. */
void asd_client_replied(struct asd_client *client, struct asd_call *call, int32_t rc,
                        struct rd payload, uint8_t *frame);

#endif
