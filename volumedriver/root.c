#include "volumedriver/root.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "volumedriver/checkpoint.h"
#include "volumedriver/format_flags.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"
#include "volumedriver/seal.h"

static const uint8_t magic[8] = "ALBAROT1";

enum { VERSION = 1, HEADER_BYTES = 72, FLAGS_AT = 64 };
enum section_class { CLASS_REFUSE = 0, CLASS_READ_ONLY = 1, CLASS_IGNORE = 2 };
enum section_tag {
    TAG_GEOMETRY = 1,
    TAG_ANCESTORS,
    TAG_GENERATIONS,
    TAG_SNAPSHOTS,
    TAG_CHECKPOINT,
    TAG_LIMITS,
    TAG_PINS,
    TAG_TEMPLATE,
    TAG_BEFORE,
};

void root_init(struct root *r, const uint8_t volume[UUID_BYTES], uint64_t epoch,
               uint64_t size_bytes, uint32_t sco_bytes)
{
    *r = (struct root){.epoch = epoch,
                       .size_bytes = size_bytes,
                       .sco_bytes = sco_bytes,
                       .head_generation = 1,
                       .generation_count = 1};
    rnd_bytes(r->id, sizeof(r->id));
    memcpy(r->volume, volume, UUID_BYTES);
    r->generations = mem_array(1, sizeof(*r->generations));
    r->generations[0] = (struct root_generation){.generation = 1, .state = ROOT_GENERATION_LIVE};
}

void root_release(struct root *r)
{
    for (uint32_t i = 0; i < r->snapshot_count; i++) {
        buf_release(&r->snapshots[i].metadata);
    }
    free(r->ancestors);
    free(r->generations);
    free(r->snapshots);
    free(r->parts);
    free(r->limits);
    free(r->pins);
    buf_release(&r->unknown);
    *r = (struct root){0};
}

/* ---- encoding ---- */

static size_t section_begin(struct buf *b, uint32_t *count, enum section_tag tag,
                            enum section_class class)
{
    (*count)++;
    buf_put_u16le(b, (uint16_t)tag);
    buf_put_u16le(b, (uint16_t) class);
    buf_put_u32le(b, 0);
    return b->len;
}

static void section_end(struct buf *b, size_t body)
{
    put_u32le(b->data + body - 4, (uint32_t)(b->len - body));
}

static void put_zeroes(struct buf *b, size_t bytes)
{
    memset(buf_extend(b, bytes), 0, bytes);
}

static void put_places(const struct root *r, struct buf *b, uint32_t *count)
{
    size_t body = section_begin(b, count, TAG_GEOMETRY, CLASS_REFUSE);

    buf_put_u64le(b, r->size_bytes);
    buf_put_u32le(b, SCO_CLUSTER_BYTES);
    buf_put_u32le(b, r->sco_bytes);
    section_end(b, body);

    body = section_begin(b, count, TAG_CHECKPOINT, CLASS_REFUSE);
    buf_put_u32le(b, r->checkpoint_ordinal);
    buf_put_u32le(b, 0);
    buf_put_u64le(b, r->prefix_number);
    buf_put_u64le(b, r->prefix_seq);
    for (uint32_t i = 0; i < r->part_count; i++) {
        buf_put_u64le(b, r->parts[i].number);
        buf_put_u64le(b, r->parts[i].bytes);
        buf_put_u8(b, r->parts[i].kind);
        put_zeroes(b, 7);
    }
    section_end(b, body);

    body = section_begin(b, count, TAG_BEFORE, CLASS_IGNORE);
    buf_put(b, r->id_before, UUID_BYTES);
    section_end(b, body);
}

static void put_history(const struct root *r, struct buf *b, uint32_t *count)
{
    size_t body = section_begin(b, count, TAG_ANCESTORS, CLASS_REFUSE);

    for (uint32_t i = 0; i < r->ancestor_count; i++) {
        buf_put(b, r->ancestors[i].volume, UUID_BYTES);
        buf_put_u32le(b, r->ancestors[i].generation);
        buf_put_u64le(b, r->ancestors[i].snapshot);
    }
    section_end(b, body);

    body = section_begin(b, count, TAG_GENERATIONS, CLASS_REFUSE);
    buf_put_u32le(b, r->head_generation);
    for (uint32_t i = 0; i < r->generation_count; i++) {
        buf_put_u32le(b, r->generations[i].generation);
        buf_put_u32le(b, r->generations[i].parent);
        buf_put_u8(b, r->generations[i].state);
        put_zeroes(b, 3);
    }
    section_end(b, body);

    body = section_begin(b, count, TAG_SNAPSHOTS, CLASS_READ_ONLY);
    for (uint32_t i = 0; i < r->snapshot_count; i++) {
        const struct root_snapshot *s = &r->snapshots[i];

        buf_put_u64le(b, s->id);
        buf_put_u32le(b, s->generation);
        buf_put_u64le(b, s->number);
        buf_put_u64le(b, s->seq);
        buf_put_u32le(b, (uint32_t)s->metadata.len);
        buf_put(b, s->metadata.data, s->metadata.len);
    }
    section_end(b, body);
}

static void put_settings(const struct root *r, struct buf *b, uint32_t *count)
{
    size_t body = section_begin(b, count, TAG_LIMITS, CLASS_IGNORE);

    for (uint32_t i = 0; i < r->limit_count; i++) {
        buf_put_u32le(b, r->limits[i].id);
        buf_put_u64le(b, r->limits[i].value);
    }
    section_end(b, body);

    body = section_begin(b, count, TAG_PINS, CLASS_READ_ONLY);
    for (uint32_t i = 0; i < r->pin_count; i++) {
        buf_put(b, r->pins[i].volume, UUID_BYTES);
    }
    section_end(b, body);

    body = section_begin(b, count, TAG_TEMPLATE, CLASS_READ_ONLY);
    buf_put_u8(b, r->is_template);
    section_end(b, body);
}

void root_encode(const struct root *r, struct buf *b)
{
    uint32_t count = r->unknown_count;
    size_t start = b->len;
    uint8_t *at;

    put_zeroes(b, HEADER_BYTES);
    put_places(r, b, &count);
    put_history(r, b, &count);
    put_settings(r, b, &count);
    buf_put(b, r->unknown.data, r->unknown.len);
    at = b->data + start;
    memcpy(at, magic, 8);
    put_u32le(at + 8, VERSION);
    memcpy(at + 16, r->id, UUID_BYTES);
    memcpy(at + 32, r->volume, UUID_BYTES);
    put_u64le(at + 48, r->epoch);
    put_u32le(at + 56, (uint32_t)(b->len - start - HEADER_BYTES));
    put_u32le(at + 60, count);
    put_u32le(at + SEAL_AT, seal_crc(0, at, b->len - start, SEAL_AT));
    CHECK(b->len - start <= ROOT_BYTES_MAX);
}

/* ---- decoding ---- */

/* How many items of `item_bytes` fill the rest of `body`; bad when they do not, or are too many. */
static uint32_t item_count(struct rd *body, size_t item_bytes, uint32_t max)
{
    size_t left = rd_left(body);

    if (left % item_bytes != 0 || left / item_bytes > max) {
        body->bad = true;
        return 0;
    }
    return (uint32_t)(left / item_bytes);
}

static void get_copy(struct rd *body, void *ret_data, size_t bytes)
{
    const uint8_t *data = rd_bytes(body, bytes);

    if (data != NULL) {
        memcpy(ret_data, data, bytes);
    }
}

static void get_checkpoint(struct root *r, struct rd *body)
{
    r->checkpoint_ordinal = rd_u32le(body);
    rd_u32le(body);
    r->prefix_number = rd_u64le(body);
    r->prefix_seq = rd_u64le(body);
    r->part_count = item_count(body, 24, ROOT_PARTS_MAX);
    r->parts = mem_array(r->part_count + 1, sizeof(*r->parts));
    for (uint32_t i = 0; i < r->part_count; i++) {
        struct root_part *p = &r->parts[i];

        p->number = rd_u64le(body);
        p->bytes = rd_u64le(body);
        p->kind = rd_u8(body);
        rd_bytes(body, 7);
        if (p->number == 0 || p->number > SCO_NUMBER_MAX || p->bytes > CHECKPOINT_BYTES_MAX) {
            body->bad = true;
        }
    }
}

static void get_ancestors(struct root *r, struct rd *body)
{
    r->ancestor_count = item_count(body, 28, ROOT_ANCESTORS_MAX);
    r->ancestors = mem_array(r->ancestor_count + 1, sizeof(*r->ancestors));
    for (uint32_t i = 0; i < r->ancestor_count; i++) {
        get_copy(body, r->ancestors[i].volume, UUID_BYTES);
        r->ancestors[i].generation = rd_u32le(body);
        r->ancestors[i].snapshot = rd_u64le(body);
    }
}

static void get_generations(struct root *r, struct rd *body)
{
    r->head_generation = rd_u32le(body);
    r->generation_count = item_count(body, 12, ROOT_ITEMS_MAX);
    r->generations = mem_array(r->generation_count + 1, sizeof(*r->generations));
    for (uint32_t i = 0; i < r->generation_count; i++) {
        r->generations[i].generation = rd_u32le(body);
        r->generations[i].parent = rd_u32le(body);
        r->generations[i].state = rd_u8(body);
        rd_bytes(body, 3);
    }
}

static void get_snapshots(struct root *r, struct rd *body)
{
    r->snapshots = mem_array(rd_left(body) / 32 + 1, sizeof(*r->snapshots));
    while (!body->bad && rd_left(body) != 0 && r->snapshot_count < ROOT_ITEMS_MAX) {
        struct root_snapshot *s = &r->snapshots[r->snapshot_count];
        const uint8_t *metadata;
        uint32_t bytes;

        s->id = rd_u64le(body);
        s->generation = rd_u32le(body);
        s->number = rd_u64le(body);
        s->seq = rd_u64le(body);
        bytes = rd_u32le(body);
        metadata = bytes <= ROOT_METADATA_BYTES_MAX ? rd_bytes(body, bytes) : NULL;
        if (metadata == NULL) {
            body->bad = true;
            return;
        }
        buf_put(&s->metadata, metadata, bytes);
        r->snapshot_count++;
    }
}

static void get_limits(struct root *r, struct rd *body)
{
    r->limit_count = item_count(body, 12, ROOT_ITEMS_MAX);
    r->limits = mem_array(r->limit_count + 1, sizeof(*r->limits));
    for (uint32_t i = 0; i < r->limit_count; i++) {
        r->limits[i].id = rd_u32le(body);
        r->limits[i].value = rd_u64le(body);
    }
}

static void get_pins(struct root *r, struct rd *body)
{
    r->pin_count = item_count(body, UUID_BYTES, ROOT_ITEMS_MAX);
    r->pins = mem_array(r->pin_count + 1, sizeof(*r->pins));
    for (uint32_t i = 0; i < r->pin_count; i++) {
        get_copy(body, r->pins[i].volume, UUID_BYTES);
    }
}

static void get_geometry(struct root *r, struct rd *body)
{
    uint32_t cluster_bytes;

    r->size_bytes = rd_u64le(body);
    cluster_bytes = rd_u32le(body);
    r->sco_bytes = rd_u32le(body);
    if (cluster_bytes != SCO_CLUSTER_BYTES || r->size_bytes % SCO_CLUSTER_BYTES != 0 ||
        r->size_bytes > ROOT_VOLUME_BYTES_MAX || r->sco_bytes > SCO_BYTES_MAX) {
        body->bad = true;
    }
}

/* 0, or ERR_VERSION for a section that may not be skipped. */
static int get_unknown(struct root *r, uint16_t tag, uint16_t class, const struct rd *body)
{
    if (class != CLASS_READ_ONLY && class != CLASS_IGNORE) {
        return ERR_VERSION;
    }
    r->read_only = r->read_only || class == CLASS_READ_ONLY;
    buf_put_u16le(&r->unknown, tag);
    buf_put_u16le(&r->unknown, class);
    buf_put_u32le(&r->unknown, (uint32_t)rd_left(body));
    buf_put(&r->unknown, body->pos, rd_left(body));
    r->unknown_count++;
    return 0;
}

static int get_section(struct root *r, uint16_t tag, uint16_t class, struct rd body)
{
    switch (tag) {
    case TAG_GEOMETRY:
        get_geometry(r, &body);
        break;
    case TAG_ANCESTORS:
        get_ancestors(r, &body);
        break;
    case TAG_GENERATIONS:
        get_generations(r, &body);
        break;
    case TAG_SNAPSHOTS:
        get_snapshots(r, &body);
        break;
    case TAG_CHECKPOINT:
        get_checkpoint(r, &body);
        break;
    case TAG_LIMITS:
        get_limits(r, &body);
        break;
    case TAG_PINS:
        get_pins(r, &body);
        break;
    case TAG_TEMPLATE:
        r->is_template = rd_u8(&body) != 0;
        break;
    case TAG_BEFORE:
        get_copy(&body, r->id_before, UUID_BYTES);
        break;
    default:
        return get_unknown(r, tag, class, &body);
    }
    return body.bad || rd_left(&body) != 0 ? ERR_CORRUPT : 0;
}

static int get_sections(struct root *r, struct rd *in, uint32_t count, struct err *e)
{
    uint32_t seen = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint16_t tag = rd_u16le(in), class = rd_u16le(in);
        uint32_t bytes = rd_u32le(in);
        const uint8_t *body = rd_bytes(in, bytes);
        int rc;

        if (body == NULL || (tag <= TAG_BEFORE && (seen >> tag & 1) != 0)) {
            return err_set(e, ERR_CORRUPT, "section %" PRIu32 " of the root", i);
        }
        seen |= tag <= TAG_BEFORE ? UINT32_C(1) << tag : 0;
        rc = get_section(r, tag, class, rd_of(body, bytes));
        if (rc != 0) {
            return err_set(e, rc, "section with tag %u of the root", tag);
        }
    }
    if ((seen >> TAG_GEOMETRY & 1) == 0 || (seen >> TAG_CHECKPOINT & 1) == 0) {
        return err_set(e, ERR_CORRUPT, "root without geometry or checkpoint");
    }
    return 0;
}

int root_decode(const uint8_t *data, size_t bytes, const uint8_t volume[UUID_BYTES],
                struct root *ret_root, struct err *e)
{
    struct root r = {0};
    struct rd in;
    int rc;

    if (bytes < HEADER_BYTES || bytes > ROOT_BYTES_MAX || memcmp(data, magic, 8) != 0 ||
        get_u32le(data + SEAL_AT) != seal_crc(0, data, bytes, SEAL_AT) ||
        get_u32le(data + 56) != bytes - HEADER_BYTES) {
        return err_set(e, ERR_CORRUPT, "root of the volume");
    }
    if (get_u32le(data + 8) != VERSION || !format_flags_readable(get_u32le(data + FLAGS_AT))) {
        return err_set(e, ERR_VERSION, "root of version %" PRIu32, get_u32le(data + 8));
    }
    memcpy(r.id, data + 16, UUID_BYTES);
    memcpy(r.volume, data + 32, UUID_BYTES);
    r.epoch = get_u64le(data + 48);
    r.read_only = !format_flags_writable(get_u32le(data + FLAGS_AT));
    if (memcmp(r.volume, volume, UUID_BYTES) != 0) {
        return err_set(e, ERR_CORRUPT, "root of another volume");
    }
    if (r.epoch > EPOCH_MAX) {
        return err_set(e, ERR_CORRUPT, "root of the volume: epoch %" PRIu64, r.epoch);
    }
    in = rd_of(data + HEADER_BYTES, bytes - HEADER_BYTES);
    rc = get_sections(&r, &in, get_u32le(data + 60), e);
    if (rc == 0 && rd_left(&in) != 0) {
        rc = err_set(e, ERR_CORRUPT, "bytes behind the sections of the root");
    }
    if (rc != 0) {
        root_release(&r);
        return rc;
    }
    *ret_root = r;
    return 0;
}
