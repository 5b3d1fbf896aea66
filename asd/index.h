/* The index: an ordered map of byte strings with atomic, durable batches.
 *
 * Two implementations: RocksDB (index_rocksdb.c) and the double of the crash tests. Calls
 * block; any thread; a reader sees a batch wholly or not at all. Batches are durable when
 * write() returns 0 with `sync`, together with every batch before; un-synced ones in order. */
#ifndef ASD_INDEX_H
#define ASD_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct asd_index;
struct asd_index_batch;

/* A value looked up, in memory of the index until released. */
struct asd_index_value {
    struct slice bytes;
    void *handle; /* the implementation's; NULL: nothing to release */
};

/* Return false to stop. The slices are valid during the call. */
typedef bool (*asd_index_visit_cb)(void *ctx, struct slice key, struct slice value);

struct asd_index_ops {
    /* 0, ERR_NOT_FOUND (without *e), or an error. */
    int (*get)(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
               struct err *e);
    /* The same without waiting for the disk: ERR_BUSY (without *e) when it would have to. */
    int (*get_cached)(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                      struct err *e);
    /* One rc for each key, as get; *e holds the last error. */
    void (*multi_get)(struct asd_index *index, size_t count, const struct slice *keys,
                      struct asd_index_value *ret_values, int *ret_rcs, struct err *e);
    void (*release)(struct asd_index *index, struct asd_index_value *value);
    /* Keys in [from, to), downwards if `reverse`; sees one moment of the index. */
    int (*iterate)(struct asd_index *index, struct slice from, struct slice to, bool reverse,
                   asd_index_visit_cb visit, void *ctx, struct err *e);
    int (*write)(struct asd_index *index, const struct asd_index_batch *batch, bool sync,
                 struct err *e);
    void (*close)(struct asd_index *index);
};

/* First member of an implementation. */
struct asd_index {
    const struct asd_index_ops *ops;
    bool is_torn; /* opened without the end of its log */
};

/* How many commits an index holds; 0 when it is new. */
typedef int (*asd_index_count_cb)(struct asd_index *index, uint64_t *ret_commits, struct err *e);

enum { ASD_INDEX_FILES_MAX = 256 }; /* that RocksDB keeps open, but for a few */

struct asd_index_rocksdb_options {
    bool create;                /* else a missing index is an error, never an empty one */
    bool read_only;             /* nothing on the disk is changed; no writes */
    uint64_t block_cache_bytes; /* 0: 32 MiB */
    /* Tell a log that power loss cut short from one that is damaged. NULL: every blemish of the
     * log is an error. */
    asd_index_count_cb count;
    uint64_t commits_min;  /* so many were acknowledged */
    const char *torn_path; /* where to keep a torn log; NULL: nowhere */
    /* Write next to nothing: the log is read and left as it is, and is never flushed again, so it
     * must be durable. For a disk without room. */
    bool lean;
};

/* What to do about an index that has lost acknowledged commits. */
#define ASD_INDEX_LOST_HINT                                                                        \
    "; bring its *.log back from a copy, or give the ASD up: remove its home, repair refills it"

/* A log that ends in an un-acknowledged piece is opened without it. One that is damaged, so
 * that acknowledged commits would be missing, is ERR_CORRUPT; nothing is changed then. */
int asd_index_rocksdb_open(const char *path, const struct asd_index_rocksdb_options *options,
                           struct asd_index **ret_index, struct err *e);

/* ---- batches ---- */

/* Key and `head` lie in the batch; `body` is borrowed until the batch is released. */
struct asd_index_change {
    size_t key_at;
    size_t key_bytes;
    size_t head_at;
    size_t head_bytes;
    struct slice body;
    bool is_delete;
};

/* {0} is an empty batch. Later changes of a key win. */
struct asd_index_batch {
    struct buf bytes;
    struct asd_index_change *changes;
    size_t change_count;
    size_t change_cap;
    size_t body_bytes;
};

void asd_index_batch_delete(struct asd_index_batch *batch, struct slice key);
/* The value is `head`, copied, followed by `body`, borrowed. */
void asd_index_batch_put(struct asd_index_batch *batch, struct slice key, struct slice head,
                         struct slice body);
void asd_index_batch_release(struct asd_index_batch *batch);

static inline struct slice asd_index_change_key(const struct asd_index_batch *batch, size_t i)
{
    return slice_of(batch->bytes.data + batch->changes[i].key_at, batch->changes[i].key_bytes);
}

static inline struct slice asd_index_change_head(const struct asd_index_batch *batch, size_t i)
{
    return slice_of(batch->bytes.data + batch->changes[i].head_at, batch->changes[i].head_bytes);
}

#endif
