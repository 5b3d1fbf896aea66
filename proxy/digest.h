/* The checksum of an object, over its bytes in order. Any thread; one thread per struct. */
#ifndef PROXY_DIGEST_H
#define PROXY_DIGEST_H

#include <stddef.h>

#include "wire/checksum.h"

struct digest {
    uint8_t algo; /* enum checksum_algo */
    uint32_t crc32c;
    void *sha1; /* owned, EVP_MD_CTX */
};

void digest_init(struct digest *digest, uint8_t algo);
/* `crc` is the CRC32C of the bytes, for those that have it already; SHA-1 reads them. */
void digest_add(struct digest *digest, const void *data, size_t bytes, uint32_t crc);
struct checksum digest_result(struct digest *digest);
void digest_release(struct digest *digest); /* accepts {0} */

#endif
