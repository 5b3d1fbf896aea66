/* What the operating system says about this process. Any thread; reads /proc. */
#ifndef DAEMON_PROCESS_H
#define DAEMON_PROCESS_H

#include <stdint.h>

#include "base/buf.h"

struct process_usage {
    double cpu_s;        /* user and system */
    double start_time_s; /* since 1970 */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    unsigned threads;
    unsigned open_fds;
    unsigned max_fds;
};

/* What cannot be read is 0. */
struct process_usage process_usage(void);
/* process_cpu_seconds_total, process_resident_memory_bytes, …, albacore_build_info. */
void process_print_metrics(struct buf *out);

/* Standard streams that are closed: files and sockets must not take their places. Each is opened
 * the wrong way, so that reading or writing it still fails. Call first in main(). */
void process_open_standard_streams(void);

/* Large buffers come and go all the time: keep their memory instead of asking the kernel for
 * zeroed pages each time. Call early in main(). */
void process_tune_malloc(void);
/* But not for ever: gives back what was free at this call and the one before. {0} at first. Call
 * it every few seconds. */
struct process_trim {
    uint64_t free_bytes;  /* private */
    uint64_t other_bytes; /* resident after the last time and not handed out */
};
void process_trim_malloc(struct process_trim *trim);

#endif
