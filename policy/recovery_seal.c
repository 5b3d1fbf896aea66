#include "policy/recovery_seal.h"

#include <string.h>

#include "base/rnd.h"

enum { SEALED = 65, SALT_BYTES = 16 };

/* Offsets; the text ends where the tag begins, at the end. */
enum {
    AT_KIND = 0,
    AT_CIPHER = 1,
    AT_KEY_ID = 2,
    AT_SALT = AT_KEY_ID + KEY_ID_BYTES,
    AT_TEXT = AT_SALT + SALT_BYTES
};

/* Subkey and associated data both name the chunk of the object. */
static void start(struct cipher_aead *aead, const struct master_key *key, const uint8_t *header,
                  struct slice object_id, uint32_t chunk, bool seals, struct buf *ret_associated)
{
    uint8_t subkey[CIPHER_KEY_BYTES];
    struct buf message = {0};

    buf_put(&message, "reco", 4);
    buf_put(&message, header + AT_SALT, SALT_BYTES);
    buf_put_u32le(&message, chunk);
    buf_put(&message, object_id.data, object_id.len);
    master_key_derive(subkey, key, slice_buf(&message));
    cipher_aead_init(aead, CIPHER_XCHACHA20_POLY1305, subkey, seals);
    buf_put(ret_associated, header, AT_TEXT);
    buf_put_u32le(ret_associated, chunk);
    buf_put(ret_associated, object_id.data, object_id.len);
    buf_release(&message);
    key_wipe(subkey, sizeof(subkey));
}

void recovery_seal_put(struct buf *b, const struct master_key *key, struct slice object_id,
                       uint32_t chunk, struct slice record)
{
    uint8_t *header = buf_extend(b, AT_TEXT + record.len + CIPHER_TAG_BYTES);
    struct buf associated = {0};
    struct cipher_aead aead;

    header[AT_KIND] = SEALED;
    header[AT_CIPHER] = CIPHER_XCHACHA20_POLY1305;
    memcpy(header + AT_KEY_ID, key->id, KEY_ID_BYTES);
    rnd_bytes(header + AT_SALT, SALT_BYTES);
    start(&aead, key, header, object_id, chunk, true, &associated);
    cipher_aead_seal(&aead, 0, slice_buf(&associated), record, header + AT_TEXT,
                     header + AT_TEXT + record.len);
    cipher_aead_release(&aead);
    buf_release(&associated);
}

int recovery_seal_key_id(struct slice sealed, uint8_t ret_id[KEY_ID_BYTES], struct err *e)
{
    if (sealed.len < AT_TEXT + CIPHER_TAG_BYTES || sealed.data[AT_KIND] != SEALED) {
        return err_set(e, ERR_CORRUPT, "recovery info: no sealed record");
    }
    if (sealed.data[AT_CIPHER] != CIPHER_XCHACHA20_POLY1305) {
        return err_set(e, ERR_VERSION, "recovery info: cipher %u", sealed.data[AT_CIPHER]);
    }
    memcpy(ret_id, sealed.data + AT_KEY_ID, KEY_ID_BYTES);
    return 0;
}

int recovery_seal_open(struct slice sealed, const struct master_key *key, struct slice object_id,
                       uint32_t chunk, struct buf *ret_record, struct err *e)
{
    size_t before = ret_record->len, bytes;
    struct buf associated = {0};
    struct cipher_aead aead;
    uint8_t id[KEY_ID_BYTES], *record;
    int rc = recovery_seal_key_id(sealed, id, e);

    if (rc != 0) {
        return rc;
    }
    bytes = sealed.len - AT_TEXT - CIPHER_TAG_BYTES;
    record = buf_extend(ret_record, bytes);
    start(&aead, key, sealed.data, object_id, chunk, false, &associated);
    rc = cipher_aead_open(&aead, 0, slice_buf(&associated), slice_of(sealed.data + AT_TEXT, bytes),
                          sealed.data + AT_TEXT + bytes, record, e);
    cipher_aead_release(&aead);
    buf_release(&associated);
    if (rc != 0) {
        ret_record->len = before;
        return err_wrap(e, "recovery info");
    }
    return 0;
}
