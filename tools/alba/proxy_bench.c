#include "alba/proxy_bench.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/verb.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"
#include "wire/gather.h"

enum { NAME_BYTES = 96, CALL_TIMEOUT_MS = 120000 };

/* One place in flight. */
struct proxy_bench_op {
    struct proxy_bench *bench;
    uint64_t index;
    struct proxy_request request;

    char text[NAME_BYTES];
    struct slice name;
    struct proxy_update update;
    struct proxy_slice slice;
    struct proxy_object_slices slices;
    struct proxy_call call;
    struct gather g;
    uint64_t start_ns;
};

struct proxy_bench_scenario {
    const char *name;
    bool needs_objects;
    bool writes;
    bool deletes;
    bool carries_values;
    bool carries_slices;
    void (*fill)(struct proxy_bench_op *op);
};

/* ---- what the scenarios ask ---- */

static void set_name(struct proxy_bench_op *op, uint64_t index)
{
    snprintf(op->text, sizeof(op->text), "%s/%010" PRIu64, op->bench->prefix, index);
    op->name = slice_str(op->text);
}

static void set_some_name(struct proxy_bench_op *op)
{
    set_name(op, rnd_below(&op->bench->rnd, op->bench->count));
}

static void fill_write(struct proxy_bench_op *op)
{
    struct proxy_bench *b = op->bench;

    set_name(op, op->index);
    op->update = (struct proxy_update){
        .kind = PROXY_UPDATE_UPLOAD, .name = op->name, .data = slice_of(b->value, b->value_bytes)};
    op->request = (struct proxy_request){.code = PROXY_APPLY_SEQUENCE,
                                         .ns = slice_str(b->ns),
                                         .apply = {.updates = &op->update, .update_count = 1}};
}

static void fill_read(struct proxy_bench_op *op)
{
    set_some_name(op);
    op->request = (struct proxy_request){.code = PROXY_READ_OBJECTS,
                                         .ns = slice_str(op->bench->ns),
                                         .names = {.items = &op->name, .count = 1}};
}

static uint32_t slice_bytes(const struct proxy_bench *b)
{
    return b->value_bytes < PROXY_BENCH_SLICE_BYTES ? b->value_bytes : PROXY_BENCH_SLICE_BYTES;
}

static void fill_partial(struct proxy_bench_op *op)
{
    struct proxy_bench *b = op->bench;
    uint32_t bytes = slice_bytes(b);

    set_some_name(op);
    op->slice = (struct proxy_slice){
        .offset = (int64_t)rnd_below(&b->rnd, b->value_bytes - bytes + 1), .bytes = (int32_t)bytes};
    op->slices =
        (struct proxy_object_slices){.name = op->name, .slices = &op->slice, .slice_count = 1};
    op->request = (struct proxy_request){.code = PROXY_READ_SLICES,
                                         .ns = slice_str(b->ns),
                                         .reads = {.items = &op->slices, .count = 1}};
}

static void fill_delete(struct proxy_bench_op *op)
{
    set_name(op, op->index);
    op->request = (struct proxy_request){.code = PROXY_DELETE_OBJECT,
                                         .ns = slice_str(op->bench->ns),
                                         .object = {.name = op->name, .may_not_exist = true}};
}

static void fill_version(struct proxy_bench_op *op)
{
    op->request = (struct proxy_request){.code = PROXY_GET_VERSION};
}

static const struct proxy_bench_scenario scenarios[] = {
    {.name = "writes", .writes = true, .carries_values = true, .fill = fill_write},
    {.name = "reads", .needs_objects = true, .carries_values = true, .fill = fill_read},
    {.name = "partial-reads", .needs_objects = true, .carries_slices = true, .fill = fill_partial},
    {.name = "deletes", .needs_objects = true, .deletes = true, .fill = fill_delete},
    {.name = "get_version", .fill = fill_version},
};

static const struct proxy_bench_scenario *find(const char *name)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

bool proxy_bench_knows(const char *scenario)
{
    return find(scenario) != NULL;
}

/* ---- one scenario ---- */

static void op_end(struct proxy_bench_op *op, int rc);

static void on_call(struct proxy_call *call, int rc)
{
    op_end(container_of(call, struct proxy_bench_op, call), rc);
}

static bool is_stopped(const struct proxy_bench *b)
{
    return b->stop && b->scenario->fill != fill_delete;
}

/* The next request, if there is one. */
static void op_start(struct proxy_bench_op *op)
{
    struct proxy_bench *b = op->bench;
    int rc;

    if (b->started == b->count || b->rc != 0 || is_stopped(b)) {
        return;
    }
    op->index = b->started++;
    b->scenario->fill(op);
    proxy_request_encode(&op->request, &op->g);
    op->start_ns = clock_mono_ns();
    rc = proxy_client_call(b->target->s.proxy, &op->call, &op->g, CALL_TIMEOUT_MS, on_call);
    if (rc != 0) {
        b->rc = err_copy(&b->err, &op->call.err);
        gather_release(&op->g);
        return;
    }
    b->running++;
}

static void op_end(struct proxy_bench_op *op, int rc)
{
    struct proxy_bench *b = op->bench;

    latencies_add(&b->latencies, clock_mono_ns() - op->start_ns);
    gather_release(&op->g);
    b->running--;
    b->ended++;
    if (rc != 0 && b->rc == 0) {
        b->rc = err_copy(&b->err, &op->call.err);
        b->proxy_code = op->call.proxy_code;
    }
    progress_show(&b->progress, b->ended);
    op_start(op);
    b->done = b->running == 0;
}

static int run_all(struct proxy_bench *b, const struct proxy_bench_scenario *scenario)
{
    b->scenario = scenario;
    b->started = b->ended = 0;
    b->rc = 0;
    b->latencies.count = 0;
    progress_begin(&b->progress, scenario->name, b->count, false);
    for (unsigned i = 0; i < b->depth; i++) {
        op_start(&b->ops[i]);
    }
    b->done = b->running == 0;
    loop_run_until(&b->target->s.loop, &b->done);
    progress_end(&b->progress);
    return b->rc == 0 ? 0 : target_fail(b->target, b->cli, &b->err, b->proxy_code);
}

static void on_sigint(uv_signal_t *handle, int signum)
{
    (void)signum;
    ((struct proxy_bench *)handle->data)->stop = true;
}

void proxy_bench_init(struct proxy_bench *b)
{
    char uuid[RND_UUID_TEXT_BYTES];

    CHECK(b->depth <= PROXY_BENCH_DEPTH_MAX && b->count <= LATENCIES_MAX);
    rnd_uuid_text(uuid);
    snprintf(b->prefix, sizeof(b->prefix), "alba-bench/%s", uuid);
    b->value = mem_alloc(b->value_bytes);
    rnd_bytes(b->value, b->value_bytes);
    rnd_bytes(&b->rnd.state, sizeof(b->rnd.state));
    b->ops = mem_array(b->depth, sizeof(*b->ops));
    for (unsigned i = 0; i < b->depth; i++) {
        b->ops[i].bench = b;
    }
    CHECK(uv_signal_init(&b->target->s.loop, &b->sigint) == 0);
    b->sigint.data = b;
    CHECK(uv_signal_start(&b->sigint, on_sigint, SIGINT) == 0);
}

int proxy_bench_run(struct proxy_bench *b, const char *name, json_t *rows)
{
    const struct proxy_bench_scenario *scenario = find(name);
    uint64_t start_ns;
    int rc = 0;

    CHECK(scenario != NULL);
    if (b->stop) {
        return 0;
    }
    if (scenario->needs_objects && !b->there) {
        rc = proxy_bench_run(b, "writes", NULL);
    }
    if (rc != 0 || b->stop) {
        return rc;
    }
    start_ns = clock_mono_ns();
    b->dirty = b->dirty || scenario->writes;
    rc = run_all(b, scenario);
    b->there = scenario->deletes  ? false
               : scenario->writes ? b->ended == b->count && rc == 0
                                  : b->there;
    b->dirty = b->dirty && !(scenario->deletes && rc == 0 && b->ended == b->count);
    if (rc == 0 && rows != NULL) {
        double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
        uint64_t each = scenario->carries_values   ? b->value_bytes
                        : scenario->carries_slices ? slice_bytes(b)
                                                   : 0;

        json_array_append_new(
            rows, latencies_json(&b->latencies, scenario->name, seconds, each * b->ended));
    }
    return rc;
}

int proxy_bench_clean(struct proxy_bench *b)
{
    static const struct proxy_bench_scenario clean = {.name = "cleaning up", .fill = fill_delete};

    return b->dirty ? run_all(b, &clean) : 0;
}

void proxy_bench_release(struct proxy_bench *b)
{
    uv_close((uv_handle_t *)&b->sigint, NULL);
    free(b->ops);
    free(b->value);
    latencies_release(&b->latencies);
}
