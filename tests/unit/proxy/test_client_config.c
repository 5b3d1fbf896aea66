#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/client_config.h"

/* "name=host:port …" of the record that a client reads. */
static void expect(const char *url, const char *expected)
{
    struct client_config c;
    struct arakoon_config got;
    struct buf bytes = {0};
    char text[1024] = "";
    struct rd r;

    client_config_init(&c, "the alba", url);
    arakoon_config_put(&bytes, &c.config);
    r = rd_of(bytes.data, bytes.len);
    arakoon_config_get(&r, &got);
    assert_false(r.bad);
    assert_int_equal(rd_left(&r), 0);
    assert_true(slice_eq(got.cluster_id, slice_str("the alba")));
    for (uint32_t i = 0; i < got.node_count; i++) {
        const struct arakoon_node *node = &got.nodes[i];
        size_t len = strlen(text);

        assert_int_equal(node->ip_count, 1);
        snprintf(text + len, sizeof(text) - len, "%s%.*s=%.*s:%d", i != 0 ? " " : "",
                 (int)node->name.len, (const char *)node->name.data, (int)node->ips[0].len,
                 (const char *)node->ips[0].data, node->port);
    }
    assert_string_equal(text, expected);
    arakoon_config_release(&got);
    buf_release(&bytes);
}

static void engines_are_told_as_nodes_of_a_cluster(void **state)
{
    (void)state;
    expect("asd://127.0.0.1:8000", "127.0.0.1:8000=127.0.0.1:8000");
    expect("asd+tls://10.0.0.1:8001/long-id", "10.0.0.1:8001=10.0.0.1:8001");
    expect("asd://[::1]:8000/x", "[::1]:8000=::1:8000");
    expect("etcd://a:2379,b:2380,[fe80::1]:2381",
           "a:2379=a:2379 b:2380=b:2380 [fe80::1]:2381=fe80::1:2381");
    expect("memory://", "");
    expect("", "");
}

static void passwords_and_what_is_no_address_are_left_out(void **state)
{
    (void)state;
    expect("postgresql://user:pass:word@db1:5432,db2:5433/alba?password=secret",
           "db1:5432=db1:5432 db2:5433=db2:5433");
    expect("postgresql://user:pass@@db1:5432/x@y:1", "db1:5432=db1:5432");
    expect("etcd://a:,b:65536,c:12x,:1,d,,e:65535", "e:65535=e:65535");
}

static void no_more_nodes_than_there_is_room_for(void **state)
{
    char url[512] = "etcd://a:0";
    struct client_config c;

    (void)state;
    for (int i = 1; i < 30; i++) {
        size_t len = strlen(url);

        snprintf(url + len, sizeof(url) - len, ",a:%d", i);
    }
    client_config_init(&c, "x", url);
    assert_int_equal(c.config.node_count, CLIENT_CONFIG_NODES_MAX);
    assert_int_equal(c.nodes[15].port, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engines_are_told_as_nodes_of_a_cluster),
        cmocka_unit_test(passwords_and_what_is_no_address_are_left_out),
        cmocka_unit_test(no_more_nodes_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
