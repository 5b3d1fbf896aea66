#include "meta/copy_record.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/rnd.h"
#include "meta/registry_view_private.h"

enum { HEAD_FORMAT = 1, HEAD_ALBA_ID_BYTES = 40, HEAD_CRC_AT = 120, RECORD_HEAD_BYTES = 8 };

static const uint8_t head_magic[4] = {'A', 'L', 'R', 'C'};

/* ---- snapshot ---- */

static bool begins(struct slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

bool copy_keeps(struct slice tail)
{
    static const char *const singles[] = {REG_ALBA, REG_DEFAULT_PRESET, REG_NEXT_ID, REG_RECOVERED};
    static const char *const prefixes[] = {REG_OSD,     REG_PRESET, REG_NSM_HOST, REG_NAMESPACE,
                                           REG_REMOVED, REG_CONFIG, REG_VOLUME,   REG_VOLUME_ID};

    for (unsigned i = 0; i < sizeof(singles) / sizeof(*singles); i++) {
        if (slice_eq(tail, slice_str(singles[i]))) {
            return true;
        }
    }
    for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        if (begins(tail, prefixes[i])) {
            return true;
        }
    }
    return false;
}

static void put_record(struct buf *snapshot, struct slice key, struct slice value)
{
    buf_put_u32le(snapshot, (uint32_t)key.len);
    buf_put_u32le(snapshot, (uint32_t)value.len);
    buf_put(snapshot, key.data, key.len);
    buf_put(snapshot, value.data, value.len);
}

/* "scheme://user:password@host" -> "scheme://user@host"; NULL when there is no password. */
static json_t *without_password(const char *url)
{
    const char *host = strstr(url, "://");
    const char *at = host != NULL ? strchr(host + 3, '@') : NULL;
    const char *colon = at != NULL ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;

    return colon != NULL ? json_sprintf("%.*s%s", (int)(colon - url), url, at) : NULL;
}

static int put_host(struct buf *snapshot, struct slice key, struct slice value, struct err *e)
{
    struct buf changed = {0};
    json_t *json;
    json_t *url;

    if (value_open_json(key, value, &json, e) != 0) {
        return e->code;
    }
    url = without_password(json_text(json, "url", ""));
    if (url == NULL) {
        put_record(snapshot, key, value);
    } else {
        json_object_set_new(json, "url", url);
        value_make_json(&changed, key, json);
        put_record(snapshot, key, slice_buf(&changed));
    }
    buf_release(&changed);
    json_decref(json);
    return 0;
}

int copy_put(struct buf *snapshot, struct slice key, struct slice value, struct err *e)
{
    struct rd payload;

    if (value_open(key, value, &payload, e) != 0) {
        return e->code;
    }
    if (snapshot->len + key.len + value.len + RECORD_HEAD_BYTES > COPY_BYTES_MAX) {
        return err_say(e, ERR_TOO_LARGE,
                       "the registry has more than %d MiB: no copies of it are kept on OSDs",
                       COPY_BYTES_MAX >> 20);
    }
    if (begins(reg_key_tail(key), REG_NSM_HOST)) {
        return put_host(snapshot, key, value, e);
    }
    put_record(snapshot, key, value);
    return 0;
}

bool copy_next(struct rd *snapshot, struct slice *ret_key, struct slice *ret_value)
{
    uint32_t key_bytes, value_bytes;

    if (rd_left(snapshot) == 0) {
        return false;
    }
    key_bytes = rd_u32le(snapshot);
    value_bytes = rd_u32le(snapshot);
    *ret_key = slice_of(rd_bytes(snapshot, key_bytes), key_bytes);
    *ret_value = slice_of(rd_bytes(snapshot, value_bytes), value_bytes);
    return !snapshot->bad;
}

int copy_check(struct slice snapshot, uint32_t record_count, struct err *e)
{
    struct rd r = rd_of(snapshot.data, snapshot.len);
    struct slice key, value, before = slice_of(NULL, 0);
    struct rd payload;
    uint32_t count = 0;

    while (copy_next(&r, &key, &value)) {
        if (key.len > KEY_BYTES_MAX || !copy_keeps(reg_key_tail(key)) ||
            (count > 0 && slice_cmp(before, key) >= 0)) {
            return err_set(e, ERR_CORRUPT, "copy of the registry: record %u", count);
        }
        if (value_open(key, value, &payload, e) != 0) {
            return err_wrap(e, "copy of the registry");
        }
        before = key;
        count++;
    }
    if (r.bad || count != record_count) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: %u of %u records", count,
                       record_count);
    }
    return 0;
}

json_t *copy_find(struct slice snapshot, const char *tail)
{
    struct rd r = rd_of(snapshot.data, snapshot.len);
    struct slice key, value;
    struct err e;
    json_t *json;

    while (copy_next(&r, &key, &value)) {
        if (slice_eq(reg_key_tail(key), slice_str(tail)) &&
            value_open_json(key, value, &json, &e) == 0) {
            return json;
        }
    }
    return NULL;
}

int copy_view(struct slice snapshot, uint64_t version, const struct registry_view **ret_view,
              struct err *e)
{
    struct registry_view *view = registry_view_new();
    struct rd r = rd_of(snapshot.data, snapshot.len);
    struct slice key, value;

    while (copy_next(&r, &key, &value)) {
        if (registry_view_shows(reg_key_tail(key)) &&
            registry_view_apply(view, key, value, true, e) != 0) {
            registry_view_drop(view);
            return err_wrap(e, "copy of the registry");
        }
    }
    view->version = version;
    registry_view_seal(view);
    *ret_view = view;
    return 0;
}

/* ---- head ---- */

/* The key is part of what the checksum guards: bytes that lie elsewhere are no head. */
static uint32_t head_crc(const uint8_t *bytes)
{
    static const uint8_t key[] = {'R', 'h'};

    return crc32c(crc32c(0, key, sizeof(key)), bytes, HEAD_CRC_AT);
}

void copy_seal(struct copy_head *head, struct slice snapshot)
{
    CHECK(snapshot.len <= COPY_BYTES_MAX);
    rnd_bytes(head->id, sizeof(head->id));
    head->bytes = (uint32_t)snapshot.len;
    head->crc = crc32c(0, snapshot.data, snapshot.len);
    head->chunk_count = (head->bytes + COPY_CHUNK_BYTES - 1) / COPY_CHUNK_BYTES;
}

void copy_head_encode(const struct copy_head *head, uint8_t ret_bytes[COPY_HEAD_BYTES])
{
    memset(ret_bytes, 0, COPY_HEAD_BYTES);
    memcpy(ret_bytes, head_magic, sizeof(head_magic));
    ret_bytes[4] = HEAD_FORMAT;
    put_u64le(ret_bytes + 8, head->version);
    CHECK(hex_decode(ret_bytes + 16, COPY_ID_BYTES, head->commit) == 0);
    memcpy(ret_bytes + 32, head->id, COPY_ID_BYTES);
    put_u64le(ret_bytes + 48, head->time_us);
    put_u32le(ret_bytes + 56, head->bytes);
    put_u32le(ret_bytes + 60, head->crc);
    put_u32le(ret_bytes + 64, COPY_CHUNK_BYTES);
    put_u32le(ret_bytes + 68, head->chunk_count);
    put_u32le(ret_bytes + 72, head->record_count);
    memcpy(ret_bytes + 80, head->alba_id, strlen(head->alba_id));
    put_u32le(ret_bytes + HEAD_CRC_AT, head_crc(ret_bytes));
}

int copy_head_decode(struct slice value, struct copy_head *ret_head, struct err *e)
{
    struct copy_head head = {0};
    const uint8_t *p = value.data;

    if (value.len >= 5 && memcmp(p, head_magic, 4) == 0 && p[4] != HEAD_FORMAT) {
        return err_set(e, ERR_VERSION, "copy of the registry: format %u", p[4]);
    }
    if (value.len != COPY_HEAD_BYTES || memcmp(p, head_magic, 4) != 0 ||
        get_u32le(p + HEAD_CRC_AT) != head_crc(p)) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: head of %zu bytes", value.len);
    }
    head.version = get_u64le(p + 8);
    hex_encode(head.commit, p + 16, COPY_ID_BYTES);
    memcpy(head.id, p + 32, COPY_ID_BYTES);
    head.time_us = get_u64le(p + 48);
    head.bytes = get_u32le(p + 56);
    head.crc = get_u32le(p + 60);
    head.chunk_count = get_u32le(p + 68);
    head.record_count = get_u32le(p + 72);
    memcpy(head.alba_id, p + 80, sizeof(head.alba_id) - 1);
    if (head.bytes > COPY_BYTES_MAX || get_u32le(p + 64) != COPY_CHUNK_BYTES ||
        head.chunk_count != (head.bytes + COPY_CHUNK_BYTES - 1) / COPY_CHUNK_BYTES) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: sizes");
    }
    if (head.version > COPY_VERSION_MAX) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: version %" PRIu64, head.version);
    }
    *ret_head = head;
    return 0;
}

/* ---- chunks ---- */

static struct slice cut(struct slice whole, uint32_t index, size_t bytes)
{
    size_t from = (size_t)index * bytes;
    size_t left = whole.len - from;

    return slice_of(whole.data + from, left < bytes ? left : bytes);
}

void copy_chunks(const struct copy_head *head, struct slice snapshot, struct buf *ret_chunks)
{
    buf_reserve(ret_chunks, snapshot.len + (size_t)head->chunk_count * COPY_CHUNK_HEAD_BYTES);
    for (uint32_t i = 0; i < head->chunk_count; i++) {
        struct slice part = cut(snapshot, i, COPY_CHUNK_BYTES);
        uint8_t *p = buf_extend(ret_chunks, COPY_CHUNK_HEAD_BYTES);

        memcpy(p, head->id, COPY_ID_BYTES);
        put_u32le(p + 16, i);
        put_u32le(p + 20, crc32c(crc32c(0, p, 20), part.data, part.len));
        buf_put(ret_chunks, part.data, part.len);
    }
}

struct slice copy_chunk_at(struct slice chunks, uint32_t index)
{
    return cut(chunks, index, COPY_CHUNK_BYTES + COPY_CHUNK_HEAD_BYTES);
}

int copy_chunk_decode(const struct copy_head *head, uint32_t index, struct slice value,
                      struct slice *ret_part, struct err *e)
{
    const uint8_t *p = value.data;
    size_t skip = value.len < COPY_CHUNK_HEAD_BYTES ? value.len : COPY_CHUNK_HEAD_BYTES;
    struct slice part = slice_of(p + skip, value.len - skip);

    if (skip < COPY_CHUNK_HEAD_BYTES || memcmp(p, head->id, COPY_ID_BYTES) != 0 ||
        get_u32le(p + 16) != index ||
        get_u32le(p + 20) != crc32c(crc32c(0, p, 20), part.data, part.len)) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: chunk %u of %u", index,
                       head->chunk_count);
    }
    *ret_part = part;
    return 0;
}

int copy_verify(const struct copy_head *head, struct slice snapshot, struct err *e)
{
    if (snapshot.len != head->bytes || crc32c(0, snapshot.data, snapshot.len) != head->crc) {
        return err_set(e, ERR_CORRUPT, "copy of the registry: %zu bytes", snapshot.len);
    }
    return copy_check(snapshot, head->record_count, e);
}
