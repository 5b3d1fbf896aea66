#include "asd/space_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/health.h"
#include "asd/slab_file.h"
#include "base/log.h"

struct asd_slab *asd_space_find(struct asd_space *s, uint64_t number)
{
    struct asd_slab *slab;

    uv_mutex_lock(&s->lock);
    HASH_FIND(hh, s->slabs, &number, sizeof(number), slab);
    uv_mutex_unlock(&s->lock);
    return slab;
}

void asd_space_change(struct asd_space *s, struct asd_slab *slab)
{
    if (list_empty(&slab->changed)) {
        list_push(&s->changed, &slab->changed);
    }
}

/* A bad sector, and nobody is to wait for that again. The values behind it have checksums of their
 * own; but what is not known to be this slab is not changed. */
static void header_lose(struct asd_space *s, struct asd_slab *slab, int rc)
{
    slab->header_lost = true;
    log_error("asd", "header of a slab cannot be read", "slab=%" PRIu64 " error=\"%s\"",
              slab->number, err_text(rc));
    s->on_lost(s->ctx, slab->number, rc);
}

static int slab_open(struct asd_space *s, struct asd_slab *slab, int *ret_fd, struct err *e)
{
    char *path = asd_slab_path(s->home, slab->number);
    int fd = s->io->ops->open(s->io, path, IO_OPEN_WRITE);
    int rc;

    if (fd == -EROFS || fd == -EACCES) { /* to read it is enough; a write fails */
        fd = s->io->ops->open(s->io, path, IO_OPEN_READ);
    }
    free(path);
    if (fd == -ENOENT) {
        return err_set(e, ERR_CORRUPT, "file is missing");
    }
    if (fd < 0) {
        return err_set(e, fd, "open");
    }
    rc = asd_slab_size_check(s->home, fd, slab->size_bytes, e);
    if (rc == 0) {
        rc = asd_slab_header_check(s->home, fd, slab->number, slab->size_bytes, e);
        if (asd_health_is_device(rc)) {
            header_lose(s, slab, rc);
            rc = 0;
        }
    }
    if (rc != 0) {
        s->io->ops->close(s->io, fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

static int fd_now(struct asd_space *s, const struct asd_slab *slab)
{
    int fd;

    uv_mutex_lock(&s->lock);
    fd = slab->fd;
    uv_mutex_unlock(&s->lock);
    return fd;
}

static int fd_to_read(struct asd_space *s, struct asd_slab *slab, int *ret_fd, struct err *e)
{
    int fd = fd_now(s, slab);
    int rc = 0;

    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    uv_mutex_lock(&s->open_lock);
    fd = fd_now(s, slab);
    if (fd < 0) {
        rc = slab_open(s, slab, &fd, e);
        if (rc == 0) {
            uv_mutex_lock(&s->lock);
            slab->fd = fd;
            uv_mutex_unlock(&s->lock);
        }
    }
    uv_mutex_unlock(&s->open_lock);
    if (rc == 0) {
        *ret_fd = fd;
    }
    return rc;
}

int asd_space_fd(struct asd_space *s, struct asd_slab *slab, int *ret_fd, struct err *e)
{
    int rc = fd_to_read(s, slab, ret_fd, e);

    if (rc == 0 && slab->header_lost) {
        rc = err_set(e, ERR_CORRUPT, "header cannot be read");
    } else if (asd_health_is_device(rc)) {
        rc = e->code = ERR_CORRUPT; /* of opening it: that is this slab's trouble, too */
    }
    return rc;
}

int asd_space_os_fd(struct asd_space *s, const struct asd_slab *slab)
{
    int fd = s->io->ops->os_fd != NULL ? fd_now(s, slab) : -1;

    return fd >= 0 ? s->io->ops->os_fd(s->io, fd) : -1;
}

int asd_space_read(struct asd_space *s, struct asd_slab *slab, uint64_t offset, void *ret_data,
                   size_t bytes, struct err *e)
{
    int fd = -1;
    int rc = fd_to_read(s, slab, &fd, e);

    if (rc == 0) {
        rc = io_read_full(s->io, fd, ret_data, bytes, offset);
        if (rc != 0) {
            err_set(e, rc, "read of %zu bytes at %" PRIu64, bytes, offset);
        }
    }
    return rc == 0 ? 0 : err_wrap(e, "slab %" PRIu64, slab->number);
}

int asd_space_check(struct asd_space *s, struct asd_slab *slab, uint64_t end, struct err *e)
{
    int fd = -1;
    int rc = fd_to_read(s, slab, &fd, e);

    if (rc == 0 && end > slab->size_bytes) {
        rc = err_set(e, ERR_CORRUPT, "a value ends at %" PRIu64, end);
    }
    return rc == 0 ? 0 : err_wrap(e, "slab %" PRIu64, slab->number);
}

int asd_space_punch(struct asd_space *s, struct asd_slab *slab, uint64_t offset, uint64_t bytes,
                    struct err *e)
{
    int fd = -1;
    int rc = asd_space_fd(s, slab, &fd, e);

    if (rc == 0) {
        rc = s->io->ops->allocate(s->io, fd, IO_PUNCH_HOLE, offset, bytes);
        if (rc != 0) {
            err_set(e, rc, "punch %" PRIu64 " bytes at %" PRIu64, bytes, offset);
        }
    }
    return rc == 0 ? 0 : err_wrap(e, "slab %" PRIu64, slab->number);
}

/* After a failed fdatasync() the kernel may count lost pages as clean, so that a second call
 * reports success for bytes that are gone. The commit and the reclaim thread may both flush
 * a slab: they take turns, and after one failure nobody asks again. */
static int flush_once(struct asd_space *s, struct asd_slab *slab, int fd, struct err *e)
{
    int rc;

    uv_mutex_lock(&slab->flush_lock);
    if (slab->flush_failed) {
        rc = err_set(e, ERR_FAILED, "fdatasync");
    } else {
        rc = s->io->ops->fdatasync(s->io, fd);
        if (rc != 0) {
            slab->flush_failed = true;
            err_set(e, rc, "fdatasync");
            rc = -EIO; /* whatever it was, it is fatal: no space, too */
        }
    }
    uv_mutex_unlock(&slab->flush_lock);
    return rc;
}

int asd_space_flush_slab(struct asd_space *s, struct asd_slab *slab, struct err *e)
{
    int fd = -1;
    int rc = asd_space_fd(s, slab, &fd, e);

    if (rc == 0) {
        rc = flush_once(s, slab, fd, e);
    }
    return rc == 0 ? 0 : err_wrap(e, "slab %" PRIu64, slab->number);
}

int asd_space_unlink(struct asd_space *s, uint64_t number, struct err *e)
{
    char *path = asd_slab_path(s->home, number);
    int rc = s->io->ops->unlink(s->io, path);

    free(path);
    rc = rc == -ENOENT ? 0 : rc;
    return rc == 0 ? 0 : err_set(e, rc, "slab %" PRIu64 ": unlink", number);
}
