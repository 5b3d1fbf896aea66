#include "volumedriver/nbd_handshake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

/* The state machine alone: bytes in, bytes out. */
struct fixture {
    struct nbd_exports exports;
    struct nbd_export disk, readonly;
    struct nbd_host host;
    struct nbd_handshake hs;
    struct buf in;
    struct rd out; /* over a copy of everything that was answered */
    struct buf answers;
};

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    struct fixture *f = container_of(exports, struct fixture, exports);

    each(ctx, f->disk.name, f->disk.description);
    each(ctx, f->readonly.name, NULL);
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct fixture *f = container_of(exports, struct fixture, exports);

    if (strcmp(name, "disk") == 0) {
        return &f->disk;
    }
    return strcmp(name, "ro") == 0 ? &f->readonly : NULL;
}

static struct nbd_host host_at(const char *ip)
{
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_tcp(&addr, ip, 1234, &e), 0);
    return nbd_host_of(&addr);
}

static int setup(void **state)
{
    static const struct nbd_exports_ops ops = {.list = list_exports, .find = find_export};
    struct fixture *f = calloc(1, sizeof(*f));

    CHECK(f != NULL);
    f->exports.ops = &ops;
    f->disk = (struct nbd_export){
        .name = "disk", .description = "text", .size_bytes = UINT64_C(0x1122334455660000)};
    f->readonly = (struct nbd_export){.name = "ro", .size_bytes = 4096, .read_only = true};
    f->host = host_at("10.0.0.1");
    nbd_handshake_init(&f->hs, &f->exports, &f->host);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    nbd_handshake_release(&f->hs);
    buf_release(&f->in);
    buf_release(&f->answers);
    free(f);
    return 0;
}

static void put_flags(struct fixture *f, uint32_t flags)
{
    buf_put_u32be(&f->in, flags);
}

static void put_option(struct fixture *f, uint32_t option, const void *data, size_t bytes)
{
    buf_put_u64be(&f->in, NBD_OPTS_MAGIC);
    buf_put_u32be(&f->in, option);
    buf_put_u32be(&f->in, (uint32_t)bytes);
    buf_put(&f->in, data, bytes);
}

/* Offer what was put, at most `step` bytes more each time. */
static void play(struct fixture *f, size_t step)
{
    size_t taken = 0, offered = 0;

    for (;;) {
        buf_put(&f->answers, f->hs.out.data, f->hs.out.len);
        f->hs.out.len = 0;
        if (f->hs.state == NBD_HANDSHAKE_DONE || f->hs.state == NBD_HANDSHAKE_CLOSE) {
            break;
        }
        if (offered > taken) {
            size_t n = nbd_handshake_take(&f->hs, f->in.data + taken, offered - taken);

            if (n != 0) {
                taken += n;
                continue;
            }
        }
        if (offered == f->in.len) {
            break;
        }
        offered = f->in.len - offered < step ? f->in.len : offered + step;
    }
    f->in.len -= taken;
    memmove(f->in.data, f->in.data + taken, f->in.len);
    f->out = rd_of(f->answers.data, f->answers.len);
}

static void expect_greeting(struct fixture *f)
{
    assert_memory_equal(rd_bytes(&f->out, 18), "NBDMAGICIHAVEOPT\0\3", 18);
}

static struct slice expect_reply(struct fixture *f, uint32_t option, uint32_t type)
{
    uint32_t bytes;

    assert_true(rd_u64be(&f->out) == NBD_OPT_REPLY_MAGIC);
    assert_int_equal(rd_u32be(&f->out), option);
    assert_int_equal(rd_u32be(&f->out), type);
    bytes = rd_u32be(&f->out);
    assert_false(f->out.bad);
    return slice_of(rd_bytes(&f->out, bytes), bytes);
}

static void expect_nothing_more(struct fixture *f)
{
    assert_false(f->out.bad);
    assert_int_equal(rd_left(&f->out), 0);
}

/* As most tests begin: flags of a modern client, then options; the greeting is taken off. */
static void play_modern(struct fixture *f)
{
    play(f, 1 << 20);
    expect_greeting(f);
}

static void unknown_client_flags_end_the_connection(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 4);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
    assert_int_equal(f->hs.err.code, ERR_PROTOCOL);
}

static void export_name_sends_size_flags_and_zeroes(void **state)
{
    struct fixture *f = *state;
    static const uint8_t zeroes[124];

    put_flags(f, 0); /* a client of 2005 */
    put_option(f, NBD_OPT_EXPORT_NAME, "disk", 4);
    buf_put(&f->in, "later", 5);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
    assert_true(rd_u64be(&f->out) == UINT64_C(0x1122334455660000));
    assert_memory_equal(rd_bytes(&f->out, 2), "\x09\x6d", 2); /* no DF: not structured */
    assert_memory_equal(rd_bytes(&f->out, 124), zeroes, 124);
    expect_nothing_more(f);
    assert_int_equal(f->in.len, 5); /* what belongs to the transmission was left */
    assert_int_equal(f->disk.attached, 1);
}

static void export_name_without_zeroes_sends_ten_bytes(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_EXPORT_NAME, "ro", 2);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
    assert_int_equal(rd_left(&f->out), 10);
    assert_true(rd_u64be(&f->out) == 4096);
    assert_memory_equal(rd_bytes(&f->out, 2), "\x01\x0f", 2); /* read only */
}

static void an_unknown_export_name_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_EXPORT_NAME, "nope", 4);
    play_modern(f);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
    assert_int_equal(f->hs.err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(f->hs.err.msg, "nope"));
}

static void only_export_name_works_without_fixed_newstyle(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 0);
    put_option(f, NBD_OPT_LIST, NULL, 0);
    play_modern(f);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
}

static void go_sends_what_was_asked_and_enters_transmission(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\3\0\1\0\2\0\3", 16);
    play_modern(f);
    expect_reply(f, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK);
    assert_true(slice_eq(expect_reply(f, NBD_OPT_GO, NBD_REP_INFO),
                         slice_of("\0\0\x11\x22\x33\x44\x55\x66\0\0\x09\xed", 12)));
    assert_true(slice_eq(expect_reply(f, NBD_OPT_GO, NBD_REP_INFO), slice_of("\0\1disk", 6)));
    assert_true(slice_eq(expect_reply(f, NBD_OPT_GO, NBD_REP_INFO), slice_of("\0\2text", 6)));
    assert_true(slice_eq(expect_reply(f, NBD_OPT_GO, NBD_REP_INFO),
                         slice_of("\0\3\0\0\2\0\0\0\x10\0\2\0\0\0", 14)));
    expect_reply(f, NBD_OPT_GO, NBD_REP_ACK);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
    assert_ptr_equal(f->hs.export, &f->disk);
    assert_true(f->hs.structured);
    assert_false(f->hs.allocation);
    assert_int_equal(f->disk.attached, 1);
}

static void info_looks_without_taking_the_export(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_INFO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    expect_reply(f, NBD_OPT_INFO, NBD_REP_INFO);
    expect_reply(f, NBD_OPT_INFO, NBD_REP_ACK);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_OPTIONS);
    assert_int_equal(f->disk.attached, 0);
}

static void go_to_an_unknown_export_lets_the_client_go_on(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_GO, "\0\0\0\5disk@\0\0", 11); /* snapshots come later */
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0", 9);     /* half a count */
    put_option(f, NBD_OPT_GO, "\0\0\0\2ro\0\0", 8);
    play_modern(f);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ERR_INVALID);
    expect_reply(f, NBD_OPT_GO, NBD_REP_INFO);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ACK);
    assert_ptr_equal(f->hs.export, &f->readonly);
}

static void list_names_every_export(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_LIST, NULL, 0);
    put_option(f, NBD_OPT_LIST, "x", 1);
    play_modern(f);
    assert_true(
        slice_eq(expect_reply(f, NBD_OPT_LIST, NBD_REP_SERVER), slice_of("\0\0\0\4disktext", 12)));
    assert_true(slice_eq(expect_reply(f, NBD_OPT_LIST, NBD_REP_SERVER), slice_of("\0\0\0\2ro", 6)));
    expect_reply(f, NBD_OPT_LIST, NBD_REP_ACK);
    expect_reply(f, NBD_OPT_LIST, NBD_REP_ERR_INVALID);
    expect_nothing_more(f);
}

static void abort_is_acknowledged_then_closed(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_ABORT, "bye", 3);
    play_modern(f);
    expect_reply(f, NBD_OPT_ABORT, NBD_REP_ACK);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
    assert_int_equal(f->hs.err.code, 0);
}

static void options_we_do_not_offer_are_refused_by_kind(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_STARTTLS, NULL, 0);
    put_option(f, NBD_OPT_STARTTLS, "x", 1);
    put_option(f, 4, NULL, 0);  /* PEEK_EXPORT, withdrawn */
    put_option(f, 11, NULL, 0); /* EXTENDED_HEADERS */
    put_option(f, 0xffffffff, "data", 4);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, "x", 1);
    play_modern(f);
    expect_reply(f, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY);
    expect_reply(f, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID);
    expect_reply(f, 4, NBD_REP_ERR_UNSUP);
    expect_reply(f, 11, NBD_REP_ERR_UNSUP);
    expect_reply(f, 0xffffffff, NBD_REP_ERR_UNSUP);
    expect_reply(f, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID);
    expect_nothing_more(f);
    assert_false(f->hs.structured);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_OPTIONS);
}

#define ALLOCATION                                                                                 \
    "\0\0\0\1\0\0\0\x0f"                                                                           \
    "base:allocation"

static void contexts_need_structured_replies(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk" ALLOCATION, 31);
    put_option(f, NBD_OPT_LIST_META_CONTEXT, "\0\0\0\4disk\0\0\0\0", 12);
    play_modern(f);
    expect_reply(f, NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_INVALID);
    expect_reply(f, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_INVALID);
}

static void allocation_can_be_listed_and_selected(void **state)
{
    struct fixture *f = *state;
    struct slice context;

    put_flags(f, 3);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    put_option(f, NBD_OPT_LIST_META_CONTEXT, "\0\0\0\4disk\0\0\0\0", 12);
    put_option(f, NBD_OPT_LIST_META_CONTEXT, "\0\0\0\4nope\0\0\0\0", 12);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk" ALLOCATION, 31);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    expect_reply(f, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK);
    context = expect_reply(f, NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT);
    assert_true(slice_eq(context, slice_of("\0\0\0\0base:allocation", 19)));
    expect_reply(f, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ACK);
    expect_reply(f, NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_UNKNOWN);
    context = expect_reply(f, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT);
    assert_true(slice_eq(context, slice_of("\0\0\0\1base:allocation", 19)));
    expect_reply(f, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK);
    assert_true(f->hs.allocation);
}

static void a_context_of_another_export_does_not_hold(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\2ro" ALLOCATION, 29);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
    assert_false(f->hs.allocation);
}

static void a_failed_set_clears_what_was_selected(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk" ALLOCATION, 31);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4dis", 7);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
    assert_false(f->hs.allocation);
}

static void an_option_that_is_too_long_is_skipped(void **state)
{
    struct fixture *f = *state;
    static const char data[NBD_OPTION_BYTES_MAX + 1];

    put_flags(f, 3);
    put_option(f, NBD_OPT_GO, data, sizeof(data));
    put_option(f, NBD_OPT_LIST, NULL, 0);
    play(f, 1000);
    expect_greeting(f);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ERR_TOO_BIG);
    expect_reply(f, NBD_OPT_LIST, NBD_REP_SERVER);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_OPTIONS);
}

static void an_export_name_that_is_too_long_ends_the_connection(void **state)
{
    struct fixture *f = *state;
    static const char data[NBD_OPTION_BYTES_MAX + 1];

    put_flags(f, 3);
    put_option(f, NBD_OPT_EXPORT_NAME, data, sizeof(data));
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
    assert_int_equal(f->hs.err.code, ERR_TOO_LARGE);
}

static void a_wrong_magic_ends_the_connection(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    buf_put(&f->in, "IHAVEOPS\0\0\0\3\0\0\0\0", 16);
    play_modern(f);
    expect_nothing_more(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_CLOSE);
    assert_int_equal(f->hs.err.code, ERR_PROTOCOL);
}

static void put_long_talk(struct fixture *f)
{
    put_flags(f, 3);
    put_option(f, NBD_OPT_LIST, NULL, 0);
    put_option(f, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    put_option(f, NBD_OPT_INFO, "\0\0\0\4disk\0\1\0\3", 12);
    put_option(f, NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk" ALLOCATION, 31);
    put_option(f, 77, "what", 4);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\3\0\1\0\2\0\3", 16);
}

static void answers_do_not_depend_on_how_bytes_arrive(void **state)
{
    struct fixture *f = *state;
    struct buf whole = {0};
    size_t talk_bytes;

    put_long_talk(f);
    talk_bytes = f->in.len;
    play(f, 1 << 20);
    buf_put(&whole, f->answers.data, f->answers.len);
    for (size_t step = 1; step < talk_bytes; step++) {
        nbd_handshake_release(&f->hs);
        nbd_handshake_init(&f->hs, &f->exports, &f->host);
        f->answers.len = 0;
        put_long_talk(f);
        play(f, step);
        assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
        assert_true(slice_eq(slice_buf(&whole), slice_buf(&f->answers)));
    }
    buf_release(&whole);
}

static void a_second_host_is_refused_while_the_first_is_there(void **state)
{
    struct fixture *f = *state;
    struct nbd_host first = host_at("10.0.0.2");
    struct slice message;
    struct err e;

    assert_int_equal(nbd_export_attach(&f->disk, &first, &e), 0);
    put_flags(f, 3);
    put_option(f, NBD_OPT_INFO, "\0\0\0\4disk\0\0", 10);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    put_option(f, NBD_OPT_GO, "\0\0\0\2ro\0\0", 8); /* read only: anybody */
    play_modern(f);
    expect_reply(f, NBD_OPT_INFO, NBD_REP_ERR_POLICY);
    message = expect_reply(f, NBD_OPT_GO, NBD_REP_ERR_POLICY);
    assert_non_null(memmem(message.data, message.len, "10.0.0.2", 8));
    expect_reply(f, NBD_OPT_GO, NBD_REP_INFO);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ACK);
    assert_int_equal(f->hs.refused_host, 2);
    nbd_export_detach(&f->disk);
}

static void the_place_is_free_again_when_the_first_host_has_gone(void **state)
{
    struct fixture *f = *state;
    struct nbd_host first = host_at("10.0.0.2");
    struct err e;

    assert_int_equal(nbd_export_attach(&f->disk, &first, &e), 0);
    nbd_export_detach(&f->disk);
    put_flags(f, 3);
    put_option(f, NBD_OPT_EXPORT_NAME, "disk", 4);
    play_modern(f);
    assert_int_equal(f->hs.state, NBD_HANDSHAKE_DONE);
}

static void one_host_may_have_many_connections(void **state)
{
    struct fixture *f = *state;
    struct nbd_host local = host_at("127.0.0.1"), local_v6 = host_at("::1"), unix_host;
    struct nbd_host remote = host_at("10.9.8.7"), mapped = host_at("::ffff:10.9.8.7");
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_parse(&addr, "unix:///run/nbd.sock", &e), 0);
    unix_host = nbd_host_of(&addr);
    assert_int_equal(nbd_export_attach(&f->disk, &local, &e), 0);
    assert_int_equal(nbd_export_attach(&f->disk, &unix_host, &e), 0);
    assert_int_equal(nbd_export_attach(&f->disk, &local_v6, &e), 0);
    assert_int_equal(nbd_export_attach(&f->disk, &remote, &e), -EBUSY);
    for (int i = 0; i < 3; i++) {
        nbd_export_detach(&f->disk);
    }
    assert_int_equal(nbd_export_attach(&f->disk, &remote, &e), 0);
    assert_int_equal(nbd_export_attach(&f->disk, &mapped, &e), 0);
    assert_int_equal(nbd_export_attach(&f->disk, &local, &e), -EBUSY);
    f->disk.shared = true;
    assert_int_equal(nbd_export_attach(&f->disk, &local, &e), 0);
}

static void a_dropped_export_is_refused_as_shutting_down(void **state)
{
    struct fixture *f = *state;

    f->disk.dropped = true;
    put_flags(f, 3);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    expect_reply(f, NBD_OPT_GO, NBD_REP_ERR_SHUTDOWN);
}

static void a_handshake_that_is_given_up_gives_the_place_back(void **state)
{
    struct fixture *f = *state;

    put_flags(f, 3);
    put_option(f, NBD_OPT_GO, "\0\0\0\4disk\0\0", 10);
    play_modern(f);
    assert_int_equal(f->disk.attached, 1);
    nbd_handshake_release(&f->hs);
    assert_int_equal(f->disk.attached, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_client_flags_end_the_connection),
        TEST(export_name_sends_size_flags_and_zeroes),
        TEST(export_name_without_zeroes_sends_ten_bytes),
        TEST(an_unknown_export_name_ends_the_connection),
        TEST(only_export_name_works_without_fixed_newstyle),
        TEST(go_sends_what_was_asked_and_enters_transmission),
        TEST(info_looks_without_taking_the_export),
        TEST(go_to_an_unknown_export_lets_the_client_go_on),
        TEST(list_names_every_export),
        TEST(abort_is_acknowledged_then_closed),
        TEST(options_we_do_not_offer_are_refused_by_kind),
        TEST(contexts_need_structured_replies),
        TEST(allocation_can_be_listed_and_selected),
        TEST(a_context_of_another_export_does_not_hold),
        TEST(a_failed_set_clears_what_was_selected),
        TEST(an_option_that_is_too_long_is_skipped),
        TEST(an_export_name_that_is_too_long_ends_the_connection),
        TEST(a_wrong_magic_ends_the_connection),
        TEST(answers_do_not_depend_on_how_bytes_arrive),
        TEST(a_second_host_is_refused_while_the_first_is_there),
        TEST(the_place_is_free_again_when_the_first_host_has_gone),
        TEST(one_host_may_have_many_connections),
        TEST(a_dropped_export_is_refused_as_shutting_down),
        TEST(a_handshake_that_is_given_up_gives_the_place_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
