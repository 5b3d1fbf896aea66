/* nbd_stamp write URI TABLE [OPTION...]    stamp random blocks until the time is up or SIGTERM
 * nbd_stamp verify URI TABLE [OPTION...]   read every block ever attempted, and judge it
 *
 * `write` reconnects and goes on when the server dies; TABLE (a file) holds what was attempted
 * and acknowledged even when nbd_stamp itself is killed, and can be taken up again. A fresh
 * TABLE has the region zeroed first.
 *
 *   --seconds N (30)  --connections N (4)  --depth N (16)  --flush-every N (64)
 *   --deadline N (60: seconds for the server to come back)
 *   --offset BYTES (0)  --region BYTES (256 MiB; 0: to the end)
 *   --flushed (verify, after a power loss: only what was flushed must be there)
 *
 * One line on stdout. Exit code 0: all good; 1: a violation, an error of the server or no
 * server within the deadline; 2: wrong usage. */
#include "e2e/nbd_stamp.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

enum { CONNECT_TIMEOUT_MS = 20000, CONNECT_RETRY_MS = 100 };

static atomic_bool stop;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop, true);
}

int stamp_connect(struct stamp_client *c, const struct stamp_options *o, struct err *e)
{
    const struct timespec pause = {.tv_nsec = CONNECT_RETRY_MS * 1000000L};
    uint64_t end = clock_mono_ms() + (uint64_t)o->deadline_s * 1000;
    int rc;

    for (;;) {
        rc = stamp_client_open(c, &o->uri, CONNECT_TIMEOUT_MS, e);
        if (rc == 0 || rc == -EINVAL || atomic_load(o->stop)) {
            return rc;
        }
        if (clock_mono_ms() >= end) {
            return err_wrap(e, "no server within %u s", o->deadline_s);
        }
        nanosleep(&pause, NULL);
    }
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_value)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value > max || *text == '-') {
        return false;
    }
    *ret_value = value;
    return true;
}

enum { SECONDS, CONNECTIONS, DEPTH, FLUSH_EVERY, DEADLINE, OFFSET, REGION, FLUSHED };

static bool set_option(struct stamp_options *o, int option, const char *text)
{
    uint64_t value = 0;
    uint64_t max = option == OFFSET || option == REGION ? UINT64_MAX / 2 : 1000000;

    if (option == FLUSHED) {
        o->only_flushed = true;
        return true;
    }
    if (text == NULL || !parse_number(text, max, &value)) {
        return false;
    }
    switch (option) {
    case SECONDS:
        o->seconds = (unsigned)value;
        return true;
    case CONNECTIONS:
        o->connections = (unsigned)value;
        return value >= 1 && value <= STAMP_CONNECTIONS_MAX;
    case DEPTH:
        o->depth = (unsigned)value;
        return value >= 1 && value <= STAMP_DEPTH_MAX;
    case FLUSH_EVERY:
        o->flush_every = (unsigned)value;
        return value >= 1;
    case DEADLINE:
        o->deadline_s = (unsigned)value;
        return true;
    case OFFSET:
        o->offset_bytes = value;
        return value % STAMP_BLOCK_BYTES == 0;
    default:
        o->region_bytes = value;
        return value % STAMP_BLOCK_BYTES == 0;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, SECONDS},
        {"connections", required_argument, NULL, CONNECTIONS},
        {"depth", required_argument, NULL, DEPTH},
        {"flush-every", required_argument, NULL, FLUSH_EVERY},
        {"deadline", required_argument, NULL, DEADLINE},
        {"offset", required_argument, NULL, OFFSET},
        {"region", required_argument, NULL, REGION},
        {"flushed", no_argument, NULL, FLUSHED},
        {NULL, 0, NULL, 0},
    };
    struct stamp_options o = {.seconds = 30,
                              .connections = 4,
                              .depth = 16,
                              .flush_every = 64,
                              .deadline_s = 60,
                              .region_bytes = 256 * 1048576,
                              .stop = &stop};
    struct sigaction action = {.sa_handler = on_signal};
    struct err e;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?' || !set_option(&o, option, optarg)) {
            fprintf(stderr, "nbd_stamp: bad option or value: %s\n", argv[optind - 1]);
            return 2;
        }
    }
    if (argc - optind != 3 ||
        (strcmp(argv[optind], "write") != 0 && strcmp(argv[optind], "verify") != 0)) {
        fprintf(stderr, "usage: nbd_stamp write|verify URI TABLE [OPTION...]\n");
        return 2;
    }
    if (stamp_uri_parse(&o.uri, argv[optind + 1], &e) != 0) {
        fprintf(stderr, "nbd_stamp: %s\n", e.msg);
        return 2;
    }
    o.table_path = argv[optind + 2];
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    return strcmp(argv[optind], "write") == 0 ? stamp_write(&o) : stamp_verify(&o);
}
