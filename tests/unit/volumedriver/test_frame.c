#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rnd.h"
#include "unit/volumedriver/golden.h"
#include "volumedriver/frame.h"
#include "volumedriver/sco.h"

static const uint8_t crcs[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void fill_id(uint8_t id[16], uint8_t start)
{
    for (uint8_t i = 0; i < 16; i++) {
        id[i] = (uint8_t)(start + i);
    }
}

static struct frame_header sample(uint8_t *header)
{
    struct frame_header h = {.offset = 4096 + 8192,
                             .lsn = 77,
                             .incarnation = 3,
                             .first_lsn = 70,
                             .durable_lsn = 76,
                             .release_lsn = 12,
                             .segment_bytes = 64 << 20,
                             .header_blocks = 1,
                             .data_blocks = 3,
                             .extent_count = 5};
    struct frame_extent x[5] = {
        {.op = FRAME_OP_WRITE, .epoch = 9, .seq = 100, .a = 5, .count = 3, .crc_count = 3},
        {.op = FRAME_OP_TRIM, .epoch = 9, .seq = 101, .a = 512, .count = 1 << 20},
        {.op = FRAME_OP_ZEROES, .epoch = 9, .seq = 102, .a = 7, .count = 1},
        {.op = FRAME_OP_OPEN, .epoch = 10, .seq = 103},
        {.op = FRAME_OP_SCO,
         .kind = SCO_CLIENT,
         .epoch = 10,
         .seq = 90,
         .a = 0xa0001,
         .b = 101,
         .count = FRAME_SCO_BYTES,
         .crc_count = FRAME_SCO_BYTES / 4},
    };
    struct frame_sco sco = {.predecessor = 0x90007, .generation = 3};
    uint8_t payload[FRAME_SCO_BYTES];
    uint8_t *at = header + FRAME_HEAD_BYTES;

    memset(header, 0, FRAME_BLOCK_BYTES);
    fill_id(h.journal_id, 0x10);
    fill_id(h.salt, 0x60);
    x[0].crcs = crcs;
    x[4].crcs = payload;
    frame_sco_encode(&sco, payload);
    for (unsigned i = 0; i < 5; i++) {
        fill_id(x[i].volume, (uint8_t)(0xa0 + i));
        at = frame_extent_encode(&x[i], at);
    }
    frame_header_seal(&h, header);
    return h;
}

static void a_frame_header_keeps_its_bytes(void **state)
{
    uint8_t header[FRAME_BLOCK_BYTES];
    struct frame_header h = sample(header), got;
    struct frame_extent x;
    struct frame_sco sco;
    struct rd r;

    (void)state;
    golden_expect("frame_v1", header, sizeof(header));
    assert_int_equal(frame_header_peek(header, &got), 0);
    assert_int_equal(frame_header_check(header, &got), 0);
    assert_memory_equal(got.journal_id, h.journal_id, 16);
    assert_memory_equal(got.salt, h.salt, 16);
    assert_int_equal(got.lsn, 77);
    assert_int_equal(got.first_lsn, 70);
    assert_int_equal(got.durable_lsn, 76);
    assert_int_equal(got.release_lsn, 12);
    r = frame_extents(header, &got);
    frame_extent_decode(&r, &x);
    assert_int_equal(x.count, 3);
    assert_memory_equal(x.crcs, crcs, 12);
    frame_extent_decode(&r, &x);
    assert_int_equal(x.op, FRAME_OP_TRIM);
    assert_int_equal(x.a, 512);
    frame_extent_decode(&r, &x);
    frame_extent_decode(&r, &x);
    frame_extent_decode(&r, &x);
    frame_sco_decode(&x, &sco);
    assert_int_equal(sco.predecessor, 0x90007);
    assert_int_equal(sco.generation, 3);
}

/* Reserved places may get a meaning that must not be missed. */
static void a_record_that_uses_what_this_version_does_not_know_is_refused(void **state)
{
    struct frame_extent open = {.op = FRAME_OP_OPEN, .epoch = 1, .seq = 1}, x;
    struct frame_extent trim = {.op = FRAME_OP_TRIM, .epoch = 1, .seq = 1, .count = 1};

    (void)state;
    assert_int_equal(frame_extent_check(&open), 0);
    assert_int_equal(frame_extent_check(&trim), 0);
    open.kind = FRAME_OPEN_LOSS_ACCEPTED;
    assert_int_equal(frame_extent_check(&open), 0);
    x = open;
    x.kind = 2;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = open;
    x.a = 1;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = open;
    x.b = 1;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = trim;
    x.kind = 1;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = trim;
    x.b = 1;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = trim;
    x.seq = 0;
    assert_int_equal(frame_extent_check(&x), ERR_CORRUPT);
}

static void an_assignment_must_fit_its_kind(void **state)
{
    struct frame_sco sco = {.predecessor = 0xa0000, .generation = 1};
    uint8_t payload[FRAME_SCO_BYTES];
    struct frame_extent client = {.op = FRAME_OP_SCO,
                                  .kind = SCO_CLIENT,
                                  .epoch = 10,
                                  .seq = 5,
                                  .a = 0xa0001,
                                  .b = 9,
                                  .count = FRAME_SCO_BYTES,
                                  .crc_count = FRAME_SCO_BYTES / 4,
                                  .crcs = payload},
                        x;

    (void)state;
    frame_sco_encode(&sco, payload);
    assert_int_equal(frame_extent_check(&client), 0);
    x = client;
    x.kind = SCO_GC; /* has no seqs */
    assert_int_equal(frame_extent_check(&x), ERR_CORRUPT);
    x.seq = x.b = 0;
    assert_int_equal(frame_extent_check(&x), 0);
    x.kind = SCO_EMPTY; /* has */
    assert_int_equal(frame_extent_check(&x), ERR_CORRUPT);
    x.kind = 4;
    assert_int_equal(frame_extent_check(&x), ERR_VERSION);
    x = client;
    x.a = 0xb0001; /* of another epoch */
    assert_int_equal(frame_extent_check(&x), ERR_CORRUPT);
    x = client;
    x.crc_count = 2;
    assert_int_equal(frame_extent_check(&x), ERR_CORRUPT);
    sco.predecessor = 0xa0001; /* itself */
    frame_sco_encode(&sco, payload);
    assert_int_equal(frame_extent_check(&client), ERR_CORRUPT);
}

/* Who reads it must know which LSN it cannot read, if it counts at all. */
static void a_header_of_a_newer_version_keeps_its_place(void **state)
{
    uint8_t header[FRAME_BLOCK_BYTES];
    struct frame_header h;

    (void)state;
    sample(header);
    header[12] = 2;
    assert_int_equal(frame_header_peek(header, &h), ERR_VERSION);
    assert_int_equal(h.lsn, 77);
    assert_int_equal(frame_header_check(header, &h), ERR_CORRUPT); /* the CRC is of the other one */
}

static void every_flipped_bit_of_a_header_is_noticed(void **state)
{
    uint8_t header[FRAME_BLOCK_BYTES];
    struct frame_header h;

    (void)state;
    sample(header);
    for (size_t bit = 0; bit < sizeof(header) * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        /* More header blocks than there are bytes: the reader would read those too. */
        if (frame_header_peek(header, &h) == 0 && h.header_blocks == 1) {
            assert_int_not_equal(frame_header_check(header, &h), 0);
        }
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_header_with_a_foreign_salt_is_refused(void **state)
{
    uint8_t header[FRAME_BLOCK_BYTES];
    struct frame_header h;

    (void)state;
    sample(header);
    assert_int_equal(frame_header_peek(header, &h), 0);
    h.salt[3] ^= 1;
    assert_int_equal(frame_header_check(header, &h), ERR_CORRUPT);
}

static void an_extent_that_lies_about_its_size_is_refused(void **state)
{
    uint8_t header[FRAME_BLOCK_BYTES];
    struct frame_header h;

    (void)state;
    h = sample(header);
    header[FRAME_HEAD_BYTES + 48] = 2; /* clusters: fewer than CRCs */
    frame_header_seal(&h, header);
    assert_int_equal(frame_header_check(header, &h), ERR_CORRUPT);

    h = sample(header);
    h.extent_count = 4000; /* runs past the header */
    frame_header_seal(&h, header);
    assert_int_equal(frame_header_check(header, &h), ERR_CORRUPT);

    h = sample(header);
    header[FRAME_HEAD_BYTES + 20] = FRAME_OP_SNAPSHOT; /* known shape, not ours to skip */
    frame_header_seal(&h, header);
    assert_int_equal(frame_header_check(header, &h), ERR_VERSION);
}

static void random_bytes_are_no_frame(void **state)
{
    uint8_t block[FRAME_BLOCK_BYTES];
    struct rnd rnd = rnd_seed(7);
    struct frame_header h;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        sample(block);
        for (int j = 0; j < 8; j++) {
            block[rnd_below(&rnd, 400)] = (uint8_t)rnd_next(&rnd);
        }
        if (frame_header_peek(block, &h) == 0) {
            assert_true(frame_bytes(&h) <= FRAME_BYTES_MAX);
            if (h.header_blocks == 1) {
                frame_header_seal(&h, block); /* past the CRC, into the extents */
                frame_header_check(block, &h);
            }
        }
    }
}

static void a_superblock_keeps_its_bytes(void **state)
{
    uint8_t block[JOURNAL_SUPER_BYTES];
    struct frame_super super = {.segment_bytes = 64 << 20}, got;
    struct err e;

    (void)state;
    fill_id(super.journal_id, 0x30);
    frame_super_encode(&super, block);
    golden_expect("journal_super_v1", block, sizeof(block));
    assert_int_equal(frame_super_decode(block, &got, &e), 0);
    assert_int_equal(got.segment_bytes, 64 << 20);
    for (size_t bit = 0; bit < 44 * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(frame_super_decode(block, &got, &e), 0);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_header_keeps_its_bytes),
        cmocka_unit_test(a_record_that_uses_what_this_version_does_not_know_is_refused),
        cmocka_unit_test(an_assignment_must_fit_its_kind),
        cmocka_unit_test(a_header_of_a_newer_version_keeps_its_place),
        cmocka_unit_test(every_flipped_bit_of_a_header_is_noticed),
        cmocka_unit_test(a_header_with_a_foreign_salt_is_refused),
        cmocka_unit_test(an_extent_that_lies_about_its_size_is_refused),
        cmocka_unit_test(random_bytes_are_no_frame),
        cmocka_unit_test(a_superblock_keeps_its_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
