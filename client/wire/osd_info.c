#include "wire/osd_info.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

enum { INFO_V1 = 1, INFO_V2 = 2, INFO_V3 = 3 };
enum { CAPABILITY_V1 = 1, CAPABILITY_V2 = 2 };
enum { CAPABILITY_BYTES_MIN = 2, EVENT_BYTES_MIN = 8 + 4 };

/* ---- capabilities ---- */

void osd_capabilities_put(struct buf *b, struct osd_capabilities caps)
{
    static const uint8_t tags[] = {OSD_CAP_PARTIAL_GET, OSD_CAP_MULTI_GET2};
    uint32_t count = 0;

    for (size_t i = 0; i < sizeof(tags); i++) {
        count += caps.mask >> tags[i] & 1;
    }
    llio_put_count(b, count);
    for (size_t i = 0; i < sizeof(tags); i++) {
        if ((caps.mask >> tags[i] & 1) != 0) {
            buf_put_u8(b, CAPABILITY_V1);
            buf_put_u8(b, tags[i]);
        }
    }
}

/* An unknown tag can be skipped only where its length is told. */
static void get_capability(struct rd *r, struct osd_capabilities *caps)
{
    uint8_t version = rd_u8(r);
    struct rd sub = *r;
    uint8_t tag;

    if (version == CAPABILITY_V2) {
        sub = llio_sub(r);
    } else if (version != CAPABILITY_V1) {
        rd_fail(r);
        return;
    }
    tag = rd_u8(&sub);
    if (tag == OSD_CAP_RORA_FETCHER) {
        rd_u32le(&sub);
    } else if (version == CAPABILITY_V1 && tag != OSD_CAP_MULTI_GET2 &&
               tag != OSD_CAP_PARTIAL_GET) {
        rd_fail(&sub);
    }
    if (tag >= OSD_CAP_MULTI_GET2 && tag <= OSD_CAP_RORA_FETCHER2) {
        caps->mask |= 1U << tag;
    }
    if (version == CAPABILITY_V1) {
        *r = sub;
    }
    r->bad = r->bad || sub.bad;
}

struct osd_capabilities osd_capabilities_get(struct rd *r)
{
    uint32_t count = llio_count(r, CAPABILITY_BYTES_MIN);
    struct osd_capabilities caps = {0};

    for (uint32_t i = 0; i < count && !r->bad; i++) {
        get_capability(r, &caps);
    }
    return caps;
}

/* ---- OsdInfo ---- */

static void put_events(struct buf *b, const struct osd_event *events, uint32_t count)
{
    llio_put_count(b, count);
    for (uint32_t i = count; i-- > 0;) {
        llio_put_float(b, events[i].time_s);
        llio_put_string(b, events[i].text);
    }
}

static uint32_t get_events(struct rd *r, struct osd_event **ret_events)
{
    uint32_t count = llio_count(r, EVENT_BYTES_MIN);
    struct osd_event *events = count != 0 ? mem_array(count, sizeof(*events)) : NULL;

    for (uint32_t i = count; i-- > 0;) {
        events[i].time_s = llio_float(r);
        events[i].text = llio_string(r);
    }
    *ret_events = events;
    return count;
}

static void put_kind(struct buf *b, const struct osd_info *info)
{
    CHECK(info->kind >= OSD_KIND_ASD && info->kind <= OSD_KIND_ALBA_PROXY);
    buf_put_u8(b, info->kind);
    switch (info->kind) {
    case OSD_KIND_ASD:
    case OSD_KIND_KINETIC:
        llio_put_strings(b, info->hosts, info->host_count);
        llio_put_i32(b, info->port);
        llio_put_bool(b, info->use_tls);
        llio_put_bool(b, info->use_rdma);
        llio_put_string(b, info->long_id);
        return;
    case OSD_KIND_ALBA:
    case OSD_KIND_ALBA2:
        arakoon_config_put(b, &info->arakoon);
        break;
    case OSD_KIND_ALBA_PROXY:
        llio_put_strings(b, info->hosts, info->host_count);
        break;
    default:
        break;
    }
    llio_put_string(b, info->long_id);
    llio_put_string(b, info->prefix);
    llio_put_string(b, info->preset);
}

void osd_info_put(struct buf *b, const struct osd_info *info)
{
    size_t outer = llio_sub_begin(b);
    size_t inner;

    buf_put_u8(b, INFO_V3);
    inner = llio_sub_begin(b);
    put_kind(b, info);
    llio_put_string(b, info->node_id);
    llio_put_bool(b, info->decommissioned);
    llio_put_string(b, info->other);
    llio_put_i64(b, info->total_bytes);
    llio_put_i64(b, info->used_bytes);
    llio_put_floats(b, info->seen, info->seen_count);
    llio_put_floats(b, info->read, info->read_count);
    llio_put_floats(b, info->write, info->write_count);
    put_events(b, info->errors, info->error_count);
    llio_put_i64(b, info->checksum_errors);
    llio_put_bool(b, info->has_claimed_since);
    if (info->has_claimed_since) {
        llio_put_float(b, info->claimed_since_s);
    }
    llio_sub_end(b, inner);
    llio_sub_end(b, outer);
}

static void get_kind(struct rd *r, uint8_t version, struct osd_info *info)
{
    info->kind = rd_u8(r);
    switch (info->kind) {
    case OSD_KIND_ASD:
    case OSD_KIND_KINETIC:
        info->host_count = llio_strings(r, &info->hosts);
        info->port = llio_i32(r);
        info->use_tls = version >= INFO_V2 && llio_bool(r);
        info->use_rdma = version >= INFO_V3 && llio_bool(r);
        info->long_id = llio_string(r);
        return;
    case OSD_KIND_ALBA:
    case OSD_KIND_ALBA2:
        arakoon_config_get(r, &info->arakoon);
        break;
    case OSD_KIND_ALBA_PROXY:
        info->host_count = llio_strings(r, &info->hosts);
        break;
    default:
        rd_fail(r);
        return;
    }
    info->long_id = llio_string(r);
    info->prefix = llio_string(r);
    info->preset = llio_string(r);
}

static void get_info(struct rd *r, uint8_t version, struct osd_info *info)
{
    get_kind(r, version, info);
    info->node_id = llio_string(r);
    info->decommissioned = llio_bool(r);
    info->other = llio_string(r);
    info->total_bytes = llio_i64(r);
    info->used_bytes = llio_i64(r);
    info->seen_count = llio_floats(r, &info->seen);
    info->read_count = llio_floats(r, &info->read);
    info->write_count = llio_floats(r, &info->write);
    info->error_count = get_events(r, &info->errors);
    if (rd_left(r) > 0) { /* added later */
        info->checksum_errors = llio_i64(r);
    }
    if (rd_left(r) > 0) {
        info->has_claimed_since = llio_bool(r);
        info->claimed_since_s = info->has_claimed_since ? llio_float(r) : 0;
    }
}

void osd_info_get(struct rd *r, struct osd_info *ret_info)
{
    struct rd outer = llio_sub(r);
    uint8_t version = rd_u8(&outer);
    struct rd inner;

    *ret_info = (struct osd_info){0};
    if (version < INFO_V1 || version > INFO_V3) {
        rd_fail(r);
        return;
    }
    inner = version == INFO_V1 ? outer : llio_sub(&outer);
    get_info(&inner, version, ret_info);
    r->bad = r->bad || inner.bad;
}

void osd_info_release(struct osd_info *info)
{
    free(info->hosts);
    arakoon_config_release(&info->arakoon);
    free(info->seen);
    free(info->read);
    free(info->write);
    free(info->errors);
    *info = (struct osd_info){0};
}

/* ---- ClaimInfo ---- */

void osd_claim_put(struct buf *b, const struct osd_claim *claim)
{
    CHECK(claim->kind >= OSD_CLAIM_THIS && claim->kind <= OSD_CLAIM_AVAILABLE);
    buf_put_u8(b, claim->kind);
    if (claim->kind == OSD_CLAIM_THIS) {
        llio_put_xint(b, claim->osd_id);
    } else if (claim->kind == OSD_CLAIM_ANOTHER) {
        llio_put_string(b, claim->alba_id);
    }
}

struct osd_claim osd_claim_get(struct rd *r)
{
    struct osd_claim claim = {.kind = rd_u8(r)};

    switch (claim.kind) {
    case OSD_CLAIM_THIS:
        claim.osd_id = llio_xint(r);
        break;
    case OSD_CLAIM_ANOTHER:
        claim.alba_id = llio_string(r);
        break;
    case OSD_CLAIM_AVAILABLE:
        break;
    default:
        rd_fail(r);
    }
    return claim;
}

/* ---- OsdState ---- */

static void put_opt_i64(struct buf *b, bool has, int64_t v)
{
    llio_put_bool(b, has);
    if (has) {
        llio_put_i64(b, v);
    }
}

static int64_t get_opt_i64(struct rd *r, bool *ret_has)
{
    *ret_has = llio_bool(r);
    return *ret_has ? llio_i64(r) : 0;
}

void osd_state_put(struct buf *b, const struct osd_state *state)
{
    buf_put_u8(b, 1);
    llio_put_bool(b, state->disqualified);
    llio_put_floats(b, state->read, state->read_count);
    llio_put_floats(b, state->write, state->write_count);
    put_events(b, state->errors, state->error_count);
    llio_put_floats(b, state->seen, state->seen_count);
    llio_put_opt_string(b, state->has_json, state->json);
    llio_put_bool(b, state->has_ips);
    if (state->has_ips) {
        llio_put_strings(b, state->ips, state->ip_count);
    }
    llio_put_bool(b, state->has_port);
    if (state->has_port) {
        llio_put_i32(b, state->port);
    }
    put_opt_i64(b, state->has_used, state->used_bytes);
    put_opt_i64(b, state->has_total, state->total_bytes);
    put_opt_i64(b, state->has_checksum_errors, state->checksum_errors);
}

void osd_state_get(struct rd *r, struct osd_state *ret_state)
{
    struct osd_state *state = ret_state;

    *state = (struct osd_state){0};
    if (rd_u8(r) != 1) {
        rd_fail(r);
        return;
    }
    state->disqualified = llio_bool(r);
    state->read_count = llio_floats(r, &state->read);
    state->write_count = llio_floats(r, &state->write);
    state->error_count = get_events(r, &state->errors);
    state->seen_count = llio_floats(r, &state->seen);
    state->json = llio_opt_string(r, &state->has_json);
    state->has_ips = llio_bool(r);
    if (state->has_ips) {
        state->ip_count = llio_strings(r, &state->ips);
    }
    state->has_port = llio_bool(r);
    if (state->has_port) {
        state->port = llio_i32(r);
    }
    state->used_bytes = get_opt_i64(r, &state->has_used);
    state->total_bytes = get_opt_i64(r, &state->has_total);
    if (rd_left(r) > 0) { /* added later */
        state->checksum_errors = get_opt_i64(r, &state->has_checksum_errors);
    }
}

void osd_state_release(struct osd_state *state)
{
    free(state->read);
    free(state->write);
    free(state->errors);
    free(state->seen);
    free(state->ips);
    *state = (struct osd_state){0};
}
