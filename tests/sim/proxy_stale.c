/* What a proxy knows of names and namespaces, and what happened meanwhile. */
#include <stdlib.h>

#include "base/mem.h"
#include "meta/ns_keys.h"
#include "sim/proxy_world.h"

#define P42 "[[4,2,6,2]]"

/* A get of "o" whose answers from the namespace manager are on their way. */
struct reader {
    bool done;
    int rc;
    uint64_t size_bytes;
};

static void on_read(void *ctx, struct get *get, int rc)
{
    struct reader *r = ctx;

    r->rc = rc;
    r->size_bytes = rc == 0 ? get_object(get, 0)->manifest.size_bytes : 0;
    r->done = true;
    get_free(get);
}

/* Which manifest does a reader get who is content with the cache? 0: none. */
static uint64_t size_read(struct world *w)
{
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct reader r = {0};

    get_start(w->engine, &spec, on_read, &r);
    loop_fixture_run_until(&w->base, &r.done);
    assert_true(r.rc == 0 || r.rc == ERR_NOT_FOUND);
    return r.size_bytes;
}

/* An object of 9000 bytes is overwritten by one of 5000, or deleted, while somebody reads
 * its manifest. */
static void change_during_a_read(bool is_delete)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct reader early = {0};
    struct key prefix;
    uint8_t data[9000];

    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    ns_key_root(&prefix, w->ns_id, 'o');
    kv_mem_hold_answer(w->kv, slice_key(&prefix));
    get_start(w->engine, &spec, on_read, &early);
    while (!kv_mem_has_held_answer(w->kv)) {
        loop_fixture_run_ms(&w->base, 1);
    }
    assert_int_equal(is_delete ? world_delete(w, "o") : world_put(w, "o", data, 5000), 0);
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &early.done); /* it asked before: the old one is right */
    assert_int_equal(size_read(w), is_delete ? 0 : 5000);
    world_free(w);
}

static void a_read_under_way_does_not_bring_back_what_was_overwritten(void **state)
{
    (void)state;
    change_during_a_read(false);
}

static void a_read_under_way_does_not_bring_back_what_was_deleted(void **state)
{
    (void)state;
    change_during_a_read(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_under_way_does_not_bring_back_what_was_overwritten),
        cmocka_unit_test(a_read_under_way_does_not_bring_back_what_was_deleted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
