/* HTTP for operators: metrics, status, health, and a management API, on the loop.
 *
 * Plain HTTP/1.1 by libmicrohttpd, on TCP addresses and unix sockets. Bounded: connections,
 * bytes of a body, seconds without progress. A handler may answer later: it keeps the request
 * and calls http_answer() from the loop thread, exactly once. Loop thread only.
 *
 * Standard routes: GET /metrics, /status (JSON), /healthz and /readyz (200 or 503). */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "base/slice.h"
#include "net/addr.h"

enum {
    HTTP_CONNECTIONS_DEFAULT = 64,
    HTTP_BODY_BYTES_DEFAULT = 1048576,
    HTTP_TIMEOUT_S_DEFAULT = 30,
    HTTP_ROUTES_MAX = 64
};
enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_PUT = 4, HTTP_DELETE = 8 };

struct http_server;
struct http_request;
struct json_t;
struct metrics;
typedef void (*http_handler)(void *ctx, struct http_request *request);

struct http_options {
    const struct net_addr *addrs;
    unsigned addr_count;
    unsigned connections_max; /* 0: the defaults above */
    size_t body_bytes_max;
    unsigned timeout_s;

    struct metrics *metrics;                    /* standard routes: left out where NULL */
    struct json_t *(*status)(void *ctx);        /* a fresh object, freed by the server */
    int (*healthy)(void *ctx, struct err *why); /* NULL: healthy while the loop turns */
    int (*ready)(void *ctx, struct err *why);   /* NULL: as healthy */
    void *ctx;
};

/* On failure *ret_server is NULL and *e names the address. */
int http_server_new(uv_loop_t *loop, const struct http_options *options,
                    struct http_server **ret_server, struct err *e);
uint16_t http_server_port(const struct http_server *server, unsigned index);
/* `methods` is a set of enum http_method; `path` is borrowed. With `is_prefix` everything
 * below it matches; the longest matching route wins. */
void http_route(struct http_server *server, unsigned methods, const char *path, bool is_prefix,
                http_handler handler, void *ctx);
/* No new connections; unanswered requests get 503 (their http_answer() is then ignored, but
 * must still come); then `cb`, then the server is freed. */
void http_server_close(struct http_server *server, void (*cb)(void *ctx), void *ctx);

enum http_method http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* decoded, no query */
const char *http_request_query(const struct http_request *request, const char *name);
struct slice http_request_body(const struct http_request *request);

/* Answer and give the request up. The body is copied. */
void http_answer(struct http_request *request, unsigned status, const char *content_type,
                 const void *body, size_t bytes);
/* {"error": text, "code": err.code} with a status that fits the code. */
void http_answer_err(struct http_request *request, const struct err *e);
void http_answer_json(struct http_request *request, unsigned status, struct json_t *take_json);

#endif
