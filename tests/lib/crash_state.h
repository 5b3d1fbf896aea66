/* The crash disk's inside, shared by its calls of struct io (crash_io.c) and its
 * controls (crash_disk.c). */
#ifndef TESTS_LIB_CRASH_STATE_H
#define TESTS_LIB_CRASH_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#include "lib/crash_disk.h"
#include "lib/crash_tree.h"

struct open_file {
    struct crash_node *node; /* NULL: closed */
    char *path;
    int flags;
};

struct fault {
    struct list link;
    uint64_t n;
    int rc; /* 0: a short write */
    size_t short_bytes;
};

struct attached {
    struct list link;
    crash_disk_reboot_cb cb;
    void *ctx;
};

struct crash_disk {
    struct io io;
    uint64_t seed;
    crash_disk_hook_cb hook; /* these change only while no I/O runs */
    void *hook_ctx;
    struct list attached;

    pthread_mutex_t lock; /* all below */
    struct crash_tree tree;
    struct open_file *files; /* by descriptor; none is used twice */
    int files_count, files_cap;
    uint64_t io_count;
    uint64_t off_at; /* 0: never */
    bool off;
    struct crash_node *off_in_sync; /* power failed in the sync of this */
    struct list faults;
    char *bad_path; /* crash_disk_fail_reads */
    uint64_t bad_offset;
    int bad_rc;
    uint64_t capacity_bytes;
    struct crash_disk_stats stats;
};

extern const struct io_ops crash_io_ops;

/* Bytes that files hold and reserve, but for those without name and descriptor. Lock held. */
uint64_t crash_io_used_bytes(const struct crash_disk *d);

#endif
