/* Hit ratio and time per request of base/fifo_cache.h beside the least-recently-used list that it
 * replaced, on one trace: requests for one of 100,000 items by Zipf's law, with scans between them
 * that ask for items nobody asks for again.
 *
 * Usage: cache_trace [million requests per row]   (default 2)
 * A row's traces are the same for both (the seed is fixed), and both find items in the same kind
 * of table. Time is CPU time of this thread, of asking, finding, adding and evicting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/fifo_cache.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "base/table.h"

enum { ITEMS = 100000, ITEM_BYTES = 1024, SCAN = 20000, ROUND = 100000 };

struct entry {
    uint64_t id;
    struct fifo_cache_item item;
    struct list link; /* of the LRU */
    UT_hash_handle hh;
};

struct cache {
    bool is_lru;
    struct entry *table;
    struct fifo_cache fifo;
    struct list recent; /* newest last */
    size_t used, limit;
};

static double cdf[ITEMS];

static void make_cdf(double alpha)
{
    double sum = 0;

    for (unsigned i = 0; i < ITEMS; i++) {
        sum += 1 / pow(i + 1, alpha);
        cdf[i] = sum;
    }
    for (unsigned i = 0; i < ITEMS; i++) {
        cdf[i] /= sum;
    }
}

static uint64_t zipf(struct rnd *rnd)
{
    double at = (double)(rnd_next(rnd) >> 11) / 9007199254740992.0;
    unsigned low = 0, high = ITEMS - 1;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (cdf[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Of each ROUND requests, `scan` percent are scans of up to SCAN new items. */
static uint64_t *make_trace(size_t count, unsigned scan)
{
    struct rnd rnd = rnd_seed(20260101);
    uint64_t *trace = mem_array(count, sizeof(*trace));
    uint64_t fresh = ITEMS;
    size_t at = 0;

    while (at < count) {
        size_t end = at + ROUND < count ? at + ROUND : count;
        size_t scans = (end - at) * scan / 100;

        while (scans > 0) {
            size_t run = scans < SCAN ? scans : SCAN;

            for (size_t i = 0; i < run; i++) {
                trace[at++] = fresh++;
            }
            scans -= run;
            for (size_t i = 0; i < (end - at - scans) / 2; i++) {
                trace[at++] = zipf(&rnd);
            }
        }
        while (at < end) {
            trace[at++] = zipf(&rnd);
        }
    }
    return trace;
}

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    struct cache *cache = ctx;
    struct entry *entry = container_of(item, struct entry, item);

    HASH_DEL(cache->table, entry);
    free(entry);
}

static void lru_add(struct cache *cache, struct entry *entry)
{
    while (cache->used + ITEM_BYTES > cache->limit) {
        struct entry *oldest = container_of(cache->recent.next, struct entry, link);

        list_remove(&oldest->link);
        HASH_DEL(cache->table, oldest);
        free(oldest);
        cache->used -= ITEM_BYTES;
    }
    list_push(&cache->recent, &entry->link);
    cache->used += ITEM_BYTES;
}

static bool ask(struct cache *cache, uint64_t id)
{
    struct entry *entry;

    HASH_FIND(hh, cache->table, &id, sizeof(id), entry);
    if (entry != NULL && cache->is_lru) {
        list_remove(&entry->link);
        list_push(&cache->recent, &entry->link);
    } else if (entry != NULL) {
        fifo_cache_use(&entry->item);
    }
    if (entry != NULL) {
        return true;
    }
    entry = mem_alloc(sizeof(*entry));
    entry->id = id;
    if (cache->is_lru) {
        lru_add(cache, entry);
    } else {
        CHECK(fifo_cache_add(&cache->fifo, &entry->item, (uint32_t)table_hash(&id, sizeof(id)),
                             ITEM_BYTES));
    }
    HASH_ADD(hh, cache->table, id, sizeof(entry->id), entry);
    return false;
}

struct figures {
    double hits; /* of what may hit: all but scans */
    double ns;
};

static struct figures run(bool is_lru, size_t items, const uint64_t *trace, size_t count)
{
    struct cache cache = {.is_lru = is_lru, .limit = items * ITEM_BYTES};
    struct figures figures = {0};
    size_t hits = 0, asked = 0;
    struct timespec from, to;

    list_init(&cache.recent);
    fifo_cache_init(&cache.fifo, cache.limit, on_evict, &cache);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (size_t i = 0; i < count; i++) {
        hits += ask(&cache, trace[i]);
        asked += trace[i] < ITEMS;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    figures.hits = 100.0 * (double)hits / (double)asked;
    figures.ns = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                 (double)count;
    fifo_cache_release(&cache.fifo);
    while (!list_empty(&cache.recent)) {
        struct entry *entry = container_of(list_pop(&cache.recent), struct entry, link);

        HASH_DEL(cache.table, entry);
        free(entry);
    }
    return figures;
}

int main(int argc, char **argv)
{
    static const double alphas[] = {0.8, 1.0};
    static const unsigned scans[] = {0, 20, 50}, percents[] = {1, 5, 20};
    size_t count = (argc > 1 ? strtoul(argv[1], NULL, 10) : 2) * 1000000;

    printf("| Zipf | scans | cache | LRU hits | S3-FIFO hits | LRU ns | S3-FIFO ns |\n");
    printf("|---|---|---|---|---|---|---|\n");
    for (size_t a = 0; a < sizeof(alphas) / sizeof(*alphas); a++) {
        make_cdf(alphas[a]);
        for (size_t s = 0; s < sizeof(scans) / sizeof(*scans); s++) {
            uint64_t *trace = make_trace(count, scans[s]);

            for (size_t p = 0; p < sizeof(percents) / sizeof(*percents); p++) {
                size_t items = ITEMS / 100 * percents[p];
                struct figures lru = run(true, items, trace, count);
                struct figures fifo = run(false, items, trace, count);

                printf("| %.1f | %u %% | %u %% | %.1f %% | %.1f %% | %.0f | %.0f |\n", alphas[a],
                       scans[s], percents[p], lru.hits, fifo.hits, lru.ns, fifo.ns);
                fflush(stdout);
            }
            free(trace);
        }
    }
    return 0;
}
