/* A treap: a search tree by start, a heap by random priority; split and merge do the rest. */
#include "volumedriver/extent_tree.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/frame.h"

struct record *record_new(uint8_t op, uint64_t cluster, uint32_t count)
{
    size_t crcs = op == FRAME_OP_WRITE ? count : 0;
    struct record *r;

    CHECK(count >= 1);
    r = mem_zalloc(sizeof(*r) + crcs * sizeof(r->crcs[0]));
    list_init(&r->link);
    r->refs = 1;
    r->op = op;
    r->cluster = cluster;
    r->count = count;
    return r;
}

static uint64_t extent_end(const struct extent *x)
{
    return x->start + x->count;
}

static void account(struct extent_tree *t, const struct extent *x, bool add)
{
    if (x->record->op == FRAME_OP_WRITE) {
        t->data_clusters = add ? t->data_clusters + x->count : t->data_clusters - x->count;
    } else {
        t->zero_clusters = add ? t->zero_clusters + x->count : t->zero_clusters - x->count;
    }
    t->count = add ? t->count + 1 : t->count - 1;
}

static struct extent *extent_new(struct extent_tree *t, uint64_t start, uint32_t count,
                                 const struct record *record, uint32_t skip)
{
    struct extent *x = mem_alloc(sizeof(*x));

    t->rnd = t->rnd * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    *x = (struct extent){.start = start,
                         .count = count,
                         .skip = skip,
                         .record = record,
                         .priority = (uint32_t)(t->rnd >> 32)};
    account(t, x, true);
    return x;
}

/* Extents that start below `key` to *ret_low, the others to *ret_high. */
static void split(struct extent *x, uint64_t key, struct extent **ret_low, struct extent **ret_high)
{
    while (x != NULL) {
        if (x->start < key) {
            *ret_low = x;
            ret_low = &x->right;
            x = x->right;
        } else {
            *ret_high = x;
            ret_high = &x->left;
            x = x->left;
        }
    }
    *ret_low = NULL;
    *ret_high = NULL;
}

/* All of `low` starts below all of `high`. */
static struct extent *merge(struct extent *low, struct extent *high)
{
    struct extent *root = NULL, **at = &root;

    while (low != NULL && high != NULL) {
        if (low->priority > high->priority) {
            *at = low;
            at = &low->right;
            low = low->right;
        } else {
            *at = high;
            at = &high->left;
            high = high->left;
        }
    }
    *at = low != NULL ? low : high;
    return root;
}

static struct extent *rightmost(struct extent *x)
{
    while (x != NULL && x->right != NULL) {
        x = x->right;
    }
    return x;
}

static void free_all(struct extent_tree *t, struct extent *x)
{
    while (x != NULL) {
        struct extent *right = x->right;

        free_all(t, x->left);
        account(t, x, false);
        free(x);
        x = right;
    }
}

void extent_tree_release(struct extent_tree *t)
{
    free_all(t, t->root);
    *t = (struct extent_tree){0};
}

/* The part of `x` from `at` on, as an extent of its own. */
static struct extent *tail_of(struct extent_tree *t, const struct extent *x, uint64_t at)
{
    uint32_t cut = (uint32_t)(at - x->start);

    return extent_new(t, at, x->count - cut, x->record, x->skip + cut);
}

static void shorten(struct extent_tree *t, struct extent *x, uint64_t end)
{
    account(t, x, false);
    x->count = (uint32_t)(end - x->start);
    account(t, x, true);
}

void extent_tree_insert(struct extent_tree *t, const struct record *record)
{
    uint64_t start = record->cluster, end = start + record->count;
    struct extent *low, *middle, *high, *tail = NULL, *last;

    split(t->root, start, &low, &high);
    split(high, end, &middle, &high);
    last = rightmost(low);
    if (last != NULL && extent_end(last) > start) {
        if (extent_end(last) > end) {
            tail = tail_of(t, last, end);
        }
        shorten(t, last, start);
    }
    last = rightmost(middle);
    if (last != NULL && extent_end(last) > end) {
        CHECK(tail == NULL);
        tail = tail_of(t, last, end);
    }
    free_all(t, middle);
    low = merge(low, extent_new(t, start, record->count, record, 0));
    t->root = merge(merge(low, tail), high);
}

const struct extent *extent_tree_find(const struct extent_tree *t, uint64_t cluster)
{
    const struct extent *x = t->root, *best = NULL;

    while (x != NULL) {
        if (extent_end(x) > cluster) {
            best = x;
            x = x->left;
        } else {
            x = x->right;
        }
    }
    return best;
}

void extent_tree_forget(struct extent_tree *t, uint64_t cluster, uint32_t count, uint64_t last_seq)
{
    uint64_t at = cluster, end = cluster + count;

    for (;;) {
        const struct extent *found = extent_tree_find(t, at);
        struct extent *low, *middle, *high;

        if (found == NULL || found->start >= end) {
            return;
        }
        at = extent_end(found);
        if (found->record->seq > last_seq) {
            continue;
        }
        split(t->root, found->start, &low, &high);
        split(high, at, &middle, &high);
        free_all(t, middle);
        t->root = merge(low, high);
    }
}
