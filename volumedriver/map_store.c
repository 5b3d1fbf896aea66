/* Tasks that read or write the local store: one job in the pool each, while no change of the
 * volume's map runs. A flush moves everything that is dirty in one batch, together with
 * the place in the chain that it is the state of. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/map_private.h"

enum { META_VERSION = 1, META_CRC_AT = MAP_META_BYTES - 4 };

struct row_image {
    struct sco_entry entry;
    uint32_t changed;
};

struct store_job {
    struct pool_work work;
    struct map_task *task;
    struct map_page **pages; /* dirty ones, not changed while this runs */
    uint32_t page_count;
    struct row_image *rows; /* copies: rows may change while this runs */
    uint32_t row_count;
    struct buf row_values; /* loaded */
    uint8_t meta[MAP_META_BYTES];
    bool has_meta;
    bool found;
    struct err err;
    int rc;
};

/* ---- the meta record ---- */

static void meta_encode(const struct map_volume *mv, struct map_place place, uint64_t ordinal,
                        uint8_t ret_meta[MAP_META_BYTES])
{
    memset(ret_meta, 0, MAP_META_BYTES);
    put_u32le(ret_meta, META_VERSION);
    put_u32le(ret_meta + 4, mv->generation);
    put_u64le(ret_meta + 8, mv->epoch);
    memcpy(ret_meta + 16, mv->root_id, UUID_BYTES);
    memcpy(ret_meta + 32, mv->next_root_id, UUID_BYTES);
    put_u64le(ret_meta + 48, place.number);
    put_u64le(ret_meta + 56, place.seq);
    put_u64le(ret_meta + 64, ordinal);
    put_u32le(ret_meta + 72, mv->root_ordinal);
    put_u32le(ret_meta + 76, mv->next_ordinal);
    put_u32le(ret_meta + META_CRC_AT, crc32c(0, ret_meta, META_CRC_AT));
}

static bool meta_decode(struct map_volume *mv, const uint8_t meta[MAP_META_BYTES])
{
    if (get_u32le(meta) != META_VERSION || get_u32le(meta + 4) != mv->generation ||
        get_u32le(meta + META_CRC_AT) != crc32c(0, meta, META_CRC_AT)) {
        return false;
    }
    memcpy(mv->root_id, meta + 16, UUID_BYTES);
    memcpy(mv->next_root_id, meta + 32, UUID_BYTES);
    mv->applied.number = get_u64le(meta + 48);
    mv->applied.seq = get_u64le(meta + 56);
    mv->ordinal = get_u64le(meta + 64);
    mv->root_ordinal = get_u32le(meta + 72);
    mv->next_ordinal = get_u32le(meta + 76);
    mv->stored = mv->applied;
    mv->stored_ordinal = mv->ordinal;
    mv->valid = true;
    return true;
}

/* ---- load ---- */

static void load_run(struct pool_work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct map_volume *mv = job->task->mv;
    struct map_key key = map_key(mv->uuid, 'm'), from = map_key(mv->uuid, 's'),
                   to = map_key(mv->uuid, 's' + 1);
    struct slice k, v;
    struct map_iter *it;
    size_t bytes;
    int rc;

    rc = map_db_get(mv->map->db, map_key_slice(&key), job->meta, MAP_META_BYTES, &bytes, &job->err);
    job->found = rc == 0 && bytes == MAP_META_BYTES;
    job->rc = rc == ERR_NOT_FOUND ? 0 : rc;
    if (!job->found) {
        return;
    }
    it = map_iter_new(mv->map->db, map_key_slice(&from), map_key_slice(&to));
    for (; map_iter_get(it, &k, &v); map_iter_next(it)) {
        if (v.len == MAP_SCO_BYTES) {
            buf_put(&job->row_values, v.data, v.len);
        }
    }
    job->rc = map_iter_error(it, &job->err);
    map_iter_free(it);
}

static void load_rows(struct map_volume *mv, const struct buf *values)
{
    for (size_t at = 0; at < values->len; at += MAP_SCO_BYTES) {
        struct sco_row *row = mem_zalloc(sizeof(*row));

        if (sco_entry_decode(values->data + at, &row->entry) != 0) {
            mv->valid = false;
            free(row);
            continue;
        }
        row->changed = get_u32le(values->data + at + CHECKPOINT_SCO_BYTES);
        list_init(&row->link);
        HASH_ADD(hh, mv->scos, entry.number, sizeof(row->entry.number), row);
    }
}

/* ---- reset ---- */

static void delete_kind(struct map_batch *b, const uint8_t uuid[UUID_BYTES], char kind)
{
    struct map_key from = map_key(uuid, kind), to = map_key(uuid, (char)(kind + 1));

    map_batch_delete_range(b, map_key_slice(&from), map_key_slice(&to));
}

static void reset_run(struct pool_work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct map_volume *mv = job->task->mv;
    struct map_batch *b = map_batch_new();

    delete_kind(b, mv->uuid, 'm');
    delete_kind(b, mv->uuid, 'p');
    delete_kind(b, mv->uuid, 's');
    delete_kind(b, mv->uuid, 't');
    job->rc = map_batch_write(mv->map->db, b, &job->err);
}

static void reset_memory(struct map_volume *mv)
{
    struct sco_row *row, *next;
    struct list *link;

    pages_drop(mv);
    HASH_ITER (hh, mv->scos, row, next) {
        HASH_DEL(mv->scos, row);
        free(row);
    }
    list_init(&mv->dirty_scos);
    while ((link = list_pop(&mv->trails)) != NULL) {
        struct map_trail *t = container_of(link, struct map_trail, link);

        buf_release(&t->extents);
        free(t);
    }
    mv->valid = false;
    mv->applied = mv->stored = (struct map_place){0};
    mv->ordinal = mv->stored_ordinal = 0;
    mv->root_ordinal = 0;
    mv->next_ordinal = 1;
    mv->failed = mv->closing ? mv->failed : 0;
}

/* ---- flush ---- */

static void put_page(struct map_batch *b, const struct map_volume *mv, const struct map_page *p)
{
    struct map_key key = map_key_page(mv->uuid, p->key.page, mv->generation);
    uint8_t value[MAP_PAGE_BYTES];

    if (p->locations == NULL && p->fill == LOCATION_NONE) {
        map_batch_delete(b, map_key_slice(&key));
    } else if (p->locations == NULL) {
        map_batch_put(b, map_key_slice(&key), slice_of("", 1));
    } else {
        for (size_t i = 0; i < MAP_PAGE_CLUSTERS; i++) {
            put_u64le(value + 8 * i, p->locations[i]);
        }
        map_batch_put(b, map_key_slice(&key), slice_of(value, sizeof(value)));
    }
}

static void put_row(struct map_batch *b, const struct map_volume *mv, const struct row_image *row)
{
    struct map_key key = map_key_number(mv->uuid, 's', row->entry.number);
    uint8_t value[MAP_SCO_BYTES];

    sco_entry_encode(&row->entry, value);
    put_u32le(value + CHECKPOINT_SCO_BYTES, row->changed);
    map_batch_put(b, map_key_slice(&key), slice_of(value, sizeof(value)));
}

static void flush_run(struct pool_work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct map_volume *mv = job->task->mv;
    struct map_key meta = map_key(mv->uuid, 'm');
    struct map_batch *b = map_batch_new();

    for (uint32_t i = 0; i < job->page_count; i++) {
        put_page(b, mv, job->pages[i]);
    }
    for (uint32_t i = 0; i < job->row_count; i++) {
        put_row(b, mv, &job->rows[i]);
    }
    LIST_FOR_EACH (it, &mv->trails) {
        const struct map_trail *t = container_of(it, struct map_trail, link);
        struct map_key key = map_key_number(mv->uuid, 't', t->ordinal);

        map_batch_put(b, map_key_slice(&key), slice_buf(&t->extents));
    }
    if (job->has_meta) {
        map_batch_put(b, map_key_slice(&meta), slice_of(job->meta, MAP_META_BYTES));
    }
    job->rc = map_batch_write(mv->map->db, b, &job->err);
    if (job->rc == 0 && job->task->freeze != NULL) {
        struct map_key from = map_key(mv->uuid, 'm'), to = map_key(mv->uuid, 't' + 1);

        *job->task->freeze = map_iter_new(mv->map->db, map_key_slice(&from), map_key_slice(&to));
    }
}

static void flush_prepare(struct store_job *job)
{
    struct map_volume *mv = job->task->mv;
    struct list *link;

    job->pages = mem_array(mv->dirty_count + (size_t)1, sizeof(struct map_page *));
    LIST_FOR_EACH (it, &mv->dirty) {
        job->pages[job->page_count++] = container_of(it, struct map_page, dirty);
    }
    job->rows = mem_array(HASH_COUNT(mv->scos) + (size_t)1, sizeof(*job->rows));
    while ((link = list_pop(&mv->dirty_scos)) != NULL) {
        struct sco_row *row = container_of(link, struct sco_row, link);

        job->rows[job->row_count++] = (struct row_image){row->entry, row->changed};
        row->dirty = false; /* one that is put meanwhile is dirty again: the next flush takes it */
    }
    job->has_meta = mv->valid;
    meta_encode(mv, mv->applied, mv->ordinal, job->meta);
}

static void flush_end(struct store_job *job)
{
    struct map_volume *mv = job->task->mv;
    struct list *link;

    for (uint32_t i = 0; i < job->page_count; i++) {
        page_make_clean(job->pages[i]);
    }
    while ((link = list_pop(&mv->trails)) != NULL) {
        struct map_trail *t = container_of(link, struct map_trail, link);

        buf_release(&t->extents);
        free(t);
    }
    mv->stored = mv->applied;
    mv->stored_ordinal = mv->ordinal;
}

/* ---- meta alone: what is stored stays the state of `stored` ---- */

static void meta_run(struct pool_work *work)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct map_volume *mv = job->task->mv;
    struct map_key key = map_key(mv->uuid, 'm'), from = map_key(mv->uuid, 't'),
                   to = map_key_number(mv->uuid, 't', job->task->upto + 1);
    struct map_batch *b = map_batch_new();

    map_batch_delete_range(b, map_key_slice(&from), map_key_slice(&to));
    if (job->has_meta) {
        map_batch_put(b, map_key_slice(&key), slice_of(job->meta, MAP_META_BYTES));
    }
    job->rc = map_batch_write(mv->map->db, b, &job->err);
}

/* ---- one job ---- */

static void job_done(struct pool_work *work, int rc)
{
    struct store_job *job = container_of(work, struct store_job, work);
    struct map_task *task = job->task;
    struct map_volume *mv = task->mv;

    rc = rc != 0 ? rc : job->rc;
    mv->storing = false;
    if (rc == 0 && task->kind == MAP_TASK_RESET && mv->map->broken) {
        rc = err_set(&job->err, ERR_FAILED, "the store is being made anew");
    }
    if (rc != 0) {
        err_copy(&task->err, &job->err);
        if (task->kind == MAP_TASK_LOAD || task->kind == MAP_TASK_RESET) {
            map_volume_fail(mv, rc, &job->err);
        }
        if (task->kind != MAP_TASK_LOAD && rc != ERR_CANCELED) {
            map_store_stuck(mv->map, &job->err); /* what is in memory is right all the same */
        }
    } else if (task->kind == MAP_TASK_FLUSH) {
        flush_end(job);
    } else if (task->kind == MAP_TASK_LOAD && job->found) {
        task->found = meta_decode(mv, job->meta);
        load_rows(mv, &job->row_values);
        task->found = task->found && mv->valid;
    } else if (task->kind == MAP_TASK_RESET) {
        reset_memory(mv);
    }
    free(job->pages);
    free(job->rows);
    buf_release(&job->row_values);
    free(job);
    map_task_end(task, rc);
    map_tasks_step(mv);
    map_renew_step(mv->map);
    if (mv->closing) {
        map_turn(mv);
    }
}

void map_store_start(struct map_task *task)
{
    struct store_job *job = mem_zalloc(sizeof(*job));
    struct map_volume *mv = task->mv;
    pool_run_cb run;

    job->task = task;
    mv->storing = true;
    switch (task->kind) {
    case MAP_TASK_LOAD:
        run = load_run;
        break;
    case MAP_TASK_RESET:
        run = reset_run;
        break;
    case MAP_TASK_FLUSH:
        run = flush_run;
        flush_prepare(job);
        break;
    default:
        run = meta_run;
        job->has_meta = mv->valid;
        meta_encode(mv, mv->stored, mv->stored_ordinal, job->meta);
        break;
    }
    CHECK(pool_submit(mv->map->pool, &job->work, POOL_HIGH, run, job_done) == 0);
}

void map_volume_begin(struct map_volume *mv, const uint8_t root_id[UUID_BYTES], uint32_t ordinal,
                      struct map_place place)
{
    memcpy(mv->root_id, root_id, UUID_BYTES);
    memcpy(mv->next_root_id, root_id, UUID_BYTES);
    mv->applied = place;
    mv->root_ordinal = ordinal;
    mv->next_ordinal = ordinal + 1;
    mv->valid = true;
}
