/* MEMORY -> READ (k fragments, verified) -> ENCODE (a fresh salt for each) -> SEND -> done.
 *
 * A fragment that was said to be lost is read when no k others are left: the reply that told so
 * may have been bad, not the fragment. One that comes good is not made anew.
 * A fragment that an OSD does not take goes to another one that the policy allows; the OSD that
 * lost it comes last. One that finds its key taken, by a repair that was not entered, takes the
 * next version: a key is written once. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "proxy/recovery.h"
#include "proxy/repair_private.h"

static bool send_part(struct repair_part *p);

/* ---- end ---- */

static void chunk_end(struct repair_chunk *c)
{
    struct repair *r = c->repair;

    budget_give(&c->share);
    encode_release(&c->encode);
    bigmem_free(c->data);
    buf_release(&c->recovery);
    free(c);
    repair_chunk_done(r);
}

static void chunk_fail(struct repair_chunk *c, int rc, struct err *e)
{
    err_wrap(e, "chunk %" PRIu32, c->index);
    repair_note_error(c->repair, rc, e);
    chunk_end(c);
}

/* ---- places ---- */

static bool holds_some(const struct repair *r, uint64_t osd_id)
{
    for (size_t i = 0; i < r->osd_count; i++) {
        if (r->osd_ids[i] == osd_id) {
            return true;
        }
    }
    return false;
}

static bool has_failed(const struct repair_part *p, uint64_t osd_id)
{
    for (unsigned i = 0; i < p->tries; i++) {
        if (p->failed[i] == osd_id) {
            return true;
        }
    }
    return false;
}

/* The OSDs of the chunk's other fragments. */
static uint32_t held_by(const struct repair_part *p, uint64_t held[PRESET_FRAGMENTS_MAX])
{
    const struct repair_chunk *c = p->chunk;
    const struct manifest *m = &c->repair->object->manifest;
    uint32_t count = 0;

    for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
        const struct manifest_fragment *f = manifest_fragment_at(m, c->index, i);

        if (i == p->index) {
            continue;
        }
        if ((c->wanted >> i & 1) != 0) {
            if (c->parts[i].osd != NULL) {
                held[count++] = c->parts[i].osd->id;
            }
        } else if (f->has_osd) {
            held[count++] = f->osd_id;
        }
    }
    return count;
}

struct preset_policy repair_policy_of(const struct manifest *m)
{
    return (struct preset_policy){.k = m->scheme.k,
                                  .m = m->scheme.m,
                                  .min_fragments = m->scheme.c,
                                  .max_per_node = m->scheme.max_disks_per_node};
}

/* One of the usable ones of `all` that the object's policy allows, or NULL. */
static struct osd *pick_of(const struct repair_part *p, const struct choose_osd *all,
                           unsigned count)
{
    struct repair *r = p->chunk->repair;
    const struct manifest *m = &r->edited;
    struct preset_policy policy = repair_policy_of(m);
    uint64_t held[PRESET_FRAGMENTS_MAX];
    struct choose_more more = {.policy = &policy, .held = held, .want = 1};
    bool is_wide = r->osd_count >= REPAIR_OBJECT_OSDS_MAX;
    uint32_t chosen[PRESET_FRAGMENTS_MAX];
    struct choose_osd *list = mem_array(count + 1, sizeof(*list));
    struct osd *found = NULL;

    more.held_count = held_by(p, held);
    memcpy(list, all, count * sizeof(*list));
    for (unsigned i = 0; i < count; i++) {
        list[i].usable = list[i].usable && !has_failed(p, list[i].osd_id) &&
                         (!is_wide || holds_some(r, list[i].osd_id));
    }
    if (choose_extra(r->preset, &more, list, count, &r->engine->rnd, chosen) != 0) {
        found = osds_at(r->engine->osds, chosen[0]);
    }
    free(list);
    return found;
}

/* A slow one when there is no other. Not `except`, which may be NULL. */
static struct osd *pick(const struct repair_part *p, const struct osd *except)
{
    struct osds *osds = p->chunk->repair->engine->osds;
    unsigned count;
    const struct choose_osd *all = osds_choose_list(osds, true, except, &count);
    struct osd *found = pick_of(p, all, count);

    if (found == NULL && osds_choose_slow_too(osds, true, except)) {
        found = pick_of(p, all, count);
    }
    return found;
}

/* The OSD that lost it comes last. */
static struct osd *place_for(const struct repair_part *p)
{
    struct repair *r = p->chunk->repair;
    const struct manifest_fragment *f =
        manifest_fragment_at(&r->object->manifest, p->chunk->index, p->index);
    struct osd *old = f->has_osd ? osds_find(r->engine->osds, f->osd_id) : NULL;
    struct osd *other = pick(p, old);

    return other != NULL || old == NULL ? other : pick(p, NULL);
}

static void note_no_place(struct repair_part *p)
{
    struct repair *r = p->chunk->repair;
    struct err e;

    if (!manifest_fragment_at(&r->object->manifest, p->chunk->index, p->index)->has_osd &&
        !r->fills_holes) {
        return; /* it would have been made on the way only */
    }
    err_set(&e, ERR_NO_POLICY, "chunk %" PRIu32 " fragment %" PRIu32, p->chunk->index, p->index);
    osds_explain(r->engine->osds, true, &e);
    repair_note_error(r, ERR_NO_POLICY, &e);
}

/* The wanted ones in the order in which they get places: holes last, as the OSD that lost a
 * fragment may be the only one that can have it again. Returns how many. */
static uint32_t order_parts(struct repair_chunk *c, struct repair_part *ret[PRESET_FRAGMENTS_MAX])
{
    const struct manifest *m = &c->repair->object->manifest;
    uint32_t count = 0;

    for (unsigned holes = 0; holes < 2; holes++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            bool is_hole = !manifest_fragment_at(m, c->index, i)->has_osd;

            if ((c->wanted >> i & 1) != 0 && is_hole == (holes == 1)) {
                c->parts[i].chunk = c;
                c->parts[i].index = i;
                ret[count++] = &c->parts[i];
            }
        }
    }
    return count;
}

/* Those that no OSD may take go out: to read the chunk for them would be for nothing. */
static void keep_placeable(struct repair_chunk *c)
{
    struct repair_part *parts[PRESET_FRAGMENTS_MAX];
    uint32_t count = order_parts(c, parts);

    for (uint32_t i = 0; i < count; i++) {
        parts[i]->osd = place_for(parts[i]);
        if (parts[i]->osd == NULL) {
            note_no_place(parts[i]);
            c->wanted &= ~(UINT32_C(1) << parts[i]->index);
        }
    }
    memset(c->parts, 0, sizeof(c->parts)); /* they are placed once there is something to send */
}

/* ---- send ---- */

static void note_stored(struct repair_part *p)
{
    struct repair *r = p->chunk->repair;
    struct manifest_fragment *edited = manifest_fragment_at(&r->edited, p->chunk->index, p->index);
    struct repair_placed *placed;

    edited->has_osd = true;
    edited->osd_id = p->osd->id;
    edited->version = p->version;
    if (!holds_some(r, p->osd->id)) {
        r->osd_ids = mem_realloc(r->osd_ids, (r->osd_count + 1) * sizeof(*r->osd_ids));
        r->osd_ids[r->osd_count++] = p->osd->id;
    }
    r->placed = mem_realloc(r->placed, (r->placed_count + 1) * sizeof(*r->placed));
    placed = &r->placed[r->placed_count++];
    *placed = (struct repair_placed){
        .chunk = p->chunk->index, .fragment = p->index, .osd = p->osd, .after = *edited};
    placed->before = *manifest_fragment_at(&r->object->manifest, p->chunk->index, p->index);
}

static void on_put(struct fragment_put *put, int rc)
{
    struct repair_part *p = container_of(put, struct repair_part, put);
    struct repair_chunk *c = p->chunk;
    struct repair *r = c->repair;

    r->result.moved_bytes += c->encode.stored_bytes[p->index];
    if (rc == 0) {
        note_stored(p);
    } else if (p->tries + 1 < REPAIR_TRIES_MAX && rc != ERR_NOT_FOUND && !r->canceled) {
        bool is_taken = rc == ERR_EXISTS;

        p->failed[p->tries++] = is_taken ? 0 : p->osd->id; /* no OSD has the id 0 */
        p->version += is_taken;
        p->osd = is_taken ? p->osd : NULL;
        if (send_part(p)) {
            return;
        }
    } else {
        err_wrap(&put->err, "osd %" PRIu64, p->osd->id);
        p->osd = NULL;
        repair_note_error(r, rc, &put->err);
    }
    if (--c->sending == 0) {
        chunk_end(c);
    }
}

/* Format 0 has no salt: what another repairer left there, with a tag of its own epoch only, would
 * look like ours, and go with that epoch. */
static uint32_t tail_bytes(const struct repair_part *p)
{
    const struct repair_chunk *c = p->chunk;

    return c->repair->object->manifest.scheme.fragment_format == 0
               ? 0
               : encode_tail_bytes(&c->encode, p->index);
}

/* false: no OSD may take it. */
static bool send_part(struct repair_part *p)
{
    struct repair_chunk *c = p->chunk;
    struct repair *r = c->repair;
    const struct encode *x = &c->encode;
    struct fragment_put_spec spec = {.ns = r->ns,
                                     .gc_epoch = r->gc_epoch,
                                     .name = {.object_id = r->object->manifest.object_id,
                                              .chunk = c->index,
                                              .fragment = p->index,
                                              .version = p->version},
                                     .image =
                                         slice_of(x->images[p->index], x->stored_bytes[p->index]),
                                     .sum = encode_sum(x, p->index),
                                     .tail_bytes = tail_bytes(p),
                                     .recovery = slice_buf(&c->recovery),
                                     .reserve = true,
                                     .low_priority = true};

    if (p->osd == NULL) {
        p->osd = place_for(p);
    }
    if (p->osd == NULL) {
        note_no_place(p);
        return false;
    }
    fragment_put_start(&p->put, r->engine, p->osd, &spec, on_put);
    return true;
}

static void send_all(struct repair_chunk *c)
{
    struct repair_part *parts[PRESET_FRAGMENTS_MAX];
    uint32_t count = order_parts(c, parts);

    for (uint32_t i = 0; i < count; i++) {
        parts[i]->version = c->repair->object->manifest.version_id + 1;
        c->sending += send_part(parts[i]);
    }
    if (c->sending == 0) {
        chunk_end(c);
    }
}

/* ---- encode ---- */

static void encode_work(struct pool_work *work)
{
    encode_run(&container_of(work, struct repair_chunk, work)->encode);
}

/* What the manifest will say of them, and so will the recovery info. */
static int note_sums(struct repair_chunk *c, struct err *e)
{
    struct repair *r = c->repair;

    for (uint32_t i = 0; i < r->readable.k + r->readable.m; i++) {
        if ((c->wanted >> i & 1) != 0) {
            encode_note(&c->encode, i, manifest_fragment_at(&r->edited, c->index, i));
        }
    }
    return recovery_of(&r->edited, c->index, true, r->readable.key, &c->recovery, e);
}

static void on_encoded(struct pool_work *work, int rc)
{
    struct repair_chunk *c = container_of(work, struct repair_chunk, work);
    struct err e;

    bigmem_free(c->data);
    c->data = NULL;
    if (rc == 0 && c->repair->canceled) {
        rc = ERR_CANCELED;
    }
    if (rc != 0) {
        err_set(&e, rc, "encoding");
    } else {
        rc = note_sums(c, &e);
    }
    if (rc != 0) {
        chunk_fail(c, rc, &e);
    } else {
        send_all(c);
    }
}

static void start_encode(struct repair_chunk *c)
{
    struct repair *r = c->repair;
    struct encode *x = &c->encode;
    struct err e;
    int rc;

    memcpy(x->object_id, r->object_id, sizeof(x->object_id));
    x->chunk = c->index;
    x->k = r->readable.k;
    x->m = r->readable.m;
    x->codec = r->object->manifest.scheme.codec;
    x->with_sha1 = readable_fragment(&r->readable, c->index, 0)->checksum.algo == CHECKSUM_SHA1;
    x->cipher = r->object->manifest.scheme.cipher;
    x->key = r->readable.key;
    x->fragment_bytes = layout_fragment_bytes(&r->readable.layout, c->index);
    x->data = c->data;
    x->data_bytes = layout_chunk_bytes(&r->readable.layout, c->index);
    x->wanted = c->wanted;
    rc = pool_submit(r->engine->pool, &c->work, POOL_LOW, encode_work, on_encoded);
    if (rc != 0) {
        err_set(&e, rc, "encoding");
        chunk_fail(c, rc, &e);
    }
}

/* ---- read ---- */

static void on_read(struct chunk_read *read, int rc)
{
    struct repair_chunk *c = container_of(read, struct repair_chunk, read);

    c->is_reading = false;
    if (rc != 0) {
        repair_note_error(c->repair, rc, &read->err); /* names the chunk */
        chunk_end(c);
        return;
    }
    c->wanted |= read->bad; /* found on the way: their data is at hand */
    c->wanted &= ~read->came;
    if (c->wanted == 0) {
        chunk_end(c);
        return;
    }
    start_encode(c);
}

static void on_memory(struct budget_share *share)
{
    struct repair_chunk *c = container_of(share, struct repair_chunk, share);
    struct repair *r = c->repair;
    uint32_t bytes = layout_chunk_bytes(&r->readable.layout, c->index);

    if (bytes == 0) {
        start_encode(c); /* an empty object has fragments all the same */
        return;
    }
    if (r->canceled) {
        chunk_fail(c, ERR_CANCELED, &(struct err){.code = ERR_CANCELED, .msg = "canceled"});
        return;
    }
    r->result.moved_bytes += bytes;
    c->data = bigmem_alloc(bytes);
    c->is_reading = true;
    chunk_read_rest(&c->read, r->engine, &r->readable, c->index, c->wanted, c->data, on_read);
}

/* The chunk; and what reading it takes, or what is made of it then, which may be more than is
 * known to be lost: m at most, as k were read. */
static size_t memory_bytes(const struct repair_chunk *c)
{
    const struct repair *r = c->repair;
    const struct manifest_scheme *scheme = &r->object->manifest.scheme;
    uint32_t fragment = layout_fragment_bytes(&r->readable.layout, c->index);
    uint32_t known = (uint32_t)__builtin_popcount(c->wanted);
    uint32_t made = known > r->readable.m ? known : r->readable.m;
    size_t reading = chunk_read_all_memory(&r->readable, c->index);
    size_t making = encode_memory_bytes(made, 0, fragment, scheme->codec, scheme->cipher);

    return layout_chunk_bytes(&r->readable.layout, c->index) +
           (reading > making ? reading : making);
}

bool repair_chunk_start(struct repair *r, uint32_t chunk, uint32_t wanted)
{
    struct repair_chunk *c = mem_zalloc(sizeof(*c));

    c->repair = r;
    c->index = chunk;
    c->wanted = wanted;
    keep_placeable(c);
    if (c->wanted == 0) {
        free(c);
        return false;
    }
    r->chunk = c;
    budget_take(&r->engine->budget, &c->share, memory_bytes(c), on_memory);
    return true;
}

void repair_chunk_cancel(struct repair_chunk *c)
{
    if (c->sending > 0) {
        for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
            if (c->parts[i].chunk != NULL && c->parts[i].osd != NULL) {
                fragment_put_cancel(&c->parts[i].put);
            }
        }
    } else if (c->is_reading) {
        chunk_read_cancel(&c->read);
    } /* else it is found out at the next step */
}
