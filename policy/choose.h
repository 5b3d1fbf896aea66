/* Which policy of a preset applies, and which OSDs get the fragments.
 *
 * Nodes and datacenters are small dense numbers that choose_index() hands out
 * once per OSD list; choosing itself compares no strings. A choice depends only
 * on its arguments and the struct rnd, so it can be repeated from a seed. */
#ifndef POLICY_CHOOSE_H
#define POLICY_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rnd.h"
#include "policy/preset.h"

enum { CHOOSE_OSDS_MAX = 65536 };

/* One OSD as the chooser sees it. osd_id is unique in a list. */
struct choose_osd {
    uint64_t osd_id;
    const char *node_id;    /* borrowed */
    const char *datacenter; /* borrowed; "" or NULL: the unnamed one */
    uint64_t total_bytes;
    uint64_t used_bytes;
    bool usable; /* up, not full, not decommissioned: may be given new fragments */

    uint32_t node; /* set by choose_index() */
    uint32_t dc;   /* set by choose_index() */
};

/* Number the nodes and datacenters. A node is in one datacenter: that of its OSD
 * with the lowest id. Call again when an id, node or datacenter changed. */
void choose_index(struct choose_osd *osds, uint32_t count);

struct choose_result {
    uint32_t policy_index; /* in preset.policies */
    struct preset_policy policy;
    uint32_t fragment_count;               /* min(what fits, k + m), >= min_fragments */
    uint32_t chosen[PRESET_FRAGMENTS_MAX]; /* index in osds[] of fragment 0, 1, … */
};

/* How many fragments fit: at most `max_per_node` on a node, at most
 * `max_per_datacenter` (0: no limit) in a datacenter, usable OSDs of the preset. */
uint32_t choose_capacity(const struct preset *preset, uint32_t max_per_node,
                         const struct choose_osd *osds, uint32_t count);

/* Apply the first policy with min_fragments <= capacity (ERR_NO_POLICY when there is none) and
 * pick the OSDs of a new object, all different: nodes with the fewest picks first, among those
 * by chance, weighted by free bytes. */
int choose_place(const struct preset *preset, const struct choose_osd *osds, uint32_t count,
                 struct rnd *rnd, struct choose_result *ret_result, struct err *e);

/* More fragments for an object that has some. Those stay where they are: OSDs that are not in
 * osds[], or not usable, hold a place all the same. */
struct choose_more {
    const struct preset_policy *policy;
    const uint64_t *held; /* ids of OSDs */
    uint32_t held_count;
    uint32_t want;
};

/* Returns how many were found, 0 … want. */
uint32_t choose_extra(const struct preset *preset, const struct choose_more *more,
                      const struct choose_osd *osds, uint32_t count, struct rnd *rnd,
                      uint32_t ret_chosen[PRESET_FRAGMENTS_MAX]);

#endif
