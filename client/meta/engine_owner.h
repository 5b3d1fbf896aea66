/* Whose a metadata engine is: of one registry, or of one NSM host of one alba, never of two. A mark
 * at its root says so (KEYS.md, "Whose an engine is").
 *
 * Ids of namespaces are numbers of one registry: two on one engine would delete each other's
 * objects. Loop thread only; every call is answered once, later. */
#ifndef META_ENGINE_OWNER_H
#define META_ENGINE_OWNER_H

#include "meta/kv.h"
#include "meta/value.h"

enum engine_claimer {
    ENGINE_NEW,   /* a host that comes to this engine: it is marked as that host's, or is empty */
    ENGINE_ADOPT, /* … or has no mark, and an operator says that what is there is that host's */
    ENGINE_MOVED, /* a host that has namespaces: the engine is marked as that host's */
    ENGINE_KNOWN  /* a host that the registry has on this engine, perhaps longer than marks exist:
                     it is not another alba's */
};

struct engine_claim { /* copied */
    const char *alba_id;
    const char *host_id;
    enum engine_claimer claimer;
};

/* is_registry, with 0: it is the engine of this alba's own registry, and there is no mark. */
typedef void (*engine_claim_cb)(void *ctx, int rc, const struct err *e, bool is_registry);

/* Marks it, unless it is marked so. Again is harmless. `kv` is prepared (kv_prepare). ERR_EXISTS:
 * it is another's; the message names the engine and its owner, and says what to do. */
void engine_claim(struct kv *kv, const struct engine_claim *claim, engine_claim_cb cb, void *ctx);

/* For who makes a registry: its first transaction asserts that this key is absent. */
struct slice engine_mark_key(struct key *key);
/* It is not: ERR_EXISTS and whose host `url` is, by the value of the mark. */
int engine_mark_refuse(const char *url, struct slice value, struct err *e);

#endif
