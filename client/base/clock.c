#include "base/clock.h"

#include <time.h>

static uint64_t read_clock_ns(clockid_t id)
{
    struct timespec t = {0};

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    return read_clock_ns(CLOCK_REALTIME) / 1000;
}
