#include "volumedriver/map_checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/map_private.h"

/* ---- reading the frozen store, in the pool ---- */

static void add_range(struct map_checkpoint *cp, uint64_t cluster, uint32_t count)
{
    if (cp->range_count == cp->range_cap) {
        cp->range_cap = cp->range_cap != 0 ? 2 * cp->range_cap : 256;
        cp->ranges = mem_realloc(cp->ranges, cp->range_cap * sizeof(*cp->ranges));
    }
    cp->ranges[cp->range_count++] = (struct map_range){.cluster = cluster, .end = cluster + count};
}

static int by_cluster(const void *a, const void *b)
{
    const struct map_range *x = a, *y = b;

    return x->cluster < y->cluster ? -1 : x->cluster > y->cluster;
}

static void merge_ranges(struct map_checkpoint *cp)
{
    uint32_t kept = 0;

    if (cp->range_count == 0) {
        return;
    }
    qsort(cp->ranges, cp->range_count, sizeof(*cp->ranges), by_cluster);
    for (uint32_t i = 1; i < cp->range_count; i++) {
        struct map_range *last = &cp->ranges[kept], *next = &cp->ranges[i];

        if (next->cluster <= last->end) {
            last->end = next->end > last->end ? next->end : last->end;
        } else {
            cp->ranges[++kept] = *next;
        }
    }
    cp->range_count = kept + 1;
}

/* What the SCOs since the last root touched. */
static void read_trails(struct map_checkpoint *cp)
{
    struct map_key from = map_key(cp->mv->uuid, 't');
    struct slice key, value;

    map_iter_seek(cp->iter, map_key_slice(&from));
    for (; map_iter_get(cp->iter, &key, &value) && key.len > MAP_KEY_KIND_AT &&
           key.data[MAP_KEY_KIND_AT] == 't';
         map_iter_next(cp->iter)) {
        for (size_t at = 0; at + MAP_TRAIL_BYTES <= value.len; at += MAP_TRAIL_BYTES) {
            add_range(cp, get_u64le(value.data + at), get_u32le(value.data + at + 8));
        }
    }
    merge_ranges(cp);
    cp->cluster = cp->range_count != 0 ? cp->ranges[0].cluster : 0;
}

static void take_page(struct map_checkpoint *cp, uint64_t page, struct slice value)
{
    cp->page = page;
    cp->has_page = true;
    for (size_t i = 0; i < MAP_PAGE_CLUSTERS; i++) {
        cp->locations[i] = value.len == MAP_PAGE_BYTES ? get_u64le(value.data + 8 * i)
                           : value.len == 1            ? LOCATION_ZERO
                                                       : LOCATION_NONE;
    }
}

static void seek_page(struct map_checkpoint *cp, uint64_t page)
{
    struct map_key want = map_key_page(cp->mv->uuid, page, cp->mv->generation);
    struct slice key, value;

    map_iter_seek(cp->iter, map_key_slice(&want));
    if (!map_iter_get(cp->iter, &key, &value) || !slice_eq(key, map_key_slice(&want))) {
        value = slice_of("", 0);
    }
    take_page(cp, page, value);
}

/* False when the part is full. */
static bool add_delta(struct map_checkpoint *cp, struct checkpoint_writer *w)
{
    while (cp->range < cp->range_count) {
        uint64_t page = cp->cluster / MAP_PAGE_CLUSTERS;
        uint64_t end = cp->ranges[cp->range].end, page_end = (page + 1) * MAP_PAGE_CLUSTERS;

        if (checkpoint_writer_bytes(w) > CHECKPOINT_PART_BYTES) {
            return false;
        }
        if (!cp->has_page || cp->page != page) {
            seek_page(cp, page);
        }
        for (; cp->cluster < end && cp->cluster < page_end; cp->cluster++) {
            checkpoint_writer_add(w, cp->cluster, 1,
                                  cp->locations[cp->cluster % MAP_PAGE_CLUSTERS]);
        }
        if (cp->cluster == end && ++cp->range < cp->range_count) {
            cp->cluster = cp->ranges[cp->range].cluster;
        }
    }
    return true;
}

static bool add_base(struct map_checkpoint *cp, struct checkpoint_writer *w)
{
    struct slice key, value;

    while (map_iter_get(cp->iter, &key, &value) && key.len == MAP_KEY_PAGE_BYTES &&
           key.data[MAP_KEY_KIND_AT] == 'p') {
        uint64_t page = get_u64be(key.data + MAP_KEY_NUMBER_AT);

        if (checkpoint_writer_bytes(w) > CHECKPOINT_PART_BYTES) {
            return false;
        }
        if (get_u32be(key.data + MAP_KEY_GENERATION_AT) == ~cp->mv->generation) {
            take_page(cp, page, value);
            for (unsigned i = 0; i < MAP_PAGE_CLUSTERS; i++) {
                if (cp->locations[i] != LOCATION_NONE) {
                    checkpoint_writer_add(w, page * MAP_PAGE_CLUSTERS + i, 1, cp->locations[i]);
                }
            }
            cp->header.last_page = page;
        }
        map_iter_next(cp->iter);
    }
    return true;
}

/* The SCO table comes behind all runs, in as many parts as it needs. */
static bool add_rows(struct map_checkpoint *cp, struct checkpoint_writer *w)
{
    while (cp->row < cp->row_count) {
        if (checkpoint_writer_bytes(w) > CHECKPOINT_PART_BYTES) {
            return false;
        }
        checkpoint_writer_add_sco(w, &cp->rows[cp->row++]);
    }
    return true;
}

static void next_run(struct pool_work *work)
{
    struct map_checkpoint *cp = container_of(work, struct map_checkpoint, work);
    struct checkpoint_writer w = {0};

    if (!cp->started) {
        struct map_key from = map_key(cp->mv->uuid, 'p');

        cp->started = true;
        if (cp->full) {
            map_iter_seek(cp->iter, map_key_slice(&from));
        } else {
            read_trails(cp);
        }
    }
    cp->last = (cp->full ? add_base(cp, &w) : add_delta(cp, &w)) && add_rows(cp, &w);
    cp->rc = map_iter_error(cp->iter, &cp->err);
    if (cp->rc == 0) {
        checkpoint_writer_finish(&w, &cp->header, &cp->object);
        CHECK(cp->object.len <= CHECKPOINT_BYTES_MAX); /* else no reader takes it */
    }
    checkpoint_writer_release(&w);
    cp->header.first_page = cp->header.last_page + 1;
}

/* On the loop. A store that fails waits for the last of them. */
static void iter_end(struct map_checkpoint *cp)
{
    if (cp->iter != NULL) {
        map_iter_free(cp->iter);
        cp->iter = NULL;
        cp->mv->map->freezes--;
    }
}

static void next_done(struct pool_work *work, int rc)
{
    struct map_checkpoint *cp = container_of(work, struct map_checkpoint, work);
    struct map_volume *mv = cp->mv;

    rc = rc != 0 ? rc : cp->rc;
    mv->parts--;
    if (rc != 0) {
        map_volume_fail(mv, rc, &cp->err);
    }
    if (rc != 0 || cp->last) {
        iter_end(cp);
    }
    cp->cb(cp, rc); /* may free cp */
    map_renew_step(mv->map);
    if (mv->closing) {
        map_turn(mv);
    }
}

/* ---- on the loop ---- */

void map_checkpoint_next(struct map_checkpoint *cp, uint64_t number, uint64_t epoch,
                         map_checkpoint_cb cb)
{
    struct checkpoint_header *h = &cp->header;

    memcpy(h->volume, cp->mv->uuid, UUID_BYTES);
    h->number = number;
    h->epoch = epoch;
    h->kind = cp->full ? CHECKPOINT_BASE : CHECKPOINT_DELTA;
    h->generation = cp->mv->generation;
    h->prefix_number = cp->place.number;
    h->prefix_seq = cp->place.seq;
    h->ordinal = cp->ordinal;
    cp->cb = cb;
    cp->object = (struct buf){0};
    cp->mv->parts++;
    CHECK(pool_submit(cp->mv->map->pool, &cp->work, POOL_LOW, next_run, next_done) == 0);
}

static void copy_rows(struct map_checkpoint *cp)
{
    struct map_volume *mv = cp->mv;
    struct sco_row *row, *next;

    cp->rows = mem_array(HASH_COUNT(mv->scos) + (size_t)1, sizeof(*cp->rows));
    HASH_ITER (hh, mv->scos, row, next) {
        if (cp->full ? (row->entry.flags & SCO_ENTRY_GONE) == 0 : row->changed > mv->root_ordinal) {
            cp->rows[cp->row_count++] = row->entry;
        }
    }
}

static void on_frozen(struct map_task *task, int rc)
{
    struct map_checkpoint *cp = container_of(task, struct map_checkpoint, task);
    struct map_volume *mv = cp->mv;

    mv->map->freezes += cp->iter != NULL;
    if (rc != 0) {
        err_copy(&cp->err, &task->err);
    } else {
        cp->place = mv->stored;
        cp->upto_ordinal = mv->stored_ordinal;
        cp->ordinal = mv->next_ordinal++;
        copy_rows(cp);
    }
    cp->cb(cp, rc);
}

void map_checkpoint_begin(struct map_volume *mv, struct map_checkpoint *cp, bool full,
                          map_checkpoint_cb cb)
{
    memset(cp, 0, sizeof(*cp));
    cp->mv = mv;
    cp->full = full;
    cp->cb = cb;
    map_freeze(mv, &cp->task, &cp->iter, on_frozen);
}

void map_checkpoint_end(struct map_checkpoint *cp)
{
    iter_end(cp);
    map_renew_step(cp->mv->map);
    free(cp->rows);
    free(cp->ranges);
    cp->rows = NULL;
    cp->ranges = NULL;
    buf_release(&cp->object);
}
