/* A request goes: reading (head, body) -> handled -> answered -> sending -> completed.
 *
 * When the handler returns without an answer the connection is suspended; http_answer()
 * resumes it and the library calls http_on_access() once more, which sends the answer. */

#include "daemon/http_request.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "daemon/metrics.h"

static const char type_text[] = "text/plain; charset=utf-8";
static const char type_json[] = "application/json";

static void request_free(struct http_request *request)
{
    buf_release(&request->body);
    buf_release(&request->answer);
    free(request->path);
    free(request);
}

static void set_answer(struct http_request *request, unsigned status, const char *content_type,
                       const void *body, size_t bytes)
{
    request->status = status;
    snprintf(request->content_type, sizeof request->content_type, "%s", content_type);
    buf_put(&request->answer, body, bytes);
    request->state = REQUEST_ANSWERED;
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->conn);
        http_server_kick(request->server);
    }
}

static void set_text(struct http_request *request, unsigned status, const char *text)
{
    set_answer(request, status, type_text, text, strlen(text));
}

static void refuse(struct http_request *request, unsigned status, const char *text)
{
    request->refused = true;
    set_text(request, status, text);
}

/* ---- from the library ---- */

static unsigned method_of(const char *name)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_GET},
                   {"HEAD", HTTP_GET},
                   {"POST", HTTP_POST},
                   {"PUT", HTTP_PUT},
                   {"DELETE", HTTP_DELETE}};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return methods[i].method;
        }
    }
    return 0;
}

static bool route_matches(const struct http_route *route, const char *path)
{
    if (strncmp(path, route->path, route->path_bytes) != 0) {
        return false;
    }
    return route->is_prefix || path[route->path_bytes] == '\0';
}

/* The longest match of path and method. *ret_path_known: some route has this path. */
static const struct http_route *find_route(const struct http_server *server, const char *path,
                                           unsigned method, bool *ret_path_known)
{
    const struct http_route *best = NULL;

    *ret_path_known = false;
    for (unsigned i = 0; i < server->route_count; i++) {
        const struct http_route *route = &server->routes[i];

        if (!route_matches(route, path)) {
            continue;
        }
        *ret_path_known = true;
        if ((route->methods & method) != 0 &&
            (best == NULL || route->path_bytes > best->path_bytes)) {
            best = route;
        }
    }
    return best;
}

static bool body_announced_too_large(struct MHD_Connection *conn, size_t max)
{
    const char *text = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Length");

    return text != NULL && strtoull(text, NULL, 10) > max;
}

static struct http_request *request_begin(struct http_server *server, struct MHD_Connection *conn,
                                          const char *url, const char *method)
{
    struct http_request *request = mem_zalloc(sizeof *request);
    bool path_known;

    request->server = server;
    request->conn = conn;
    request->path = mem_strdup(url);
    list_push(&server->requests, &request->link);
    request->method = (enum http_method)method_of(method);
    request->route = find_route(server, url, request->method, &path_known);
    if (server->closing) {
        refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down\n");
    } else if (request->route == NULL) {
        refuse(request, path_known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND,
               path_known ? "method not allowed\n" : "not found\n");
    } else if (body_announced_too_large(conn, server->options.body_bytes_max)) {
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "body too large\n");
    }
    return request;
}

static void take_body(struct http_request *request, const char *data, size_t bytes)
{
    if (request->refused) {
        return;
    }
    if (bytes > request->server->options.body_bytes_max - request->body.len) {
        refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "body too large\n");
        return;
    }
    buf_put(&request->body, data, bytes);
}

static enum MHD_Result send_answer(struct http_request *request)
{
    enum MHD_Result result;
    struct MHD_Response *response;

    response = MHD_create_response_from_buffer(request->answer.len, request->answer.data,
                                               MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    request->state = REQUEST_SENDING; /* request and answer live until http_on_completed() */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, request->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->server->closing || request->refused) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    result = MHD_queue_response(request->conn, request->status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result http_on_access(void *ctx, struct MHD_Connection *conn, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_bytes, void **request_at)
{
    struct http_request *request = *request_at;

    (void)version;
    if (request == NULL) {
        *request_at = request = request_begin(ctx, conn, url, method);
        if (request->refused && request->status == MHD_HTTP_CONTENT_TOO_LARGE) {
            return send_answer(request); /* without reading it */
        }
        return MHD_YES;
    }
    if (*data_bytes != 0) {
        take_body(request, data, *data_bytes);
        *data_bytes = 0;
        return MHD_YES;
    }
    if (request->state == REQUEST_READING && request->server->closing) {
        refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if (request->state == REQUEST_READING) {
        request->state = REQUEST_HANDLED;
        request->with_user = true;
        request->route->handler(request->route->ctx, request);
    }
    if (request->state == REQUEST_HANDLED) {
        request->suspended = true;
        MHD_suspend_connection(conn);
        return MHD_YES;
    }
    return request->state == REQUEST_ANSWERED ? send_answer(request) : MHD_YES;
}

void http_on_completed(void *ctx, struct MHD_Connection *conn, void **request_at,
                       enum MHD_RequestTerminationCode why)
{
    struct http_request *request = *request_at;

    (void)ctx;
    (void)conn;
    (void)why;
    if (request == NULL) {
        return;
    }
    *request_at = NULL;
    list_remove(&request->link);
    request->conn = NULL;
    if (!request->with_user) {
        request_free(request);
    }
}

/* ---- for handlers ---- */

enum http_method http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    return request->conn != NULL
               ? MHD_lookup_connection_value(request->conn, MHD_GET_ARGUMENT_KIND, name)
               : NULL;
}

struct slice http_request_body(const struct http_request *request)
{
    return slice_buf(&request->body);
}

void http_answer(struct http_request *request, unsigned status, const char *content_type,
                 const void *body, size_t bytes)
{
    CHECK(request->with_user);
    request->with_user = false;
    if (request->conn == NULL) {
        request_free(request); /* the server closed meanwhile */
    } else if (request->state == REQUEST_HANDLED) {
        set_answer(request, status, content_type, body, bytes);
    }
}

static unsigned status_of(int code)
{
    switch (code) {
    case ERR_NOT_FOUND:
    case -ENOENT:
        return MHD_HTTP_NOT_FOUND;
    case ERR_EXISTS:
    case -EEXIST:
    case ERR_FENCED:
    case ERR_ASSERT_FAILED:
        return MHD_HTTP_CONFLICT;
    case -EINVAL:
    case ERR_CONFIG:
    case ERR_PROTOCOL:
        return MHD_HTTP_BAD_REQUEST;
    case ERR_TOO_LARGE:
        return MHD_HTTP_CONTENT_TOO_LARGE;
    case ERR_BUSY:
    case ERR_CANCELED:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case ERR_FULL:
        return MHD_HTTP_INSUFFICIENT_STORAGE;
    case -ETIMEDOUT:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static char *json_line(json_t *take_json)
{
    char *text = take_json != NULL ? json_dumps(take_json, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    char *line = mem_printf("%s\n", text != NULL ? text : "null");

    free(text);
    json_decref(take_json);
    return line;
}

void http_answer_json(struct http_request *request, unsigned status, struct json_t *take_json)
{
    char *line = json_line(take_json);

    http_answer(request, status, type_json, line, strlen(line));
    free(line);
}

static json_t *err_json(const struct err *e)
{
    json_t *json = json_pack("{s:s, s:i}", "error", e->msg, "code", e->code);

    if (json == NULL) { /* not UTF-8: bytes of a peer */
        json = json_pack("{s:s, s:i}", "error", err_text(e->code), "code", e->code);
    }
    return json;
}

void http_answer_err(struct http_request *request, const struct err *e)
{
    http_answer_json(request, status_of(e->code), err_json(e));
}

/* Its handler has not answered yet, and may finish what it does. */
void http_request_abandon(struct http_request *request)
{
    struct err e;
    char *line;

    if (request->state != REQUEST_HANDLED) {
        return;
    }
    err_say(&e, ERR_CANCELED, "it stops, and did not wait for the end of this request");
    line = json_line(err_json(&e));
    set_answer(request, status_of(e.code), type_json, line, strlen(line));
    free(line);
}

/* ---- standard routes ---- */

static void on_metrics(void *ctx, struct http_request *request)
{
    struct http_server *server = ctx;
    struct buf out = {0};

    metrics_print(server->options.metrics, &out);
    http_answer(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", out.data,
                out.len);
    buf_release(&out);
}

static void on_status(void *ctx, struct http_request *request)
{
    struct http_server *server = ctx;

    http_answer_json(request, MHD_HTTP_OK, server->options.status(server->options.ctx));
}

static void answer_health(struct http_request *request, const struct http_server *server,
                          int (*check)(void *ctx, struct err *why))
{
    struct err why = {0};
    char *line;

    if (check == NULL || check(server->options.ctx, &why) == 0) {
        http_answer(request, MHD_HTTP_OK, type_text, "ok\n", 3);
        return;
    }
    line = mem_printf("%s\n", why.msg);
    http_answer(request, MHD_HTTP_SERVICE_UNAVAILABLE, type_text, line, strlen(line));
    free(line);
}

static void on_healthz(void *ctx, struct http_request *request)
{
    const struct http_server *server = ctx;

    answer_health(request, server, server->options.healthy);
}

static void on_readyz(void *ctx, struct http_request *request)
{
    const struct http_server *server = ctx;

    answer_health(request, server,
                  server->options.ready != NULL ? server->options.ready : server->options.healthy);
}

void http_standard_routes(struct http_server *server)
{
    if (server->options.metrics != NULL) {
        http_route(server, HTTP_GET, "/metrics", false, on_metrics, server);
    }
    if (server->options.status != NULL) {
        http_route(server, HTTP_GET, "/status", false, on_status, server);
    }
    http_route(server, HTTP_GET, "/healthz", false, on_healthz, server);
    http_route(server, HTTP_GET, "/readyz", false, on_readyz, server);
}
