#include "proxy/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uv.h>

int source_read(int fd, uint64_t offset, uint8_t *ret_data, uint32_t bytes, struct err *e)
{
    uint32_t done = 0;

    while (done < bytes) {
        ssize_t n = pread(fd, ret_data + done, bytes - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_set(e, -errno, "reading at %" PRIu64, offset + done);
        }
        if (n == 0) {
            return err_set(e, UV_EOF, "the file became shorter, at %" PRIu64, offset + done);
        }
        done += (uint32_t)n;
    }
    return 0;
}

int source_read_extents(int fd, const struct proxy_extent *extents, uint32_t count, uint64_t offset,
                        uint8_t *ret_data, uint32_t bytes, struct err *e)
{
    for (uint32_t i = 0; i < count && bytes > 0; i++) {
        const struct proxy_extent *x = &extents[i];
        uint64_t left = offset < x->bytes ? x->bytes - offset : 0;
        uint32_t part = left < bytes ? (uint32_t)left : bytes;
        int rc = part > 0 ? source_read(fd, x->offset + offset, ret_data, part, e) : 0;

        if (rc != 0) {
            return rc;
        }
        ret_data += part;
        bytes -= part;
        offset = left > 0 ? 0 : offset - x->bytes;
    }
    return 0;
}

uint64_t source_bytes(const struct proxy_extent *extents, uint32_t count)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (extents[i].bytes > (uint64_t)INT64_MAX - sum) {
            return UINT64_MAX;
        }
        sum += extents[i].bytes;
    }
    return sum;
}

static int check_extents(uint64_t file_bytes, const struct proxy_extent *extents, uint32_t count,
                         struct err *e)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct proxy_extent *x = &extents[i];

        if (x->bytes == 0 || x->offset > file_bytes || x->bytes > file_bytes - x->offset) {
            return err_set(e, -EINVAL,
                           "extent of %" PRIu64 " bytes at %" PRIu64 " of a file of %" PRIu64,
                           x->bytes, x->offset, file_bytes);
        }
    }
    return 0;
}

static int reopen(int *fd, struct err *e)
{
    char path[64];
    int again;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0) {
        return err_set(e, -EINVAL, "a file opened for direct I/O, which cannot be opened without");
    }
    close(*fd);
    *fd = again;
    return 0;
}

int source_check(int *fd, const struct proxy_extent *extents, uint32_t count, struct err *e)
{
    int flags = fcntl(*fd, F_GETFL);
    struct stat st;

    if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_WRONLY) {
        return err_set(e, -EINVAL, "what was handed over is not open for reading");
    }
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return err_set(e, -EINVAL, "what was handed over is not a regular file");
    }
    if ((flags & O_DIRECT) != 0 && reopen(fd, e) != 0) {
        return e->code;
    }
    return check_extents((uint64_t)st.st_size, extents, count, e);
}
