#include "meta/backup_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "meta/kv.h"
#include "meta/registry_record.h"

static const char magic[8] = {'A', 'L', 'B', 'A', 'M', 'E', 'T', 'A'};

enum {
    FORMAT = 1,
    FIXED_BYTES = 20,
    JSON_BYTES_MAX = 65536,
    RECORD_HEAD_BYTES = 5,
    END_BYTES = 8 + 8 + crypto_hash_sha256_BYTES
};

static_assert(BACKUP_BODY_BYTES_MAX >= 2 + KV_KEY_BYTES_MAX + KV_TXN_BYTES_MAX, "any value fits");

static void init(struct backup_file *b, FILE *file)
{
    *b = (struct backup_file){.file = file, .sha = mem_alloc(sizeof(*b->sha))};
    crypto_hash_sha256_init(b->sha);
}

void backup_release(struct backup_file *b)
{
    free(b->sha);
    buf_release(&b->body);
    *b = (struct backup_file){0};
}

static uint32_t record_crc(uint64_t number, struct slice record)
{
    uint8_t head[8];

    put_u64le(head, number);
    return crc32c(crc32c(0, head, sizeof(head)), record.data, record.len);
}

/* ---- writing ---- */

static int put_bytes(struct backup_file *b, struct slice bytes, struct err *e)
{
    if (fwrite(bytes.data, 1, bytes.len, b->file) != bytes.len) {
        return err_set(e, errno != 0 ? -errno : -EIO, "write at byte %" PRIu64, b->bytes);
    }
    crypto_hash_sha256_update(b->sha, bytes.data, bytes.len);
    b->bytes += bytes.len;
    return 0;
}

int backup_begin(struct backup_file *b, FILE *file, const struct backup_head *head, struct err *e)
{
    json_t *json = json_pack("{s:s, s:I, s:s, s:I}", "alba_id", head->alba_id, "version",
                             (json_int_t)head->version, "commit", head->commit, "time_us",
                             (json_int_t)head->time_us);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    struct buf out = {0};
    int rc;

    init(b, file);
    b->head = *head;
    buf_put(&out, magic, sizeof(magic));
    buf_put_u32le(&out, FORMAT);
    buf_put_u32le(&out, 0);
    buf_put_u32le(&out, (uint32_t)strlen(text));
    buf_put(&out, text, strlen(text));
    buf_put_u32le(&out, crc32c(0, out.data, out.len));
    rc = put_bytes(b, slice_buf(&out), e);
    buf_release(&out);
    free(text);
    json_decref(json);
    return rc;
}

/* Between the two the body is put into b->body. */
static void record_begin(struct backup_file *b, enum backup_type type)
{
    b->body.len = 0;
    buf_put_u8(&b->body, (uint8_t)type);
    buf_put_u32le(&b->body, 0);
}

static int record_end(struct backup_file *b, struct err *e)
{
    CHECK(b->body.len - RECORD_HEAD_BYTES <= BACKUP_BODY_BYTES_MAX);
    put_u32le(b->body.data + 1, (uint32_t)(b->body.len - RECORD_HEAD_BYTES));
    buf_put_u32le(&b->body, record_crc(b->records, slice_buf(&b->body)));
    if (put_bytes(b, slice_buf(&b->body), e) != 0) {
        return e->code;
    }
    b->records += b->body.data[0] != BACKUP_END;
    return 0;
}

int backup_put_place(struct backup_file *b, uint64_t ns_id, const char *host, struct err *e)
{
    CHECK(strlen(host) <= BACKUP_HOST_BYTES_MAX);
    record_begin(b, BACKUP_PLACE);
    buf_put_u64le(&b->body, ns_id);
    buf_put(&b->body, host, strlen(host));
    return record_end(b, e);
}

int backup_put(struct backup_file *b, enum backup_type type, struct slice key, struct slice value,
               struct err *e)
{
    CHECK(key.len <= KV_KEY_BYTES_MAX && value.len <= KV_TXN_BYTES_MAX);
    record_begin(b, type);
    buf_put_u16le(&b->body, (uint16_t)key.len);
    buf_put(&b->body, key.data, key.len);
    buf_put(&b->body, value.data, value.len);
    b->values += type != BACKUP_DAMAGED;
    return record_end(b, e);
}

int backup_end(struct backup_file *b, struct err *e)
{
    crypto_hash_sha256_state sha = *b->sha;
    uint8_t digest[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final(&sha, digest);
    record_begin(b, BACKUP_END);
    buf_put_u64le(&b->body, b->records);
    buf_put_u64le(&b->body, b->values);
    buf_put(&b->body, digest, sizeof(digest));
    return record_end(b, e);
}

/* ---- reading ---- */

/* Appends to b->body; what is cut off is told as such. */
static int get_bytes(struct backup_file *b, size_t bytes, const char *what, struct err *e)
{
    uint8_t *at = buf_extend(&b->body, bytes);
    size_t got = fread(at, 1, bytes, b->file);

    if (got == bytes) {
        b->bytes += bytes;
        return 0;
    }
    if (ferror(b->file)) {
        return err_set(e, errno != 0 ? -errno : -EIO, "read at byte %" PRIu64, b->bytes);
    }
    return err_say(e, ERR_CORRUPT, "it ends in %s, at byte %" PRIu64 ": it was cut", what,
                   b->bytes + got);
}

static int take_head(struct backup_file *b, struct slice text, struct err *e)
{
    json_t *json = json_loadb((const char *)text.data, text.len, 0, NULL);
    int rc = 0;

    b->head.version = json_u64(json, "version", 0);
    b->head.time_us = json_u64(json, "time_us", 0);
    snprintf(b->head.alba_id, sizeof(b->head.alba_id), "%s", json_text(json, "alba_id", ""));
    snprintf(b->head.commit, sizeof(b->head.commit), "%s", json_text(json, "commit", ""));
    if (b->head.version == 0 || strlen(b->head.alba_id) != REGISTRY_ALBA_ID_BYTES - 1 ||
        strlen(b->head.commit) != COPY_COMMIT_TEXT_BYTES - 1) {
        rc = err_say(e, ERR_CORRUPT, "its head makes no sense");
    }
    json_decref(json);
    return rc;
}

int backup_open(struct backup_file *b, FILE *file, struct err *e)
{
    uint32_t json_bytes;
    size_t all;

    init(b, file);
    if (get_bytes(b, FIXED_BYTES, "its head", e) != 0) {
        return e->code;
    }
    if (memcmp(b->body.data, magic, sizeof(magic)) != 0) {
        return err_say(e, ERR_CORRUPT, "it is no backup of metadata");
    }
    if (get_u32le(b->body.data + 8) != FORMAT || get_u32le(b->body.data + 12) != 0) {
        return err_say(e, ERR_VERSION,
                       "it has format %" PRIu32 ", flags %" PRIx32 "; this program knows format %d",
                       get_u32le(b->body.data + 8), get_u32le(b->body.data + 12), FORMAT);
    }
    json_bytes = get_u32le(b->body.data + 16);
    if (json_bytes > JSON_BYTES_MAX) {
        return err_say(e, ERR_CORRUPT, "a head of %" PRIu32 " bytes", json_bytes);
    }
    if (get_bytes(b, json_bytes + 4, "its head", e) != 0) {
        return e->code;
    }
    all = FIXED_BYTES + json_bytes;
    if (get_u32le(b->body.data + all) != crc32c(0, b->body.data, all)) {
        return err_say(e, ERR_CORRUPT, "checksum of its head");
    }
    crypto_hash_sha256_update(b->sha, b->body.data, b->body.len);
    return take_head(b, slice_of(b->body.data + FIXED_BYTES, json_bytes), e);
}

static int take_end(struct backup_file *b, struct rd r, struct err *e)
{
    uint8_t digest[crypto_hash_sha256_BYTES];
    uint64_t records = rd_u64le(&r);
    uint64_t values = rd_u64le(&r);
    const uint8_t *wanted = rd_bytes(&r, sizeof(digest));

    crypto_hash_sha256_final(b->sha, digest);
    if (r.bad || rd_left(&r) != 0 || records != b->records || values != b->values ||
        memcmp(wanted, digest, sizeof(digest)) != 0) {
        return err_say(e, ERR_CORRUPT, "its end does not fit what is before");
    }
    if (fgetc(b->file) != EOF) {
        return err_say(e, ERR_CORRUPT, "bytes behind its end, at byte %" PRIu64, b->bytes);
    }
    return 0;
}

static int take_place(struct rd r, struct backup_record *ret_record)
{
    size_t bytes;

    ret_record->ns_id = rd_u64le(&r);
    bytes = rd_left(&r);
    if (r.bad || bytes == 0 || bytes > BACKUP_HOST_BYTES_MAX || memchr(r.pos, 0, bytes) != NULL) {
        return ERR_CORRUPT;
    }
    memcpy(ret_record->host, r.pos, bytes);
    ret_record->host[bytes] = '\0';
    return 0;
}

static int take_value(struct rd r, struct backup_record *ret_record)
{
    size_t key_bytes = rd_u16le(&r);
    const uint8_t *key = rd_bytes(&r, key_bytes);

    if (r.bad || key_bytes == 0 || key_bytes > KV_KEY_BYTES_MAX || rd_left(&r) > KV_TXN_BYTES_MAX ||
        (ret_record->type == BACKUP_DAMAGED && rd_left(&r) != 0)) {
        return ERR_CORRUPT;
    }
    ret_record->key = slice_of(key, key_bytes);
    ret_record->value = slice_of(r.pos, rd_left(&r));
    return 0;
}

int backup_read(struct backup_file *b, struct backup_record *ret_record, struct err *e)
{
    uint64_t at = b->bytes;
    uint32_t bytes;
    struct rd r;
    int rc;

    b->body.len = 0;
    if (get_bytes(b, RECORD_HEAD_BYTES, "a record", e) != 0) {
        return e->code;
    }
    bytes = get_u32le(b->body.data + 1);
    if (bytes > BACKUP_BODY_BYTES_MAX) {
        return err_say(e, ERR_CORRUPT, "record %" PRIu64 " at byte %" PRIu64 ": %" PRIu32 " bytes",
                       b->records, at, bytes);
    }
    if (get_bytes(b, bytes + 4, "a record", e) != 0) {
        return e->code;
    }
    if (get_u32le(b->body.data + RECORD_HEAD_BYTES + bytes) !=
        record_crc(b->records, slice_of(b->body.data, RECORD_HEAD_BYTES + bytes))) {
        return err_say(e, ERR_CORRUPT, "record %" PRIu64 " at byte %" PRIu64 ": checksum",
                       b->records, at);
    }
    r = rd_of(b->body.data + RECORD_HEAD_BYTES, bytes);
    *ret_record = (struct backup_record){.type = b->body.data[0]};
    if (ret_record->type == BACKUP_END) {
        return take_end(b, r, e);
    }
    rc = ret_record->type == BACKUP_PLACE ? take_place(r, ret_record)
         : ret_record->type >= BACKUP_VALUE && ret_record->type <= BACKUP_DAMAGED
             ? take_value(r, ret_record)
             : ERR_CORRUPT;
    if (rc != 0) {
        return err_say(e, rc, "record %" PRIu64 " at byte %" PRIu64 " of type %d makes no sense",
                       b->records, at, (int)ret_record->type);
    }
    crypto_hash_sha256_update(b->sha, b->body.data, b->body.len);
    b->records++;
    b->values += ret_record->type == BACKUP_VALUE || ret_record->type == BACKUP_LATE;
    return 1;
}
