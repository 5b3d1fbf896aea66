/* To JSON, as list-presets shows it and the registry keeps it. */
#include "base/check.h"
#include "base/hex.h"
#include "policy/preset.h"

static void add(json_t *object, const char *key, json_t *value)
{
    CHECK(value != NULL && json_object_set_new(object, key, value) == 0);
}

static void append(json_t *array, json_t *value)
{
    CHECK(value != NULL && json_array_append_new(array, value) == 0);
}

static json_t *variant(const char *name)
{
    json_t *array = json_array();

    append(array, json_string(name));
    return array;
}

static json_t *policies_json(const struct preset *p)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < p->policy_count; i++) {
        const struct preset_policy *policy = &p->policies[i];
        json_t *four = json_array();

        append(four, json_integer(policy->k));
        append(four, json_integer(policy->m));
        append(four, json_integer(policy->min_fragments));
        append(four, json_integer(policy->max_per_node));
        append(array, four);
    }
    return array;
}

static json_t *osds_json(const struct preset *p)
{
    json_t *array = variant(p->osds_explicit ? "explicit" : "all");
    json_t *ids;

    if (p->osds_explicit) {
        ids = json_array();
        for (uint32_t i = 0; i < p->osd_id_count; i++) {
            append(ids, json_integer((json_int_t)p->osd_ids[i]));
        }
        append(array, ids);
    }
    return array;
}

static json_t *encryption_json(const struct preset *p)
{
    json_t *array = variant(cipher_name(p->cipher));
    char id[KEY_ID_TEXT_BYTES];

    if (p->cipher != CIPHER_NONE) {
        hex_encode(id, p->key_id, sizeof(p->key_id));
        append(array, json_string(id));
    }
    return array;
}

static json_t *object_checksum_json(const struct preset *p)
{
    json_t *object = json_object();
    json_t *allowed = json_array();

    for (int algo = PRESET_CHECKSUM_NONE; algo <= PRESET_CHECKSUM_CRC32C; algo++) {
        if (preset_allows_checksum(p, (enum preset_checksum)algo)) {
            append(allowed, variant(preset_checksum_name((enum preset_checksum)algo)));
        }
    }
    add(object, "allowed", allowed);
    add(object, "default", variant(preset_checksum_name(p->object_checksum)));
    add(object, "verify_upload", json_boolean(p->verify_upload));
    return object;
}

json_t *preset_to_json(const struct preset *p)
{
    json_t *object = json_object();

    add(object, "name", json_string(p->name));
    add(object, "policies", policies_json(p));
    add(object, "fragment_size", json_integer(p->fragment_bytes));
    add(object, "osds", osds_json(p));
    add(object, "compression", json_string(compress_name(p->codec)));
    add(object, "fragment_checksum", variant(preset_checksum_name(p->fragment_checksum)));
    add(object, "object_checksum", object_checksum_json(p));
    add(object, "fragment_encryption", encryption_json(p));
    if (p->max_per_datacenter != 0) { /* a key that other readers do not know */
        add(object, "max_per_datacenter", json_integer(p->max_per_datacenter));
    }
    add(object, "is_default", json_boolean(p->is_default));
    add(object, "in_use", json_boolean(p->in_use));
    add(object, "version", json_integer(p->version));
    return object;
}
