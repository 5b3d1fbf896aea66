/* Clients of several proxies race for a few names, with OSDs and commits that go wrong: is what
 * they saw the history of one object after the other? */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "lib/linear.h"
#include "loop/run.h"
#include "sim/proxy_world.h"

/* ---- the checker itself ---- */

static struct linear_op read_of(uint64_t called, uint64_t returned, uint32_t value)
{
    return (struct linear_op){
        .called = called, .returned = returned, .asserts = {{LINEAR_IS, value}}};
}

static struct linear_op write_of(uint64_t called, uint64_t returned, uint32_t value)
{
    return (struct linear_op){
        .called = called, .returned = returned, .writes = {true}, .values = {value}};
}

/* Number of transactions that block it; 0: linearizable. */
static size_t blocked(const struct linear_op *ops, size_t count)
{
    size_t indexes[LINEAR_OPS_MAX];
    size_t n;
    bool ok = linear_check(ops, count, indexes, &n);

    assert_true(ok == (n == 0));
    return n;
}

static void overlapping_reads_may_see_either_value_but_never_go_back(void **state)
{
    struct linear_op good[] = {write_of(1, 10, 7), read_of(2, 3, 0), read_of(4, 5, 7)};
    struct linear_op back[] = {write_of(1, 10, 7), read_of(2, 3, 7), read_of(4, 5, 0)};
    struct linear_op stale[] = {write_of(1, 2, 7), read_of(3, 4, 0)};

    (void)state;
    assert_int_equal(blocked(good, 3), 0);
    assert_int_not_equal(blocked(back, 3), 0);
    assert_int_equal(blocked(stale, 2), 1);
}

static void what_is_unknown_may_happen_late_or_never_but_only_once(void **state)
{
    struct linear_op ops[] = {write_of(1, 2, 7), read_of(3, 4, 0), read_of(5, 6, 7),
                              write_of(7, 8, 9), read_of(9, 10, 7)};

    (void)state;
    ops[0].outcome = LINEAR_UNKNOWN;
    assert_int_equal(blocked(ops, 1), 0);
    assert_int_equal(blocked(ops, 4), 0);
    assert_int_not_equal(blocked(ops, 5), 0); /* what a blind retry does */
}

static void what_is_unknown_does_not_happen_behind_its_deadline(void **state)
{
    struct linear_op ops[] = {write_of(1, 20, 7), read_of(3, 4, 0), write_of(6, 7, 9),
                              read_of(8, 9, 9), read_of(10, 11, 7)};

    (void)state;
    ops[0].outcome = LINEAR_UNKNOWN;
    assert_int_equal(blocked(ops, 5), 0);
    ops[0].until = 5;
    assert_int_equal(blocked(ops, 4), 0);
    assert_int_not_equal(blocked(ops, 5), 0);
    ops[0].outcome = LINEAR_DONE; /* nor when somebody is told so, later */
    assert_int_not_equal(blocked(ops, 5), 0);
    ops[4] = read_of(10, 11, 9);
    assert_int_equal(blocked(ops, 5), 0);
}

static void two_compare_and_swaps_of_one_value_do_not_both_succeed(void **state)
{
    struct linear_op ops[] = {write_of(1, 2, 7), write_of(3, 5, 8), write_of(4, 6, 9)};

    (void)state;
    ops[1].asserts[0] = ops[2].asserts[0] = (struct linear_assert){LINEAR_IS, 7};
    assert_int_not_equal(blocked(ops, 3), 0);
    ops[2].outcome = LINEAR_REFUSED;
    assert_int_equal(blocked(ops, 3), 0);
    ops[1].outcome = LINEAR_REFUSED; /* both refused: by whom? */
    assert_int_not_equal(blocked(ops, 3), 0);
}

/* ---- clients ---- */

enum {
    PROXIES = 2,
    CLIENTS = 5,
    OPS = 90, /* of a history */
    HISTORIES = 40,
    VALUES_MAX = 3 * OPS,
    OBJECT_BYTES_MAX = 12000,
    DEADLINE_MS = 1500,
    FROZEN_HISTORIES = 16,
    FROZEN_DEADLINE_MS = 120, /* of transactions where proxies are stopped now and then */
    FROZEN_MS = 3 * FROZEN_DEADLINE_MS
};

static const char *const names[LINEAR_NAMES] = {"a", "b", "c"};

struct proxy {
    struct kv *kv;
    struct registry *registry;
    struct engine *engine;
    uint64_t frozen_until_ms; /* 0: it is not */
};

struct race;

struct client {
    struct race *race;
    struct proxy *proxy; /* of the transaction under way */
    bool is_busy;
    bool is_waiting; /* takes its time while a proxy is stopped */
    bool is_read;
    struct linear_op *op;
    uint32_t seen[LINEAR_NAMES]; /* by its last read of that name */
    unsigned name;               /* that it reads */
    struct get_item item;
    struct proxy_apply apply;
    struct proxy_assert asserts[LINEAR_NAMES];
    struct proxy_update updates[LINEAR_NAMES];
    uint8_t data[LINEAR_NAMES][OBJECT_BYTES_MAX];
};

struct race {
    struct world *w;
    struct proxy proxies[PROXIES];
    struct client clients[CLIENTS];
    uint64_t clock;
    unsigned started, running, waiting;
    bool is_over;
    bool freezes; /* proxies are stopped now and then; nothing stays in the store's queue */
    unsigned frozen;
    struct proxy *by[OPS];     /* who was asked */
    uint64_t deadline_ms[OPS]; /* of transactions; 0: none */
    struct linear_op ops[OPS]; /* as started; without those that changed nothing for certain */
    bool is_void[OPS];
    uint32_t next_value;
    struct slice ids[VALUES_MAX]; /* owned; of values whose put succeeded */
    unsigned done, refused, unknown, failed;
};

static size_t value_bytes(uint32_t value)
{
    return 8 + (size_t)value * 2654435761u % (OBJECT_BYTES_MAX - 8);
}

static void value_fill(uint32_t value, uint8_t *ret_data)
{
    struct rnd rnd = rnd_seed(value);
    size_t bytes = value_bytes(value);

    memcpy(ret_data, &value, sizeof(value));
    for (size_t i = sizeof(value); i < bytes; i++) {
        ret_data[i] = (uint8_t)rnd_next(&rnd);
    }
}

/* Which value is it? All its bytes must be that value's. */
static uint32_t value_of(struct slice data)
{
    uint8_t expected[OBJECT_BYTES_MAX];
    uint32_t value;

    assert_true(data.len >= 8);
    memcpy(&value, data.data, sizeof(value));
    assert_true(value > 0 && value < VALUES_MAX);
    assert_int_equal(data.len, value_bytes(value));
    value_fill(value, expected);
    assert_memory_equal(data.data, expected, data.len);
    return value;
}

static void client_next(struct client *c);

static void client_end(struct client *c, enum linear_outcome outcome)
{
    struct race *race = c->race;

    c->op->returned = ++race->clock;
    c->op->outcome = outcome;
    c->is_busy = false;
    race->running--;
    client_next(c);
    race->is_over = race->running + race->waiting == 0;
}

static void void_op(struct client *c)
{
    c->race->failed++;
    c->race->is_void[c->op - c->race->ops] = true;
}

/* ---- reads ---- */

static void on_get(void *ctx, struct get *get, int rc)
{
    struct client *c = ctx;

    if (rc == 0) {
        c->seen[c->name] = value_of(get_data(get, 0));
    } else if (rc == ERR_NOT_FOUND) {
        c->seen[c->name] = 0;
    } else {
        void_op(c);
    }
    c->op->asserts[c->name] = (struct linear_assert){LINEAR_IS, c->seen[c->name]};
    get_free(get);
    client_end(c, LINEAR_DONE);
}

static void start_read(struct client *c)
{
    struct get_spec spec = {
        .ns = slice_str("ns"), .items = &c->item, .count = 1, .consistent = true};

    c->name = (unsigned)rnd_below(&c->race->w->rnd, LINEAR_NAMES);
    c->item = (struct get_item){.name = slice_str(names[c->name])};
    get_start(c->proxy->engine, &spec, on_get, c);
}

/* ---- transactions ---- */

static void keep_ids(struct client *c, struct sequence *sequence)
{
    size_t upload = 0;

    for (unsigned i = 0; i < c->apply.update_count; i++) {
        unsigned n = (unsigned)(c->updates[i].name.data[0] - 'a');

        if (c->updates[i].kind == PROXY_UPDATE_UPLOAD) {
            struct manifest *m = sequence_manifest(sequence, upload++);

            manifest_set(&c->race->ids[c->op->values[n]], m->object_id);
        }
    }
    assert_int_equal(upload, sequence_upload_count(sequence));
}

static void on_sequence(void *ctx, struct sequence *sequence, int rc)
{
    struct client *c = ctx;
    struct race *race = c->race;

    if (rc == 0) {
        keep_ids(c, sequence);
        race->done++;
        client_end(c, LINEAR_DONE);
    } else if (rc == ERR_ASSERT_FAILED) {
        struct slice name = sequence_failed_name(sequence);

        assert_int_equal(name.len, 1);
        c->op->refused_name = (unsigned)(name.data[0] - 'a');
        race->refused++;
        client_end(c, LINEAR_REFUSED);
    } else if (rc == ERR_IN_DOUBT) {
        race->unknown++;
        client_end(c, LINEAR_UNKNOWN);
    } else {
        void_op(c);
        client_end(c, LINEAR_DONE);
    }
}

/* That the name holds what the client saw last, or simply something. */
static void add_assert(struct client *c, unsigned n)
{
    struct race *race = c->race;
    struct proxy_assert *a = &c->asserts[c->apply.assert_count++];
    uint32_t value = c->seen[n];

    *a = (struct proxy_assert){.name = slice_str(names[n])};
    c->op->asserts[n] = (struct linear_assert){LINEAR_IS, value};
    if (rnd_below(&race->w->rnd, 8) == 0) {
        a->kind = PROXY_ASSERT_EXISTS;
        c->op->asserts[n].kind = LINEAR_EXISTS;
    } else if (value == 0) {
        a->kind = PROXY_ASSERT_ABSENT;
    } else if (race->ids[value].len > 0 && rnd_below(&race->w->rnd, 2) == 0) {
        a->kind = PROXY_ASSERT_HAS_ID;
        a->object_id = race->ids[value];
    } else {
        uint8_t data[OBJECT_BYTES_MAX];

        value_fill(value, data);
        a->kind = PROXY_ASSERT_HAS_CHECKSUM;
        a->checksum = checksum_crc32c(crc32c(0, data, value_bytes(value)));
    }
}

static void add_update(struct client *c, unsigned n)
{
    struct race *race = c->race;
    struct proxy_update *u = &c->updates[c->apply.update_count++];

    c->op->writes[n] = true;
    *u = (struct proxy_update){.kind = PROXY_UPDATE_DELETE, .name = slice_str(names[n])};
    if (rnd_below(&race->w->rnd, 4) != 0) {
        uint32_t value = race->next_value++;

        c->op->values[n] = value;
        value_fill(value, c->data[n]);
        u->kind = PROXY_UPDATE_UPLOAD;
        u->data = slice_of(c->data[n], value_bytes(value));
    }
}

static void start_transaction(struct client *c)
{
    struct rnd *rnd = &c->race->w->rnd;
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &c->apply};
    uint32_t deadline_ms = c->race->freezes ? FROZEN_DEADLINE_MS : DEADLINE_MS;

    c->apply = (struct proxy_apply){
        .asserts = c->asserts, .updates = c->updates, .deadline_ms = deadline_ms};
    for (unsigned n = 0; n < LINEAR_NAMES; n++) {
        if (rnd_below(rnd, 4) == 0) {
            add_assert(c, n);
        }
        if (rnd_below(rnd, 2) == 0) {
            add_update(c, n);
        }
    }
    sequence_start(c->proxy->engine, &spec, on_sequence, c);
    c->race->deadline_ms[c->op - c->race->ops] = clock_mono_ms() + deadline_ms;
}

/* ---- the race ---- */

/* What is called from now on comes behind transactions whose deadline is over, but for those that
 * are in the store's queue. */
static void note_deadlines(struct race *race)
{
    uint64_t now_ms = clock_mono_ms();

    for (unsigned i = 0; i < race->started && race->freezes; i++) {
        if (race->ops[i].until == 0 && race->deadline_ms[i] != 0 && now_ms > race->deadline_ms[i] &&
            kv_mem_unexecuted(race->by[i]->kv) == 0) {
            race->ops[i].until = race->clock;
        }
    }
}

static struct proxy *pick_proxy(struct race *race)
{
    unsigned first = (unsigned)rnd_below(&race->w->rnd, PROXIES);
    struct proxy *proxy = &race->proxies[first];

    return proxy->frozen_until_ms == 0 ? proxy : &race->proxies[(first + 1) % PROXIES];
}

static bool is_any_frozen(const struct race *race)
{
    for (unsigned i = 0; i < PROXIES; i++) {
        if (race->proxies[i].frozen_until_ms != 0) {
            return true;
        }
    }
    return false;
}

/* At most one of them is stopped. */
static void freeze_or_thaw(struct race *race)
{
    struct proxy *proxy = &race->proxies[rnd_below(&race->w->rnd, PROXIES)];

    for (unsigned i = 0; i < PROXIES; i++) {
        struct proxy *p = &race->proxies[i];

        if (p->frozen_until_ms != 0 && clock_mono_ms() >= p->frozen_until_ms) {
            p->frozen_until_ms = 0;
            kv_mem_freeze(p->kv, false);
        }
    }
    if (!is_any_frozen(race) && rnd_below(&race->w->rnd, 4) == 0) {
        race->frozen++;
        proxy->frozen_until_ms = clock_mono_ms() + FROZEN_MS;
        kv_mem_freeze(proxy->kv, true);
    }
}

static void client_start(struct client *c)
{
    struct race *race = c->race;

    c->op = &race->ops[race->started++];
    note_deadlines(race);
    *c->op = (struct linear_op){.called = ++race->clock};
    c->proxy = pick_proxy(race);
    race->by[c->op - race->ops] = c->proxy;
    c->is_busy = true;
    race->running++;
    /* While a proxy is stopped the others read: it goes on and finds the names as they were. */
    if (rnd_below(&race->w->rnd, 5) < (is_any_frozen(race) ? 5 : 2)) {
        start_read(c);
    } else {
        start_transaction(c);
    }
}

static void client_next(struct client *c)
{
    if (c->race->started == OPS) {
        return;
    }
    c->is_waiting = is_any_frozen(c->race);
    if (c->is_waiting) {
        c->race->waiting++;
    } else {
        client_start(c);
    }
}

static void wake_some(struct race *race)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &race->clients[i];

        if (c->is_waiting && rnd_below(&race->w->rnd, 4) == 0) {
            c->is_waiting = false;
            race->waiting--;
            if (race->started < OPS) {
                client_start(c);
            }
        }
    }
    race->is_over = race->running + race->waiting == 0;
}

static enum kv_mem_fate commit_fate(void *ctx, const struct kv_txn *txn)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY, KV_MEM_LATE};
    struct race *race = ctx;

    if (txn->update_count == 0 || rnd_below(&race->w->rnd, 6) != 0) {
        return KV_MEM_NORMAL;
    }
    return fates[rnd_below(&race->w->rnd, race->freezes ? 2 : 3)];
}

static enum fake_fate asd_fate(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP,  FAKE_DROP_AFTER, FAKE_HANG_LATE,
                                           FAKE_BUSY,  FAKE_DELAY, FAKE_GARBAGE,    FAKE_FULL};
    struct race *race = ctx;

    (void)asd;
    (void)request;
    return rnd_below(&race->w->rnd, 40) != 0 ? FAKE_NORMAL : fates[rnd_below(&race->w->rnd, 8)];
}

static void proxy_open(struct race *race, struct proxy *p)
{
    struct engine_options options = {.manifest_cache_bytes = 1 << 20,
                                     .index_cache_bytes = 1 << 20,
                                     .osd_timeout_ms = WORLD_HASTY_MS,
                                     .threads = 1};
    bool refreshed = false;

    p->kv = kv_mem_open(&race->w->base.loop, race->w->store);
    p->registry = registry_new(p->kv);
    registry_refresh(p->registry, world_registry_done, &refreshed);
    loop_fixture_run_until(&race->w->base, &refreshed);
    p->engine = engine_new(&race->w->base.loop, p->registry, &options);
    assert_non_null(p->engine);
    kv_mem_set_fate(p->kv, commit_fate, race);
}

static void proxy_close(struct race *race, struct proxy *p)
{
    bool engine = false, registry = false;

    kv_mem_set_fate(p->kv, NULL, NULL);
    kv_mem_freeze(p->kv, false);
    engine_close(p->engine, loop_set_true, &engine);
    loop_fixture_run_until(&race->w->base, &engine);
    registry_close(p->registry, loop_set_true, &registry);
    loop_fixture_run_until(&race->w->base, &registry);
}

static void run(struct race *race)
{
    struct world *w = race->w;

    for (unsigned i = 0; i < w->asd_count; i++) {
        w->asds[i]->delay_ms = 20;
        fake_asd_set_fate(w->asds[i], asd_fate, race);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        race->clients[i].race = race;
        client_next(&race->clients[i]);
    }
    while (!race->is_over) {
        loop_fixture_run_ms(&w->base, 1 + rnd_below(&w->rnd, 20));
        if (rnd_below(&w->rnd, 4) == 0) {
            kv_mem_run_late(w->store);
        }
        if (race->freezes) {
            freeze_or_thaw(race);
            wake_some(race);
        }
    }
}

static void print_blocked(const struct linear_op *ops, const size_t *indexes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &ops[indexes[i]];

        print_message("  %zu: %llu-%llu outcome %d (%u)", indexes[i],
                      (unsigned long long)op->called, (unsigned long long)op->returned,
                      (int)op->outcome, op->refused_name);
        for (unsigned n = 0; n < LINEAR_NAMES; n++) {
            print_message(" %s: assert %d %u, write %d %u;", names[n], (int)op->asserts[n].kind,
                          op->asserts[n].value, op->writes[n], op->values[n]);
        }
        print_message("\n");
    }
}

static void judge(struct race *race)
{
    struct linear_op ops[OPS];
    size_t indexes[LINEAR_OPS_MAX];
    size_t count = 0, blocking;

    for (unsigned i = 0; i < OPS; i++) {
        if (!race->is_void[i]) {
            ops[count++] = race->ops[i];
        }
    }
    if (!linear_check(ops, count, indexes, &blocking)) {
        print_message("no order explains these %zu; it ends at one of\n", count);
        for (size_t i = 0; i < count; i++) {
            print_blocked(ops, &i, 1);
        }
        print_message("blocked:\n");
        print_blocked(ops, indexes, blocking);
        fail();
    }
}

static void one_history(uint64_t seed, bool freezes, unsigned totals[5])
{
    struct race *race = mem_zalloc(sizeof(*race));

    race->w = world_new_of(seed, 8, 4, WORLD_PRESET("[[4,2,5,2],[4,2,4,2]]", 4096, "lz4"));
    kv_mem_store_jitter(race->w->store, 6);
    race->next_value = 1;
    race->freezes = freezes;
    for (unsigned i = 0; i < PROXIES; i++) {
        proxy_open(race, &race->proxies[i]);
    }
    run(race);
    judge(race);
    totals[0] += race->done;
    totals[1] += race->refused;
    totals[2] += race->unknown;
    totals[3] += race->failed;
    totals[4] += race->frozen;
    for (unsigned i = 0; i < PROXIES; i++) {
        proxy_close(race, &race->proxies[i]);
    }
    for (unsigned i = 0; i < VALUES_MAX; i++) {
        manifest_set(&race->ids[i], slice_of(NULL, 0));
    }
    world_free(race->w);
    free(race);
}

static void what_racing_clients_see_is_the_history_of_one_transaction_after_the_other(void **state)
{
    uint64_t seed = world_seed();
    unsigned totals[5] = {0};

    (void)state;
    for (unsigned i = 0; i < HISTORIES; i++) {
        one_history(seed + i, false, totals);
    }
    print_message("%u transactions done, %u refused, %u unknown; %u of all failed\n", totals[0],
                  totals[1], totals[2], totals[3]);
    assert_true(totals[0] > HISTORIES * OPS / 6);
    assert_true(totals[1] > 0 && totals[2] > 0);
}

/* A proxy that was stopped goes on where it was, when others have long done something else. */
static void what_a_stopped_proxy_had_begun_does_not_happen_behind_its_deadline(void **state)
{
    uint64_t seed = world_seed();
    unsigned totals[5] = {0};

    (void)state;
    for (unsigned i = 0; i < FROZEN_HISTORIES; i++) {
        one_history(seed + i, true, totals);
    }
    print_message("%u transactions done, %u refused, %u unknown; %u of all failed; %u stops\n",
                  totals[0], totals[1], totals[2], totals[3], totals[4]);
    assert_true(totals[0] > FROZEN_HISTORIES * OPS / 10);
    assert_true(totals[4] >= FROZEN_HISTORIES / 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlapping_reads_may_see_either_value_but_never_go_back),
        cmocka_unit_test(what_is_unknown_may_happen_late_or_never_but_only_once),
        cmocka_unit_test(what_is_unknown_does_not_happen_behind_its_deadline),
        cmocka_unit_test(two_compare_and_swaps_of_one_value_do_not_both_succeed),
        cmocka_unit_test(what_racing_clients_see_is_the_history_of_one_transaction_after_the_other),
        cmocka_unit_test(what_a_stopped_proxy_had_begun_does_not_happen_behind_its_deadline),
    };

    return cmocka_run_group_tests_name("linear", tests, NULL, NULL);
}
