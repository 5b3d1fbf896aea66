#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/volumedriver/journal_fixture.h"

enum { RECORDS = 16, CLUSTERS = 3, PIECES = 2 * RECORDS };

struct reading {
    struct journal_read read;
    struct journal_piece pieces[PIECES];
    uint8_t data[PIECES][CLUSTERS * CLUSTER];
    uint32_t first[PIECES]; /* number of its first cluster, over all records */
    int rc;
    bool done;
};

static void on_read(struct journal_read *read, int rc)
{
    struct reading *r = container_of(read, struct reading, read);

    r->rc = rc;
    r->done = true;
}

/* One record a frame, and here and there a frame of the other volume in between. Each cluster holds
 * its number. */
static void write_records(struct fixture *f)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t c = 0; c < CLUSTERS; c++) {
            memset(f->data + (size_t)c * CLUSTER, (int)(i * CLUSTERS + c), CLUSTER);
        }
        append(f, 0, CLUSTERS, true);
        run_until(f, f->ended + 1);
        if (i % 5 == 4) {
            append(f, 1, 7, true);
            run_until(f, f->ended + 1);
        }
    }
}

static struct record *record_of(struct fixture *f, uint64_t seq)
{
    LIST_FOR_EACH (it, &f->live) {
        struct record *record = container_of(it, struct record, link);

        if (record->seq == seq && record->count == CLUSTERS) {
            return record;
        }
    }
    fail();
    return NULL;
}

/* The first cluster and the other two of each record, from the last one to the first. */
static struct reading *read_all(struct fixture *f)
{
    struct reading *r = mem_zalloc(sizeof(*r));

    for (uint32_t i = 0; i < PIECES; i++) {
        uint32_t record = RECORDS - 1 - i / 2, skip = i % 2;

        r->pieces[i] = (struct journal_piece){.record = record_of(f, record + 1),
                                              .skip = skip,
                                              .count = skip == 0 ? 1 : CLUSTERS - 1,
                                              .data = r->data[i]};
        r->first[i] = record * CLUSTERS + skip;
    }
    r->read = (struct journal_read){.pieces = r->pieces, .piece_count = PIECES};
    assert_int_equal(journal_read(f->j, &r->read, on_read), 0);
    loop_run_until(&f->loop, &r->done);
    return r;
}

static void pieces_in_any_order_are_read_to_where_they_belong_by_few_calls(void **state)
{
    struct fixture *f = *state;
    uint8_t want[CLUSTER];
    struct reading *r;
    uint64_t reads;

    write_records(f);
    reads = crash_disk_stats(f->disk).reads;
    r = read_all(f);
    assert_int_equal(r->rc, 0);
    for (uint32_t i = 0; i < PIECES; i++) {
        for (uint32_t c = 0; c < r->pieces[i].count; c++) {
            memset(want, (int)(r->first[i] + c), CLUSTER);
            assert_memory_equal(r->data[i] + (size_t)c * CLUSTER, want, CLUSTER);
        }
    }
    assert_true(crash_disk_stats(f->disk).reads - reads <= 10); /* a segment each, not a piece */
    free(r);
}

static void check_error(struct fixture *f, int rc)
{
    struct reading *r = read_all(f);

    assert_int_equal(r->rc, rc);
    assert_non_null(strstr(r->read.err.msg, "record 11 "));
    free(r);
}

static void a_piece_that_cannot_be_read_is_named(void **state)
{
    struct fixture *f = *state;

    write_records(f);
    crash_disk_fail_reads(f->disk, "/journal", record_of(f, 11)->data_offset + CLUSTER, -EIO);
    check_error(f, -EIO);
}

static void a_piece_that_fails_its_check_is_named(void **state)
{
    struct fixture *f = *state;

    write_records(f);
    assert_int_equal(
        crash_disk_corrupt(f->disk, "/journal", record_of(f, 11)->data_offset + 2 * CLUSTER + 7),
        0);
    check_error(f, ERR_CORRUPT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(pieces_in_any_order_are_read_to_where_they_belong_by_few_calls),
        T(a_piece_that_cannot_be_read_is_named),
        T(a_piece_that_fails_its_check_is_named),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
