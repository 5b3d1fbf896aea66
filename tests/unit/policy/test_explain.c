/* What is said about a preset, against trying it: every set of OSDs that may fail, every loss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/explain.h"

enum { OSDS_MAX = 11, NODES_MAX = 5 };

static const char *const node_names[] = {"n0", "n1", "n2", "n3", "n4"};
static const char *const dc_names[] = {"", "west", "east"};

static uint32_t grid(struct choose_osd *osds, uint32_t nodes, uint32_t per_node)
{
    for (uint32_t i = 0; i < nodes * per_node; i++) {
        osds[i] = (struct choose_osd){
            .osd_id = i, .node_id = node_names[i / per_node], .total_bytes = 1000, .usable = true};
    }
    choose_index(osds, nodes * per_node);
    return nodes * per_node;
}

static uint32_t make_random(struct choose_osd *osds, struct rnd *rnd)
{
    uint32_t count = 1 + (uint32_t)rnd_below(rnd, OSDS_MAX);
    uint32_t nodes = 1 + (uint32_t)rnd_below(rnd, NODES_MAX);
    uint32_t dcs = 1 + (uint32_t)rnd_below(rnd, 3);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = (uint32_t)rnd_below(rnd, nodes);

        osds[i] = (struct choose_osd){.osd_id = i,
                                      .node_id = node_names[node],
                                      .datacenter = dc_names[node % dcs],
                                      .total_bytes = 1000,
                                      .usable = rnd_below(rnd, 8) != 0};
    }
    choose_index(osds, count);
    return count;
}

static void make_random_preset(struct preset *p, struct rnd *rnd)
{
    preset_init_default(p);
    p->policy_count = 1 + (uint32_t)rnd_below(rnd, 3);
    for (uint32_t i = 0; i < p->policy_count; i++) {
        struct preset_policy *policy = &p->policies[i];

        policy->k = 1 + (uint32_t)rnd_below(rnd, 4);
        policy->m = (uint32_t)rnd_below(rnd, 4);
        policy->min_fragments = policy->k + (uint32_t)rnd_below(rnd, policy->m + 1);
        policy->max_per_node = 1 + (uint32_t)rnd_below(rnd, 3);
    }
    p->max_per_datacenter = rnd_below(rnd, 2) == 0 ? 0 : 1 + (uint32_t)rnd_below(rnd, 4);
}

/* The fewest of the OSDs whose failure leaves less than `c` (of this x), or no policy (x = 0). */
static uint32_t fewest_failures(const struct preset *p, uint32_t x, uint32_t c,
                                const struct choose_osd *osds, uint32_t count, struct rnd *rnd)
{
    uint32_t fewest = UINT32_MAX;

    for (uint32_t set = 0; set < 1u << count; set++) {
        uint32_t failures = 0;
        struct choose_osd left[OSDS_MAX];
        struct choose_result r;
        struct err e;
        bool ends;

        memcpy(left, osds, count * sizeof(left[0]));
        for (uint32_t i = 0; i < count; i++) {
            failures += (set >> i & 1) != 0 && left[i].usable;
            left[i].usable = left[i].usable && (set >> i & 1) == 0;
        }
        if (failures >= fewest) {
            continue;
        }
        ends = x != 0 ? choose_capacity(p, x, left, count) < c
                      : choose_place(p, left, count, rnd, &r, &e) != 0;
        fewest = ends ? failures : fewest;
    }
    return fewest;
}

static void so_many_osds_may_fail_and_no_more(void **state)
{
    struct rnd rnd = seed_start("failures");

    (void)state;
    for (int round = 0; round < 150; round++) {
        struct choose_osd osds[OSDS_MAX];
        uint32_t count = make_random(osds, &rnd);
        struct explain x;
        struct preset p;

        make_random_preset(&p, &rnd);
        explain_preset(&x, &p, osds, count);
        for (uint32_t i = 0; i < p.policy_count; i++) {
            const struct explain_policy *one = &x.policies[i];
            const struct preset_policy *policy = &p.policies[i];

            if (one->is_possible) {
                assert_int_equal(one->may_fail + 1,
                                 fewest_failures(&p, policy->max_per_node, policy->min_fragments,
                                                 osds, count, &rnd));
            }
        }
        if (x.applies < p.policy_count) {
            assert_int_equal(x.may_fail_until_next, x.policies[x.applies].may_fail);
            assert_true(x.may_fail_until_stop < fewest_failures(&p, 0, 0, osds, count, &rnd));
        }
        preset_release(&p);
    }
}

/* By osd (what = 0), node (1) or datacenter (2). */
static uint32_t place_of(const struct choose_osd *o, unsigned what)
{
    return what == 0 ? (uint32_t)o->osd_id : what == 1 ? o->node : o->dc;
}

/* Fragments on the `lost` places that have most. */
static uint32_t most_on(const struct choose_osd *osds, const uint32_t *chosen, uint32_t n,
                        unsigned what, uint32_t lost)
{
    uint32_t in[OSDS_MAX] = {0}, sum = 0;

    for (uint32_t i = 0; i < n; i++) {
        in[place_of(&osds[chosen[i]], what)]++;
    }
    for (; lost > 0; lost--) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < OSDS_MAX; i++) {
            best = in[i] > in[best] ? i : best;
        }
        sum += in[best];
        in[best] = 0;
    }
    return sum;
}

static void assert_survives(const struct explain_survival *s, const struct choose_osd *osds,
                            const uint32_t *chosen, uint32_t n, uint32_t k)
{
    assert_true(n - most_on(osds, chosen, n, 0, s->disks) >= k);
    assert_true(n - most_on(osds, chosen, n, 1, s->nodes) >= k);
    assert_true(n - most_on(osds, chosen, n, 2, s->datacenters) >= k);
}

static void what_is_placed_survives_what_was_said(void **state)
{
    struct rnd rnd = seed_start("survival");
    unsigned placed = 0;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct choose_osd osds[OSDS_MAX];
        uint32_t count = make_random(osds, &rnd);
        struct choose_result r;
        struct explain x;
        struct preset p;
        struct err e;
        int rc;

        make_random_preset(&p, &rnd);
        explain_preset(&x, &p, osds, count);
        rc = choose_place(&p, osds, count, &rnd, &r, &e);
        assert_int_equal(rc == 0, x.applies < x.policy_count);
        if (rc == 0) {
            const struct explain_policy *one = &x.policies[x.applies];

            placed++;
            assert_int_equal(r.policy_index, x.applies);
            assert_int_equal(r.fragment_count, one->fragment_count);
            assert_survives(&one->stored, osds, r.chosen, r.fragment_count, r.policy.k);
            if (p.max_per_datacenter == 0 && one->stored.nodes < x.nodes) {
                assert_true(r.fragment_count - most_on(osds, r.chosen, r.fragment_count, 1,
                                                       one->stored.nodes + 1) <
                            r.policy.k);
            }
            /* The first so many of them are one way in which others may have failed. */
            assert_survives(&one->at_once, osds, r.chosen, r.policy.min_fragments, r.policy.k);
            assert_true(one->at_once.nodes <= one->stored.nodes);
        }
        preset_release(&p);
    }
    assert_true(placed > 500);
}

/* Where OSDs failed, what is left may be as close together as the limits allow. */
static void what_was_stored_while_osds_failed_survives_what_was_said(void **state)
{
    struct rnd rnd = seed_start("failing puts");

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct choose_osd osds[OSDS_MAX];
        uint32_t count = make_random(osds, &rnd), chosen[OSDS_MAX], n = 0, in_node[OSDS_MAX] = {0},
                 in_dc[OSDS_MAX] = {0};
        struct explain x;
        struct preset p;

        make_random_preset(&p, &rnd);
        explain_preset(&x, &p, osds, count);
        if (x.applies < x.policy_count) {
            const struct preset_policy *policy = &p.policies[x.applies];
            uint32_t start = (uint32_t)rnd_below(&rnd, count);

            for (uint32_t j = 0; j < count && n < policy->min_fragments; j++) {
                uint32_t i = (start + j) % count;

                if (osds[i].usable && in_node[osds[i].node] < policy->max_per_node &&
                    (p.max_per_datacenter == 0 || in_dc[osds[i].dc] < p.max_per_datacenter)) {
                    in_node[osds[i].node]++;
                    in_dc[osds[i].dc]++;
                    chosen[n++] = i;
                }
            }
            assert_int_equal(n, policy->min_fragments);
            assert_survives(&x.policies[x.applies].at_once, osds, chosen, n, policy->k);
        }
        preset_release(&p);
    }
}

static void the_preset_of_volumes_on_three_nodes(void **state)
{
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 3, 2);
    char why[EXPLAIN_WHY_BYTES];
    struct explain x;
    struct preset p;

    (void)state;
    preset_init_volumes(&p, "v");
    explain_preset(&x, &p, osds, count);
    assert_int_equal(x.applies, 0);
    assert_int_equal(x.usable_osds, 6);
    assert_int_equal(x.nodes, 3);
    assert_int_equal(x.policies[0].fragment_count, 6);
    assert_int_equal(x.policies[0].stored.disks, 2);
    assert_int_equal(x.policies[0].stored.nodes, 1);
    assert_int_equal(x.policies[0].stored.datacenters, 0);
    assert_int_equal(x.policies[2].at_once.disks, 0);
    assert_int_equal(x.may_fail_until_next, 0);
    assert_int_equal(x.may_fail_until_stop, 2);

    osds[0].usable = osds[1].usable = false;
    explain_preset(&x, &p, osds, count);
    assert_int_equal(x.applies, 2);
    assert_int_equal(x.policies[2].fragment_count, 4);
    assert_int_equal(x.policies[2].stored.disks, 0);
    assert_int_equal(x.may_fail_until_next, 0);
    assert_int_equal(x.may_fail_until_stop, 0);
    explain_why(&x, &p, 0, why);
    assert_string_equal(why,
                        "needs 6 fragments, 4 fit: 4 usable OSDs, at most 2 on each of 2 nodes");
    osds[2].usable = false;
    explain_preset(&x, &p, osds, count);
    assert_int_equal(x.applies, x.policy_count);
    p.max_per_datacenter = 3;
    explain_preset(&x, &p, osds, count);
    explain_why(&x, &p, 2, why);
    assert_string_equal(why, "needs 4 fragments, 3 fit: 3 usable OSDs, at most 2 on each of 2 "
                             "nodes and 3 in each of 1 datacenters");
    preset_release(&p);
}

/* 5 nodes of 2: 5+4 needs 8, two of them hold what three nodes cannot. */
static void the_osds_that_a_policy_needs_of_each_node_are_told_by_its_limit(void **state)
{
    static const struct {
        uint32_t k, m, c, x, fits;
        bool possible;
    } cases[] = {
        {5, 4, 8, 1, 5, false},  {5, 4, 8, 2, 10, true},   {2, 2, 3, 1, 5, true},
        {8, 2, 10, 2, 10, true}, {8, 3, 11, 2, 10, false},
    };
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 5, 2);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct explain x;
        struct preset p;

        preset_init_default(&p);
        p.policies[0] = (struct preset_policy){cases[i].k, cases[i].m, cases[i].c, cases[i].x};
        p.policy_count = 1;
        explain_preset(&x, &p, osds, count);
        assert_int_equal(x.policies[0].capacity, cases[i].fits);
        assert_int_equal(x.policies[0].is_possible, cases[i].possible);
        preset_release(&p);
    }
}

static void without_any_osd_nothing_applies(void **state)
{
    struct explain x;
    struct preset p;

    (void)state;
    preset_init_default(&p);
    explain_preset(&x, &p, NULL, 0);
    assert_int_equal(x.applies, x.policy_count);
    assert_int_equal(x.nodes + x.datacenters + x.usable_osds, 0);
    preset_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_osds_may_fail_and_no_more),
        cmocka_unit_test(what_is_placed_survives_what_was_said),
        cmocka_unit_test(what_was_stored_while_osds_failed_survives_what_was_said),
        cmocka_unit_test(the_preset_of_volumes_on_three_nodes),
        cmocka_unit_test(the_osds_that_a_policy_needs_of_each_node_are_told_by_its_limit),
        cmocka_unit_test(without_any_osd_nothing_applies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
