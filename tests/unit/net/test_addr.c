#include "net/addr.h"
#include "unit/net/raw.h"

static void good_addresses_are_read_and_printed_as_given(void **state)
{
    static const struct {
        const char *uri;
        const char *text;
        uint16_t port;
        bool local;
    } cases[] = {{"tcp://1.2.3.4:8000", "tcp://1.2.3.4:8000", 8000, false},
                 {"tcp://127.9.0.1:1", "tcp://127.9.0.1:1", 1, true},
                 {"tcp://localhost:0", "tcp://127.0.0.1:0", 0, true},
                 {"tcp://[::1]:65535", "tcp://[::1]:65535", 65535, true},
                 {"tcp://[fe80::1]:7", "tcp://[fe80::1]:7", 7, false},
                 {"tcp://[::ffff:127.0.0.1]:7", "tcp://[::ffff:127.0.0.1]:7", 7, true},
                 {"tls://1.2.3.4:8001", "tls://1.2.3.4:8001", 8001, false},
                 {"tls://[fe80::1]:1", "tls://[fe80::1]:1", 1, false},
                 {"unix:///run/x.sock", "unix:///run/x.sock", 0, true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_addr addr;
        struct err e;

        assert_int_equal(net_addr_parse(&addr, cases[i].uri, &e), 0);
        assert_string_equal(addr.text, cases[i].text);
        assert_int_equal(net_addr_port(&addr), cases[i].port);
        assert_int_equal(net_addr_is_local(&addr), cases[i].local);
    }
}

static void bad_addresses_are_refused_with_the_text_in_the_message(void **state)
{
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "tcp://1.2.3.4",
                                      "tcp://1.2.3.4:",
                                      "tcp://1.2.3.4:65536",
                                      "tcp://1.2.3.4:80x",
                                      "tcp://1.2.3.4:-1",
                                      "tcp://:80",
                                      "tcp://host.example:80",
                                      "tcp://1.2.3.4.5:80",
                                      "tcp://[::1:80",
                                      "tcp://[::1]80",
                                      "tcp://::1:80",
                                      "http://1.2.3.4:80",
                                      "unix://relative",
                                      "1.2.3.4:80"};
    char path[300] = "unix:///";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct net_addr addr;
        struct err e;

        assert_int_equal(net_addr_parse(&addr, bad[i], &e), -EINVAL);
        assert_non_null(strstr(e.msg, bad[i]));
    }
    memset(path + 8, 'a', 108);
    for (size_t i = 0; i < 2; i++) {
        struct net_addr addr;
        struct err e;

        path[8 + 106 + (i == 0)] = '\0'; /* one too many, then the longest that fits */
        assert_int_equal(net_addr_parse(&addr, path, &e), i == 0 ? -EINVAL : 0);
    }
}

static void a_socket_in_a_directory_has_a_name_and_room_for_it(void **state)
{
    static const char *const bad[] = {"", "../x", "a/b"};
    char longest[108] = {0};
    struct net_addr addr;
    struct err e;

    (void)state;
    assert_int_equal(net_addr_unix_in(&addr, "/run/alba", "asd-1", &e), 0);
    assert_true(addr.is_unix);
    assert_string_equal(addr.path, "/run/alba/asd-1.sock");
    assert_string_equal(addr.text, "unix:///run/alba/asd-1.sock");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(net_addr_unix_in(&addr, "/run", bad[i], &e), -EINVAL);
    }
    assert_int_equal(net_addr_unix_in(&addr, "run", "asd", &e), -EINVAL);
    memset(longest, 'a', 107 - strlen("/run/.sock"));
    assert_int_equal(net_addr_unix_in(&addr, "/run", longest, &e), 0);
    assert_int_equal(net_addr_unix_in(&addr, "/runs", longest, &e), -EINVAL);
}

static void a_port_with_tls_prints_so_and_knows_its_ip(void **state)
{
    static const char *const ips[] = {"192.0.2.1", "2001:db8::1"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char ip[NET_ADDR_IP_MAX];
        struct net_addr addr;
        struct err e;

        assert_int_equal(net_addr_tcp(&addr, ips[i], 80, &e), 0);
        assert_false(addr.is_tls);
        net_addr_set_tls(&addr);
        assert_true(addr.is_tls);
        assert_string_equal(addr.text, i == 0 ? "tls://192.0.2.1:80" : "tls://[2001:db8::1]:80");
        net_addr_ip(&addr, ip);
        assert_string_equal(ip, ips[i]);
    }
}

static void an_address_from_the_kernel_prints_the_same(void **state)
{
    struct net_addr addr, again;
    struct err e;

    (void)state;
    assert_int_equal(net_addr_parse(&addr, "tcp://[fe80::2]:99", &e), 0);
    assert_int_equal(net_addr_of_sockaddr(&again, (struct sockaddr *)&addr.sockaddr), 0);
    assert_string_equal(again.text, addr.text);
    addr.sockaddr.ss_family = AF_UNIX;
    assert_int_equal(net_addr_of_sockaddr(&again, (struct sockaddr *)&addr.sockaddr),
                     -EAFNOSUPPORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_read_and_printed_as_given),
        cmocka_unit_test(bad_addresses_are_refused_with_the_text_in_the_message),
        cmocka_unit_test(a_socket_in_a_directory_has_a_name_and_room_for_it),
        cmocka_unit_test(a_port_with_tls_prints_so_and_knows_its_ip),
        cmocka_unit_test(an_address_from_the_kernel_prints_the_same),
    };

    return cmocka_run_group_tests_name("net/addr", tests, NULL, NULL);
}
