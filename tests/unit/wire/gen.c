#include "unit/wire/gen.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

const uint32_t gen_asd_codes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
const size_t gen_asd_code_count = sizeof(gen_asd_codes) / sizeof(gen_asd_codes[0]);
const uint32_t gen_proxy_codes[] = {1,  2,  3,  4,  5,  8,  9,  10, 11, 13, 14,
                                    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                    26, 28, 29, 30, 31, 32, 33, 64, 65, 66, 67};
const size_t gen_proxy_code_count = sizeof(gen_proxy_codes) / sizeof(gen_proxy_codes[0]);

void gen_init(struct gen *g, uint64_t seed)
{
    *g = (struct gen){.rnd = rnd_seed(seed)};
}

void gen_release(struct gen *g)
{
    for (size_t i = 0; i < g->block_count; i++) {
        free(g->blocks[i]);
    }
    for (size_t i = 0; i < g->manifest_count; i++) {
        manifest_release(g->manifests[i]);
        free(g->manifests[i]);
    }
    g->block_count = 0;
    g->manifest_count = 0;
}

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

static double number(struct gen *g)
{
    return (double)below(g, 1000000) / 7.0;
}

static uint64_t id(struct gen *g)
{
    return coin(g) ? below(g, 1000) : rnd_next(&g->rnd) >> 1;
}

struct slice gen_bytes(struct gen *g, size_t bytes_max)
{
    size_t bytes = below(g, (uint32_t)bytes_max + 1);
    uint8_t *data = block(g, bytes, 1);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)rnd_next(&g->rnd);
    }
    return slice_of(data, bytes);
}

/* Now and then long enough to be borrowed by a message. */
static struct slice value(struct gen *g)
{
    return gen_bytes(g, below(g, 4) == 0 ? 3 * GATHER_BORROW_BYTES_MIN : 40);
}

static uint32_t strings(struct gen *g, struct slice **ret_items)
{
    uint32_t count = below(g, 5);

    *ret_items = block(g, count, sizeof(struct slice));
    for (uint32_t i = 0; i < count; i++) {
        (*ret_items)[i] = gen_bytes(g, 20);
    }
    return count;
}

static uint32_t bools(struct gen *g, bool **ret_items)
{
    uint32_t count = below(g, 9);

    *ret_items = block(g, count, sizeof(bool));
    for (uint32_t i = 0; i < count; i++) {
        (*ret_items)[i] = coin(g);
    }
    return count;
}

struct checksum gen_checksum(struct gen *g)
{
    struct checksum c = {.algo = (uint8_t)(CHECKSUM_NONE + below(g, 3))};

    if (c.algo == CHECKSUM_CRC32C) {
        c.crc32c = (uint32_t)rnd_next(&g->rnd);
    } else if (c.algo == CHECKSUM_SHA1) {
        for (size_t i = 0; i < sizeof(c.sha1); i++) {
            c.sha1[i] = (uint8_t)rnd_next(&g->rnd);
        }
    }
    return c;
}

static struct stat_sum stat(struct gen *g)
{
    struct stat_sum s;

    stat_sum_init(&s);
    for (uint32_t i = below(g, 5); i > 0; i--) {
        stat_sum_add(&s, number(g));
    }
    return s;
}

/* ---- manifest, recovery info ---- */

static void scheme(struct gen *g, bool foreign, struct manifest_scheme *s)
{
    static const uint8_t ours[] = {MANIFEST_CODEC_NONE, MANIFEST_CODEC_SNAPPY, MANIFEST_CODEC_LZ4};
    static const uint8_t ciphers[] = {MANIFEST_CIPHER_NONE, MANIFEST_CIPHER_AES_CTR_256,
                                      MANIFEST_CIPHER_XCHACHA20_POLY1305,
                                      MANIFEST_CIPHER_AES_GCM_256};

    *s = (struct manifest_scheme){.k = 1 + below(g, 5), .m = below(g, 4)};
    s->max_disks_per_node = 1 + below(g, 5);
    if (foreign) {
        s->codec = (uint8_t)(1 + below(g, 4));
        s->cipher = (uint8_t)(1 + below(g, 3));
    } else {
        s->c = s->k;
        s->fragment_format = (uint8_t)below(g, 2);
        s->codec = ours[below(g, 3)];
        s->cipher = ciphers[below(g, 4)];
        s->block_bytes = s->fragment_format == 1 ? 4096 : 0;
    }
    if (s->cipher != MANIFEST_CIPHER_NONE) {
        s->key_id[0] = 7;
        s->key_id[31] = 9;
    }
}

static void fragment(struct gen *g, struct manifest_fragment *f)
{
    f->has_osd = below(g, 5) != 0;
    f->osd_id = f->has_osd ? id(g) : 0;
    f->version = below(g, 3);
    f->packed_bytes = below(g, 1 << 20);
    f->checksum = gen_checksum(g);
    f->has_ctr = coin(g);
    f->ctr[3] = f->has_ctr ? 42 : 0;
    f->fnr_bytes = (uint8_t)(coin(g) ? below(g, 11) : 0);
    for (unsigned i = 0; i < f->fnr_bytes; i++) {
        f->fnr[i] = (uint8_t)(0x80 + i);
    }
}

struct manifest *gen_manifest(struct gen *g, bool foreign)
{
    static const uint8_t tail[] = {1, 2, 'h', 'i', 0x7f, 0};
    struct manifest *m = mem_zalloc(sizeof(*m));

    CHECK(g->manifest_count < GEN_MANIFESTS_MAX);
    g->manifests[g->manifest_count++] = m;
    manifest_set(&m->name, gen_bytes(g, 30));
    manifest_set(&m->object_id, slice_of("0123456789abcdef0123456789abcdef", 32));
    scheme(g, foreign, &m->scheme);
    m->checksum = gen_checksum(g);
    m->version_id = below(g, 9);
    m->timestamp_us = 1700000000000000 + (int64_t)below(g, 1000000000);
    m->preset_version = -1;
    if (!foreign) {
        manifest_set(&m->preset, gen_bytes(g, 12));
        m->preset_version = below(g, 5);
        m->gc_epoch = id(g);
        manifest_set(&m->tail, coin(g) ? slice_of(tail, sizeof(tail)) : slice_of(NULL, 0));
    }
    manifest_alloc_chunks(m, below(g, 4));
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        m->chunk_bytes[i] = i == 0 ? m->scheme.k * 16 * below(g, 1000)
                                   : m->scheme.k * below(g, m->chunk_bytes[0] / m->scheme.k + 1);
        m->size_bytes += m->chunk_bytes[i];
        for (uint32_t j = 0; j < manifest_fragments_per_chunk(m); j++) {
            fragment(g, manifest_fragment_at(m, i, j));
        }
    }
    return m;
}

void gen_recovery_info(struct gen *g, struct recovery_info *ret_info)
{
    struct recovery_info *info = ret_info;
    uint32_t count;

    *info = (struct recovery_info){.name = gen_bytes(g, 30), .object_id = slice_str("the id")};
    info->preset = gen_bytes(g, 10);
    info->preset_version = below(g, 4);
    scheme(g, false, &info->scheme);
    info->timestamp_us = 1700000000000000;
    info->gc_epoch = id(g);
    info->chunk_count = 1 + below(g, 4);
    info->chunk = below(g, info->chunk_count);
    info->chunk_bytes = info->scheme.k * 4096;
    count = info->scheme.k + info->scheme.m;
    info->fragments = block(g, count, sizeof(info->fragments[0]));
    for (uint32_t i = 0; i < count; i++) {
        info->fragments[i].packed_bytes = below(g, 5000);
        info->fragments[i].checksum = gen_checksum(g);
        info->fragments[i].has_ctr = coin(g);
    }
    info->has_object = coin(g);
    info->all_chunk_bytes = block(g, info->chunk_count, sizeof(uint32_t));
    for (uint32_t i = 0; i < info->chunk_count; i++) {
        info->all_chunk_bytes[i] = info->chunk_bytes;
    }
    info->size_bytes = info->has_object ? below(g, 4096) : 0;
    info->chunk_count = info->has_object ? info->chunk_count : 0;
    info->has_checksum = coin(g);
    info->checksum = info->has_checksum ? gen_checksum(g) : checksum_none();
}

/* ---- ASD ---- */

static void asd_apply(struct gen *g, struct asd_apply *apply)
{
    apply->assert_count = below(g, 4);
    apply->asserts = block(g, apply->assert_count, sizeof(apply->asserts[0]));
    for (uint32_t i = 0; i < apply->assert_count; i++) {
        struct asd_assert *a = &apply->asserts[i];

        a->key = gen_bytes(g, 20);
        a->has_value = coin(g);
        a->value = a->has_value ? value(g) : slice_of(NULL, 0);
    }
    apply->update_count = below(g, 4);
    apply->updates = block(g, apply->update_count, sizeof(apply->updates[0]));
    for (uint32_t i = 0; i < apply->update_count; i++) {
        struct asd_update *u = &apply->updates[i];

        u->key = gen_bytes(g, 20);
        u->is_delete = below(g, 3) == 0;
        if (!u->is_delete) {
            u->value = value(g);
            u->checksum = gen_checksum(g);
            u->assertable = coin(g);
        }
    }
    apply->flags = (uint8_t)below(g, 2);
}

void gen_asd_request(struct gen *g, uint32_t code, struct asd_request *ret_request)
{
    struct asd_request *req = ret_request;

    *req = (struct asd_request){.code = code, .prio = (uint8_t)(1 + below(g, 2))};
    switch (code) {
    case ASD_RANGE_VALIDATE:
        req->verify_checksum = coin(g);
        req->show_all = coin(g);
        /* fall through */
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
        req->range.first = gen_bytes(g, 20);
        req->range.first_included = coin(g);
        req->range.has_last = coin(g);
        if (req->range.has_last) {
            req->range.last = gen_bytes(g, 20);
            req->range.last_included = coin(g);
        }
        req->range.reverse = coin(g);
        req->range.max = (int32_t)below(g, ASD_RANGE_MAX + 1);
        break;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        req->keys.count = strings(g, &req->keys.items);
        break;
    case ASD_APPLY:
        asd_apply(g, &req->apply);
        break;
    case ASD_PARTIAL_GET:
        req->partial.key = gen_bytes(g, 60);
        req->partial.part_count = below(g, 6);
        req->partial.parts = block(g, req->partial.part_count, sizeof(struct asd_part));
        for (uint32_t i = 0; i < req->partial.part_count; i++) {
            req->partial.parts[i] =
                (struct asd_part){.offset = below(g, 1 << 20), .bytes = below(g, 1 << 20)};
        }
        break;
    case ASD_STATISTICS:
        req->clear = coin(g);
        break;
    case ASD_SET_FULL:
        req->full = coin(g);
        break;
    case ASD_SLOWNESS:
        req->slowness.on = coin(g);
        req->slowness.fixed_s = req->slowness.on ? number(g) : 0;
        req->slowness.variable_s = req->slowness.on ? number(g) : 0;
        break;
    default:
        break;
    }
}

static void asd_values(struct gen *g, struct asd_reply *reply)
{
    reply->values.count = below(g, 5);
    reply->values.items = block(g, reply->values.count, sizeof(struct asd_value));
    for (uint32_t i = 0; i < reply->values.count; i++) {
        struct asd_value *v = &reply->values.items[i];

        v->found = below(g, 4) != 0;
        if (v->found) {
            v->value = value(g);
            v->checksum = gen_checksum(g);
        }
    }
}

static void asd_entries(struct gen *g, struct asd_reply *reply)
{
    reply->entries.count = below(g, 5);
    reply->entries.items = block(g, reply->entries.count, sizeof(struct asd_entry));
    for (uint32_t i = 0; i < reply->entries.count; i++) {
        reply->entries.items[i] = (struct asd_entry){
            .key = gen_bytes(g, 20), .value = value(g), .checksum = gen_checksum(g)};
    }
    reply->entries.more = coin(g);
}

static void asd_validations(struct gen *g, struct asd_reply *reply)
{
    reply->validations.count = below(g, 4);
    reply->validations.items = block(g, reply->validations.count, sizeof(struct asd_validation));
    for (uint32_t i = 0; i < reply->validations.count; i++) {
        struct asd_validation *v = &reply->validations.items[i];

        v->key = gen_bytes(g, 20);
        v->check_count = below(g, 3);
        v->checks = block(g, v->check_count, sizeof(struct asd_check));
        for (uint32_t j = 0; j < v->check_count; j++) {
            v->checks[j] = (struct asd_check){.name = gen_bytes(g, 9), .ok = coin(g)};
        }
    }
    reply->validations.has_next = coin(g);
    if (reply->validations.has_next) {
        reply->validations.next = gen_bytes(g, 20);
    }
}

static void asd_statistics(struct gen *g, struct asd_statistics *s)
{
    *s = (struct asd_statistics){.creation_s = number(g), .period_s = number(g)};
    s->entry_count = below(g, 4);
    s->entries = block(g, s->entry_count, sizeof(s->entries[0]));
    for (uint32_t i = 0; i < s->entry_count; i++) {
        s->entries[i] = (struct asd_stat_entry){.code = i + 1, .stat = stat(g)};
    }
}

static void asd_small_reply(struct gen *g, struct asd_reply *reply)
{
    struct slice *parts;

    switch (reply->code) {
    case ASD_RANGE:
        reply->keys.count = strings(g, &reply->keys.items);
        reply->keys.more = coin(g);
        break;
    case ASD_APPLY:
        reply->file_numbers.count = below(g, 3);
        reply->file_numbers.items =
            block(g, reply->file_numbers.count, sizeof(struct asd_file_number));
        for (uint32_t i = 0; i < reply->file_numbers.count; i++) {
            reply->file_numbers.items[i] =
                (struct asd_file_number){.key = gen_bytes(g, 9), .number = gen_bytes(g, 9)};
        }
        break;
    case ASD_GET_VERSION:
        reply->version.major = 1;
        reply->version.minor = (int32_t)below(g, 100);
        reply->version.text = gen_bytes(g, 20);
        break;
    case ASD_MULTI_EXISTS:
        reply->exists.count = bools(g, &reply->exists.items);
        break;
    case ASD_GET_DISK_USAGE:
        reply->usage.used_bytes = (int64_t)id(g);
        reply->usage.capacity_bytes = (int64_t)id(g);
        break;
    case ASD_PARTIAL_GET:
        reply->partial.found = coin(g);
        if (reply->partial.found) {
            reply->partial.part_count = strings(g, &parts);
            reply->partial.parts = parts;
        }
        break;
    case ASD_CAPABILITIES:
        reply->capabilities.mask = below(g, 4) << 1;
        break;
    default:
        break;
    }
}

void gen_asd_reply(struct gen *g, uint32_t code, struct asd_reply *ret_reply)
{
    *ret_reply = (struct asd_reply){.code = code};
    switch (code) {
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
        asd_values(g, ret_reply);
        break;
    case ASD_RANGE_ENTRIES:
        asd_entries(g, ret_reply);
        break;
    case ASD_RANGE_VALIDATE:
        asd_validations(g, ret_reply);
        break;
    case ASD_STATISTICS:
        asd_statistics(g, &ret_reply->statistics);
        break;
    default:
        asd_small_reply(g, ret_reply);
    }
}

/* ---- proxy requests ---- */

static void proxy_apply(struct gen *g, struct proxy_request *req)
{
    struct proxy_apply *apply = &req->apply;

    apply->assert_count = below(g, 5);
    apply->asserts = block(g, apply->assert_count, sizeof(apply->asserts[0]));
    for (uint32_t i = 0; i < apply->assert_count; i++) {
        struct proxy_assert *a = &apply->asserts[i];

        a->kind = (uint8_t)(1 + below(g, 4));
        a->name = gen_bytes(g, 20);
        if (a->kind == PROXY_ASSERT_HAS_ID) {
            a->object_id = gen_bytes(g, 32);
        } else if (a->kind == PROXY_ASSERT_HAS_CHECKSUM) {
            a->checksum = gen_checksum(g);
        }
    }
    apply->update_count = req->code == PROXY_APPLY_STREAM ? 1 : below(g, 4);
    apply->updates = block(g, apply->update_count, sizeof(apply->updates[0]));
    for (uint32_t i = 0; i < apply->update_count; i++) {
        struct proxy_update *u = &apply->updates[i];

        u->kind = req->code == PROXY_APPLY_STREAM
                      ? PROXY_UPDATE_UPLOAD_STREAM
                      : (uint8_t)(1 + below(g, req->code == PROXY_APPLY_FDS ? 4 : 3));
        u->name = gen_bytes(g, 20);
        if (u->kind == PROXY_UPDATE_UPLOAD_FILE) {
            u->file = gen_bytes(g, 20);
        } else if (u->kind == PROXY_UPDATE_UPLOAD) {
            u->data = value(g);
        } else if (u->kind == PROXY_UPDATE_UPLOAD_STREAM) {
            u->bytes = rnd_next(&g->rnd) >> (1 + below(g, 40));
        } else if (u->kind == PROXY_UPDATE_UPLOAD_FD) {
            u->token = gen_bytes(g, 16);
            u->extent_count = below(g, 4);
            u->extents = block(g, u->extent_count, sizeof(u->extents[0]));
            for (uint32_t j = 0; j < u->extent_count; j++) {
                u->extents[j].offset = below(g, 1u << 30);
                u->extents[j].bytes = below(g, 1u << 30);
            }
        }
        if (u->kind != PROXY_UPDATE_DELETE) {
            u->has_checksum = coin(g);
            u->checksum = u->has_checksum ? gen_checksum(g) : checksum_none();
        }
    }
    if (req->code != PROXY_APPLY_SEQUENCE) {
        apply->flags = below(g, 4);
        apply->deadline_ms = below(g, 100000);
    } else {
        apply->write_barrier = coin(g);
    }
}

static void proxy_object(struct gen *g, struct proxy_request *req)
{
    bool write = req->code == PROXY_WRITE_OBJECT_FS || req->code == PROXY_WRITE_OBJECT_FS2;

    req->object.name = gen_bytes(g, 20);
    if (write || req->code == PROXY_READ_OBJECT_FS) {
        req->object.file = gen_bytes(g, 20);
    }
    if (write) {
        req->object.allow_overwrite = coin(g);
        req->object.has_checksum = coin(g);
        req->object.checksum = req->object.has_checksum ? gen_checksum(g) : checksum_none();
    } else if (req->code == PROXY_DELETE_OBJECT) {
        req->object.may_not_exist = coin(g);
    } else {
        req->consistent_read = coin(g);
        req->should_cache = coin(g);
    }
}

static void proxy_reads(struct gen *g, struct proxy_request *req)
{
    req->reads.count = below(g, 4);
    req->reads.items = block(g, req->reads.count, sizeof(req->reads.items[0]));
    for (uint32_t i = 0; i < req->reads.count; i++) {
        struct proxy_object_slices *object = &req->reads.items[i];

        object->name = gen_bytes(g, 20);
        object->slice_count = below(g, 4);
        object->slices = block(g, object->slice_count, sizeof(object->slices[0]));
        for (uint32_t j = 0; j < object->slice_count; j++) {
            object->slices[j] = (struct proxy_slice){.offset = (int64_t)id(g), .bytes = 4096};
        }
    }
    req->consistent_read = coin(g);
}

static void proxy_range(struct gen *g, struct proxy_range *range)
{
    range->first = gen_bytes(g, 20);
    range->first_included = coin(g);
    range->has_last = coin(g);
    if (range->has_last) {
        range->last = gen_bytes(g, 20);
        range->last_included = coin(g);
    }
    range->max = (int32_t)below(g, PROXY_RANGE_MAX + 1);
    range->reverse = coin(g);
}

static void proxy_small_request(struct gen *g, struct proxy_request *req)
{
    switch (req->code) {
    case PROXY_CREATE_NAMESPACE:
        req->create.has_preset = coin(g);
        req->create.preset = req->create.has_preset ? gen_bytes(g, 9) : slice_of(NULL, 0);
        break;
    case PROXY_STATISTICS:
        req->statistics.clear = coin(g);
        req->statistics.forget_count = strings(g, &req->statistics.forget);
        break;
    case PROXY_PING:
        req->delay_s = number(g);
        break;
    case PROXY_READ_OBJECTS:
        req->consistent_read = coin(g);
        req->should_cache = coin(g);
        /* fall through */
    case PROXY_MULTI_EXISTS:
        req->names.count = strings(g, &req->names.items);
        break;
    case PROXY_UPDATE_SESSION:
        req->session.count = below(g, 3);
        req->session.items = block(g, req->session.count, sizeof(req->session.items[0]));
        for (uint32_t i = 0; i < req->session.count; i++) {
            req->session.items[i] = (struct proxy_session_entry){
                .key = gen_bytes(g, 12), .value = gen_bytes(g, 3), .has_value = true};
        }
        break;
    case PROXY_GET_FRAGMENT_KEY:
        req->key.alba_id = gen_bytes(g, 36);
        req->key.namespace_id = (int64_t)id(g);
        break;
    default:
        break;
    }
}

void gen_proxy_request(struct gen *g, uint32_t code, struct proxy_request *ret_request)
{
    *ret_request = (struct proxy_request){.code = code};
    if (proxy_code_has_namespace(code)) {
        ret_request->ns = gen_bytes(g, 20);
    }
    switch (code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
    case PROXY_LIST_OBJECTS:
        proxy_range(g, &ret_request->range);
        break;
    case PROXY_DELETE_OBJECT:
    case PROXY_GET_OBJECT_INFO:
    case PROXY_READ_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        proxy_object(g, ret_request);
        break;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
        proxy_reads(g, ret_request);
        break;
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_APPLY_STREAM:
        proxy_apply(g, ret_request);
        break;
    case PROXY_STREAM_PART:
        ret_request->part.offset = rnd_next(&g->rnd);
        ret_request->part.crc32c = (uint32_t)rnd_next(&g->rnd);
        ret_request->part.data = value(g);
        break;
    default:
        proxy_small_request(g, ret_request);
    }
}
