/* Which keys a block holds that cannot be read is not known, so keys are made up and tried: first
 * ones farther and farther behind, then, between the last that failed and the first that did not,
 * ones in the middle, a byte longer each time.
 *
 * Nothing up to where it began counts as listed: the sound keys in front of the damage can be, and
 * would lead back to where the scrub was before. */
#include "asd/scrub_skip.h"

#include <errno.h>

#include "asd/record.h"
#include "base/err.h"
#include "wire/asd_msg.h"

enum {
    REFINE_BYTES = 16, /* that many bytes behind a prefix are told apart */
    /* With the kind; as long as the position behind a key may be. */
    BYTES_MAX = 1 + ASD_KEY_BYTES_MAX + 1,
};

struct skip {
    asd_scrub_can_cb can;
    void *ctx;
    struct buf begin; /* cannot be listed from, nor can what is not behind it */
    int rc;           /* ends the search */
};

static bool can_list(struct skip *s, const struct buf *at)
{
    int rc;

    if (s->rc != 0 || slice_cmp(slice_buf(at), slice_buf(&s->begin)) <= 0) {
        return false;
    }
    rc = s->can(s->ctx, slice_buf(at));
    if (rc != 0 && rc != ERR_CORRUPT && rc != -EIO) {
        s->rc = rc;
    }
    return rc == 0;
}

/* The longest prefix of `at` that with its last byte raised can be listed from; cut to it, that
 * byte is in (*low, *high]. False: there is none. */
static bool find_readable(struct skip *s, struct buf *at, unsigned *ret_low, unsigned *ret_high)
{
    for (; at->len > 1; at->len--) {
        uint8_t *last = &at->data[at->len - 1];
        unsigned was = *last;
        unsigned low = was;

        for (unsigned step = 1; low < UINT8_MAX; step *= 2) {
            unsigned next = was + step < UINT8_MAX ? was + step : UINT8_MAX;

            *last = (uint8_t)next;
            if (can_list(s, at)) {
                *ret_low = low;
                *ret_high = next;
                return true;
            }
            low = next;
        }
    }
    return false;
}

/* The least last byte above `low`, with which `at` cannot be listed from, that it can be with;
 * `high` if it is no other. */
static unsigned bisect(struct skip *s, struct buf *at, unsigned low, unsigned high)
{
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;

        at->data[at->len - 1] = (uint8_t)middle;
        if (can_list(s, at)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return high;
}

/* `at`, with its last byte in (low, high], to what can be listed from, in `ret_good`. */
static void refine(struct skip *s, struct buf *at, unsigned low, unsigned high,
                   struct buf *ret_good)
{
    for (unsigned i = 0; i <= REFINE_BYTES; i++) {
        high = bisect(s, at, low, high);
        if (high <= UINT8_MAX) {
            at->data[at->len - 1] = (uint8_t)high;
            ret_good->len = 0;
            buf_put(ret_good, at->data, at->len);
        }
        if (at->len == BYTES_MAX) {
            return;
        }
        at->data[at->len - 1] = (uint8_t)(high - 1); /* not from here: a byte more */
        buf_put_u8(at, 0);
        low = 0;
        high = UINT8_MAX + 1;
        if (can_list(s, at)) {
            ret_good->len = 0;
            buf_put(ret_good, at->data, at->len);
            return;
        }
    }
}

int asd_scrub_skip(struct buf *at, asd_scrub_can_cb can, void *ctx)
{
    struct skip s = {.can = can, .ctx = ctx};
    struct buf good = {0};
    unsigned low;
    unsigned high;

    buf_put(&s.begin, at->data, at->len);
    if (at->len == 1) {
        buf_put_u8(at, 0);
    }
    if (!find_readable(&s, at, &low, &high)) { /* behind the last of all first bytes, if at all */
        buf_put_u8(at, UINT8_MAX);
        low = 0;
        high = UINT8_MAX + 1;
    }
    refine(&s, at, low, high, &good);
    if (s.rc == 0 && good.len == 0) {
        s.rc = ERR_NOT_FOUND;
    }
    at->len = 0;
    buf_put(at, good.data, good.len);
    buf_release(&good);
    buf_release(&s.begin);
    return s.rc;
}
