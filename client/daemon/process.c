#include "daemon/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/metrics.h"

enum {
    MMAP_THRESHOLD_BYTES = 32 << 20, /* the most that glibc takes */
    TRIM_THRESHOLD_BYTES = 256 << 20,
    TOP_PAD_BYTES = 1 << 20,
    FREE_BYTES_MAX = 16 << 20
};

void process_tune_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES);
    mallopt(M_TOP_PAD, TOP_PAD_BYTES);
    mallopt(M_ARENA_MAX, 1); /* glibc never trims the top of another one; and a lock is cheap */
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;

    if (file == NULL || fscanf(file, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Resident, but not handed out from the heap: what that keeps, code, stacks, large buffers. */
static uint64_t other_bytes(const struct mallinfo2 *info)
{
    uint64_t resident = resident_bytes();

    return resident > info->uordblks ? resident - info->uordblks : 0;
}

/* Free memory may have been given back already: only resident pages tell. */
void process_trim_malloc(struct process_trim *trim)
{
    struct mallinfo2 info = mallinfo2();
    uint64_t before = trim->free_bytes;

    trim->free_bytes = info.fordblks;
    if (info.fordblks > FREE_BYTES_MAX && before > FREE_BYTES_MAX &&
        other_bytes(&info) > trim->other_bytes + FREE_BYTES_MAX) {
        malloc_trim(0);
        info = mallinfo2();
        trim->other_bytes = other_bytes(&info);
    }
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        count += d->d_name[0] != '.';
    }
    closedir(dir);
    return count > 0 ? count - 1 : 0; /* not the directory's own */
}

/* Fields 20 (threads), 22 (start), 23, 24 (memory) of /proc/self/stat,
 * counted behind the program's name, which may hold anything. */
static void read_stat(struct process_usage *u)
{
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    unsigned long long start, virtual_bytes;
    FILE *file = fopen("/proc/self/stat", "r");
    long threads, resident_pages;
    char line[1024];
    struct timespec now, up;
    const char *p;

    if (file == NULL) {
        return;
    }
    p = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    if (p == NULL || sscanf(p + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
                            "%*d %*d %ld %*d %llu %llu %ld",
                            &threads, &start, &virtual_bytes, &resident_pages) != 4) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    u->threads = (unsigned)threads;
    u->virtual_bytes = virtual_bytes;
    u->resident_bytes = (uint64_t)resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    u->start_time_s = (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) * 1e-9 +
                      (double)start * tick_s;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

struct process_usage process_usage(void)
{
    struct process_usage u = {.open_fds = count_fds()};
    struct rlimit limit;
    struct rusage used;

    read_stat(&u);
    if (getrusage(RUSAGE_SELF, &used) == 0) {
        u.cpu_s = seconds(used.ru_utime) + seconds(used.ru_stime);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        u.max_fds = (unsigned)limit.rlim_cur;
    }
    return u;
}

static void put(struct buf *out, const char *name, enum metric_type type, const char *help,
                double value)
{
    metrics_put_family(out, name, type, help);
    metrics_put_sample(out, name, NULL, value);
}

void process_print_metrics(struct buf *out)
{
    struct process_usage u = process_usage();

    put(out, "process_cpu_seconds_total", METRIC_COUNTER, "User and system CPU time.", u.cpu_s);
    put(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory.",
        (double)u.resident_bytes);
    put(out, "process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory.",
        (double)u.virtual_bytes);
    put(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors.", u.open_fds);
    put(out, "process_max_fds", METRIC_GAUGE, "Limit of file descriptors.", u.max_fds);
    put(out, "process_threads", METRIC_GAUGE, "Threads.", u.threads);
    put(out, "process_start_time_seconds", METRIC_GAUGE, "Start time since 1970.", u.start_time_s);
    metrics_put_family(out, "albacore_build_info", METRIC_GAUGE, "Always 1.");
    metrics_put_sample(out, "albacore_build_info", "version=\"" ALBACORE_VERSION "\"", 1);
}

void process_open_standard_streams(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) {
            abort();
        }
    }
}
