#include "asd/torn.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "asd/slab_file.h"
#include "asd/space_file.h"
#include "base/log.h"
#include "base/mem.h"

#define TAIL_SUFFIX ".tail"
#define LOG_SUFFIX ".log"

char *asd_torn_path(const struct asd_home *home)
{
    return mem_printf("%s/torn", home->path);
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    size_t suffix_len = strlen(suffix);

    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* ---- logs: of RocksDB, so not through struct io ---- */

static int link_log(const char *from_dir, const char *to_dir, const char *name)
{
    char *from = mem_printf("%s/%s", from_dir, name);
    char *to = mem_printf("%s/%s", to_dir, name);
    int rc = link(from, to) == 0 ? 0 : -errno;

    free(from);
    free(to);
    return rc;
}

static int unlink_log(const char *from_dir, const char *to_dir, const char *name)
{
    char *path = mem_printf("%s/%s", to_dir, name);
    int rc = unlink(path) == 0 ? 0 : -errno;

    (void)from_dir;
    free(path);
    return rc;
}

static int each_log(const char *dir_path, int (*what)(const char *, const char *, const char *),
                    const char *from, const char *to)
{
    DIR *dir = opendir(dir_path);
    int rc = dir != NULL ? 0 : -errno;

    for (struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        if (ends_with(entry->d_name, LOG_SUFFIX)) {
            rc = what(from, to, entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return rc;
}

int asd_torn_keep_logs(const char *db_path, const char *torn_path, struct err *e)
{
    int rc = mkdir(torn_path, 0750) == 0 || errno == EEXIST ? 0 : -errno;

    rc = rc == 0 ? each_log(torn_path, unlink_log, db_path, torn_path) : rc;
    rc = rc == 0 ? each_log(db_path, link_log, db_path, torn_path) : rc;
    return rc == 0 ? 0 : err_set(e, rc, "%s", torn_path);
}

/* ---- the end ---- */

struct clearing {
    struct asd_space *space;
    const char *torn_path;
    bool keep_logs;
    int rc;
    struct err *e;
};

/* A slab that is still the open one is punched with all others. */
static int punch_tail(struct asd_space *s, const char *name, struct err *e)
{
    uint64_t number = strtoull(name, NULL, 16);
    struct asd_slab *slab = asd_space_find(s, number);
    int rc;

    if (slab == NULL || !slab->sealed || slab->dead || slab->tail >= slab->size_bytes) {
        return 0;
    }
    rc = asd_space_punch(s, slab, slab->tail, slab->size_bytes - slab->tail, e);
    rc = rc == 0 ? asd_space_flush_slab(s, slab, e) : rc;
    if (rc == ERR_CORRUPT) { /* the file is gone or damaged: nothing to give back there */
        log_error("asd", "cannot punch", "error=\"%s\"", e->msg);
        rc = 0;
    }
    return rc;
}

static bool clear_one(void *ctx, const char *name)
{
    struct clearing *c = ctx;
    char *path;

    if (c->keep_logs && ends_with(name, LOG_SUFFIX)) {
        return true;
    }
    if (ends_with(name, TAIL_SUFFIX)) {
        c->rc = punch_tail(c->space, name, c->e);
        if (c->rc != 0) {
            return false;
        }
    }
    path = mem_printf("%s/%s", c->torn_path, name);
    c->rc = c->space->io->ops->unlink(c->space->io, path);
    if (c->rc != 0) {
        err_set(c->e, c->rc, "%s", path);
    }
    free(path);
    return c->rc == 0;
}

int asd_torn_clear(struct asd_space *s, bool keep_logs, struct err *e)
{
    char *path = asd_torn_path(s->home);
    struct clearing c = {.space = s, .torn_path = path, .keep_logs = keep_logs, .e = e};
    int rc = s->io->ops->list_dir(s->io, path, clear_one, &c);

    if (rc == -ENOENT) {
        rc = 0;
    } else if (rc != 0) {
        err_set(e, rc, "%s", path);
    } else {
        rc = c.rc;
    }
    free(path);
    return rc;
}

/* ---- keeping ---- */

static int make_dir(struct asd_space *s, const char *path)
{
    int rc = io_make_dir(s->io, path);

    return rc == 0 ? s->io->ops->sync_dir(s->io, s->home->path) : rc;
}

int asd_torn_keep_slab(struct asd_space *s, uint64_t number, struct err *e)
{
    char *dir = asd_torn_path(s->home);
    char *from = asd_slab_path(s->home, number);
    char *to = mem_printf("%s/%016" PRIx64, dir, number);
    int rc = make_dir(s, dir);

    rc = rc == 0 ? s->io->ops->rename(s->io, from, to) : rc;
    if (rc == 0) {
        log_warn("asd", "kept a slab that no record names", "path=%s", to);
    } else {
        err_set(e, rc, "%s", to);
    }
    free(dir);
    free(from);
    free(to);
    return rc;
}

int asd_torn_keep_tail(struct asd_space *s, const struct asd_slab *slab, struct err *e)
{
    char *dir = asd_torn_path(s->home);
    char *path = mem_printf("%s/%016" PRIx64 TAIL_SUFFIX, dir, slab->number);
    int rc = make_dir(s, dir);
    int fd = rc == 0 ? s->io->ops->open(s->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE) : rc;

    rc = fd < 0 ? fd : s->io->ops->sync_dir(s->io, dir);
    if (fd >= 0) {
        s->io->ops->close(s->io, fd);
    }
    if (rc == 0) {
        log_warn("asd", "kept what lies behind the tail", "slab=%" PRIu64 " tail=%" PRIu64,
                 slab->number, slab->tail);
    } else {
        err_set(e, rc, "%s", path);
    }
    free(dir);
    free(path);
    return rc;
}
