/* TLS between the ASD client and the server: who is refused, and what both sides say then. */
#include <fcntl.h>
#include <stdio.h>

#include "unit/net/tls_fixture.h"

/* ---- the log ---- */

static void capture_log(struct fixture *f)
{
    char *path = tempdir_path(f->certs.dir, "log");

    f->stderr_fd = dup(STDERR_FILENO);
    f->log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(f->log_fd, STDERR_FILENO);
    free(path);
}

/* One line of the log says `text`, and none of the others warns. */
static void expect_logged(struct fixture *f, const char *text)
{
    char log[4096];
    ssize_t n;
    unsigned warnings = 0;

    dup2(f->stderr_fd, STDERR_FILENO);
    n = pread(f->log_fd, log, sizeof log - 1, 0);
    close(f->log_fd);
    close(f->stderr_fd);
    log[n > 0 ? n : 0] = '\0';
    for (const char *at = log; (at = strstr(at, " warn net: ")) != NULL; at++) {
        warnings++;
    }
    if (strstr(log, text) == NULL || warnings != 1) {
        fail_msg("want '%s' once in the log:\n%s", text, log);
    }
}

/* ---- who is refused ---- */

static void change(struct net_tls *tls, struct net_tls_files files)
{
    struct err e;

    assert_int_equal(net_tls_reload(tls, &files, &e), 0);
}

static void expect_refused(struct fixture *f, int rc, const char *client, const char *server)
{
    capture_log(f);
    call(f, 0, ASD_GET_VERSION);
    expect_text(f, 0, rc, client);
    RAW_UNTIL(&f->loop, net_server_connections(f->server) == 0);
    expect_logged(f, server);
    assert_int_equal(f->opens, 0);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, (struct net_tls_files){.ca_cert = f->certs.ca});
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: certificate required",
                   "why=\"TLS: the peer has no certificate\"");
}

static void a_client_of_another_ca_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_STRANGER));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: unknown ca",
                   "why=\"TLS: the peer's certificate: unable to get local issuer certificate\"");
}

static void a_client_whose_certificate_has_expired_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_EXPIRED));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: certificate expired",
                   "why=\"TLS: the peer's certificate: certificate has expired\"");
}

static void a_server_for_another_address_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->server_tls, certs_files(&f->certs, PAIR_ELSEWHERE));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer's certificate: IP address mismatch",
                   "why=\"TLS: the peer refuses: ");
}

static void a_server_of_another_ca_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_STRANGER));
    change(f->server_tls, certs_files(&f->certs, PAIR_EXPIRED));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer's certificate: certificate has expired",
                   "why=\"TLS: the peer refuses: certificate expired\"");
}

static void plain_words_to_the_tls_port_are_refused(void **state)
{
    struct fixture *f = *state;

    start_server(f);
    start_client(f, false, port_of(f, TLS_ADDR));
    expect_refused(f, ERR_TLS, "speaks TLS, but was asked without",
                   "why=\"TLS: the peer speaks something else\"");
}

static void tls_to_the_plain_port_is_refused(void **state)
{
    struct fixture *f = *state;

    start_server(f);
    start_client(f, true, port_of(f, PLAIN_ADDR));
    expect_refused(f, UV_ECONNRESET, "closed in the TLS handshake: does this port speak TLS?",
                   "why=\"speaks TLS to a plain port\"");
}

static void a_client_without_a_context_says_so(void **state)
{
    struct fixture *f = *state;
    struct asd_client_options options = {.addr = raw_addr(1)};

    start_server(f);
    net_addr_set_tls(&options.addr);
    f->client = asd_client_new(&f->loop, &options);
    call(f, 0, ASD_GET_VERSION);
    expect_text(f, 0, ERR_CONFIG, "no certificates are configured here");
}

/* ---- reload, many ---- */

static void a_reload_leaves_open_connections_alone(void **state)
{
    struct fixture *f = *state;

    start(f);
    call(f, 0, ASD_GET_VERSION);
    expect_ok(f, 0);
    change(f->server_tls, certs_files(&f->certs, PAIR_ELSEWHERE));
    call(f, 1, ASD_GET_VERSION);
    expect_ok(f, 1);
    close_client(f);
    start_client(f, true, port_of(f, TLS_ADDR));
    call(f, 2, ASD_GET_VERSION);
    expect_text(f, 2, ERR_TLS, "IP address mismatch");
    change(f->server_tls, certs_files(&f->certs, PAIR_SERVER));
    call(f, 3, ASD_GET_VERSION);
    expect_ok(f, 3);
    assert_int_equal(f->opens, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(a_client_without_a_certificate_is_refused),
        TLS_TEST(a_client_of_another_ca_is_refused),
        TLS_TEST(a_client_whose_certificate_has_expired_is_refused),
        TLS_TEST(a_server_for_another_address_is_refused),
        TLS_TEST(a_server_of_another_ca_is_refused),
        TLS_TEST(plain_words_to_the_tls_port_are_refused),
        TLS_TEST(tls_to_the_plain_port_is_refused),
        TLS_TEST(a_client_without_a_context_says_so),
        TLS_TEST(a_reload_leaves_open_connections_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
