#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/fifo_cache.h"
#include "base/rnd.h"
#include "lib/seed.h"

enum {
    IDS = 256,  /* as many as the smallest table of hashes has places: none is pushed out, */
    BYTES = 640 /* of the least item: nor are there so many that it grows */
};

struct thing {
    struct fifo_cache_item item;
    bool is_in;
};

struct cached {
    struct fifo_cache cache;
    struct thing things[IDS];
};

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    struct thing *thing = container_of(item, struct thing, item);

    (void)ctx;
    assert_true(thing->is_in);
    thing->is_in = false;
}

static void setup(struct cached *c, size_t limit_bytes)
{
    memset(c, 0, sizeof(*c));
    fifo_cache_init(&c->cache, limit_bytes, on_evict, c);
}

static size_t in_count(const struct cached *c)
{
    size_t count = 0;

    for (unsigned i = 0; i < IDS; i++) {
        count += c->things[i].is_in;
    }
    return count;
}

/* Ask for it, and put it there when it is not. */
static bool ask(struct cached *c, uint32_t id, size_t bytes)
{
    struct thing *thing = &c->things[id];

    if (thing->is_in) {
        fifo_cache_use(&thing->item);
        return true;
    }
    thing->is_in = fifo_cache_add(&c->cache, &thing->item, id, bytes);
    assert_true(c->cache.used_bytes <= c->cache.limit_bytes);
    return false;
}

/* ---- the same in arrays, as the paper tells it ---- */

struct model_item {
    uint32_t id;
    size_t bytes;
    unsigned uses;
};

struct model {
    size_t limit, fixed; /* bytes; of those, for hashes */
    struct model_item small[IDS], main[IDS];
    unsigned small_count, main_count;
    uint32_t gone[1 << 16]; /* ids, in their order */
    unsigned gone_count;
};

static size_t model_bytes(const struct model_item *items, unsigned count)
{
    size_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        sum += items[i].bytes;
    }
    return sum;
}

static struct model_item model_take(struct model_item *items, unsigned *count, unsigned at)
{
    struct model_item item = items[at];

    memmove(items + at, items + at + 1, (*count - at - 1) * sizeof(*items));
    (*count)--;
    return item;
}

static struct model_item *model_find(struct model *m, uint32_t id)
{
    for (unsigned i = 0; i < m->small_count; i++) {
        if (m->small[i].id == id) {
            return &m->small[i];
        }
    }
    for (unsigned i = 0; i < m->main_count; i++) {
        if (m->main[i].id == id) {
            return &m->main[i];
        }
    }
    return NULL;
}

static void model_make_room(struct model *m, size_t bytes)
{
    while (m->fixed + bytes + model_bytes(m->small, m->small_count) +
               model_bytes(m->main, m->main_count) >
           m->limit) {
        if (m->main_count == 0 || (m->small_count > 0 && model_bytes(m->small, m->small_count) >=
                                                             m->limit / FIFO_CACHE_SMALL_PART)) {
            struct model_item item = model_take(m->small, &m->small_count, 0);

            if (item.uses >= FIFO_CACHE_USES) {
                item.uses = 0;
                m->main[m->main_count++] = item;
            } else {
                m->gone[m->gone_count++] = item.id;
            }
        } else {
            struct model_item item = model_take(m->main, &m->main_count, 0);

            if (item.uses > 0) {
                item.uses--;
                m->main[m->main_count++] = item;
            }
        }
    }
}

static void model_ask(struct model *m, uint32_t id, size_t bytes)
{
    struct model_item *item = model_find(m, id);
    struct model_item fresh = {.id = id, .bytes = bytes};
    unsigned remembered;
    bool is_back = false;

    if (item != NULL) {
        item->uses += item->uses < FIFO_CACHE_USES_MAX;
        return;
    }
    model_make_room(m, bytes);
    remembered = m->small_count + m->main_count + 1;
    for (unsigned i = 0; i < remembered && i < m->gone_count; i++) {
        is_back = is_back || m->gone[m->gone_count - 1 - i] == id;
    }
    if (is_back) {
        m->main[m->main_count++] = fresh;
    } else {
        m->small[m->small_count++] = fresh;
    }
}

static void model_remove(struct model *m, uint32_t id)
{
    for (unsigned i = 0; i < m->small_count; i++) {
        if (m->small[i].id == id) {
            model_take(m->small, &m->small_count, i);
            return;
        }
    }
    for (unsigned i = 0; i < m->main_count; i++) {
        if (m->main[i].id == id) {
            model_take(m->main, &m->main_count, i);
            return;
        }
    }
}

static void compare(struct cached *c, struct model *m)
{
    for (uint32_t id = 0; id < IDS; id++) {
        struct model_item *item = model_find(m, id);

        assert_int_equal(c->things[id].is_in, item != NULL);
        if (item != NULL) {
            assert_int_equal(c->things[id].item.bytes, item->bytes);
            assert_int_equal(c->things[id].item.uses, item->uses);
        }
    }
    assert_int_equal(c->cache.count, m->small_count + m->main_count);
    assert_int_equal(c->cache.used_bytes, m->fixed + model_bytes(m->small, m->small_count) +
                                              model_bytes(m->main, m->main_count));
}

/* Small numbers are asked for more often. */
static uint32_t pick(struct rnd *rnd)
{
    uint64_t span = 1 + rnd_below(rnd, IDS);

    return (uint32_t)rnd_below(rnd, 1 + rnd_below(rnd, span));
}

static void any_sequence_leaves_what_the_paper_says(void **state)
{
    static struct cached c;
    static struct model m;
    struct rnd rnd = seed_start("any_sequence_leaves_what_the_paper_says");

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        size_t limit = 40000 + rnd_below(&rnd, 40000); /* room for 256 hashes in an eighth */
        size_t bytes_max = 64 + rnd_below(&rnd, 8000);

        setup(&c, limit);
        memset(&m, 0, sizeof(m));
        m.limit = limit;
        assert_false(ask(&c, 0, BYTES)); /* the table of hashes is made now */
        m.fixed = c.cache.used_bytes - BYTES;
        model_ask(&m, 0, BYTES);
        for (unsigned i = 0; i < 4000; i++) {
            uint32_t id = pick(&rnd);

            if (rnd_below(&rnd, 50) == 0) {
                if (c.things[id].is_in) {
                    fifo_cache_remove(&c.cache, &c.things[id].item);
                    c.things[id].is_in = false;
                }
                model_remove(&m, id);
            } else {
                size_t bytes = BYTES + rnd_below(&rnd, bytes_max);

                ask(&c, id, bytes);
                model_ask(&m, id, bytes);
            }
            if (i % 16 == 0) {
                compare(&c, &m);
            }
        }
        compare(&c, &m);
        fifo_cache_release(&c.cache);
        assert_int_equal(in_count(&c), 0);
        assert_int_equal(c.cache.used_bytes, 0);
    }
}

static void a_scan_does_not_sweep_what_is_used(void **state)
{
    static struct cached c;

    (void)state;
    setup(&c, 64000); /* 64 items less the hashes */
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t id = 0; id < 30; id++) {
            ask(&c, id, 1000);
        }
    }
    for (unsigned round = 0; round < 10; round++) { /* 200 others, again and again */
        for (uint32_t id = 40; id < 240; id++) {
            ask(&c, id, 1000);
        }
        for (uint32_t id = 0; id < 30; id++) {
            assert_true(ask(&c, id, 1000));
        }
    }
    fifo_cache_release(&c.cache);
}

static void what_comes_back_soon_stays(void **state)
{
    static struct cached c;

    (void)state;
    setup(&c, 64000);
    for (uint32_t id = 0; id < 80; id++) {
        ask(&c, id, 1000); /* 0 has gone by now */
    }
    assert_false(ask(&c, 0, 1000));
    for (uint32_t id = 80; id < 250; id++) {
        ask(&c, id, 1000);
    }
    assert_true(c.things[0].is_in);
    assert_false(c.things[80].is_in);
    fifo_cache_release(&c.cache);
}

static void what_is_too_large_changes_nothing(void **state)
{
    static struct cached c;
    size_t used;

    (void)state;
    setup(&c, 64000);
    for (uint32_t id = 0; id < 40; id++) {
        ask(&c, id, 1000);
    }
    used = c.cache.used_bytes;
    assert_false(fifo_cache_add(&c.cache, &c.things[100].item, 100, 64001));
    assert_false(fifo_cache_add(&c.cache, &c.things[100].item, 100, SIZE_MAX));
    assert_int_equal(in_count(&c), 40);
    assert_int_equal(c.cache.used_bytes, used);
    ask(&c, 100, 50000); /* this one may: others go */
    assert_true(c.things[100].is_in);
    fifo_cache_release(&c.cache);
}

/* Or there would be no end of items that take nothing. */
static void no_item_counts_for_less_than_itself(void **state)
{
    static struct cached c;

    (void)state;
    setup(&c, 100 * sizeof(struct fifo_cache_item));
    for (uint32_t id = 0; id < IDS; id++) {
        ask(&c, id, 0);
    }
    assert_true(in_count(&c) <= 100 && in_count(&c) > 50);
    fifo_cache_release(&c.cache);
}

static void a_cache_of_no_bytes_holds_nothing(void **state)
{
    static struct cached c;

    (void)state;
    setup(&c, 0);
    assert_false(fifo_cache_add(&c.cache, &c.things[0].item, 0, 0));
    assert_int_equal(c.cache.count, 0);
    fifo_cache_release(&c.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_sequence_leaves_what_the_paper_says),
        cmocka_unit_test(a_scan_does_not_sweep_what_is_used),
        cmocka_unit_test(what_comes_back_soon_stays),
        cmocka_unit_test(what_is_too_large_changes_nothing),
        cmocka_unit_test(no_item_counts_for_less_than_itself),
        cmocka_unit_test(a_cache_of_no_bytes_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
