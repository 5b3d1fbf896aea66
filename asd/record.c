#include "asd/record.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

enum {
    RECORD_VERSION = 1,
    STORE_RECORD_BYTES = 24,
    USAGE_RECORD_BYTES = 32,
    SLAB_RECORD_BYTES = 32,
    FREE_RECORD_BYTES = 16,
    NAME_HEAD_BYTES = 4,
    VALUE_HEAD_BYTES = 16,
    CRC_BYTES = 4,

    FLAGS_REFUSE = 0x0f, /* unknown ones among these: do not use the record */
    SLAB_SEALED = 0x01,
    VALUE_IN_SLAB = 0x01,
    VALUE_ASSERTABLE = 0x10,
};

static const uint8_t slab_magic[8] = {'A', 'L', 'B', 'A', 'S', 'L', 'A', 'B'};

/* ---- keys ---- */

struct asd_internal_key asd_key_of(uint8_t kind)
{
    return (struct asd_internal_key){.data = {kind}, .len = 1};
}

struct asd_internal_key asd_key_slab(uint64_t slab)
{
    struct asd_internal_key key = {.data = {ASD_KEY_SLAB}, .len = 9};

    put_u64be(key.data + 1, slab);
    return key;
}

static struct asd_internal_key key_of_place(uint8_t kind, uint64_t slab, uint64_t offset)
{
    struct asd_internal_key key = {.data = {kind}, .len = 17};

    put_u64be(key.data + 1, slab);
    put_u64be(key.data + 9, offset);
    return key;
}

struct asd_internal_key asd_key_free(uint64_t slab, uint64_t offset)
{
    return key_of_place(ASD_KEY_FREE, slab, offset);
}

struct asd_internal_key asd_key_name(uint64_t slab, uint64_t offset)
{
    return key_of_place(ASD_KEY_NAME, slab, offset);
}

static int key_check(const char *what, uint8_t kind, size_t bytes, struct slice key, struct err *e)
{
    return key.len == bytes && key.data[0] == kind
               ? 0
               : err_set(e, ERR_CORRUPT, "%s key of %zu bytes", what, key.len);
}

int asd_key_slab_parse(struct slice key, uint64_t *ret_slab, struct err *e)
{
    int rc = key_check("slab", ASD_KEY_SLAB, 9, key, e);

    if (rc == 0) {
        *ret_slab = get_u64be(key.data + 1);
    }
    return rc;
}

static int place_parse(const char *what, uint8_t kind, struct slice key, uint64_t *ret_slab,
                       uint64_t *ret_offset, struct err *e)
{
    int rc = key_check(what, kind, 17, key, e);

    if (rc == 0) {
        *ret_slab = get_u64be(key.data + 1);
        *ret_offset = get_u64be(key.data + 9);
    }
    return rc;
}

int asd_key_free_parse(struct slice key, uint64_t *ret_slab, uint64_t *ret_offset, struct err *e)
{
    return place_parse("free", ASD_KEY_FREE, key, ret_slab, ret_offset, e);
}

int asd_key_name_parse(struct slice key, uint64_t *ret_slab, uint64_t *ret_offset, struct err *e)
{
    return place_parse("name", ASD_KEY_NAME, key, ret_slab, ret_offset, e);
}

void asd_key_value_put(struct buf *b, struct slice client_key)
{
    buf_put_u8(b, ASD_KEY_VALUE);
    buf_put(b, client_key.data, client_key.len);
}

/* ---- small records: version, flags, 2 or 3 zero bytes, fields, CRC ---- */

static uint8_t *record_begin(struct buf *b, size_t bytes)
{
    uint8_t *p = buf_extend(b, bytes);

    memset(p, 0, bytes);
    p[0] = RECORD_VERSION;
    return p;
}

static void record_seal(uint8_t *p, size_t bytes, struct slice key)
{
    uint32_t crc = crc32c(crc32c(0, key.data, key.len), p, bytes - CRC_BYTES);

    put_u32le(p + bytes - CRC_BYTES, crc);
}

static int record_check(const char *what, struct slice key, struct slice record, size_t bytes,
                        uint8_t flags_known, struct err *e)
{
    const uint8_t *p = record.data;

    if (record.len == 0 || p[0] == 0) {
        return err_set(e, ERR_CORRUPT, "%s record of %zu bytes", what, record.len);
    }
    if (p[0] > RECORD_VERSION) {
        return err_set(e, ERR_VERSION, "%s record of version %u", what, p[0]);
    }
    if (record.len != bytes) {
        return err_set(e, ERR_CORRUPT, "%s record of %zu bytes", what, record.len);
    }
    if (crc32c(crc32c(0, key.data, key.len), p, bytes - CRC_BYTES) !=
        get_u32le(p + bytes - CRC_BYTES)) {
        return err_set(e, ERR_CORRUPT, "%s record: checksum", what);
    }
    if ((p[1] & FLAGS_REFUSE & ~flags_known) != 0) {
        return err_set(e, ERR_VERSION, "%s record with flags 0x%x", what, p[1]);
    }
    return 0;
}

void asd_store_record_put(struct buf *b, struct slice key, const struct asd_store_record *r)
{
    uint8_t *p = record_begin(b, STORE_RECORD_BYTES);

    memcpy(p + 4, r->store_id, ASD_STORE_ID_BYTES);
    record_seal(p, STORE_RECORD_BYTES, key);
}

int asd_store_record_get(struct slice key, struct slice record, struct asd_store_record *ret_r,
                         struct err *e)
{
    int rc = record_check("store", key, record, STORE_RECORD_BYTES, 0, e);

    if (rc == 0) {
        memcpy(ret_r->store_id, record.data + 4, ASD_STORE_ID_BYTES);
    }
    return rc;
}

void asd_usage_record_put(struct buf *b, struct slice key, const struct asd_usage_record *r)
{
    uint8_t *p = record_begin(b, USAGE_RECORD_BYTES);

    put_u64le(p + 4, r->used_bytes);
    put_u64le(p + 12, r->next_slab);
    put_u64le(p + 20, r->commit);
    record_seal(p, USAGE_RECORD_BYTES, key);
}

int asd_usage_record_get(struct slice key, struct slice record, struct asd_usage_record *ret_r,
                         struct err *e)
{
    int rc = record_check("usage", key, record, USAGE_RECORD_BYTES, 0, e);

    if (rc == 0) {
        *ret_r = (struct asd_usage_record){.used_bytes = get_u64le(record.data + 4),
                                           .next_slab = get_u64le(record.data + 12),
                                           .commit = get_u64le(record.data + 20)};
    }
    return rc;
}

void asd_slab_record_put(struct buf *b, struct slice key, const struct asd_slab_record *r)
{
    uint8_t *p = record_begin(b, SLAB_RECORD_BYTES);

    p[1] = r->sealed ? SLAB_SEALED : 0;
    put_u64le(p + 4, r->size_bytes);
    put_u64le(p + 12, r->tail);
    put_u64le(p + 20, r->live_bytes);
    record_seal(p, SLAB_RECORD_BYTES, key);
}

int asd_slab_record_get(struct slice key, struct slice record, struct asd_slab_record *ret_r,
                        struct err *e)
{
    int rc = record_check("slab", key, record, SLAB_RECORD_BYTES, SLAB_SEALED, e);

    if (rc != 0) {
        return rc;
    }
    struct asd_slab_record r = {.sealed = (record.data[1] & SLAB_SEALED) != 0,
                                .size_bytes = get_u64le(record.data + 4),
                                .tail = get_u64le(record.data + 12),
                                .live_bytes = get_u64le(record.data + 20)};
    if (r.size_bytes > INT64_MAX || r.tail > r.size_bytes || r.tail < ASD_SLAB_HEADER_BYTES ||
        r.tail % ASD_SLAB_ALIGN_BYTES != 0 || r.live_bytes > r.tail - ASD_SLAB_HEADER_BYTES) {
        return err_set(e, ERR_CORRUPT,
                       "slab record: size %" PRIu64 ", tail %" PRIu64 ", live %" PRIu64,
                       r.size_bytes, r.tail, r.live_bytes);
    }
    *ret_r = r;
    return 0;
}

void asd_free_record_put(struct buf *b, struct slice key, const struct asd_free_record *r)
{
    uint8_t *p = record_begin(b, FREE_RECORD_BYTES);

    put_u64le(p + 4, r->bytes);
    record_seal(p, FREE_RECORD_BYTES, key);
}

int asd_free_record_get(struct slice key, struct slice record, struct asd_free_record *ret_r,
                        struct err *e)
{
    int rc = record_check("free", key, record, FREE_RECORD_BYTES, 0, e);

    if (rc == 0) {
        ret_r->bytes = get_u64le(record.data + 4);
    }
    return rc;
}

void asd_name_record_put(struct buf *b, struct slice key, const struct asd_name_record *r)
{
    size_t bytes = NAME_HEAD_BYTES + r->client_key.len + CRC_BYTES;
    uint8_t *p = record_begin(b, bytes);

    memcpy(p + NAME_HEAD_BYTES, r->client_key.data, r->client_key.len);
    record_seal(p, bytes, key);
}

int asd_name_record_get(struct slice key, struct slice record, struct asd_name_record *ret_r,
                        struct err *e)
{
    size_t bytes_min = NAME_HEAD_BYTES + 1 + CRC_BYTES; /* a client key has a byte at least */
    size_t bytes = record.len > bytes_min ? record.len : bytes_min;
    int rc = record_check("name", key, record, bytes, 0, e);

    if (rc == 0) {
        ret_r->client_key =
            slice_of(record.data + NAME_HEAD_BYTES, bytes - NAME_HEAD_BYTES - CRC_BYTES);
    }
    return rc;
}

/* ---- value ---- */

static size_t checksum_bytes(uint8_t algo)
{
    return algo == CHECKSUM_SHA1 ? CHECKSUM_SHA1_BYTES : algo == CHECKSUM_CRC32C ? 4 : 0;
}

/* Over the index key, bytes 0-11, and `tail_bytes` behind byte 15. */
static uint32_t value_record_crc(struct slice key, const uint8_t *p, size_t tail_bytes)
{
    uint32_t crc = crc32c(crc32c(0, key.data, key.len), p, 12);

    return crc32c(crc, p + VALUE_HEAD_BYTES, tail_bytes);
}

void asd_value_record_put(struct buf *b, struct slice key, const struct asd_value_record *r)
{
    uint8_t algo = r->checksum.algo == 0 ? (uint8_t)CHECKSUM_NONE : r->checksum.algo;
    size_t sum_bytes = checksum_bytes(algo);
    size_t tail_bytes = sum_bytes + (r->in_slab ? 16 : 0);
    uint8_t *p = buf_extend(b, VALUE_HEAD_BYTES + tail_bytes);
    uint8_t *tail = p + VALUE_HEAD_BYTES;

    p[0] = RECORD_VERSION;
    p[1] = (uint8_t)((r->in_slab ? VALUE_IN_SLAB : 0) | (r->assertable ? VALUE_ASSERTABLE : 0));
    p[2] = algo;
    p[3] = (uint8_t)sum_bytes;
    put_u32le(p + 4, r->bytes);
    put_u32le(p + 8, r->crc);
    if (algo == CHECKSUM_SHA1) {
        memcpy(tail, r->checksum.sha1, CHECKSUM_SHA1_BYTES);
    } else if (algo == CHECKSUM_CRC32C) {
        put_u32le(tail, r->checksum.crc32c);
    }
    if (r->in_slab) {
        put_u64le(tail + sum_bytes, r->slab);
        put_u64le(tail + sum_bytes + 8, r->offset);
    }
    put_u32le(p + 12, value_record_crc(key, p, tail_bytes));
}

static bool value_place_ok(const struct asd_value_record *r)
{
    return r->offset >= ASD_SLAB_HEADER_BYTES && r->offset % ASD_SLAB_ALIGN_BYTES == 0 &&
           r->offset <= INT64_MAX - UINT32_MAX && r->bytes > 0;
}

int asd_value_record_get(struct slice key, struct slice record, struct asd_value_record *ret_r,
                         struct err *e)
{
    const uint8_t *p = record.data;
    struct asd_value_record r = {0};
    size_t sum_bytes;
    size_t tail_bytes;

    if (record.len < VALUE_HEAD_BYTES || p[0] == 0) {
        return err_set(e, ERR_CORRUPT, "value record of %zu bytes", record.len);
    }
    if (p[0] > RECORD_VERSION || (p[1] & FLAGS_REFUSE & ~VALUE_IN_SLAB) != 0) {
        return err_set(e, ERR_VERSION, "value record of version %u, flags 0x%x", p[0], p[1]);
    }
    r.in_slab = (p[1] & VALUE_IN_SLAB) != 0;
    r.assertable = (p[1] & VALUE_ASSERTABLE) != 0;
    r.checksum.algo = p[2];
    sum_bytes = checksum_bytes(p[2]);
    tail_bytes = sum_bytes + (r.in_slab ? 16 : 0);
    if (p[2] < CHECKSUM_NONE || p[2] > CHECKSUM_CRC32C || p[3] != sum_bytes ||
        record.len < VALUE_HEAD_BYTES + tail_bytes ||
        value_record_crc(key, p, tail_bytes) != get_u32le(p + 12)) {
        return err_set(e, ERR_CORRUPT, "value record: checksum");
    }
    r.bytes = get_u32le(p + 4);
    r.crc = get_u32le(p + 8);
    if (p[2] == CHECKSUM_SHA1) {
        memcpy(r.checksum.sha1, p + VALUE_HEAD_BYTES, CHECKSUM_SHA1_BYTES);
    } else if (p[2] == CHECKSUM_CRC32C) {
        r.checksum.crc32c = get_u32le(p + VALUE_HEAD_BYTES);
    }
    if (r.in_slab) {
        r.slab = get_u64le(p + VALUE_HEAD_BYTES + sum_bytes);
        r.offset = get_u64le(p + VALUE_HEAD_BYTES + sum_bytes + 8);
    }
    r.value =
        slice_of(p + VALUE_HEAD_BYTES + tail_bytes, record.len - VALUE_HEAD_BYTES - tail_bytes);
    if (r.in_slab ? r.value.len != 0 || !value_place_ok(&r) : r.value.len != r.bytes) {
        return err_set(e, ERR_CORRUPT, "value record of %zu bytes for a value of %" PRIu32,
                       record.len, r.bytes);
    }
    *ret_r = r;
    return 0;
}

uint64_t asd_value_cost(size_t client_key_bytes, bool in_slab, uint32_t bytes)
{
    return in_slab ? asd_slab_align(bytes) : client_key_bytes + bytes + ASD_INLINE_OVERHEAD_BYTES;
}

/* ---- slab header ---- */

void asd_slab_header_encode(uint8_t ret_data[ASD_SLAB_HEADER_BYTES],
                            const struct asd_slab_header *h)
{
    memset(ret_data, 0, ASD_SLAB_HEADER_BYTES);
    memcpy(ret_data, slab_magic, sizeof(slab_magic));
    put_u32le(ret_data + 8, RECORD_VERSION);
    put_u32le(ret_data + 12, ASD_SLAB_HEADER_BYTES);
    memcpy(ret_data + 16, h->store_id, ASD_STORE_ID_BYTES);
    put_u64le(ret_data + 32, h->number);
    put_u64le(ret_data + 40, h->size_bytes);
    put_u32le(ret_data + ASD_SLAB_HEADER_BYTES - CRC_BYTES,
              crc32c(0, ret_data, ASD_SLAB_HEADER_BYTES - CRC_BYTES));
}

int asd_slab_header_decode(const uint8_t data[ASD_SLAB_HEADER_BYTES], struct asd_slab_header *ret_h,
                           struct err *e)
{
    if (memcmp(data, slab_magic, sizeof(slab_magic)) != 0) {
        return err_set(e, ERR_CORRUPT, "header: magic");
    }
    if (get_u32le(data + 8) > RECORD_VERSION) {
        return err_set(e, ERR_VERSION, "header of version %" PRIu32, get_u32le(data + 8));
    }
    if (get_u32le(data + 12) != ASD_SLAB_HEADER_BYTES ||
        crc32c(0, data, ASD_SLAB_HEADER_BYTES - CRC_BYTES) !=
            get_u32le(data + ASD_SLAB_HEADER_BYTES - CRC_BYTES)) {
        return err_set(e, ERR_CORRUPT, "header: checksum");
    }
    memcpy(ret_h->store_id, data + 16, ASD_STORE_ID_BYTES);
    ret_h->number = get_u64le(data + 32);
    ret_h->size_bytes = get_u64le(data + 40);
    return 0;
}
