/* Finding values and reading them, wherever they lie. Pool threads. Private to the store. */
#ifndef ASD_VALUE_H
#define ASD_VALUE_H

#include <stdint.h>

#include "asd/index.h"
#include "asd/record.h"
#include "asd/space.h"
#include "base/err.h"
#include "base/slice.h"

struct asd_store;

/* A value found; what it lies in stays as it is until released. */
struct asd_found {
    struct asd_value_record record;
    struct asd_index_value index_value; /* holds the inline bytes */
    struct asd_pin pin;                 /* holds the slab */
};

/* Count what the index returned for a key, or for a list from there: damage as a bad value, and an
 * I/O error as what the device failed to read. Returns `rc`. Any thread. */
int asd_value_note_index(struct asd_store *store, struct slice index_key, int rc);
/* 0, ERR_NOT_FOUND (without *e), ERR_CORRUPT (also for a record that only newer software can read),
 * … *ret_found is to be released in any case. */
int asd_value_find(struct asd_store *store, struct slice index_key, struct asd_found *ret_found,
                   struct err *e);
/* The same, by the client's key, without an allocation and without waiting for the disk: 0,
 * ERR_NOT_FOUND, or ERR_BUSY when it would have to, for a long key, or when something is wrong:
 * asd_value_find() tells and counts it. Any thread. */
int asd_value_find_cached(struct asd_store *store, struct slice key, struct asd_found *ret_found,
                          struct err *e);
/* Many: one rc each. The arrays have room for `count`. */
void asd_value_find_many(struct asd_store *store, const struct slice *index_keys, size_t count,
                         struct asd_found *ret_found, int *ret_rcs, struct err *e);
void asd_value_found_release(struct asd_store *store, struct asd_found *found);

/* The whole value, checked. `ret_data` has room for found->record.bytes. */
int asd_value_read(struct asd_store *store, const struct asd_found *found, uint8_t *ret_data,
                   struct err *e);
/* A part of it, not checked. -ERANGE beyond the end. */
int asd_value_read_part(struct asd_store *store, const struct asd_found *found, uint32_t offset,
                        uint32_t bytes, uint8_t *ret_data, struct err *e);
/* 0, ERR_ASSERT_FAILED (without *e), ERR_CORRUPT, … */
int asd_value_equals(struct asd_store *store, const struct asd_found *found, struct slice wanted,
                     struct err *e);

#endif
