/* Requests of an HTTP server: private to http.c and http_request.c. */
#ifndef DAEMON_HTTP_REQUEST_H
#define DAEMON_HTTP_REQUEST_H

#include <microhttpd.h>

#include "base/buf.h"
#include "base/list.h"
#include "daemon/http.h"
#include "net/listen.h"

struct http_route {
    const char *path;
    size_t path_bytes;
    unsigned methods;
    bool is_prefix;
    http_handler handler;
    void *ctx;
};

struct http_listener {
    uv_poll_t poll;
    struct net_listen listen;
    struct http_server *server;
};

struct http_server {
    uv_loop_t *loop;
    struct http_options options;
    struct http_listener *listeners;
    struct MHD_Daemon *mhd;
    uv_poll_t poll;   /* the daemon's epoll descriptor */
    uv_timer_t timer; /* when the daemon wants to run without an event */
    uv_timer_t linger;
    uv_timer_t accept_again; /* after the process ran out of descriptors */
    struct http_route routes[HTTP_ROUTES_MAX];
    unsigned route_count;
    struct list requests; /* that MHD knows */
    bool closing;
    unsigned handles_open;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

enum request_state {
    REQUEST_READING,  /* head and body come in */
    REQUEST_HANDLED,  /* with the handler; suspended once it has returned */
    REQUEST_ANSWERED, /* the answer is here */
    REQUEST_SENDING   /* and was given to MHD */
};

struct http_request {
    struct http_server *server;
    struct MHD_Connection *conn; /* NULL: MHD has given it up */
    struct list link;            /* in http_server.requests */
    const struct http_route *route;
    enum request_state state;
    enum http_method method;
    char *path;
    struct buf body;
    bool refused;   /* the rest of the body is dropped; the answer says why */
    bool with_user; /* http_answer() is still to come */
    bool suspended;

    unsigned status;
    char content_type[64];
    struct buf answer;
};

enum MHD_Result http_on_access(void *ctx, struct MHD_Connection *conn, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_bytes, void **request);
void http_on_completed(void *ctx, struct MHD_Connection *conn, void **request,
                       enum MHD_RequestTerminationCode why);
/* The server closes: answer 503 in the handler's place. */
void http_request_abandon(struct http_request *request);
/* A request was resumed: let MHD run soon. */
void http_server_kick(struct http_server *server);
void http_standard_routes(struct http_server *server);

#endif
