/* Landed jobs enter the map in the order of the chain; their records are given back when their
 * objects are complete, or after a while; see volume_upload.c. */
#include <inttypes.h>

#include "base/check.h"
#include "volumedriver/volume_job.h"

static const unsigned ask_after_ms[] = {1000, 5000, 20000};

/* ---- commit ---- */

static void on_applied(struct map_task *task, int rc)
{
    struct sco_job *job = container_of(task, struct sco_job, task);
    struct volume *v = job->v;
    const struct sco_footer *f = &job->footer;

    v->applying = false;
    if (rc != 0) { /* again when there is a new map */
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

void volume_commit_next(struct volume *v)
{
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->state == JOB_COMMITTED) {
            continue;
        }
        if (job->state == JOB_LANDED && !v->applying && volume_map_ready(v) &&
            map_can_store(v->host->map)) {
            CHECK(job->footer.predecessor == v->committed.number);
            CHECK(job->footer.kind == SCO_GC || job->footer.first_seq == v->committed.seq + 1);
            if (job->extents == NULL) {
                sco_job_count(job); /* found in the backend at open, never packed here */
            }
            v->applying = true;
            job->state = JOB_APPLYING;
            map_apply_sco(&v->map, &job->task, &job->footer, job->extents, on_applied);
        }
        return;
    }
}

/* ---- release ---- */

static void drop_record(struct volume *v, struct record *record)
{
    if (record->op == FRAME_OP_WRITE) {
        v->stats.tail_bytes -= (uint64_t)record->count * VOLUME_CLUSTER_BYTES;
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

uint64_t sco_job_release_due(const struct sco_job *job)
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
        drop_record(v, record);
    }
    journal_record_drop(v->host->journal, job->assigned);
    job->assigned = NULL;
}

void volume_release_jobs(struct volume *v)
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
            if (now >= sco_job_release_due(job)) {
                job->asking = true;
                sco_name(job->footer.number, name);
                v->backend->ops->info(v->backend, &job->req, name, on_complete_info);
            }
            return;
        }
        release_job(job);
        sco_job_free(job);
    }
}
