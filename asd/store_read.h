/* Reading from the store: values, parts of values, ranges of keys.
 *
 * Same rules as store.h; a read that finds everything in memory runs on the loop, any other in
 * the front's read pool. Results belong to the request; release it in the callback or
 * later, before the front's close callback. A caller that wants to keep a buffer takes the pointer
 * and sets it to NULL. */
#ifndef ASD_STORE_READ_H
#define ASD_STORE_READ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asd/store.h"
#include "base/slice.h"
#include "wire/asd_msg.h"
#include "wire/asd_request.h"
#include "wire/checksum.h"

enum {
    /* One read as it is replied, in one frame; more: ERR_TOO_LARGE. */
    ASD_STORE_RESULT_BYTES_MAX = ASD_FRAME_BYTES_MAX - 64,
    ASD_STORE_ITEM_BYTES_MAX = 48,             /* what a reply puts around a key and value */
    ASD_STORE_ENTRIES_BYTES_MAX = 8 * 1048576, /* a range of entries stops early, `more` set; but
                                                * the first value comes whatever its size */
    ASD_STORE_VALIDATE_BYTES_MAX = 268435456,  /* same for a range that is verified */
    ASD_STORE_READS_MAX = 8192,                /* of a front, waiting or running; more: ERR_BUSY */
};

struct buf;

/* Whose results take how much memory: who holds least goes first when it is scarce. Outlives its
 * reads. */
struct asd_results_owner {
    atomic_uint_fast64_t bytes;
};

/* Who reads. NULL: at high priority, and nobody in particular. */
struct asd_reader {
    uint8_t prio; /* enum asd_prio; 0 is high */
    struct asd_results_owner *owner;
};

struct asd_store_value {
    int rc; /* 0, ERR_NOT_FOUND, ERR_CORRUPT, or what the read returned: this key only */
    uint32_t bytes;
    uint8_t *data; /* owned by the request until taken; NULL for no bytes */
    bool is_spare; /* private: where it is given back */
    struct checksum checksum;
};

struct asd_store_get {
    struct asd_store_op op;
    struct asd_store_value *values; /* out: one per key, in order */
    bool *exists;                   /* out of asd_store_exists(); this, too: */
    struct slice failed_key;        /* if it could not be told of one: the first such of `keys` */

    const struct slice *keys; /* private from here on */
    uint32_t key_count;
};

int asd_store_get(struct asd_front *front, struct asd_store_get *get, const struct slice *keys,
                  uint32_t key_count, const struct asd_reader *reader, asd_store_cb cb);
int asd_store_exists(struct asd_front *front, struct asd_store_get *get, const struct slice *keys,
                     uint32_t key_count, const struct asd_reader *reader, asd_store_cb cb);
void asd_store_get_release(struct asd_store_get *get);

struct asd_store_partial {
    struct asd_store_op op;
    uint8_t *data; /* out: the parts back to back; owned by the request until taken */
    size_t data_bytes;

    bool is_spare; /* private from here on; where data is given back */
    struct slice key;
    const struct asd_part *parts;
    uint32_t part_count;
};

/* Parts are not verified here: who reads slices has its own trailer for that.
 * ERR_NOT_FOUND; -ERANGE for a part beyond the value; ERR_TOO_LARGE. */
int asd_store_partial(struct asd_front *front, struct asd_store_partial *partial, struct slice key,
                      const struct asd_part *parts, uint32_t part_count,
                      const struct asd_reader *reader, asd_store_cb cb);
void asd_store_partial_release(struct asd_store_partial *partial);

enum asd_store_range_kind {
    ASD_STORE_KEYS,
    ASD_STORE_ENTRIES,
    ASD_STORE_CHECK,  /* is the value where the index says? */
    ASD_STORE_VERIFY, /* read it, too, and compare our checksum and the client's */
};

struct asd_store_entry {
    struct slice key;             /* in memory of the request */
    struct asd_store_value value; /* ENTRIES; CHECK, VERIFY: without data, and rc is why it could
                                   * not be looked at */
    bool in_slab;                 /* CHECK, VERIFY */
    bool there;                   /* CHECK, VERIFY: in_slab and within its file */
    bool verified;                /* VERIFY: both checksums are right */
};

struct asd_store_range {
    struct asd_store_op op;
    struct asd_store_entry *entries; /* out */
    uint32_t entry_count;
    bool more;         /* the limit stopped it */
    struct slice next; /* if more: the next key there is */

    const struct asd_range *range; /* private from here on */
    enum asd_store_range_kind kind;
    struct buf *keys;
};

int asd_store_range(struct asd_front *front, struct asd_store_range *request,
                    const struct asd_range *range, enum asd_store_range_kind kind,
                    const struct asd_reader *reader, asd_store_cb cb);
void asd_store_range_release(struct asd_store_range *request);

#endif
