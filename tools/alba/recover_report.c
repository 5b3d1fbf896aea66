/* What a recovery found, as JSON. */
#include <string.h>

#include "alba/recover.h"
#include "base/clock.h"
#include "meta/registry_record.h"

static json_t *age_of(const struct copy_head *head)
{
    return json_integer(((json_int_t)clock_wall_us() - (json_int_t)head->time_us) / 1000000);
}

static json_t *describe_source(const struct recover *r, const struct recover_source *source)
{
    bool is_best = r->has_copy && source == &r->sources[r->from];
    const char *state = !source->answers     ? "no answer"
                        : source->is_damaged ? "damaged"
                        : !source->has_head  ? "none"
                        : is_best            ? "taken"
                                             : "whole";
    json_t *o = json_pack("{s:s, s:s?, s:s, s:n, s:n, s:s?}", "address", source->where, "long_id",
                          source->long_id, "copy", state, "version", "age_s", "why",
                          source->why[0] != '\0' ? source->why : NULL);

    if (source->has_head) {
        json_object_set_new(o, "version", json_integer((json_int_t)source->head.version));
        json_object_set_new(o, "age_s", age_of(&source->head));
    }
    return o;
}

static size_t count_records(const struct recover *r, const char *prefix)
{
    struct rd rest = rd_of(r->snapshot.data, r->snapshot.len);
    struct slice key, value;
    size_t count = 0;

    while (copy_next(&rest, &key, &value)) {
        struct slice tail = reg_key_tail(key);

        count += tail.len > strlen(prefix) && memcmp(tail.data, prefix, strlen(prefix)) == 0;
    }
    return count;
}

/* As restored: those whose manifests were in the store that is gone are lost. */
static json_t *describe_namespaces(const struct recover *r)
{
    json_t *list = json_array();

    for (size_t i = 0; i < registry_view_namespace_count(r->view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(r->view, i);
        const struct registry_nsm_host *host = registry_view_nsm_host_find(r->view, ns->nsm_host);
        bool is_lost = host == NULL || strcmp(host->url, "registry:") == 0;

        json_array_append_new(
            list, json_pack("{s:s, s:I, s:s}", "name", ns->name, "id", (json_int_t)ns->id, "state",
                            is_lost ? "lost" : registry_namespace_state_text(ns->state)));
    }
    for (size_t i = 0; i < r->found_count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", r->found[i].name, "id",
                                              (json_int_t)r->found[i].id, "state",
                                              r->found[i].is_whole ? "active" : "lost"));
    }
    return list;
}

json_t *recover_report(const struct recover *r)
{
    json_t *sources = json_array();
    json_t *o;

    for (size_t i = 0; i < r->source_count; i++) {
        json_array_append_new(sources, describe_source(r, &r->sources[i]));
    }
    o = json_pack("{s:s, s:o, s:O}", "alba_id", r->alba_id, "sources", sources, "doubts",
                  r->doubts);
    json_object_set_new(o, "version", json_integer((json_int_t)r->head.version));
    json_object_set_new(o, "age_s", age_of(&r->head));
    json_object_set_new(o, "osds", json_integer((json_int_t)registry_view_osd_count(r->view)));
    json_object_set_new(o, "presets",
                        json_integer((json_int_t)registry_view_preset_count(r->view)));
    json_object_set_new(o, "volumes", json_integer((json_int_t)count_records(r, REG_VOLUME)));
    json_object_set_new(o, "namespaces", describe_namespaces(r));
    return o;
}
