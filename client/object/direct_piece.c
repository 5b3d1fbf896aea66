/* FLAT or ALL: one request, verified, done. TRAILER -> BLOCKS: two, of which the first is saved
 * by what is known. */
#include "object/direct_piece.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

static void on_reply(struct asd_call *call, int rc);

static const struct manifest_fragment *fragment_of(const struct direct_piece *p)
{
    return manifest_fragment_at(&p->object->manifest, p->range.chunk, p->range.fragment);
}

/* ---- ending ---- */

/* Before the book can be closed. */
static void let_go(struct direct_piece *p)
{
    if (p->osd != NULL) {
        book_osd_release(p->osd);
        p->osd = NULL;
    }
}

static void finish(struct direct_piece *p, int rc)
{
    let_go(p);
    gather_release(&p->request);
    p->cb(p, p->canceled && rc != 0 ? ERR_CANCELED : rc);
}

static void on_finish(struct later_item *item)
{
    struct direct_piece *p = container_of(item, struct direct_piece, later);

    finish(p, p->rc);
}

static void finish_later(struct direct_piece *p, int rc)
{
    let_go(p);
    p->rc = rc;
    later_run(p->env->later, &p->later, on_finish);
}

/* ---- asking ---- */

/* Which parts of the stored value, by state. */
static uint32_t parts_of(const struct direct_piece *p, struct fragment_range parts[3])
{
    struct fragment_flat flat;

    switch (p->state) {
    case DIRECT_FLAT:
        flat = fragment_flat_ranges(&p->ref, p->range.offset, p->range.bytes);
        parts[0] = flat.blocks;
        parts[1] = flat.entries;
        parts[2] = flat.footer;
        return 3;
    case DIRECT_ALL:
        parts[0] = (struct fragment_range){.offset = 0, .bytes = p->ref.stored_bytes};
        return 1;
    case DIRECT_TRAILER:
        parts[0] = fragment_trailer_range(&p->ref);
        return 1;
    case DIRECT_BLOCKS:
        parts[0] = fragment_index_range(p->index, p->range.offset, p->range.bytes);
        return 1;
    }
    CHECK(false);
    return 0;
}

static void encode(struct direct_piece *p)
{
    struct fragment_range parts[3];
    struct asd_part asked[3];
    struct osd_fragment name = {.object_id = p->object->manifest.object_id,
                                .chunk = p->range.chunk,
                                .fragment = p->range.fragment,
                                .version = fragment_of(p)->version};
    struct asd_request request = {
        .code = ASD_PARTIAL_GET, .prio = ASD_PRIO_HIGH, .partial = {.parts = asked}};
    struct buf key = {0};

    request.partial.part_count = parts_of(p, parts);
    for (uint32_t i = 0; i < request.partial.part_count; i++) {
        asked[i] = (struct asd_part){.offset = parts[i].offset, .bytes = parts[i].bytes};
    }
    osd_key_put_fragment(&key, p->object->ns_id, &name);
    request.partial.key = slice_buf(&key);
    gather_release(&p->request);
    asd_request_encode(&request, &p->request);
    buf_release(&key);
}

static void ask(struct direct_piece *p)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t left_ms = p->deadline_ms > now_ms ? p->deadline_ms - now_ms : DIRECT_CALL_MS_MIN;
    int rc;

    if (!book_osd_take(p->osd, now_ms)) {
        finish_later(p, err_set(&p->err, ERR_BUSY, "osd %" PRIu64 " is set aside", p->osd->id));
        return;
    }
    encode(p);
    ++*p->env->round_trips;
    *p->env->far_trips += p->osd->far;
    rc = asd_client_call(book_osd_client(p->osd), &p->call, &p->request,
                         left_ms < p->env->call_ms ? (unsigned)left_ms : p->env->call_ms, on_reply);
    if (rc != 0) {
        book_osd_note(p->osd, rc);
        err_copy(&p->err, &p->call.err);
        finish_later(p, rc);
        return;
    }
    p->is_calling = true;
}

/* ---- unpacking ---- */

static int unpack_all(struct direct_piece *p)
{
    struct fragment_range trailer = fragment_trailer_range(&p->ref);
    struct fragment_index index = {0};
    struct fragment_range blocks;
    int rc;

    rc =
        fragment_index_init(&index, &p->ref, p->data.data + trailer.offset, trailer.bytes, &p->err);
    if (rc == 0) {
        blocks = fragment_index_range(&index, p->range.offset, p->range.bytes);
        rc = fragment_index_unpack(&index, &p->ref, p->range.offset, p->range.bytes,
                                   slice_of(p->data.data + blocks.offset, blocks.bytes),
                                   p->range.dest, &p->err);
    }
    fragment_index_release(&index);
    return rc;
}

static int unpack_trailer(struct direct_piece *p)
{
    struct fragment_index index = {0};
    int rc = fragment_index_init(&index, &p->ref, p->data.data, (uint32_t)p->data.len, &p->err);

    if (rc == 0) {
        p->index = known_index_put(p->object, p->range.chunk, p->range.fragment, &index);
    }
    return rc;
}

static int unpack(struct direct_piece *p)
{
    switch (p->state) {
    case DIRECT_FLAT:
        return fragment_flat_unpack(&p->ref, p->range.offset, p->range.bytes, p->data,
                                    p->range.dest, &p->err);
    case DIRECT_ALL:
        return unpack_all(p);
    case DIRECT_TRAILER:
        return unpack_trailer(p);
    case DIRECT_BLOCKS:
        return fragment_index_unpack(p->index, &p->ref, p->range.offset, p->range.bytes, p->data,
                                     p->range.dest, &p->err);
    }
    CHECK(false);
    return 0;
}

/* ---- replies ---- */

static int check_reply(struct direct_piece *p, const struct asd_reply *reply)
{
    struct fragment_range parts[3];
    uint32_t count = parts_of(p, parts);
    size_t expected = 0;

    if (!reply->partial.found) {
        return err_set(&p->err, ERR_NOT_FOUND, "fragment on osd %" PRIu64, p->osd->id);
    }
    for (uint32_t i = 0; i < count; i++) {
        expected += parts[i].bytes;
    }
    if (reply->partial.data.len != expected) {
        return err_set(&p->err, ERR_CORRUPT, "%zu bytes came, %zu were asked for",
                       reply->partial.data.len, expected);
    }
    p->data = reply->partial.data;
    return unpack(p);
}

static int take_reply(struct direct_piece *p)
{
    struct asd_reply reply;
    int rc = asd_reply_decode(p->call.reply, ASD_PARTIAL_GET, &reply, &p->err);

    if (rc != 0) {
        return rc;
    }
    rc = check_reply(p, &reply);
    asd_reply_release(&reply);
    return rc;
}

static void on_reply(struct asd_call *call, int rc)
{
    struct direct_piece *p = container_of(call, struct direct_piece, call);
    bool has_answered = rc == 0;

    p->is_calling = false;
    buf_release(&call->failed_key);
    if (rc == 0) {
        rc = p->canceled ? err_set(&p->err, ERR_CANCELED, "read") : take_reply(p);
    } else {
        err_copy(&p->err, &call->err);
    }
    /* Its own deadline may have left a call less time than an OSD is allowed. */
    if (rc == UV_ETIMEDOUT && clock_mono_ms() >= p->deadline_ms) {
        rc = ERR_CANCELED;
    }
    /* What is wrong with the answer is the fragment's fault. */
    book_osd_note(p->osd, has_answered ? 0 : rc);
    if (rc == 0 && p->state == DIRECT_TRAILER) {
        p->state = DIRECT_BLOCKS;
        ask(p);
        return;
    }
    finish(p, rc);
}

/* ---- start ---- */

static struct fragment_ref ref_of(const struct direct_piece *p)
{
    const struct manifest *m = &p->object->manifest;
    const struct layout *layout = &p->object->layout;

    return (struct fragment_ref){
        .id = fragment_id_of(m->object_id.data, p->range.chunk, p->range.fragment, layout->k),
        .shape = {.raw_bytes = layout_fragment_bytes(layout, p->range.chunk),
                  .block_bytes = m->scheme.block_bytes,
                  .codec = m->scheme.codec,
                  .cipher = CIPHER_NONE},
        .stored_bytes = fragment_of(p)->packed_bytes};
}

static enum direct_piece_state first_state(struct direct_piece *p)
{
    if (p->ref.stored_bytes <= DIRECT_WHOLE_BYTES || p->range.bytes >= p->ref.shape.raw_bytes / 2) {
        return DIRECT_ALL;
    }
    if (fragment_is_flat(&p->ref.shape)) {
        return DIRECT_FLAT;
    }
    p->index = known_index(p->object, p->range.chunk, p->range.fragment);
    return p->index != NULL ? DIRECT_BLOCKS : DIRECT_TRAILER;
}

void direct_piece_start(struct direct_piece *p, const struct direct_env *env,
                        struct known_object *object, const struct direct_range *range,
                        uint64_t deadline_ms, direct_piece_cb cb)
{
    const struct manifest_fragment *f =
        manifest_fragment_at(&object->manifest, range->chunk, range->fragment);
    int rc;

    memset(p, 0, sizeof(*p));
    p->env = env;
    p->object = object;
    p->range = *range;
    p->deadline_ms = deadline_ms;
    p->cb = cb;
    p->ref = ref_of(p);
    p->osd = f->has_osd ? osd_book_find(env->book, f->osd_id) : NULL;
    if (p->osd != NULL) {
        book_osd_hold(p->osd);
    }
    rc = fragment_ref_check(&p->ref, &p->err);
    if (rc == 0 && !f->has_osd) {
        rc = err_set(&p->err, ERR_NOT_FOUND, "chunk %" PRIu32 " fragment %" PRIu32, range->chunk,
                     range->fragment);
    } else if (rc == 0 && p->osd == NULL) {
        rc = err_set(&p->err, ERR_BUSY, "osd %" PRIu64 " is not known", f->osd_id);
    }
    if (rc != 0) {
        finish_later(p, rc);
        return;
    }
    p->state = first_state(p);
    ask(p);
}

void direct_piece_cancel(struct direct_piece *p)
{
    if (!p->canceled) {
        p->canceled = true;
        if (p->is_calling) {
            asd_call_cancel(&p->call);
        }
    }
}
