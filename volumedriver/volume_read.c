/* Read and block-status requests: from sectors to whole clusters and back; see cluster_read.h. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/cluster_read.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_private.h"

enum { CLUSTER = VOLUME_CLUSTER_BYTES };

struct read_plan {
    struct cluster_read rd;
    struct volume_req *req;
    uint8_t *bounce;
    struct volume_extent *extents; /* of a status request: borrowed */
    unsigned extents_max;
};

static void copy_out(const struct volume_req *req, const uint8_t *from)
{
    size_t left = (size_t)req->length_bytes;

    for (const struct iovec *iov = req->iov; left != 0; iov++) {
        size_t n = iov->iov_len < left ? iov->iov_len : left;

        memcpy(iov->iov_base, from, n);
        from += n;
        left -= n;
    }
}

static void on_read(struct cluster_read *rd, int rc)
{
    struct read_plan *plan = container_of(rd, struct read_plan, rd);
    struct volume_req *req = plan->req;

    if (rc == 0 && plan->bounce != NULL) {
        copy_out(req, plan->bounce + req->offset_bytes % CLUSTER);
    }
    if (rc != 0) {
        err_copy(&req->err, &rd->err);
    }
    cluster_read_release(rd);
    free(plan->bounce);
    free(plan);
    volume_req_end(req, rc);
}

static struct read_plan *plan_new(struct volume_req *req)
{
    struct read_plan *plan = mem_zalloc(sizeof(*plan));
    uint64_t end = req->offset_bytes + req->length_bytes;

    plan->req = req;
    plan->rd.v = req->volume;
    plan->rd.cluster = req->offset_bytes / CLUSTER;
    plan->rd.count = (uint32_t)((end + CLUSTER - 1) / CLUSTER - plan->rd.cluster);
    return plan;
}

void volume_submit_read(struct volume_req *req)
{
    struct read_plan *plan = plan_new(req);
    bool direct =
        req->iov_count == 1 && req->offset_bytes % CLUSTER == 0 && req->length_bytes % CLUSTER == 0;

    if (!direct) {
        plan->bounce = mem_alloc((size_t)plan->rd.count * CLUSTER);
    }
    plan->rd.data = direct ? req->iov[0].iov_base : plan->bounce;
    cluster_read_start(&plan->rd, on_read);
}

static uint32_t status_flags(const struct cluster_read *rd, uint32_t i)
{
    if (rd->where[i] == IN_JOURNAL) {
        return 0;
    }
    if (rd->where[i] == IS_ZERO) {
        return VOLUME_EXTENT_ZERO;
    }
    return location_has_data(rd->locations[i]) ? 0
           : rd->locations[i] == LOCATION_NONE ? VOLUME_EXTENT_ZERO | VOLUME_EXTENT_HOLE
                                               : VOLUME_EXTENT_ZERO;
}

static void on_status(struct cluster_read *rd, int rc)
{
    struct read_plan *plan = container_of(rd, struct read_plan, rd);
    struct volume_req *req = plan->req;
    uint64_t at = rd->cluster * CLUSTER, end = req->offset_bytes + req->length_bytes;

    req->extent_count = 0;
    for (uint32_t i = 0; rc == 0 && i < rd->count; i++, at += CLUSTER) {
        uint64_t from = at > req->offset_bytes ? at : req->offset_bytes;
        uint64_t to = at + CLUSTER < end ? at + CLUSTER : end;
        uint32_t flags = status_flags(rd, i);

        if (req->extent_count != 0 && plan->extents[req->extent_count - 1].flags == flags) {
            plan->extents[req->extent_count - 1].bytes += to - from;
        } else if (req->extent_count == plan->extents_max) {
            break;
        } else {
            plan->extents[req->extent_count++] =
                (struct volume_extent){.bytes = to - from, .flags = flags};
        }
    }
    if (rc != 0) {
        err_copy(&req->err, &rd->err);
    }
    cluster_read_release(rd);
    free(plan);
    volume_req_end(req, rc);
}

void volume_submit_status(struct volume_req *req)
{
    struct read_plan *plan = plan_new(req);

    if (plan->rd.count > MAP_LOOKUP_CLUSTERS_MAX) {
        plan->rd.count = MAP_LOOKUP_CLUSTERS_MAX; /* an answer may cover less than was asked */
        req->length_bytes = (plan->rd.cluster + plan->rd.count) * CLUSTER - req->offset_bytes;
    }
    plan->extents = req->plan;
    plan->extents_max = (unsigned)req->iov_count;
    cluster_read_start(&plan->rd, on_status);
}
