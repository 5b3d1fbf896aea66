#include "loop/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Repeats `call` while a signal interrupts it; gives its result or -errno. */
#define RETRY(call)                                                                                \
    __extension__({                                                                                \
        ssize_t ret_;                                                                              \
        do {                                                                                       \
            ret_ = (call);                                                                         \
        } while (ret_ < 0 && errno == EINTR);                                                      \
        ret_ < 0 ? -errno : ret_;                                                                  \
    })

static int real_open(struct io *io, const char *path, int flags)
{
    int os = O_CLOEXEC | (flags & IO_OPEN_WRITE ? O_RDWR : O_RDONLY);
    int fd;

    (void)io;
    os |= flags & IO_OPEN_CREATE ? O_CREAT : 0;
    os |= flags & IO_OPEN_EXCLUSIVE ? O_EXCL : 0;
    if (flags & IO_OPEN_DIRECT) {
        fd = (int)RETRY(open(path, os | O_DIRECT, 0640));
        if (fd != -EINVAL) {
            return fd;
        }
        /* This file system has no O_DIRECT (it may have made the file before it said so). */
        os &= ~O_EXCL;
    }
    return (int)RETRY(open(path, os, 0640));
}

static int real_close(struct io *io, int fd)
{
    (void)io;
    /* Linux has closed the descriptor even when it reports EINTR. */
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

static ssize_t real_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                           uint64_t offset)
{
    (void)io;
    return RETRY(preadv(fd, iov, iov_count < IOV_MAX ? iov_count : IOV_MAX, (off_t)offset));
}

static ssize_t real_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                            uint64_t offset)
{
    (void)io;
    return RETRY(pwritev(fd, iov, iov_count < IOV_MAX ? iov_count : IOV_MAX, (off_t)offset));
}

static int real_fdatasync(struct io *io, int fd)
{
    (void)io;
    return (int)RETRY(fdatasync(fd));
}

static int real_truncate(struct io *io, int fd, uint64_t size_bytes)
{
    (void)io;
    return (int)RETRY(ftruncate(fd, (off_t)size_bytes));
}

static int real_size(struct io *io, int fd, uint64_t *ret_bytes)
{
    struct stat st;

    (void)io;
    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int write_zeroes(struct io *io, int fd, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeroes[1 << 16] __attribute__((aligned(4096)));
    uint64_t end = 0;
    int rc = real_size(io, fd, &end);

    if (rc == 0 && offset < end && bytes < end - offset) {
        end = offset + bytes;
    }
    while (rc == 0 && offset < end) {
        size_t n = end - offset < sizeof zeroes ? (size_t)(end - offset) : sizeof zeroes;

        rc = io_write_full(io, fd, zeroes, n, offset);
        offset += n;
    }
    return rc;
}

static int real_allocate(struct io *io, int fd, enum io_allocate_mode mode, uint64_t offset,
                         uint64_t bytes)
{
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    off_t at = (off_t)offset;
    off_t length = (off_t)bytes;
    int rc;

    switch (mode) {
    case IO_ALLOCATE:
        return (int)RETRY(fallocate(fd, 0, at, length));
    case IO_PUNCH_HOLE:
        return (int)RETRY(fallocate(fd, punch, at, length));
    case IO_ZERO:
    default:
        rc = (int)RETRY(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, length));
        if (rc == -EOPNOTSUPP) {
            rc = (int)RETRY(fallocate(fd, punch, at, length));
        }
        return rc == -EOPNOTSUPP ? write_zeroes(io, fd, offset, bytes) : rc;
    }
}

static int real_unlink(struct io *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 ? 0 : -errno;
}

static int real_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int real_mkdir(struct io *io, const char *path)
{
    (void)io;
    return mkdir(path, 0750) == 0 ? 0 : -errno;
}

static int real_sync_dir(struct io *io, const char *path)
{
    int fd = (int)RETRY(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int rc;

    if (fd < 0) {
        return fd;
    }
    rc = (int)RETRY(fsync(fd));
    real_close(io, fd);
    return rc;
}

static int real_list_dir(struct io *io, const char *path, io_list_cb cb, void *ctx)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc;

    (void)io;
    if (dir == NULL) {
        return -errno;
    }
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!cb(ctx, entry->d_name)) {
            rc = 0;
            break;
        }
    }
    closedir(dir);
    return rc;
}

static int real_os_fd(struct io *io, int fd)
{
    (void)io;
    return fd;
}

struct io *io_real(void)
{
    static const struct io_ops ops = {
        .open = real_open,
        .close = real_close,
        .preadv = real_preadv,
        .pwritev = real_pwritev,
        .fdatasync = real_fdatasync,
        .truncate = real_truncate,
        .allocate = real_allocate,
        .size = real_size,
        .unlink = real_unlink,
        .rename = real_rename,
        .mkdir = real_mkdir,
        .sync_dir = real_sync_dir,
        .list_dir = real_list_dir,
        .os_fd = real_os_fd,
    };
    static struct io real = {.ops = &ops};

    return &real;
}
