#include "asd/sums.h"

#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/crc32c.h"

static void sha1_begin(struct asd_sums *s)
{
    s->sha1 = EVP_MD_CTX_new();
    CHECK(s->sha1 != NULL && EVP_DigestInit_ex(s->sha1, EVP_sha1(), NULL) == 1);
}

static void sha1_add(struct asd_sums *s, const void *data, size_t bytes)
{
    CHECK(EVP_DigestUpdate(s->sha1, data, bytes) == 1);
}

static bool sha1_end(struct asd_sums *s)
{
    uint8_t sha1[EVP_MAX_MD_SIZE];
    unsigned bytes = 0;

    CHECK(EVP_DigestFinal_ex(s->sha1, sha1, &bytes) == 1 && bytes == CHECKSUM_SHA1_BYTES);
    EVP_MD_CTX_free(s->sha1);
    return memcmp(sha1, s->client->sha1, CHECKSUM_SHA1_BYTES) == 0;
}

void asd_sums_begin(struct asd_sums *s, const struct checksum *client)
{
    *s = (struct asd_sums){.client = client};
    if (client != NULL && client->algo == CHECKSUM_SHA1) {
        sha1_begin(s);
    }
}

void asd_sums_add(struct asd_sums *s, const void *data, size_t bytes)
{
    s->crc = crc32c(s->crc, data, bytes);
    if (s->sha1 != NULL) {
        sha1_add(s, data, bytes);
    }
}

bool asd_sums_end(struct asd_sums *s)
{
    if (s->sha1 != NULL) {
        return sha1_end(s);
    }
    return s->client == NULL || s->client->algo != CHECKSUM_CRC32C || s->client->crc32c == s->crc;
}

bool asd_checksum_ok(const struct checksum *client, struct slice value, uint32_t crc)
{
    struct asd_sums s;

    asd_sums_begin(&s, client);
    s.crc = crc;
    if (s.sha1 != NULL) {
        sha1_add(&s, value.data, value.len);
    }
    return asd_sums_end(&s);
}
