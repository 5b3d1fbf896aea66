/* Cuts a byte stream into a preamble and length-prefixed frames. No I/O.
 *
 * Bytes arrive in the owner's read buffer (small frames are copied out of it, one
 * allocation each) or, for the rest of a large frame, straight in the frame: ask
 * net_framer_buffer() where the next read should go. A length above frame_bytes_max is
 * refused before anything is allocated. Loop thread only. */
#ifndef NET_FRAMER_H
#define NET_FRAMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NET_FRAMER_RAW_BYTES_MAX = 1024,     /* a preamble must be whole within */
    NET_FRAMER_DIRECT_BYTES_MIN = 16384, /* less is cheaper to copy than to read apart */
    NET_FRAMER_WINDOW_BYTES = 1 << 20,   /* read of a large frame before on_window is asked */
    NET_FRAMER_LENGTH_BYTES = 4,
    NET_FRAMER_ALIGN_BYTES = 4096
};

/* Of align_at: more of the frame must have come. */
#define NET_FRAMER_UNTOLD UINT32_MAX

struct net_framer_ops {
    /* Bytes before the first frame. As net_server_ops.on_preamble. */
    int (*on_raw)(void *ctx, const uint8_t *data, size_t bytes);
    /* A frame of NET_FRAMER_DIRECT_BYTES_MIN or more has begun, or has all of what was asked
     * for so far: its next `window` bytes are read, unless `blocked`. May be NULL: it is read
     * as it comes. */
    void (*on_window)(void *ctx, uint32_t frame_bytes, uint32_t window);
    /* Bytes that follow this whole frame outside its length and belong to it. 0 or a
     * negative code. May be NULL: there are none. */
    int (*frame_tail)(void *ctx, const uint8_t *frame, uint32_t bytes, uint32_t *ret_more);
    /* The frame begins with `head`. Which of its bytes should lie on a boundary of
     * NET_FRAMER_ALIGN_BYTES? 0: none. NET_FRAMER_UNTOLD: asked again when more came, until
     * nearly NET_FRAMER_RAW_BYTES_MAX did. Only for frames of NET_FRAMER_DIRECT_BYTES_MIN and
     * more. May be NULL: it does not matter. */
    uint32_t (*align_at)(void *ctx, const uint8_t *head, size_t bytes);
    /* Ownership of `frame` passes; bigmem_free() it, from `frame_lead` bytes before it on. */
    void (*on_frame)(void *ctx, uint8_t *frame, uint32_t bytes);
};

struct net_framer {
    uint32_t frame_bytes_max;
    bool blocked; /* owner: no callbacks until this is false again; input is kept */

    uint64_t whole_count; /* preambles and frames handed over so far */
    uint32_t frame_lead;  /* before the frame, within its memory; 0 without align_at */

    const struct net_framer_ops *ops; /* private from here on */
    void *ctx;
    bool framing;   /* the preamble is over */
    bool tail_done; /* frame_tail() was asked about `frame` */
    uint8_t *frame; /* under way, or NULL */
    uint32_t frame_bytes;
    uint32_t frame_have;
    uint32_t window_end; /* no more of the frame is read than up to here */
    uint32_t skip_bytes; /* of a frame that is thrown away */
    uint8_t *stash;      /* input not looked at yet */
    size_t stash_bytes;
};

void net_framer_init(struct net_framer *f, const struct net_framer_ops *ops, void *ctx,
                     uint32_t frame_bytes_max, bool expect_raw);
void net_framer_release(struct net_framer *f);

/* Where the next bytes should be read to: the frame under way, or NULL for the owner's
 * buffer (*ret_bytes is then untouched). */
uint8_t *net_framer_buffer(const struct net_framer *f, size_t *ret_bytes);
/* `bytes` were read into what net_framer_buffer() gave. 0 or a negative code. */
int net_framer_filled(struct net_framer *f, size_t bytes);
/* `bytes` were read into a buffer that has NET_FRAMER_RAW_BYTES_MAX writable bytes before
 * `data`. Calls back for everything that is whole. 0 or a negative code. */
int net_framer_feed(struct net_framer *f, uint8_t *data, size_t bytes);
/* After `blocked` went back to false: look at what was kept. */
int net_framer_resume(struct net_framer *f);
/* What came of the frame under way is freed, and the rest of it thrown away as it comes. */
void net_framer_skip(struct net_framer *f);
/* Something began and is not whole. */
bool net_framer_is_partial(const struct net_framer *f);

#endif
