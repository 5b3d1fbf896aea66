#include "meta/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"

void key_put(struct key *key, const void *data, size_t bytes)
{
    CHECK(bytes <= KEY_BYTES_MAX - key->len);
    if (bytes != 0) {
        memcpy(key->data + key->len, data, bytes);
    }
    key->len += bytes;
}

void key_put_text(struct key *key, const char *text)
{
    key_put(key, text, strlen(text));
}

void key_put_u32be(struct key *key, uint32_t v)
{
    uint8_t bytes[4];

    put_u32be(bytes, v);
    key_put(key, bytes, sizeof(bytes));
}

void key_put_u64be(struct key *key, uint64_t v)
{
    uint8_t bytes[8];

    put_u64be(bytes, v);
    key_put(key, bytes, sizeof(bytes));
}

void key_prefix_end(struct key *key)
{
    while (key->len != 0 && key->data[key->len - 1] == 0xff) {
        key->len--;
    }
    CHECK(key->len != 0);
    key->data[key->len - 1]++;
}

void key_next(struct key *key)
{
    key_put(key, "", 1);
}

/* ---- envelope ---- */

static uint32_t value_crc(struct slice key, const uint8_t *value, size_t bytes)
{
    uint32_t crc = crc32c(0, key.data, key.len);

    crc = crc32c(crc, value, 1);
    return crc32c(crc, value + VALUE_HEAD_BYTES, bytes - VALUE_HEAD_BYTES);
}

void value_begin(struct buf *b)
{
    CHECK(b->len == 0);
    buf_put_u8(b, VALUE_VERSION);
    buf_put_u32le(b, 0);
}

void value_end(struct buf *b, struct slice key)
{
    put_u32le(b->data + 1, value_crc(key, b->data, b->len));
}

void value_make(struct buf *b, struct slice key, struct slice payload)
{
    value_begin(b);
    buf_put(b, payload.data, payload.len);
    value_end(b, key);
}

void value_make_json(struct buf *b, struct slice key, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    CHECK(text != NULL);
    value_make(b, key, slice_str(text));
    free(text);
}

int value_open(struct slice key, struct slice value, struct rd *ret_payload, struct err *e)
{
    char text[KEY_TEXT_BYTES];

    key_text(key, text);
    if (value.len < VALUE_HEAD_BYTES) {
        return err_set(e, ERR_CORRUPT, "%s: value of %zu bytes", text, value.len);
    }
    if (get_u32le(value.data + 1) != value_crc(key, value.data, value.len)) {
        return err_set(e, ERR_CORRUPT, "%s: checksum", text);
    }
    if (value.data[0] != VALUE_VERSION) {
        return err_set(e, ERR_VERSION, "%s: version %u (this program knows %d)", text,
                       value.data[0], VALUE_VERSION);
    }
    *ret_payload = rd_of(value.data + VALUE_HEAD_BYTES, value.len - VALUE_HEAD_BYTES);
    return 0;
}

int value_open_json(struct slice key, struct slice value, json_t **ret_json, struct err *e)
{
    char text[KEY_TEXT_BYTES];
    struct rd payload;
    json_error_t why;
    json_t *json;

    if (value_open(key, value, &payload, e) != 0) {
        return e->code;
    }
    json = json_loadb((const char *)payload.pos, rd_left(&payload), JSON_DECODE_ANY, &why);
    if (json == NULL) {
        key_text(key, text);
        return err_set(e, ERR_CORRUPT, "%s: %s", text, why.text);
    }
    *ret_json = json;
    return 0;
}

void key_text(struct slice key, char ret_text[KEY_TEXT_BYTES])
{
    static const char root[] = "/alba/v1/";
    size_t at = 0;
    size_t skip = 0;

    if (key.len >= sizeof(root) - 1 && memcmp(key.data, root, sizeof(root) - 1) == 0) {
        skip = sizeof(root) - 1;
    }
    for (size_t i = skip; i < key.len && at + 4 < KEY_TEXT_BYTES; i++) {
        bool plain = key.data[i] > 0x20 && key.data[i] < 0x7f;
        int n = snprintf(ret_text + at, KEY_TEXT_BYTES - at, plain ? "%c" : "%02x", key.data[i]);

        at += (size_t)n;
    }
    ret_text[at] = '\0';
}
