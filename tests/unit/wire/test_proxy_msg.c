/* Proxy protocol: exact bytes of requests and replies, errors, sessions. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "unit/wire/bytes.h"
#include "wire/llio.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

static void the_preamble_is_checked_as_it_arrives(void **state)
{
    struct buf b = {0};

    (void)state;
    proxy_preamble_put(&b);
    for (size_t bytes = 0; bytes < 8; bytes++) {
        assert_int_equal(proxy_preamble_parse(b.data, bytes), 0);
    }
    assert_int_equal(proxy_preamble_parse(b.data, 8), 8);
    b.data[4] = 2;
    assert_int_equal(proxy_preamble_parse(b.data, 8), ERR_VERSION);
    assert_int_equal(proxy_preamble_parse((const uint8_t *)"GE", 2), ERR_PROTOCOL);
    b.data[4] = 1;
    bytes_expect(&b, "1bde7944 01000000");
}

static void expect_request(const struct proxy_request *req, const char *hex)
{
    struct gather g = {0};

    proxy_request_encode(req, &g);
    bytes_expect_gather(&g, hex);
}

static void requests_have_their_bytes(void **state)
{
    struct proxy_request req = {.code = PROXY_LIST_OBJECTS, .ns = slice_str("n")};
    struct proxy_slice slices[] = {{.offset = 1, .bytes = 2}, {.offset = 3, .bytes = 4}};
    struct proxy_object_slices object = {
        .name = slice_str("o"), .slices = slices, .slice_count = 2};
    struct proxy_session_entry entry = {
        .key = slice_str(PROXY_SESSION_MANIFEST_SER), .value = slice_str("\2"), .has_value = true};

    (void)state;
    req.range = (struct proxy_range){.first = slice_str("a"),
                                     .first_included = true,
                                     .max = 200,
                                     .has_last = true,
                                     .last = slice_str("b")};
    expect_request(&req, "05000000 01000000 6e 01000000 61 01 01 01000000 62 00 c8000000 00");
    req = (struct proxy_request){.code = PROXY_CREATE_NAMESPACE, .ns = slice_str("n")};
    expect_request(&req, "03000000 01000000 6e 00");
    req = (struct proxy_request){
        .code = PROXY_READ_SLICES2, .ns = slice_str("n"), .consistent_read = true};
    req.reads.items = &object;
    req.reads.count = 1;
    expect_request(&req, "17000000 01000000 6e 01000000 01000000 6f 02000000"
                         "0300000000000000 04000000 0100000000000000 02000000 01");
    req = (struct proxy_request){.code = PROXY_UPDATE_SESSION};
    req.session.items = &entry;
    req.session.count = 1;
    expect_request(&req, "20000000 01000000 0c000000 6d616e69666573745f736572 01 01000000 02");
    req = (struct proxy_request){.code = PROXY_GET_FRAGMENT_KEY};
    req.key.alba_id = slice_str("a");
    req.key.namespace_id = 5;
    expect_request(&req, "21000000 01000000 61 0500000000000000");
    req = (struct proxy_request){.code = PROXY_WRITE_OBJECT_FS, .ns = slice_str("n")};
    req.object.name = slice_str("o");
    req.object.file = slice_str("/f");
    req.object.allow_overwrite = true;
    expect_request(&req, "0b000000 01000000 6e 01000000 6f 02000000 2f66 01 00");
}

static void transactions_have_their_bytes(void **state)
{
    struct proxy_assert asserts[] = {{.kind = PROXY_ASSERT_ABSENT, .name = slice_str("x")},
                                     {.kind = PROXY_ASSERT_HAS_CHECKSUM,
                                      .name = slice_str("y"),
                                      .checksum = checksum_crc32c(7)}};
    struct proxy_update updates[] = {
        {.kind = PROXY_UPDATE_UPLOAD, .name = slice_str("x"), .data = slice_str("data")},
        {.kind = PROXY_UPDATE_DELETE, .name = slice_str("y")}};
    struct proxy_request req = {.code = PROXY_APPLY_SEQUENCE, .ns = slice_str("n")};

    (void)state;
    req.apply = (struct proxy_apply){
        .asserts = asserts, .assert_count = 2, .updates = updates, .update_count = 2};
    expect_request(&req, "18000000 01000000 6e 00"
                         "02000000 04 01000000 79 03 07000000 02 01000000 78"
                         "02000000 03 01000000 79 02 01000000 78 04000000 64617461 00");
    req.code = PROXY_APPLY;
    req.apply.flags = PROXY_APPLY_LOW_PRIORITY;
    req.apply.deadline_ms = 1000;
    expect_request(&req, "40000000 01000000 6e 02000000 e8030000"
                         "02000000 04 01000000 79 03 07000000 02 01000000 78"
                         "02000000 03 01000000 79 02 01000000 78 04000000 64617461 00");
}

static void an_upload_from_a_file_is_encoded_by_its_bytes(void **state)
{
    struct proxy_extent extents[] = {{.offset = 4096, .bytes = 512}, {.offset = 0, .bytes = 1}};
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD_FD,
                                  .name = slice_str("x"),
                                  .token = slice_str("0123456789abcdef"),
                                  .extents = extents,
                                  .extent_count = 2,
                                  .has_checksum = true,
                                  .checksum = checksum_crc32c(7)};
    struct proxy_request req = {.code = PROXY_APPLY_FDS, .ns = slice_str("n")};

    (void)state;
    req.apply = (struct proxy_apply){.updates = &update, .update_count = 1, .deadline_ms = 1000};
    expect_request(&req, "41000000 01000000 6e 00000000 e8030000 00000000"
                         "01000000 04 01000000 78 10000000 30313233343536373839616263646566"
                         "02000000 0000000000000000 0100000000000000"
                         "0010000000000000 0002000000000000 01 03 07000000");
}

static void a_stream_is_encoded_by_its_bytes(void **state)
{
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = slice_str("x")};
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD_STREAM,
                                  .name = slice_str("x"),
                                  .bytes = 0x123456789a,
                                  .has_checksum = true,
                                  .checksum = checksum_crc32c(7)};
    struct proxy_request req = {.code = PROXY_APPLY_STREAM, .ns = slice_str("n")};
    struct gather g = {0};
    struct buf all = {0};

    (void)state;
    req.apply = (struct proxy_apply){.asserts = &absent,
                                     .assert_count = 1,
                                     .updates = &update,
                                     .update_count = 1,
                                     .flags = PROXY_APPLY_RESERVE,
                                     .deadline_ms = 1000};
    expect_request(&req, "42000000 01000000 6e 01000000 e8030000 01000000 02 01000000 78"
                         "01000000 05 01000000 78 9a78563412000000 01 03 07000000");
    proxy_request_encode(&req, &g);
    req = (struct proxy_request){.code = PROXY_STREAM_PART};
    req.part.offset = 0x100000002;
    req.part.crc32c = 9;
    req.part.data = slice_str("data");
    expect_request(&req, "43000000 0200000001000000 09000000 04000000 64617461");
    proxy_request_encode(&req, &g);
    gather_flatten(&g, &all);
    bytes_expect_golden(&all, "proxy_stream_requests");
    buf_release(&all);
    gather_release(&g);
}

static int decode(const char *hex, struct proxy_request *ret_request)
{
    struct buf body = {0};
    struct err e;
    int rc;

    bytes_put(&body, hex);
    rc = proxy_request_decode(slice_rd(&body), ret_request, &e);
    buf_release(&body);
    return rc;
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    struct proxy_request req;

    (void)state;
    assert_int_equal(decode("06000000", &req), ERR_UNKNOWN_OPERATION);
    assert_int_equal(decode("ffffffff", &req), ERR_UNKNOWN_OPERATION);
    assert_int_equal(decode("", &req), ERR_PROTOCOL);
    assert_int_equal(decode("02000000 02000000 6e", &req), ERR_PROTOCOL);
    /* An upload from a file in Apply; more extents than bytes. */
    assert_int_equal(
        decode("40000000 01000000 6e 00000000 00000000 00000000 01000000 04 01000000 78"
               "00000000 00000000 00",
               &req),
        ERR_PROTOCOL);
    /* A stream in Apply; none, and an upload beside it, in ApplyStream; one of 2^63 bytes. */
    assert_int_equal(decode("40000000 01000000 6e 00000000 00000000 00000000 01000000"
                            "05 01000000 78 0100000000000000 00",
                            &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("42000000 01000000 6e 00000000 00000000 00000000 00000000", &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("42000000 01000000 6e 00000000 00000000 00000000 02000000"
                            "03 01000000 79 05 01000000 78 0100000000000000 00",
                            &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("42000000 01000000 6e 00000000 00000000 00000000 01000000"
                            "05 01000000 78 0000000000000080 00",
                            &req),
                     ERR_PROTOCOL);
    assert_int_equal(
        decode("41000000 01000000 6e 00000000 00000000 00000000 01000000 04 01000000 78"
               "00000000 ffff0000 00",
               &req),
        ERR_PROTOCOL);
    /* Unknown flags; unknown kinds of assert and update. */
    assert_int_equal(decode("40000000 00000000 04000000 00000000 00000000 00000000", &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("18000000 00000000 00 01000000 05 00000000 00000000", &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("18000000 00000000 00 00000000 01000000 04 00000000 00", &req),
                     ERR_PROTOCOL);
    assert_int_equal(decode("19000000 00000000 ffffff00", &req), ERR_PROTOCOL);
    /* Statistics of old clients end after the bool. */
    assert_int_equal(decode("0f000000 01", &req), 0);
    assert_int_equal(req.statistics.forget_count, 0);
    proxy_request_release(&req);
    assert_int_equal(decode("01000000 00000000 01 00 ffffffff 00", &req), 0);
    assert_int_equal(req.range.max, PROXY_RANGE_MAX);
    proxy_request_release(&req);
}

static int decode_apply(uint32_t assert_count, uint32_t update_count, struct proxy_request *ret_req)
{
    struct proxy_assert *asserts = mem_array(assert_count + 1, sizeof(*asserts));
    struct proxy_update *updates = mem_array(update_count + 1, sizeof(*updates));
    struct proxy_request req = {.code = PROXY_APPLY,
                                .apply = {.asserts = asserts,
                                          .assert_count = assert_count,
                                          .updates = updates,
                                          .update_count = update_count}};
    struct gather g = {0};
    struct buf all = {0};
    struct err e;
    int rc;

    for (uint32_t i = 0; i < assert_count; i++) {
        asserts[i] = (struct proxy_assert){.kind = PROXY_ASSERT_ABSENT};
    }
    for (uint32_t i = 0; i < update_count; i++) {
        updates[i] = (struct proxy_update){.kind = PROXY_UPDATE_DELETE};
    }
    proxy_request_encode(&req, &g);
    gather_flatten(&g, &all);
    rc = proxy_request_decode(slice_rd(&all), ret_req, &e);
    buf_release(&all);
    gather_release(&g);
    free(asserts);
    free(updates);
    return rc;
}

/* Each takes far more memory than bytes of the frame, which is all that is counted. */
static void a_transaction_of_very_many_parts_is_refused_at_once(void **state)
{
    struct proxy_request req;

    (void)state;
    assert_int_equal(decode_apply(PROXY_APPLY_COUNT_MAX, PROXY_APPLY_COUNT_MAX, &req), 0);
    assert_int_equal(req.apply.assert_count, PROXY_APPLY_COUNT_MAX);
    assert_int_equal(req.apply.update_count, PROXY_APPLY_COUNT_MAX);
    proxy_request_release(&req);
    assert_int_equal(decode_apply(PROXY_APPLY_COUNT_MAX + 1, 0, &req), ERR_TOO_LARGE);
    assert_int_equal(decode_apply(1, PROXY_APPLY_COUNT_MAX + 1, &req), ERR_TOO_LARGE);
}

static void errors_have_their_bytes_and_meaning(void **state)
{
    static const struct {
        int32_t rc;
        int32_t foreign_rc;
        int code;
    } cases[] = {{PROXY_RC_UNKNOWN, 1, ERR_REMOTE},
                 {PROXY_RC_OBJECT_NOT_FOUND, 3, ERR_NOT_FOUND},
                 {PROXY_RC_NAMESPACE_EXISTS, 4, ERR_EXISTS},
                 {PROXY_RC_CHECKSUM_MISMATCH, 7, ERR_CHECKSUM},
                 {PROXY_RC_UNKNOWN_OPERATION, 13, ERR_UNKNOWN_OPERATION},
                 {PROXY_RC_NO_POLICY, 15, ERR_NO_POLICY},
                 {PROXY_RC_ASSERT_FAILED, 18, ERR_ASSERT_FAILED},
                 {PROXY_RC_IN_DOUBT, 1, ERR_IN_DOUBT},
                 {PROXY_RC_FULL, 15, ERR_FULL},
                 {PROXY_RC_BUSY, 1, ERR_BUSY},
                 {PROXY_RC_LOST, 1, ERR_LOST},
                 {PROXY_RC_TIMED_OUT, 1, -ETIMEDOUT}};
    struct buf b = {0};

    (void)state;
    proxy_error_put(&b, MANIFEST_V1, PROXY_RC_ASSERT_FAILED, slice_str("name"));
    bytes_expect(&b, "0c000000 12000000 04000000 6e616d65");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rd r;
        struct err e;
        int32_t rc;

        proxy_error_put(&b, MANIFEST_V3, cases[i].rc, slice_str("text"));
        r = rd_of(b.data + 4, b.len - 4);
        assert_int_equal(proxy_reply_head(&r, &rc), 0);
        assert_int_equal(rc, cases[i].rc);
        assert_int_equal(proxy_error_get(rc, r, &e), cases[i].code);
        assert_non_null(strstr(e.msg, "text"));
        b.len = 0;
        proxy_error_put(&b, MANIFEST_V2, cases[i].rc, slice_str("text"));
        r = rd_of(b.data + 4, b.len - 4);
        assert_int_equal(proxy_reply_head(&r, &rc), 0);
        assert_int_equal(rc, cases[i].foreign_rc);
        b.len = 0;
    }
    buf_release(&b);
}

static void a_session_gets_version_3_only_when_it_asks(void **state)
{
    (void)state;
    assert_int_equal(proxy_session_manifest_version(0), 1);
    assert_int_equal(proxy_session_manifest_version(1), 1);
    assert_int_equal(proxy_session_manifest_version(2), 2);
    assert_int_equal(proxy_session_manifest_version(3), 3);
    assert_int_equal(proxy_session_manifest_version(200), 3);
}

static void expect_reply(const struct proxy_reply *reply, const char *hex)
{
    struct gather g = {0};
    struct err e;

    assert_int_equal(proxy_reply_encode(reply, MANIFEST_V2, &g, &e), 0);
    bytes_expect_gather(&g, hex);
}

static void replies_have_their_bytes(void **state)
{
    struct proxy_namespace names[] = {{.name = slice_str("a")}, {.name = slice_str("b")}};
    struct slice parts[] = {slice_str("ab"), slice_str("c")};
    struct slice ip = slice_str("127.0.0.1");
    struct proxy_osd osd = {
        .osd_id = 3, .capabilities.mask = 1U << OSD_CAP_MULTI_GET2 | 1U << OSD_CAP_PARTIAL_GET};
    struct proxy_alba alba = {.alba_id = slice_str("me"), .osds = &osd, .osd_count = 1};
    struct proxy_reply reply = {.code = PROXY_LIST_NAMESPACES};

    (void)state;
    reply.namespaces.items = names;
    reply.namespaces.count = 2;
    reply.namespaces.more = true;
    expect_reply(&reply, "13000000 00000000 02000000 01000000 62 01000000 61 01");
    reply = (struct proxy_reply){.code = PROXY_READ_SLICES};
    reply.objects.parts = parts;
    reply.objects.part_count = 2;
    expect_reply(&reply, "0b000000 00000000 03000000 616263");
    reply = (struct proxy_reply){.code = PROXY_NAMESPACE_EXISTS, .yes = true};
    expect_reply(&reply, "05000000 00000000 01");
    reply = (struct proxy_reply){.code = PROXY_DELETE_NAMESPACE};
    expect_reply(&reply, "04000000 00000000");
    reply = (struct proxy_reply){.code = PROXY_STREAM_PART, .wants_part = true};
    reply.want.offset = 0x100000002;
    reply.want.bytes_max = 4096;
    expect_reply(&reply, "11000000 00000000 01 0200000001000000 00100000");
    reply = (struct proxy_reply){.code = PROXY_APPLY_STREAM};
    expect_reply(&reply, "09000000 00000000 02 00000000");
    osd.info = (struct osd_info){.kind = OSD_KIND_ASD,
                                 .hosts = &ip,
                                 .host_count = 1,
                                 .port = 8000,
                                 .long_id = slice_str("asd"),
                                 .node_id = slice_str("nd"),
                                 .total_bytes = 2,
                                 .used_bytes = 1};
    reply = (struct proxy_reply){.code = PROXY_OSD_INFO2};
    reply.albas.items = &alba;
    reply.albas.count = 1;
    expect_reply(&reply, "7a000000 00000000 01000000 02000000 6d65 01000000 03000000"
                         "58000000 03 53000000"
                         "01 01000000 09000000 3132372e302e302e31 401f0000 00 00 03000000 617364"
                         "02000000 6e64 00 00000000 0200000000000000 0100000000000000"
                         "00000000 00000000 00000000 00000000 0000000000000000 00"
                         "02000000 0102 0101");
}

static void a_manifest_too_large_leaves_no_half_reply(void **state)
{
    struct manifest m = {.scheme = {.k = 1, .codec = 1, .cipher = 1}};
    struct proxy_object_info info = {.manifest = &m};
    struct proxy_reply reply = {.code = PROXY_APPLY_SEQUENCE};
    struct gather g = {0};
    struct err e;

    (void)state;
    reply.objects.items = &info;
    reply.objects.count = 1;
    buf_put_u8(&g.own, 1);
    assert_int_equal(proxy_reply_encode(&reply, MANIFEST_V2, &g, &e), -EINVAL); /* no object id */
    assert_int_equal(gather_bytes(&g), 1);
    gather_release(&g);
}

static void a_newer_manifest_is_reported_by_name(void **state)
{
    struct proxy_reply reply;
    struct buf b = {0};
    struct err e;

    (void)state;
    bytes_put(&b, "01000000 00000000 00000000 09 04000000 00000000 00000000");
    assert_int_equal(proxy_reply_decode(slice_rd(&b), PROXY_APPLY_SEQUENCE, &reply, &e),
                     ERR_VERSION);
    assert_non_null(strstr(e.msg, "version 9"));
    buf_release(&b);
}

static void older_osd_infos_are_read(void **state)
{
    static const char tail[] = "02000000 6e64 01 00000000 0200000000000000 0100000000000000"
                               "00000000 00000000 00000000 00000000";
    struct buf b = {0};
    struct osd_info info;
    struct rd r;

    (void)state;
    bytes_put(&b, "48000000 01 01 01000000 01000000 68 401f0000 03000000 617364");
    bytes_put(&b, tail);
    put_u32le(b.data, (uint32_t)b.len - 4);
    r = slice_rd(&b);
    osd_info_get(&r, &info);
    assert_false(r.bad);
    assert_true(info.port == 8000 && !info.use_tls && info.decommissioned);
    assert_true(slice_eq(info.long_id, slice_str("asd")));
    osd_info_release(&info);
    b.len = 0;
    bytes_put(&b, "00000000 02 00000000 01 01000000 01000000 68 401f0000 01 03000000 617364");
    bytes_put(&b, tail);
    put_u32le(b.data, (uint32_t)b.len - 4);
    put_u32le(b.data + 5, (uint32_t)b.len - 9);
    r = slice_rd(&b);
    osd_info_get(&r, &info);
    assert_false(r.bad);
    assert_true(info.use_tls && !info.use_rdma && !info.has_claimed_since);
    osd_info_release(&info);
    b.data[4] = 4;
    r = slice_rd(&b);
    osd_info_get(&r, &info);
    assert_true(r.bad);
    osd_info_release(&info);
    buf_release(&b);
}

static void unknown_capabilities_are_skipped_where_their_length_is_told(void **state)
{
    struct osd_capabilities caps;
    struct buf b = {0};
    struct rd r;

    (void)state;
    bytes_put(&b, "04000000 02 03000000 09ffff 01 02 01 03 00000000"
                  "02 12000000 04 00000000 00000000 03000000 746370 0000");
    r = slice_rd(&b);
    caps = osd_capabilities_get(&r);
    assert_false(r.bad);
    assert_int_equal(caps.mask, 1U << 2 | 1U << 3 | 1U << 4);
    b.len = 0;
    bytes_put(&b, "01000000 01 09");
    r = slice_rd(&b);
    osd_capabilities_get(&r);
    assert_true(r.bad);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_preamble_is_checked_as_it_arrives),
        cmocka_unit_test(requests_have_their_bytes),
        cmocka_unit_test(transactions_have_their_bytes),
        cmocka_unit_test(an_upload_from_a_file_is_encoded_by_its_bytes),
        cmocka_unit_test(a_stream_is_encoded_by_its_bytes),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(a_transaction_of_very_many_parts_is_refused_at_once),
        cmocka_unit_test(errors_have_their_bytes_and_meaning),
        cmocka_unit_test(a_session_gets_version_3_only_when_it_asks),
        cmocka_unit_test(replies_have_their_bytes),
        cmocka_unit_test(a_manifest_too_large_leaves_no_half_reply),
        cmocka_unit_test(a_newer_manifest_is_reported_by_name),
        cmocka_unit_test(older_osd_infos_are_read),
        cmocka_unit_test(unknown_capabilities_are_skipped_where_their_length_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
