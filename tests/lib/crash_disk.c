#include "lib/crash_disk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

#include "lib/crash_state.h"

struct crash_disk *crash_disk_new(uint64_t seed)
{
    struct crash_disk *d = mem_zalloc(sizeof *d);

    d->io.ops = &crash_io_ops;
    d->seed = seed;
    list_init(&d->attached);
    list_init(&d->faults);
    pthread_mutex_init(&d->lock, NULL);
    crash_tree_init(&d->tree);
    return d;
}

static void clear_faults(struct crash_disk *d)
{
    LIST_FOR_EACH_SAFE (it, &d->faults) {
        list_remove(it);
        free(container_of(it, struct fault, link));
    }
}

/* Also those that a component did not close: its process is gone. */
static void forget_files(struct crash_disk *d)
{
    for (int i = 0; i < d->files_count; i++) {
        d->files[i].node = NULL;
        free(d->files[i].path);
        d->files[i].path = NULL;
    }
}

void crash_disk_free(struct crash_disk *d)
{
    if (d == NULL) {
        return;
    }
    forget_files(d);
    clear_faults(d);
    LIST_FOR_EACH_SAFE (it, &d->attached) {
        free(container_of(it, struct attached, link));
    }
    crash_tree_release(&d->tree);
    pthread_mutex_destroy(&d->lock);
    free(d->files);
    free(d->bad_path);
    free(d);
}

struct io *crash_disk_io(struct crash_disk *d)
{
    return &d->io;
}

/* ---- power ---- */

uint64_t crash_disk_io_count(struct crash_disk *d)
{
    uint64_t n;

    pthread_mutex_lock(&d->lock);
    n = d->io_count;
    pthread_mutex_unlock(&d->lock);
    return n;
}

void crash_disk_power_off_at(struct crash_disk *d, uint64_t n)
{
    pthread_mutex_lock(&d->lock);
    d->off_at = n;
    pthread_mutex_unlock(&d->lock);
}

void crash_disk_power_off(struct crash_disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->off = true;
    pthread_mutex_unlock(&d->lock);
}

bool crash_disk_is_off(struct crash_disk *d)
{
    bool off;

    pthread_mutex_lock(&d->lock);
    off = d->off;
    pthread_mutex_unlock(&d->lock);
    return off;
}

unsigned crash_disk_open_count(struct crash_disk *d)
{
    unsigned count = 0;

    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < d->files_count; i++) {
        count += d->files[i].node != NULL;
    }
    pthread_mutex_unlock(&d->lock);
    return count;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = get_u64le(a), y = get_u64le(b);

    return x > y ? -1 : x < y;
}

/* The number of the (nth + 1)-newest un-synced change; 0 when there are fewer. */
static uint64_t newest_change(const struct crash_disk *d, uint64_t nth)
{
    struct buf seqs = {0};
    uint64_t seq = 0;

    crash_tree_list_changes(&d->tree, &seqs);
    if (seqs.len != 0) {
        qsort(seqs.data, seqs.len / 8, 8, descending);
    }
    if (nth < seqs.len / 8) {
        seq = get_u64le(seqs.data + nth * 8);
    }
    buf_release(&seqs);
    return seq;
}

/* Power failed inside a sync: sometimes it had done all its work. */
static void finish_sync(struct crash_disk *d, struct rnd *rnd)
{
    if (d->off_in_sync == NULL || rnd_below(rnd, 3) != 0) {
        return;
    }
    if (d->off_in_sync->is_dir) {
        crash_tree_sync(&d->tree, d->off_in_sync);
    } else {
        crash_file_sync(d->off_in_sync->file);
    }
}

void crash_disk_reboot(struct crash_disk *d, enum crash_mode mode, uint64_t seed)
{
    static const unsigned keep_percents[] = {10, 50, 90};
    struct rnd rnd = rnd_seed(d->seed * 0x9e3779b97f4a7c15u + seed);
    struct crash_choice choice = {.mode = mode, .rnd = &rnd};

    pthread_mutex_lock(&d->lock);
    choice.keep_percent = keep_percents[rnd_below(&rnd, 3)];
    if (mode == CRASH_RANDOM) {
        finish_sync(d, &rnd);
    } else if (mode == CRASH_REVERSED) {
        choice.seq_min = newest_change(d, seed);
    }
    crash_tree_settle(&d->tree, &choice);
    forget_files(d);
    clear_faults(d);
    d->off_in_sync = NULL;
    d->off_at = 0;
    d->off = false;
    pthread_mutex_unlock(&d->lock);

    LIST_FOR_EACH (it, &d->attached) {
        const struct attached *a = container_of(it, struct attached, link);

        a->cb(a->ctx, mode, &rnd);
    }
}

/* ---- faults ---- */

static void add_fault(struct crash_disk *d, uint64_t n, int rc, size_t short_bytes)
{
    struct fault *fault = mem_zalloc(sizeof *fault);

    *fault = (struct fault){.n = n, .rc = rc, .short_bytes = short_bytes};
    pthread_mutex_lock(&d->lock);
    list_push(&d->faults, &fault->link);
    pthread_mutex_unlock(&d->lock);
}

void crash_disk_fail_at(struct crash_disk *d, uint64_t n, int rc)
{
    CHECK(rc < 0);
    add_fault(d, n, rc, 0);
}

void crash_disk_short_write_at(struct crash_disk *d, uint64_t n, size_t bytes)
{
    add_fault(d, n, 0, bytes);
}

void crash_disk_fail_reads(struct crash_disk *d, const char *path, uint64_t offset, int rc)
{
    pthread_mutex_lock(&d->lock);
    free(d->bad_path);
    d->bad_path = mem_strdup(path);
    d->bad_offset = offset;
    d->bad_rc = rc;
    pthread_mutex_unlock(&d->lock);
}

void crash_disk_set_capacity(struct crash_disk *d, uint64_t bytes)
{
    pthread_mutex_lock(&d->lock);
    d->capacity_bytes = bytes;
    pthread_mutex_unlock(&d->lock);
}

uint64_t crash_disk_used_bytes(struct crash_disk *d)
{
    uint64_t bytes;

    pthread_mutex_lock(&d->lock);
    bytes = crash_io_used_bytes(d);
    pthread_mutex_unlock(&d->lock);
    return bytes;
}

int crash_disk_corrupt(struct crash_disk *d, const char *path, uint64_t offset)
{
    const struct crash_node *node;
    int rc = 0;

    pthread_mutex_lock(&d->lock);
    node = crash_tree_find(&d->tree, path);
    if (node == NULL || node->is_dir) {
        rc = -ENOENT;
    } else if (!crash_file_corrupt(node->file, offset)) {
        rc = -EINVAL;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* ---- seeing, holding, taking part ---- */

struct crash_disk_stats crash_disk_stats(struct crash_disk *d)
{
    struct crash_disk_stats stats;

    pthread_mutex_lock(&d->lock);
    stats = d->stats;
    pthread_mutex_unlock(&d->lock);
    return stats;
}

void crash_disk_set_hook(struct crash_disk *d, crash_disk_hook_cb cb, void *ctx)
{
    d->hook = cb;
    d->hook_ctx = ctx;
}

void crash_disk_attach(struct crash_disk *d, crash_disk_reboot_cb cb, void *ctx)
{
    struct attached *a = mem_zalloc(sizeof *a);

    a->cb = cb;
    a->ctx = ctx;
    list_push(&d->attached, &a->link);
}

void crash_disk_detach(struct crash_disk *d, void *ctx)
{
    LIST_FOR_EACH_SAFE (it, &d->attached) {
        struct attached *a = container_of(it, struct attached, link);

        if (a->ctx == ctx) {
            list_remove(it);
            free(a);
        }
    }
}
