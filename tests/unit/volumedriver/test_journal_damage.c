#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/volumedriver/journal_fixture.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"

static void a_flipped_bit_in_flushed_data_damages_only_its_volume(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct err e;

    append(f, 0, 1, true);
    append(f, 1, 1, true);
    run_until(f, 2);
    append(f, 0, 1, true);
    run_until(f, 3);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", data_offset(f, 1) + 100), 0);
    close_journal(f);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_true(h.damaged);
    assert_int_equal(h.last_seq, 0);
    h = history(f, 1);
    assert_false(h.damaged);
    assert_int_equal(h.last_seq, 1);
}

static void a_lost_header_damages_who_cannot_prove_the_contrary(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    uint64_t at;
    struct err e;

    append(f, 0, 1, true); /* frame A */
    run_until(f, 1);
    append(f, 1, 1, true); /* frame B, the one that gets lost */
    run_until(f, 2);
    at = container_of(f->live.prev, struct record, link)->data_offset;
    append(f, 0, 1, true); /* frame C says that B was durable */
    run_until(f, 3);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", at - CLUSTER + 60), 0);
    close_journal(f);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_false(h.damaged); /* 1 and 2 without a gap, 2 behind the loss */
    assert_int_equal(h.last_seq, 2);
    h = history(f, 1);
    assert_true(h.damaged);
}

static void a_torn_tail_that_nobody_flushed_damages_nobody(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct err e;
    uint64_t at;

    append(f, 0, 1, true);
    run_until(f, 1);
    append(f, 0, 1, false);
    run_until(f, 2);
    at = data_offset(f, 2);
    crash_disk_power_off(f->disk);
    close_journal(f);
    crash_disk_reboot(f->disk, CRASH_KEEP_ALL, 1);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", at), 0);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_false(h.damaged);
    assert_int_equal(h.last_seq, 1);
}

/* It was told that it is durable, and that was made durable: rot is no torn tail. */
static void
a_flushed_frame_that_rots_is_damage_though_the_journal_idled_and_power_went(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct err e;
    uint64_t at, frames;

    append(f, 0, 1, true);
    run_until(f, 1);
    at = data_offset(f, 1);
    frames = stats_of(f).frames;
    while (stats_of(f).frames == frames || stats_of(f).durable_lsn < stats_of(f).lsn) {
        wait_ms(f, 10);
    }
    crash_disk_power_off(f->disk);
    close_journal(f);
    crash_disk_reboot(f->disk, CRASH_DROP_ALL, 1);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", at), 0);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_true(h.damaged);
}

/* A guest that knows the format puts a frame into its data; a torn frame in front of it makes
 * the replay look exactly there. */
static void data_made_to_look_like_a_frame_is_not_replayed(void **state)
{
    struct fixture *f = *state;
    struct frame_extent x = {.op = FRAME_OP_OPEN, .epoch = 9, .seq = 1};
    struct frame_header h = {.header_blocks = 1, .extent_count = 1, .segment_bytes = SEGMENT_BYTES};
    struct tail tail;
    struct err e;

    append(f, 0, 1, true);
    run_until(f, 1);
    h.incarnation = h.first_lsn = 1;
    h.lsn = stats_of(f).completed_lsn + 1;
    h.offset = data_offset(f, 1) + CLUSTER + CLUSTER; /* its own place, in the next frame's data */
    memcpy(h.journal_id, journal_id(f->j), 16);
    memset(h.salt, 7, 16);
    memcpy(x.volume, f->uuid[0], 16);
    memset(f->data, 0, CLUSTER);
    frame_extent_encode(&x, f->data + FRAME_HEAD_BYTES);
    frame_header_seal(&h, f->data);
    append(f, 0, 1, false);
    run_until(f, 2);
    assert_int_equal(data_offset(f, 2), h.offset);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", h.offset - 100), 0); /* its header */
    close_journal(f);
    assert_int_equal(open_journal(f, &e), 0);
    journal_take_tail(f->j, f->uuid[0], &tail);
    assert_int_equal(tail.count, 1);
    assert_int_equal(tail.items[0].op, FRAME_OP_WRITE);
    tail_release(&tail, drop, f);
}

/* ---- blocks that cannot be read ---- */

/* `what`: 0 its header, 1 its data. Volume 0 has seqs 1, 2, 3, the second one is unreadable. */
static void lose_second(struct fixture *f, uint64_t blocks_before, bool third)
{
    uint64_t at;

    append(f, 0, 1, true);
    run_until(f, 1);
    append(f, 0, 1, third);
    run_until(f, 2);
    at = data_offset(f, 2) - blocks_before * CLUSTER;
    if (third) {
        append(f, 0, 1, true);
        run_until(f, 3);
    }
    close_journal(f);
    crash_disk_fail_reads(f->disk, "/journal", at, -EIO);
}

static void an_unreadable_cluster_that_was_synced_is_damage_of_its_volume(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct err e;

    lose_second(f, 0, true);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_true(h.damaged);
    assert_int_equal(h.last_seq, 1);
    assert_int_equal(stats_of(f).live_records, 3); /* nothing of it is given back */
    assert_false(history(f, 1).damaged);
    assert_int_equal(journal_damage_lsn(f->j), 0); /* its header says whose it was */
}

static void an_unreadable_header_that_was_synced_is_damage_of_who_has_no_proof(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    struct err e;

    lose_second(f, 1, true);
    assert_int_equal(open_journal(f, &e), 0);
    assert_int_not_equal(journal_damage_lsn(f->j), 0);
    h = history(f, 0);
    assert_true(h.damaged);
    assert_int_equal(h.last_seq, 1);
    assert_true(history(f, 1).damaged);
}

static void an_unreadable_last_frame_is_a_torn_tail_and_its_segment_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct tail_history h;
    uint64_t first;
    struct err e;

    lose_second(f, 1, false);
    assert_int_equal(open_journal(f, &e), 0);
    h = history(f, 0);
    assert_false(h.damaged);
    assert_int_equal(h.last_seq, 1);
    first = data_offset(f, 1);
    f->seq[0] = 1;
    append(f, 0, 1, true);
    run_until(f, 3);
    assert_true(data_offset(f, 2) / SEGMENT_BYTES > first / SEGMENT_BYTES);
    drop_all(f);
    churn(f, 40); /* many times round the ring */
    assert_int_equal(stats_of(f).segments_retired, 1);
    crash_disk_fail_reads(f->disk, "/journal", 0, 0);
    reopen(f); /* what is readable again is behind the cut */
    assert_int_equal(journal_damage_lsn(f->j), 0);
    assert_int_equal(stats_of(f).segments_retired, 0);
}

/* More than one read, and the last one is a short one. */
static void of_a_segment_read_in_parts_only_the_unreadable_block_is_lost(void **state)
{
    enum { RECORDS = 80, LOST = 50 };
    struct fixture *f = *state;
    struct io *io = crash_disk_io(f->disk);
    struct tail_history h;
    struct err e;
    uint64_t at;

    close_journal(f);
    assert_int_equal(io->ops->unlink(io, "/journal"), 0);
    f->segment_bytes = 3 * 1048576 + SEGMENT_BYTES;
    assert_int_equal(open_journal(f, &e), 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        append(f, 0, 8, true);
        run_until(f, i + 1);
    }
    at = data_offset(f, LOST);
    assert_true(at > 1048576 && data_offset(f, RECORDS) < f->segment_bytes);
    close_journal(f);
    crash_disk_fail_reads(f->disk, "/journal", at, -EIO);
    assert_int_equal(open_journal(f, &e), 0);
    assert_int_equal(stats_of(f).replayed_records, RECORDS);
    h = history(f, 0);
    assert_true(h.damaged);
    assert_int_equal(h.last_seq, LOST - 1);
    assert_int_equal(journal_damage_lsn(f->j), 0);
}

static void a_journal_of_which_no_frame_can_be_read_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct err e;

    close_journal(f);
    crash_disk_fail_reads(f->disk, "/journal", SUPER, -EIO);
    assert_int_equal(open_journal(f, &e), -EIO);
    assert_non_null(strstr(e.msg, "/journal"));
    crash_disk_fail_reads(f->disk, "/journal", 0, 0);
    assert_int_equal(open_journal(f, &e), 0);
}

/* ---- what proves that a lost frame held nothing ---- */

/* Frame n with volume 1's second record is lost; behind it stand `append` and volume 0's. */
static struct tail_history lose_then(struct fixture *f, struct journal_append behind)
{
    struct tail_history h;
    uint64_t at;

    append(f, 1, 1, true);
    run_until(f, 1);
    append(f, 1, 1, true);
    run_until(f, 2);
    at = data_offset(f, 2) - CLUSTER;
    append_other(f, 1, behind);
    run_until(f, 3);
    append(f, 0, 1, true);
    run_until(f, 4);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", at + 60), 0);
    reopen(f);
    assert_false(history(f, 0).damaged);
    h = history(f, 1);
    assert_int_equal(h.last_seq, 1);
    return h;
}

static void an_assignment_behind_a_lost_frame_is_no_proof(void **state)
{
    struct fixture *f = *state;
    struct tail_history h = lose_then(
        f, (struct journal_append){.op = FRAME_OP_SCO,
                                   .kind = SCO_CLIENT,
                                   .epoch = 1,
                                   .seq = 1,
                                   .a = sco_number(1, 3),
                                   .b = 1,
                                   .record = record_new(FRAME_OP_SCO, sco_number(1, 3), 1)});

    assert_true(h.damaged);
}

static void an_idle_opening_behind_a_lost_frame_shows_the_gap(void **state)
{
    struct fixture *f = *state;
    struct tail_history h =
        lose_then(f, (struct journal_append){.op = FRAME_OP_OPEN, .epoch = 2, .seq = 3});

    assert_true(h.damaged);
    assert_non_null(strstr(h.why, "opening"));
}

/* ---- damage is not forgotten ---- */

static void a_lost_frame_is_found_again_until_it_is_settled(void **state)
{
    struct fixture *f = *state;
    uint64_t at, lsn;

    append(f, 1, 1, true);
    run_until(f, 1);
    at = data_offset(f, 1) - CLUSTER;
    append(f, 0, 1, true);
    run_until(f, 2);
    assert_int_equal(crash_disk_corrupt(f->disk, "/journal", at + 60), 0);
    reopen(f);
    lsn = journal_damage_lsn(f->j);
    assert_int_not_equal(lsn, 0);
    assert_true(history(f, 1).damaged); /* it has no record that could stay */
    for (unsigned life = 0; life < 2; life++) {
        history(f, 0);
        drop_all(f);
        churn(f, 5); /* its segment would be released, and overwritten */
        reopen(f);
        assert_int_equal(journal_damage_lsn(f->j), lsn);
        assert_true(history(f, 1).damaged);
    }
    history(f, 0);
    drop_all(f);
    journal_damage_settle(f->j);
    assert_int_equal(journal_damage_lsn(f->j), 0);
    churn(f, 40);
    reopen(f);
    assert_int_equal(journal_damage_lsn(f->j), 0);
    assert_false(history(f, 1).damaged);
}

/* ---- frames of a newer program ---- */

static void forge(struct fixture *f, uint64_t block, struct frame_header h)
{
    struct io *io = crash_disk_io(f->disk);
    uint8_t *bytes = mem_aligned(CLUSTER, CLUSTER);
    struct frame_extent x = {.op = FRAME_OP_SNAPSHOT, .epoch = 1, .seq = 1};
    int fd = io->ops->open(io, "/journal", IO_OPEN_WRITE);

    assert_int_equal(io_read_full(io, fd, bytes, CLUSTER, SUPER), 0);
    memcpy(h.journal_id, bytes + 16, 16);
    memcpy(h.salt, bytes + 32, 16);
    h.offset = SUPER + block * CLUSTER;
    h.segment_bytes = SEGMENT_BYTES;
    h.header_blocks = h.extent_count = 1;
    memset(bytes, 0, CLUSTER);
    frame_extent_encode(&x, bytes + FRAME_HEAD_BYTES);
    frame_header_seal(&h, bytes);
    assert_int_equal(io_write_full(io, fd, bytes, CLUSTER, h.offset), 0);
    io->ops->close(io, fd);
    free(bytes);
}

static void only_a_frame_that_counts_can_need_a_newer_version(void **state)
{
    struct fixture *f = *state;
    struct err e;

    reopen(f); /* opening frames 1 and 2, the second of incarnation 2 */
    close_journal(f);
    forge(f, 20, (struct frame_header){.incarnation = 1, .first_lsn = 1, .lsn = 7});
    assert_int_equal(open_journal(f, &e), 0); /* behind the cut of incarnation 1 */
    close_journal(f);
    forge(f, 3, (struct frame_header){.incarnation = 3, .first_lsn = 3, .lsn = 4});
    assert_int_equal(open_journal(f, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "newer version"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_flipped_bit_in_flushed_data_damages_only_its_volume),
        T(a_lost_header_damages_who_cannot_prove_the_contrary),
        T(a_torn_tail_that_nobody_flushed_damages_nobody),
        T(a_flushed_frame_that_rots_is_damage_though_the_journal_idled_and_power_went),
        T(data_made_to_look_like_a_frame_is_not_replayed),
        T(an_unreadable_cluster_that_was_synced_is_damage_of_its_volume),
        T(an_unreadable_header_that_was_synced_is_damage_of_who_has_no_proof),
        T(an_unreadable_last_frame_is_a_torn_tail_and_its_segment_is_left_alone),
        T(of_a_segment_read_in_parts_only_the_unreadable_block_is_lost),
        T(a_journal_of_which_no_frame_can_be_read_is_refused_by_name),
        T(an_assignment_behind_a_lost_frame_is_no_proof),
        T(an_idle_opening_behind_a_lost_frame_shows_the_gap),
        T(a_lost_frame_is_found_again_until_it_is_settled),
        T(only_a_frame_that_counts_can_need_a_newer_version),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
