#include "asd/scrub_record.h"

#include "base/crc32c.h"
#include "wire/asd_msg.h"

enum { VERSION = 1, RUNNING = 0x10, CRC_BYTES = 4, BYTES_MIN = 4 + 9 * 8 + CRC_BYTES };

void asd_scrub_record_put(struct buf *b, struct slice key, const struct asd_scrub_record *r)
{
    size_t start = b->len;

    buf_put_u8(b, VERSION);
    buf_put_u8(b, r->running ? RUNNING : 0);
    buf_put_u16le(b, 0);
    buf_put_u64le(b, r->pass);
    buf_put_u64le(b, r->keys);
    buf_put_u64le(b, r->bytes);
    buf_put_u64le(b, r->cost_bytes);
    buf_put_u64le(b, r->bad);
    buf_put_u64le(b, r->started_s);
    buf_put_u64le(b, r->ended_s);
    buf_put_u64le(b, r->last_bad);
    buf_put_u64le(b, r->paused_s);
    buf_put(b, r->next.data, r->next.len);
    buf_put_u32le(b, crc32c(crc32c(0, key.data, key.len), b->data + start, b->len - start));
}

int asd_scrub_record_get(struct slice key, struct slice record, struct asd_scrub_record *ret_r,
                         struct err *e)
{
    struct rd in = rd_of(record.data, record.len);
    uint8_t version = rd_u8(&in);
    uint8_t flags = rd_u8(&in);
    struct asd_scrub_record r = {.running = (flags & RUNNING) != 0};

    if (version > VERSION || (flags & 0x0f) != 0) {
        return err_set(e, ERR_VERSION, "scrub record of version %u, flags 0x%x", version, flags);
    }
    /* A position is one byte longer than the key before it at most. */
    if (version == 0 || record.len < BYTES_MIN || record.len > BYTES_MIN + ASD_KEY_BYTES_MAX + 1 ||
        crc32c(crc32c(0, key.data, key.len), record.data, record.len - CRC_BYTES) !=
            get_u32le(record.data + record.len - CRC_BYTES)) {
        return err_set(e, ERR_CORRUPT, "scrub record of %zu bytes", record.len);
    }
    (void)rd_u16le(&in);
    r.pass = rd_u64le(&in);
    r.keys = rd_u64le(&in);
    r.bytes = rd_u64le(&in);
    r.cost_bytes = rd_u64le(&in);
    r.bad = rd_u64le(&in);
    r.started_s = rd_u64le(&in);
    r.ended_s = rd_u64le(&in);
    r.last_bad = rd_u64le(&in);
    r.paused_s = rd_u64le(&in);
    r.next = slice_of(in.pos, record.len - BYTES_MIN);
    *ret_r = r;
    return 0;
}
