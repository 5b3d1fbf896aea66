/* Namespaces that have data on OSDs, whether the copy knows them or not. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alba/asd_call.h"
#include "alba/recover_private.h"
#include "base/mem.h"
#include "meta/registry_ids.h"
#include "net/asd_client.h"
#include "wire/osd_keys.h"

struct restore_namespace *recover_note(struct recover *r, uint64_t id, struct slice name)
{
    struct restore_namespace *found;

    if (id > IDS_MAX) { /* to count on from there would give out the ids of old again */
        if (!r->has_strange_id) {
            recover_doubt(r, mem_printf("there is data of namespace %" PRIu64
                                        ", an id that no registry gives out: not counted",
                                        id));
        }
        r->has_strange_id = true;
        return NULL;
    }
    r->namespace_id_seen = id > r->namespace_id_seen ? id : r->namespace_id_seen;
    if (registry_view_namespace_by_id(r->view, id) != NULL) {
        return NULL;
    }
    for (size_t i = 0; i < r->found_count; i++) {
        if (r->found[i].id == id) {
            return &r->found[i];
        }
    }
    r->found = mem_realloc(r->found, (r->found_count + 1) * sizeof(*r->found));
    found = &r->found[r->found_count++];
    *found = (struct restore_namespace){.id = id};
    if (name.len > 0 && name.len < sizeof(found->name) && memchr(name.data, 0, name.len) == NULL) {
        memcpy(found->name, name.data, name.len);
    }
    return found;
}

/* Names that are text and free; for the others one from the id. */
static void settle_names(struct recover *r)
{
    for (size_t i = 0; i < r->found_count; i++) {
        struct restore_namespace *found = &r->found[i];
        json_t *text = json_string(found->name);
        bool is_free =
            text != NULL && found->name[0] != '\0' &&
            registry_view_namespace_find(r->view, found->name, strlen(found->name)) == NULL;

        json_decref(text);
        for (size_t j = 0; j < i; j++) {
            is_free = is_free && strcmp(r->found[j].name, found->name) != 0;
        }
        if (!is_free) {
            snprintf(found->name, sizeof(found->name), "%s-%" PRIu64,
                     found->is_whole ? "found" : "lost", found->id);
        }
    }
}

static int read_name(struct recover *r, struct asd_client *client, uint64_t id)
{
    struct buf key = {0};
    struct slice k;
    const struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = &k, .count = 1}};
    struct asd_answer answer;
    int rc;

    osd_key_put_ns_name(&key, id);
    k = slice_buf(&key);
    rc = asd_call_with(&r->s->loop, client, &request, RECOVER_TIMEOUT_MS, &answer, &r->s->err);
    buf_release(&key);
    if (rc == 0) {
        recover_note(r, id,
                     answer.reply.values.count == 1 && answer.reply.values.items[0].found
                         ? answer.reply.values.items[0].value
                         : slice_of(NULL, 0));
        asd_answer_release(&answer);
    }
    return rc;
}

/* From one namespace to the next, behind everything of the one before. */
static int scan(struct recover *r, struct asd_client *client)
{
    struct buf first = {0}, last = {0};
    int rc = 0;

    osd_key_put_all_namespaces(&first);
    osd_key_put_all_namespaces(&last);
    osd_key_prefix_end(&last);
    for (bool more = true; rc == 0 && more;) {
        const struct asd_request request = {.code = ASD_RANGE,
                                            .range = {.first = slice_buf(&first),
                                                      .first_included = true,
                                                      .has_last = true,
                                                      .last = slice_buf(&last),
                                                      .max = 1}};
        struct asd_answer answer;
        struct osd_key parsed;

        rc = asd_call_with(&r->s->loop, client, &request, RECOVER_TIMEOUT_MS, &answer, &r->s->err);
        if (rc != 0) {
            break;
        }
        more = answer.reply.keys.count > 0;
        if (more && osd_key_parse(answer.reply.keys.items[0], &parsed) == 0) {
            first.len = 0;
            osd_key_put_ns_status(&first, parsed.namespace_id);
            osd_key_prefix_end(&first);
            asd_answer_release(&answer);
            rc = read_name(r, client, parsed.namespace_id);
            continue;
        }
        if (more) { /* a key of no kind we know: behind it */
            first.len = 0;
            buf_put(&first, answer.reply.keys.items[0].data, answer.reply.keys.items[0].len);
            buf_put_u8(&first, 0);
        }
        asd_answer_release(&answer);
    }
    buf_release(&first);
    buf_release(&last);
    return rc;
}

void recover_scan(struct recover *r)
{
    for (size_t i = 0; i < r->source_count; i++) {
        struct recover_source *source = &r->sources[i];
        struct asd_client *client;

        if (!source->answers) {
            continue;
        }
        client = recover_connect(r, source);
        if (scan(r, client) != 0) {
            source->answers = false;
            snprintf(source->why, sizeof(source->why), "%s", r->s->err.msg);
        }
        blocking_asd_close(&r->s->loop, client);
    }
    recover_hosts(r);
    settle_names(r);
}
