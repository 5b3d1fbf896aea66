#include "volumedriver/nbd_proto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "volumedriver/nbd_option.h"
#include "volumedriver/nbd_pool.h"

static void a_request_has_the_bytes_of_the_specification(void **state)
{
    static const uint8_t golden[28] = {0x25, 0x60, 0x95, 0x13, 0x00, 0x05, 0x00, 0x06, 1, 2,
                                       3,    4,    5,    6,    7,    8,    0,    0,    0, 0x10,
                                       0,    0,    0x20, 0,    0,    1,    0,    2};
    struct nbd_request r;
    uint8_t back[28];

    (void)state;
    assert_int_equal(nbd_request_decode(&r, golden), 0);
    assert_int_equal(r.flags, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF);
    assert_int_equal(r.type, NBD_CMD_WRITE_ZEROES);
    assert_true(r.cookie == UINT64_C(0x0102030405060708));
    assert_true(r.offset == UINT64_C(0x1000002000));
    assert_int_equal(r.length, 0x10002);
    nbd_request_encode(back, &r);
    assert_memory_equal(back, golden, sizeof(golden));
}

static void a_request_with_any_magic_bit_wrong_is_refused(void **state)
{
    struct nbd_request r = {.type = NBD_CMD_READ, .length = 512};
    uint8_t data[28];

    (void)state;
    for (int bit = 0; bit < 32; bit++) {
        nbd_request_encode(data, &r);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(nbd_request_decode(&r, data), ERR_PROTOCOL);
    }
}

static void replies_have_the_bytes_of_the_specification(void **state)
{
    uint8_t p[64];

    (void)state;
    nbd_simple_reply_encode(p, 0x1122, NBD_ENOSPC);
    assert_memory_equal(p, "\x67\x44\x66\x98\0\0\0\x1c\0\0\0\0\0\0\x11\x22", 16);
    nbd_offset_data_encode(p, 7, NBD_REPLY_FLAG_DONE, 0x1000, 512);
    assert_memory_equal(p, "\x66\x8e\x33\xef\0\1\0\1\0\0\0\0\0\0\0\7\0\0\x02\x08\0\0\0\0\0\0\x10\0",
                        28);
    nbd_offset_hole_encode(p, 7, 0, 0x1000, 4096);
    assert_memory_equal(p,
                        "\x66\x8e\x33\xef\0\0\0\2\0\0\0\0\0\0\0\7\0\0\0\x0c"
                        "\0\0\0\0\0\0\x10\0\0\0\x10\0",
                        32);
    nbd_error_chunk_encode(p, 7, NBD_EIO, 3);
    assert_memory_equal(p, "\x66\x8e\x33\xef\0\1\x80\1\0\0\0\0\0\0\0\7\0\0\0\x09\0\0\0\5\0\3", 26);
}

static void codes_of_ours_become_errors_of_the_protocol(void **state)
{
    static const struct {
        int rc;
        enum nbd_error error;
    } cases[] = {{0, NBD_SUCCESS},
                 {-EPERM, NBD_EPERM},
                 {-EROFS, NBD_EPERM},
                 {-ENOMEM, NBD_ENOMEM},
                 {-EINVAL, NBD_EINVAL},
                 {-ENOSPC, NBD_ENOSPC},
                 {ERR_FULL, NBD_ENOSPC},
                 {-EOVERFLOW, NBD_EOVERFLOW},
                 {-ENOTSUP, NBD_ENOTSUP},
                 {-ESHUTDOWN, NBD_ESHUTDOWN},
                 {ERR_FENCED, NBD_EIO},
                 {ERR_CANCELED, NBD_ESHUTDOWN},
                 {ERR_CORRUPT, NBD_EIO},
                 {ERR_FAILED, NBD_EIO},
                 {-EIO, NBD_EIO},
                 {-ETIMEDOUT, NBD_EIO},
                 {ERR_TOO_LARGE, NBD_EOVERFLOW}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(nbd_error_of(cases[i].rc), cases[i].error);
    }
}

static void a_go_option_is_decoded(void **state)
{
    static const char data[] = "\0\0\0\4disk\0\3\0\1\0\3\0\x63";
    struct nbd_option_go go;

    (void)state;
    assert_int_equal(nbd_option_go_decode(&go, slice_of(data, 16)), 0);
    assert_true(slice_eq(go.name, slice_str("disk")));
    assert_true(go.want_name && go.want_block_size && !go.want_description);
}

static void a_go_option_cut_or_stretched_anywhere_is_refused(void **state)
{
    static const char data[] = "\0\0\0\4disk\0\3\0\1\0\3\0\x63?";
    struct nbd_option_go go;

    (void)state;
    for (size_t bytes = 0; bytes < sizeof(data); bytes++) {
        int rc = nbd_option_go_decode(&go, slice_of(data, bytes));

        assert_int_equal(rc, bytes == 16 ? 0 : -EINVAL);
    }
    assert_int_equal(nbd_option_go_decode(&go, slice_of("\xff\xff\xff\xff\0\0", 6)), -EINVAL);
    assert_int_equal(nbd_option_go_decode(&go, slice_of("\0\0\0\4di\0k\0\0", 10)), -EINVAL);
}

static void names_longer_than_the_limit_are_told_apart(void **state)
{
    static uint8_t data[4 + 4097 + 2];
    struct nbd_option_go go;
    struct slice name;

    (void)state;
    memset(data, 'x', sizeof(data));
    memcpy(data, "\0\0\x10\1", 4);
    memcpy(data + 4 + 4097, "\0\0", 2);
    assert_int_equal(nbd_option_go_decode(&go, slice_of(data, sizeof(data))), ERR_TOO_LARGE);
    assert_int_equal(nbd_option_name_decode(&name, slice_of(data + 4, 4097)), ERR_TOO_LARGE);
    assert_int_equal(nbd_option_name_decode(&name, slice_of(data + 4, 4096)), 0);
    assert_int_equal(nbd_option_name_decode(&name, slice_of("a\0b", 3)), -EINVAL);
}

static bool selects(const char *data, size_t bytes, bool listing)
{
    struct nbd_option_meta meta;

    assert_int_equal(nbd_option_meta_decode(&meta, slice_of(data, bytes), listing), 0);
    return meta.allocation;
}

static void metadata_queries_follow_the_specification(void **state)
{
    static const char none[] = "\0\0\0\1d\0\0\0\0";
    static const char base[] = "\0\0\0\1d\0\0\0\1\0\0\0\5base:";
    static const char alloc[] = "\0\0\0\1d\0\0\0\2\0\0\0\3x:y\0\0\0\x0f"
                                "base:allocation";
    static const char other[] = "\0\0\0\1d\0\0\0\1\0\0\0\x0c"
                                "qemu:foo:bar";

    (void)state;
    assert_true(selects(none, sizeof(none) - 1, true));
    assert_false(selects(none, sizeof(none) - 1, false));
    assert_true(selects(base, sizeof(base) - 1, true));
    assert_false(selects(base, sizeof(base) - 1, false));
    assert_true(selects(alloc, sizeof(alloc) - 1, true));
    assert_true(selects(alloc, sizeof(alloc) - 1, false));
    assert_false(selects(other, sizeof(other) - 1, true));
    assert_false(selects(other, sizeof(other) - 1, false));
}

static void metadata_queries_cut_or_stretched_anywhere_are_refused(void **state)
{
    static const char data[] = "\0\0\0\1d\0\0\0\2\0\0\0\3x:y\0\0\0\x0f"
                               "base:allocation?";
    struct nbd_option_meta meta;

    (void)state;
    for (size_t bytes = 0; bytes < sizeof(data); bytes++) {
        int rc = nbd_option_meta_decode(&meta, slice_of(data, bytes), true);

        assert_int_equal(rc, bytes == sizeof(data) - 2 ? 0 : -EINVAL);
    }
    assert_int_equal(nbd_option_meta_decode(&meta, slice_of("\0\0\0\1d\xff\xff\xff\xff", 9), true),
                     -EINVAL);
}

static void buffers_are_aligned_reused_and_bounded(void **state)
{
    static uint8_t *held[64];
    struct nbd_pool pool = {0};
    uint8_t *a = nbd_pool_get(&pool, 5000);
    uint8_t *b;

    (void)state;
    assert_int_equal((uintptr_t)a % NBD_POOL_ALIGN_BYTES, 0);
    memset(a, 1, 8192);
    nbd_pool_put(&pool, a, 5000);
    b = nbd_pool_get(&pool, 8192); /* the same class */
    assert_ptr_equal(a, b);
    nbd_pool_put(&pool, b, 8192);
    for (int i = 0; i < 64; i++) {
        held[i] = nbd_pool_get(&pool, 1048576);
    }
    for (int i = 0; i < 64; i++) {
        nbd_pool_put(&pool, held[i], 1048576);
    }
    assert_in_range(pool.idle_bytes, 1048576, NBD_POOL_IDLE_BYTES_MAX);
    a = nbd_pool_get(&pool, 32 * 1048576);
    nbd_pool_put(&pool, a, 32 * 1048576);
    assert_in_range(pool.idle_bytes, 1048576, NBD_POOL_IDLE_BYTES_MAX);
    nbd_pool_release(&pool);
    assert_int_equal(pool.idle_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_the_bytes_of_the_specification),
        cmocka_unit_test(a_request_with_any_magic_bit_wrong_is_refused),
        cmocka_unit_test(replies_have_the_bytes_of_the_specification),
        cmocka_unit_test(codes_of_ours_become_errors_of_the_protocol),
        cmocka_unit_test(a_go_option_is_decoded),
        cmocka_unit_test(a_go_option_cut_or_stretched_anywhere_is_refused),
        cmocka_unit_test(names_longer_than_the_limit_are_told_apart),
        cmocka_unit_test(metadata_queries_follow_the_specification),
        cmocka_unit_test(metadata_queries_cut_or_stretched_anywhere_are_refused),
        cmocka_unit_test(buffers_are_aligned_reused_and_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
