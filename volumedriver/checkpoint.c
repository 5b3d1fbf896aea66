#include "volumedriver/checkpoint.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "volumedriver/format_flags.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"
#include "volumedriver/seal.h"

static const uint8_t magic[8] = "ALBAMAP1";

enum { VERSION = 1, BODY_CRC_AT = 152, FLAGS_AT = 156, SHIFT_MAX = 63 };

static void put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

static uint64_t rd_varint(struct rd *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift <= SHIFT_MAX; shift += 7) {
        uint8_t byte = rd_u8(r);

        if (shift == SHIFT_MAX && byte > 1) {
            r->bad = true;
        }
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (r->bad || byte < 0x80) {
            return r->bad ? 0 : v;
        }
    }
    r->bad = true;
    return 0;
}

void sco_entry_encode(const struct sco_entry *sco, uint8_t ret_bytes[CHECKPOINT_SCO_BYTES])
{
    memset(ret_bytes, 0, CHECKPOINT_SCO_BYTES);
    put_u64le(ret_bytes, sco->number);
    put_u32le(ret_bytes + 8, sco->flags);
    put_u32le(ret_bytes + 12, sco->generation);
    put_u32le(ret_bytes + 16, sco->data_clusters);
    put_u32le(ret_bytes + 20, sco->live);
    put_u32le(ret_bytes + 24, sco->retained);
    put_u64le(ret_bytes + 28, sco->snapshot);
    put_u32le(ret_bytes + 36, sco->trailer_bytes);
    ret_bytes[40] = sco->kind;
}

int sco_entry_decode(const uint8_t bytes[CHECKPOINT_SCO_BYTES], struct sco_entry *ret_sco)
{
    struct sco_entry s = {.number = get_u64le(bytes),
                          .flags = get_u32le(bytes + 8),
                          .generation = get_u32le(bytes + 12),
                          .data_clusters = get_u32le(bytes + 16),
                          .live = get_u32le(bytes + 20),
                          .retained = get_u32le(bytes + 24),
                          .snapshot = get_u64le(bytes + 28),
                          .trailer_bytes = get_u32le(bytes + 36),
                          .kind = bytes[40]};

    if (s.number == 0 || s.number > SCO_NUMBER_MAX || s.live > s.data_clusters ||
        s.data_clusters > SCO_BYTES_MAX / SCO_CLUSTER_BYTES || s.trailer_bytes > SCO_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    *ret_sco = s;
    return 0;
}

static void run_close(struct checkpoint_writer *w)
{
    if (w->run.count == 0) {
        return;
    }
    put_varint(&w->body, w->run.cluster - w->end);
    put_varint(&w->body, w->run.count);
    buf_put_u64le(&w->body, w->run.location);
    w->end = w->run.cluster + w->run.count;
    w->run.count = 0;
    w->run_count++;
}

void checkpoint_writer_add(struct checkpoint_writer *w, uint64_t cluster, uint64_t count,
                           uint64_t location)
{
    struct checkpoint_run *run = &w->run;

    CHECK(w->sco_count == 0);
    if (run->count != 0 && cluster == run->cluster + run->count &&
        location == location_add(run->location, run->count)) {
        run->count += count;
        return;
    }
    run_close(w);
    CHECK(cluster >= w->end);
    *run = (struct checkpoint_run){.cluster = cluster, .count = count, .location = location};
}

void checkpoint_writer_add_sco(struct checkpoint_writer *w, const struct sco_entry *sco)
{
    if (w->sco_count == 0) {
        run_close(w);
        w->run_bytes = w->body.len;
    }
    sco_entry_encode(sco, buf_extend(&w->body, CHECKPOINT_SCO_BYTES));
    w->sco_count++;
}

size_t checkpoint_writer_bytes(const struct checkpoint_writer *w)
{
    return CHECKPOINT_HEADER_BYTES + w->body.len;
}

void checkpoint_writer_release(struct checkpoint_writer *w)
{
    buf_release(&w->body);
    *w = (struct checkpoint_writer){0};
}

void checkpoint_writer_finish(struct checkpoint_writer *w, const struct checkpoint_header *h,
                              struct buf *ret_object)
{
    struct buf b = {0};
    uint8_t *at;

    if (w->sco_count == 0) {
        run_close(w);
        w->run_bytes = w->body.len;
    }
    buf_reserve(&b, CHECKPOINT_HEADER_BYTES + w->body.len);
    at = buf_extend(&b, CHECKPOINT_HEADER_BYTES);
    memset(at, 0, CHECKPOINT_HEADER_BYTES);
    memcpy(at, magic, 8);
    put_u32le(at + 8, VERSION);
    memcpy(at + 16, h->volume, UUID_BYTES);
    put_u64le(at + 32, h->number);
    at[40] = h->kind;
    put_u32le(at + 44, h->generation);
    put_u64le(at + 48, h->epoch);
    put_u64le(at + 56, h->prefix_number);
    put_u64le(at + 64, h->prefix_seq);
    put_u64le(at + 72, h->first_page);
    put_u64le(at + 80, h->last_page);
    put_u64le(at + 88, w->run_bytes);
    put_u64le(at + 96, w->run_count);
    put_u32le(at + 104, w->sco_count);
    put_u32le(at + 108, h->ordinal);
    put_u32le(at + BODY_CRC_AT, crc32c(0, w->body.data, w->body.len));
    put_u32le(at + SEAL_AT, seal_crc(0, at, CHECKPOINT_HEADER_BYTES, SEAL_AT));
    buf_put(&b, w->body.data, w->body.len);
    checkpoint_writer_release(w);
    *ret_object = b;
}

static void header_get(const uint8_t *at, struct checkpoint_header *h)
{
    memcpy(h->volume, at + 16, UUID_BYTES);
    h->number = get_u64le(at + 32);
    h->kind = at[40];
    h->generation = get_u32le(at + 44);
    h->epoch = get_u64le(at + 48);
    h->prefix_number = get_u64le(at + 56);
    h->prefix_seq = get_u64le(at + 64);
    h->first_page = get_u64le(at + 72);
    h->last_page = get_u64le(at + 80);
    h->run_bytes = get_u64le(at + 88);
    h->run_count = get_u64le(at + 96);
    h->sco_count = get_u32le(at + 104);
    h->ordinal = get_u32le(at + 108);
    h->body_crc = get_u32le(at + BODY_CRC_AT);
}

int checkpoint_reader_init(struct checkpoint_reader *r, const uint8_t *object, size_t bytes,
                           const uint8_t volume[UUID_BYTES], uint64_t number, struct err *e)
{
    struct checkpoint_header *h = &r->header;
    size_t body = bytes - CHECKPOINT_HEADER_BYTES;

    if (bytes < CHECKPOINT_HEADER_BYTES || bytes > CHECKPOINT_BYTES_MAX ||
        memcmp(object, magic, 8) != 0 ||
        get_u32le(object + SEAL_AT) != seal_crc(0, object, CHECKPOINT_HEADER_BYTES, SEAL_AT)) {
        return err_set(e, ERR_CORRUPT, "header of checkpoint %010" PRIx64, number);
    }
    if (get_u32le(object + 8) != VERSION || !format_flags_readable(get_u32le(object + FLAGS_AT))) {
        return err_set(e, ERR_VERSION, "checkpoint %010" PRIx64 " has version %" PRIu32, number,
                       get_u32le(object + 8));
    }
    header_get(object, h);
    if (memcmp(h->volume, volume, UUID_BYTES) != 0 || h->number != number) {
        return err_set(e, ERR_CORRUPT, "checkpoint %010" PRIx64 ": another object", number);
    }
    if (h->kind < CHECKPOINT_BASE || h->kind > CHECKPOINT_DELTA || h->run_bytes > body ||
        (uint64_t)h->sco_count * CHECKPOINT_SCO_BYTES != body - h->run_bytes ||
        crc32c(0, object + CHECKPOINT_HEADER_BYTES, body) != h->body_crc) {
        return err_set(e, ERR_CORRUPT, "body of checkpoint %010" PRIx64, number);
    }
    r->runs = rd_of(object + CHECKPOINT_HEADER_BYTES, (size_t)h->run_bytes);
    r->scos = rd_of(object + CHECKPOINT_HEADER_BYTES + h->run_bytes, body - (size_t)h->run_bytes);
    r->end = 0;
    return 0;
}

int checkpoint_reader_run(struct checkpoint_reader *r, struct checkpoint_run *ret_run)
{
    struct checkpoint_run run;
    uint64_t gap;

    if (!r->runs.bad && rd_left(&r->runs) == 0) {
        return 0;
    }
    gap = rd_varint(&r->runs);
    run.count = rd_varint(&r->runs);
    run.location = rd_u64le(&r->runs);
    if (r->runs.bad || run.count == 0 || gap > UINT64_MAX - r->end ||
        run.count > UINT64_MAX - r->end - gap ||
        (location_has_data(run.location) &&
         run.count > LOCATION_OFFSET_MAX + UINT64_C(1) - location_offset(run.location)) ||
        (!location_has_data(run.location) && run.location > LOCATION_ZERO)) {
        return ERR_CORRUPT;
    }
    run.cluster = r->end + gap;
    r->end = run.cluster + run.count;
    *ret_run = run;
    return 1;
}

int checkpoint_reader_sco(struct checkpoint_reader *r, struct sco_entry *ret_sco)
{
    if (rd_left(&r->scos) == 0) {
        return 0;
    }
    return sco_entry_decode(rd_bytes(&r->scos, CHECKPOINT_SCO_BYTES), ret_sco) == 0 ? 1
                                                                                    : ERR_CORRUPT;
}
