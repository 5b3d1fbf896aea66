/* Crash-enumerating disk: a struct io in memory that can lose power at any I/O.
 *
 * It keeps un-synced bytes, sizes and directory entries apart from what is durable.
 * Each mutating I/O counts one: write, truncate, allocate, create (an open that makes
 * the file), rename, unlink, mkdir, fdatasync, sync_dir, crash_disk_step. Calls that
 * are refused (bad path, bad alignment, power off) do not count. Numbers start at 1
 * and go on over reboots.
 *
 *   for (n = 1;; n++) {
 *       d = crash_disk_new(seed);
 *       crash_disk_power_off_at(d, n);
 *       run the workload until it ends or fails, close everything;
 *       done = !crash_disk_is_off(d);
 *       crash_disk_reboot(d, CRASH_RANDOM, seed);
 *       open again, compare with the model;
 *   }
 *
 * What a reboot may leave behind:
 * - a sector (512 bytes) holds its durable content or that of any un-synced write to
 *   it, each sector for itself; with part of a sector written, what the page cache
 *   held after that write;
 * - the size is the durable one or any un-synced one; bytes that were never written
 *   read as zero, as do bytes that come back when a cut file grows again;
 * - un-synced creates, renames, unlinks and mkdirs are kept or lost each for itself, but
 *   one that is kept brings the earlier ones of the same name or file along; a rename
 *   leaves the old name or the new one, never both or neither, and is durable after
 *   sync_dir of the new name's directory;
 * - a name may be lost though the file's bytes were synced.
 * After a failed fdatasync the bytes that it should have made durable may be lost for
 * ever, though reads show them and later fdatasyncs report success, as on Linux.
 *
 * Any thread, but for the calls marked [quiet]: no I/O may run beside those. */
#ifndef TESTS_LIB_CRASH_DISK_H
#define TESTS_LIB_CRASH_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rnd.h"
#include "loop/io.h"

enum { CRASH_SECTOR_BYTES = 512, CRASH_DIRECT_BYTES = 4096 };

enum crash_mode {
    CRASH_KEEP_ALL, /* all un-synced things survive, the interrupted I/O too */
    CRASH_DROP_ALL, /* only what is durable */
    CRASH_RANDOM,   /* keeps, drops, tears and reorders, repeatable by the seed */
    CRASH_REVERSED, /* only the newest seed + 1 un-synced things survive */
};

struct crash_disk;

struct crash_disk_stats {
    uint64_t writes;
    uint64_t write_bytes;
    uint64_t reads;
    uint64_t read_bytes;
    uint64_t fdatasyncs;
    uint64_t fdatasync_bytes; /* written bytes that an fdatasync made durable */
    uint64_t dir_syncs;
};

/* Empty, power on, with the directory "/". Paths are looked up from there. */
struct crash_disk *crash_disk_new(uint64_t seed);
void crash_disk_free(struct crash_disk *d); /* [quiet]; NULL is fine */
struct io *crash_disk_io(struct crash_disk *d);

/* ---- power ---- */

/* Mutating I/Os so far. */
uint64_t crash_disk_io_count(struct crash_disk *d);
/* Mutating I/O number `n` fails with -EIO, though it may happen in part, and so does
 * every later call, reads too, until reboot. 0: never. */
void crash_disk_power_off_at(struct crash_disk *d, uint64_t n);
void crash_disk_power_off(struct crash_disk *d); /* now */
bool crash_disk_is_off(struct crash_disk *d);
/* Lose power if it is on, settle what was un-synced, switch on. Descriptors from before
 * give -EBADF; faults and power_off_at that were set are cleared. [quiet] */
void crash_disk_reboot(struct crash_disk *d, enum crash_mode mode, uint64_t seed);
/* Descriptors not closed yet: 0 after a clean (or failed) shutdown of a component. */
unsigned crash_disk_open_count(struct crash_disk *d);

/* ---- faults ---- */

/* Exactly the n-th mutating I/O fails with `rc` (-EIO, -ENOSPC, ...) and changes nothing.
 * Several may be set. */
void crash_disk_fail_at(struct crash_disk *d, uint64_t n, int rc);
/* Mutating I/O `n`, if it is a write, stops after `bytes`. */
void crash_disk_short_write_at(struct crash_disk *d, uint64_t n, size_t bytes);
/* Reads of the file `path` that touch `offset` fail with `rc`; 0 takes it back. One per
 * disk; a reboot keeps it. */
void crash_disk_fail_reads(struct crash_disk *d, const char *path, uint64_t offset, int rc);
/* Files may hold this much in 4 KiB pages, then -ENOSPC. 0 (as new): no limit. */
void crash_disk_set_capacity(struct crash_disk *d, uint64_t bytes);
uint64_t crash_disk_used_bytes(struct crash_disk *d);
/* Change one byte of a file, durably, unseen. 0, -ENOENT, or -EINVAL past the end. */
int crash_disk_corrupt(struct crash_disk *d, const char *path, uint64_t offset);

/* ---- seeing and holding I/O ---- */

struct crash_disk_stats crash_disk_stats(struct crash_disk *d);

/* Runs before each mutating I/O and each read, in the calling thread and outside the
 * lock; it may block to hold the I/O. `what` is the name in struct io_ops, "find" for
 * an open() that creates nothing, or "step"; `path` is as opened ("" for a step). [quiet] */
typedef void (*crash_disk_hook_cb)(void *ctx, const char *what, const char *path);
void crash_disk_set_hook(struct crash_disk *d, crash_disk_hook_cb cb, void *ctx);

/* ---- other durable things that take part, such as a double of the RocksDB index ---- */

/* Count one I/O: 0, or what it fails with. *ret_maybe (may be NULL) is true when power
 * failed in this very I/O: it may or may not have happened, the reboot callback decides. */
int crash_disk_step(struct crash_disk *d, bool *ret_maybe);
/* `cb` runs within crash_disk_reboot and settles what was un-synced: in CRASH_RANDOM by
 * `rnd`; KEEP_ALL keeps; DROP_ALL drops; REVERSED as suits it. [quiet] */
typedef void (*crash_disk_reboot_cb)(void *ctx, enum crash_mode mode, struct rnd *rnd);
void crash_disk_attach(struct crash_disk *d, crash_disk_reboot_cb cb, void *ctx);
void crash_disk_detach(struct crash_disk *d, void *ctx);

#endif
