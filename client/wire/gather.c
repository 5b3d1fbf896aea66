#include "wire/gather.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

void gather_borrow(struct gather *g, struct slice bytes)
{
    if (bytes.len == 0) {
        return;
    }
    if (g->piece_count == g->piece_cap) {
        g->piece_cap = g->piece_cap != 0 ? 2 * g->piece_cap : 8;
        g->pieces = mem_realloc(g->pieces, g->piece_cap * sizeof(g->pieces[0]));
    }
    g->pieces[g->piece_count++] = (struct gather_piece){.at = g->own.len, .bytes = bytes};
    g->borrowed_bytes += bytes.len;
}

void gather_put(struct gather *g, struct slice bytes)
{
    if (bytes.len < GATHER_BORROW_BYTES_MIN) {
        buf_put(&g->own, bytes.data, bytes.len);
    } else {
        gather_borrow(g, bytes);
    }
}

void gather_put_string(struct gather *g, struct slice s)
{
    CHECK(s.len <= LLIO_STRING_BYTES_MAX);
    buf_put_u32le(&g->own, (uint32_t)s.len);
    gather_put(g, s);
}

void gather_cut(struct gather *g)
{
    CHECK(g->cut == 0);
    g->cut = gather_bytes(g);
}

static void add_iov(struct iovec *iov, size_t *count, const uint8_t *data, size_t bytes)
{
    if (bytes != 0) {
        iov[(*count)++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    }
}

void gather_finish(struct gather *g, const struct iovec **ret_iov, size_t *ret_count,
                   size_t *ret_bytes)
{
    size_t done = 0; /* bytes of own */
    size_t count = 0;

    free(g->iov);
    g->iov = mem_array(2 * g->piece_count + 1, sizeof(g->iov[0]));
    for (size_t i = 0; i < g->piece_count; i++) {
        const struct gather_piece *piece = &g->pieces[i];

        add_iov(g->iov, &count, g->own.data + done, piece->at - done);
        add_iov(g->iov, &count, piece->bytes.data, piece->bytes.len);
        done = piece->at;
    }
    add_iov(g->iov, &count, g->own.data + done, g->own.len - done);
    *ret_iov = g->iov;
    *ret_count = count;
    *ret_bytes = gather_bytes(g);
}

void gather_flatten(const struct gather *g, struct buf *b)
{
    size_t done = 0;

    buf_reserve(b, gather_bytes(g));
    for (size_t i = 0; i < g->piece_count; i++) {
        const struct gather_piece *piece = &g->pieces[i];

        buf_put(b, g->own.data + done, piece->at - done);
        buf_put(b, piece->bytes.data, piece->bytes.len);
        done = piece->at;
    }
    buf_put(b, g->own.data + done, g->own.len - done);
}

void gather_release(struct gather *g)
{
    buf_release(&g->own);
    free(g->pieces);
    free(g->iov);
    *g = (struct gather){0};
}
