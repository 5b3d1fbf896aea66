/* Placement as statistics: how often which OSD is picked. A bound is six standard deviations, so
 * that a test that fails by chance is rarer than a disk that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/seed.h"
#include "policy/choose.h"

enum { OSDS_MAX = 32 };

static const char *const node_names[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"};

static double root(double x)
{
    double r = x > 1 ? x : 1;

    for (int i = 0; i < 60; i++) {
        r = (r + x / r) / 2;
    }
    return r;
}

static void assert_chance(uint32_t hits, uint32_t rounds, double p)
{
    double expected = rounds * p, slack = 6 * root(rounds * p * (1 - p));

    if (hits < expected - slack || hits > expected + slack) {
        fail_msg("%u hits of %u, expected %.1f +- %.1f", hits, rounds, expected, slack);
    }
}

/* OSD i on this node, half of it used. */
static struct choose_osd osd_of(uint32_t i, const char *node)
{
    return (struct choose_osd){.osd_id = i,
                               .node_id = node,
                               .total_bytes = 1ULL << 42,
                               .used_bytes = 1ULL << 41,
                               .usable = true};
}

static uint32_t grid(struct choose_osd *osds, uint32_t nodes, uint32_t per_node)
{
    for (uint32_t i = 0; i < nodes * per_node; i++) {
        osds[i] = osd_of(i, node_names[i / per_node]);
    }
    choose_index(osds, nodes * per_node);
    return nodes * per_node;
}

/* One policy. */
static void start(struct preset *p, uint32_t k, uint32_t m, uint32_t x)
{
    preset_init_default(p);
    p->policies[0] = (struct preset_policy){k, m, k + m, x};
    p->policy_count = 1;
}

static struct choose_result place(const struct preset *p, const struct choose_osd *osds,
                                  uint32_t count, struct rnd *rnd)
{
    struct choose_result r;
    struct err e;

    assert_int_equal(choose_place(p, osds, count, rnd, &r, &e), 0);
    return r;
}

static void twelve_of_eight_nodes_are_all_different_and_each_osd_as_likely(void **state)
{
    struct rnd rnd = seed_start("choose");
    struct choose_osd osds[OSDS_MAX];
    uint32_t hits[OSDS_MAX] = {0};
    uint32_t count = grid(osds, 8, 4);
    struct preset p;

    (void)state;
    start(&p, 8, 4, 3);
    for (int round = 0; round < 2000; round++) {
        struct choose_result r = place(&p, osds, count, &rnd);
        uint32_t in_node[8] = {0};
        uint32_t seen = 0;

        for (uint32_t i = 0; i < 12; i++) {
            seen |= 1u << r.chosen[i];
            in_node[r.chosen[i] / 4]++;
            hits[r.chosen[i]]++;
        }
        assert_int_equal(__builtin_popcount(seen), 12);
        for (uint32_t n = 0; n < 8; n++) {
            assert_in_range(in_node[n], 1, 2);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_chance(hits[i], 2000, 12.0 / 32);
    }
    preset_release(&p);
}

static void all_osds_of_one_node_are_taken_when_all_are_wanted(void **state)
{
    struct rnd rnd = seed_start("choose_bug");
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 1, 12);
    uint32_t seen = 0;
    struct choose_result r;
    struct preset p;

    (void)state;
    start(&p, 8, 4, 12);
    r = place(&p, osds, count, &rnd);
    for (uint32_t i = 0; i < 12; i++) {
        seen |= 1u << r.chosen[i];
    }
    assert_int_equal(seen, (1u << 12) - 1);
    preset_release(&p);
}

static uint32_t extra_one(const struct preset *p, const uint64_t *held, uint32_t held_count,
                          const struct choose_osd *osds, uint32_t count, struct rnd *rnd)
{
    struct choose_more more = {
        .policy = &p->policies[0], .held = held, .held_count = held_count, .want = 1};
    uint32_t chosen[PRESET_FRAGMENTS_MAX];

    assert_int_equal(choose_extra(p, &more, osds, count, rnd, chosen), 1);
    for (uint32_t i = 0; i < held_count; i++) {
        assert_int_not_equal(osds[chosen[0]].osd_id, held[i]);
    }
    return chosen[0];
}

static void one_more_fragment_goes_to_a_node_that_has_none(void **state)
{
    struct rnd rnd = seed_start("choose_forced");
    const uint64_t held[] = {0, 1, 4, 5};
    struct choose_osd osds[OSDS_MAX];
    uint32_t hits[OSDS_MAX] = {0};
    uint32_t count = grid(osds, 8, 4);
    struct preset p;

    (void)state;
    start(&p, 4, 1, 4);
    for (int round = 0; round < 10000; round++) {
        hits[extra_one(&p, held, 4, osds, count, &rnd)]++;
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_chance(hits[i], 10000, i < 8 ? 0 : 1.0 / 24);
    }
    preset_release(&p);
}

/* Four OSDs each on nodes 0, 1, 2, in the order of two systems where this went wrong once. */
static void one_more_fragment_goes_where_fewest_are(void **state)
{
    static const struct {
        uint8_t node_of[12]; /* by id */
        uint64_t held[8];
        uint32_t held_count;
        uint32_t allowed; /* nodes, as bits */
    } cases[] = {
        {{0, 1, 1, 0, 0, 1, 1, 2, 0, 2, 2, 2}, {10, 2, 0, 9, 4, 6, 1}, 7, 1u << 0 | 1u << 2},
        {{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}, {3, 7, 9, 0, 4, 1, 5, 8}, 8, 1u << 2},
    };
    struct rnd rnd = seed_start("choose_extra_bug");
    struct preset p;

    (void)state;
    start(&p, 8, 4, 4);
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct choose_osd osds[12];

        for (uint32_t i = 0; i < 12; i++) {
            osds[i] = osd_of(i, node_names[cases[c].node_of[i]]);
        }
        choose_index(osds, 12);
        for (int round = 0; round < 500; round++) {
            uint32_t i = extra_one(&p, cases[c].held, cases[c].held_count, osds, 12, &rnd);

            assert_true(cases[c].allowed >> cases[c].node_of[i] & 1);
        }
    }
    preset_release(&p);
}

/* Nodes of one OSD each with this much free. */
static void free_bytes(struct choose_osd *osds, const uint32_t *free_parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        osds[i] = osd_of(i, node_names[i]);
        osds[i].used_bytes = osds[i].total_bytes - (uint64_t)free_parts[i] * 1000000;
    }
    choose_index(osds, count);
}

static void an_osd_is_picked_in_proportion_to_what_is_free_on_it(void **state)
{
    static const uint32_t parts[] = {1, 1, 7};
    struct rnd rnd = seed_start("bias1");
    struct choose_osd osds[3];
    uint32_t hits[3] = {0};
    struct preset p;

    (void)state;
    start(&p, 1, 0, 1);
    free_bytes(osds, parts, 3);
    for (int round = 0; round < 20000; round++) {
        hits[place(&p, osds, 3, &rnd).chosen[0]]++;
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_chance(hits[i], 20000, parts[i] / 9.0);
    }
    preset_release(&p);
}

static void two_picks_are_in_proportion_without_the_first(void **state)
{
    static const uint32_t parts[] = {1, 1, 2, 2, 2, 12};
    struct rnd rnd = seed_start("bias2");
    struct choose_osd osds[6];
    uint32_t hits[6] = {0};
    struct preset p;

    (void)state;
    start(&p, 1, 1, 1);
    free_bytes(osds, parts, 6);
    for (int round = 0; round < 50000; round++) {
        struct choose_result r = place(&p, osds, 6, &rnd);

        hits[r.chosen[0]]++;
        hits[r.chosen[1]]++;
    }
    for (uint32_t i = 0; i < 6; i++) {
        double chance = parts[i] / 20.0;

        for (uint32_t first = 0; first < 6; first++) {
            if (first != i) {
                chance += parts[first] / 20.0 * parts[i] / (20.0 - parts[first]);
            }
        }
        assert_chance(hits[i], 50000, chance);
    }
    preset_release(&p);
}

static void a_node_weighs_as_much_as_its_osds_together(void **state)
{
    static const uint32_t node_of[] = {0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2};
    struct rnd rnd = seed_start("bias3, distribution_bug");
    struct choose_osd osds[12];
    uint32_t hits[12] = {0};
    struct preset p;

    (void)state;
    start(&p, 1, 0, 1);
    for (uint32_t i = 0; i < 12; i++) {
        osds[i] = osd_of(i, node_names[node_of[i]]);
    }
    choose_index(osds, 12);
    for (int round = 0; round < 24000; round++) {
        hits[place(&p, osds, 12, &rnd).chosen[0]]++;
    }
    for (uint32_t i = 0; i < 12; i++) {
        assert_chance(hits[i], 24000, 1.0 / 12); /* however its node is populated */
    }
    preset_release(&p);
}

static double fill_of(const struct choose_osd *o)
{
    return (double)o->used_bytes / (double)o->total_bytes;
}

/* Largest difference of the shares that are used. */
static double fill_spread(const struct choose_osd *osds, uint32_t count)
{
    double low = 1, high = 0;

    for (uint32_t i = 0; i < count; i++) {
        low = fill_of(&osds[i]) < low ? fill_of(&osds[i]) : low;
        high = fill_of(&osds[i]) > high ? fill_of(&osds[i]) : high;
    }
    return high - low;
}

/* Put objects of 6 fragments until `used` of all is used. */
static void fill_up(const struct preset *p, struct choose_osd *osds, uint32_t count, double used,
                    struct rnd *rnd)
{
    for (;;) {
        double sum = 0, total = 0;

        for (int round = 0; round < 100; round++) {
            struct choose_result r = place(p, osds, count, rnd);

            for (uint32_t i = 0; i < r.fragment_count; i++) {
                osds[r.chosen[i]].used_bytes += 10;
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            sum += (double)osds[i].used_bytes;
            total += (double)osds[i].total_bytes;
        }
        if (sum >= used * total) {
            return;
        }
    }
}

static void osds_that_are_unequally_full_draw_level(void **state)
{
    struct rnd rnd = seed_start("actually_rebalances");
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 5, 4);
    double before;
    struct preset p;

    (void)state;
    start(&p, 4, 2, 4);
    for (uint32_t i = 0; i < count; i++) {
        osds[i].total_bytes = 100000;
        osds[i].used_bytes = i % 4 * 20000; /* on each node: empty, 20, 40, 60 % */
    }
    before = fill_spread(osds, count);
    for (unsigned percent = 50; percent <= 95; percent += 15) {
        double after;

        fill_up(&p, osds, count, percent / 100.0, &rnd);
        after = fill_spread(osds, count);
        print_message("%u %% used: spread %.3f, was %.3f\n", percent, after, before);
        assert_true(after < before);
        before = after;
    }
    assert_true(before < 0.1);
    preset_release(&p);
}

static void disks_of_different_sizes_get_full_together(void **state)
{
    static const uint64_t sizes[] = {50000, 100000, 200000, 800000};
    struct rnd rnd = seed_start("sizes");
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 8, 4);
    struct preset p;

    (void)state;
    start(&p, 4, 2, 4);
    for (uint32_t i = 0; i < count; i++) {
        osds[i].total_bytes = sizes[i % 4];
        osds[i].used_bytes = 0;
    }
    fill_up(&p, osds, count, 0.8, &rnd);
    print_message("80 %% used: spread %.3f\n", fill_spread(osds, count));
    assert_true(fill_spread(osds, count) < 0.1);
    preset_release(&p);
}

static void a_new_disk_does_not_draw_every_object(void **state)
{
    struct rnd rnd = seed_start("new disk");
    struct choose_osd osds[OSDS_MAX];
    uint32_t count = grid(osds, 8, 4);
    uint32_t hits = 0;
    struct preset p;

    (void)state;
    start(&p, 4, 2, 1);
    osds[9].used_bytes = 0; /* twice as much free as on each other */
    for (int round = 0; round < 10000; round++) {
        struct choose_result r = place(&p, osds, count, &rnd);

        for (uint32_t i = 0; i < r.fragment_count; i++) {
            hits += r.chosen[i] == 9;
        }
    }
    /* Its node is in about 6 of 8 objects and it has 2 of 5 parts there. */
    assert_in_range(hits, 2500, 4000);
    preset_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twelve_of_eight_nodes_are_all_different_and_each_osd_as_likely),
        cmocka_unit_test(all_osds_of_one_node_are_taken_when_all_are_wanted),
        cmocka_unit_test(one_more_fragment_goes_to_a_node_that_has_none),
        cmocka_unit_test(one_more_fragment_goes_where_fewest_are),
        cmocka_unit_test(an_osd_is_picked_in_proportion_to_what_is_free_on_it),
        cmocka_unit_test(two_picks_are_in_proportion_without_the_first),
        cmocka_unit_test(a_node_weighs_as_much_as_its_osds_together),
        cmocka_unit_test(osds_that_are_unequally_full_draw_level),
        cmocka_unit_test(disks_of_different_sizes_get_full_together),
        cmocka_unit_test(a_new_disk_does_not_draw_every_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
