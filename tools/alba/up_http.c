/* The supervisor's HTTP side. The TCP address only shows; control is on the unix socket, which
 * file permissions guard. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/up.h"
#include "base/buf.h"
#include "base/mem.h"
#include "daemon/http.h"
#include "loop/run.h"

struct up_http {
    struct http_server *page;
    struct http_server *control;
    unsigned open;
    bool closed;
};

static json_t *describe(void *ctx)
{
    return up_describe(ctx);
}

static int is_ready(void *ctx, struct err *why)
{
    const struct up *up = ctx;

    return up->state == UP_READY ? 0 : err_say(why, ERR_BUSY, "not all daemons were started yet");
}

/* ---- a page for people ---- */

static const char page_head[] =
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>"
    "<title>albacore</title><style>body{font:15px/1.5 "
    "system-ui,sans-serif;margin:2em;max-width:60em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em .8em;"
    "border-bottom:1px solid #ddd}.running{color:#176d2f}.failed,.held{color:#a11;font-weight:600}"
    "</style><h1>albacore</h1>";

static void answer_page(void *ctx, struct http_request *request)
{
    struct up *up = ctx;
    json_t *doc = up_describe(up);
    struct buf b = {0};
    size_t index;
    json_t *d;

    buf_printf(&b,
               "%s<p>%s: %s<table><tr><th>daemon<th>state<th>pid<th>address<th>restarts"
               "<th>last exit<th></tr>",
               page_head, json_string_value(json_object_get(doc, "dir")),
               json_string_value(json_object_get(doc, "state")));
    json_array_foreach(json_object_get(doc, "daemons"), index, d)
    {
        const char *state = json_string_value(json_object_get(d, "state"));
        const char *address = json_string_value(json_object_get(d, "address"));
        const char *http = json_string_value(json_object_get(d, "http"));

        buf_printf(&b, "<tr><td>%s<td class=%s>%s<td>%lld<td>%s<td>%lld<td>%s<td>",
                   json_string_value(json_object_get(d, "name")), state, state,
                   json_integer_value(json_object_get(d, "pid")), address != NULL ? address : "",
                   json_integer_value(json_object_get(d, "restarts")),
                   json_string_value(json_object_get(d, "last_exit")));
        if (http != NULL) {
            buf_printf(&b, "<a href=%s/status>status</a> <a href=%s/metrics>metrics</a>", http,
                       http);
        }
        buf_printf(&b, "</tr>");
    }
    buf_printf(&b, "</table></html>");
    http_answer(request, 200, "text/html; charset=utf-8", b.data, b.len);
    buf_release(&b);
    json_decref(doc);
}

/* ---- control ---- */

static void answer_daemon(struct http_request *request, const struct supervised *d,
                          const char *note)
{
    json_t *doc =
        json_pack("{s:s, s:s}", "name", d->name, "state", supervised_state_text(d->state));

    if (note != NULL) {
        json_object_set_new(doc, "note", json_string(note));
    }
    http_answer_json(request, 200, doc);
}

/* What a held ASD means for the data, if it is one. */
static char *redundancy_note(const struct up *up)
{
    unsigned down = 0;

    for (unsigned i = 0; i < up->daemons.count; i++) {
        const struct supervised *d = &up->daemons.daemons[i];

        down += strncmp(d->name, "asd", 3) == 0 && d->state != SUPERVISED_RUNNING;
    }
    if (down == 0) {
        return NULL;
    }
    if (up->d.asds - down >= 6) {
        return mem_printf("Down: %u of %u ASDs.", down, up->d.asds);
    }
    return mem_printf(
        "Down: %u of %u ASDs. What is written now has less redundancy%s until there are enough "
        "again: then what it lacks is made.",
        down, up->d.asds, up->d.asds == 6 && down >= 2 ? " (with 4+2: none)" : "");
}

struct stop_wait {
    struct up *up;
    struct http_request *request;
};

static void on_stopped(struct supervised *d, void *ctx)
{
    struct stop_wait *w = ctx;
    char *note = strncmp(d->name, "asd", 3) == 0 ? redundancy_note(w->up) : NULL;

    answer_daemon(w->request, d, note);
    free(note);
    free(w);
}

static void do_stop(struct up *up, struct http_request *request, struct supervised *d)
{
    struct stop_wait *w = mem_zalloc(sizeof *w);
    struct err e;

    *w = (struct stop_wait){.up = up, .request = request};
    if (supervisor_hold(d, http_request_query(request, "kill") != NULL, on_stopped, w, &e) != 0) {
        http_answer_err(request, &e);
        free(w);
    }
}

/* POST /daemons/NAME/stop[?kill=1], /daemons/NAME/start */
static void answer_control(void *ctx, struct http_request *request)
{
    struct up *up = ctx;
    struct supervised *d = NULL;
    const char *name = http_request_path(request) + strlen("/daemons/");
    size_t name_len = strcspn(name, "/");
    const char *verb = name + name_len + (name[name_len] == '/');
    struct err e;

    if (name_len < sizeof d->name) {
        char text[sizeof d->name];

        snprintf(text, sizeof text, "%.*s", (int)name_len, name);
        d = supervisor_find(&up->daemons, text);
    }
    if (d == NULL) {
        err_say(&e, ERR_NOT_FOUND, "no daemon '%.*s' here; alba status lists them", (int)name_len,
                name);
        http_answer_err(request, &e);
    } else if (up->state == UP_STOPPING) {
        err_say(&e, ERR_BUSY, "everything is being stopped");
        http_answer_err(request, &e);
    } else if (strcmp(verb, "stop") == 0) {
        do_stop(up, request, d);
    } else if (strcmp(verb, "start") == 0 && supervisor_start(d, &e) == 0) {
        answer_daemon(request, d, NULL);
    } else {
        if (strcmp(verb, "start") != 0) {
            err_say(&e, -EINVAL, "'%s' is neither stop nor start", verb);
        }
        http_answer_err(request, &e);
    }
}

/* ---- life ---- */

int up_http_start(struct up *up, struct err *e)
{
    struct up_http *h = mem_zalloc(sizeof *h);
    struct http_options options = {
        .addr_count = 1, .status = describe, .ready = is_ready, .ctx = up};
    struct net_addr addr;
    char *uri = mem_printf("unix://%s/run/up.sock", up->d.dir);
    int rc = net_addr_tcp(&addr, "127.0.0.1", up->status_port, e);

    up->http = h;
    options.addrs = &addr;
    rc = rc != 0 ? rc : http_server_new(&up->s.loop, &options, &h->page, e);
    rc = rc != 0 ? rc : net_addr_parse(&addr, uri, e);
    rc = rc != 0 ? rc : http_server_new(&up->s.loop, &options, &h->control, e);
    if (rc == 0) {
        http_route(h->page, HTTP_GET, "/", false, answer_page, up);
        http_route(h->control, HTTP_POST, "/daemons/", true, answer_control, up);
    }
    free(uri);
    return rc;
}

static void on_closed(void *ctx)
{
    struct up_http *h = ctx;

    h->open--;
    h->closed = h->open == 0;
}

void up_http_stop(struct up *up)
{
    struct up_http *h = up->http;
    struct http_server *const servers[] = {h != NULL ? h->page : NULL,
                                           h != NULL ? h->control : NULL};

    if (h == NULL) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (servers[i] != NULL) {
            h->open++;
            http_server_close(servers[i], on_closed, h);
        }
    }
    if (h->open != 0) {
        loop_run_until(&up->s.loop, &h->closed);
    }
    free(h);
    up->http = NULL;
}
