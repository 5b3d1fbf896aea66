/* The random numbers of a property test: another seed each run, printed; the
 * environment variable SEED repeats one. */
#ifndef TESTS_LIB_SEED_H
#define TESTS_LIB_SEED_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rnd.h"

static inline struct rnd seed_start(const char *test)
{
    const char *text = getenv("SEED");
    uint64_t seed;

    if (text != NULL) {
        seed = strtoull(text, NULL, 0);
    } else {
        rnd_bytes(&seed, sizeof(seed));
    }
    printf("%s: SEED=%" PRIu64 "\n", test, seed);
    return rnd_seed(seed);
}

static inline void seed_fill(struct rnd *rnd, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)rnd_next(rnd);
    }
}

#endif
