#include "fault/asd_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/mark.h"
#include "asd/record.h"
#include "asd/store_private.h"
#include "base/check.h"
#include "base/mem.h"

static const char *const key_names[MODEL_KEYS] = {"a",  "b",      "bb",       "c\xff", "large",
                                                  "lz", "middle", "p/\x01/x", "z"};

/* ---- the model ---- */

static bool value_same(const struct model_value *a, const struct model_value *b)
{
    return a->there == b->there && (!a->there || (a->seed == b->seed && a->bytes == b->bytes));
}

static bool model_apply(struct model *m, const struct model_tx *tx)
{
    for (unsigned i = 0; i < tx->assert_count; i++) {
        if (!value_same(&m->values[tx->asserts[i].key], &tx->asserts[i].value)) {
            return false;
        }
    }
    for (unsigned i = 0; i < tx->update_count; i++) {
        m->values[tx->updates[i].key] = tx->updates[i].value;
    }
    return true;
}

/* ---- making transactions ---- */

static uint32_t random_bytes(struct rnd *rnd)
{
    static const uint32_t edges[] = {0, 1, 16383, 16384, 16385, 20480, 40000};

    switch (rnd_below(rnd, 4)) {
    case 0:
        return (uint32_t)rnd_below(rnd, 2000);
    case 1:
        return edges[rnd_below(rnd, sizeof(edges) / sizeof(edges[0]))];
    case 2: /* on both sides of what is written past the page cache */
        return (uint32_t)(60000 + rnd_below(rnd, 20000));
    default:
        return (uint32_t)(16384 + rnd_below(rnd, 30000));
    }
}

static struct model_value random_value(struct rnd *rnd)
{
    return (struct model_value){.there = true, .seed = rnd_next(rnd), .bytes = random_bytes(rnd)};
}

static struct model_tx random_tx(struct workload *w)
{
    struct model_tx tx = {.update_count = 1 + (unsigned)rnd_below(&w->rnd, MODEL_UPDATES_MAX)};

    if (rnd_below(&w->rnd, 2) == 0) {
        tx.assert_count = 1 + (unsigned)rnd_below(&w->rnd, MODEL_ASSERTS_MAX);
    }
    for (unsigned i = 0; i < tx.assert_count; i++) {
        struct model_change *a = &tx.asserts[i];

        a->key = (unsigned)rnd_below(&w->rnd, MODEL_KEYS);
        a->value = rnd_below(&w->rnd, 4) != 0 ? w->model.values[a->key] : random_value(&w->rnd);
    }
    for (unsigned i = 0; i < tx.update_count; i++) {
        struct model_change *u = &tx.updates[i];

        u->key = (unsigned)rnd_below(&w->rnd, MODEL_KEYS);
        if (rnd_below(&w->rnd, 4) != 0) {
            u->value = random_value(&w->rnd);
        }
    }
    return tx;
}

/* ---- sending them ---- */

struct sent {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_assert asserts[MODEL_ASSERTS_MAX];
    struct asd_update updates[MODEL_UPDATES_MAX];
    struct model_tx tx;
    bool answered;
    bool refused; /* at once: it was not executed */
    bool is_move; /* of what tx sets */
    struct asd_move move;
    int rc;
};

static struct slice key_of(unsigned key)
{
    return slice_str(key_names[key]);
}

static struct slice bytes_of(const struct model_value *v)
{
    return slice_of(asd_fixture_bytes(v->seed, v->bytes), v->bytes);
}

static void sent_prepare(struct sent *s)
{
    const struct model_tx *tx = &s->tx;

    for (unsigned i = 0; i < tx->assert_count; i++) {
        s->asserts[i] = (struct asd_assert){.key = key_of(tx->asserts[i].key),
                                            .has_value = tx->asserts[i].value.there};
        if (s->asserts[i].has_value) {
            s->asserts[i].value = bytes_of(&tx->asserts[i].value);
        }
    }
    for (unsigned i = 0; i < tx->update_count; i++) {
        s->updates[i] = (struct asd_update){.key = key_of(tx->updates[i].key),
                                            .is_delete = !tx->updates[i].value.there};
        if (!s->updates[i].is_delete) {
            s->updates[i].value = bytes_of(&tx->updates[i].value);
        }
    }
    s->what = (struct asd_apply){.asserts = s->asserts,
                                 .assert_count = tx->assert_count,
                                 .updates = s->updates,
                                 .update_count = tx->update_count};
}

static void sent_release(struct sent *s)
{
    for (unsigned i = 0; i < s->tx.assert_count; i++) {
        free((void *)(uintptr_t)s->asserts[i].value.data);
    }
    for (unsigned i = 0; i < s->tx.update_count; i++) {
        free((void *)(uintptr_t)s->updates[i].value.data);
    }
}

static void on_apply(struct asd_store_op *op, int rc)
{
    struct sent *s = container_of(op, struct sent, apply.op);

    assert_false(s->answered);
    s->answered = true;
    s->rc = rc;
}

static void judge_answer(struct workload *w, const struct asd_fixture *f, const struct sent *s)
{
    struct model before = w->model;

    if (s->is_move && (s->rc == 0 || s->rc == ERR_ASSERT_FAILED)) {
        w->moved += s->rc == 0 && s->what.update_count != 0;
        w->moves_lost += s->rc != 0;
        return;
    }
    if (s->refused) {
        return;
    }
    switch (s->rc) {
    case 0:
        assert_int_equal(w->doubt_count, 0);
        assert_true(model_apply(&w->model, &s->tx));
        w->acked++;
        break;
    case ERR_ASSERT_FAILED:
        assert_false(model_apply(&before, &s->tx));
        w->refused++;
        break;
    case ERR_FULL:
        assert_true(w->full_allowed);
        w->refused++;
        w->full += !s->is_move;
        break;
    default:
        /* The disk may be gone while an asserted value is read: then the value counts as bad. */
        assert_true(s->rc == ERR_FAILED || s->rc == -5 ||
                    (s->rc == ERR_CORRUPT && crash_disk_is_off(f->disk)));
        if (!s->is_move) {
            assert_true(w->doubt_count < MODEL_DOUBT_MAX);
            w->doubt[w->doubt_count++] = s->tx;
        }
    }
}

/* Where the value of a random key lies; the key, or MODEL_KEYS if that is in no slab. */
static unsigned random_place(struct workload *w, struct asd_fixture *f,
                             struct asd_value_record *ret_record)
{
    unsigned key = (unsigned)rnd_below(&w->rnd, MODEL_KEYS);
    struct asd_index *index = f->options.index;
    struct asd_index_value found = {0};
    struct buf index_key = {0};
    struct err e;
    bool there;

    asd_key_value_put(&index_key, key_of(key));
    there = index->ops->get(index, slice_buf(&index_key), &found, &e) == 0 &&
            asd_value_record_get(slice_buf(&index_key), found.bytes, ret_record, &e) == 0 &&
            ret_record->in_slab;
    index->ops->release(index, &found);
    buf_release(&index_key);
    return there ? key : MODEL_KEYS;
}

/* A move of what a key holds before the group. It changes nothing, whatever becomes of it. */
static void prepare_move(struct workload *w, struct asd_fixture *f, struct sent *s)
{
    struct asd_value_record record;
    unsigned key = random_place(w, f, &record);

    s->is_move = true;
    if (key == MODEL_KEYS) {
        return;
    }
    s->move = (struct asd_move){.slab = record.slab, .offset = record.offset, .crc = record.crc};
    s->tx = (struct model_tx){.update_count = 1};
    s->tx.updates[0] = (struct model_change){.key = key, .value = w->model.values[key]};
    sent_prepare(s);
    s->updates[0].checksum = record.checksum;
}

static void send_move(struct asd_fixture *f, struct sent *s)
{
    bool is_one = s->what.update_count != 0;

    s->rc = is_one ? asd_store_move(f->store, &s->apply, &s->what, &s->move, on_apply) : 0;
    s->refused = s->rc != 0; /* it was not begun: neither moved nor lost */
    s->answered = !is_one || s->refused;
}

static void send_apply(struct workload *w, struct asd_fixture *f, struct sent *s, uint8_t prio)
{
    s->tx = random_tx(w);
    sent_prepare(s);
    if (asd_store_apply(f->front, &s->apply, &s->what, prio, on_apply) != 0) {
        s->refused = s->answered = true;
    }
}

/* In a group at Low, moves stand between the transactions of a batch; else behind them. */
static bool send_group(struct workload *w, struct asd_fixture *f)
{
    struct sent *group = calloc(2 * MODEL_GROUP_MAX, sizeof(*group));
    uint8_t prio = rnd_below(&w->rnd, 2) == 0 ? ASD_PRIO_HIGH : ASD_PRIO_LOW;
    unsigned n = 2 * (1 + (unsigned)rnd_below(&w->rnd, MODEL_GROUP_MAX));

    for (unsigned i = 0; i < n; i += 2) {
        prepare_move(w, f, &group[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        if (i % 2 == 0) {
            send_move(f, &group[i]);
        } else {
            send_apply(w, f, &group[i], prio);
        }
        if (rnd_below(&w->rnd, 4) == 0) {
            uv_run(&f->base.loop, UV_RUN_NOWAIT); /* so that the next one joins a later batch */
        }
    }
    for (unsigned i = 0; i < n; i++) {
        loop_fixture_run_until(&f->base, &group[i].answered);
    }
    for (unsigned i = 0; i < n; i++) {
        judge_answer(w, f, &group[i]);
        sent_release(&group[i]);
    }
    free(group);
    return !asd_store_failed(f->store, NULL);
}

/* ---- the script ---- */

void workload_init(struct workload *w, uint64_t seed)
{
    *w = (struct workload){.rnd = rnd_seed(seed)};
}

/* False: the store went out of service before it could. */
static bool let_settle(struct asd_fixture *f)
{
    while (asd_store_stats(f->store).frees_pending != 0 || asd_store_stats(f->store).evacuating) {
        if (asd_store_failed(f->store, NULL)) {
            return false;
        }
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    }
    return !asd_store_failed(f->store, NULL);
}

static void count_slabs(struct workload *w, struct asd_fixture *f)
{
    struct asd_store_stats stats = asd_store_stats(f->store);

    w->dropped += (unsigned)stats.slabs_unlinked;
    w->evacuated += (unsigned)stats.slabs_evacuated;
}

bool workload_run(struct workload *w, struct asd_fixture *f, unsigned groups)
{
    struct err e;

    for (unsigned i = 0; i < groups; i++) {
        if (!send_group(w, f)) {
            return false;
        }
        if (i % 3 == 2 && !let_settle(f)) {
            return false;
        }
        if (i % 8 == 7) {
            count_slabs(w, f);
            asd_fixture_close(f);
            if (asd_fixture_open(f, &e) != 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- verifying ---- */

struct actual {
    bool there;
    uint8_t *data;
    uint32_t bytes;
};

static bool actual_same(const struct actual *actual, const struct model *m)
{
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        const struct model_value *v = &m->values[i];
        uint8_t *data;
        bool same;

        if (actual[i].there != v->there || (v->there && actual[i].bytes != v->bytes)) {
            return false;
        }
        if (!v->there) {
            continue;
        }
        data = asd_fixture_bytes(v->seed, v->bytes);
        same = memcmp(data, actual[i].data, v->bytes) == 0;
        free(data);
        if (!same) {
            return false;
        }
    }
    return true;
}

static unsigned read_actual(struct asd_fixture *f, struct actual *ret_actual)
{
    unsigned there = 0;

    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        int rc = asd_fixture_get(f, key_of(i), &ret_actual[i].data, &ret_actual[i].bytes);

        if (rc != 0 && rc != ERR_NOT_FOUND) {
            fail_msg("key %s: %s", key_names[i], err_text(rc));
        }
        ret_actual[i].there = rc == 0;
        there += rc == 0;
    }
    return there;
}

/* Those of `skip` found no space, as it was about to be told when the store failed. */
static bool find_prefix(const struct workload *w, const struct actual *actual, unsigned skip,
                        struct model *m)
{
    bool found = actual_same(actual, m);

    for (unsigned i = 0; i < w->doubt_count && !found; i++) {
        if ((skip >> i & 1) == 0 && model_apply(m, &w->doubt[i])) {
            found = actual_same(actual, m);
        }
    }
    return found;
}

void workload_verify(struct workload *w, struct asd_fixture *f)
{
    struct asd_range all = {.first_included = true, .max = -1};
    struct actual actual[MODEL_KEYS] = {0};
    struct asd_store_range keys;
    struct model m = w->model;
    unsigned there = read_actual(f, actual);
    bool found = false;

    assert_int_equal(asd_fixture_range(f, &keys, &all, ASD_STORE_KEYS), 0);
    assert_int_equal(keys.entry_count, there);
    assert_false(keys.more);
    asd_store_range_release(&keys);
    for (unsigned skip = 0; skip < 1U << w->doubt_count && !found; skip++) {
        m = w->model;
        found = (skip == 0 || w->full_allowed) && find_prefix(w, actual, skip, &m);
    }
    if (!found) {
        fprintf(stderr, "state is not: acknowledged + a prefix of %u in doubt\n", w->doubt_count);
    }
    assert_true(found);
    w->model = m;
    w->doubt_count = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        free(actual[i].data);
    }
}

/* ---- what the index says of the slabs ---- */

enum { PLACES_MAX = 256 };

struct place {
    uint64_t slab;
    uint64_t offset;
    uint64_t bytes;   /* of a free one */
    struct slice key; /* of a name; owned */
};

struct places {
    struct place frees[PLACES_MAX];
    struct place names[PLACES_MAX];
    unsigned free_count;
    unsigned name_count;
    unsigned value_count;
};

static void see_free(struct places *p, struct slice key, struct slice record)
{
    struct place *at = &p->frees[p->free_count++];
    struct asd_free_record r;
    struct err e;

    assert_true(p->free_count < PLACES_MAX);
    assert_int_equal(asd_key_free_parse(key, &at->slab, &at->offset, &e), 0);
    assert_int_equal(asd_free_record_get(key, record, &r, &e), 0);
    at->bytes = r.bytes;
}

static void see_placed_name(struct places *p, struct slice key, struct slice record)
{
    struct place *at = &p->names[p->name_count++];
    struct asd_name_record r;
    struct err e;

    assert_true(p->name_count < PLACES_MAX);
    assert_int_equal(asd_key_name_parse(key, &at->slab, &at->offset, &e), 0);
    assert_int_equal(asd_name_record_get(key, record, &r, &e), 0);
    at->key = slice_of(mem_dup(r.client_key.data, r.client_key.len), r.client_key.len);
}

/* Comes behind all frees and names. */
static void see_value(struct places *p, struct slice key, struct slice record)
{
    struct slice client_key = slice_of(key.data + 1, key.len - 1);
    struct asd_value_record r;
    bool named = false;
    struct err e;

    assert_int_equal(asd_value_record_get(key, record, &r, &e), 0);
    if (!r.in_slab) {
        return;
    }
    p->value_count++;
    for (unsigned i = 0; i < p->name_count; i++) {
        struct place *at = &p->names[i];

        if (at->slab == r.slab && at->offset == r.offset) {
            assert_true(slice_eq(at->key, client_key));
            named = true;
        }
    }
    assert_true(named);
    for (unsigned i = 0; i < p->free_count; i++) {
        const struct place *at = &p->frees[i];
        bool apart = at->slab != r.slab || at->offset + at->bytes <= r.offset ||
                     r.offset + asd_slab_align(r.bytes) <= at->offset;

        assert_true(apart); /* else a punch would destroy it */
    }
}

static bool see_record(void *ctx, struct slice key, struct slice record)
{
    if (key.data[0] == ASD_KEY_FREE) {
        see_free(ctx, key, record);
    } else if (key.data[0] == ASD_KEY_NAME) {
        see_placed_name(ctx, key, record);
    } else if (key.data[0] == ASD_KEY_VALUE) {
        see_value(ctx, key, record);
    }
    return true;
}

/* Every value in a slab has its name, every name its value; no free record covers a value. All as
 * of one moment. */
static void verify_places(struct asd_fixture *f)
{
    struct asd_internal_key from = asd_key_of(ASD_KEY_FREE);
    struct asd_internal_key to = asd_key_of(ASD_KEY_VALUE + 1);
    struct asd_index *index = f->options.index;
    struct places *p = mem_zalloc(sizeof(*p));
    struct err e;

    assert_int_equal(index->ops->iterate(index, asd_internal_slice(&from), asd_internal_slice(&to),
                                         false, see_record, p, &e),
                     0);
    assert_int_equal(p->name_count, p->value_count);
    for (unsigned i = 0; i < p->name_count; i++) {
        free((void *)(uintptr_t)p->names[i].key.data);
    }
    free(p);
}

void workload_verify_space(struct workload *w, struct asd_fixture *f)
{
    uint64_t live = 0;
    uint64_t cost = 0;

    verify_places(f);
    asd_fixture_settle(f);
    asd_store_set_evacuation_rate(f->store, 0); /* nor later, when there is room again */
    asd_fixture_settle(f);
    verify_places(f);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        const struct model_value *v = &w->model.values[i];
        bool in_slab = v->bytes > ASD_STORE_INLINE_BYTES_MAX;

        if (v->there) {
            live += in_slab ? asd_slab_align(v->bytes) : 0;
            cost += asd_value_cost(strlen(key_names[i]), in_slab, v->bytes);
        }
    }
    struct asd_store_stats stats = asd_store_stats(f->store);
    assert_int_equal(stats.used_bytes, cost);
    assert_int_equal(stats.bad_values, 0);
    assert_int_equal(index_double_count(f->index, ASD_KEY_FREE), 0);
    assert_int_equal(index_double_count(f->index, ASD_KEY_SLAB), stats.slab_count);
    /* identity, mark, slab headers, live values; nothing else holds a page */
    assert_int_equal(crash_disk_used_bytes(f->disk), 4096 + ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES +
                                                         stats.slab_count * ASD_SLAB_HEADER_BYTES +
                                                         live);
    asd_store_set_evacuation_rate(f->store, f->options.evacuation_rate);
}
