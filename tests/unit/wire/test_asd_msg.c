/* ASD protocol: exact bytes of both versions, errors, and what differs on version 1. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/wire/bytes.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/llio.h"
#include "wire/osd_keys.h"

#define OBJECT_ID "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define FRAGMENT_KEY "70 00000000 6e 00000005 6f 20000000 " OBJECT_ID "01000000 02000000 00000000"

static void a_preamble_is_read_as_it_arrives(void **state)
{
    struct asd_preamble p;
    struct buf b = {0};

    (void)state;
    asd_preamble_put(&b, 1, "asd_1");
    bytes_expect(&b, "61 4c 62 41 01000000 01 05000000 61 73 64 5f 31");
    asd_preamble_put(&b, 2, "asd_1");
    for (size_t bytes = 0; bytes < b.len; bytes++) {
        assert_int_equal(asd_preamble_parse(b.data, bytes, &p), 0);
    }
    buf_put_u8(&b, 'x'); /* a request behind it */
    assert_int_equal(asd_preamble_parse(b.data, b.len, &p), b.len - 1);
    assert_true(p.version == 2 && p.has_long_id && slice_eq(p.long_id, slice_str("asd_1")));
    b.len = 0;
    asd_preamble_put(&b, 1, NULL);
    assert_int_equal(asd_preamble_parse(b.data, b.len, &p), 9);
    assert_false(p.has_long_id);
    b.len = 0;
    asd_preamble_put(&b, 3, NULL);
    assert_int_equal(asd_preamble_parse(b.data, 8, &p), 8);
    assert_int_equal(p.version, 3);
    assert_int_equal(asd_preamble_parse((const uint8_t *)"aX", 2, &p), ERR_PROTOCOL);
    b.len = 0;
    bytes_put(&b, "614c6241 01000000 01 ffffffff");
    assert_int_equal(asd_preamble_parse(b.data, b.len, &p), ERR_PROTOCOL);
    b.data[8] = 2;
    assert_int_equal(asd_preamble_parse(b.data, b.len, &p), ERR_PROTOCOL);
    buf_release(&b);
}

static void the_answer_to_a_preamble_names_the_server_or_refuses(void **state)
{
    struct buf b = {0};
    struct slice id;
    struct err e;

    (void)state;
    asd_hello_put(&b, slice_str("asd_1"));
    for (size_t bytes = 0; bytes < b.len; bytes++) {
        assert_int_equal(asd_hello_parse(b.data, bytes, &id, &e), 0);
    }
    assert_int_equal(asd_hello_parse(b.data, b.len, &id, &e), 13);
    assert_true(slice_eq(id, slice_str("asd_1")));
    bytes_expect(&b, "00000000 05000000 61 73 64 5f 31");
    asd_hello_put_refusal(&b, "only 1");
    assert_int_equal(asd_hello_parse(b.data, b.len, &id, &e), ERR_VERSION);
    assert_int_equal(asd_hello_parse(b.data, 4, &id, &e), ERR_VERSION);
    b.len = 0;
    bytes_put(&b, "00000000 ffffff7f");
    assert_int_equal(asd_hello_parse(b.data, b.len, &id, &e), ERR_PROTOCOL);
    buf_release(&b);
}

static void request_of(const struct buf *frame, unsigned version, struct asd_request *ret_request)
{
    uint32_t id;
    struct err e;

    assert_int_equal(get_u32le(frame->data), frame->len - 4);
    assert_int_equal(
        asd_request_decode(rd_of(frame->data + 4, frame->len - 4), version, &id, ret_request, &e),
        0);
}

static void the_foreign_clients_partial_get_is_understood(void **state)
{
    struct buf frame = {0};
    struct asd_request req;
    struct osd_key key;

    (void)state;
    bytes_put(&frame,
              "53000000 0b000000 3b000000" FRAGMENT_KEY "01000000 00100000 00020000 01000000");
    request_of(&frame, ASD_VERSION_1, &req);
    assert_int_equal(req.code, ASD_PARTIAL_GET);
    assert_int_equal(req.prio, ASD_PRIO_HIGH);
    assert_int_equal(req.partial.part_count, 1);
    assert_true(req.partial.parts[0].offset == 4096 && req.partial.parts[0].bytes == 512);
    assert_int_equal(osd_key_parse(req.partial.key, &key), 0);
    assert_true(key.namespace_id == 5 && key.fragment.chunk == 1 && key.fragment.fragment == 2);
    asd_request_release(&req);
    buf_release(&frame);
}

static void parts_of_a_partial_get_stand_in_order_on_version_2_and_reversed_on_1(void **state)
{
    struct asd_part parts[] = {
        {.offset = 1, .bytes = 2}, {.offset = 3, .bytes = 4}, {.offset = 5, .bytes = 6}};
    struct asd_request req = {.code = ASD_PARTIAL_GET};
    struct asd_request got;
    struct gather g = {0};
    struct asd_v1_tail tail;
    struct buf body = {0};
    uint32_t bytes;
    uint32_t id;
    struct err e;

    (void)state;
    req.partial.key = slice_str("k");
    req.partial.parts = parts;
    req.partial.part_count = 3;
    asd_request_encode(&req, &g);
    gather_flatten(&g, &body);
    bytes_expect(&body, "0b000000 01000000 6b 03000000"
                        "01000000 02000000 03000000 04000000 05000000 06000000 01");
    asd_v1_request(&g, &tail);
    gather_flatten(&g, &body);
    assert_int_equal(asd_request_decode(slice_rd(&body), ASD_VERSION_1, &id, &got, &e), 0);
    assert_memory_equal(got.partial.parts, parts, sizeof(parts));
    asd_request_release(&got);
    bytes_expect(&body, "0b000000 01000000 6b 03000000"
                        "05000000 06000000 03000000 04000000 01000000 02000000 01");
    assert_int_equal(asd_v1_tail_bytes(&tail, rd_of("\1", 1), &bytes), 0);
    assert_int_equal(bytes, 12);
    assert_int_equal(asd_v1_tail_bytes(&tail, rd_of("\0", 1), &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(asd_v1_tail_bytes(&tail, rd_of("\2", 1), &bytes), ERR_PROTOCOL);
    gather_release(&g);
}

static void an_apply_borrows_its_large_value(void **state)
{
    static uint8_t big[1 << 20];
    struct asd_assert asserts[] = {
        {.key = slice_str("s"), .value = slice_str("\1"), .has_value = true},
        {.key = slice_str("n")}};
    struct asd_update updates[] = {{.key = slice_str("a"),
                                    .value = slice_str("v"),
                                    .checksum = checksum_crc32c(1),
                                    .assertable = true},
                                   {.key = slice_str("d"), .is_delete = true}};
    struct asd_request req = {.code = ASD_APPLY, .prio = ASD_PRIO_LOW};
    struct asd_v1_tail tail;
    struct gather g = {0};
    const struct iovec *iov;
    size_t count;
    size_t bytes;

    (void)state;
    req.apply = (struct asd_apply){.asserts = asserts,
                                   .assert_count = 2,
                                   .updates = updates,
                                   .update_count = 2,
                                   .flags = ASD_APPLY_RESERVE};
    asd_request_encode(&req, &g);
    bytes_expect_gather(&g, "03000000"
                            "02000000 01 01000000 6e 00 01 01000000 73 01 01000000 01"
                            "02000000 01 01000000 64 00"
                            "01 01000000 61 01 01000000 76 03 01000000 01"
                            "02 01");
    asd_request_encode(&req, &g);
    asd_v1_request(&g, &tail);
    bytes_expect_gather(&g, "03000000"
                            "02000000 01 01000000 6e 00 01 01000000 73 01 01000000 01"
                            "02000000 01 01000000 64 00"
                            "01 01000000 61 01 01000000 76 03 01000000 01"
                            "02");
    updates[0].value = slice_of(big, sizeof(big));
    asd_request_encode(&req, &g);
    gather_finish(&g, &iov, &count, &bytes);
    assert_int_equal(count, 3);
    assert_ptr_equal(iov[1].iov_base, big);
    assert_int_equal(iov[1].iov_len, sizeof(big));
    assert_true(iov[0].iov_len + iov[2].iov_len < 100);
    gather_release(&g);
}

static int decode(const char *hex, unsigned version, struct asd_request *ret_request)
{
    struct buf body = {0};
    uint32_t id = 0;
    struct err e;
    int rc;

    bytes_put(&body, hex);
    rc = asd_request_decode(slice_rd(&body), version, &id, ret_request, &e);
    buf_release(&body);
    return rc;
}

/* Asked with ever more of it, as it arrives: never a wrong place. */
static void the_place_of_a_large_value_is_told_by_what_came_so_far(void **state)
{
    enum { BYTES = 5000, MIN = 4000 };
    static uint8_t big[BYTES];
    struct asd_assert asserts[] = {
        {.key = slice_str("a"), .value = slice_str("v"), .has_value = true},
        {.key = slice_str("b")}};
    struct asd_update updates[] = {
        /* the last one comes first */
        {.key = slice_str("big"), .value = slice_of(big, BYTES), .checksum = checksum_crc32c(1)},
        {.key = slice_str("gone"), .is_delete = true},
        {.key = slice_str("less"), .value = slice_of(big, MIN - 1)}};
    struct asd_request request = {
        .code = ASD_APPLY,
        .apply = {.asserts = asserts, .assert_count = 2, .updates = updates, .update_count = 3}};

    (void)state;
    memset(big, 'x', BYTES);
    for (unsigned version = ASD_VERSION_1; version <= ASD_VERSION_2; version++) {
        size_t id_bytes = version == ASD_VERSION_1 ? 0 : 4;
        struct buf all = {0};
        struct gather g = {0};
        size_t at;

        buf_put(&all, "\1\2\3\4", id_bytes);
        asd_request_encode(&request, &g);
        gather_flatten(&g, &all);
        gather_release(&g);
        at = all.len - 2 - 1 - 5 - BYTES; /* flags, priority; assertable, checksum */
        for (size_t n = 0; n <= all.len; n++) {
            assert_int_equal(asd_request_value_at(all.data, n, version, MIN),
                             n < at ? ASD_REQUEST_UNTOLD : at);
        }
        assert_int_equal(asd_request_value_at(all.data, all.len, version, BYTES + 1), 0);
        assert_memory_equal(all.data + at, big, BYTES);
        buf_release(&all);
    }
}

static void missing_priorities_and_trailing_bytes_are_tolerated(void **state)
{
    struct asd_request req;

    (void)state;
    assert_int_equal(decode("02000000 00000000", ASD_VERSION_1, &req), 0);
    assert_int_equal(req.prio, ASD_PRIO_HIGH);
    assert_int_equal(decode("03000000 00000000 00000000", ASD_VERSION_1, &req), 0);
    assert_int_equal(req.prio, ASD_PRIO_HIGH);
    asd_request_release(&req);
    assert_int_equal(decode("09000000 00000000 02 0000", ASD_VERSION_1, &req), 0);
    assert_int_equal(req.prio, ASD_PRIO_LOW);
    assert_int_equal(decode("09000000 00000000 03", ASD_VERSION_1, &req), ERR_PROTOCOL);
    assert_int_equal(decode("0b000000 00000000 00000000", ASD_VERSION_1, &req), ERR_PROTOCOL);
    assert_int_equal(decode("07000000 ffff", ASD_VERSION_1, &req), 0);
    assert_int_equal(decode("63000000", ASD_VERSION_1, &req), ERR_UNKNOWN_OPERATION);
    assert_int_equal(decode("0000", ASD_VERSION_1, &req), ERR_PROTOCOL);
}

static void unknown_flags_are_refused_on_version_2_only(void **state)
{
    struct asd_request req;

    (void)state;
    assert_int_equal(decode("09000000 03000000 00000000 00000000 01", ASD_VERSION_2, &req), 0);
    assert_int_equal(req.apply.flags, 0);
    asd_request_release(&req);
    assert_int_equal(decode("09000000 03000000 00000000 00000000 01 01", ASD_VERSION_2, &req), 0);
    assert_int_equal(req.apply.flags, ASD_APPLY_RESERVE);
    asd_request_release(&req);
    assert_int_equal(decode("09000000 03000000 00000000 00000000 01 02", ASD_VERSION_2, &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("03000000 00000000 00000000 01 02", ASD_VERSION_1, &req), 0);
    assert_int_equal(req.apply.flags, 0);
    asd_request_release(&req);
}

static void a_list_cannot_claim_more_than_its_bytes(void **state)
{
    struct asd_request req;

    (void)state;
    assert_int_equal(decode("02000000 ffffffff 01", ASD_VERSION_1, &req), ERR_PROTOCOL);
    assert_int_equal(decode("02000000 00000400 01", ASD_VERSION_1, &req), ERR_PROTOCOL);
    assert_int_equal(decode("03000000 ffffff7f 00000000 01", ASD_VERSION_1, &req), ERR_PROTOCOL);
    assert_int_equal(decode("03000000 00000000 ffffff7f 01", ASD_VERSION_1, &req), ERR_PROTOCOL);
    /* Parts whose sum no frame can hold. */
    assert_int_equal(decode("0b000000 00000000 02000000 00000000 ffffff7f 00000000 ffffff7f 01",
                            ASD_VERSION_1, &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("0b000000 00000000 01000000 ffffffff 01000000 01", ASD_VERSION_1, &req),
                     ERR_PROTOCOL);
}

static void raw_bytes_lie_behind_the_frame_on_version_1_and_inside_on_2(void **state)
{
    struct slice parts[] = {slice_str("ab"), slice_str("c")};
    struct asd_reply reply = {.code = ASD_PARTIAL_GET};
    struct asd_reply got;
    struct gather g = {0};
    struct err e;

    (void)state;
    reply.partial.found = true;
    reply.partial.parts = parts;
    reply.partial.part_count = 2;
    asd_reply_encode(&reply, ASD_VERSION_1, 0, &g);
    bytes_expect_gather(&g, "05000000 00000000 01 616263");
    asd_reply_encode(&reply, ASD_VERSION_2, 0x55, &g);
    bytes_expect_gather(&g, "0c000000 55000000 00000000 01 616263");
    assert_int_equal(asd_reply_decode(rd_of("\1abc", 4), ASD_PARTIAL_GET, &got, &e), 0);
    assert_true(got.partial.found && slice_eq(got.partial.data, slice_str("abc")));
    asd_reply_release(&got);
    reply.partial.found = false;
    asd_reply_encode(&reply, ASD_VERSION_1, 0, &g);
    bytes_expect_gather(&g, "05000000 00000000 00");
}

static void later_values_follow_in_the_order_of_the_keys(void **state)
{
    static uint8_t first[GATHER_BORROW_BYTES_MIN];
    static uint8_t third[GATHER_BORROW_BYTES_MIN + 1];
    struct asd_value values[] = {{.found = true, .value = slice_of(first, sizeof(first))},
                                 {.found = true, .value = slice_str("in")},
                                 {.found = true, .value = slice_of(third, sizeof(third))},
                                 {.found = false}};
    struct asd_reply reply = {.code = ASD_MULTI_GET2};
    struct asd_v1_tail tail = {.code = ASD_MULTI_GET2};
    struct asd_reply got;
    struct gather g = {0};
    struct buf flat = {0};
    uint32_t raw;
    struct err e;

    (void)state;
    memset(first, 1, sizeof(first));
    memset(third, 3, sizeof(third));
    reply.values.items = values;
    reply.values.count = 4;
    asd_reply_encode(&reply, ASD_VERSION_1, 0, &g);
    gather_flatten(&g, &flat);
    assert_int_equal(get_u32le(flat.data), flat.len - 4 - sizeof(first) - sizeof(third));
    assert_int_equal(asd_v1_tail_bytes(&tail, rd_of(flat.data + 8, get_u32le(flat.data) - 4), &raw),
                     0);
    assert_int_equal(raw, sizeof(first) + sizeof(third));
    assert_int_equal(asd_reply_decode(rd_of(flat.data + 8, flat.len - 8), ASD_MULTI_GET2, &got, &e),
                     0);
    assert_int_equal(got.values.count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(got.values.items[i].found, values[i].found);
        assert_true(slice_eq(got.values.items[i].value, values[i].value));
    }
    asd_reply_release(&got);
    assert_int_equal(asd_reply_decode(rd_of(flat.data + 8, flat.len - 9), ASD_MULTI_GET2, &got, &e),
                     ERR_PROTOCOL);
    buf_release(&flat);
    gather_release(&g);
}

/* The frame of `reply` gives away `data` where it lies, and copies little else. */
static void expect_borrowed(const struct asd_reply *reply, unsigned version, const uint8_t *data,
                            size_t data_bytes, unsigned times)
{
    struct gather g = {0};
    const struct iovec *iov;
    size_t count;
    size_t bytes;
    size_t copied;
    unsigned seen = 0;

    asd_reply_encode(reply, version, 7, &g);
    gather_finish(&g, &iov, &count, &bytes);
    copied = bytes;
    for (size_t i = 0; i < count; i++) {
        if (iov[i].iov_base == data) {
            assert_int_equal(iov[i].iov_len, data_bytes);
            copied -= data_bytes;
            seen++;
        }
    }
    assert_int_equal(seen, times);
    assert_true(copied < 100);
    gather_release(&g);
}

static void a_reply_borrows_its_large_values(void **state)
{
    static uint8_t big[65536];
    struct asd_value values[] = {{.found = true, .value = slice_of(big, sizeof(big))},
                                 {.found = false},
                                 {.found = true, .value = slice_of(big, sizeof(big))}};
    struct asd_entry entry = {.key = slice_str("k"), .value = slice_of(big, sizeof(big))};
    struct slice parts[] = {slice_of(big, sizeof(big)), slice_of(big, sizeof(big))};
    struct asd_reply gets[] = {{.code = ASD_MULTI_GET}, {.code = ASD_MULTI_GET2}};
    struct asd_reply entries = {.code = ASD_RANGE_ENTRIES};
    struct asd_reply partial = {.code = ASD_PARTIAL_GET};

    (void)state;
    entries.entries.items = &entry;
    entries.entries.count = 1;
    partial.partial.found = true;
    partial.partial.parts = parts;
    partial.partial.part_count = 2;
    for (unsigned version = ASD_VERSION_1; version <= ASD_VERSION_2; version++) {
        for (unsigned i = 0; i < 2; i++) {
            gets[i].values.items = values;
            gets[i].values.count = 3;
            expect_borrowed(&gets[i], version, big, sizeof(big), 2);
        }
        expect_borrowed(&entries, version, big, sizeof(big), 1);
        expect_borrowed(&partial, version, big, sizeof(big), 2);
    }
}

static void error_replies_have_their_bytes_and_meaning(void **state)
{
    static const struct {
        int32_t rc;
        int code;
    } cases[] = {{ASD_RC_UNKNOWN, ERR_REMOTE},
                 {ASD_RC_ASSERT_FAILED, ERR_ASSERT_FAILED},
                 {ASD_RC_UNKNOWN_OPERATION, ERR_UNKNOWN_OPERATION},
                 {ASD_RC_FULL, ERR_FULL},
                 {ASD_RC_VERSION, ERR_VERSION},
                 {ASD_RC_CORRUPT, ERR_CORRUPT},
                 {ASD_RC_BAD_SLICE, -ERANGE},
                 {ASD_RC_BUSY, ERR_BUSY},
                 {ASD_RC_FAILED, ERR_FAILED}};
    struct buf b = {0};

    (void)state;
    asd_error_put(&b, ASD_VERSION_1, 0, ASD_RC_ASSERT_FAILED, slice_str("key"));
    bytes_expect(&b, "0b000000 02000000 03000000 6b6579");
    asd_error_put(&b, ASD_VERSION_1, 0, ASD_RC_FULL, slice_str("key"));
    bytes_expect(&b, "04000000 06000000");
    asd_error_put(&b, ASD_VERSION_1, 0, ASD_RC_CORRUPT, slice_str("k"));
    bytes_expect(&b, "09000000 01000000 01000000 6b");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice key;
        uint32_t id;
        int32_t rc;
        struct rd r;
        struct err e;

        asd_error_put(&b, ASD_VERSION_2, 8, cases[i].rc, slice_str("k\1"));
        r = rd_of(b.data + 4, b.len - 4);
        assert_int_equal(asd_reply_head(&r, ASD_VERSION_2, &id, &rc), 0);
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(asd_error_get(rc, r, &key, &e), cases[i].code);
        assert_true(
            slice_eq(key, cases[i].rc == ASD_RC_ASSERT_FAILED || cases[i].rc == ASD_RC_CORRUPT
                              ? slice_str("k\1")
                              : slice_str("")));
        if (cases[i].rc != ASD_RC_UNKNOWN) {
            assert_int_equal(asd_rc_of(cases[i].code), cases[i].rc);
        }
        /* A code alone, as some servers send it. */
        assert_int_equal(asd_error_get(rc, rd_of(NULL, 0), &key, &e), cases[i].code);
        b.len = 0;
    }
    assert_int_equal(asd_rc_of(-EMFILE), ASD_RC_BUSY); /* it passes */
    assert_int_equal(asd_rc_of(-ENFILE), ASD_RC_BUSY);
    assert_int_equal(asd_rc_of(-ENOMEM), ASD_RC_BUSY);
    buf_release(&b);
}

static const char *error_of_key(struct buf *b, int32_t rc, struct slice key, struct err *ret_e)
{
    struct slice named;

    b->len = 0;
    llio_put_string(b, key);
    asd_error_get(rc, rd_of(b->data, b->len), &named, ret_e);
    assert_true(slice_eq(named, key));
    return ret_e->msg;
}

/* Many layers put something before it, and a line ends somewhere: only of the key is it lost. */
static void an_error_names_its_cause_before_a_short_part_of_the_key(void **state)
{
    const uint8_t raw[] = "p\0\0\0\7n\0\0\0\0\0\0\0\1i\xb7\x1f\x93\x9b\x33";
    struct buf b = {0};
    struct err e;

    (void)state;
    assert_string_equal(error_of_key(&b, ASD_RC_CORRUPT, slice_of(raw, sizeof(raw) - 1), &e),
                        "stored data fails its checks: key "
                        "\"p\\x00\\x00\\x00\\x07n\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\"…");
    assert_string_equal(error_of_key(&b, ASD_RC_ASSERT_FAILED, slice_str("short one"), &e),
                        "assert failed: key \"short one\"");
    buf_release(&b);
}

static void an_empty_apply_reply_is_an_empty_list(void **state)
{
    struct asd_reply reply;
    struct err e;

    (void)state;
    assert_int_equal(asd_reply_decode(rd_of(NULL, 0), ASD_APPLY, &reply, &e), 0);
    assert_int_equal(reply.file_numbers.count, 0);
    asd_reply_release(&reply);
}

/* One frame of each kind that version 2 adds to, as they were when it was defined. */
static void version_2_frames_stay_as_they_are(void **state)
{
    struct asd_update update = {.key = slice_str("key"),
                                .value = slice_str("value"),
                                .checksum = checksum_crc32c(0xe3069283)};
    struct asd_part parts[] = {{.offset = 4096, .bytes = 4096}, {.offset = 0, .bytes = 512}};
    struct slice data[] = {slice_str("second"), slice_str("first")};
    struct asd_request req = {.code = ASD_APPLY, .prio = ASD_PRIO_LOW};
    struct asd_reply reply = {.code = ASD_PARTIAL_GET};
    uint8_t head[ASD_HEAD_BYTES_MAX];
    struct gather g = {0};
    struct buf all = {0};

    (void)state;
    asd_preamble_put(&all, ASD_VERSION_2, "asd_1");
    req.apply =
        (struct asd_apply){.updates = &update, .update_count = 1, .flags = ASD_APPLY_RESERVE};
    asd_request_encode(&req, &g);
    assert_int_equal(asd_request_head(head, ASD_VERSION_2, 1, gather_bytes(&g)), 8);
    buf_put(&all, head, 8);
    gather_flatten(&g, &all);
    gather_release(&g);
    req = (struct asd_request){.code = ASD_PARTIAL_GET};
    req.partial.key = slice_str("key");
    req.partial.parts = parts;
    req.partial.part_count = 2;
    asd_request_encode(&req, &g);
    buf_put(&all, head, asd_request_head(head, ASD_VERSION_2, 2, gather_bytes(&g)));
    gather_flatten(&g, &all);
    gather_release(&g);
    reply.partial.found = true;
    reply.partial.parts = data;
    reply.partial.part_count = 2;
    asd_reply_encode(&reply, ASD_VERSION_2, 2, &g);
    gather_flatten(&g, &all);
    gather_release(&g);
    asd_error_put(&all, ASD_VERSION_2, 1, ASD_RC_CORRUPT, slice_str("key"));
    bytes_expect_golden(&all, "asd_v2_frames");
    buf_release(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preamble_is_read_as_it_arrives),
        cmocka_unit_test(the_answer_to_a_preamble_names_the_server_or_refuses),
        cmocka_unit_test(the_foreign_clients_partial_get_is_understood),
        cmocka_unit_test(parts_of_a_partial_get_stand_in_order_on_version_2_and_reversed_on_1),
        cmocka_unit_test(an_apply_borrows_its_large_value),
        cmocka_unit_test(the_place_of_a_large_value_is_told_by_what_came_so_far),
        cmocka_unit_test(missing_priorities_and_trailing_bytes_are_tolerated),
        cmocka_unit_test(unknown_flags_are_refused_on_version_2_only),
        cmocka_unit_test(a_list_cannot_claim_more_than_its_bytes),
        cmocka_unit_test(raw_bytes_lie_behind_the_frame_on_version_1_and_inside_on_2),
        cmocka_unit_test(later_values_follow_in_the_order_of_the_keys),
        cmocka_unit_test(a_reply_borrows_its_large_values),
        cmocka_unit_test(error_replies_have_their_bytes_and_meaning),
        cmocka_unit_test(an_error_names_its_cause_before_a_short_part_of_the_key),
        cmocka_unit_test(an_empty_apply_reply_is_an_empty_list),
        cmocka_unit_test(version_2_frames_stay_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
