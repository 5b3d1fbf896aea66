#include "net/outq.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

/* What is left of an abandoned message that was partly sent. */
struct rest {
    struct net_out out;
    struct iovec iov;
    uint8_t data[];
};

void net_outq_init(struct net_outq *q)
{
    *q = (struct net_outq){0};
    list_init(&q->outs);
}

void net_outq_push(struct net_outq *q, struct net_out *out)
{
    CHECK(out->head_bytes <= NET_OUT_HEAD_BYTES_MAX);
    out->bytes = out->head_bytes;
    for (size_t i = 0; i < out->iov_count; i++) {
        out->bytes += out->iov[i].iov_len;
    }
    CHECK(out->bytes > 0);
    out->sent = 0;
    out->iov_index = 0;
    out->iov_sent = 0;
    q->bytes += out->bytes;
    list_push(&q->outs, &out->link);
}

static unsigned out_peek(const struct net_out *out, struct iovec *ret_iov, unsigned max,
                         size_t *ret_bytes)
{
    unsigned n = 0;

    if (out->sent < out->head_bytes && n < max) {
        ret_iov[n].iov_base = (void *)(uintptr_t)(out->head + out->sent);
        ret_iov[n].iov_len = out->head_bytes - out->sent;
        *ret_bytes += ret_iov[n++].iov_len;
    }
    for (size_t i = out->iov_index; i < out->iov_count && n < max; i++) {
        size_t skip = i == out->iov_index ? out->iov_sent : 0;

        if (out->iov[i].iov_len == skip) {
            continue;
        }
        ret_iov[n].iov_base = (uint8_t *)out->iov[i].iov_base + skip;
        ret_iov[n].iov_len = out->iov[i].iov_len - skip;
        *ret_bytes += ret_iov[n++].iov_len;
    }
    return n;
}

unsigned net_outq_peek(const struct net_outq *q, struct iovec *ret_iov, unsigned max,
                       size_t *ret_bytes)
{
    unsigned n = 0;

    *ret_bytes = 0;
    LIST_FOR_EACH (it, &q->outs) {
        if (n == max) {
            break;
        }
        n += out_peek(container_of(it, struct net_out, link), ret_iov + n, max - n, ret_bytes);
    }
    return n;
}

static void out_advance(struct net_out *out, size_t bytes)
{
    size_t body = bytes;

    if (out->sent < out->head_bytes) {
        size_t head = out->head_bytes - out->sent;

        body = bytes > head ? bytes - head : 0;
    }
    out->sent += bytes;
    while (body != 0) {
        size_t left = out->iov[out->iov_index].iov_len - out->iov_sent;

        if (body < left) {
            out->iov_sent += body;
            break;
        }
        body -= left;
        out->iov_index++;
        out->iov_sent = 0;
    }
}

void net_outq_consume(struct net_outq *q, size_t bytes)
{
    CHECK(bytes <= q->bytes);
    while (bytes != 0) {
        struct net_out *out = container_of(q->outs.next, struct net_out, link);
        size_t part = out->bytes - out->sent;

        if (part > bytes) {
            part = bytes;
        }
        out_advance(out, part);
        q->bytes -= part;
        bytes -= part;
        if (out->sent == out->bytes) {
            list_remove(&out->link);
            out->done(out, 0);
        }
    }
}

size_t net_outq_take(struct net_outq *q, uint8_t *ret_data, size_t bytes_max)
{
    size_t taken = 0;

    while (taken < bytes_max && !net_outq_empty(q)) {
        struct iovec iov[16];
        size_t bytes;
        unsigned n = net_outq_peek(q, iov, 16, &bytes);
        size_t before = taken;

        for (unsigned i = 0; i < n && taken < bytes_max; i++) {
            size_t part = iov[i].iov_len < bytes_max - taken ? iov[i].iov_len : bytes_max - taken;

            memcpy(ret_data + taken, iov[i].iov_base, part);
            taken += part;
        }
        net_outq_consume(q, taken - before);
    }
    return taken;
}

static void rest_done(struct net_out *out, int rc)
{
    (void)rc;
    free(container_of(out, struct rest, out));
}

bool net_outq_abandon(struct net_outq *q, struct net_out *out)
{
    size_t left = out->bytes - out->sent;
    struct rest *rest;
    size_t have = 0;

    if (left == 0) {
        return true;
    }
    if (out->sent == 0) {
        list_remove(&out->link);
        q->bytes -= left;
        return false;
    }
    CHECK(q->outs.next == &out->link);
    rest = mem_alloc(sizeof *rest + left);
    rest->out = (struct net_out){.iov = &rest->iov, .iov_count = 1, .done = rest_done};
    while (have < left) {
        struct iovec iov;
        size_t bytes = 0;

        CHECK(out_peek(out, &iov, 1, &bytes) == 1);
        memcpy(rest->data + have, iov.iov_base, bytes);
        have += bytes;
        out_advance(out, bytes);
    }
    rest->iov = (struct iovec){.iov_base = rest->data, .iov_len = left};
    list_remove(&out->link);
    q->bytes -= left;
    net_outq_push(q, &rest->out);
    list_remove(&rest->out.link);
    list_push_front(&q->outs, &rest->out.link);
    return true;
}

void net_outq_cancel(struct net_outq *q)
{
    struct list *link;

    while ((link = list_pop(&q->outs)) != NULL) {
        struct net_out *out = container_of(link, struct net_out, link);

        q->bytes -= out->bytes - out->sent;
        out->done(out, ERR_CANCELED);
    }
}
