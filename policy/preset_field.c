#include "policy/preset_field.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { KEY_BYTES_MAX = 32 };

const char *preset_field_shown(char ret_text[PRESET_SHOWN_BYTES], const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    size_t n = len < PRESET_SHOWN_BYTES ? len : PRESET_SHOWN_BYTES - 1;

    memcpy(ret_text, text != NULL ? text : "", n);
    ret_text[n] = '\0';
    if (n < len) {
        memcpy(ret_text + n - 3, "...", 3);
    }
    free(text);
    return ret_text;
}

int preset_field_bad(struct err *e, const char *field, const json_t *value, const char *accepted)
{
    char text[PRESET_SHOWN_BYTES];

    return err_set(e, ERR_CONFIG, "%s = %s is not supported, accepted: %s", field,
                   preset_field_shown(text, value), accepted);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to change, add or drop to make `a` of `b`. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t row[KEY_BYTES_MAX + 1];

    CHECK(b_len <= KEY_BYTES_MAX);
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            row[j] = least(change, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_len];
}

/* A key that was cut short or drawn out is near, however long the rest. */
static size_t key_distance(const char *key, const char *known)
{
    size_t shorter = least(strlen(key), strlen(known));

    if (shorter >= 3 && strncmp(key, known, shorter) == 0) {
        return 1;
    }
    return edit_distance(key, known);
}

static int unknown_key(struct err *e, const char *where, const char *key,
                       const struct preset_field *fields, size_t field_count)
{
    const char *nearest = fields[0].key;
    size_t best = SIZE_MAX;

    for (size_t i = 0; strlen(key) <= KEY_BYTES_MAX && i < field_count; i++) {
        size_t distance = key_distance(key, fields[i].key);

        if (distance < best) {
            best = distance;
            nearest = fields[i].key;
        }
    }
    if (best > strlen(key) / 2 + 1) {
        return err_set(e, ERR_CONFIG, "%sunknown key '%.40s'", where, key);
    }
    return err_set(e, ERR_CONFIG, "%sunknown key '%.40s', did you mean '%s'?", where, key, nearest);
}

int preset_field_int(const char *field, const json_t *value, int64_t min, int64_t max,
                     int64_t *ret_value, struct err *e)
{
    char text[PRESET_SHOWN_BYTES];

    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        return err_set(e, ERR_CONFIG, "%s = %s, must be an integer from %" PRId64 " to %" PRId64,
                       field, preset_field_shown(text, value), min, max);
    }
    *ret_value = json_integer_value(value);
    return 0;
}

int preset_field_bool(const char *field, const json_t *value, bool *ret_value, struct err *e)
{
    if (!json_is_boolean(value)) {
        return preset_field_bad(e, field, value, "true, false");
    }
    *ret_value = json_is_true(value);
    return 0;
}

int preset_fields_read(struct preset *p, const json_t *json, const char *where,
                       const struct preset_field *fields, size_t field_count, struct err *e)
{
    const char *key;
    json_t *value;

    /* jansson's iterators want a json_t they do not change. */
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct preset_field *field = NULL;
        int rc;

        for (size_t i = 0; i < field_count; i++) {
            if (strcmp(key, fields[i].key) == 0) {
                field = &fields[i];
            }
        }
        rc = field != NULL ? field->read(p, value, e)
                           : unknown_key(e, where, key, fields, field_count);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
