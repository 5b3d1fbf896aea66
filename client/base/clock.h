/* Time. Deadlines use the monotonic clock; wall-clock time is for people and for
 * informative fields only. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void);
uint64_t clock_wall_us(void); /* since 1970 */

static inline uint64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

#endif
