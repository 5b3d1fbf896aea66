#include "lib/volume_double.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/mem.h"

struct volume {
    uv_loop_t *loop;
    char *name;
    uint64_t size_bytes;
    bool readonly;
    uint8_t *data;
    uint8_t *written; /* one byte per cluster */
    struct list reqs;
    unsigned in_flight;
    unsigned peak;
    unsigned reqs_max;
    unsigned last_flags;
    bool held;
    bool reverse;
    uv_check_t check;
    uv_idle_t idle;
    int handles_open;
    struct volume_stats stats;

    unsigned fail_ops; /* injected fault */
    int fail_rc;
    bool fail_at_once;
    unsigned fail_count;
    const char *fail_message;
};

/* ---- what the tests turn ---- */

static void on_check(uv_check_t *check);

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* The idle handle keeps the loop from sleeping while requests wait for on_check(). */
static void wake(struct volume *v)
{
    if (!v->held && !list_empty(&v->reqs)) {
        uv_idle_start(&v->idle, on_idle);
    }
}

struct volume *volume_double_new(uv_loop_t *loop, const char *name, uint64_t size_bytes,
                                 bool readonly)
{
    struct volume *v = mem_zalloc(sizeof(*v));

    v->loop = loop;
    v->name = mem_strdup(name);
    v->size_bytes = size_bytes;
    v->readonly = readonly;
    v->data = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(v->data != MAP_FAILED);
    v->written = mem_zalloc(size_bytes / VOLUME_CLUSTER_BYTES);
    v->reqs_max = VOLUME_REQS_MAX;
    list_init(&v->reqs);
    uv_check_init(loop, &v->check);
    uv_idle_init(loop, &v->idle);
    v->check.data = v;
    v->idle.data = v;
    uv_check_start(&v->check, on_check);
    uv_unref((uv_handle_t *)&v->check);
    return v;
}

static void on_closed(uv_handle_t *handle)
{
    struct volume *v = handle->data;

    if (--v->handles_open == 0) {
        munmap(v->data, v->size_bytes);
        free(v->written);
        free(v->name);
        free(v);
    }
}

void volume_double_free(struct volume *v)
{
    CHECK(v->in_flight == 0);
    v->handles_open = 2;
    uv_close((uv_handle_t *)&v->check, on_closed);
    uv_close((uv_handle_t *)&v->idle, on_closed);
}

void volume_double_hold(struct volume *v, bool hold)
{
    v->held = hold;
    wake(v);
}

void volume_double_reverse(struct volume *v, bool reverse)
{
    v->reverse = reverse;
}

void volume_double_fail(struct volume *v, unsigned ops, int rc, bool at_once, unsigned count,
                        const char *message)
{
    v->fail_ops = ops;
    v->fail_rc = rc;
    v->fail_at_once = at_once;
    v->fail_count = count;
    v->fail_message = message;
}

void volume_double_reqs_max(struct volume *v, unsigned reqs_max)
{
    v->reqs_max = reqs_max;
}

uint8_t *volume_double_data(struct volume *v)
{
    return v->data;
}

unsigned volume_double_in_flight(const struct volume *v)
{
    return v->in_flight;
}

unsigned volume_double_peak(const struct volume *v)
{
    return v->peak;
}

unsigned volume_double_last_flags(const struct volume *v)
{
    return v->last_flags;
}

/* ---- execution ---- */

static void mark(struct volume *v, uint64_t offset, uint64_t bytes, uint8_t written)
{
    uint64_t begin = offset / VOLUME_CLUSTER_BYTES;
    uint64_t end = (offset + bytes + VOLUME_CLUSTER_BYTES - 1) / VOLUME_CLUSTER_BYTES;

    memset(v->written + begin, written, end - begin);
}

static void zero(struct volume *v, uint64_t offset, uint64_t bytes)
{
    uint64_t begin = (offset + VOLUME_CLUSTER_BYTES - 1) / VOLUME_CLUSTER_BYTES;
    uint64_t end = (offset + bytes) / VOLUME_CLUSTER_BYTES;

    memset(v->data + offset, 0, bytes < 65536 ? bytes : 0);
    if (bytes < 65536) {
        return;
    }
    if (begin < end) {
        uint64_t whole = begin * VOLUME_CLUSTER_BYTES;
        uint64_t whole_end = end * VOLUME_CLUSTER_BYTES;

        memset(v->data + offset, 0, whole - offset);
        memset(v->data + whole_end, 0, offset + bytes - whole_end);
        CHECK(madvise(v->data + whole, whole_end - whole, MADV_DONTNEED) == 0);
        mark(v, whole, whole_end - whole, 0);
    }
}

static void copy(struct volume *v, const struct volume_req *req, bool in)
{
    uint8_t *at = v->data + req->offset_bytes;

    for (int i = 0; i < req->iov_count; i++) {
        if (in) {
            memcpy(at, req->iov[i].iov_base, req->iov[i].iov_len);
        } else {
            memcpy(req->iov[i].iov_base, at, req->iov[i].iov_len);
        }
        at += req->iov[i].iov_len;
    }
}

static void fill_extents(struct volume *v, struct volume_req *req)
{
    struct volume_extent *extents = req->plan;
    unsigned extents_max = (unsigned)req->iov_count;
    uint64_t at = req->offset_bytes;
    uint64_t end = at + req->length_bytes;

    req->extent_count = 0;
    while (at < end) {
        uint64_t next = (at / VOLUME_CLUSTER_BYTES + 1) * VOLUME_CLUSTER_BYTES;
        uint64_t bytes = (next < end ? next : end) - at;
        uint32_t flags = v->written[at / VOLUME_CLUSTER_BYTES] != 0
                             ? 0
                             : VOLUME_EXTENT_ZERO | VOLUME_EXTENT_HOLE;

        if (req->extent_count != 0 && extents[req->extent_count - 1].flags == flags) {
            extents[req->extent_count - 1].bytes += bytes;
        } else if (req->extent_count == extents_max) {
            return;
        } else {
            extents[req->extent_count++] = (struct volume_extent){.bytes = bytes, .flags = flags};
        }
        at += bytes;
    }
}

static void execute(struct volume *v, struct volume_req *req)
{
    switch (req->op) {
    case VOLUME_OP_READ:
        copy(v, req, false);
        v->stats.reads++;
        break;
    case VOLUME_OP_WRITE:
        copy(v, req, true);
        mark(v, req->offset_bytes, req->length_bytes, 1);
        v->stats.writes++;
        break;
    case VOLUME_OP_FLUSH:
        v->stats.flushes++;
        break;
    case VOLUME_OP_TRIM:
        zero(v, req->offset_bytes, req->length_bytes);
        v->stats.trims++;
        break;
    case VOLUME_OP_ZEROES:
        zero(v, req->offset_bytes, req->length_bytes);
        v->stats.zeroes++;
        break;
    case VOLUME_OP_STATUS:
        fill_extents(v, req);
        break;
    default:
        CHECK(false);
    }
}

static void on_check(uv_check_t *check)
{
    struct volume *v = check->data;
    struct list now;

    if (v->held) {
        uv_idle_stop(&v->idle);
        return;
    }
    list_init(&now);
    list_splice(&now, &v->reqs);
    while (!list_empty(&now)) {
        struct list *link = v->reverse ? now.prev : now.next;
        struct volume_req *req = container_of(link, struct volume_req, link);

        list_remove(link);
        if (req->rc == 0) {
            execute(v, req);
        }
        v->in_flight--;
        req->cb(req, req->rc);
    }
    if (list_empty(&v->reqs)) {
        uv_idle_stop(&v->idle);
    }
}

/* ---- volumedriver/volume.h ---- */

static bool fails_now(struct volume *v, struct volume_req *req, enum volume_op op)
{
    if (v->fail_count == 0 || (v->fail_ops & 1U << op) == 0) {
        return false;
    }
    v->fail_count--;
    err_say(&req->err, v->fail_rc, "%s", v->fail_message);
    return true;
}

static int submit(struct volume *v, struct volume_req *req, enum volume_op op,
                  uint64_t offset_bytes, uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    bool writes = op == VOLUME_OP_WRITE || op == VOLUME_OP_TRIM || op == VOLUME_OP_ZEROES;
    bool fails;

    if (v->in_flight >= v->reqs_max) {
        return err_set(&req->err, ERR_BUSY, "volume %s", v->name);
    }
    if (offset_bytes % VOLUME_SECTOR_BYTES != 0 || length_bytes % VOLUME_SECTOR_BYTES != 0 ||
        offset_bytes > v->size_bytes || length_bytes > v->size_bytes - offset_bytes) {
        return err_set(&req->err, -EINVAL, "volume %s", v->name);
    }
    if (v->readonly && (writes || op == VOLUME_OP_FLUSH)) {
        return err_set(&req->err, -EROFS, "volume %s", v->name);
    }
    fails = fails_now(v, req, op);
    if (fails && v->fail_at_once) {
        return v->fail_rc;
    }
    req->volume = v;
    req->op = op;
    req->rc = fails ? v->fail_rc : 0;
    req->offset_bytes = offset_bytes;
    req->length_bytes = length_bytes;
    req->cb = cb;
    if (flags != 0) {
        v->last_flags = flags;
    }
    list_push(&v->reqs, &req->link);
    v->in_flight++;
    v->peak = v->in_flight > v->peak ? v->in_flight : v->peak;
    wake(v);
    return 0;
}

static int submit_iov(struct volume *v, struct volume_req *req, enum volume_op op,
                      uint64_t offset_bytes, const struct iovec *iov, int iov_count, unsigned flags,
                      volume_cb cb)
{
    uint64_t bytes = 0;

    for (int i = 0; i < iov_count; i++) {
        bytes += iov[i].iov_len;
    }
    req->iov = iov;
    req->iov_count = iov_count;
    return submit(v, req, op, offset_bytes, bytes, flags, cb);
}

int volume_read(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                const struct iovec *iov, int iov_count, volume_cb cb)
{
    return submit_iov(v, req, VOLUME_OP_READ, offset_bytes, iov, iov_count, 0, cb);
}

int volume_write(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                 const struct iovec *iov, int iov_count, unsigned flags, volume_cb cb)
{
    return submit_iov(v, req, VOLUME_OP_WRITE, offset_bytes, iov, iov_count, flags, cb);
}

int volume_flush(struct volume *v, struct volume_req *req, volume_cb cb)
{
    return submit(v, req, VOLUME_OP_FLUSH, 0, 0, 0, cb);
}

int volume_trim(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    return submit(v, req, VOLUME_OP_TRIM, offset_bytes, length_bytes, flags, cb);
}

int volume_write_zeroes(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    return submit(v, req, VOLUME_OP_ZEROES, offset_bytes, length_bytes, flags, cb);
}

int volume_block_status(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, struct volume_extent *extents, unsigned extents_max,
                        volume_cb cb)
{
    req->plan = extents;
    req->iov_count = (int)extents_max;
    return submit(v, req, VOLUME_OP_STATUS, offset_bytes, length_bytes, 0, cb);
}

uint64_t volume_size_bytes(const struct volume *v)
{
    return v->size_bytes;
}

bool volume_is_readonly(const struct volume *v)
{
    return v->readonly;
}

enum volume_state volume_state(const struct volume *v)
{
    (void)v;
    return VOLUME_RUNNING;
}

const char *volume_name(const struct volume *v)
{
    return v->name;
}

void volume_stats(const struct volume *v, struct volume_stats *ret_stats)
{
    *ret_stats = v->stats;
}
