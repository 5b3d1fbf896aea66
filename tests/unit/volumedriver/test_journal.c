#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/tempdir.h"
#include "unit/volumedriver/journal_fixture.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"

static void writes_of_one_turn_and_of_many_volumes_share_a_frame(void **state)
{
    struct fixture *f = *state;
    uint64_t frames = stats_of(f).frames;

    for (unsigned i = 0; i < 40; i++) {
        append(f, i % 2, 1, false);
    }
    assert_int_equal(f->ended, 0);
    run_until(f, 40);
    /* 40 clusters do not fit the segment behind the opening frame and a header: two frames. */
    assert_true(stats_of(f).frames - frames <= 2);
}

static bool has_grown(void *ctx)
{
    const struct fixture *f = ctx;

    return f->ended != 0 && stats_of(f).segments != JOURNAL_SEGMENTS_MIN;
}

/* The first write starts it; it has I/O of its own. */
static void wait_for_growth(struct fixture *f)
{
    append(f, 0, 1, false);
    loop_run_until_true(&f->loop, has_grown, f);
}

static void a_durable_write_costs_one_sync_and_shares_it(void **state)
{
    struct fixture *f = *state;
    uint64_t syncs;

    wait_for_growth(f);
    syncs = stats_of(f).syncs;
    for (unsigned i = 0; i < 10; i++) {
        append(f, 0, 1, true);
    }
    run_until(f, 11);
    assert_int_equal(stats_of(f).syncs, syncs + 1);
    assert_int_equal(stats_of(f).durable_lsn, stats_of(f).completed_lsn);
}

struct flushing {
    struct journal_flush flush;
    int rc;
    bool done;
};

static void on_flushed(struct journal_flush *flush, int rc)
{
    container_of(flush, struct flushing, flush)->rc = rc;
    container_of(flush, struct flushing, flush)->done = true;
}

/* Returns what the flush did. */
static int flush_newest(struct fixture *f)
{
    struct flushing fl = {0};

    journal_flush(f->j, &fl.flush, stats_of(f).completed_lsn, on_flushed);
    loop_run_until(&f->loop, &fl.done);
    return fl.rc;
}

static void flush_each_of(struct fixture *f, unsigned writes)
{
    while (writes-- != 0) {
        append(f, 0, 1, false);
        run_until(f, f->ended + 1);
        assert_int_equal(flush_newest(f), 0);
    }
}

static void a_write_is_synced_along_when_each_before_it_was_flushed(void **state)
{
    struct fixture *f = *state;
    uint64_t syncs;

    flush_each_of(f, 8);
    syncs = stats_of(f).syncs;
    append(f, 0, 1, false);
    run_until(f, 9);
    assert_int_equal(stats_of(f).durable_lsn, stats_of(f).completed_lsn);
    assert_int_equal(flush_newest(f), 0);
    assert_int_equal(stats_of(f).syncs, syncs + 1);
    append(f, 0, 1, false); /* the last one of a row */
    run_until(f, 10);
    syncs = stats_of(f).syncs;
    append(f, 0, 1, false); /* nobody flushed the one before it */
    run_until(f, 11);
    assert_true(stats_of(f).durable_lsn < stats_of(f).lsn);
    assert_int_equal(stats_of(f).syncs, syncs);
    drop_all(f);
    reopen(f);
    assert_int_equal(history(f, 0).last_seq, 11);
}

/* Nothing of a frame is acknowledged when the sync that went along with it failed. */
static void a_failed_sync_along_with_a_write_takes_the_journal_out_of_service(void **state)
{
    struct fixture *f = *state;

    wait_for_growth(f);
    flush_each_of(f, 8);
    crash_disk_fail_at(f->disk, crash_disk_io_count(f->disk) + 2, -EIO);
    append(f, 0, 1, false);
    run_until(f, 10);
    assert_int_equal(f->failed, 1);
    assert_int_equal(flush_newest(f), ERR_FAILED);
    assert_true(stats_of(f).failed);
}

static void a_failed_sync_takes_the_journal_out_of_service(void **state)
{
    struct fixture *f = *state;

    wait_for_growth(f);
    crash_disk_fail_at(f->disk, crash_disk_io_count(f->disk) + 2, -EIO);
    append(f, 0, 1, true);
    append(f, 0, 1, true);
    run_until(f, 3);
    assert_int_equal(f->failed, 2);
    append(f, 0, 1, false);
    run_until(f, 4);
    assert_int_equal(f->failed, 3);
    assert_true(stats_of(f).failed);
}

static bool is_pressed(void *ctx)
{
    const struct fixture *f = ctx;

    return f->pressed != 0 && stats_of(f).segments_used >= 4;
}

static void a_full_ring_waits_asks_for_uploads_and_goes_on(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    for (; n < 60; n++) {
        append(f, 0, 7, false);
    }
    loop_run_until_true(&f->loop, is_pressed, f);
    for (unsigned i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_true(f->ended < n);
    assert_true(f->pressed_lsn != 0);
    while (f->ended < n) {
        struct list *link = list_pop(&f->live);

        if (link != NULL) {
            drop(f, container_of(link, struct record, link));
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_true(stats_of(f).segments <= 6 + 1);
}

static void the_journal_keeps_its_id_and_refuses_garbage(void **state)
{
    struct fixture *f = *state;
    uint8_t id[16];
    struct err e;

    memcpy(id, journal_id(f->j), 16);
    close_journal(f);
    assert_int_equal(open_journal(f, &e), 0);
    assert_memory_equal(id, journal_id(f->j), 16);
    assert_int_equal(stats_of(f).incarnation, 2);
    close_journal(f);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", 20), 0);
    assert_int_equal(open_journal(f, &e), ERR_CORRUPT);
    assert_null(f->j);
}

static void an_idle_flush_is_told_by_an_empty_frame(void **state)
{
    struct fixture *f = *state;
    uint64_t frames, syncs;

    append(f, 0, 1, true);
    run_until(f, 1);
    frames = stats_of(f).frames;
    wait_ms(f, 4 * JOURNAL_IDLE_MS);
    assert_int_equal(stats_of(f).frames, frames + 1);
    wait_ms(f, 4 * JOURNAL_IDLE_MS);
    assert_int_equal(stats_of(f).frames, frames + 1); /* once is enough */
    while (stats_of(f).durable_lsn < stats_of(f).lsn) {
        wait_ms(f, 10); /* it is flushed itself */
    }
    syncs = stats_of(f).syncs;
    wait_ms(f, JOURNAL_TOLD_MS + 4 * JOURNAL_IDLE_MS);
    assert_int_equal(stats_of(f).frames, frames + 1);
    assert_int_equal(stats_of(f).syncs, syncs);
}

struct held { /* I/O that waits in the pool until it is let go */
    atomic_bool syncs, writes, in_sync;
    uv_sem_t sync, write;
};

static void hold(void *ctx, const char *what, const char *path)
{
    struct held *h = ctx;

    (void)path;
    if (strcmp(what, "fdatasync") == 0 && atomic_load(&h->syncs)) {
        atomic_store(&h->in_sync, true);
        uv_sem_wait(&h->sync);
    } else if (strcmp(what, "pwritev") == 0 && atomic_load(&h->writes)) {
        uv_sem_wait(&h->write);
    }
}

static void a_flush_is_told_though_a_frame_was_under_way_when_it_ended(void **state)
{
    struct fixture *f = *state;
    struct flushing fl = {0};
    struct held h = {0};
    uint64_t frames;

    assert_int_equal(uv_sem_init(&h.sync, 0), 0);
    assert_int_equal(uv_sem_init(&h.write, 0), 0);
    crash_disk_set_hook(f->disk, hold, &h);
    wait_for_growth(f);
    append(f, 0, 1, false);
    run_until(f, 2);
    wait_ms(f, 4 * JOURNAL_IDLE_MS); /* what growth made durable is told */
    append(f, 0, 1, false);
    run_until(f, 3);
    atomic_store(&h.syncs, true);
    journal_flush(f->j, &fl.flush, stats_of(f).completed_lsn, on_flushed);
    while (!atomic_load(&h.in_sync)) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    atomic_store(&h.writes, true);
    frames = stats_of(f).frames;
    append(f, 0, 1, false);
    while (stats_of(f).frames == frames) { /* it tells the old durable_lsn */
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    atomic_store(&h.syncs, false);
    uv_sem_post(&h.sync);
    loop_run_until(&f->loop, &fl.done);
    wait_ms(f, 4 * JOURNAL_IDLE_MS);
    assert_int_equal(stats_of(f).frames, frames + 1);
    atomic_store(&h.writes, false);
    uv_sem_post(&h.write);
    run_until(f, 4);
    wait_ms(f, 4 * JOURNAL_IDLE_MS);
    assert_int_equal(stats_of(f).frames, frames + 2);
    close_journal(f);
    uv_sem_destroy(&h.sync);
    uv_sem_destroy(&h.write);
}

/* One that opens today has to open tomorrow, when the ring has grown. */
static void a_ring_never_has_more_segments_than_an_opening_takes(void **state)
{
    struct fixture *f = *state;

    f->journal_bytes = UINT64_C(100000) * SEGMENT_BYTES;
    reopen(f);
    assert_in_range(stats_of(f).segments_max, 30000, 65000);
}

/* The opening frame goes behind the accepted end: a crash loop costs blocks. */
static void a_hundred_openings_take_no_segment(void **state)
{
    struct fixture *f = *state;
    uint64_t segments = stats_of(f).segments;

    for (unsigned life = 2; life < 30; life++) {
        reopen(f);
        assert_int_equal(stats_of(f).incarnation, life);
        assert_int_equal(stats_of(f).segments, segments);
        assert_int_equal(stats_of(f).segments_used, 1);
    }
    for (unsigned life = 30; life < 100; life++) {
        reopen(f);
        assert_true(stats_of(f).segments <= segments + 3); /* 128 KiB hold 32 of them */
    }
}

/* A full journal whose volumes cannot upload must not grow with each life either. */
static void a_full_journal_does_not_grow_over_many_lives(void **state)
{
    struct fixture *f = *state;

    for (unsigned life = 0; life < 8; life++) {
        struct tail_history h;
        unsigned ended = f->ended;
        uint64_t ms;

        for (unsigned i = 0; i < 40; i++) {
            append(f, 0, 7, false);
        }
        while (stats_of(f).segments < 6 || journal_waiting(f->j, &ms) == NULL) {
            wait_ms(f, 1);
        }
        while (f->ended < ended + 40) { /* those that wait end with the journal's space */
            journal_cancel(f->j, f->uuid[0], ERR_CANCELED);
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        assert_in_range(stats_of(f).segments, 6, 7);
        reopen(f);
        h = history(f, 0);
        assert_false(h.damaged);
        f->seq[0] = h.last_seq;
    }
    drop_all(f);
}

static void on_sync(void *ctx, const char *what, const char *path)
{
    struct fixture *f = ctx;

    if (strcmp(what, "fdatasync") == 0 && strstr(path, "journal") != NULL) {
        crash_disk_fail_at(f->disk, crash_disk_io_count(f->disk) + 1, -EIO);
    }
}

static bool is_out_of_service(void *ctx)
{
    return stats_of(ctx).failed;
}

/* Nobody asked for a flush: the only sync is that of a new segment. It may have been told of
 * frames that were lost. */
static void a_failed_sync_of_growth_takes_the_journal_out_of_service(void **state)
{
    struct fixture *f = *state;

    crash_disk_set_hook(f->disk, on_sync, f);
    append(f, 0, 7, false);
    append(f, 0, 7, false);
    loop_run_until_true(&f->loop, is_out_of_service, f);
    append(f, 0, 1, false);
    run_until(f, 3);
    assert_true(f->failed >= 1);
    close_journal(f);
    crash_disk_set_hook(f->disk, NULL, NULL);
}

static void no_room_to_grow_leaves_the_ring_as_it_is(void **state)
{
    struct fixture *f = *state;

    crash_disk_set_capacity(f->disk, crash_disk_used_bytes(f->disk));
    churn(f, 30);
    assert_false(stats_of(f).failed);
    assert_int_equal(stats_of(f).segments, JOURNAL_SEGMENTS_MIN);
    reopen(f);
}

static void a_ring_that_could_not_grow_tries_again(void **state)
{
    struct fixture *f = *state;

    f->grow_again_ms = 20;
    reopen(f);
    crash_disk_set_capacity(f->disk, crash_disk_used_bytes(f->disk));
    churn(f, 30);
    assert_int_equal(stats_of(f).segments, JOURNAL_SEGMENTS_MIN);
    crash_disk_set_capacity(f->disk, 0);
    wait_ms(f, 40);
    for (unsigned i = 0; i < 1000 && stats_of(f).segments == JOURNAL_SEGMENTS_MIN; i++) {
        churn(f, 1);
    }
    assert_true(stats_of(f).segments > JOURNAL_SEGMENTS_MIN);
}

/* Records that drain a full journal may not take the block of the frame that ends it. */
static void control_leaves_room_for_the_frame_that_gives_segments_back(void **state)
{
    struct fixture *f = *state;
    unsigned records = 0, before;

    for (unsigned i = 0; i < 30; i++, records++) {
        append(f, 0, 7, false);
    }
    wait_ms(f, 200);
    assert_in_range(f->ended, 8, 29);
    before = f->ended;
    for (unsigned i = 1; i <= 80; i++, records++) { /* more than the reserve has blocks */
        append_other(
            f, 1,
            (struct journal_append){.op = FRAME_OP_SCO,
                                    .kind = SCO_GC,
                                    .epoch = 3,
                                    .a = sco_number(3, i),
                                    .predecessor = sco_number(3, i - 1),
                                    .record = record_new(FRAME_OP_SCO, sco_number(3, i), 1)});
        wait_ms(f, 2);
    }
    wait_ms(f, 200);
    assert_true(f->ended > before + 40);
    drop_all(f);
    for (unsigned i = 0; i < 2000 && f->ended < records; i++) {
        wait_ms(f, 1);
        drop_all(f);
    }
    assert_int_equal(f->ended, records);
}

/* It has no data: its own record keeps its segment, and brings all that a second put needs. */
static void an_assignment_keeps_its_place_until_it_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct tail tail;

    append_other(f, 1,
                 (struct journal_append){.op = FRAME_OP_SCO,
                                         .kind = SCO_GC,
                                         .epoch = 3,
                                         .a = sco_number(3, 7),
                                         .predecessor = sco_number(3, 6),
                                         .generation = 5,
                                         .record = record_new(FRAME_OP_SCO, sco_number(3, 7), 1)});
    run_until(f, 1);
    for (unsigned i = 0; i < 10; i++) { /* segments fill behind it, and empty */
        struct list *link;

        append(f, 0, 7, true);
        run_until(f, f->ended + 1);
        link = f->live.prev;
        list_remove(link);
        drop(f, container_of(link, struct record, link));
    }
    assert_true(stats_of(f).segments_used >= 3);
    reopen(f);
    journal_take_tail(f->j, f->uuid[1], &tail);
    tail_resolve(&tail,
                 &(struct tail_bounds){.since = 3, .epoch = 4, .prefix_number = sco_number(3, 6)},
                 drop, f, &h);
    assert_false(h.damaged);
    assert_int_equal(h.sco_count, 1);
    assert_int_equal(h.scos[0].number, sco_number(3, 7));
    assert_int_equal(h.scos[0].predecessor, sco_number(3, 6));
    assert_int_equal(h.scos[0].generation, 5);
    assert_int_equal(h.scos[0].kind, SCO_GC);
    drop(f, h.scos[0].record);
    free(h.scos);
}

static void a_journal_in_use_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    char *dir = tempdir_make();
    struct journal_options o = {
        .loop = &f->loop, .io = io_real(), .dir = dir, .segment_bytes = SEGMENT_BYTES};
    struct journal *other;
    struct err e;

    close_journal(f);
    assert_int_equal(journal_open(&o, &f->j, &e), 0);
    assert_int_equal(journal_open(&o, &other, &e), ERR_BUSY);
    assert_non_null(strstr(e.msg, dir));
    close_journal(f);
    assert_int_equal(journal_open(&o, &f->j, &e), 0);
    close_journal(f);
    tempdir_remove(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(writes_of_one_turn_and_of_many_volumes_share_a_frame),
        T(a_durable_write_costs_one_sync_and_shares_it),
        T(a_write_is_synced_along_when_each_before_it_was_flushed),
        T(a_failed_sync_along_with_a_write_takes_the_journal_out_of_service),
        T(a_failed_sync_takes_the_journal_out_of_service),
        T(a_full_ring_waits_asks_for_uploads_and_goes_on),
        T(the_journal_keeps_its_id_and_refuses_garbage),
        T(an_idle_flush_is_told_by_an_empty_frame),
        T(a_flush_is_told_though_a_frame_was_under_way_when_it_ended),
        T(a_ring_never_has_more_segments_than_an_opening_takes),
        T(a_hundred_openings_take_no_segment),
        T(a_full_journal_does_not_grow_over_many_lives),
        T(a_failed_sync_of_growth_takes_the_journal_out_of_service),
        T(no_room_to_grow_leaves_the_ring_as_it_is),
        T(a_ring_that_could_not_grow_tries_again),
        T(control_leaves_room_for_the_frame_that_gives_segments_back),
        T(an_assignment_keeps_its_place_until_it_is_dropped),
        T(a_journal_in_use_is_refused_by_name),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
