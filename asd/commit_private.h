/* The batch while it is being committed. Commit thread only; private to commit*.c. */
#ifndef ASD_COMMIT_PRIVATE_H
#define ASD_COMMIT_PRIVATE_H

#include "asd/store_private.h"
#include "base/table.h"

/* One update of one member. */
struct commit_change {
    const struct asd_update *update; /* NULL: a later one of the member is on the same key */
    uint32_t crc;
    struct asd_place place;
    UT_hash_handle hh; /* while the member is planned */
};

struct commit_member {
    struct asd_store_apply *apply;
    struct commit_change *changes;
};

/* A key that the batch looks at. */
struct commit_key {
    struct slice key;                /* borrowed from the first assert or update on it */
    bool exists;                     /* these: committed */
    bool damaged;                    /* its record fails its checks: only good to be replaced */
    struct asd_value_record old;     /* without the inline bytes */
    const struct commit_change *now; /* by members of this batch; NULL: as committed */
    UT_hash_handle hh;
};

struct commit_batch {
    struct asd_store *store;
    struct asd_commit *commit;
    struct commit_member *members;
    size_t member_count;
    struct commit_key *keys;
    struct asd_index_batch index;
    struct list frees;
    uint64_t used_bytes;
    uint64_t slab_write_bytes;
    bool has_moves;
    struct buf scratch; /* index key */
    struct buf record;
};

/* Is what `m` is to move where it was, as committed? 0, ERR_ASSERT_FAILED, or what else stops
 * this member only. */
int commit_move_check(struct commit_batch *b, struct commit_member *m);
/* Judge the asserts of `m`, or whether it still may move its value; if they hold, its changes are
 * what later members see. 0, ERR_ASSERT_FAILED, or what else stops this member only. */
int commit_judge(struct commit_batch *b, struct commit_member *m);
/* ERR_CHECKSUM, naming the key, if the value is not what its sender says and the store is to
 * look. `crc`: CRC-32C of the value. */
int commit_checksum(const struct commit_batch *b, const struct asd_update *u, uint32_t crc,
                    struct err *e);
/* Valid until the next call. */
struct slice commit_index_key(struct commit_batch *b, struct slice client_key);

#endif
