#include "daemon/config_text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "daemon/config_rows.h"
#include "daemon/nearest.h"

const char *const config_log_levels[] = {"debug", "info",  "notice", "warning",
                                         "warn",  "error", "fatal",  NULL};

enum { GIVEN_CHARS_MAX = 48 };

static void expected_number(const struct config_key *key, const char *what, char *ret_text,
                            size_t bytes)
{
    if (key->min == 0 && key->max == 0) {
        snprintf(ret_text, bytes, "%s from 0", what);
    } else if (key->max == INT64_MAX) {
        snprintf(ret_text, bytes, "%s from %" PRId64, what, key->min);
    } else {
        snprintf(ret_text, bytes, "%s from %" PRId64 " to %" PRId64, what, key->min, key->max);
    }
}

static void expected_choice(const struct config_key *key, char *ret_text, size_t bytes)
{
    size_t at = 0;

    for (unsigned i = 0; key->choices[i] != NULL && at < bytes; i++) {
        int n = snprintf(ret_text + at, bytes - at, "%s\"%s\"", i == 0 ? "one of " : ", ",
                         key->choices[i]);

        at += n > 0 ? (size_t)n : 0;
    }
}

void config_expected(const struct config_key *key, char *ret_text, size_t bytes)
{
    switch (key->type) {
    case CONFIG_STRING:
        if (key->choices != NULL) {
            expected_choice(key, ret_text, bytes);
        } else {
            snprintf(ret_text, bytes, "a string");
        }
        break;
    case CONFIG_PATH:
        snprintf(ret_text, bytes, "an absolute path");
        break;
    case CONFIG_INT:
        expected_number(key, "an integer", ret_text, bytes);
        break;
    case CONFIG_SIZE:
        expected_number(key, "bytes or a size like \"64MiB\"", ret_text, bytes);
        break;
    case CONFIG_BOOL:
        snprintf(ret_text, bytes, "true or false");
        break;
    case CONFIG_FLOAT:
        expected_number(key, "a number", ret_text, bytes);
        break;
    case CONFIG_STRINGS:
        snprintf(ret_text, bytes, "a list of strings");
        break;
    case CONFIG_OBJECT:
        snprintf(ret_text, bytes, "an object");
        break;
    case CONFIG_JSON:
        snprintf(ret_text, bytes, "any value");
        break;
    }
}

void config_given(const struct json_t *value, char *ret_text, size_t bytes)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_REAL] = "a fraction",
        [JSON_TRUE] = "true",        [JSON_FALSE] = "false",  [JSON_NULL] = "null"};
    char *text;

    if (!json_is_string(value) && !json_is_integer(value)) {
        snprintf(ret_text, bytes, "%s", kinds[json_typeof(value)]);
        return;
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    snprintf(ret_text, bytes, "%.*s", GIVEN_CHARS_MAX, text != NULL ? text : "a string");
    free(text);
}

const char *config_nearest(const struct config_key *keys, const char *name)
{
    struct nearest nearest = {0};

    for (; keys->name != NULL; keys++) {
        nearest_offer(&nearest, name, keys->name);
    }
    return nearest.best;
}

int config_parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0},   {"B", 0},    {"KiB", 10}, {"K", 10},   {"MiB", 20},
                 {"M", 20}, {"GiB", 30}, {"G", 30},   {"TiB", 40}, {"T", 40}};
    int64_t v = 0;

    if (!isdigit((unsigned char)*text)) {
        return -EINVAL;
    }
    for (; isdigit((unsigned char)*text); text++) {
        if (v > INT64_MAX / 10 - 1) {
            return -EINVAL;
        }
        v = v * 10 + (*text - '0');
    }
    while (*text == ' ') {
        text++;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text, units[i].name) == 0) {
            if (v > INT64_MAX >> units[i].shift) {
                return -EINVAL;
            }
            *ret_bytes = v << units[i].shift;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- help ---- */

static void print_key(const struct config_key *key, unsigned indent, FILE *out)
{
    char expected[256];

    if (key->flags & CONFIG_UNUSED) {
        fprintf(out, "%*s%s: accepted, has no effect\n", (int)indent, "", key->name);
        return;
    }
    config_expected(key, expected, sizeof expected);
    fprintf(out, "%*s%s: %s", (int)indent, "", key->name, expected);
    if (key->flags & CONFIG_REQUIRED) {
        fprintf(out, ", required");
    } else if (key->type != CONFIG_OBJECT) {
        fprintf(out, ", default %s",
                key->default_json != NULL     ? key->default_json
                : key->type == CONFIG_BOOL    ? "false"
                : key->type == CONFIG_STRINGS ? "[]"
                                              : "null");
    }
    if (key->flags & CONFIG_LIVE) {
        fprintf(out, ", changes on reload");
    }
    fprintf(out, "\n%*s    %s\n", (int)indent, "", key->help != NULL ? key->help : "");
    for (const struct config_key *sub = key->keys; sub != NULL && sub->name != NULL; sub++) {
        print_key(sub, indent + 4, out);
    }
}

void config_print_help(const struct config_key *keys, FILE *out)
{
    for (; keys->name != NULL; keys++) {
        print_key(keys, 0, out);
    }
}
