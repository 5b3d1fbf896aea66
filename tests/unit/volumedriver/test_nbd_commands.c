/* Every command of the transmission phase, by a client played by hand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "lib/nbd_fixture.h"

enum { KIB = 1024, MIB = 1048576 };

static uint8_t data[4 * MIB], back[4 * MIB];

static void written_bytes_are_read_back_with_simple_replies(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_pattern(data, MIB, 1);
    nbd_play_write(f, fd, 0, 11, 8 * KIB, data, MIB);
    nbd_play_expect_simple(f, fd, 11, NBD_SUCCESS);
    assert_memory_equal(volume_double_data(f->disk) + 8 * KIB, data, MIB);
    nbd_play_request(f, fd, NBD_CMD_READ, 0, 12, 8 * KIB, MIB);
    nbd_play_expect_simple(f, fd, 12, NBD_SUCCESS);
    nbd_play_receive(f, fd, back, MIB);
    assert_memory_equal(back, data, MIB);
    nbd_play_request(f, fd, NBD_CMD_READ, 0, 13, 0, 512);
    nbd_play_expect_simple(f, fd, 13, NBD_SUCCESS);
    nbd_play_receive(f, fd, back, 512);
    close(fd);
}

static void written_bytes_are_read_back_with_a_structured_reply(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, false);

    nbd_play_pattern(data, MIB, 2);
    nbd_play_write(f, fd, 0, 11, 0, data, MIB);
    nbd_play_expect_simple(f, fd, 11, NBD_SUCCESS);
    nbd_play_request(f, fd, NBD_CMD_READ, 0, 12, 512, MIB - 512);
    assert_int_equal(nbd_play_expect_chunk(f, fd, 12, 1, NBD_REPLY_TYPE_OFFSET_DATA), MIB - 504);
    nbd_play_receive(f, fd, back, 8);
    assert_int_equal(get_u64be(back), 512);
    nbd_play_receive(f, fd, back, MIB - 512);
    assert_memory_equal(back, data + 512, MIB - 512);
    close(fd);
}

static void zeroes_alone_are_read_as_one_hole(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, false);

    for (uint16_t flags = 0; flags <= NBD_CMD_FLAG_DF;
         flags = (uint16_t)(flags + NBD_CMD_FLAG_DF)) {
        nbd_play_request(f, fd, NBD_CMD_READ, flags, 5, MIB, 4096);
        assert_int_equal(nbd_play_expect_chunk(f, fd, 5, 1, NBD_REPLY_TYPE_OFFSET_HOLE), 12);
        nbd_play_receive(f, fd, back, 12);
        assert_int_equal(get_u64be(back), MIB);
        assert_int_equal(get_u32be(back + 8), 4096);
    }
    close(fd);
}

/* Reads [offset, offset + bytes) and puts it together from whatever chunks come; returns how
 * many, and checks that they lie in the range, once each, the last one marked. */
static unsigned read_chunks(struct nbd_fixture *f, int fd, uint16_t flags, uint64_t offset,
                            uint32_t bytes)
{
    uint32_t missing = bytes;
    unsigned chunks = 0;
    uint16_t reply_flags = 0;

    memset(back, 0xee, bytes);
    nbd_play_request(f, fd, NBD_CMD_READ, flags, 99, offset, bytes);
    while (missing != 0) {
        uint8_t head[20], where[12];
        uint32_t length;
        uint16_t type;

        assert_false(reply_flags & NBD_REPLY_FLAG_DONE);
        nbd_play_receive(f, fd, head, 20);
        assert_int_equal(get_u32be(head), 0x668e33ef);
        reply_flags = (uint16_t)(head[4] << 8 | head[5]);
        type = (uint16_t)(head[6] << 8 | head[7]);
        assert_int_equal(get_u64be(head + 8), 99);
        length = get_u32be(head + 16);
        nbd_play_receive(f, fd, where, 8);
        if (type == NBD_REPLY_TYPE_OFFSET_HOLE) {
            assert_int_equal(length, 12);
            nbd_play_receive(f, fd, where + 8, 4);
            length = get_u32be(where + 8);
        } else {
            assert_int_equal(type, NBD_REPLY_TYPE_OFFSET_DATA);
            length -= 8;
        }
        assert_in_range(get_u64be(where), offset, offset + bytes - 1);
        assert_in_range(length, 1, missing);
        if (type == NBD_REPLY_TYPE_OFFSET_HOLE) {
            memset(back + (get_u64be(where) - offset), 0, length);
        } else {
            nbd_play_receive(f, fd, back + (get_u64be(where) - offset), length);
        }
        missing -= length;
        chunks++;
    }
    assert_true(reply_flags & NBD_REPLY_FLAG_DONE);
    return chunks;
}

static void expect_read(struct nbd_fixture *f, int fd, uint32_t bytes, unsigned chunks)
{
    uint8_t *disk = volume_double_data(f->disk);

    memcpy(data, disk, bytes);
    assert_int_equal(read_chunks(f, fd, 0, 0, bytes), chunks);
    assert_memory_equal(back, data, bytes);
    assert_memory_equal(disk, data, bytes); /* cutting a reply leaves the volume alone */
    assert_int_equal(read_chunks(f, fd, NBD_CMD_FLAG_DF, 0, bytes), 1);
    assert_memory_equal(back, data, bytes);
}

static void long_runs_of_zeroes_are_sent_as_holes(void **state)
{
    struct nbd_fixture *f = *state;
    uint8_t *disk = volume_double_data(f->disk);
    int fd = nbd_play_go(f, "disk", true, false);

    nbd_play_pattern(disk, 4 * KIB, 1); /* data, hole */
    expect_read(f, fd, MIB, 2);
    nbd_play_pattern(disk + MIB - 4 * KIB, 4 * KIB, 2); /* data, hole, data */
    expect_read(f, fd, MIB, 3);
    memset(disk, 0, 4 * KIB); /* hole, data */
    expect_read(f, fd, MIB, 2);
    nbd_play_pattern(disk + 512 * KIB, 512, 3); /* hole, data, hole, data */
    expect_read(f, fd, MIB, 4);
    memset(disk + 512 * KIB, 0, 512 * KIB); /* all */
    expect_read(f, fd, MIB, 1);
    nbd_play_pattern(disk, MIB, 4);
    memset(disk + 64 * KIB, 0, 60 * KIB); /* too short */
    expect_read(f, fd, MIB, 1);
    memset(disk + 124 * KIB, 0, 4 * KIB);
    expect_read(f, fd, MIB, 3);
    close(fd);
}

static void holes_of_one_reply_are_limited(void **state)
{
    struct nbd_fixture *f = *state;
    uint8_t *disk = volume_double_data(f->disk);
    int fd = nbd_play_go(f, "disk", true, false);

    for (unsigned i = 0; i < 4 * MIB / (128 * KIB); i++) {
        nbd_play_pattern(disk + i * 128 * KIB, 4 * KIB, i);
    }
    expect_read(f, fd, 4 * MIB, 29); /* 14 holes, 15 stretches of data */
    memset(disk, 0, 4 * KIB);
    expect_read(f, fd, 4 * MIB, 28); /* 14 and 14 */
    close(fd);
}

static void random_mixes_of_data_and_zeroes_are_read_right(void **state)
{
    struct nbd_fixture *f = *state;
    uint64_t seed = 0;
    struct rnd r;
    int fd = nbd_play_go(f, "disk", true, false);

    rnd_bytes(&seed, sizeof(seed));
    print_message("seed %llu\n", (unsigned long long)seed);
    r = rnd_seed(seed);
    for (int i = 0; i < 100; i++) {
        uint32_t offset = (uint32_t)rnd_below(&r, 1000) * 512;
        uint32_t bytes = (uint32_t)(1 + rnd_below(&r, 2000)) * 512;
        uint32_t begin = (uint32_t)rnd_below(&r, 3000) * 512;
        uint32_t length = (uint32_t)rnd_below(&r, 400) * 512;

        if (rnd_below(&r, 2) == 0) {
            nbd_play_pattern(volume_double_data(f->disk) + begin, length, rnd_next(&r));
        } else {
            memset(volume_double_data(f->disk) + begin, 0, length);
        }
        read_chunks(f, fd, 0, offset, bytes);
        assert_memory_equal(back, volume_double_data(f->disk) + offset, bytes);
    }
    close(fd);
}

static void flush_trim_and_zeroes_reach_the_volume(void **state)
{
    struct nbd_fixture *f = *state;
    struct volume_stats stats;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_pattern(volume_double_data(f->disk), 8 * KIB, 1);
    nbd_play_request(f, fd, NBD_CMD_TRIM, 0, 1, 0, 4096);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_request(f, fd, NBD_CMD_WRITE_ZEROES, 0, 2, 4096, 1024);
    nbd_play_expect_simple(f, fd, 2, NBD_SUCCESS);
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 3, 0, 0);
    nbd_play_expect_simple(f, fd, 3, NBD_SUCCESS);
    memset(data, 0, 5 * KIB);
    assert_memory_equal(volume_double_data(f->disk), data, 5 * KIB);
    assert_int_not_equal(volume_double_data(f->disk)[5 * KIB], 0);
    nbd_play_request(f, fd, NBD_CMD_WRITE_ZEROES, 0, 4, 0, NBD_FIXTURE_DISK_BYTES); /* any length */
    nbd_play_expect_simple(f, fd, 4, NBD_SUCCESS);
    volume_stats(f->disk, &stats);
    assert_int_equal(stats.trims, 1);
    assert_int_equal(stats.zeroes, 2);
    assert_int_equal(stats.flushes, 1);
    close(fd);
}

static void fua_is_passed_on_and_accepted_everywhere(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);
    uint64_t cookie = 0;

    memset(data, 7, 512);
    nbd_play_write(f, fd, 0, ++cookie, 0, data, 512);
    nbd_play_expect_simple(f, fd, cookie, NBD_SUCCESS);
    assert_int_equal(volume_double_last_flags(f->disk), 0);
    nbd_play_write(f, fd, NBD_CMD_FLAG_FUA, ++cookie, 0, data, 512);
    nbd_play_expect_simple(f, fd, cookie, NBD_SUCCESS);
    assert_int_equal(volume_double_last_flags(f->disk), VOLUME_FUA);
    for (uint16_t type = NBD_CMD_FLUSH; type <= NBD_CMD_WRITE_ZEROES; type++) {
        if (type != NBD_CMD_CACHE) {
            uint32_t length = type == NBD_CMD_FLUSH ? 0 : 512;

            nbd_play_request(f, fd, type, NBD_CMD_FLAG_FUA, ++cookie, 0, length);
            nbd_play_expect_simple(f, fd, cookie, NBD_SUCCESS);
        }
    }
    nbd_play_request(f, fd, NBD_CMD_READ, NBD_CMD_FLAG_FUA, ++cookie, 0, 512);
    nbd_play_expect_simple(f, fd, cookie, NBD_SUCCESS);
    nbd_play_receive(f, fd, back, 512);
    close(fd);
}

static void zeroes_may_be_asked_without_holes_and_fast(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_request(f, fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 1, 0, 4096);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_request(f, fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_FUA, 2, 0,
                     4096);
    nbd_play_expect_simple(f, fd, 2, NBD_SUCCESS);
    close(fd);
}

static void expect_status(struct nbd_fixture *f, int fd, uint64_t cookie, unsigned count)
{
    assert_int_equal(nbd_play_expect_chunk(f, fd, cookie, 1, NBD_REPLY_TYPE_BLOCK_STATUS),
                     4 + 8 * count);
    nbd_play_receive(f, fd, back, 4 + 8 * count);
    assert_int_equal(get_u32be(back), 1); /* the id from the handshake */
}

static void block_status_tells_data_from_holes(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, true);

    memset(data, 1, 8 * KIB);
    nbd_play_write(f, fd, 0, 1, 64 * KIB, data, 8 * KIB);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_request(f, fd, NBD_CMD_BLOCK_STATUS, 0, 2, 0, MIB);
    expect_status(f, fd, 2, 3);
    assert_int_equal(get_u32be(back + 4), 64 * KIB);
    assert_int_equal(get_u32be(back + 8), NBD_STATE_HOLE | NBD_STATE_ZERO);
    assert_int_equal(get_u32be(back + 12), 8 * KIB);
    assert_int_equal(get_u32be(back + 16), 0);
    assert_int_equal(get_u32be(back + 20), MIB - 72 * KIB);
    assert_int_equal(get_u32be(back + 24), NBD_STATE_HOLE | NBD_STATE_ZERO);
    nbd_play_request(f, fd, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 3, 64 * KIB, MIB);
    expect_status(f, fd, 3, 1);
    assert_int_equal(get_u32be(back + 4), 8 * KIB);
    assert_int_equal(get_u32be(back + 8), 0);
    close(fd);
}

static void block_status_of_many_extents_is_cut(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, true);

    memset(data, 1, 4 * KIB);
    for (uint64_t i = 0; i < 100; i++) {
        nbd_play_write(f, fd, 0, i, i * 8 * KIB, data, 4 * KIB);
        nbd_play_expect_simple(f, fd, i, NBD_SUCCESS);
    }
    nbd_play_request(f, fd, NBD_CMD_BLOCK_STATUS, 0, 3, 0, MIB);
    expect_status(f, fd, 3, 128);
    for (unsigned i = 0; i < 128; i++) {
        assert_int_equal(get_u32be(back + 4 + 8 * i), 4 * KIB);
        assert_int_equal(get_u32be(back + 8 + 8 * i), i % 2 == 0 ? 0 : 3);
    }
    close(fd);
}

/* One bad request of each kind; the stream stays in step, payloads included. */
static void bad_requests_are_refused_by_kind(void **state)
{
    struct nbd_fixture *f = *state;
    const uint64_t end = NBD_FIXTURE_DISK_BYTES;
    const struct {
        uint16_t type, flags;
        uint64_t offset;
        uint32_t length;
        uint32_t error;
    } cases[] = {
        {NBD_CMD_READ, 0, end, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, end - 512, 1024, NBD_EINVAL},
        {NBD_CMD_READ, 0, UINT64_MAX - 511, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, 0, NBD_EINVAL},
        {NBD_CMD_READ, 0, 1, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, 513, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, 32 * MIB + 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, UINT32_MAX, NBD_EINVAL},
        {NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0x8000, 0, 512, NBD_EINVAL},
        {NBD_CMD_WRITE, 0, end, 512, NBD_ENOSPC},
        {NBD_CMD_WRITE, 0, end - 512, 4096, NBD_ENOSPC},
        {NBD_CMD_WRITE, 0, UINT64_MAX - 511, 512, NBD_ENOSPC},
        {NBD_CMD_WRITE, 0, 0, 0, NBD_EINVAL},
        {NBD_CMD_WRITE, 0, 0, 100, NBD_EINVAL},
        {NBD_CMD_WRITE, 0, 0, 32 * MIB + 512, NBD_EINVAL},
        {NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL},
        {NBD_CMD_FLUSH, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_FLUSH, 0, 512, 0, NBD_EINVAL},
        {NBD_CMD_TRIM, 0, end, 512, NBD_EINVAL},
        {NBD_CMD_TRIM, 0, 0, 0, NBD_EINVAL},
        {NBD_CMD_TRIM, 0, 256, 512, NBD_EINVAL},
        {NBD_CMD_TRIM, NBD_CMD_FLAG_FAST_ZERO, 0, 512, NBD_EINVAL},
        {NBD_CMD_WRITE_ZEROES, 0, end - 512, 1024, NBD_ENOSPC},
        {NBD_CMD_WRITE_ZEROES, 0, 0, 0, NBD_EINVAL},
        {NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_REQ_ONE, 0, 512, NBD_EINVAL},
        {NBD_CMD_CACHE, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_BLOCK_STATUS, 0, 0, 512, NBD_EINVAL}, /* no context was selected */
        {8, 0, 0, 512, NBD_EINVAL},
        {0xffff, 0, 0, 0, NBD_EINVAL},
    };

    for (int structured = 0; structured < 2; structured++) {
        int fd = nbd_play_go(f, "disk", structured, false);

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            uint32_t left = cases[i].type == NBD_CMD_WRITE ? cases[i].length : 0;

            nbd_play_request(f, fd, cases[i].type, cases[i].flags, i, cases[i].offset,
                             cases[i].length);
            while (left != 0) {
                uint32_t n = left < sizeof(data) ? left : (uint32_t)sizeof(data);

                nbd_play_send(f, fd, data, n);
                left -= n;
            }
            if (structured) {
                assert_true(nbd_play_expect_error(f, fd, i, cases[i].error).len != 0);
            } else {
                nbd_play_expect_simple(f, fd, i, cases[i].error);
            }
        }
        close(fd);
    }
    assert_int_equal(volume_double_peak(f->disk), 0); /* none of them reached the volume */
}

static void df_needs_structured_replies(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_request(f, fd, NBD_CMD_READ, NBD_CMD_FLAG_DF, 1, 0, 512);
    nbd_play_expect_simple(f, fd, 1, NBD_EINVAL);
    close(fd);
}

static void block_status_beyond_the_end_is_refused(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, true);

    nbd_play_request(f, fd, NBD_CMD_BLOCK_STATUS, 0, 1, NBD_FIXTURE_DISK_BYTES - 512, 1024);
    nbd_play_expect_error(f, fd, 1, NBD_EINVAL);
    close(fd);
}

static void a_read_only_export_refuses_writes(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "ro", false, false);

    memset(data, 1, 4096);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    nbd_play_expect_simple(f, fd, 1, NBD_EPERM);
    nbd_play_request(f, fd, NBD_CMD_TRIM, 0, 2, 0, 4096);
    nbd_play_expect_simple(f, fd, 2, NBD_EPERM);
    nbd_play_request(f, fd, NBD_CMD_WRITE_ZEROES, 0, 3, 0, 4096);
    nbd_play_expect_simple(f, fd, 3, NBD_EPERM);
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 4, 0, 0);
    nbd_play_expect_simple(f, fd, 4, NBD_SUCCESS);
    assert_int_equal(volume_double_data(f->disk)[0], 0);
    close(fd);
}

static void a_flush_of_a_volume_that_takes_no_writes_succeeds(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_fail(f->disk, VOLUME_DOUBLE_FLUSH, -EROFS, true, 1, "read only");
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    close(fd);
}

static void failures_of_the_volume_reach_the_client(void **state)
{
    struct nbd_fixture *f = *state;
    static const struct {
        int rc;
        uint32_t error;
    } cases[] = {{ERR_CORRUPT, NBD_EIO},
                 {-ENOSPC, NBD_ENOSPC},
                 {ERR_FENCED, NBD_EIO},
                 {-EROFS, NBD_EPERM},
                 {ERR_CANCELED, NBD_ESHUTDOWN}};
    int simple = nbd_play_go(f, "disk", false, false);
    int structured = nbd_play_go(f, "disk", true, true);

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int at_once = 0; at_once < 2; at_once++) {
            struct slice text;

            volume_double_fail(f->disk, VOLUME_DOUBLE_ANY, cases[i].rc, at_once, 4, "why it is");
            nbd_play_request(f, simple, NBD_CMD_READ, 0, i, 0, 4096);
            nbd_play_expect_simple(f, simple, i, cases[i].error);
            nbd_play_write(f, simple, 0, i, 0, data, 4096);
            nbd_play_expect_simple(f, simple, i, cases[i].error);
            nbd_play_request(f, structured, NBD_CMD_READ, 0, i, 0, 4096);
            text = nbd_play_expect_error(f, structured, i, cases[i].error);
            assert_true(slice_eq(text, slice_str("why it is")));
            nbd_play_request(f, structured, NBD_CMD_BLOCK_STATUS, 0, i, 0, 4096);
            nbd_play_expect_error(f, structured, i, cases[i].error);
        }
    }
    close(simple);
    close(structured);
}

static void replies_may_come_in_another_order(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    volume_double_reverse(f->disk, true);
    for (uint64_t i = 0; i < 10; i++) {
        nbd_play_request(f, fd, NBD_CMD_READ, 0, i, i * 512, 512);
    }
    nbd_play_pattern(volume_double_data(f->disk), 5120, 3);
    while (volume_double_in_flight(f->disk) < 10) {
        nbd_fixture_turn(f, 1);
    }
    volume_double_hold(f->disk, false);
    for (uint64_t i = 10; i-- > 0;) {
        nbd_play_expect_simple(f, fd, i, NBD_SUCCESS);
        nbd_play_receive(f, fd, back, 512);
        assert_memory_equal(back, volume_double_data(f->disk) + i * 512, 512);
    }
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nbd_fixture_setup, nbd_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(written_bytes_are_read_back_with_simple_replies),
        TEST(written_bytes_are_read_back_with_a_structured_reply),
        TEST(zeroes_alone_are_read_as_one_hole),
        TEST(long_runs_of_zeroes_are_sent_as_holes),
        TEST(holes_of_one_reply_are_limited),
        TEST(random_mixes_of_data_and_zeroes_are_read_right),
        TEST(flush_trim_and_zeroes_reach_the_volume),
        TEST(fua_is_passed_on_and_accepted_everywhere),
        TEST(zeroes_may_be_asked_without_holes_and_fast),
        TEST(block_status_tells_data_from_holes),
        TEST(block_status_of_many_extents_is_cut),
        TEST(bad_requests_are_refused_by_kind),
        TEST(df_needs_structured_replies),
        TEST(block_status_beyond_the_end_is_refused),
        TEST(a_read_only_export_refuses_writes),
        TEST(a_flush_of_a_volume_that_takes_no_writes_succeeds),
        TEST(failures_of_the_volume_reach_the_client),
        TEST(replies_may_come_in_another_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
