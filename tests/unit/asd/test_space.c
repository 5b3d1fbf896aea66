/* Reads that race deletes and punches: old bytes or an error, never others. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/space.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { LARGE = 40000 };

static uint8_t *large;

/* Holds reads of slab data until told otherwise. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
    bool opens; /* holds these instead */
    unsigned held;
    unsigned came, let; /* since it was closed; so many of the first may pass */
    bool hold_lookup;
    bool lookup_held;
};

static void on_io(void *ctx, const char *what, const char *path)
{
    struct gate *gate = ctx;

    (void)path;
    pthread_mutex_lock(&gate->lock);
    if (strcmp(what, gate->opens ? "find" : "preadv") == 0) {
        unsigned number = gate->came++;

        gate->held++;
        pthread_cond_broadcast(&gate->changed);
        while (gate->closed && number >= gate->let) {
            pthread_cond_wait(&gate->changed, &gate->lock);
        }
        gate->held--;
    }
    pthread_mutex_unlock(&gate->lock);
}

/* Holds the first look-up after it was armed, once its answer is on its way. */
static void on_lookup(void *ctx)
{
    struct gate *gate = ctx;

    pthread_mutex_lock(&gate->lock);
    if (gate->hold_lookup) {
        gate->hold_lookup = false;
        gate->lookup_held = true;
        pthread_cond_broadcast(&gate->changed);
        while (gate->lookup_held) {
            pthread_cond_wait(&gate->changed, &gate->lock);
        }
    }
    pthread_mutex_unlock(&gate->lock);
}

static void gate_wait_held(struct gate *gate, unsigned n)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->held < n) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

static void gate_set(struct gate *gate, bool closed)
{
    pthread_mutex_lock(&gate->lock);
    gate->closed = closed;
    gate->came = gate->let = 0;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static void gate_let_one(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->let++;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

struct fixture {
    struct asd_fixture base;
    struct gate gate;
};

static struct fixture *fixture_new(bool real)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    asd_fixture_init(&f->base, real, 3);
    assert_int_equal(pthread_mutex_init(&f->gate.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->gate.changed, NULL), 0);
    return f;
}

static int setup(void **state)
{
    struct fixture *f = fixture_new(false);
    struct err e;

    f->base.options.slab_bytes = 200000;
    f->base.options.read_threads = 4;
    crash_disk_set_hook(f->base.disk, on_io, &f->gate);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    *state = f;
    return 0;
}

/* A real disk, parts read by io_uring where there is one, slabs emptied as soon as may be. */
static int setup_real(void **state)
{
    struct fixture *f = fixture_new(true);
    struct err e;

    f->base.options.slab_bytes = 4 * 1048576;
    f->base.options.ring_depth = 8;
    f->base.options.evacuation_rate = UINT64_C(1) << 40;
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    asd_fixture_release(&f->base);
    pthread_cond_destroy(&f->gate.changed);
    pthread_mutex_destroy(&f->gate.lock);
    free(f);
    return 0;
}

struct slow_read {
    struct asd_store_partial partial;
    bool done;
    int rc;
};

static const struct asd_part whole = {0, LARGE};

static void on_partial(struct asd_store_op *op, int rc)
{
    struct slow_read *r = container_of(op, struct slow_read, partial.op);

    r->rc = rc;
    r->done = true;
}

/* Begin a read and wait until it stands before the device, its key looked up. */
static void begin_read(struct fixture *f, struct slow_read *r, const char *key, unsigned held)
{
    *r = (struct slow_read){0};
    assert_int_equal(
        asd_store_partial(f->base.front, &r->partial, slice_str(key), &whole, 1, 0, on_partial), 0);
    gate_wait_held(&f->gate, held);
}

static void end_read(struct fixture *f, struct slow_read *r)
{
    loop_fixture_run_until(&f->base.base, &r->done);
    assert_int_equal(r->rc, 0);
    assert_memory_equal(r->partial.data, large, LARGE);
    asd_store_partial_release(&r->partial);
}

static uint64_t pending(struct fixture *f)
{
    return asd_store_stats(f->base.store).frees_pending;
}

/* Parts carry no checksum of ours: nothing but the pin keeps wrong bytes from the reader. */
static void a_delayed_read_gets_the_old_bytes_although_the_value_was_deleted(void **state)
{
    struct fixture *f = *state;
    struct slow_read r;

    assert_int_equal(asd_fixture_set(&f->base, "k", large, LARGE), 0);
    gate_set(&f->gate, true);
    begin_read(f, &r, "k", 1);
    assert_int_equal(asd_fixture_delete(&f->base, "k"), 0);
    loop_fixture_run_ms(&f->base.base, 30);
    assert_int_equal(pending(f), 1); /* not punched yet */
    gate_set(&f->gate, false);
    end_read(f, &r);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punches, 1);
}

static void a_free_waits_only_for_reads_begun_before_it(void **state)
{
    struct fixture *f = *state;
    struct slow_read old;
    struct slow_read fresh;

    assert_int_equal(asd_fixture_set(&f->base, "a", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(&f->base, "b", large, LARGE), 0);
    gate_set(&f->gate, true);
    begin_read(f, &old, "a", 1);
    assert_int_equal(asd_fixture_delete(&f->base, "a"), 0);
    begin_read(f, &fresh, "b", 2);
    assert_int_equal(pending(f), 1);
    gate_let_one(&f->gate);
    end_read(f, &old);
    asd_fixture_settle(&f->base); /* comes although `fresh` still reads in that slab */
    assert_int_equal(asd_store_stats(f->base.store).punches, 1);
    gate_set(&f->gate, false);
    end_read(f, &fresh);
}

static void frees_behind_a_delayed_read_wait_for_their_turn(void **state)
{
    struct fixture *f = *state;
    struct slow_read r;

    assert_int_equal(asd_fixture_set(&f->base, "a", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(&f->base, "b", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(&f->base, "c", large, LARGE), 0);
    gate_set(&f->gate, true);
    begin_read(f, &r, "c", 1);
    assert_int_equal(asd_fixture_delete(&f->base, "a"), 0);
    assert_int_equal(asd_fixture_delete(&f->base, "b"), 0);
    assert_int_equal(asd_fixture_delete(&f->base, "c"), 0);
    loop_fixture_run_ms(&f->base.base, 30);
    assert_int_equal(pending(f), 3);
    gate_set(&f->gate, false);
    end_read(f, &r);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punched_bytes, 3 * asd_slab_align(LARGE));
}

static void a_slab_is_not_unlinked_before_those_who_pinned_it_have_read(void **state)
{
    struct fixture *f = *state;
    struct slow_read r;

    /* four to a slab; the fifth one seals it */
    for (char key[2] = "a"; key[0] <= 'e'; key[0]++) {
        assert_int_equal(asd_fixture_set(&f->base, key, large, LARGE), 0);
    }
    gate_set(&f->gate, true);
    begin_read(f, &r, "a", 1);
    for (char key[2] = "a"; key[0] <= 'd'; key[0]++) {
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
    }
    loop_fixture_run_ms(&f->base.base, 30);
    assert_int_equal(asd_store_stats(f->base.store).slabs_unlinked, 0);
    gate_set(&f->gate, false);
    end_read(f, &r);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).slabs_unlinked, 1);
    assert_int_equal(asd_store_stats(f->base.store).punches, 0);
}

/* After a restart: pinned, but a slow disk keeps it from opening the file. */
static void a_slab_that_dies_before_its_pinned_reader_opened_it_is_read(void **state)
{
    struct fixture *f = *state;
    struct slow_read r;
    struct err e;

    for (char key[2] = "a"; key[0] <= 'e'; key[0]++) {
        assert_int_equal(asd_fixture_set(&f->base, key, large, LARGE), 0);
    }
    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    f->gate.opens = true;
    gate_set(&f->gate, true);
    begin_read(f, &r, "a", 1);
    for (char key[2] = "a"; key[0] <= 'd'; key[0]++) {
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
    }
    loop_fixture_run_ms(&f->base.base, 30);
    gate_set(&f->gate, false);
    end_read(f, &r);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).slabs_unlinked, 1);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
}

/* The key was looked up, but the slab not yet pinned, when the value went away and was
 * punched: the reader must notice and look again. */
static void a_read_whose_look_up_is_out_of_date_looks_up_again(void **state)
{
    struct fixture *f = *state;
    struct slow_read r = {0};
    uint8_t *other = mem_zalloc(LARGE);

    assert_int_equal(asd_fixture_set(&f->base, "k", other, LARGE), 0);
    index_double_set_hook(f->base.index, on_lookup, &f->gate);
    f->gate.hold_lookup = true;
    assert_int_equal(
        asd_store_partial(f->base.front, &r.partial, slice_str("k"), &whole, 1, 0, on_partial), 0);
    pthread_mutex_lock(&f->gate.lock);
    while (!f->gate.lookup_held) {
        pthread_cond_wait(&f->gate.changed, &f->gate.lock);
    }
    pthread_mutex_unlock(&f->gate.lock);
    assert_int_equal(asd_fixture_set(&f->base, "k", large, LARGE), 0);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punches, 1);
    pthread_mutex_lock(&f->gate.lock);
    f->gate.lookup_held = false;
    pthread_cond_broadcast(&f->gate.changed);
    pthread_mutex_unlock(&f->gate.lock);
    end_read(f, &r); /* the new value, not the hole */
    free(other);
}

/* Parts are read while values are replaced, deleted, moved, punched, their slabs unlinked: every
 * full answer is one value that its key had. All bytes of a value are the same and say whose. */
enum { STORM_KEYS = 6, STORM_HOT_KEYS = 4, STORM_READS = 20000, STORM_WRITES_MAX = 50000 };

struct storm {
    struct fixture *f;
    uint32_t value_bytes;
    bool is_over;
    unsigned begun;
    unsigned running;
    unsigned answers;
    unsigned wrong;
};

struct storm_read {
    struct asd_store_partial partial;
    struct storm *storm;
    struct asd_part parts[2];
    char key[2];
};

static void storm_next(struct storm_read *r);

static uint8_t storm_byte(unsigned key, unsigned version)
{
    return (uint8_t)(1 + key + version % 40 * STORM_KEYS);
}

static void on_storm(struct asd_store_op *op, int rc)
{
    struct storm_read *r = container_of(op, struct storm_read, partial.op);
    const uint8_t *data = r->partial.data;
    struct storm *s = r->storm;

    s->running--;
    if (rc == 0) {
        s->answers++;
        s->wrong += data[0] == 0 || (data[0] - 1) % STORM_KEYS != r->key[0] - 'a';
        s->wrong += r->partial.data_bytes != (size_t)r->parts[0].bytes + r->parts[1].bytes;
        s->wrong += memcmp(data, data + 1, r->partial.data_bytes - 1) != 0;
    } else if (rc != ERR_NOT_FOUND) {
        s->wrong++;
    }
    asd_store_partial_release(&r->partial);
    storm_next(r);
}

static void storm_next(struct storm_read *r)
{
    struct storm *s = r->storm;

    if (s->is_over) {
        return;
    }
    s->begun++;
    s->running++;
    r->key[0] = (char)('a' + s->begun % STORM_KEYS);
    r->parts[0] = (struct asd_part){s->begun * 37 % (s->value_bytes - 5000), 5000};
    r->parts[1] = (struct asd_part){s->value_bytes - 3000, 3000};
    assert_int_equal(asd_store_partial(s->f->base.front, &r->partial, slice_str(r->key), r->parts,
                                       2, 0, on_storm),
                     0);
}

/* Most writes go to a few keys. The others stay long enough for their slabs to be emptied. */
static void storm_write(struct storm *s, unsigned n, uint8_t *buffer)
{
    unsigned key =
        n % 25 == 0 ? STORM_HOT_KEYS + n / 25 % (STORM_KEYS - STORM_HOT_KEYS) : n % STORM_HOT_KEYS;
    const char name[2] = {(char)('a' + key), '\0'};

    memset(buffer, storm_byte(key, n), s->value_bytes);
    assert_int_equal(n % 7 == 6 ? asd_fixture_delete(&s->f->base, name)
                                : asd_fixture_set(&s->f->base, name, buffer, s->value_bytes),
                     0);
}

/* Until so much has been read, punched, unlinked, and so many slabs emptied. */
static void storm_rage(struct fixture *f, uint32_t value_bytes, unsigned emptied_min)
{
    struct storm storm = {.f = f, .value_bytes = value_bytes};
    struct storm_read reads[8] = {0};
    uint8_t *value = mem_alloc(value_bytes);
    struct asd_store_stats stats = {0};
    unsigned n = 0;

    for (unsigned i = 0; i < 8; i++) {
        reads[i].storm = &storm;
        storm_next(&reads[i]);
    }
    while (storm.running > 0) {
        storm_write(&storm, n++, value);
        assert_true(n < STORM_WRITES_MAX);
        stats = asd_store_stats(f->base.store);
        storm.is_over = storm.begun >= STORM_READS && n > 100 && stats.punches > 50 &&
                        stats.slabs_unlinked >= 5 && stats.slabs_evacuated >= emptied_min;
    }
    printf("%u reads of a value, %llu without a thread, %u writes, %llu punches, %llu moves, "
           "%llu slabs unlinked, %llu of them emptied\n",
           storm.answers, (unsigned long long)stats.reads_hot, n, (unsigned long long)stats.punches,
           (unsigned long long)stats.moves, (unsigned long long)stats.slabs_unlinked,
           (unsigned long long)stats.slabs_evacuated);
    assert_int_equal(storm.wrong, 0);
    assert_true(storm.answers > 1000);
    assert_int_equal(stats.bad_values, 0);
    asd_fixture_settle(&f->base);
    free(value);
}

static void reads_in_a_storm_of_overwrites_never_see_a_hole(void **state)
{
    storm_rage(*state, LARGE, 0);
}

/* Values so large are written past the page cache: who is the first to read one waits for the
 * disk. */
static void reads_by_the_ring_in_that_storm_never_see_a_hole(void **state)
{
    struct fixture *f = *state;
    bool ring = asd_fixture_has_ring(&f->base);

    storm_rage(f, 3 * ASD_SPACE_DIRECT_BYTES_MIN / 2, 5);
    assert_true(!ring || asd_store_stats(f->base.store).reads_hot > STORM_READS / 4);
}

/* Who deletes much does not wait an hour for the space, though frees are gathered so long. */
static void much_that_was_freed_is_punched_at_once(void **state)
{
    enum { VALUES = 4, BYTES = 9 * 1048576 };
    struct fixture *f = *state;
    uint8_t *data = asd_fixture_bytes(1, BYTES);
    char key[2] = "0";
    struct err e;

    asd_fixture_close(&f->base);
    f->base.options.slab_bytes = 64 * 1048576;
    f->base.options.punch_delay_ms = 3600 * 1000;
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    for (key[0] = '0'; key[0] < '0' + VALUES; key[0]++) {
        assert_int_equal(asd_fixture_set(&f->base, key, data, BYTES), 0);
    }
    for (key[0] = '0'; key[0] < '0' + VALUES; key[0]++) {
        assert_int_equal(asd_store_stats(f->base.store).punches, 0);
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
    }
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punched_bytes, (uint64_t)VALUES * BYTES);
    free(data);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_delayed_read_gets_the_old_bytes_although_the_value_was_deleted),
        TEST(a_free_waits_only_for_reads_begun_before_it),
        TEST(frees_behind_a_delayed_read_wait_for_their_turn),
        TEST(a_slab_is_not_unlinked_before_those_who_pinned_it_have_read),
        TEST(a_slab_that_dies_before_its_pinned_reader_opened_it_is_read),
        TEST(a_read_whose_look_up_is_out_of_date_looks_up_again),
        TEST(much_that_was_freed_is_punched_at_once),
        TEST(reads_in_a_storm_of_overwrites_never_see_a_hole),
        cmocka_unit_test_setup_teardown(reads_by_the_ring_in_that_storm_never_see_a_hole,
                                        setup_real, teardown),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
