#include "loop/io.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

int io_read_full(struct io *io, int fd, void *ret_data, size_t bytes, uint64_t offset)
{
    uint8_t *at = ret_data;

    while (bytes != 0) {
        struct iovec iov = {.iov_base = at, .iov_len = bytes};
        ssize_t n = io->ops->preadv(io, fd, &iov, 1, offset);

        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return ERR_CORRUPT;
        }
        at += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int io_write_full(struct io *io, int fd, const void *data, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};

    return io_writev_full(io, fd, &iov, 1, offset);
}

/* The first `bytes` of it are done with. */
static void iov_advance(struct iovec **iov, int *iov_count, size_t bytes)
{
    while (*iov_count != 0 && bytes >= (*iov)->iov_len) {
        bytes -= (*iov)->iov_len;
        (*iov)++;
        (*iov_count)--;
    }
    if (bytes != 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
        (*iov)->iov_len -= bytes;
    }
}

int io_write_direct(struct io *io, int fd, const void *data, size_t bytes, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};

    return io_writev_direct(io, fd, &iov, 1, offset);
}

int io_writev_direct(struct io *io, int fd, struct iovec *iov, int iov_count, uint64_t offset)
{
    bool stuck = false;

    for (iov_advance(&iov, &iov_count, 0); iov_count != 0;) {
        ssize_t written = io->ops->pwritev(io, fd, iov, iov_count, offset);
        size_t whole;

        if (written < 0) {
            return (int)written;
        }
        whole = (size_t)written / IO_DIRECT_BYTES * IO_DIRECT_BYTES;
        if (whole == 0 && stuck) {
            return ERR_SHORT_WRITE;
        }
        stuck = whole == 0;
        iov_advance(&iov, &iov_count, whole);
        offset += whole;
    }
    return 0;
}

int io_writev_full(struct io *io, int fd, struct iovec *iov, int iov_count, uint64_t offset)
{
    for (iov_advance(&iov, &iov_count, 0); iov_count != 0;) {
        ssize_t written = io->ops->pwritev(io, fd, iov, iov_count, offset);

        if (written < 0) {
            return (int)written;
        }
        if (written == 0) {
            return ERR_SHORT_WRITE;
        }
        offset += (uint64_t)written;
        iov_advance(&iov, &iov_count, (size_t)written);
    }
    return 0;
}

int io_load_file(struct io *io, const char *path, size_t bytes_max, uint8_t **ret_data,
                 size_t *ret_bytes)
{
    uint8_t *data = NULL;
    uint64_t bytes = 0;
    int fd, rc;

    fd = io->ops->open(io, path, IO_OPEN_READ);
    if (fd < 0) {
        return fd;
    }
    rc = io->ops->size(io, fd, &bytes);
    if (rc != 0) {
        goto out;
    }
    if (bytes > bytes_max) {
        rc = ERR_TOO_LARGE;
        goto out;
    }
    data = mem_alloc((size_t)bytes);
    rc = io_read_full(io, fd, data, (size_t)bytes, 0);
    if (rc == 0) {
        *ret_data = data;
        *ret_bytes = (size_t)bytes;
        data = NULL;
    }

out:
    io->ops->close(io, fd);
    free(data);
    return rc;
}

/* The file `path` holds `data` and nothing else, durably; its name may be lost. */
static int write_whole(struct io *io, const char *path, const void *data, size_t bytes)
{
    int fd = io->ops->open(io, path, IO_OPEN_WRITE | IO_OPEN_CREATE);
    uint64_t old_bytes = 0;
    int rc, close_rc;

    if (fd < 0) {
        return fd;
    }
    rc = io->ops->size(io, fd, &old_bytes);
    if (rc == 0 && old_bytes != 0) { /* left behind by a crash */
        rc = io->ops->truncate(io, fd, 0);
    }
    if (rc == 0) {
        rc = io_write_full(io, fd, data, bytes, 0);
    }
    if (rc == 0) {
        rc = io->ops->fdatasync(io, fd);
    }
    close_rc = io->ops->close(io, fd);
    return rc != 0 ? rc : close_rc;
}

int io_store_file(struct io *io, const char *dir, const char *name, const void *data, size_t bytes)
{
    char *path = mem_printf("%s/%s", dir, name);
    char *temporary = mem_printf("%s/%s.tmp", dir, name);
    int rc;

    rc = write_whole(io, temporary, data, bytes);
    if (rc == 0) {
        rc = io->ops->rename(io, temporary, path);
    }
    if (rc != 0) {
        io->ops->unlink(io, temporary);
        goto out;
    }
    rc = io->ops->sync_dir(io, dir);

out:
    free(temporary);
    free(path);
    return rc;
}

int io_make_dir(struct io *io, const char *path)
{
    int rc = io->ops->mkdir(io, path);

    return rc == -EEXIST ? 0 : rc;
}
