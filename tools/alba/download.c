/* INFO -> (WINDOW)* -> is it what INFO said? -> name
 *
 * An object that was replaced meanwhile begins anew: a file never holds parts of two. One that is
 * replaced faster than its windows come is asked for in one message. */
#include "alba/download.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alba/interrupt.h"
#include "alba/progress.h"
#include "alba/verb.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "loop/io.h"

enum { WINDOW_BYTES = 16 * 1048576, WINDOW_TRIES = 2, TRIES_MAX = 16, AGAIN = 1 };

struct download {
    struct target *t;
    struct cli *cli;
    struct slice ns;
    struct slice name;
    int fd;
    bool has_name; /* the file, while it is not whole */
    uint64_t size_bytes;
    struct checksum checksum; /* of the whole object */
    uint8_t object_id[MANIFEST_OBJECT_ID_BYTES_MAX];
    size_t object_id_bytes; /* 0: not known yet */
    uint64_t done;
    uint64_t at_once_bytes; /* what is not larger comes in one message */
    uint32_t crc;
    struct progress progress;
    struct interrupt interrupt;
};

static int call(struct download *d, const struct proxy_request *request,
                struct proxy_reply *ret_reply)
{
    int rc = d->interrupt.happened
                 ? ERR_CANCELED
                 : target_call(d->t, d->cli, request, TARGET_TRANSFER_TIMEOUT_MS, ret_reply);

    if (rc != 0 && d->interrupt.happened) {
        return err_say(&d->cli->err, ERR_CANCELED, "interrupted; nothing is left");
    }
    if (rc != 0 && d->cli->exception_code == PROXY_RC_OBJECT_NOT_FOUND) {
        err_say(&d->cli->err, ERR_NOT_FOUND, "object '%s' does not exist", cli_arg(d->cli, 1));
    }
    return rc;
}

static int ask_info(struct download *d)
{
    const struct proxy_request request = {.code = PROXY_GET_OBJECT_INFO,
                                          .ns = d->ns,
                                          .consistent_read = true,
                                          .object = {.name = d->name}};
    struct proxy_reply reply;
    int rc = call(d, &request, &reply);

    if (rc == 0) {
        d->size_bytes = reply.info.size_bytes;
        d->checksum = reply.info.checksum;
        d->object_id_bytes = 0;
        d->done = 0;
        d->crc = 0;
        proxy_reply_release(&reply);
    }
    return rc;
}

/* Of the object that the first window was of, and that INFO told of? */
static bool is_same(struct download *d, const struct manifest *m)
{
    if (d->object_id_bytes == 0 && m->object_id.len <= sizeof(d->object_id)) {
        memcpy(d->object_id, m->object_id.data, m->object_id.len);
        d->object_id_bytes = m->object_id.len;
    }
    return m->size_bytes == d->size_bytes && checksum_eq(&m->checksum, &d->checksum) &&
           slice_eq(m->object_id, slice_of(d->object_id, d->object_id_bytes));
}

/* What the proxy sent for the next `bytes` of the object of this manifest. */
static int take_bytes(struct download *d, const struct manifest *m, struct slice data,
                      uint64_t bytes)
{
    int rc;

    if (!is_same(d, m)) {
        return AGAIN;
    }
    if (data.len != bytes) {
        return err_say(&d->cli->err, ERR_PROTOCOL, "the proxy answered %zu bytes for %" PRIu64,
                       data.len, bytes);
    }
    rc = io_write_full(io_real(), d->fd, data.data, data.len, d->done);
    if (rc != 0) {
        return err_set(&d->cli->err, rc, "write the file at %" PRIu64, d->done);
    }
    d->crc = crc32c(d->crc, data.data, data.len);
    d->done += bytes;
    return 0;
}

static int read_window(struct download *d)
{
    uint64_t left = d->size_bytes - d->done;
    struct proxy_slice slice = {.offset = (int64_t)d->done,
                                .bytes = left < WINDOW_BYTES ? (int32_t)left : WINDOW_BYTES};
    struct proxy_object_slices slices = {.name = d->name, .slices = &slice, .slice_count = 1};
    const struct proxy_request request = {.code = PROXY_READ_SLICES2,
                                          .ns = d->ns,
                                          .consistent_read = d->done == 0,
                                          .reads = {.items = &slices, .count = 1}};
    struct proxy_reply reply;
    int rc = call(d, &request, &reply);

    if (rc != 0) { /* it may have been replaced by a smaller one */
        return d->cli->exception_code == PROXY_RC_SLICE_OUTSIDE_OBJECT ? AGAIN : rc;
    }
    rc = reply.objects.count == 1
             ? take_bytes(d, reply.objects.items[0].manifest, reply.objects.data,
                          (uint64_t)slice.bytes)
             : err_say(&d->cli->err, ERR_PROTOCOL, "the proxy answered for another number");
    proxy_reply_release(&reply);
    return rc;
}

/* All of it in one message, which the proxy counts as the download it is. */
static int read_at_once(struct download *d)
{
    const struct proxy_request request = {.code = PROXY_READ_OBJECTS,
                                          .ns = d->ns,
                                          .consistent_read = true,
                                          .names = {.items = &d->name, .count = 1}};
    struct proxy_reply reply;
    int rc = call(d, &request, &reply);

    if (rc != 0) {
        return rc;
    }
    if (reply.read.count != 1) {
        rc = err_say(&d->cli->err, ERR_PROTOCOL, "the proxy answered for another number");
    } else if (!reply.read.items[0].found) {
        rc = AGAIN; /* deleted since: asking for it will tell */
    } else {
        rc = take_bytes(d, reply.read.items[0].manifest, reply.read.items[0].data, d->size_bytes);
    }
    proxy_reply_release(&reply);
    return rc;
}

/* Each window was verified where it was read, block by block; this is the way from there. (SHA-1
 * is compared by nobody a second time.) */
static int check_whole(struct download *d)
{
    if (d->checksum.algo == CHECKSUM_CRC32C && d->checksum.crc32c != d->crc) {
        return err_say(&d->cli->err, ERR_CHECKSUM, "object '%s' came with another checksum",
                       cli_arg(d->cli, 1));
    }
    return 0;
}

/* All of it, or AGAIN. */
static int read_all(struct download *d)
{
    int rc = ask_info(d);

    d->progress.total = d->size_bytes;
    if (rc == 0 && ftruncate(d->fd, 0) != 0) {
        rc = err_set(&d->cli->err, -errno, "empty the file");
    }
    while (rc == 0 && d->done < d->size_bytes) {
        rc = d->size_bytes <= d->at_once_bytes ? read_at_once(d) : read_window(d);
        progress_show(&d->progress, d->done);
    }
    return rc != 0 ? rc : check_whole(d);
}

/* ---- the file ---- */

static int flush_folder(const char *path)
{
    char *copy = mem_strdup(path);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = folder < 0 || fsync(folder) != 0 ? -errno : 0;

    if (folder >= 0) {
        close(folder);
    }
    free(copy);
    return rc;
}

/* Without a name, where the file system knows that: who is killed leaves nothing. As wide as the
 * file that it will take the place of, at no time wider; a new one as usual. */
static int open_part(struct download *d, const char *path, const char *part)
{
    char *copy = mem_strdup(path);
    struct stat st;
    bool is_there = stat(path, &st) == 0;
    mode_t mode = is_there ? st.st_mode & 0777 : 0666;

    d->fd = access("/proc/self/fd", X_OK) == 0
                ? open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, mode)
                : -1;
    free(copy);
    if (d->fd < 0) {
        d->fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        d->has_name = d->fd >= 0;
    }
    return d->fd < 0 || (is_there && fchmod(d->fd, mode) != 0) ? -errno : 0;
}

/* A name is never given to a file in the place of another: so it goes by way of `part`. */
static int give_name(struct download *d, const char *part)
{
    char *unnamed = mem_printf("/proc/self/fd/%d", d->fd);
    int rc = d->has_name ? 0 : linkat(AT_FDCWD, unnamed, AT_FDCWD, part, AT_SYMLINK_FOLLOW);

    d->has_name = rc == 0;
    free(unnamed);
    return rc;
}

static int settle(struct download *d, const char *part, const char *path)
{
    if (fsync(d->fd) != 0 || give_name(d, part) != 0 || rename(part, path) != 0) {
        return err_set(&d->cli->err, -errno, "write %.200s", path);
    }
    return flush_folder(path) == 0 ? 0 : err_set(&d->cli->err, -EIO, "folder of %.200s", path);
}

/* Where it shall be: behind links. NULL: refused. */
static char *real_place(struct cli *cli, const char *path)
{
    struct stat st;
    char *real;

    if (strcmp(path, "-") == 0) {
        err_say(&cli->err, -EINVAL,
                "'-' is not standard output here, as an object is verified before its file is "
                "there; name a file (./- for one of that name)");
        return NULL;
    }
    if (stat(path, &st) != 0) {
        return mem_strdup(path);
    }
    if (!S_ISREG(st.st_mode)) {
        err_say(&cli->err, -EINVAL, "%.200s is not a regular file%s; name the file to write", path,
                S_ISDIR(st.st_mode) ? " but a directory" : "");
        return NULL;
    }
    real = realpath(path, NULL);
    if (real == NULL) {
        err_set(&cli->err, -errno, "file %.200s", path);
    }
    return real;
}

int download_object(struct target *t, struct cli *cli, const char *ns, struct slice name,
                    const char *path)
{
    struct download d = {.t = t, .cli = cli, .ns = slice_str(ns), .name = name, .fd = -1};
    char *real = real_place(cli, path);
    char *part = real != NULL ? mem_printf("%s.part-%ld", real, (long)getpid()) : NULL;
    int opened = real != NULL ? open_part(&d, real, part) : 0;
    int rc = real != NULL ? AGAIN : cli->err.code;

    if (opened != 0) {
        rc = opened == -ENOENT || opened == -ENOTDIR
                 ? err_say(&cli->err, opened, "file %.200s: its folder does not exist", path)
                 : err_set(&cli->err, opened, "a file beside %.200s", path);
    }
    interrupt_begin(&d.interrupt, t);
    progress_begin(&d.progress, "downloading", 0, true);
    for (unsigned i = 0; d.fd >= 0 && rc == AGAIN && i < TRIES_MAX; i++) {
        d.at_once_bytes = i < WINDOW_TRIES ? WINDOW_BYTES : PROXY_CLIENT_REPLY_BYTES_MAX / 2;
        rc = read_all(&d);
    }
    progress_end(&d.progress);
    if (rc == AGAIN) {
        rc = err_say(&cli->err, ERR_BUSY, "object '%.100s' is replaced again and again",
                     cli_arg(cli, 1));
    }
    rc = rc != 0 ? rc : settle(&d, part, real);
    if (d.fd >= 0) {
        close(d.fd);
    }
    if (rc != 0 && d.has_name) {
        unlink(part);
    }
    interrupt_end(&d.interrupt);
    free(part);
    free(real);
    return rc;
}
