/* What is in a namespace, counted by reading every manifest: exact for what was there while it
 * was read. One thread; calls block. */
#ifndef ALBA_NAMESPACE_SCAN_H
#define ALBA_NAMESPACE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "alba/session.h"

/* Objects of the same kind: of k + m fragments, c of them (of the chunk with the fewest) name an
 * OSD; at most x on a node. */
struct scan_bucket {
    uint32_t k, m, c, x;
    uint32_t dead; /* fragments on dead OSDs, of the chunk with the most */
    uint64_t count;
};

struct scan_osd {
    uint64_t osd_id;
    uint64_t bytes;
};

struct namespace_scan {
    /* In: which OSDs count as dead. NULL: none. */
    bool (*is_dead)(const void *ctx, uint64_t osd_id);
    const void *ctx;

    uint64_t logical_bytes; /* out */
    uint64_t stored_bytes;
    uint64_t damaged; /* objects whose manifest cannot be read: counted here only */
    uint64_t objects;
    struct scan_bucket *buckets; /* by k, m, c, x, dead */
    size_t bucket_count;
    struct scan_osd *osds; /* by id */
    size_t osd_count;

    struct session *s; /* private */
    struct buf last;   /* key to go on from */
    bool more;
};

/* Fails with s->err; release in any case. A terminal is told how far it is. */
int namespace_scan(struct namespace_scan *scan, struct session *s,
                   const struct registry_namespace *ns);
void namespace_scan_release(struct namespace_scan *scan);

/* [[[k,m,c,x], n], …] */
json_t *namespace_scan_buckets_json(const struct namespace_scan *scan);
/* How many more fragments of each may be lost: (c - k) - dead, not below -k. */
int scan_bucket_safety(const struct scan_bucket *bucket);
/* The least of all objects; false: there are none. */
bool namespace_scan_safety(const struct namespace_scan *scan, int *ret_safety);

#endif
