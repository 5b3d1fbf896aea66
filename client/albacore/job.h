/* How a call of the library gets from the thread that makes it to the loop, and back.
 *
 * The caller fills a struct job, which lives on its stack, and sleeps in job_run(). `start` runs
 * on the loop thread, and so does all that it causes; job_done() wakes the caller. */
#ifndef ALBACORE_JOB_H
#define ALBACORE_JOB_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "albacore/client.h"
#include "base/err.h"
#include "base/list.h"
#include "object/object_read.h"
#include "object/object_stream.h"

struct net_tls;
struct job;
struct proxy_upload_answer;

struct albacore {
    struct object_client *objects; /* loop thread only, as the two that follow */
    struct list active;
    bool ending;
    struct net_tls *tls;
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    struct net_addr side; /* where the preferred proxy takes files; constant, as what follows */
    bool has_side;
    uint32_t timeout_ms; /* of calls that have none of their own */

    pthread_mutex_t lock; /* of what follows */
    struct list mailbox;
    bool closing;
};

struct albacore_cancel {
    pthread_mutex_t lock;
    bool fired;
    struct list jobs;
};

struct job {
    void (*start)(struct job *job);
    void (*cancel)(struct job *job); /* a wish; after start() */
    uint32_t timeout_ms;             /* of the call; 0: the client's */
    uint32_t flags;                  /* of the call */

    struct albacore *client; /* private from here on */
    struct albacore_error *e;
    struct list link;
    struct list cancel_link;
    atomic_bool cancel_wanted;
    bool canceled;
    int code;
    sem_t done;
};

/* What `call` says goes to job->flags and timeout_ms. Returns an enum albacore_code, as in *e. */
int job_run(struct albacore *client, struct job *job, const struct albacore_call *call,
            struct albacore_error *e);
/* On the loop thread; the job may be gone when it returns. rc 0 or why not (*why). */
void job_done(struct job *job, int rc, const struct err *why, int32_t proxy_code);

/* ---- errors ---- */

/* Fill in *e (may be NULL) from ours; returns the enum albacore_code. */
int error_set(struct albacore_error *e, int rc, const struct err *why, int32_t proxy_code);
int error_say(struct albacore_error *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A copy of a call that may be NULL or of an older program. */
struct albacore_call call_of(const struct albacore_call *call);
uint32_t call_flags(const struct albacore_call *call);
bool call_is_canceled(const struct albacore_call *own);

/* ---- one request to a proxy, and what its answer says ---- */

/* On the loop thread, with what the caller of request_run() gave: 0, or a code and *why. */
typedef int (*request_take)(void *ctx, const struct proxy_reply *reply, struct err *why);

int request_run(struct albacore *client, const struct proxy_request *request, request_take take,
                void *ctx, const struct albacore_call *call, struct albacore_error *e);
/* The same for a transaction: when an assert failed, *ret_failed_name is the name in its answer
 * (the caller frees it). */
int apply_run(struct albacore *client, const struct proxy_request *request, char **ret_failed_name,
              const struct albacore_call *call, struct albacore_error *e);
/* The same for one request of a transaction that goes in parts, over the connection of `stream`. */
void stream_run(struct object_stream *stream, struct albacore *client,
                const struct proxy_request *request, char **ret_failed_name,
                const struct albacore_call *call, struct proxy_upload_answer *ret_answer);
void stream_end(struct object_stream *stream, struct albacore *client);

#endif
