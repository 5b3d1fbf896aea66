/* The data of an upload that its client sends part by part: the upload asks for one range after the
 * other, in any order and more than once, and whoever speaks with the client fills it. Loop
 * thread only. */
#ifndef PROXY_PUT_STREAM_H
#define PROXY_PUT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

typedef void (*put_stream_cb)(void *ctx);

struct put_stream {
    uint64_t offset; /* what is asked for: read only */
    uint32_t left;   /* 0: nothing */

    void (*on_ask)(void *ctx); /* something is asked for now */
    void *on_ask_ctx;

    uint8_t *at; /* private from here on */
    put_stream_cb cb;
    void *ctx;
};

/* ---- for the upload ---- */

/* Fill `ret_data` with the `bytes` (not 0) at `offset`, then `cb`. One at a time. */
void put_stream_read(struct put_stream *stream, uint64_t offset, uint8_t *ret_data, uint32_t bytes,
                     put_stream_cb cb, void *ctx);
/* The range is not wanted any more: its `cb` does not run. */
void put_stream_stop(struct put_stream *stream);

/* ---- for its client's side ---- */

/* The next bytes of what is asked for, at most `left`: copied. True: that was all, and
 * put_stream_filled() is to follow. */
bool put_stream_take(struct put_stream *stream, struct slice data);
void put_stream_filled(struct put_stream *stream);

#endif
