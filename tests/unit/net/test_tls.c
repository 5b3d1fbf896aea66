/* Contexts made of good and bad files, and two sessions that talk through memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>
#include <uv.h>

#include "net/tls.h"
#include "unit/net/certs_fixture.h"
#include "unit/net/tls_raw.h"

enum { BIG = 3 * NET_TLS_RECORD_BYTES };

/* What one side has sent and the other has not been given. */
struct pipe {
    uint8_t *data; /* room for PIPE_BYTES */
    size_t from, to;
};
enum { PIPE_BYTES = 4 << 20 };

struct fixture {
    struct certs certs;
    struct net_tls *server_tls, *client_tls;
    struct net_tls_session *server, *client;
    struct pipe up, down; /* to the server, to the client */
    uint8_t *text, *got;
};

static struct net_tls *make(enum net_tls_role role, struct net_tls_files files)
{
    struct net_tls *tls = NULL;
    struct err e = {0};

    if (net_tls_new(role, &files, &tls, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    return tls;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    certs_make(&f->certs);
    f->server_tls = make(NET_TLS_SERVER, certs_files(&f->certs, PAIR_SERVER));
    f->client_tls = make(NET_TLS_CLIENT, certs_files(&f->certs, PAIR_CLIENT));
    f->up.data = mem_alloc(PIPE_BYTES);
    f->down.data = mem_alloc(PIPE_BYTES);
    f->text = mem_alloc(BIG);
    f->got = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        f->text[i] = (uint8_t)(i * 7 + i / 251);
    }
    *state = f;
    return 0;
}

static void forget_sessions(struct fixture *f)
{
    net_tls_session_free(f->server);
    net_tls_session_free(f->client);
    f->server = NULL;
    f->client = NULL;
    f->up.from = f->up.to = f->down.from = f->down.to = 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    forget_sessions(f);
    net_tls_free(f->server_tls);
    net_tls_free(f->client_tls);
    certs_remove(&f->certs);
    free(f->up.data);
    free(f->down.data);
    free(f->text);
    free(f->got);
    free(f);
    return 0;
}

static void meet(struct fixture *f, const char *peer)
{
    forget_sessions(f);
    f->server = net_tls_session_new(f->server_tls, NULL);
    f->client = net_tls_session_new(f->client_tls, peer);
}

static void take_out(struct net_tls_session *session, struct pipe *pipe)
{
    size_t bytes;
    const uint8_t *data = net_tls_out(session, &bytes);

    if (bytes != 0) {
        assert_true(pipe->to + bytes <= PIPE_BYTES);
        memcpy(pipe->data + pipe->to, data, bytes);
        pipe->to += bytes;
        net_tls_sent(session, bytes);
    }
}

/* At most `step` bytes of what waits. Returns whether there were any. */
static bool give(struct pipe *pipe, struct net_tls_session *session, size_t step)
{
    size_t bytes = pipe->to - pipe->from < step ? pipe->to - pipe->from : step;

    if (bytes != 0) {
        net_tls_give(session, pipe->data + pipe->from, bytes);
        pipe->from += bytes;
    }
    return bytes != 0;
}

/* Both shake hands, given `step` bytes at a time. Returns the first failure, or 0. */
static int shake(struct fixture *f, size_t step)
{
    int client = net_tls_handshake(f->client);
    int server = 0;

    take_out(f->client, &f->up);
    while (client == 0 || server == 0) {
        bool moved = false;

        if (server == 0 && give(&f->up, f->server, step)) {
            server = net_tls_handshake(f->server);
            take_out(f->server, &f->down);
            moved = true;
        }
        if (client == 0 && give(&f->down, f->client, step)) {
            client = net_tls_handshake(f->client);
            take_out(f->client, &f->up);
            moved = true;
        }
        if (server < 0 || client < 0) {
            return server < 0 ? server : client;
        }
        assert_true(moved);
    }
    return 0;
}

static void say(struct net_tls_session *from, struct pipe *pipe, const uint8_t *data, size_t bytes)
{
    while (bytes != 0) {
        ssize_t n = net_tls_write(from, data, bytes);

        assert_true(n >= 0);
        take_out(from, pipe);
        data += n;
        bytes -= (size_t)n;
    }
}

/* Returns how many bytes were heard, or the failure. */
static ssize_t hear(struct fixture *f, struct net_tls_session *to, struct pipe *pipe, size_t step)
{
    size_t have = 0;

    while (give(pipe, to, step)) {
        ssize_t n;

        while ((n = net_tls_read(to, f->got + have, BIG - have)) > 0) {
            have += (size_t)n;
        }
        if (n < 0) {
            return n;
        }
    }
    return (ssize_t)have;
}

static const char *why(const struct net_tls_session *session)
{
    return net_tls_session_err(session)->msg;
}

/* ---- contexts ---- */

static void refuse(enum net_tls_role role, struct net_tls_files files, const char *part)
{
    struct net_tls *tls = NULL;
    struct err e = {0};

    assert_true(net_tls_new(role, &files, &tls, &e) < 0);
    assert_null(tls);
    if (strstr(e.msg, part) == NULL) {
        fail_msg("'%s' is not in '%s'", part, e.msg);
    }
}

static void a_context_that_cannot_be_made_names_the_file_and_why(void **state)
{
    struct fixture *f = *state;
    struct net_tls_files files = certs_files(&f->certs, PAIR_SERVER);
    char *missing = tempdir_path(f->certs.dir, "missing.pem");
    char *empty = tempdir_path(f->certs.dir, "empty.pem");

    fclose(fopen(empty, "w"));
    files.cert = missing;
    refuse(NET_TLS_SERVER, files, "missing.pem: No such file or directory");
    files.cert = empty;
    refuse(NET_TLS_SERVER, files, "certificate ");
    refuse(NET_TLS_SERVER, files, "empty.pem: no start line");
    files.cert = f->certs.cert[PAIR_SERVER];
    files.key = f->certs.key[PAIR_CLIENT];
    refuse(NET_TLS_SERVER, files, "client.key: key values mismatch");
    files.key = f->certs.cert[PAIR_SERVER];
    refuse(NET_TLS_SERVER, files, "server.pem: ");
    files = certs_files(&f->certs, PAIR_SERVER);
    files.ca_cert = missing;
    refuse(NET_TLS_SERVER, files, "CA certificate ");
    refuse(NET_TLS_SERVER, files, "missing.pem: No such file or directory");
    free(missing);
    free(empty);
}

static void a_context_wants_all_that_it_needs(void **state)
{
    struct fixture *f = *state;
    struct net_tls_files files = certs_files(&f->certs, PAIR_SERVER);

    refuse(NET_TLS_SERVER, (struct net_tls_files){.ca_cert = files.ca_cert}, "a certificate");
    refuse(NET_TLS_CLIENT, (struct net_tls_files){.cert = files.cert, .key = files.key}, "ca_cert");
    refuse(NET_TLS_CLIENT, (struct net_tls_files){.ca_cert = files.ca_cert, .cert = files.cert},
           "and its key");
}

static void a_reload_counts_for_new_sessions_and_a_failed_one_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct net_tls_files files = certs_files(&f->certs, PAIR_ELSEWHERE);
    struct net_tls_files bad = certs_files(&f->certs, PAIR_SERVER);
    struct err e;

    meet(f, "127.0.0.1");
    assert_int_equal(net_tls_reload(f->server_tls, &files, &e), 0);
    assert_int_equal(shake(f, SIZE_MAX), 0); /* begun before */
    meet(f, "127.0.0.1");
    assert_int_equal(shake(f, SIZE_MAX), ERR_TLS);
    bad.key = f->certs.key[PAIR_CLIENT];
    assert_int_equal(net_tls_reload(f->server_tls, &bad, &e), ERR_TLS);
    meet(f, "store-2");
    assert_int_equal(shake(f, SIZE_MAX), 0);
    assert_int_equal(net_tls_reload(f->server_tls, NULL, &e), 0); /* the same files */
    meet(f, "192.0.2.1");
    assert_int_equal(shake(f, SIZE_MAX), 0);
}

/* ---- sessions ---- */

static void plaintext_comes_out_as_it_went_in_however_it_is_cut(void **state)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 100, 1000, 16405, 16406, 16407, SIZE_MAX};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        meet(f, "127.0.0.1");
        assert_int_equal(shake(f, steps[i]), 0);
        say(f->client, &f->up, f->text, BIG);
        assert_int_equal(hear(f, f->server, &f->up, steps[i]), BIG);
        assert_memory_equal(f->got, f->text, BIG);
        say(f->server, &f->down, f->text, 1);
        assert_int_equal(hear(f, f->client, &f->down, steps[i]), 1);
    }
}

/* Every place where the stream of a whole conversation may be cut in two. */
static void every_split_of_a_conversation_is_fine(void **state)
{
    struct fixture *f = *state;
    size_t bytes = 2;

    for (size_t at = 1; at < bytes; at++) {
        meet(f, "127.0.0.1");
        assert_int_equal(net_tls_handshake(f->client), 0);
        take_out(f->client, &f->up);
        assert_int_equal(shake(f, at), 0);
        say(f->client, &f->up, f->text, 300);
        bytes = f->up.to > f->down.to ? f->up.to : f->down.to;
        assert_int_equal(hear(f, f->server, &f->up, at), 300);
        assert_memory_equal(f->got, f->text, 300);
    }
    assert_true(bytes > 500);
}

static void a_session_ends_as_it_should_or_not_at_all(void **state)
{
    struct fixture *f = *state;

    meet(f, "::1");
    assert_int_equal(shake(f, SIZE_MAX), 0);
    say(f->client, &f->up, f->text, 10);
    net_tls_end(f->client);
    take_out(f->client, &f->up);
    assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), UV_EOF);
    assert_memory_equal(f->got, f->text, 10);
    say(f->server, &f->down, f->text, 10); /* the other half is still open */
    assert_int_equal(hear(f, f->client, &f->down, SIZE_MAX), 10);
}

/* A record of 100 bytes and its neighbours: 22 bytes more on the wire. */
static void a_changed_byte_of_any_record_is_noticed(void **state)
{
    struct fixture *f = *state;

    for (size_t at = 0; at < 122; at++) {
        meet(f, "127.0.0.1");
        assert_int_equal(shake(f, SIZE_MAX), 0);
        assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 0);
        say(f->client, &f->up, f->text, 100);
        assert_int_equal(f->up.to - f->up.from, 122);
        say(f->client, &f->up, f->text, 100); /* else a longer length would be waited for */
        f->up.data[f->up.from + at] ^= 0x10;
        say(f->client, &f->up, f->text, BIG);
        assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), ERR_TLS);
        assert_int_equal(net_tls_read(f->server, f->got, 1), ERR_TLS); /* and stays so */
    }
}

static void a_record_that_is_left_out_or_comes_twice_is_noticed(void **state)
{
    struct fixture *f = *state;

    for (int twice = 0; twice < 2; twice++) {
        meet(f, "127.0.0.1");
        assert_int_equal(shake(f, SIZE_MAX), 0);
        assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 0);
        say(f->client, &f->up, f->text, 100);
        if (twice) {
            assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 100);
            f->up.from -= 122;
        } else {
            f->up.from += 122;
            say(f->client, &f->up, f->text, 100);
        }
        assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), ERR_TLS);
    }
}

static void what_is_to_be_sent_is_bounded(void **state)
{
    struct fixture *f = *state;
    size_t records = 0;
    size_t bytes;

    meet(f, "127.0.0.1");
    assert_int_equal(shake(f, SIZE_MAX), 0);
    while (net_tls_write(f->client, f->text, BIG) == NET_TLS_RECORD_BYTES) {
        records++;
    }
    assert_int_equal(records, 4);
    assert_non_null(net_tls_out(f->client, &bytes));
    assert_true(bytes <= NET_TLS_OUT_BYTES);
    take_out(f->client, &f->up);
    assert_int_equal(net_tls_write(f->client, f->text, BIG), NET_TLS_RECORD_BYTES);
}

/* A record of 100 bytes is 122 on the wire, a KeyUpdate 27. */
static void the_key_is_changed_before_it_has_sealed_too_many_records(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->client_tls->records_per_key, NET_TLS_RECORDS_PER_KEY);
    f->client_tls->records_per_key = 10;
    meet(f, "127.0.0.1");
    assert_int_equal(shake(f, SIZE_MAX), 0);
    assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 0);
    for (unsigned records = 1; records <= 35; records++) {
        say(f->client, &f->up, f->text, 100);
        assert_int_equal(f->up.to - f->up.from, records % 10 == 1 && records > 1 ? 122 + 27 : 122);
        assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 100);
        assert_memory_equal(f->got, f->text, 100);
        say(f->server, &f->down, f->text, 100);
        assert_int_equal(hear(f, f->client, &f->down, SIZE_MAX), 100);
    }
}

/* ---- who is refused ---- */

static void change(struct net_tls *tls, struct net_tls_files files)
{
    struct err e;

    assert_int_equal(net_tls_reload(tls, &files, &e), 0);
}

/* The client takes the server's certificate before the server has looked at the client's: it hears
 * of a refusal when it reads. */
static void expect_server_refuses(struct fixture *f, const char *server, const char *client)
{
    meet(f, "127.0.0.1");
    assert_int_equal(shake(f, SIZE_MAX), ERR_TLS);
    assert_string_equal(why(f->server), server);
    if (net_tls_handshake(f->client) == 0) {
        fail();
    }
    assert_int_equal(hear(f, f->client, &f->down, SIZE_MAX), ERR_TLS);
    assert_string_equal(why(f->client), client);
}

static void the_server_refuses_clients_that_its_ca_does_not_vouch_for(void **state)
{
    struct fixture *f = *state;
    struct net_tls_files none = {.ca_cert = f->certs.ca};

    change(f->client_tls, none);
    expect_server_refuses(f, "TLS: the peer has no certificate",
                          "TLS: the peer refuses: certificate required");
    change(f->client_tls, certs_files(&f->certs, PAIR_EXPIRED));
    expect_server_refuses(f, "TLS: the peer's certificate: certificate has expired",
                          "TLS: the peer refuses: certificate expired");
    change(f->client_tls, certs_files(&f->certs, PAIR_STRANGER));
    expect_server_refuses(f, "TLS: the peer's certificate: unable to get local issuer certificate",
                          "TLS: the peer refuses: unknown ca");
}

static void expect_client_refuses(struct fixture *f, const char *peer, const char *client)
{
    meet(f, peer);
    assert_int_equal(shake(f, SIZE_MAX), ERR_TLS);
    assert_string_equal(why(f->client), client);
}

static void the_client_refuses_servers_that_are_not_who_it_connected_to(void **state)
{
    struct fixture *f = *state;
    struct net_tls_files strange = certs_files(&f->certs, PAIR_CLIENT);

    expect_client_refuses(f, "192.0.2.1", "TLS: the peer's certificate: IP address mismatch");
    expect_client_refuses(f, "store-2", "TLS: the peer's certificate: hostname mismatch");
    meet(f, "store-1");
    assert_int_equal(shake(f, SIZE_MAX), 0);
    change(f->server_tls, certs_files(&f->certs, PAIR_EXPIRED));
    expect_client_refuses(f, "127.0.0.1", "TLS: the peer's certificate: certificate has expired");
    change(f->server_tls, certs_files(&f->certs, PAIR_SERVER));
    strange.ca_cert = f->certs.other_ca;
    change(f->client_tls, strange);
    expect_client_refuses(f, "127.0.0.1",
                          "TLS: the peer's certificate: unable to get local issuer certificate");
}

static void whoever_speaks_something_else_is_told_from_an_attack(void **state)
{
    struct fixture *f = *state;

    meet(f, "127.0.0.1");
    net_tls_give(f->server, (const uint8_t *)"aLbA\2\0\0\0\0", 9);
    assert_int_equal(net_tls_handshake(f->server), ERR_TLS);
    assert_string_equal(why(f->server), "TLS: the peer speaks something else");
    assert_int_equal(net_tls_handshake(f->client), 0);
    net_tls_give(f->client, (const uint8_t *)"HTTP/1.1 400 Bad Request", 24);
    assert_int_equal(net_tls_handshake(f->client), ERR_TLS);
    assert_string_equal(why(f->client), "TLS: the peer speaks something else");
}

/* ---- whose certificate is good, but not what it says ---- */

static void raw_say(struct fixture *f, struct tls_raw *raw)
{
    int n = BIO_read(SSL_get_wbio(raw->ssl), f->up.data + f->up.to, (int)(PIPE_BYTES - f->up.to));

    assert_true(n > 0);
    f->up.to += (size_t)n;
}

static void raw_hear(struct fixture *f, struct tls_raw *raw)
{
    size_t bytes;

    take_out(f->server, &f->down);
    bytes = f->down.to - f->down.from;
    assert_int_equal(BIO_write(SSL_get_rbio(raw->ssl), f->down.data + f->down.from, (int)bytes),
                     bytes);
    f->down.from += bytes;
}

static void meet_raw(struct fixture *f, struct tls_raw *raw)
{
    forget_sessions(f);
    f->server = net_tls_session_new(f->server_tls, NULL);
    tls_raw_init(raw, f->client_tls);
    assert_int_equal(SSL_do_handshake(raw->ssl), -1);
    raw_say(f, raw);
    assert_true(give(&f->up, f->server, SIZE_MAX));
    assert_int_equal(net_tls_handshake(f->server), 0);
    raw_hear(f, raw);
    assert_int_equal(SSL_do_handshake(raw->ssl), 1);
    raw_say(f, raw);
    assert_true(give(&f->up, f->server, SIZE_MAX));
    assert_int_equal(net_tls_handshake(f->server), 1);
    assert_int_equal(net_tls_read(f->server, f->got, BIG), 0);
}

/* OpenSSL then wants to read before it writes. */
static void who_stops_within_a_message_of_the_protocol_is_not_answered(void **state)
{
    static const uint8_t half_key_update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1};
    struct fixture *f = *state;
    struct tls_raw raw;

    meet_raw(f, &raw);
    f->up.to += tls_raw_record(&raw, SSL3_RT_HANDSHAKE, half_key_update, sizeof half_key_update,
                               f->up.data + f->up.to);
    assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), 0);
    assert_int_equal(net_tls_write(f->server, f->text, 100), ERR_TLS);
    assert_string_equal(why(f->server), "TLS: the peer stops within a message of the protocol");
    assert_int_equal(net_tls_read(f->server, f->got, 1), ERR_TLS);
    SSL_free(raw.ssl);
}

static void raw_change_keys(struct fixture *f, struct tls_raw *raw, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(raw->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(raw->ssl), 1);
        raw_say(f, raw);
    }
}

static void raw_send_text(struct fixture *f, struct tls_raw *raw, size_t bytes)
{
    assert_int_equal(SSL_write(raw->ssl, f->text, (int)bytes), bytes);
    raw_say(f, raw);
    assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), bytes);
}

static void a_peer_may_change_its_keys_now_and_then_but_not_all_the_time(void **state)
{
    enum { UPDATES_MAX = 8, MANY = 2000 };
    struct fixture *f = *state;
    struct tls_raw raw;

    meet_raw(f, &raw);
    for (unsigned i = 0; i < 3; i++) { /* as many for each MiB */
        raw_change_keys(f, &raw, UPDATES_MAX);
        for (size_t sent = 0; sent < 1 << 20; sent += BIG - 1) {
            raw_send_text(f, &raw, BIG - 1);
        }
        assert_int_equal(net_tls_write(f->server, f->text, 100), 100);
        raw_hear(f, &raw);
        assert_int_equal(SSL_read(raw.ssl, f->got, 200), 100);
        assert_memory_equal(f->got, f->text, 100);
    }
    raw_change_keys(f, &raw, MANY);
    take_out(f->server, &f->down);
    f->down.from = f->down.to;
    assert_int_equal(hear(f, f->server, &f->up, SIZE_MAX), ERR_TLS);
    assert_string_equal(why(f->server), "TLS: the peer says too much of the protocol itself");
    take_out(f->server, &f->down); /* it was not answered so often */
    assert_true(f->down.to - f->down.from < (size_t)(UPDATES_MAX + 2) * 100);
    SSL_free(raw.ssl);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_context_that_cannot_be_made_names_the_file_and_why),
        TEST(a_context_wants_all_that_it_needs),
        TEST(a_reload_counts_for_new_sessions_and_a_failed_one_changes_nothing),
        TEST(plaintext_comes_out_as_it_went_in_however_it_is_cut),
        TEST(every_split_of_a_conversation_is_fine),
        TEST(a_session_ends_as_it_should_or_not_at_all),
        TEST(a_changed_byte_of_any_record_is_noticed),
        TEST(a_record_that_is_left_out_or_comes_twice_is_noticed),
        TEST(what_is_to_be_sent_is_bounded),
        TEST(the_key_is_changed_before_it_has_sealed_too_many_records),
        TEST(the_server_refuses_clients_that_its_ca_does_not_vouch_for),
        TEST(the_client_refuses_servers_that_are_not_who_it_connected_to),
        TEST(whoever_speaks_something_else_is_told_from_an_attack),
        TEST(who_stops_within_a_message_of_the_protocol_is_not_answered),
        TEST(a_peer_may_change_its_keys_now_and_then_but_not_all_the_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
