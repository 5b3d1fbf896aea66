#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/choose.h"

enum { OSDS_MAX = 60, NAMES = 12 };

static const char *const node_names[NAMES] = {"n0", "n1", "n2", "n3", "n4",  "n5",
                                              "n6", "n7", "n8", "n9", "n10", "n11"};
static const char *const dc_names[4] = {"", "west", "east", "north"};

/* `nodes` nodes with `per_node` OSDs each, all alike, in one datacenter. */
static uint32_t make_grid(struct choose_osd *osds, uint32_t nodes, uint32_t per_node)
{
    uint32_t count = 0;

    for (uint32_t node = 0; node < nodes; node++) {
        for (uint32_t i = 0; i < per_node; i++) {
            osds[count] = (struct choose_osd){.osd_id = 100 + count,
                                              .node_id = node_names[node],
                                              .total_bytes = 1000000,
                                              .used_bytes = 500000,
                                              .usable = true};
            count++;
        }
    }
    choose_index(osds, count);
    return count;
}

static uint32_t make_random(struct choose_osd *osds, struct rnd *rnd)
{
    uint32_t count = (uint32_t)rnd_below(rnd, OSDS_MAX + 1);
    uint32_t nodes = 1 + (uint32_t)rnd_below(rnd, NAMES);
    uint32_t dcs = 1 + (uint32_t)rnd_below(rnd, 4);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = (uint32_t)rnd_below(rnd, nodes);

        osds[i] = (struct choose_osd){.osd_id = i * 7 + 1,
                                      .node_id = node_names[node],
                                      .datacenter = dc_names[node % dcs],
                                      .total_bytes = rnd_below(rnd, 1000000),
                                      .used_bytes = rnd_below(rnd, 2000000),
                                      .usable = rnd_below(rnd, 5) != 0};
    }
    choose_index(osds, count);
    return count;
}

static void make_random_preset(struct preset *p, struct rnd *rnd)
{
    preset_init_default(p);
    p->policy_count = 1 + (uint32_t)rnd_below(rnd, 4);
    for (uint32_t i = 0; i < p->policy_count; i++) {
        struct preset_policy *policy = &p->policies[i];

        policy->k = 1 + (uint32_t)rnd_below(rnd, 20);
        policy->m = (uint32_t)rnd_below(rnd, 9);
        policy->min_fragments = policy->k + (uint32_t)rnd_below(rnd, policy->m + 1);
        policy->max_per_node = 1 + (uint32_t)rnd_below(rnd, 5);
    }
    p->max_per_datacenter = (uint32_t)rnd_below(rnd, 3) * 5;
    if (rnd_below(rnd, 3) == 0) {
        p->osds_explicit = true;
        p->osd_ids = mem_array(OSDS_MAX, sizeof(p->osd_ids[0]));
        for (uint64_t id = 0; id < OSDS_MAX; id++) {
            if (rnd_below(rnd, 4) != 0) {
                p->osd_ids[p->osd_id_count++] = id * 7 + 1;
            }
        }
    }
}

static bool fits(const struct preset *p, const struct choose_osd *o)
{
    return o->usable && preset_allows_osd(p, o->osd_id);
}

/* By the definition: sum over datacenters of min(d, sum over nodes of min(x, OSDs)). */
static uint32_t capacity_by_definition(const struct preset *p, uint32_t x,
                                       const struct choose_osd *osds, uint32_t count)
{
    uint32_t total = 0;

    for (uint32_t dc = 0; dc < 4; dc++) {
        uint32_t in_dc = 0;

        for (uint32_t node = 0; node < NAMES; node++) {
            uint32_t in_node = 0;

            for (uint32_t i = 0; i < count; i++) {
                in_node += fits(p, &osds[i]) && strcmp(osds[i].node_id, node_names[node]) == 0 &&
                           strcmp(osds[i].datacenter, dc_names[dc]) == 0;
            }
            in_dc += in_node < x ? in_node : x;
        }
        total += p->max_per_datacenter != 0 && in_dc > p->max_per_datacenter ? p->max_per_datacenter
                                                                             : in_dc;
    }
    return total;
}

/* No OSD twice, none that may not be used, limits of node and datacenter kept. */
static void assert_spread(const struct preset *p, uint32_t x, const struct choose_osd *osds,
                          const uint32_t *chosen, uint32_t chosen_count)
{
    for (uint32_t i = 0; i < chosen_count; i++) {
        uint32_t in_node = 0, in_dc = 0;

        assert_true(fits(p, &osds[chosen[i]]));
        for (uint32_t j = 0; j < chosen_count; j++) {
            assert_true(i == j || chosen[i] != chosen[j]);
            in_node += strcmp(osds[chosen[i]].node_id, osds[chosen[j]].node_id) == 0;
            in_dc += osds[chosen[i]].dc == osds[chosen[j]].dc;
        }
        assert_true(in_node <= x);
        assert_true(p->max_per_datacenter == 0 || in_dc <= p->max_per_datacenter);
    }
}

static void the_first_satisfiable_policy_is_applied_and_its_limits_are_kept(void **state)
{
    struct rnd rnd = seed_start("limits");
    int placed = 0, refused = 0;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct choose_osd osds[OSDS_MAX];
        struct choose_result r = {0};
        uint32_t first = UINT32_MAX, capacity = 0, count;
        struct preset p;
        struct err e;
        int rc;

        count = make_random(osds, &rnd);
        make_random_preset(&p, &rnd);
        for (uint32_t i = p.policy_count; i-- > 0;) {
            uint32_t n = capacity_by_definition(&p, p.policies[i].max_per_node, osds, count);

            assert_int_equal(choose_capacity(&p, p.policies[i].max_per_node, osds, count), n);
            if (p.policies[i].min_fragments <= n) {
                first = i;
                capacity = n;
            }
        }
        rc = choose_place(&p, osds, count, &rnd, &r, &e);
        if (first == UINT32_MAX) {
            assert_int_equal(rc, ERR_NO_POLICY);
            refused++;
        } else {
            uint32_t all = p.policies[first].k + p.policies[first].m;

            assert_int_equal(rc, 0);
            assert_int_equal(r.policy_index, first);
            assert_int_equal(r.fragment_count, capacity < all ? capacity : all);
            assert_spread(&p, r.policy.max_per_node, osds, r.chosen, r.fragment_count);
            placed++;
        }
        preset_release(&p);
    }
    assert_true(placed > 500 && refused > 100);
}

static void nodes_with_fewest_fragments_come_first(void **state)
{
    struct rnd rnd = seed_start("fewest first");
    struct choose_osd osds[OSDS_MAX];
    struct preset p;

    (void)state;
    preset_init_volumes(&p, "v");
    p.policies[0].max_per_node = 4;
    make_grid(osds, 3, 4);
    osds[0].used_bytes = 0; /* however much it pulls */
    for (int round = 0; round < 500; round++) {
        uint32_t in_node[3] = {0};
        struct choose_result r;
        struct err e;

        assert_int_equal(choose_place(&p, osds, 12, &rnd, &r, &e), 0);
        for (uint32_t i = 0; i < 6; i++) {
            in_node[osds[r.chosen[i]].node]++;
            assert_int_equal(in_node[0] + in_node[1] + in_node[2], i + 1);
            assert_true(in_node[osds[r.chosen[i]].node] <= i / 3 + 1);
        }
    }
    preset_release(&p);
}

static void emptier_disks_are_preferred(void **state)
{
    struct rnd rnd = seed_start("emptier");
    struct choose_osd osds[OSDS_MAX];
    uint32_t hits[8] = {0};
    struct preset p;

    (void)state;
    preset_init_default(&p);
    p.policies[0] = (struct preset_policy){1, 0, 1, 1};
    p.policy_count = 1;
    make_grid(osds, 4, 2);
    for (uint32_t i = 0; i < 8; i++) {
        osds[i].total_bytes = 1000000000;
        osds[i].used_bytes = i == 3 ? 100000000 : 900000000;
    }
    /* Weights 10 and 1.11 each: node 1 gets 11.1 of 17.8 parts, its disk 3 90 % of that. */
    for (int round = 0; round < 20000; round++) {
        struct choose_result r;
        struct err e;

        assert_int_equal(choose_place(&p, osds, 8, &rnd, &r, &e), 0);
        hits[r.chosen[0]]++;
    }
    assert_in_range(hits[3], 10750, 11750); /* expected 11250, sigma 70 */
    for (uint32_t i = 0; i < 8; i++) {
        assert_true(i == 3 || (hits[i] > 1000 && hits[i] < 1500)); /* expected 1250 */
    }
    preset_release(&p);
}

static void sizes_at_the_edges_still_give_a_choice(void **state)
{
    const uint64_t edges[] = {0, 1, UINT64_MAX};
    struct rnd rnd = seed_start("edges");
    struct choose_osd osds[OSDS_MAX];
    struct preset p;

    (void)state;
    preset_init_volumes(&p, "v");
    for (int round = 0; round < 1000; round++) {
        struct choose_result r;
        struct err e;

        make_grid(osds, 3, 2);
        for (uint32_t i = 0; i < 6; i++) {
            osds[i].total_bytes = edges[rnd_below(&rnd, 3)];
            osds[i].used_bytes = edges[rnd_below(&rnd, 3)];
        }
        assert_int_equal(choose_place(&p, osds, 6, &rnd, &r, &e), 0);
        assert_int_equal(r.fragment_count, 6);
        assert_spread(&p, 2, osds, r.chosen, 6);
    }
    preset_release(&p);
}

static void a_seed_repeats_the_choice(void **state)
{
    struct choose_osd osds[OSDS_MAX];
    bool other = false;
    struct preset p;

    (void)state;
    preset_init_volumes(&p, "v");
    make_grid(osds, 6, 5);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rnd one = rnd_seed(seed), two = rnd_seed(seed), three = rnd_seed(seed + 1);
        struct choose_result a, b, c;
        struct err e;

        assert_int_equal(choose_place(&p, osds, 30, &one, &a, &e), 0);
        assert_int_equal(choose_place(&p, osds, 30, &two, &b, &e), 0);
        assert_int_equal(choose_place(&p, osds, 30, &three, &c, &e), 0);
        assert_memory_equal(a.chosen, b.chosen, sizeof(a.chosen));
        other = other || memcmp(a.chosen, c.chosen, sizeof(a.chosen)) != 0;
    }
    assert_true(other);
    preset_release(&p);
}

static void repair_counts_the_fragments_that_stay(void **state)
{
    struct rnd rnd = seed_start("repair");

    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint32_t all[PRESET_FRAGMENTS_MAX], extra[PRESET_FRAGMENTS_MAX];
        uint64_t held[PRESET_FRAGMENTS_MAX];
        struct choose_osd osds[OSDS_MAX];
        struct choose_result r;
        struct choose_more more = {.policy = &r.policy, .held = held};
        uint32_t count, kept = 0, found;
        struct preset p;
        struct err e;

        count = make_random(osds, &rnd);
        make_random_preset(&p, &rnd);
        if (choose_place(&p, osds, count, &rnd, &r, &e) != 0) {
            preset_release(&p);
            continue;
        }
        for (uint32_t i = 0; i < r.fragment_count; i++) {
            if (rnd_below(&rnd, 3) != 0) {
                all[kept] = r.chosen[i];
                held[kept++] = osds[r.chosen[i]].osd_id;
            }
        }
        more.held_count = kept;
        more.want = r.fragment_count - kept;
        found = choose_extra(&p, &more, osds, count, &rnd, extra);
        assert_int_equal(found, more.want); /* the old places are free again */
        memcpy(all + kept, extra, found * sizeof(extra[0]));
        assert_spread(&p, r.policy.max_per_node, osds, all, kept + found);
        preset_release(&p);
    }
}

static void a_fragment_on_a_down_or_unknown_osd_holds_its_place(void **state)
{
    struct rnd rnd = seed_start("held");
    const uint64_t held[] = {100, 102, 999};
    struct choose_osd osds[OSDS_MAX];
    uint32_t extra[PRESET_FRAGMENTS_MAX];
    struct choose_more more = {.held = held, .held_count = 3};
    struct preset p;

    (void)state;
    preset_init_volumes(&p, "v");
    more.policy = &p.policies[0];
    p.policies[0].max_per_node = 1;
    make_grid(osds, 3, 2); /* 100 and 101, 102 and 103, 104 and 105 */
    osds[0].usable = false;
    for (int round = 0; round < 50; round++) {
        more.want = 3;
        assert_int_equal(choose_extra(&p, &more, osds, 6, &rnd, extra), 1);
        assert_int_equal(osds[extra[0]].node, 2); /* the only node without a fragment */
        more.want = 0;
        assert_int_equal(choose_extra(&p, &more, osds, 6, &rnd, extra), 0);
    }
    preset_release(&p);
}

static void a_node_is_in_one_datacenter_only(void **state)
{
    struct choose_osd osds[] = {
        {.osd_id = 9, .node_id = "a", .datacenter = "west", .usable = true},
        {.osd_id = 3, .node_id = "a", .datacenter = "east", .usable = true},
        {.osd_id = 5, .node_id = "b", .datacenter = "east", .usable = true},
        {.osd_id = 6, .node_id = "c", .usable = true},
    };
    struct preset p;

    (void)state;
    choose_index(osds, 4);
    assert_int_equal(osds[0].node, osds[1].node);
    assert_int_equal(osds[0].dc, osds[2].dc); /* east: what its OSD 3 says */
    assert_int_not_equal(osds[0].dc, osds[3].dc);
    preset_init_default(&p);
    assert_int_equal(choose_capacity(&p, 1, osds, 4), 3);
    p.max_per_datacenter = 1;
    assert_int_equal(choose_capacity(&p, 2, osds, 4), 2);
    preset_release(&p);
}

static void no_policy_names_the_preset_and_the_count(void **state)
{
    struct choose_osd osds[OSDS_MAX];
    struct rnd rnd = rnd_seed(1);
    struct choose_result r;
    struct preset p;
    struct err e;

    (void)state;
    preset_init_volumes(&p, "gold");
    make_grid(osds, 3, 2);
    osds[0].usable = osds[1].usable = osds[2].usable = false;
    assert_int_equal(choose_place(&p, osds, 6, &rnd, &r, &e), ERR_NO_POLICY);
    assert_string_equal(e.msg, "preset 'gold': 3 of 6 OSDs usable, 4 fragments needed, 3 fit (at "
                               "most 2 on a node): no policy can be satisfied");
    osds[0].usable = osds[1].usable = true;
    p.max_per_datacenter = 2;
    assert_int_equal(choose_place(&p, osds, 6, &rnd, &r, &e), ERR_NO_POLICY);
    assert_string_equal(e.msg,
                        "preset 'gold': 5 of 6 OSDs usable, 4 fragments needed, 2 fit (at most 2 "
                        "on a node, 2 in a datacenter): no policy can be satisfied");
    p.max_per_datacenter = 0;
    osds[0].usable = osds[1].usable = false;
    assert_int_equal(choose_place(&p, NULL, 0, &rnd, &r, &e), ERR_NO_POLICY);
    osds[2].usable = true; /* four on two nodes: the third policy */
    assert_int_equal(choose_place(&p, osds, 6, &rnd, &r, &e), 0);
    assert_int_equal(r.policy_index, 2);
    assert_int_equal(r.fragment_count, 4);
    preset_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_satisfiable_policy_is_applied_and_its_limits_are_kept),
        cmocka_unit_test(nodes_with_fewest_fragments_come_first),
        cmocka_unit_test(emptier_disks_are_preferred),
        cmocka_unit_test(sizes_at_the_edges_still_give_a_choice),
        cmocka_unit_test(a_seed_repeats_the_choice),
        cmocka_unit_test(repair_counts_the_fragments_that_stay),
        cmocka_unit_test(a_fragment_on_a_down_or_unknown_osd_holds_its_place),
        cmocka_unit_test(a_node_is_in_one_datacenter_only),
        cmocka_unit_test(no_policy_names_the_preset_and_the_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
