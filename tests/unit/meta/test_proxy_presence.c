/* Records of proxies: kept fresh, swept when they stand still, by a clock that the test turns. */
#include "unit/meta/fixture.h"

#include "meta/proxy_presence.h"
#include "meta/registry_record.h"

enum { INTERVAL_MS = 5, TTL_MS = PROXY_RECORD_TTL_MS_MIN /* of records with less */ };

static uint64_t fake_ms;

static uint64_t fake_now(void)
{
    return fake_ms;
}

struct fixture {
    uv_loop_t loop;
    struct kv_mem_store *store;
    struct kv *kv[2];
    struct proxy_presence *presence[2];
    struct proxy_record *listed; /* by look() */
    size_t count, damaged;
    bool has_listed;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    fake_ms = 1000000;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = kv_mem_store_new(1);
    f->kv[0] = kv_mem_open(&f->loop, f->store);
    f->kv[1] = kv_mem_open(&f->loop, f->store);
    *state = f;
    return 0;
}

static void end(struct fixture *f, unsigned i)
{
    bool closed = false;

    if (f->presence[i] != NULL) {
        proxy_presence_close(f->presence[i], loop_set_true, &closed);
        loop_run_until(&f->loop, &closed);
        f->presence[i] = NULL;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    end(f, 0);
    end(f, 1);
    close_kv(f->kv[0]);
    close_kv(f->kv[1]);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    kv_mem_store_free(f->store);
    free(f->listed);
    free(f);
    return 0;
}

static void begin(struct fixture *f, unsigned i, const char *host)
{
    struct proxy_record self = {.started_us = 7};

    snprintf(self.host, sizeof(self.host), "%s", host != NULL ? host : "");
    proxy_record_add_endpoint(&self, "tcp://192.0.2.1:10000");
    proxy_record_add_endpoint(&self, "unix:///run/p.sock");
    f->presence[i] = proxy_presence_new(
        f->kv[i], &(struct proxy_presence_options){.self = host != NULL ? &self : NULL,
                                                   .interval_ms = INTERVAL_MS,
                                                   .now_ms = fake_now});
}

/* Let everybody have some turns at the present time. */
static void live(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        uv_sleep(INTERVAL_MS);
        for (int j = 0; j < 20; j++) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
    }
}

static void on_list(void *ctx, int rc, const struct err *e, const struct proxy_record *records,
                    size_t count, size_t damaged)
{
    struct fixture *f = ctx;

    (void)e;
    assert_int_equal(rc, 0);
    free(f->listed);
    f->listed = mem_dup(records, count * sizeof(*records));
    f->count = count;
    f->damaged = damaged;
    f->has_listed = true;
}

static size_t look(struct fixture *f)
{
    f->has_listed = false;
    proxy_records_list(f->kv[0], on_list, f);
    loop_run_until(&f->loop, &f->has_listed);
    return f->count;
}

/* The record of somebody who wrote it once and does no more. */
static void leave_record(struct fixture *f, const char *id, uint32_t ttl_ms)
{
    struct proxy_record record = {.ttl_ms = ttl_ms};
    struct buf value = {0};
    struct key key;

    proxy_record_put(&value, proxy_record_key(&key, id), &record);
    kv_mem_poke(f->store, slice_key(&key), slice_buf(&value));
    buf_release(&value);
}

static void a_record_reads_as_it_was_written(void **state)
{
    struct fixture *f = *state;

    begin(f, 0, "here");
    live(f);
    assert_int_equal(look(f), 1);
    assert_string_equal(f->listed[0].host, "here");
    assert_int_equal(f->listed[0].started_us, 7);
    assert_int_equal(f->listed[0].endpoint_count, 2);
    assert_string_equal(f->listed[0].endpoints[0], "tcp://192.0.2.1:10000");
    assert_string_equal(f->listed[0].endpoints[1], "unix:///run/p.sock");
    assert_int_equal(strlen(f->listed[0].id), RND_UUID_TEXT_BYTES - 1);
}

static void a_clean_end_takes_it_away(void **state)
{
    struct fixture *f = *state;

    begin(f, 0, "a");
    begin(f, 1, "b");
    live(f);
    assert_int_equal(look(f), 2);
    end(f, 1);
    assert_int_equal(look(f), 1);
    assert_string_equal(f->listed[0].host, "a");
}

static void who_moves_stays_and_who_stands_still_for_a_ttl_is_swept(void **state)
{
    struct fixture *f = *state;

    leave_record(f, "dead", TTL_MS);
    begin(f, 0, "a");
    begin(f, 1, "b");
    live(f);
    assert_int_equal(look(f), 3);
    fake_ms += TTL_MS - 1;
    live(f);
    assert_int_equal(look(f), 3);
    fake_ms += 1;
    live(f);
    assert_int_equal(look(f), 2);
    fake_ms += 100 * TTL_MS; /* both renewed since */
    live(f);
    assert_int_equal(look(f), 2);
}

static void an_agent_without_a_record_sweeps_as_well(void **state)
{
    struct fixture *f = *state;

    leave_record(f, "dead", TTL_MS);
    begin(f, 0, NULL);
    live(f);
    fake_ms += TTL_MS;
    live(f);
    assert_int_equal(look(f), 0);
}

static enum kv_mem_fate held(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_HELD;
}

static void who_was_frozen_is_swept_and_comes_back(void **state)
{
    struct fixture *f = *state;

    begin(f, 0, "a");
    begin(f, 1, "b");
    live(f);
    kv_mem_set_fate(f->kv[1], held, NULL);
    live(f);
    fake_ms += TTL_MS;
    live(f);
    assert_int_equal(look(f), 1);
    kv_mem_set_fate(f->kv[1], NULL, NULL);
    kv_mem_run_held(f->store); /* what it had sent arrives late */
    live(f);
    assert_int_equal(look(f), 2);
}

/* The sweep was decided, then the proxy moved: the assert fails. */
static void a_late_sweep_takes_nothing_that_moved(void **state)
{
    struct fixture *f = *state;

    leave_record(f, "slow", TTL_MS);
    begin(f, 0, NULL);
    live(f);
    kv_mem_set_fate(f->kv[0], held, NULL);
    fake_ms += TTL_MS;
    live(f);
    assert_int_equal(kv_mem_held_count(f->store), 1);
    leave_record(f, "slow", TTL_MS + 1); /* other bytes */
    kv_mem_set_fate(f->kv[0], NULL, NULL);
    kv_mem_run_held(f->store);
    live(f);
    assert_int_equal(look(f), 1);
}

static void a_damaged_record_hides_no_other_and_goes(void **state)
{
    struct fixture *f = *state;
    struct key key;

    leave_record(f, "d1", TTL_MS);
    kv_mem_poke(f->store, proxy_record_key(&key, "d2"), text("rubbish"));
    kv_mem_damage(f->store, proxy_record_key(&key, "d1"));
    begin(f, 0, "a");
    live(f);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->damaged, 2);
    fake_ms += PROXY_RECORD_TTL_MS_MAX;
    live(f);
    assert_int_equal(look(f), 1);
    assert_int_equal(f->damaged, 0);
}

static void our_own_damaged_record_is_written_anew(void **state)
{
    struct fixture *f = *state;
    struct key key;

    begin(f, 0, "a");
    live(f);
    assert_int_equal(look(f), 1);
    kv_mem_damage(f->store, proxy_record_key(&key, f->listed[0].id));
    assert_int_equal(look(f), 0);
    live(f);
    assert_int_equal(look(f), 1);
}

static void there_are_never_more_than_the_registry_takes(void **state)
{
    struct fixture *f = *state;
    struct key key;
    char id[16];

    for (int i = 0; i <= PROXY_RECORDS_MAX; i++) {
        snprintf(id, sizeof(id), "x%04d", i);
        leave_record(f, id, TTL_MS);
    }
    begin(f, 0, "a");             /* it writes once before it knows */
    for (int i = 0; i < 3; i++) { /* what does not fit into one look is seen later */
        live(f);
        live(f);
        fake_ms += TTL_MS;
    }
    live(f);
    live(f);
    assert_int_equal(kv_mem_count_prefix(f->store, reg_key(&key, REG_PROXY, "")), 1);
    assert_int_equal(look(f), 1);
    assert_string_equal(f->listed[0].host, "a");
}

static void a_registry_that_does_not_answer_is_asked_again(void **state)
{
    struct fixture *f = *state;

    kv_mem_fail_reads(f->kv[0], 3);
    begin(f, 0, "a");
    for (int i = 0; i < 4; i++) {
        live(f);
    }
    assert_int_equal(look(f), 1);
}

static void numbers_of_strangers_are_bounded(void **state)
{
    static const char json[] = "{\"ttl_ms\": 1, \"endpoints\": [\"tcp://x:1\", 7, "
                               "\"tcp://192.0.2.1:1\", \"tcp://192.0.2.1:1\"], \"host\": 3}";
    json_t *value_json = json_loads(json, 0, NULL);
    struct proxy_record record;
    struct buf value = {0};
    struct key key;
    struct err e;

    (void)state;
    value_make_json(&value, proxy_record_key(&key, "id"), value_json);
    assert_int_equal(proxy_record_open(slice_key(&key), slice_buf(&value), &record, &e), 0);
    assert_string_equal(record.id, "id");
    assert_int_equal(record.ttl_ms, PROXY_RECORD_TTL_MS_MIN);
    assert_int_equal(record.endpoint_count, 1);
    assert_string_equal(record.host, "");
    json_decref(value_json);
    buf_release(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_reads_as_it_was_written),
        TEST(a_clean_end_takes_it_away),
        TEST(who_moves_stays_and_who_stands_still_for_a_ttl_is_swept),
        TEST(an_agent_without_a_record_sweeps_as_well),
        TEST(who_was_frozen_is_swept_and_comes_back),
        TEST(a_late_sweep_takes_nothing_that_moved),
        TEST(a_damaged_record_hides_no_other_and_goes),
        TEST(our_own_damaged_record_is_written_anew),
        TEST(there_are_never_more_than_the_registry_takes),
        TEST(a_registry_that_does_not_answer_is_asked_again),
        TEST(numbers_of_strangers_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
