/* Load generator that reads 4 KiB slices by libalbacore, as a program of somebody else would.
 *
 * Usage: slice_load URI NAMESPACE direct|proxy THREADS SECONDS OBJECT_BYTES OBJECTS
 * Reads at random from the objects that `proxy_load … fill` has put; one read at a time in each
 * thread. "direct" learns every object by one read first, which is not measured; "proxy" leaves all
 * to the proxy. What is read is compared with what was put. Prints one JSON line, with how many
 * reads went which way. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <albacore/albacore.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"

enum { SLICE_BYTES = 4096, THREADS_MAX = 64, LATENCIES_MAX = 1 << 18, NAME_BYTES = 32 };

struct load {
    struct albacore *client;
    const char *ns;
    unsigned threads;
    double seconds;
    uint32_t object_bytes;
    uint32_t objects;
    uint8_t *object;
    uint64_t end_ns;
};

struct reader {
    struct load *load;
    pthread_t thread;
    struct rnd rnd;
    uint64_t done;
    uint64_t errors;
    uint32_t *latency_us; /* LATENCIES_MAX */
};

static bool read_one(const struct load *l, uint32_t object, uint64_t offset)
{
    char name[NAME_BYTES];
    uint8_t data[SLICE_BYTES];
    struct albacore_slice slice = {.offset = offset, .bytes = sizeof(data), .data = data};
    struct albacore_error e;

    snprintf(name, sizeof(name), "object-%07" PRIu32, object);
    if (albacore_read(l->client, l->ns, name, &slice, 1, NULL, &e) != 0) {
        fprintf(stderr, "slice_load: %s\n", e.text);
        return false;
    }
    if (memcmp(data, l->object + offset, sizeof(data)) != 0) {
        fprintf(stderr, "slice_load: %s: not the bytes that were put\n", name);
        return false;
    }
    return true;
}

static void *read_on(void *arg)
{
    struct reader *r = arg;
    const struct load *l = r->load;
    uint64_t start_ns = clock_mono_ns(), now_ns;

    while (start_ns < l->end_ns) {
        uint32_t object = (uint32_t)rnd_below(&r->rnd, l->objects);
        uint64_t offset = rnd_below(&r->rnd, l->object_bytes / SLICE_BYTES) * SLICE_BYTES;

        r->errors += !read_one(l, object, offset);
        now_ns = clock_mono_ns();
        if (r->done < LATENCIES_MAX) {
            r->latency_us[r->done] = (uint32_t)((now_ns - start_ns) / 1000);
        }
        r->done++;
        start_ns = now_ns;
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double own_cpu_seconds(void)
{
    struct rusage u;

    CHECK(getrusage(RUSAGE_SELF, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t print_figures(const struct load *l, struct reader *readers, double seconds,
                              double cpu_s)
{
    struct albacore_counters ways = {.size = sizeof(ways)};
    uint32_t *all = mem_array((size_t)l->threads * LATENCIES_MAX, sizeof(*all));
    uint64_t done = 0, errors = 0;
    size_t n = 0;

    for (unsigned i = 0; i < l->threads; i++) {
        size_t kept = readers[i].done < LATENCIES_MAX ? readers[i].done : LATENCIES_MAX;

        memcpy(all + n, readers[i].latency_us, kept * sizeof(*all));
        n += kept;
        done += readers[i].done;
        errors += readers[i].errors;
    }
    CHECK(albacore_counters(l->client, &ways) == 0 && n > 0);
    qsort(all, n, sizeof(*all), by_value);
    printf("{\"ops\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"seconds\": %.3f, \"ops_per_s\": %.1f, \"p50_us\": %u, \"p99_us\": %u, "
           "\"client_cpu_us_per_op\": %.2f, \"direct_reads\": %" PRIu64
           ", \"direct_round_trips\": %" PRIu64 ", \"proxy_reads\": %" PRIu64 "}\n",
           done, errors, seconds, (double)done / seconds, all[n / 2], all[n * 99 / 100],
           cpu_s * 1e6 / (double)done, ways.direct_reads, ways.direct_round_trips,
           ways.proxy_reads);
    free(all);
    return errors;
}

static uint64_t run(struct load *l)
{
    struct reader readers[THREADS_MAX] = {0};
    double cpu_s = own_cpu_seconds();
    uint64_t start_ns = clock_mono_ns(), errors;

    l->end_ns = start_ns + (uint64_t)(l->seconds * 1e9);
    for (unsigned i = 0; i < l->threads; i++) {
        readers[i].load = l;
        readers[i].rnd = rnd_seed(start_ns + i);
        readers[i].latency_us = mem_array(LATENCIES_MAX, sizeof(*readers[i].latency_us));
        CHECK(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) == 0);
    }
    for (unsigned i = 0; i < l->threads; i++) {
        CHECK(pthread_join(readers[i].thread, NULL) == 0);
    }
    errors = print_figures(l, readers, (double)(clock_mono_ns() - start_ns) / 1e9,
                           own_cpu_seconds() - cpu_s);
    for (unsigned i = 0; i < l->threads; i++) {
        free(readers[i].latency_us);
    }
    return errors;
}

/* As proxy_load makes it. */
static void make_object(struct load *l)
{
    struct rnd rnd = rnd_seed(1);

    l->object = mem_alloc((size_t)l->object_bytes + 8);
    for (uint32_t at = 0; at < l->object_bytes; at += 8) {
        put_u64le(l->object + at, rnd_next(&rnd));
    }
}

int main(int argc, char **argv)
{
    struct albacore_options options = albacore_options_init();
    struct load l = {0};
    struct albacore_error e;
    uint64_t errors = 0;
    bool direct;

    if (argc != 8 || (strcmp(argv[3], "direct") != 0 && strcmp(argv[3], "proxy") != 0)) {
        fputs("usage: slice_load URI NAMESPACE direct|proxy THREADS SECONDS OBJECT_BYTES OBJECTS\n",
              stderr);
        return 2;
    }
    direct = strcmp(argv[3], "direct") == 0;
    l.ns = argv[2];
    l.threads = (unsigned)strtoul(argv[4], NULL, 10);
    l.seconds = strtod(argv[5], NULL);
    l.object_bytes = (uint32_t)strtoul(argv[6], NULL, 10);
    l.objects = (uint32_t)strtoul(argv[7], NULL, 10);
    CHECK(l.threads >= 1 && l.threads <= THREADS_MAX && l.objects >= 1 &&
          l.object_bytes >= SLICE_BYTES);
    options.proxies = (const char *const *)&argv[1];
    options.proxy_count = 1;
    options.flags = direct ? 0 : ALBACORE_PROXY_ONLY;
    if (albacore_connect(&options, &l.client, &e) != 0) {
        fprintf(stderr, "slice_load: %s\n", e.text);
        return 2;
    }
    make_object(&l);
    for (uint32_t i = 0; i < l.objects && direct; i++) {
        errors += !read_one(&l, i, 0);
    }
    errors += run(&l);
    albacore_close(l.client);
    free(l.object);
    return errors == 0 ? 0 : 1;
}
