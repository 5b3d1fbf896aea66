/* A job's image: read from the journal, packed, put, and whether what is there under its name is
 * ours; see volume_upload.c. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/volume_job.h"

enum { CLUSTER = VOLUME_CLUSTER_BYTES };

/* ---- image ---- */

void sco_job_count(struct sco_job *job)
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
    v->backend->ops->apply(
        v->backend, &job->req,
        &(struct backend_transaction){
            .asserts = asserts, .assert_count = 2, .updates = &update, .update_count = 1},
        on_put);
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
        sco_job_retry(job, &e);
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
        /* Acknowledged data is gone; putting something else would hide it. When that is accepted,
         * the volume goes on in front of it: what comes behind it would be lost with it. */
        if (read->bad != NULL) {
            read->bad->bad = true;
        }
        volume_stop(job->v, VOLUME_DAMAGED, &read->err);
    }
    if (rc == 0) {
        rc = pool_submit(job->v->host->pool, &job->pack, POOL_LOW, pack_run, pack_done);
        if (rc != 0) {
            err_set(&read->err, rc, "packing");
        }
    }
    if (rc != 0) {
        sco_job_retry(job, &read->err);
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

    sco_job_count(job);
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
void sco_job_start(struct sco_job *job)
{
    unsigned max = job->v->host->puts_max;
    struct volume_puts *puts = job->v->puts;

    max = max != 0 ? max : VOLUME_PUTS_MAX_DEFAULT;
    if (list_empty(&job->slot)) {
        list_push(&puts->queue, &job->slot);
    }
    if (puts->count >= max || puts->queue.next != &job->slot) {
        return;
    }
    list_remove(&job->slot);
    job->has_slot = true;
    puts->count++;
    make_image(job);
    if (puts->count < max && !list_empty(&puts->queue)) {
        volume_kick(container_of(puts->queue.next, struct sco_job, slot)->v);
    }
}

struct volume_puts *volume_puts_join(struct volume_host *host, const char *preset)
{
    struct volume_puts *puts;

    preset = preset != NULL ? preset : "";
    HASH_FIND_STR(host->puts, preset, puts);
    if (puts == NULL) {
        puts = mem_zalloc(sizeof(*puts));
        puts->preset = mem_strdup(preset);
        list_init(&puts->queue);
        HASH_ADD_KEYPTR(hh, host->puts, puts->preset, strlen(preset), puts);
    }
    puts->volumes++;
    return puts;
}

void volume_puts_leave(struct volume_host *host, struct volume_puts *puts)
{
    if (--puts->volumes == 0) {
        CHECK(puts->count == 0 && list_empty(&puts->queue));
        HASH_DEL(host->puts, puts);
        free(puts->preset);
        free(puts);
    }
}

/* ---- put ---- */

static void job_landed(struct sco_job *job, bool complete)
{
    job->state = JOB_LANDED;
    job->complete = complete;
    job->landed_ms = volume_now_ms(job->v);
    sco_job_slot_free(job);
    volume_kick(job->v);
}

static void job_foreign(struct sco_job *job, const struct err *why)
{
    volume_stop(job->v, VOLUME_FAILED, why);
    sco_job_retry(job, why);
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
        sco_job_retry(job, &req->err);
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
        sco_job_retry(job, &req->err);
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
    backend_read_fresh(v->backend, req, name, &job->slice, on_trailer);
}

static void on_put(struct backend_req *req, int rc)
{
    struct sco_job *job = container_of(req, struct sco_job, req);
    struct volume *v = job->v;
    char name[SCO_NAME_BYTES];

    if (rc == 0) {
        job_landed(job, req->complete);
    } else if (volume_is_fenced(v, req, rc)) {
        sco_job_retry(job, &req->err);
    } else if (rc == ERR_ASSERT_FAILED) {
        sco_name(job->footer.number, name);
        job->state = JOB_CHECKING;
        v->backend->ops->info(v->backend, req, name, on_check);
    } else {
        sco_job_retry(job, &req->err);
    }
}
