#include "wire/checksum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hex.h"
#include "wire/llio.h"

static const struct {
    const char *name;
    const char *show_name;
} algos[] = {
    [CHECKSUM_NONE] = {"none", "NO_CHECKSUM"},
    [CHECKSUM_SHA1] = {"sha-1", "SHA1"},
    [CHECKSUM_CRC32C] = {"crc-32c", "CRC32c"},
};

enum { ALGO_END = sizeof(algos) / sizeof(algos[0]) };

static uint8_t algo_of(const struct checksum *c)
{
    return c->algo != 0 ? c->algo : CHECKSUM_NONE;
}

bool checksum_eq(const struct checksum *a, const struct checksum *b)
{
    if (algo_of(a) != algo_of(b)) {
        return false;
    }
    switch (algo_of(a)) {
    case CHECKSUM_SHA1:
        return memcmp(a->sha1, b->sha1, sizeof(a->sha1)) == 0;
    case CHECKSUM_CRC32C:
        return a->crc32c == b->crc32c;
    default:
        return true;
    }
}

void checksum_put(struct buf *b, const struct checksum *c)
{
    uint8_t algo = algo_of(c);

    CHECK(algo < ALGO_END);
    buf_put_u8(b, algo);
    if (algo == CHECKSUM_SHA1) {
        llio_put_string(b, slice_of(c->sha1, sizeof(c->sha1)));
    } else if (algo == CHECKSUM_CRC32C) {
        buf_put_u32le(b, c->crc32c);
    }
}

struct checksum checksum_get(struct rd *r)
{
    struct checksum c = {.algo = rd_u8(r)};
    struct slice sha1;

    switch (c.algo) {
    case CHECKSUM_NONE:
        break;
    case CHECKSUM_SHA1:
        sha1 = llio_string(r);
        if (sha1.len == sizeof(c.sha1)) {
            memcpy(c.sha1, sha1.data, sizeof(c.sha1));
        } else {
            rd_fail(r);
        }
        break;
    case CHECKSUM_CRC32C:
        c.crc32c = rd_u32le(r);
        break;
    default:
        rd_fail(r);
    }
    return r->bad ? checksum_none() : c;
}

void checksum_put_opt(struct buf *b, bool has, const struct checksum *c)
{
    llio_put_bool(b, has);
    if (has) {
        checksum_put(b, c);
    }
}

struct checksum checksum_get_opt(struct rd *r, bool *ret_has)
{
    *ret_has = llio_bool(r);
    return *ret_has ? checksum_get(r) : checksum_none();
}

const char *checksum_algo_name(unsigned algo)
{
    return algo < ALGO_END ? algos[algo].name : NULL;
}

const char *checksum_algo_show_name(unsigned algo)
{
    return algo < ALGO_END ? algos[algo].show_name : NULL;
}

int checksum_algo_parse(const char *name, uint8_t *ret_algo)
{
    for (uint8_t algo = CHECKSUM_NONE; algo < ALGO_END; algo++) {
        if (strcmp(name, algos[algo].name) == 0) {
            *ret_algo = algo;
            return 0;
        }
    }
    return -EINVAL;
}

void checksum_text(const struct checksum *c, char ret_text[CHECKSUM_TEXT_BYTES])
{
    ret_text[0] = '\0';
    if (c->algo == CHECKSUM_CRC32C) {
        snprintf(ret_text, CHECKSUM_TEXT_BYTES, "0x%08" PRIx32, c->crc32c);
    } else if (c->algo == CHECKSUM_SHA1) {
        hex_encode(ret_text, c->sha1, sizeof(c->sha1));
    }
}
