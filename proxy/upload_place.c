/* The policy and the places of an upload: chosen, relaxed, and told afterwards. */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "meta/nsm.h"
#include "proxy/upload_private.h"

static uint8_t checksum_algo(const struct upload *u)
{
    return u->spec.has_checksum ? u->spec.checksum.algo : (uint8_t)u->spec.preset->object_checksum;
}

static void fresh_manifest(struct upload *u)
{
    const struct preset *preset = u->spec.preset;
    struct fragment_shape shape = fragment_shape_of(0, preset->codec, preset->cipher);
    unsigned format = preset_fragment_format(preset);
    struct manifest *m = &u->manifest;
    uint8_t id[MANIFEST_OBJECT_ID_BYTES];

    manifest_release(m);
    rnd_bytes(id, sizeof(id));
    manifest_set(&m->name, u->spec.name);
    manifest_set(&m->object_id, slice_of(id, sizeof(id)));
    manifest_set(&m->preset, slice_str(preset->name));
    m->preset_version = preset->version;
    m->size_bytes = u->spec.size_bytes;
    m->scheme = (struct manifest_scheme){.k = u->policy.k,
                                         .m = u->policy.m,
                                         .c = u->policy.min_fragments,
                                         .max_disks_per_node = u->policy.max_per_node,
                                         .fragment_format = (uint8_t)format,
                                         .codec = (uint8_t)preset->codec,
                                         .cipher = (uint8_t)preset->cipher,
                                         .block_bytes = format == 1 ? shape.block_bytes : 0};
    memcpy(m->scheme.key_id, preset->key_id, sizeof(m->scheme.key_id));
    m->timestamp_us = (int64_t)clock_wall_us();
    m->gc_epoch = u->spec.gc_epoch;
    manifest_alloc_chunks(m, u->layout.chunk_count);
    for (uint32_t i = 0; i < u->layout.chunk_count; i++) {
        m->chunk_bytes[i] = layout_chunk_bytes(&u->layout, i);
    }
}

/* No fragment has a larger field in the manifest, wherever it is put. */
static struct manifest_fragment largest_fragment(const struct upload *u)
{
    const struct preset *preset = u->spec.preset;
    struct manifest_fragment f = {
        .has_osd = true,
        .has_ctr = preset->cipher == CIPHER_AES_CTR_256,
        .packed_bytes = INT32_MAX,
        .checksum = {.algo = preset->fragment_checksum == PRESET_CHECKSUM_SHA1 ? CHECKSUM_SHA1
                                                                               : CHECKSUM_CRC32C}};

    for (unsigned i = 0; i < osds_count(u->engine->osds); i++) {
        const struct osd *osd = osds_at(u->engine->osds, i);

        f.osd_id = osd->id > f.osd_id ? osd->id : f.osd_id;
    }
    return f;
}

static int check_manifest(struct upload *u)
{
    struct manifest_fragment largest = largest_fragment(u);
    struct err e;
    int rc = nsm_manifest_check(u->spec.name.len, strlen(u->spec.preset->name),
                                u->layout.chunk_count, u->policy.k + u->policy.m, &largest, &e);

    return rc == 0 ? 0
                   : err_set(&u->err, rc,
                             "%" PRIu64 " bytes in chunks of %u x %" PRIu32
                             " (preset '%s'; one with larger fragments takes more): %s",
                             u->spec.size_bytes, u->policy.k, u->spec.preset->fragment_bytes,
                             u->spec.preset->name, e.msg);
}

/* Not on slow OSDs, unless the object would then be acknowledged with no fragment to spare. */
static int choose_osds(struct upload *u, struct choose_result *ret_result)
{
    const struct preset *preset = u->spec.preset;
    struct engine *engine = u->engine;
    unsigned count;
    const struct choose_osd *list = osds_choose_list(engine->osds, u->spec.reserve, NULL, &count);
    int rc = choose_place(preset, list, count, &engine->rnd, ret_result, &u->err);
    bool is_weak =
        rc == 0 ? ret_result->policy.min_fragments <= ret_result->policy.k : rc == ERR_NO_POLICY;

    if (is_weak && osds_choose_slow_too(engine->osds, u->spec.reserve, NULL)) {
        rc = choose_place(preset, list, count, &engine->rnd, ret_result, &u->err);
    }
    return rc;
}

int upload_choose(struct upload *u)
{
    const struct preset *preset = u->spec.preset;
    struct engine *engine = u->engine;
    struct choose_result result;
    int rc = choose_osds(u, &result);

    if (rc != 0) {
        osds_explain(engine->osds, u->spec.reserve, &u->err);
        return rc;
    }
    if (preset->cipher != CIPHER_NONE) {
        rc = key_files_find(engine->options.keys, preset->key_id, &u->key, &u->err);
        if (rc != 0) {
            return err_wrap(&u->err, "preset '%s'", preset->name);
        }
    }
    u->policy = result.policy;
    u->policy_index = result.policy_index;
    rc = layout_init(&u->layout, preset_fragment_format(preset), u->policy.k,
                     preset->fragment_bytes, u->spec.size_bytes, &u->err);
    if (rc == 0) {
        rc = check_manifest(u);
    }
    if (rc != 0) {
        return rc;
    }
    memset(u->targets, 0, sizeof(u->targets));
    for (uint32_t i = 0; i < result.fragment_count; i++) {
        u->targets[i] = osds_at(engine->osds, result.chosen[i]);
    }
    fresh_manifest(u);
    digest_release(&u->digest);
    digest_init(&u->digest, checksum_algo(u));
    return 0;
}

size_t upload_memory_bytes(const struct upload *u)
{
    const struct layout *l = &u->layout;
    size_t chunks =
        l->chunk_count < UPLOAD_CHUNKS_IN_MEMORY ? l->chunk_count : UPLOAD_CHUNKS_IN_MEMORY;
    size_t chunk = encode_memory_bytes(l->k, u->policy.m, layout_fragment_bytes(l, 0),
                                       u->spec.preset->codec, u->spec.preset->cipher);

    return chunks * (chunk + (u->spec.data == NULL ? layout_chunk_bytes(l, 0) : 0));
}

/* A later policy that this attempt satisfies as it stands. */
bool upload_relax(struct upload *u, unsigned possible)
{
    const struct preset *preset = u->spec.preset;

    for (uint32_t i = u->policy_index + 1; i < preset->policy_count; i++) {
        const struct preset_policy *p = &preset->policies[i];

        if (p->k == u->policy.k && p->m == u->policy.m && p->min_fragments <= possible &&
            p->max_per_node >= u->policy.max_per_node) {
            log_info("upload", "went on under a weaker policy", "from_c=%u c=%u",
                     u->policy.min_fragments, p->min_fragments);
            u->policy = *p;
            u->policy_index = i;
            u->manifest.scheme.c = p->min_fragments;
            u->manifest.scheme.max_disks_per_node = p->max_per_node;
            return true;
        }
    }
    return false;
}

/* ---- places of one chunk ---- */

struct osd_set {
    uint64_t ids[KV_UPDATES_MAX];
    unsigned count;
    unsigned max;
};

static bool set_add(struct osd_set *set, uint64_t id)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (set->ids[i] == id) {
            return true;
        }
    }
    if (set->count == set->max) {
        return false;
    }
    set->ids[set->count++] = id;
    return true;
}

/* The OSDs that have fragments of the object, or may get some as things are. */
static bool set_fill(struct osd_set *set, const struct upload_fragment *f)
{
    const struct upload *u = f->chunk->upload;
    const struct manifest *m = &u->manifest;
    bool fits = true;

    for (uint32_t c = 0; c < u->next_chunk; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            const struct manifest_fragment *stored = manifest_fragment_at(m, c, i);

            fits = fits && (!stored->has_osd || set_add(set, stored->osd_id));
        }
    }
    LIST_FOR_EACH (it, &u->chunks) {
        const struct upload_chunk *chunk = container_of(it, struct upload_chunk, link);

        for (uint32_t i = 0; i < chunk->fragment_count; i++) {
            const struct upload_fragment *g = &chunk->fragments[i];
            bool counts = g != f && g->osd != NULL && g->state != UPLOAD_FRAGMENT_FAILED;

            fits = fits && (!counts || set_add(set, g->osd->id));
        }
    }
    for (uint32_t i = 0; i < u->policy.k + u->policy.m; i++) {
        bool counts = i != f->index && u->targets[i] != NULL;

        fits = fits && (!counts || set_add(set, u->targets[i]->id));
    }
    return fits;
}

/* May it get a fragment of this object, or would the commit become too large? */
static bool has_room(const struct upload_fragment *f, const struct osd *osd)
{
    unsigned max = f->chunk->upload->spec.osds_max;
    struct osd_set set = {.max = max < KV_UPDATES_MAX ? max : KV_UPDATES_MAX};

    return set_fill(&set, f) && set_add(&set, osd->id);
}

struct osd *upload_replacement(const struct upload_fragment *f, const struct osd *failed,
                               bool slow_too)
{
    struct upload *u = f->chunk->upload;
    struct engine *engine = u->engine;
    uint64_t held[PRESET_FRAGMENTS_MAX];
    struct choose_more more = {.policy = &u->policy, .held = held, .want = 1};
    uint32_t chosen[PRESET_FRAGMENTS_MAX];
    const struct choose_osd *list;
    uint32_t found;
    struct osd *osd;
    unsigned count;

    for (uint32_t i = 0; i < f->chunk->fragment_count; i++) {
        const struct upload_fragment *other = &f->chunk->fragments[i];

        if (other != f && other->osd != NULL && other->state != UPLOAD_FRAGMENT_FAILED) {
            held[more.held_count++] = other->osd->id;
        }
    }
    list = osds_choose_list(engine->osds, u->spec.reserve, failed, &count);
    found = choose_extra(u->spec.preset, &more, list, count, &engine->rnd, chosen);
    if (found == 0 && slow_too && osds_choose_slow_too(engine->osds, u->spec.reserve, failed)) {
        found = choose_extra(u->spec.preset, &more, list, count, &engine->rnd, chosen);
    }
    if (found == 0) {
        return NULL;
    }
    osd = osds_at(engine->osds, chosen[0]);
    return has_room(f, osd) ? osd : NULL;
}

/* May this fragment go to its target? Targets were changed one by one as OSDs failed in earlier
 * chunks, so two of them may be the same OSD by now, or too many on one node. */
static bool target_fits(const struct upload_fragment *f)
{
    const struct upload *u = f->chunk->upload;
    uint32_t on_node = 1, in_datacenter = 1;

    for (uint32_t i = 0; i < f->index; i++) {
        const struct upload_fragment *other = &f->chunk->fragments[i];

        if (other->osd == NULL || other->state == UPLOAD_FRAGMENT_FAILED) {
            continue;
        }
        if (other->osd == f->osd) {
            return false;
        }
        on_node += strcmp(other->osd->node_id, f->osd->node_id) == 0;
        in_datacenter += strcmp(other->osd->datacenter, f->osd->datacenter) == 0;
    }
    return osd_is_usable(f->osd, u->spec.reserve) && on_node <= u->policy.max_per_node &&
           (u->spec.preset->max_per_datacenter == 0 ||
            in_datacenter <= u->spec.preset->max_per_datacenter);
}

void upload_chunk_place(struct upload_chunk *chunk)
{
    struct upload *u = chunk->upload;

    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        struct upload_fragment *f = &chunk->fragments[i];

        f->osd = u->targets[i];
        f->state = UPLOAD_FRAGMENT_FAILED;
        if (f->osd != NULL) {
            upload_fragment_send_to(f, f->osd);
        }
    }
    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        struct upload_fragment *f = &chunk->fragments[i];
        struct osd *osd;
        bool fits;

        if (f->osd == NULL) {
            continue;
        }
        fits = target_fits(f);
        if (fits && !f->osd->slow.is) {
            continue;
        }
        osd = upload_replacement(f, f->osd, !fits);
        if (osd != NULL) {
            u->targets[i] = osd;
            upload_fragment_send_to(f, osd);
        } else if (!fits) {
            f->state = UPLOAD_FRAGMENT_FAILED;
        }
    }
}

/* ---- what came of it ---- */

bool upload_has_late(const struct upload *u)
{
    for (size_t i = 0; i < u->place_count; i++) {
        if (u->places[i].late) {
            return true;
        }
    }
    return false;
}

static bool is_at(const struct manifest_fragment *f, const struct upload_place *place)
{
    return f->has_osd && f->osd_id == place->osd->id && f->version == 0;
}

int upload_add_late(struct upload *u, struct manifest *manifest)
{
    int rc = 1;

    for (size_t i = 0; i < u->place_count; i++) {
        struct upload_place *place = &u->places[i];
        struct manifest_fragment *f;

        if (!place->late || place->chunk >= manifest->chunk_count ||
            place->fragment >= manifest_fragments_per_chunk(manifest)) {
            continue;
        }
        f = manifest_fragment_at(manifest, place->chunk, place->fragment);
        if (!f->has_osd && f->version == 0) { /* else repair was here first */
            *f = *manifest_fragment_at(&u->manifest, place->chunk, place->fragment);
            f->has_osd = true;
            f->osd_id = place->osd->id;
            rc = 0;
        }
        place->is_named = is_at(f, place);
    }
    return rc;
}

const struct upload_place *upload_places(const struct upload *u, size_t *ret_count)
{
    *ret_count = u->place_count;
    return u->places;
}
