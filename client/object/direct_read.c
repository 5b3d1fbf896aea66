/* Pieces are started in order, DIRECT_PIECES_MAX at once. The first that fails ends the read: no
 * more are started, those under way are canceled and awaited, as they write where we read to. */
#include "object/direct_read.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

struct piece {
    struct direct_read *read;
    struct direct_piece piece;
    struct list link;
};

static void step(struct direct_read *r);

/* NULL: none, or not one to ask now. */
static const struct book_osd *well_osd(const struct direct_env *env,
                                       const struct known_object *object, uint32_t chunk,
                                       uint32_t fragment, uint64_t now_ms)
{
    const struct manifest_fragment *f = manifest_fragment_at(&object->manifest, chunk, fragment);
    const struct book_osd *osd = f->has_osd ? osd_book_find(env->book, f->osd_id) : NULL;

    return osd != NULL && book_osd_is_well(osd, now_ms) ? osd : NULL;
}

/* Of replicas the first whose OSD is well and near, or well at least; else the data fragment
 * itself. */
static uint32_t choose(const struct direct_env *env, const struct known_object *object,
                       uint32_t chunk, uint32_t fragment, uint64_t now_ms)
{
    uint32_t count = object->layout.k == 1 ? manifest_fragments_per_chunk(&object->manifest) : 0;
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < count; i++) {
        const struct book_osd *osd = well_osd(env, object, chunk, i, now_ms);

        if (osd != NULL && !osd->far) {
            return i;
        }
        best = osd != NULL && best == UINT32_MAX ? i : best;
    }
    return best != UINT32_MAX ? best : fragment;
}

/* A proxy that is near can do without what is far. */
static bool has_enough_near(const struct direct_env *env, const struct known_object *object,
                            uint32_t chunk, uint64_t now_ms)
{
    uint32_t near = 0;

    for (uint32_t i = 0; i < manifest_fragments_per_chunk(&object->manifest); i++) {
        const struct book_osd *osd = well_osd(env, object, chunk, i, now_ms);

        near += osd != NULL && !osd->far;
    }
    return near >= object->layout.k;
}

static enum direct_way way_of(const struct direct_env *env, const struct known_object *object,
                              uint32_t chunk, uint32_t fragment, uint64_t now_ms)
{
    uint32_t chosen = choose(env, object, chunk, fragment, now_ms);
    const struct book_osd *osd = well_osd(env, object, chunk, chosen, now_ms);

    if (osd == NULL) {
        return DIRECT_ASIDE;
    }
    return osd->far && has_enough_near(env, object, chunk, now_ms) ? DIRECT_FAR : DIRECT_POSSIBLE;
}

enum direct_way direct_read_way(const struct direct_env *env, const struct known_object *object,
                                const struct object_slice *slices, size_t count)
{
    uint64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < count; i++) {
        struct layout_iter it = layout_range(&object->layout, slices[i].offset, slices[i].bytes);
        struct layout_piece piece;

        while (layout_next(&it, &piece)) {
            enum direct_way way = way_of(env, object, piece.chunk, piece.fragment, now_ms);

            if (way != DIRECT_POSSIBLE) {
                return way;
            }
        }
    }
    return DIRECT_POSSIBLE;
}

/* ---- pieces ---- */

static void on_piece(struct direct_piece *done, int rc)
{
    struct piece *p = container_of(done, struct piece, piece);
    struct direct_read *r = p->read;

    if (rc != 0 && r->rc == 0) {
        r->rc = rc;
        err_copy(&r->err, &done->err);
        LIST_FOR_EACH (it, &r->pieces) {
            direct_piece_cancel(&container_of(it, struct piece, link)->piece);
        }
    }
    list_remove(&p->link);
    r->piece_count--;
    free(p);
    step(r);
}

static void start_piece(struct direct_read *r, const struct layout_piece *at)
{
    struct piece *p = mem_alloc(sizeof(*p));
    struct direct_range range = {
        .chunk = at->chunk,
        .fragment = choose(r->env, r->object, at->chunk, at->fragment, clock_mono_ms()),
        .offset = at->offset,
        .bytes = at->bytes,
        .dest = r->slices[r->slice].dest + at->at};

    p->read = r;
    list_push(&r->pieces, &p->link);
    r->piece_count++;
    direct_piece_start(&p->piece, r->env, r->object, &range, r->deadline_ms, on_piece);
}

/* False: there are no more. */
static bool next_piece(struct direct_read *r, struct layout_piece *ret_piece)
{
    while (r->slice < r->slice_count) {
        if (layout_next(&r->iter, ret_piece)) {
            return true;
        }
        if (++r->slice < r->slice_count) {
            r->iter = layout_range(&r->object->layout, r->slices[r->slice].offset,
                                   r->slices[r->slice].bytes);
        }
    }
    return false;
}

static void step(struct direct_read *r)
{
    struct layout_piece piece;

    while (r->rc == 0 && r->piece_count < DIRECT_PIECES_MAX && next_piece(r, &piece)) {
        if (clock_mono_ms() >= r->deadline_ms) {
            r->rc = err_set(&r->err, UV_ETIMEDOUT, "direct read");
            break;
        }
        start_piece(r, &piece);
    }
    if (r->piece_count == 0) {
        known_object_drop(r->object);
        r->cb(r, r->rc); /* may free r */
    }
}

static void on_start(struct later_item *item)
{
    step(container_of(item, struct direct_read, later));
}

void direct_read_start(struct direct_read *r, const struct direct_env *env,
                       struct known_object *object, const struct object_slice *slices, size_t count,
                       uint64_t deadline_ms, direct_read_cb cb)
{
    *r = (struct direct_read){.env = env,
                              .object = object,
                              .slices = slices,
                              .slice_count = count,
                              .deadline_ms = deadline_ms,
                              .cb = cb};
    object->refs++;
    list_init(&r->pieces);
    if (count != 0) {
        r->iter = layout_range(&object->layout, slices[0].offset, slices[0].bytes);
    }
    later_run(env->later, &r->later, on_start);
}

void direct_read_cancel(struct direct_read *r)
{
    if (r->rc == 0) {
        r->rc = err_set(&r->err, ERR_CANCELED, "read");
        LIST_FOR_EACH (it, &r->pieces) {
            direct_piece_cancel(&container_of(it, struct piece, link)->piece);
        }
    }
}
