#include "policy/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* Above this many fragments in datacenters with limits, may_fail is the lower bound. */
enum { FAIL_EXACT_MAX = 4096 };

struct node {
    uint32_t usable;
    uint32_t dc;
};

/* Usable OSDs by node; what a chunk gets of them is counted beside. */
struct map {
    struct node *nodes;
    uint32_t node_count; /* those without a usable OSD are not there */
    uint32_t dc_count;   /* as numbered: some may be empty */
    uint32_t per_dc;     /* limit */

    uint32_t *node_base; /* fragments of a chunk that a node has for certain … */
    uint32_t *node_next; /* … and those that it may have besides, */
    uint32_t *dc_base;
    uint32_t *dc_next;
    uint32_t spare; /* of which there are so many in all */
};

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static void map_init(struct map *m, const struct preset *preset, const struct choose_osd *osds,
                     uint32_t count, uint32_t *ret_usable)
{
    struct node *all = mem_array(count + 1, sizeof(*all));

    *m = (struct map){.per_dc = preset->max_per_datacenter != 0 ? preset->max_per_datacenter
                                                                : UINT32_MAX};
    *ret_usable = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (osds[i].usable && preset_allows_osd(preset, osds[i].osd_id)) {
            all[osds[i].node].usable++;
            all[osds[i].node].dc = osds[i].dc;
            m->dc_count = osds[i].dc >= m->dc_count ? osds[i].dc + 1 : m->dc_count;
            ++*ret_usable;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].usable != 0) {
            all[m->node_count++] = all[i];
        }
    }
    m->nodes = all;
    m->node_base = mem_array(m->node_count + 1, sizeof(uint32_t));
    m->node_next = mem_array(m->node_count + 1, sizeof(uint32_t));
    m->dc_base = mem_array(m->dc_count + 1, sizeof(uint32_t));
    m->dc_next = mem_array(m->dc_count + 1, sizeof(uint32_t));
}

static void map_release(struct map *m)
{
    free(m->nodes);
    free(m->node_base);
    free(m->node_next);
    free(m->dc_base);
    free(m->dc_next);
}

static uint32_t dcs_in_use(const struct map *m)
{
    uint32_t found = 0;

    for (uint32_t dc = 0; dc < m->dc_count; dc++) {
        bool used = false;

        for (uint32_t i = 0; i < m->node_count; i++) {
            used = used || m->nodes[i].dc == dc;
        }
        found += used;
    }
    return found;
}

/* ---- what a chunk has where ---- */

/* How many nodes of a datacenter may get their next fragment in this round, and how many it may
 * take. */
static uint32_t round_of(const struct map *m, uint32_t dc, uint32_t x, uint32_t level)
{
    uint32_t open = 0;

    for (uint32_t i = 0; i < m->node_count; i++) {
        open += m->nodes[i].dc == dc && least(m->nodes[i].usable, x) > level;
    }
    return least(open, m->per_dc - least(m->per_dc, m->dc_base[dc]));
}

static void give(struct map *m, uint32_t x, uint32_t level, bool certain)
{
    for (uint32_t dc = 0; dc < m->dc_count; dc++) {
        uint32_t takes = round_of(m, dc, x, level), given = 0;

        for (uint32_t i = 0; i < m->node_count; i++) {
            if (m->nodes[i].dc != dc || least(m->nodes[i].usable, x) <= level) {
                continue;
            }
            if (certain && given < takes) {
                m->node_base[i]++;
                given++;
            } else if (!certain && takes > 0) {
                m->node_next[i] = 1;
            }
        }
        *(certain ? &m->dc_base[dc] : &m->dc_next[dc]) += takes;
    }
}

/* As choose_place() picks: in rounds over the nodes, each round ends before the next begins. */
static void spread(struct map *m, uint32_t x, uint32_t fragments)
{
    memset(m->node_base, 0, m->node_count * sizeof(uint32_t));
    memset(m->node_next, 0, m->node_count * sizeof(uint32_t));
    memset(m->dc_base, 0, m->dc_count * sizeof(uint32_t));
    memset(m->dc_next, 0, m->dc_count * sizeof(uint32_t));
    m->spare = 0;
    for (uint32_t level = 0; fragments > 0; level++) {
        uint32_t takes = 0;

        for (uint32_t dc = 0; dc < m->dc_count; dc++) {
            takes += round_of(m, dc, x, level);
        }
        CHECK(takes > 0); /* fragments <= capacity */
        give(m, x, level, takes <= fragments);
        if (takes > fragments) {
            m->spare = fragments;
            return;
        }
        fragments -= takes;
    }
}

/* Whatever choose_extra() did for fragments that failed: only the limits hold. */
static void crowd(struct map *m, uint32_t x, uint32_t fragments)
{
    memset(m->node_base, 0, m->node_count * sizeof(uint32_t));
    memset(m->dc_base, 0, m->dc_count * sizeof(uint32_t));
    memset(m->dc_next, 0, m->dc_count * sizeof(uint32_t));
    for (uint32_t i = 0; i < m->node_count; i++) {
        m->node_next[i] = least(least(m->nodes[i].usable, x), m->per_dc);
        m->dc_next[m->nodes[i].dc] += m->node_next[i];
    }
    for (uint32_t dc = 0; dc < m->dc_count; dc++) {
        m->dc_next[dc] = least(m->dc_next[dc], m->per_dc);
    }
    m->spare = fragments;
}

static int larger_first(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

/* How many of `count` places may be lost when `spare` fragments may be. */
static uint32_t places_to_lose(uint32_t *base, uint32_t *next, uint32_t count, uint32_t extra,
                               uint32_t spare)
{
    uint64_t lost = 0, more = 0;
    uint32_t places = 0;

    qsort(base, count, sizeof(uint32_t), larger_first);
    qsort(next, count, sizeof(uint32_t), larger_first);
    while (places < count) {
        lost += base[places];
        more += next[places];
        if (lost + (more < extra ? more : extra) > spare) {
            break;
        }
        places++;
    }
    return places;
}

static struct explain_survival survives(struct map *m, uint32_t fragments, uint32_t k)
{
    uint32_t spare = fragments - k;

    return (struct explain_survival){
        .disks = spare,
        .nodes = places_to_lose(m->node_base, m->node_next, m->node_count, m->spare, spare),
        .datacenters = places_to_lose(m->dc_base, m->dc_next, m->dc_count, m->spare, spare)};
}

/* ---- how many OSDs may fail ---- */

/* ret_cost[t] = the fewest OSDs that must fail until the nodes of `dc` (UINT32_MAX: of all) take t
 * fragments less; t = 0 … returned sum. A node gives up fragments once what it has beyond x
 * is gone: first those with nothing beyond, then those with least. */
static uint32_t cost_of_nodes(const struct map *m, uint32_t dc, uint32_t x, uint32_t *ret_cost)
{
    uint32_t taken = 0, cost = 0;
    bool *done = mem_array(m->node_count + 1, sizeof(bool));

    ret_cost[0] = 0;
    for (;;) {
        uint32_t best = UINT32_MAX, best_beyond = UINT32_MAX;

        for (uint32_t i = 0; i < m->node_count; i++) {
            uint32_t beyond = m->nodes[i].usable - least(m->nodes[i].usable, x);

            if (!done[i] && (dc == UINT32_MAX || m->nodes[i].dc == dc) && beyond < best_beyond) {
                best = i;
                best_beyond = beyond;
            }
        }
        if (best == UINT32_MAX) {
            break;
        }
        done[best] = true;
        cost += best_beyond;
        for (uint32_t t = least(m->nodes[best].usable, x); t > 0; t--) {
            ret_cost[++taken] = ++cost;
        }
    }
    free(done);
    return taken;
}

/* Adds a datacenter: cost[t] over all so far, for a total of t fragments less. */
static uint32_t add_dc(uint32_t *cost, uint32_t sum, const uint32_t *dc_cost, uint32_t dc_sum,
                       uint32_t per_dc)
{
    uint32_t beyond = dc_sum - least(dc_sum, per_dc), has = dc_sum - beyond;

    for (uint32_t t = sum + has; t > 0; t--) {
        uint32_t best = UINT32_MAX;

        for (uint32_t here = t > sum ? t - sum : 0; here <= has && here <= t; here++) {
            uint32_t c = cost[t - here] + (here == 0 ? 0 : dc_cost[beyond + here]);

            best = c < best ? c : best;
        }
        cost[t] = best;
    }
    return sum + has;
}

/* The most OSDs that may fail, whichever, and `c` fragments still fit. */
static uint32_t may_fail(const struct map *m, uint32_t x, uint32_t c, uint32_t capacity,
                         uint32_t usable)
{
    uint32_t *cost, *dc_cost, sum = 0, answer;

    if (m->per_dc != UINT32_MAX && capacity > FAIL_EXACT_MAX) {
        return capacity - c; /* each takes away one at most */
    }
    cost = mem_array(usable + 1, sizeof(uint32_t));
    dc_cost = mem_array(usable + 1, sizeof(uint32_t));
    if (m->per_dc == UINT32_MAX) {
        sum = cost_of_nodes(m, UINT32_MAX, x, cost);
    } else {
        for (uint32_t dc = 0; dc < m->dc_count; dc++) {
            uint32_t dc_sum = cost_of_nodes(m, dc, x, dc_cost);

            sum = add_dc(cost, sum, dc_cost, dc_sum, m->per_dc);
        }
    }
    CHECK(sum == capacity);
    answer = cost[capacity - c + 1] - 1;
    free(cost);
    free(dc_cost);
    return answer;
}

/* ---- all of it ---- */

static void explain_one(struct explain_policy *p, const struct preset *preset, struct map *m,
                        const struct choose_osd *osds, uint32_t count, uint32_t usable)
{
    const struct preset_policy *policy = &p->policy;

    p->capacity = choose_capacity(preset, policy->max_per_node, osds, count);
    p->is_possible = policy->min_fragments <= p->capacity;
    if (!p->is_possible) {
        return;
    }
    p->fragment_count = least(p->capacity, policy->k + policy->m);
    spread(m, policy->max_per_node, p->fragment_count);
    p->stored = survives(m, p->fragment_count, policy->k);
    crowd(m, policy->max_per_node, policy->min_fragments);
    p->at_once = survives(m, policy->min_fragments, policy->k);
    p->may_fail = may_fail(m, policy->max_per_node, policy->min_fragments, p->capacity, usable);
}

void explain_preset(struct explain *ret_explain, const struct preset *preset,
                    const struct choose_osd *osds, uint32_t count)
{
    struct explain *x = ret_explain;
    struct map m;

    *x = (struct explain){.policy_count = preset->policy_count, .applies = preset->policy_count};
    map_init(&m, preset, osds, count, &x->usable_osds);
    x->nodes = m.node_count;
    x->datacenters = dcs_in_use(&m);
    for (uint32_t i = preset->policy_count; i-- > 0;) {
        struct explain_policy *p = &x->policies[i];

        p->policy = preset->policies[i];
        explain_one(p, preset, &m, osds, count, x->usable_osds);
        if (p->is_possible) {
            x->applies = i;
            x->may_fail_until_next = p->may_fail;
            x->may_fail_until_stop =
                p->may_fail > x->may_fail_until_stop ? p->may_fail : x->may_fail_until_stop;
        }
    }
    map_release(&m);
}

void explain_why(const struct explain *explain, const struct preset *preset, uint32_t index,
                 char ret_why[EXPLAIN_WHY_BYTES])
{
    const struct explain_policy *p = &explain->policies[index];
    char dc[48] = "";

    CHECK(index < explain->policy_count && !p->is_possible);
    if (preset->max_per_datacenter != 0) {
        snprintf(dc, sizeof(dc), " and %" PRIu32 " in each of %" PRIu32 " datacenters",
                 preset->max_per_datacenter, explain->datacenters);
    }
    snprintf(ret_why, EXPLAIN_WHY_BYTES,
             "needs %" PRIu32 " fragments, %" PRIu32 " fit: %" PRIu32
             " usable OSDs, at most %" PRIu32 " on each of %" PRIu32 " nodes%s",
             p->policy.min_fragments, p->capacity, explain->usable_osds, p->policy.max_per_node,
             explain->nodes, dc);
}
