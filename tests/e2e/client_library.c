/* A program of the client library that a test leads: one command a line on standard input, one
 * answer a line. Compiled by the test, against what was installed.
 *
 *   put NAME BYTES SEED | fd NAME PATH OFFSET BYTES [OFFSET BYTES]… | get NAME BYTES SEED
 *   read NAME OFFSET BYTES SEED | delete NAME | exists NAME | list | counters | timeout MS
 *   hammer SECONDS THREADS      puts, reads and deletes of its own names; counts what went wrong
 *   cancel NAME [PATH]          a put that is canceled from another thread
 *   file NAME PATH | failed BYTES          a put by path; the failed one of two asserts
 *   write PATH BYTES SEED                  the data of a seed as a file
 *   together NAME PATH                     a file and another change in one transaction
 *   slices COUNT | large BYTES PATH        more than a call takes
 */
#include <albacore/albacore.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct albacore *client;
static struct albacore_call call = {.size = sizeof(call)};
static const char *ns = "library";

/* Byte `at` of the data of a seed; half of it compresses. */
static unsigned char byte_of(unsigned long seed, size_t at)
{
    unsigned long x = (seed + 1) * 0x9e3779b97f4a7c15ul + at / 8 * 0xbf58476d1ce4e5b9ul;

    x ^= x >> 29;
    x *= 0x94d049bb133111ebul;
    return at / 512 % 2 == 0 ? (unsigned char)(x >> at % 8 * 8) : (unsigned char)(seed + at / 4096);
}

static unsigned char *make(unsigned long seed, size_t from, size_t bytes)
{
    unsigned char *data = malloc(bytes + 1);

    for (size_t i = 0; i < bytes; i++) {
        data[i] = byte_of(seed, from + i);
    }
    return data;
}

static void answer(int rc, const struct albacore_error *e)
{
    if (rc == 0) {
        printf("ok\n");
    } else {
        printf("error %d %s\n", rc, e->text);
    }
}

/* 0; what reading gave; or 1: other bytes. */
static int read_back(const char *name, unsigned long seed, size_t from, size_t bytes, bool whole,
                     struct albacore_error *e)
{
    unsigned char *right = make(seed, from, bytes), *got = malloc(bytes + 1);
    struct albacore_slice slice = {.offset = from, .bytes = bytes, .data = got};
    size_t got_bytes = bytes;
    void *all = NULL;
    int rc = whole ? albacore_get(client, ns, name, &all, &got_bytes, &call, e)
                   : albacore_read(client, ns, name, &slice, 1, &call, e);

    if (rc == 0 && (got_bytes != bytes || memcmp(whole ? all : got, right, bytes) != 0)) {
        const unsigned char *first = whole ? all : got;

        snprintf(e->text, sizeof(e->text), "WRONG BYTES of %s: %zu of %zu, from %zu, seed %lu",
                 name, got_bytes, bytes, from, seed);
        for (unsigned long old = 0; old < seed; old++) { /* what was there before? */
            if (got_bytes > 8 && first[0] == byte_of(old, from) &&
                first[7] == byte_of(old, from + 7) && first[3] == byte_of(old, from + 3)) {
                snprintf(e->text + strlen(e->text), 30, ", is %lu", old);
            }
        }
        rc = 1;
    }
    albacore_free(all);
    free(got);
    free(right);
    return rc;
}

/* ---- hammer ---- */

struct hammer {
    pthread_t thread;
    int index;
    time_t end;
    unsigned long done, failed, in_doubt, wrong;
    char text[ALBACORE_TEXT_BYTES];
};

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    struct albacore_error e;
    char name[32];

    for (unsigned long i = 0; time(NULL) < h->end; i++) {
        size_t bytes = 1000 + (i * 7919 + (unsigned long)h->index * 104729) % 300000;
        unsigned char *data = make(i, 0, bytes);
        int rc;

        snprintf(name, sizeof(name), "h%d-%lu", h->index, i % 7);
        rc = albacore_put(client, ns, name, data, bytes, &call, &e);
        free(data);
        h->done += rc == 0;
        h->in_doubt += rc == ALBACORE_IN_DOUBT;
        if (rc == 0) { /* what is acknowledged is there, whatever dies meanwhile */
            rc = read_back(name, i, bytes / 3, bytes / 5, false, &e);
            rc = rc == 0 ? read_back(name, i, 0, bytes, true, &e) : rc;
            h->wrong += rc == 1;
        }
        if (rc != 0 && rc != ALBACORE_IN_DOUBT) {
            h->failed++;
            memcpy(h->text, e.text, sizeof(h->text));
        }
    }
    return NULL;
}

static void run_hammer(int seconds, int threads)
{
    struct hammer *h = calloc((size_t)threads, sizeof(*h)), sum = {0};

    for (int i = 0; i < threads; i++) {
        h[i].index = i;
        h[i].end = time(NULL) + seconds;
        pthread_create(&h[i].thread, NULL, hammer, &h[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(h[i].thread, NULL);
        sum.done += h[i].done;
        sum.failed += h[i].failed;
        sum.in_doubt += h[i].in_doubt;
        sum.wrong += h[i].wrong;
        if (h[i].text[0] != '\0') {
            memcpy(sum.text, h[i].text, sizeof(sum.text));
        }
    }
    printf("hammered done=%lu failed=%lu in_doubt=%lu wrong=%lu %s\n", sum.done, sum.failed,
           sum.in_doubt, sum.wrong, sum.text);
    free(h);
}

/* ---- cancel ---- */

static void *fire_soon(void *cancel)
{
    usleep(200000);
    albacore_cancel_fire(cancel);
    return NULL;
}

static void run_cancel(const char *name, const char *path)
{
    struct albacore_cancel *cancel = albacore_cancel_new();
    struct albacore_call own = {.size = sizeof(own), .timeout_ms = 60000, .cancel = cancel};
    struct albacore_error e;
    pthread_t thread;
    int rc;

    pthread_create(&thread, NULL, fire_soon, cancel);
    rc = path[0] != '\0' ? albacore_put_file(client, ns, name, path, &own, &e)
                         : albacore_put(client, ns, name, "x", 1, &own, &e);
    pthread_join(thread, NULL);
    answer(rc, &e);
    albacore_cancel_free(cancel);
}

/* ---- commands ---- */

static void run_put(const char *name, size_t bytes, unsigned long seed)
{
    unsigned char *data = make(seed, 0, bytes);
    struct albacore_error e;
    int rc = albacore_put(client, ns, name, data, bytes, &call, &e);

    answer(rc, &e);
    free(data);
}

static void run_fd(const char *name, const char *path, const char *rest)
{
    struct albacore_extent extents[16];
    struct albacore_error e;
    FILE *file = fopen(path, "rb");
    size_t count = 0;
    unsigned long offset, bytes;
    int used, rc;

    while (count < 16 && sscanf(rest, "%lu %lu%n", &offset, &bytes, &used) == 2) {
        extents[count++] = (struct albacore_extent){.offset = offset, .bytes = bytes};
        rest += used;
    }
    rc = albacore_put_fd(client, ns, name, fileno(file), extents, count, &call, &e);
    answer(rc, &e);
    fclose(file);
}

static void run_write(const char *path, size_t bytes, unsigned long seed)
{
    unsigned char *data = make(seed, 0, bytes);
    FILE *file = fopen(path, "wb");

    printf(fwrite(data, 1, bytes, file) == bytes && fclose(file) == 0 ? "ok\n" : "error\n");
    free(data);
}

static void run_together(const char *name, const char *path)
{
    struct albacore_transaction *t = albacore_transaction_new();
    FILE *file = fopen(path, "rb");
    struct albacore_error e;
    int rc;

    albacore_add_put_fd(t, name, fileno(file), NULL, 0);
    albacore_add_put(t, "beside", "x", 1);
    rc = albacore_apply(client, ns, t, &call, &e);
    answer(rc, &e);
    albacore_transaction_free(t);
    fclose(file);
}

/* Of two asserts with names of `bytes`, one holds the other's name between quotes. */
static void run_failed(size_t bytes)
{
    struct albacore_transaction *t = albacore_transaction_new();
    char *sound = malloc(bytes + 1), *failing = malloc(bytes + 1);
    struct albacore_error e;
    int rc;

    memset(failing, 'f', bytes);
    failing[bytes] = '\0';
    snprintf(failing, bytes + 1, "object 'x'");
    failing[strlen(failing)] = 'f';
    memset(sound, 's', bytes);
    sound[bytes] = '\0';
    albacore_assert_absent(t, "x");
    albacore_assert_absent(t, sound);
    albacore_assert_exists(t, failing);
    albacore_add_put(t, sound, "", 0);
    rc = albacore_apply(client, ns, t, &call, &e);
    printf("failed %d %d\n", rc, strcmp(albacore_failed_name(t), failing));
    albacore_transaction_free(t);
    free(sound);
    free(failing);
}

static void run_slices(size_t count)
{
    struct albacore_slice *slices = calloc(count, sizeof(*slices));
    unsigned char *data = malloc(count);
    struct albacore_error e;
    int rc;

    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct albacore_slice){.offset = i, .bytes = 1, .data = data + i};
    }
    rc = albacore_read(client, ns, "a", slices, count, &call, &e);
    answer(rc, &e);
    free(slices);
    free(data);
}

/* A transaction of a file and `bytes` that no page stands behind. */
static void run_large(size_t bytes, const char *path)
{
    struct albacore_transaction *t = albacore_transaction_new();
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FILE *file = fopen(path, "rb");
    struct albacore_error e;
    int rc;

    albacore_add_put_fd(t, "file", fileno(file), NULL, 0);
    albacore_add_put(t, "large", data, bytes);
    rc = albacore_apply(client, ns, t, &call, &e);
    answer(rc, &e);
    albacore_transaction_free(t);
    munmap(data, bytes);
    fclose(file);
}

static void run_list(void)
{
    struct albacore_names *names;
    struct albacore_error e;
    int rc = albacore_list(client, ns, NULL, &names, &call, &e);

    if (rc != 0) {
        answer(rc, &e);
        return;
    }
    printf("names");
    for (size_t i = 0; i < albacore_names_count(names); i++) {
        printf(" %s", albacore_names_at(names, i, NULL));
    }
    printf("\n");
    albacore_names_free(names);
}

static void run_counters(void)
{
    struct albacore_counters c = {.size = sizeof(c)};

    albacore_counters(client, &c);
    printf("{\"direct_reads\": %lu, \"proxy_reads\": %lu, \"not_known\": %lu, \"aside\": %lu, "
           "\"suspect\": %lu, "
           "\"missing\": %lu, \"damaged\": %lu, \"unreachable\": %lu, \"disks_aside\": %lu, "
           "\"proxy_tries\": %lu, \"far\": %lu, \"direct_far_trips\": %lu}\n",
           (unsigned long)c.direct_reads, (unsigned long)c.proxy_reads, (unsigned long)c.not_known,
           (unsigned long)c.aside, (unsigned long)c.suspect, (unsigned long)c.missing,
           (unsigned long)c.damaged, (unsigned long)c.unreachable, (unsigned long)c.disks_aside,
           (unsigned long)c.proxy_tries, (unsigned long)c.far, (unsigned long)c.direct_far_trips);
}

static void run(const char *line)
{
    char name[64], path[512] = "";
    unsigned long a = 0, b = 0, c = 0;
    struct albacore_error e;
    int used = 0, rc;

    if (sscanf(line, "put %63s %lu %lu", name, &a, &b) == 3) {
        run_put(name, a, b);
    } else if (sscanf(line, "fd %63s %511s%n", name, path, &used) == 2) {
        run_fd(name, path, line + used);
    } else if (sscanf(line, "file %63s %511s", name, path) == 2) {
        rc = albacore_put_file(client, ns, name, path, &call, &e);
        answer(rc, &e);
    } else if (sscanf(line, "failed %lu", &a) == 1) {
        run_failed(a);
    } else if (sscanf(line, "slices %lu", &a) == 1) {
        run_slices(a);
    } else if (sscanf(line, "large %lu %511s", &a, path) == 2) {
        run_large(a, path);
    } else if (sscanf(line, "get %63s %lu %lu", name, &a, &b) == 3) {
        rc = read_back(name, b, 0, a, true, &e);
        answer(rc, &e);
    } else if (sscanf(line, "read %63s %lu %lu %lu", name, &a, &b, &c) == 4) {
        rc = read_back(name, c, a, b, false, &e);
        answer(rc, &e);
    } else if (sscanf(line, "delete %63s", name) == 1) {
        rc = albacore_delete(client, ns, name, &call, &e);
        answer(rc, &e);
    } else if (sscanf(line, "exists %63s", name) == 1) {
        const char *names[] = {name, "nothing"};
        bool exists[2];

        rc = albacore_exists(client, ns, names, 2, exists, &call, &e);
        printf("exists %d %d %d\n", rc, exists[0], exists[1]);
    } else if (sscanf(line, "hammer %lu %lu", &a, &b) == 2) {
        run_hammer((int)a, (int)b);
    } else if (sscanf(line, "cancel %63s %511s", name, path) >= 1) {
        run_cancel(name, path);
    } else if (sscanf(line, "write %511s %lu %lu", path, &a, &b) == 3) {
        run_write(path, a, b);
    } else if (sscanf(line, "together %63s %511s", name, path) == 2) {
        run_together(name, path);
    } else if (sscanf(line, "timeout %lu", &a) == 1) {
        call.timeout_ms = (uint32_t)a;
        printf("ok\n");
    } else if (strncmp(line, "list", 4) == 0) {
        run_list();
    } else {
        run_counters();
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct albacore_options options = albacore_options_init();
    const char *near[] = {getenv("NEAR"), getenv("NEAR_TOO")};
    struct albacore_error e;
    char line[1024];

    options.proxies = (const char *const *)(argv + 1);
    options.proxy_count = (size_t)argc - 1;
    options.flags = ALBACORE_WAIT | (getenv("PROXY_ONLY") != NULL ? ALBACORE_PROXY_ONLY : 0);
    options.near_nodes = near;
    options.near_node_count = (near[0] != NULL) + (near[1] != NULL);
    if (getenv("OLDER") !=
        NULL) { /* a program from before there were these: they are not looked at */
        options.size = offsetof(struct albacore_options, near_nodes);
        options.near_nodes = (const char *const *)(uintptr_t)1;
        options.near_node_count = 3;
    }
    options.direct_ms =
        getenv("DIRECT_MS") != NULL ? (uint32_t)strtoul(getenv("DIRECT_MS"), NULL, 10) : 0;
    ns = getenv("NAMESPACE") != NULL ? getenv("NAMESPACE") : ns;
    if (albacore_connect(&options, &client, &e) != 0 ||
        (albacore_namespace_create(client, ns, NULL, NULL, &e) != 0 && e.code != ALBACORE_EXISTS)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        run(line);
    }
    albacore_close(client);
    return 0;
}
