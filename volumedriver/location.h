/* Where a cluster of a volume is: 64 bits = ancestor 8 | SCO number 40 | offset 15 | zero 1.
 *
 * LOCATION_NONE: never written (an ancestor may show through); LOCATION_ZERO: zero,
 * whatever an ancestor holds. SCO number = epoch (24) | index (16); epoch 0 is never
 * used, so no SCO has number 0. Any thread. */
#ifndef VOLUMEDRIVER_LOCATION_H
#define VOLUMEDRIVER_LOCATION_H

#include <stdbool.h>
#include <stdint.h>

#define LOCATION_NONE UINT64_C(0)
#define LOCATION_ZERO UINT64_C(1)
#define SCO_NUMBER_MAX ((UINT64_C(1) << 40) - 1)
#define EPOCH_MAX ((UINT32_C(1) << 24) - 1)
#define SCO_INDEX_MAX 65534 /* 65535 marks "used up" */

enum { LOCATION_OFFSET_MAX = 32767 };

static inline uint64_t location_make(uint8_t ancestor, uint64_t number, uint32_t offset)
{
    return (uint64_t)ancestor << 56 | number << 16 | (uint64_t)offset << 1;
}

static inline uint8_t location_ancestor(uint64_t location)
{
    return (uint8_t)(location >> 56);
}

static inline uint64_t location_number(uint64_t location)
{
    return location >> 16 & SCO_NUMBER_MAX;
}

static inline uint32_t location_offset(uint64_t location)
{
    return (uint32_t)(location >> 1) & LOCATION_OFFSET_MAX;
}

static inline bool location_has_data(uint64_t location)
{
    return location_number(location) != 0;
}

/* The place `clusters` further on, for a run. */
static inline uint64_t location_add(uint64_t location, uint64_t clusters)
{
    return location_has_data(location) ? location + (clusters << 1) : location;
}

static inline uint64_t sco_number(uint32_t epoch, uint32_t index)
{
    return (uint64_t)epoch << 16 | index;
}

static inline uint32_t number_epoch(uint64_t number)
{
    return (uint32_t)(number >> 16);
}

#endif
