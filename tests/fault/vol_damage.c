/* A lost frame of the journal: whose volume it damages stays read only, over any number of lives,
 * until the loss is accepted; the others get their ring back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_call.h"
#include "lib/vol_node.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/volume_past.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096, RECORD_CLUSTERS = 32 };

static const uint8_t neighbour[16] = "neighbour-volume";

struct fixture {
    struct vol_world world;
    uint64_t neighbour_seq;
};

static void fixture_init(struct fixture *f, uint64_t seed)
{
    *f = (struct fixture){0};
    vol_world_init(&f->world, seed, BYTES, SCO_BYTES);
}

static void fixture_release(struct fixture *f)
{
    vol_world_release(&f->world);
}

/* ---- requests ---- */

static int put(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    return vol_put(&f->world.node, cluster * CLUSTER, byte, CLUSTER, VOLUME_FUA);
}

static void expect(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    vol_expect(&f->world.node, cluster * CLUSTER, byte, CLUSTER);
}

/* ---- the other volume of the device: its records, and nothing else of it ---- */

struct note {
    struct journal_append append;
    struct fixture *f;
    int rc;
    bool done;
};

static void on_note(struct journal_append *append, int rc)
{
    struct note *note = container_of(append, struct note, append);

    note->rc = rc;
    note->done = true;
}

/* A record that is given back at once, as if it had been uploaded. False: there is no room. */
static bool neighbour_writes(struct fixture *f)
{
    static uint8_t data[RECORD_CLUSTERS * CLUSTER];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
    struct note note = {.append = {.volume = neighbour,
                                   .seq = ++f->neighbour_seq,
                                   .epoch = 1,
                                   .op = FRAME_OP_WRITE,
                                   .durable = true,
                                   .iov = &iov}};

    note.append.record = record_new(FRAME_OP_WRITE, 0, RECORD_CLUSTERS);
    journal_append(f->world.node.journal, &note.append, on_note);
    for (unsigned i = 0; i < 5000 && !note.done; i++) {
        vol_node_turn(&f->world.node, i % 8 == 7);
    }
    if (!note.done) {
        journal_cancel(f->world.node.journal, neighbour, ERR_CANCELED);
        while (!note.done) {
            vol_node_turn(&f->world.node, true);
        }
        journal_record_drop(f->world.node.journal, note.append.record);
        f->neighbour_seq--;
        return false;
    }
    assert_int_equal(note.rc, 0);
    journal_record_drop(f->world.node.journal, note.append.record);
    return true;
}

/* Three times round the ring. */
static unsigned rounds(const struct fixture *f)
{
    return (unsigned)(3 * f->world.node.journal_bytes / (RECORD_CLUSTERS * CLUSTER));
}

/* ---- damage ---- */

/* What was written to it durably: 1 and 2 at cluster 0, and 3 at cluster 1 when `behind`. The frame
 * of the 2 is lost. */
static void lose_frame(struct fixture *f, bool behind)
{
    struct volume_stats s;
    uint64_t at;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    f->world.store.down = true;
    assert_int_equal(put(f, 0, 1), 0);
    if (!behind) { /* the lost record is to be the only one that the journal holds */
        f->world.store.down = false;
        assert_int_equal(vol_drain(&f->world.node), 0);
        do {
            vol_node_turn(&f->world.node, true);
            volume_stats(f->world.node.volume, &s);
        } while (s.released_seq != s.last_seq);
        f->world.store.down = true;
    }
    assert_int_equal(put(f, 0, 2), 0);
    at = container_of(f->world.node.volume->records.prev, struct record, link)->data_offset;
    if (behind) {
        assert_int_equal(put(f, 1, 3), 0);
    }
    assert_true(neighbour_writes(f)); /* says that the frames before it were durable */
    vol_node_kill(&f->world.node);
    f->world.store.down = false;
    assert_int_equal(crash_disk_corrupt(f->world.node.disk, "/journal", at - CLUSTER + 60), 0);
}

static void expect_damaged(struct fixture *f)
{
    struct vol_call c = {0};
    uint8_t data[CLUSTER] = {0};
    struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};

    assert_int_equal(volume_state(f->world.node.volume), VOLUME_DAMAGED);
    assert_int_equal(volume_write(f->world.node.volume, &c.req, 0, &iov, 1, 0, vol_call_done),
                     -EROFS);
    assert_true(f->world.registry.verdict.first_seq != 0);
    expect(f, 0, 1);
    expect(f, 1, 0);
}

static void expect_accepted(struct fixture *f)
{
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    assert_int_equal(f->world.registry.verdict.first_seq, 0);
    expect(f, 0, 1);
    expect(f, 1, 0);
}

/* As driver_settle() does. */
static void settle(struct fixture *f)
{
    assert_int_not_equal(journal_damage_lsn(f->world.node.journal), 0);
    assert_int_not_equal(f->world.registry.verdict.first_seq, 0);
    volume_past_forget(&f->world.node.host, neighbour);
    journal_damage_settle(f->world.node.journal);
}

/* ---- cases ---- */

static void a_lost_frame_that_is_not_settled_stops_the_ring(void **state)
{
    struct fixture f;
    unsigned written = 0;

    (void)state;
    fixture_init(&f, 1);
    lose_frame(&f, false);
    assert_int_equal(vol_node_start(&f.world.node), 0);
    volume_past_forget(&f.world.node.host, neighbour);
    while (written < rounds(&f) && neighbour_writes(&f)) {
        written++;
    }
    assert_true(written < rounds(&f));
    expect_damaged(&f);
    settle(&f);
    for (unsigned i = 0; i < rounds(&f); i++) {
        assert_true(neighbour_writes(&f));
    }
    fixture_release(&f);
}

static void the_verdict_outlives_what_the_journal_shows(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 2);
    lose_frame(&f, false);
    for (unsigned life = 0; life < 4; life++) {
        assert_int_equal(vol_node_start(&f.world.node), 0);
        expect_damaged(&f);
        assert_int_equal(vol_node_reopen(&f.world.node, 0), 0);
        expect_damaged(&f);
        if (life == 1) {
            settle(&f);
            for (unsigned i = 0; i < rounds(&f); i++) {
                assert_true(neighbour_writes(&f));
            }
        }
        if (life >= 2) {
            assert_int_equal(journal_damage_lsn(f.world.node.journal), 0);
        }
        if (life == 2) {
            vol_node_stop(&f.world.node, 60000); /* it is not marked as drained */
        } else {
            vol_node_kill(&f.world.node);
        }
    }
    f.world.node.accept_loss = true;
    assert_int_equal(vol_node_start(&f.world.node), 0);
    expect_accepted(&f);
    assert_int_equal(put(&f, 1, 7), 0);
    f.world.node.accept_loss = false;
    vol_node_kill(&f.world.node);
    assert_int_equal(vol_node_start(&f.world.node), 0);
    assert_int_equal(volume_state(f.world.node.volume), VOLUME_RUNNING);
    expect(&f, 0, 1);
    expect(&f, 1, 7);
    fixture_release(&f);
}

static void a_verdict_that_cannot_be_stored_leaves_the_volume_closed(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 2; lost++) {
        struct fixture f;

        fixture_init(&f, 3);
        lose_frame(&f, true);
        f.world.registry.judge_fails = lost == 0;
        f.world.registry.judge_lost = lost == 1;
        assert_int_equal(vol_node_start(&f.world.node), ERR_BUSY);
        f.world.registry.judge_fails = f.world.registry.judge_lost = false;
        assert_int_equal(vol_node_start(&f.world.node), 0);
        expect_damaged(&f);
        fixture_release(&f);
    }
}

/* The power fails at each I/O of the opening that accepts the loss; the answer of the registry is
 * lost, or it does not do it. */
static void accepting_the_loss_is_all_or_nothing(void **state)
{
    bool done = false;

    (void)state;
    for (unsigned n = 1; !done; n++) {
        for (unsigned how = 0; how < 3; how++) {
            struct fixture f;

            fixture_init(&f, n);
            lose_frame(&f, true);
            assert_int_equal(vol_node_start(&f.world.node), 0);
            expect_damaged(&f);
            vol_node_kill(&f.world.node);
            f.world.node.accept_loss = true;
            f.world.registry.judge_fails = how == 1;
            f.world.registry.judge_lost = how == 2;
            crash_disk_power_off_at(f.world.node.disk, crash_disk_io_count(f.world.node.disk) + n);
            if (vol_node_start(&f.world.node) == 0) {
                assert_int_equal(how, 0);
                expect_accepted(&f);
                done = true;
            }
            vol_node_power(&f.world.node, (enum crash_mode)(n % 4), n);
            f.world.node.accept_loss = f.world.registry.judge_fails = f.world.registry.judge_lost =
                false;
            assert_int_equal(vol_node_start(&f.world.node), 0);
            if (f.world.registry.verdict.first_seq != 0) {
                expect_damaged(&f);
                f.world.node.accept_loss = true;
                assert_int_equal(vol_node_reopen(&f.world.node, 0), 0);
            }
            expect_accepted(&f);
            assert_int_equal(put(&f, 1, 7), 0);
            f.world.node.accept_loss = false;
            vol_node_kill(&f.world.node);
            assert_int_equal(vol_node_start(&f.world.node), 0);
            assert_int_equal(volume_state(f.world.node.volume), VOLUME_RUNNING);
            expect(&f, 0, 1);
            expect(&f, 1, 7);
            fixture_release(&f);
        }
    }
}

/* Settled, and the power fails before the ring has gone on, or while it does. */
static void a_crash_around_settling_changes_nothing(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 40; n++) {
        struct fixture f;

        fixture_init(&f, n);
        lose_frame(&f, false);
        assert_int_equal(vol_node_start(&f.world.node), 0);
        settle(&f);
        for (unsigned i = 0; i < 4 * n; i++) {
            assert_true(neighbour_writes(&f));
        }
        vol_node_power(&f.world.node, (enum crash_mode)(n % 4), n);
        assert_int_equal(vol_node_start(&f.world.node), 0);
        expect_damaged(&f);
        fixture_release(&f);
    }
}

/* The frame's data rots, or its header does: the backend has what it held. */
static void a_loss_that_the_committed_prefix_holds_damages_nothing(void **state)
{
    (void)state;
    for (unsigned header = 0; header < 2; header++) {
        struct fixture f;
        uint64_t at;

        fixture_init(&f, 4);
        f.world.node.host.incomplete_ms = 60000; /* so that the journal keeps its records */
        f.world.store.incomplete_percent = 100;
        assert_int_equal(vol_node_start(&f.world.node), 0);
        assert_int_equal(put(&f, 0, 1), 0);
        assert_int_equal(put(&f, 0, 2), 0);
        at = container_of(f.world.node.volume->records.prev, struct record, link)->data_offset;
        assert_int_equal(vol_drain(&f.world.node), 0);
        f.world.store.down = true;
        assert_int_equal(put(&f, 1, 3), 0);
        assert_true(neighbour_writes(&f));
        vol_node_kill(&f.world.node);
        f.world.store.down = false;
        at -= header == 0 ? 0 : CLUSTER - 60;
        assert_int_equal(crash_disk_corrupt(f.world.node.disk, "/journal", at), 0);
        assert_int_equal(vol_node_start(&f.world.node), 0);
        assert_int_equal(journal_damage_lsn(f.world.node.journal) != 0, header == 1);
        assert_int_equal(volume_state(f.world.node.volume), VOLUME_RUNNING);
        assert_int_equal(f.world.registry.verdict.first_seq, 0);
        expect(&f, 0, 2);
        expect(&f, 1, 3);
        fixture_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_frame_that_is_not_settled_stops_the_ring),
        cmocka_unit_test(the_verdict_outlives_what_the_journal_shows),
        cmocka_unit_test(a_verdict_that_cannot_be_stored_leaves_the_volume_closed),
        cmocka_unit_test(accepting_the_loss_is_all_or_nothing),
        cmocka_unit_test(a_crash_around_settling_changes_nothing),
        cmocka_unit_test(a_loss_that_the_committed_prefix_holds_damages_nothing),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
