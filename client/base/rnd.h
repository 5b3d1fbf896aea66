/* Random bytes from the kernel for ids and salts, and a seeded generator for
 * placement, back-off and tests. */
#ifndef BASE_RND_H
#define BASE_RND_H

#include <stddef.h>
#include <stdint.h>

/* Cryptographic quality. Any thread. */
void rnd_bytes(void *ret_data, size_t bytes);

/* "xxxxxxxx-xxxx-4xxx-…", 36 characters and a NUL. */
enum { RND_UUID_TEXT_BYTES = 37 };
void rnd_uuid_text(char ret_text[RND_UUID_TEXT_BYTES]);

/* Repeatable (SplitMix64); not for secrets. One thread per struct. */
struct rnd {
    uint64_t state;
};

static inline struct rnd rnd_seed(uint64_t seed)
{
    return (struct rnd){.state = seed};
}

uint64_t rnd_next(struct rnd *r);
/* Uniform enough in [0, bound); bound > 0. */
uint64_t rnd_below(struct rnd *r, uint64_t bound);

#endif
