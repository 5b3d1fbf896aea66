#include "alba/osd_view.h"

#include <string.h>

enum { VIEW_TIMEOUT_MS = 5000 };

int osd_view_load(struct osd_view *v, struct session *s)
{
    const struct proxy_request request = {.code = PROXY_OSD_VIEW};
    int rc;

    *v = (struct osd_view){0};
    if (s->proxy == NULL) {
        return 0;
    }
    rc = session_proxy(s, &request, VIEW_TIMEOUT_MS, &v->reply);
    v->is_there = rc == 0;
    return rc;
}

static const struct osd_state *find(const struct osd_view *v, const char *long_id)
{
    const struct proxy_claim *claim = NULL;

    if (!v->is_there) {
        return NULL;
    }
    for (uint32_t i = 0; i < v->reply.view.claim_count && claim == NULL; i++) {
        const struct proxy_claim *c = &v->reply.view.claims[i];

        if (c->claim.kind == OSD_CLAIM_THIS && slice_eq(c->long_id, slice_str(long_id))) {
            claim = c;
        }
    }
    for (uint32_t i = 0; i < v->reply.view.state_count && claim != NULL; i++) {
        if (v->reply.view.states[i].osd_id == claim->claim.osd_id) {
            return &v->reply.view.states[i].state;
        }
    }
    return NULL;
}

static json_t *times_json(const double *times_s, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, json_real(times_s[i]));
    }
    return list;
}

static json_t *errors_json(const struct osd_state *state)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < state->error_count; i++) {
        const struct osd_event *e = &state->errors[i];
        json_t *text = json_stringn((const char *)e->text.data, e->text.len);

        json_array_append_new(
            list, json_pack("[f, o]", e->time_s, text != NULL ? text : json_string("(not UTF-8)")));
    }
    return list;
}

void osd_view_add(const struct osd_view *v, const char *long_id, json_t *o)
{
    static const char *const lists[] = {"seen", "read", "write", "errors"};
    const struct osd_state *state = find(v, long_id);

    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++) {
        json_object_set_new(o, lists[i], json_array());
    }
    json_object_set_new(o, "checksum_errors", json_null());
    if (state == NULL) {
        return;
    }
    json_object_set_new(o, "seen", times_json(state->seen, state->seen_count));
    json_object_set_new(o, "read", times_json(state->read, state->read_count));
    json_object_set_new(o, "write", times_json(state->write, state->write_count));
    json_object_set_new(o, "errors", errors_json(state));
    if (state->has_checksum_errors) {
        json_object_set_new(o, "checksum_errors", json_integer(state->checksum_errors));
    }
}

void osd_view_release(struct osd_view *v)
{
    if (v->is_there) {
        proxy_reply_release(&v->reply);
    }
    *v = (struct osd_view){0};
}
