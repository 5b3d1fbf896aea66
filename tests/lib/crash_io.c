/* The crash disk's calls of struct io, and the step that others count with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"

#include "lib/crash_state.h"

enum { FIRST_FD = 1000 }; /* so that a mix-up with real descriptors shows */

static struct crash_disk *disk_of(struct io *io)
{
    return container_of(io, struct crash_disk, io);
}

/* ---- around every I/O ---- */

/* The open file of `fd`, or NULL. Lock held. */
static struct open_file *file_of(struct crash_disk *d, int fd)
{
    if (fd < FIRST_FD || fd - FIRST_FD >= d->files_count) {
        return NULL;
    }
    return d->files[fd - FIRST_FD].node != NULL ? &d->files[fd - FIRST_FD] : NULL;
}

static void run_hook(struct crash_disk *d, const char *what, const char *path)
{
    if (d->hook != NULL) {
        d->hook(d->hook_ctx, what, path);
    }
}

/* Lock held from here; 0, or the reason to give up. */
static int enter_path(struct crash_disk *d, const char *what, const char *path)
{
    if (what != NULL) {
        run_hook(d, what, path);
    }
    pthread_mutex_lock(&d->lock);
    return d->off ? -EIO : 0;
}

static int enter_fd(struct crash_disk *d, const char *what, int fd, struct open_file *ret_file)
{
    struct open_file *f;

    if (what != NULL && d->hook != NULL) {
        const char *path;

        pthread_mutex_lock(&d->lock);
        f = file_of(d, fd);
        path = f != NULL ? f->path : "";
        pthread_mutex_unlock(&d->lock);
        run_hook(d, what, path);
    }
    pthread_mutex_lock(&d->lock);
    f = file_of(d, fd);
    if (f == NULL) {
        return d->off ? -EIO : -EBADF;
    }
    *ret_file = *f;
    return d->off ? -EIO : 0;
}

static int leave(struct crash_disk *d, int rc)
{
    pthread_mutex_unlock(&d->lock);
    return rc;
}

/* Count one mutating I/O. 0: do it, and end with `settled`; else it fails with the result
 * and changes nothing. *ret_short is lowered for a short write. Lock held. */
static int count_io(struct crash_disk *d, size_t *ret_short)
{
    d->io_count++;
    LIST_FOR_EACH (it, &d->faults) {
        const struct fault *fault = container_of(it, struct fault, link);

        if (fault->n != d->io_count) {
            continue;
        }
        if (fault->rc != 0) {
            return fault->rc;
        }
        if (ret_short != NULL && fault->short_bytes < *ret_short) {
            *ret_short = fault->short_bytes;
        }
    }
    return 0;
}

/* Power fails in the very I/O that off_at names: it is as un-synced as any. Lock held. */
static int settled(struct crash_disk *d, int rc)
{
    if (d->off_at != 0 && d->io_count >= d->off_at) {
        d->off = true;
        return -EIO;
    }
    return rc;
}

/* ---- files ---- */

static int add_file(struct crash_disk *d, struct crash_node *node, const char *path, int flags)
{
    if (d->files_count == d->files_cap) {
        d->files_cap = d->files_cap != 0 ? 2 * d->files_cap : 64;
        d->files = mem_realloc(d->files, (size_t)d->files_cap * sizeof *d->files);
    }
    d->files[d->files_count] =
        (struct open_file){.node = node, .path = mem_strdup(path), .flags = flags};
    node->open_count++;
    return FIRST_FD + d->files_count++;
}

static int open_locked(struct crash_disk *d, const char *path, int flags)
{
    struct crash_node *node = crash_tree_find(&d->tree, path);
    const char *name;
    int rc;

    if (node != NULL) {
        if ((flags & IO_OPEN_CREATE) && (flags & IO_OPEN_EXCLUSIVE)) {
            return -EEXIST;
        }
        return node->is_dir ? -EISDIR : add_file(d, node, path, flags);
    }
    if (!(flags & IO_OPEN_CREATE) || crash_tree_parent(&d->tree, path, &name) == NULL) {
        return -ENOENT;
    }
    rc = count_io(d, NULL);
    if (rc != 0) {
        return settled(d, rc);
    }
    node = crash_tree_create(&d->tree, d->io_count, path, false);
    rc = settled(d, 0);
    return rc != 0 ? rc : add_file(d, node, path, flags);
}

static int disk_open(struct io *io, const char *path, int flags)
{
    struct crash_disk *d = disk_of(io);
    int rc = enter_path(d, flags & IO_OPEN_CREATE ? "open" : "find", path);

    return leave(d, rc != 0 ? rc : open_locked(d, path, flags));
}

static int disk_close(struct io *io, int fd)
{
    struct crash_disk *d = disk_of(io);
    struct open_file *f;

    pthread_mutex_lock(&d->lock);
    f = file_of(d, fd);
    if (f == NULL) {
        return leave(d, d->off ? -EIO : -EBADF);
    }
    f->node->open_count--;
    f->node = NULL;
    free(f->path);
    f->path = NULL;
    return leave(d, d->off ? -EIO : 0);
}

/* The sum of the lengths; -EINVAL where direct I/O would refuse or there is too much. */
static ssize_t check_iov(const struct open_file *f, const struct iovec *iov, int iov_count,
                         uint64_t offset)
{
    size_t bytes = 0;
    uintptr_t odd = offset % CRASH_DIRECT_BYTES;

    for (int i = 0; i < iov_count; i++) {
        odd |= ((uintptr_t)iov[i].iov_base | iov[i].iov_len) % CRASH_DIRECT_BYTES;
        if (iov[i].iov_len > CRASH_FILE_BYTES_MAX - bytes) {
            return -EINVAL;
        }
        bytes += iov[i].iov_len;
    }
    if (iov_count < 0 || ((f->flags & IO_OPEN_DIRECT) && odd != 0)) {
        return -EINVAL;
    }
    return (ssize_t)bytes;
}

static int check_bad_place(struct crash_disk *d, const struct open_file *f, uint64_t offset,
                           size_t bytes)
{
    if (d->bad_rc != 0 && d->bad_offset >= offset && d->bad_offset - offset < bytes &&
        crash_tree_find(&d->tree, d->bad_path) == f->node) {
        return d->bad_rc;
    }
    return 0;
}

static ssize_t disk_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                           uint64_t offset)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    size_t done = 0;
    ssize_t bytes;
    int rc = enter_fd(d, "preadv", fd, &f);

    if (rc != 0) {
        return leave(d, rc);
    }
    bytes = check_iov(&f, iov, iov_count, offset);
    rc = bytes < 0 ? (int)bytes : check_bad_place(d, &f, offset, (size_t)bytes);
    if (rc != 0) {
        return leave(d, rc);
    }
    for (int i = 0; i < iov_count; i++) {
        size_t n = crash_file_read(f.node->file, iov[i].iov_base, iov[i].iov_len, offset + done);

        done += n;
        if (n < iov[i].iov_len) {
            break;
        }
    }
    d->stats.reads++;
    d->stats.read_bytes += done;
    leave(d, 0);
    return (ssize_t)done;
}

uint64_t crash_io_used_bytes(const struct crash_disk *d)
{
    uint64_t pages = 0;

    LIST_FOR_EACH (it, &d->tree.nodes) {
        const struct crash_node *node = container_of(it, struct crash_node, link);

        if (!node->is_dir && (node->linked || node->open_count != 0)) {
            pages += crash_file_pages_used(node->file);
        }
    }
    return pages * CRASH_PAGE_BYTES;
}

/* 0, -EFBIG or -ENOSPC. */
static int check_room(struct crash_disk *d, const struct open_file *f, uint64_t offset,
                      uint64_t bytes)
{
    uint64_t more;

    if (offset > CRASH_FILE_BYTES_MAX || bytes > CRASH_FILE_BYTES_MAX - offset) {
        return -EFBIG;
    }
    more = crash_file_pages_missing(f->node->file, offset, bytes) * CRASH_PAGE_BYTES;
    if (d->capacity_bytes != 0 && more != 0 && crash_io_used_bytes(d) + more > d->capacity_bytes) {
        return -ENOSPC;
    }
    return 0;
}

static ssize_t write_locked(struct crash_disk *d, const struct open_file *f,
                            const struct iovec *iov, int iov_count, uint64_t offset)
{
    ssize_t total = f->flags & IO_OPEN_WRITE ? check_iov(f, iov, iov_count, offset) : -EBADF;
    size_t bytes = total > 0 ? (size_t)total : 0;
    struct buf data = {0};
    int rc;

    if (total < 0) {
        return total;
    }
    rc = check_room(d, f, offset, bytes);
    if (rc == -EFBIG) {
        return rc;
    }
    if (rc != 0) {
        d->io_count++; /* a full disk was asked, at least */
        return settled(d, rc);
    }
    rc = count_io(d, &bytes);
    if (rc != 0) {
        return settled(d, rc);
    }
    for (int i = 0; i < iov_count; i++) {
        buf_put(&data, iov[i].iov_base, iov[i].iov_len);
    }
    crash_file_write(f->node->file, d->io_count, data.data, bytes, offset);
    buf_release(&data);
    d->stats.writes++;
    d->stats.write_bytes += bytes;
    rc = settled(d, 0);
    return rc != 0 ? rc : (ssize_t)bytes;
}

static ssize_t disk_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                            uint64_t offset)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    ssize_t n = enter_fd(d, "pwritev", fd, &f);

    if (n == 0) {
        n = write_locked(d, &f, iov, iov_count, offset);
    }
    leave(d, 0);
    return n;
}

static int disk_fdatasync(struct io *io, int fd)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    int rc = enter_fd(d, "fdatasync", fd, &f);

    if (rc != 0) {
        return leave(d, rc);
    }
    d->stats.fdatasyncs++;
    rc = count_io(d, NULL);
    if (rc != 0) {
        crash_file_sync_failed(f.node->file);
    } else if (settled(d, 0) != 0) {
        d->off_in_sync = f.node;
        rc = -EIO;
    } else {
        d->stats.fdatasync_bytes += crash_file_sync(f.node->file);
    }
    return leave(d, settled(d, rc));
}

static int truncate_locked(struct crash_disk *d, const struct open_file *f, uint64_t size_bytes)
{
    int rc;

    if (!(f->flags & IO_OPEN_WRITE)) {
        return -EINVAL;
    }
    if (size_bytes > CRASH_FILE_BYTES_MAX) {
        return -EFBIG;
    }
    rc = count_io(d, NULL);
    if (rc == 0) {
        crash_file_truncate(f->node->file, d->io_count, size_bytes);
    }
    return settled(d, rc);
}

static int disk_truncate(struct io *io, int fd, uint64_t size_bytes)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    int rc = enter_fd(d, "truncate", fd, &f);

    return leave(d, rc != 0 ? rc : truncate_locked(d, &f, size_bytes));
}

static int allocate_locked(struct crash_disk *d, const struct open_file *f,
                           enum io_allocate_mode mode, uint64_t offset, uint64_t bytes)
{
    int rc = check_room(d, f, offset, mode == IO_ALLOCATE ? bytes : 0);

    if (!(f->flags & IO_OPEN_WRITE)) {
        return -EBADF;
    }
    if (bytes == 0) {
        return -EINVAL;
    }
    if (rc == -EFBIG || bytes > CRASH_FILE_BYTES_MAX - offset) {
        return -EFBIG;
    }
    if (rc != 0) {
        d->io_count++;
        return settled(d, rc);
    }
    rc = count_io(d, NULL);
    if (rc == 0 && mode == IO_ALLOCATE) {
        crash_file_reserve(f->node->file, d->io_count, offset, bytes);
    } else if (rc == 0) {
        crash_file_zero(f->node->file, d->io_count, offset, bytes, mode == IO_PUNCH_HOLE);
    }
    return settled(d, rc);
}

static int disk_allocate(struct io *io, int fd, enum io_allocate_mode mode, uint64_t offset,
                         uint64_t bytes)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    int rc = enter_fd(d, "allocate", fd, &f);

    return leave(d, rc != 0 ? rc : allocate_locked(d, &f, mode, offset, bytes));
}

static int disk_size(struct io *io, int fd, uint64_t *ret_bytes)
{
    struct crash_disk *d = disk_of(io);
    struct open_file f;
    int rc = enter_fd(d, NULL, fd, &f);

    if (rc == 0) {
        *ret_bytes = crash_file_size(f.node->file);
    }
    return leave(d, rc);
}

/* ---- names ---- */

static int unlink_locked(struct crash_disk *d, const char *path)
{
    const struct crash_node *node = crash_tree_find(&d->tree, path);
    int rc;

    if (node == NULL || node->is_dir) {
        return node == NULL ? -ENOENT : -EISDIR;
    }
    rc = count_io(d, NULL);
    if (rc == 0) {
        crash_tree_unlink(&d->tree, d->io_count, path);
    }
    return settled(d, rc);
}

static int disk_unlink(struct io *io, const char *path)
{
    struct crash_disk *d = disk_of(io);
    int rc = enter_path(d, "unlink", path);

    return leave(d, rc != 0 ? rc : unlink_locked(d, path));
}

static int rename_locked(struct crash_disk *d, const char *from, const char *to)
{
    const struct crash_node *node = crash_tree_find(&d->tree, from);
    const struct crash_node *old = crash_tree_find(&d->tree, to);
    const char *name;
    int rc;

    if (node == NULL || crash_tree_parent(&d->tree, to, &name) == NULL) {
        return -ENOENT;
    }
    if (old != NULL && old->is_dir != node->is_dir) {
        return old->is_dir ? -EISDIR : -ENOTDIR;
    }
    if (old != NULL && old->is_dir && !crash_tree_is_empty(old)) {
        return -ENOTEMPTY;
    }
    if (old == node) {
        return 0;
    }
    rc = count_io(d, NULL);
    if (rc == 0) {
        crash_tree_rename(&d->tree, d->io_count, from, to);
    }
    return settled(d, rc);
}

static int disk_rename(struct io *io, const char *from, const char *to)
{
    struct crash_disk *d = disk_of(io);
    int rc = enter_path(d, "rename", from);

    return leave(d, rc != 0 ? rc : rename_locked(d, from, to));
}

static int mkdir_locked(struct crash_disk *d, const char *path)
{
    const char *name;
    int rc;

    if (crash_tree_find(&d->tree, path) != NULL) {
        return -EEXIST;
    }
    if (crash_tree_parent(&d->tree, path, &name) == NULL) {
        return -ENOENT;
    }
    rc = count_io(d, NULL);
    if (rc == 0) {
        crash_tree_create(&d->tree, d->io_count, path, true);
    }
    return settled(d, rc);
}

static int disk_mkdir(struct io *io, const char *path)
{
    struct crash_disk *d = disk_of(io);
    int rc = enter_path(d, "mkdir", path);

    return leave(d, rc != 0 ? rc : mkdir_locked(d, path));
}

static int sync_dir_locked(struct crash_disk *d, const char *path)
{
    struct crash_node *dir = crash_tree_find(&d->tree, path);
    int rc;

    if (dir == NULL || !dir->is_dir) {
        return dir == NULL ? -ENOENT : -ENOTDIR;
    }
    d->stats.dir_syncs++;
    rc = count_io(d, NULL);
    if (rc == 0 && settled(d, 0) != 0) {
        d->off_in_sync = dir;
    } else if (rc == 0) {
        crash_tree_sync(&d->tree, dir);
        crash_tree_collect(&d->tree);
    }
    return settled(d, rc);
}

static int disk_sync_dir(struct io *io, const char *path)
{
    struct crash_disk *d = disk_of(io);
    int rc = enter_path(d, "sync_dir", path);

    return leave(d, rc != 0 ? rc : sync_dir_locked(d, path));
}

static int disk_list_dir(struct io *io, const char *path, io_list_cb cb, void *ctx)
{
    struct crash_disk *d = disk_of(io);
    const struct crash_node *dir;
    struct buf names = {0};
    int rc = enter_path(d, NULL, path);

    if (rc == 0) {
        dir = crash_tree_find(&d->tree, path);
        rc = dir == NULL ? -ENOENT : dir->is_dir ? 0 : -ENOTDIR;
        if (rc == 0) {
            crash_tree_list(dir, &names);
        }
    }
    leave(d, 0);
    for (size_t at = 0; at < names.len;) {
        const char *name = (const char *)names.data + at;

        if (!cb(ctx, name)) {
            break;
        }
        at += strlen(name) + 1;
    }
    buf_release(&names);
    return rc;
}

const struct io_ops crash_io_ops = {
    .open = disk_open,
    .close = disk_close,
    .preadv = disk_preadv,
    .pwritev = disk_pwritev,
    .fdatasync = disk_fdatasync,
    .truncate = disk_truncate,
    .allocate = disk_allocate,
    .size = disk_size,
    .unlink = disk_unlink,
    .rename = disk_rename,
    .mkdir = disk_mkdir,
    .sync_dir = disk_sync_dir,
    .list_dir = disk_list_dir,
};

int crash_disk_step(struct crash_disk *d, bool *ret_maybe)
{
    int rc = enter_path(d, "step", "");
    bool was_on = rc == 0;

    if (was_on) {
        rc = settled(d, count_io(d, NULL));
    }
    if (ret_maybe != NULL) {
        *ret_maybe = was_on && d->off;
    }
    return leave(d, rc);
}
