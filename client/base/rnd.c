#include "base/rnd.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/check.h"

void rnd_bytes(void *ret_data, size_t bytes)
{
    uint8_t *at = ret_data;

    while (bytes != 0) {
        ssize_t n = getrandom(at, bytes, 0);

        if (n > 0) {
            at += n;
            bytes -= (size_t)n;
        }
    }
}

void rnd_uuid_text(char ret_text[RND_UUID_TEXT_BYTES])
{
    uint8_t b[16];

    rnd_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* RFC 4122 variant */
    snprintf(ret_text, RND_UUID_TEXT_BYTES,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

uint64_t rnd_next(struct rnd *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rnd_below(struct rnd *r, uint64_t bound)
{
    CHECK(bound != 0);
    return rnd_next(r) % bound;
}
