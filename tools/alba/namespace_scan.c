#include "alba/namespace_scan.h"

#include <stdlib.h>
#include <string.h>

#include "alba/output.h"
#include "alba/progress.h"
#include "base/mem.h"
#include "meta/ns_keys.h"

enum { PAGE_OBJECTS = 1024 };

/* ---- counting ---- */

static int compare_buckets(const struct scan_bucket *a, const struct scan_bucket *b)
{
    const uint32_t left[] = {a->k, a->m, a->c, a->x, a->dead};
    const uint32_t right[] = {b->k, b->m, b->c, b->x, b->dead};

    for (unsigned i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        if (left[i] != right[i]) {
            return left[i] < right[i] ? -1 : 1;
        }
    }
    return 0;
}

/* There are few kinds: a place is found by looking at them all. */
static void count_bucket(struct namespace_scan *scan, const struct scan_bucket *wanted)
{
    size_t i = 0;

    while (i < scan->bucket_count && compare_buckets(&scan->buckets[i], wanted) < 0) {
        i++;
    }
    if (i == scan->bucket_count || compare_buckets(&scan->buckets[i], wanted) != 0) {
        scan->buckets =
            mem_realloc(scan->buckets, (scan->bucket_count + 1) * sizeof(*scan->buckets));
        memmove(&scan->buckets[i + 1], &scan->buckets[i],
                (scan->bucket_count - i) * sizeof(*scan->buckets));
        scan->buckets[i] = *wanted;
        scan->bucket_count++;
    }
    scan->buckets[i].count++;
}

static void count_osd(struct namespace_scan *scan, uint64_t osd_id, uint32_t bytes)
{
    size_t low = 0;
    size_t high = scan->osd_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (scan->osds[middle].osd_id < osd_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == scan->osd_count || scan->osds[low].osd_id != osd_id) {
        scan->osds = mem_realloc(scan->osds, (scan->osd_count + 1) * sizeof(*scan->osds));
        memmove(&scan->osds[low + 1], &scan->osds[low],
                (scan->osd_count - low) * sizeof(*scan->osds));
        scan->osds[low] = (struct scan_osd){.osd_id = osd_id};
        scan->osd_count++;
    }
    scan->osds[low].bytes += bytes;
}

static void count_object(struct namespace_scan *scan, const struct manifest *m)
{
    uint32_t each = manifest_fragments_per_chunk(m);
    struct scan_bucket bucket = {
        .k = m->scheme.k, .m = m->scheme.m, .c = each, .x = m->scheme.max_disks_per_node};

    for (uint32_t c = 0; c < m->chunk_count; c++) {
        uint32_t there = 0;
        uint32_t dead = 0;

        for (uint32_t f = 0; f < each; f++) {
            const struct manifest_fragment *fragment = manifest_fragment_at(m, c, f);

            if (fragment->has_osd) {
                there++;
                dead += scan->is_dead != NULL && scan->is_dead(scan->ctx, fragment->osd_id);
                scan->stored_bytes += fragment->packed_bytes;
                count_osd(scan, fragment->osd_id, fragment->packed_bytes);
            }
        }
        bucket.c = there < bucket.c ? there : bucket.c;
        bucket.dead = dead > bucket.dead ? dead : bucket.dead;
    }
    scan->objects++;
    scan->logical_bytes += m->size_bytes;
    count_bucket(scan, &bucket);
}

/* ---- reading ---- */

static void on_page(void *ctx, int rc, const struct kv_reply *reply)
{
    struct namespace_scan *scan = ctx;
    size_t head = ns_key_prefix_bytes();

    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];
        struct slice id = slice_of(item->key.data + head, item->key.len - head);
        struct manifest m;
        struct err e;

        if (item->is_damaged || ns_value_manifest_open(item->key, item->value, id, &m, &e) != 0) {
            scan->damaged++;
            continue;
        }
        count_object(scan, &m);
        manifest_release(&m);
    }
    if (rc == 0) {
        scan->more = reply->has_more && reply->count != 0;
    }
    if (rc == 0 && reply->count != 0) {
        struct slice key = reply->items[reply->count - 1].key;

        scan->last.len = 0;
        buf_put(&scan->last, key.data, key.len);
        buf_put_u8(&scan->last, 0); /* the key right behind it */
    }
    session_done(scan->s, rc, reply->err);
}

int namespace_scan(struct namespace_scan *scan, struct session *s,
                   const struct registry_namespace *ns)
{
    struct progress p;
    struct key low, high;
    struct nsm *nsm;
    char *plain_name;
    int rc = registry_nsm(s->registry, ns->nsm_host, &nsm, &s->err);

    if (rc != 0) {
        return rc;
    }
    scan->s = s;
    ns_key_root(&low, ns->id, 'o');
    high = low;
    key_prefix_end(&high);
    buf_put(&scan->last, low.data, low.len);
    plain_name = output_plain(ns->name);
    progress_begin(&p, plain_name, 0, false);
    do {
        kv_range(nsm_kv(nsm),
                 &(struct kv_range){.low = slice_buf(&scan->last),
                                    .high = slice_key(&high),
                                    .limit = PAGE_OBJECTS},
                 0, on_page, scan);
        rc = session_wait(s);
        progress_show(&p, scan->objects);
    } while (rc == 0 && scan->more);
    progress_end(&p);
    free(plain_name);
    return rc == 0 ? 0 : err_wrap(&s->err, "namespace '%.80s'", ns->name);
}

void namespace_scan_release(struct namespace_scan *scan)
{
    free(scan->buckets);
    free(scan->osds);
    buf_release(&scan->last);
    *scan = (struct namespace_scan){0};
}

/* ---- what it comes to ---- */

json_t *namespace_scan_buckets_json(const struct namespace_scan *scan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < scan->bucket_count; i++) {
        const struct scan_bucket *b = &scan->buckets[i];

        json_array_append_new(list, json_pack("[[i, i, i, i], I]", (int)b->k, (int)b->m, (int)b->c,
                                              (int)b->x, (json_int_t)b->count));
    }
    return list;
}

bool namespace_scan_safety(const struct namespace_scan *scan, int *ret_safety)
{
    for (size_t i = 0; i < scan->bucket_count; i++) {
        int safety = scan_bucket_safety(&scan->buckets[i]);

        *ret_safety = i == 0 || safety < *ret_safety ? safety : *ret_safety;
    }
    return scan->bucket_count != 0;
}

int scan_bucket_safety(const struct scan_bucket *b)
{
    int left = (int)b->c - (int)b->k - (int)b->dead;

    return left < -(int)b->k ? -(int)b->k : left;
}
