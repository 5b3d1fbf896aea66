/* Keeps the record of one proxy fresh, and takes away those of proxies that died.
 *
 * Every interval: write our own anew, look at all of them, delete those that have not changed for
 * their ttl by our clock, asserting what was seen. So no clocks of two machines are compared, and
 * who was only frozen is back with its next turn. Nothing depends on it: a registry
 * that does not answer is asked again an interval later. KEYS.md, "Proxies". Loop thread only. */
#ifndef META_PROXY_PRESENCE_H
#define META_PROXY_PRESENCE_H

#include "meta/proxy_record.h"

enum { PROXY_PRESENCE_INTERVAL_MS = 30000, PROXY_PRESENCE_CALL_MS = 2000 };

struct proxy_presence;

struct proxy_presence_options {
    const struct proxy_record *self; /* copied; NULL: only looks after the others */
    unsigned interval_ms;            /* 0: PROXY_PRESENCE_INTERVAL_MS */
    uint64_t (*now_ms)(void);        /* NULL: clock_mono_ms */
};

/* `kv` is borrowed. The first turn begins at once. */
struct proxy_presence *proxy_presence_new(struct kv *kv,
                                          const struct proxy_presence_options *options);
/* Takes our record away, unless the metadata does not answer; then `cb`, within two
 * PROXY_PRESENCE_CALL_MS, and it is freed. */
void proxy_presence_close(struct proxy_presence *presence, void (*cb)(void *ctx), void *ctx);

#endif
