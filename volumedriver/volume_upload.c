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
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_job.h"

enum {
    ZERO_CLUSTERS_MAX = 32 * 1048576, /* of one SCO: bounds the pages that its commit touches */
    RETRY_MS_MIN = 100,
    RETRY_MS_MAX = 10000,
};

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

    return zero <= ZERO_CLUSTERS_MAX && (uint64_t)data * VOLUME_CLUSTER_BYTES +
                                                sco_trailer_bytes(SCO_CLIENT, data, t->count + 2) <=
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
    memcpy(job->footer.volume, v->uuid, UUID_BYTES);
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

        if (job->state == JOB_CLOSED && v->next_index <= SCO_INDEX_MAX && !v->retaking) {
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

void sco_job_slot_free(struct sco_job *job)
{
    struct volume_puts *puts = job->v->puts;

    free(job->image);
    job->image = NULL;
    if (job->has_slot) {
        job->has_slot = false;
        puts->count--;
    }
    if (!list_empty(&puts->queue)) {
        volume_kick(container_of(puts->queue.next, struct sco_job, slot)->v);
    }
}

void sco_job_free(struct sco_job *job)
{
    list_remove(&job->link);
    list_remove(&job->slot);
    sco_job_slot_free(job);
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
        sco_job_free(container_of(v->jobs.next, struct sco_job, link));
    }
}

void sco_job_retry(struct sco_job *job, const struct err *why)
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
    sco_job_slot_free(job); /* others may have its room meanwhile */
    volume_kick(v);
}

/* ---- pump ---- */

void volume_uploads_stop(struct volume *v)
{
    struct list *queue = &v->puts->queue;

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

    volume_release_jobs(v);
    if (!volume_may_upload(v)) {
        return;
    }
    if (!range_empty(v) && now >= v->open_since_ms + sco_age_ms(v)) {
        volume_range_close(v);
    }
    assign_jobs(v);
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);

        if (v->retaking) {
            break; /* no put under an owner_tag that is being replaced */
        }
        if (job->state == JOB_WAITING && now >= job->retry_ms) {
            job->state = JOB_QUEUED;
        }
        if (job->state == JOB_QUEUED) {
            sco_job_start(job);
        }
    }
    volume_commit_next(v);
}

uint64_t volume_uploads_due(const struct volume *v)
{
    bool uploads = volume_may_upload(v), puts = uploads && !v->retaking, first = true;
    uint64_t due = range_empty(v) || !uploads ? UINT64_MAX : v->open_since_ms + sco_age_ms(v);

    LIST_FOR_EACH (it, &v->jobs) {
        const struct sco_job *job = container_of(it, struct sco_job, link);
        uint64_t at = job->state == JOB_WAITING && puts ? job->retry_ms
                      : job->state == JOB_COMMITTED && first && !job->asking
                          ? sco_job_release_due(job)
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

/* ---- drains ---- */

void volume_drain(struct volume *v, struct volume_drain *drain,
                  void (*cb)(struct volume_drain *drain, int rc))
{
    volume_range_close(v);
    drain->seq = v->open_last;
    drain->cb = cb;
    list_push(&v->drains, &drain->link);
    volume_kick(v);
}

void volume_drains_pump(struct volume *v)
{
    LIST_FOR_EACH_SAFE (it, &v->drains) {
        struct volume_drain *drain = container_of(it, struct volume_drain, link);
        bool done = v->committed.seq >= drain->seq;

        if (done || !volume_may_upload(v)) {
            list_remove(it);
            drain->cb(drain, done ? 0 : v->err.code != 0 ? v->err.code : ERR_CANCELED);
        }
    }
}
