/* Hash tables: uthash with SipHash-1-3 under a random key of this process. Who chooses the keys
 * of entries, be it a peer, cannot choose which of them meet in one bucket.
 *
 * Include this, never <uthash.h>: a table is hashed in one way wherever it is used. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef UTHASH_H
#error "base/table.h instead of uthash.h"
#endif

/* SipHash-1-3 (Aumasson, Bernstein). Any thread. */
uint64_t table_siphash(const uint64_t key[2], const void *data, size_t bytes);
/* The same with the key of this process. Any thread. */
uint64_t table_hash(const void *data, size_t bytes);

#define HASH_FUNCTION(data, bytes, ret_hash) ((ret_hash) = (unsigned)table_hash(data, bytes))

#include <uthash.h>

#endif
