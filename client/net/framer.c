#include "net/framer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

/* What waits for its place is stashed, its length included. */
enum { HEAD_BYTES_MAX = NET_FRAMER_RAW_BYTES_MAX - NET_FRAMER_LENGTH_BYTES };

void net_framer_init(struct net_framer *f, const struct net_framer_ops *ops, void *ctx,
                     uint32_t frame_bytes_max, bool expect_raw)
{
    *f = (struct net_framer){
        .frame_bytes_max = frame_bytes_max, .ops = ops, .ctx = ctx, .framing = !expect_raw};
}

static void frame_free(struct net_framer *f)
{
    if (f->frame != NULL) {
        bigmem_free(f->frame - f->frame_lead);
        f->frame = NULL;
    }
}

void net_framer_release(struct net_framer *f)
{
    frame_free(f);
    free(f->stash);
    f->stash = NULL;
    f->stash_bytes = 0;
}

static void keep(struct net_framer *f, const uint8_t *data, size_t bytes)
{
    CHECK(f->stash == NULL);
    if (bytes != 0) {
        f->stash = mem_dup(data, bytes);
        f->stash_bytes = bytes;
    }
}

static void window_begin(struct net_framer *f)
{
    uint32_t window = f->frame_bytes - f->window_end;

    if (f->ops->on_window == NULL || f->frame_bytes < NET_FRAMER_DIRECT_BYTES_MIN) {
        f->window_end = f->frame_bytes;
        return;
    }
    window = window < NET_FRAMER_WINDOW_BYTES ? window : NET_FRAMER_WINDOW_BYTES;
    f->window_end += window;
    f->ops->on_window(f->ctx, f->frame_bytes, window);
}

/* Memory whose byte `at`, behind the lead, is on a boundary. NULL: there is none. */
static uint8_t *frame_memory(uint32_t bytes, uint32_t at, uint32_t *ret_lead)
{
    uint8_t *memory = bigmem_try((size_t)bytes + (at != 0 ? NET_FRAMER_ALIGN_BYTES : 0));

    *ret_lead = at != 0 ? (uint32_t)(-((uintptr_t)memory + at) % NET_FRAMER_ALIGN_BYTES) : 0;
    return memory;
}

/* False: more has to come to know where the frame should lie. */
static bool place_known(struct net_framer *f, uint32_t bytes, struct slice head, uint32_t *ret_at)
{
    *ret_at = 0;
    if (f->ops->align_at == NULL || bytes < NET_FRAMER_DIRECT_BYTES_MIN) {
        return true;
    }
    head.len = head.len < bytes ? head.len : bytes;
    *ret_at = f->ops->align_at(f->ctx, head.data, head.len);
    if (*ret_at != NET_FRAMER_UNTOLD) {
        return true;
    }
    *ret_at = 0;
    return head.len >= HEAD_BYTES_MAX;
}

/* A peer may claim frame_bytes_max and send nothing: memory that is not written to costs
 * nothing, but the claim may be more than the system grants, and that is not our mistake.
 * -EAGAIN: when more came. */
static int frame_begin(struct net_framer *f, uint32_t bytes, struct slice head)
{
    uint8_t *memory;
    uint32_t at;

    if (bytes > f->frame_bytes_max) {
        return ERR_TOO_LARGE;
    }
    if (!place_known(f, bytes, head, &at)) {
        return -EAGAIN;
    }
    memory = frame_memory(bytes, at, &f->frame_lead);
    if (memory == NULL) {
        return ERR_BUSY;
    }
    if (f->ops->on_window != NULL) {
        /* else its owner counts windows and all of it is resident */
        bigmem_cool(memory, f->frame_lead + (size_t)bytes);
    }
    f->frame = memory + f->frame_lead;
    f->frame_bytes = bytes;
    f->frame_have = 0;
    f->window_end = 0;
    f->tail_done = false;
    window_begin(f);
    return 0;
}

static int frame_add_tail(struct net_framer *f)
{
    uint32_t more = 0;
    uint8_t *longer;
    int rc;

    f->tail_done = true;
    if (f->ops->frame_tail == NULL) {
        return 0;
    }
    rc = f->ops->frame_tail(f->ctx, f->frame, f->frame_bytes, &more);
    if (rc != 0 || more == 0) {
        return rc;
    }
    if (more > f->frame_bytes_max - f->frame_bytes) {
        return ERR_TOO_LARGE;
    }
    CHECK(f->frame_lead == 0);
    longer = realloc(f->frame, f->frame_bytes + more);
    if (longer == NULL) {
        return ERR_BUSY;
    }
    f->frame = longer;
    f->frame_bytes += more;
    f->window_end = f->frame_bytes;
    return 0;
}

/* The frame has all its bytes: ask for a tail or hand it over. */
static int frame_whole(struct net_framer *f)
{
    uint8_t *frame;

    if (!f->tail_done) {
        int rc = frame_add_tail(f);

        if (rc != 0 || f->frame_have < f->frame_bytes) {
            return rc;
        }
    }
    frame = f->frame;
    f->frame = NULL;
    f->whole_count++;
    f->ops->on_frame(f->ctx, frame, f->frame_bytes);
    return 0;
}

/* `bytes` more of the frame are in place. */
static int frame_advance(struct net_framer *f, size_t bytes)
{
    f->frame_have += (uint32_t)bytes;
    if (f->frame_have == f->frame_bytes) {
        return frame_whole(f);
    }
    if (f->frame_have == f->window_end) {
        window_begin(f);
    }
    return 0;
}

static int parse_raw(struct net_framer *f, const uint8_t *data, size_t bytes, size_t *ret_taken)
{
    int taken = f->ops->on_raw(f->ctx, data, bytes);

    if (taken < 0) {
        return taken;
    }
    if (taken == 0) {
        return bytes >= NET_FRAMER_RAW_BYTES_MAX ? ERR_PROTOCOL : 0;
    }
    CHECK((size_t)taken <= bytes);
    f->framing = true;
    f->whole_count++;
    *ret_taken = (size_t)taken;
    return 0;
}

static int parse_frame(struct net_framer *f, const uint8_t *data, size_t bytes, size_t *ret_taken)
{
    size_t taken = 0;
    size_t part;

    if (f->frame == NULL) {
        int rc;

        if (bytes < NET_FRAMER_LENGTH_BYTES) {
            return 0;
        }
        rc = frame_begin(f, get_u32le(data),
                         slice_of(data + NET_FRAMER_LENGTH_BYTES, bytes - NET_FRAMER_LENGTH_BYTES));
        if (rc != 0) {
            return rc == -EAGAIN ? 0 : rc;
        }
        taken = NET_FRAMER_LENGTH_BYTES;
    }
    if (f->blocked) { /* no room for it yet */
        *ret_taken = taken;
        return 0;
    }
    part = f->window_end - f->frame_have;
    if (part > bytes - taken) {
        part = bytes - taken;
    }
    if (part != 0) {
        memcpy(f->frame + f->frame_have, data + taken, part);
    }
    *ret_taken = taken + part;
    return frame_advance(f, part);
}

static size_t parse_skipped(struct net_framer *f, size_t bytes)
{
    size_t taken = bytes < f->skip_bytes ? bytes : f->skip_bytes;

    f->skip_bytes -= (uint32_t)taken;
    return taken;
}

/* Stops at the first thing that is not whole and keeps it, as well as all that comes after
 * a callback has set `blocked`. */
static int parse(struct net_framer *f, const uint8_t *data, size_t bytes)
{
    while (bytes != 0 && !f->blocked) {
        size_t taken = 0;
        int rc = 0;

        if (f->skip_bytes != 0) {
            taken = parse_skipped(f, bytes);
        } else if (f->framing) {
            rc = parse_frame(f, data, bytes, &taken);
        } else {
            rc = parse_raw(f, data, bytes, &taken);
        }
        if (rc != 0) {
            return rc;
        }
        if (taken == 0) {
            break;
        }
        data += taken;
        bytes -= taken;
    }
    keep(f, data, bytes);
    return 0;
}

uint8_t *net_framer_buffer(const struct net_framer *f, size_t *ret_bytes)
{
    size_t rest;

    if (f->frame == NULL || f->stash != NULL) { /* what was kept comes first */
        return NULL;
    }
    rest = f->window_end - f->frame_have;
    if (rest < NET_FRAMER_DIRECT_BYTES_MIN) {
        return NULL;
    }
    *ret_bytes = rest;
    return f->frame + f->frame_have;
}

int net_framer_filled(struct net_framer *f, size_t bytes)
{
    return frame_advance(f, bytes);
}

int net_framer_feed(struct net_framer *f, uint8_t *data, size_t bytes)
{
    if (f->stash_bytes > NET_FRAMER_RAW_BYTES_MAX) { /* kept while blocked, not resumed yet */
        f->stash = mem_realloc(f->stash, f->stash_bytes + bytes);
        memcpy(f->stash + f->stash_bytes, data, bytes);
        f->stash_bytes += bytes;
        return net_framer_resume(f);
    }
    if (f->stash != NULL) {
        data -= f->stash_bytes;
        bytes += f->stash_bytes;
        memcpy(data, f->stash, f->stash_bytes);
        free(f->stash);
        f->stash = NULL;
        f->stash_bytes = 0;
    }
    return parse(f, data, bytes);
}

int net_framer_resume(struct net_framer *f)
{
    uint8_t *data = f->stash;
    size_t bytes = f->stash_bytes;
    int rc;

    if (data == NULL) {
        return 0;
    }
    f->stash = NULL;
    f->stash_bytes = 0;
    rc = parse(f, data, bytes);
    free(data);
    return rc;
}

void net_framer_skip(struct net_framer *f)
{
    CHECK(f->frame != NULL && f->skip_bytes == 0);
    frame_free(f);
    f->skip_bytes = f->frame_bytes - f->frame_have;
}

bool net_framer_is_partial(const struct net_framer *f)
{
    return f->frame != NULL || f->skip_bytes != 0 || f->stash != NULL || !f->framing;
}
