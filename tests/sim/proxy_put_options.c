/* What a request, the configuration or the preset asks of a put, and OSDs are asked in turn. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/holes.h"
#include "sim/proxy_repair_fixture.h"

enum { DATACENTERS = 4, PER_DATACENTER = 2, ROUNDS = 30, LARGE = 200000 };

static bool is_fragment_apply(const struct asd_request *request)
{
    return request->code == ASD_APPLY && request->apply.update_count == 3 &&
           request->apply.assert_count == 2;
}

/* ---- upload_slack ---- */

static enum fake_fate stores_late(void *ctx, struct fake_asd *asd,
                                  const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return is_fragment_apply(request) ? FAKE_DELAY : FAKE_NORMAL;
}

static void a_straggler_within_the_slack_is_named_by_the_put(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,4,2]]", 16384, "lz4"));
    uint8_t data[60000];
    struct manifest m;

    (void)state;
    engine_set_puts(w->engine, 1000, w->engine->options.object_bytes_max);
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "warm", data, sizeof(data)), 0);
    for (unsigned i = 0; i < 6; i++) {
        w->asds[i]->delay_ms = i < 2 ? 500 : 100;
        fake_asd_set_fate(w->asds[i], stores_late, NULL);
    }
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(holes_count(&m), 0);
    manifest_release(&m);
    world_settle(w);
    assert_int_equal(w->engine->stats.totals.epilogues, 0);
    world_free(w);
}

/* ---- flags of an Apply ---- */

struct seen {
    unsigned low, high, reserve, plain;
};

/* Full, but for those who may use the reserve. */
static enum fake_fate full(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct seen *seen = ctx;
    bool reserve = (request->apply.flags & ASD_APPLY_RESERVE) != 0;

    (void)asd;
    if (request->code != ASD_APPLY) {
        return FAKE_NORMAL;
    }
    if (is_fragment_apply(request)) {
        seen->low += request->prio == ASD_PRIO_LOW;
        seen->high += request->prio == ASD_PRIO_HIGH;
        seen->reserve += reserve;
        seen->plain += !reserve;
    }
    return reserve ? FAKE_NORMAL : FAKE_FULL;
}

static void the_reserve_and_low_priority_are_passed_on_to_osds(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    uint8_t data[30000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    struct seen seen = {0};
    int32_t rc;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "warm", data, sizeof(data)), 0);
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(w->asds[i], full, &seen);
    }
    assert_int_not_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(rc, PROXY_RC_NO_POLICY);
    assert_int_equal(seen.reserve + seen.low, 0);
    seen = (struct seen){0};
    apply.flags = PROXY_APPLY_RESERVE;
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(seen.reserve, 6);
    assert_int_equal(seen.high, 6);
    seen = (struct seen){0};
    apply.flags = PROXY_APPLY_RESERVE | PROXY_APPLY_LOW_PRIORITY;
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(seen.low, 6);
    assert_int_equal(seen.plain + seen.high, 0);
    world_free(w);
}

/* ---- verify_upload ---- */

static void a_checksum_is_taken_unseen_where_the_preset_says_so(void **state)
{
    struct world *w =
        world_new(6, 3,
                  "{\"policies\":[[4,2,6,2]],\"object_checksum\":{\"allowed\":"
                  "[[\"crc-32c\"]],\"default\":[\"crc-32c\"],\"verify_upload\":false}}");
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD,
                                  .name = slice_str("o"),
                                  .data = slice_str("123456789"),
                                  .has_checksum = true,
                                  .checksum = checksum_crc32c(1)};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    struct manifest m;

    (void)state;
    assert_int_equal(world_apply(w, &apply, NULL), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_true(checksum_eq(&m.checksum, &update.checksum));
    manifest_release(&m);
    world_free(w);
}

/* ---- max_per_datacenter ---- */

/* Every ASD on a node of its own, so many in each of four datacenters. */
static struct world *datacenters_world(unsigned asds_each)
{
    static const char *const names[DATACENTERS] = {"east", "west", "north", "south"};
    unsigned asds = asds_each * DATACENTERS;
    struct world *w = world_new(asds, asds,
                                "{\"policies\":[[4,2,6,1],[4,2,5,1],[4,2,4,1]],"
                                "\"fragment_size\":4096,\"max_per_datacenter\":2}");

    for (unsigned i = 0; i < asds; i++) {
        struct registry_osd osd =
            *registry_view_osd_find(registry_view(w->registry), w->asds[i]->long_id);
        bool done = false;

        osd.datacenter = names[i % DATACENTERS];
        registry_osd_update(w->registry, &osd, world_registry_done, &done);
        loop_fixture_run_until(&w->base, &done);
    }
    world_new_engine(w);
    return w;
}

static void expect_few_in_each(struct world *w, const char *name)
{
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(&m); i++) {
            const struct manifest_fragment *a = manifest_fragment_at(&m, c, i);
            unsigned count = 0;

            for (uint32_t j = 0; j < manifest_fragments_per_chunk(&m) && a->has_osd; j++) {
                const struct manifest_fragment *b = manifest_fragment_at(&m, c, j);

                count +=
                    b->has_osd && strcmp(osds_find(w->engine->osds, a->osd_id)->datacenter,
                                         osds_find(w->engine->osds, b->osd_id)->datacenter) == 0;
            }
            assert_true(count <= PER_DATACENTER);
        }
    }
    manifest_release(&m);
}

/* Fragment 0 of chunk 0 and fragment 1 of chunk 1: one try is put off, so that both chunks are
 * under way, the next fails. */
struct stumble {
    unsigned tries[2];
};

static enum fake_fate stumble(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct stumble *s = ctx;
    struct osd_key key;
    uint32_t chunk;

    (void)asd;
    if (!is_fragment_apply(request)) {
        return FAKE_NORMAL;
    }
    assert_int_equal(osd_key_parse(request->apply.updates[0].key, &key), 0);
    chunk = key.fragment.chunk;
    if (chunk > 1 || key.fragment.fragment != chunk || s->tries[chunk] == 2) {
        return FAKE_NORMAL;
    }
    return s->tries[chunk]++ == 0 ? FAKE_BUSY : FAKE_ERROR;
}

/* Each chunk finds another OSD within the limit; those that come after get both of these. */
static void no_datacenter_gets_too_many_when_osds_fail_under_several_chunks(void **state)
{
    struct world *w = datacenters_world(4);
    uint8_t *data = mem_alloc(LARGE);

    (void)state;
    world_fill(w, data, LARGE);
    assert_int_equal(world_put(w, "warm", data, 1000), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct stumble s = {0};

        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], stumble, &s);
        }
        assert_int_equal(world_put(w, "o", data, LARGE), 0);
        world_settle(w);
        assert_int_equal(s.tries[0] + s.tries[1], 4);
        expect_few_in_each(w, "o");
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], NULL, NULL);
        }
        fixture_osds_back(&(struct fixture){.w = w});
    }
    free(data);
    world_free(w);
}

/* Twelve OSDs: what is lost has most of its free ones where two are already. */
static void a_repair_gives_no_datacenter_too_many(void **state)
{
    struct world *w = datacenters_world(3);
    uint8_t *data = mem_alloc(LARGE);

    (void)state;
    world_fill(w, data, LARGE);
    assert_int_equal(world_put(w, "o", data, LARGE), 0);
    world_settle(w);
    for (uint32_t i = 0; i < 6; i++) {
        struct ended ended = {0};

        repair_harm_everywhere(w, "o", i, LOSE);
        repair_start_repair(w, "o", i, &ended);
        loop_fixture_run_until(&w->base, &ended.done);
        assert_int_equal(ended.rc, 0);
        expect_few_in_each(w, "o");
    }
    assert_true(repair_is_strong(w, "o", data));
    world_settle(w);
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_straggler_within_the_slack_is_named_by_the_put),
        cmocka_unit_test(the_reserve_and_low_priority_are_passed_on_to_osds),
        cmocka_unit_test(a_checksum_is_taken_unseen_where_the_preset_says_so),
        cmocka_unit_test(no_datacenter_gets_too_many_when_osds_fail_under_several_chunks),
        cmocka_unit_test(a_repair_gives_no_datacenter_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
