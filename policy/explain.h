/* What a preset comes to on the OSDs that there are: which policy applies, what an object put
 * now would survive, and how many OSDs may fail before that changes.
 *
 * Pure; counts are guarantees: whichever disks, nodes or OSDs fail, so many may. */
#ifndef POLICY_EXPLAIN_H
#define POLICY_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/choose.h"

enum { EXPLAIN_WHY_BYTES = 160 };

/* How many of each may be lost at once, and the object can still be read. */
struct explain_survival {
    uint32_t disks;
    uint32_t nodes;
    uint32_t datacenters;
};

struct explain_policy {
    struct preset_policy policy;
    uint32_t capacity; /* fragments of a chunk that fit now */
    bool is_possible;  /* min_fragments <= capacity */

    uint32_t fragment_count; /* is_possible from here on: placed of each chunk */
    struct explain_survival
        stored; /* all of those stored: a put that met no failure, or repaired */
    struct explain_survival at_once; /* only min_fragments of them, as close as the limits allow */
    uint32_t may_fail;               /* usable OSDs, and the policy is still possible */
};

struct explain {
    uint32_t usable_osds; /* of the preset */
    uint32_t nodes;       /* with such OSDs */
    uint32_t datacenters;
    uint32_t applies; /* index of the first possible policy; policy_count: none */
    uint32_t policy_count;
    uint32_t may_fail_until_next; /* OSDs, before another policy applies, or none does */
    uint32_t may_fail_until_stop; /* OSDs, before no policy is left */
    struct explain_policy policies[PRESET_POLICIES_MAX];
};

/* After choose_index(). */
void explain_preset(struct explain *ret_explain, const struct preset *preset,
                    const struct choose_osd *osds, uint32_t count);
/* For a policy that is not possible: why. */
void explain_why(const struct explain *explain, const struct preset *preset, uint32_t index,
                 char ret_why[EXPLAIN_WHY_BYTES]);

#endif
