/* alba-asd: the daemon of one disk.
 *
 * Start: lock the home, open index and store, listen. Stop: HTTP closes, the server answers
 * what runs, then the store closes. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <jansson.h>

#include "asd/config.h"
#include "asd/health.h"
#include "asd/home.h"
#include "asd/index.h"
#include "asd/mark.h"
#include "asd/room.h"
#include "asd/scrub.h"
#include "asd/server.h"
#include "asd/store.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/addrs.h"
#include "daemon/daemon.h"
#include "daemon/http.h"
#include "daemon/metrics.h"
#include "loop/run.h"

enum {
    PUNCH_DELAY_MS = 1000, /* one flush of a slab gives back the space of a second's deletes */
    RING_DEPTH = 128,
    KEPT_BYTES_MAX = 32 * 1048576, /* of the buffers of large requests and replies */
    THREAD_FILES = 8,              /* of each loop */
    OTHER_FILES = 64,              /* logs, the home, HTTP */
    CONNECTIONS_MIN = 16,
};

struct asd {
    struct asd_home home;
    struct asd_room room;
    int lock_fd;
    struct asd_store *store;
    struct asd_scrub *scrub;
    struct asd_server *server;
    struct net_tls *tls;
    struct http_server *http;
    struct metrics metrics;
    struct metric_collector collector;
    uv_timer_t trim;
};

/* ---- figures ---- */

static void put_counter(struct buf *out, const char *name, uint64_t value, const char *help)
{
    metrics_put_family(out, name, METRIC_COUNTER, help);
    metrics_put_sample(out, name, NULL, (double)value);
}

static void put_gauge(struct buf *out, const char *name, uint64_t value, const char *help)
{
    metrics_put_family(out, name, METRIC_GAUGE, help);
    metrics_put_sample(out, name, NULL, (double)value);
}

static void collect(struct metric_collector *collector, struct buf *out)
{
    struct asd *asd = container_of(collector, struct asd, collector);
    struct asd_store_stats s = asd_store_stats(asd->store);

    put_gauge(out, "asd_used_bytes", s.used_bytes, "What all values cost.");
    put_gauge(out, "asd_capacity_bytes", s.capacity_bytes, "What may be used.");
    put_gauge(out, "asd_room_bytes", asd_room_left(&asd->room), "The file system has left.");
    put_gauge(out, "asd_slabs", s.slab_count, "Slab files.");
    put_gauge(out, "asd_frees_pending", s.frees_pending, "Freed ranges not punched yet.");
    put_gauge(out, "asd_failed", asd_store_failed(asd->store, NULL), "1: out of service.");
    put_gauge(out, "asd_connections", asd_server_connections(asd->server), "Open connections.");
    put_gauge(out, "asd_requests_running", asd_server_requests(asd->server), "In flight.");
    put_counter(out, "asd_cancelled_total", asd_server_canceled(asd->server),
                "Requests not begun when their connection went.");
    put_gauge(out, "asd_request_memory_bytes", asd_server_request_bytes(asd->server),
              "Large requests, coming or running.");
    put_gauge(out, "asd_reply_memory_bytes", s.result_bytes, "Values read and not sent yet.");
    put_gauge(out, "asd_reads_waiting", s.reads_waiting, "For memory of replies.");
    put_counter(out, "asd_applies_total", s.applies, "Transactions, refused ones too.");
    put_counter(out, "asd_asserts_failed_total", s.asserts_failed, "Refused by an assert.");
    put_counter(out, "asd_refused_full_total", s.refused_full, "Refused for want of space.");
    put_counter(out, "asd_refused_checksum_total", s.refused_checksum,
                "Refused as a value did not match the checksum sent with it.");
    put_counter(out, "asd_commits_total", s.batches, "Group commits.");
    put_counter(out, "asd_fdatasyncs_total", s.fdatasyncs, "Slab flushes.");
    put_counter(out, "asd_index_syncs_total", s.index_syncs, "Synced index batches.");
    put_counter(out, "asd_slab_write_bytes_total", s.slab_write_bytes, "Written to slabs.");
    put_counter(out, "asd_index_write_bytes_total", s.index_write_bytes, "Written to the index.");
    put_counter(out, "asd_reads_total", s.reads, "Reads done.");
    put_counter(out, "asd_reads_hot_total", s.reads_hot, "Of them without a thread.");
    put_counter(out, "asd_read_bytes_total", s.read_bytes, "Values read.");
    put_counter(out, "asd_bad_values_total", s.bad_values, "Values that failed their checksum.");
    put_counter(out, "asd_read_errors_total", s.read_errors, "Reads that the device failed.");
    put_gauge(out, "asd_slabs_stuck", s.slabs_stuck, "Nearly empty, and cannot be emptied.");
    put_counter(out, "asd_slabs_evacuated_total", s.slabs_evacuated, "Emptied by moving values.");
    put_counter(out, "asd_moves_total", s.moves, "Values moved to empty a slab.");
    put_counter(out, "asd_moves_lost_total", s.moves_lost, "Of keys that a client changed.");
    put_counter(out, "asd_moved_bytes_total", s.moved_bytes, "Moved to empty slabs.");
    put_counter(out, "asd_punched_bytes_total", s.punched_bytes, "Space given back.");
    asd_scrub_collect(asd->scrub, out);
}

static json_t *status(void *ctx)
{
    struct asd *asd = ctx;
    struct asd_store_stats s = asd_store_stats(asd->store);
    struct err why = {0};
    bool failed = asd_store_failed(asd->store, &why);
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:i, s:I, s:I, s:b}", "asd_id", asd->home.asd_id, "node_id",
        asd->home.node_id, "used_bytes", (json_int_t)s.used_bytes, "capacity_bytes",
        (json_int_t)s.capacity_bytes, "slabs", (json_int_t)s.slab_count, "connections",
        (int)asd_server_connections(asd->server), "bad_values", (json_int_t)s.bad_values,
        "read_errors", (json_int_t)s.read_errors, "failed", failed);

    json_object_set_new(o, "scrub", asd_scrub_status(asd->scrub));
    if (failed) {
        json_object_set_new(o, "failure", json_string(why.msg));
    }
    return o;
}

/* GET: how far it is. POST: begin a pass now. */
static void scrub_route(void *ctx, struct http_request *request)
{
    struct asd *asd = ctx;
    struct err e;

    if (http_request_method(request) == HTTP_POST && asd_scrub_now(asd->scrub, &e) != 0) {
        http_answer_err(request, &e);
    } else {
        http_answer_json(request, 200, asd_scrub_status(asd->scrub));
    }
}

static int healthy(void *ctx, struct err *why)
{
    return asd_health(((struct asd *)ctx)->store, why);
}

/* ---- start ---- */

/* A bound only: what others leave of the file system is asked while serving. */
static uint64_t capacity(const struct asd_config *config, const struct asd_room *room)
{
    return config->capacity_bytes != CONFIG_NONE ? (uint64_t)config->capacity_bytes
                                                 : room->size_bytes;
}

/* A descriptor for each connection and each slab. Returns how many there may be. */
static uint64_t raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return UINT64_MAX;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit all = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        limit.rlim_cur = setrlimit(RLIMIT_NOFILE, &all) == 0 ? all.rlim_cur : limit.rlim_cur;
    }
    return limit.rlim_cur;
}

/* Whoever connects must not take the descriptors that the store writes by. */
static unsigned connections_max(const struct asd *asd, const struct asd_config *config)
{
    uint64_t kept = ASD_INDEX_FILES_MAX + OTHER_FILES + THREAD_FILES * (uint64_t)config->threads +
                    asd_store_stats(asd->store).slab_count;
    uint64_t limit = raise_descriptor_limit();
    uint64_t room = limit > kept + CONNECTIONS_MIN ? limit - kept : CONNECTIONS_MIN;
    unsigned wanted = (unsigned)config->connections_max;

    if (wanted <= room) {
        return wanted;
    }
    log_warn("asd", "too few descriptors for max_connections",
             "max_connections=%u max=%" PRIu64 " descriptors=%" PRIu64, wanted, room, limit);
    return (unsigned)room;
}

/* A new start may help: on a full file system it gives up the ballast, and RocksDB, which an open
 * file or memory failed that it needed to write, writes again. Whoever watches over us does that.
 * Anything else is out of service until somebody has looked at the disk. */
static void on_failed(void *ctx, const struct err *e)
{
    if (asd_health_is_passing(e->code)) {
        daemon_fail(ctx, e);
    }
}

static struct asd_scrub_settings scrub_settings(const struct asd_config *config)
{
    return (struct asd_scrub_settings){.rate = (uint64_t)config->scrub_rate,
                                       .interval_s = (uint64_t)config->scrub_interval_h * 3600};
}

static int open_room(struct asd *asd, const struct asd_config *config, struct err *e)
{
    uint64_t bytes = config->capacity_bytes != CONFIG_NONE ? (uint64_t)config->capacity_bytes : 0;

    return asd_room_init(&asd->room, config->home, bytes, e);
}

static int open_store(struct asd *asd, struct daemon *d, const struct asd_config *config,
                      struct err *e)
{
    struct asd_index_rocksdb_options options = {
        .block_cache_bytes =
            config->block_cache_bytes != CONFIG_NONE ? (uint64_t)config->block_cache_bytes : 0};
    struct asd_store_options store = {.home = &asd->home,
                                      .limit_percent = (unsigned)config->limit_percent,
                                      .read_threads =
                                          asd_store_read_threads((unsigned)config->threads),
                                      .result_bytes_max = (uint64_t)config->reply_bytes_max,
                                      .punch_delay_ms = PUNCH_DELAY_MS,
                                      .slab_bytes = (uint64_t)config->slab_bytes,
                                      .evacuation_rate = (uint64_t)config->evacuation_rate,
                                      .verify_checksums = config->verify_checksums,
                                      .ring_depth = config->io_uring ? RING_DEPTH : 0,
                                      .room = &asd->room,
                                      .on_failed = on_failed,
                                      .failed_ctx = d};
    int rc = asd_home_admit(io_real(), config->home, daemon_may_create(d), e);

    rc = rc != 0 ? rc : open_room(asd, config, e);
    rc = rc != 0 ? rc : asd_home_lock(config->home, &asd->lock_fd, e);
    rc = rc != 0 ? rc
                 : asd_home_open(io_real(), config->home, config->asd_id, config->node_id,
                                 &asd->home, e);
    if (rc != 0) {
        return rc;
    }
    store.capacity_bytes = capacity(config, &asd->room);
    options.create = asd->home.fresh;
    options.count = asd_store_count_commits;
    rc = asd_mark_read(&asd->home, &options.commits_min, e);
    rc = rc != 0 ? rc : asd_room_open_index(&asd->room, &asd->home, &options, &store.index, e);
    if (rc != 0) {
        return rc;
    }
    rc = asd_store_open(daemon_loop(d), &store, &asd->store, e);
    if (rc != 0) {
        store.index->ops->close(store.index);
    }
    return rc != 0 ? rc : asd_room_watch(&asd->room, daemon_loop(d), e);
}

static int start_http(struct asd *asd, uv_loop_t *loop, const struct asd_config *config,
                      struct err *e)
{
    struct daemon_addrs addrs = {0};
    struct http_options options = {.addrs = addrs.items,
                                   .metrics = &asd->metrics,
                                   .status = status,
                                   .healthy = healthy,
                                   .ctx = asd};
    int rc;

    metrics_init(&asd->metrics);
    asd->collector.collect = collect;
    metrics_collector(&asd->metrics, &asd->collector);
    asd_server_metrics(asd->server, &asd->metrics);
    if (config->http_port == CONFIG_NONE) {
        return 0;
    }
    rc = daemon_addrs_tcp(&addrs, &config->http_ips, config->http_port, e);
    options.addr_count = addrs.count;
    rc = rc != 0 ? rc : http_server_new(loop, &options, &asd->http, e);
    if (rc == 0) {
        http_route(asd->http, HTTP_GET | HTTP_POST, "/scrub", false, scrub_route, asd);
        log_info("asd", "status and metrics", "http_port=%u", http_server_port(asd->http, 0));
    }
    return rc;
}

static void nothing(void *ctx)
{
    *(bool *)ctx = true;
}

/* Undo what a failed start had opened. */
static void abandon(struct asd *asd, uv_loop_t *loop)
{
    bool done = asd->server == NULL;

    if (asd->server != NULL) {
        asd_server_close(asd->server, nothing, &done);
    }
    loop_run_until(loop, &done);
    done = asd->scrub == NULL;
    if (asd->scrub != NULL) {
        asd_scrub_close(asd->scrub, nothing, &done);
    }
    loop_run_until(loop, &done);
    done = asd->store == NULL;
    if (asd->store != NULL) {
        asd_store_close(asd->store, nothing, &done);
    }
    loop_run_until(loop, &done);
    done = false;
    asd_room_close(&asd->room, nothing, &done);
    loop_run_until(loop, &done);
    asd_room_release(&asd->room);
    asd_home_release(&asd->home);
    if (asd->lock_fd >= 0) {
        close(asd->lock_fd);
    }
    net_tls_free(asd->tls);
}

static int add_socket(struct asd *asd, const char *dir, struct daemon_addrs *addrs, struct err *e)
{
    struct net_addr local;
    int rc;

    if (dir == NULL) {
        return 0;
    }
    rc = net_addr_unix_in(&local, dir, asd->home.asd_id, e);
    return rc != 0 ? rc : daemon_addrs_unix(addrs, local.path, e);
}

static int start_server(struct asd *asd, struct daemon *d, struct err *e)
{
    const struct asd_config *config = daemon_config(d);
    struct daemon_addrs addrs = {0};
    struct asd_server_options options = {.store = asd->store,
                                         .asd_id = asd->home.asd_id,
                                         .addrs = addrs.items,
                                         .threads = (unsigned)config->threads,
                                         .connections_max = connections_max(asd, config),
                                         .request_bytes_max = (size_t)config->request_bytes_max,
                                         .slow_request_ms = (unsigned)config->slow_request_ms};
    bool plain = config->port != CONFIG_NONE;
    unsigned plain_count;
    int rc = daemon_addrs_tcp(&addrs, &config->ips, config->port, e);

    plain_count = addrs.count;
    rc = rc != 0 ? rc : tls_config_open_server(&config->tls, &asd->tls, e);
    if (rc == 0 && config->tls.given) {
        rc = daemon_addrs_tls(&addrs, &config->ips, config->tls.port, e);
    }
    rc = rc != 0 ? rc : add_socket(asd, config->socket_dir, &addrs, e);
    options.addr_count = addrs.count;
    options.tls = asd->tls;
    rc = rc != 0 ? rc : asd_server_new(daemon_loop(d), &options, &asd->server, e);
    if (rc == 0) {
        log_info("asd", "serving", "asd_id=%s node_id=%s home=%s port=%u tls_port=%u",
                 asd->home.asd_id, asd->home.node_id, config->home,
                 plain ? asd_server_port(asd->server, 0) : 0,
                 config->tls.given ? asd_server_port(asd->server, plain_count) : 0);
    }
    return rc;
}

static void on_trim(uv_timer_t *timer)
{
    (void)timer;
    bigmem_trim(clock_mono_ms());
}

/* The buffers of large requests and replies are used again and again. */
static void keep_memory(struct asd *asd, uv_loop_t *loop)
{
    bigmem_keep(KEPT_BYTES_MAX);
    CHECK(uv_timer_init(loop, &asd->trim) == 0);
    CHECK(uv_timer_start(&asd->trim, on_trim, BIGMEM_IDLE_MS, BIGMEM_IDLE_MS) == 0);
}

static int start(struct daemon *d, struct err *e)
{
    struct asd *asd = daemon_ctx(d);
    const struct asd_config *config = daemon_config(d);
    const struct asd_scrub_settings scrub = scrub_settings(config);
    int rc = open_store(asd, d, config, e);

    rc = rc != 0 ? rc : asd_scrub_new(asd->store, &scrub, &asd->scrub, e);
    rc = rc != 0 ? rc : start_server(asd, d, e);
    rc = rc != 0 ? rc : start_http(asd, daemon_loop(d), config, e);
    if (rc != 0) {
        abandon(asd, daemon_loop(d));
        return rc;
    }
    keep_memory(asd, daemon_loop(d));
    daemon_ready(d, "serving");
    return 0;
}

/* ---- stop ---- */

static void on_room_closed(void *ctx)
{
    struct asd *asd = daemon_ctx(ctx);

    asd_room_release(&asd->room);
    asd_home_release(&asd->home);
    close(asd->lock_fd);
    net_tls_free(asd->tls);
    daemon_stopped(ctx);
}

static void on_store_closed(void *ctx)
{
    struct asd *asd = daemon_ctx(ctx);

    asd_room_close(&asd->room, on_room_closed, ctx);
}

static void on_scrub_closed(void *ctx)
{
    struct asd *asd = daemon_ctx(ctx);

    asd_store_close(asd->store, on_store_closed, ctx);
}

static void on_server_closed(void *ctx)
{
    struct asd *asd = daemon_ctx(ctx);

    asd_scrub_close(asd->scrub, on_scrub_closed, ctx);
}

static void on_http_closed(void *ctx)
{
    struct asd *asd = daemon_ctx(ctx);

    asd_server_close(asd->server, on_server_closed, ctx);
}

static void stop(struct daemon *d)
{
    struct asd *asd = daemon_ctx(d);

    uv_close((uv_handle_t *)&asd->trim, NULL);
    if (asd->http != NULL) {
        http_server_close(asd->http, on_http_closed, d);
    } else {
        on_http_closed(d);
    }
}

static void reload(struct daemon *d, const void *old)
{
    struct asd *asd = daemon_ctx(d);
    const struct asd_config *config = daemon_config(d);

    const struct asd_scrub_settings settings = scrub_settings(config);

    (void)old;
    asd_store_set_limits(asd->store, capacity(config, &asd->room), (unsigned)config->limit_percent);
    asd_server_set_slow_ms(asd->server, (unsigned)config->slow_request_ms);
    asd_store_verify_checksums(asd->store, config->verify_checksums);
    asd_scrub_set(asd->scrub, &settings);
    tls_config_reload_server(&config->tls, asd->tls);
    asd_store_set_evacuation_rate(asd->store, (uint64_t)config->evacuation_rate);
}

int main(int argc, char **argv)
{
    struct asd asd = {.lock_fd = -1};
    const struct daemon_options options = {.name = "alba-asd",
                                           .summary = "the daemon of one disk",
                                           .keys = asd_config_keys,
                                           .config_bytes = sizeof(struct asd_config),
                                           .create_help = "make the store, if there is none yet: "
                                                          "the first time only",
                                           .ctx = &asd,
                                           .check = asd_config_check,
                                           .start = start,
                                           .stop = stop,
                                           .reload = reload};

    return daemon_main(&options, argc, argv);
}
