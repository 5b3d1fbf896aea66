#include "asd/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/health.h"
#include "asd/slab_file.h"
#include "asd/store_private.h"
#include "asd/sums.h"
#include "base/bigmem.h"

enum { CHUNK_BYTES = 1 << 20 };

struct verify {
    struct asd_store *store;
    const struct asd_found *found;
    int direct_fd; /* -1: through the page cache */
    uint8_t *chunk;
    struct asd_sums sums;
};

const char *asd_bad_name(enum asd_bad bad)
{
    static const char *const names[ASD_BADS] = {
        [ASD_BAD_NOTHING] = "nothing",   [ASD_BAD_RECORD] = "record",
        [ASD_BAD_SLAB] = "missing_slab", [ASD_BAD_READ] = "read_error",
        [ASD_BAD_VALUE] = "value",       [ASD_BAD_CHECKSUM] = "client_checksum",
    };

    return names[bad];
}

/* ---- reading ---- */

static void direct_end(struct verify *v)
{
    struct io *io = v->store->space.io;

    if (v->direct_fd >= 0) {
        io->ops->close(io, v->direct_fd);
    }
    v->direct_fd = -1;
}

/* The slab's own descriptor was opened and looked at before: this is the same file, as it is
 * pinned and never renamed. */
static void direct_begin(struct verify *v)
{
    struct asd_space *s = &v->store->space;
    char *path = asd_slab_path(s->home, v->found->pin.slab->number);

    v->direct_fd = s->io->ops->open(s->io, path, IO_OPEN_READ | IO_OPEN_DIRECT);
    free(path);
}

static int chunk_read(struct verify *v, uint32_t at, uint32_t bytes, struct err *e)
{
    struct asd_space *s = &v->store->space;
    const struct asd_value_record *record = &v->found->record;
    uint64_t offset = record->offset + at;
    int rc = -EINVAL;

    if (v->direct_fd >= 0) {
        rc = io_read_full(s->io, v->direct_fd, v->chunk, asd_slab_align(bytes), offset);
        if (rc == -EINVAL) { /* not in this file system */
            direct_end(v);
        } else if (rc != 0) {
            err_set(e, rc, "slab %" PRIu64 ": read of %" PRIu32 " bytes at %" PRIu64, record->slab,
                    bytes, offset);
        }
    }
    if (rc == -EINVAL) {
        rc = asd_space_read(s, v->found->pin.slab, offset, v->chunk, bytes, e);
    }
    asd_health_read(v->store, rc, record->slab, offset);
    return rc;
}

static int slab_check(struct asd_store *store, const struct asd_found *found, enum asd_bad *ret_bad,
                      struct err *e)
{
    const struct asd_value_record *record = &found->record;
    int rc = asd_space_check(&store->space, found->pin.slab, record->offset + record->bytes, e);

    *ret_bad = rc == 0 ? ASD_BAD_NOTHING : ASD_BAD_SLAB;
    return rc;
}

static int slab_read(struct verify *v, unsigned flags, enum asd_bad *ret_bad, struct err *e)
{
    uint32_t bytes = v->found->record.bytes;
    int rc = slab_check(v->store, v->found, ret_bad, e);

    if (rc != 0) {
        return rc;
    }
    if ((flags & ASD_VERIFY_MEDIUM) != 0) {
        direct_begin(v);
    }
    v->chunk = bigmem_alloc(CHUNK_BYTES);
    for (uint32_t at = 0; rc == 0 && at < bytes; at += CHUNK_BYTES) {
        uint32_t part = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;

        rc = chunk_read(v, at, part, e);
        if (rc == 0) {
            asd_sums_add(&v->sums, v->chunk, part);
        }
    }
    if (rc != 0) {
        *ret_bad = rc == ERR_CORRUPT ? ASD_BAD_SLAB : ASD_BAD_READ; /* it ends too early */
    }
    bigmem_free(v->chunk);
    direct_end(v);
    return rc;
}

static enum asd_bad judge(const struct asd_value_record *record, uint32_t crc, bool client_ok,
                          struct err *e)
{
    if (crc != record->crc) {
        err_set(e, ERR_CORRUPT, "value of %" PRIu32 " bytes", record->bytes);
        return ASD_BAD_VALUE;
    }
    if (!client_ok) {
        err_set(e, ERR_CHECKSUM, "value of %" PRIu32 " bytes, %s", record->bytes,
                checksum_algo_show_name(record->checksum.algo));
        return ASD_BAD_CHECKSUM;
    }
    return ASD_BAD_NOTHING;
}

/* Says something about the value, or the device below it, rather than about this process. */
static bool tells(int rc)
{
    return rc == ERR_CORRUPT || rc == ERR_VERSION || asd_health_is_device(rc);
}

/* What is to be returned, when `rc` came of looking at a value that is `bad`. */
static int told(struct asd_store *store, int rc, enum asd_bad bad, enum asd_bad *ret_bad)
{
    if (rc != 0 && !tells(rc)) {
        return rc;
    }
    asd_count(&store->counters.bad_values, bad != ASD_BAD_NOTHING);
    *ret_bad = bad;
    return 0;
}

int asd_verify_there(struct asd_store *store, const struct asd_found *found, enum asd_bad *ret_bad,
                     struct err *e)
{
    enum asd_bad bad;
    int rc = slab_check(store, found, &bad, e);

    return told(store, rc, bad, ret_bad);
}

int asd_verify(struct asd_store *store, const struct asd_found *found, unsigned flags,
               enum asd_bad *ret_bad, struct err *e)
{
    const struct asd_value_record *record = &found->record;
    struct verify v = {.store = store, .found = found, .direct_fd = -1};
    enum asd_bad bad = ASD_BAD_NOTHING;
    bool client_ok;
    int rc = 0;

    asd_sums_begin(&v.sums, (flags & ASD_VERIFY_CLIENT) != 0 ? &record->checksum : NULL);
    if (record->in_slab) {
        rc = slab_read(&v, flags, &bad, e);
    } else {
        asd_sums_add(&v.sums, record->value.data, record->bytes);
    }
    client_ok = asd_sums_end(&v.sums);
    if (rc == 0) {
        bad = judge(record, v.sums.crc, client_ok, e);
    }
    return told(store, rc, bad, ret_bad);
}

enum asd_bad asd_verify_find_bad(int rc, const struct asd_found *found)
{
    if (rc == 0 || !tells(rc)) {
        return ASD_BAD_NOTHING;
    }
    return found->record.in_slab ? ASD_BAD_SLAB : ASD_BAD_RECORD;
}
