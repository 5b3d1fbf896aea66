/* Random proxy replies; the rest of the generators is in gen.c. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "unit/wire/gen.h"

static void *block(struct gen *g, size_t count, size_t item_bytes)
{
    CHECK(g->block_count < GEN_BLOCKS_MAX);
    return g->blocks[g->block_count++] = mem_array(count, item_bytes);
}

static uint32_t below(struct gen *g, uint32_t bound)
{
    return (uint32_t)rnd_below(&g->rnd, bound);
}

static bool coin(struct gen *g)
{
    return below(g, 2) == 1;
}

static uint32_t strings(struct gen *g, struct slice **ret_items)
{
    uint32_t count = below(g, 5);

    *ret_items = block(g, count, sizeof(struct slice));
    for (uint32_t i = 0; i < count; i++) {
        (*ret_items)[i] = gen_bytes(g, i == 1 ? 2 * GATHER_BORROW_BYTES_MIN : 20);
    }
    return count;
}

static uint32_t times(struct gen *g, double **ret_items)
{
    uint32_t count = below(g, 3);

    *ret_items = block(g, count, sizeof(double));
    for (uint32_t i = 0; i < count; i++) {
        (*ret_items)[i] = 1.7e9 + below(g, 1000);
    }
    return count;
}

static uint32_t events(struct gen *g, struct osd_event **ret_items)
{
    uint32_t count = below(g, 3);

    *ret_items = block(g, count, sizeof(struct osd_event));
    for (uint32_t i = 0; i < count; i++) {
        (*ret_items)[i] = (struct osd_event){.time_s = 1.7e9, .text = gen_bytes(g, 20)};
    }
    return count;
}

static void arakoon(struct gen *g, struct arakoon_config *config)
{
    config->cluster_id = gen_bytes(g, 9);
    config->node_count = below(g, 3);
    config->nodes = block(g, config->node_count, sizeof(config->nodes[0]));
    for (uint32_t i = 0; i < config->node_count; i++) {
        config->nodes[i].name = gen_bytes(g, 9);
        config->nodes[i].ip_count = strings(g, &config->nodes[i].ips);
        config->nodes[i].port = 4000;
    }
}

static void osd_info(struct gen *g, struct osd_info *info)
{
    info->kind = (uint8_t)(1 + below(g, 5));
    info->long_id = gen_bytes(g, 20);
    if (info->kind <= OSD_KIND_KINETIC) {
        info->host_count = strings(g, &info->hosts);
        info->port = 8000;
        info->use_tls = coin(g);
        info->use_rdma = coin(g);
    } else {
        info->prefix = gen_bytes(g, 5);
        info->preset = gen_bytes(g, 5);
        if (info->kind == OSD_KIND_ALBA_PROXY) {
            info->host_count = strings(g, &info->hosts);
        } else {
            arakoon(g, &info->arakoon);
        }
    }
    info->node_id = gen_bytes(g, 20);
    info->decommissioned = coin(g);
    info->other = gen_bytes(g, 20);
    info->total_bytes = 1000;
    info->used_bytes = below(g, 1000);
    info->seen_count = times(g, &info->seen);
    info->read_count = times(g, &info->read);
    info->write_count = times(g, &info->write);
    info->error_count = events(g, &info->errors);
    info->checksum_errors = below(g, 9);
    info->has_claimed_since = coin(g);
    info->claimed_since_s = info->has_claimed_since ? 1.6e9 : 0;
}

static void osd_state(struct gen *g, struct osd_state *state)
{
    state->disqualified = coin(g);
    state->read_count = times(g, &state->read);
    state->write_count = times(g, &state->write);
    state->error_count = events(g, &state->errors);
    state->seen_count = times(g, &state->seen);
    state->has_json = coin(g);
    state->json = state->has_json ? slice_str("{}") : slice_of(NULL, 0);
    state->has_ips = coin(g);
    state->ip_count = state->has_ips ? strings(g, &state->ips) : 0;
    state->has_port = coin(g);
    state->port = state->has_port ? 8000 : 0;
    state->has_used = coin(g);
    state->used_bytes = state->has_used ? 5 : 0;
    state->has_total = coin(g);
    state->total_bytes = state->has_total ? 6 : 0;
    state->has_checksum_errors = coin(g);
    state->checksum_errors = state->has_checksum_errors ? 7 : 0;
}

static void view(struct gen *g, struct proxy_reply *reply)
{
    reply->view.claim_count = below(g, 4);
    reply->view.claims = block(g, reply->view.claim_count, sizeof(struct proxy_claim));
    for (uint32_t i = 0; i < reply->view.claim_count; i++) {
        struct proxy_claim *c = &reply->view.claims[i];

        c->long_id = gen_bytes(g, 20);
        c->claim.kind = (uint8_t)(1 + below(g, 3));
        if (c->claim.kind == OSD_CLAIM_THIS) {
            c->claim.osd_id = below(g, 99);
        } else if (c->claim.kind == OSD_CLAIM_ANOTHER) {
            c->claim.alba_id = gen_bytes(g, 20);
        }
    }
    reply->view.state_count = below(g, 3);
    reply->view.states = block(g, reply->view.state_count, sizeof(struct proxy_osd_state));
    for (uint32_t i = 0; i < reply->view.state_count; i++) {
        reply->view.states[i].osd_id = i;
        reply->view.states[i].info_json = slice_str("{\"kind\": 1}");
        osd_state(g, &reply->view.states[i].state);
    }
}

static void albas(struct gen *g, struct proxy_reply *reply)
{
    bool several = reply->code == PROXY_OSD_INFO2;

    reply->albas.count = several ? below(g, 3) : 1;
    reply->albas.items = block(g, reply->albas.count, sizeof(struct proxy_alba));
    for (uint32_t i = 0; i < reply->albas.count; i++) {
        struct proxy_alba *alba = &reply->albas.items[i];

        alba->alba_id = several ? gen_bytes(g, 36) : slice_of(NULL, 0);
        alba->osd_count = below(g, 4);
        alba->osds = block(g, alba->osd_count, sizeof(struct proxy_osd));
        for (uint32_t j = 0; j < alba->osd_count; j++) {
            alba->osds[j].osd_id = j;
            osd_info(g, &alba->osds[j].info);
            alba->osds[j].capabilities.mask = below(g, 4) << 1;
        }
    }
}

static void objects(struct gen *g, struct proxy_reply *reply)
{
    struct slice *parts;

    if (reply->code == PROXY_READ_SLICES || reply->code == PROXY_READ_SLICES2) {
        reply->objects.part_count = strings(g, &parts);
        reply->objects.parts = parts;
    }
    if (reply->code == PROXY_READ_SLICES) {
        return;
    }
    reply->objects.count = reply->code == PROXY_WRITE_OBJECT_FS2 ? 1 : below(g, 3);
    reply->objects.items = block(g, reply->objects.count, sizeof(struct proxy_object_info));
    for (uint32_t i = 0; i < reply->objects.count; i++) {
        struct proxy_object_info *info = &reply->objects.items[i];

        info->manifest = gen_manifest(g, false);
        info->namespace_id = below(g, 100);
        if (reply->code != PROXY_WRITE_OBJECT_FS2) {
            info->name = info->manifest->name;
            info->alba_id = gen_bytes(g, 3);
        }
    }
}

static void read_objects(struct gen *g, struct proxy_reply *reply)
{
    reply->read.namespace_id = below(g, 9);
    reply->read.count = below(g, 3);
    reply->read.items = block(g, reply->read.count, sizeof(struct proxy_object));
    for (uint32_t i = 0; i < reply->read.count; i++) {
        struct proxy_object *object = &reply->read.items[i];

        object->found = coin(g);
        if (object->found) {
            object->manifest = gen_manifest(g, false);
            object->data = gen_bytes(g, 2 * GATHER_BORROW_BYTES_MIN);
        }
    }
}

static void namespaces(struct gen *g, struct proxy_reply *reply)
{
    reply->namespaces.count = below(g, 5);
    reply->namespaces.items = block(g, reply->namespaces.count, sizeof(struct proxy_namespace));
    for (uint32_t i = 0; i < reply->namespaces.count; i++) {
        reply->namespaces.items[i].name = gen_bytes(g, 20);
        if (reply->code == PROXY_LIST_NAMESPACES2) {
            reply->namespaces.items[i].preset = gen_bytes(g, 20);
        }
    }
    reply->namespaces.more = coin(g);
}

static void statistics(struct gen *g, struct proxy_statistics *s)
{
    s->creation_s = 1.7e9;
    s->period_s = 9.5;
    s->count = below(g, 3);
    s->items = block(g, s->count, sizeof(s->items[0]));
    for (uint32_t i = 0; i < s->count; i++) {
        s->items[i].ns = gen_bytes(g, 9);
        s->items[i].manifest_stale = (int32_t)below(g, 9);
        stat_sum_init(&s->items[i].upload);
        stat_sum_add(&s->items[i].upload, 1.5);
        stat_sum_init(&s->items[i].empty_partial_read_objects);
        s->items[i].last_updated_s = 1.7e9;
    }
}

static void session(struct gen *g, struct proxy_reply *reply)
{
    reply->session.count = below(g, 3);
    reply->session.items = block(g, reply->session.count, sizeof(struct proxy_setting));
    for (uint32_t i = 0; i < reply->session.count; i++) {
        reply->session.items[i].key = gen_bytes(g, 12);
        reply->session.items[i].value = gen_bytes(g, 2);
    }
}

static void small_reply(struct gen *g, struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_LIST_OBJECTS:
        reply->names.count = strings(g, &reply->names.items);
        reply->names.more = coin(g);
        break;
    case PROXY_NAMESPACE_EXISTS:
    case PROXY_HAS_LOCAL_FRAGMENT_CACHE:
        reply->yes = coin(g);
        break;
    case PROXY_GET_OBJECT_INFO:
        reply->info.size_bytes = below(g, 1000);
        reply->info.checksum = gen_checksum(g);
        break;
    case PROXY_GET_VERSION:
        reply->version.patch = 3;
        reply->version.hash = gen_bytes(g, 9);
        break;
    case PROXY_GET_CLIENT_CONFIG:
        arakoon(g, &reply->client_config);
        break;
    case PROXY_PING:
        reply->time_s = 1.7e9;
        break;
    case PROXY_MULTI_EXISTS:
        reply->exists.count = below(g, 7);
        reply->exists.items = block(g, reply->exists.count, sizeof(bool));
        for (uint32_t i = 0; i < reply->exists.count; i++) {
            reply->exists.items[i] = coin(g);
        }
        break;
    case PROXY_GET_ALBA_ID:
        reply->text = gen_bytes(g, 36);
        break;
    case PROXY_GET_FRAGMENT_KEY:
        reply->key.has_key = coin(g);
        reply->key.key = reply->key.has_key ? gen_bytes(g, 32) : slice_of(NULL, 0);
        break;
    default:
        break;
    }
}

void gen_proxy_reply(struct gen *g, uint32_t code, struct proxy_reply *ret_reply)
{
    struct proxy_reply *reply = ret_reply;

    *reply = (struct proxy_reply){.code = code};
    switch (code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
        namespaces(g, reply);
        break;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
    case PROXY_WRITE_OBJECT_FS2:
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        objects(g, reply);
        break;
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        reply->wants_part = rnd_below(&g->rnd, 2) == 0;
        if (reply->wants_part) {
            reply->want.offset = rnd_next(&g->rnd);
            reply->want.bytes_max = 1 + (uint32_t)rnd_below(&g->rnd, UINT32_MAX);
        } else {
            objects(g, reply);
        }
        break;
    case PROXY_READ_OBJECTS:
        read_objects(g, reply);
        break;
    case PROXY_STATISTICS:
        statistics(g, &reply->statistics);
        break;
    case PROXY_OSD_VIEW:
        view(g, reply);
        break;
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
        albas(g, reply);
        break;
    case PROXY_UPDATE_SESSION:
        session(g, reply);
        break;
    default:
        small_reply(g, reply);
    }
}
