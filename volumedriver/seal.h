/* The CRC-32C that an object carries in front of what it covers.
 *
 * Behind it would be wrong: the CRC of a message followed by its own CRC is a constant, so the
 * checksum that the backend keeps of the object would say nothing about it, and neither a
 * compare-and-swap on that checksum nor "the same is there already" would compare anything.
 * Any thread. */
#ifndef VOLUMEDRIVER_SEAL_H
#define VOLUMEDRIVER_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/crc32c.h"

enum { SEAL_AT = 12 }; /* of every object but a journal frame */

/* CRC of `bytes` bytes of which the four at `crc_at` count as zero, behind bytes of CRC `seed`. */
static inline uint32_t seal_crc(uint32_t seed, const uint8_t *data, size_t bytes, size_t crc_at)
{
    static const uint8_t none[4];
    uint32_t crc = crc32c(seed, data, crc_at);

    crc = crc32c(crc, none, sizeof(none));
    return crc32c(crc, data + crc_at + sizeof(none), bytes - crc_at - sizeof(none));
}

#endif
