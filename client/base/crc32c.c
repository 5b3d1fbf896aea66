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
 * polynomial for each; one multiplication for each bit of n does them all.
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

/* x^(8 * 2^i). The exponents repeat: x^(2^31 - 1) is 1. */
enum { SQUARES = 31 };
static const uint32_t squares[SQUARES] = {
    0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
    0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
    0xfe7740e6, 0xf946610b, 0x3c204f8f, 0x538586e3, 0x59726915, 0x734d5309, 0xbc1ac763, 0x7d0722cc,
    0xd289cabe, 0xe94ca9bc, 0x05b74f3f, 0xa51e1f42, 0x40000000, 0x20000000, 0x08000000,
};

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t b_bytes)
{
    for (unsigned i = 0; b_bytes != 0; b_bytes >>= 1) {
        if (b_bytes & 1) {
            crc_a = multiply(squares[i], crc_a);
        }
        i = i + 1 == SQUARES ? 0 : i + 1;
    }
    return crc_a ^ crc_b;
}
