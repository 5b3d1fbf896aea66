#include "proxy/repair_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/slice.h"

enum { SPOT_FIELDS = 4 };

static json_t *fragments_json(const struct repair_spec *spec)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < spec->spot_count; i++) {
        const struct repair_spot *s = &spec->spots[i];

        json_array_append_new(list, json_pack("[I, I, I, I]", (json_int_t)s->chunk,
                                              (json_int_t)s->fragment, (json_int_t)s->osd_id,
                                              (json_int_t)s->version));
    }
    return list;
}

/* What was lost and what never had a place are two items: one must not keep the other out. */
static bool has_lost(const struct repair_spec *spec)
{
    for (unsigned i = 0; i < spec->spot_count; i++) {
        if (spec->spots[i].osd_id != 0) {
            return true;
        }
    }
    return false;
}

void repair_work_add(struct registry *registry, const struct repair_spec *spec, registry_cb cb,
                     void *ctx)
{
    char object[2 * MANIFEST_OBJECT_ID_BYTES + 1];
    char key[160];
    json_t *item;

    hex_encode(object, spec->object_id, sizeof(spec->object_id));
    snprintf(key, sizeof(key), REPAIR_WORK_KIND "/%" PRIu64 "/%s/%s", spec->ns_id, object,
             has_lost(spec) ? "lost" : "holes");
    item = json_pack("{s:s, s:I, s:s, s:o, s:I}", "kind", REPAIR_WORK_KIND, "namespace",
                     (json_int_t)spec->ns_id, "object", object, "fragments", fragments_json(spec),
                     "added_us", (json_int_t)clock_wall_us());
    CHECK(item != NULL);
    registry_work_add_once(registry, key, item, REPAIR_WORK_ITEMS_MAX, cb, ctx);
    json_decref(item);
}

static bool parse_spot(const json_t *json, struct repair_spot *ret_spot)
{
    uint64_t values[SPOT_FIELDS];

    if (json_array_size(json) != SPOT_FIELDS) {
        return false;
    }
    for (size_t i = 0; i < SPOT_FIELDS; i++) {
        const json_t *value = json_array_get(json, i);

        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return false;
        }
        values[i] = (uint64_t)json_integer_value(value);
    }
    if (values[0] > UINT32_MAX || values[1] > UINT32_MAX || values[3] > UINT32_MAX) {
        return false;
    }
    *ret_spot = (struct repair_spot){.chunk = (uint32_t)values[0],
                                     .fragment = (uint32_t)values[1],
                                     .osd_id = values[2],
                                     .version = (uint32_t)values[3]};
    return true;
}

int repair_work_parse(json_t *item, struct repair_spec *ret_spec, struct repair_spot *spots,
                      struct err *e)
{
    const json_t *ns = json_object_get(item, "namespace");
    const json_t *fragments = json_object_get(item, "fragments");
    const char *object = json_string_value(json_object_get(item, "object"));
    size_t count = json_array_size(fragments);
    struct repair_spec spec = {.spots = spots, .spot_count = (unsigned)count};

    if (!json_is_integer(ns) || object == NULL || count > REPAIR_SPOTS_MAX ||
        strlen(object) != sizeof(spec.object_id) * 2 ||
        hex_decode(spec.object_id, sizeof(spec.object_id), object) != 0) {
        return err_set(e, ERR_CORRUPT, "work item");
    }
    spec.ns_id = (uint64_t)json_integer_value(ns);
    for (size_t i = 0; i < count; i++) {
        if (!parse_spot(json_array_get(fragments, i), &spots[i])) {
            return err_set(e, ERR_CORRUPT, "work item: fragment %zu", i);
        }
    }
    *ret_spec = spec;
    return 0;
}
