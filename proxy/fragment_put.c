/* SEND -> done. The namespace's status is missing: CHECK_STATUS -> SET_STATUS -> SEND. The key
 * is there: COMPARE -> done. */
#include "proxy/fragment_put.h"

#include <string.h>

#include "base/check.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"

enum {
    STATUS_TRIES_MAX = 3,
    KEYS_BYTES = 1024 /* reserved at once, so that slices of keys stay where they are */
};

static const uint8_t status_active = OSD_KEY_NS_STATUS_ACTIVE;

static void send_apply(struct fragment_put *p);

static uint8_t prio_of(const struct fragment_put *p)
{
    return p->spec.low_priority ? ASD_PRIO_LOW : ASD_PRIO_HIGH;
}

static void finish(struct fragment_put *p, int rc)
{
    gather_release(&p->request);
    buf_release(&p->call.asd.failed_key);
    p->cb(p, rc);
}

static void on_finish(struct later_item *item)
{
    struct fragment_put *p = container_of(item, struct fragment_put, later);

    finish(p, p->rc);
}

static void finish_later(struct fragment_put *p, int rc)
{
    p->rc = rc;
    later_run(&p->engine->later, &p->later, on_finish);
}

static void start_call(struct fragment_put *p, enum osd_call_kind kind, osd_call_cb cb)
{
    int rc =
        osd_call_start(p->osd, &p->call, &p->request, kind, p->engine->options.osd_timeout_ms, cb);

    if (rc != 0) {
        finish_later(p, err_set(&p->err, rc, "asking"));
        return;
    }
    p->is_calling = true;
}

/* ---- keys ---- */

enum part { FRAGMENT, RECOVERY, TAG, STATUS };

static struct slice put_key(struct buf *keys, const struct fragment_put *p, enum part part)
{
    const struct fragment_put_spec *spec = &p->spec;
    size_t at = keys->len;

    switch (part) {
    case FRAGMENT:
        osd_key_put_fragment(keys, spec->ns->id, &spec->name);
        break;
    case RECOVERY:
        osd_key_put_recovery(keys, spec->ns->id, &spec->name);
        break;
    case TAG:
        osd_key_put_gc_tag(keys, spec->ns->id, spec->gc_epoch, &spec->name);
        break;
    case STATUS:
        osd_key_put_ns_status(keys, spec->ns->id);
        break;
    }
    return slice_of(keys->data + at, keys->len - at);
}

/* ---- the key was there ---- */

static bool is_ours(struct fragment_put *p)
{
    uint32_t bytes = p->spec.tail_bytes;
    struct slice tail = slice_of(p->spec.image.data + p->spec.image.len - bytes, bytes);
    struct asd_reply reply;
    bool same;

    if (asd_reply_decode(p->call.asd.reply, ASD_PARTIAL_GET, &reply, &p->err) != 0) {
        return false;
    }
    same = reply.partial.found && slice_eq(reply.partial.data, tail);
    asd_reply_release(&reply);
    return same;
}

static void on_compared(struct osd_call *call, int rc)
{
    struct fragment_put *p = container_of(call, struct fragment_put, call);

    p->is_calling = false;
    if (rc != 0 && rc != -ERANGE) { /* beyond its end: that value is another one */
        err_copy(&p->err, &call->asd.err);
        finish(p, rc);
    } else if (rc == 0 && is_ours(p)) {
        finish(p, 0);
    } else {
        finish(p, err_set(&p->err, ERR_EXISTS, "other bytes are there"));
    }
}

static void compare(struct fragment_put *p)
{
    uint32_t bytes = p->spec.tail_bytes;
    struct asd_part part = {.offset = (uint32_t)(p->spec.payload.len + p->spec.image.len) - bytes,
                            .bytes = bytes};
    struct buf keys = {0};
    struct asd_request request = {
        .code = ASD_PARTIAL_GET, .prio = prio_of(p), .partial = {.parts = &part}};

    p->state = FRAGMENT_PUT_COMPARE;
    request.partial.part_count = 1;
    request.partial.key = put_key(&keys, p, FRAGMENT);
    gather_release(&p->request);
    asd_request_encode(&request, &p->request);
    buf_release(&keys);
    start_call(p, OSD_READ, on_compared);
}

/* ---- the OSD does not know the namespace ---- */

static void on_status_set(struct osd_call *call, int rc)
{
    struct fragment_put *p = container_of(call, struct fragment_put, call);

    p->is_calling = false;
    if (rc == 0 || rc == ERR_ASSERT_FAILED) { /* somebody else told it */
        buf_release(&call->asd.failed_key);
        send_apply(p);
        return;
    }
    err_copy(&p->err, &call->asd.err);
    finish(p, rc);
}

static void set_status(struct fragment_put *p)
{
    struct buf keys = {0}, name_key = {0};
    struct asd_request request = {.code = ASD_APPLY, .prio = prio_of(p)};
    struct asd_assert absent;
    struct asd_update updates[2];

    p->state = FRAGMENT_PUT_SET_STATUS;
    osd_key_put_ns_name(&name_key, p->spec.ns->id);
    absent = (struct asd_assert){.key = put_key(&keys, p, STATUS)};
    updates[0] = (struct asd_update){.key = absent.key,
                                     .value = slice_of(&status_active, 1),
                                     .checksum = checksum_none(),
                                     .assertable = true};
    updates[1] = (struct asd_update){.key = slice_buf(&name_key),
                                     .value = slice_str(p->spec.ns->name),
                                     .checksum = checksum_none(),
                                     .assertable = true};
    request.apply = (struct asd_apply){
        .asserts = &absent, .assert_count = 1, .updates = updates, .update_count = 2};
    gather_release(&p->request);
    asd_request_encode(&request, &p->request);
    buf_release(&keys);
    buf_release(&name_key);
    start_call(p, OSD_WRITE, on_status_set);
}

static void on_registry(void *ctx, int rc, const struct err *e)
{
    struct fragment_put *p = ctx;
    const struct registry_namespace *ns;

    if (p->canceled) {
        finish(p, err_set(&p->err, ERR_CANCELED, "fragment"));
        return;
    }
    if (rc != 0) {
        /* Not the code of a missing namespace, whatever the registry says. */
        finish(p, err_set(&p->err, rc == ERR_NOT_FOUND ? ERR_FAILED : rc, "%s", e->msg));
        return;
    }
    ns = registry_view_namespace_by_id(registry_view(p->engine->registry), p->spec.ns->id);
    if (ns == NULL || ns->state == REGISTRY_NS_REMOVING) {
        finish(p, err_set(&p->err, ERR_NOT_FOUND, "namespace %s", p->spec.ns->name));
        return;
    }
    set_status(p);
}

static void check_status(struct fragment_put *p)
{
    if (p->status_tries++ >= STATUS_TRIES_MAX) {
        finish(p, err_set(&p->err, ERR_FAILED, "the namespace status does not stay"));
        return;
    }
    p->state = FRAGMENT_PUT_CHECK_STATUS;
    registry_refresh(p->engine->registry, on_registry, p);
}

/* ---- the Apply ---- */

static void on_assert_failed(struct fragment_put *p)
{
    struct buf key = {0};
    bool is_status = slice_eq(slice_buf(&p->call.asd.failed_key), put_key(&key, p, STATUS));

    buf_release(&key);
    buf_release(&p->call.asd.failed_key);
    if (is_status) {
        check_status(p);
    } else if (p->spec.tail_bytes == 0) {
        finish(p, err_set(&p->err, ERR_EXISTS, "the key is taken"));
    } else {
        compare(p);
    }
}

static void on_applied(struct osd_call *call, int rc)
{
    struct fragment_put *p = container_of(call, struct fragment_put, call);

    p->is_calling = false;
    if (rc != ERR_ASSERT_FAILED) {
        if (rc != 0) {
            err_copy(&p->err, &call->asd.err);
        }
        finish(p, rc);
    } else if (p->canceled) {
        finish(p, err_set(&p->err, ERR_CANCELED, "fragment"));
    } else {
        on_assert_failed(p);
    }
}

static void send_apply(struct fragment_put *p)
{
    const struct fragment_put_spec *spec = &p->spec;
    struct buf keys = {0};
    struct asd_request request = {.code = ASD_APPLY, .prio = prio_of(p)};
    struct asd_assert asserts[2];
    struct asd_update updates[3];

    p->state = FRAGMENT_PUT_SEND;
    buf_reserve(&keys, KEYS_BYTES);
    asserts[0] = (struct asd_assert){
        .key = put_key(&keys, p, STATUS), .value = slice_of(&status_active, 1), .has_value = true};
    asserts[1] = (struct asd_assert){.key = put_key(&keys, p, FRAGMENT)};
    updates[0] = (struct asd_update){
        .key = asserts[1].key, .value = spec->payload, .rest = spec->image, .checksum = spec->sum};
    updates[1] = (struct asd_update){.key = put_key(&keys, p, RECOVERY),
                                     .value = spec->recovery,
                                     .checksum = checksum_none(),
                                     .assertable = true};
    updates[2] = (struct asd_update){
        .key = put_key(&keys, p, TAG), .checksum = checksum_none(), .assertable = true};
    CHECK(keys.len <= KEYS_BYTES);
    request.apply = (struct asd_apply){.asserts = asserts,
                                       .assert_count = 2,
                                       .updates = updates,
                                       .update_count = 3,
                                       .flags = spec->reserve ? ASD_APPLY_RESERVE : 0};
    gather_release(&p->request);
    asd_request_encode(&request, &p->request);
    buf_release(&keys);
    start_call(p, OSD_WRITE, on_applied);
}

void fragment_put_start(struct fragment_put *p, struct engine *engine, struct osd *osd,
                        const struct fragment_put_spec *spec, fragment_put_cb cb)
{
    memset(p, 0, sizeof(*p));
    p->engine = engine;
    p->osd = osd;
    p->spec = *spec;
    p->cb = cb;
    CHECK(spec->tail_bytes <= spec->image.len);
    send_apply(p);
}

void fragment_put_cancel(struct fragment_put *p)
{
    if (!p->canceled) {
        p->canceled = true;
        if (p->is_calling) {
            osd_call_cancel(&p->call);
        }
    }
}
