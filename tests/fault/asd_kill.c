/* kill -9 of a real alba-asd under load, again and again: what was acknowledged is there bit by
 * bit, a transaction wholly or not at all, and index and slabs fit. ROUNDS=1000 for a long run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/inspect.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "fault/asd_fixture.h"
#include "lib/loop_fixture.h"
#include "lib/tempdir.h"
#include "loop/run.h"
#include "net/asd_client.h"
#include "unit/meta/asd_process.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/gather.h"

enum {
    WRITERS = 24,
    CALL_MS = 20000,
    ROUNDS_DEFAULT = 12,
    ROUNDS_TO_EMPTY_SLABS = 40, /* so many see every kind of round several times */
    BYTES_MAX = 60000,          /* on both sides of what is kept inline */
    DIRECT_BYTES_MAX = 200000,  /* of a quarter; from 64 KiB on past the page cache */
};

/* What a writer's two keys hold: the same transaction wrote both. */
struct version {
    uint64_t seq; /* 0: absent */
    uint32_t bytes;
};

struct world;

struct writer {
    struct world *world;
    unsigned number;
    struct version acked;
    struct version sent; /* acked, or in flight */
    bool busy;
    bool wrote; /* in this round */
    struct asd_call call;
    struct gather request;
    uint8_t *data;
    char keys[2][16];
};

struct world {
    struct loop_fixture base;
    struct asd_process asd;
    struct asd_client *client;
    struct writer writers[WRITERS];
    struct rnd rnd;
    bool stop;
    unsigned round;
    unsigned busy;
    unsigned acked;
    unsigned in_doubt;
    unsigned direct; /* of the acknowledged: values that go past the page cache */

    struct asd_inspection found; /* after the last kill */
    unsigned rolled;             /* slabs that were begun */
    unsigned dropped;            /* that held values, and are gone */
    unsigned emptied;            /* by moving what lived there */
};

/* ---- writing ---- */

static uint8_t *bytes_of(const struct writer *w, unsigned key, struct version v)
{
    return asd_fixture_bytes(v.seq * 1000 + w->number * 2 + key, v.bytes);
}

static bool is_delete(struct version v)
{
    return v.seq % 5 == 0;
}

static void write_next(struct writer *w);

static void on_write(struct asd_call *call, int rc)
{
    struct writer *w = container_of(call, struct writer, call);

    gather_release(&w->request);
    buf_release(&call->failed_key);
    free(w->data);
    w->data = NULL;
    w->busy = false;
    w->world->busy--;
    if (rc == 0) {
        w->acked = w->sent;
        w->world->acked++;
        w->world->direct += w->acked.bytes >= 65536 && !is_delete(w->acked);
        write_next(w);
    } else if (!call->maybe_executed) {
        w->sent = w->acked;
    } else {
        w->world->in_doubt++;
    }
}

/* A quarter writes once in eight rounds: their values stay alone in slabs, which are emptied. */
static bool is_silent(const struct writer *w)
{
    return w->number % 4 == 0 && (w->wrote || w->world->round % 8 != w->number / 4);
}

static uint32_t some_length(struct rnd *rnd)
{
    return (uint32_t)rnd_below(rnd, rnd_below(rnd, 4) == 0 ? DIRECT_BYTES_MAX : BYTES_MAX);
}

/* Every few writes a delete. */
static void write_next(struct writer *w)
{
    struct world *world = w->world;
    struct asd_update updates[2];
    struct asd_request request = {.code = ASD_APPLY,
                                  .apply = {.updates = updates, .update_count = 2}};

    if (world->stop || is_silent(w)) {
        return;
    }
    w->wrote = true;
    w->sent = (struct version){.seq = w->sent.seq + 1, .bytes = some_length(&world->rnd)};
    w->data = mem_alloc((size_t)2 * w->sent.bytes);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *data = bytes_of(w, i, w->sent);
        uint8_t *at = w->data + (size_t)i * w->sent.bytes;

        memcpy(at, data, w->sent.bytes);
        free(data);
        updates[i] = (struct asd_update){.key = slice_str(w->keys[i]),
                                         .value = slice_of(at, w->sent.bytes),
                                         .is_delete = is_delete(w->sent)};
    }
    asd_request_encode(&request, &w->request);
    w->busy = true;
    world->busy++;
    assert_int_equal(asd_client_call(world->client, &w->call, &w->request, CALL_MS, on_write), 0);
}

/* ---- comparing ---- */

struct reading {
    struct asd_call call;
    bool done;
    int rc;
    struct asd_value values[2];
    struct asd_reply reply;
    uint8_t *frame;
};

static void on_read(struct asd_call *call, int rc)
{
    struct reading *r = container_of(call, struct reading, call);
    struct err e;

    if (rc == 0) {
        rc = asd_reply_decode(call->reply, ASD_MULTI_GET, &r->reply, &e);
        r->frame = asd_call_detach_reply(call);
    }
    r->rc = rc;
    r->done = true;
}

static bool holds(const struct writer *w, const struct asd_reply *reply, struct version v)
{
    bool absent = is_delete(v); /* 0, too: never written */
    bool same = true;

    for (unsigned i = 0; i < 2 && same; i++) {
        const struct asd_value *found = &reply->values.items[i];
        uint8_t *data = absent ? NULL : bytes_of(w, i, v);

        same =
            found->found == !absent && (absent || slice_eq(found->value, slice_of(data, v.bytes)));
        free(data);
    }
    return same;
}

static void compare(struct world *world, struct writer *w)
{
    struct slice keys[2] = {slice_str(w->keys[0]), slice_str(w->keys[1])};
    struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = keys, .count = 2}};
    struct gather g = {0};
    struct reading r = {0};

    asd_request_encode(&request, &g);
    assert_int_equal(asd_client_call(world->client, &r.call, &g, CALL_MS, on_read), 0);
    loop_fixture_run_until(&world->base, &r.done);
    assert_int_equal(r.rc, 0);
    if (holds(w, &r.reply, w->sent)) {
        w->acked = w->sent;
    } else if (!holds(w, &r.reply, w->acked)) {
        fail_msg("writer %u: neither %llu nor %llu", w->number, (unsigned long long)w->acked.seq,
                 (unsigned long long)w->sent.seq);
    } else {
        w->sent = w->acked;
    }
    asd_reply_release(&r.reply);
    free(r.frame);
    gather_release(&g);
}

/* ---- rounds ---- */

static void on_client_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void connect_client(struct world *world)
{
    struct asd_client_options options = {.long_id = "killed"};
    struct err e;

    assert_int_equal(net_addr_tcp(&options.addr, "127.0.0.1", world->asd.port, &e), 0);
    world->client = asd_client_new(&world->base.loop, &options);
}

static void close_client(struct world *world)
{
    bool closed = false;

    asd_client_close(world->client, on_client_closed, &closed);
    loop_fixture_run_until(&world->base, &closed);
}

static const struct asd_inspected_slab *find_slab(const struct asd_inspection *in, uint64_t number)
{
    for (size_t i = 0; i < in->slab_count; i++) {
        if (in->slabs[i].number == number && in->slabs[i].has_file) {
            return &in->slabs[i];
        }
    }
    return NULL;
}

static void count_slabs(struct world *world, const struct asd_inspection *now)
{
    const struct asd_inspection *before = &world->found;

    for (size_t i = 0; i < now->slab_count; i++) {
        world->rolled += now->slabs[i].values > 0 && !find_slab(before, now->slabs[i].number);
    }
    for (size_t i = 0; i < before->slab_count; i++) {
        world->dropped += before->slabs[i].values > 0 && !find_slab(now, before->slabs[i].number);
    }
}

static void count_emptied(struct world *world)
{
    char *path = tempdir_path(world->asd.dir, "asd.log");
    char line[1024];
    FILE *log = fopen(path, "r");

    assert_non_null(log);
    while (fgets(line, sizeof(line), log) != NULL) {
        world->emptied += strstr(line, "slab emptied") != NULL;
    }
    fclose(log);
    free(path);
}

/* Whatever it was doing: nothing but what start-up settles, in every record and every byte. */
static void inspect_home(struct world *world)
{
    char *home = tempdir_path(world->asd.dir, "home");
    struct asd_inspect_options options = {.home = home, .verify = true};
    struct asd_inspection in;
    struct err e;

    if (asd_inspect(&options, &in, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    for (size_t i = 0; i < in.finding_count; i++) {
        if (in.findings[i].kind != ASD_FINDING_SETTLED) {
            fail_msg("%s", in.findings[i].text);
        }
    }
    assert_true(in.is_whole);
    count_slabs(world, &in);
    asd_inspection_release(&world->found);
    world->found = in;
    free(home);
}

/* Now and then long enough for ranges to be punched and slabs to be emptied. */
static uint64_t length_ms(struct world *world)
{
    return 20 + rnd_below(&world->rnd, world->round % 8 == 7 ? 2500 : 200);
}

static bool is_idle(void *ctx)
{
    return ((const struct world *)ctx)->busy == 0;
}

static void one_round(struct world *world)
{
    uint64_t ms = length_ms(world);

    asd_process_start(&world->asd, "killed");
    connect_client(world);
    for (unsigned i = 0; i < WRITERS; i++) {
        compare(world, &world->writers[i]);
    }
    world->stop = false;
    for (unsigned i = 0; i < WRITERS; i++) {
        world->writers[i].wrote = false;
        write_next(&world->writers[i]);
    }
    loop_fixture_run_ms(&world->base, ms);
    asd_process_kill(&world->asd);
    inspect_home(world);
    count_emptied(world);
    world->stop = true;
    loop_run_until_true(&world->base.loop, is_idle, world);
    close_client(world);
}

static void what_was_acknowledged_survives_every_kill(void **state)
{
    const char *text = getenv("ROUNDS");
    unsigned rounds = text != NULL ? (unsigned)strtoul(text, NULL, 10) : ROUNDS_DEFAULT;
    uint64_t seed = 0;
    struct world *world = mem_zalloc(sizeof(*world));

    (void)state;
    rnd_bytes(&seed, sizeof(seed));
    printf("seed %llu, %u rounds\n", (unsigned long long)seed, rounds);
    world->rnd = rnd_seed(seed);
    world->asd.slab_size = "1MiB";
    loop_fixture_init(&world->base);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *w = &world->writers[i];

        w->world = world;
        w->number = i;
        snprintf(w->keys[0], sizeof(w->keys[0]), "%u/a", i);
        snprintf(w->keys[1], sizeof(w->keys[1]), "%u/b", i);
    }
    for (; world->round <= rounds; world->round++) {
        one_round(world);
    }
    printf("%u acknowledged, %u of them past the page cache, %u in doubt\n", world->acked,
           world->direct, world->in_doubt);
    printf("%u slabs begun, %u gone, %u emptied by moving\n", world->rolled, world->dropped,
           world->emptied);
    assert_true(world->acked > rounds * 10);
    assert_true(world->direct > 0);
    if (rounds >= ROUNDS_TO_EMPTY_SLABS) {
        assert_true(world->rolled > 1 && world->dropped > 0 && world->emptied > 0);
    }
    asd_inspection_release(&world->found);
    asd_process_remove(&world->asd);
    loop_fixture_release(&world->base);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_every_kill),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
