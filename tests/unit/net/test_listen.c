/* On which addresses a socket really listens. */
#include "net/listen.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "unit/net/raw.h"

static struct net_listen open_at(const char *ip)
{
    struct net_listen l;
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_tcp(&addr, ip, 0, &e), 0);
    net_addr_set_tls(&addr);
    if (net_listen_open(&l, &addr, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    assert_true(l.addr.is_tls);
    return l;
}

/* 0, or why not. */
static int reach(const char *ip, uint16_t port)
{
    struct net_addr addr;
    struct err e;
    int fd;
    int rc;

    assert_int_equal(net_addr_tcp(&addr, ip, port, &e), 0);
    fd = socket(addr.sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    rc = connect(fd, (struct sockaddr *)&addr.sockaddr,
                 addr.sockaddr.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                    : sizeof(struct sockaddr_in6)) == 0
             ? 0
             : -errno;
    close(fd);
    return rc;
}

static bool has_v6(void)
{
    struct net_addr addr;
    struct err e;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has;

    assert_int_equal(net_addr_tcp(&addr, "::1", 0, &e), 0);
    has = fd >= 0 && bind(fd, (struct sockaddr *)&addr.sockaddr, sizeof(struct sockaddr_in6)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return has;
}

static void every_address_is_that_of_ipv4_too(void **state)
{
    struct net_listen l = open_at("::");
    uint16_t port = net_addr_port(&l.addr);

    (void)state;
    assert_int_equal(reach("127.0.0.1", port), 0);
    if (has_v6()) {
        assert_int_equal(reach("::1", port), 0);
    }
    close(l.fd);
}

static void one_address_is_no_other(void **state)
{
    struct net_listen l = open_at("127.0.0.1");

    (void)state;
    assert_int_equal(reach("127.0.0.1", net_addr_port(&l.addr)), 0);
    if (has_v6()) {
        assert_true(reach("::1", net_addr_port(&l.addr)) != 0);
        close(l.fd);
        l = open_at("::1");
        assert_int_equal(reach("::1", net_addr_port(&l.addr)), 0);
        assert_true(reach("127.0.0.1", net_addr_port(&l.addr)) != 0);
    }
    close(l.fd);
}

/* At a port that is free for 0.0.0.0; somebody else may have it for "::". */
static int open_beside(const struct net_listen *v4, bool only_v6, struct net_listen *ret_v6)
{
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_tcp(&addr, "::", net_addr_port(&v4->addr), &e), 0);
    addr.only_v6 = only_v6;
    return net_listen_open(ret_v6, &addr, &e);
}

static void every_address_of_ipv6_alone_can_be_beside_those_of_ipv4(void **state)
{
    struct net_listen v4;
    struct net_listen v6;
    int rc = -EADDRINUSE;

    (void)state;
    if (!has_v6()) {
        skip();
    }
    for (unsigned i = 0; i < 20 && rc == -EADDRINUSE; i++) {
        v4 = open_at("0.0.0.0");
        assert_int_equal(open_beside(&v4, false, &v6), -EADDRINUSE);
        rc = open_beside(&v4, true, &v6);
        if (rc != 0) {
            close(v4.fd);
        }
    }
    assert_int_equal(rc, 0);
    assert_int_equal(reach("127.0.0.1", net_addr_port(&v4.addr)), 0);
    assert_int_equal(reach("::1", net_addr_port(&v4.addr)), 0);
    close(v4.fd);
    assert_true(reach("127.0.0.1", net_addr_port(&v6.addr)) != 0);
    close(v6.fd);
}

/* From now on this thread is on a machine without IPv6. */
static int lose_v6(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)), /* low half */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                   prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
               ? 0
               : -errno;
}

struct v4_only {
    int filter_rc, rc;
    struct net_listen listen;
    struct err err;
};

static void *listen_without_v6(void *ctx)
{
    struct v4_only *v = ctx;
    struct net_addr addr;

    v->filter_rc = lose_v6();
    v->rc = net_addr_tcp(&addr, "::", 0, &v->err);
    net_addr_set_tls(&addr);
    v->rc = v->rc != 0 ? v->rc : net_listen_open(&v->listen, &addr, &v->err);
    return NULL;
}

static void without_ipv6_every_address_is_that_of_ipv4(void **state)
{
    struct v4_only v = {0};
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, listen_without_v6, &v), 0);
    pthread_join(thread, NULL);
    if (v.rc != 0) {
        fail_msg("%s", v.err.msg);
    }
    assert_int_equal(reach("127.0.0.1", net_addr_port(&v.listen.addr)), 0);
    assert_true(v.listen.addr.is_tls);
    close(v.listen.fd);
    if (v.filter_rc != 0) {
        print_message("skipped: no filter of system calls: %s\n", err_text(v.filter_rc));
        skip();
    }
    assert_memory_equal(v.listen.addr.text, "tls://0.0.0.0:", 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_address_is_that_of_ipv4_too),
        cmocka_unit_test(one_address_is_no_other),
        cmocka_unit_test(every_address_of_ipv6_alone_can_be_beside_those_of_ipv4),
        cmocka_unit_test(without_ipv6_every_address_is_that_of_ipv4),
    };

    return cmocka_run_group_tests_name("net/listen", tests, NULL, NULL);
}
