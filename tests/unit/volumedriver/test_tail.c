#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/frame.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"
#include "volumedriver/tail.h"

/* A tail under construction: each call is the next frame. */
struct fixture {
    struct tail tail;
    struct tail_history h;
    uint64_t lsn;
    unsigned dropped;
};

static int setup(void **state)
{
    *state = mem_zalloc(sizeof(struct fixture));
    return 0;
}

static void drop(void *ctx, struct record *record)
{
    ((struct fixture *)ctx)->dropped++;
    free(record);
}

static unsigned count(const struct list *list)
{
    unsigned n = 0;

    LIST_FOR_EACH (it, list) {
        n++;
    }
    return n;
}

static void release_history(struct fixture *f)
{
    struct list *link;

    if (f->h.scos == NULL) {
        return;
    }
    while ((link = list_pop(&f->h.records)) != NULL || (link = list_pop(&f->h.stranded)) != NULL) {
        free(container_of(link, struct record, link));
    }
    for (uint32_t i = 0; i < f->h.sco_count; i++) {
        free(f->h.scos[i].record);
    }
    free(f->h.scos);
    f->h.scos = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    release_history(f);
    tail_release(&f->tail, drop, f);
    free(f);
    return 0;
}

static struct tail_item *push(struct fixture *f, struct tail_item item)
{
    item.lsn = ++f->lsn;
    if (item.record != NULL) {
        item.record->seq = item.seq;
        item.record->epoch = item.epoch;
    }
    tail_push(&f->tail, &item);
    return &f->tail.items[f->tail.count - 1];
}

static void data(struct fixture *f, uint32_t epoch, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        push(f, (struct tail_item){.op = FRAME_OP_WRITE,
                                   .epoch = epoch,
                                   .seq = seq,
                                   .record = record_new(FRAME_OP_WRITE, seq, 1)});
    }
}

static void opened(struct fixture *f, uint32_t epoch, uint64_t seq, uint8_t kind)
{
    push(f, (struct tail_item){.op = FRAME_OP_OPEN, .epoch = epoch, .seq = seq, .kind = kind});
}

static void assigned(struct fixture *f, uint8_t kind, uint64_t number, uint64_t predecessor,
                     uint64_t first, uint64_t last)
{
    push(f, (struct tail_item){.op = FRAME_OP_SCO,
                               .epoch = number_epoch(number),
                               .kind = kind,
                               .seq = first,
                               .a = number,
                               .b = last,
                               .predecessor = predecessor,
                               .generation = 4,
                               .record = record_new(FRAME_OP_SCO, number, 1)});
}

static const struct tail_history *resolve(struct fixture *f, uint32_t since, uint32_t epoch,
                                          uint64_t prefix_number, uint64_t prefix_seq)
{
    struct tail_bounds bounds = {
        .since = since, .epoch = epoch, .prefix_number = prefix_number, .prefix_seq = prefix_seq};

    release_history(f);
    tail_resolve(&f->tail, &bounds, drop, f, &f->h);
    return &f->h;
}

static void records_behind_the_prefix_make_the_history(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    opened(f, 5, 1, FRAME_OPEN);
    data(f, 5, 1, 10);
    h = resolve(f, 5, 6, sco_number(5, 1), 4);
    assert_false(h->damaged);
    assert_int_equal(h->last_seq, 10);
    assert_int_equal(count(&h->records), 6);
    assert_int_equal(f->dropped, 4);
}

/* Interleaving (a): 101-105 were in frame n, whose header is lost; behind it stands only the
 * assignment of 90-100. */
static void an_assignment_behind_a_lost_frame_proves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    opened(f, 5, 90, FRAME_OPEN);
    data(f, 5, 90, 100);
    f->tail.lost_lsn = ++f->lsn;
    assigned(f, SCO_CLIENT, sco_number(5, 9), sco_number(5, 8), 90, 100);
    h = resolve(f, 5, 6, sco_number(5, 8), 89);
    assert_true(h->damaged);
    assert_int_equal(h->last_seq, 100);
    assert_int_equal(h->sco_count, 1);
}

static void a_record_behind_a_lost_frame_proves_that_none_is_missing(void **state)
{
    struct fixture *f = *state;

    data(f, 5, 90, 100);
    f->tail.lost_lsn = ++f->lsn;
    data(f, 5, 101, 101);
    assert_false(resolve(f, 5, 6, sco_number(5, 8), 89)->damaged);
}

static void a_record_of_the_prefix_behind_a_lost_frame_is_proof_too(void **state)
{
    struct fixture *f = *state;

    f->tail.lost_lsn = ++f->lsn;
    data(f, 5, 88, 88);
    assert_false(resolve(f, 5, 6, sco_number(5, 8), 89)->damaged);
}

/* Interleaving (b): 101-110 were in frame n; an opening that saw them says 111; then idle. */
static void an_opening_whose_seq_leaves_a_gap_is_no_proof_but_damage(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 100);
    f->tail.lost_lsn = ++f->lsn;
    opened(f, 6, 111, FRAME_OPEN);
    h = resolve(f, 5, 7, sco_number(5, 8), 89);
    assert_true(h->damaged);
    assert_int_equal(h->last_seq, 100);
}

static void an_opening_that_follows_the_last_record_is_proof(void **state)
{
    struct fixture *f = *state;

    data(f, 5, 90, 100);
    f->tail.lost_lsn = ++f->lsn;
    opened(f, 6, 101, FRAME_OPEN);
    assert_false(resolve(f, 5, 7, sco_number(5, 8), 89)->damaged);
}

/* Without any lost frame: its seq alone tells. */
static void an_opening_ahead_of_the_records_is_damage(void **state)
{
    struct fixture *f = *state;

    data(f, 5, 90, 100);
    opened(f, 6, 111, FRAME_OPEN);
    data(f, 6, 111, 112);
    assert_true(resolve(f, 5, 7, sco_number(5, 8), 89)->damaged);
    assert_int_equal(count(&f->h.stranded), 2);
}

static void a_lost_frame_of_before_the_ownership_concerns_nobody(void **state)
{
    struct fixture *f = *state;

    f->tail.lost_lsn = ++f->lsn;
    assert_false(resolve(f, 6, 6, 0, 89)->damaged);
    f->tail.lost_lsn = 1;
    assert_true(resolve(f, 5, 6, 0, 89)->damaged);
}

static void records_behind_a_gap_stay_until_the_loss_is_accepted(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    for (unsigned accepted = 0; accepted < 2; accepted++) {
        f->lsn = 0;
        f->dropped = 0;
        data(f, 5, 90, 100);
        data(f, 5, 106, 120);
        assigned(f, SCO_CLIENT, sco_number(5, 9), sco_number(5, 8), 90, 100);
        assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 101, 120);
        assigned(f, SCO_GC, sco_number(5, 11), sco_number(5, 10), 0, 0);
        if (accepted != 0) {
            opened(f, 7, 101, FRAME_OPEN_LOSS_ACCEPTED);
            data(f, 7, 101, 103);
        }
        h = resolve(f, 5, 8, sco_number(5, 8), 89);
        assert_int_equal(h->damaged, accepted == 0);
        assert_int_equal(h->last_seq, accepted == 0 ? 100 : 103);
        assert_int_equal(count(&h->stranded), accepted == 0 ? 15 + 2 : 0);
        assert_int_equal(f->dropped, accepted == 0 ? 0 : 15 + 2);
        assert_int_equal(h->sco_count, 1);
        assert_int_equal(h->last_number, sco_number(5, 9));
    }
}

static void a_bad_record_ends_the_history_unless_the_prefix_holds_it(void **state)
{
    struct fixture *f = *state;

    for (uint64_t prefix = 94; prefix <= 95; prefix++) {
        data(f, 5, 90, 100);
        f->tail.items[f->tail.count - 6].bad = true; /* 95 */
        resolve(f, 5, 6, 0, prefix);
        assert_int_equal(f->h.damaged, prefix == 94);
        assert_int_equal(f->h.last_seq, prefix == 94 ? 94 : 100);
        assert_int_equal(count(&f->h.stranded), prefix == 94 ? 6 : 0);
    }
}

static void assignments_behind_the_prefix_come_back_with_all_a_put_needs(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 120);
    assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 90, 100);
    assigned(f, SCO_GC, sco_number(5, 11), sco_number(5, 10), 0, 0);
    assigned(f, SCO_CLIENT, sco_number(5, 12), sco_number(5, 11), 101, 110);
    opened(f, 6, 121, FRAME_OPEN);
    h = resolve(f, 5, 7, sco_number(5, 10), 100);
    assert_false(h->damaged);
    assert_int_equal(h->sco_count, 2);
    assert_int_equal(h->scos[0].kind, SCO_GC);
    assert_int_equal(h->scos[0].number, sco_number(5, 11));
    assert_int_equal(h->scos[0].predecessor, sco_number(5, 10));
    assert_int_equal(h->scos[0].generation, 4);
    assert_non_null(h->scos[0].record);
    assert_int_equal(h->scos[1].predecessor, sco_number(5, 11));
    assert_int_equal(h->last_number, sco_number(5, 12));
    assert_int_equal(f->dropped, 11 + 1);
}

static void a_gc_assignment_may_be_the_first(void **state)
{
    struct fixture *f = *state;

    assigned(f, SCO_GC, sco_number(5, 1), 0, 0, 0);
    assert_int_equal(resolve(f, 5, 6, 0, 0)->sco_count, 1);
}

static void an_assignment_whose_predecessor_is_missing_is_damage(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 120);
    assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 90, 100);
    assigned(f, SCO_CLIENT, sco_number(5, 12), sco_number(5, 11), 101, 110);
    h = resolve(f, 5, 6, sco_number(5, 9), 89);
    assert_true(h->damaged);
    assert_int_equal(h->sco_count, 1);
    assert_int_equal(count(&h->stranded), 1);
}

/* All its records are there, so no seq says that it is void: only that its loss was accepted. */
static void an_assignment_without_predecessor_is_void_once_the_loss_is_accepted(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 120);
    assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 90, 100);
    assigned(f, SCO_CLIENT, sco_number(5, 12), sco_number(5, 11), 106, 110);
    assigned(f, SCO_CLIENT, sco_number(5, 13), sco_number(5, 12), 111, 115);
    opened(f, 7, 121, FRAME_OPEN_LOSS_ACCEPTED);
    assigned(f, SCO_CLIENT, sco_number(7, 0), sco_number(5, 10), 101, 120);
    h = resolve(f, 5, 8, sco_number(5, 9), 89);
    assert_false(h->damaged);
    assert_int_equal(h->sco_count, 2);
    assert_int_equal(h->last_number, sco_number(7, 0));
    assert_int_equal(h->last_seq, 120);
    assert_int_equal(f->dropped, 2);
}

/* Nothing was written between the two, so the later one voids the earlier one's seq. */
static void an_acceptance_holds_over_later_openings(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 120);
    assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 90, 100);
    assigned(f, SCO_CLIENT, sco_number(5, 12), sco_number(5, 11), 106, 110);
    opened(f, 7, 121, FRAME_OPEN_LOSS_ACCEPTED);
    opened(f, 8, 121, FRAME_OPEN);
    h = resolve(f, 5, 9, sco_number(5, 9), 89);
    assert_false(h->damaged);
    assert_int_equal(h->sco_count, 1);
    assert_int_equal(f->dropped, 1);
}

/* The second acceptance is of something else: what followed the first one is in the chain. */
static void a_second_acceptance_voids_nothing_that_follows_the_first(void **state)
{
    struct fixture *f = *state;
    const struct tail_history *h;

    data(f, 5, 90, 100);
    assigned(f, SCO_CLIENT, sco_number(5, 12), sco_number(5, 11), 96, 100);
    opened(f, 7, 101, FRAME_OPEN_LOSS_ACCEPTED);
    data(f, 7, 101, 110);
    assigned(f, SCO_CLIENT, sco_number(7, 0), sco_number(5, 9), 90, 105);
    assigned(f, SCO_CLIENT, sco_number(7, 1), sco_number(7, 0), 106, 110);
    opened(f, 8, 111, FRAME_OPEN_LOSS_ACCEPTED);
    h = resolve(f, 5, 9, sco_number(5, 9), 89);
    assert_false(h->damaged);
    assert_int_equal(h->sco_count, 2);
    assert_int_equal(h->last_number, sco_number(7, 1));
}

static void an_assignment_that_was_given_back_as_bad_is_no_part_of_the_chain(void **state)
{
    struct fixture *f = *state;

    data(f, 5, 1, 3);
    push(f, (struct tail_item){.op = FRAME_OP_SCO,
                               .epoch = 5,
                               .seq = 1,
                               .a = sco_number(5, 1),
                               .record = record_new(FRAME_OP_SCO, 0, 1),
                               .bad = true});
    resolve(f, 5, 6, 0, 0);
    assert_true(f->h.damaged);
    assert_int_equal(f->h.sco_count, 0);
    assert_int_equal(count(&f->h.stranded), 1);
}

static void records_of_another_ownership_are_void(void **state)
{
    struct fixture *f = *state;

    data(f, 5, 90, 100);
    assigned(f, SCO_CLIENT, sco_number(5, 10), sco_number(5, 9), 90, 100);
    assert_false(resolve(f, 7, 7, sco_number(6, 3), 95)->damaged);
    assert_int_equal(f->h.last_seq, 95);
    assert_int_equal(f->h.sco_count, 0);
    assert_int_equal(f->dropped, 12);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(records_behind_the_prefix_make_the_history),
        T(an_assignment_behind_a_lost_frame_proves_nothing),
        T(a_record_behind_a_lost_frame_proves_that_none_is_missing),
        T(a_record_of_the_prefix_behind_a_lost_frame_is_proof_too),
        T(an_opening_whose_seq_leaves_a_gap_is_no_proof_but_damage),
        T(an_opening_that_follows_the_last_record_is_proof),
        T(an_opening_ahead_of_the_records_is_damage),
        T(a_lost_frame_of_before_the_ownership_concerns_nobody),
        T(records_behind_a_gap_stay_until_the_loss_is_accepted),
        T(a_bad_record_ends_the_history_unless_the_prefix_holds_it),
        T(an_assignment_without_predecessor_is_void_once_the_loss_is_accepted),
        T(an_acceptance_holds_over_later_openings),
        T(a_second_acceptance_voids_nothing_that_follows_the_first),
        T(an_assignment_that_was_given_back_as_bad_is_no_part_of_the_chain),
        T(assignments_behind_the_prefix_come_back_with_all_a_put_needs),
        T(a_gc_assignment_may_be_the_first),
        T(an_assignment_whose_predecessor_is_missing_is_damage),
        T(records_of_another_ownership_are_void),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
