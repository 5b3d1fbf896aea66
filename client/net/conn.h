/* A connection of a server: private to server.c and conn.c. */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdatomic.h>

#include "base/log.h"
#include "net/hub.h"
#include "net/listen.h"
#include "net/server.h"
#include "net/stream.h"

struct net_listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct net_server *server;
    struct net_listen listen;
};

/* Connections that were handed over and not begun. */
struct net_inbox {
    uv_mutex_t lock;
    struct list arrivals; /* these: under lock */
    bool shut;
    uv_async_t wake;
    void (*closed)(struct net_server *server);
};

struct net_server {
    struct net_hub hub;
    struct net_server_options options;
    struct net_listener *listeners;
    unsigned listeners_open; /* handles */
    struct list conns;
    atomic_uint conn_count;          /* those in the inbox included */
    struct net_inbox inbox;          /* without addresses */
    struct net_server *const *peers; /* borrowed; who else serves what is accepted here */
    unsigned peer_count;
    unsigned shell_count;   /* conn structs, held ones included */
    struct list unsendable; /* replies of closed connections, `sent` still to run */
    struct net_task task;
    uv_timer_t timer;
    unsigned tick_ms;
    struct log_limit refused_log;
    struct log_limit dropped_log;
    unsigned hurry; /* enum net_hurry, in this tick */
    uint64_t ticked_ms;
    bool closing;
    bool handles_closing;
    uint64_t drain_until_ms;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

struct net_conn {
    struct net_stream stream;
    struct net_server *server;
    struct net_addr peer;
    void *user;
    struct list link; /* in net_server.conns */
    unsigned holds;
    bool watched; /* net_conn_watch() */
    bool refused; /* over the limit: the owner never heard of it */
    bool ending;  /* net_conn_close(), or the stream is down */
    bool closed;
    uint64_t end_at_ms; /* if ending */
};

/* One more connection waits at `listener`. */
void net_conn_accept(struct net_listener *listener);
/* Begin with a connection that another server accepted; it is counted already. */
void net_conn_adopt(struct net_server *server, int fd, const struct net_addr *listened);
/* Look at the deadlines. */
void net_conn_tick(struct net_conn *conn, uint64_t now_ms);
/* The server drains: no more frames. */
void net_conn_drain(struct net_conn *conn);
/* Runs `sent` of the replies on net_server.unsendable. */
void net_conn_run_unsendable(struct net_server *server);
/* connections_max are there: who has waited the longest without its preamble goes. False: all have
 * sent theirs. */
bool net_server_make_room(struct net_server *server);
/* The struct of a connection was freed. */
void net_server_conn_gone(struct net_server *server);
void net_server_conn_opened(struct net_server *server);
void net_server_limit_handshakes(struct net_server *server, unsigned max);

/* share.c, on the loop that listens: of this server and its peers */
unsigned net_share_connections(const struct net_server *server);
struct net_server *net_share_pick(struct net_server *server); /* with the fewest connections */
/* The connection that waits at `listener` goes to the peer `to`. */
void net_share_hand_over(struct net_listener *listener, struct net_server *to);
/* share.c, of a server without addresses, on its loop */
void net_inbox_init(struct net_server *server);
void net_inbox_close(struct net_server *server, void (*closed)(struct net_server *server));

#endif
