/* Names of what lies in slabs, moving values, emptying slabs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/record.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { LARGE = 20000, SLAB_BYTES = 256 * 1024 };

static int setup_disk(void **state, bool real)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, real, 7);
    f->options.slab_bytes = SLAB_BYTES;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_disk(state, true);
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

/* Value number `seed` under `key`. */
static void set_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);

    assert_int_equal(asd_fixture_set(f, key, data, bytes), 0);
    free(data);
}

static bool has_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);
    bool same = asd_fixture_has(f, key, data, bytes);

    free(data);
    return same;
}

/* ---- records of the index ---- */

static void each(struct asd_fixture *f, uint8_t kind, asd_index_visit_cb visit, void *ctx)
{
    struct asd_internal_key from = asd_key_of(kind);
    struct asd_internal_key to = asd_key_of((uint8_t)(kind + 1));
    struct asd_index *index = f->options.index;
    struct err e;

    assert_int_equal(index->ops->iterate(index, asd_internal_slice(&from), asd_internal_slice(&to),
                                         false, visit, ctx, &e),
                     0);
}

static bool count_one(void *ctx, struct slice key, struct slice record)
{
    (void)key;
    (void)record;
    (*(unsigned *)ctx)++;
    return true;
}

static unsigned count_of(struct asd_fixture *f, uint8_t kind)
{
    unsigned n = 0;

    each(f, kind, count_one, &n);
    return n;
}

struct value_place {
    const char *key;
    struct asd_value_record record;
    bool named;
};

static bool see_value(void *ctx, struct slice key, struct slice record)
{
    struct value_place *p = ctx;
    struct err e;

    if (slice_eq(slice_of(key.data + 1, key.len - 1), slice_str(p->key))) {
        assert_int_equal(asd_value_record_get(key, record, &p->record, &e), 0);
    }
    return true;
}

static bool see_name(void *ctx, struct slice key, struct slice record)
{
    struct value_place *p = ctx;
    struct asd_name_record r;
    uint64_t slab;
    uint64_t offset;
    struct err e;

    assert_int_equal(asd_key_name_parse(key, &slab, &offset), 0);
    assert_int_equal(asd_name_record_get(key, record, &r, &e), 0);
    if (slab == p->record.slab && offset == p->record.offset) {
        p->named = slice_eq(r.client_key, slice_str(p->key));
    }
    return true;
}

/* The record of a value in a slab, and whether there is a name for it. */
static struct value_place place_of(struct asd_fixture *f, const char *key)
{
    struct value_place p = {.key = key};

    each(f, ASD_KEY_VALUE, see_value, &p);
    assert_true(p.record.in_slab);
    each(f, ASD_KEY_NAME, see_name, &p);
    return p;
}

static bool delete_one(void *ctx, struct slice key, struct slice record)
{
    (void)record;
    asd_index_batch_delete(ctx, key);
    return true;
}

/* What the store would look like, had software made it that knows no names. */
static void forget_names(struct asd_fixture *f)
{
    struct asd_index_batch batch = {0};
    struct asd_index *index = f->options.index;
    struct err e;

    each(f, ASD_KEY_NAME, delete_one, &batch);
    assert_true(batch.change_count > 0);
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
}

/* ---- names ---- */

static void a_value_in_a_slab_has_a_name_as_long_as_it_lies_there(void **state)
{
    struct asd_fixture *f = *state;

    set_seeded(f, "inline", 1, 100);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 0);
    set_seeded(f, "a", 1, LARGE);
    set_seeded(f, "b", 2, LARGE);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 2);
    assert_true(place_of(f, "a").named);
    assert_true(place_of(f, "b").named);
    set_seeded(f, "a", 3, LARGE); /* elsewhere */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 2);
    assert_true(place_of(f, "a").named);
    set_seeded(f, "a", 4, 100); /* no longer in a slab */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
    assert_int_equal(asd_fixture_delete(f, "b"), 0);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 0);
}

static void a_store_of_software_without_names_is_read_changed_and_dropped_from(void **state)
{
    struct asd_fixture *f = *state;
    char key[8];

    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        set_seeded(f, key, i, LARGE);
    }
    forget_names(f);
    reopen(f);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_true(has_seeded(f, key, i, LARGE));
    }
    assert_int_equal(asd_fixture_delete(f, "k0"), 0);
    set_seeded(f, "k1", 100, LARGE);
    assert_true(place_of(f, "k1").named);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
    for (unsigned i = 2; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        set_seeded(f, key, 100 + i, LARGE);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slabs_unlinked, 1);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 11);
    assert_int_equal(count_of(f, ASD_KEY_FREE), 0);
}

/* Older software deletes a value and knows nothing of its name. */
static void names_without_a_value_go_with_their_slab(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key stale = asd_key_name(0, 4096 * 60);
    struct asd_name_record record = {.client_key = slice_str("gone")};
    struct asd_index_batch batch = {0};
    struct asd_index *index = f->options.index;
    struct buf bytes = {0};
    struct err e;

    set_seeded(f, "a", 1, LARGE);
    assert_int_equal(place_of(f, "a").record.slab, 0);
    asd_name_record_put(&bytes, asd_internal_slice(&stale), &record);
    asd_index_batch_put(&batch, asd_internal_slice(&stale), slice_buf(&bytes), slice_of(NULL, 0));
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
    buf_release(&bytes);
    set_seeded(f, "wide", 2, SLAB_BYTES - 8192); /* the next slab */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 3);
    assert_int_equal(asd_fixture_delete(f, "a"), 0);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slabs_unlinked, 1);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(a_value_in_a_slab_has_a_name_as_long_as_it_lies_there),
        REAL(a_store_of_software_without_names_is_read_changed_and_dropped_from),
        REAL(names_without_a_value_go_with_their_slab),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
