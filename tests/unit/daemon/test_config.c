#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/config_rows.h"

struct test_config {
    char *home;
    char *level;
    int64_t port;
    int64_t signed_number;
    int64_t way_in;
    int64_t cache_bytes;
    bool sync;
    bool quick;
    double timeout_s;
    double factor;
    struct config_strings ips;
    struct {
        bool present;
        char *cert;
        int64_t port;
    } tls;
    struct json_t *cache;
};

static const char *const levels[] = {"debug", "info", NULL};

static const struct config_key tls_keys[] = {{.name = "cert",
                                              .type = CONFIG_PATH,
                                              .flags = CONFIG_REQUIRED,
                                              .offset = CONFIG_AT(struct test_config, tls.cert),
                                              .help = "PEM file"},
                                             {.name = "port",
                                              .type = CONFIG_INT,
                                              .min = 1,
                                              .max = 65535,
                                              .default_json = "443",
                                              .offset = CONFIG_AT(struct test_config, tls.port),
                                              .help = "TLS port"},
                                             {0}};

static const struct config_key keys[] = {
    {.name = "home",
     .type = CONFIG_PATH,
     .flags = CONFIG_REQUIRED,
     .offset = CONFIG_AT(struct test_config, home),
     .help = "directory of the store"},
    {.name = "log_level",
     .type = CONFIG_STRING,
     .flags = CONFIG_LIVE,
     .default_json = "\"info\"",
     .choices = levels,
     .offset = CONFIG_AT(struct test_config, level),
     .help = "what is logged"},
    {.name = "port",
     .type = CONFIG_INT,
     .min = 0,
     .max = 65535,
     .default_json = "null",
     .offset = CONFIG_AT(struct test_config, port),
     .help = "TCP port"},
    {.name = "signed_number",
     .type = CONFIG_INT,
     .min = -5,
     .max = 5,
     .default_json = "-1",
     .offset = CONFIG_AT(struct test_config, signed_number),
     .help = "a number"},
    {.name = "way_in",
     .type = CONFIG_INT,
     .flags = CONFIG_NULLABLE,
     .min = 0,
     .max = 65535,
     .default_json = "10809",
     .offset = CONFIG_AT(struct test_config, way_in),
     .help = "TCP port; null: none"},
    {.name = "cache_bytes",
     .type = CONFIG_SIZE,
     .flags = CONFIG_LIVE,
     .default_json = "\"64MiB\"",
     .offset = CONFIG_AT(struct test_config, cache_bytes),
     .help = "memory for the cache"},
    {.name = "__sync_dont_use",
     .type = CONFIG_BOOL,
     .flags = CONFIG_FIXED,
     .default_json = "true",
     .offset = CONFIG_AT(struct test_config, sync),
     .help = "writes are always synced"},
    {.name = "quick",
     .type = CONFIG_BOOL,
     .offset = CONFIG_AT(struct test_config, quick),
     .help = "or slow"},
    {.name = "timeout",
     .type = CONFIG_FLOAT,
     .min = 0,
     .max = 100,
     .default_json = "2.5",
     .offset = CONFIG_AT(struct test_config, timeout_s),
     .help = "seconds"},
    {.name = "factor",
     .type = CONFIG_FLOAT,
     .offset = CONFIG_AT(struct test_config, factor),
     .help = "null: none"},
    {.name = "ips",
     .type = CONFIG_STRINGS,
     .default_json = "[\"127.0.0.1\"]",
     .offset = CONFIG_AT(struct test_config, ips),
     .help = "addresses"},
    {.name = "tls",
     .type = CONFIG_OBJECT,
     .keys = tls_keys,
     .offset = CONFIG_AT(struct test_config, tls.present),
     .help = "TLS"},
    {.name = "fragment_cache",
     .type = CONFIG_JSON,
     .offset = CONFIG_AT(struct test_config, cache),
     .help = "any"},
    {.name = "buffer_size", .flags = CONFIG_UNUSED, .help = "of old"},
    {0}};

static int parse(const char *text, struct test_config *ret_config, struct err *e)
{
    return config_parse(keys, "t.json", text, strlen(text), ret_config, sizeof *ret_config, e);
}

static void defaults_fill_what_is_absent(void **state)
{
    struct test_config c;
    struct err e;

    (void)state;
    assert_int_equal(parse("{\"home\": \"/d\"}", &c, &e), 0);
    assert_string_equal(c.home, "/d");
    assert_string_equal(c.level, "info");
    assert_true(c.port == CONFIG_NONE);
    assert_int_equal(c.signed_number, -1);
    assert_int_equal(c.cache_bytes, 64 << 20);
    assert_true(c.sync);
    assert_false(c.quick);
    assert_true(c.timeout_s == 2.5);
    assert_int_equal(c.way_in, 10809);
    assert_true(isnan(c.factor));
    assert_int_equal(c.ips.count, 1);
    assert_false(c.tls.present);
    assert_null(c.tls.cert);
    assert_int_equal(c.tls.port, 443);
    assert_null(c.cache);
    config_release(keys, &c);
    assert_null(c.home);
}

static void every_type_is_read(void **state)
{
    struct test_config c;
    struct err e;

    (void)state;
    assert_int_equal(
        parse("{\"home\":\"/d\",\"log_level\":\"debug\",\"port\":8000,\"signed_number\":-5,"
              "\"cache_bytes\":\"2 GiB\",\"__sync_dont_use\":true,\"quick\":true,\"timeout\":7,"
              "\"ips\":[\"::1\",\"127.0.0.1\"],\"tls\":{\"cert\":\"/c\",\"port\":1},"
              "\"fragment_cache\":[\"none\"],\"buffer_size\":3}",
              &c, &e),
        0);
    assert_string_equal(c.level, "debug");
    assert_int_equal(c.port, 8000);
    assert_int_equal(c.signed_number, -5);
    assert_true(c.cache_bytes == INT64_C(2) << 30);
    assert_true(c.quick);
    assert_true(c.timeout_s == 7.0);
    assert_int_equal(c.ips.count, 2);
    assert_string_equal(c.ips.items[1], "127.0.0.1");
    assert_true(c.tls.present);
    assert_string_equal(c.tls.cert, "/c");
    assert_int_equal(c.tls.port, 1);
    assert_string_equal(json_string_value(json_array_get(c.cache, 0)), "none");
    config_release(keys, &c);
}

/* Else a null would get round the bounds: CONFIG_NONE is no size and no per cent. */
static void a_null_is_the_default_unless_the_key_has_a_meaning_for_it(void **state)
{
    static const char text[] = "{\"home\":\"/d\",\"log_level\":null,\"port\":null,"
                               "\"signed_number\":null,\"way_in\":null,\"cache_bytes\":null,"
                               "\"timeout\":null,\"factor\":null,\"ips\":null,\"tls\":null,"
                               "\"fragment_cache\":null}";
    struct test_config c;
    struct err e;

    (void)state;
    assert_int_equal(parse(text, &c, &e), 0);
    assert_string_equal(c.level, "info");
    assert_int_equal(c.signed_number, -1);
    assert_int_equal(c.cache_bytes, 64 << 20);
    assert_true(c.timeout_s == 2.5);
    assert_int_equal(c.ips.count, 1);
    assert_string_equal(c.ips.items[0], "127.0.0.1");
    assert_true(c.port == CONFIG_NONE);
    assert_true(c.way_in == CONFIG_NONE);
    assert_true(isnan(c.factor));
    assert_false(c.tls.present);
    assert_int_equal(c.tls.port, 443);
    assert_null(c.cache);
    config_release(keys, &c);
}

static void every_error_names_file_key_and_what_was_expected(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"{", "config t.json: line 1, column 1: "},
        {"{\n  \"home\": \"/d\",\n  \"port\": 80 80\n}", "line 3, column "},
        {"{\"home\": \"/d\", \"home\": \"/e\"}", "duplicate object key near '\"home\"'"},
        {"[]", "config t.json: want an object, got a list"},
        {"{}", "config t.json: key 'home' is required (an absolute path)"},
        {"{\"home\": null}", "key 'home': want an absolute path, got null"},
        {"{\"home\": \"d\"}", "key 'home': want an absolute path, got \"d\""},
        {"{\"home\": \"/d\", \"prot\": 80}", "unknown key 'prot'; did you mean 'port'?"},
        {"{\"home\": \"/d\", \"loglevel\": 1}",
         "unknown key 'loglevel'; did you mean 'log_level'?"},
        {"{\"home\": \"/d\", \"tls\": {\"crt\": 1}}",
         "unknown key 'tls.crt'; did you mean 'cert'?"},
        {"{\"home\": \"/d\", \"zzzzzzzz\": 1}", "unknown key 'zzzzzzzz'"},
        {"{\"home\": \"/d\", \"port\": \"80\"}",
         "key 'port': want an integer from 0 to 65535, got \"80\""},
        {"{\"home\": \"/d\", \"port\": 65536}", "from 0 to 65535, got 65536"},
        {"{\"home\": \"/d\", \"port\": 8.5}", "got a fraction"},
        {"{\"home\": \"/d\", \"signed_number\": -6}", "an integer from -5 to 5"},
        {"{\"home\": \"/d\", \"cache_bytes\": \"64 MB\"}",
         "key 'cache_bytes': want bytes or a size like \"64MiB\" from 0, got \"64 MB\""},
        {"{\"home\": \"/d\", \"cache_bytes\": -1}", "key 'cache_bytes'"},
        {"{\"home\": \"/d\", \"cache_bytes\": \"9000000 TiB\"}", "key 'cache_bytes'"},
        {"{\"home\": \"/d\", \"quick\": 1}", "key 'quick': want true or false, got 1"},
        {"{\"home\": \"/d\", \"quick\": null}", "key 'quick': want true or false, got null"},
        {"{\"home\": \"/d\", \"__sync_dont_use\": false}",
         "key '__sync_dont_use': only true is possible: writes are always synced"},
        {"{\"home\": \"/d\", \"timeout\": 101}", "key 'timeout': want a number from 0 to 100"},
        {"{\"home\": \"/d\", \"timeout\": \"1\"}", "key 'timeout'"},
        {"{\"home\": \"/d\", \"ips\": \"::1\"}", "key 'ips': want a list of strings, got \"::1\""},
        {"{\"home\": \"/d\", \"ips\": [\"::1\", 2]}",
         "key 'ips': want a list of strings, got a list"},
        {"{\"home\": \"/d\", \"tls\": []}", "key 'tls': want an object, got a list"},
        {"{\"home\": \"/d\", \"tls\": {}}", "key 'tls.cert' is required (an absolute path)"},
        {"{\"home\": \"/d\", \"log_level\": \"loud\"}",
         "key 'log_level': want one of \"debug\", \"info\", got \"loud\""},
        {"{\"home\": \"/d\", \"log_level\": {}}", "got an object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_config c;
        struct err e;

        assert_int_equal(parse(cases[i].text, &c, &e), ERR_CONFIG);
        if (strstr(e.msg, cases[i].message) == NULL || strstr(e.msg, "config t.json: ") == NULL) {
            fail_msg("%s\ngives: %s\nwant: %s", cases[i].text, e.msg, cases[i].message);
        }
    }
}

struct common_config {
    char *level;
};

static const struct config_key common_keys[] = {
    CONFIG_ROW_LOG_LEVEL(CONFIG_AT(struct common_config, level)), {0}};

static void every_log_level_is_taken_and_another_one_refused_by_name(void **state)
{
    static const char bad[] = "{\"log_level\": \"inof\"}";
    struct common_config c;
    struct err e;

    (void)state;
    for (unsigned i = 0; config_log_levels[i] != NULL; i++) {
        enum log_level level;
        char text[64];

        snprintf(text, sizeof text, "{\"log_level\": \"%s\"}", config_log_levels[i]);
        assert_int_equal(config_parse(common_keys, "t.json", text, strlen(text), &c, sizeof c, &e),
                         0);
        assert_int_equal(log_level_parse(c.level, &level), 0);
        config_release(common_keys, &c);
    }
    assert_int_equal(config_parse(common_keys, "t.json", bad, strlen(bad), &c, sizeof c, &e),
                     ERR_CONFIG);
    assert_string_equal(e.msg, "config t.json: key 'log_level': want one of \"debug\", \"info\", "
                               "\"notice\", \"warning\", \"warn\", \"error\", \"fatal\", got "
                               "\"inof\"");
}

static void a_file_is_read_by_path_and_by_url(void **state)
{
    static const char text[] = "{\"home\": \"/from/file\"}";
    const char *tmp = getenv("TMPDIR");
    char path[100], url[120];
    struct test_config c;
    struct err e;
    int fd;

    (void)state;
    snprintf(path, sizeof path, "%s/albacore-config-XXXXXX", tmp != NULL ? tmp : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    snprintf(url, sizeof url, "file://%s", path);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(config_load(keys, i == 0 ? path : url, &c, sizeof c, &e), 0);
        assert_string_equal(c.home, "/from/file");
        config_release(keys, &c);
    }
    unlink(path);
    assert_int_equal(config_load(keys, path, &c, sizeof c, &e), -ENOENT);
    assert_non_null(strstr(e.msg, path));
    assert_int_equal(config_load(keys, "arakoon://abm/x", &c, sizeof c, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "arakoon://abm/x"));
}

static void on_change(void *ctx, const char *path, const struct config_key *key)
{
    char *seen = ctx;

    strncat(seen, path, 100);
    strncat(seen, key->flags & CONFIG_LIVE ? "* " : " ", 3);
}

static void differences_are_found_key_by_key(void **state)
{
    struct test_config a, b;
    char seen[200] = "";
    struct err e;

    (void)state;
    assert_int_equal(parse("{\"home\":\"/d\",\"ips\":[\"a\"],\"fragment_cache\":[1]}", &a, &e), 0);
    assert_int_equal(parse("{\"home\":\"/d\",\"ips\":[\"a\"],\"fragment_cache\":[1]}", &b, &e), 0);
    assert_int_equal(config_diff(keys, &a, &b, on_change, seen), 0);
    config_release(keys, &b);
    assert_int_equal(parse("{\"home\":\"/e\",\"log_level\":\"debug\",\"cache_bytes\":1,\"ips\":[],"
                           "\"tls\":{\"cert\":\"/c\"},\"fragment_cache\":[2],\"timeout\":1}",
                           &b, &e),
                     0);
    assert_int_equal(config_diff(keys, &a, &b, on_change, seen), 8);
    assert_string_equal(seen,
                        "home log_level* cache_bytes* timeout ips tls tls.cert fragment_cache ");
    config_release(keys, &a);
    config_release(keys, &b);
}

static void help_lists_every_key_with_its_default(void **state)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    (void)state;
    config_print_help(keys, out);
    fclose(out);
    assert_non_null(strstr(text, "home: an absolute path, required\n    directory of the store\n"));
    assert_non_null(strstr(text, "port: an integer from 0 to 65535, default null\n"));
    assert_non_null(strstr(text, "log_level: one of \"debug\", \"info\", default \"info\", "
                                 "changes on reload\n"));
    assert_non_null(strstr(text, "    cert: an absolute path, required\n        PEM file\n"));
    assert_non_null(strstr(text, "buffer_size: accepted, has no effect\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_is_absent),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(a_null_is_the_default_unless_the_key_has_a_meaning_for_it),
        cmocka_unit_test(every_error_names_file_key_and_what_was_expected),
        cmocka_unit_test(every_log_level_is_taken_and_another_one_refused_by_name),
        cmocka_unit_test(a_file_is_read_by_path_and_by_url),
        cmocka_unit_test(differences_are_found_key_by_key),
        cmocka_unit_test(help_lists_every_key_with_its_default),
    };

    return cmocka_run_group_tests_name("daemon/config", tests, NULL, NULL);
}
