/* The local key-value store under the map: RocksDB, and the only file that knows it.
 *
 * It is a cache: everything in it can be had again from the backend, so writes are not synced
 * and a store that does not open is thrown away. Calls block; any thread; a struct map_batch
 * or map_iter belongs to one thread at a time. */
#ifndef VOLUMEDRIVER_MAP_DB_H
#define VOLUMEDRIVER_MAP_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct map_db;
struct map_batch;
struct map_iter;

/* Makes the directory's last component; an unusable store is removed and made anew. */
int map_db_open(const char *dir, struct map_db **ret_db, struct err *e);
void map_db_close(struct map_db *db); /* NULL is fine */
/* Removes the store of `dir`, which is not open. */
int map_db_destroy(const char *dir, struct err *e);

/* Copies at most `bytes_max`; *ret_bytes is the whole length. ERR_NOT_FOUND when absent. */
int map_db_get(struct map_db *db, struct slice key, void *ret_data, size_t bytes_max,
               size_t *ret_bytes, struct err *e);

struct map_batch *map_batch_new(void);
void map_batch_put(struct map_batch *b, struct slice key, struct slice value);
void map_batch_delete(struct map_batch *b, struct slice key);
void map_batch_delete_range(struct map_batch *b, struct slice from, struct slice to);
/* All or nothing; survives kill -9, and a power loss only as part of a prefix. Frees `b`. */
int map_batch_write(struct map_db *db, struct map_batch *b, struct err *e);

/* Sees the store as it was at this moment, keys in [from, to). */
struct map_iter *map_iter_new(struct map_db *db, struct slice from, struct slice to);
void map_iter_free(struct map_iter *it); /* NULL is fine */
void map_iter_seek(struct map_iter *it, struct slice key);
/* The entry under the cursor; false at the end. Valid until the next call. */
bool map_iter_get(struct map_iter *it, struct slice *ret_key, struct slice *ret_value);
void map_iter_next(struct map_iter *it);
int map_iter_error(struct map_iter *it, struct err *e);

#endif
