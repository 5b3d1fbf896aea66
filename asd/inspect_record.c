/* The records of the index, kind by kind. */
#include <errno.h>
#include <inttypes.h>

#include "asd/inspect_private.h"
#include "asd/scrub_record.h"

enum { SLAB_BYTES_SANE_SHIFT = 46 }; /* 64 TiB */

struct walk {
    struct inspect *in;
    int rc; /* why it could not be looked at: ERR_VERSION, … */
    struct err *e;
};

static bool bad_record(struct walk *w, int rc)
{
    w->rc = rc == ERR_VERSION ? rc : 0;
    if (rc != ERR_VERSION) {
        inspect_found(w->in, ASD_FINDING_DAMAGE, "%s", w->e->msg);
    }
    return w->rc == 0;
}

static bool see_slab(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;
    struct asd_slab_record record;
    uint64_t number = 0;
    int rc = asd_key_slab_parse(key, &number, w->e);

    if (rc != 0) {
        return bad_record(w, rc);
    }
    rc = asd_slab_record_get(key, value, &record, w->e);
    if (rc == 0 && record.size_bytes >> SLAB_BYTES_SANE_SHIFT != 0) {
        rc = err_set(w->e, ERR_CORRUPT, "record says %" PRIu64 " bytes", record.size_bytes);
    }
    if (rc != 0) {
        err_wrap(w->e, "slab %" PRIu64, number);
        inspect_slab_add(w->in, number, NULL); /* its file is no orphan */
        return bad_record(w, rc);
    }
    inspect_slab_add(w->in, number, &record);
    return true;
}

static bool see_free(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;
    struct asd_free_record record;
    struct inspect_slab *slab;
    uint64_t number = 0;
    uint64_t offset = 0;
    int rc = asd_key_free_parse(key, &number, &offset, w->e);

    w->in->out->free_records++;
    rc = rc != 0 ? rc : asd_free_record_get(key, value, &record, w->e);
    if (rc != 0) {
        return bad_record(w, rc);
    }
    slab = inspect_slab_find(w->in, number);
    if (slab == NULL || !slab->seen.has_record) {
        inspect_found(w->in, ASD_FINDING_NOTE,
                      "free record of slab %" PRIu64 ", which is gone; it is passed over", number);
        return true;
    }
    if (!asd_slab_range_ok(offset, record.bytes, slab->seen.record.tail)) {
        inspect_found(w->in, ASD_FINDING_DAMAGE,
                      "free record of %" PRIu64 " bytes in slab %" PRIu64 " at %" PRIu64
                      ": not whole blocks below its tail, %" PRIu64,
                      record.bytes, number, offset, slab->seen.record.tail);
        return true;
    }
    slab->seen.free_bytes += record.bytes;
    if ((inspect_slab_mark(slab, offset, record.bytes, PAGE_FREE) & PAGE_FREE) != 0) {
        inspect_found(w->in, ASD_FINDING_DAMAGE,
                      "free record of %" PRIu64 " bytes in slab %" PRIu64 " at %" PRIu64
                      " overlaps another",
                      record.bytes, number, offset);
    }
    return true;
}

static bool see_name(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;
    struct asd_name_record record;
    struct inspect_slab *slab;
    uint64_t number = 0;
    uint64_t offset = 0;
    int rc = asd_key_name_parse(key, &number, &offset, w->e);

    w->in->out->names++;
    rc = rc != 0 ? rc : asd_name_record_get(key, value, &record, w->e);
    if (rc != 0) {
        return bad_record(w, rc);
    }
    slab = inspect_slab_find(w->in, number);
    if (slab != NULL && offset < slab->seen.record.tail) {
        inspect_slab_mark(slab, offset, 1, PAGE_NAME);
    }
    return true;
}

/* It makes the scrub begin anew at worst, newer software's, too. */
static bool see_scrub(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;
    struct asd_scrub_record record;
    int rc = asd_scrub_record_get(key, value, &record, w->e);

    if (rc != 0) {
        inspect_found(w->in, ASD_FINDING_NOTE, "%s; scrubbing begins anew", w->e->msg);
    } else if (record.bad != 0 || record.last_bad != 0) {
        inspect_found(w->in, ASD_FINDING_NOTE,
                      "scrubbing found bad values: %" PRIu64 " in its last whole pass, %" PRIu64
                      " in pass %" PRIu64,
                      record.last_bad, record.bad, record.pass);
    }
    return true;
}

static bool see_unknown(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;

    (void)value;
    inspect_found(w->in, ASD_FINDING_NOTE,
                  "index keys of a kind that this software does not know, the first one 0x%02x",
                  key.data[0]);
    return false;
}

static bool see_value(void *ctx, struct slice key, struct slice value)
{
    struct walk *w = ctx;

    w->rc = inspect_value(w->in, key, value, w->e);
    return w->rc == 0;
}

/* Keys of the kinds from the first to the last. What the index cannot read is damage; what follows
 * it is not seen. */
static int each_of(struct inspect *in, uint8_t first, uint8_t last, asd_index_visit_cb see,
                   struct err *e)
{
    struct asd_internal_key from = asd_key_of(first);
    struct asd_internal_key to = asd_key_of((uint8_t)(last + 1));
    struct walk w = {.in = in, .e = e};
    int rc = in->index->ops->iterate(in->index, asd_internal_slice(&from), asd_internal_slice(&to),
                                     false, see, &w, e);

    if (inspect_is_damage(rc)) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%s", e->msg);
        in->out->is_whole = false;
        rc = 0;
    }
    return w.rc != 0 ? w.rc : rc;
}

static int each(struct inspect *in, uint8_t kind, asd_index_visit_cb see, struct err *e)
{
    return each_of(in, kind, kind, see, e);
}

int inspect_records(struct inspect *in, struct err *e)
{
    int rc = each(in, ASD_KEY_SLAB, see_slab, e);

    rc = rc != 0 ? rc : inspect_slab_files(in, e);
    rc = rc != 0 ? rc : each(in, ASD_KEY_FREE, see_free, e);
    rc = rc != 0 ? rc : each(in, ASD_KEY_NAME, see_name, e);
    rc = rc != 0 ? rc : each(in, ASD_KEY_SCRUB, see_scrub, e);
    rc = rc != 0 ? rc : each_of(in, ASD_KEY_SCRUB + 1, ASD_KEY_VALUE - 1, see_unknown, e);
    rc = rc != 0 ? rc : each(in, ASD_KEY_VALUE, see_value, e);
    rc = rc != 0 ? rc : each_of(in, ASD_KEY_VALUE + 1, UINT8_MAX - 1, see_unknown, e);
    return rc;
}
