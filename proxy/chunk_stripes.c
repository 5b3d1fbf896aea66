/* A range of which no k fragments are good, but k or more are in parts: stripe by stripe, each
 * from whichever k are good there.
 *
 * A stripe is the same part of every fragment. The first is a quarter of the range; one that
 * fails is halved, down to a block, which is as much as a damaged byte makes unreadable; after one
 * that succeeds the next is twice as long. What could not be had at all, just now, is not asked. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/chunk_read_private.h"

struct chunk_stripes {
    struct chunk_read *whole;
    struct chunk_read read; /* of the stripe under way */
    uint32_t block_bytes;
    uint32_t never;
    uint32_t at;     /* in the range: read before it */
    uint32_t blocks; /* that a stripe is long */
    chunk_read_cb cb;
};

static void start_next(struct chunk_stripes *s);

static void end(struct chunk_stripes *s, int rc)
{
    struct chunk_read *whole = s->whole;
    chunk_read_cb cb = s->cb;

    if (rc != 0) {
        err_copy(&whole->err, &s->read.err);
    }
    if (rc == ERR_NOT_ENOUGH) {
        err_wrap(&whole->err, "bytes from %" PRIu32 " on of each fragment", whole->offset + s->at);
    }
    whole->stripes = NULL;
    free(s);
    cb(whole, rc);
}

static void on_stripe(struct chunk_read *read, int rc)
{
    struct chunk_stripes *s = container_of(read, struct chunk_stripes, read);

    if (s->whole->canceled) {
        end(s, err_set(&read->err, ERR_CANCELED, "read"));
        return;
    }
    if (rc == 0) {
        s->at += read->bytes;
        s->blocks *= 2;
    } else if (rc == ERR_NOT_ENOUGH && s->blocks > 1) {
        s->blocks /= 2;
    } else {
        end(s, rc);
        return;
    }
    if (s->at == s->whole->bytes) {
        end(s, 0);
    } else {
        start_next(s);
    }
}

/* Its end is that of a block, or of the range. */
static void start_next(struct chunk_stripes *s)
{
    uint32_t left = s->whole->bytes - s->at;
    uint32_t in_block = (s->whole->offset + s->at) % s->block_bytes;
    uint64_t bytes = (uint64_t)s->blocks * s->block_bytes - in_block;

    chunk_read_stripe(&s->read, s->whole, s->at, bytes < left ? (uint32_t)bytes : left, s->never,
                      on_stripe);
}

static uint32_t block_bytes_of(const struct chunk_read *whole)
{
    return whole->readable->object->manifest.scheme.block_bytes;
}

bool chunk_stripes_have_hope(const struct chunk_read *whole)
{
    const struct manifest_scheme *scheme = &whole->readable->object->manifest.scheme;
    uint32_t in_parts = (uint32_t)__builtin_popcount(whole->came | whole->damaged);

    return whole->damaged != 0 && in_parts >= whole->readable->k && scheme->fragment_format == 1 &&
           scheme->block_bytes >= FRAGMENT_BLOCK_BYTES_MIN && whole->bytes > scheme->block_bytes;
}

void chunk_stripes_start(struct chunk_read *whole, chunk_read_cb cb)
{
    struct chunk_stripes *s = mem_zalloc(sizeof(*s));
    uint32_t blocks = whole->bytes / 4 / block_bytes_of(whole);

    s->whole = whole;
    s->block_bytes = block_bytes_of(whole);
    s->never = ~(whole->came | whole->damaged);
    s->blocks = blocks > 0 ? blocks : 1;
    s->cb = cb;
    whole->stripes = s;
    start_next(s);
}

void chunk_stripes_cancel(struct chunk_stripes *s)
{
    chunk_read_cancel(&s->read);
}
