/* What a proxy that serves tells of itself in the registry: one key and value (KEYS.md,
 * "Proxies"). Any thread, but for the list. */
#ifndef META_PROXY_RECORD_H
#define META_PROXY_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rnd.h"
#include "meta/kv.h"
#include "meta/value.h"
#include "net/addr.h"

enum {
    PROXY_RECORDS_MAX = 256,
    PROXY_RECORD_ENDPOINTS_MAX = 16,
    PROXY_RECORD_TEXT_BYTES = 64,
    PROXY_RECORD_TTL_MS_MIN = 1000,
    PROXY_RECORD_TTL_MS_MAX = 3600000
};

struct proxy_record {
    char id[RND_UUID_TEXT_BYTES];          /* of this life of the proxy; "" in a new one */
    char machine[PROXY_RECORD_TEXT_BYTES]; /* this boot: who has it can use all endpoints */
    char host[PROXY_RECORD_TEXT_BYTES];    /* for people */
    char version[PROXY_RECORD_TEXT_BYTES];
    uint64_t started_us; /* by its own clock; for people */
    uint64_t counter;    /* moves with every renewal */
    uint32_t ttl_ms;     /* unchanged for so long: it is gone */
    unsigned endpoint_count;
    char endpoints[PROXY_RECORD_ENDPOINTS_MAX][NET_ADDR_TEXT_MAX]; /* "tcp://…", best first */
};

/* False, and nothing happens, when there are PROXY_RECORD_ENDPOINTS_MAX. Twice is once. */
bool proxy_record_add_endpoint(struct proxy_record *record, const char *uri);
/* Does it listen only where its own machine can connect to? */
bool proxy_record_is_near(const char *uri);
/* "" when it cannot be told. */
void proxy_record_this_machine(char ret_text[PROXY_RECORD_TEXT_BYTES]);

struct slice proxy_record_key(struct key *key, const char *id);
/* low <= all of them < high. */
void proxy_record_range(struct key *ret_low, struct key *ret_high);
void proxy_record_put(struct buf *value, struct slice key, const struct proxy_record *record);
/* ERR_CORRUPT, ERR_VERSION. Endpoints that are none are left out. */
int proxy_record_open(struct slice key, struct slice value, struct proxy_record *ret_record,
                      struct err *e);

/* `damaged` keys lie beside those that could be read. */
typedef void (*proxy_records_cb)(void *ctx, int rc, const struct err *e,
                                 const struct proxy_record *records, size_t count, size_t damaged);
/* All there are (PROXY_RECORDS_MAX at most): also of proxies that died a moment ago. Loop thread;
 * answered once, later. */
void proxy_records_list(struct kv *kv, proxy_records_cb cb, void *ctx);

#endif
