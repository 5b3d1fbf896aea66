#include "albacore/put_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "albacore/job.h"
#include "base/bigmem.h"
#include "base/mem.h"
#include "wire/llio.h"

enum { GIVE_TIMEOUT_MS = 2000 };

void put_source_init(struct put_source *source)
{
    *source = (struct put_source){.fd = -1, .conn = -1};
}

void put_source_set(struct put_source *source, int fd, const struct albacore_extent *extents,
                    size_t count)
{
    count = count <= LLIO_COUNT_MAX ? count : LLIO_COUNT_MAX + 1; /* refused when it is applied */
    source->fd = fd;
    source->extent_count = (uint32_t)count;
    source->extents = count != 0 ? mem_array(count, sizeof(*source->extents)) : NULL;
    for (size_t i = 0; i < count; i++) {
        source->extents[i] =
            (struct proxy_extent){.offset = extents[i].offset, .bytes = extents[i].bytes};
    }
}

void put_source_release(struct put_source *source)
{
    put_source_take_back(source);
    free(source->extents);
    source->extents = NULL;
}

/* *ret_extents is the source's. */
static int extents_of(struct put_source *source, struct proxy_extent **ret_extents,
                      uint32_t *ret_count, struct albacore_error *e)
{
    struct stat st;

    if (source->extent_count > LLIO_COUNT_MAX) {
        return error_say(e, ALBACORE_TOO_LARGE, "more than %d extents", (int)LLIO_COUNT_MAX);
    }
    if (fstat(source->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_say(e, ALBACORE_INVALID, "not a regular file");
    }
    *ret_extents = source->extents;
    *ret_count = source->extent_count;
    if (source->extents == NULL) {
        source->whole = (struct proxy_extent){.bytes = (uint64_t)st.st_size};
        *ret_extents = &source->whole;
        *ret_count = st.st_size != 0;
    }
    return 0;
}

/* ---- handed over ---- */

int put_source_give(struct put_source *source, const struct net_addr *side,
                    struct proxy_update *update)
{
    struct proxy_extent *extents;
    uint32_t count;
    struct err why;
    int rc = extents_of(source, &extents, &count, NULL);

    if (rc == 0) {
        rc = fd_pass_give(side, source->fd, GIVE_TIMEOUT_MS, source->token, &source->conn, &why);
    }
    if (rc != 0) {
        return rc;
    }
    update->kind = PROXY_UPDATE_UPLOAD_FD;
    update->token = slice_of(source->token, sizeof(source->token));
    update->extents = extents;
    update->extent_count = count;
    return 0;
}

void put_source_take_back(struct put_source *source)
{
    if (source->conn >= 0) {
        close(source->conn);
        source->conn = -1;
    }
}

/* ---- read here ---- */

static int read_extent(int fd, uint64_t offset, uint8_t *to, size_t bytes, struct err *e)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t n = pread(fd, to + done, bytes - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_say(e, ERR_FAILED, "reading the file: %s", err_text(-errno));
        }
        if (n == 0) {
            return err_say(e, -EINVAL, "an extent beyond the end of the file");
        }
        done += (size_t)n;
    }
    return 0;
}

int put_source_measure(struct put_source *source, uint64_t *ret_bytes, struct albacore_error *e)
{
    struct proxy_extent *extents;
    uint32_t count;
    uint64_t sum = 0;
    int rc = extents_of(source, &extents, &count, e);

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        if (extents[i].bytes == 0) {
            rc = error_say(e, ALBACORE_INVALID, "an empty extent");
        } else if (extents[i].offset > INT64_MAX / 2 || extents[i].bytes > INT64_MAX / 2 - sum) {
            rc = error_say(e, ALBACORE_INVALID, "an extent beyond the end of the file");
        } else {
            sum += extents[i].bytes;
        }
    }
    if (rc == 0) {
        *ret_bytes = sum;
    }
    return rc;
}

/* What was opened for direct I/O is opened once more without: its alignment is not kept here. */
static int plain_fd(int fd)
{
    char path[64];

    if ((fcntl(fd, F_GETFL) & O_DIRECT) == 0) {
        return fd;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd;
}

int put_source_read(struct put_source *source, uint64_t offset, uint8_t *ret_data, size_t bytes,
                    struct err *e)
{
    const struct proxy_extent *x = source->extents != NULL ? source->extents : &source->whole;
    int fd = plain_fd(source->fd);
    int rc = 0;

    for (; offset >= x->bytes && bytes != 0; x++) {
        offset -= x->bytes;
    }
    for (; bytes != 0 && rc == 0; x++) {
        uint64_t left = x->bytes - offset;
        size_t piece = left < bytes ? (size_t)left : bytes;

        rc = read_extent(fd, x->offset + offset, ret_data, piece, e);
        ret_data += piece;
        bytes -= piece;
        offset = 0;
    }
    if (fd >= 0 && fd != source->fd) {
        close(fd);
    }
    return rc;
}

int put_source_load(struct put_source *source, size_t bytes, struct proxy_update *update,
                    struct albacore_error *e)
{
    uint8_t *data = bigmem_alloc(bytes != 0 ? bytes : 1);
    struct err why;
    int rc = put_source_read(source, 0, data, bytes, &why);

    if (rc != 0) {
        bigmem_free(data);
        return error_set(e, rc, &why, 0);
    }
    update->kind = PROXY_UPDATE_UPLOAD;
    update->data = slice_of(data, bytes);
    return 0;
}

void put_source_unload(const struct put_source *source, struct proxy_update *update)
{
    if (source->fd >= 0) {
        bigmem_free((void *)(uintptr_t)update->data.data);
        update->data = (struct slice){0};
    }
}
