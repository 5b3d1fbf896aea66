/* Transactions: asserts, order within a commit, limits, space that comes back, failure. On
 * RocksDB and real files unless a test needs the crash disk. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "asd/space.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "lib/tempdir.h"
#include "loop/run.h"
#include "unit/asd/io_hook.h"

enum { LARGE = 100000 };

static uint8_t *large; /* LARGE bytes */

static int setup_disk(void **state, bool real)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, real, 7);
    if (!real) {
        io_hook_install(crash_disk_io(f->disk));
    }
    f->options.slab_bytes = 1 << 20;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_disk(state, true);
}

static int setup_crash_disk(void **state)
{
    return setup_disk(state, false);
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

static void reopen(struct asd_fixture *f)
{
    struct err e = {0};

    asd_fixture_close(f);
    assert_int_equal(asd_fixture_open(f, &e), 0);
}

static struct asd_assert is(const char *key, const void *data, size_t bytes)
{
    return (struct asd_assert){
        .key = slice_str(key), .value = slice_of(data, bytes), .has_value = true};
}

static struct asd_assert absent(const char *key)
{
    return (struct asd_assert){.key = slice_str(key)};
}

static struct asd_update set(const char *key, const void *data, size_t bytes)
{
    return (struct asd_update){.key = slice_str(key), .value = slice_of(data, bytes)};
}

static struct asd_update del(const char *key)
{
    return (struct asd_update){.key = slice_str(key), .is_delete = true};
}

/* ---- one at a time ---- */

static void values_of_any_length_come_back_and_survive_a_restart(void **state)
{
    static const size_t sizes[] = {0, 1, 4096, 16383, 16384, 16385, LARGE};
    struct asd_fixture *f = *state;
    char key[32];

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            snprintf(key, sizeof(key), "k%u", i);
            if (round == 0) {
                assert_int_equal(asd_fixture_set(f, key, large, sizes[i]), 0);
            }
            assert_true(asd_fixture_has(f, key, large, sizes[i]));
        }
        reopen(f);
    }
}

static void a_value_longer_than_a_slab_gets_a_slab_of_its_own(void **state)
{
    struct asd_fixture *f = *state;
    size_t bytes = 3 << 20;
    uint8_t *huge = asd_fixture_bytes(3, bytes);

    assert_int_equal(asd_fixture_set(f, "huge", huge, bytes), 0);
    assert_int_equal(asd_fixture_set(f, "other", large, LARGE), 0);
    reopen(f);
    assert_true(asd_fixture_has(f, "huge", huge, bytes));
    assert_true(asd_fixture_has(f, "other", large, LARGE));
    free(huge);
}

static void asserts_hold_for_equal_and_absent_values_only(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *other = mem_dup(large, LARGE);
    struct {
        struct asd_assert a;
        int rc;
    } cases[] = {
        {is("small", "abc", 3), 0},
        {is("small", "abd", 3), ERR_ASSERT_FAILED},
        {is("small", "ab", 2), ERR_ASSERT_FAILED},
        {is("empty", "", 0), 0},
        {is("none", "", 0), ERR_ASSERT_FAILED},
        {absent("none"), 0},
        {absent("empty"), ERR_ASSERT_FAILED},
        {absent("large"), ERR_ASSERT_FAILED},
        {is("large", large, LARGE), 0},
        {is("large", other, LARGE), ERR_ASSERT_FAILED},
    };

    other[LARGE - 1] ^= 1;
    assert_int_equal(asd_fixture_set(f, "small", "abc", 3), 0);
    assert_int_equal(asd_fixture_set(f, "empty", "", 0), 0);
    assert_int_equal(asd_fixture_set(f, "large", large, LARGE), 0);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct asd_update u = set("out", &i, sizeof(i));
        struct asd_apply what = {
            .asserts = &cases[i].a, .assert_count = 1, .updates = &u, .update_count = 1};
        struct err e = {0};

        assert_int_equal(asd_fixture_apply(f, &what, &e), cases[i].rc);
        assert_int_equal(asd_fixture_has(f, "out", &i, sizeof(i)), cases[i].rc == 0);
    }
    assert_int_equal(asd_store_stats(f->store).asserts_failed, 6);
    free(other);
}

static void a_failed_assert_changes_nothing_and_its_space_comes_back(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_update updates[] = {set("a", large, LARGE), del("keep"), set("b", "b", 1)};
    struct asd_assert a = absent("keep");
    struct asd_apply what = {
        .asserts = &a, .assert_count = 1, .updates = updates, .update_count = 3};
    struct asd_store_stats before;

    assert_int_equal(asd_fixture_set(f, "keep", "k", 1), 0);
    before = asd_store_stats(f->store);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_ASSERT_FAILED);
    assert_true(asd_fixture_has(f, "keep", "k", 1));
    assert_false(asd_fixture_has(f, "a", large, LARGE));
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).used_bytes, before.used_bytes);
    assert_int_equal(asd_store_stats(f->store).punched_bytes, asd_slab_align(LARGE));
}

static void of_several_updates_of_a_key_the_last_counts(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_update updates[] = {
        set("k", large, LARGE), set("k", "1", 1), set("j", "1", 1), del("j"), del("k"),
        set("k", "2", 1)};
    struct asd_apply what = {.updates = updates, .update_count = 6};

    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_true(asd_fixture_has(f, "k", "2", 1));
    assert_false(asd_fixture_has(f, "j", "1", 1));
    assert_int_equal(asd_store_stats(f->store).slab_write_bytes, 0);
}

static void keys_and_values_out_of_bounds_are_refused_at_once(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *key = mem_zalloc(ASD_STORE_KEY_BYTES_MAX + 1);
    struct asd_update u = {.key = slice_of(key, ASD_STORE_KEY_BYTES_MAX + 1)};
    struct asd_apply what = {.updates = &u, .update_count = 1};

    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_TOO_LARGE);
    u.key.len = 0;
    assert_int_equal(asd_fixture_apply(f, &what, NULL), -EINVAL);
    u.key.len = ASD_STORE_KEY_BYTES_MAX;
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    u.value.len = (size_t)ASD_STORE_VALUE_BYTES_MAX + 1; /* not looked at */
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_TOO_LARGE);
    what.update_count = ASD_STORE_ITEMS_MAX + 1;
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_TOO_LARGE);
    free(key);
}

/* ---- many at a time ---- */

struct many {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    struct asd_assert check;
    char key[16];
    char value[16];
    unsigned *answered;
    unsigned order;
    int rc;
};

static void on_many(struct asd_store_op *op, int rc)
{
    struct many *m = container_of(op, struct many, apply.op);

    m->rc = rc;
    m->order = (*m->answered)++;
}

struct many_wait {
    const unsigned *answered;
    unsigned count;
};

static bool are_answered(void *ctx)
{
    const struct many_wait *w = ctx;

    return *w->answered >= w->count;
}

static void wait_many(struct asd_fixture *f, const unsigned *answered, unsigned count)
{
    struct many_wait w = {.answered = answered, .count = count};

    loop_run_until_true(&f->base.loop, are_answered, &w);
}

static void requests_of_one_turn_share_one_flush(void **state)
{
    enum { N = 100 };
    struct asd_fixture *f = *state;
    struct many *many = mem_array(N, sizeof(*many));
    struct asd_store_stats before = asd_store_stats(f->store);
    unsigned answered = 0;

    for (unsigned i = 0; i < N; i++) {
        struct many *m = &many[i];

        snprintf(m->key, sizeof(m->key), "key %u", i);
        m->answered = &answered;
        m->update = set(m->key, large, i % 10 == 0 ? LARGE : 100);
        m->what = (struct asd_apply){.updates = &m->update, .update_count = 1};
        assert_int_equal(asd_store_apply(f->front, &m->apply, &m->what, 0, on_many), 0);
    }
    assert_int_equal(answered, 0); /* never from inside the call */
    wait_many(f, &answered, N);
    struct asd_store_stats after = asd_store_stats(f->store);
    assert_int_equal(after.batches - before.batches, 1);
    assert_int_equal(after.index_syncs - before.index_syncs, 1);
    assert_true(after.fdatasyncs - before.fdatasyncs <= 2); /* the slab, and the one before it */
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(many[i].rc, 0);
        assert_int_equal(many[i].order, i);
        assert_true(asd_fixture_has(f, many[i].key, large, i % 10 == 0 ? LARGE : 100));
    }
    free(many);
}

/* Each one asserts what the one before it wrote, all in one batch: a chain of compare and
 * swap in which one link is wrong. */
static void asserts_see_what_earlier_members_of_the_batch_did(void **state)
{
    enum { N = 20, WRONG = 7 };
    struct asd_fixture *f = *state;
    struct many *many = mem_array(N, sizeof(*many));
    unsigned answered = 0;

    for (unsigned i = 0; i < N; i++) {
        struct many *m = &many[i];

        snprintf(m->value, sizeof(m->value), "%u", i);
        m->answered = &answered;
        m->update = set("chain", m->value, strlen(m->value));
        if (i == 0) {
            m->check = absent("chain");
        } else if (i == WRONG) {
            m->check = is("chain", "x", 1);
        } else {
            const char *before = many[i - 1 == WRONG ? i - 2 : i - 1].value;

            m->check = is("chain", before, strlen(before));
        }
        m->what = (struct asd_apply){
            .asserts = &m->check, .assert_count = 1, .updates = &m->update, .update_count = 1};
        assert_int_equal(asd_store_apply(f->front, &m->apply, &m->what, 0, on_many), 0);
    }
    wait_many(f, &answered, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(many[i].rc, i == WRONG ? ERR_ASSERT_FAILED : 0);
        if (i == WRONG) {
            assert_true(slice_eq(many[i].apply.failed_key, slice_str("chain")));
        }
    }
    assert_int_equal(asd_store_stats(f->store).batches, 1);
    assert_true(asd_fixture_has(f, "chain", many[N - 1].value, strlen(many[N - 1].value)));
    free(many);
}

static void high_priority_goes_first_and_low_does_not_starve(void **state)
{
    enum { N = 6 };
    struct asd_fixture *f = *state;
    struct many *many = mem_array(N, sizeof(*many));
    unsigned answered = 0;

    for (unsigned i = 0; i < N; i++) {
        struct many *m = &many[i];

        snprintf(m->key, sizeof(m->key), "%u", i);
        m->answered = &answered;
        m->update = set(m->key, "v", 1);
        m->what = (struct asd_apply){.updates = &m->update, .update_count = 1};
        assert_int_equal(asd_store_apply(f->front, &m->apply, &m->what,
                                         i < N / 2 ? ASD_PRIO_LOW : ASD_PRIO_HIGH, on_many),
                         0);
    }
    wait_many(f, &answered, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(many[i].order, (i + N / 2) % N);
    }
    assert_int_equal(asd_store_stats(f->store).batches, 1);
    free(many);
}

static void too_many_requests_are_refused_as_busy(void **state)
{
    struct asd_fixture *f = *state;
    struct many *many = mem_array(ASD_STORE_APPLIES_MAX + 1, sizeof(*many));
    unsigned answered = 0;

    for (unsigned i = 0; i <= ASD_STORE_APPLIES_MAX; i++) {
        struct many *m = &many[i];

        m->answered = &answered;
        m->update = set("k", "v", 1);
        m->what = (struct asd_apply){.updates = &m->update, .update_count = 1};
        assert_int_equal(asd_store_apply(f->front, &m->apply, &m->what, 0, on_many),
                         i < ASD_STORE_APPLIES_MAX ? 0 : ERR_BUSY);
    }
    wait_many(f, &answered, ASD_STORE_APPLIES_MAX);
    assert_int_equal(asd_fixture_set(f, "k", "w", 1), 0);
    free(many);
}

static void closing_answers_every_request_once(void **state)
{
    enum { N = 200 };
    struct asd_fixture *f = *state;
    struct many *many = mem_array(N, sizeof(*many));
    unsigned answered = 0;

    for (unsigned i = 0; i < N; i++) {
        struct many *m = &many[i];

        snprintf(m->key, sizeof(m->key), "%u", i);
        m->answered = &answered;
        m->update = set(m->key, large, LARGE);
        m->what = (struct asd_apply){.updates = &m->update, .update_count = 1};
        assert_int_equal(asd_store_apply(f->front, &m->apply, &m->what, 0, on_many), 0);
        if (i == N / 2) {
            uv_run(&f->base.loop, UV_RUN_NOWAIT); /* the first half is on its way */
        }
    }
    reopen(f);
    assert_int_equal(answered, N);
    for (unsigned i = 0; i < N; i++) {
        assert_true(many[i].rc == 0 || many[i].rc == ERR_CANCELED);
        assert_int_equal(asd_fixture_has(f, many[i].key, large, LARGE), many[i].rc == 0);
    }
    free(many);
}

/* ---- space ---- */

static uint64_t blocks_of_slabs(struct asd_fixture *f)
{
    struct stat st;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < 100; i++) {
        char *path = mem_printf("%s/slabs/%016x", f->dir, i);

        if (stat(path, &st) == 0) {
            bytes += (uint64_t)st.st_blocks * 512;
        }
        free(path);
    }
    return bytes;
}

static void space_of_deleted_and_overwritten_values_goes_back_to_the_file_system(void **state)
{
    struct asd_fixture *f = *state;

    for (unsigned i = 0; i < 30; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i % 10);
        assert_int_equal(asd_fixture_set(f, key, large, LARGE), 0);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).used_bytes, 10 * asd_slab_align(LARGE));
    assert_true(blocks_of_slabs(f) <= 10 * asd_slab_align(LARGE) + 8 * 65536);
    for (unsigned i = 0; i < 10; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i);
        assert_int_equal(asd_fixture_delete(f, key), 0);
    }
    asd_fixture_settle(f);
    struct asd_store_stats stats = asd_store_stats(f->store);
    assert_int_equal(stats.used_bytes, 0);
    assert_true(stats.slabs_unlinked >= 2);
    assert_true(stats.slab_count <= 1);
    assert_true(blocks_of_slabs(f) <= 65536);
    reopen(f);
    assert_int_equal(asd_store_stats(f->store).used_bytes, 0);
}

/* Room for 50 values: 49, and one in the reserve of 2 %. */
static void a_full_store_takes_deletes_reserve_and_the_message_counter_only(void **state)
{
    enum { ROOM = 50 };
    struct asd_fixture *f = *state;
    struct asd_update counter = {.key = slice_of("p\0\0\0\0m", 6), .value = slice_str("1")};
    struct asd_update mixed[] = {del("0"), set("new", large, LARGE)};
    struct asd_apply what = {.updates = mixed, .update_count = 2};
    struct asd_apply count = {.updates = &counter, .update_count = 1};
    char key[8];

    asd_store_set_limits(f->store, 2 * ROOM * asd_slab_align(LARGE), 50);
    for (unsigned i = 0; i < ROOM - 1; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_int_equal(asd_fixture_set(f, key, large, LARGE), 0);
    }
    assert_int_equal(asd_fixture_set(f, "new", "x", 1), ERR_FULL);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_FULL);
    what.flags = ASD_APPLY_RESERVE;
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_true(asd_fixture_has(f, "new", large, LARGE));
    assert_int_equal(asd_fixture_set(f, "0", large, LARGE), ERR_FULL);
    mixed[0] = del("1");
    mixed[1] = set("more", large, LARGE);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0); /* up to the limit itself */
    mixed[0] = set("beyond", large, LARGE);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_FULL);
    assert_true(asd_store_stats(f->store).used_bytes <= ROOM * asd_slab_align(LARGE));
    assert_int_equal(asd_fixture_apply(f, &count, NULL), 0);
    for (unsigned i = 2; i < 6; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_int_equal(asd_fixture_delete(f, key), 0);
    }
    assert_int_equal(asd_fixture_set(f, "0", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "small", "x", 1), 0);

    asd_store_set_full(f->store, true);
    assert_int_equal(asd_fixture_set(f, "newer", "x", 1), ERR_FULL);
    assert_int_equal(asd_fixture_apply(f, &count, NULL), 0);
    asd_store_set_full(f->store, false);
    assert_int_equal(asd_fixture_set(f, "newer", "x", 1), 0);
}

/* A file system that takes O_DIRECT at open and refuses the write, as some do. */
static unsigned refused;

static ssize_t picky_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                             uint64_t offset)
{
    if (fd == io_hook_direct_fd()) {
        refused++;
        return -EINVAL;
    }
    return io_hook_below()->pwritev(io, fd, iov, iov_count, offset);
}

static void without_direct_io_large_values_go_through_the_page_cache(void **state)
{
    struct asd_fixture *f = *state;

    refused = 0;
    io_hook_pwritev(picky_pwritev);
    assert_int_equal(asd_fixture_set(f, "a", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "b", large, LARGE), 0);
    assert_int_equal(refused, 1); /* asked once */
    io_hook_pwritev(NULL);
    assert_true(asd_fixture_has(f, "a", large, LARGE));
    assert_true(asd_fixture_has(f, "b", large, LARGE));
    assert_false(asd_store_failed(f->store, NULL));
}

/* Pieces of the write buffer, the last of them not a whole one; every one may be cut short. */
static void a_value_of_many_pieces_is_whole_though_its_writes_are_short(void **state)
{
    struct asd_fixture *f = *state;
    size_t bytes = 3 * ASD_SPACE_BOUNCE_BYTES + 12345;
    uint8_t *some = asd_fixture_bytes(3, bytes);
    uint8_t *memory = bigmem_alloc(bytes + 8);
    uint8_t *huge = memory + 8; /* on no boundary */
    uint64_t n = crash_disk_io_count(f->disk);

    memcpy(huge, some, bytes);
    free(some);

    for (uint64_t i = 1; i < 12; i++) {
        crash_disk_short_write_at(f->disk, n + i, 5000 * i);
    }
    assert_int_equal(asd_fixture_set(f, "huge", huge, bytes), 0);
    crash_disk_power_off(f->disk);
    asd_fixture_close(f);
    crash_disk_reboot(f->disk, CRASH_DROP_ALL, 1);
    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
    assert_true(asd_fixture_has(f, "huge", huge, bytes));
    bigmem_free(memory);
}

static const uint8_t *in_place;
static unsigned in_place_writes;

static ssize_t seen_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                            uint64_t offset)
{
    in_place_writes += iov[0].iov_base == in_place;
    return io_hook_below()->pwritev(io, fd, iov, iov_count, offset);
}

/* Whole blocks from where they lie, its end with zeroes behind it; cut short now and then. */
static void a_value_on_a_boundary_is_written_without_a_copy(void **state)
{
    struct asd_fixture *f = *state;

    for (unsigned i = 0; i < 4; i++) {
        size_t bytes = (2u << 20) + (i % 2 != 0 ? 4096 + 777 : 0);
        uint8_t *some = asd_fixture_bytes(i + 1, bytes);
        uint8_t *huge = bigmem_alloc(bytes);
        uint64_t n = crash_disk_io_count(f->disk);

        memcpy(huge, some, bytes);
        for (uint64_t j = 1; i >= 2 && j < 8; j++) {
            crash_disk_short_write_at(f->disk, n + j, 500000 * j);
        }
        in_place = huge;
        in_place_writes = 0;
        io_hook_pwritev(seen_pwritev);
        assert_int_equal(asd_fixture_set(f, "huge", huge, bytes), 0);
        io_hook_pwritev(NULL);
        assert_int_equal(in_place_writes, 1);
        crash_disk_power_off(f->disk);
        asd_fixture_close(f);
        crash_disk_reboot(f->disk, CRASH_DROP_ALL, 1);
        assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
        assert_true(asd_fixture_has(f, "huge", some, bytes));
        bigmem_free(huge);
        free(some);
    }
}

static unsigned writes_counted;
static size_t most_written;

static ssize_t measured_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                                uint64_t offset)
{
    size_t bytes = 0;

    for (int i = 0; i < iov_count; i++) {
        bytes += iov[i].iov_len;
    }
    most_written = bytes > most_written ? bytes : most_written;
    writes_counted += bytes >= ASD_SPACE_LOW_BYTES;
    return io_hook_below()->pwritev(io, fd, iov, iov_count, offset);
}

/* Wherever its memory lies: aligned or not. */
static void a_low_value_is_written_in_small_pieces(void **state)
{
    enum { PIECES = 5, BYTES = PIECES * ASD_SPACE_LOW_BYTES };
    struct asd_fixture *f = *state;
    uint8_t *memory = bigmem_alloc(BYTES + 8);

    io_hook_pwritev(measured_pwritev);
    for (unsigned i = 0; i < 4; i++) {
        bool low = i < 2;
        uint8_t *value = memory + (i % 2 != 0 ? 8 : 0);
        unsigned answered = 0;
        struct many m = {.answered = &answered};

        memset(memory, (int)i + 1, BYTES + 8);
        m.update = set("low", value, BYTES);
        m.what = (struct asd_apply){.updates = &m.update, .update_count = 1};
        writes_counted = 0;
        most_written = 0;
        assert_int_equal(asd_store_apply(f->front, &m.apply, &m.what,
                                         low ? ASD_PRIO_LOW : ASD_PRIO_HIGH, on_many),
                         0);
        wait_many(f, &answered, 1);
        assert_int_equal(most_written, low          ? (size_t)ASD_SPACE_LOW_BYTES
                                       : i % 2 != 0 ? (size_t)ASD_SPACE_BOUNCE_BYTES
                                                    : (size_t)BYTES);
        assert_int_equal(writes_counted, low ? PIECES : i % 2 != 0 ? 2 : 1);
        assert_true(asd_fixture_has(f, "low", value, BYTES));
    }
    io_hook_pwritev(NULL);
    bigmem_free(memory);
}

static uint64_t next_value; /* where the second value begins; 0: the first comes */

static ssize_t second_value_fails(struct io *io, int fd, const struct iovec *iov, int iov_count,
                                  uint64_t offset)
{
    bool is_mark = iov[0].iov_len < ASD_SLAB_ALIGN_BYTES;

    if (!is_mark && offset == next_value) {
        return -ENOSPC;
    }
    next_value = next_value == 0 && !is_mark ? offset + asd_slab_align(LARGE) : next_value;
    return io_hook_below()->pwritev(io, fd, iov, iov_count, offset);
}

/* Room for three and a half: one that asked for two and got none leaves it to who comes next. */
static void what_one_without_space_had_planned_is_there_for_later_ones_of_the_batch(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_update updates[] = {set("a", large, LARGE), set("b", large, LARGE),
                                   set("c", large, LARGE), set("d", large, LARGE)};
    struct many many[2] = {0};
    unsigned answered = 0;

    assert_int_equal(asd_fixture_set(f, "first", large, LARGE), 0);
    asd_store_set_limits(f->store, 7 * asd_slab_align(LARGE), 50);
    next_value = 0;
    io_hook_pwritev(second_value_fails);
    for (unsigned i = 0; i < 2; i++) {
        many[i].answered = &answered;
        many[i].what = (struct asd_apply){.updates = &updates[2 * i], .update_count = 2};
        assert_int_equal(asd_store_apply(f->front, &many[i].apply, &many[i].what, 0, on_many), 0);
    }
    wait_many(f, &answered, 2);
    io_hook_pwritev(NULL);
    assert_int_equal(many[0].rc, ERR_FULL);
    assert_int_equal(many[1].rc, 0);
    assert_true(asd_fixture_has(f, "d", large, LARGE));
    assert_int_equal(asd_store_stats(f->store).used_bytes, 3 * asd_slab_align(LARGE));
}

static void a_device_without_space_refuses_values_and_recovers(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_update two[] = {set("fits", "x", 1), set("does not", large, LARGE)};
    struct asd_apply what = {.updates = two, .update_count = 2};

    assert_int_equal(asd_fixture_set(f, "first", large, LARGE), 0);
    crash_disk_set_capacity(f->disk, crash_disk_used_bytes(f->disk) + LARGE / 2);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_FULL);
    assert_false(asd_store_failed(f->store, NULL));
    assert_false(asd_fixture_has(f, "fits", "x", 1)); /* all or nothing */
    assert_int_equal(asd_fixture_set(f, "small", "y", 1), 0);
    assert_int_equal(asd_fixture_delete(f, "first"), 0);
    asd_fixture_settle(f);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    assert_true(asd_fixture_has(f, "does not", large, LARGE));
}

/* ---- failure ---- */

static void after_a_failed_flush_nothing_is_acknowledged_and_reads_go_on(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    assert_int_equal(asd_fixture_set(f, "before", large, LARGE), 0);
    crash_disk_fail_at(f->disk, crash_disk_io_count(f->disk) + 2, -EIO); /* write, fdatasync */
    assert_int_equal(asd_fixture_set(f, "during", large, LARGE), ERR_FAILED);
    assert_true(asd_store_failed(f->store, &e));
    assert_non_null(strstr(e.msg, "fdatasync"));
    assert_int_equal(asd_fixture_set(f, "after", "x", 1), ERR_FAILED);
    assert_true(asd_fixture_has(f, "before", large, LARGE));
    reopen(f);
    assert_false(asd_store_failed(f->store, NULL));
    assert_int_equal(asd_fixture_set(f, "after", "x", 1), 0);
    assert_false(asd_fixture_has(f, "during", large, LARGE));
}

/* Its values are lost; everybody else's are not. */
static void a_missing_slab_costs_its_own_values_only(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = NULL;
    uint32_t bytes = 0;
    struct err e = {0};

    for (char key[2] = "a"; key[0] < 'a' + 15; key[0]++) { /* 11 to a slab */
        assert_int_equal(asd_fixture_set(f, key, large, LARGE - (size_t)(key[0] - 'a')), 0);
    }
    asd_fixture_close(f);
    assert_int_equal(
        crash_disk_io(f->disk)->ops->unlink(crash_disk_io(f->disk), "/asd/slabs/0000000000000001"),
        0);
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_true(asd_fixture_has(f, "a", large, LARGE));
    assert_int_equal(asd_fixture_get(f, slice_str("o"), &data, &bytes), ERR_CORRUPT);
    assert_int_equal(asd_fixture_set(f, "o", large, LARGE), 0); /* repair overwrites it */
    assert_true(asd_fixture_has(f, "o", large, LARGE));
    assert_int_equal(asd_fixture_delete(f, "n"), 0);
    asd_fixture_settle(f);
    reopen(f);
    assert_true(asd_fixture_has(f, "o", large, LARGE));
}

static void a_damaged_record_is_an_error_until_it_is_overwritten(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_assert a = is("k", "v", 1);
    struct asd_update u = set("k", "w", 1);
    struct asd_apply what = {.asserts = &a, .assert_count = 1, .updates = &u, .update_count = 1};
    uint8_t *data = NULL;
    uint32_t bytes = 0;

    assert_int_equal(asd_fixture_set(f, "k", "v", 1), 0);
    index_double_corrupt(f->index, slice_str("\x10k"), 9);
    assert_int_equal(asd_fixture_get(f, slice_str("k"), &data, &bytes), ERR_CORRUPT);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), ERR_CORRUPT);
    assert_int_equal(asd_store_stats(f->store).bad_values, 2);
    assert_int_equal(asd_fixture_set(f, "k", "w", 1), 0);
    assert_true(asd_fixture_has(f, "k", "w", 1));
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define CRASH(test) cmocka_unit_test_setup_teardown(test, setup_crash_disk, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(values_of_any_length_come_back_and_survive_a_restart),
        REAL(a_value_longer_than_a_slab_gets_a_slab_of_its_own),
        REAL(asserts_hold_for_equal_and_absent_values_only),
        REAL(a_failed_assert_changes_nothing_and_its_space_comes_back),
        REAL(of_several_updates_of_a_key_the_last_counts),
        REAL(keys_and_values_out_of_bounds_are_refused_at_once),
        REAL(requests_of_one_turn_share_one_flush),
        REAL(asserts_see_what_earlier_members_of_the_batch_did),
        REAL(high_priority_goes_first_and_low_does_not_starve),
        REAL(too_many_requests_are_refused_as_busy),
        REAL(closing_answers_every_request_once),
        REAL(space_of_deleted_and_overwritten_values_goes_back_to_the_file_system),
        REAL(a_full_store_takes_deletes_reserve_and_the_message_counter_only),
        CRASH(without_direct_io_large_values_go_through_the_page_cache),
        CRASH(a_value_of_many_pieces_is_whole_though_its_writes_are_short),
        CRASH(a_value_on_a_boundary_is_written_without_a_copy),
        CRASH(a_low_value_is_written_in_small_pieces),
        CRASH(a_device_without_space_refuses_values_and_recovers),
        CRASH(what_one_without_space_had_planned_is_there_for_later_ones_of_the_batch),
        CRASH(after_a_failed_flush_nothing_is_acknowledged_and_reads_go_on),
        CRASH(a_missing_slab_costs_its_own_values_only),
        CRASH(a_damaged_record_is_an_error_until_it_is_overwritten),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
