#include "asd/home.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"

enum {
    IDENTITY_VERSION = 1,
    IDENTITY_HEAD_BYTES = 32,
    IDENTITY_BYTES_MAX = IDENTITY_HEAD_BYTES + 2 * (2 + ASD_NAME_BYTES_MAX) + 4,
};

static const uint8_t identity_magic[8] = {'A', 'L', 'B', 'A', 'S', 'D', 'I', 'D'};

int asd_home_lock(const char *path, int *ret_fd, struct err *e)
{
    char *name = mem_printf("%s/lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    int rc = 0;

    if (fd < 0) {
        rc = err_set(e, -errno, "home %s: lock", path);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK
                 ? err_set(e, ERR_BUSY, "home %s is in use by another process", path)
                 : err_set(e, -errno, "home %s: lock", path);
        close(fd);
    } else {
        *ret_fd = fd;
    }
    free(name);
    return rc;
}

static void put_name(struct buf *b, const char *name)
{
    size_t bytes = strlen(name);

    buf_put_u16le(b, (uint16_t)bytes);
    buf_put(b, name, bytes);
}

void asd_identity_encode(struct buf *b, const struct asd_home *home)
{
    size_t start = b->len;

    buf_put(b, identity_magic, sizeof(identity_magic));
    buf_put_u32le(b, IDENTITY_VERSION);
    buf_put_u32le(
        b, (uint32_t)(IDENTITY_HEAD_BYTES + 4 + strlen(home->asd_id) + strlen(home->node_id) + 4));
    buf_put(b, home->store_id, ASD_STORE_ID_BYTES);
    put_name(b, home->asd_id);
    put_name(b, home->node_id);
    buf_put_u32le(b, crc32c(0, b->data + start, b->len - start));
}

static char *get_name(struct rd *r)
{
    uint16_t bytes = rd_u16le(r);
    const uint8_t *data = rd_bytes(r, bytes);
    char *name;

    if (r->bad || bytes == 0 || bytes > ASD_NAME_BYTES_MAX || memchr(data, 0, bytes) != NULL) {
        r->bad = true;
        return NULL;
    }
    name = mem_zalloc((size_t)bytes + 1);
    memcpy(name, data, bytes);
    return name;
}

int asd_identity_decode(struct slice data, struct asd_home *home, struct err *e)
{
    struct rd r = rd_of(data.data, data.len);
    const uint8_t *magic = rd_bytes(&r, sizeof(identity_magic));
    uint32_t version = rd_u32le(&r);
    uint32_t bytes = rd_u32le(&r);
    const uint8_t *store_id = rd_bytes(&r, ASD_STORE_ID_BYTES);

    if (r.bad || memcmp(magic, identity_magic, sizeof(identity_magic)) != 0) {
        return err_set(e, ERR_CORRUPT, "identity: magic");
    }
    if (version > IDENTITY_VERSION) {
        return err_set(e, ERR_VERSION, "identity of version %" PRIu32, version);
    }
    if (bytes != data.len || data.len < IDENTITY_HEAD_BYTES + 4 ||
        crc32c(0, data.data, data.len - 4) != get_u32le(data.data + data.len - 4)) {
        return err_set(e, ERR_CORRUPT, "identity: checksum");
    }
    memcpy(home->store_id, store_id, ASD_STORE_ID_BYTES);
    free(home->asd_id);
    free(home->node_id);
    home->asd_id = get_name(&r);
    home->node_id = get_name(&r);
    return r.bad ? err_set(e, ERR_CORRUPT, "identity: names") : 0;
}

static int check_names(const char *asd_id, const char *node_id, struct err *e)
{
    const char *names[2] = {node_id, asd_id};

    for (unsigned i = 0; i < 2; i++) {
        if (names[i] != NULL && (names[i][0] == '\0' || strlen(names[i]) > ASD_NAME_BYTES_MAX)) {
            return err_set(e, -EINVAL, "%s must have 1 to %d characters",
                           i == 0 ? "node_id" : "asd_id", ASD_NAME_BYTES_MAX);
        }
    }
    return 0;
}

/* 0: it is there. */
static int find(struct io *io, const char *path, const char *name)
{
    char *file = mem_printf("%s/%s", path, name);
    int fd = io->ops->open(io, file, IO_OPEN_READ);

    free(file);
    if (fd >= 0) {
        io->ops->close(io, fd);
    }
    return fd < 0 ? fd : 0;
}

int asd_home_admit(struct io *io, const char *path, bool may_create, struct err *e)
{
    int rc = find(io, path, "identity");

    if (rc == -ENOENT && may_create) {
        rc = io_make_dir(io, path);
    } else if (rc == -ENOENT && find(io, path, ASD_HOME_NEW) != 0) {
        return err_say(e, ERR_NOT_FOUND,
                       "home %s: no store is here. Is its disk mounted? To make a new store here, "
                       "start it once with --create",
                       path);
    } else if (rc == -ENOENT) {
        rc = 0;
    }
    return rc == 0 ? 0 : err_set(e, rc, "home %s", path);
}

static int load_identity(struct asd_home *home, const char *asd_id, const char *node_id,
                         struct err *e)
{
    char *name = mem_printf("%s/identity", home->path);
    uint8_t *data = NULL;
    size_t bytes = 0;
    int rc = io_load_file(home->io, name, IDENTITY_BYTES_MAX, &data, &bytes);

    free(name);
    if (rc == -ENOENT) {
        char uuid[RND_UUID_TEXT_BYTES];

        rnd_uuid_text(uuid);
        rnd_bytes(home->store_id, ASD_STORE_ID_BYTES);
        home->asd_id = mem_strdup(asd_id != NULL ? asd_id : uuid);
        home->node_id = mem_strdup(node_id);
        home->fresh = true;
        return 0;
    }
    if (rc != 0) {
        return err_set(e, rc, "identity");
    }
    rc = asd_identity_decode(slice_of(data, bytes), home, e);
    free(data);
    if (rc != 0) {
        return rc;
    }
    if (asd_id != NULL && strcmp(asd_id, home->asd_id) != 0) {
        return err_set(e, ERR_IDENTITY, "asd_id is \"%s\" here, not \"%s\"", home->asd_id, asd_id);
    }
    if (strcmp(node_id, home->node_id) != 0) {
        return err_set(e, ERR_IDENTITY, "node_id is \"%s\" here, not \"%s\"", home->node_id,
                       node_id);
    }
    return 0;
}

int asd_home_open(struct io *io, const char *path, const char *asd_id, const char *node_id,
                  struct asd_home *ret_home, struct err *e)
{
    struct asd_home home = {.io = io,
                            .path = mem_strdup(path),
                            .slabs_path = mem_printf("%s/slabs", path),
                            .db_path = mem_printf("%s/db", path)};
    int rc = check_names(asd_id, node_id, e);

    if (rc == 0) {
        rc = load_identity(&home, asd_id, node_id, e);
    }
    if (rc == 0 && home.fresh) {
        rc = io_make_dir(io, home.slabs_path);
        if (rc == 0) {
            rc = io->ops->sync_dir(io, path);
        }
        if (rc != 0) {
            err_set(e, rc, "slabs");
        }
    }
    if (rc != 0) {
        asd_home_release(&home);
        return err_wrap(e, "home %s", path);
    }
    *ret_home = home;
    return 0;
}

int asd_home_commit(struct asd_home *home, struct err *e)
{
    struct buf b = {0};
    char *name;
    int rc;

    asd_identity_encode(&b, home);
    rc = io_store_file(home->io, home->path, "identity", b.data, b.len);
    buf_release(&b);
    if (rc != 0) {
        return err_set(e, rc, "home %s: identity", home->path);
    }
    home->fresh = false;
    name = mem_printf("%s/" ASD_HOME_NEW, home->path);
    home->io->ops->unlink(home->io, name); /* it may stay: the identity is there */
    free(name);
    return 0;
}

void asd_home_release(struct asd_home *home)
{
    free(home->path);
    free(home->slabs_path);
    free(home->db_path);
    free(home->asd_id);
    free(home->node_id);
    *home = (struct asd_home){0};
}
