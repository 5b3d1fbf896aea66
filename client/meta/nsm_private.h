/* What the files of the namespace manager share. */
#ifndef META_NSM_PRIVATE_H
#define META_NSM_PRIVATE_H

#include "meta/kv_commit.h"
#include "meta/ns_keys.h"
#include "meta/nsm.h"
#include "meta/nsm_gc.h"

enum {
    NSM_HINTS = 1024,
    NSM_TRIES_MAX = 32 /* of a transaction that others get in front of */
};

/* What a name held when last seen: lets a commit skip reading names it only asserts
 * something about (the transaction proves or refutes it). */
struct nsm_hint {
    uint64_t ns_id;
    struct slice name; /* owned; NULL data: empty slot */
    uint8_t object_id[NSM_OBJECT_ID_BYTES];
    struct checksum checksum;
};

struct nsm {
    struct kv *kv;
    unsigned op_count;
    struct nsm_hint hints[NSM_HINTS];
};

const struct nsm_hint *nsm_hint_find(const struct nsm *nsm, uint64_t ns_id, struct slice name);
void nsm_hint_set(struct nsm *nsm, uint64_t ns_id, struct slice name, struct slice object_id,
                  const struct checksum *checksum);
void nsm_hint_forget(struct nsm *nsm, uint64_t ns_id, struct slice name);

/* First member of every operation. */
struct nsm_op {
    struct nsm *nsm;
    uint64_t ns_id;
    uint64_t deadline_ms;
    struct nsm_reply *reply;
    nsm_cb cb;
    void *ctx;
};

void nsm_op_init(struct nsm_op *op, struct nsm *nsm, uint64_t ns_id, unsigned timeout_ms, nsm_cb cb,
                 void *ctx);
/* Run the callback, free the reply unless it was taken. The operation's own memory is the
 * caller's. `e` NULL: reply->err says why already. */
void nsm_op_finish(struct nsm_op *op, int rc, const struct err *e);

#endif
