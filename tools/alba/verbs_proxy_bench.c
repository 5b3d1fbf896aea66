/* Verbs that measure a proxy, and a deployment through a proxy of their own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/proxy_bench.h"
#include "alba/size.h"
#include "alba/verb.h"
#include "base/mem.h"

enum { VALUE_BYTES_MAX = 256 * 1048576 };

/* "writes,reads": each in turn; only looked up where `b` is NULL. */
static int each_scenario(struct cli *cli, struct proxy_bench *b, json_t *rows)
{
    const char *at = cli_option(cli, "scenarios");
    int rc = 0;

    do {
        size_t len = strcspn(at, ",");
        char *name = mem_printf("%.*s", (int)len, at);

        if (!proxy_bench_knows(name)) {
            rc = err_say(&cli->err, -EINVAL, "no scenario '%.60s'; see alba %s --help", name,
                         cli->verb->name);
        } else if (b != NULL) {
            rc = proxy_bench_run(b, name, rows);
        }
        free(name);
        at += len + (at[len] == ',');
    } while (rc == 0 && *at != '\0');
    return rc;
}

static int measure(struct cli *cli, struct proxy_bench *b, uint64_t count, unsigned depth)
{
    json_t *rows = json_array();
    struct err why;
    int clean_rc;
    int rc;

    proxy_bench_init(b, count, depth);
    rc = each_scenario(cli, b, rows);
    err_copy(&why, &cli->err);
    clean_rc = proxy_bench_clean(b);
    if (rc != 0) {
        err_copy(&cli->err, &why);
    } else if (clean_rc == 0 && b->runner.stop && !cli->to_json) {
        fputs("stopped early; its objects are deleted\n", stderr);
    }
    proxy_bench_release(b);
    cli->result = rows;
    return rc != 0 ? rc : clean_rc;
}

static int run_bench(struct cli *cli)
{
    struct target t;
    struct proxy_bench b = {.target = &t, .cli = cli, .ns = cli_arg(cli, 0)};
    uint64_t bytes = 0;
    int64_t count;
    int64_t depth;
    int rc = cli_number(cli, "count", 1, LATENCIES_MAX, &count);

    rc = rc != 0 ? rc : cli_number(cli, "depth", 1, PROXY_BENCH_DEPTH_MAX, &depth);
    rc = rc != 0 ? rc : size_parse(cli_option(cli, "size"), &bytes, &cli->err);
    if (rc == 0 && bytes > VALUE_BYTES_MAX) {
        rc = err_say(&cli->err, -EINVAL, "--size=%s: at most %d MiB", cli_option(cli, "size"),
                     VALUE_BYTES_MAX >> 20);
    }
    rc = rc != 0 ? rc : each_scenario(cli, NULL, NULL);
    if (rc != 0) {
        return rc;
    }
    b.value_bytes = (uint32_t)bytes;
    rc = target_open_wide(&t, cli, (unsigned)depth);
    rc = rc != 0 ? rc : measure(cli, &b, (uint64_t)count, (unsigned)depth);
    target_close(&t);
    return rc;
}

static void show_rows(const struct cli *cli)
{
    latencies_show(cli->result);
}

#define BENCH_DETAILS                                                                              \
    "Scenarios: writes, reads, partial-reads (4 KiB), deletes, get_version. Those that need\n"     \
    "objects write them first. All that was written is deleted at the end, after Ctrl-C, too."
#define BENCH_OPTIONS                                                                              \
    {.name = "scenarios",                                                                          \
     .arg = "NAME[,NAME…]",                                                                        \
     .value_default = "writes,reads,partial-reads,deletes",                                        \
     .help = "which, in this order"},                                                              \
        {.name = "count",                                                                          \
         .letter = 'n',                                                                            \
         .arg = "N",                                                                               \
         .value_default = "1000",                                                                  \
         .help = "requests of each"},                                                              \
        {.name = "depth", .arg = "N", .value_default = "8", .help = "so many in flight"},          \
    {                                                                                              \
        .name = "size", .arg = "SIZE", .value_default = "1MiB", .help = "of an object"             \
    }

const struct verb proxy_bench_verbs[] = {
    {.name = "proxy-bench",
     .group = "Proxy",
     .positionals = "NAMESPACE",
     .summary = "measure a proxy: requests of several kinds",
     .details = BENCH_DETAILS,
     .options = {TARGET_OPTIONS, BENCH_OPTIONS},
     .run = run_bench,
     .show = show_rows},
    {.name = "alba-bench",
     .group = "Proxy",
     .positionals = "NAMESPACE",
     .summary = "the same through a proxy of its own",
     .details = BENCH_DETAILS,
     .options = {BENCH_OPTIONS},
     .run = run_bench,
     .show = show_rows,
     .wants_registry = true},
    {.name = NULL},
};
