#include "asd/room.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "asd/home.h"
#include "asd/index.h"
#include "asd/torn.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/io.h"

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int ask(const struct asd_room *room, uint64_t *ret_size, uint64_t *ret_free)
{
    struct statvfs fs;

    if (statvfs(room->home_path, &fs) != 0) {
        return -errno;
    }
    *ret_size = (uint64_t)(fs.f_blocks - (fs.f_bfree - fs.f_bavail)) * fs.f_frsize;
    *ret_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

static void note_free(struct asd_room *room, uint64_t written_before, uint64_t free_bytes)
{
    atomic_store(&room->full_at, written_before + free_bytes);
}

int asd_room_init(struct asd_room *room, const char *home_path, uint64_t capacity_bytes,
                  struct err *e)
{
    struct io *io = io_real();
    uint64_t free_bytes = 0, ballast_bytes = 0;
    uint64_t part;
    int fd;
    int rc;

    *room = (struct asd_room){.home_path = mem_strdup(home_path),
                              .ballast_path = mem_printf("%s/ballast", home_path)};
    CHECK(uv_mutex_init(&room->lock) == 0);
    rc = ask(room, &room->size_bytes, &free_bytes);
    if (rc != 0) {
        err_set(e, rc, "size of the file system of %s", home_path);
        asd_room_release(room);
        return rc;
    }
    part = capacity_bytes != 0 ? min_of(capacity_bytes, room->size_bytes) : room->size_bytes;
    room->margin_bytes = min_of(part / ASD_ROOM_MARGIN_PART, ASD_ROOM_MARGIN_MAX);
    room->ballast_bytes = min_of(part / ASD_ROOM_BALLAST_PART, ASD_ROOM_BALLAST_MAX);
    fd = io->ops->open(io, room->ballast_path, IO_OPEN_READ);
    if (fd >= 0) { /* one whose laying was killed is none */
        room->has_ballast =
            io->ops->size(io, fd, &ballast_bytes) == 0 && ballast_bytes >= room->ballast_bytes / 2;
        io->ops->close(io, fd);
    }
    atomic_store(&room->keep_bytes, room->margin_bytes);
    note_free(room, 0, free_bytes);
    return 0;
}

void asd_room_release(struct asd_room *room)
{
    if (room->home_path != NULL) {
        uv_mutex_destroy(&room->lock);
    }
    free(room->home_path);
    free(room->ballast_path);
    *room = (struct asd_room){0};
}

/* ---- ballast ---- */

static void ballast_drop(struct asd_room *room, const char *why)
{
    struct io *io = io_real();
    int rc = io->ops->unlink(io, room->ballast_path);

    if (rc != 0 && rc != -ENOENT) {
        log_warn("asd", "cannot give up the ballast", "home=%s error=%s", room->home_path,
                 err_text(rc));
        return;
    }
    room->has_ballast = false;
    log_warn("asd", "ballast given up: no room in the file system", "home=%s when=\"%s\"",
             room->home_path, why);
}

static void ballast_lay(struct asd_room *room)
{
    struct io *io = io_real();
    int fd = io->ops->open(io, room->ballast_path, IO_OPEN_WRITE | IO_OPEN_CREATE);
    int rc = fd < 0 ? fd : io->ops->allocate(io, fd, IO_ALLOCATE, 0, room->ballast_bytes);

    if (fd >= 0) {
        io->ops->close(io, fd);
    }
    if (rc != 0) {
        log_warn("asd", "no ballast", "home=%s error=%s", room->home_path, err_text(rc));
        io->ops->unlink(io, room->ballast_path);
        room->no_ballast = rc != -EMFILE && rc != -ENFILE; /* then it is not asked again */
        return;
    }
    room->has_ballast = true;
    log_info("asd", "ballast laid", "home=%s bytes=%" PRIu64, room->home_path, room->ballast_bytes);
}

/* ---- looking ---- */

static void look(struct asd_room *room)
{
    uint64_t written = atomic_load(&room->written_bytes);
    uint64_t size_bytes = 0;
    uint64_t free_bytes = 0;
    int rc = ask(room, &size_bytes, &free_bytes);

    if (rc != 0) {
        if (!room->blind) {
            log_warn("asd", "file system does not tell its room", "home=%s error=%s",
                     room->home_path, err_text(rc));
        }
        room->blind = true;
        return;
    }
    room->blind = false;
    if (room->has_ballast && free_bytes < room->ballast_bytes / 4) {
        ballast_drop(room, "serving");
        free_bytes += room->has_ballast ? 0 : room->ballast_bytes;
    } else if (!room->has_ballast && !room->no_ballast && free_bytes > 2 * room->margin_bytes) {
        ballast_lay(room);
        free_bytes -= room->has_ballast ? room->ballast_bytes : 0;
    }
    /* What was given up is not for those who filled it. */
    atomic_store(&room->keep_bytes, room->has_ballast || room->no_ballast ? room->margin_bytes
                                                                          : 2 * room->margin_bytes);
    note_free(room, written, free_bytes);
}

void asd_room_look(struct asd_room *room)
{
    uv_mutex_lock(&room->lock);
    look(room);
    uv_mutex_unlock(&room->lock);
}

void asd_room_ready(struct asd_room *room)
{
    if (asd_room_left(room) < room->margin_bytes) {
        asd_room_look(room);
    }
}

static void look_work(struct pool_work *work)
{
    asd_room_look(container_of(work, struct asd_room, work));
}

static void look_done(struct pool_work *work, int rc)
{
    struct asd_room *room = container_of(work, struct asd_room, work);

    (void)rc;
    room->looking = false;
}

static void on_timer(uv_timer_t *timer)
{
    struct asd_room *room = container_of(timer, struct asd_room, timer);

    if (!room->looking) { /* else the file system hangs */
        room->looking = true;
        CHECK(pool_submit(room->pool, &room->work, POOL_HIGH, look_work, look_done) == 0);
    }
}

int asd_room_watch(struct asd_room *room, uv_loop_t *loop, struct err *e)
{
    int rc = pool_new(loop, "asd-room", 1, 1, &room->pool);

    if (rc != 0) {
        return err_set(e, rc, "threads");
    }
    CHECK(uv_timer_init(loop, &room->timer) == 0);
    CHECK(uv_timer_start(&room->timer, on_timer, 0, ASD_ROOM_LOOK_MS) == 0);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct asd_room *room = container_of((uv_timer_t *)handle, struct asd_room, timer);

    room->close_cb(room->close_ctx);
}

static void on_pool_closed(void *ctx)
{
    struct asd_room *room = ctx;

    room->pool = NULL;
    uv_close((uv_handle_t *)&room->timer, on_timer_closed);
}

void asd_room_close(struct asd_room *room, void (*cb)(void *ctx), void *ctx)
{
    if (room->pool == NULL) {
        cb(ctx);
        return;
    }
    room->close_cb = cb;
    room->close_ctx = ctx;
    uv_timer_stop(&room->timer);
    pool_close(room->pool, on_pool_closed, room);
}

/* ---- figures ---- */

uint64_t asd_room_left(struct asd_room *room)
{
    uint64_t written = atomic_load(&room->written_bytes);
    uint64_t full_at = atomic_load(&room->full_at);

    return full_at > written ? full_at - written : 0;
}

/* The ballast is given up below a quarter of its size: what is left then, and the rest of it, is
 * for deletes and for the file system. */
bool asd_room_has(struct asd_room *room, uint64_t bytes, bool reserve)
{
    uint64_t left = asd_room_left(room);
    uint64_t keep = reserve ? min_of(room->ballast_bytes, room->margin_bytes) / 2
                            : atomic_load(&room->keep_bytes);

    return left >= keep && bytes <= left - keep;
}

void asd_room_wrote(struct asd_room *room, uint64_t bytes)
{
    atomic_fetch_add(&room->written_bytes, bytes);
}

uint64_t asd_room_capacity(struct asd_room *room, uint64_t used_bytes)
{
    uint64_t left = asd_room_left(room);

    return used_bytes + (left > room->margin_bytes ? left - room->margin_bytes : 0);
}

/* ---- opening ---- */

struct settling {
    struct io *io;
    const char *db_path;
    int rc;
    struct err *e;
};

static bool settle_log(void *ctx, const char *name)
{
    struct settling *s = ctx;
    size_t len = strlen(name);
    char *path;
    int fd;

    if (len < 4 || strcmp(name + len - 4, ".log") != 0) {
        return true;
    }
    path = mem_printf("%s/%s", s->db_path, name);
    fd = s->io->ops->open(s->io, path, IO_OPEN_READ);
    s->rc = fd < 0 ? fd : s->io->ops->fdatasync(s->io, fd);
    if (fd >= 0) {
        if (s->io->ops->os_fd != NULL) {
            posix_fadvise(s->io->ops->os_fd(s->io, fd), 0, 0, POSIX_FADV_DONTNEED);
        }
        s->io->ops->close(s->io, fd);
    }
    if (s->rc != 0) {
        err_set(s->e, s->rc, "flush of %s", path);
    }
    free(path);
    return s->rc == 0;
}

/* RocksDB goes on behind a log that it keeps, and flushes the next one only. A commit that is
 * believed because of that log must not be lost with the power: what was not written back, as who
 * wrote it was killed, is now. Pages of a flush that failed then count as clean and are nowhere
 * else: forgotten, too, so that what is read is what lies on the disk. */
static int settle_logs(const struct asd_home *home, struct err *e)
{
    struct settling s = {.io = home->io, .db_path = home->db_path, .e = e};
    int rc = s.io->ops->list_dir(s.io, s.db_path, settle_log, &s);

    if (rc == 0 && s.rc == 0) {
        rc = s.io->ops->sync_dir(s.io, s.db_path);
    }
    if (rc != 0) {
        err_set(e, rc, "flush of %s", s.db_path);
    }
    return rc != 0 ? rc : s.rc;
}

int asd_room_open_index(struct asd_room *room, const struct asd_home *home,
                        const struct asd_index_rocksdb_options *options,
                        struct asd_index **ret_index, struct err *e)
{
    struct asd_index_rocksdb_options mine = *options;
    char *torn_path;
    int rc;

    *ret_index = NULL;
    if (asd_room_left(room) < ASD_ROOM_OPEN_BYTES && room->has_ballast) {
        ballast_drop(room, "opening");
        asd_room_look(room);
    }
    if (asd_room_left(room) < ASD_ROOM_OPEN_BYTES) {
        return err_set(e, -ENOSPC, "home %s: %" PRIu64 " bytes left, %d needed to open it",
                       room->home_path, asd_room_left(room), ASD_ROOM_OPEN_BYTES);
    }
    torn_path = asd_torn_path(home);
    mine.torn_path = torn_path;
    rc = asd_index_rocksdb_open(home->db_path, &mine, ret_index, e);
    if (rc == -ENOSPC) {
        if (room->has_ballast) {
            ballast_drop(room, "opening");
        }
        mine.lean = true;
        rc = settle_logs(home, e);
        rc = rc != 0 ? rc : asd_index_rocksdb_open(home->db_path, &mine, ret_index, e);
    }
    free(torn_path);
    if (rc == 0) {
        asd_room_look(room); /* the index has taken what it needs */
    }
    return rc;
}
