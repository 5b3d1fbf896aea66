/* What this proxy knows about the OSDs: from the registry, and from its own calls. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/ops.h"
#include "proxy/osd_owners.h"

/* Arrays that a struct osd_info or osd_state borrows while a reply is encoded. */
struct osd_lists {
    struct slice hosts[REGISTRY_OSD_IPS_MAX];
    struct osd_event errors[OSD_EVENTS_MAX];
};

static uint32_t count_events(const double events[OSD_EVENTS_MAX])
{
    uint32_t count = 0;

    while (count < OSD_EVENTS_MAX && events[count] != 0) {
        count++;
    }
    return count;
}

static uint32_t list_failures(const struct osd *osd, struct osd_lists *lists)
{
    uint32_t count = 0;

    while (count < OSD_EVENTS_MAX && osd->failures[count].time_s != 0) {
        lists->errors[count] = (struct osd_event){.time_s = osd->failures[count].time_s,
                                                  .text = slice_str(osd->failures[count].text)};
        count++;
    }
    return count;
}

static struct osd_info info_of(const struct registry_osd *known, struct osd *osd,
                               struct osd_lists *lists)
{
    struct osd_info info = {.kind = OSD_KIND_ASD,
                            .hosts = lists->hosts,
                            .host_count = known->ip_count,
                            .port = known->port,
                            .use_tls = known->use_tls,
                            .long_id = slice_str(known->long_id),
                            .node_id = slice_str(known->node_id),
                            .decommissioned = known->is_decommissioned,
                            .total_bytes = (int64_t)known->capacity_bytes,
                            .errors = lists->errors,
                            .has_claimed_since = known->is_claimed,
                            .claimed_since_s = (double)known->claimed_since_us / 1e6};

    for (unsigned i = 0; i < known->ip_count; i++) {
        lists->hosts[i] = slice_str(known->ips[i]);
    }
    if (osd != NULL) {
        info.total_bytes = (int64_t)osd->total_bytes;
        info.used_bytes = (int64_t)osd->used_bytes;
        info.seen = osd->seen_s;
        info.seen_count = count_events(osd->seen_s);
        info.read = osd->read_s;
        info.read_count = count_events(osd->read_s);
        info.write = osd->write_s;
        info.write_count = count_events(osd->write_s);
        info.error_count = list_failures(osd, lists);
        info.checksum_errors = (int64_t)osd->checksum_errors;
    }
    return info;
}

void op_osd_info(struct session *s)
{
    struct engine *engine = s->server->engine;
    const struct registry_view *view = registry_view(engine->registry);
    size_t count = registry_view_osd_count(view);
    struct osd_lists *lists = mem_array(count + 1, sizeof(*lists));
    struct proxy_osd *osds = mem_array(count + 1, sizeof(*osds));
    struct proxy_alba alba = {.alba_id = slice_str(registry_view_alba_id(view)), .osds = osds};
    struct proxy_reply reply = {.code = s->request.code, .albas = {.items = &alba, .count = 1}};

    for (size_t i = 0; i < count; i++) {
        const struct registry_osd *known = registry_view_osd(view, i);

        if (!known->is_claimed) {
            continue;
        }
        osds[alba.osd_count++] = (struct proxy_osd){
            .osd_id = known->osd_id,
            .info = info_of(known, osds_find(engine->osds, known->osd_id), &lists[i]),
            .capabilities = {.mask = 1u << OSD_CAP_MULTI_GET2 | 1u << OSD_CAP_PARTIAL_GET}};
    }
    session_reply(s, &reply, NULL, NULL);
    free(osds);
    free(lists);
}

/* ---- OsdView ---- */

static json_t *times_json(const double *events, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, json_real(events[i]));
    }
    return list;
}

/* As the CLI shows an OSD. The caller frees it. */
static char *info_json(const struct osd_info *info, const char *alba_id, uint64_t osd_id)
{
    json_t *ips = json_array();
    json_t *errors = json_array();
    json_t *json;
    char *text;

    for (uint32_t i = 0; i < info->host_count; i++) {
        json_array_append_new(ips,
                              json_stringn((const char *)info->hosts[i].data, info->hosts[i].len));
    }
    for (uint32_t i = 0; i < info->error_count; i++) {
        json_array_append_new(errors, json_pack("[f, s%]", info->errors[i].time_s,
                                                (const char *)info->errors[i].text.data,
                                                info->errors[i].text.len));
    }
    json = json_pack(
        "{s:I, s:s, s:s, s:o, s:i, s:b, s:b, s:s%, s:s%, s:I, s:I, s:o, s:o, s:o, s:o, s:I}", "id",
        (json_int_t)osd_id, "alba_id", alba_id, "kind", "AsdV1", "ips", ips, "port", info->port,
        "use_tls", info->use_tls, "decommissioned", info->decommissioned, "node_id",
        (const char *)info->node_id.data, info->node_id.len, "long_id",
        (const char *)info->long_id.data, info->long_id.len, "total", (json_int_t)info->total_bytes,
        "used", (json_int_t)info->used_bytes, "seen", times_json(info->seen, info->seen_count),
        "read", times_json(info->read, info->read_count), "write",
        times_json(info->write, info->write_count), "errors", errors, "checksum_errors",
        (json_int_t)info->checksum_errors);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text != NULL ? text : mem_strdup("{}");
}

static struct osd_state state_of(const struct osd_info *info, const struct osd *osd)
{
    return (struct osd_state){.disqualified = osd != NULL && osd->aside,
                              .read = info->read,
                              .read_count = info->read_count,
                              .write = info->write,
                              .write_count = info->write_count,
                              .errors = info->errors,
                              .error_count = info->error_count,
                              .seen = info->seen,
                              .seen_count = info->seen_count,
                              .has_ips = true,
                              .ips = info->hosts,
                              .ip_count = info->host_count,
                              .has_port = true,
                              .port = info->port,
                              .has_used = true,
                              .used_bytes = info->used_bytes,
                              .has_total = true,
                              .total_bytes = info->total_bytes,
                              .has_checksum_errors = true,
                              .checksum_errors = info->checksum_errors};
}

struct view_op {
    struct osd_owners owners;
    struct session *session;
};

/* An OSD that is not ours is free unless another alba is known to have claimed it. */
static struct osd_claim claim_of(const struct registry_osd *known, const struct osd_owners *owners,
                                 const char *alba_id)
{
    const char *owner = known->is_claimed ? NULL : osd_owners_of(owners, known->long_id);

    if (known->is_claimed) {
        return (struct osd_claim){.kind = OSD_CLAIM_THIS, .osd_id = known->osd_id};
    }
    if (owner != NULL && strcmp(owner, alba_id) != 0) {
        return (struct osd_claim){.kind = OSD_CLAIM_ANOTHER, .alba_id = slice_str(owner)};
    }
    return (struct osd_claim){.kind = OSD_CLAIM_AVAILABLE};
}

static void reply_view(struct session *s, const struct osd_owners *owners)
{
    struct engine *engine = s->server->engine;
    const struct registry_view *view = registry_view(engine->registry);
    const char *alba_id = registry_view_alba_id(view);
    size_t count = registry_view_osd_count(view);
    struct osd_lists *lists = mem_array(count + 1, sizeof(*lists));
    struct proxy_claim *claims = mem_array(count + 1, sizeof(*claims));
    struct proxy_osd_state *states = mem_array(count + 1, sizeof(*states));
    struct proxy_reply reply = {.code = s->request.code,
                                .view = {.claims = claims, .states = states}};

    for (size_t i = 0; i < count; i++) {
        const struct registry_osd *known = registry_view_osd(view, i);
        struct osd *osd = known->is_claimed ? osds_find(engine->osds, known->osd_id) : NULL;
        struct osd_info info = info_of(known, osd, &lists[i]);

        claims[reply.view.claim_count++] = (struct proxy_claim){
            .long_id = slice_str(known->long_id), .claim = claim_of(known, owners, alba_id)};
        if (known->is_claimed) {
            states[reply.view.state_count++] = (struct proxy_osd_state){
                .osd_id = known->osd_id,
                .info_json = slice_str(info_json(&info, alba_id, known->osd_id)),
                .state = state_of(&info, osd)};
        }
    }
    session_reply(s, &reply, NULL, NULL);
    for (uint32_t i = 0; i < reply.view.state_count; i++) {
        free((void *)(uintptr_t)states[i].info_json.data);
    }
    free(claims);
    free(states);
    free(lists);
}

static void on_owners(struct osd_owners *owners)
{
    struct view_op *op = container_of(owners, struct view_op, owners);

    reply_view(op->session, owners);
    osd_owners_release(owners);
    free(op);
}

void op_osd_view(struct session *s)
{
    const struct engine *engine = s->server->engine;
    struct view_op *op = mem_zalloc(sizeof(*op));

    op->session = s;
    s->op = op;
    if (!osd_owners_ask(&op->owners, engine->loop, engine->registry, on_owners)) {
        on_owners(&op->owners);
    }
}
