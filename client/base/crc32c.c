#include "base/crc32c.h"

#include <isa-l/crc.h>

enum { CHUNK_BYTES_MAX = 1 << 30 }; /* ISA-L counts in int */

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    /* ISA-L's declaration lacks const; it only reads. */
    unsigned char *p = (unsigned char *)(uintptr_t)data;

    crc = ~crc;
    while (bytes > CHUNK_BYTES_MAX) {
        crc = crc32_iscsi(p, CHUNK_BYTES_MAX, crc);
        p += CHUNK_BYTES_MAX;
        bytes -= CHUNK_BYTES_MAX;
    }
    return ~crc32_iscsi(p, (int)bytes, crc);
}

/* Appending zero bytes to a message multiplies its CRC by x^8 modulo the
 * polynomial for each; square-and-multiply does n of them in log n steps.
 * Polynomials are bit-reflected: bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if (a & bit) {
            product ^= b;
        }
        b = (b >> 1) ^ (b & 1 ? 0x82f63b78u : 0);
    }
    return product;
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes)
{
    uint32_t power = 1u << 31;  /* x^0 */
    uint32_t square = 1u << 23; /* x^8 */

    for (; b_bytes != 0; b_bytes >>= 1) {
        if (b_bytes & 1) {
            power = multiply(power, square);
        }
        square = multiply(square, square);
    }
    return multiply(power, crc_a) ^ crc_b;
}
