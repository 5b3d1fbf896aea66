/* The server: its lanes, and what is one for all of them. */
#include "asd/server.h"

#include <stdlib.h>

#include "asd/server_private.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"

/* ---- closing ---- */

static void on_ended_closed(uv_handle_t *handle)
{
    struct asd_server *server = container_of((uv_async_t *)handle, struct asd_server, ended);
    void (*cb)(void *ctx) = server->close_cb;
    void *ctx = server->close_ctx;

    for (unsigned i = 0; i < server->lane_count; i++) {
        uv_mutex_destroy(&server->lanes[i].stats_lock);
    }
    uv_mutex_destroy(&server->lock);
    free(server->lanes);
    free(server->peers);
    free(server);
    cb(ctx);
}

void asd_server_lane_closed(struct asd_server *server)
{
    if (--server->lanes_open == 0) {
        uv_close((uv_handle_t *)&server->ended, on_ended_closed);
    }
}

static void on_ended(uv_async_t *ended)
{
    struct asd_server *server = container_of(ended, struct asd_server, ended);

    for (unsigned i = 1; i < server->lane_count; i++) {
        struct asd_lane *lane = &server->lanes[i];

        if (atomic_load(&lane->ended) && !lane->joined) {
            CHECK(pthread_join(lane->thread, NULL) == 0);
            lane->joined = true;
            asd_server_lane_closed(server);
        }
    }
}

void asd_server_close(struct asd_server *server, void (*cb)(void *ctx), void *ctx)
{
    CHECK(server->close_cb == NULL);
    server->close_cb = cb;
    server->close_ctx = ctx;
    for (unsigned i = 0; i < server->lane_count; i++) { /* the first one first: it accepts */
        asd_lane_stop(&server->lanes[i]);
    }
}

/* ---- opening ---- */

static struct asd_server *server_new(const struct asd_server_options *options)
{
    struct asd_server *server = mem_zalloc(sizeof *server);

    CHECK(options->threads <= ASD_SERVER_THREADS_MAX);
    server->store = options->store;
    server->asd_id = slice_str(options->asd_id);
    server->tls = options->tls;
    server->wall_us = options->wall_us != NULL ? options->wall_us : clock_wall_us;
    server->created_s = (double)server->wall_us() / 1e6;
    server->created_ns = clock_mono_ns();
    server->lane_count = options->threads != 0 ? options->threads : 1;
    server->connections_max =
        options->connections_max != 0 ? options->connections_max : ASD_SERVER_CONNECTIONS_MAX;
    server->request_bytes_max = (options->request_bytes_max != 0 ? options->request_bytes_max
                                                                 : ASD_SERVER_REQUEST_BYTES_MAX) /
                                server->lane_count;
    asd_server_set_slow_ms(server, options->slow_request_ms);
    server->lanes = mem_array(server->lane_count, sizeof *server->lanes);
    server->peers = mem_array(server->lane_count, sizeof *server->peers);
    CHECK(uv_mutex_init(&server->lock) == 0);
    return server;
}

static void on_given_up(void *ctx)
{
    *(bool *)ctx = true;
}

static int start_threads(struct asd_server *server, struct err *e)
{
    for (; server->lanes_open < server->lane_count; server->lanes_open++) {
        struct asd_lane *lane = &server->lanes[server->lanes_open];
        int rc = asd_lane_start(lane, server, e);

        if (rc != 0) {
            return rc;
        }
        server->peers[server->lanes_open - 1] = lane->net;
    }
    net_server_share(server->lanes->net, server->peers, server->lane_count - 1);
    return 0;
}

int asd_server_new(uv_loop_t *loop, const struct asd_server_options *options,
                   struct asd_server **ret_server, struct err *e)
{
    struct asd_server *server = server_new(options);
    int rc =
        asd_lane_init(server->lanes, server, loop, asd_store_front(options->store), options, e);

    *ret_server = NULL;
    if (rc != 0) {
        uv_mutex_destroy(&server->lock);
        free(server->lanes);
        free(server->peers);
        free(server);
        return rc;
    }
    CHECK(uv_async_init(loop, &server->ended, on_ended) == 0);
    server->lanes_open = 1;
    rc = start_threads(server, e);
    if (rc != 0) {
        bool closed = false;

        server->lane_count = server->lanes_open;
        asd_server_close(server, on_given_up, &closed);
        loop_run_until(loop, &closed);
        return rc;
    }
    *ret_server = server;
    return 0;
}

/* ---- figures: sums over the lanes ---- */

uint16_t asd_server_port(const struct asd_server *server, unsigned index)
{
    return net_server_port(server->lanes->net, index);
}

unsigned asd_server_connections(const struct asd_server *server)
{
    unsigned count = 0;

    for (unsigned i = 0; i < server->lane_count; i++) {
        count += net_server_connections(server->lanes[i].net);
    }
    return count;
}

unsigned asd_server_requests(const struct asd_server *server)
{
    unsigned count = 0;

    for (unsigned i = 0; i < server->lane_count; i++) {
        count += atomic_load(&server->lanes[i].requests);
    }
    return count;
}

uint64_t asd_server_canceled(const struct asd_server *server)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < server->lane_count; i++) {
        count += atomic_load(&server->lanes[i].canceled);
    }
    return count;
}

uint64_t asd_server_request_bytes(const struct asd_server *server)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < server->lane_count; i++) {
        bytes += atomic_load(&server->lanes[i].request_bytes);
    }
    return bytes;
}

void asd_server_set_slow_ms(struct asd_server *server, unsigned slow_request_ms)
{
    atomic_store(&server->slow_request_ms, slow_request_ms);
}

static void join_metrics(struct asd_lane *first, struct asd_lane *lane)
{
    for (unsigned code = ASD_RANGE; code < ASD_CODES; code++) {
        metric_counter_join(&first->requests_total[code], &lane->requests_total[code]);
        metric_histogram_join(&first->seconds[code], &lane->seconds[code]);
    }
    metric_counter_join(&first->slow_total, &lane->slow_total);
    metric_counter_join(&first->errors_total, &lane->errors_total);
}

void asd_server_metrics(struct asd_server *server, struct metrics *metrics)
{
    static const char *const labels[ASD_CODES] = {
        NULL,
        "op=\"range\"",
        "op=\"multi_get\"",
        "op=\"apply\"",
        "op=\"range_entries\"",
        "op=\"statistics\"",
        "op=\"set_full\"",
        "op=\"get_version\"",
        "op=\"multi_get2\"",
        "op=\"multi_exists\"",
        "op=\"get_disk_usage\"",
        "op=\"partial_get\"",
        "op=\"capabilities\"",
        "op=\"range_validate\"",
        "op=\"slowness\"",
    };

    struct asd_lane *first = server->lanes;

    for (unsigned code = ASD_RANGE; code < ASD_CODES; code++) {
        metrics_counter(metrics, &first->requests_total[code], "asd_requests_total", labels[code],
                        1, "Requests that were understood.");
    }
    for (unsigned code = ASD_RANGE; code < ASD_CODES; code++) {
        metrics_histogram(metrics, &first->seconds[code], "asd_request_seconds", labels[code], 1e-9,
                          1 << 14, 1ull << 34, "From the whole frame to the reply.");
    }
    metrics_counter(metrics, &first->slow_total, "asd_slow_requests_total", NULL, 1,
                    "Requests that took slow_request_ms or longer.");
    metrics_counter(metrics, &first->errors_total, "asd_errors_total", NULL, 1,
                    "Requests answered with an error.");
    for (unsigned i = 1; i < server->lane_count; i++) {
        join_metrics(first, &server->lanes[i]);
    }
}
