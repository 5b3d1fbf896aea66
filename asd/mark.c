#include "asd/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"

enum { MARK_VERSION = 1, CRC_BYTES = 4 };

static const uint8_t mark_magic[8] = {'A', 'L', 'B', 'A', 'M', 'A', 'R', 'K'};

void asd_mark_encode(uint8_t ret_data[ASD_MARK_BYTES], const uint8_t *store_id, uint64_t commit)
{
    memset(ret_data, 0, ASD_MARK_BYTES);
    memcpy(ret_data, mark_magic, sizeof(mark_magic));
    put_u32le(ret_data + 8, MARK_VERSION);
    memcpy(ret_data + 16, store_id, ASD_STORE_ID_BYTES);
    put_u64le(ret_data + 32, commit);
    put_u32le(ret_data + ASD_MARK_BYTES - CRC_BYTES,
              crc32c(0, ret_data, ASD_MARK_BYTES - CRC_BYTES));
}

int asd_mark_decode(const uint8_t data[ASD_MARK_BYTES], const uint8_t *store_id,
                    uint64_t *ret_commit, struct err *e)
{
    if (memcmp(data, mark_magic, sizeof(mark_magic)) != 0 ||
        crc32c(0, data, ASD_MARK_BYTES - CRC_BYTES) !=
            get_u32le(data + ASD_MARK_BYTES - CRC_BYTES)) {
        return err_set(e, ERR_CORRUPT, "mark: checksum");
    }
    if (get_u32le(data + 8) > MARK_VERSION) {
        return err_set(e, ERR_VERSION, "mark of version %" PRIu32, get_u32le(data + 8));
    }
    if (memcmp(data + 16, store_id, ASD_STORE_ID_BYTES) != 0) {
        return err_set(e, ERR_CORRUPT, "mark: it is another store's");
    }
    *ret_commit = get_u64le(data + 32);
    return 0;
}

static char *mark_path(const struct asd_home *home)
{
    return mem_printf("%s/commits", home->path);
}

static int slots_read(const struct asd_home *home, int fd, uint64_t *ret_commit, struct err *e)
{
    uint8_t data[ASD_MARK_BYTES];
    uint64_t bytes = 0;
    int rc = home->io->ops->size(home->io, fd, &bytes);

    *ret_commit = 0;
    for (uint64_t slot = 0; rc == 0 && slot < ASD_MARK_SLOTS; slot++) {
        uint64_t at = slot * ASD_MARK_SLOT_BYTES;
        uint64_t commit = 0;
        int slot_rc;

        if (at + ASD_MARK_BYTES > bytes) {
            break; /* its creation was cut off */
        }
        slot_rc = io_read_full(home->io, fd, data, ASD_MARK_BYTES, at);
        if (slot_rc != 0) { /* a bad sector says as little as a torn slot */
            log_warn("asd", "cannot read a mark", "home=%s error=\"%s\"", home->path,
                     err_text(slot_rc));
            continue;
        }
        slot_rc = asd_mark_decode(data, home->store_id, &commit, e);
        if (slot_rc == ERR_VERSION) {
            return slot_rc;
        }
        if (slot_rc == 0 && commit > *ret_commit) { /* a torn slot tells nothing */
            *ret_commit = commit;
        }
    }
    return rc == 0 ? 0 : err_set(e, rc, "commits");
}

int asd_mark_read(const struct asd_home *home, uint64_t *ret_commit, struct err *e)
{
    char *path = mark_path(home);
    int fd = home->io->ops->open(home->io, path, IO_OPEN_READ);
    int rc;

    free(path);
    if (fd == -ENOENT) {
        *ret_commit = 0;
        return 0;
    }
    if (fd < 0) {
        return err_set(e, fd, "home %s: commits", home->path);
    }
    rc = slots_read(home, fd, ret_commit, e);
    home->io->ops->close(home->io, fd);
    return rc == 0 ? 0 : err_wrap(e, "home %s", home->path);
}

/* Its blocks are allocated and its name is durable before anything is marked. */
static int mark_make(struct io *io, int fd, const struct asd_home *home)
{
    enum { BYTES = ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES };
    uint64_t bytes = 0;
    int rc = io->ops->size(io, fd, &bytes);

    if (rc == 0 && bytes != BYTES) {
        uint8_t *zeros = mem_zalloc(BYTES);

        rc = io_write_full(io, fd, zeros, BYTES, 0);
        rc = rc == 0 ? io->ops->fdatasync(io, fd) : rc;
        rc = rc == 0 ? io->ops->sync_dir(io, home->path) : rc;
        free(zeros);
    }
    return rc;
}

int asd_mark_open(struct asd_mark *mark, const struct asd_home *home, struct err *e)
{
    char *path = mark_path(home);
    int fd = home->io->ops->open(home->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE);
    int rc = fd < 0 ? fd : mark_make(home->io, fd, home);

    free(path);
    if (rc != 0 && fd >= 0) {
        home->io->ops->close(home->io, fd);
    }
    if (rc == -ENOSPC || rc == -EDQUOT) { /* a full disk must be able to start, to be emptied */
        log_warn("asd", "no room for the mark", "home=%s", home->path);
        return 0;
    }
    if (rc != 0) {
        return err_set(e, rc, "commits");
    }
    *mark = (struct asd_mark){.io = home->io, .fd = fd};
    memcpy(mark->store_id, home->store_id, ASD_STORE_ID_BYTES);
    return 0;
}

int asd_mark_write(struct asd_mark *mark, uint64_t commit, struct err *e)
{
    uint8_t data[ASD_MARK_BYTES];
    int rc;

    if (mark->fd < 0) {
        return 0;
    }
    asd_mark_encode(data, mark->store_id, commit);
    rc = io_write_full(mark->io, mark->fd, data, ASD_MARK_BYTES,
                       commit % ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES);
    if (rc == -ENOSPC || rc == -EDQUOT) {
        return 0; /* a copying file system; the mark stays behind, which is no lie */
    }
    return rc == 0 ? 0 : err_set(e, rc, "commits");
}

int asd_mark_flush(struct asd_mark *mark, struct err *e)
{
    int rc = mark->fd < 0 ? 0 : mark->io->ops->fdatasync(mark->io, mark->fd);

    if (rc != 0) {
        err_set(e, rc, "commits: fdatasync");
        rc = -EIO; /* whatever it was: asked again, the kernel would say 0 for what it gave up */
    }
    return rc;
}

void asd_mark_close(struct asd_mark *mark)
{
    if (mark->fd >= 0) {
        mark->io->ops->fdatasync(mark->io, mark->fd); /* as good as before, if it fails */
        mark->io->ops->close(mark->io, mark->fd);
        mark->fd = -1;
    }
}
