/* Reads: many keys, parts, ranges, verification; and that damage is never given out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "fault/asd_fixture.h"
#include "loop/run.h"

enum { LARGE = 50000 };

static uint8_t *large;

static int setup(void **state)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, false, 7);
    f->options.slab_bytes = 4 << 20;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

struct wait {
    bool done;
    int rc;
};

static struct wait waited;

static void on_read(struct asd_store_op *op, int rc)
{
    (void)op;
    waited = (struct wait){.done = true, .rc = rc};
}

static int wait_read(struct asd_fixture *f, int submit_rc)
{
    if (submit_rc != 0) {
        return submit_rc;
    }
    waited.done = false;
    loop_fixture_run_until(&f->base, &waited.done);
    return waited.rc;
}

/* ---- many keys ---- */

static void many_keys_are_answered_in_order_with_their_checksums(void **state)
{
    struct asd_fixture *f = *state;
    struct checksum sha1 = {.algo = CHECKSUM_SHA1, .sha1 = "nineteen characters"};
    struct asd_update updates[] = {
        {.key = slice_str("a"), .value = slice_str("A"), .checksum = checksum_crc32c(5)},
        {.key = slice_str("l"), .value = slice_of(large, LARGE), .checksum = sha1}};
    struct asd_apply what = {.updates = updates, .update_count = 2};
    struct slice keys[] = {slice_str("l"), slice_str("none"), slice_str("a"), slice_str("l"),
                           slice_str("")};
    struct asd_store_get get;

    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, 5, 0, on_read)), 0);
    assert_int_equal(get.values[0].rc, 0);
    assert_int_equal(get.values[0].bytes, LARGE);
    assert_memory_equal(get.values[0].data, large, LARGE);
    assert_true(checksum_eq(&get.values[0].checksum, &sha1));
    assert_int_equal(get.values[1].rc, ERR_NOT_FOUND);
    assert_int_equal(get.values[2].rc, 0);
    assert_int_equal(get.values[2].checksum.crc32c, 5);
    assert_memory_equal(get.values[3].data, large, LARGE);
    assert_int_equal(get.values[4].rc, ERR_NOT_FOUND);
    asd_store_get_release(&get);

    assert_int_equal(wait_read(f, asd_store_exists(f->front, &get, keys, 5, 0, on_read)), 0);
    assert_true(get.exists[0] && !get.exists[1] && get.exists[2] && get.exists[3]);
    assert_false(get.exists[4]);
    asd_store_get_release(&get);
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, 0, 0, on_read)), 0);
    asd_store_get_release(&get);
}

static void more_bytes_than_a_reply_may_hold_are_refused_before_they_are_read(void **state)
{
    enum { N = 2000 };
    struct asd_fixture *f = *state;
    struct slice keys[N];
    struct asd_store_get get;

    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    for (unsigned i = 0; i < N; i++) {
        keys[i] = slice_str("l");
    }
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, N, 0, on_read)),
                     ERR_TOO_LARGE);
    assert_null(get.values);
    asd_store_get_release(&get);
}

static void the_longest_value_that_can_be_set_can_be_got(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *bytes = mem_zalloc(ASD_STORE_VALUE_BYTES_MAX + 1);
    uint8_t *data = NULL;
    uint32_t got = 0;

    bytes[ASD_STORE_VALUE_BYTES_MAX - 1] = 1;
    assert_int_equal(asd_fixture_set(f, "k", bytes, ASD_STORE_VALUE_BYTES_MAX + 1), ERR_TOO_LARGE);
    assert_int_equal(asd_fixture_set(f, "k", bytes, ASD_STORE_VALUE_BYTES_MAX), 0);
    assert_int_equal(asd_fixture_get(f, slice_str("k"), &data, &got), 0);
    assert_int_equal(got, ASD_STORE_VALUE_BYTES_MAX);
    assert_int_equal(memcmp(data, bytes, got), 0);
    free(data);
    free(bytes);
}

/* Everything is in memory: no thread, but the callback still comes later. */
static void small_values_in_memory_are_read_on_the_loop(void **state)
{
    struct asd_fixture *f = *state;
    struct slice keys[] = {slice_str("s"), slice_str("none")};
    struct slice both[] = {slice_str("s"), slice_str("l")};
    struct asd_store_get get;

    assert_int_equal(asd_fixture_set(f, "s", large, 4096), 0);
    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    waited.done = false;
    assert_int_equal(asd_store_get(f->front, &get, keys, 2, 0, on_read), 0);
    assert_false(waited.done);
    loop_fixture_run_until(&f->base, &waited.done);
    assert_int_equal(waited.rc, 0);
    assert_memory_equal(get.values[0].data, large, 4096);
    assert_int_equal(get.values[1].rc, ERR_NOT_FOUND);
    asd_store_get_release(&get);
    assert_int_equal(asd_store_stats(f->store).reads_hot, 1);
    assert_int_equal(asd_store_stats(f->store).reads, 1);

    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, both, 2, 0, on_read)), 0);
    assert_memory_equal(get.values[1].data, large, LARGE);
    asd_store_get_release(&get);
    assert_int_equal(asd_store_stats(f->store).reads_hot, 1);
    assert_int_equal(asd_store_stats(f->store).reads, 2);
}

static void on_read_release(struct asd_store_op *op, int rc)
{
    on_read(op, rc);
    asd_store_get_release(container_of(op, struct asd_store_get, op));
}

static void a_read_that_is_done_is_answered_though_the_store_closes(void **state)
{
    struct asd_fixture *f = *state;
    struct slice key = slice_str("s");
    struct asd_store_get get;

    assert_int_equal(asd_fixture_set(f, "s", large, 100), 0);
    waited.done = false;
    assert_int_equal(asd_store_get(f->front, &get, &key, 1, 0, on_read_release), 0);
    asd_fixture_close(f);
    assert_true(waited.done);
    assert_int_equal(waited.rc, 0);
}

/* The values fit into a frame, what the reply puts around them does not. */
static void a_reply_counts_with_all_that_is_around_its_values(void **state)
{
    enum { N = ASD_STORE_ITEMS_MAX, BYTES = ASD_FRAME_BYTES_MAX / N };
    struct asd_fixture *f = *state;
    struct slice *keys = mem_array(N, sizeof(*keys));
    struct asd_store_get get;

    assert_int_equal(asd_fixture_set(f, "s", large, BYTES - 20), 0);
    for (unsigned i = 0; i < N; i++) {
        keys[i] = slice_str("s");
    }
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, N, 0, on_read)),
                     ERR_TOO_LARGE);
    assert_non_null(strstr(get.op.err.msg, "at most"));
    asd_store_get_release(&get);
    free(keys);
}

static void more_keys_or_parts_than_a_request_may_have_are_refused_at_once(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_store_partial partial;
    struct asd_store_get get;
    uint32_t n = ASD_STORE_ITEMS_MAX + 1; /* of nothing: they are not looked at */

    assert_int_equal(asd_store_get(f->front, &get, NULL, n, 0, on_read), ERR_TOO_LARGE);
    assert_int_equal(asd_store_exists(f->front, &get, NULL, n, 0, on_read), ERR_TOO_LARGE);
    assert_int_equal(asd_store_partial(f->front, &partial, slice_str("k"), NULL, n, 0, on_read),
                     ERR_TOO_LARGE);
}

static void keys_longer_than_any_there_is_are_refused_at_once(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *bytes = mem_zalloc(ASD_STORE_KEY_BYTES_MAX + 1);
    struct slice longest = slice_of(bytes, ASD_STORE_KEY_BYTES_MAX);
    struct slice longer = slice_of(bytes, ASD_STORE_KEY_BYTES_MAX + 1);
    struct slice keys[] = {longest, longer};
    struct asd_range first = {.first = longer, .max = -1};
    struct asd_range last = {.last = longer, .has_last = true, .max = -1};
    struct asd_range within = {.first = longest, .last = longest, .has_last = true, .max = -1};
    struct asd_part part = {0, 1};
    struct asd_store_partial partial;
    struct asd_store_range range;
    struct asd_store_get get;

    assert_int_equal(asd_store_get(f->front, &get, keys, 2, 0, on_read), ERR_TOO_LARGE);
    assert_int_equal(asd_store_exists(f->front, &get, keys, 2, 0, on_read), ERR_TOO_LARGE);
    assert_int_equal(asd_store_partial(f->front, &partial, longer, &part, 1, 0, on_read),
                     ERR_TOO_LARGE);
    for (unsigned kind = ASD_STORE_KEYS; kind <= ASD_STORE_VERIFY; kind++) {
        assert_int_equal(asd_store_range(f->front, &range, &first, kind, 0, on_read),
                         ERR_TOO_LARGE);
        assert_int_equal(asd_store_range(f->front, &range, &last, kind, 0, on_read), ERR_TOO_LARGE);
        assert_int_equal(asd_fixture_range(f, &range, &within, kind), 0);
        asd_store_range_release(&range);
    }
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, 1, 0, on_read)), 0);
    assert_int_equal(get.values[0].rc, ERR_NOT_FOUND);
    asd_store_get_release(&get);
    assert_int_equal(wait_read(f, asd_store_exists(f->front, &get, keys, 1, 0, on_read)), 0);
    assert_false(get.exists[0]);
    asd_store_get_release(&get);
    assert_int_equal(
        wait_read(f, asd_store_partial(f->front, &partial, longest, &part, 1, 0, on_read)),
        ERR_NOT_FOUND);
    free(bytes);
}

/* ---- parts ---- */

static int read_parts(struct asd_fixture *f, const char *key, const struct asd_part *parts,
                      uint32_t count, struct asd_store_partial *p)
{
    return wait_read(f, asd_store_partial(f->front, p, slice_str(key), parts, count, 0, on_read));
}

static void parts_come_in_the_order_asked_for(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_part parts[] = {{40000, 3}, {0, 4096}, {LARGE - 1, 1}, {17, 0}, {4095, 2}};
    static const size_t small_bytes = 100;
    struct asd_part small_parts[] = {{99, 1}, {0, 100}};
    struct asd_store_partial p;

    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "s", large, small_bytes), 0);
    assert_int_equal(read_parts(f, "l", parts, 5, &p), 0);
    assert_int_equal(p.data_bytes, 3 + 4096 + 1 + 2);
    assert_memory_equal(p.data, large + 40000, 3);
    assert_memory_equal(p.data + 3, large, 4096);
    assert_memory_equal(p.data + 4099, large + LARGE - 1, 1);
    assert_memory_equal(p.data + 4100, large + 4095, 2);
    asd_store_partial_release(&p);
    assert_int_equal(read_parts(f, "s", small_parts, 2, &p), 0);
    assert_memory_equal(p.data, large + 99, 1);
    assert_memory_equal(p.data + 1, large, 100);
    asd_store_partial_release(&p);
}

/* A store on a real disk, with io_uring where there is one. */
static struct asd_fixture *ring_fixture(void)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));

    asd_fixture_init(f, true, 7);
    f->options.slab_bytes = 4 << 20;
    f->options.ring_depth = 8;
    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
    return f;
}

struct ring_part {
    struct asd_store_partial partial;
    struct asd_part parts[3];
    unsigned answered;
    bool done;
    int rc;
};

static void on_ring_part(struct asd_store_op *op, int rc)
{
    struct ring_part *r = container_of(op, struct ring_part, partial.op);

    r->answered++;
    r->done = true;
    r->rc = rc;
}

static void begin_part(struct asd_fixture *f, struct ring_part *r, uint32_t offset, uint8_t prio)
{
    const struct asd_reader reader = {.prio = prio};

    *r = (struct ring_part){.parts = {{offset, 1000}, {0, 1}, {offset / 2, 2000}}};
    assert_int_equal(asd_store_partial(f->front, &r->partial, slice_str("l"), r->parts, 3, &reader,
                                       on_ring_part),
                     0);
    assert_int_equal(r->answered, 0); /* never from inside */
}

static void expect_part(const struct ring_part *r)
{
    assert_int_equal(r->answered, 1);
    assert_int_equal(r->rc, 0);
    assert_int_equal(r->partial.data_bytes, 3001);
    assert_memory_equal(r->partial.data, large + r->parts[0].offset, 1000);
    assert_int_equal(r->partial.data[1000], large[0]);
    assert_memory_equal(r->partial.data + 1001, large + r->parts[2].offset, 2000);
}

static bool all_answered(void *ctx)
{
    const struct ring_part *reads = ctx;
    bool all = true;

    for (unsigned i = 0; i < 20; i++) {
        all = all && reads[i].answered != 0;
    }
    return all;
}

static void parts_of_values_in_slabs_are_read_without_a_thread(void **state)
{
    struct asd_fixture *f = ring_fixture();
    struct ring_part reads[20];
    uint64_t hot;

    (void)state;
    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    hot = asd_store_stats(f->store).reads_hot;
    for (unsigned i = 0; i < 20; i++) {
        begin_part(f, &reads[i], i * 2000, i % 2 != 0 ? ASD_PRIO_LOW : ASD_PRIO_HIGH);
    }
    loop_run_until_true(&f->base.loop, all_answered, reads);
    for (unsigned i = 0; i < 20; i++) {
        expect_part(&reads[i]);
        asd_store_partial_release(&reads[i].partial);
    }
    hot = asd_store_stats(f->store).reads_hot - hot;
    assert_int_equal(hot, asd_fixture_has_ring(f) ? 20 : 0);
    asd_fixture_release(f);
    free(f);
}

/* What the ring could not read whole is asked for again in the pool, which has the words. */
static void a_part_of_a_file_that_was_cut_is_an_error_for_its_key(void **state)
{
    struct asd_fixture *f = ring_fixture();
    struct ring_part r;
    char *path;

    (void)state;
    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    path = mem_printf("%s/slabs/%016x", f->dir, 0);
    assert_int_equal(truncate(path, ASD_SLAB_HEADER_BYTES + LARGE / 2), 0);
    begin_part(f, &r, LARGE - 3000, ASD_PRIO_HIGH);
    loop_run_until(&f->base.loop, &r.done);
    assert_int_equal(r.rc, ERR_CORRUPT);
    assert_non_null(strstr(r.partial.op.err.msg, "slab 0: read of 1000 bytes"));
    assert_int_equal(asd_store_stats(f->store).bad_values, 1);
    asd_store_partial_release(&r.partial);
    begin_part(f, &r, 100, ASD_PRIO_HIGH); /* the rest is there */
    loop_run_until(&f->base.loop, &r.done);
    expect_part(&r);
    asd_store_partial_release(&r.partial);
    free(path);
    asd_fixture_release(f);
    free(f);
}

static void on_ring_part_release(struct asd_store_op *op, int rc)
{
    struct ring_part *r = container_of(op, struct ring_part, partial.op);

    on_ring_part(op, rc);
    asd_store_partial_release(&r->partial);
}

static void parts_under_way_are_answered_once_though_the_store_closes(void **state)
{
    struct asd_fixture *f = ring_fixture();
    struct ring_part reads[20] = {0};

    (void)state;
    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    for (unsigned i = 0; i < 20; i++) {
        reads[i].parts[0] = (struct asd_part){i * 1000, 3000};
        assert_int_equal(asd_store_partial(f->front, &reads[i].partial, slice_str("l"),
                                           reads[i].parts, 1, 0, on_ring_part_release),
                         0);
        if (i == 9) {
            uv_run(&f->base.loop, UV_RUN_NOWAIT); /* these are with the kernel */
        }
    }
    asd_fixture_close(f);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(reads[i].answered, 1);
        assert_true(reads[i].rc == 0 || reads[i].rc == ERR_CANCELED);
    }
    asd_fixture_release(f);
    free(f);
}

static void parts_beyond_the_value_or_of_no_value_are_refused(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_part beyond[] = {{0, 1}, {LARGE - 1, 2}};
    struct asd_part wraps = {UINT32_MAX, 2};
    struct asd_part many[3] = {{0, UINT32_MAX}, {0, UINT32_MAX}, {0, UINT32_MAX}};
    struct asd_store_partial p;

    assert_int_equal(asd_fixture_set(f, "l", large, LARGE), 0);
    assert_int_equal(read_parts(f, "l", beyond, 2, &p), -ERANGE);
    assert_null(p.data);
    assert_int_equal(read_parts(f, "l", &wraps, 1, &p), -ERANGE);
    assert_int_equal(read_parts(f, "l", many, 3, &p), ERR_TOO_LARGE);
    assert_int_equal(read_parts(f, "none", beyond, 1, &p), ERR_NOT_FOUND);
}

/* ---- ranges ---- */

enum { RANGE_KEYS = 12 };
static const char *const range_keys[RANGE_KEYS] = {"a",  "aa",        "ab", "b", "b\x01", "c",
                                                   "ca", "c\xff\xff", "d",  "e", "f",     "ff"};

static bool in_range(const struct asd_range *r, struct slice key)
{
    int first = slice_cmp(key, r->first) * (r->reverse ? -1 : 1);
    int last = r->has_last ? slice_cmp(key, r->last) * (r->reverse ? -1 : 1) : -1;

    return (first > 0 || (first == 0 && r->first_included)) &&
           (last < 0 || (last == 0 && r->last_included));
}

static void expect_keys(struct asd_fixture *f, const struct asd_range *r)
{
    struct asd_store_range got;
    uint32_t n = 0;
    uint32_t max = r->max < 0 ? 200 : (uint32_t)r->max;

    assert_int_equal(asd_fixture_range(f, &got, r, ASD_STORE_KEYS), 0);
    for (unsigned i = 0; i < RANGE_KEYS; i++) {
        struct slice key = slice_str(range_keys[r->reverse ? RANGE_KEYS - 1 - i : i]);

        if (!in_range(r, key)) {
            continue;
        }
        if (n < max) {
            assert_true(n < got.entry_count);
            assert_true(slice_eq(got.entries[n].key, key));
        } else if (n == max) {
            assert_true(got.more);
            assert_true(slice_eq(got.next, key));
        }
        n++;
    }
    assert_int_equal(got.entry_count, n < max ? n : max);
    assert_int_equal(got.more, n > max);
    asd_store_range_release(&got);
}

static void ranges_of_every_kind_agree_with_a_list(void **state)
{
    static const char *const bounds[] = {"", "a", "ab", "b", "bb", "c\xff\xff", "ff", "z"};
    struct asd_fixture *f = *state;
    struct rnd rnd = rnd_seed(5);

    for (unsigned i = 0; i < RANGE_KEYS; i++) {
        assert_int_equal(asd_fixture_set(f, range_keys[i], "v", 1), 0);
    }
    for (unsigned i = 0; i < 1500; i++) {
        struct asd_range r = {.first = slice_str(bounds[rnd_below(&rnd, 8)]),
                              .last = slice_str(bounds[rnd_below(&rnd, 8)]),
                              .max = (int32_t)rnd_below(&rnd, 14) - 1,
                              .first_included = rnd_below(&rnd, 2) != 0,
                              .has_last = rnd_below(&rnd, 3) != 0,
                              .last_included = rnd_below(&rnd, 2) != 0,
                              .reverse = rnd_below(&rnd, 2) != 0};

        expect_keys(f, &r);
    }
}

static void a_range_gives_at_most_200_keys(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = 100000};
    struct asd_update *updates = mem_array(201, sizeof(*updates));
    char(*names)[8] = mem_array(201, sizeof(*names));
    struct asd_apply what = {.updates = updates, .update_count = 201};
    struct asd_store_range got;

    for (unsigned i = 0; i < 201; i++) {
        snprintf(names[i], sizeof(names[i]), "%03u", i);
        updates[i] = (struct asd_update){.key = slice_str(names[i])};
    }
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_int_equal(asd_fixture_range(f, &got, &all, ASD_STORE_KEYS), 0);
    assert_int_equal(got.entry_count, 200);
    assert_true(got.more);
    assert_true(slice_eq(got.next, slice_str("200")));
    asd_store_range_release(&got);
    free(updates);
    free(names);
}

static void a_range_of_entries_stops_before_it_gets_too_long(void **state)
{
    enum { N = 12, BYTES = 1 << 20 };
    struct asd_fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1};
    uint8_t *data = asd_fixture_bytes(9, BYTES);
    struct asd_store_range got;
    char key[8];

    for (unsigned i = 0; i < N; i++) {
        snprintf(key, sizeof(key), "%02u", i);
        assert_int_equal(asd_fixture_set(f, key, data, BYTES), 0);
    }
    assert_int_equal(asd_fixture_range(f, &got, &all, ASD_STORE_ENTRIES), 0);
    assert_int_equal(got.entry_count, ASD_STORE_ENTRIES_BYTES_MAX / BYTES - 1); /* and keys */
    assert_true(got.more);
    snprintf(key, sizeof(key), "%02u", got.entry_count);
    assert_true(slice_eq(got.next, slice_str(key)));
    for (uint32_t i = 0; i < got.entry_count; i++) {
        assert_int_equal(got.entries[i].value.rc, 0);
        assert_memory_equal(got.entries[i].value.data, data, BYTES);
    }
    asd_store_range_release(&got);
    free(data);
}

/* Long keys of empty values behind a long value would make a frame that no peer takes. */
static void keys_count_in_a_range_of_entries(void **state)
{
    enum { N = 5, BYTES = ASD_STORE_ENTRIES_BYTES_MAX + 1, KEY_BYTES = 60000 };
    struct asd_fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1};
    uint8_t *data = asd_fixture_bytes(9, BYTES);
    struct asd_store_range got;
    char *key = mem_zalloc(KEY_BYTES + 1);

    memset(key, 'k', KEY_BYTES);
    assert_int_equal(asd_fixture_set(f, "a", data, BYTES), 0);
    for (unsigned i = 0; i < N; i++) {
        key[KEY_BYTES - 1] = (char)('0' + i);
        assert_int_equal(asd_fixture_set(f, key, data, 0), 0);
    }
    assert_int_equal(asd_fixture_range(f, &got, &all, ASD_STORE_ENTRIES), 0);
    assert_int_equal(got.entry_count, 1);
    assert_true(got.more);
    key[KEY_BYTES - 1] = '0';
    assert_true(slice_eq(got.next, slice_str(key)));
    asd_store_range_release(&got);
    free(key);
    free(data);
}

/* ---- damage ---- */

static void flipped_bytes_in_a_slab_are_an_error_for_that_key_only(void **state)
{
    struct asd_fixture *f = *state;
    struct slice keys[] = {slice_str("bad"), slice_str("good")};
    struct asd_store_get get;

    assert_int_equal(asd_fixture_set(f, "bad", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "good", large, LARGE), 0);
    assert_int_equal(
        crash_disk_corrupt(f->disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES + 777), 0);
    assert_int_equal(wait_read(f, asd_store_get(f->front, &get, keys, 2, 0, on_read)), 0);
    assert_int_equal(get.values[0].rc, ERR_CORRUPT);
    assert_null(get.values[0].data);
    assert_int_equal(get.values[1].rc, 0);
    assert_memory_equal(get.values[1].data, large, LARGE);
    assert_int_equal(asd_store_stats(f->store).bad_values, 1);
    asd_store_get_release(&get);
}

static void flipped_bytes_of_an_inline_value_are_an_error(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = NULL;
    uint32_t bytes = 0;

    assert_int_equal(asd_fixture_set(f, "k", "inline", 6), 0);
    index_double_corrupt(f->index, slice_str("\x10k"), 16 + 2);
    assert_int_equal(asd_fixture_get(f, slice_str("k"), &data, &bytes), ERR_CORRUPT);
}

static void a_damaged_record_is_named_by_who_asks_whether_it_is_there(void **state)
{
    struct asd_fixture *f = *state;
    struct slice keys[] = {slice_str("good"), slice_str("none"), slice_str("bad"),
                           slice_str("worse")};
    struct asd_store_get get;

    for (unsigned i = 0; i < 4; i++) {
        if (i != 1) {
            assert_int_equal(asd_fixture_set(f, (const char *)keys[i].data, "inline", 6), 0);
        }
    }
    index_double_corrupt(f->index,
                         slice_str("\x10"
                                   "bad"),
                         4);
    index_double_corrupt(f->index, slice_str("\x10worse"), 4);
    assert_int_equal(wait_read(f, asd_store_exists(f->front, &get, keys, 4, 0, on_read)),
                     ERR_CORRUPT);
    assert_true(slice_eq(get.failed_key, slice_str("bad")));
    assert_true(get.op.err.msg[0] != '\0');
    asd_store_get_release(&get);
    assert_int_equal(wait_read(f, asd_store_exists(f->front, &get, keys, 2, 0, on_read)), 0);
    assert_true(get.exists[0] && !get.exists[1]);
    asd_store_get_release(&get);
}

static void an_unreadable_sector_is_an_error_for_that_key_only(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = NULL;
    uint32_t bytes = 0;

    assert_int_equal(asd_fixture_set(f, "bad", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "good", large, LARGE), 0);
    crash_disk_fail_reads(f->disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES + 8192,
                          -EIO);
    assert_int_equal(asd_fixture_get(f, slice_str("bad"), &data, &bytes), ERR_CORRUPT);
    assert_int_equal(asd_store_stats(f->store).bad_values, 1);
    assert_true(asd_fixture_has(f, "good", large, LARGE));
    assert_false(asd_store_failed(f->store, NULL));
}

static const struct asd_store_entry *entry_of(const struct asd_store_range *r, const char *key)
{
    for (uint32_t i = 0; i < r->entry_count; i++) {
        if (slice_eq(r->entries[i].key, slice_str(key))) {
            return &r->entries[i];
        }
    }
    fail_msg("no entry %s", key);
    return NULL;
}

static void verification_tells_good_values_from_bad_ones(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1};
    struct checksum right = {.algo = CHECKSUM_SHA1};
    struct checksum wrong = {.algo = CHECKSUM_SHA1, .sha1 = {1}};
    struct asd_update updates[] = {
        {.key = slice_str("bad"), .value = slice_of(large, LARGE)},
        {.key = slice_str("crc"), .checksum = checksum_crc32c(crc32c(0, large, LARGE))},
        {.key = slice_str("crc wrong"), .checksum = checksum_crc32c(1)},
        {.key = slice_str("inline"), .value = slice_str("x")},
        {.key = slice_str("sha1"), .checksum = right},
        {.key = slice_str("sha1 wrong"), .checksum = wrong}};
    struct asd_apply what = {.updates = updates, .update_count = 6};
    struct asd_store_range got;
    unsigned n;

    assert_int_equal(EVP_Digest(large, LARGE, updates[4].checksum.sha1, &n, EVP_sha1(), NULL), 1);
    for (unsigned i = 0; i < 6; i++) {
        updates[i].value = i == 3 ? updates[i].value : slice_of(large, LARGE);
    }
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_int_equal(
        crash_disk_corrupt(f->disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES + 5), 0);
    assert_int_equal(asd_fixture_range(f, &got, &all, ASD_STORE_VERIFY), 0);
    assert_int_equal(got.entry_count, 6);
    assert_int_equal(entry_of(&got, "bad")->value.rc, 0);
    assert_false(entry_of(&got, "bad")->verified);
    assert_true(entry_of(&got, "bad")->there);
    assert_true(entry_of(&got, "crc")->verified);
    assert_false(entry_of(&got, "crc wrong")->verified);
    assert_true(entry_of(&got, "inline")->verified);
    assert_false(entry_of(&got, "inline")->in_slab);
    assert_true(entry_of(&got, "sha1")->verified);
    assert_false(entry_of(&got, "sha1 wrong")->verified);
    asd_store_range_release(&got);
    assert_int_equal(asd_fixture_range(f, &got, &all, ASD_STORE_CHECK), 0);
    assert_true(entry_of(&got, "bad")->there); /* it did not look inside */
    asd_store_range_release(&got);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_keys_are_answered_in_order_with_their_checksums),
        TEST(more_bytes_than_a_reply_may_hold_are_refused_before_they_are_read),
        TEST(more_keys_or_parts_than_a_request_may_have_are_refused_at_once),
        TEST(keys_longer_than_any_there_is_are_refused_at_once),
        TEST(parts_come_in_the_order_asked_for),
        cmocka_unit_test(parts_of_values_in_slabs_are_read_without_a_thread),
        cmocka_unit_test(a_part_of_a_file_that_was_cut_is_an_error_for_its_key),
        cmocka_unit_test(parts_under_way_are_answered_once_though_the_store_closes),
        TEST(parts_beyond_the_value_or_of_no_value_are_refused),
        TEST(ranges_of_every_kind_agree_with_a_list),
        TEST(a_range_gives_at_most_200_keys),
        TEST(a_range_of_entries_stops_before_it_gets_too_long),
        TEST(the_longest_value_that_can_be_set_can_be_got),
        TEST(small_values_in_memory_are_read_on_the_loop),
        TEST(a_read_that_is_done_is_answered_though_the_store_closes),
        TEST(keys_count_in_a_range_of_entries),
        TEST(a_reply_counts_with_all_that_is_around_its_values),
        TEST(flipped_bytes_in_a_slab_are_an_error_for_that_key_only),
        TEST(flipped_bytes_of_an_inline_value_are_an_error),
        TEST(a_damaged_record_is_named_by_who_asks_whether_it_is_there),
        TEST(an_unreadable_sector_is_an_error_for_that_key_only),
        TEST(verification_tells_good_values_from_bad_ones),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
