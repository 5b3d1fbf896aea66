/* The journal alone on a real disk.
 *
 * Usage: journal_load open DIR GIB KIB       fill a ring with records of KIB, then open it: all of
 * it live, and again when all but the newest was given back journal_load sync DIR SECONDS       one
 * 4 KiB write and a flush, one after the other journal_load burst DIR SECONDS      4 KiB writes, 32
 * at a time, given back 4096 later,
 *                                            and those 4096 read back
 *
 * DIR is made if it is missing; what an earlier run left in it is deleted first. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "loop/run.h"
#include "volumedriver/journal.h"

enum { CLUSTER = 4096, QUEUE = 32, KEPT = 4096 };

struct load {
    uv_loop_t loop;
    struct journal *j;
    const char *dir;
    uint64_t journal_bytes;
    uint8_t volume[16];
    uint64_t seq, ended, limit;
    uint64_t until_ns;
    uint8_t *data;
    size_t bytes;
    struct rnd rnd;
    struct list kept; /* struct record, oldest first */
    unsigned kept_count, kept_max, in_flight;
    bool flushes, done;
};

struct write {
    struct load *l;
    struct journal_append append;
    struct journal_flush flush;
    struct iovec iov;
};

static void submit(struct load *l, struct write *w);

static void write_ended(struct load *l, struct write *w)
{
    l->ended++;
    if ((l->limit != 0 && l->ended + l->in_flight > l->limit) ||
        (l->until_ns != 0 && clock_mono_ns() >= l->until_ns)) {
        free(w);
        l->done = --l->in_flight == 0;
    } else {
        submit(l, w);
    }
}

static void on_flush(struct journal_flush *flush, int rc)
{
    struct write *w = container_of(flush, struct write, flush);

    CHECK(rc == 0);
    write_ended(w->l, w);
}

static void on_append(struct journal_append *append, int rc)
{
    struct write *w = container_of(append, struct write, append);
    struct load *l = w->l;

    CHECK(rc == 0);
    list_push(&l->kept, &append->record->link);
    if (++l->kept_count > l->kept_max) {
        l->kept_count--;
        journal_record_drop(l->j, container_of(list_pop(&l->kept), struct record, link));
    }
    if (l->flushes) {
        journal_flush(l->j, &w->flush, append->lsn, on_flush);
    } else {
        write_ended(l, w);
    }
}

static void submit(struct load *l, struct write *w)
{
    uint32_t count = (uint32_t)(l->bytes / CLUSTER);

    w->iov = (struct iovec){.iov_base = l->data, .iov_len = l->bytes};
    w->append = (struct journal_append){
        .volume = l->volume,
        .seq = ++l->seq,
        .epoch = 1,
        .op = FRAME_OP_WRITE,
        .record = record_new(FRAME_OP_WRITE, rnd_below(&l->rnd, 1 << 20), count),
        .iov = &w->iov};
    journal_append(l->j, &w->append, on_append);
}

static void run(struct load *l, unsigned queue)
{
    l->done = false;
    l->ended = 0;
    for (l->in_flight = 0; l->in_flight < queue; l->in_flight++) {
        struct write *w = mem_zalloc(sizeof(*w));

        w->l = l;
        submit(l, w);
    }
    loop_run_until(&l->loop, &l->done);
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(clock_mono_ns() - start_ns) / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t switches(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)u.ru_nvcsw;
}

static void open_journal(struct load *l, const char *what)
{
    struct journal_options o = {
        .loop = &l->loop, .io = io_real(), .dir = l->dir, .journal_bytes = l->journal_bytes};
    uint64_t start_ns = clock_mono_ns();
    double cpu = cpu_seconds();
    struct journal_stats stats;
    struct err e;

    if (journal_open(&o, &l->j, &e) != 0) {
        fprintf(stderr, "journal_load: %s\n", e.msg);
        exit(1);
    }
    journal_stats(l->j, &stats);
    printf("open, %-22s %7.3f s, %6.3f s CPU, %" PRIu64 " frames, %" PRIu64 " records\n", what,
           seconds_since(start_ns), cpu_seconds() - cpu, stats.replayed_frames,
           stats.replayed_records);
}

static void on_closed(void *ctx)
{
    ((struct load *)ctx)->done = true;
}

static void close_journal(struct load *l, unsigned given_back)
{
    struct list *link;

    while ((link = list_pop(&l->kept)) != NULL) {
        struct record *record = container_of(link, struct record, link);

        l->kept_count--;
        if (given_back != 0) {
            given_back--;
            journal_record_drop(l->j, record);
        } else {
            journal_record_abandon(l->j, record);
        }
    }
    l->done = false;
    journal_close(l->j, on_closed, l);
    loop_run_until(&l->loop, &l->done);
}

/* Two segments are the reserve; one more, and what a frame's header takes. */
static void bench_open(struct load *l, uint64_t gib, uint64_t kib)
{
    uint64_t records;

    l->journal_bytes = gib << 30;
    l->bytes = (size_t)kib << 10;
    l->kept_max = UINT32_MAX;
    records = (l->journal_bytes - 5 * JOURNAL_SEGMENT_BYTES_DEFAULT) / (l->bytes + CLUSTER);
    open_journal(l, "a new one");
    l->limit = records;
    run(l, kib < 64 ? 1024 : 8);
    close_journal(l, 0);
    open_journal(l, "all live");
    close_journal(l, 0);
    open_journal(l, "all live, again");
    close_journal(l, 0);
}

/* All but the newest records is given back before it closes. */
static void bench_open_released(struct load *l)
{
    l->kept_max = 16;
    l->seq = 1;
    l->limit = l->limit / 2;
    open_journal(l, "before more writes");
    run(l, 8);
    close_journal(l, 0);
    open_journal(l, "a few live");
    close_journal(l, 0);
}

struct reading {
    struct journal_read read;
    struct load *l;
};

static void on_read(struct journal_read *read, int rc)
{
    CHECK(rc == 0);
    container_of(read, struct reading, read)->l->done = true;
}

static int by_cluster(const void *a, const void *b)
{
    const struct journal_piece *x = a, *y = b;

    return x->record->cluster < y->record->cluster ? -1 : x->record->cluster > y->record->cluster;
}

static void forget_cached(const struct load *l)
{
    char *path = mem_printf("%s/journal", l->dir);
    int fd = open(path, O_RDWR);

    CHECK(fd >= 0 && fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    close(fd);
    free(path);
}

static void read_back(struct load *l, struct reading *r, const char *what, unsigned rounds)
{
    uint64_t start_ns = clock_mono_ns();
    double cpu = cpu_seconds(), n = (double)r->read.piece_count * rounds;

    while (rounds-- != 0) {
        l->done = false;
        CHECK(journal_read(l->j, &r->read, on_read) == 0);
        loop_run_until(&l->loop, &l->done);
    }
    printf("%" PRIu32 " of them read back, %-10s %7.2f us, %5.2f us CPU each\n",
           r->read.piece_count, what, seconds_since(start_ns) * 1e6 / n,
           (cpu_seconds() - cpu) * 1e6 / n);
}

/* What is kept, in the order of a SCO. */
static void bench_read(struct load *l)
{
    struct journal_piece *pieces = mem_array(l->kept_count + 1, sizeof(*pieces));
    uint8_t *image = mem_aligned(CLUSTER, (size_t)l->kept_count * CLUSTER);
    struct reading r = {.l = l, .read = {.pieces = pieces, .piece_count = l->kept_count}};
    uint32_t n = 0;

    LIST_FOR_EACH (it, &l->kept) {
        pieces[n++] = (struct journal_piece){
            .record = container_of(it, struct record, link), .count = 1, .data = image};
    }
    qsort(pieces, n, sizeof(*pieces), by_cluster);
    for (uint32_t i = 0; i < n; i++) {
        pieces[i].data = image + (size_t)i * CLUSTER;
    }
    read_back(l, &r, "cached", 50);
    forget_cached(l);
    read_back(l, &r, "from disk", 1);
    free(pieces);
    free(image);
}

static void bench_rate(struct load *l, bool flushes, unsigned queue, uint64_t seconds)
{
    uint64_t start_ns, switched;
    struct journal_stats before, after;
    double cpu, took;

    l->kept_max = KEPT;
    l->bytes = CLUSTER;
    l->flushes = flushes;
    open_journal(l, "a new one");
    l->limit = 20000;
    run(l, queue); /* the ring grows */
    l->limit = 0;
    journal_stats(l->j, &before);
    start_ns = clock_mono_ns();
    cpu = cpu_seconds();
    switched = switches();
    l->until_ns = start_ns + seconds * UINT64_C(1000000000);
    run(l, queue);
    took = seconds_since(start_ns);
    journal_stats(l->j, &after);
    printf("%-28s %9.0f writes/s, %6.1f us CPU, %5.2f waits, %6.3f frames, %6.3f syncs a write\n",
           flushes ? "4 KiB write + flush, QD1" : "4 KiB writes, QD32", (double)l->ended / took,
           (cpu_seconds() - cpu) * 1e6 / (double)l->ended,
           (double)(switches() - switched) / (double)l->ended,
           (double)(after.frames - before.frames) / (double)l->ended,
           (double)(after.syncs - before.syncs) / (double)l->ended);
    if (!flushes) {
        bench_read(l);
    }
    close_journal(l, l->kept_count);
}

static void clean(const char *dir)
{
    static const char *const names[] = {"journal", "journal.new", "journal.lock"};

    mkdir(dir, 0755);
    for (unsigned i = 0; i < 3; i++) {
        char *path = mem_printf("%s/%s", dir, names[i]);

        unlink(path);
        free(path);
    }
}

int main(int argc, char **argv)
{
    struct load l = {.volume = "journal-load-01", .rnd = rnd_seed(1)};
    uint64_t number = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;

    if (number == 0 || (strcmp(argv[1], "open") == 0 && argc != 5)) {
        fprintf(stderr, "usage: journal_load open DIR GIB KIB | sync|burst DIR SECONDS\n");
        return 2;
    }
    log_set_level(LOG_NONE);
    list_init(&l.kept);
    l.dir = argv[2];
    clean(l.dir);
    l.data = mem_aligned(CLUSTER, 1 << 20);
    for (size_t i = 0; i < 1 << 20; i++) {
        l.data[i] = (uint8_t)rnd_next(&l.rnd);
    }
    CHECK(uv_loop_init(&l.loop) == 0);
    if (strcmp(argv[1], "open") == 0) {
        bench_open(&l, number, strtoull(argv[4], NULL, 10));
        clean(l.dir);
        bench_open_released(&l);
    } else {
        bool flushes = strcmp(argv[1], "sync") == 0;

        bench_rate(&l, flushes, flushes ? 1 : QUEUE, number);
    }
    uv_run(&l.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&l.loop) == 0);
    clean(l.dir);
    free(l.data);
    return 0;
}
