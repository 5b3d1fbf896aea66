/* One value: its record, its place, and with `verify` its bytes. */
#include <inttypes.h>
#include <unistd.h>

#include "asd/inspect_private.h"
#include "asd/sums.h"
#include "base/mem.h"

enum { READ_BYTES = 1048576 };

/* ---- bytes ---- */

/* What is wrong: with what is stored, or with what was said of it when it was stored. */
struct wrong {
    const char *stored;
    const char *said;
};

static struct wrong wrong_of(struct asd_sums *s, const struct asd_value_record *r)
{
    bool client_ok = asd_sums_end(s);

    if (s->crc != r->crc) {
        return (struct wrong){.stored = "its bytes do not have their checksum"};
    }
    return (struct wrong){.said = client_ok ? NULL
                                            : "its bytes are as they were stored, but do not have "
                                              "the checksum that the client gave"};
}

static int read_sums(struct inspect *in, struct inspect_slab *slab,
                     const struct asd_value_record *r, struct asd_sums *s)
{
    if (in->chunk == NULL) {
        in->chunk = mem_aligned(ASD_SLAB_ALIGN_BYTES, READ_BYTES);
    }
    for (uint32_t at = 0; at < r->bytes;) {
        uint32_t left = r->bytes - at;
        uint32_t bytes = left < READ_BYTES ? left : READ_BYTES;
        int fd = inspect_slab_fd(in, slab);
        int rc = fd < 0 ? fd : io_read_full(in->home.io, fd, in->chunk, bytes, r->offset + at);

        if (rc != 0) {
            return rc;
        }
        asd_sums_add(s, in->chunk, bytes);
        at += bytes;
    }
    return 0;
}

/* Fails when the bytes could not be looked at. */
static int check_bytes(struct inspect *in, struct inspect_slab *slab,
                       const struct asd_value_record *r, struct wrong *ret_wrong)
{
    struct asd_sums s;
    int rc;

    asd_sums_begin(&s, &r->checksum);
    rc = read_sums(in, slab, r, &s);
    *ret_wrong = wrong_of(&s, r);
    if (inspect_is_damage(rc)) {
        *ret_wrong = (struct wrong){.stored = err_text(rc)};
        return 0;
    }
    return rc;
}

/* A hole may stand for zeros that were written, on a file system that finds those. */
static bool has_hole(struct inspect *in, struct inspect_slab *slab,
                     const struct asd_value_record *r)
{
    int fd = inspect_slab_fd(in, slab);
    off_t hole = fd >= 0 ? lseek(fd, (off_t)r->offset, SEEK_HOLE) : -1;

    return hole >= 0 && (uint64_t)hole < r->offset + r->bytes;
}

/* An ASD takes a value whose checksum is another one, where its configuration says so, and serves
 * it: that is a note. */
static int verify(struct inspect *in, struct inspect_slab *slab, const struct asd_value_record *r,
                  struct slice client_key, struct err *e)
{
    const struct asd_inspect_options *o = in->options;
    bool hole = has_hole(in, slab, r);
    struct wrong wrong = {0};

    if (o->verify || hole) {
        int rc = check_bytes(in, slab, r, &wrong);

        if (rc != 0) {
            return err_set(e, rc, "slab %" PRIu64 ": read of %" PRIu32 " bytes at %" PRIu64,
                           r->slab, r->bytes, r->offset);
        }
    }
    if (wrong.stored != NULL) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key,
                          "%" PRIu32 " bytes in slab %" PRIu64 " at %" PRIu64 ": %s%s", r->bytes,
                          r->slab, r->offset, hole ? "it lies in a hole; " : "", wrong.stored);
    } else if (wrong.said != NULL) {
        inspect_found_key(in, ASD_FINDING_NOTE, client_key, "%s", wrong.said);
    }
    if (o->verify) {
        in->out->read_values++;
        in->out->read_bytes += r->bytes;
        if (o->progress != NULL) {
            o->progress(o->ctx, in->out->read_bytes, in->bytes_wanted);
        }
    }
    return 0;
}

/* ---- places ---- */

/* The name record of the place must name this key, if there is one. */
static void check_name(struct inspect *in, const struct asd_value_record *r,
                       struct slice client_key)
{
    struct asd_internal_key key = asd_key_name(r->slab, r->offset);
    struct asd_index_value value = {0};
    struct asd_name_record name;
    struct err e;

    if (in->index->ops->get(in->index, asd_internal_slice(&key), &value, &e) != 0) {
        return;
    }
    if (asd_name_record_get(asd_internal_slice(&key), value.bytes, &name, &e) == 0 &&
        !slice_eq(name.client_key, client_key)) {
        inspect_found_key(in, ASD_FINDING_NOTE, client_key,
                          "the name record of its place names another key");
    }
    in->index->ops->release(in->index, &value);
}

static int check_place(struct inspect *in, const struct asd_value_record *r,
                       struct slice client_key, struct err *e)
{
    struct inspect_slab *slab = inspect_slab_find(in, r->slab);
    uint64_t bytes = asd_slab_align(r->bytes);
    unsigned before;

    if (slab == NULL || !slab->seen.has_record) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key,
                          "it names slab %" PRIu64 ", which has no sound record", r->slab);
        return 0;
    }
    slab->seen.values++;
    slab->seen.live_bytes += bytes;
    if (!asd_slab_range_ok(r->offset, bytes, slab->seen.record.tail)) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key,
                          "%" PRIu32 " bytes in slab %" PRIu64 " at %" PRIu64
                          " are not below its tail, %" PRIu64,
                          r->bytes, r->slab, r->offset, slab->seen.record.tail);
        return 0;
    }
    before = inspect_slab_mark(slab, r->offset, bytes, PAGE_VALUE);
    in->nameless += (inspect_slab_bits(slab, r->offset) & PAGE_NAME) == 0;
    inspect_slab_mark(slab, r->offset, 1, PAGE_VALUE_BEGINS);
    if ((before & PAGE_VALUE) != 0) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key,
                          "it shares bytes of slab %" PRIu64 " at %" PRIu64 " with another value",
                          r->slab, r->offset);
    }
    if ((before & PAGE_FREE) != 0) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key,
                          "it lies in slab %" PRIu64 " at %" PRIu64
                          " where a free record would have it punched",
                          r->slab, r->offset);
    }
    if (in->options->verify) {
        check_name(in, r, client_key);
    }
    return slab->usable ? verify(in, slab, r, client_key, e) : 0;
}

/* Its bytes are in the index, and have been read with it. */
static void check_inline(struct inspect *in, const struct asd_value_record *r,
                         struct slice client_key)
{
    struct asd_sums s;
    struct wrong wrong;

    asd_sums_begin(&s, &r->checksum);
    asd_sums_add(&s, r->value.data, r->value.len);
    wrong = wrong_of(&s, r);
    if (wrong.stored != NULL) {
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key, "%" PRIu32 " bytes in the index: %s",
                          r->bytes, wrong.stored);
    } else if (wrong.said != NULL) {
        inspect_found_key(in, ASD_FINDING_NOTE, client_key, "%s", wrong.said);
    }
    if (in->options->verify) {
        in->out->read_values++;
    }
}

int inspect_value(struct inspect *in, struct slice index_key, struct slice record, struct err *e)
{
    struct slice client_key = slice_of(index_key.data + 1, index_key.len - 1);
    struct asd_value_record r;
    int rc = asd_value_record_get(index_key, record, &r, e);

    in->out->values++;
    if (rc == ERR_VERSION) {
        return rc;
    }
    if (rc != 0) {
        in->bad_values++;
        inspect_found_key(in, ASD_FINDING_DAMAGE, client_key, "%s", e->msg);
        return 0;
    }
    in->out->used_bytes += asd_value_cost(client_key.len, r.in_slab, r.bytes);
    in->out->slab_values += r.in_slab;
    if (r.in_slab) {
        return check_place(in, &r, client_key, e);
    }
    check_inline(in, &r, client_key);
    return 0;
}
