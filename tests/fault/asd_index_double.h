/* The index as the crash tests need it: an ordered map in memory whose durability hangs on
 * a crash disk. A synced batch is one atomic I/O: absent before, present after, either one
 * inside; of un-synced batches any prefix survives. A batch that fails may still turn up when
 * the index is opened again, as it may with RocksDB. */
#ifndef TESTS_FAULT_ASD_INDEX_DOUBLE_H
#define TESTS_FAULT_ASD_INDEX_DOUBLE_H

#include <stddef.h>

#include "asd/index.h"
#include "lib/crash_disk.h"

struct index_double;

/* What is durable outlives the processes that open it. `disk` NULL: everything is durable. */
struct index_double *index_double_new(struct crash_disk *disk);
void index_double_free(struct index_double *d);
/* One at a time. */
struct asd_index *index_double_open(struct index_double *d);
/* Runs behind every get, in its thread, before the value is handed out; it may block. */
typedef void (*index_double_hook_cb)(void *ctx);
void index_double_set_hook(struct index_double *d, index_double_hook_cb cb, void *ctx);
/* How many keys start with `kind`. */
size_t index_double_count(struct index_double *d, uint8_t kind);
/* Damage: flip a bit in the record of `key`, unseen. */
void index_double_corrupt(struct index_double *d, struct slice key, size_t at);
/* What iterate() returns once it comes to `from` or a key behind; 0: nothing fails. Borrowed. */
void index_double_fail_lists(struct index_double *d, struct slice from, int rc);
void index_double_fail_next_list(struct index_double *d, int rc); /* one, before its first key */

#endif
