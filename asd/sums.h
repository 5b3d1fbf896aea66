/* Checksums of a value: ours, and the one that its client gave. Any thread. */
#ifndef ASD_SUMS_H
#define ASD_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/checksum.h"

/* While its bytes go by. */
struct asd_sums {
    uint32_t crc; /* out: CRC-32C of what was added */

    const struct checksum *client; /* private from here on */
    void *sha1;
};

/* `client` is borrowed until the end; NULL: it is not looked at. */
void asd_sums_begin(struct asd_sums *s, const struct checksum *client);
void asd_sums_add(struct asd_sums *s, const void *data, size_t bytes);
/* Once for each begin. Does the client's checksum agree? True if there is none. */
bool asd_sums_end(struct asd_sums *s);

/* The same of `value` as a whole, whose CRC-32C is `crc`. */
bool asd_checksum_ok(const struct checksum *client, struct slice value, uint32_t crc);

#endif
