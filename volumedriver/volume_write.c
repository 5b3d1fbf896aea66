/* Writes, trims and write-zeroes: request -> whole clusters -> records of at most 1 MiB, each with
 * its own seq -> journal -> tree.
 *
 * A request that covers a cluster in part reads it first, changes it and writes it whole. While
 * such a request is under way no other one may touch its clusters, or bytes that the two do not
 * share would be lost: it waits for those that came before it and overlap, and holds up
 * those that come after. Requests of whole clusters do not wait for each other.
 *
 * A record enters the tree when the journal has it, in the order of seqs, and before the request
 * is answered: so a read finds what was acknowledged, and nothing newer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/cluster_read.h"
#include "volumedriver/volume_private.h"

enum { CLUSTER = VOLUME_CLUSTER_BYTES };

struct write_plan;

struct record_append {
    struct journal_append append;
    struct write_plan *plan;
};

struct edge { /* a cluster that the request covers in part */
    struct cluster_read rd;
    struct write_plan *plan;
    uint8_t *data;
};

struct write_plan {
    struct list link; /* volume.writes */
    struct volume_req *req;
    struct volume *v;
    uint64_t cluster; /* all that it touches */
    uint64_t count;
    bool rmw;
    bool started;
    bool has_head; /* the first cluster is covered in part */
    bool has_tail; /* so is the last one, which is another one */
    struct edge edges[2];
    unsigned reading;
    int rc;
    struct iovec *iov; /* whole clusters: edges and what lies between; owned unless aligned */
    bool owns_iov;
    struct record_append *appends;
    unsigned append_count;
    unsigned pending;
    uint64_t lsn;
    struct journal_flush flush;
};

static void plan_run(struct write_plan *plan);

/* ---- who may start ---- */

static bool overlap(const struct write_plan *a, const struct write_plan *b)
{
    return a->cluster < b->cluster + b->count && b->cluster < a->cluster + a->count;
}

static bool must_wait(const struct write_plan *plan)
{
    if (plan->v->rmw_count == 0) {
        return false;
    }
    LIST_FOR_EACH (it, &plan->v->writes) {
        const struct write_plan *earlier = container_of(it, struct write_plan, link);

        if (earlier == plan) {
            return false;
        }
        if ((earlier->rmw || plan->rmw) && overlap(earlier, plan)) {
            return true;
        }
    }
    return false;
}

/* A plan that waited for `ended` and no longer has to. */
static struct write_plan *find_runnable(const struct write_plan *ended)
{
    LIST_FOR_EACH (it, &ended->v->writes) {
        struct write_plan *plan = container_of(it, struct write_plan, link);

        if (!plan->started && overlap(plan, ended) && !must_wait(plan)) {
            return plan;
        }
    }
    return NULL;
}

static void plan_end(struct write_plan *plan, int rc)
{
    struct volume *v = plan->v;
    struct volume_req *req = plan->req;
    bool was_watched = v->rmw_count != 0;
    struct write_plan *next;

    list_remove(&plan->link);
    v->rmw_count -= plan->rmw;
    while (was_watched && (next = find_runnable(plan)) != NULL) {
        plan_run(next); /* may end plans in its turn */
    }
    for (unsigned i = 0; i < 2; i++) {
        free(plan->edges[i].data);
    }
    if (plan->owns_iov) {
        free(plan->iov);
    }
    free(plan->appends);
    free(plan);
    volume_req_end(req, rc);
}

/* ---- into the journal ---- */

void volume_record_done(struct volume *v, struct record *record)
{
    list_push(&v->records, &record->link);
    extent_tree_insert(&v->tree, record);
    v->stats.tail_bytes += record->op == FRAME_OP_WRITE ? (uint64_t)record->count * CLUSTER : 0;
}

static void on_flushed(struct journal_flush *flush, int rc)
{
    struct write_plan *plan = container_of(flush, struct write_plan, flush);

    if (rc != 0) {
        err_set(&plan->req->err, rc, "journal");
        volume_stop(plan->v, VOLUME_FAILED, &plan->req->err);
    }
    plan_end(plan, rc);
}

static void on_append(struct journal_append *append, int rc)
{
    struct record_append *ra = container_of(append, struct record_append, append);
    struct write_plan *plan = ra->plan;
    struct volume *v = plan->v;

    if (rc == 0) {
        volume_record_done(v, append->record);
        volume_range_add(v, append->record, append->lsn);
        v->written_lsn = plan->lsn = append->lsn;
    } else if (rc == -ENOSPC) { /* it waited for room, and nothing behind it got in either */
        plan->rc = err_say(&plan->req->err, rc, "volume %s: the journal stayed full", v->name);
        journal_record_drop(v->host->journal, append->record);
    } else if (rc == ERR_FENCED) { /* volume_stop() did not let it wait */
        plan->rc = err_copy(&plan->req->err, &v->err);
        journal_record_drop(v->host->journal, append->record);
    } else {
        plan->rc = err_set(&plan->req->err, rc, "journal");
        volume_stop(v, VOLUME_FAILED, &plan->req->err);
        journal_record_drop(v->host->journal, append->record);
    }
    if (--plan->pending != 0) {
        return;
    }
    if (plan->rc == 0 && (plan->req->flags & VOLUME_FUA) != 0) {
        journal_flush(v->host->journal, &plan->flush, plan->lsn, on_flushed);
    } else {
        plan_end(plan, plan->rc);
    }
}

uint64_t volume_wait_ms(const struct volume *v)
{
    LIST_FOR_EACH (it, &v->writes) { /* in order of arrival */
        const struct write_plan *plan = container_of(it, struct write_plan, link);

        if (plan->pending != 0) {
            return volume_now_ms(v) - plan->appends[0].append.since_ms;
        }
    }
    return 0;
}

/* Records for `count` clusters of one op; data starts `skip` bytes into plan->iov. */
static void add_records(struct write_plan *plan, uint8_t op, uint64_t cluster, uint64_t count,
                        size_t skip)
{
    struct volume *v = plan->v;
    uint32_t max = op == FRAME_OP_WRITE ? journal_record_clusters_max(v->host->journal)
                                        : FRAME_ZERO_CLUSTERS_MAX;

    while (count != 0) {
        uint32_t n = count < max ? (uint32_t)count : max;
        struct record_append *ra = &plan->appends[plan->append_count++];

        ra->plan = plan;
        ra->append = (struct journal_append){.volume = v->uuid,
                                             .seq = v->next_seq++,
                                             .epoch = v->epoch,
                                             .op = op,
                                             .record = record_new(op, cluster, n),
                                             .iov = plan->iov,
                                             .iov_skip = skip};
        cluster += n;
        count -= n;
        skip += op == FRAME_OP_WRITE ? (size_t)n * CLUSTER : 0;
    }
}

static void plan_append(struct write_plan *plan)
{
    struct volume *v = plan->v;
    uint32_t max = journal_record_clusters_max(v->host->journal);
    uint64_t middle = plan->count - plan->has_head - plan->has_tail;
    uint64_t cluster = plan->cluster + plan->has_head, records;

    if (v->err.code != 0) { /* it stopped while the edges were read */
        plan_end(plan, err_copy(&plan->req->err, &v->err));
        return;
    }
    records = plan->count / (plan->req->op == VOLUME_OP_WRITE ? max : FRAME_ZERO_CLUSTERS_MAX) + 4;
    plan->appends = mem_array((size_t)records, sizeof(*plan->appends));
    if (plan->req->op == VOLUME_OP_WRITE) {
        add_records(plan, FRAME_OP_WRITE, plan->cluster, plan->count, 0);
    } else {
        add_records(plan, FRAME_OP_WRITE, plan->cluster, plan->has_head, 0);
        add_records(plan, plan->req->op == VOLUME_OP_TRIM ? FRAME_OP_TRIM : FRAME_OP_ZEROES,
                    cluster, middle, 0);
        add_records(plan, FRAME_OP_WRITE, cluster + middle, plan->has_tail,
                    (size_t)plan->has_head * CLUSTER);
    }
    plan->pending = plan->append_count;
    for (unsigned i = 0; i < plan->append_count; i++) {
        journal_append(v->host->journal, &plan->appends[i].append, on_append);
    }
}

/* ---- clusters in part ---- */

/* Lay the request's bytes [from, to) of the volume over `data`, which starts at `at`. */
static void overlay(const struct volume_req *req, uint8_t *data, uint64_t at, uint64_t from,
                    uint64_t to)
{
    uint64_t pos = req->offset_bytes;

    if (req->op != VOLUME_OP_WRITE) {
        memset(data + (from - at), 0, (size_t)(to - from));
        return;
    }
    for (const struct iovec *iov = req->iov; pos < to; iov++) {
        uint64_t start = pos > from ? pos : from;
        uint64_t end = pos + iov->iov_len < to ? pos + iov->iov_len : to;

        if (start < end) {
            memcpy(data + (start - at), (const uint8_t *)iov->iov_base + (start - pos),
                   (size_t)(end - start));
        }
        pos += iov->iov_len;
    }
}

/* plan->iov = head, the request's bytes between, tail: whole clusters end to end. */
static void join_iov(struct write_plan *plan, uint64_t from, uint64_t to)
{
    const struct volume_req *req = plan->req;
    uint64_t pos = req->offset_bytes;
    struct iovec *out;

    plan->owns_iov = true;
    out = plan->iov = mem_array((size_t)req->iov_count + 3, sizeof(*plan->iov));
    if (plan->has_head) {
        *out++ = (struct iovec){.iov_base = plan->edges[0].data, .iov_len = CLUSTER};
    }
    for (int i = 0; req->op == VOLUME_OP_WRITE && i < req->iov_count; i++) {
        uint64_t start = pos > from ? pos : from;
        uint64_t end = pos + req->iov[i].iov_len < to ? pos + req->iov[i].iov_len : to;

        if (start < end) {
            *out++ = (struct iovec){.iov_base = (uint8_t *)req->iov[i].iov_base + (start - pos),
                                    .iov_len = (size_t)(end - start)};
        }
        pos += req->iov[i].iov_len;
    }
    if (plan->has_tail) {
        *out++ = (struct iovec){.iov_base = plan->edges[1].data, .iov_len = CLUSTER};
    }
}

static void edges_read(struct write_plan *plan)
{
    const struct volume_req *req = plan->req;
    uint64_t end = req->offset_bytes + req->length_bytes, last = plan->cluster + plan->count - 1;
    uint64_t head_at = plan->cluster * CLUSTER, tail_at = last * CLUSTER;

    if (plan->rc != 0) {
        plan_end(plan, plan->rc);
        return;
    }
    if (plan->has_head) {
        overlay(req, plan->edges[0].data, head_at, req->offset_bytes,
                end < head_at + CLUSTER ? end : head_at + CLUSTER);
    }
    if (plan->has_tail) {
        overlay(req, plan->edges[1].data, tail_at, tail_at, end);
    }
    join_iov(plan, plan->has_head ? head_at + CLUSTER : head_at,
             plan->has_tail ? tail_at : tail_at + CLUSTER);
    plan_append(plan);
}

static void on_edge(struct cluster_read *rd, int rc)
{
    struct edge *edge = container_of(rd, struct edge, rd);
    struct write_plan *plan = edge->plan;

    if (rc != 0) {
        plan->rc = err_copy(&plan->req->err, &rd->err);
        err_wrap(&plan->req->err, "reading before writing");
    }
    cluster_read_release(rd);
    if (--plan->reading == 0) {
        edges_read(plan);
    }
}

static void read_edge(struct write_plan *plan, unsigned i, uint64_t cluster)
{
    struct edge *edge = &plan->edges[i];

    edge->plan = plan;
    edge->data = mem_alloc(CLUSTER);
    edge->rd =
        (struct cluster_read){.v = plan->v, .cluster = cluster, .count = 1, .data = edge->data};
    plan->reading++;
    cluster_read_start(&edge->rd, on_edge);
}

static void plan_run(struct write_plan *plan)
{
    plan->started = true;
    if (!plan->rmw) {
        plan_append(plan);
        return;
    }
    plan->v->stats.rmw_writes++;
    if (plan->has_head) {
        read_edge(plan, 0, plan->cluster);
    }
    if (plan->has_tail) {
        read_edge(plan, 1, plan->cluster + plan->count - 1);
    }
}

void volume_submit_write(struct volume_req *req)
{
    struct write_plan *plan = mem_zalloc(sizeof(*plan));
    uint64_t end = req->offset_bytes + req->length_bytes;

    plan->req = req;
    plan->v = req->volume;
    plan->cluster = req->offset_bytes / CLUSTER;
    plan->count = (end + CLUSTER - 1) / CLUSTER - plan->cluster;
    plan->has_head = req->offset_bytes % CLUSTER != 0 || (plan->count == 1 && end % CLUSTER != 0);
    plan->has_tail = plan->count > 1 && end % CLUSTER != 0;
    plan->rmw = plan->has_head || plan->has_tail;
    plan->iov = (struct iovec *)(uintptr_t)req->iov;
    list_push(&plan->v->writes, &plan->link);
    plan->v->rmw_count += plan->rmw;
    if (!must_wait(plan)) {
        plan_run(plan);
    }
}
