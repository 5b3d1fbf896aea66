/* The management API: JSON over HTTP on a unix socket.
 *
 *   GET    /volumes              all volumes of the registry
 *   POST   /volumes              {"name", "size", "preset"?}: make one
 *   GET    /volumes/NAME         one, with its statistics when it is open here; "backend" is
 *                                "well", or says what ails it;
 *                                "state" journal_full: writes wait for room in the journal
 *   PUT    /volumes/NAME         {"size"}: make it larger
 *   DELETE /volumes/NAME         delete it and all its data, unless a client has it open
 *   POST   /volumes/NAME/take    {"force": true, "accept_loss": true}: from an owner that is gone
 *   GET    /statistics           of all open volumes, in one call */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/uri.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"
#include "volumedriver/driver_body.h"
#include "volumedriver/driver_full.h"

enum { LIST_LIMIT = 200 };

/* A request that is answered later. */
struct api_call {
    struct driver *d;
    struct http_request *request;
    char name[REGISTRY_VOLUME_NAME_BYTES];
    json_t *list;
};

static struct api_call *call_new(struct driver *d, struct http_request *request, const char *name)
{
    struct api_call *c = mem_zalloc(sizeof(*c));

    c->d = d;
    c->request = request;
    snprintf(c->name, sizeof(c->name), "%s", name);
    return c;
}

static void call_fail(struct api_call *c, const struct err *e)
{
    http_answer_err(c->request, e);
    json_decref(c->list);
    free(c);
}

/* ---- what a volume looks like ---- */

static const char *state_text(const struct driver_volume *v)
{
    static const char *const open_states[] = {"opening", "running", "damaged",
                                              "fenced",  "failed",  "closing"};

    switch (v->state) {
    case DRIVER_VOLUME_OPEN:
        if (volume_state(v->volume) == VOLUME_RUNNING && driver_volume_is_full(v)) {
            return "journal_full";
        }
        return open_states[volume_state(v->volume)];
    case DRIVER_VOLUME_CLOSING:
        return "closing";
    default:
        return v->err.code != 0 ? "not open" : "opening";
    }
}

static json_t *statistics_json(const struct driver_volume *v)
{
    struct volume_stats s;

    volume_stats(v->volume, &s);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                     "s:I, s:I, s:I}",
                     "reads", (json_int_t)s.reads, "writes", (json_int_t)s.writes, "flushes",
                     (json_int_t)s.flushes, "trims", (json_int_t)s.trims, "zeroes",
                     (json_int_t)s.zeroes, "read_bytes", (json_int_t)s.read_bytes, "write_bytes",
                     (json_int_t)s.write_bytes, "rmw_writes", (json_int_t)s.rmw_writes,
                     "backend_read_bytes", (json_int_t)s.backend_read_bytes, "sco_puts",
                     (json_int_t)s.sco_puts, "sco_put_bytes", (json_int_t)s.sco_put_bytes,
                     "sco_put_retries", (json_int_t)s.sco_put_retries, "checkpoints",
                     (json_int_t)s.checkpoints, "tail_bytes", (json_int_t)s.tail_bytes, "last_seq",
                     (json_int_t)s.last_seq, "committed_seq", (json_int_t)s.committed_seq,
                     "released_seq", (json_int_t)s.released_seq, "errors", (json_int_t)s.errors);
}

/* Where a client on this machine finds what listens on `ip`. */
static const char *reachable(const char *ip)
{
    struct in6_addr v6;
    struct in_addr v4;

    if (inet_pton(AF_INET6, ip, &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6)) {
        return "::1";
    }
    return inet_pton(AF_INET, ip, &v4) == 1 && v4.s_addr == htonl(INADDR_ANY) ? "127.0.0.1" : ip;
}

static char *nbd_uri(const struct driver *d, const char *plain_name)
{
    const struct driver_config *config = d->config;
    char *name = uri_escape(plain_name, "");
    char *path;
    char *uri;

    if (config->nbd_port != CONFIG_NONE && d->nbd != NULL) {
        const char *ip = reachable(config->nbd_ips.items[0]);

        uri = mem_printf(strchr(ip, ':') != NULL ? "nbd://[%s]:%d/%s" : "nbd://%s:%d/%s", ip,
                         nbd_server_port(d->nbd, 0), name);
    } else if (config->nbd_socket != NULL) {
        path = uri_escape(config->nbd_socket, "/");
        uri = mem_printf("nbd+unix:///%s?socket=%s", name, path);
        free(path);
    } else {
        uri = mem_strdup("");
    }
    free(name);
    return uri;
}

/* "well", or what ails it and since when. */
static json_t *backend_json(const struct driver_volume *v)
{
    struct backend_trouble trouble;
    char since[32] = "";
    struct tm t;
    time_t seconds;
    char *text;
    json_t *o;

    backend_proxy_trouble(v->backend, &trouble);
    if (trouble.err.code == 0) {
        return json_string("well");
    }
    seconds = (time_t)(trouble.since_us / 1000000);
    strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &t));
    text = mem_printf("since %s: %s", since, trouble.err.msg);
    o = json_string(text);
    free(text);
    return o;
}

static json_t *volume_json(const struct driver *d, const struct registry_volume *record)
{
    static const char *const states[] = {"creating", "ready", "deleting"};
    const struct driver_volume *v = driver_volume_find(d, record->name);
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:s, s:s, s:I, s:s}", "name", record->name, "uuid", record->uuid, "size",
        (json_int_t)record->size_bytes, "preset", record->preset, "owner", record->owner, "epoch",
        (json_int_t)record->epoch, "state", v != NULL ? state_text(v) : states[record->state]);

    if (v == NULL && record->state == REGISTRY_VOLUME_READY) {
        json_object_set_new(o, "state", json_string("elsewhere"));
    }
    if (v != NULL && v->backend != NULL) {
        json_object_set_new(o, "backend", backend_json(v));
    }
    if (v != NULL && v->state == DRIVER_VOLUME_OPEN) {
        char *uri = nbd_uri(d, v->name);

        json_object_set_new(o, "size", json_integer((json_int_t)v->size_bytes));
        json_object_set_new(o, "nbd_uri", json_string(uri));
        free(uri);
    } else if (v != NULL && v->err.code != 0) {
        json_object_set_new(o, "error", json_string(v->err.msg));
    }
    return o;
}

static void on_info(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct api_call *c = ctx;
    const struct driver_volume *v = driver_volume_find(c->d, c->name);
    json_t *o;

    if (rc != 0) {
        call_fail(c, e);
        return;
    }
    o = volume_json(c->d, record);
    if (v != NULL && v->state == DRIVER_VOLUME_OPEN) {
        json_object_set_new(o, "statistics", statistics_json(v));
    }
    http_answer_json(c->request, 200, o);
    free(c);
}

static void answer_info(struct api_call *c)
{
    registry_volume_get(c->d->connect.registry, c->name, on_info, c);
}

/* ---- list ---- */

static void on_list(void *ctx, int rc, const struct err *e, const struct registry_volume *volumes,
                    size_t count, bool has_more)
{
    struct api_call *c = ctx;

    if (rc != 0) {
        call_fail(c, e);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(c->list, volume_json(c->d, &volumes[i]));
    }
    if (has_more && count != 0) {
        registry_volume_list(c->d->connect.registry, volumes[count - 1].name, LIST_LIMIT, on_list,
                             c);
        return;
    }
    http_answer_json(c->request, 200, c->list);
    free(c);
}

/* ---- changes ---- */

static void on_changed(void *ctx, int rc, const struct err *e)
{
    struct api_call *c = ctx;

    if (rc != 0) {
        call_fail(c, e);
    } else {
        answer_info(c);
    }
}

static void on_deleted(void *ctx, int rc, const struct err *e)
{
    struct api_call *c = ctx;

    if (rc != 0) {
        call_fail(c, e);
        return;
    }
    http_answer_json(c->request, 200, json_object());
    free(c);
}

static void create(struct driver *d, struct http_request *request)
{
    const char *name = NULL;
    const char *preset = "";
    json_int_t size = 0;
    struct api_call *c;
    struct err e;
    json_t *doc = driver_body_of(request, "{s:s, s:I, s?s}", &e, "name", &name, "size", &size,
                                 "preset", &preset);

    if (doc == NULL) {
        http_answer_err(request, &e);
        return;
    }
    c = call_new(d, request, name);
    if (driver_create(d, name, size > 0 ? (uint64_t)size : 0, preset, on_changed, c, &e) != 0) {
        call_fail(c, &e);
    }
    json_decref(doc);
}

static void resize(struct driver *d, struct http_request *request, const char *name)
{
    struct driver_volume *v = driver_volume_find(d, name);
    struct api_call *c;
    json_int_t size = 0;
    struct err e;
    json_t *doc = driver_body_of(request, "{s:I}", &e, "size", &size);

    if (doc != NULL && v == NULL) {
        err_say(&e, ERR_NOT_FOUND, "volume '%s' is not open here", name);
    }
    if (doc == NULL || v == NULL) {
        http_answer_err(request, &e);
        json_decref(doc);
        return;
    }
    json_decref(doc);
    c = call_new(d, request, name);
    if (driver_volume_resize(v, size > 0 ? (uint64_t)size : 0, on_changed, c, &e) != 0) {
        call_fail(c, &e);
    }
}

static void take(struct driver *d, struct http_request *request, const char *name)
{
    int force = 0;
    int accept_loss = 0;
    struct err e;
    json_t *doc =
        driver_body_of(request, "{s:b, s:b}", &e, "force", &force, "accept_loss", &accept_loss);

    if (doc != NULL && (!force || !accept_loss)) {
        err_say(&e, -EINVAL, "both 'force' and 'accept_loss' must be true");
    }
    if (doc == NULL || !force || !accept_loss) {
        http_answer_err(request, &e);
    } else {
        driver_take(d, name, on_changed, call_new(d, request, name));
    }
    json_decref(doc);
}

/* ---- routes ---- */

static bool is_served(struct driver *d, struct http_request *request)
{
    struct err e;

    if (d->ready && !d->stopping) {
        return true;
    }
    err_say(&e, ERR_BUSY,
            d->stopping ? "the driver is stopping"
                        : "the driver is starting: registry or volumes are not there");
    http_answer_err(request, &e);
    return false;
}

static void serve_volumes(void *ctx, struct http_request *request)
{
    struct driver *d = ctx;
    struct api_call *c;

    if (!is_served(d, request)) {
        return;
    }
    if (http_request_method(request) == HTTP_POST) {
        create(d, request);
        return;
    }
    c = call_new(d, request, "");
    c->list = json_array();
    registry_volume_list(d->connect.registry, "", LIST_LIMIT, on_list, c);
}

static void serve_volume(void *ctx, struct http_request *request)
{
    struct driver *d = ctx;
    const char *path = http_request_path(request) + strlen("/volumes/");
    const char *slash = strchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash - path) : strlen(path);
    char name[REGISTRY_VOLUME_NAME_BYTES];
    enum http_method method = http_request_method(request);
    struct err e;

    if (!is_served(d, request)) {
        return;
    }
    if (len == 0 || len >= sizeof(name) || (slash != NULL && strcmp(slash, "/take") != 0)) {
        err_say(&e, ERR_NOT_FOUND, "no such thing: %.100s", http_request_path(request));
        http_answer_err(request, &e);
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, path);
    if (slash != NULL && method == HTTP_POST) {
        take(d, request, name);
    } else if (method == HTTP_GET) {
        answer_info(call_new(d, request, name));
    } else if (method == HTTP_PUT) {
        resize(d, request, name);
    } else if (method == HTTP_DELETE) {
        driver_delete(d, name, on_deleted, call_new(d, request, name));
    } else {
        err_say(&e, -EINVAL, "this method does nothing here");
        http_answer_err(request, &e);
    }
}

static void serve_statistics(void *ctx, struct http_request *request)
{
    struct driver *d = ctx;
    json_t *all = json_object();

    LIST_FOR_EACH (it, &d->volumes) {
        const struct driver_volume *v = container_of(it, struct driver_volume, link);

        if (v->state == DRIVER_VOLUME_OPEN) {
            json_object_set_new(all, v->name, statistics_json(v));
        }
    }
    http_answer_json(request, 200, all);
}

void driver_api_routes(struct driver *d, struct http_server *server)
{
    http_route(server, HTTP_GET | HTTP_POST, "/volumes", false, serve_volumes, d);
    http_route(server, HTTP_GET | HTTP_PUT | HTTP_DELETE | HTTP_POST, "/volumes/", true,
               serve_volume, d);
    http_route(server, HTTP_GET, "/statistics", false, serve_statistics, d);
}

/* ---- status and metrics ---- */

json_t *driver_status(const struct driver *d)
{
    json_t *volumes = json_object();
    json_t *o = json_pack("{s:s, s:b, s:o, s:o}", "driver_id", d->config->driver_id, "ready",
                          d->ready, "journal", driver_full_json(d), "volumes", volumes);

    LIST_FOR_EACH (it, &d->volumes) {
        const struct driver_volume *v = container_of(it, struct driver_volume, link);

        json_object_set_new(volumes, v->name, json_string(state_text(v)));
    }
    return o;
}

/* Of open volumes; returns how many there are. */
static unsigned sum_up(const struct driver *d, struct volume_stats *ret_sum)
{
    struct volume_stats sum = {0};
    unsigned open = 0;

    LIST_FOR_EACH (it, &d->volumes) {
        const struct driver_volume *v = container_of(it, struct driver_volume, link);
        struct volume_stats s;

        if (v->state != DRIVER_VOLUME_OPEN) {
            continue;
        }
        volume_stats(v->volume, &s);
        open++;
        sum.reads += s.reads;
        sum.writes += s.writes;
        sum.flushes += s.flushes;
        sum.read_bytes += s.read_bytes;
        sum.write_bytes += s.write_bytes;
        sum.sco_puts += s.sco_puts;
        sum.sco_put_bytes += s.sco_put_bytes;
        sum.tail_bytes += s.tail_bytes;
        sum.errors += s.errors;
    }
    *ret_sum = sum;
    return open;
}

static void print_figures(const struct driver *d, unsigned open, const struct volume_stats *sum,
                          const struct journal_stats *j, struct buf *out)
{
    const struct metric_single figures[] = {
        {"volumedriver_volumes_open", METRIC_GAUGE, open, "Volumes served."},
        {"volumedriver_reads_total", METRIC_COUNTER, sum->reads, "Reads of open volumes."},
        {"volumedriver_writes_total", METRIC_COUNTER, sum->writes, "Writes."},
        {"volumedriver_flushes_total", METRIC_COUNTER, sum->flushes, "Flushes."},
        {"volumedriver_read_bytes_total", METRIC_COUNTER, sum->read_bytes, "Bytes read."},
        {"volumedriver_write_bytes_total", METRIC_COUNTER, sum->write_bytes, "Bytes written."},
        {"volumedriver_sco_puts_total", METRIC_COUNTER, sum->sco_puts, "SCOs put."},
        {"volumedriver_sco_put_bytes_total", METRIC_COUNTER, sum->sco_put_bytes, "Bytes of them."},
        {"volumedriver_tail_bytes", METRIC_GAUGE, sum->tail_bytes,
         "Acknowledged and only in the journal yet."},
        {"volumedriver_errors_total", METRIC_COUNTER, sum->errors, "Requests that failed."},
        {"volumedriver_journal_frames_total", METRIC_COUNTER, j->frames, "Frames written."},
        {"volumedriver_journal_bytes_total", METRIC_COUNTER, j->bytes, "Bytes of them."},
        {"volumedriver_journal_syncs_total", METRIC_COUNTER, j->syncs, "Device flushes."},
        {"volumedriver_map_cached_bytes", METRIC_GAUGE,
         d->map != NULL ? map_cached_bytes(d->map) : 0, "Pages of all maps in memory."},
        {"volumedriver_journal_segments_used", METRIC_GAUGE, j->segments_used,
         "Segments that hold something needed."},
        {"volumedriver_journal_failed", METRIC_GAUGE, j->failed, "1: out of service."},
    };

    metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
}

void driver_figures(const struct driver *d, struct buf *out)
{
    struct journal_stats journal = {0};
    struct volume_stats sum;
    unsigned open = sum_up(d, &sum);

    if (d->journal != NULL) {
        journal_stats(d->journal, &journal);
    }
    print_figures(d, open, &sum, &journal, out);
}
