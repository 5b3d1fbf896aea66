/* connect: options -> thread -> (a first contact) -> client. The thread runs the loop until
 * close() has taken everything off it. */
#include "albacore/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "albacore/albacore.h"
#include "albacore/greet.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/thread.h"
#include "net/fd_pass.h"
#include "net/tls.h"

enum { MANIFEST_BYTES = 32 << 20, TIMEOUT_MS_MAX = 24 * 3600 * 1000, NEAR_NODES_MAX = 4096 };

/* ---- the loop's thread ---- */

static void on_objects_closed(void *ctx)
{
    struct albacore *client = ctx;

    uv_close((uv_handle_t *)&client->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
    struct albacore *client = container_of(wake, struct albacore, wake);
    struct list fresh;
    struct list *link;
    bool closing;

    list_init(&fresh);
    pthread_mutex_lock(&client->lock);
    list_splice(&fresh, &client->mailbox);
    closing = client->closing;
    pthread_mutex_unlock(&client->lock);
    while ((link = list_pop(&fresh)) != NULL) {
        struct job *job = container_of(link, struct job, link);

        list_push(&client->active, &job->link);
        job->start(job);
    }
    LIST_FOR_EACH (it, &client->active) {
        struct job *job = container_of(it, struct job, link);

        if (!job->canceled && atomic_load(&job->cancel_wanted)) {
            job->canceled = true;
            job->cancel(job);
        }
    }
    if (closing && !client->ending) {
        CHECK(list_empty(&client->active));
        client->ending = true;
        object_client_close(client->objects, on_objects_closed, client);
    }
}

static void *run(void *arg)
{
    struct albacore *client = arg;

    uv_run(&client->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&client->loop) == 0);
    return NULL;
}

/* ---- life ---- */

static int parse_proxies(const struct albacore_options *o, struct net_addr *addrs,
                         struct albacore_error *e)
{
    struct err why;

    if (o->proxy_count == 0 || o->proxy_count > PROXY_CLIENT_ENDPOINTS_MAX) {
        return error_say(e, ALBACORE_INVALID, "%zu proxies: it takes 1 to %d", o->proxy_count,
                         (int)PROXY_CLIENT_ENDPOINTS_MAX);
    }
    for (size_t i = 0; i < o->proxy_count; i++) {
        if (net_addr_parse(&addrs[i], o->proxies[i], &why) != 0) {
            return error_set(e, -EINVAL, &why, 0);
        }
    }
    return 0;
}

static int check_near(const struct albacore_options *o, struct albacore_error *e)
{
    if (o->near_node_count > NEAR_NODES_MAX) {
        return error_say(e, ALBACORE_INVALID, "%zu near nodes: it takes %d", o->near_node_count,
                         (int)NEAR_NODES_MAX);
    }
    for (size_t i = 0; i < o->near_node_count; i++) {
        if (o->near_nodes == NULL || o->near_nodes[i] == NULL) {
            return error_say(e, ALBACORE_INVALID, "near node %zu has no name", i);
        }
    }
    return 0;
}

static int make_tls(const struct albacore_options *o, struct net_tls **ret_tls,
                    struct albacore_error *e)
{
    struct net_tls_files files = {
        .ca_cert = o->tls_ca_cert, .cert = o->tls_cert, .key = o->tls_key};
    struct err why;

    if (o->tls_ca_cert == NULL && o->tls_cert == NULL && o->tls_key == NULL) {
        return 0;
    }
    if (o->tls_ca_cert == NULL || (o->tls_cert == NULL) != (o->tls_key == NULL)) {
        return error_say(e, ALBACORE_INVALID,
                         "TLS takes tls_ca_cert, and tls_cert and tls_key together");
    }
    if (net_tls_new(NET_TLS_CLIENT, &files, ret_tls, &why) != 0) {
        return error_say(e, ALBACORE_TLS, "%s", why.msg);
    }
    return 0;
}

static int check_tls(const struct albacore_options *o, const struct net_addr *addrs,
                     struct albacore_error *e)
{
    for (size_t i = 0; i < o->proxy_count && o->tls_ca_cert == NULL; i++) {
        if (addrs[i].is_tls) {
            return error_say(e, ALBACORE_TLS, "%s takes tls_ca_cert", addrs[i].text);
        }
    }
    return 0;
}

static struct albacore *client_new(const struct albacore_options *o, const struct net_addr *addrs,
                                   struct net_tls *tls)
{
    struct albacore *client = mem_zalloc(sizeof(*client));
    const struct net_addr *preferred = &addrs[o->preferred % o->proxy_count];
    uint64_t known = o->manifest_bytes != 0 ? o->manifest_bytes : MANIFEST_BYTES;
    struct err why;

    log_set_level(LOG_NONE); /* standard error is the program's */
    list_init(&client->active);
    list_init(&client->mailbox);
    client->tls = tls;
    client->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : OBJECT_TIMEOUT_MS;
    client->has_side =
        preferred->is_unix && fd_pass_addr(&client->side, preferred->path, &why) == 0;
    CHECK(pthread_mutex_init(&client->lock, NULL) == 0);
    CHECK(uv_loop_init(&client->loop) == 0);
    CHECK(uv_async_init(&client->loop, &client->wake, on_wake) == 0);
    client->objects = object_client_new(
        &client->loop,
        &(struct object_client_options){.proxies = addrs,
                                        .proxy_count = (unsigned)o->proxy_count,
                                        .spread = o->preferred,
                                        .tls = tls,
                                        .known_bytes = known < SIZE_MAX ? (size_t)known : SIZE_MAX,
                                        .proxy_only = (o->flags & ALBACORE_PROXY_ONLY) != 0,
                                        .timeout_ms = client->timeout_ms,
                                        .direct_ms = o->direct_ms,
                                        .near_nodes = o->near_nodes,
                                        .near_node_count = (unsigned)o->near_node_count});
    return client;
}

static void client_free(struct albacore *client)
{
    pthread_mutex_destroy(&client->lock);
    net_tls_free(client->tls);
    free(client);
}

static void ask_to_end(struct albacore *client)
{
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_mutex_unlock(&client->lock);
    uv_async_send(&client->wake);
}

static int start(struct albacore *client, const struct albacore_options *o,
                 const struct net_addr *addrs, struct albacore_error *e)
{
    struct proxy_request ask = {.code = PROXY_GET_ALBA_ID};
    int rc = loop_thread_start(&client->thread, run, client);

    if (rc != 0) {
        ask_to_end(client);
        run(client);
        client_free(client);
        return error_say(e, ALBACORE_FAILED, "no thread: %s", err_text(rc));
    }
    if ((o->flags & ALBACORE_LAZY) != 0) {
        return 0;
    }
    rc = (o->flags & ALBACORE_WAIT) != 0 ? request_run(client, &ask, NULL, NULL, NULL, e)
                                         : greet_run(client, addrs, (unsigned)o->proxy_count, e);
    if (rc != 0) {
        albacore_close(client);
    }
    return rc;
}

int albacore_connect(const struct albacore_options *options, struct albacore **ret_client,
                     struct albacore_error *e)
{
    struct net_addr addrs[PROXY_CLIENT_ENDPOINTS_MAX];
    struct albacore_options own = {0};
    struct net_tls *tls = NULL;
    struct albacore *client;
    int rc;

    memcpy(&own, options, options->size < sizeof(own) ? options->size : sizeof(own));
    rc = parse_proxies(&own, addrs, e);
    if (rc == 0 && (own.timeout_ms > TIMEOUT_MS_MAX || own.direct_ms > TIMEOUT_MS_MAX)) {
        rc = error_say(e, ALBACORE_INVALID, "a time-out of more than a day");
    }
    if (rc == 0) {
        rc = check_near(&own, e);
    }
    if (rc == 0) {
        rc = check_tls(&own, addrs, e);
    }
    if (rc == 0) {
        rc = make_tls(&own, &tls, e);
    }
    if (rc != 0) {
        return rc;
    }
    client = client_new(&own, addrs, tls);
    rc = start(client, &own, addrs, e);
    if (rc == 0) {
        *ret_client = client;
    }
    return rc;
}

void albacore_close(struct albacore *client)
{
    if (client == NULL) {
        return;
    }
    ask_to_end(client);
    CHECK(pthread_join(client->thread, NULL) == 0);
    client_free(client);
}

/* ---- canceling ---- */

struct albacore_cancel *albacore_cancel_new(void)
{
    struct albacore_cancel *cancel = mem_zalloc(sizeof(*cancel));

    CHECK(pthread_mutex_init(&cancel->lock, NULL) == 0);
    list_init(&cancel->jobs);
    return cancel;
}

void albacore_cancel_fire(struct albacore_cancel *cancel)
{
    pthread_mutex_lock(&cancel->lock);
    cancel->fired = true;
    LIST_FOR_EACH (it, &cancel->jobs) { /* each waits for the lock before it ends */
        struct job *job = container_of(it, struct job, cancel_link);

        atomic_store(&job->cancel_wanted, true);
        uv_async_send(&job->client->wake);
    }
    pthread_mutex_unlock(&cancel->lock);
}

void albacore_cancel_free(struct albacore_cancel *cancel)
{
    if (cancel != NULL) {
        CHECK(list_empty(&cancel->jobs));
        pthread_mutex_destroy(&cancel->lock);
        free(cancel);
    }
}

/* ---- figures and versions ---- */

struct counters_job {
    struct job job;
    struct object_counters counters;
};

static void counters_start(struct job *job)
{
    object_client_counters(job->client->objects,
                           &container_of(job, struct counters_job, job)->counters);
    job_done(job, 0, NULL, 0);
}

int albacore_counters(struct albacore *client, struct albacore_counters *counters)
{
    struct counters_job c = {.job = {.start = counters_start}};
    const struct object_counters *from = &c.counters;
    size_t size = counters->size;
    int rc = job_run(client, &c.job, NULL, NULL);
    struct albacore_counters own = {.size = size,
                                    .direct_reads = from->direct_reads,
                                    .direct_bytes = from->direct_bytes,
                                    .direct_round_trips = from->direct_round_trips,
                                    .proxy_reads = from->proxy_reads,
                                    .proxy_bytes = from->proxy_bytes,
                                    .not_known = from->not_known,
                                    .suspect = from->suspect,
                                    .aside = from->aside,
                                    .missing = from->missing,
                                    .damaged = from->damaged,
                                    .unreachable = from->unreachable,
                                    .proxy_tries = from->proxy_tries,
                                    .known_objects = from->known_objects,
                                    .known_bytes = from->known_bytes,
                                    .disks_aside = from->osds_aside,
                                    .far = from->far,
                                    .direct_far_trips = from->direct_far_trips};

    memcpy(counters, &own, size < sizeof(own) ? size : sizeof(own));
    return rc;
}

const char *albacore_version(void)
{
    return ALBACORE_VERSION;
}

static int take_version(void *ctx, const struct proxy_reply *reply, struct err *why)
{
    char **text = ctx;

    (void)why;
    *text = mem_printf("%d.%d.%d %.*s", reply->version.major, reply->version.minor,
                       reply->version.patch, (int)reply->version.hash.len,
                       (const char *)reply->version.hash.data);
    return 0;
}

int albacore_proxy_version(struct albacore *client, char *ret_text, size_t bytes,
                           const struct albacore_call *call, struct albacore_error *e)
{
    char *text = NULL;
    int rc = request_run(client, &(struct proxy_request){.code = PROXY_GET_VERSION}, take_version,
                         &text, call, e);

    if (rc == 0) {
        snprintf(ret_text, bytes, "%s", text);
    }
    free(text);
    return rc;
}
