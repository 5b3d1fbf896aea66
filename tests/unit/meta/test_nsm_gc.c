/* Life and clean-up of a namespace: gc epochs, obsolete objects, agents that wake up late. */
#include "unit/meta/nsm_fixture.h"

#include "base/clock.h"
#include "base/rnd.h"

static int call(struct nsm *nsm, void (*f)(struct nsm *, uint64_t, uint64_t, nsm_cb, void *),
                uint64_t epoch)
{
    struct nsm_wait w = {0};

    f(nsm, NS, epoch, nsm_wait_cb, &w);
    return await_rc(nsm, &w);
}

static void expect_epochs(struct nsm *nsm, uint64_t first, uint64_t last)
{
    struct nsm_wait w = {0};

    nsm_gc_epochs(nsm, NS, nsm_wait_cb, &w);
    await(nsm, &w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.reply->count, last + 1 - first);
    for (uint64_t i = 0; i < w.reply->count; i++) {
        assert_int_equal(w.reply->epochs[i], first + i);
    }
    nsm_wait_release(&w);
}

/* ---- a full store ---- */

static int drop_fragment(void *ctx, struct manifest *m)
{
    (void)ctx;
    m->fragments[0].has_osd = false;
    return 0;
}

static void a_full_store_takes_no_put_and_can_be_emptied(void **state)
{
    struct fixture *f = *state;
    struct manifest *kept = make("kept", 1), *gone = make("gone", 1), *refused = make("new", 1);
    struct nsm_wait w = {0};

    assert_int_equal(put(f->a, kept), 0);
    assert_int_equal(put(f->a, gone), 0);
    kv_mem_set_fate(f->kv_a, kv_mem_full, NULL);
    assert_int_equal(put(f->a, refused), ERR_FULL);
    assert_int_equal(delete (f->a, "gone"), 0);
    nsm_update(f->a, NS, kept->object_id, 1, drop_fragment, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0);
    assert_int_equal(call(f->a, nsm_gc_disable, 1), 0);
    assert_int_equal(expand_all(f->a), 2);
    nsm_namespace_destroy(f->a, NS, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    unmake(kept);
    unmake(gone);
    unmake(refused);
}

/* ---- gc epochs ---- */

static void epochs_advance_at_the_end_and_end_at_the_beginning(void **state)
{
    struct fixture *f = *state;

    expect_epochs(f->a, 1, 1);
    assert_int_equal(call(f->a, nsm_gc_disable, 1), ERR_BUSY); /* the current one */
    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0);
    assert_int_equal(call(f->b, nsm_gc_advance, 1), 0); /* somebody did it before */
    assert_int_equal(call(f->b, nsm_gc_advance, 2), 0);
    expect_epochs(f->b, 1, 3);
    assert_int_equal(call(f->b, nsm_gc_disable, 2), ERR_BUSY); /* not the oldest */
    assert_int_equal(call(f->b, nsm_gc_disable, 1), 0);
    assert_int_equal(call(f->a, nsm_gc_disable, 1), 0);
    expect_epochs(f->a, 2, 3);
    assert_int_equal(call(f->a, nsm_gc_advance, 7), ERR_STALE);
    /* Setting up again changes nothing. */
    assert_int_equal(count_kind(f, 'e'), 2);
    {
        struct nsm_wait w = {0};

        nsm_namespace_setup(f->a, NS, nsm_wait_cb, &w);
        assert_int_equal(await_rc(f->a, &w), 0);
    }
    expect_epochs(f->a, 2, 3);
}

static void the_beginning_of_an_epoch_is_known(void **state)
{
    struct fixture *f = *state;
    struct nsm_wait w = {0};
    uint64_t now = clock_wall_us();

    nsm_gc_began(f->a, NS, 1, nsm_wait_cb, &w);
    await(f->a, &w);
    assert_in_range(w.reply->epochs[0], now - 60000000, now);
    nsm_wait_release(&w);
    nsm_gc_began(f->a, NS, 2, nsm_wait_cb, &w);
    await(f->a, &w);
    assert_int_equal(w.reply->epochs[0], 0);
    nsm_wait_release(&w);
}

static void a_put_under_an_epoch_that_ended_is_refused(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct nsm_wait w;

    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0);
    assert_int_equal(call(f->a, nsm_gc_disable, 1), 0);
    start(f->b, m, NULL, NULL, 0, &w);
    await(f->b, &w);
    assert_int_equal(w.rc, ERR_STALE);
    assert_true(w.reply->gc_epoch_ended);
    nsm_wait_release(&w);
    expect_sound(f, 0, 0);
    m->gc_epoch = 2;
    assert_int_equal(put(f->b, m), 0);
    unmake(m);
}

/* Either the put is in before its epoch ends, or it is not in at all: what clean-up finds
 * after the end is final. */
static void a_put_and_the_end_of_its_epoch_come_one_after_the_other(void **state)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct manifest *m = make("x", 1);
        struct nsm_wait put_wait, end_wait = {0};
        struct fixture *f;

        setup_jitter(state, seed, 6);
        f = *state;
        assert_int_equal(call(f->b, nsm_gc_advance, 1), 0);
        start(f->a, m, NULL, NULL, 0, &put_wait);
        nsm_gc_disable(f->b, NS, 1, nsm_wait_cb, &end_wait);
        await(f->b, &end_wait);
        assert_int_equal(end_wait.rc, 0);
        {
            bool there = has_object(f, m);
            int rc = await_rc(f->a, &put_wait);

            assert_int_equal(rc, there ? 0 : ERR_STALE);
            assert_int_equal(has_object(f, m), there);
        }
        nsm_wait_release(&end_wait);
        unmake(m);
        teardown(state);
    }
}

static void an_agent_that_was_frozen_neither_ends_nor_begins_an_epoch(void **state)
{
    struct fixture *f = *state;
    enum kv_mem_fate fates[] = {KV_MEM_LATE, KV_MEM_LATE};
    struct script script = {.fates = fates, .count = 1};

    kv_mem_set_fate(f->kv_a, scripted, &script);
    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0); /* a copy is still on its way */
    assert_int_equal(call(f->b, nsm_gc_advance, 2), 0);
    assert_int_equal(call(f->b, nsm_gc_disable, 1), 0);
    assert_int_equal(call(f->b, nsm_gc_disable, 2), 0);
    script.used = 0;
    assert_int_equal(call(f->a, nsm_gc_disable, 3), ERR_BUSY); /* this one, too */
    assert_int_equal(call(f->b, nsm_gc_advance, 3), 0);
    expect_epochs(f->b, 3, 4);
    /* The late end of epoch 3 is one that is due by now: the oldest, and not the current one. */
    assert_int_equal(kv_mem_run_late(f->store), 1);
    expect_epochs(f->b, 4, 4);
}

/* ---- obsolete objects ---- */

static void obsolete_records_are_paged_and_removed_once(void **state)
{
    struct fixture *f = *state;
    struct obsolete_wait first = {0};
    struct obsolete_wait second = {0};
    struct nsm_wait w = {0};

    for (int i = 0; i < 5; i++) {
        struct manifest *m = make("x", (uint64_t)i);

        assert_int_equal(put(f->a, m), 0);
        unmake(m);
    }
    assert_int_equal(delete (f->a, "x"), 0);
    nsm_obsolete_list(f->a, NS, slice_of(NULL, 0), 3, obsolete_cb, &first);
    loop_run_until(&f->loop, &first.done);
    assert_int_equal(first.list->count, 3);
    assert_true(first.list->has_more);
    nsm_obsolete_list(f->a, NS, first.list->items[2].key, 3, obsolete_cb, &second);
    loop_run_until(&f->loop, &second.done);
    assert_int_equal(second.list->count, 2);
    assert_false(second.list->has_more);
    assert_true(second.list->items[0].is_whole);
    assert_true(second.list->items[0].time_us > 0);

    nsm_obsolete_remove(f->a, NS, &first.list->items[0], nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    nsm_obsolete_remove(f->b, NS, &first.list->items[0], nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    assert_int_equal(count_kind(f, 'x'), 4);
    assert_int_equal(count_kind(f, 't'), 1);
    nsm_obsolete_list_free(first.list);
    nsm_obsolete_list_free(second.list);
    assert_int_equal(expand_all(f->a), 4);
    assert_int_equal(count_kind(f, 'd'), 0);
    assert_int_equal(count_kind(f, 't'), 5);
}

static void tombstones_are_swept_once_their_epoch_has_ended(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct nsm_wait w = {0};

    assert_int_equal(put(f->a, m), 0);
    assert_int_equal(delete (f->a, "x"), 0);
    assert_int_equal(expand_all(f->a), 1);
    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0);
    nsm_gc_sweep(f->a, NS, 100, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    assert_int_equal(count_kind(f, 't'), 1);
    assert_int_equal(call(f->a, nsm_gc_disable, 1), 0);
    nsm_gc_sweep(f->a, NS, 100, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    assert_int_equal(count_kind(f, 't'), 0);
    unmake(m);
}

/* ---- the end of a namespace ---- */

static void a_fenced_namespace_takes_no_put_and_can_be_read(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct manifest *late = make("y", 1);
    struct nsm_wait w = {0};

    assert_int_equal(put(f->a, m), 0);
    assert_int_equal(call(f->a, nsm_gc_advance, 1), 0);
    nsm_namespace_fence(f->b, NS, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    assert_int_equal(put(f->a, late), ERR_STALE);
    assert_int_equal(call(f->a, nsm_gc_advance, 2), ERR_STALE);
    assert_true(holds(f->a, "x", m));
    nsm_gc_epochs(f->a, NS, nsm_wait_cb, &w);
    await(f->a, &w);
    assert_int_equal(w.reply->count, 0);
    nsm_wait_release(&w);
    unmake(m);
    unmake(late);
}

static void a_destroyed_namespace_leaves_no_key_and_its_neighbours_stay(void **state)
{
    struct fixture *f = *state;
    struct nsm_wait w = {0};
    size_t neighbours;

    for (uint64_t id = NS - 1; id <= NS + 1; id += 2) {
        nsm_namespace_setup(f->a, id, nsm_wait_cb, &w);
        assert_int_equal(await_rc(f->a, &w), 0);
    }
    neighbours = kv_mem_count_prefix(f->store, text("/alba/v1/ns/"));
    neighbours -= 3; /* i, e, a of the one */
    for (int i = 0; i < 70; i++) {
        char name[8];
        struct manifest *m;

        snprintf(name, sizeof(name), "%d", i);
        m = make(name, 1);
        assert_int_equal(put(f->a, m), 0);
        unmake(m);
    }
    assert_true(count_kind(f, 'd') == 210);
    nsm_namespace_destroy(f->b, NS, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/ns/")), neighbours);
    nsm_namespace_destroy(f->b, NS, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);

    nsm_namespace_list(f->b, 0, 100, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.reply->count, 2);
    assert_int_equal(w.reply->epochs[0], NS - 1);
    assert_int_equal(w.reply->epochs[1], NS + 1);
    assert_false(w.reply->has_more);
    nsm_wait_release(&w);
    nsm_namespace_list(f->b, 0, 1, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.reply->count, 1);
    assert_true(w.reply->has_more);
    nsm_wait_release(&w);
}

static void all_objects_can_be_walked(void **state)
{
    struct fixture *f = *state;
    struct nsm_wait w = {0};
    uint8_t after[NSM_OBJECT_ID_BYTES];
    size_t after_bytes = 0;
    size_t seen = 0;

    for (int i = 0; i < 7; i++) {
        char name[8];
        struct manifest *m;

        snprintf(name, sizeof(name), "%d", i);
        m = make(name, 1);
        assert_int_equal(put(f->a, m), 0);
        unmake(m);
    }
    do {
        nsm_wait_release(&w);
        nsm_list_objects(f->a, NS, slice_of(after, after_bytes), 3, nsm_wait_cb, &w);
        await(f->a, &w);
        assert_int_equal(w.rc, 0);
        for (size_t i = 0; i < w.reply->count; i++) {
            struct slice id = w.reply->objects[i].manifest.object_id;

            assert_true(after_bytes == 0 || slice_cmp(id, slice_of(after, after_bytes)) > 0);
            memcpy(after, id.data, sizeof(after));
            after_bytes = sizeof(after);
        }
        seen += w.reply->count;
    } while (w.reply->has_more);
    nsm_wait_release(&w);
    assert_int_equal(seen, 7);
}

/* ---- usage ---- */

struct usage_wait {
    bool done;
    int rc;
    struct nsm_usage usage;
};

static void on_usage(void *ctx, int rc, const struct err *e, const struct nsm_usage *usage)
{
    (void)e;
    *(struct usage_wait *)ctx = (struct usage_wait){.done = true, .rc = rc, .usage = *usage};
}

static void expect_usage(struct fixture *f, int64_t objects, int64_t bytes)
{
    struct usage_wait w = {0};

    nsm_usage_get(f->b, NS, on_usage, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.usage.objects, objects);
    assert_int_equal(w.usage.logical_bytes, bytes);
}

static void counts_of_several_writers_add_up_until_maintenance_replaces_them(void **state)
{
    struct fixture *f = *state;
    struct nsm_usage one = {.objects = 1, .logical_bytes = 100, .stored_bytes = 150};
    struct nsm_usage less = {.objects = -1, .logical_bytes = -50, .stored_bytes = -75};
    struct nsm_usage counted = {.objects = 10, .logical_bytes = 1000};
    struct usage_wait w[4] = {{0}};

    expect_usage(f, 0, 0);
    nsm_usage_add(f->a, NS, "writer a", &one, on_usage, &w[0]);
    nsm_usage_add(f->b, NS, "writer b", &one, on_usage, &w[1]);
    nsm_usage_add(f->a, NS, "writer a", &one, on_usage, &w[2]);
    nsm_usage_add(f->a, NS, "writer a", &less, on_usage, &w[3]);
    for (int i = 0; i < 4; i++) {
        loop_run_until(&f->loop, &w[i].done);
        assert_int_equal(w[i].rc, 0);
    }
    assert_int_equal(count_kind(f, 'u'), 2);
    expect_usage(f, 2, 250);
    w[0].done = false;
    nsm_usage_replace(f->b, NS, &counted, on_usage, &w[0]);
    loop_run_until(&f->loop, &w[0].done);
    assert_int_equal(count_kind(f, 'u'), 1);
    expect_usage(f, 10, 1000);
    w[0].done = false;
    nsm_usage_add(f->a, NS, "writer a", &one, on_usage, &w[0]);
    loop_run_until(&f->loop, &w[0].done);
    expect_usage(f, 11, 1100);
}

/* ---- limits ---- */

enum { LARGE_FRAGMENTS = 9 };

static struct manifest_fragment large_fragment(uint64_t osd_id)
{
    struct manifest_fragment f = {.has_osd = true,
                                  .osd_id = osd_id,
                                  .packed_bytes = INT32_MAX,
                                  .checksum = {.algo = CHECKSUM_SHA1},
                                  .has_ctr = true};

    rnd_bytes(f.checksum.sha1, sizeof(f.checksum.sha1)); /* neither shrinks */
    rnd_bytes(f.ctr, sizeof(f.ctr));
    return f;
}

/* Of the largest that nsm_manifest_check() lets pass. */
static struct manifest *make_large(uint64_t first_osd)
{
    struct manifest *m = make("large", first_osd);
    struct manifest_fragment largest = large_fragment(first_osd + LARGE_FRAGMENTS);
    uint32_t chunks = 1;
    struct err e;

    while (nsm_manifest_check(5, 1, chunks + 1, LARGE_FRAGMENTS, &largest, &e) == 0) {
        chunks++;
    }
    m->scheme.k = 5;
    m->scheme.m = 4;
    manifest_alloc_chunks(m, chunks);
    for (uint32_t i = 0; i < chunks; i++) {
        m->chunk_bytes[i] = 5 << 20;
        for (uint32_t j = 0; j < LARGE_FRAGMENTS; j++) {
            *manifest_fragment_at(m, i, j) = large_fragment(first_osd + j);
        }
    }
    m->size_bytes = (uint64_t)chunks * (5 << 20);
    return m;
}

static int move_all(void *ctx, struct manifest *m)
{
    (void)ctx;
    m->version_id = INT32_MAX;
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        for (uint32_t j = 0; j < LARGE_FRAGMENTS; j++) {
            *manifest_fragment_at(m, i, j) = large_fragment(80 + j);
            manifest_fragment_at(m, i, j)->version = INT32_MAX;
        }
    }
    return 0;
}

static void the_largest_manifest_is_overwritten_and_updated(void **state)
{
    struct fixture *f = *state;
    struct manifest *first = make_large(1);
    struct manifest *second = make_large(40);
    struct nsm_wait w = {0};

    assert_int_equal(put(f->a, first), 0);
    assert_int_equal(put(f->a, second), 0);
    assert_true(holds(f->b, "large", second));
    nsm_update(f->a, NS, second->object_id, 1, move_all, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    assert_int_equal(expand_all(f->b), 2);
    unmake(first);
    unmake(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_store_takes_no_put_and_can_be_emptied),
        TEST(epochs_advance_at_the_end_and_end_at_the_beginning),
        TEST(the_beginning_of_an_epoch_is_known),
        TEST(a_put_under_an_epoch_that_ended_is_refused),
        cmocka_unit_test(a_put_and_the_end_of_its_epoch_come_one_after_the_other),
        TEST(an_agent_that_was_frozen_neither_ends_nor_begins_an_epoch),
        TEST(obsolete_records_are_paged_and_removed_once),
        TEST(tombstones_are_swept_once_their_epoch_has_ended),
        TEST(a_fenced_namespace_takes_no_put_and_can_be_read),
        TEST(a_destroyed_namespace_leaves_no_key_and_its_neighbours_stay),
        TEST(all_objects_can_be_walked),
        TEST(counts_of_several_writers_add_up_until_maintenance_replaces_them),
        TEST(the_largest_manifest_is_overwritten_and_updated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
