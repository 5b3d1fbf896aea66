#include "policy/fragment0.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "policy/cipher_cbc.h"

bool fragment0_is_for(uint32_t codec, uint32_t cipher)
{
    return codec == COMPRESS_SNAPPY || codec == COMPRESS_BZIP2 || cipher == CIPHER_AES_CBC_256;
}

struct fragment0_sum fragment0_sum_of(enum preset_checksum algo, const uint8_t *stored,
                                      uint32_t bytes)
{
    struct fragment0_sum sum = {.algo = algo};

    if (algo == PRESET_CHECKSUM_CRC32C) {
        sum.crc32c = crc32c(0, stored, bytes);
    } else {
        CHECK(algo == PRESET_CHECKSUM_SHA1);
        CHECK(EVP_Digest(stored, bytes, sum.sha1, NULL, EVP_sha1(), NULL) == 1);
    }
    return sum;
}

static enum cipher cipher_of(const struct fragment_crypto *crypto)
{
    return crypto != NULL ? crypto->cipher : CIPHER_NONE;
}

int fragment0_ref_check(const struct fragment0_ref *ref, struct err *e)
{
    uint32_t cipher = cipher_of(ref->crypto);

    if (!compress_whole_is_known(ref->codec)) {
        return err_set(e, ERR_VERSION, "fragment of format 0: codec %" PRIu32, ref->codec);
    }
    if (cipher != CIPHER_NONE && cipher != CIPHER_AES_CBC_256 && cipher != CIPHER_AES_CTR_256) {
        return err_set(e, ERR_VERSION, "fragment of format 0: cipher %" PRIu32, cipher);
    }
    if (cipher != CIPHER_NONE && ref->crypto->key == NULL) {
        return err_set(e, ERR_KEY, "fragment of format 0");
    }
    if (ref->sum.algo != PRESET_CHECKSUM_CRC32C && ref->sum.algo != PRESET_CHECKSUM_SHA1) {
        return err_set(e, ERR_CORRUPT, "fragment of format 0: no checksum to check it by");
    }
    if (ref->raw_bytes > FRAGMENT_RAW_BYTES_MAX ||
        ref->stored_bytes > fragment0_stored_max(ref->raw_bytes, ref->codec, (enum cipher)cipher)) {
        return err_set(e, ERR_CORRUPT, "fragment of %" PRIu32 " bytes: %" PRIu32 " are stored",
                       ref->raw_bytes, ref->stored_bytes);
    }
    return 0;
}

uint32_t fragment0_stored_max(uint32_t raw_bytes, enum compress_codec codec, enum cipher cipher)
{
    uint32_t packed = compress_whole_max(codec, raw_bytes);

    return cipher == CIPHER_AES_CBC_256 ? cipher_cbc_bytes(packed) : packed;
}

static void iv_of(const struct fragment_id *id, const struct fragment_crypto *crypto,
                  uint8_t ret_iv[CIPHER_CBC_BLOCK_BYTES])
{
    cipher_cbc_iv(crypto->key->bytes, slice_of(id->object_id, sizeof(id->object_id)), id->chunk,
                  id->fragment, ret_iv);
}

/* In place, in both directions. */
static void count_over(const struct fragment_crypto *crypto, uint8_t *data, uint32_t bytes)
{
    struct cipher_ctr ctr;

    cipher_ctr_init(&ctr, crypto->key->bytes, crypto->ctr);
    cipher_ctr_xor(&ctr, 0, slice_of(data, bytes), data);
    cipher_ctr_release(&ctr);
}

uint32_t fragment0_pack(const struct fragment_id *id, enum compress_codec codec,
                        const struct fragment_crypto *crypto, const uint8_t *raw,
                        uint32_t raw_bytes, uint8_t *image)
{
    uint32_t bytes = compress_whole(codec, image, raw, raw_bytes);
    uint8_t iv[CIPHER_CBC_BLOCK_BYTES];

    switch (cipher_of(crypto)) {
    case CIPHER_AES_CBC_256:
        iv_of(id, crypto, iv);
        cipher_cbc_encrypt(crypto->key->bytes, iv, image, bytes, image);
        return cipher_cbc_bytes(bytes);
    case CIPHER_AES_CTR_256:
        count_over(crypto, image, bytes);
        return bytes;
    default:
        CHECK(cipher_of(crypto) == CIPHER_NONE);
        return bytes;
    }
}

static int check_sum(const struct fragment0_ref *ref, const uint8_t *stored, uint32_t bytes,
                     struct err *e)
{
    struct fragment0_sum found;

    if (bytes != ref->stored_bytes) {
        return err_set(e, ERR_CORRUPT, "%" PRIu32 " bytes are stored, not %" PRIu32, bytes,
                       ref->stored_bytes);
    }
    found = fragment0_sum_of(ref->sum.algo, stored, bytes);
    if (ref->sum.algo == PRESET_CHECKSUM_SHA1
            ? memcmp(found.sha1, ref->sum.sha1, sizeof(found.sha1)) != 0
            : found.crc32c != ref->sum.crc32c) {
        return err_set(e, ERR_CORRUPT, "%s of the fragment", preset_checksum_name(ref->sum.algo));
    }
    return 0;
}

/* Decrypts a copy: the stored bytes may be somebody else's, too. */
static int open_copy(const struct fragment0_ref *ref, const uint8_t *stored, uint32_t bytes,
                     uint8_t *ret_raw, struct err *e)
{
    uint8_t *copy = bigmem_alloc((size_t)bytes + 1);
    uint8_t iv[CIPHER_CBC_BLOCK_BYTES];
    int rc = 0;

    if (bytes > 0) {
        memcpy(copy, stored, bytes);
    }
    if (ref->crypto->cipher == CIPHER_AES_CBC_256) {
        iv_of(&ref->id, ref->crypto, iv);
        rc = cipher_cbc_decrypt(ref->crypto->key->bytes, iv, copy, bytes, &bytes, e);
    } else {
        count_over(ref->crypto, copy, bytes);
    }
    if (rc == 0) {
        rc = decompress_whole((enum compress_codec)ref->codec, ret_raw, ref->raw_bytes, copy, bytes,
                              e);
    }
    bigmem_free(copy);
    return rc;
}

int fragment0_unpack(const struct fragment0_ref *ref, const uint8_t *stored, uint32_t stored_bytes,
                     uint8_t *ret_raw, struct err *e)
{
    int rc = fragment0_ref_check(ref, e);

    if (rc == 0) {
        rc = check_sum(ref, stored, stored_bytes, e);
    }
    if (rc != 0) {
        return rc;
    }
    if (cipher_of(ref->crypto) != CIPHER_NONE) {
        return open_copy(ref, stored, stored_bytes, ret_raw, e);
    }
    return decompress_whole((enum compress_codec)ref->codec, ret_raw, ref->raw_bytes, stored,
                            stored_bytes, e);
}
