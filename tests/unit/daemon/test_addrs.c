#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "daemon/addrs.h"

static char *two[] = {(char[]){"127.0.0.1"}, (char[]){"::1"}};
static const struct config_strings none = {0};
static const struct config_strings both = {.items = two, .count = 2};

static void each_ip_gets_the_port(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &both, 8000, &e), 0);
    assert_int_equal(addrs.count, 2);
    assert_string_equal(addrs.items[0].text, "tcp://127.0.0.1:8000");
    assert_string_equal(addrs.items[1].text, "tcp://[::1]:8000");
}

static void no_ip_is_every_interface(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &none, 65535, &e), 0);
    assert_int_equal(addrs.count, 1);
    assert_string_equal(addrs.items[0].text, "tcp://[::]:65535");
}

/* Both at one port: "::" may not take what the other one listens on. */
static void every_address_of_ipv4_leaves_those_of_ipv6_to_the_other(void **state)
{
    char *ips[] = {(char[]){"::"}, (char[]){"0.0.0.0"}};
    const struct config_strings every = {.items = ips, .count = 2};
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &none, 80, &e), 0);
    assert_int_equal(daemon_addrs_tls(&addrs, &every, 443, &e), 0);
    assert_int_equal(addrs.count, 3);
    assert_false(addrs.items[0].only_v6);
    assert_true(addrs.items[1].only_v6);
}

static void addresses_for_tls_come_behind_plain_ones(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &both, 80, &e), 0);
    assert_int_equal(daemon_addrs_tls(&addrs, &both, 443, &e), 0);
    assert_int_equal(addrs.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(addrs.items[i].is_tls, i >= 2);
        assert_int_equal(net_addr_port(&addrs.items[i]), i >= 2 ? 443 : 80);
    }
}

static void no_port_and_no_path_are_no_address(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &both, CONFIG_NONE, &e), 0);
    assert_int_equal(daemon_addrs_tcp(&addrs, &none, CONFIG_NONE, &e), 0);
    assert_int_equal(daemon_addrs_unix(&addrs, NULL, &e), 0);
    assert_int_equal(addrs.count, 0);
}

static void a_socket_comes_behind_what_is_there(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &both, 0, &e), 0);
    assert_int_equal(daemon_addrs_unix(&addrs, "/run/x.sock", &e), 0);
    assert_int_equal(addrs.count, 3);
    assert_true(addrs.items[2].is_unix);
    assert_string_equal(addrs.items[2].path, "/run/x.sock");
}

static void what_is_no_address_is_refused_by_name(void **state)
{
    char *bad[] = {(char[]){"127.0.0.1"}, (char[]){"example.org"}};
    struct config_strings ips = {.items = bad, .count = 2};
    struct daemon_addrs addrs = {0};
    char path[200] = "/";
    struct err e;

    (void)state;
    assert_int_equal(daemon_addrs_tcp(&addrs, &ips, 80, &e), -EINVAL);
    assert_non_null(strstr(e.msg, "example.org"));
    memset(path + 1, 'p', sizeof path - 2);
    assert_int_equal(daemon_addrs_unix(&addrs, path, &e), -EINVAL);
    assert_non_null(strstr(e.msg, "/ppp"));
}

static void there_are_not_more_than_there_is_room_for(void **state)
{
    struct daemon_addrs addrs = {0};
    struct err e;

    (void)state;
    for (unsigned i = 0; i < DAEMON_ADDRS_MAX / 2; i++) {
        assert_int_equal(daemon_addrs_tcp(&addrs, &both, 0, &e), 0);
    }
    assert_int_equal(daemon_addrs_tcp(&addrs, &none, 0, &e), ERR_CONFIG);
    assert_int_equal(daemon_addrs_unix(&addrs, "/run/x.sock", &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "16"));
    assert_int_equal(addrs.count, DAEMON_ADDRS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ip_gets_the_port),
        cmocka_unit_test(no_ip_is_every_interface),
        cmocka_unit_test(every_address_of_ipv4_leaves_those_of_ipv6_to_the_other),
        cmocka_unit_test(addresses_for_tls_come_behind_plain_ones),
        cmocka_unit_test(no_port_and_no_path_are_no_address),
        cmocka_unit_test(a_socket_comes_behind_what_is_there),
        cmocka_unit_test(what_is_no_address_is_refused_by_name),
        cmocka_unit_test(there_are_not_more_than_there_is_room_for),
    };

    return cmocka_run_group_tests_name("daemon/addrs", tests, NULL, NULL);
}
