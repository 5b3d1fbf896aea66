/* One fragment: SEND -> SENDING -> STORED, and when things fail:
 *
 * - the OSD does not know the namespace (assert on its status): ask the registry; if it is
 *   alive, SET_STATUS and send again, else the whole upload fails;
 * - the key is there: an earlier send of ours was executed though its reply was lost.
 *   COMPARE the trailer, whose salt and checksums no other encoding has;
 * - the OSD is busy: again a little later;
 * - anything else: another OSD if the policy has one, else FAILED. What the first OSD may have
 *   stored carries a gc tag and is collected by it. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/upload_private.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

enum { BUSY_TRIES_MAX = 40, BUSY_WAIT_MS = 50, STATUS_TRIES_MAX = 3 };

static const uint8_t status_active = OSD_KEY_NS_STATUS_ACTIVE;

static struct upload *upload_of(const struct upload_fragment *f)
{
    return f->chunk->upload;
}

static uint8_t prio_of(const struct upload *u)
{
    return u->spec.low_priority ? ASD_PRIO_LOW : ASD_PRIO_HIGH;
}

static struct osd_fragment name_of(const struct upload_fragment *f)
{
    return (struct osd_fragment){.object_id = upload_of(f)->manifest.object_id,
                                 .chunk = f->chunk->index,
                                 .fragment = f->index,
                                 .version = 0};
}

void upload_fragment_send_to(struct upload_fragment *f, struct osd *osd)
{
    f->osd = osd;
    f->state = UPLOAD_FRAGMENT_SEND;
    f->send_at_ms = clock_mono_ms();
    f->status_tries = 0;
    f->busy_tries = 0;
}

static void fail(struct upload_fragment *f, const char *why)
{
    struct upload *u = upload_of(f);
    struct osd *other = NULL;

    u->engine->stats.totals.fragments_failed++;
    log_debug("upload", "fragment failed",
              "chunk=%" PRIu32 " fragment=%" PRIu32 " osd=%llu why=\"%s\"", f->chunk->index,
              f->index, (unsigned long long)f->osd->id, why);
    if (!upload_is_over(u) && f->replacements < UPLOAD_REPLACEMENTS_MAX) {
        other = upload_replacement(f, f->osd);
    }
    if (other == NULL) {
        f->state = UPLOAD_FRAGMENT_FAILED;
        return;
    }
    f->replacements++;
    u->engine->stats.totals.fragments_replaced++;
    u->targets[f->index] = other;
    upload_fragment_send_to(f, other);
}

/* ---- the Apply ---- */

static struct slice put_fragment_key(struct buf *keys, const struct upload_fragment *f)
{
    size_t at = keys->len;
    struct osd_fragment name = name_of(f);

    osd_key_put_fragment(keys, upload_of(f)->spec.ns->id, &name);
    return slice_of(keys->data + at, keys->len - at);
}

static struct slice put_recovery_key(struct buf *keys, const struct upload_fragment *f)
{
    size_t at = keys->len;
    struct osd_fragment name = name_of(f);

    osd_key_put_recovery(keys, upload_of(f)->spec.ns->id, &name);
    return slice_of(keys->data + at, keys->len - at);
}

static struct slice put_tag_key(struct buf *keys, const struct upload_fragment *f)
{
    size_t at = keys->len;
    struct osd_fragment name = name_of(f);

    osd_key_put_gc_tag(keys, upload_of(f)->spec.ns->id, upload_of(f)->spec.gc_epoch, &name);
    return slice_of(keys->data + at, keys->len - at);
}

static struct slice put_status_key(struct buf *keys, const struct upload_fragment *f)
{
    size_t at = keys->len;

    osd_key_put_ns_status(keys, upload_of(f)->spec.ns->id);
    return slice_of(keys->data + at, keys->len - at);
}

/* So that slices of keys stay where they are. */
enum { KEYS_BYTES = 1024 };

static void on_applied(struct osd_call *call, int rc);

static int start_call(struct upload_fragment *f, enum osd_call_kind kind, osd_call_cb cb,
                      enum upload_fragment_state state)
{
    struct upload *u = upload_of(f);
    int rc;

    rc = osd_call_start(f->osd, &f->call, &f->request, kind, u->engine->options.osd_timeout_ms, cb);
    if (rc != 0) {
        fail(f, err_text(rc));
        return rc;
    }
    u->pending++;
    f->state = state;
    return 0;
}

static void send_apply(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);
    const struct encode *x = &f->chunk->encode;
    struct buf keys = {0};
    struct asd_request request = {.code = ASD_APPLY, .prio = prio_of(u)};
    struct asd_assert asserts[2];
    struct asd_update updates[3];

    buf_reserve(&keys, KEYS_BYTES);
    asserts[0] = (struct asd_assert){
        .key = put_status_key(&keys, f), .value = slice_of(&status_active, 1), .has_value = true};
    asserts[1] = (struct asd_assert){.key = put_fragment_key(&keys, f)};
    updates[0] =
        (struct asd_update){.key = asserts[1].key,
                            .value = slice_of(x->images[f->index], x->stored_bytes[f->index]),
                            .checksum = checksum_crc32c(x->crcs[f->index])};
    updates[1] = (struct asd_update){.key = put_recovery_key(&keys, f),
                                     .value = slice_buf(&f->chunk->recovery),
                                     .checksum = checksum_none(),
                                     .assertable = true};
    updates[2] = (struct asd_update){
        .key = put_tag_key(&keys, f), .checksum = checksum_none(), .assertable = true};
    CHECK(keys.len <= KEYS_BYTES);
    request.apply = (struct asd_apply){.asserts = asserts,
                                       .assert_count = 2,
                                       .updates = updates,
                                       .update_count = 3,
                                       .flags = u->spec.reserve ? ASD_APPLY_RESERVE : 0};
    gather_release(&f->request);
    asd_request_encode(&request, &f->request);
    buf_release(&keys);
    start_call(f, OSD_WRITE, on_applied, UPLOAD_FRAGMENT_SENDING);
}

static void note_stored(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);
    bool late = u->state == UPLOAD_STORED;

    f->state = UPLOAD_FRAGMENT_STORED;
    u->engine->stats.totals.fragments_stored++;
    if (!late) {
        struct manifest_fragment *mf =
            manifest_fragment_at(&u->manifest, f->chunk->index, f->index);

        mf->has_osd = true;
        mf->osd_id = f->osd->id;
    }
    u->places = mem_realloc(u->places, (u->place_count + 1) * sizeof(*u->places));
    u->places[u->place_count++] = (struct upload_place){
        .osd = f->osd, .chunk = f->chunk->index, .fragment = f->index, .late = late};
}

/* ---- the key was there ---- */

static bool is_ours(const struct upload_fragment *f, struct asd_call *call)
{
    const struct encode *x = &f->chunk->encode;
    struct fragment_shape shape = fragment_shape_of(x->fragment_bytes, x->codec);
    uint32_t bytes = fragment_trailer_bytes(&shape);
    struct asd_reply reply;
    struct err e;
    bool same;

    if (asd_reply_decode(call->reply, ASD_PARTIAL_GET, &reply, &e) != 0) {
        return false;
    }
    same = reply.partial.found &&
           slice_eq(reply.partial.data,
                    slice_of(x->images[f->index] + x->stored_bytes[f->index] - bytes, bytes));
    asd_reply_release(&reply);
    return same;
}

static void on_compared(struct osd_call *call, int rc)
{
    struct upload_fragment *f = container_of(call, struct upload_fragment, call);
    struct upload *u = upload_of(f);

    u->pending--;
    if (rc == 0 && is_ours(f, &call->asd)) {
        note_stored(f);
    } else {
        fail(f, rc == 0 ? "other bytes are there" : call->asd.err.msg);
    }
    buf_release(&call->asd.failed_key);
    upload_step(u);
}

static void compare(struct upload_fragment *f)
{
    const struct encode *x = &f->chunk->encode;
    struct fragment_shape shape = fragment_shape_of(x->fragment_bytes, x->codec);
    uint32_t bytes = fragment_trailer_bytes(&shape);
    struct asd_part part = {.offset = x->stored_bytes[f->index] - bytes, .bytes = bytes};
    struct buf keys = {0};
    struct asd_request request = {
        .code = ASD_PARTIAL_GET, .prio = prio_of(upload_of(f)), .partial = {.parts = &part}};

    request.partial.part_count = 1;
    request.partial.key = put_fragment_key(&keys, f);
    gather_release(&f->request);
    asd_request_encode(&request, &f->request);
    buf_release(&keys);
    start_call(f, OSD_READ, on_compared, UPLOAD_FRAGMENT_COMPARE);
}

/* ---- the OSD does not know the namespace ---- */

static void on_status_set(struct osd_call *call, int rc)
{
    struct upload_fragment *f = container_of(call, struct upload_fragment, call);
    struct upload *u = upload_of(f);

    u->pending--;
    if (rc == 0 || rc == ERR_ASSERT_FAILED) { /* somebody else told it */
        f->state = UPLOAD_FRAGMENT_SEND;
        f->send_at_ms = clock_mono_ms();
    } else {
        fail(f, call->asd.err.msg);
    }
    buf_release(&call->asd.failed_key);
    upload_step(u);
}

static void set_status(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);
    struct buf keys = {0}, name_key = {0};
    struct asd_request request = {.code = ASD_APPLY, .prio = prio_of(u)};
    struct asd_assert absent;
    struct asd_update updates[2];

    osd_key_put_ns_name(&name_key, u->spec.ns->id);
    absent = (struct asd_assert){.key = put_status_key(&keys, f)};
    updates[0] = (struct asd_update){.key = absent.key,
                                     .value = slice_of(&status_active, 1),
                                     .checksum = checksum_none(),
                                     .assertable = true};
    updates[1] = (struct asd_update){.key = slice_buf(&name_key),
                                     .value = slice_str(u->spec.ns->name),
                                     .checksum = checksum_none(),
                                     .assertable = true};
    request.apply = (struct asd_apply){
        .asserts = &absent, .assert_count = 1, .updates = updates, .update_count = 2};
    gather_release(&f->request);
    asd_request_encode(&request, &f->request);
    buf_release(&keys);
    buf_release(&name_key);
    start_call(f, OSD_WRITE, on_status_set, UPLOAD_FRAGMENT_SET_STATUS);
}

static void on_registry(void *ctx, int rc, const struct err *e)
{
    struct upload_fragment *f = ctx;
    struct upload *u = upload_of(f);
    const struct registry_namespace *ns;

    u->pending--;
    f->state = UPLOAD_FRAGMENT_FAILED;
    if (!upload_is_over(u)) {
        ns = rc == 0
                 ? registry_view_namespace_by_id(registry_view(u->engine->registry), u->spec.ns->id)
                 : NULL;
        if (rc != 0) {
            fail(f, e->msg);
        } else if (ns != NULL && ns->state != REGISTRY_NS_REMOVING) {
            set_status(f);
        } else if (u->state == UPLOAD_RUN) {
            err_set(&u->err, ERR_NOT_FOUND, "namespace %s", u->spec.ns->name);
            upload_fail_attempt(u, ERR_NOT_FOUND, true);
        }
    }
    upload_step(u);
}

static void check_status(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);

    if (f->status_tries++ >= STATUS_TRIES_MAX) {
        fail(f, "the namespace status does not stay");
        return;
    }
    f->state = UPLOAD_FRAGMENT_CHECK_STATUS;
    u->pending++;
    registry_refresh(u->engine->registry, on_registry, f);
}

/* ---- replies ---- */

static void on_assert_failed(struct upload_fragment *f)
{
    struct slice failed = slice_buf(&f->call.asd.failed_key);
    struct buf key = {0};
    bool is_status = slice_eq(failed, put_status_key(&key, f));

    buf_release(&key);
    if (is_status) {
        check_status(f);
    } else {
        compare(f);
    }
}

static void on_applied(struct osd_call *call, int rc)
{
    struct upload_fragment *f = container_of(call, struct upload_fragment, call);
    struct upload *u = upload_of(f);
    struct buf failed_key = call->asd.failed_key;

    u->pending--;
    if (rc == 0) {
        note_stored(f);
    } else if (upload_is_over(u)) {
        f->state = UPLOAD_FRAGMENT_FAILED;
    } else if (rc == ERR_ASSERT_FAILED) {
        on_assert_failed(f);
    } else if (rc == ERR_BUSY && f->busy_tries++ < BUSY_TRIES_MAX) {
        f->state = UPLOAD_FRAGMENT_SEND;
        f->send_at_ms = clock_mono_ms() + BUSY_WAIT_MS;
    } else {
        fail(f, call->asd.err.msg);
    }
    buf_release(&failed_key);
    upload_step(u);
}

void upload_fragment_step(struct upload_fragment *f)
{
    if (f->state != UPLOAD_FRAGMENT_SEND) {
        return;
    }
    if (upload_is_over(upload_of(f))) {
        f->state = UPLOAD_FRAGMENT_FAILED;
    } else if (f->send_at_ms <= clock_mono_ms()) {
        send_apply(f);
    }
}

void upload_fragment_cancel(struct upload_fragment *f)
{
    switch (f->state) {
    case UPLOAD_FRAGMENT_SENDING:
    case UPLOAD_FRAGMENT_SET_STATUS:
    case UPLOAD_FRAGMENT_COMPARE:
        osd_call_cancel(&f->call);
        break;
    case UPLOAD_FRAGMENT_SEND:
        f->state = UPLOAD_FRAGMENT_FAILED;
        break;
    default:
        break;
    }
}
