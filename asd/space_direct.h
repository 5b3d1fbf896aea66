/* State of the writes past the page cache. Part of struct asd_space; commit thread. */
#ifndef ASD_SPACE_DIRECT_H
#define ASD_SPACE_DIRECT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ASD_SPACE_DIRECT_BYTES_MIN = 65536, /* such values are written past the page cache */
    ASD_SPACE_BOUNCE_BYTES = 1048576,
    ASD_SPACE_LOW_BYTES = 262144, /* written at once for a Low one: reads come between */
};

struct asd_space_direct {
    int fd;          /* -1: none */
    uint64_t slab;   /* whose file it is */
    bool refused;    /* this file system wants no direct I/O: all through the page cache */
    bool low;        /* set before a write: what it writes is Low */
    uint8_t *bounce; /* ASD_SPACE_BOUNCE_BYTES, aligned; NULL until first used */
};

#endif
