/* How long one piece of work takes on this thread. Include it once per program, which has the
 * struct bench that the work is done on. */
#ifndef TESTS_BENCH_REPEAT_H
#define TESTS_BENCH_REPEAT_H

#include <stdint.h>
#include <time.h>

struct bench;

struct repeat_took {
    uint64_t rounds;
    double wall_s, cpu_s; /* of all of them */
};

static inline double repeat_clock_s(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Runs it once to touch pages and tables, then for so many seconds. */
static inline struct repeat_took repeat_for(double seconds, void (*run)(struct bench *b),
                                            struct bench *b)
{
    struct repeat_took took = {0};
    double wall, cpu;

    run(b);
    wall = repeat_clock_s(CLOCK_MONOTONIC);
    cpu = repeat_clock_s(CLOCK_THREAD_CPUTIME_ID);
    while (took.wall_s < seconds) {
        run(b);
        took.rounds++;
        took.wall_s = repeat_clock_s(CLOCK_MONOTONIC) - wall;
    }
    took.cpu_s = repeat_clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu;
    return took;
}

#endif
