/* From JSON: one function per key, found by name in a table that also serves the
 * suggestions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "policy/preset.h"

enum { SHOWN_BYTES = 48, KEY_BYTES_MAX = 32 };

typedef int (*field_read)(struct preset *p, const json_t *value, struct err *e);

struct field {
    const char *key;
    field_read read;
};

/* ---- errors ---- */

/* The value as the user wrote it, cut short. */
static const char *shown(char ret_text[SHOWN_BYTES], const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    size_t n = len < SHOWN_BYTES ? len : SHOWN_BYTES - 1;

    memcpy(ret_text, text != NULL ? text : "", n);
    ret_text[n] = '\0';
    if (n < len) {
        memcpy(ret_text + n - 3, "...", 3);
    }
    free(text);
    return ret_text;
}

static int bad_value(struct err *e, const char *field, const json_t *value, const char *accepted)
{
    char text[SHOWN_BYTES];

    return err_set(e, ERR_CONFIG, "%s = %s is not supported, accepted: %s", field,
                   shown(text, value), accepted);
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
                       const struct field *fields, size_t field_count)
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

/* ---- values ---- */

static int read_int(const char *field, const json_t *value, int64_t min, int64_t max,
                    int64_t *ret_value, struct err *e)
{
    char text[SHOWN_BYTES];

    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        return err_set(e, ERR_CONFIG, "%s = %s, must be an integer from %" PRId64 " to %" PRId64,
                       field, shown(text, value), min, max);
    }
    *ret_value = json_integer_value(value);
    return 0;
}

static int read_bool(const char *field, const json_t *value, bool *ret_value, struct err *e)
{
    if (!json_is_boolean(value)) {
        return bad_value(e, field, value, "true, false");
    }
    *ret_value = json_is_true(value);
    return 0;
}

/* ["name", …] as the original writes its variants; NULL when it is not one. */
static const char *variant_name(const json_t *value)
{
    return json_is_array(value) ? json_string_value(json_array_get(value, 0)) : NULL;
}

static int read_checksum(const char *field, const json_t *value, enum preset_checksum *ret_algo,
                         struct err *e)
{
    const char *name = variant_name(value);

    for (int algo = PRESET_CHECKSUM_NONE; algo <= PRESET_CHECKSUM_CRC32C; algo++) {
        if (name != NULL && json_array_size(value) == 1 &&
            strcmp(name, preset_checksum_name((enum preset_checksum)algo)) == 0) {
            *ret_algo = (enum preset_checksum)algo;
            return 0;
        }
    }
    return bad_value(e, field, value, "[\"none\"], [\"sha-1\"], [\"crc-32c\"]");
}

/* ---- the keys ---- */

static int read_name(struct preset *p, const json_t *value, struct err *e)
{
    if (!json_is_string(value)) {
        return bad_value(e, "name", value, "a string");
    }
    preset_set_name(p, json_string_value(value));
    return 0;
}

static int read_policy(struct preset_policy *policy, const json_t *value, size_t index,
                       struct err *e)
{
    uint32_t *parts[4] = {&policy->k, &policy->m, &policy->min_fragments, &policy->max_per_node};
    char field[32];
    char text[SHOWN_BYTES];
    int64_t n = 0;

    snprintf(field, sizeof(field), "policies[%zu]", index);
    if (!json_is_array(value) || json_array_size(value) != 4) {
        return err_set(e, ERR_CONFIG,
                       "%s = %s, must be [k, m, min_fragment_count, max_disks_per_node]", field,
                       shown(text, value));
    }
    for (size_t i = 0; i < 4; i++) {
        int rc = read_int(field, json_array_get(value, i), 0, INT32_MAX, &n, e);

        if (rc != 0) {
            return rc;
        }
        *parts[i] = (uint32_t)n;
    }
    return 0;
}

static int read_policies(struct preset *p, const json_t *value, struct err *e)
{
    size_t count = json_array_size(value);

    if (!json_is_array(value) || count < 1 || count > PRESET_POLICIES_MAX) {
        return bad_value(e, "policies", value, "an array of 1 to 16 policies");
    }
    for (size_t i = 0; i < count; i++) {
        int rc = read_policy(&p->policies[i], json_array_get(value, i), i, e);

        if (rc != 0) {
            return rc;
        }
    }
    p->policy_count = (uint32_t)count;
    return 0;
}

static int read_fragment_size(struct preset *p, const json_t *value, struct err *e)
{
    int64_t n = 0;
    int rc = read_int("fragment_size", value, PRESET_FRAGMENT_BYTES_STEP, PRESET_FRAGMENT_BYTES_MAX,
                      &n, e);

    if (rc == 0) {
        p->fragment_bytes = (uint32_t)n;
    }
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int read_osds(struct preset *p, const json_t *value, struct err *e)
{
    const char *name = variant_name(value);
    const json_t *ids = json_array_get(value, 1);
    size_t count = json_array_size(ids);

    if (name != NULL && strcmp(name, "all") == 0 && json_array_size(value) == 1) {
        return 0;
    }
    if (name == NULL || strcmp(name, "explicit") != 0 || json_array_size(value) != 2 ||
        !json_is_array(ids) || count > PRESET_OSDS_MAX) {
        return bad_value(e, "osds", value, "[\"all\"], [\"explicit\", [osd ids]]");
    }
    p->osds_explicit = true;
    p->osd_ids = mem_array(count + 1, sizeof(p->osd_ids[0]));
    p->osd_id_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        int64_t n;
        int rc = read_int("osds", json_array_get(ids, i), 0, INT64_MAX, &n, e);

        if (rc != 0) {
            return rc;
        }
        p->osd_ids[i] = (uint64_t)n;
    }
    qsort(p->osd_ids, count, sizeof(p->osd_ids[0]), compare_ids);
    return 0;
}

static int read_compression(struct preset *p, const json_t *value, struct err *e)
{
    if (!json_is_string(value) || compress_parse(json_string_value(value), &p->codec) != 0) {
        return bad_value(e, "compression", value, "\"none\", \"lz4\"");
    }
    return 0;
}

/* Format 1 fragments always carry this one. */
static int read_fragment_checksum(struct preset *p, const json_t *value, struct err *e)
{
    const char *name = variant_name(value);

    (void)p;
    if (name == NULL || json_array_size(value) != 1 || strcmp(name, "crc-32c") != 0) {
        return bad_value(e, "fragment_checksum", value, "[\"crc-32c\"]");
    }
    return 0;
}

static int read_fragment_encryption(struct preset *p, const json_t *value, struct err *e)
{
    const char *name = variant_name(value);

    (void)p;
    if (name == NULL || json_array_size(value) != 1 || strcmp(name, "none") != 0) {
        /* The value may hold the path of a key: name the cipher only. */
        return err_set(e, ERR_CONFIG,
                       "fragment_encryption = [\"%.24s\"] is not supported, accepted: [\"none\"]",
                       name != NULL ? name : "?");
    }
    return 0;
}

static int read_allowed(struct preset *p, const json_t *value, struct err *e)
{
    uint32_t allowed = 0;

    if (!json_is_array(value)) {
        return bad_value(e, "object_checksum.allowed", value, "an array");
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        enum preset_checksum algo = PRESET_CHECKSUM_NONE;
        int rc = read_checksum("object_checksum.allowed", json_array_get(value, i), &algo, e);

        if (rc != 0) {
            return rc;
        }
        allowed |= 1u << algo;
    }
    p->object_checksums_allowed = allowed;
    return 0;
}

static int read_default(struct preset *p, const json_t *value, struct err *e)
{
    return read_checksum("object_checksum.default", value, &p->object_checksum, e);
}

static int read_verify_upload(struct preset *p, const json_t *value, struct err *e)
{
    return read_bool("object_checksum.verify_upload", value, &p->verify_upload, e);
}

static int read_max_per_datacenter(struct preset *p, const json_t *value, struct err *e)
{
    int64_t n = 0;
    int rc = read_int("max_per_datacenter", value, 0, PRESET_PER_NODE_MAX, &n, e);

    if (rc == 0) {
        p->max_per_datacenter = (uint32_t)n;
    }
    return rc;
}

static int read_is_default(struct preset *p, const json_t *value, struct err *e)
{
    return read_bool("is_default", value, &p->is_default, e);
}

static int read_in_use(struct preset *p, const json_t *value, struct err *e)
{
    return read_bool("in_use", value, &p->in_use, e);
}

static int read_version(struct preset *p, const json_t *value, struct err *e)
{
    return read_int("version", value, -1, INT64_MAX, &p->version, e);
}

static int read_object(struct preset *p, const json_t *json, const char *where,
                       const struct field *fields, size_t field_count, struct err *e)
{
    const char *key;
    json_t *value;

    /* jansson's iterators want a json_t they do not change. */
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct field *field = NULL;
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

static int read_object_checksum(struct preset *p, const json_t *value, struct err *e)
{
    static const struct field fields[] = {{"allowed", read_allowed},
                                          {"default", read_default},
                                          {"verify_upload", read_verify_upload}};

    if (!json_is_object(value)) {
        return bad_value(e, "object_checksum", value, "{allowed, default, verify_upload}");
    }
    return read_object(p, value, "object_checksum: ", fields, sizeof(fields) / sizeof(fields[0]),
                       e);
}

int preset_from_json(struct preset *ret_preset, const json_t *json, struct err *e)
{
    static const struct field fields[] = {
        {"name", read_name},
        {"policies", read_policies},
        {"fragment_size", read_fragment_size},
        {"osds", read_osds},
        {"compression", read_compression},
        {"fragment_checksum", read_fragment_checksum},
        {"object_checksum", read_object_checksum},
        {"fragment_encryption", read_fragment_encryption},
        {"max_per_datacenter", read_max_per_datacenter},
        {"is_default", read_is_default},
        {"in_use", read_in_use},
        {"version", read_version},
    };
    struct preset p;
    int rc;

    preset_init_default(&p); /* whose values stand where a key is absent */
    preset_set_name(&p, "");
    p.policy_count = 0;

    if (!json_is_object(json)) {
        rc = err_set(e, ERR_CONFIG, "not a JSON object");
        goto out;
    }
    rc = read_object(&p, json, "", fields, sizeof(fields) / sizeof(fields[0]), e);
    if (rc != 0) {
        goto out;
    }
    if (p.policy_count == 0) {
        rc = err_set(e, ERR_CONFIG, "policies is missing");
        goto out;
    }
    rc = preset_validate(&p, e);

out:
    if (rc != 0) {
        preset_release(&p);
        return err_wrap(e, "preset");
    }
    *ret_preset = p;
    return 0;
}

int preset_from_text(struct preset *ret_preset, const char *text, size_t bytes, struct err *e)
{
    json_error_t where;
    json_t *json;
    int rc;

    if (bytes > PRESET_TEXT_BYTES_MAX) {
        return err_set(e, ERR_CONFIG, "preset: JSON of %zu bytes", bytes);
    }
    json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL) {
        return err_set(e, ERR_CONFIG, "preset: line %d: %.80s", where.line, where.text);
    }
    rc = preset_from_json(ret_preset, json, e);
    json_decref(json);
    return rc;
}
