/* A checksum with the tag of its algorithm, as it travels and is stored.
 *
 * Holds and compares only; who computes a SHA-1 is elsewhere (policy). Any thread. */
#ifndef WIRE_CHECKSUM_H
#define WIRE_CHECKSUM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { CHECKSUM_SHA1_BYTES = 20, CHECKSUM_TEXT_BYTES = 48 };

/* Values are the tags on the wire. */
enum checksum_algo { CHECKSUM_NONE = 1, CHECKSUM_SHA1 = 2, CHECKSUM_CRC32C = 3 };

struct checksum {
    uint8_t algo; /* enum checksum_algo; 0 counts as CHECKSUM_NONE */
    uint32_t crc32c;
    uint8_t sha1[CHECKSUM_SHA1_BYTES];
};

static inline struct checksum checksum_none(void)
{
    return (struct checksum){.algo = CHECKSUM_NONE};
}

static inline struct checksum checksum_crc32c(uint32_t crc)
{
    return (struct checksum){.algo = CHECKSUM_CRC32C, .crc32c = crc};
}

/* Same algorithm and value. */
bool checksum_eq(const struct checksum *a, const struct checksum *b);

void checksum_put(struct buf *b, const struct checksum *c);
struct checksum checksum_get(struct rd *r);
void checksum_put_opt(struct buf *b, bool has, const struct checksum *c);
struct checksum checksum_get_opt(struct rd *r, bool *ret_has);

/* "none", "sha-1", "crc-32c": as presets write it. NULL for an unknown value. */
const char *checksum_algo_name(unsigned algo);
/* "NO_CHECKSUM", "SHA1", "CRC32c": as range validation reports it. */
const char *checksum_algo_show_name(unsigned algo);
/* 0, or -EINVAL for a name we do not know. */
int checksum_algo_parse(const char *name, uint8_t *ret_algo);
/* Hex of the value: "0xe3069283", 40 digits, or "". */
void checksum_text(const struct checksum *c, char ret_text[CHECKSUM_TEXT_BYTES]);

#endif
