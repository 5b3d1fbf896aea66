#include "proxy/digest.h"

#include <openssl/evp.h>

#include "base/check.h"
#include "base/crc32c.h"

void digest_init(struct digest *digest, uint8_t algo)
{
    *digest = (struct digest){.algo = algo};
    if (algo == CHECKSUM_SHA1) {
        digest->sha1 = EVP_MD_CTX_new();
        CHECK(digest->sha1 != NULL);
        CHECK(EVP_DigestInit_ex(digest->sha1, EVP_sha1(), NULL) == 1);
    }
}

void digest_add(struct digest *digest, const void *data, size_t bytes, uint32_t crc)
{
    if (digest->algo == CHECKSUM_CRC32C) {
        digest->crc32c = crc32c_combine(digest->crc32c, crc, bytes);
    } else if (digest->algo == CHECKSUM_SHA1 && bytes > 0) {
        CHECK(EVP_DigestUpdate(digest->sha1, data, bytes) == 1);
    }
}

struct checksum digest_result(struct digest *digest)
{
    struct checksum result = {.algo = digest->algo};

    if (digest->algo == CHECKSUM_CRC32C) {
        result.crc32c = digest->crc32c;
    } else if (digest->algo == CHECKSUM_SHA1) {
        unsigned bytes = CHECKSUM_SHA1_BYTES;

        CHECK(EVP_DigestFinal_ex(digest->sha1, result.sha1, &bytes) == 1);
    }
    return result;
}

void digest_release(struct digest *digest)
{
    EVP_MD_CTX_free(digest->sha1);
    digest->sha1 = NULL;
}
