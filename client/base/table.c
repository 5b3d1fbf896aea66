#include "base/table.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/rnd.h"

/* Drawn once: what a table has hashed must be found again. */
static uint64_t process_key[2];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

struct sip {
    uint64_t v[4];
};

static inline uint64_t rotated(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    uint64_t *v = s->v;

    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] = rotated(v[2], 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v[3] ^= word;
    sip_round(s);
    s->v[0] ^= word;
}

uint64_t table_siphash(const uint64_t key[2], const void *data, size_t bytes)
{
    struct sip s = {{key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                     key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u}};
    const uint8_t *p = data;
    uint64_t last = (uint64_t)bytes << 56;
    size_t left = bytes;

    for (; left >= 8; left -= 8, p += 8) {
        sip_word(&s, get_u64le(p));
    }
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)p[i] << (8 * i);
    }
    sip_word(&s, last);
    s.v[2] ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

static void draw_key(void)
{
    rnd_bytes(process_key, sizeof process_key);
}

uint64_t table_hash(const void *data, size_t bytes)
{
    CHECK(pthread_once(&process_key_once, draw_key) == 0);
    return table_siphash(process_key, data, bytes);
}
