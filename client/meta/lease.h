/* A lease: at most one holder at a time, judged by monotonic clocks only.
 *
 * Emulated with one key {owner, counter, ttl} that the holder rewrites. Who wants it takes it over
 * after having seen the same counter for a whole ttl by its own clock; the holder stops
 * believing in it ttl after the *sending* of its last successful renewal. So holders do not
 * overlap as long as clocks run at the same rate. Loop thread only. */
#ifndef META_LEASE_H
#define META_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/kv.h"

/* Of the maintenance agents, and of whoever must have them stand still. */
#define LEASE_MAINTENANCE "maintenance"
enum { LEASE_MAINTENANCE_MS = 20000 };

struct lease;

struct lease_options {
    const char *name;         /* copied */
    const char *owner;        /* unique to this process and life, e.g. a UUID; copied */
    unsigned ttl_ms;          /* the same for all who want it */
    unsigned renew_ms;        /* ttl_ms / 2 or less */
    uint64_t (*now_ms)(void); /* NULL: clock_mono_ms */
    /* Held, or not any more. Late by nature: before an act that needs it, ask lease_is_held().
     * May be NULL. */
    void (*on_change)(void *ctx, bool is_held);
    void *ctx;
};

/* Starts trying at once and goes on until lease_close(). `kv` is borrowed. */
struct lease *lease_new(struct kv *kv, const struct lease_options *options);
/* By the clock, now. */
bool lease_is_held(const struct lease *lease);
/* Milliseconds it is certainly held from now on; 0: not held. */
uint64_t lease_left_ms(const struct lease *lease);
/* Gives it back if held, then `cb`; *lease is freed. */
void lease_close(struct lease *lease, void (*cb)(void *ctx), void *ctx);

#endif
