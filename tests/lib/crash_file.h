/* One file of the crash disk: what reads see, what is durable, and the changes between
 * the two that have not been synced. No locks, no failures; crash_disk.c has those. */
#ifndef TESTS_LIB_CRASH_FILE_H
#define TESTS_LIB_CRASH_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rnd.h"

#include "lib/crash_disk.h"

enum { CRASH_PAGE_BYTES = 4096 };
#define CRASH_FILE_BYTES_MAX (UINT64_C(16) << 30)

/* How a reboot settles un-synced changes. */
struct crash_choice {
    enum crash_mode mode;
    struct rnd *rnd;
    unsigned keep_percent; /* RANDOM */
    uint64_t seq_min;      /* REVERSED: changes from this number on survive */
};

struct crash_file;

struct crash_file *crash_file_new(void);
void crash_file_free(struct crash_file *f); /* NULL is fine */

uint64_t crash_file_size(const struct crash_file *f);
/* Pages that hold or reserve space, and those that a write or reservation would add. */
uint64_t crash_file_pages_used(const struct crash_file *f);
uint64_t crash_file_pages_missing(const struct crash_file *f, uint64_t offset, uint64_t bytes);

/* Ranges lie below CRASH_FILE_BYTES_MAX. `seq` is the number of the I/O, rising. */
size_t crash_file_read(const struct crash_file *f, void *ret_data, size_t bytes, uint64_t offset);
void crash_file_write(struct crash_file *f, uint64_t seq, const void *data, size_t bytes,
                      uint64_t offset);
void crash_file_truncate(struct crash_file *f, uint64_t seq, uint64_t size_bytes);
void crash_file_reserve(struct crash_file *f, uint64_t seq, uint64_t offset, uint64_t bytes);
/* `punch` gives the space back. */
void crash_file_zero(struct crash_file *f, uint64_t seq, uint64_t offset, uint64_t bytes,
                     bool punch);

/* Make everything durable but what an earlier failed sync lost; bytes written since. */
uint64_t crash_file_sync(struct crash_file *f);
/* The changes so far may be lost, whatever later syncs say. */
void crash_file_sync_failed(struct crash_file *f);

/* Append the number of each un-synced change (u64). */
void crash_file_list_changes(const struct crash_file *f, struct buf *seqs);
/* Power loss: what is left is durable, and what reads see. */
void crash_file_settle(struct crash_file *f, const struct crash_choice *choice);

/* false past the end. */
bool crash_file_corrupt(struct crash_file *f, uint64_t offset);

/* One draw for one un-synced change. */
bool crash_choice_keep(const struct crash_choice *choice, uint64_t seq);

#endif
