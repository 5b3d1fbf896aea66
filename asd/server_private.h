/* Inside the server. */
#ifndef ASD_SERVER_PRIVATE_H
#define ASD_SERVER_PRIVATE_H

#include <stdbool.h>

#include "asd/server.h"
#include "asd/store_read.h"
#include "base/rnd.h"
#include "daemon/metrics.h"
#include "net/server.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/asd_stats.h"

enum { ASD_CODES = ASD_SLOWNESS + 1, ASD_SERVER_SLOWNESS_S_MAX = 3600 };

struct asd_server {
    uv_loop_t *loop;
    struct asd_store *store;
    struct net_server *net;
    struct slice asd_id;
    unsigned requests; /* in flight */

    uint64_t (*wall_us)(void);
    double created_s; /* these two: of the statistics; the wall clock may step, so it only tells */
    uint64_t created_ns;
    struct stat_sum stats[ASD_CODES];
    bool slow;
    double slow_fixed_s;
    double slow_variable_s;
    struct rnd rnd;
    struct list delayed; /* struct asd_server_request */

    struct metric_counter requests_total[ASD_CODES];
    struct metric_counter errors_total;
    struct metric_histogram seconds[ASD_CODES];

    bool net_closed;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* Of a connection. */
struct asd_session {
    unsigned version; /* 0 before the preamble */
    unsigned requests;
};

struct asd_server_request {
    struct asd_server *server;
    struct net_conn *conn; /* held */
    struct asd_session *session;
    unsigned version;
    uint32_t id;
    uint64_t start_ns;
    uint8_t *frame; /* what `in` points into */
    uint32_t frame_lead;
    struct asd_request in;
    uv_timer_t delay; /* Slowness */
    struct list link; /* in asd_server.delayed */
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

/* Start it; it answers and frees itself. */
void asd_server_request_run(struct asd_server_request *r);
/* What RangeValidate found. server_validate.c */
void asd_server_build_validations(struct asd_server_request *r, struct asd_reply *reply);
/* Either ends the request: it is freed once the reply was sent. */
void asd_server_answer(struct asd_server_request *r, const struct asd_reply *reply);
void asd_server_answer_err(struct asd_server_request *r, int rc, const struct err *e,
                           struct slice key);

#endif
