#include "sim/proxy_repair_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/erasure.h"
#include "policy/fragment.h"

/* ---- looking ---- */

struct fake_asd *repair_asd_of(struct world *w, const struct manifest *m, uint32_t chunk,
                               uint32_t fragment)
{
    return world_asd_of(w, manifest_fragment_at(m, chunk, fragment)->osd_id);
}

/* What fragment i of a chunk must hold. */
static void expected_raw(const struct layout *l, uint32_t m, uint32_t chunk, uint32_t i,
                         const uint8_t *data, uint8_t *ret_raw)
{
    uint32_t bytes = layout_fragment_bytes(l, chunk);
    uint8_t *padded = mem_zalloc((size_t)l->k * bytes + 1);
    const uint8_t *parts[PRESET_K_MAX];
    uint8_t *parity[PRESET_M_MAX];

    memcpy(padded, data + layout_chunk_offset(l, chunk), layout_chunk_data_bytes(l, chunk));
    for (uint32_t k = 0; k < l->k; k++) {
        parts[k] = padded + (size_t)k * bytes;
    }
    for (uint32_t j = 0; j < m; j++) {
        parity[j] = mem_alloc(bytes + 1);
    }
    if (l->k > 1) {
        erasure_encode(erasure_get(l->k, m), bytes, parts, parity);
    }
    memcpy(ret_raw, l->k == 1 ? parts[0] : i < l->k ? parts[i] : parity[i - l->k], bytes);
    for (uint32_t j = 0; j < m; j++) {
        free(parity[j]);
    }
    free(padded);
}

/* Is it where the manifest says, with the bytes that it must have? */
static bool is_well(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                    const uint8_t *data)
{
    const struct manifest_fragment *f = manifest_fragment_at(m, chunk, i);
    struct buf key = world_fragment_key(w, m, chunk, i);
    struct slice stored = f->has_osd
                              ? fake_asd_value(repair_asd_of(w, m, chunk, i), slice_buf(&key))
                              : slice_of(NULL, 0);
    struct fragment_ref ref;
    struct layout layout;
    uint8_t *raw, *expected;
    struct err e;
    bool well = false;

    assert_int_equal(
        layout_from_chunks(&layout, m->scheme.k, m->size_bytes, m->chunk_bytes, m->chunk_count, &e),
        0);
    ref = (struct fragment_ref){.id = fragment_id_of(m->object_id.data, chunk, i, m->scheme.k),
                                .shape = {.raw_bytes = layout_fragment_bytes(&layout, chunk),
                                          .block_bytes = m->scheme.block_bytes,
                                          .codec = m->scheme.codec,
                                          .cipher = CIPHER_NONE},
                                .stored_bytes = f->packed_bytes};
    raw = mem_alloc(ref.shape.raw_bytes + 1);
    expected = mem_alloc(ref.shape.raw_bytes + 1);
    if (stored.data != NULL &&
        fragment_unpack(&ref, stored.data, (uint32_t)stored.len, raw, &e) == 0) {
        expected_raw(&layout, m->scheme.m, chunk, i, data, expected);
        well = memcmp(raw, expected, ref.shape.raw_bytes) == 0;
        assert_true(well); /* it passed its checks */
    }
    buf_release(&key);
    free(raw);
    free(expected);
    return well;
}

static unsigned count_well(struct world *w, const char *name, const uint8_t *data,
                           unsigned *ret_all)
{
    struct manifest m;
    unsigned well = 0;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(&m); i++) {
            well += is_well(w, &m, c, i, data);
        }
    }
    *ret_all = m.chunk_count * manifest_fragments_per_chunk(&m);
    manifest_release(&m);
    return well;
}

bool repair_is_strong(struct world *w, const char *name, const uint8_t *data)
{
    unsigned all;

    return count_well(w, name, data, &all) == all;
}

uint32_t repair_version_of(struct world *w, const char *name)
{
    struct manifest m;
    uint32_t version;

    assert_true(world_manifest(w, name, &m));
    version = m.version_id;
    manifest_release(&m);
    return version;
}

void repair_wait_strong(struct world *w, const char *name, const uint8_t *data)
{
    for (unsigned ms = 0; ms < WAIT_MS && !repair_is_strong(w, name, data); ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs); /* sooner than by itself */
    }
    assert_true(repair_is_strong(w, name, data));
    world_settle(w);
}

/* No repair waits or runs. */
void repair_wait_idle(struct world *w)
{
    for (unsigned ms = 0; ms < WAIT_MS && w->engine->repairs.count > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_int_equal(w->engine->repairs.count, 0);
    world_settle(w);
}

/* ---- spoiling ---- */

/* OTHERS: the bytes of the next fragment, as a write that went astray leaves them. */
void repair_harm(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                 enum harm harm)
{
    uint32_t next = (i + 1) % manifest_fragments_per_chunk(m);
    struct buf key = world_fragment_key(w, m, chunk, i);
    struct buf other = world_fragment_key(w, m, chunk, next);
    struct fake_asd *asd = repair_asd_of(w, m, chunk, i);
    struct slice value = fake_asd_value(asd, slice_buf(&key));
    struct slice copy;

    assert_true(value.data != NULL);
    switch (harm) {
    case LOSE:
        assert_true(fake_asd_remove(asd, slice_buf(&key)));
        break;
    case FLIP:
        assert_true(fake_asd_flip(asd, slice_buf(&key), rnd_below(&w->rnd, value.len)));
        break;
    case CUT:
        copy = slice_of(mem_dup(value.data, value.len / 2), value.len / 2);
        fake_asd_put(asd, slice_buf(&key), copy);
        free((void *)(uintptr_t)copy.data);
        break;
    case OTHERS:
        fake_asd_put(asd, slice_buf(&key),
                     fake_asd_value(repair_asd_of(w, m, chunk, next), slice_buf(&other)));
        break;
    }
    buf_release(&key);
    buf_release(&other);
}

void repair_harm_everywhere(struct world *w, const char *name, uint32_t i, enum harm kind)
{
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        repair_harm(w, &m, c, i, kind);
    }
    manifest_release(&m);
}

/* Whole, so that every data fragment is asked for. */
void repair_read_whole(struct world *w, const uint8_t *data)
{
    world_expect(w, "o", data, BYTES);
}

void repair_read_slice(struct world *w, const uint8_t *data, uint64_t offset)
{
    struct proxy_slice slice = {.offset = (int64_t)offset, .bytes = 100};
    uint8_t *got = NULL;
    size_t bytes = 0;

    assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &bytes), 0);
    assert_int_equal(bytes, 100);
    assert_memory_equal(got, data + offset, 100);
    free(got);
}

void repair_expect_clean_in_the_end(struct fixture *f)
{
    world_settle(f->w);
    loop_fixture_run_ms(&f->w->base, 1100); /* tags are deleted once a second */
    world_settle(f->w);
    fixture_osds_back(f);
    fixture_collect_all(f);
    fixture_rounds(f, 2);
    fixture_expect_clean(f);
    fixture_expect_whole(f);
}

static enum fake_fate trouble_repairs(void *ctx, struct fake_asd *asd,
                                      const struct asd_request *request)
{
    struct trouble *t = ctx;

    (void)asd;
    if (request->prio != ASD_PRIO_LOW || t->left == 0 || request->code != ASD_APPLY ||
        request->apply.update_count != 3 || request->apply.updates[0].is_delete) {
        return FAKE_NORMAL;
    }
    t->left--;
    return t->fate;
}

void repair_trouble_all(struct trouble *t)
{
    for (unsigned i = 0; i < t->w->asd_count; i++) {
        fake_asd_set_fate(t->w->asds[i], trouble_repairs, t);
    }
}

static void on_repaired(void *ctx, int rc, const struct repair_result *result)
{
    struct ended *ended = ctx;

    ended->done = true;
    ended->rc = rc;
    ended->fragments = result->fragments;
    err_copy(&ended->err, &result->err);
}

struct repair *repair_start_repairs(struct world *w, const char *name, uint32_t lost,
                                    struct ended *ended)
{
    struct repair_spot spots[REPAIR_SPOTS_MAX];
    struct repair_spec spec = {.ns_id = w->ns_id, .spots = spots};
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    memcpy(spec.object_id, m.object_id.data, sizeof(spec.object_id));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(&m); i++) {
            const struct manifest_fragment *f = manifest_fragment_at(&m, c, i);

            if ((lost >> i & 1) != 0) {
                spots[spec.spot_count++] =
                    (struct repair_spot){.chunk = c,
                                         .fragment = i,
                                         .osd_id = f->has_osd ? f->osd_id : 0,
                                         .version = f->version};
            }
        }
    }
    manifest_release(&m);
    return repair_start(w->engine, &spec, on_repaired, ended);
}

struct repair *repair_start_repair(struct world *w, const char *name, uint32_t i,
                                   struct ended *ended)
{
    return repair_start_repairs(w, name, UINT32_C(1) << i, ended);
}
