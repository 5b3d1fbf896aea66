#include "unit/asd/slab_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"

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

int setup(void **state)
{
    return setup_disk(state, true);
}

int setup_crash_disk(void **state)
{
    return setup_disk(state, false);
}

int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

void reopen(struct asd_fixture *f)
{
    struct err e = {0};

    asd_fixture_close(f);
    assert_int_equal(asd_fixture_open(f, &e), 0);
}

void set_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);

    assert_int_equal(asd_fixture_set(f, key, data, bytes), 0);
    free(data);
}

bool has_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);
    bool same = asd_fixture_has(f, key, data, bytes);

    free(data);
    return same;
}

/* ---- records of the index ---- */

void each(struct asd_fixture *f, uint8_t kind, asd_index_visit_cb visit, void *ctx)
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

unsigned count_of(struct asd_fixture *f, uint8_t kind)
{
    unsigned n = 0;

    each(f, kind, count_one, &n);
    return n;
}

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

    assert_int_equal(asd_key_name_parse(key, &slab, &offset, &e), 0);
    assert_int_equal(asd_name_record_get(key, record, &r, &e), 0);
    if (slab == p->record.slab && offset == p->record.offset) {
        p->named = slice_eq(r.client_key, slice_str(p->key));
    }
    return true;
}

struct value_place place_of(struct asd_fixture *f, const char *key)
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

void forget_names(struct asd_fixture *f)
{
    struct asd_index_batch batch = {0};
    struct asd_index *index = f->options.index;
    struct err e;

    each(f, ASD_KEY_NAME, delete_one, &batch);
    assert_true(batch.change_count > 0);
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
}

/* ---- moves ---- */

static void on_sent(struct asd_store_op *op, int rc)
{
    struct sent *s = container_of(op, struct sent, apply.op);

    assert_false(s->done);
    s->done = true;
    s->rc = rc;
}

void send_move(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
               struct asd_value_record from)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, from.bytes)};
    s->update = (struct asd_update){.key = slice_str(key),
                                    .value = slice_of(s->data, from.bytes),
                                    .checksum = from.checksum,
                                    .assertable = from.assertable};
    s->what = (struct asd_apply){.updates = &s->update, .update_count = 1};
    s->move = (struct asd_move){.slab = from.slab, .offset = from.offset, .crc = from.crc};
    assert_int_equal(asd_store_move(f->store, &s->apply, &s->what, &s->move, on_sent), 0);
}

void send_change(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                 size_t bytes, uint8_t prio)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, bytes)};
    s->update = (struct asd_update){
        .key = slice_str(key), .value = slice_of(s->data, bytes), .is_delete = bytes == 0};
    s->what = (struct asd_apply){.updates = &s->update, .update_count = 1};
    assert_int_equal(asd_store_apply(f->front, &s->apply, &s->what, prio, on_sent), 0);
}

void send_assert(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                 size_t bytes, uint8_t prio)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, bytes)};
    s->is = (struct asd_assert){
        .key = slice_str(key), .value = slice_of(s->data, bytes), .has_value = true};
    s->what = (struct asd_apply){.asserts = &s->is, .assert_count = 1};
    assert_int_equal(asd_store_apply(f->front, &s->apply, &s->what, prio, on_sent), 0);
}

int answer(struct asd_fixture *f, struct sent *s)
{
    loop_fixture_run_until(&f->base, &s->done);
    free(s->data);
    return s->rc;
}

void check_space(struct asd_fixture *f, uint64_t used_bytes)
{
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).used_bytes, used_bytes);
    assert_int_equal(count_of(f, ASD_KEY_FREE), 0);
    assert_int_equal(count_of(f, ASD_KEY_NAME), used_bytes / LARGE_ALIGNED);
}

/* ---- emptying slabs: 12 values to a slab, one of them is less than an eighth of it ---- */

void key_name(char ret_key[KEY_NAME_BYTES], unsigned i)
{
    snprintf(ret_key, KEY_NAME_BYTES, "k%03u", i);
}

void fill(struct asd_fixture *f, unsigned first, unsigned count)
{
    char key[KEY_NAME_BYTES];

    for (unsigned i = first; i < first + count; i++) {
        key_name(key, i);
        set_seeded(f, key, i, LARGE);
    }
}

void thin(struct asd_fixture *f, unsigned slab, unsigned keep)
{
    char key[KEY_NAME_BYTES];

    for (unsigned i = slab * PER_SLAB; i < (slab + 1) * PER_SLAB - keep; i++) {
        key_name(key, i);
        assert_int_equal(asd_fixture_delete(f, key), 0);
    }
}

void evacuate(struct asd_fixture *f)
{
    asd_store_set_evacuation_rate(f->store, UINT64_C(1) << 40);
    asd_fixture_settle(f);
}

void check_value(struct asd_fixture *f, unsigned i)
{
    char key[KEY_NAME_BYTES];

    key_name(key, i);
    assert_true(has_seeded(f, key, i, LARGE));
}

void three_sparse_slabs(struct asd_fixture *f)
{
    fill(f, 0, 3 * PER_SLAB + 1);
    for (unsigned slab = 0; slab < 3; slab++) {
        thin(f, slab, 1);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slab_count, 4);
}

void check_three_emptied(struct asd_fixture *f)
{
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_space(f, 4 * LARGE_ALIGNED);
    for (unsigned i = PER_SLAB - 1; i < 3 * PER_SLAB; i += PER_SLAB) {
        check_value(f, i);
    }
    check_value(f, 3 * PER_SLAB);
}
