#include "proxy/put_stream.h"

#include <string.h>

#include "base/check.h"

void put_stream_read(struct put_stream *stream, uint64_t offset, uint8_t *ret_data, uint32_t bytes,
                     put_stream_cb cb, void *ctx)
{
    CHECK(stream->cb == NULL && bytes != 0);
    stream->offset = offset;
    stream->left = bytes;
    stream->at = ret_data;
    stream->cb = cb;
    stream->ctx = ctx;
    stream->on_ask(stream->on_ask_ctx);
}

void put_stream_stop(struct put_stream *stream)
{
    stream->left = 0;
    stream->cb = NULL;
}

bool put_stream_take(struct put_stream *stream, struct slice data)
{
    CHECK(data.len <= stream->left);
    memcpy(stream->at, data.data, data.len);
    stream->at += data.len;
    stream->offset += data.len;
    stream->left -= (uint32_t)data.len;
    return stream->left == 0;
}

void put_stream_filled(struct put_stream *stream)
{
    put_stream_cb cb = stream->cb;

    CHECK(cb != NULL && stream->left == 0);
    stream->cb = NULL;
    cb(stream->ctx);
}
