#include "meta/registry_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/bytes.h"

static const char root[] = "/alba/v1/reg/";

struct slice reg_key(struct key *key, const char *prefix, const char *id)
{
    key->len = 0;
    key_put_text(key, root);
    key_put_text(key, prefix);
    key_put_text(key, id);
    return slice_key(key);
}

struct slice reg_key_tail(struct slice key)
{
    size_t skip = sizeof(root) - 1;

    if (key.len < skip || memcmp(key.data, root, skip) != 0) {
        return slice_of(NULL, 0);
    }
    return slice_of(key.data + skip, key.len - skip);
}

const char *record_prefix(enum record_kind kind)
{
    static const char *const prefixes[RECORD_KINDS] = {[RECORD_OSD] = REG_OSD,
                                                       [RECORD_PRESET] = REG_PRESET,
                                                       [RECORD_NSM_HOST] = REG_NSM_HOST,
                                                       [RECORD_NAMESPACE] = REG_NAMESPACE,
                                                       [RECORD_REMOVED] = REG_REMOVED};

    return prefixes[kind];
}

void record_id_text(uint64_t id, char ret_text[RECORD_ID_TEXT_BYTES])
{
    snprintf(ret_text, RECORD_ID_TEXT_BYTES, "%016" PRIx64, id);
}

/* ---- fields ---- */

const char *json_text(const json_t *object, const char *field, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, field));

    return text != NULL ? text : otherwise;
}

uint64_t json_u64(const json_t *object, const char *field, uint64_t otherwise)
{
    const json_t *number = json_object_get(object, field);

    if (!json_is_integer(number) || json_integer_value(number) < 0) {
        return otherwise;
    }
    return (uint64_t)json_integer_value(number);
}

bool json_bool(const json_t *object, const char *field, bool otherwise)
{
    const json_t *value = json_object_get(object, field);

    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

int record_check_name(const char *what, const char *name, size_t bytes_max, struct err *e)
{
    json_t *text;

    if (name[0] == '\0') {
        return err_say(e, ERR_CONFIG, "%s is empty", what);
    }
    if (strlen(name) > bytes_max) {
        return err_say(e, ERR_CONFIG, "%s '%.60s…' has %zu bytes (at most %zu)", what, name,
                       strlen(name), bytes_max);
    }
    text = json_string(name);
    if (text == NULL) {
        return err_say(e, ERR_CONFIG, "%s is not UTF-8", what);
    }
    json_decref(text);
    return 0;
}

/* ---- parsing ---- */

static int parse_osd(struct record *r)
{
    struct registry_osd *osd = &r->osd;
    const json_t *ips = json_object_get(r->json, "ips");
    uint64_t port = json_u64(r->json, "port", UINT64_MAX);

    osd->long_id = json_text(r->json, "long_id", NULL);
    osd->node_id = json_text(r->json, "node_id", "");
    osd->datacenter = json_text(r->json, "datacenter", "");
    osd->use_tls = json_bool(r->json, "use_tls", false);
    osd->capacity_bytes = json_u64(r->json, "capacity_bytes", 0);
    osd->is_purging = json_bool(r->json, "purging", false);
    osd->is_decommissioned = osd->is_purging || json_bool(r->json, "decommissioned", false);
    osd->osd_id = json_u64(r->json, "osd_id", UINT64_MAX);
    osd->is_claimed = osd->osd_id != UINT64_MAX;
    osd->claimed_since_us = json_u64(r->json, "claimed_since_us", 0);
    if (osd->long_id == NULL || port > UINT16_MAX || !json_is_array(ips) ||
        json_array_size(ips) == 0 || json_array_size(ips) > REGISTRY_OSD_IPS_MAX) {
        return ERR_CORRUPT;
    }
    osd->port = (uint16_t)port;
    for (size_t i = 0; i < json_array_size(ips); i++) {
        osd->ips[i] = json_string_value(json_array_get(ips, i));
        if (osd->ips[i] == NULL) {
            return ERR_CORRUPT;
        }
        osd->ip_count++;
    }
    return 0;
}

static int parse_namespace(struct record *r)
{
    struct registry_namespace *ns = &r->ns;
    const char *state = json_text(r->json, "state", "");

    ns->id = json_u64(r->json, "id", UINT64_MAX);
    ns->name = json_text(r->json, "name", NULL);
    ns->preset = json_text(r->json, "preset", NULL);
    ns->nsm_host = json_text(r->json, "nsm_host", NULL);
    ns->created_us = json_u64(r->json, "created_us", 0);
    ns->removed_at_us = json_u64(r->json, "removed_at_us", 0);
    ns->state = r->kind == RECORD_REMOVED        ? REGISTRY_NS_REMOVING
                : strcmp(state, "creating") == 0 ? REGISTRY_NS_CREATING
                : strcmp(state, "lost") == 0     ? REGISTRY_NS_LOST
                                                 : REGISTRY_NS_ACTIVE;
    return ns->id == UINT64_MAX || ns->name == NULL || ns->preset == NULL || ns->nsm_host == NULL
               ? ERR_CORRUPT
               : 0;
}

static int parse_nsm_host(struct record *r)
{
    r->nsm_host.id = json_text(r->json, "id", NULL);
    r->nsm_host.url = json_text(r->json, "url", NULL);
    r->nsm_host.is_lost = json_bool(r->json, "lost", false);
    return r->nsm_host.id == NULL || r->nsm_host.url == NULL ? ERR_CORRUPT : 0;
}

int record_parse(enum record_kind kind, struct slice key, struct slice value,
                 struct record **ret_record, struct err *e)
{
    size_t skip = sizeof(root) - 1 + strlen(record_prefix(kind));
    char text[KEY_TEXT_BYTES];
    struct record *r;
    json_t *json;
    int rc = 0;

    if (value_open_json(key, value, &json, e) != 0) {
        return e->code;
    }
    r = mem_zalloc(sizeof(*r));
    atomic_init(&r->refs, 1);
    r->kind = kind;
    r->json = json;
    r->id = slice_dup(slice_of(key.data + skip, key.len - skip));
    switch (kind) {
    case RECORD_OSD:
        rc = parse_osd(r);
        break;
    case RECORD_PRESET:
        rc = preset_from_json(&r->preset, json, e);
        break;
    case RECORD_NSM_HOST:
        rc = parse_nsm_host(r);
        break;
    case RECORD_NAMESPACE:
    case RECORD_REMOVED:
        rc = parse_namespace(r);
        break;
    case RECORD_KINDS:
        CHECK(false);
    }
    if (rc != 0) {
        key_text(key, text);
        record_drop(r);
        return kind == RECORD_PRESET
                   ? err_wrap(e, "%s", text)
                   : err_set(e, ERR_CORRUPT, "%s: a field is missing or wrong", text);
    }
    *ret_record = r;
    return 0;
}

struct record *record_hold(struct record *record)
{
    atomic_fetch_add(&record->refs, 1);
    return record;
}

void record_drop(struct record *record)
{
    if (record == NULL || atomic_fetch_sub(&record->refs, 1) != 1) {
        return;
    }
    if (record->kind == RECORD_PRESET) {
        preset_release(&record->preset);
    }
    slice_release(&record->id);
    json_decref(record->json);
    free(record);
}

/* ---- making ---- */

json_t *record_osd_json(const struct registry_osd *osd)
{
    json_t *ips = json_array();
    json_t *json;

    for (unsigned i = 0; i < osd->ip_count; i++) {
        CHECK(json_array_append_new(ips, json_string(osd->ips[i])) == 0);
    }
    json =
        json_pack("{s:s, s:o, s:i, s:b, s:s, s:s, s:I, s:b}", "long_id", osd->long_id, "ips", ips,
                  "port", (int)osd->port, "use_tls", (int)osd->use_tls, "node_id", osd->node_id,
                  "datacenter", osd->datacenter != NULL ? osd->datacenter : "", "capacity_bytes",
                  (json_int_t)osd->capacity_bytes, "decommissioned", (int)osd->is_decommissioned);
    CHECK(json != NULL);
    if (osd->is_purging) {
        json_object_set_new(json, "purging", json_true());
    }
    if (osd->is_claimed) {
        json_object_set_new(json, "osd_id", json_integer((json_int_t)osd->osd_id));
        json_object_set_new(json, "claimed_since_us",
                            json_integer((json_int_t)osd->claimed_since_us));
    }
    return json;
}

json_t *record_namespace_json(const struct registry_namespace *ns)
{
    json_t *json =
        json_pack("{s:I, s:s, s:s, s:s, s:I}", "id", (json_int_t)ns->id, "name", ns->name, "preset",
                  ns->preset, "nsm_host", ns->nsm_host, "created_us", (json_int_t)ns->created_us);

    CHECK(json != NULL);
    if (ns->state == REGISTRY_NS_REMOVING) {
        json_object_set_new(json, "removed_at_us", json_integer((json_int_t)ns->removed_at_us));
    } else {
        json_object_set_new(json, "state", json_string(registry_namespace_state_text(ns->state)));
    }
    return json;
}
