#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "unit/volumedriver/golden.h"
#include "volumedriver/owner.h"
#include "volumedriver/seal.h"

static const uint8_t volume[16] = "volume-uuid-0001";
static const uint8_t journal_a[16] = "journal-id-0000a";
static const uint8_t journal_b[16] = "journal-id-0000b";

static struct owner sample(void)
{
    struct owner o = {.incarnation = 7, .epoch = 9, .since = 5};

    memcpy(o.volume, volume, 16);
    memcpy(o.journal, journal_a, 16);
    return o;
}

static struct owner_claim claim_by(const uint8_t journal[16], uint64_t incarnation)
{
    struct owner_claim claim = {.incarnation = incarnation, .epoch = 10};

    memcpy(claim.journal, journal, 16);
    return claim;
}

static void an_owner_keeps_its_bytes_and_comes_back(void **state)
{
    struct owner o = sample(), got;
    uint8_t bytes[OWNER_BYTES];
    struct err e;

    (void)state;
    owner_encode(&o, bytes);
    golden_expect("owner_v1", bytes, sizeof(bytes));
    assert_int_equal(owner_decode(bytes, sizeof(bytes), volume, &got, &e), 0);
    assert_memory_equal(got.journal, journal_a, 16);
    assert_int_equal(got.incarnation, 7);
    assert_int_equal(got.epoch, 9);
    assert_int_equal(got.since, 5);
    assert_false(got.drained);
    o = owner_drained(&o, 1234);
    owner_encode(&o, bytes);
    assert_int_equal(owner_decode(bytes, sizeof(bytes), volume, &got, &e), 0);
    assert_true(got.drained);
    assert_int_equal(got.last_seq, 1234);
}

static void every_flipped_bit_and_every_cut_of_an_owner_is_noticed(void **state)
{
    struct owner o = sample(), got;
    uint8_t bytes[OWNER_BYTES];
    uint32_t crc;
    struct err e;

    (void)state;
    owner_encode(&o, bytes);
    crc = crc32c(0, bytes, sizeof(bytes));
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(owner_decode(bytes, sizeof(bytes), volume, &got, &e), 0);
        put_u32le(bytes + SEAL_AT, seal_crc(0, bytes, sizeof(bytes), SEAL_AT));
        assert_true(bit / 32 == SEAL_AT / 4 || crc32c(0, bytes, sizeof(bytes)) != crc);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_u32le(bytes + SEAL_AT, seal_crc(0, bytes, sizeof(bytes), SEAL_AT));
    }
    for (size_t n = 0; n < sizeof(bytes); n++) {
        assert_int_equal(owner_decode(bytes, n, volume, &got, &e), ERR_CORRUPT);
    }
    assert_int_equal(owner_decode(bytes, sizeof(bytes), journal_a, &got, &e), ERR_CORRUPT);
}

static void a_sealed_owner_with_impossible_fields_is_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        int rc;
    } cases[] = {{8, 2, ERR_VERSION},   {88, 1, ERR_VERSION}, {72, 2, ERR_VERSION},
                 {64, 10, ERR_CORRUPT}, {64, 0, ERR_CORRUPT}, {56, 0, ERR_CORRUPT},
                 {60, 1, ERR_CORRUPT},  {80, 1, ERR_CORRUPT}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct owner o = sample(), got;
        uint8_t bytes[OWNER_BYTES];
        struct err e;

        owner_encode(&o, bytes);
        bytes[cases[i].at] = cases[i].value;
        put_u32le(bytes + SEAL_AT, seal_crc(0, bytes, sizeof(bytes), SEAL_AT));
        assert_int_equal(owner_decode(bytes, sizeof(bytes), volume, &got, &e), cases[i].rc);
    }
}

static void the_same_journal_goes_on(void **state)
{
    struct owner before = sample(), after;
    struct owner_claim claim = claim_by(journal_a, 8);
    struct err e;

    (void)state;
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), 0);
    assert_int_equal(after.since, 5);
    assert_int_equal(after.epoch, 10);
    assert_int_equal(after.incarnation, 8);
    assert_memory_equal(after.volume, volume, 16);
}

/* A thief that claimed the registry and died before this object changed leaves no trace. */
static void another_journal_is_refused_unless_drained_or_forced(void **state)
{
    struct owner before = sample(), after;
    struct owner_claim claim = claim_by(journal_b, 100);
    struct err e;

    (void)state;
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), ERR_IDENTITY);
    claim.accept_loss = true;
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), 0);
    assert_int_equal(after.since, 10);
    assert_memory_equal(after.journal, journal_b, 16);
    claim.accept_loss = false;
    before = owner_drained(&before, 50);
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), 0);
    assert_int_equal(after.since, 10);
    assert_false(after.drained);
    assert_int_equal(after.last_seq, 0);
}

static void an_old_copy_of_the_journal_is_refused(void **state)
{
    struct owner before = sample(), after;
    struct err e;

    (void)state;
    for (uint64_t incarnation = 6; incarnation <= 8; incarnation++) {
        struct owner_claim claim = claim_by(journal_a, incarnation);

        assert_int_equal(owner_succeed(&before, &claim, &after, &e),
                         incarnation <= 7 ? ERR_STALE : 0);
    }
}

/* Opened, closed and opened again by one process: the same incarnation, and no copy. */
static void a_process_may_open_again_what_it_had(void **state)
{
    struct owner before = sample(), after;
    struct owner_claim claim = claim_by(journal_a, 7);
    struct err e;

    (void)state;
    claim.wrote_before = true;
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), 0);
    assert_int_equal(after.since, 5);
}

static void an_epoch_that_is_not_higher_has_lost(void **state)
{
    struct owner before = sample(), after;
    struct owner_claim claim = claim_by(journal_a, 8);
    struct err e;

    (void)state;
    claim.epoch = 9;
    claim.accept_loss = true;
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), ERR_FENCED);
}

static void a_new_volume_may_be_opened_by_any_journal(void **state)
{
    struct owner_claim claim = claim_by(journal_b, 1);
    struct owner before, after;
    struct err e;

    (void)state;
    owner_init(&before, volume);
    assert_int_equal(owner_succeed(&before, &claim, &after, &e), 0);
    assert_int_equal(after.since, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_keeps_its_bytes_and_comes_back),
        cmocka_unit_test(every_flipped_bit_and_every_cut_of_an_owner_is_noticed),
        cmocka_unit_test(a_sealed_owner_with_impossible_fields_is_refused),
        cmocka_unit_test(the_same_journal_goes_on),
        cmocka_unit_test(another_journal_is_refused_unless_drained_or_forced),
        cmocka_unit_test(an_old_copy_of_the_journal_is_refused),
        cmocka_unit_test(a_process_may_open_again_what_it_had),
        cmocka_unit_test(an_epoch_that_is_not_higher_has_lost),
        cmocka_unit_test(a_new_volume_may_be_opened_by_any_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
