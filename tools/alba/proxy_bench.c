#include "alba/proxy_bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/verb.h"
#include "base/check.h"
#include "base/mem.h"
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
    snprintf(op->text, sizeof(op->text), "%s/%010" PRIu64, op->bench->runner.prefix, index);
    op->name = slice_str(op->text);
}

static void set_some_name(struct proxy_bench_op *op)
{
    set_name(op, rnd_below(&op->bench->runner.rnd, op->bench->runner.count));
}

static void fill_write(struct proxy_bench_op *op)
{
    struct proxy_bench *b = op->bench;

    set_name(op, op->index);
    op->update = (struct proxy_update){.kind = PROXY_UPDATE_UPLOAD,
                                       .name = op->name,
                                       .data = slice_of(b->runner.value, b->value_bytes)};
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
        .offset = (int64_t)rnd_below(&b->runner.rnd, b->value_bytes - bytes + 1),
        .bytes = (int32_t)bytes};
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

static void on_call(struct proxy_call *call, int rc)
{
    struct proxy_bench_op *op = container_of(call, struct proxy_bench_op, call);
    struct proxy_bench *b = op->bench;

    gather_release(&op->g);
    if (rc != 0 && b->runner.rc == 0) {
        b->proxy_code = call->proxy_code;
    }
    runner_ended(&b->runner, (unsigned)(op - b->ops), rc, &call->err);
}

static int send_op(void *ctx, unsigned place, uint64_t index, struct err *e)
{
    struct proxy_bench *b = ctx;
    struct proxy_bench_op *op = &b->ops[place];
    int rc;

    op->index = index;
    b->scenario->fill(op);
    proxy_request_encode(&op->request, &op->g);
    rc = proxy_client_call(b->target->s.proxy, &op->call, &op->g, CALL_TIMEOUT_MS, on_call);
    if (rc != 0) {
        gather_release(&op->g);
        return err_copy(e, &op->call.err);
    }
    return 0;
}

static int run_all(struct proxy_bench *b, const struct proxy_bench_scenario *scenario)
{
    b->scenario = scenario;
    b->proxy_code = 0;
    return runner_run(&b->runner, scenario->name,
                      scenario->fill == fill_delete ? RUNNER_CLEANS
                      : scenario->writes            ? RUNNER_WRITES
                                                    : RUNNER_READS) == 0
               ? 0
               : target_fail(b->target, b->cli, &b->runner.err, b->proxy_code);
}

void proxy_bench_init(struct proxy_bench *b, uint64_t count, unsigned depth)
{
    CHECK(depth <= PROXY_BENCH_DEPTH_MAX);
    b->runner = (struct runner){.loop = &b->target->s.loop,
                                .count = count,
                                .depth = depth,
                                .value_bytes = b->value_bytes,
                                .send = send_op,
                                .ctx = b};
    runner_init(&b->runner);
    b->ops = mem_array(depth, sizeof(*b->ops));
    for (unsigned i = 0; i < depth; i++) {
        b->ops[i].bench = b;
    }
}

int proxy_bench_run(struct proxy_bench *b, const char *name, json_t *rows)
{
    const struct proxy_bench_scenario *scenario = find(name);
    bool all;
    int rc = 0;

    CHECK(scenario != NULL);
    if (b->runner.stop) {
        return 0;
    }
    if (scenario->needs_objects && !b->there) {
        rc = proxy_bench_run(b, "writes", NULL);
    }
    if (rc != 0 || b->runner.stop) {
        return rc;
    }
    b->dirty = b->dirty || scenario->writes;
    rc = run_all(b, scenario);
    all = rc == 0 && b->runner.ended == b->runner.count;
    b->there = scenario->deletes ? false : scenario->writes ? all : b->there;
    b->dirty = b->dirty && !(scenario->deletes && all);
    if (rc == 0 && rows != NULL) {
        runner_row(&b->runner, scenario->name,
                   scenario->carries_values   ? b->value_bytes
                   : scenario->carries_slices ? slice_bytes(b)
                                              : 0,
                   rows);
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
    runner_release(&b->runner);
    free(b->ops);
}
