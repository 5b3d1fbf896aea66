/* The page cache. A lookup goes: all pages there -> answered at once; else the missing ones are
 * loaded in the pool, one load per page however many wait, and the lookup goes on from the first
 * page it still wants: what it has seen it does not need again, however small the cache is. */
#include "volumedriver/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/map_private.h"

struct page_load { /* one job: pages of one volume */
    struct pool_work work;
    struct map_volume *mv;
    struct err err;
    int rc;
    unsigned count;
    struct {
        struct map_page *page;
        uint64_t number;
        uint64_t *locations;
        uint64_t fill;
    } items[];
};

/* ---- pages ---- */

static uint64_t page_bytes(const struct map_page *p)
{
    return sizeof(*p) + (p->locations != NULL ? MAP_PAGE_BYTES : 0);
}

struct map_page *page_find(struct map_volume *mv, uint64_t page)
{
    struct page_key key = {.volume = mv->id, .page = page};
    struct map_page *p;

    HASH_FIND(hh, mv->map->pages, &key, sizeof(key), p);
    return p;
}

static uint64_t page_get(const struct map_page *p, uint32_t index)
{
    return p->locations != NULL ? p->locations[index] : p->fill;
}

void page_set_array(struct map_page *p, uint64_t *locations, uint64_t fill)
{
    struct map *map = p->mv->map;

    map->bytes -= page_bytes(p);
    map->dirty_bytes -= p->is_dirty ? page_bytes(p) : 0;
    if (p->locations != locations) {
        free(p->locations);
    }
    p->locations = locations;
    p->fill = fill;
    map->bytes += page_bytes(p);
    map->dirty_bytes += p->is_dirty ? page_bytes(p) : 0;
}

static struct map_page *page_new(struct map_volume *mv, uint64_t page)
{
    struct map_page *p = mem_zalloc(sizeof(*p));

    p->key.volume = mv->id;
    p->key.page = page;
    p->mv = mv;
    list_init(&p->lru);
    list_init(&p->dirty);
    list_push(&mv->pages, &p->link);
    HASH_ADD(hh, mv->map->pages, key, sizeof(p->key), p);
    mv->map->bytes += page_bytes(p);
    return p;
}

static void page_free(struct map_page *p)
{
    struct map *map = p->mv->map;

    map->bytes -= page_bytes(p);
    list_remove(&p->lru);
    list_remove(&p->link);
    HASH_DEL(map->pages, p);
    free(p->locations);
    free(p);
}

void page_make_dirty(struct map_page *p)
{
    if (!p->is_dirty) {
        p->is_dirty = true;
        list_remove(&p->lru);
        list_push(&p->mv->dirty, &p->dirty);
        p->mv->dirty_count++;
        p->mv->map->dirty_bytes += page_bytes(p);
    }
}

void page_make_clean(struct map_page *p)
{
    p->mv->map->dirty_bytes -= page_bytes(p);
    p->is_dirty = false;
    list_remove(&p->dirty);
    p->mv->dirty_count--;
    list_push(&p->mv->map->clean, &p->lru);
}

static void page_touch(struct map_page *p)
{
    if (!p->is_dirty) {
        list_remove(&p->lru);
        list_push(&p->mv->map->clean, &p->lru);
    }
}

void map_trim(struct map *map)
{
    while (map->bytes > map->budget_bytes && !list_empty(&map->clean)) {
        page_free(container_of(map->clean.next, struct map_page, lru));
    }
}

static void on_spilled(struct map_task *task, int rc)
{
    struct map *map = task->mv->map;

    (void)rc; /* its volume knows: on_fail */
    map->spilling = false;
    map_trim(map);
    map_spill(map);
}

void map_spill(struct map *map)
{
    struct map_volume *most = NULL;

    if (map->spilling || !map_can_store(map) || map->dirty_bytes <= map->budget_bytes / 2) {
        return;
    }
    LIST_FOR_EACH (it, &map->volumes) {
        struct map_volume *mv = container_of(it, struct map_volume, link);

        if (!mv->closing && mv->failed == 0 && mv->dirty_count != 0 &&
            (most == NULL || mv->dirty_count > most->dirty_count)) {
            most = mv;
        }
    }
    if (most != NULL) {
        map->spilling = true;
        map_flush(most, &map->spill, on_spilled);
    }
}

void pages_drop(struct map_volume *mv)
{
    CHECK(mv->loads == 0);
    while (!list_empty(&mv->pages)) {
        struct map_page *p = container_of(mv->pages.next, struct map_page, link);

        if (p->is_dirty) {
            page_make_clean(p);
        }
        page_free(p);
    }
}

/* ---- loading ---- */

static int decode_page(const uint8_t *data, size_t bytes, uint64_t **ret_locations,
                       uint64_t *ret_fill)
{
    uint64_t *locations;

    *ret_locations = NULL;
    *ret_fill = LOCATION_ZERO;
    if (bytes == 1) {
        return 0;
    }
    if (bytes != MAP_PAGE_BYTES) {
        return ERR_CORRUPT;
    }
    locations = mem_alloc(MAP_PAGE_BYTES);
    for (size_t i = 0; i < MAP_PAGE_CLUSTERS; i++) {
        locations[i] = get_u64le(data + 8 * i);
    }
    *ret_locations = locations;
    return 0;
}

static void load_run(struct pool_work *work)
{
    struct page_load *load = container_of(work, struct page_load, work);
    struct map_volume *mv = load->mv;
    uint8_t data[MAP_PAGE_BYTES];

    for (unsigned i = 0; i < load->count && load->rc == 0; i++) {
        struct map_key key = map_key_page(mv->uuid, load->items[i].number, mv->generation);
        size_t bytes;
        int rc =
            map_db_get(mv->map->db, map_key_slice(&key), data, sizeof(data), &bytes, &load->err);

        if (rc == 0) {
            rc = decode_page(data, bytes, &load->items[i].locations, &load->items[i].fill);
            load->rc =
                rc != 0 ? err_set(&load->err, rc, "page %" PRIu64, load->items[i].number) : 0;
        } else if (rc != ERR_NOT_FOUND) {
            load->rc = rc;
        }
    }
}

static bool try_lookup(struct map_volume *mv, struct map_lookup *l);

static void retry_lookups(struct map_volume *mv)
{
    struct list waiting;

    list_init(&waiting);
    list_splice(&waiting, &mv->lookups);
    while (!list_empty(&waiting)) {
        struct map_lookup *l = container_of(list_pop(&waiting), struct map_lookup, link);

        if (mv->failed != 0) {
            l->cb(l, mv->failed);
        } else if (try_lookup(mv, l)) {
            l->cb(l, 0);
        } else {
            list_push(&mv->lookups, &l->link);
        }
    }
}

static void load_done(struct pool_work *work, int rc)
{
    struct page_load *load = container_of(work, struct page_load, work);
    struct map_volume *mv = load->mv;

    rc = rc != 0 ? rc : load->rc;
    if (rc != 0) {
        map_volume_fail(mv, rc, &load->err);
    }
    for (unsigned i = 0; i < load->count; i++) {
        struct map_page *p = load->items[i].page;

        p->state = PAGE_READY;
        page_set_array(p, load->items[i].locations, load->items[i].fill);
        list_push(&mv->map->clean, &p->lru);
    }
    free(load);
    mv->loads--;
    retry_lookups(mv);
    map_tasks_step(mv);
    map_trim(mv->map);
    map_renew_step(mv->map);
    if (mv->closing) {
        map_turn(mv);
    }
}

bool pages_ensure(struct map_volume *mv, const uint64_t *pages, unsigned count)
{
    struct page_load *load = NULL;
    bool all = true;

    for (unsigned i = 0; i < count; i++) {
        struct map_page *p = page_find(mv, pages[i]);

        all = all && p != NULL && p->state == PAGE_READY;
        if (p != NULL) {
            continue;
        }
        if (load == NULL) {
            load = mem_zalloc(sizeof(*load) + count * sizeof(load->items[0]));
            load->mv = mv;
        }
        load->items[load->count].page = page_new(mv, pages[i]);
        load->items[load->count++].number = pages[i];
    }
    if (load != NULL) {
        mv->loads++;
        CHECK(pool_submit(mv->map->pool, &load->work, POOL_HIGH, load_run, load_done) == 0);
    }
    return all;
}

/* ---- lookup ---- */

/* Answers from the pages that are there up to the first that is not. */
static void take_pages(struct map_volume *mv, struct map_lookup *l)
{
    while (l->done < l->count) {
        uint64_t c = l->cluster + l->done;
        struct map_page *p = page_find(mv, c / MAP_PAGE_CLUSTERS);

        if (p == NULL || p->state != PAGE_READY) {
            return;
        }
        page_touch(p);
        do {
            l->locations[l->done++] = page_get(p, c++ % MAP_PAGE_CLUSTERS);
        } while (l->done < l->count && c % MAP_PAGE_CLUSTERS != 0);
    }
}

static bool try_lookup(struct map_volume *mv, struct map_lookup *l)
{
    uint64_t pages[MAP_LOOKUP_CLUSTERS_MAX / MAP_PAGE_CLUSTERS + 1];
    uint64_t page, last = (l->cluster + l->count - 1) / MAP_PAGE_CLUSTERS;
    unsigned count = 0;

    take_pages(mv, l);
    if (l->done == l->count) {
        return true;
    }
    for (page = (l->cluster + l->done) / MAP_PAGE_CLUSTERS; page <= last; page++) {
        pages[count++] = page;
    }
    (void)pages_ensure(mv, pages, count); /* the first of them is not there */
    return false;
}

int map_lookup(struct map_volume *mv, struct map_lookup *lookup, map_lookup_cb cb)
{
    CHECK(!mv->closing);
    CHECK(lookup->count >= 1 && lookup->count <= MAP_LOOKUP_CLUSTERS_MAX);
    if (mv->failed != 0) {
        return mv->failed;
    }
    lookup->done = 0;
    if (try_lookup(mv, lookup)) {
        return 0;
    }
    lookup->cb = cb;
    list_push(&mv->lookups, &lookup->link);
    return 1;
}

/* ---- life ---- */

void map_volume_fail(struct map_volume *mv, int rc, const struct err *why)
{
    if (mv->failed == 0) {
        mv->failed = rc;
        err_copy(&mv->err, why);
        mv->err.code = rc;
        if (!mv->map->broken) {
            log_error("map", "store failed", "why=%s", why->msg);
        }
        if (mv->on_fail != NULL) {
            mv->on_fail(mv); /* no task of the owner may be there to tell it */
        }
    }
}

void map_volume_init(struct map_volume *mv, struct map *map, const uint8_t uuid[UUID_BYTES])
{
    *mv = (struct map_volume){.map = map, .id = ++map->next_id, .generation = 1};
    mv->next_ordinal = 1;
    memcpy(mv->uuid, uuid, UUID_BYTES);
    list_init(&mv->dirty_scos);
    list_init(&mv->pages);
    list_init(&mv->dirty);
    list_init(&mv->lookups);
    list_init(&mv->tasks);
    list_init(&mv->trails);
    list_push(&map->volumes, &mv->link);
    if (map->broken) {
        mv->failed = err_set(&mv->err, ERR_FAILED, "the store is being made anew");
    }
}

static void free_rows(struct map_volume *mv)
{
    struct sco_row *row, *next;

    HASH_ITER (hh, mv->scos, row, next) {
        HASH_DEL(mv->scos, row);
        free(row);
    }
    list_init(&mv->dirty_scos);
}

static void free_trails(struct map_volume *mv)
{
    struct list *link;

    while ((link = list_pop(&mv->trails)) != NULL) {
        struct map_trail *t = container_of(link, struct map_trail, link);

        buf_release(&t->extents);
        free(t);
    }
}

static void close_when_idle(struct map_volume *mv)
{
    if (!mv->closing || mv->turning || mv->loads != 0 || mv->parts != 0 ||
        !list_empty(&mv->tasks) || !list_empty(&mv->lookups)) {
        return;
    }
    pages_drop(mv);
    free_rows(mv);
    free_trails(mv);
    list_remove(&mv->link);
    mv->close_cb(mv->close_ctx); /* may free mv */
}

static void turn_run(struct pool_work *work)
{
    (void)work; /* only `done` is wanted: never from inside a call */
}

static void turn_done(struct pool_work *work, int rc)
{
    struct map_volume *mv = container_of(work, struct map_volume, turn);

    (void)rc;
    mv->turning = false;
    if (mv->failed != 0) {
        retry_lookups(mv); /* they get the error */
    }
    map_tasks_step(mv);
    close_when_idle(mv);
}

void map_turn(struct map_volume *mv)
{
    if (!mv->turning) {
        mv->turning = true;
        CHECK(pool_submit(mv->map->pool, &mv->turn, POOL_HIGH, turn_run, turn_done) == 0);
    }
}

void map_volume_close(struct map_volume *mv, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!mv->closing);
    mv->closing = true;
    mv->close_cb = cb;
    mv->close_ctx = ctx;
    if (mv->failed == 0) {
        mv->failed = err_set(&mv->err, ERR_CANCELED, "the map is closing");
    }
    map_turn(mv);
}

uint64_t map_cached_bytes(const struct map *map)
{
    return map->bytes;
}
