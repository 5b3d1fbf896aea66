/* What ProxyStatistics tells, through the protocol: every field of WIRE 3.5. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sim/proxy_fixture.h"

enum { BYTES = 100000 };

static uint8_t data[BYTES];

/* The proxy caches what slices are read from, and "o" is there. */
static struct fixture *fixture_with_object(void)
{
    struct fixture *f = fixture_new(0);

    block_cache_init(&f->w->engine->blocks, 1 << 20);
    world_fill(f->w, data, sizeof(data));
    assert_int_equal(fixture_put(f, "o", data, sizeof(data)), PROXY_RC_OK);
    return f;
}

static int32_t read_slices(struct fixture *f, struct proxy_slice *slices, uint32_t count,
                           bool consistent)
{
    struct proxy_object_slices object = {
        .name = slice_str("o"), .slices = slices, .slice_count = count};
    struct proxy_request request = {.code = PROXY_READ_SLICES,
                                    .ns = fixture_ns(),
                                    .consistent_read = consistent,
                                    .reads = {.items = &object, .count = 1}};

    return fixture_simple(f, &request);
}

/* Of the fixture's namespace, all zero when it is not told; *ret_call holds the reply. */
static struct proxy_ns_stats ask(struct fixture *f, bool clear, struct call *ret_call)
{
    struct proxy_request request = {.code = PROXY_STATISTICS, .statistics = {.clear = clear}};
    struct proxy_ns_stats found = {0};

    assert_int_equal(fixture_call(f, &request, ret_call), PROXY_RC_OK);
    for (uint32_t i = 0; i < ret_call->reply.statistics.count; i++) {
        if (slice_eq(ret_call->reply.statistics.items[i].ns, fixture_ns())) {
            found = ret_call->reply.statistics.items[i];
        }
    }
    found.ns = (struct slice){0};
    return found;
}

static struct proxy_ns_stats stats_now(struct fixture *f)
{
    struct call call;
    struct proxy_ns_stats found = ask(f, false, &call);

    fixture_call_release(&call);
    return found;
}

static void assert_sum(const struct stat_sum *sum, int64_t n, double avg)
{
    assert_int_equal(sum->n, n);
    assert_true(n == 0 || sum->avg == avg);
}

/* A duration: more than nothing, less than the test. */
static void assert_time(const struct stat_sum *sum, int64_t n)
{
    assert_int_equal(sum->n, n);
    assert_true(sum->min > 0 && sum->max < 100 && sum->avg <= sum->max);
}

static void slices_are_told_with_their_bytes_and_objects(void **state)
{
    struct fixture *f = fixture_with_object();
    struct proxy_slice slices[] = {{.offset = 100, .bytes = 50}, {.offset = 9000, .bytes = 70}};
    struct proxy_slice none = {.offset = 5, .bytes = 0};
    struct proxy_ns_stats s;

    (void)state;
    assert_int_equal(read_slices(f, slices, 2, false), PROXY_RC_OK);
    assert_int_equal(read_slices(f, slices, 2, false), PROXY_RC_OK);
    assert_int_equal(read_slices(f, &none, 1, false), PROXY_RC_OK);
    s = stats_now(f);
    assert_sum(&s.partial_read_bytes, 2, 120);
    assert_sum(&s.partial_read_count, 2, 2);
    assert_sum(&s.partial_read_objects, 2, 1);
    assert_time(&s.partial_read_time, 2);
    assert_sum(&s.empty_partial_read_count, 1, 1);
    assert_sum(&s.empty_partial_read_objects, 1, 1);
    assert_time(&s.empty_partial_read_time, 1);
    assert_true(s.fragment_cache_misses >= 1 && s.fragment_cache_misses <= 2);
    assert_int_equal(s.fragment_cache_hits + s.fragment_cache_misses, 4); /* one for each slice */
    assert_int_equal(s.download.n, 0);
    fixture_free(f);
}

static void puts_gets_and_deletes_are_timed(void **state)
{
    struct fixture *f = fixture_with_object();
    struct slice name = slice_str("o");
    struct proxy_request get = {
        .code = PROXY_READ_OBJECTS, .ns = fixture_ns(), .names = {.items = &name, .count = 1}};
    struct proxy_request gone = {
        .code = PROXY_DELETE_OBJECT, .ns = fixture_ns(), .object = {.name = slice_str("o")}};
    struct proxy_ns_stats s;

    (void)state;
    assert_int_equal(fixture_simple(f, &get), PROXY_RC_OK);
    assert_int_equal(fixture_simple(f, &get), PROXY_RC_OK);
    assert_int_equal(fixture_simple(f, &gone), PROXY_RC_OK);
    s = stats_now(f);
    assert_time(&s.upload, 1);
    assert_time(&s.download, 2);
    assert_time(&s.object_delete, 1);
    assert_true(s.last_updated_s > (double)clock_wall_us() / 1e6 - 100);
    assert_int_equal(s.partial_read_time.n, 0);
    fixture_free(f);
}

/* An older manifest, whose fragments are gone. */
static void make_stale(struct fixture *f)
{
    struct world *w = f->w;
    struct manifest old;

    assert_true(world_manifest(w, "o", &old));
    assert_int_equal(fixture_put(f, "o", data, BYTES / 2), PROXY_RC_OK);
    world_make_stale(w, &old);
}

static void it_is_told_where_manifests_came_from(void **state)
{
    struct fixture *f = fixture_with_object();
    struct proxy_slice slice = {.offset = 100, .bytes = 50};
    struct proxy_ns_stats s;

    (void)state;
    assert_int_equal(read_slices(f, &slice, 1, false), PROXY_RC_OK); /* the put has left it */
    s = stats_now(f);
    assert_int_equal(s.manifest_cached, 1);
    assert_int_equal(s.manifest_from_nsm, 0);
    assert_int_equal(read_slices(f, &slice, 1, true), PROXY_RC_OK);
    manifest_cache_remove(&f->w->engine->manifests, f->w->ns_id, slice_str("o"));
    assert_int_equal(read_slices(f, &slice, 1, false), PROXY_RC_OK);
    s = stats_now(f);
    assert_int_equal(s.manifest_cached, 1);
    assert_int_equal(s.manifest_from_nsm, 2);
    assert_int_equal(s.manifest_stale, 0);
    make_stale(f);
    block_cache_remove_namespace(&f->w->engine->blocks, f->w->ns_id);
    assert_int_equal(read_slices(f, &slice, 1, false), PROXY_RC_OK);
    s = stats_now(f);
    assert_int_equal(s.manifest_cached, 2);
    assert_int_equal(s.manifest_from_nsm, 3); /* and read again */
    assert_int_equal(s.manifest_stale, 1);
    fixture_free(f);
}

static void clear_tells_once_more_and_begins_anew(void **state)
{
    struct fixture *f = fixture_with_object();
    double creation_s, period_s;
    struct call call;

    (void)state;
    assert_int_equal(ask(f, true, &call).upload.n, 1);
    creation_s = call.reply.statistics.creation_s;
    period_s = call.reply.statistics.period_s;
    assert_true(period_s > 0);
    fixture_call_release(&call);
    assert_int_equal(ask(f, false, &call).upload.n, 0);
    assert_int_equal(call.reply.statistics.count, 0);
    assert_true(call.reply.statistics.creation_s > creation_s);
    fixture_call_release(&call);
    fixture_free(f);
}

static void forget_drops_the_namespaces_it_names_and_no_other(void **state)
{
    struct fixture *f = fixture_with_object();
    struct slice forget[] = {slice_str("other"), slice_str("nonesuch")};
    struct proxy_request request = {.code = PROXY_STATISTICS,
                                    .statistics = {.forget = forget, .forget_count = 2}};
    struct slice name = slice_str("x");
    struct proxy_request get = {.code = PROXY_READ_OBJECTS,
                                .ns = slice_str("other"),
                                .names = {.items = &name, .count = 1}};
    struct call call;

    (void)state;
    world_create_namespace(f->w, "other");
    assert_int_equal(fixture_simple(f, &get), PROXY_RC_OK);
    assert_int_equal(ask(f, false, &call).upload.n, 1);
    assert_int_equal(call.reply.statistics.count, 2);
    fixture_call_release(&call);
    assert_int_equal(fixture_call(f, &request, &call), PROXY_RC_OK);
    assert_int_equal(call.reply.statistics.count, 1);
    assert_true(slice_eq(call.reply.statistics.items[0].ns, fixture_ns()));
    fixture_call_release(&call);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_told_with_their_bytes_and_objects),
        cmocka_unit_test(puts_gets_and_deletes_are_timed),
        cmocka_unit_test(it_is_told_where_manifests_came_from),
        cmocka_unit_test(clear_tells_once_more_and_begins_anew),
        cmocka_unit_test(forget_drops_the_namespaces_it_names_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
