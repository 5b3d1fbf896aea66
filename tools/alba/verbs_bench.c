/* Verbs that measure one ASD, or one disk as a file system shows it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alba/bench.h"
#include "alba/output.h"
#include "alba/size.h"
#include "alba/verb.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

enum { SCENARIOS_MAX = 32, BLOB_BYTES_MAX = 64 * 1048576, NAME_BYTES_MAX = 32 };

static int take_size(struct cli *cli, uint64_t max, uint32_t *ret_bytes)
{
    const char *text = cli_option(cli, "size");
    uint64_t bytes = 0;
    int rc = size_parse(text, &bytes, &cli->err);

    if (rc == 0 && bytes > max) {
        rc = err_say(&cli->err, -EINVAL, "--size=%s: at most %llu MiB", text,
                     (unsigned long long)(max >> 20));
    }
    *ret_bytes = (uint32_t)bytes;
    return rc;
}

static void show_rows(const struct cli *cli)
{
    latencies_show(cli->result);
}

/* ---- one ASD ---- */

/* "sets,gets": in this order. */
static int parse_scenarios(struct cli *cli, const char *text,
                           const struct bench_scenario *ret_scenarios[SCENARIOS_MAX],
                           unsigned *ret_count)
{
    *ret_count = 0;
    do {
        size_t len = strcspn(text, ",");
        char name[NAME_BYTES_MAX];

        snprintf(name, sizeof(name), "%.*s", (int)len, text);
        if (*ret_count == SCENARIOS_MAX) {
            return err_say(&cli->err, -EINVAL, "at most %d scenarios", SCENARIOS_MAX);
        }
        ret_scenarios[*ret_count] = bench_scenario(name);
        if (ret_scenarios[*ret_count] == NULL) {
            return err_say(&cli->err, -EINVAL, "no scenario '%s'; see alba %s --help", name,
                           cli->verb->name);
        }
        ++*ret_count;
        text += len + (text[len] == ',');
    } while (*text != '\0');
    return 0;
}

static int run_scenarios(struct cli *cli, struct bench *b,
                         const struct bench_scenario *const *scenarios, unsigned count)
{
    struct err why;
    int rc = 0;
    int clean_rc;

    for (unsigned i = 0; i < count && rc == 0; i++) {
        rc = bench_run(b, scenarios[i], cli->result);
    }
    err_copy(&why, &cli->err);
    clean_rc = bench_clean(b);
    if (rc != 0) {
        return err_copy(&cli->err, &why);
    }
    if (clean_rc == 0 && b->runner.stop && !cli->to_json) {
        fputs("stopped early; its values are deleted\n", stderr);
    }
    return clean_rc;
}

static int bench_asd(struct cli *cli, const char *names)
{
    const struct bench_scenario *scenarios[SCENARIOS_MAX];
    unsigned scenario_count = 0;
    struct asd_link l;
    struct bench b;
    int64_t count;
    int64_t depth;
    uint32_t value_bytes = 0;
    int rc = cli_number(cli, "count", 1, LATENCIES_MAX, &count);

    rc = rc != 0 ? rc : cli_number(cli, "depth", 1, BENCH_DEPTH_MAX, &depth);
    rc = rc != 0 ? rc : take_size(cli, BLOB_BYTES_MAX, &value_bytes);
    rc = rc != 0 ? rc : parse_scenarios(cli, names, scenarios, &scenario_count);
    if (rc != 0) {
        return rc;
    }
    rc = asd_link_open(&l, cli);
    if (rc == 0) {
        cli->result = json_array();
        bench_init(&b, &l, (uint64_t)count, (unsigned)depth, value_bytes);
        rc = run_scenarios(cli, &b, scenarios, scenario_count);
        bench_release(&b);
    }
    asd_link_close(&l);
    return rc;
}

static int run_bench_blobs(struct cli *cli)
{
    return bench_asd(cli, "sets,gets,deletes");
}

static int run_osd_benchmark(struct cli *cli)
{
    return bench_asd(cli, cli_option(cli, "scenarios"));
}

/* ---- one disk ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
    (void)signum;
    interrupted = 1;
}

struct flushing {
    int fd;
    int64_t count;
    uint8_t *data;
    uint32_t bytes;
    int (*flush)(int fd);
    struct latencies latencies;
};

static int write_and_flush(struct flushing *f, struct progress *p, struct err *e)
{
    for (int64_t i = 0; i < f->count && !interrupted; i++) {
        uint64_t start_ns = clock_mono_ns();
        ssize_t written = write(f->fd, f->data, f->bytes);

        if (written != (ssize_t)f->bytes) {
            return err_set(e, written < 0 ? -errno : ERR_SHORT_WRITE, "write %lld",
                           (long long)i + 1);
        }
        if (f->flush(f->fd) != 0) {
            return err_set(e, -errno, "flush %lld", (long long)i + 1);
        }
        latencies_add(&f->latencies, clock_mono_ns() - start_ns);
        progress_show(p, (uint64_t)i + 1);
    }
    return 0;
}

static int flush_in(struct cli *cli, struct flushing *f, const char *name)
{
    const char *dir = cli_arg(cli, 0);
    char *path = mem_printf("%s/.alba-%s.%ld", dir, cli->verb->name, (long)getpid());
    uint64_t start_ns = clock_mono_ns();
    struct progress p;
    double seconds;
    int rc;

    f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        rc = err_set(&cli->err, -errno, "directory %.200s", dir);
        free(path);
        return rc;
    }
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    progress_begin(&p, cli->verb->name, (uint64_t)f->count, false);
    rc = write_and_flush(f, &p, &cli->err);
    seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    progress_end(&p);
    close(f->fd);
    unlink(path);
    free(path);
    if (rc != 0) {
        return err_wrap(&cli->err, "%.200s", dir);
    }
    cli->result = json_pack("[o]", latencies_json(&f->latencies, name, seconds,
                                                  f->latencies.count * (uint64_t)f->bytes));
    return 0;
}

static int bench_flush(struct cli *cli, const char *name, int (*flush)(int fd))
{
    struct flushing f = {.flush = flush};
    int rc = cli_number(cli, "count", 1, LATENCIES_MAX, &f.count);

    rc = rc != 0 ? rc : take_size(cli, BLOB_BYTES_MAX, &f.bytes);
    if (rc == 0) {
        f.data = mem_alloc(f.bytes);
        rnd_bytes(f.data, f.bytes);
        rc = flush_in(cli, &f, name);
        free(f.data);
        latencies_release(&f.latencies);
    }
    return rc;
}

static int run_bench_fsync(struct cli *cli)
{
    return bench_flush(cli, "write+fsync", fsync);
}

static int run_bench_syncfs(struct cli *cli)
{
    return bench_flush(cli, "write+syncfs", syncfs);
}

#define BENCH_OPTIONS(count_default, size_default)                                                 \
    {.name = "count", .arg = "N", .value_default = (count_default), .help = "of each"},            \
        {.name = "size",                                                                           \
         .arg = "SIZE",                                                                            \
         .value_default = (size_default),                                                          \
         .help = "of a value: bytes, or a number with KiB or MiB"},                                \
    {                                                                                              \
        .name = "depth", .arg = "N", .value_default = "16", .help = "requests in flight"           \
    }
#define FLUSH_OPTIONS                                                                              \
    {.name = "count", .arg = "N", .value_default = "1000", .help = "how often"},                   \
    {                                                                                              \
        .name = "size", .arg = "SIZE", .value_default = "4KiB", .help = "written before each"      \
    }

const struct verb bench_verbs[] = {
    {.name = "asd-bench-blobs",
     .group = "One ASD",
     .summary = "measure it: put, get and delete values",
     .details = "Keys are this run's own and are deleted at the end, after Ctrl-C, too.",
     .options = {ASD_LINK_OPTIONS, BENCH_OPTIONS("1000", "1MiB")},
     .run = run_bench_blobs,
     .show = show_rows},
    {.name = "bench-fsync",
     .group = "One ASD",
     .positionals = "DIR",
     .summary = "measure how fast the disk under a directory makes a write durable",
     .details = "Appends to a file in DIR with an fsync behind each write; removes it.",
     .options = {FLUSH_OPTIONS},
     .run = run_bench_fsync,
     .show = show_rows},
    {.name = "bench-syncfs",
     .group = "One ASD",
     .positionals = "DIR",
     .summary = "the same with syncfs, which flushes the whole file system",
     .options = {FLUSH_OPTIONS},
     .run = run_bench_syncfs,
     .show = show_rows},
    {.name = NULL},
};

const struct verb osd_bench_verbs[] = {
    {.name = "osd-benchmark",
     .group = "OSDs",
     .summary = "measure an OSD: requests of several kinds",
     .details =
         "Scenarios: sets, gets, deletes, upload_fragments, ranges, partial_reads, get_version,\n"
         "exists, churn. Values that one needs and that are not there are made before it. Keys "
         "are\n"
         "this run's own and are deleted at the end, after Ctrl-C, too.",
     .options = {ASD_LINK_OSD_OPTIONS,
                 BENCH_OPTIONS("1000", "64KiB"),
                 {.name = "scenarios",
                  .arg = "A,B",
                  .value_default = "sets,gets,deletes,upload_fragments,ranges,partial_reads,get_"
                                   "version,exists,churn",
                  .help = "what, in this order"}},
     .run = run_osd_benchmark,
     .show = show_rows,
     .wants_registry = true},
    {.name = NULL},
};
