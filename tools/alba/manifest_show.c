/* A manifest for people: what the object is, and a line for each chunk. */
#include <stdio.h>
#include <time.h>

#include "alba/manifest_json.h"
#include "alba/output.h"

static void field(json_t *fields, const char *name, json_t *value)
{
    json_object_set_new(fields, name, value);
}

static json_t *scheme_text(const json_t *manifest)
{
    const json_t *scheme = json_object_get(manifest, "storage_scheme");
    const json_t *code = json_array_get(scheme, 1);

    return json_sprintf("%d+%d, %s, at most %d fragments on a node",
                        (int)json_integer_value(json_array_get(code, 1)),
                        (int)json_integer_value(json_array_get(code, 2)),
                        json_string_value(json_array_get(json_array_get(scheme, 2), 0)),
                        (int)json_integer_value(json_object_get(manifest, "max_disks_per_node")));
}

static json_t *time_text(const json_t *manifest)
{
    time_t seconds = (time_t)json_real_value(json_object_get(manifest, "timestamp"));
    char text[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return json_string(text);
}

/* One row: {"chunk", "size", "stored", "osds"}; an OSD is null where a fragment is missing. */
static json_t *chunk_row(size_t chunk, const json_t *size, const json_t *fragments)
{
    json_t *osds = json_array();
    json_int_t stored = 0;
    size_t index;
    json_t *fragment;

    json_array_foreach(fragments, index, fragment)
    {
        json_t *osd = json_object_get(fragment, "osd");

        json_array_append(osds, osd);
        stored += json_is_null(osd) ? 0 : json_integer_value(json_object_get(fragment, "len"));
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "chunk", (json_int_t)chunk, "size",
                     json_integer_value(size), "stored", stored, "osds", osds);
}

void manifest_show(const json_t *manifest)
{
    const json_t *sizes = json_object_get(manifest, "chunk_sizes");
    const json_t *chunks = json_object_get(manifest, "fragments");
    json_t *rows = json_array();
    json_t *fields = json_object();

    for (size_t c = 0; c < json_array_size(chunks); c++) {
        json_array_append_new(rows,
                              chunk_row(c, json_array_get(sizes, c), json_array_get(chunks, c)));
    }
    field(fields, "name", json_incref(json_object_get(manifest, "name")));
    field(fields, "object id", json_incref(json_object_get(manifest, "object_id")));
    field(fields, "bytes", json_incref(json_object_get(manifest, "size")));
    field(fields, "checksum", json_incref(json_object_get(manifest, "checksum")));
    field(fields, "written", time_text(manifest));
    field(fields, "preset", json_incref(json_object_get(manifest, "preset")));
    field(fields, "stored as", scheme_text(manifest));
    output_fields(fields);
    json_decref(fields);
    putchar('\n');
    output_sizes(rows, "size");
    output_sizes(rows, "stored");
    output_table(rows, "chunk=chunk size=size stored=stored osds-of-its-fragments=osds");
    json_decref(rows);
}
