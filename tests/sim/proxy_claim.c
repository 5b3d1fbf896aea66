/* A store that is not the one the registry knows: empty, or another alba's, under the same id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/bytes.h"
#include "proxy/osd_probe.h"
#include "sim/proxy_world.h"
#include "wire/osd_keys.h"

#define P42 "[4,2,6,2]"
#define P41 "[4,2,5,2]"

static const struct slice all_keys = {.data = (const uint8_t *)"", .len = 0};

static void make_claim(struct fake_asd *asd, const char *owner)
{
    struct buf log = {0}, index = {0};

    osd_key_put_instance_log(&log);
    osd_key_put_instance_index(&index, slice_str(owner));
    fake_asd_put(asd, slice_buf(&log), slice_str(owner));
    fake_asd_put(asd, slice_buf(&index), slice_str("\0\0\0"));
    buf_release(&log);
    buf_release(&index);
}

static const char *alba_id(struct world *w)
{
    return registry_view_alba_id(registry_view(w->registry));
}

static struct osd *osd_of(struct world *w, const struct fake_asd *asd)
{
    for (unsigned i = 0; i < osds_count(w->engine->osds); i++) {
        struct osd *osd = osds_at(w->engine->osds, i);

        if (strcmp(osd->long_id, asd->long_id) == 0) {
            return osd;
        }
    }
    fail_msg("no osd %s", asd->long_id);
    return NULL;
}

static void go_down(struct world *w, struct fake_asd *asd)
{
    fake_asd_down(asd);
    loop_fixture_run_ms(&w->base, 20);
}

/* Its disk is not mounted: an empty directory, or one that `owner` claimed. */
static void swap_store(struct fake_asd *asd, const char *owner)
{
    while (asd->key_count > 0) {
        struct slice key = slice_dup(fake_asd_key(asd, all_keys, 0));

        assert_true(fake_asd_remove(asd, key));
        slice_release(&key);
    }
    if (owner != NULL) {
        make_claim(asd, owner);
    }
}

static void expect_aside(struct world *w, const struct fake_asd *asd, const char *why)
{
    const struct osd *osd = osd_of(w, asd);
    struct err e;

    assert_true(osd->aside);
    assert_non_null(strstr(osd->failures[0].text, why));
    assert_int_equal(osds_aside_count(w->engine->osds), 1);
    err_say(&e, ERR_NO_POLICY, "no policy");
    osds_explain(w->engine->osds, false, &e);
    assert_non_null(strstr(e.msg, "not the store that was claimed"));
}

static void on_probed(struct osds_probe_wait *wait)
{
    wait->cb = NULL;
}

static void probe_all(struct world *w)
{
    struct osds_probe_wait wait = {0};

    osds_probe_all(w->engine->osds, &wait, on_probed);
    for (unsigned i = 0; i < 500 && wait.cb != NULL; i++) {
        loop_fixture_run_ms(&w->base, 5);
    }
    assert_null(wait.cb);
}

static void use_swapped_store(const char *owner, const char *why)
{
    struct world *w = world_new(7, 7, WORLD_PRESET("[" P42 "," P41 "]", 4096, "none"));
    struct fake_asd *asd = w->asds[2];
    uint8_t data[40000];
    char name[8];
    size_t left;

    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "before", data, sizeof(data)), 0);
    world_settle(w);
    go_down(w, asd);
    swap_store(asd, owner);
    left = asd->key_count;
    fake_asd_up(asd);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "o%u", i);
        assert_int_equal(world_put(w, name, data, sizeof(data)), 0);
        world_expect(w, name, data, sizeof(data));
    }
    world_settle(w);
    world_expect(w, "before", data, sizeof(data)); /* from the others */
    expect_aside(w, asd, why);
    probe_all(w); /* which would write, too */
    expect_aside(w, asd, why);
    assert_int_equal(asd->key_count, left);
    go_down(w, asd);
    make_claim(asd, alba_id(w)); /* mounted again */
    fake_asd_up(asd);
    probe_all(w);
    assert_int_equal(osds_aside_count(w->engine->osds), 0);
    world_free(w);
}

static void an_empty_store_under_a_known_id_is_set_aside_and_gets_nothing(void **state)
{
    (void)state;
    use_swapped_store(NULL, "no claim");
}

static void a_store_that_another_alba_claimed_is_set_aside_and_gets_nothing(void **state)
{
    (void)state;
    use_swapped_store("somebody-else", "claimed by another");
}

static void an_osd_that_was_down_and_comes_back_empty_says_so(void **state)
{
    struct world *w = world_new(6, 6, WORLD_PRESET("[" P42 "," P41 "]", 4096, "none"));
    struct fake_asd *asd = w->asds[2];
    struct osd *osd;
    uint8_t data[4000];

    (void)state;
    world_fill(w, data, sizeof(data));
    go_down(w, asd);
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    osd = osd_of(w, asd);
    assert_true(osd->aside);
    assert_null(strstr(osd->failures[0].text, "claim"));
    swap_store(asd, NULL);
    fake_asd_up(asd);
    probe_all(w);
    expect_aside(w, asd, "no claim");
    assert_int_equal(asd->key_count, 0);
    make_claim(asd, alba_id(w)); /* while nobody is connected: the next to connect sees it */
    probe_all(w);
    assert_false(osd->aside);
    world_free(w);
}

static enum fake_fate hang_on_one_question(void *ctx, struct fake_asd *asd,
                                           const struct asd_request *request)
{
    unsigned *left = ctx;

    (void)asd;
    if (request->code != ASD_MULTI_EXISTS || *left == 0) {
        return FAKE_NORMAL;
    }
    (*left)--;
    return FAKE_HANG;
}

/* Every fragment is needed that can be read. The connection on which nobody answers is given up
 * with the call, so the second look of the read gets another. */
static void a_question_for_the_claim_that_is_not_answered_costs_one_timeout(void **state)
{
    struct world *w = world_new(3, 3, WORLD_PRESET("[[2,1,3,1]]", 4096, "none"));
    unsigned left[2] = {1, 1};
    uint8_t data[4000];

    (void)state;
    world_make_hasty(w);
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    world_settle(w);
    for (unsigned i = 0; i < 2; i++) {
        go_down(w, w->asds[i]);
        fake_asd_up(w->asds[i]);
        fake_asd_set_fate(w->asds[i], hang_on_one_question, &left[i]);
    }
    world_expect(w, "o", data, sizeof(data));
    assert_int_equal(left[0] + left[1], 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_store_under_a_known_id_is_set_aside_and_gets_nothing),
        cmocka_unit_test(a_store_that_another_alba_claimed_is_set_aside_and_gets_nothing),
        cmocka_unit_test(an_osd_that_was_down_and_comes_back_empty_says_so),
        cmocka_unit_test(a_question_for_the_claim_that_is_not_answered_costs_one_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
