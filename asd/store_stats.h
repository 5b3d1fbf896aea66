/* What a store has done and holds: counters since it was opened, and a few states. */
#ifndef ASD_STORE_STATS_H
#define ASD_STORE_STATS_H

#include <stdbool.h>
#include <stdint.h>

struct asd_store_stats {
    uint64_t used_bytes, capacity_bytes, slab_count;
    uint64_t applies, asserts_failed, refused_full, refused_checksum, updates;
    uint64_t batches, fdatasyncs, index_syncs;
    uint64_t slab_write_bytes, index_write_bytes;
    uint64_t reads, reads_hot /* of them: no thread was needed */, read_bytes, bad_values,
        read_errors;
    uint64_t result_bytes /* held now */, reads_waiting /* for memory of results, now */;
    uint64_t frees, frees_pending /* with dead slabs */, punches, punched_bytes, slabs_unlinked;
    uint64_t moves, moves_lost /* to a change of the key */, moved_bytes;
    uint64_t slabs_evacuated, slabs_stuck /* are there, and could not be emptied */;
    bool evacuating; /* a slab is being emptied, or is about to be */
};

#endif
