#include "sim/proxy_hedge_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum fake_fate on_request(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct fate *fate = ctx;
    enum fake_fate now = fate->reads;

    (void)asd;
    if (request->code != ASD_PARTIAL_GET) {
        return FAKE_NORMAL;
    }
    if (fate->only_one) {
        fate->reads = FAKE_NORMAL;
    }
    return now;
}

struct play *play_new_of(unsigned asds, const char *preset, uint32_t bytes)
{
    struct play *p = mem_zalloc(sizeof(*p));

    p->w = world_new(asds, asds, preset);
    p->data = mem_alloc(bytes);
    world_fill(p->w, p->data, bytes);
    assert_int_equal(world_put(p->w, "o", p->data, bytes), 0);
    world_settle(p->w);
    assert_true(world_manifest(p->w, "o", &p->manifest));
    return p;
}

struct play *play_new(void)
{
    return play_new_of(6, FLAT, BYTES);
}

void play_free(struct play *p)
{
    manifest_release(&p->manifest);
    free(p->data);
    world_free(p->w);
    free(p);
}

const struct stats_totals *totals(const struct play *p)
{
    return &p->w->engine->stats.totals;
}

struct osd *osd_of(struct play *p, uint32_t chunk, uint32_t fragment)
{
    return osds_find(p->w->engine->osds,
                     manifest_fragment_at(&p->manifest, chunk, fragment)->osd_id);
}

struct fate *fate_of(struct play *p, uint64_t osd_id)
{
    struct fake_asd *asd = world_asd_of(p->w, osd_id);

    for (unsigned i = 0; i < p->w->asd_count; i++) {
        if (p->w->asds[i] == asd) {
            fake_asd_set_fate(asd, on_request, &p->fates[i]);
            return &p->fates[i];
        }
    }
    fail();
    return NULL;
}

void read_at(struct play *p, uint64_t offset)
{
    struct proxy_slice slice = {.offset = (int64_t)offset, .bytes = 4096};
    uint8_t *got = NULL;
    size_t bytes = 0;

    assert_int_equal(world_get_slices(p->w, "o", &slice, 1, NULL, &got, &bytes), 0);
    assert_int_equal(bytes, 4096);
    assert_memory_equal(got, p->data + offset, 4096);
    free(got);
}

uint64_t place(uint32_t chunk, uint32_t fragment)
{
    return (uint64_t)chunk * CHUNK_BYTES + (uint64_t)fragment * FRAGMENT_BYTES + 8192;
}

unsigned reads_of(struct play *p, uint64_t osd_id)
{
    return world_asd_of(p->w, osd_id)->reads;
}

static void on_read(void *ctx, struct get *get, int rc)
{
    struct reader *r = ctx;

    r->rc = rc;
    if (rc == 0) {
        struct slice got = get_data(get, 0);

        assert_int_equal(got.len, (size_t)r->cut.bytes);
        assert_memory_equal(got.data, r->p->data + r->cut.offset, got.len);
    }
    get_free(get);
    r->done = true;
}

void start(struct reader *r, struct play *p, uint64_t offset, int32_t bytes)
{
    struct get_spec spec = {
        .ns = slice_str("ns"), .items = &r->item, .count = 1, .is_partial = true};

    *r = (struct reader){.p = p, .cut = {.offset = (int64_t)offset, .bytes = bytes}};
    r->item = (struct get_item){.name = slice_str("o"), .slices = &r->cut, .slice_count = 1};
    spec.should_cache = true;
    r->get = get_start(p->w->engine, &spec, on_read, r);
}

void await(struct reader *r)
{
    loop_fixture_run_until(&r->p->w->base, &r->done);
}
