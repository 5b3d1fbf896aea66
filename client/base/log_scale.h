/* Buckets of a histogram: four for each power of two, so that quantiles are right within 25 %.
 * Buckets 0 ... 3 hold the values 0 ... 3; bucket i holds values up to and including
 * log_scale_upper(i). Pure. */
#ifndef BASE_LOG_SCALE_H
#define BASE_LOG_SCALE_H

#include <stdint.h>

enum { LOG_SCALE_BITS = 2, LOG_SCALE_PARTS = 1 << LOG_SCALE_BITS };

static inline unsigned log_scale_index(uint64_t value)
{
    unsigned octave;

    if (value < LOG_SCALE_PARTS) {
        return (unsigned)value;
    }
    octave = 63 - (unsigned)__builtin_clzll(value);
    return (octave - LOG_SCALE_BITS + 1) * LOG_SCALE_PARTS +
           (unsigned)(value >> (octave - LOG_SCALE_BITS) & (LOG_SCALE_PARTS - 1));
}

static inline uint64_t log_scale_upper(unsigned index)
{
    unsigned shift;

    if (index < LOG_SCALE_PARTS) {
        return index;
    }
    shift = index / LOG_SCALE_PARTS - 1;
    return (((uint64_t)(index % LOG_SCALE_PARTS) + LOG_SCALE_PARTS + 1) << shift) - 1;
}

#endif
