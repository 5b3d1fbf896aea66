/* Changes of a volume's map, one at a time in the order asked: SCOs of the chain, runs of a
 * checkpoint. Between two of them the map is that of one place in the chain, which is what
 * map_store.c stores. A change goes page by page; missing pages are loaded a window ahead. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/map_private.h"

/* ---- the SCO table ---- */

static struct sco_row *row_of(struct map_volume *mv, uint64_t number)
{
    struct sco_row *row;

    HASH_FIND(hh, mv->scos, &number, sizeof(number), row);
    return row;
}

static void row_changed(struct map_volume *mv, struct sco_row *row)
{
    row->changed = mv->next_ordinal;
    if (!row->dirty) {
        row->dirty = true;
        list_push(&mv->dirty_scos, &row->link);
    }
}

static struct sco_row *row_put(struct map_volume *mv, const struct sco_entry *entry)
{
    struct sco_row *row = row_of(mv, entry->number);

    if (row == NULL) {
        row = mem_zalloc(sizeof(*row));
        row->entry.number = entry->number;
        list_init(&row->link);
        HASH_ADD(hh, mv->scos, entry.number, sizeof(row->entry.number), row);
    }
    row->entry = *entry;
    if (!row->dirty) {
        row->dirty = true;
        list_push(&mv->dirty_scos, &row->link);
    }
    return row;
}

void map_put_sco(struct map_volume *mv, const struct sco_entry *entry)
{
    struct sco_row *row = row_put(mv, entry);

    /* A checkpoint told it, so none that follows has to. */
    row->changed = 0;
    if (entry->flags & SCO_ENTRY_GONE) {
        list_remove(&row->link);
        HASH_DEL(mv->scos, row);
        free(row);
    }
}

const struct sco_entry *map_find_sco(const struct map_volume *mv, uint64_t number)
{
    struct sco_row *row;

    HASH_FIND(hh, mv->scos, &number, sizeof(number), row);
    return row != NULL ? &row->entry : NULL;
}

static void count_live(struct map_volume *mv, uint64_t location, int change)
{
    struct sco_row *row;

    if (!location_has_data(location) || location_ancestor(location) != 0) {
        return;
    }
    row = row_of(mv, location_number(location));
    if (row == NULL || (change < 0 && row->entry.live == 0)) {
        return; /* an accounting error must not stop I/O; a sweep recounts */
    }
    row->entry.live = change > 0 ? row->entry.live + 1 : row->entry.live - 1;
    row_changed(mv, row);
}

/* ---- one page ---- */

static void settle_page(struct map_page *p)
{
    uint64_t first = p->locations[0];

    if (first > LOCATION_ZERO) {
        return;
    }
    for (unsigned i = 1; i < MAP_PAGE_CLUSTERS; i++) {
        if (p->locations[i] != first) {
            return;
        }
    }
    page_set_array(p, NULL, first);
}

static void apply_to_page(struct map_task *task, struct map_page *p, uint32_t from, uint32_t count)
{
    const struct map_run *run = &task->runs[task->run];
    bool zeroes = !location_has_data(run->location), changed = false;

    if (p->locations == NULL && zeroes && p->fill == run->location) {
        return;
    }
    if (p->locations == NULL) {
        uint64_t *locations = mem_alloc(MAP_PAGE_BYTES);

        for (unsigned i = 0; i < MAP_PAGE_CLUSTERS; i++) {
            locations[i] = p->fill;
        }
        page_set_array(p, locations, p->fill);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *at = &p->locations[from + i];
        uint64_t to = location_add(run->location, task->done + i);

        if (*at == to || (task->gc && *at != location_add(run->source, task->done + i))) {
            continue;
        }
        if (task->live) {
            count_live(task->mv, *at, -1);
            count_live(task->mv, to, 1);
        }
        *at = to;
        changed = true;
    }
    if (changed) {
        page_make_dirty(p);
        if (zeroes) {
            settle_page(p);
        }
    }
}

/* ---- runs ---- */

/* The next pages that the task will touch. */
static unsigned window(const struct map_task *task, uint64_t pages[MAP_WINDOW_PAGES])
{
    uint32_t done = task->done;
    unsigned count = 0;

    for (uint32_t i = task->run; i < task->count && count < MAP_WINDOW_PAGES; i++, done = 0) {
        const struct map_run *run = &task->runs[i];
        uint64_t page = (run->cluster + done) / MAP_PAGE_CLUSTERS;
        uint64_t last = (run->cluster + run->count - 1) / MAP_PAGE_CLUSTERS;

        for (; page <= last && count < MAP_WINDOW_PAGES; page++) {
            if (count == 0 || pages[count - 1] != page) {
                pages[count++] = page;
            }
        }
    }
    return count;
}

/* True when all runs are laid; false when pages have to come first. */
static bool apply_runs(struct map_task *task)
{
    uint64_t pages[MAP_WINDOW_PAGES];

    while (task->run < task->count) {
        const struct map_run *run = &task->runs[task->run];
        uint64_t cluster = run->cluster + task->done;
        uint32_t from = (uint32_t)(cluster % MAP_PAGE_CLUSTERS);
        uint32_t count = run->count - task->done;
        struct map_page *p = page_find(task->mv, cluster / MAP_PAGE_CLUSTERS);

        if (p == NULL || p->state != PAGE_READY) {
            if (!pages_ensure(task->mv, pages, window(task, pages))) {
                return false;
            }
            continue;
        }
        count = count < MAP_PAGE_CLUSTERS - from ? count : MAP_PAGE_CLUSTERS - from;
        apply_to_page(task, p, from, count);
        task->done += count;
        if (task->done == run->count) {
            task->run++;
            task->done = 0;
        }
    }
    return true;
}

/* ---- the queue ---- */

void map_task_end(struct map_task *task, int rc)
{
    struct map_volume *mv = task->mv;

    CHECK(mv->tasks.next == &task->link);
    list_remove(&task->link);
    free(task->runs);
    task->runs = NULL;
    map_trim(mv->map);
    map_spill(mv->map);
    task->cb(task, rc); /* may free the task; mv stays until its close has called back */
}

/* A flush that was asked before must not store any of it: so only now. */
static void apply_begin(struct map_task *task)
{
    task->begun = true;
    if (task->sco) {
        row_changed(task->mv, row_put(task->mv, &task->row));
    }
}

static void apply_end(struct map_task *task)
{
    struct map_volume *mv = task->mv;
    struct map_trail *t;

    if (!task->sco) {
        return;
    }
    mv->applied.number = task->row.number;
    mv->applied.seq = task->row.kind == SCO_GC ? mv->applied.seq : task->last_seq;
    t = mem_zalloc(sizeof(*t));
    t->ordinal = ++mv->ordinal;
    for (uint32_t i = 0; i < task->count; i++) {
        buf_put_u64le(&t->extents, task->runs[i].cluster);
        buf_put_u32le(&t->extents, task->runs[i].count);
    }
    list_push(&mv->trails, &t->link);
}

void map_tasks_step(struct map_volume *mv)
{
    while (!list_empty(&mv->tasks)) {
        struct map_task *task = container_of(mv->tasks.next, struct map_task, link);
        bool stores = task->kind != MAP_TASK_APPLY;
        bool heals = task->kind == MAP_TASK_RESET && !mv->closing;
        bool writes = stores && task->kind != MAP_TASK_LOAD;

        if (mv->failed != 0 && !(stores && task->begun) && !heals) {
            map_task_end(task, err_copy(&task->err, &mv->err));
        } else if (writes && !task->begun && !map_can_store(mv->map)) {
            map_task_end(task, err_set(&task->err, ERR_FAILED, "map store: cannot be written"));
        } else if (stores) {
            if (!task->begun && heals && (mv->loads != 0 || mv->map->broken)) {
                return; /* pages are still being loaded, or the store is being made anew */
            }
            if (!task->begun) {
                task->begun = true;
                map_store_start(task);
            }
            return;
        } else {
            if (!task->begun) {
                apply_begin(task);
            }
            if (!apply_runs(task)) {
                return;
            }
            apply_end(task);
            map_task_end(task, 0);
        }
    }
}

static void enqueue(struct map_volume *mv, struct map_task *task, enum map_task_kind kind,
                    map_task_cb cb)
{
    CHECK(!mv->closing);
    task->mv = mv;
    task->kind = kind;
    task->cb = cb;
    list_push(&mv->tasks, &task->link);
    if (mv->tasks.next == &task->link) {
        map_turn(mv);
    }
}

void map_apply_sco(struct map_volume *mv, struct map_task *task, const struct sco_footer *footer,
                   const struct sco_extent *extents, map_task_cb cb)
{
    struct map_run *runs = mem_array(footer->extent_count + (size_t)1, sizeof(*runs));
    uint64_t zero = mv->keeps_zeroes ? LOCATION_ZERO : LOCATION_NONE;
    uint32_t offset = 0;

    for (uint32_t i = 0; i < footer->extent_count; i++) {
        bool data = (extents[i].flags & SCO_EXTENT_ZERO) == 0;

        runs[i] =
            (struct map_run){.cluster = extents[i].cluster,
                             .count = extents[i].count,
                             .source = extents[i].source,
                             .location = data ? location_make(0, footer->number, offset) : zero};
        offset += data ? extents[i].count : 0;
    }
    *task = (struct map_task){.runs = runs,
                              .count = footer->extent_count,
                              .live = true,
                              .sco = true,
                              .gc = footer->kind == SCO_GC,
                              .last_seq = footer->last_seq};
    task->row =
        (struct sco_entry){.number = footer->number,
                           .generation = footer->generation,
                           .data_clusters = (uint32_t)(footer->data_bytes / SCO_CLUSTER_BYTES),
                           .trailer_bytes = (uint32_t)(sco_bytes(footer) - footer->data_bytes),
                           .kind = footer->kind};
    enqueue(mv, task, MAP_TASK_APPLY, cb);
}

void map_apply_runs(struct map_volume *mv, struct map_task *task, struct map_run *runs,
                    uint32_t count, map_task_cb cb)
{
    *task = (struct map_task){.runs = runs, .count = count};
    enqueue(mv, task, MAP_TASK_APPLY, cb);
}

void map_volume_load(struct map_volume *mv, struct map_task *task, map_task_cb cb)
{
    *task = (struct map_task){.found = false};
    enqueue(mv, task, MAP_TASK_LOAD, cb);
}

void map_volume_reset(struct map_volume *mv, struct map_task *task, map_task_cb cb)
{
    *task = (struct map_task){.found = false};
    enqueue(mv, task, MAP_TASK_RESET, cb);
}

void map_flush(struct map_volume *mv, struct map_task *task, map_task_cb cb)
{
    *task = (struct map_task){.found = false};
    enqueue(mv, task, MAP_TASK_FLUSH, cb);
}

void map_freeze(struct map_volume *mv, struct map_task *task, struct map_iter **ret_iter,
                map_task_cb cb)
{
    *task = (struct map_task){.freeze = ret_iter};
    *ret_iter = NULL;
    enqueue(mv, task, MAP_TASK_FLUSH, cb);
}

void map_set_next_root(struct map_volume *mv, struct map_task *task,
                       const uint8_t root_id[UUID_BYTES], map_task_cb cb)
{
    *task = (struct map_task){.found = false};
    memcpy(mv->next_root_id, root_id, UUID_BYTES);
    enqueue(mv, task, MAP_TASK_META, cb);
}

void map_root_replaced(struct map_volume *mv, struct map_task *task, uint32_t ordinal,
                       uint64_t upto_ordinal, map_task_cb cb)
{
    *task = (struct map_task){.upto = upto_ordinal};
    memcpy(mv->root_id, mv->next_root_id, UUID_BYTES);
    mv->root_ordinal = ordinal;
    enqueue(mv, task, MAP_TASK_META, cb);
}
