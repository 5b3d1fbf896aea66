/* Messages waiting to be sent on one connection. No I/O.
 *
 * A message borrows its bytes until `done` has run, which it does exactly once: 0 when
 * the last byte was handed to the kernel (or copied), ERR_CANCELED when it will not be
 * sent. net_outq_abandon() gives the memory back at once and `done` does not run. */
#ifndef NET_OUTQ_H
#define NET_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

enum { NET_OUT_HEAD_BYTES_MAX = 16 };

struct net_out {
    uint8_t head[NET_OUT_HEAD_BYTES_MAX]; /* sent first */
    uint8_t head_bytes;
    const struct iovec *iov; /* borrowed */
    size_t iov_count;
    void (*done)(struct net_out *out, int rc); /* may free the message */

    struct list link; /* private from here on */
    size_t bytes;
    size_t sent;
    size_t iov_index; /* first iovec not wholly sent, */
    size_t iov_sent;  /* and how much of it was */
};

/* All of it was handed to the kernel. */
static inline bool net_out_is_sent(const struct net_out *out)
{
    return out->bytes != 0 && out->sent == out->bytes;
}

struct net_outq {
    size_t bytes; /* not sent yet */

    struct list outs; /* private */
};

void net_outq_init(struct net_outq *q);
static inline bool net_outq_empty(const struct net_outq *q)
{
    return list_empty(&q->outs);
}
/* The caller filled head, iov and done. */
void net_outq_push(struct net_outq *q, struct net_out *out);
/* The next bytes in order, as at most `max` iovecs. Returns their count. */
unsigned net_outq_peek(const struct net_outq *q, struct iovec *ret_iov, unsigned max,
                       size_t *ret_bytes);
/* The next `bytes` are sent: runs `done` of what is whole. It may push, not abandon. */
void net_outq_consume(struct net_outq *q, size_t bytes);
/* Copies the next bytes out and consumes them; returns how many. */
size_t net_outq_take(struct net_outq *q, uint8_t *ret_data, size_t bytes_max);
/* Give the memory of `out` back. What it has begun to send is finished from a copy.
 * Returns true when the peer will get (or got) all of it. No-op if it was sent. */
bool net_outq_abandon(struct net_outq *q, struct net_out *out);
/* `done` with ERR_CANCELED for all. */
void net_outq_cancel(struct net_outq *q);

#endif
