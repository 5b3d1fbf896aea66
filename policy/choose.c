#include "policy/choose.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static const char *dc_name(const struct choose_osd *o)
{
    return o->datacenter != NULL ? o->datacenter : "";
}

static int by_node_then_id(const void *a, const void *b)
{
    const struct choose_osd *x = *(struct choose_osd *const *)a;
    const struct choose_osd *y = *(struct choose_osd *const *)b;
    int order = strcmp(x->node_id, y->node_id);

    return order != 0 ? order : (x->osd_id > y->osd_id) - (x->osd_id < y->osd_id);
}

static int by_dc(const void *a, const void *b)
{
    return strcmp(dc_name(*(struct choose_osd *const *)a), dc_name(*(struct choose_osd *const *)b));
}

void choose_index(struct choose_osd *osds, uint32_t count)
{
    struct choose_osd **sorted, **firsts;
    uint32_t *dc_of_node;
    uint32_t nodes = 0, dc = 0;

    CHECK(count <= CHOOSE_OSDS_MAX);
    if (count == 0) {
        return;
    }
    sorted = mem_array(count, sizeof(struct choose_osd *));
    firsts = mem_array(count, sizeof(struct choose_osd *)); /* of each node */
    dc_of_node = mem_array(count, sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = &osds[i];
    }
    qsort(sorted, count, sizeof(struct choose_osd *), by_node_then_id);
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(sorted[i]->node_id, sorted[i - 1]->node_id) != 0) {
            firsts[nodes++] = sorted[i];
        }
        sorted[i]->node = nodes - 1;
    }
    qsort(firsts, nodes, sizeof(struct choose_osd *), by_dc);
    for (uint32_t i = 0; i < nodes; i++) {
        if (i != 0 && by_dc(&firsts[i], &firsts[i - 1]) != 0) {
            dc++;
        }
        dc_of_node[firsts[i]->node] = dc;
    }
    for (uint32_t i = 0; i < count; i++) {
        osds[i].dc = dc_of_node[osds[i].node];
    }
    free(sorted);
    free(firsts);
    free(dc_of_node);
}

static bool is_candidate(const struct preset *preset, const struct choose_osd *o)
{
    return o->usable && preset_allows_osd(preset, o->osd_id);
}

static uint32_t dc_limit(const struct preset *preset)
{
    return preset->max_per_datacenter != 0 ? preset->max_per_datacenter : UINT32_MAX;
}

uint32_t choose_capacity(const struct preset *preset, uint32_t max_per_node,
                         const struct choose_osd *osds, uint32_t count)
{
    uint32_t *in_node, *in_dc;
    uint32_t fits = 0;

    CHECK(count <= CHOOSE_OSDS_MAX);
    in_node = mem_array(count + 1, sizeof(uint32_t));
    in_dc = mem_array(count + 1, sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) {
        const struct choose_osd *o = &osds[i];

        CHECK(o->node < count && o->dc < count);
        if (is_candidate(preset, o) && in_node[o->node] < max_per_node &&
            in_dc[o->dc] < dc_limit(preset)) {
            in_node[o->node]++;
            in_dc[o->dc]++;
            fits++;
        }
    }
    free(in_node);
    free(in_dc);
    return fits;
}

/* Of the policy that asks for the fewest fragments: what is in its way. */
static int fail_policy(const struct preset *preset, const struct choose_osd *osds, uint32_t count,
                       struct err *e)
{
    const struct preset_policy *least = &preset->policies[0];
    uint32_t usable = 0;
    char dc[40] = "";

    for (uint32_t i = 0; i < count; i++) {
        usable += is_candidate(preset, &osds[i]);
    }
    for (uint32_t i = 1; i < preset->policy_count; i++) {
        const struct preset_policy *policy = &preset->policies[i];

        least = policy->min_fragments < least->min_fragments ? policy : least;
    }
    if (preset->max_per_datacenter != 0) {
        snprintf(dc, sizeof(dc), ", %" PRIu32 " in a datacenter", preset->max_per_datacenter);
    }
    return err_set(e, ERR_NO_POLICY,
                   "preset '%s': %" PRIu32 " of %" PRIu32 " OSDs usable, %" PRIu32
                   " fragments needed, %" PRIu32 " fit (at most %" PRIu32 " on a node%s)",
                   preset->name, usable, count, least->min_fragments,
                   choose_capacity(preset, least->max_per_node, osds, count), least->max_per_node,
                   dc);
}

static int find_policy(const struct preset *preset, const struct choose_osd *osds, uint32_t count,
                       uint32_t *ret_policy_index, struct err *e)
{
    for (uint32_t i = 0; i < preset->policy_count; i++) {
        const struct preset_policy *policy = &preset->policies[i];

        if (policy->min_fragments <= choose_capacity(preset, policy->max_per_node, osds, count)) {
            *ret_policy_index = i;
            return 0;
        }
    }
    return fail_policy(preset, osds, count, e);
}

/* Any order of picks ends with the same number of them, because the limits nest
 * (an OSD is in one node, a node in one datacenter); so picks may follow weights. */
struct picker {
    const struct choose_osd *osds;
    uint32_t count;
    uint32_t per_node;
    uint32_t per_dc;
    struct rnd *rnd;
    bool *is_free;        /* per OSD: may be picked */
    uint32_t *node_picks; /* per node, held fragments included */
    uint32_t *dc_picks;   /* per datacenter, likewise */
    double *node_weight;  /* per node: sum over its free OSDs, 0 when it may not be picked */
};

static void picker_init(struct picker *p, const struct preset *preset,
                        const struct preset_policy *policy, const struct choose_osd *osds,
                        uint32_t count, struct rnd *rnd)
{
    CHECK(count <= CHOOSE_OSDS_MAX);
    *p = (struct picker){.osds = osds,
                         .count = count,
                         .per_node = policy->max_per_node,
                         .per_dc = dc_limit(preset),
                         .rnd = rnd,
                         .is_free = mem_array(count + 1, sizeof(bool)),
                         .node_picks = mem_array(count + 1, sizeof(uint32_t)),
                         .dc_picks = mem_array(count + 1, sizeof(uint32_t)),
                         .node_weight = mem_array(count + 1, sizeof(double))};
    for (uint32_t i = 0; i < count; i++) {
        CHECK(osds[i].node < count && osds[i].dc < count);
        p->is_free[i] = is_candidate(preset, &osds[i]);
    }
}

static void picker_release(struct picker *p)
{
    free(p->is_free);
    free(p->node_picks);
    free(p->dc_picks);
    free(p->node_weight);
}

static void picker_take(struct picker *p, uint32_t index)
{
    p->is_free[index] = false;
    p->node_picks[p->osds[index].node]++;
    p->dc_picks[p->osds[index].dc]++;
}

/* Free bytes, never 0. So disks of all sizes get full at the same time, and a new one among
 * others that are half full gets twice their share, not all. */
static double osd_weight(const struct choose_osd *o)
{
    return o->used_bytes < o->total_bytes ? (double)(o->total_bytes - o->used_bytes) : 1.0;
}

/* Uniform in [0, sum). */
static double spin(struct rnd *rnd, double sum)
{
    return (double)(rnd_next(rnd) >> 11) * 0x1p-53 * sum;
}

/* Weights of the nodes that may be picked and have the fewest picks. Returns their
 * sum, 0 when there is none. */
static double weigh_nodes(struct picker *p)
{
    uint32_t fewest = UINT32_MAX;
    double sum = 0;

    memset(p->node_weight, 0, p->count * sizeof(double));
    for (uint32_t i = 0; i < p->count; i++) {
        const struct choose_osd *o = &p->osds[i];

        if (p->is_free[i] && p->node_picks[o->node] < p->per_node &&
            p->dc_picks[o->dc] < p->per_dc) {
            p->node_weight[o->node] += osd_weight(o);
            if (p->node_picks[o->node] < fewest) {
                fewest = p->node_picks[o->node];
            }
        }
    }
    for (uint32_t node = 0; node < p->count; node++) {
        if (p->node_picks[node] != fewest) {
            p->node_weight[node] = 0;
        }
        sum += p->node_weight[node];
    }
    return sum;
}

/* False when nothing more may be picked. */
static bool picker_pick(struct picker *p, uint32_t *ret_index)
{
    double left = weigh_nodes(p);
    uint32_t node = UINT32_MAX, index = UINT32_MAX;

    if (left <= 0) {
        return false;
    }
    /* Rounding may leave a little over: the last one then stays picked. */
    left = spin(p->rnd, left);
    for (uint32_t i = 0; i < p->count && left >= 0; i++) {
        if (p->node_weight[i] > 0) {
            node = i;
            left -= p->node_weight[i];
        }
    }
    left = spin(p->rnd, p->node_weight[node]);
    for (uint32_t i = 0; i < p->count && left >= 0; i++) {
        if (p->is_free[i] && p->osds[i].node == node) {
            index = i;
            left -= osd_weight(&p->osds[i]);
        }
    }
    CHECK(index != UINT32_MAX);
    picker_take(p, index);
    *ret_index = index;
    return true;
}

int choose_place(const struct preset *preset, const struct choose_osd *osds, uint32_t count,
                 struct rnd *rnd, struct choose_result *ret_result, struct err *e)
{
    struct choose_result result = {0};
    struct picker p;
    int rc;

    rc = find_policy(preset, osds, count, &result.policy_index, e);
    if (rc != 0) {
        return rc;
    }
    result.policy = preset->policies[result.policy_index];
    picker_init(&p, preset, &result.policy, osds, count, rnd);
    while (result.fragment_count < result.policy.k + result.policy.m &&
           picker_pick(&p, &result.chosen[result.fragment_count])) {
        result.fragment_count++;
    }
    picker_release(&p);
    CHECK(result.fragment_count >= result.policy.min_fragments);
    *ret_result = result;
    return 0;
}

uint32_t choose_extra(const struct preset *preset, const struct choose_more *more,
                      const struct choose_osd *osds, uint32_t count, struct rnd *rnd,
                      uint32_t ret_chosen[PRESET_FRAGMENTS_MAX])
{
    uint32_t found = 0;
    struct picker p;

    CHECK(more->want <= PRESET_FRAGMENTS_MAX);
    picker_init(&p, preset, more->policy, osds, count, rnd);
    for (uint32_t h = 0; h < more->held_count; h++) {
        for (uint32_t i = 0; i < count; i++) {
            if (osds[i].osd_id == more->held[h]) {
                picker_take(&p, i);
            }
        }
    }
    while (found < more->want && picker_pick(&p, &ret_chosen[found])) {
        found++;
    }
    picker_release(&p);
    return found;
}
