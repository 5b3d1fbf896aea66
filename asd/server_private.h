/* Inside the server. */
#ifndef ASD_SERVER_PRIVATE_H
#define ASD_SERVER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "asd/server.h"
#include "asd/server_limits.h"
#include "asd/store_read.h"
#include "base/log.h"
#include "base/rnd.h"
#include "daemon/metrics.h"
#include "net/frame_room.h"
#include "net/server.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/asd_stats.h"

enum { ASD_CODES = ASD_SLOWNESS + 1, ASD_SERVER_SLOWNESS_S_MAX = 3600 };

/* One loop of the server: a front of the store, connections and their requests. The first runs
 * on the loop of the server, each other one on a thread of its own. */
struct asd_lane {
    struct asd_server *server;
    uv_loop_t *loop;
    struct asd_front *front;
    struct net_server *net;
    struct frame_room room;      /* of large frames, being read or running */
    atomic_size_t request_bytes; /* what that holds, for other threads */
    struct log_limit slow_log;
    atomic_uint requests; /* in flight; this loop changes it, and this: */
    atomic_uint_fast64_t canceled;
    struct rnd rnd;
    struct list delayed; /* struct asd_server_request */
    bool net_closed;

    uv_mutex_t stats_lock;
    struct stat_sum stats[ASD_CODES];
    struct metric_counter requests_total[ASD_CODES];
    struct metric_counter errors_total;
    struct metric_histogram seconds[ASD_CODES];
    struct metric_counter slow_total;

    uv_loop_t own_loop; /* these: not of the first one */
    uv_async_t stop;
    pthread_t thread;
    atomic_bool ended;
    bool joined;
};

struct asd_server {
    struct asd_store *store;
    struct slice asd_id;
    struct net_tls *tls; /* borrowed */
    struct asd_lane *lanes;
    unsigned lane_count;
    struct net_server **peers; /* of the first lane */

    unsigned connections_max;
    size_t request_bytes_max;    /* of each lane */
    atomic_uint slow_request_ms; /* 0: none is */
    uint64_t (*wall_us)(void);
    uv_mutex_t lock;
    double created_s; /* these: under lock; of the statistics; may step, so it only tells */
    uint64_t created_ns;
    double slow_fixed_s;
    double slow_variable_s;
    atomic_bool slow;

    uv_async_t ended; /* a lane has */
    unsigned lanes_open;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

struct asd_server_request {
    struct asd_lane *lane;
    struct net_conn *conn;       /* held */
    struct asd_session *session; /* held */
    struct list in_session;
    unsigned version;
    uint32_t id;
    uint64_t start_ns;
    uint8_t *frame; /* what `in` points into */
    uint32_t frame_lead;
    struct frame_share share; /* the memory it takes */
    struct asd_request in;
    uv_timer_t delay; /* Slowness */
    bool delaying;
    bool submitted;   /* to the store, whose callback comes */
    int conn_fd;      /* these two: of an Apply, for the commit thread */
    bool left;        /* out: its client had, so it was not begun */
    struct list link; /* in asd_lane.delayed */
    union {
        struct asd_store_op op;
        struct asd_store_apply apply;
        struct asd_store_get get;
        struct asd_store_partial partial;
        struct asd_store_range range;
    };
    bool has_get, has_partial, has_range; /* what is to be released */
    void *items;                          /* arrays of the reply */
    void *more_items;
};

/* What connections of a lane do: net_server_options.ctx is the lane. server_session.c */
extern const struct net_server_ops asd_session_ops;
/* Nobody waits for those being delayed any more. */
void asd_session_end_delays(struct asd_lane *lane);

/* server_lane.c. `listen` (addresses) is for the first lane, which needs no more than that. */
int asd_lane_init(struct asd_lane *lane, struct asd_server *server, uv_loop_t *loop,
                  struct asd_front *front, const struct asd_server_options *listen, struct err *e);
/* Another one, with its loop and thread. */
int asd_lane_start(struct asd_lane *lane, struct asd_server *server, struct err *e);
/* Answer what runs, close. The first one's loop; any other lane: any thread, and once only. */
void asd_lane_stop(struct asd_lane *lane);
/* No request runs any more: close if that was waited for. Its loop. */
void asd_lane_settle(struct asd_lane *lane);
/* The first lane is closed, or server->ended was sent. server.c */
void asd_server_lane_closed(struct asd_server *server);

/* Start it; it answers and frees itself. */
void asd_server_request_run(struct asd_server_request *r);
/* It was not begun, as its connection went. */
void asd_server_count_canceled(struct asd_lane *lane);
/* What RangeValidate found. server_validate.c */
void asd_server_build_validations(struct asd_server_request *r, struct asd_reply *reply);
/* Nobody waits for the answer: the request ends without one. */
void asd_server_drop(struct asd_server_request *r);
/* Either ends the request: it is freed once the reply was sent. */
void asd_server_answer(struct asd_server_request *r, const struct asd_reply *reply);
void asd_server_answer_err(struct asd_server_request *r, int rc, const struct err *e,
                           struct slice key);

#endif
