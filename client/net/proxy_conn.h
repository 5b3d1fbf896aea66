/* One pooled connection of a proxy client: private to proxy_client.c and proxy_conn.c. */
#ifndef NET_PROXY_CONN_H
#define NET_PROXY_CONN_H

#include "net/hub.h"
#include "net/proxy_client.h"
#include "net/proxy_endpoints.h"
#include "net/stream.h"
#include "wire/gather.h"

enum proxy_conn_state {
    PROXY_CONN_CONNECTING,
    PROXY_CONN_IDLE,
    PROXY_CONN_BUSY,
    PROXY_CONN_DROPPED
};

struct proxy_conn {
    struct net_stream stream;
    struct proxy_client *client;
    unsigned endpoint;
    enum proxy_conn_state state;
    uint64_t deadline_ms;    /* of connecting and handshake */
    struct proxy_call *call; /* if BUSY */
    struct list link;        /* in proxy_client.idle or .active */
    struct net_out hello;    /* preamble and UpdateSession */
    struct iovec hello_iov;
    struct buf hello_bytes;
};

struct proxy_client {
    struct net_hub hub;
    struct proxy_endpoints endpoints;
    unsigned connections_max;
    unsigned connect_timeout_ms; /* 0: the defaults */
    struct net_tls *tls;         /* borrowed */
    unsigned manifest_version;

    struct list idle;   /* most recently used first */
    struct list active; /* connecting or busy */
    unsigned connecting_count;
    unsigned conn_count; /* not dropped */
    unsigned conns_open; /* the dropped ones included */
    struct list waiting;
    unsigned waiting_count;
    unsigned call_count;
    struct list done;
    struct net_task done_task;
    uint8_t *delivered;
    uv_timer_t timer;
    uint64_t timer_at_ms;
    bool closing;
    bool handles_closing;
    proxy_client_close_cb close_cb;
    void *close_ctx;
};

/* Fails with *e, which does not name the endpoint. */
int proxy_conn_start(struct proxy_client *client, unsigned endpoint, struct proxy_conn **ret_conn,
                     struct err *e);
void proxy_conn_send(struct proxy_conn *conn, struct proxy_call *call);
/* It has no call. It frees itself, then tells proxy_client_conn_closed(). */
void proxy_conn_drop(struct proxy_conn *conn);

/* What a connection tells its client. */
void proxy_client_conn_ready(struct proxy_client *client, struct proxy_conn *conn,
                             unsigned manifest_version);
void proxy_client_conn_failed(struct proxy_client *client, struct proxy_conn *conn,
                              const struct err *e);
void proxy_client_conn_closed(struct proxy_client *client);
/* Takes over `frame`. */
void proxy_client_replied(struct proxy_client *client, struct proxy_conn *conn, int32_t code,
                          struct rd payload, uint8_t *frame);

#endif
