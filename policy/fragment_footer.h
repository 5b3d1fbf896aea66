/* The trailer of fragment format 1, byte by byte; for fragment.c and fragment_read.c
 * only. Layout: policy/FORMAT.md. Any thread. */
#ifndef POLICY_FRAGMENT_FOOTER_H
#define POLICY_FRAGMENT_FOOTER_H

#include <stdint.h>

#include "base/err.h"
#include "policy/fragment.h"

#define FRAGMENT_RAW_BIT 0x80000000u

struct fragment_footer {
    struct fragment_id id;
    struct fragment_shape shape;
    uint32_t payload_bytes;
    uint32_t block_count;
    uint8_t key_id[KEY_ID_BYTES]; /* zeroes without a cipher */
    uint8_t salt[FRAGMENT_SALT_BYTES];
    uint32_t entries_crc;
};

/* Limits, known codec and cipher; ERR_CORRUPT or ERR_VERSION. */
int fragment_shape_check(const struct fragment_shape *shape, struct err *e);

/* Raw length of block `index`; only the last one is short. */
uint32_t fragment_block_bytes(const struct fragment_shape *shape, uint32_t index);

void fragment_footer_put(uint8_t ret_bytes[FRAGMENT_FOOTER_BYTES],
                         const struct fragment_footer *footer);
/* All that can be checked without the entries and the manifest. */
int fragment_footer_parse(struct fragment_footer *ret_footer,
                          const uint8_t bytes[FRAGMENT_FOOTER_BYTES], struct err *e);
/* Is it what the manifest says, and encrypted under the key that it names? */
int fragment_footer_match(const struct fragment_footer *footer, const struct fragment_ref *ref,
                          struct err *e);

/* What ties an entry's check to its encoding and place. salt_crc = CRC32C of the salt. */
uint32_t fragment_check_mask(uint32_t salt_crc, uint32_t block_index);

#endif
