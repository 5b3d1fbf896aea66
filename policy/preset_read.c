/* From JSON: one function per key, found by name in a table that also serves the
 * suggestions. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "policy/preset_field.h"

/* ---- values ---- */

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
    return preset_field_bad(e, field, value, "[\"none\"], [\"sha-1\"], [\"crc-32c\"]");
}

/* ---- the keys ---- */

static int read_name(struct preset *p, const json_t *value, struct err *e)
{
    if (!json_is_string(value)) {
        return preset_field_bad(e, "name", value, "a string");
    }
    preset_set_name(p, json_string_value(value));
    return 0;
}

static int read_policy(struct preset_policy *policy, const json_t *value, size_t index,
                       struct err *e)
{
    uint32_t *parts[4] = {&policy->k, &policy->m, &policy->min_fragments, &policy->max_per_node};
    char field[32];
    char text[PRESET_SHOWN_BYTES];
    int64_t n = 0;

    snprintf(field, sizeof(field), "policies[%zu]", index);
    if (!json_is_array(value) || json_array_size(value) != 4) {
        return err_set(e, ERR_CONFIG,
                       "%s = %s, must be [k, m, min_fragment_count, max_disks_per_node]", field,
                       preset_field_shown(text, value));
    }
    for (size_t i = 0; i < 4; i++) {
        int rc = preset_field_int(field, json_array_get(value, i), 0, INT32_MAX, &n, e);

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
        return preset_field_bad(e, "policies", value, "an array of 1 to 16 policies");
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
    int rc = preset_field_int("fragment_size", value, 1, PRESET_FRAGMENT_BYTES_MAX, &n, e);

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
        return preset_field_bad(e, "osds", value, "[\"all\"], [\"explicit\", [osd ids]]");
    }
    p->osds_explicit = true;
    p->osd_ids = mem_array(count + 1, sizeof(p->osd_ids[0]));
    p->osd_id_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        int64_t n;
        int rc = preset_field_int("osds", json_array_get(ids, i), 0, INT64_MAX, &n, e);

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
        return preset_field_bad(e, "compression", value, "\"none\", \"lz4\", \"snappy\", \"bz2\"");
    }
    return 0;
}

static int read_fragment_checksum(struct preset *p, const json_t *value, struct err *e)
{
    enum preset_checksum algo = PRESET_CHECKSUM_NONE;

    if (read_checksum("fragment_checksum", value, &algo, e) != 0 || algo == PRESET_CHECKSUM_NONE) {
        return preset_field_bad(e, "fragment_checksum", value, "[\"sha-1\"], [\"crc-32c\"]");
    }
    p->fragment_checksum = algo;
    return 0;
}

/* The value may hold the path of a key, or by mistake a key: only the cipher is told. */
static int read_fragment_encryption(struct preset *p, const json_t *value, struct err *e)
{
    const char *name = variant_name(value);
    const char *id = json_string_value(json_array_get(value, 1));
    enum cipher cipher;

    if (name == NULL || cipher_parse(name, &cipher) != 0) {
        return err_say(e, ERR_CONFIG,
                       "fragment_encryption = [\"%.24s\"] is not supported, accepted: [\"none\"], "
                       "[\"xchacha20-poly1305\", key], [\"aes-256-gcm\", key], "
                       "[\"aes-ctr-256\", key], [\"aes-cbc-256\", key]",
                       name != NULL ? name : "?");
    }
    memset(p->key_id, 0, sizeof(p->key_id));
    p->cipher = cipher;
    if (cipher == CIPHER_NONE && json_array_size(value) == 1) {
        return 0;
    }
    if (cipher == CIPHER_NONE || id == NULL || json_array_size(value) != 2 ||
        hex_decode(p->key_id, sizeof(p->key_id), id) != 0) {
        return err_say(e, ERR_CONFIG,
                       "fragment_encryption: want [\"none\"], or a cipher and a key's id of 64 hex "
                       "digits (or, for create-preset and update-preset, the path of its file)");
    }
    return 0;
}

static int read_allowed(struct preset *p, const json_t *value, struct err *e)
{
    uint32_t allowed = 0;

    if (!json_is_array(value)) {
        return preset_field_bad(e, "object_checksum.allowed", value, "an array");
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
    return preset_field_bool("object_checksum.verify_upload", value, &p->verify_upload, e);
}

static int read_max_per_datacenter(struct preset *p, const json_t *value, struct err *e)
{
    int64_t n = 0;
    int rc = preset_field_int("max_per_datacenter", value, 0, PRESET_PER_NODE_MAX, &n, e);

    if (rc == 0) {
        p->max_per_datacenter = (uint32_t)n;
    }
    return rc;
}

static int read_is_default(struct preset *p, const json_t *value, struct err *e)
{
    return preset_field_bool("is_default", value, &p->is_default, e);
}

static int read_in_use(struct preset *p, const json_t *value, struct err *e)
{
    return preset_field_bool("in_use", value, &p->in_use, e);
}

static int read_version(struct preset *p, const json_t *value, struct err *e)
{
    return preset_field_int("version", value, -1, INT64_MAX, &p->version, e);
}

static int read_object_checksum(struct preset *p, const json_t *value, struct err *e)
{
    static const struct preset_field fields[] = {{"allowed", read_allowed},
                                                 {"default", read_default},
                                                 {"verify_upload", read_verify_upload}};

    if (!json_is_object(value)) {
        return preset_field_bad(e, "object_checksum", value, "{allowed, default, verify_upload}");
    }
    return preset_fields_read(p, value, "object_checksum: ", fields,
                              sizeof(fields) / sizeof(fields[0]), e);
}

int preset_from_json(struct preset *ret_preset, const json_t *json, struct err *e)
{
    static const struct preset_field fields[] = {
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
    rc = preset_fields_read(&p, json, "", fields, sizeof(fields) / sizeof(fields[0]), e);
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

static int read_fixed(struct preset *p, const json_t *value, struct err *e)
{
    (void)p;
    (void)value;
    return err_say(e, ERR_CONFIG,
                   "compression and checksums of a preset do not change; policies, "
                   "fragment_size, fragment_encryption and max_per_datacenter do. Create another "
                   "preset, and a namespace that uses it");
}

int preset_update(struct preset *p, const json_t *json, struct err *e)
{
    static const struct preset_field fields[] = {
        {"policies", read_policies},
        {"fragment_size", read_fragment_size},
        {"fragment_encryption", read_fragment_encryption},
        {"max_per_datacenter", read_max_per_datacenter},
        {"compression", read_fixed},
        {"object_checksum", read_fixed},
        {"fragment_checksum", read_fixed},
    };
    struct preset changed;
    int rc;

    if (!json_is_object(json) || json_object_size(json) == 0) {
        return err_say(e, ERR_CONFIG,
                       "update of a preset: want a JSON object with policies, fragment_size, "
                       "fragment_encryption, max_per_datacenter or some of them");
    }
    preset_copy(&changed, p);
    rc = preset_fields_read(&changed, json, "", fields, sizeof(fields) / sizeof(fields[0]), e);
    if (rc == 0 && p->cipher != CIPHER_NONE && changed.cipher == CIPHER_NONE) {
        rc = err_say(
            e, ERR_CONFIG,
            "fragment_encryption: a preset that encrypts does not change to [\"none\"]: its "
            "objects stay encrypted, and clients that read them ask for the preset's key. "
            "Create another preset, and a namespace that uses it");
    }
    if (rc == 0) {
        rc = preset_validate(&changed, e);
    }
    if (rc != 0) {
        preset_release(&changed);
        return err_wrap(e, "update of a preset");
    }
    preset_release(p);
    *p = changed;
    return 0;
}

int preset_load_text(json_t **ret_json, const char *text, size_t bytes, struct err *e)
{
    json_error_t where;

    if (bytes > PRESET_TEXT_BYTES_MAX) {
        return err_set(e, ERR_CONFIG, "preset: JSON of %zu bytes", bytes);
    }
    *ret_json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (*ret_json == NULL) {
        return err_set(e, ERR_CONFIG, "preset: line %d: %.80s", where.line, where.text);
    }
    return 0;
}

int preset_from_text(struct preset *ret_preset, const char *text, size_t bytes, struct err *e)
{
    json_t *json;
    int rc = preset_load_text(&json, text, bytes, e);

    if (rc == 0) {
        rc = preset_from_json(ret_preset, json, e);
        json_decref(json);
    }
    return rc;
}
