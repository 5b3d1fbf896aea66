/* Writing values into slabs: large ones past the page cache, where copying them would cost more
 * than all the rest of a put. The server sees to it that they lie on a boundary that a direct
 * write can take; others are copied to one. Direct or not, what was written is durable only after
 * asd_space_flush(): the device has a cache of its own, and the file its extents. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/slab_file.h"
#include "asd/space_file.h"
#include "base/bigmem.h"
#include "base/crc32c.h"
#include "base/log.h"

void asd_space_direct_close(struct asd_space *s)
{
    if (s->direct.fd >= 0) {
        s->io->ops->close(s->io, s->direct.fd);
        s->direct.fd = -1;
    }
}

static int direct_open(struct asd_space *s, const struct asd_slab *slab)
{
    char *path;

    if (s->direct.fd >= 0 && s->direct.slab == slab->number) {
        return 0;
    }
    asd_space_direct_close(s);
    path = asd_slab_path(s->home, slab->number);
    s->direct.fd = s->io->ops->open(s->io, path, IO_OPEN_WRITE | IO_OPEN_DIRECT);
    s->direct.slab = slab->number;
    free(path);
    if (s->direct.bounce == NULL) {
        s->direct.bounce = bigmem_alloc(ASD_SPACE_BOUNCE_BYTES);
    }
    return s->direct.fd < 0 ? s->direct.fd : 0;
}

/* While the device has a large write before it, a read waits for that. */
static uint32_t piece_bytes(const struct asd_space *s, uint32_t bytes_max)
{
    return s->direct.low && bytes_max > ASD_SPACE_LOW_BYTES ? ASD_SPACE_LOW_BYTES : bytes_max;
}

/* From where it lies: only what is behind its last whole block is copied. */
static int write_in_place(struct asd_space *s, uint64_t offset, const uint8_t *data, uint32_t bytes,
                          uint32_t *ret_crc)
{
    uint32_t whole = bytes / IO_DIRECT_BYTES * IO_DIRECT_BYTES;
    struct iovec iov[2] = {{.iov_base = (void *)(uintptr_t)data, .iov_len = whole},
                           {.iov_base = s->direct.bounce}};

    if (whole != bytes) {
        iov[1].iov_len = IO_DIRECT_BYTES;
        memcpy(s->direct.bounce, data + whole, bytes - whole);
        memset(s->direct.bounce + (bytes - whole), 0, IO_DIRECT_BYTES - (bytes - whole));
    }
    *ret_crc = crc32c(0, data, bytes);
    for (uint32_t piece = piece_bytes(s, whole); iov[0].iov_len > piece; offset += piece) {
        int rc = io_write_direct(s->io, s->direct.fd, iov[0].iov_base, piece, offset);

        if (rc != 0) {
            return rc;
        }
        iov[0].iov_base = (uint8_t *)iov[0].iov_base + piece;
        iov[0].iov_len -= piece;
    }
    return io_writev_direct(s->io, s->direct.fd, iov, 2, offset);
}

/* Piece by piece through an aligned buffer that stays in the processor's cache. */
static int write_by_pieces(struct asd_space *s, uint64_t offset, const uint8_t *data,
                           uint32_t bytes, uint32_t *ret_crc)
{
    uint32_t crc = 0;
    int rc = 0;

    for (uint32_t at = 0; rc == 0 && at < bytes;) {
        uint32_t left = bytes - at;
        uint32_t most = piece_bytes(s, ASD_SPACE_BOUNCE_BYTES);
        uint32_t part = left < most ? left : most;
        uint32_t whole = (uint32_t)asd_slab_align(part);

        crc = crc32c(crc, data + at, part);
        memcpy(s->direct.bounce, data + at, part);
        memset(s->direct.bounce + part, 0, whole - part);
        rc = io_write_direct(s->io, s->direct.fd, s->direct.bounce, whole, offset + at);
        at += part;
    }
    *ret_crc = crc;
    return rc;
}

/* -EINVAL: not in this file system. */
static int write_direct(struct asd_space *s, const struct asd_place *place, const uint8_t *data,
                        uint32_t bytes, uint32_t *ret_crc, struct err *e)
{
    int fd = -1;
    int rc = asd_space_fd(s, place->slab, &fd, e); /* it is the right file */

    if (rc != 0) {
        return rc;
    }
    place->slab->dirty = true; /* from here on: without its file there is nothing to flush */
    rc = direct_open(s, place->slab);
    if (rc == 0) {
        rc = (uintptr_t)data % IO_DIRECT_BYTES == 0
                 ? write_in_place(s, place->offset, data, bytes, ret_crc)
                 : write_by_pieces(s, place->offset, data, bytes, ret_crc);
    }
    return rc == 0 || rc == -EINVAL ? rc : err_set(e, rc, "write at %" PRIu64, place->offset);
}

static int write_buffered(struct asd_space *s, const struct asd_place *place, const void *data,
                          uint32_t bytes, uint32_t *ret_crc, struct err *e)
{
    int fd = -1;
    int rc = asd_space_fd(s, place->slab, &fd, e);

    if (rc != 0) {
        return rc;
    }
    place->slab->dirty = true;
    *ret_crc = crc32c(0, data, bytes);
    rc = io_write_full(s->io, fd, data, bytes, place->offset);
    return rc == 0 ? 0 : err_set(e, rc, "write at %" PRIu64, place->offset);
}

int asd_space_write(struct asd_space *s, const struct asd_place *place, const void *data,
                    uint32_t bytes, uint32_t *ret_crc, struct err *e)
{
    int rc = -EINVAL;

    if (bytes >= ASD_SPACE_DIRECT_BYTES_MIN && !s->direct.refused) {
        rc = write_direct(s, place, data, bytes, ret_crc, e);
        if (rc == -EINVAL) {
            log_warn("asd", "no direct I/O in this file system", "home=%s", s->home->path);
            s->direct.refused = true;
            asd_space_direct_close(s);
        }
    }
    if (rc == -EINVAL) {
        rc = write_buffered(s, place, data, bytes, ret_crc, e);
    }
    return rc == 0 ? 0 : err_wrap(e, "slab %" PRIu64, place->slab->number);
}
