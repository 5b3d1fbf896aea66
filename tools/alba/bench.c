#include "alba/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/gather.h"

enum {
    KEY_BYTES = 96,
    RANGE_KEYS = 100,
    SMALL_BYTES = 64,
    KEYS_PER_FRAGMENT = 3, /* upload_fragments: data, what recovery needs, tag */
    CALL_TIMEOUT_MS = 60000,
};

/* One place in flight. */
struct bench_op {
    struct bench *bench;
    uint64_t index;
    struct asd_request request;

    char keys[KEYS_PER_FRAGMENT][KEY_BYTES];
    struct slice key; /* of keys[0] */
    struct asd_update updates[KEYS_PER_FRAGMENT];
    struct asd_part part;
    struct asd_call call;
    struct gather g;
};

/* ---- what the scenarios ask ---- */

static struct slice key_at(struct bench_op *op, unsigned i, uint64_t index)
{
    snprintf(op->keys[i], KEY_BYTES, "%s/%010" PRIu64 "%s", op->bench->runner.prefix, index,
             i == 0   ? ""
             : i == 1 ? "/r"
                      : "/g");
    return slice_str(op->keys[i]);
}

static struct asd_update set_of(struct bench_op *op, unsigned i, uint32_t bytes)
{
    return (struct asd_update){.key = key_at(op, i, op->index),
                               .value = slice_of(op->bench->runner.value, bytes)};
}

static void fill_apply(struct bench_op *op, uint32_t count)
{
    op->request = (struct asd_request){.code = ASD_APPLY,
                                       .apply = {.updates = op->updates, .update_count = count}};
}

static void fill_set(struct bench_op *op)
{
    op->updates[0] = set_of(op, 0, op->bench->value_bytes);
    fill_apply(op, 1);
}

static void fill_fragment(struct bench_op *op)
{
    op->updates[0] = set_of(op, 0, op->bench->value_bytes);
    op->updates[1] = set_of(op, 1, SMALL_BYTES);
    op->updates[2] = set_of(op, 2, 0);
    fill_apply(op, KEYS_PER_FRAGMENT);
}

static void fill_delete(struct bench_op *op)
{
    for (unsigned i = 0; i < KEYS_PER_FRAGMENT; i++) {
        op->updates[i] = (struct asd_update){.key = key_at(op, i, op->index), .is_delete = true};
    }
    fill_apply(op, KEYS_PER_FRAGMENT);
}

/* Overwrites and deletes in turn, over a quarter of the keys. */
static void fill_churn(struct bench_op *op)
{
    uint64_t quarter = op->bench->runner.count / 4 + 1;

    op->index = rnd_below(&op->bench->runner.rnd, quarter < op->bench->runner.count ? quarter : 1);
    if (rnd_below(&op->bench->runner.rnd, 2) == 0) {
        fill_delete(op);
    } else {
        fill_set(op);
    }
}

static void fill_keys(struct bench_op *op, uint32_t code)
{
    op->key = key_at(op, 0, rnd_below(&op->bench->runner.rnd, op->bench->runner.count));
    op->request = (struct asd_request){.code = code, .keys = {.items = &op->key, .count = 1}};
}

static void fill_get(struct bench_op *op)
{
    fill_keys(op, ASD_MULTI_GET2);
}

static void fill_exists(struct bench_op *op)
{
    fill_keys(op, ASD_MULTI_EXISTS);
}

static void fill_range(struct bench_op *op)
{
    op->request = (struct asd_request){
        .code = ASD_RANGE,
        .range = {.first =
                      key_at(op, 0, rnd_below(&op->bench->runner.rnd, op->bench->runner.count)),
                  .first_included = true,
                  .max = RANGE_KEYS}};
}

static uint64_t slice_bytes(uint64_t value_bytes)
{
    return value_bytes < BENCH_SLICE_BYTES ? value_bytes : BENCH_SLICE_BYTES;
}

static void fill_partial(struct bench_op *op)
{
    struct bench *b = op->bench;
    uint32_t bytes = (uint32_t)slice_bytes(b->value_bytes);

    op->part = (struct asd_part){
        .offset = (uint32_t)rnd_below(&b->runner.rnd, b->value_bytes - bytes + 1), .bytes = bytes};
    op->request = (struct asd_request){
        .code = ASD_PARTIAL_GET,
        .partial = {.key = key_at(op, 0, rnd_below(&b->runner.rnd, b->runner.count)),
                    .parts = &op->part,
                    .part_count = 1}};
}

static void fill_version(struct bench_op *op)
{
    op->request = (struct asd_request){.code = ASD_GET_VERSION};
}

static uint64_t whole(uint64_t value_bytes)
{
    return value_bytes;
}

static const struct bench_scenario scenarios[] = {
    {.name = "sets", .writes = true, .bytes = whole, .fill = fill_set},
    {.name = "gets", .needs_values = true, .bytes = whole, .fill = fill_get},
    {.name = "deletes", .needs_values = true, .deletes = true, .fill = fill_delete},
    {.name = "upload_fragments", .writes = true, .bytes = whole, .fill = fill_fragment},
    {.name = "ranges", .needs_values = true, .fill = fill_range},
    {.name = "partial_reads", .needs_values = true, .bytes = slice_bytes, .fill = fill_partial},
    {.name = "get_version", .fill = fill_version},
    {.name = "exists", .needs_values = true, .fill = fill_exists},
    {.name = "churn", .needs_values = true, .writes = true, .deletes = true, .fill = fill_churn},
};

const struct bench_scenario *bench_scenario(const char *name)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

/* ---- one scenario ---- */

static void on_call(struct asd_call *call, int rc)
{
    struct bench_op *op = container_of(call, struct bench_op, call);
    struct bench *b = op->bench;

    gather_release(&op->g);
    buf_release(&op->call.failed_key);
    runner_ended(&b->runner, (unsigned)(op - b->ops), rc, &op->call.err);
}

static int send_op(void *ctx, unsigned place, uint64_t index, struct err *e)
{
    struct bench *b = ctx;
    struct bench_op *op = &b->ops[place];
    int rc;

    op->index = index;
    b->scenario->fill(op);
    asd_request_encode(&op->request, &op->g);
    rc = asd_client_call(b->link->client, &op->call, &op->g, CALL_TIMEOUT_MS, on_call);
    if (rc != 0) {
        gather_release(&op->g);
        return err_copy(e, &op->call.err);
    }
    return 0;
}

/* After Ctrl-C only that goes on which takes values away, and nothing that writes any. */
static bool cleans(const struct bench_scenario *scenario)
{
    return scenario->fill == fill_delete;
}

static int run_all(struct bench *b, const struct bench_scenario *scenario)
{
    b->scenario = scenario;
    return runner_run(&b->runner, scenario->name,
                      cleans(scenario)   ? RUNNER_CLEANS
                      : scenario->writes ? RUNNER_WRITES
                                         : RUNNER_READS);
}

void bench_init(struct bench *b, struct asd_link *link, uint64_t count, unsigned depth,
                uint32_t value_bytes)
{
    CHECK(depth <= BENCH_DEPTH_MAX);
    *b = (struct bench){
        .link = link,
        .value_bytes = value_bytes,
        .runner = {.loop = &link->s.loop,
                   .count = count,
                   .depth = depth,
                   .value_bytes = value_bytes > SMALL_BYTES ? value_bytes : SMALL_BYTES,
                   .send = send_op,
                   .ctx = b}};
    runner_init(&b->runner);
    b->ops = mem_array(depth, sizeof(*b->ops));
    for (unsigned i = 0; i < depth; i++) {
        b->ops[i].bench = b;
    }
}

int bench_run(struct bench *b, const struct bench_scenario *scenario, json_t *rows)
{
    int rc;

    if (b->runner.stop && !cleans(scenario)) {
        return 0;
    }
    if (scenario->needs_values && !b->values_there) {
        rc = bench_run(b, bench_scenario("sets"), NULL);
        if (rc != 0) {
            return rc;
        }
    }
    b->dirty = b->dirty || scenario->writes;
    rc = run_all(b, scenario);
    b->dirty = b->dirty && !(rc == 0 && cleans(scenario));
    b->values_there = scenario->deletes  ? false
                      : scenario->writes ? b->runner.ended == b->runner.count && rc == 0
                                         : b->values_there;
    if (rc != 0) {
        return asd_link_fail(b->link, &b->runner.err);
    }
    if (rows != NULL) {
        uint64_t each = scenario->bytes != NULL ? scenario->bytes(b->value_bytes) : 0;

        runner_row(&b->runner, scenario->name, each, rows);
    }
    return 0;
}

int bench_clean(struct bench *b)
{
    static const struct bench_scenario clean = {
        .name = "cleaning up", .deletes = true, .fill = fill_delete};

    if (!b->dirty) {
        return 0;
    }
    b->values_there = false;
    return run_all(b, &clean) == 0 ? 0 : asd_link_fail(b->link, &b->runner.err);
}

void bench_release(struct bench *b)
{
    runner_release(&b->runner);
    free(b->ops);
}
