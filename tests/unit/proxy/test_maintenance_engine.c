/* The maintenance agent acts on no engine that is another alba's (client/meta/KEYS.md). */
#include "loop/run.h"
#include "unit/proxy/maintenance_fixture.h"

#include "meta/engine_owner.h"
#include "meta/ns_keys.h"
#include "meta/registry_private.h"

static struct kv_mem_store *far; /* engine of NSM host `far` */

static int setup(void **state)
{
    far = kv_mem_store_new(9);
    *state = fixture_new(6);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    kv_mem_store_free(far);
    return 0;
}

static int open_far(uv_loop_t *loop, const char *url, struct net_tls *tls, struct kv **ret_kv,
                    struct err *e)
{
    (void)url;
    (void)tls;
    (void)e;
    *ret_kv = kv_mem_open(loop, far);
    return 0;
}

static void mark_far(const char *alba_id)
{
    json_t *json = json_pack("{s:s, s:s}", "alba_id", alba_id, "host_id", "far");
    struct buf value = {0};
    struct key key;

    value_make_json(&value, engine_mark_key(&key), json);
    kv_mem_poke(far, slice_key(&key), slice_buf(&value));
    buf_release(&value);
    json_decref(json);
}

/* NSM host `far`, with a removed namespace of ours, and one that our registry does not know; both
 * ids have keys there. */
static void add_far(struct fixture *f)
{
    const struct registry_view *view = registry_view(f->w->registry);
    uint64_t next = registry_view_next_namespace_id(view);
    struct registry_namespace ns = {.id = next,
                                    .name = "gone",
                                    .preset = "p",
                                    .nsm_host = "far",
                                    .state = REGISTRY_NS_REMOVING};
    char id[RECORD_ID_TEXT_BYTES];
    bool raised = false;
    struct key key;

    f->w->registry->open_kv = open_far;
    kv_mem_poke(far, ns_key_info(&key, next), slice_str("a"));
    kv_mem_poke(far, ns_key_info(&key, next + 1), slice_str("b"));
    record_id_text(next, id);
    fixture_poke_record(f, REG_REMOVED, id, record_namespace_json(&ns));
    fixture_poke_record(f, REG_NSM_HOST, "far",
                        json_pack("{s:s, s:s}", "id", "far", "url", "asd://127.0.0.1:1"));
    fixture_poke_record(f, REG_NEXT_ID, "",
                        json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)100, "namespace",
                                  (json_int_t)(next + 10), "work", (json_int_t)100));
    registry_raise_version(f->w->registry, registry_view_version(view) + 10, world_registry_done,
                           &raised);
    loop_fixture_run_until(&f->w->base, &raised);
}

static void on_an_engine_of_another_alba_nothing_is_removed(void **state)
{
    struct fixture *f = *state;

    add_far(f);
    mark_far("another");
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 4);
    assert_int_equal(kv_mem_count_prefix(far, slice_str("/alba/v1/ns/")), 2);
    assert_int_equal(registry_view_removed_count(registry_view(f->w->registry)), 1);
    assert_true(f->agent.status.counts.failures > 0);
    mark_far(registry_view_alba_id(registry_view(f->w->registry)));
    fixture_rounds(f, 4);
    assert_int_equal(kv_mem_count_prefix(far, slice_str("/alba/v1/ns/")), 0);
    assert_int_equal(registry_view_removed_count(registry_view(f->w->registry)), 0);
}

static void an_engine_without_a_mark_gets_it_in_a_round(void **state)
{
    struct fixture *f = *state;
    struct key key;

    add_far(f);
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 4);
    assert_true(kv_mem_peek(far, engine_mark_key(&key), NULL));
    assert_int_equal(kv_mem_count_prefix(far, slice_str("/alba/v1/")), 1);
    assert_int_equal(f->agent.status.counts.failures, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(on_an_engine_of_another_alba_nothing_is_removed),
        T(an_engine_without_a_mark_gets_it_in_a_round),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
