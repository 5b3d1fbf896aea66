/* Turns one bit of any object over: tests that a checksum covers a field. */
#ifndef TESTS_LIB_FLIP_H
#define TESTS_LIB_FLIP_H

#include <stdint.h>

static inline void flip_bit(void *object, unsigned bit)
{
    uint8_t *byte = (uint8_t *)object + bit / 8;

    *byte = (uint8_t)(*byte ^ (1u << bit % 8));
}

#endif
