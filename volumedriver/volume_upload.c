/* From the journal to the backend.
 *
 * Records gather in the open range; when it would outgrow a SCO, is old, or space is wanted, it
 * closes and becomes a job:
 *
 *   ASSIGNING  {number, first, last} into the journal, durable: the image can be made again
 *   QUEUED     until an image fits in memory
 *   READING    the clusters, from the journal, checked
 *   PACKING    trailer and checksum, in the pool
 *   PUTTING    [owner_tag, number absent] + upload; in doubt or failed: again after a while
 *   CHECKING   the number is there: ours if size and checksum say so
 *   LANDED     several jobs at once, in any order
 *   APPLYING   into the map, in the order of the chain: the committed prefix
 *   COMMITTED  its records are given back when every fragment is placed, or after a minute */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_impl.h"

enum {
    CLUSTER = VOLUME_CLUSTER_BYTES,
    ZERO_CLUSTERS_MAX = 32 * 1048576, /* of one SCO: bounds the pages that its commit touches */
    RETRY_MS_MIN = 100,
    RETRY_MS_MAX = 10000,
};

static const unsigned ask_after_ms[] = {1000, 5000, 20000};

/* ---- the open range ---- */

static bool range_empty(const struct volume *v)
{
    return v->open_last < v->open_first;
}

static bool range_fits(const struct volume *v, const struct record *record)
{
    const struct extent_tree *t = &v->open;
    uint32_t data = t->data_clusters + (record->op == FRAME_OP_WRITE ? record->count : 0);
    uint64_t zero = t->zero_clusters + (record->op == FRAME_OP_WRITE ? 0 : record->count);

    return zero <= ZERO_CLUSTERS_MAX &&
           (uint64_t)data * CLUSTER + sco_trailer_bytes(SCO_CLIENT, data, t->count + 2) <=
               v->root.sco_bytes;
}

void volume_range_add(struct volume *v, const struct record *record, uint64_t lsn)
{
    if (!range_empty(v) && !range_fits(v, record)) {
        volume_range_close(v);
    }
    if (range_empty(v)) {
        v->open_first = record->seq;
        v->open_lsn = lsn;
        v->open_since_ms = volume_now_ms(v);
        volume_kick(v); /* to start the clock */
    }
    CHECK(v->open_last + 1 == record->seq);
    v->open_last = record->seq;
    extent_tree_insert(&v->open, record);
}

/* ---- jobs ---- */

struct sco_job *volume_job_new(struct volume *v, uint64_t first, uint64_t last)
{
    struct sco_job *job = mem_zalloc(sizeof(*job));

    job->v = v;
    job->state = JOB_CLOSED;
    job->footer = (struct sco_footer){.kind = SCO_CLIENT,
                                      .generation = v->root.head_generation,
                                      .first_seq = first,
                                      .last_seq = last};
    memcpy(job->footer.volume, v->uuid, 16);
    list_init(&job->slot);
    list_push(&v->jobs, &job->link);
    return job;
}

void volume_job_number(struct sco_job *job, uint64_t number, uint32_t epoch)
{
    job->footer.number = number;
    job->footer.epoch = epoch;
    job->footer.predecessor = job->v->last_number;
    job->v->last_number = number;
}

static void on_assigned(struct journal_append *append, int rc)
{
    struct sco_job *job = container_of(append, struct sco_job, assign);
    struct err e;

    if (rc != 0) {
        err_set(&e, rc, "journal");
        volume_stop(job->v, VOLUME_FAILED, &e);
        journal_record_drop(job->v->host->journal, append->record);
        job->state = JOB_WAITING;
        return;
    }
    job->assigned = append->record;
    job->state = JOB_QUEUED;
    volume_kick(job->v);
}

/* The next number, and its record in the journal. */
static void job_assign(struct sco_job *job)
{
    struct volume *v = job->v;

    volume_job_number(job, sco_number(v->epoch, v->next_index++), v->epoch);
    job->assign = (struct journal_append){.volume = v->uuid,
                                          .seq = job->footer.first_seq,
                                          .a = job->footer.number,
                                          .b = job->footer.last_seq,
                                          .epoch = v->epoch,
                                          .op = FRAME_OP_SCO,
                                          .kind = SCO_CLIENT,
                                          .predecessor = job->footer.predecessor,
                                          .generation = job->footer.generation,
                                          .record = record_new(FRAME_OP_SCO, job->footer.number, 1),
                                          .durable = true};
    job->state = JOB_ASSIGNING;
    journal_append(v->host->journal, &job->assign, on_assigned);
}

void volume_range_close(struct volume *v)
{
    struct sco_job *job;

    if (range_empty(v)) {
        return;
    }
    job = volume_job_new(v, v->open_first, v->open_last);
    job->tree = v->open;
    v->open = (struct extent_tree){0};
    v->open_first = v->open_last + 1;
    volume_kick(v);
}

/* Jobs that have no number are the last ones, so none overtakes another. */
static void assign_jobs(struct volume *v)
{
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->state == JOB_CLOSED && v->next_index <= SCO_INDEX_MAX && !v->reclaiming) {
            job_assign(job);
        }
    }
}

bool volume_numbers_used_up(const struct volume *v)
{
    if (v->next_index <= SCO_INDEX_MAX || list_empty(&v->jobs)) {
        return false;
    }
    return container_of(v->jobs.prev, struct sco_job, link)->state == JOB_CLOSED;
}

static void slot_free(struct sco_job *job)
{
    struct volume_host *host = job->v->host;

    free(job->image);
    job->image = NULL;
    if (job->has_slot) {
        job->has_slot = false;
        host->puts--;
    }
    if (!list_empty(&host->put_queue)) {
        volume_kick(container_of(host->put_queue.next, struct sco_job, slot)->v);
    }
}

static void job_free(struct sco_job *job)
{
    list_remove(&job->link);
    list_remove(&job->slot);
    slot_free(job);
    if (job->assigned != NULL) {
        journal_record_abandon(job->v->host->journal, job->assigned);
    }
    extent_tree_release(&job->tree);
    free(job->extents);
    free(job->crcs);
    free(job);
}

void volume_jobs_free(struct volume *v)
{
    while (!list_empty(&v->jobs)) {
        job_free(container_of(v->jobs.next, struct sco_job, link));
    }
}

static void job_retry(struct sco_job *job, const struct err *why)
{
    struct volume *v = job->v;
    uint64_t max = v->host->retry_ms_max != 0 ? v->host->retry_ms_max : RETRY_MS_MAX;
    uint64_t wait = job->attempts < 7 ? (uint64_t)RETRY_MS_MIN << job->attempts : max;

    if (job->attempts++ == 2) {
        log_warn("volume", "put fails, trying on", "volume=%s sco=%010" PRIx64 " why=%s", v->name,
                 job->footer.number, why->msg);
    }
    v->stats.sco_put_retries++;
    job->state = JOB_WAITING;
    job->retry_ms = volume_now_ms(v) + (wait < max ? wait : max);
    slot_free(job); /* others may have its room meanwhile */
    volume_kick(v);
}

/* ---- image ---- */

static void count_tree(struct sco_job *job)
{
    const struct extent *x = extent_tree_find(&job->tree, 0);
    struct sco_footer *f = &job->footer;
    uint32_t n = 0, offset = 0;

    f->data_bytes = (uint64_t)job->tree.data_clusters * CLUSTER;
    f->extent_count = job->tree.count;
    if (f->kind != SCO_GC) {
        f->kind = job->tree.count == 0 ? SCO_EMPTY : SCO_CLIENT;
    }
    free(job->extents);
    free(job->crcs);
    job->extents = mem_array(job->tree.count + (size_t)1, sizeof(*job->extents));
    job->crcs = mem_array(job->tree.data_clusters + (size_t)1, sizeof(*job->crcs));
    for (; x != NULL; x = extent_tree_find(&job->tree, x->start + x->count)) {
        bool data = x->record->op == FRAME_OP_WRITE;

        job->extents[n++] = (struct sco_extent){.cluster = x->start,
                                                .seq = x->record->seq,
                                                .count = x->count,
                                                .flags = data ? 0 : SCO_EXTENT_ZERO};
        if (data) {
            memcpy(&job->crcs[offset], &x->record->crcs[x->skip], 4 * (size_t)x->count);
            offset += x->count;
        }
    }
    job->bytes = sco_bytes(f);
}

static void on_put(struct backend_req *req, int rc);

static void put(struct sco_job *job)
{
    struct volume *v = job->v;
    char name[SCO_NAME_BYTES];
    struct backend_assert asserts[2] = {volume_tag_assert(v), {.kind = BACKEND_ABSENT}};
    struct backend_update update = {.data = job->image, .bytes = job->bytes, .crc = job->crc};

    sco_name(job->footer.number, name);
    asserts[1].name = update.name = name;
    job->state = JOB_PUTTING;
    v->stats.sco_puts++;
    v->stats.sco_put_bytes += job->bytes;
    v->backend->ops->apply(v->backend, &job->req, asserts, 2, &update, 1, 0, on_put);
}

static void pack_run(struct pool_work *work)
{
    struct sco_job *job = container_of(work, struct sco_job, pack);

    sco_trailer_encode(&job->footer, job->crcs, job->extents, job->image + job->footer.data_bytes);
    job->crc = crc32c(0, job->image, job->bytes);
}

static void pack_done(struct pool_work *work, int rc)
{
    struct sco_job *job = container_of(work, struct sco_job, pack);
    struct err e;

    if (rc != 0 || !volume_may_upload(job->v)) {
        err_set(&e, ERR_CANCELED, "packing");
        job_retry(job, &e);
        return;
    }
    put(job);
}

static void on_clusters(struct journal_read *read, int rc)
{
    struct sco_job *job = container_of(read, struct sco_job, read);

    free(read->pieces);
    read->pieces = NULL;
    job->state = JOB_PACKING;
    if (rc == ERR_CORRUPT) {
        /* Acknowledged data is gone; putting something else would hide it. */
        volume_stop(job->v, VOLUME_DAMAGED, &read->err);
    }
    if (rc == 0) {
        rc = pool_submit(job->v->host->pool, &job->pack, POOL_LOW, pack_run, pack_done);
    }
    if (rc != 0) {
        job_retry(job, &read->err);
    }
}

static void make_image(struct sco_job *job)
{
    struct volume *v = job->v;
    const struct extent *x = extent_tree_find(&job->tree, 0);
    struct journal_piece *pieces;
    uint32_t n = 0;
    size_t at = 0;
    int rc;

    count_tree(job);
    job->image = mem_aligned(CLUSTER, (job->bytes + CLUSTER - 1) / CLUSTER * CLUSTER);
    pieces = mem_array(job->tree.count + (size_t)1, sizeof(*pieces));
    for (; x != NULL; x = extent_tree_find(&job->tree, x->start + x->count)) {
        if (x->record->op == FRAME_OP_WRITE) {
            pieces[n++] = (struct journal_piece){.record = (struct record *)(uintptr_t)x->record,
                                                 .skip = x->skip,
                                                 .count = x->count,
                                                 .data = job->image + at};
            at += (size_t)x->count * CLUSTER;
        }
    }
    job->read.pieces = pieces;
    job->read.piece_count = n;
    job->state = JOB_READING;
    rc = journal_read(v->host->journal, &job->read, on_clusters);
    if (rc != 0) {
        err_set(&job->read.err, rc, "journal");
        on_clusters(&job->read, rc);
    }
}

/* Room for one more image, in the order in which jobs asked. */
static void start_job(struct sco_job *job)
{
    struct volume_host *host = job->v->host;
    unsigned max = host->puts_max != 0 ? host->puts_max : VOLUME_PUTS_MAX_DEFAULT;

    if (list_empty(&job->slot)) {
        list_push(&host->put_queue, &job->slot);
    }
    if (host->puts >= max || host->put_queue.next != &job->slot) {
        return;
    }
    list_remove(&job->slot);
    job->has_slot = true;
    host->puts++;
    make_image(job);
    if (host->puts < max && !list_empty(&host->put_queue)) {
        volume_kick(container_of(host->put_queue.next, struct sco_job, slot)->v);
    }
}

/* ---- put ---- */

static void job_landed(struct sco_job *job, bool complete)
{
    job->state = JOB_LANDED;
    job->complete = complete;
    job->landed_ms = volume_now_ms(job->v);
    slot_free(job);
    volume_kick(job->v);
}

static void job_foreign(struct sco_job *job, const struct err *why)
{
    volume_stop(job->v, VOLUME_FAILED, why);
    job_retry(job, why);
}

static void on_trailer(struct backend_req *req, int rc)
{
    struct sco_job *job = container_of(req, struct sco_job, req);
    bool complete = req->complete;
    struct err e;

    if (rc == 0) {
        rc = sco_trailer_compare(&job->footer, job->image + job->footer.data_bytes, job->stored,
                                 job->bytes, &e);
        if (rc == 0) {
            job_landed(job, complete);
        } else {
            job_foreign(job, &e);
        }
    } else {
        job_retry(job, &req->err);
    }
    free(job->stored);
    job->stored = NULL;
}

/* The name was taken: by an earlier try whose reply was lost, unless something is very wrong. */
static void on_check(struct backend_req *req, int rc)
{
    struct sco_job *job = container_of(req, struct sco_job, req);
    struct volume *v = job->v;
    char name[SCO_NAME_BYTES];
    struct err e;

    if (rc != 0) {
        job_retry(job, &req->err);
        return;
    }
    rc = req->bytes == job->bytes
             ? 0
             : sco_trailer_compare(&job->footer, job->image + job->footer.data_bytes, NULL,
                                   req->bytes, &e);
    if (rc != 0) {
        job_foreign(job, &e);
        return;
    }
    job->stored = mem_alloc(job->bytes - job->footer.data_bytes);
    job->slice = (struct backend_slice){.offset = job->footer.data_bytes,
                                        .bytes = (uint32_t)(job->bytes - job->footer.data_bytes),
                                        .data = job->stored};
    sco_name(job->footer.number, name);
    v->backend->ops->read(v->backend, req, name, &job->slice, 1, on_trailer);
}

static void on_put(struct backend_req *req, int rc)
{
    struct sco_job *job = container_of(req, struct sco_job, req);
    struct volume *v = job->v;
    char name[SCO_NAME_BYTES];

    if (rc == 0) {
        job_landed(job, req->complete);
    } else if (volume_is_fenced(v, req, rc)) {
        job_retry(job, &req->err);
    } else if (rc == ERR_ASSERT_FAILED) {
        sco_name(job->footer.number, name);
        job->state = JOB_CHECKING;
        v->backend->ops->info(v->backend, req, name, on_check);
    } else {
        job_retry(job, &req->err);
    }
}

/* ---- commit ---- */

static void on_applied(struct map_task *task, int rc)
{
    struct sco_job *job = container_of(task, struct sco_job, task);
    struct volume *v = job->v;
    const struct sco_footer *f = &job->footer;

    v->applying = false;
    if (rc != 0) {
        volume_stop(v, VOLUME_FAILED, &task->err);
        job->state = JOB_LANDED;
        volume_kick(v);
        return;
    }
    for (uint32_t i = 0; i < f->extent_count; i++) {
        extent_tree_forget(&v->tree, job->extents[i].cluster, job->extents[i].count, f->last_seq);
    }
    extent_tree_release(&job->tree);
    v->committed.number = f->number;
    v->committed.seq = f->kind == SCO_GC ? v->committed.seq : f->last_seq;
    v->trailer_bytes += sco_bytes(f) - f->data_bytes;
    job->state = JOB_COMMITTED;
    volume_kick(v);
}

static void commit_next(struct volume *v)
{
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->state == JOB_COMMITTED) {
            continue;
        }
        if (job->state == JOB_LANDED && !v->applying && v->map.failed == 0) {
            CHECK(job->footer.predecessor == v->committed.number);
            CHECK(job->footer.kind == SCO_GC || job->footer.first_seq == v->committed.seq + 1);
            if (job->extents == NULL) {
                count_tree(job); /* found in the backend at open, never packed here */
            }
            v->applying = true;
            job->state = JOB_APPLYING;
            map_apply_sco(&v->map, &job->task, &job->footer, job->extents, on_applied);
        }
        return;
    }
}

/* ---- release ---- */

void volume_drop_record(void *ctx, struct record *record)
{
    struct volume *v = ctx;

    if (record->op == FRAME_OP_WRITE) {
        v->stats.tail_bytes -= (uint64_t)record->count * CLUSTER;
    }
    journal_record_drop(v->host->journal, record);
}

static void on_complete_info(struct backend_req *req, int rc)
{
    struct sco_job *job = container_of(req, struct sco_job, req);

    job->asking = false;
    job->asked++;
    job->complete = rc == 0 && req->complete;
    volume_kick(job->v);
}

static uint64_t release_due(const struct sco_job *job)
{
    const struct volume_host *host = job->v->host;
    uint64_t limit = host->incomplete_ms != 0 ? host->incomplete_ms : VOLUME_INCOMPLETE_MS;
    unsigned count = sizeof(ask_after_ms) / sizeof(ask_after_ms[0]);
    uint64_t ask = job->asked < count ? ask_after_ms[job->asked] : limit;

    return job->landed_ms + (job->complete ? 0 : ask < limit ? ask : limit);
}

static void release_job(struct sco_job *job)
{
    struct volume *v = job->v;

    v->released_seq = job->footer.kind == SCO_GC ? v->released_seq : job->footer.last_seq;
    while (!list_empty(&v->records)) {
        struct record *record = container_of(v->records.next, struct record, link);

        if (record->seq > v->released_seq) {
            break;
        }
        list_remove(&record->link);
        volume_drop_record(v, record);
    }
    journal_record_drop(v->host->journal, job->assigned);
    job->assigned = NULL;
}

static void release_jobs(struct volume *v)
{
    uint64_t limit = v->host->incomplete_ms != 0 ? v->host->incomplete_ms : VOLUME_INCOMPLETE_MS;
    uint64_t now = volume_now_ms(v);

    while (!list_empty(&v->jobs)) {
        struct sco_job *job = container_of(v->jobs.next, struct sco_job, link);
        char name[SCO_NAME_BYTES];

        if (job->state != JOB_COMMITTED || job->asking) {
            return;
        }
        if (!job->complete && now < job->landed_ms + limit) {
            if (now >= release_due(job)) {
                job->asking = true;
                sco_name(job->footer.number, name);
                v->backend->ops->info(v->backend, &job->req, name, on_complete_info);
            }
            return;
        }
        release_job(job);
        job_free(job);
    }
}

/* ---- pump ---- */

void volume_uploads_stop(struct volume *v)
{
    struct list *queue = &v->host->put_queue;

    LIST_FOR_EACH (it, &v->jobs) {
        list_remove(&container_of(it, struct sco_job, link)->slot);
    }
    if (!list_empty(queue)) {
        volume_kick(container_of(queue->next, struct sco_job, slot)->v);
    }
}

static uint64_t sco_age_ms(const struct volume *v)
{
    return v->host->sco_age_ms != 0 ? v->host->sco_age_ms : VOLUME_SCO_AGE_MS_DEFAULT;
}

void volume_uploads_pump(struct volume *v)
{
    uint64_t now = volume_now_ms(v);

    release_jobs(v);
    if (!volume_may_upload(v)) {
        return;
    }
    if (!range_empty(v) && now >= v->open_since_ms + sco_age_ms(v)) {
        volume_range_close(v);
    }
    assign_jobs(v);
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->state == JOB_WAITING && now >= job->retry_ms) {
            job->state = JOB_QUEUED;
        }
        if (job->state == JOB_QUEUED) {
            start_job(job);
        }
    }
    commit_next(v);
}

uint64_t volume_uploads_due(const struct volume *v)
{
    bool uploads = volume_may_upload(v), first = true;
    uint64_t due = range_empty(v) || !uploads ? UINT64_MAX : v->open_since_ms + sco_age_ms(v);

    LIST_FOR_EACH (it, &v->jobs) {
        const struct sco_job *job = container_of(it, struct sco_job, link);
        uint64_t at = job->state == JOB_WAITING && uploads                   ? job->retry_ms
                      : job->state == JOB_COMMITTED && first && !job->asking ? release_due(job)
                                                                             : UINT64_MAX;

        due = at < due ? at : due;
        first = false;
    }
    return due == UINT64_MAX ? 0 : due;
}

/* Something that will call back. */
bool volume_uploads_busy(const struct volume *v)
{
    if (v->applying) {
        return true;
    }
    LIST_FOR_EACH (it, &v->jobs) {
        const struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->asking || job->state == JOB_ASSIGNING || job->state == JOB_READING ||
            job->state == JOB_PACKING || job->state == JOB_PUTTING || job->state == JOB_CHECKING) {
            return true;
        }
    }
    return false;
}
