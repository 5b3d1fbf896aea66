/* A read goes: ring_read -> high or low -> (on_prepare) submission queue -> kernel -> completion
 * queue -> (on_ready) done. A Low one is in low_begun while the kernel has it.
 *
 * The kernel shares both queues as memory: we move the tail of one and the head of the other. The
 * bare system calls are used, of which there are two. */
#include "loop/ring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

typedef _Atomic unsigned ring_index; /* shared with the kernel */

struct mapping {
    uint8_t *data;
    size_t bytes;
};

struct ring {
    uv_poll_t ready; /* the completion queue is not empty */
    uv_prepare_t submit;
    uv_async_t wake; /* `ended` is not empty */
    uv_timer_t look; /* for Low reads that are held back while nothing else happens */
    int fd;
    unsigned depth, low_max;
    unsigned queue_max, queued;
    struct list high, low; /* wait */
    struct list low_begun; /* oldest first */
    struct list ended;     /* without the kernel: their `done` is for the next turn */
    unsigned high_streak;  /* High reads begun since the last Low one, or since Low was empty */
    unsigned running, low_running;
    uint64_t high_until_ms; /* High reads are recent until then, though none may run */
    unsigned pushed;        /* in the submission queue, the kernel was not told */

    struct mapping sq, cq, sqes;
    ring_index *sq_tail, *cq_head, *cq_tail;
    unsigned *sq_array;
    unsigned sq_mask, cq_mask;
    const struct io_uring_cqe *cqes;

    unsigned handles_open;
    ring_close_cb close_cb;
    void *close_ctx;
};

/* ---- the memory ---- */

static int map(struct ring *ring, struct mapping *m, size_t bytes, off_t what)
{
    void *data =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, what);

    if (data == MAP_FAILED) {
        return -errno;
    }
    *m = (struct mapping){.data = data, .bytes = bytes};
    return 0;
}

static void unmap(struct mapping *m)
{
    if (m->data != NULL) {
        munmap(m->data, m->bytes);
    }
}

static void ring_free(struct ring *ring)
{
    unmap(&ring->sq);
    unmap(&ring->cq);
    unmap(&ring->sqes);
    if (ring->fd >= 0) {
        close(ring->fd);
    }
    free(ring);
}

static int ring_map(struct ring *ring, const struct io_uring_params *p)
{
    size_t sq_bytes = p->sq_off.array + p->sq_entries * sizeof(unsigned);
    size_t cq_bytes = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    int rc = map(ring, &ring->sq, sq_bytes, IORING_OFF_SQ_RING);

    rc = rc == 0 ? map(ring, &ring->cq, cq_bytes, IORING_OFF_CQ_RING) : rc;
    rc = rc == 0
             ? map(ring, &ring->sqes, p->sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES)
             : rc;
    if (rc != 0) {
        return rc;
    }
    ring->sq_tail = (ring_index *)(void *)(ring->sq.data + p->sq_off.tail);
    ring->sq_array = (unsigned *)(void *)(ring->sq.data + p->sq_off.array);
    ring->sq_mask = p->sq_entries - 1;
    ring->cq_head = (ring_index *)(void *)(ring->cq.data + p->cq_off.head);
    ring->cq_tail = (ring_index *)(void *)(ring->cq.data + p->cq_off.tail);
    ring->cq_mask = p->cq_entries - 1;
    ring->cqes = (const struct io_uring_cqe *)(const void *)(ring->cq.data + p->cq_off.cqes);
    return 0;
}

static struct io_uring_sqe *sqe_at(struct ring *ring, unsigned index)
{
    return &((struct io_uring_sqe *)(void *)ring->sqes.data)[index & ring->sq_mask];
}

static struct ring_read *read_of(uint64_t user_data)
{
    return (struct ring_read *)(uintptr_t)user_data;
}

/* ---- submission ---- */

static bool high_comes_and_goes(const struct ring *ring)
{
    return ring->running != ring->low_running || uv_now(ring->ready.loop) < ring->high_until_ms;
}

/* As many Low reads as may be beside High ones have begun of late. */
static bool low_is_lively(const struct ring *ring)
{
    uint64_t now_ms = uv_now(ring->ready.loop);
    const struct list *link = ring->low_begun.prev;
    unsigned count = 0;

    for (; link != &ring->low_begun && count < RING_LOW_BESIDE_HIGH; link = link->prev) {
        if (container_of(link, const struct ring_read, link)->begun_ms + RING_LOW_HANGS_MS <=
            now_ms) {
            return false;
        }
        count++;
    }
    return count == RING_LOW_BESIDE_HIGH;
}

static bool low_may_begin(const struct ring *ring)
{
    return !list_empty(&ring->low) && ring->low_running < ring->low_max &&
           !(high_comes_and_goes(ring) && low_is_lively(ring));
}

/* By the rules in ring.h, or NULL. */
static struct ring_read *take(struct ring *ring)
{
    bool low = low_may_begin(ring);
    struct list *link;

    if (ring->running == ring->depth) {
        return NULL;
    }
    if (low && (list_empty(&ring->high) || ring->high_streak >= POOL_HIGH_BURST)) {
        ring->high_streak = 0;
        link = list_pop(&ring->low);
    } else {
        link = list_pop(&ring->high);
        ring->high_streak = low ? ring->high_streak + 1 : 0;
    }
    return link != NULL ? container_of(link, struct ring_read, link) : NULL;
}

static void push(struct ring *ring, struct ring_read *r)
{
    unsigned tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed);

    *sqe_at(ring, tail) = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                                .fd = r->fd,
                                                .off = r->offset,
                                                .addr = (uintptr_t)r->data,
                                                .len = r->bytes,
                                                .user_data = (uintptr_t)r};
    ring->sq_array[tail & ring->sq_mask] = tail & ring->sq_mask;
    atomic_store_explicit(ring->sq_tail, tail + 1, memory_order_release);
    ring->pushed++;
    ring->running++;
    if (r->priority == POOL_LOW) {
        r->begun_ms = uv_now(ring->ready.loop);
        list_push(&ring->low_begun, &r->link);
        ring->low_running++;
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ring *ring = handle->data;
    ring_close_cb cb = ring->close_cb;
    void *ctx = ring->close_ctx;

    if (--ring->handles_open == 0) {
        ring_free(ring);
        cb(ctx);
    }
}

/* An idle ring does not keep the loop running; a closing one ends. */
static void settle(struct ring *ring)
{
    if (ring->running + ring->queued != 0 || !list_empty(&ring->ended) ||
        uv_is_closing((uv_handle_t *)&ring->ready)) {
        return;
    }
    if (ring->close_cb == NULL) {
        uv_unref((uv_handle_t *)&ring->ready);
    } else {
        ring->handles_open = 4;
        uv_close((uv_handle_t *)&ring->ready, on_handle_closed);
        uv_close((uv_handle_t *)&ring->submit, on_handle_closed);
        uv_close((uv_handle_t *)&ring->wake, on_handle_closed);
        uv_close((uv_handle_t *)&ring->look, on_handle_closed);
    }
}

static void leave(struct ring *ring, struct ring_read *r)
{
    ring->running--;
    if (r->priority == POOL_LOW) {
        list_remove(&r->link);
        ring->low_running--;
    } else {
        ring->high_until_ms = uv_now(ring->ready.loop) + RING_HIGH_RECENT_MS;
    }
}

/* Where the loop might go to sleep behind us, or in the caller's own call. */
static void end_later(struct ring *ring, struct ring_read *r, int rc)
{
    r->rc = rc;
    list_push(&ring->ended, &r->link);
    CHECK(uv_async_send(&ring->wake) == 0);
}

static void on_wake(uv_async_t *wake)
{
    struct ring *ring = container_of(wake, struct ring, wake);
    struct list *link;

    while ((link = list_pop(&ring->ended)) != NULL) {
        struct ring_read *r = container_of(link, struct ring_read, link);

        r->done(r, r->rc);
    }
    settle(ring);
}

/* The kernel takes no more, for want of memory: those are for the caller's pool. */
static void take_back(struct ring *ring)
{
    unsigned tail = atomic_load_explicit(ring->sq_tail, memory_order_relaxed) - ring->pushed;

    for (unsigned i = 0; i < ring->pushed; i++) {
        struct ring_read *r = read_of(sqe_at(ring, tail + i)->user_data);

        leave(ring, r);
        end_later(ring, r, -EAGAIN);
    }
    atomic_store_explicit(ring->sq_tail, tail, memory_order_release);
    ring->pushed = 0;
}

/* The loop turns, and on_prepare() looks. */
static void on_look(uv_timer_t *look)
{
    (void)look;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct ring *ring = container_of(prepare, struct ring, submit);
    struct ring_read *r;

    while ((r = take(ring)) != NULL) {
        ring->queued--;
        push(ring, r);
    }
    while (ring->pushed != 0) {
        long n = syscall(SYS_io_uring_enter, ring->fd, ring->pushed, 0, 0, NULL, 0);

        if (n > 0) {
            ring->pushed -= (unsigned)n;
        } else if (n == 0 || errno != EINTR) {
            take_back(ring);
        }
    }
    if (!list_empty(&ring->low) && !uv_is_active((uv_handle_t *)&ring->look)) {
        CHECK(uv_timer_start(&ring->look, on_look, RING_HIGH_RECENT_MS, 0) == 0);
    }
    settle(ring);
}

/* ---- completion ---- */

static void on_ready(uv_poll_t *ready, int status, int events)
{
    struct ring *ring = container_of(ready, struct ring, ready);
    unsigned head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);

    (void)status;
    (void)events;
    while (head != atomic_load_explicit(ring->cq_tail, memory_order_acquire)) {
        struct io_uring_cqe done = ring->cqes[head & ring->cq_mask];

        head++;
        atomic_store_explicit(ring->cq_head, head, memory_order_release);
        leave(ring, read_of(done.user_data));
        read_of(done.user_data)->done(read_of(done.user_data), done.res);
    }
    settle(ring);
}

/* ---- life ---- */

int ring_new(uv_loop_t *loop, unsigned depth, unsigned queue_max, struct ring **ret_ring)
{
    struct ring *ring = mem_zalloc(sizeof *ring);
    struct io_uring_params p = {.flags = IORING_SETUP_COOP_TASKRUN};
    int rc;

    CHECK(depth > 0 && depth <= RING_DEPTH_MAX && queue_max > 0);
    *ret_ring = NULL;
    ring->depth = depth;
    ring->low_max = depth < RING_LOW_SHARE ? 1 : depth / RING_LOW_SHARE;
    ring->queue_max = queue_max;
    list_init(&ring->high);
    list_init(&ring->low);
    list_init(&ring->low_begun);
    list_init(&ring->ended);
    ring->fd = (int)syscall(SYS_io_uring_setup, depth, &p);
    if (ring->fd < 0) {
        rc = -errno;
    } else {
        rc = ring_map(ring, &p);
        rc = rc == 0 ? uv_poll_init(loop, &ring->ready, ring->fd) : rc;
    }
    if (rc != 0) {
        ring_free(ring);
        return rc;
    }
    CHECK(uv_async_init(loop, &ring->wake, on_wake) == 0);
    CHECK(uv_poll_start(&ring->ready, UV_READABLE, on_ready) == 0);
    CHECK(uv_timer_init(loop, &ring->look) == 0);
    CHECK(uv_prepare_init(loop, &ring->submit) == 0);
    CHECK(uv_prepare_start(&ring->submit, on_prepare) == 0);
    ring->ready.data = ring;
    ring->submit.data = ring;
    ring->wake.data = ring;
    ring->look.data = ring;
    uv_unref((uv_handle_t *)&ring->ready);
    uv_unref((uv_handle_t *)&ring->submit);
    uv_unref((uv_handle_t *)&ring->wake);
    uv_unref((uv_handle_t *)&ring->look);
    *ret_ring = ring;
    return 0;
}

unsigned ring_room(const struct ring *ring)
{
    return ring->queue_max - ring->queued;
}

int ring_read(struct ring *ring, struct ring_read *read, int fd, void *data, uint32_t bytes,
              uint64_t offset, enum pool_priority priority, ring_done_cb done)
{
    CHECK(ring->close_cb == NULL && fd >= 0);
    if (ring->queued == ring->queue_max) {
        return ERR_BUSY;
    }
    *read = (struct ring_read){.fd = fd,
                               .bytes = bytes,
                               .data = data,
                               .offset = offset,
                               .priority = priority,
                               .done = done};
    uv_ref((uv_handle_t *)&ring->ready);
    ring->queued++;
    list_push(priority == POOL_HIGH ? &ring->high : &ring->low, &read->link);
    return 0;
}

static void cancel_all(struct ring *ring, struct list *waiting)
{
    struct list *link;

    while ((link = list_pop(waiting)) != NULL) {
        ring->queued--;
        end_later(ring, container_of(link, struct ring_read, link), ERR_CANCELED);
    }
}

void ring_close(struct ring *ring, ring_close_cb cb, void *ctx)
{
    CHECK(ring->close_cb == NULL && cb != NULL);
    ring->close_cb = cb;
    ring->close_ctx = ctx;
    uv_ref((uv_handle_t *)&ring->ready);
    cancel_all(ring, &ring->high);
    cancel_all(ring, &ring->low);
    CHECK(uv_async_send(&ring->wake) == 0); /* when nothing was in flight */
}
