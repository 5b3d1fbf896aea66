/* How a loop gets its reads done: by the threads of a pool or by io_uring (client/loop/ring.h).
 *
 * Usage: io_load pool|ring buffered|direct BYTES DEPTH SECONDS FILE
 * One loop, DEPTH reads of BYTES at random places of FILE in flight, each followed by the next.
 * Prints one JSON line: operations, latency, and the CPU time of the process per operation. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "loop/io.h"
#include "loop/pool.h"
#include "loop/ring.h"
#include "loop/run.h"

enum { DEPTH_MAX = 128, LATENCIES_MAX = 1 << 22, POOL_THREADS = 8 };

struct load;

struct request {
    struct pool_work work;
    struct ring_read read;
    struct load *load;
    uint8_t *data;
    uint64_t offset;
    uint64_t start_ns;
    ssize_t rc;
};

struct load {
    uv_loop_t loop;
    struct pool *pool; /* NULL: the ring */
    struct ring *ring;
    int fd;
    uint64_t file_bytes;
    uint32_t bytes;
    unsigned depth;
    unsigned busy;
    uint64_t end_ns;
    struct rnd rnd;
    struct request requests[DEPTH_MAX];
    uint64_t done;
    uint32_t *latency_us;
    bool ended;
};

static void die(const char *what, int rc)
{
    fprintf(stderr, "io_load: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void next(struct request *r);

static void finished(struct request *r)
{
    struct load *l = r->load;

    if (r->rc != (ssize_t)l->bytes) {
        die("read", r->rc < 0 ? (int)r->rc : -EIO);
    }
    if (l->done < LATENCIES_MAX) {
        l->latency_us[l->done] = (uint32_t)((clock_mono_ns() - r->start_ns) / 1000);
    }
    l->done++;
    l->busy--;
    next(r);
    l->ended = l->busy == 0;
}

static void run_in_pool(struct pool_work *work)
{
    struct request *r = container_of(work, struct request, work);
    struct iovec iov = {.iov_base = r->data, .iov_len = r->load->bytes};

    r->rc = io_real()->ops->preadv(io_real(), r->load->fd, &iov, 1, r->offset);
}

static void done_in_pool(struct pool_work *work, int rc)
{
    CHECK(rc == 0);
    finished(container_of(work, struct request, work));
}

static void done_in_ring(struct ring_read *read, ssize_t rc)
{
    struct request *r = container_of(read, struct request, read);

    r->rc = rc;
    finished(r);
}

static void next(struct request *r)
{
    struct load *l = r->load;
    int rc;

    r->start_ns = clock_mono_ns();
    if (r->start_ns >= l->end_ns) {
        return;
    }
    l->busy++;
    r->offset = rnd_below(&l->rnd, l->file_bytes / l->bytes) * l->bytes;
    rc = l->pool != NULL ? pool_submit(l->pool, &r->work, POOL_HIGH, run_in_pool, done_in_pool)
                         : ring_read(l->ring, &r->read, l->fd, r->data, l->bytes, r->offset,
                                     POOL_HIGH, done_in_ring);
    CHECK(rc == 0);
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void run(struct load *l, double seconds)
{
    uint64_t start_ns = clock_mono_ns();
    double cpu_before_us = cpu_us();
    double taken_s;
    size_t n;

    l->end_ns = start_ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < l->depth; i++) {
        l->requests[i].load = l;
        l->requests[i].data = aligned_alloc(IO_DIRECT_BYTES, l->bytes);
        CHECK(l->requests[i].data != NULL);
        next(&l->requests[i]);
    }
    loop_run_until(&l->loop, &l->ended);
    taken_s = (double)(clock_mono_ns() - start_ns) / 1e9;
    n = l->done < LATENCIES_MAX ? l->done : LATENCIES_MAX;
    CHECK(n != 0);
    qsort(l->latency_us, n, sizeof l->latency_us[0], by_value);
    printf("{\"ops\": %" PRIu64 ", \"ops_per_s\": %.0f, \"p50_us\": %u, \"p99_us\": %u, "
           "\"cpu_us_per_op\": %.2f}\n",
           l->done, (double)l->done / taken_s, l->latency_us[n / 2], l->latency_us[n * 99 / 100],
           (cpu_us() - cpu_before_us) / (double)l->done);
}

int main(int argc, char **argv)
{
    static struct load l;
    struct stat st;
    int rc;

    if (argc != 7) {
        fprintf(stderr, "usage: io_load pool|ring buffered|direct BYTES DEPTH SECONDS FILE\n");
        return 2;
    }
    l.bytes = (uint32_t)strtoul(argv[3], NULL, 10);
    l.depth = (unsigned)strtoul(argv[4], NULL, 10);
    l.rnd = rnd_seed(clock_mono_ns());
    l.latency_us = mem_array(LATENCIES_MAX, sizeof l.latency_us[0]);
    l.fd = open(argv[6], O_RDONLY | O_CLOEXEC | (strcmp(argv[2], "direct") == 0 ? O_DIRECT : 0));
    if (l.fd < 0 || fstat(l.fd, &st) != 0) {
        die(argv[6], -errno);
    }
    l.file_bytes = (uint64_t)st.st_size;
    if (l.bytes == 0 || l.bytes % IO_DIRECT_BYTES != 0 || l.depth == 0 || l.depth > DEPTH_MAX ||
        l.file_bytes < l.bytes) {
        fprintf(stderr, "io_load: bad sizes\n");
        return 2;
    }
    CHECK(uv_loop_init(&l.loop) == 0);
    rc = strcmp(argv[1], "pool") == 0 ? pool_new(&l.loop, "read", POOL_THREADS, DEPTH_MAX, &l.pool)
                                      : ring_new(&l.loop, DEPTH_MAX, DEPTH_MAX, &l.ring);
    if (rc != 0) {
        die(argv[1], rc);
    }
    run(&l, strtod(argv[5], NULL));
    return 0;
}
