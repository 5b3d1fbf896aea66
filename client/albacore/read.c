/* Reads: gets, slices, and what is known of an object. */
#include <stdlib.h>
#include <string.h>

#include "albacore/albacore.h"
#include "albacore/job.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

void albacore_free(void *data)
{
    bigmem_free(data);
}

/* ---- the whole ---- */

struct get_job {
    struct job job;
    struct slice ns, name;
    struct client_get get;
};

static void on_get(struct client_get *get, int rc)
{
    job_done(&container_of(get, struct get_job, get)->job, rc, &get->err, get->proxy_code);
}

static void get_start(struct job *job)
{
    struct get_job *g = container_of(job, struct get_job, job);

    object_client_get(job->client->objects, &g->get, g->ns, g->name,
                      (job->flags & ALBACORE_CONSISTENT) != 0, job->timeout_ms, on_get);
}

static void get_cancel(struct job *job)
{
    object_client_get_cancel(&container_of(job, struct get_job, job)->get);
}

int albacore_get(struct albacore *client, const char *ns, const char *name, void **ret_data,
                 size_t *ret_bytes, const struct albacore_call *call, struct albacore_error *e)
{
    struct get_job g = {.job = {.start = get_start, .cancel = get_cancel},
                        .ns = slice_str(ns),
                        .name = slice_str(name)};
    int rc = job_run(client, &g.job, call, e);

    if (rc == 0) {
        *ret_data = g.get.data;
        *ret_bytes = g.get.bytes;
    }
    return rc;
}

/* ---- slices ---- */

struct read_job {
    struct job job;
    struct client_read_spec spec;
    struct client_read read;
};

static void on_read(struct client_read *read, int rc)
{
    job_done(&container_of(read, struct read_job, read)->job, rc, &read->err, read->proxy_code);
}

static void read_start(struct job *job)
{
    struct read_job *r = container_of(job, struct read_job, job);

    r->spec.consistent = (job->flags & ALBACORE_CONSISTENT) != 0;
    object_client_read(job->client->objects, &r->read, &r->spec, job->timeout_ms, on_read);
}

static void read_cancel(struct job *job)
{
    object_client_read_cancel(&container_of(job, struct read_job, job)->read);
}

int albacore_read(struct albacore *client, const char *ns, const char *name,
                  const struct albacore_slice *slices, size_t count,
                  const struct albacore_call *call, struct albacore_error *e)
{
    struct object_slice *own = mem_array(count + 1, sizeof(*own));
    struct read_job r = {
        .job = {.start = read_start, .cancel = read_cancel},
        .spec = {
            .ns = slice_str(ns), .name = slice_str(name), .slices = own, .slice_count = count}};
    int rc;

    for (size_t i = 0; i < count; i++) {
        own[i] = (struct object_slice){
            .offset = slices[i].offset, .bytes = slices[i].bytes, .dest = slices[i].data};
    }
    rc = job_run(client, &r.job, call, e);
    free(own);
    return rc;
}

/* ---- about objects ---- */

static int take_info(void *ctx, const struct proxy_reply *reply, struct err *why)
{
    struct albacore_info *info = ctx;
    const struct checksum *c = &reply->info.checksum;

    (void)why;
    info->bytes = reply->info.size_bytes;
    switch (c->algo) {
    case CHECKSUM_CRC32C:
        info->checksum_kind = ALBACORE_CRC32C;
        put_u32le(info->checksum, c->crc32c);
        break;
    case CHECKSUM_SHA1:
        info->checksum_kind = ALBACORE_SHA1;
        memcpy(info->checksum, c->sha1, sizeof(info->checksum));
        break;
    default:
        info->checksum_kind = ALBACORE_NO_CHECKSUM;
    }
    return 0;
}

int albacore_info(struct albacore *client, const char *ns, const char *name,
                  struct albacore_info *info, const struct albacore_call *call,
                  struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_GET_OBJECT_INFO,
                                    .ns = slice_str(ns),
                                    .consistent_read =
                                        (call_flags(call) & ALBACORE_CONSISTENT) != 0,
                                    .should_cache = true,
                                    .object = {.name = slice_str(name)}};
    struct albacore_info own = {.size = info->size};
    int rc = request_run(client, &request, take_info, &own, call, e);

    if (rc == 0) {
        memcpy(info, &own, own.size < sizeof(own) ? own.size : sizeof(own));
    }
    return rc;
}

struct exists_ctx {
    bool *ret_exists;
    size_t count;
};

static int take_exists(void *ctx, const struct proxy_reply *reply, struct err *why)
{
    const struct exists_ctx *c = ctx;

    if (reply->exists.count != c->count) {
        return err_set(why, ERR_PROTOCOL, "another number of answers than names");
    }
    for (size_t i = 0; i < c->count; i++) {
        c->ret_exists[i] = reply->exists.items[i];
    }
    return 0;
}

int albacore_exists(struct albacore *client, const char *ns, const char *const *names, size_t count,
                    bool *ret_exists, const struct albacore_call *call, struct albacore_error *e)
{
    struct exists_ctx ctx = {.ret_exists = ret_exists, .count = count};
    struct proxy_request request = {.code = PROXY_MULTI_EXISTS, .ns = slice_str(ns)};
    int rc;

    if (count > LLIO_COUNT_MAX) {
        return error_say(e, ALBACORE_TOO_LARGE, "%zu names; %d at once", count,
                         (int)LLIO_COUNT_MAX);
    }
    request.names.items = mem_array(count + 1, sizeof(*request.names.items));
    request.names.count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        request.names.items[i] = slice_str(names[i]);
    }
    rc = request_run(client, &request, take_exists, &ctx, call, e);
    free(request.names.items);
    return rc;
}
