/* A read: known and well -> DIRECT; failed or not possible -> PROXY. The proxy's answer brings the
 * manifest that the next read may use. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "object/object_private.h"
#include "wire/llio.h"

static void finish(struct client_read *r, int rc)
{
    struct object_client *client = r->client;

    list_remove(&r->link);
    if (rc == 0) {
        *(r->was_direct ? &client->counters.direct_bytes : &client->counters.proxy_bytes) +=
            r->bytes;
    }
    r->cb(r, rc); /* may free r */
    object_client_idle(client);
}

/* ---- by a proxy ---- */

static int take_data(struct client_read *r)
{
    struct slice data = r->call.reply.objects.data;
    const uint8_t *at = data.data;

    if (data.len != r->bytes) {
        return err_set(&r->err, ERR_PROTOCOL, "the proxy sent %zu bytes of %" PRIu64, data.len,
                       r->bytes);
    }
    for (size_t i = 0; i < r->spec.slice_count; i++) {
        if (r->spec.slices[i].bytes != 0) {
            memcpy(r->spec.slices[i].dest, at, r->spec.slices[i].bytes);
            at += r->spec.slices[i].bytes;
        }
    }
    return 0;
}

static void on_proxy(struct object_call *call, int rc)
{
    struct client_read *r = container_of(call, struct client_read, call);

    if (rc == 0) {
        rc = take_data(r);
    } else {
        err_copy(&r->err, &call->err);
        r->proxy_code = call->proxy_code;
    }
    finish(r, rc);
}

static void ask_proxy(struct client_read *r)
{
    size_t count = r->spec.slice_count;
    struct proxy_slice *slices = mem_array(count + 1, sizeof(*slices));
    struct proxy_object_slices object = {
        .name = r->spec.name, .slices = slices, .slice_count = (uint32_t)count};
    struct proxy_request request = {.code = PROXY_READ_SLICES2,
                                    .ns = r->spec.ns,
                                    .consistent_read =
                                        r->spec.consistent || r->doubtful ||
                                        !object_may_be_cached(r->client, r->spec.ns, r->spec.name),
                                    .reads = {.items = &object, .count = 1}};
    uint64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct proxy_slice){.offset = (int64_t)r->spec.slices[i].offset,
                                         .bytes = (int32_t)r->spec.slices[i].bytes};
    }
    r->client->counters.proxy_reads++;
    object_client_call(r->client, &r->call, &request,
                       r->deadline_ms > now_ms ? (unsigned)(r->deadline_ms - now_ms) : 1, on_proxy);
    free(slices);
}

/* ---- directly ---- */

/* Why not, and what it says about the object and the OSDs. */
static void note_failure(struct client_read *r, int rc)
{
    struct object_counters *counters = &r->client->counters;

    switch (rc) {
    case ERR_BUSY:
        counters->aside++;
        object_client_refresh(r->client);
        return;
    case ERR_NOT_FOUND:
        counters->missing++;
        break;
    case ERR_CORRUPT:
    case ERR_VERSION:
    case ERR_REMOTE:
    case -ERANGE:
    case -EINVAL:
        counters->damaged++;
        break;
    default:
        counters->unreachable++;
        object_client_refresh(r->client);
        return;
    }
    r->doubtful = true;
    r->object->suspect_until_ms = clock_mono_ms() + KNOWN_SUSPECT_MS;
}

static void on_direct(struct direct_read *direct, int rc)
{
    struct client_read *r = container_of(direct, struct client_read, direct);

    r->is_direct = false;
    if (rc == 0) {
        r->was_direct = true;
        r->client->counters.direct_reads++;
    } else if (!r->canceled) {
        note_failure(r, rc);
    }
    known_object_drop(r->object);
    r->object = NULL;
    if (rc != 0 && r->canceled) {
        rc = err_set(&r->err, ERR_CANCELED, "read");
    } else if (rc != 0 && !r->spec.direct_only) {
        ask_proxy(r);
        return;
    } else if (rc != 0) {
        err_copy(&r->err, &direct->err);
    }
    finish(r, rc);
}

static bool lies_within(const struct known_object *object, const struct client_read_spec *spec)
{
    for (size_t i = 0; i < spec->slice_count; i++) {
        if (!layout_holds(&object->layout, spec->slices[i].offset, spec->slices[i].bytes)) {
            return false;
        }
    }
    return true;
}

/* Takes a reference when it may be read directly. */
static struct known_object *usable(struct object_client *client, struct slice ns, struct slice name)
{
    struct known_object *object = known_get(&client->known, ns, name);

    if (object == NULL) {
        client->counters.not_known++;
    } else if (clock_mono_ms() < object->suspect_until_ms) {
        client->counters.suspect++;
        known_object_drop(object);
        object = NULL;
    }
    return object;
}

/* Why a read of what is known goes by a proxy; NULL: it need not. */
static uint64_t *reason_against(struct client_read *r)
{
    struct object_client *client = r->client;

    r->doubtful = !lies_within(r->object, &r->spec);
    if (r->doubtful) {
        return &client->counters.suspect;
    }
    switch (direct_read_way(&client->env, r->object, r->spec.slices, r->spec.slice_count)) {
    case DIRECT_ASIDE:
        return &client->counters.aside;
    case DIRECT_FAR:
        return &client->counters.far;
    case DIRECT_POSSIBLE:
        break;
    }
    return NULL;
}

static bool start_direct(struct client_read *r)
{
    struct object_client *client = r->client;
    uint64_t now_ms = clock_mono_ms();
    uint64_t *reason;

    if (r->spec.consistent || !object_goes_direct(client)) {
        return false;
    }
    r->object = usable(client, r->spec.ns, r->spec.name);
    if (r->object == NULL) {
        return false;
    }
    reason = reason_against(r);
    if (reason != NULL) {
        ++*reason;
        if (reason != &client->counters.far) {
            object_client_refresh(client);
        }
        known_object_drop(r->object);
        r->object = NULL;
        return false;
    }
    r->is_direct = true; /* half of the time, so that a proxy has the other */
    direct_read_start(&r->direct, &client->env, r->object, r->spec.slices, r->spec.slice_count,
                      now_ms + (r->deadline_ms - now_ms) / 2 + 1, on_direct);
    return true;
}

/* ---- start ---- */

struct extent {
    uint64_t offset, end;
};

static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool overlap(const struct client_read_spec *spec)
{
    struct extent *extents = mem_array(spec->slice_count + 1, sizeof(*extents));
    bool found = false;

    for (size_t i = 0; i < spec->slice_count; i++) {
        extents[i].offset = spec->slices[i].offset;
        extents[i].end = spec->slices[i].offset + spec->slices[i].bytes;
    }
    qsort(extents, spec->slice_count, sizeof(*extents), compare_extents);
    for (size_t i = 1; i < spec->slice_count; i++) {
        found = found || extents[i].offset < extents[i - 1].end;
    }
    free(extents);
    return found;
}

_Static_assert((int)OBJECT_READ_SLICES_MAX <= (int)LLIO_COUNT_MAX, "a proxy takes them all");

static int check(struct client_read *r)
{
    if (r->spec.slice_count > OBJECT_READ_SLICES_MAX) {
        return err_set(&r->err, ERR_TOO_LARGE, "more than %d slices in one read",
                       (int)OBJECT_READ_SLICES_MAX);
    }
    for (size_t i = 0; i < r->spec.slice_count; i++) {
        const struct object_slice *s = &r->spec.slices[i];

        if (s->offset > INT64_MAX - OBJECT_READ_BYTES_MAX) {
            return err_set(&r->err, -ERANGE, "slice at %" PRIu64, s->offset);
        }
        if (s->bytes > OBJECT_READ_BYTES_MAX - r->bytes) {
            return err_set(&r->err, ERR_TOO_LARGE, "more than %d bytes in one read",
                           (int)OBJECT_READ_BYTES_MAX);
        }
        r->bytes += s->bytes;
    }
    if (r->spec.slice_count > 1 && overlap(&r->spec)) {
        return err_set(&r->err, -EINVAL, "slices overlap");
    }
    return 0;
}

static void on_refused(struct later_item *item)
{
    struct client_read *r = container_of(item, struct client_read, later);

    finish(r, r->rc);
}

void object_client_read(struct object_client *client, struct client_read *r,
                        const struct client_read_spec *spec, unsigned timeout_ms, client_read_cb cb)
{
    CHECK(!client->closing);
    memset(r, 0, sizeof(*r));
    r->client = client;
    r->spec = *spec;
    r->cb = cb;
    r->deadline_ms = clock_mono_ms() + (timeout_ms != 0 ? timeout_ms : client->options.timeout_ms);
    client->busy++;
    list_push(&client->reads, &r->link);
    r->rc = check(r);
    if (r->rc != 0) {
        later_run(&client->later, &r->later, on_refused);
    } else if (start_direct(r)) {
        return;
    } else if (r->spec.direct_only) {
        r->rc = err_set(&r->err, ERR_BUSY, "not to be read directly now");
        later_run(&client->later, &r->later, on_refused);
    } else {
        ask_proxy(r);
    }
}

void object_client_read_cancel(struct client_read *r)
{
    r->canceled = true;
    if (r->is_direct) {
        direct_read_cancel(&r->direct);
    } else if (r->rc == 0) {
        object_call_cancel(&r->call);
    }
}
