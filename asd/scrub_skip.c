/* Which keys a block holds that cannot be read is not known, so keys are made up and tried. What
 * the damaged ones have in common with where it began: the longest prefix, behind all keys with
 * which it can be listed from; each shorter one is a try that reads well, so only the last fails.
 * Then the bytes behind that prefix, bisected one after the other. A try that the device fails may
 * take it half a minute, so there are few of those.
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
    DEVICE_FAILS_MAX = 4,
    /* With the kind; as long as the position behind a key may be. */
    BYTES_MAX = 1 + ASD_KEY_BYTES_MAX + 1,
};

struct skip {
    asd_scrub_can_cb can;
    void *ctx;
    struct buf begin; /* cannot be listed from, nor can what is not behind it */
    struct buf good;  /* the least key known that can be; empty: none */
    unsigned device_fails;
    int rc; /* ends the search */
};

static bool can_list(struct skip *s, const struct buf *at)
{
    int rc;

    if (s->rc != 0 || s->device_fails == DEVICE_FAILS_MAX ||
        slice_cmp(slice_buf(at), slice_buf(&s->begin)) <= 0) {
        return false;
    }
    rc = s->can(s->ctx, slice_buf(at));
    s->device_fails += rc == -EIO;
    if (rc != 0 && rc != ERR_CORRUPT && rc != -EIO) {
        s->rc = rc;
    }
    if (rc == 0) {
        s->good.len = 0;
        buf_put(&s->good, at->data, at->len);
    }
    return rc == 0;
}

/* Cut `at` to the longest prefix behind all keys with which it can be listed from. With the byte
 * returned behind it, or less, it cannot be. */
static unsigned find_prefix(struct skip *s, struct buf *at)
{
    size_t whole = at->len;
    bool can = true;

    for (at->len = 1; at->len < whole && can; at->len += can) {
        uint8_t *next = &at->data[at->len];

        if (*next != UINT8_MAX) { /* else the one before has been tried */
            (*next)++;
            at->len++;
            can = can_list(s, at);
            at->len--;
            (*next)--;
        }
    }
    if (at->len == 1) { /* of what is behind most of all keys, nothing has been tried */
        buf_put_u8(at, UINT8_MAX);
        if (!can_list(s, at)) {
            return 0;
        }
        at->len = 1;
    }
    return at->len < whole ? s->begin.data[at->len] + 1u : 0;
}

/* The least last byte above `low`, with which `at` cannot be listed from, that it can be with;
 * UINT8_MAX + 1 if there is none. */
static unsigned bisect(struct skip *s, struct buf *at, unsigned low)
{
    unsigned high = UINT8_MAX + 1;

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

int asd_scrub_skip(struct buf *at, asd_scrub_can_cb can, void *ctx)
{
    struct skip s = {.can = can, .ctx = ctx};
    unsigned low;

    buf_put(&s.begin, at->data, at->len);
    low = find_prefix(&s, at);
    for (unsigned i = 0; i <= REFINE_BYTES && at->len < BYTES_MAX; i++) {
        buf_put_u8(at, 0);
        if (can_list(&s, at)) {
            break;
        }
        at->data[at->len - 1] = (uint8_t)(bisect(&s, at, low) - 1); /* not from here: a byte more */
        low = 0;
    }
    if (s.rc == 0 && s.good.len == 0) {
        s.rc = ERR_NOT_FOUND;
    }
    at->len = 0;
    buf_put(at, s.good.data, s.good.len);
    buf_release(&s.good);
    buf_release(&s.begin);
    return s.rc;
}
