/* Copies of the registry on OSDs: which get one, that an older one never replaces a newer one, and
 * that there is a whole one whatever is lost. KEYS.md, "Copies of the registry". */
#include "sim/proxy_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/registry_copy.h"
#include "meta/value.h"
#include "wire/osd_keys.h"

#define PRESET WORLD_PRESET("[[1,0,1,3]]", 8192, "none")

struct writer { /* as another process: its own handle on the metadata */
    struct world *w;
    struct kv *kv;
    struct registry *registry;
    struct registry_copier *copier;
    bool done, closing, closed;
    int rc;
    struct registry_copy_status status;
};

static void on_done(void *ctx, int rc, const struct err *e,
                    const struct registry_copy_status *status)
{
    struct writer *writer = ctx;

    (void)e;
    writer->rc = rc;
    writer->status = *status;
    writer->done = true;
}

static void refresh(struct writer *writer)
{
    bool done = false;

    registry_refresh(writer->registry, world_registry_done, &done);
    loop_fixture_run_until(&writer->w->base, &done);
}

static void writer_open(struct writer *writer, struct world *w)
{
    struct registry_copy_options options = {.is_manual = true, .timeout_ms = w->osd_timeout_ms};

    *writer = (struct writer){.w = w};
    writer->kv = kv_mem_open(&w->base.loop, w->store);
    writer->registry = registry_new(writer->kv);
    writer->copier = registry_copier_new(&w->base.loop, writer->registry, &options);
    refresh(writer);
}

static void writer_start(struct writer *writer)
{
    writer->done = false;
    registry_copier_run(writer->copier, on_done, writer);
}

/* Wherever it is. */
static void writer_die(struct writer *writer)
{
    if (!writer->closing) {
        writer->closing = true;
        registry_copier_close(writer->copier, loop_set_true, &writer->closed);
    }
}

static void writer_end(struct writer *writer)
{
    writer_die(writer);
    loop_fixture_run_until(&writer->w->base, &writer->closed);
    writer->closed = false;
    registry_close(writer->registry, loop_set_true, &writer->closed);
    loop_fixture_run_until(&writer->w->base, &writer->closed);
}

static void writer_run(struct writer *writer)
{
    refresh(writer);
    writer_start(writer);
    loop_fixture_run_until(&writer->w->base, &writer->done);
}

/* ---- what lies on an OSD ---- */

static struct slice head_value(struct fake_asd *asd)
{
    struct buf key = {0};
    struct slice value;

    osd_key_put_copy_head(&key);
    value = fake_asd_value(asd, slice_buf(&key));
    buf_release(&key);
    return value;
}

/* Version of the copy, which has to be whole; 0: there is none. */
static uint64_t copy_version(struct fake_asd *asd)
{
    struct slice value = head_value(asd);
    struct buf snapshot = {0};
    struct copy_head head;
    struct err e;

    if (value.data == NULL) {
        return 0;
    }
    assert_int_equal(copy_head_decode(value, &head, &e), 0);
    for (uint32_t i = 0; i < head.chunk_count; i++) {
        struct buf key = {0};
        struct slice part;

        osd_key_put_copy_chunk(&key, i);
        assert_int_equal(
            copy_chunk_decode(&head, i, fake_asd_value(asd, slice_buf(&key)), &part, &e), 0);
        buf_put(&snapshot, part.data, part.len);
        buf_release(&key);
    }
    assert_int_equal(copy_verify(&head, slice_buf(&snapshot), &e), 0);
    buf_release(&snapshot);
    return head.version;
}

static unsigned holders(struct world *w, uint64_t version)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->asd_count; i++) {
        count += copy_version(w->asds[i]) == version;
    }
    return count;
}

static uint64_t version_of(struct writer *writer)
{
    refresh(writer);
    return registry_view_version(registry_view(writer->registry));
}

/* ---- tests ---- */

static void five_osds_of_different_nodes_get_a_copy(void **state)
{
    struct world *w = world_new(8, 4, PRESET); /* d0 … d3 are one of each node */
    struct writer a;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    assert_int_equal(a.rc, 0);
    assert_int_equal(a.status.copies, 5);
    assert_int_equal(a.status.written, 5);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(copy_version(w->asds[i]), i < 5 ? a.status.version : 0);
    }
    writer_run(&a); /* nothing has changed: nothing is written */
    assert_int_equal(a.status.copies, 5);
    assert_int_equal(a.status.written, 5);
    world_create_namespace(w, "other");
    writer_run(&a);
    assert_int_equal(a.status.written, 10);
    assert_int_equal(holders(w, version_of(&a)), 5);
    writer_end(&a);
    world_free(w);
}

static void the_turn_of_an_osd_that_is_down_goes_to_the_next(void **state)
{
    struct world *w = world_new(7, 7, PRESET);
    uint64_t old;
    struct writer a;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    old = a.status.version;
    fake_asd_down(w->asds[1]);
    fake_asd_down(w->asds[3]);
    world_create_namespace(w, "other");
    writer_run(&a);
    assert_int_not_equal(a.rc, 0);        /* told … */
    assert_int_equal(a.status.copies, 5); /* … but the copies are there */
    assert_int_equal(copy_version(w->asds[1]), old);
    assert_int_equal(copy_version(w->asds[5]), a.status.version);
    assert_int_equal(copy_version(w->asds[6]), a.status.version);
    fake_asd_up(w->asds[1]); /* back with an old copy */
    fake_asd_up(w->asds[3]);
    writer_run(&a);
    assert_int_equal(copy_version(w->asds[1]), a.status.version);
    assert_int_equal(copy_version(w->asds[3]), a.status.version);
    writer_end(&a);
    world_free(w);
}

static void fewer_osds_than_wanted_all_get_one(void **state)
{
    struct world *w = world_new(2, 2, PRESET);
    struct writer a;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    assert_int_equal(a.status.wanted, 2);
    assert_int_equal(a.status.copies, 2);
    fake_asd_down(w->asds[0]);
    fake_asd_down(w->asds[1]);
    writer_run(&a);
    assert_int_equal(a.status.copies, 0);
    assert_int_not_equal(a.status.trouble[0], '\0');
    writer_end(&a);
    world_free(w);
}

/* A stops at a place, B copies what has changed, A goes on: B's copies stay. */
static void a_writer_that_was_frozen_replaces_nothing_newer(void **state)
{
    (void)state;
    for (unsigned stop = 0; stop < 2; stop++) {
        struct world *w = world_new(5, 5, PRESET);
        struct slice version = slice_str("/alba/v1/reg/version");
        struct writer a, b;
        uint64_t newest;

        writer_open(&a, w);
        writer_open(&b, w);
        writer_run(&b);
        world_create_namespace(w, "seen-by-a");
        refresh(&a);
        kv_mem_hold_answer(a.kv, version); /* behind the heads */
        writer_start(&a);
        while (!kv_mem_has_held_answer(a.kv)) {
            loop_fixture_run_ms(&w->base, 1);
        }
        if (stop == 1) { /* behind the snapshot, too */
            kv_mem_answer_held(a.kv);
            kv_mem_hold_answer(a.kv, version);
            while (!kv_mem_has_held_answer(a.kv)) {
                loop_fixture_run_ms(&w->base, 1);
            }
        }
        world_create_namespace(w, "seen-by-b");
        writer_run(&b);
        newest = b.status.version;
        assert_int_equal(holders(w, newest), 5);
        kv_mem_answer_held(a.kv);
        loop_fixture_run_until(&w->base, &a.done);
        assert_int_equal(holders(w, newest), 5);
        if (stop == 1) { /* what it had read was old, and all of it was refused */
            assert_int_equal(a.status.written, 0);
            assert_int_equal(a.status.failures, 5);
        }
        writer_run(&a);
        assert_int_equal(a.status.copies, 5);
        assert_int_equal(a.status.ahead, 0);
        writer_end(&a);
        writer_end(&b);
        world_free(w);
    }
}

static void two_writers_at_once_leave_whole_copies_of_the_newest(void **state)
{
    struct world *w = world_new(5, 5, PRESET);
    struct writer a, b;

    (void)state;
    writer_open(&a, w);
    writer_open(&b, w);
    for (unsigned i = 0; i < 20; i++) {
        char name[32];

        snprintf(name, sizeof(name), "n%u", i);
        world_create_namespace(w, name);
        refresh(&a);
        refresh(&b);
        writer_start(&a);
        writer_start(&b);
        loop_fixture_run_until(&w->base, &a.done);
        loop_fixture_run_until(&w->base, &b.done);
        assert_int_equal(holders(w, version_of(&a)), 5);
    }
    writer_end(&a);
    writer_end(&b);
    world_free(w);
}

/* ---- faults ---- */

struct nth {
    unsigned count, at;
    enum fake_fate fate;
    struct writer *dies; /* at that request; NULL: goes on */
};

static enum fake_fate on_request(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct nth *nth = ctx;

    (void)asd;
    (void)request;
    if (nth->count++ != nth->at) {
        return FAKE_NORMAL;
    }
    if (nth->dies != NULL) {
        writer_die(nth->dies);
    }
    return nth->fate;
}

/* With the n-th request failing like this. Returns whether there was an n-th. */
static bool round_with_fault(unsigned at, enum fake_fate fate, bool dies)
{
    struct world *w = world_new_of(at + 1, 4, 4, PRESET);
    struct nth nth = {.at = at, .fate = fate};
    struct writer a, b;
    uint64_t old, newest;
    bool was_reached;

    if (fake_fate_is_silent(fate)) {
        world_make_hasty(w);
    }
    writer_open(&a, w);
    writer_run(&a);
    old = a.status.version;
    world_create_namespace(w, "other");
    refresh(&a);
    newest = version_of(&a);
    nth.dies = dies ? &a : NULL;
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], on_request, &nth);
    }
    writer_start(&a);
    loop_fixture_run_until(&w->base, &a.done);
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], NULL, NULL);
    }
    was_reached = nth.count > at;
    assert_int_equal(holders(w, old) + holders(w, newest), 4); /* each is whole */
    if (!dies) {
        assert_true(holders(w, newest) >= 3); /* one request fails: one OSD is behind */
    }
    writer_end(&a);
    writer_open(&b, w);
    writer_run(&b);
    assert_int_equal(b.status.copies, 4);
    assert_int_equal(holders(w, newest), 4);
    writer_end(&b);
    world_free(w);
    return was_reached;
}

static void whatever_a_step_comes_to_a_whole_copy_is_there_and_the_next_round_heals(void **state)
{
    static const enum fake_fate fates[] = {FAKE_DROP, FAKE_DROP_AFTER, FAKE_ERROR,
                                           FAKE_FULL, FAKE_BUSY,       FAKE_GARBAGE};
    unsigned rounds = 0;

    (void)state;
    for (unsigned f = 0; f < sizeof(fates) / sizeof(*fates); f++) {
        for (unsigned at = 0; round_with_fault(at, fates[f], false); at++) {
            rounds++;
        }
    }
    assert_true(round_with_fault(0, FAKE_HANG, false));
    assert_true(round_with_fault(9, FAKE_HANG, false));
    assert_true(round_with_fault(9, FAKE_HANG_LATE, false));
    assert_true(rounds >= 6 * 8);
}

static void a_writer_that_dies_at_any_step_leaves_whole_copies(void **state)
{
    static const enum fake_fate fates[] = {FAKE_NORMAL, FAKE_DROP, FAKE_DROP_AFTER};

    (void)state;
    for (unsigned f = 0; f < sizeof(fates) / sizeof(*fates); f++) {
        for (unsigned at = 0; round_with_fault(at, fates[f], true); at++) {
        }
    }
}

static void a_damaged_head_is_replaced(void **state)
{
    struct world *w = world_new(3, 3, PRESET);
    struct buf key = {0};
    struct writer a;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    osd_key_put_copy_head(&key);
    assert_true(fake_asd_flip(w->asds[1], slice_buf(&key), 20));
    writer_run(&a);
    assert_int_equal(holders(w, a.status.version), 3);
    buf_release(&key);
    writer_end(&a);
    world_free(w);
}

static void an_osd_of_another_alba_gets_nothing(void **state)
{
    struct world *w = world_new(4, 4, PRESET);
    struct slice other = slice_str("11111111-2222-4333-8444-555555555555");
    struct buf log = {0}, ours = {0};
    struct writer a;

    (void)state;
    writer_open(&a, w);
    osd_key_put_instance_log(&log);
    osd_key_put_instance_index(&ours, slice_str(registry_view_alba_id(registry_view(a.registry))));
    fake_asd_put(w->asds[2], slice_buf(&log), other);
    assert_true(fake_asd_remove(w->asds[2], slice_buf(&ours)));
    writer_run(&a);
    assert_int_equal(a.status.copies, 3);
    assert_int_equal(copy_version(w->asds[2]), 0);
    buf_release(&log);
    buf_release(&ours);
    writer_end(&a);
    world_free(w);
}

/* The registry comes from an old backup: what OSDs know is newer. */
static void copies_that_are_ahead_are_kept_until_the_version_is_raised(void **state)
{
    struct world *w = world_new(3, 3, PRESET);
    struct copy_head head = {0};
    uint8_t bytes[COPY_HEAD_BYTES];
    struct buf key = {0};
    struct writer a;
    bool raised = false;
    struct err e;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    assert_int_equal(copy_head_decode(head_value(w->asds[0]), &head, &e), 0);
    head.version += 10;
    copy_head_encode(&head, bytes);
    osd_key_put_copy_head(&key);
    fake_asd_put(w->asds[0], slice_buf(&key), slice_of(bytes, sizeof(bytes)));
    head.version -= 10; /* the same version, made by another change */
    head.commit[0] = head.commit[0] == '0' ? '1' : '0';
    copy_head_encode(&head, bytes);
    fake_asd_put(w->asds[1], slice_buf(&key), slice_of(bytes, sizeof(bytes)));
    writer_run(&a);
    assert_int_equal(a.status.ahead, 2);
    assert_int_equal(a.status.ahead_version, head.version + 10);
    assert_int_equal(a.status.copies, 1);
    assert_int_equal(a.status.written, 3);

    registry_raise_version(a.registry, a.status.ahead_version + 1, world_registry_done, &raised);
    loop_fixture_run_until(&w->base, &raised);
    assert_int_equal(version_of(&a), head.version + 11);
    writer_run(&a);
    assert_int_equal(a.status.ahead, 0);
    assert_int_equal(holders(w, head.version + 11), 3);
    world_create_namespace(w, "other"); /* the registry goes on from there */
    assert_true(version_of(&a) > head.version + 11);
    buf_release(&key);
    writer_end(&a);
    world_free(w);
}

/* ---- a registry that was restored, and has gone on beyond what is lost ---- */

static void put_head(struct fake_asd *asd, const struct copy_head *head)
{
    uint8_t bytes[COPY_HEAD_BYTES];
    struct buf key = {0};

    copy_head_encode(head, bytes);
    osd_key_put_copy_head(&key);
    fake_asd_put(asd, slice_buf(&key), slice_of(bytes, sizeof(bytes)));
    buf_release(&key);
}

/* As restore-metadata leaves it. */
static void restored_from(struct world *w, uint64_t version)
{
    struct slice key = slice_str("/alba/v1/reg/recovered");
    json_t *json = json_pack("{s:I, s:I}", "restored_from_version", (json_int_t)version, "at_us",
                             (json_int_t)clock_wall_us());
    struct buf value = {0};

    value_make_json(&value, key, json);
    kv_mem_poke(w->store, key, slice_buf(&value));
    buf_release(&value);
    json_decref(json);
}

static void copies_of_the_lost_history_are_kept_though_their_version_is_lower(void **state)
{
    struct world *w = world_new(3, 3, PRESET);
    struct copy_head ours, lost;
    struct writer a, b;
    bool raised = false;
    struct err e;

    (void)state;
    writer_open(&a, w);
    writer_run(&a);
    assert_int_equal(copy_head_decode(head_value(w->asds[0]), &ours, &e), 0);
    restored_from(w, ours.version - 1);
    lost = ours; /* made by another change than the one the registry has at that version */
    lost.time_us -= 1000000;
    lost.commit[0] = lost.commit[0] == '0' ? '1' : '0';
    put_head(w->asds[0], &lost);
    lost.version--; /* as old as the backup: it is in there */
    put_head(w->asds[1], &lost);
    for (unsigned i = 0; i < 3; i++) {
        char name[32];

        snprintf(name, sizeof(name), "n%u", i);
        world_create_namespace(w, name);
    }
    writer_open(&b, w);
    writer_run(&b); /* the copy on asd 2 is of one of our own changes */
    assert_true(b.status.version > ours.version);
    assert_int_equal(b.status.ahead, 1);
    assert_int_equal(b.status.ahead_version, ours.version);
    assert_int_equal(b.status.copies, 2);
    assert_int_equal(copy_head_decode(head_value(w->asds[0]), &lost, &e), 0);
    assert_int_equal(lost.version, ours.version);

    registry_raise_version(b.registry, b.status.version + 1000, world_registry_done, &raised);
    loop_fixture_run_until(&w->base, &raised);
    writer_run(&b);
    assert_int_equal(b.status.ahead, 0);
    assert_int_equal(holders(w, b.status.version), 3);
    writer_end(&a);
    writer_end(&b);
    world_free(w);
}

/* Its change is not kept any more: the time tells. */
static void a_copy_of_long_ago_is_judged_by_when_it_was_read(void **state)
{
    struct copy_history history = {.restored_from = 100, .restored_us = 5000};
    struct copy_head now = {.version = 9000, .commit = "a"};
    struct copy_head copy = {.version = 101, .commit = "b", .time_us = 4999};

    (void)state;
    assert_int_equal(copy_history_judge(&history, &now, &copy), COPY_AHEAD);
    copy.time_us = 5000;
    assert_int_equal(copy_history_judge(&history, &now, &copy), COPY_OLDER);
    copy.time_us = 4999;
    copy.version = 100;
    assert_int_equal(copy_history_judge(&history, &now, &copy), COPY_OLDER);
}

static void the_copier_of_a_daemon_follows_changes_by_itself(void **state)
{
    struct world *w = world_new(3, 3, PRESET);
    struct registry_copy_options options = {
        .settle_ms = 1, .pause_ms = 1, .recheck_ms = 50, .timeout_ms = w->osd_timeout_ms};
    struct registry_copier *copier = registry_copier_new(&w->base.loop, w->registry, &options);
    bool closed = false;
    struct writer a;

    (void)state;
    writer_open(&a, w);
    for (unsigned i = 0; i < 5; i++) {
        char name[32];
        uint64_t version;

        snprintf(name, sizeof(name), "n%u", i);
        world_create_namespace(w, name);
        version = version_of(&a);
        for (unsigned turn = 0; turn < 1000 && holders(w, version) < 3; turn++) {
            loop_fixture_run_ms(&w->base, 10);
        }
        assert_int_equal(holders(w, version), 3);
    }
    registry_copier_close(copier, loop_set_true, &closed);
    loop_fixture_run_until(&w->base, &closed);
    writer_end(&a);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_osds_of_different_nodes_get_a_copy),
        cmocka_unit_test(the_turn_of_an_osd_that_is_down_goes_to_the_next),
        cmocka_unit_test(fewer_osds_than_wanted_all_get_one),
        cmocka_unit_test(a_writer_that_was_frozen_replaces_nothing_newer),
        cmocka_unit_test(two_writers_at_once_leave_whole_copies_of_the_newest),
        cmocka_unit_test(whatever_a_step_comes_to_a_whole_copy_is_there_and_the_next_round_heals),
        cmocka_unit_test(a_writer_that_dies_at_any_step_leaves_whole_copies),
        cmocka_unit_test(a_damaged_head_is_replaced),
        cmocka_unit_test(an_osd_of_another_alba_gets_nothing),
        cmocka_unit_test(copies_that_are_ahead_are_kept_until_the_version_is_raised),
        cmocka_unit_test(copies_of_the_lost_history_are_kept_though_their_version_is_lower),
        cmocka_unit_test(a_copy_of_long_ago_is_judged_by_when_it_was_read),
        cmocka_unit_test(the_copier_of_a_daemon_follows_changes_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
