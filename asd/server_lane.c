/* A lane: init or start, then (its loop) stop -> delays end, connections close, requests are
 * answered -> the front closes -> the loop is empty, the thread ends -> joined by the server.
 * The first lane's front and loop are not its own; it is closed when its requests are. */
#include <stdlib.h>

#include "asd/front.h"
#include "asd/server_private.h"
#include "base/check.h"
#include "loop/thread.h"

int asd_lane_init(struct asd_lane *lane, struct asd_server *server, uv_loop_t *loop,
                  struct asd_front *front, const struct asd_server_options *listen, struct err *e)
{
    struct net_server_options net = {.ops = &asd_session_ops,
                                     .ctx = lane,
                                     .tls = server->tls,
                                     .connections_max = server->connections_max,
                                     .frame_bytes_max = ASD_FRAME_BYTES_MAX};
    uint64_t seed;
    int rc;

    if (listen != NULL) {
        net.addrs = listen->addrs;
        net.addr_count = listen->addr_count;
    }
    rc = net_server_new(loop, &net, &lane->net, e);
    if (rc != 0) {
        return rc;
    }
    rnd_bytes(&seed, sizeof seed);
    lane->rnd = rnd_seed(seed);
    lane->server = server;
    lane->loop = loop;
    lane->front = front;
    list_init(&lane->delayed);
    frame_room_init(&lane->room, server->request_bytes_max, ASD_FRAME_BYTES_MAX);
    CHECK(uv_mutex_init(&lane->stats_lock) == 0);
    for (unsigned i = 0; i < ASD_CODES; i++) {
        stat_sum_init(&lane->stats[i]);
    }
    return 0;
}

/* ---- the end ---- */

static void on_front_closed(void *ctx)
{
    struct asd_lane *lane = ctx;

    uv_close((uv_handle_t *)&lane->stop, NULL);
}

void asd_lane_settle(struct asd_lane *lane)
{
    if (!lane->net_closed || atomic_load(&lane->requests) != 0) {
        return;
    }
    lane->net_closed = false; /* once */
    if (lane == lane->server->lanes) {
        asd_server_lane_closed(lane->server);
    } else {
        asd_front_close(lane->front, on_front_closed, lane);
    }
}

static void on_net_closed(void *ctx)
{
    struct asd_lane *lane = ctx;

    lane->net_closed = true;
    asd_lane_settle(lane);
}

static void stop_here(struct asd_lane *lane)
{
    asd_session_end_delays(lane);
    net_server_close(lane->net, ASD_SERVER_DRAIN_MS, on_net_closed, lane);
}

static void on_stop(uv_async_t *stop)
{
    stop_here(container_of(stop, struct asd_lane, stop));
}

void asd_lane_stop(struct asd_lane *lane)
{
    if (lane == lane->server->lanes) {
        stop_here(lane);
    } else {
        CHECK(uv_async_send(&lane->stop) == 0);
    }
}

/* ---- a lane of its own ---- */

static void run(struct asd_lane *lane)
{
    uv_run(lane->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(lane->loop) == 0);
}

static void *lane_main(void *arg)
{
    struct asd_lane *lane = arg;

    pthread_setname_np(pthread_self(), "asd-loop");
    run(lane);
    atomic_store(&lane->ended, true);
    CHECK(uv_async_send(&lane->server->ended) == 0); /* it is open until this thread is joined */
    return NULL;
}

int asd_lane_start(struct asd_lane *lane, struct asd_server *server, struct err *e)
{
    unsigned read_threads = asd_store_read_threads(server->lane_count);
    struct asd_front *front;
    int rc = uv_loop_init(&lane->own_loop);

    if (rc != 0) {
        return err_set(e, rc, "loop of a thread");
    }
    rc = asd_front_open(server->store, &lane->own_loop, read_threads, &front, e);
    if (rc != 0) {
        CHECK(uv_loop_close(&lane->own_loop) == 0);
        return rc;
    }
    CHECK(asd_lane_init(lane, server, &lane->own_loop, front, NULL, e) == 0);
    CHECK(uv_async_init(lane->loop, &lane->stop, on_stop) == 0);
    rc = loop_thread_start(&lane->thread, lane_main, lane);
    if (rc != 0) {
        asd_lane_stop(lane);
        run(lane); /* in this thread, until all that is closed */
        uv_mutex_destroy(&lane->stats_lock);
        return err_set(e, rc, "thread of a loop");
    }
    return 0;
}
