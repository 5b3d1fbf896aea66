/* alba-maintenance: the agent that gives back space. The main thread has signals and HTTP,
 * a second one does the work.
 *
 * Start: HTTP -> worker -> ready when it has reached the registry. Stop: HTTP closes, then
 * the worker ends. */
#include <stdlib.h>

#include <jansson.h>

#include "base/check.h"
#include "base/log.h"
#include "daemon/addrs.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "loop/run.h"
#include "proxy/maintenance/config.h"
#include "proxy/maintenance/worker.h"

struct maintenance {
    struct daemon *daemon;
    struct worker worker;
    struct key_files keys;
    struct net_tls *tls; /* NULL: none */
    struct http_server *http;
    struct metrics metrics;
    struct metric_collector collector;
    bool has_worker;
    bool is_stopping;
};

/* ---- figures ---- */

static void print_figures(const struct agent_status *s, struct buf *out)
{
    const struct agent_counts *c = &s->counts;
    const struct registry_copy_status *copies = &s->copies;
    const struct metric_single figures[] = {
        {"maintenance_leader", METRIC_GAUGE, s->is_leader, "1: this agent works."},
        {"maintenance_obsolete_objects_left", METRIC_GAUGE, s->objects_left,
         "Deleted objects that wait for an OSD, as of the last look."},
        {"maintenance_records_damaged", METRIC_GAUGE, s->records_damaged,
         "Records of deleted objects that cannot be read, as of the last look."},
        {"maintenance_namespaces_left", METRIC_GAUGE, s->namespaces_left,
         "Deleted namespaces that are not wiped yet."},
        {"maintenance_osds_aside", METRIC_GAUGE, s->osds_aside, "OSDs that do not answer."},
        {"maintenance_registry_copies", METRIC_GAUGE, copies->copies,
         "OSDs that hold the present registry."},
        {"maintenance_registry_copies_wanted", METRIC_GAUGE, copies->wanted,
         "OSDs that should hold it."},
        {"maintenance_registry_copies_ahead", METRIC_GAUGE, copies->ahead,
         "OSDs with a copy of a later registry than this one: it was restored."},
        {"maintenance_registry_copy_lag_seconds", METRIC_GAUGE, copies->lag_ms / 1000,
         "Age of the oldest change of the registry that has no copies."},
        {"maintenance_registry_copies_written_total", METRIC_COUNTER, copies->written,
         "Copies of the registry that were written."},
        {"maintenance_registry_copy_failures_total", METRIC_COUNTER, copies->failures,
         "OSDs that did not take a copy, and reads of the registry that failed."},
        {"maintenance_rounds_total", METRIC_COUNTER, c->rounds, "Rounds done."},
        {"maintenance_objects_cleaned_total", METRIC_COUNTER, c->objects_cleaned,
         "Deleted objects whose fragments were deleted."},
        {"maintenance_fragments_deleted_total", METRIC_COUNTER, c->fragments_deleted,
         "Fragments of deleted or updated objects."},
        {"maintenance_deleted_bytes_total", METRIC_COUNTER, c->bytes_deleted,
         "Bytes of those fragments."},
        {"maintenance_orphans_deleted_total", METRIC_COUNTER, c->orphans_deleted,
         "Fragments of ended gc epochs that nothing named."},
        {"maintenance_tags_deleted_total", METRIC_COUNTER, c->tags_deleted,
         "Old gc tags of live fragments."},
        {"maintenance_gc_epochs_begun_total", METRIC_COUNTER, c->epochs_begun, "GC epochs begun."},
        {"maintenance_gc_epochs_ended_total", METRIC_COUNTER, c->epochs_ended, "GC epochs ended."},
        {"maintenance_namespaces_removed_total", METRIC_COUNTER, c->namespaces_removed,
         "Deleted namespaces that were wiped."},
        {"maintenance_unknown_removed_total", METRIC_COUNTER, c->unknown_removed,
         "Namespaces wiped because no registry knows them."},
        {"maintenance_work_items", METRIC_GAUGE, s->work_left,
         "Work items that wait, as of the last look."},
        {"maintenance_work_done_total", METRIC_COUNTER, c->work_done, "Work items done."},
        {"maintenance_repaired_fragments_total", METRIC_COUNTER, c->fragments_repaired,
         "Lost or damaged fragments made anew."},
        {"maintenance_repairs_failed_total", METRIC_COUNTER, c->repairs_failed,
         "Repairs that failed and are tried again."},
        {"maintenance_failures_total", METRIC_COUNTER, c->failures,
         "Steps that failed and are tried again."},
    };

    metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
}

static void collect(struct metric_collector *collector, struct buf *out)
{
    struct maintenance *m = container_of(collector, struct maintenance, collector);
    struct agent_status s;

    if (m->has_worker && worker_status(&m->worker, &s)) {
        print_figures(&s, out);
    }
}

static void set_count(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *copies_status(const struct registry_copy_status *copies)
{
    json_t *o = json_pack("{s:i, s:i, s:i, s:f, s:s}", "current", (int)copies->copies, "wanted",
                          (int)copies->wanted, "ahead", (int)copies->ahead, "lag_seconds",
                          copies->lag_ms / 1000, "trouble", copies->trouble);

    set_count(o, "version", copies->version);
    set_count(o, "time_us", copies->time_us);
    set_count(o, "written", copies->written);
    set_count(o, "failures", copies->failures);
    return o;
}

static json_t *status(void *ctx)
{
    struct maintenance *m = ctx;
    const struct agent_counts *c;
    struct agent_status s;
    json_t *o;

    if (!m->has_worker || !worker_status(&m->worker, &s)) {
        return json_pack("{s:s}", "state", m->is_stopping ? "stopping" : "connecting");
    }
    c = &s.counts;
    o = json_pack("{s:s, s:s, s:s, s:i}", "state", s.is_leader ? "working" : "standby", "now",
                  s.where, "trouble", s.trouble, "osds_aside", (int)s.osds_aside);
    json_object_set_new(o, "registry_copies", copies_status(&s.copies));
    set_count(o, "obsolete_objects_left", s.objects_left);
    set_count(o, "records_damaged", s.records_damaged);
    set_count(o, "namespaces_left", s.namespaces_left);
    set_count(o, "rounds", c->rounds);
    set_count(o, "objects_cleaned", c->objects_cleaned);
    set_count(o, "fragments_deleted", c->fragments_deleted);
    set_count(o, "deleted_bytes", c->bytes_deleted);
    set_count(o, "orphans_deleted", c->orphans_deleted);
    set_count(o, "tags_deleted", c->tags_deleted);
    set_count(o, "gc_epochs_begun", c->epochs_begun);
    set_count(o, "gc_epochs_ended", c->epochs_ended);
    set_count(o, "namespaces_removed", c->namespaces_removed);
    set_count(o, "unknown_removed", c->unknown_removed);
    set_count(o, "work_items", s.work_left);
    set_count(o, "work_done", c->work_done);
    set_count(o, "fragments_repaired", c->fragments_repaired);
    set_count(o, "repairs_failed", c->repairs_failed);
    set_count(o, "failures", c->failures);
    return o;
}

static int ready(void *ctx, struct err *why)
{
    struct maintenance *m = ctx;
    struct agent_status s;

    return m->has_worker && worker_status(&m->worker, &s)
               ? 0
               : err_say(why, ERR_BUSY, "the registry was not reached yet");
}

/* ---- start ---- */

static int start_http(struct maintenance *m, const struct maintenance_config *config, struct err *e)
{
    struct daemon_addrs addrs = {0};
    struct http_options options = {
        .addrs = addrs.items, .metrics = &m->metrics, .status = status, .ready = ready, .ctx = m};
    int rc = daemon_addrs_tcp(&addrs, &config->http_ips, config->http_port, e);

    options.addr_count = addrs.count;
    metrics_init(&m->metrics);
    m->collector.collect = collect;
    metrics_collector(&m->metrics, &m->collector);
    if (rc != 0 || addrs.count == 0) {
        return rc;
    }
    return http_server_new(daemon_loop(m->daemon), &options, &m->http, e);
}

static int set_keys(struct maintenance *m, const struct maintenance_config *config, struct err *e)
{
    return key_files_set(&m->keys, (const char *const *)config->key_files.items,
                         config->key_files.count, e);
}

static void release(struct maintenance *m)
{
    key_files_release(&m->keys);
    net_tls_free(m->tls);
}

/* Both are closed one after the other, whatever ends first. */
static void stop_step(struct maintenance *m);

static void on_http_closed(void *ctx)
{
    ((struct maintenance *)ctx)->http = NULL;
    stop_step(ctx);
}

static void stop_step(struct maintenance *m)
{
    if (m->http != NULL) {
        http_server_close(m->http, on_http_closed, m);
    } else if (m->has_worker) {
        worker_stop(&m->worker);
    } else {
        release(m);
        daemon_stopped(m->daemon);
    }
}

static void stop(struct daemon *d)
{
    struct maintenance *m = daemon_ctx(d);

    m->is_stopping = true;
    stop_step(m);
}

static void on_work(void *ctx)
{
    struct maintenance *m = ctx;

    daemon_ready(m->daemon, "working");
}

static void on_worker_end(void *ctx, int rc, const struct err *e)
{
    struct maintenance *m = ctx;

    m->has_worker = false;
    if (!m->is_stopping) {
        CHECK(rc != 0); /* it was not asked to end */
        daemon_fail(m->daemon, e);
    } else if (m->http == NULL) {
        stop_step(m);
    } /* else on_http_closed() goes on */
}

static void abandon_http(struct maintenance *m)
{
    bool closed = m->http == NULL;

    if (m->http != NULL) {
        http_server_close(m->http, loop_set_true, &closed);
    }
    loop_run_until(daemon_loop(m->daemon), &closed);
}

static int start(struct daemon *d, struct err *e)
{
    struct maintenance *m = daemon_ctx(d);
    const struct maintenance_config *config = daemon_config(d);
    struct worker_options options = {
        .agent = {.grace_ms = (unsigned)config->grace_s * 1000,
                  .pause_ms = (unsigned)(config->pause_s * 1000),
                  .rate_per_s = (unsigned)config->rate_per_s,
                  .unknown_scan_ms = (unsigned)config->unknown_scan_s * 1000},
        .url = config->registry_url,
        .osd_timeout_ms = (unsigned)(config->osd_timeout_s * 1000),
        .keys = &m->keys,
        .on_work = on_work,
        .on_end = on_worker_end,
        .ctx = m};
    int rc;

    m->daemon = d;
    if (config->grace_s < MAINTENANCE_GRACE_SAFE_S) {
        log_warn("maintenance", "short grace: slow puts will fail", "gc_grace_seconds=%lld",
                 (long long)config->grace_s);
    }
    key_files_init(&m->keys);
    rc = set_keys(m, config, e);
    rc = rc != 0 ? rc : tls_config_open_client(&config->tls, &m->tls, e);
    options.tls = m->tls;
    rc = rc != 0 ? rc : start_http(m, config, e);
    if (rc == 0) {
        rc = worker_start(&m->worker, daemon_loop(d), &options, e);
        m->has_worker = rc == 0;
        if (rc != 0) {
            abandon_http(m);
        }
    }
    if (rc != 0) {
        release(m);
    }
    return rc;
}

static void reload(struct daemon *d, const void *old)
{
    struct maintenance *m = daemon_ctx(d);
    const struct maintenance_config *config = daemon_config(d);
    struct err e;

    (void)old;
    tls_config_reload_client(&config->tls, m->tls);
    if (set_keys(m, config, &e) != 0) {
        log_error("maintenance", "the keys stay as they were", "why=\"%s\"", e.msg);
    }
}

int main(int argc, char **argv)
{
    static struct maintenance maintenance;
    const struct daemon_options options = {.name = "alba-maintenance",
                                           .summary = "gives back the space of what nobody needs",
                                           .keys = maintenance_config_keys,
                                           .config_bytes = sizeof(struct maintenance_config),
                                           .ctx = &maintenance,
                                           .check = maintenance_config_check,
                                           .start = start,
                                           .stop = stop,
                                           .reload = reload};

    return daemon_main(&options, argc, argv);
}
