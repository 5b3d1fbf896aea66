/* Index keys and records as bytes. Layouts: FORMAT.md, "Index keys". Pure functions, any
 * thread. Readers give ERR_CORRUPT, or ERR_VERSION for what newer software wrote. */
#ifndef ASD_RECORD_H
#define ASD_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "wire/checksum.h"

enum {
    ASD_STORE_ID_BYTES = 16,
    ASD_SLAB_ALIGN_BYTES = 4096,
    ASD_SLAB_HEADER_BYTES = 4096,
    ASD_INLINE_OVERHEAD_BYTES = 64, /* of an inline value, counted as used */

    ASD_KEY_STORE = 0x01,
    ASD_KEY_USAGE = 0x02,
    ASD_KEY_SLAB = 0x03,
    ASD_KEY_FREE = 0x04,
    ASD_KEY_NAME = 0x05,
    ASD_KEY_SCRUB = 0x06,
    ASD_KEY_VALUE = 0x10,
    ASD_INTERNAL_KEY_BYTES_MAX = 17,
};

/* A key of ours, small enough to live on the stack. */
struct asd_internal_key {
    uint8_t data[ASD_INTERNAL_KEY_BYTES_MAX];
    uint8_t len;
};

static inline struct slice asd_internal_slice(const struct asd_internal_key *key)
{
    return slice_of(key->data, key->len);
}

struct asd_internal_key asd_key_of(uint8_t kind); /* STORE, USAGE; or where a kind begins */
struct asd_internal_key asd_key_slab(uint64_t slab);
struct asd_internal_key asd_key_free(uint64_t slab, uint64_t offset);
struct asd_internal_key asd_key_name(uint64_t slab, uint64_t offset);
int asd_key_slab_parse(struct slice key, uint64_t *ret_slab, struct err *e);
int asd_key_free_parse(struct slice key, uint64_t *ret_slab, uint64_t *ret_offset, struct err *e);
int asd_key_name_parse(struct slice key, uint64_t *ret_slab, uint64_t *ret_offset, struct err *e);
void asd_key_value_put(struct buf *b, struct slice client_key);

struct asd_store_record {
    uint8_t store_id[ASD_STORE_ID_BYTES];
};

struct asd_usage_record {
    uint64_t used_bytes;
    uint64_t next_slab;
    uint64_t commit;
};

struct asd_slab_record {
    uint64_t size_bytes;
    uint64_t tail;
    uint64_t live_bytes;
    bool sealed;
};

struct asd_free_record {
    uint64_t bytes;
};

struct asd_name_record {
    struct slice client_key; /* borrowed from the record */
};

struct asd_value_record {
    bool in_slab;
    bool assertable;
    struct checksum checksum; /* the client's */
    uint32_t bytes;
    uint32_t crc;       /* ours, over the value */
    uint64_t slab;      /* if in_slab */
    uint64_t offset;    /* if in_slab */
    struct slice value; /* unless in_slab; borrowed from the record */
};

/* Append a record. `key` is the index key it will be stored under. */
void asd_store_record_put(struct buf *b, struct slice key, const struct asd_store_record *r);
void asd_usage_record_put(struct buf *b, struct slice key, const struct asd_usage_record *r);
void asd_slab_record_put(struct buf *b, struct slice key, const struct asd_slab_record *r);
void asd_free_record_put(struct buf *b, struct slice key, const struct asd_free_record *r);
void asd_name_record_put(struct buf *b, struct slice key, const struct asd_name_record *r);
/* Without the inline bytes: they follow. */
void asd_value_record_put(struct buf *b, struct slice key, const struct asd_value_record *r);

int asd_store_record_get(struct slice key, struct slice record, struct asd_store_record *ret_r,
                         struct err *e);
int asd_usage_record_get(struct slice key, struct slice record, struct asd_usage_record *ret_r,
                         struct err *e);
int asd_slab_record_get(struct slice key, struct slice record, struct asd_slab_record *ret_r,
                        struct err *e);
int asd_free_record_get(struct slice key, struct slice record, struct asd_free_record *ret_r,
                        struct err *e);
int asd_name_record_get(struct slice key, struct slice record, struct asd_name_record *ret_r,
                        struct err *e);
/* Does not check the value itself. */
int asd_value_record_get(struct slice key, struct slice record, struct asd_value_record *ret_r,
                         struct err *e);

static inline uint64_t asd_slab_align(uint64_t bytes)
{
    return (bytes + ASD_SLAB_ALIGN_BYTES - 1) / ASD_SLAB_ALIGN_BYTES * ASD_SLAB_ALIGN_BYTES;
}

/* Whole blocks behind the header and below `tail`: where values lie. */
static inline bool asd_slab_range_ok(uint64_t offset, uint64_t bytes, uint64_t tail)
{
    return offset >= ASD_SLAB_HEADER_BYTES && offset % ASD_SLAB_ALIGN_BYTES == 0 && bytes != 0 &&
           bytes % ASD_SLAB_ALIGN_BYTES == 0 && offset <= tail && bytes <= tail - offset;
}

/* What a value counts for in the usage. */
uint64_t asd_value_cost(size_t client_key_bytes, bool in_slab, uint32_t bytes);

struct asd_slab_header {
    uint8_t store_id[ASD_STORE_ID_BYTES];
    uint64_t number;
    uint64_t size_bytes;
};

void asd_slab_header_encode(uint8_t ret_data[ASD_SLAB_HEADER_BYTES],
                            const struct asd_slab_header *h);
int asd_slab_header_decode(const uint8_t data[ASD_SLAB_HEADER_BYTES], struct asd_slab_header *ret_h,
                           struct err *e);

#endif
