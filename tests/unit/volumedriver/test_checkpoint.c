#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rnd.h"
#include "lib/flip.h"
#include "unit/volumedriver/golden.h"
#include "volumedriver/checkpoint.h"
#include "volumedriver/location.h"
#include "volumedriver/seal.h"

static const uint8_t volume[16] = "volume-uuid-0001";

static void sample(struct buf *ret_object)
{
    struct checkpoint_header h = {.number = 0x90001,
                                  .kind = CHECKPOINT_DELTA,
                                  .generation = 1,
                                  .epoch = 9,
                                  .prefix_number = 0x90005,
                                  .prefix_seq = 700,
                                  .last_page = 99,
                                  .ordinal = 3};
    struct sco_entry sco = {.number = 0x90005,
                            .generation = 1,
                            .data_clusters = 300,
                            .live = 300,
                            .trailer_bytes = 1400,
                            .kind = 1};
    struct checkpoint_writer w = {0};

    memcpy(h.volume, volume, 16);
    for (uint32_t i = 0; i < 300; i++) {
        checkpoint_writer_add(&w, 1000 + i, 1, location_make(0, 0x90005, i));
    }
    checkpoint_writer_add(&w, 1300, 1, LOCATION_ZERO);
    checkpoint_writer_add(&w, 1301, 1, LOCATION_ZERO);
    checkpoint_writer_add(&w, 1302, 1, LOCATION_NONE);
    checkpoint_writer_add(&w, UINT64_C(1) << 33, 1, location_make(2, 7, 8));
    checkpoint_writer_add_sco(&w, &sco);
    sco.flags = SCO_ENTRY_GONE;
    sco.number = 0x80001;
    checkpoint_writer_add_sco(&w, &sco);
    checkpoint_writer_finish(&w, &h, ret_object);
}

static void a_checkpoint_keeps_its_bytes_and_comes_back(void **state)
{
    struct checkpoint_reader r;
    struct checkpoint_run run;
    struct sco_entry sco;
    struct buf b;
    struct err e;

    (void)state;
    sample(&b);
    golden_expect("checkpoint_v1", b.data, b.len);
    assert_int_equal(checkpoint_reader_init(&r, b.data, b.len, volume, 0x90001, &e), 0);
    assert_int_equal(r.header.prefix_seq, 700);
    assert_int_equal(checkpoint_reader_run(&r, &run), 1);
    assert_int_equal(run.cluster, 1000);
    assert_int_equal(run.count, 300);
    assert_int_equal(run.location, location_make(0, 0x90005, 0));
    assert_int_equal(checkpoint_reader_run(&r, &run), 1);
    assert_int_equal(run.count, 2);
    assert_int_equal(checkpoint_reader_run(&r, &run), 1);
    assert_int_equal(run.location, LOCATION_NONE);
    assert_int_equal(checkpoint_reader_run(&r, &run), 1);
    assert_int_equal(run.cluster, UINT64_C(1) << 33);
    assert_int_equal(checkpoint_reader_run(&r, &run), 0);
    assert_int_equal(checkpoint_reader_sco(&r, &sco), 1);
    assert_int_equal(sco.live, 300);
    assert_int_equal(checkpoint_reader_sco(&r, &sco), 1);
    assert_int_equal(sco.flags, SCO_ENTRY_GONE);
    assert_int_equal(checkpoint_reader_sco(&r, &sco), 0);
    buf_release(&b);
}

static void every_flipped_bit_and_every_cut_of_a_checkpoint_is_noticed(void **state)
{
    struct checkpoint_reader r;
    struct buf b;
    struct err e;

    (void)state;
    sample(&b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(checkpoint_reader_init(&r, b.data, b.len, volume, 0x90001, &e), 0);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bytes = 0; bytes < b.len; bytes++) {
        assert_int_not_equal(checkpoint_reader_init(&r, b.data, bytes, volume, 0x90001, &e), 0);
    }
    assert_int_not_equal(checkpoint_reader_init(&r, b.data, b.len, volume, 0x90002, &e), 0);
    buf_release(&b);
}

static uint32_t object_crc(const struct checkpoint_header *h, uint64_t location)
{
    struct checkpoint_writer w = {0};
    struct buf b;
    uint32_t crc;

    checkpoint_writer_add(&w, 7, 1, location);
    checkpoint_writer_finish(&w, h, &b);
    crc = crc32c(0, b.data, b.len);
    buf_release(&b);
    return crc;
}

static void parts_that_differ_in_one_field_have_different_object_checksums(void **state)
{
    struct checkpoint_header h = {.number = 0x90001, .kind = CHECKPOINT_DELTA, .epoch = 9};
    uint32_t crc = object_crc(&h, location_make(0, 7, 8));

    (void)state;
#define DIFFERS(field)                                                                             \
    for (unsigned bit = 0; bit < 8 * sizeof(h.field); bit++) {                                     \
        flip_bit(&h.field, bit);                                                                   \
        assert_int_not_equal(object_crc(&h, location_make(0, 7, 8)), crc);                         \
        flip_bit(&h.field, bit);                                                                   \
    }
    DIFFERS(volume[3])
    DIFFERS(number)
    DIFFERS(kind)
    DIFFERS(generation)
    DIFFERS(epoch)
    DIFFERS(prefix_number)
    DIFFERS(prefix_seq)
    DIFFERS(ordinal)
#undef DIFFERS
    assert_int_equal(object_crc(&h, location_make(0, 7, 8)), crc);
    assert_int_not_equal(object_crc(&h, location_make(0, 7, 9)), crc);
}

static void mangled_runs_never_break_the_reader(void **state)
{
    struct rnd rnd = rnd_seed(11);

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct checkpoint_reader r;
        struct checkpoint_run run;
        struct sco_entry sco;
        struct buf b;
        struct err e;

        sample(&b);
        for (int j = 0; j < 3; j++) {
            b.data[160 + rnd_below(&rnd, b.len - 160)] = (uint8_t)rnd_next(&rnd);
        }
        put_u32le(b.data + 152, crc32c(0, b.data + 160, b.len - 160));
        put_u32le(b.data + SEAL_AT, seal_crc(0, b.data, CHECKPOINT_HEADER_BYTES, SEAL_AT));
        assert_int_equal(checkpoint_reader_init(&r, b.data, b.len, volume, 0x90001, &e), 0);
        while (checkpoint_reader_run(&r, &run) == 1) {
            assert_true(run.count != 0 && run.cluster + run.count >= run.cluster);
        }
        while (checkpoint_reader_sco(&r, &sco) == 1) {
            assert_true(sco.live <= sco.data_clusters);
        }
        buf_release(&b);
    }
}

static void random_changes_of_one_percent_cost_few_bytes(void **state)
{
    struct checkpoint_header h = {.number = 1, .kind = CHECKPOINT_DELTA};
    struct checkpoint_writer w = {0};
    struct rnd rnd = rnd_seed(1);
    struct buf b;

    (void)state;
    for (uint64_t c = 0, i = 0; i < 10000; i++, c += 1 + rnd_below(&rnd, 200)) {
        checkpoint_writer_add(&w, c, 1, location_make(0, 0x90001 + i % 7, (uint32_t)(i % 16000)));
    }
    checkpoint_writer_finish(&w, &h, &b);
    assert_true(b.len < 10000 * 12); /* 0.3 % of 4096 each */
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_keeps_its_bytes_and_comes_back),
        cmocka_unit_test(every_flipped_bit_and_every_cut_of_a_checkpoint_is_noticed),
        cmocka_unit_test(parts_that_differ_in_one_field_have_different_object_checksums),
        cmocka_unit_test(mangled_runs_never_break_the_reader),
        cmocka_unit_test(random_changes_of_one_percent_cost_few_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
