#include "daemon/config.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/config_text.h"
#include "loop/io.h"

enum { PATH_TEXT_MAX = 128 };

/* Where we are: "tls.cert", for messages. */
struct place {
    char text[PATH_TEXT_MAX];
};

static struct place place_below(const struct place *above, const char *name)
{
    struct place p;

    snprintf(p.text, sizeof p.text, "%.60s%s%.60s", above->text, *above->text != '\0' ? "." : "",
             name);
    return p;
}

static void *field(void *config, const struct config_key *key)
{
    return (char *)config + key->offset;
}

static const void *field_const(const void *config, const struct config_key *key)
{
    return (const char *)config + key->offset;
}

/* ---- one value ---- */

static int want(const struct config_key *key, const struct place *at, const json_t *value,
                struct err *e)
{
    char expected[160], given[80];

    config_expected(key, expected, sizeof expected);
    config_given(value, given, sizeof given);
    return err_say(e, ERR_CONFIG, "key '%s': want %s, got %s", at->text, expected, given);
}

static int set_string(void *at, const struct config_key *key, const struct place *place,
                      const json_t *value, struct err *e)
{
    const char *text = json_string_value(value);

    if (text == NULL || (key->type == CONFIG_PATH && *text != '/')) {
        return want(key, place, value, e);
    }
    for (unsigned i = 0; key->choices != NULL; i++) {
        if (key->choices[i] == NULL) {
            return want(key, place, value, e);
        }
        if (strcmp(key->choices[i], text) == 0) {
            break;
        }
    }
    *(char **)at = mem_strdup(text);
    return 0;
}

static int set_int(void *at, const struct config_key *key, const struct place *place,
                   const json_t *value, struct err *e)
{
    int64_t v;

    if (json_is_integer(value)) {
        v = json_integer_value(value);
    } else if (key->type != CONFIG_SIZE || !json_is_string(value) ||
               config_parse_size(json_string_value(value), &v) != 0) {
        return want(key, place, value, e);
    }
    if (key->min == 0 && key->max == 0 ? v < 0 : v < key->min || v > key->max) {
        return want(key, place, value, e);
    }
    *(int64_t *)at = v;
    return 0;
}

static int set_float(void *at, const struct config_key *key, const struct place *place,
                     const json_t *value, struct err *e)
{
    double v = json_number_value(value);

    if (!json_is_number(value) ||
        (key->min == 0 && key->max == 0 ? v < 0 : v < (double)key->min || v > (double)key->max)) {
        return want(key, place, value, e);
    }
    *(double *)at = v;
    return 0;
}

static int set_strings(void *at, const struct config_key *key, const struct place *place,
                       const json_t *value, struct err *e)
{
    struct config_strings *list = at;

    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i))) {
            return want(key, place, value, e);
        }
    }
    if (!json_is_array(value)) {
        return want(key, place, value, e);
    }
    list->items = mem_array(json_array_size(value), sizeof *list->items);
    for (; list->count < json_array_size(value); list->count++) {
        list->items[list->count] =
            mem_strdup(json_string_value(json_array_get(value, list->count)));
    }
    return 0;
}

static int fill_object(const struct config_key *keys, const json_t *object,
                       const struct place *above, void *config, struct err *e);

static void set_null(void *at, enum config_type type)
{
    if (type == CONFIG_INT || type == CONFIG_SIZE) {
        *(int64_t *)at = CONFIG_NONE;
    } else if (type == CONFIG_FLOAT) {
        *(double *)at = NAN;
    }
}

static int set_value(const struct config_key *key, const struct place *place, const json_t *value,
                     void *config, struct err *e)
{
    void *at = field(config, key);

    if (json_is_null(value) && key->type != CONFIG_BOOL && key->type != CONFIG_OBJECT) {
        set_null(at, key->type);
        return 0;
    }
    switch (key->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        return set_string(at, key, place, value, e);
    case CONFIG_INT:
    case CONFIG_SIZE:
        return set_int(at, key, place, value, e);
    case CONFIG_FLOAT:
        return set_float(at, key, place, value, e);
    case CONFIG_STRINGS:
        return set_strings(at, key, place, value, e);
    case CONFIG_BOOL:
        if (!json_is_boolean(value)) {
            return want(key, place, value, e);
        }
        *(bool *)at = json_is_true(value);
        return 0;
    case CONFIG_OBJECT:
        if (!json_is_object(value) && !json_is_null(value)) {
            return want(key, place, value, e);
        }
        *(bool *)at = json_is_object(value);
        return fill_object(key->keys, json_is_null(value) ? NULL : value, place, config, e);
    case CONFIG_JSON:
        *(json_t **)at = json_deep_copy(value);
        return 0;
    }
    CHECK(false); /* a type that the enum does not have */
    return 0;
}

/* ---- a table ---- */

static int set_default(const struct config_key *key, const struct place *place, void *config,
                       struct err *e)
{
    json_t *value = key->default_json != NULL ? json_loads(key->default_json, JSON_DECODE_ANY, NULL)
                                              : json_null();
    int rc = 0;

    CHECK(value != NULL);
    if (key->default_json != NULL || key->type != CONFIG_BOOL) {
        rc = set_value(key, place, value, config, e);
    }
    json_decref(value);
    return rc;
}

static int check_fixed(const struct config_key *key, const struct place *place, const json_t *value,
                       struct err *e)
{
    json_t *only = json_loads(key->default_json, JSON_DECODE_ANY, NULL);
    bool same = json_equal(value, only);

    json_decref(only);
    return same ? 0
                : err_say(e, ERR_CONFIG, "key '%s': only %s is possible: %.80s", place->text,
                          key->default_json, key->help);
}

/* A null must not get round the bounds of a key that always has a value. */
static bool null_means_default(const struct config_key *key)
{
    return key->default_json != NULL && key->type != CONFIG_BOOL &&
           !(key->flags & (CONFIG_NULLABLE | CONFIG_FIXED | CONFIG_REQUIRED));
}

static int fill_key(const struct config_key *key, const json_t *object, const struct place *above,
                    void *config, struct err *e)
{
    struct place place = place_below(above, key->name);
    const json_t *value = object != NULL ? json_object_get(object, key->name) : NULL;
    int rc;

    if (key->flags & CONFIG_UNUSED) {
        if (value != NULL) {
            log_warn("config", "key has no effect", "key=%s", place.text);
        }
        return 0;
    }
    if (value == NULL) {
        if ((key->flags & CONFIG_REQUIRED) && object != NULL) {
            char expected[160];

            config_expected(key, expected, sizeof expected);
            return err_say(e, ERR_CONFIG, "key '%s' is required (%s)", place.text, expected);
        }
        return set_default(key, &place, config, e);
    }
    if (json_is_null(value) && null_means_default(key)) {
        return set_default(key, &place, config, e);
    }
    if ((key->flags & CONFIG_REQUIRED) && json_is_null(value)) {
        return want(key, &place, value, e);
    }
    rc = key->flags & CONFIG_FIXED ? check_fixed(key, &place, value, e) : 0;
    return rc != 0 ? rc : set_value(key, &place, value, config, e);
}

static const struct config_key *find_key(const struct config_key *keys, const char *name)
{
    for (; keys->name != NULL; keys++) {
        if (strcmp(keys->name, name) == 0) {
            return keys;
        }
    }
    return NULL;
}

/* `object` NULL: nothing is given, fill in the defaults. */
static int fill_object(const struct config_key *keys, const json_t *object,
                       const struct place *above, void *config, struct err *e)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        struct place place = place_below(above, name);
        const char *near;

        if (find_key(keys, name) != NULL) {
            continue;
        }
        near = config_nearest(keys, name);
        if (near == NULL) {
            return err_say(e, ERR_CONFIG, "unknown key '%s'", place.text);
        }
        return err_say(e, ERR_CONFIG, "unknown key '%s'; did you mean '%s'?", place.text, near);
    }
    for (; keys->name != NULL; keys++) {
        int rc = fill_key(keys, object, above, config, e);

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- for the user ---- */

int config_parse(const struct config_key *keys, const char *name, const char *text,
                 size_t text_bytes, void *ret_config, size_t config_bytes, struct err *e)
{
    struct place root = {{0}};
    json_error_t where;
    json_t *json;
    int rc;

    json = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL) {
        return err_say(e, ERR_CONFIG, "config %.60s: line %d, column %d: %.70s", name, where.line,
                       where.column, where.text);
    }
    memset(ret_config, 0, config_bytes);
    if (json_is_object(json)) {
        rc = fill_object(keys, json, &root, ret_config, e);
    } else {
        char given[80];

        config_given(json, given, sizeof given);
        rc = err_say(e, ERR_CONFIG, "want an object, got %s", given);
    }
    json_decref(json);
    if (rc != 0) {
        config_release(keys, ret_config);
        return err_wrap(e, "config %s", name);
    }
    return 0;
}

int config_load(const struct config_key *keys, const char *url, void *ret_config,
                size_t config_bytes, struct err *e)
{
    const char *path = strncmp(url, "file://", 7) == 0 ? url + 7 : url;
    uint8_t *text = NULL;
    size_t bytes;
    int rc;

    if (strstr(path, "://") != NULL) {
        return err_say(e, ERR_CONFIG, "config %.100s: want a path or file://PATH", url);
    }
    rc = io_load_file(io_real(), path, CONFIG_FILE_BYTES_MAX, &text, &bytes);
    if (rc != 0) {
        return err_set(e, rc, "config %.140s", path);
    }
    rc = config_parse(keys, path, (const char *)text, bytes, ret_config, config_bytes, e);
    free(text);
    return rc;
}

void config_release(const struct config_key *keys, void *config)
{
    for (; keys->name != NULL; keys++) {
        void *at = field(config, keys);

        if (keys->flags & CONFIG_UNUSED) {
            continue;
        }
        if (keys->type == CONFIG_STRING || keys->type == CONFIG_PATH) {
            free(*(char **)at);
            *(char **)at = NULL;
        } else if (keys->type == CONFIG_STRINGS) {
            struct config_strings *list = at;

            for (unsigned i = 0; i < list->count; i++) {
                free(list->items[i]);
            }
            free(list->items);
            *list = (struct config_strings){0};
        } else if (keys->type == CONFIG_OBJECT) {
            config_release(keys->keys, config);
        } else if (keys->type == CONFIG_JSON) {
            json_decref(*(json_t **)at);
            *(json_t **)at = NULL;
        }
    }
}

/* ---- differences ---- */

static bool strings_equal(const struct config_strings *a, const struct config_strings *b)
{
    for (unsigned i = 0; i < a->count && i < b->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

static bool value_equal(const struct config_key *key, const void *a, const void *b)
{
    switch (key->type) {
    case CONFIG_STRING:
    case CONFIG_PATH: {
        const char *x = *(char *const *)a;
        const char *y = *(char *const *)b;

        return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
    }
    case CONFIG_INT:
    case CONFIG_SIZE:
        return *(const int64_t *)a == *(const int64_t *)b;
    case CONFIG_FLOAT:
        return memcmp(a, b, sizeof(double)) == 0;
    case CONFIG_STRINGS:
        return strings_equal(a, b);
    case CONFIG_BOOL:
    case CONFIG_OBJECT:
        return *(const bool *)a == *(const bool *)b;
    case CONFIG_JSON:
        return *(json_t *const *)a == *(json_t *const *)b ||
               json_equal(*(json_t *const *)a, *(json_t *const *)b);
    }
    return true;
}

static unsigned diff_below(const struct config_key *keys, const struct place *above,
                           const void *old, const void *new, config_change_cb cb, void *ctx)
{
    unsigned count = 0;

    for (; keys->name != NULL; keys++) {
        struct place place = place_below(above, keys->name);

        if (keys->flags & CONFIG_UNUSED) {
            continue;
        }
        if (!value_equal(keys, field_const(old, keys), field_const(new, keys))) {
            cb(ctx, place.text, keys);
            count++;
        }
        if (keys->type == CONFIG_OBJECT) {
            count += diff_below(keys->keys, &place, old, new, cb, ctx);
        }
    }
    return count;
}

unsigned config_diff(const struct config_key *keys, const void *old, const void *new,
                     config_change_cb cb, void *ctx)
{
    struct place root = {{0}};

    return diff_below(keys, &root, old, new, cb, ctx);
}
