/* A read that stands before the disk, or between its look-up and its pin, while the value is
 * deleted, overwritten, moved, its slab emptied, punched and unlinked: it returns the old bytes,
 * what the key holds by then, or "not found", never other bytes; and while it has the slab pinned
 * nothing there is punched, nor is the file unlinked. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "loop/run.h"

enum { BYTES = 20000, PER_SLAB = 12, SLAB_BYTES = 256 * 1024, GRACE_MS = 20 };

#define SLAB_PATH "/asd/slabs/0000000000000000"

enum point { AT_THE_DISK, BEHIND_THE_LOOK_UP };

enum what { NOTHING = 0, DELETE = 1, OVERWRITE = 2, EMPTY = 4 };

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool armed;
    bool held;
    enum point point;
    unsigned destroyed; /* punches and unlinks of the slab while held */
};

struct fixture {
    struct asd_fixture base;
    struct gate gate;
};

static void gate_pass(struct gate *gate, enum point point)
{
    pthread_mutex_lock(&gate->lock);
    if (gate->armed && gate->point == point) {
        gate->armed = false;
        gate->held = true;
        pthread_cond_broadcast(&gate->changed);
        while (gate->held) {
            pthread_cond_wait(&gate->changed, &gate->lock);
        }
    }
    pthread_mutex_unlock(&gate->lock);
}

static void on_io(void *ctx, const char *what, const char *path)
{
    struct gate *gate = ctx;

    if (strcmp(what, "preadv") == 0) {
        gate_pass(gate, AT_THE_DISK);
    } else if ((strcmp(what, "allocate") == 0 || strcmp(what, "unlink") == 0) &&
               strcmp(path, SLAB_PATH) == 0) {
        pthread_mutex_lock(&gate->lock);
        gate->destroyed += gate->held;
        pthread_mutex_unlock(&gate->lock);
    }
}

static void on_lookup(void *ctx)
{
    gate_pass(ctx, BEHIND_THE_LOOK_UP);
}

static void gate_arm(struct gate *gate, enum point point)
{
    pthread_mutex_lock(&gate->lock);
    gate->armed = true;
    gate->point = point;
    gate->destroyed = 0;
    pthread_mutex_unlock(&gate->lock);
}

static void gate_wait_held(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (!gate->held) {
        pthread_cond_wait(&gate->changed, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

/* Returns what was punched or unlinked meanwhile. */
static unsigned gate_open(struct gate *gate)
{
    unsigned destroyed;

    pthread_mutex_lock(&gate->lock);
    gate->held = false;
    destroyed = gate->destroyed;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
    return destroyed;
}

static void setup(struct fixture *f)
{
    struct err e;

    *f = (struct fixture){0};
    asd_fixture_init(&f->base, false, 5);
    f->base.options.slab_bytes = SLAB_BYTES;
    assert_int_equal(pthread_mutex_init(&f->gate.lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&f->gate.changed, NULL), 0);
    crash_disk_set_hook(f->base.disk, on_io, &f->gate);
    index_double_set_hook(f->base.index, on_lookup, &f->gate);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
}

static void teardown(struct fixture *f)
{
    asd_fixture_release(&f->base);
    pthread_cond_destroy(&f->gate.changed);
    pthread_mutex_destroy(&f->gate.lock);
}

static void set(struct fixture *f, const char *key, uint64_t seed)
{
    uint8_t *data = asd_fixture_bytes(seed, BYTES);

    assert_int_equal(asd_fixture_set(&f->base, key, data, BYTES), 0);
    free(data);
}

/* Slab 0 is full of values, "key" among them; the next slab takes what comes. */
static void fill(struct fixture *f)
{
    char key[8];

    set(f, "key", 1);
    for (unsigned i = 1; i <= PER_SLAB; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        set(f, key, 100 + i);
    }
}

static void delete_others(struct fixture *f)
{
    char key[8];

    for (unsigned i = 1; i < PER_SLAB; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
    }
}

static bool has_moved(void *ctx)
{
    struct fixture *f = ctx;

    return asd_store_stats(f->base.store).moves != 0;
}

static void act(struct fixture *f, unsigned what)
{
    delete_others(f);
    if (what & EMPTY) {
        asd_store_set_evacuation_rate(f->base.store, UINT64_C(1) << 40);
        loop_run_until_true(&f->base.base.loop, has_moved, f);
    }
    if (what & DELETE) {
        assert_int_equal(asd_fixture_delete(&f->base, "key"), 0);
    }
    if (what & OVERWRITE) {
        set(f, "key", 2);
    }
    loop_fixture_run_ms(&f->base.base, GRACE_MS); /* to destroy what may be destroyed */
}

/* A value whole, which is checked, or parts of it, which nothing but the pin keeps right. */
struct slow_read {
    struct asd_store_get get;
    struct asd_store_partial partial;
    struct slice key;
    bool done;
    int rc;
};

static const struct asd_part parts[] = {{BYTES - 3000, 3000}, {7, 9000}};

static void on_get(struct asd_store_op *op, int rc)
{
    struct slow_read *r = container_of(op, struct slow_read, get.op);

    r->rc = rc;
    r->done = true;
}

static void on_partial(struct asd_store_op *op, int rc)
{
    struct slow_read *r = container_of(op, struct slow_read, partial.op);

    r->rc = rc;
    r->done = true;
}

static void begin_read(struct fixture *f, struct slow_read *r, bool by_parts)
{
    struct asd_front *front = asd_store_front(f->base.store);

    *r = (struct slow_read){.key = slice_str("key")};
    assert_int_equal(by_parts
                         ? asd_store_partial(front, &r->partial, r->key, parts, 2, 0, on_partial)
                         : asd_store_get(front, &r->get, &r->key, 1, 0, on_get),
                     0);
}

static void check_get(const struct asd_store_get *get, int rc, const uint8_t *data)
{
    const struct asd_store_value *v = &get->values[0];

    assert_int_equal(rc, 0);
    assert_int_equal(v->rc, data == NULL ? ERR_NOT_FOUND : 0);
    if (data != NULL) {
        assert_int_equal(v->bytes, BYTES);
        assert_memory_equal(v->data, data, BYTES);
    }
}

static void check_parts(const struct asd_store_partial *partial, int rc, const uint8_t *data)
{
    assert_int_equal(rc, data == NULL ? ERR_NOT_FOUND : 0);
    if (data != NULL) {
        assert_int_equal(partial->data_bytes, parts[0].bytes + parts[1].bytes);
        assert_memory_equal(partial->data, data + parts[0].offset, parts[0].bytes);
        assert_memory_equal(partial->data + parts[0].bytes, data + parts[1].offset, parts[1].bytes);
    }
}

/* What the reader is to be told; NULL: that there is nothing. free() it. */
static uint8_t *expected(enum point point, unsigned what)
{
    if (point == AT_THE_DISK || (what & (DELETE | OVERWRITE)) == 0) {
        return asd_fixture_bytes(1, BYTES);
    }
    return (what & OVERWRITE) != 0 ? asd_fixture_bytes(2, BYTES) : NULL;
}

static void end_read(struct fixture *f, struct slow_read *r, bool by_parts, const uint8_t *data)
{
    loop_fixture_run_until(&f->base.base, &r->done);
    if (by_parts) {
        check_parts(&r->partial, r->rc, data);
        asd_store_partial_release(&r->partial);
    } else {
        check_get(&r->get, r->rc, data);
        asd_store_get_release(&r->get);
    }
}

static void delay_read(enum point point, unsigned what, bool by_parts)
{
    uint8_t *data = expected(point, what);
    struct slow_read r;
    struct fixture f;
    unsigned destroyed;

    setup(&f);
    fill(&f);
    asd_fixture_settle(&f.base);
    gate_arm(&f.gate, point);
    begin_read(&f, &r, by_parts);
    gate_wait_held(&f.gate);
    act(&f, what);
    destroyed = gate_open(&f.gate);
    if (point == AT_THE_DISK) {
        assert_int_equal(destroyed, 0);
        assert_int_equal(asd_store_stats(f.base.store).slabs_unlinked, 0);
    }
    end_read(&f, &r, by_parts, data);
    asd_fixture_settle(&f.base);
    assert_int_equal(asd_store_stats(f.base.store).slabs_unlinked, what == NOTHING ? 0 : 1);
    teardown(&f);
    free(data);
}

static const unsigned whats[] = {
    NOTHING, DELETE, OVERWRITE, EMPTY, EMPTY | DELETE, EMPTY | OVERWRITE, DELETE | OVERWRITE};

static void delay_reads(enum point point)
{
    for (unsigned i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
        delay_read(point, whats[i], false);
        delay_read(point, whats[i], true);
    }
}

static void a_read_that_waits_for_the_disk_gets_the_old_bytes(void **state)
{
    (void)state;
    delay_reads(AT_THE_DISK);
}

static void a_read_whose_look_up_is_out_of_date_gets_what_the_key_holds(void **state)
{
    (void)state;
    delay_reads(BEHIND_THE_LOOK_UP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_that_waits_for_the_disk_gets_the_old_bytes),
        cmocka_unit_test(a_read_whose_look_up_is_out_of_date_gets_what_the_key_holds),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
