/* CRC-32C (Castagnoli), by ISA-L: the checksum of every record and block here.
 *
 * The CRC of no bytes is 0; "123456789" gives 0xe3069283. Any thread. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of the bytes behind which `data` stands (their CRC is `crc`) followed by `data`.
 * Start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* CRC of A followed by B, from crc(A), crc(B) and the length of B. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes);

#endif
