/* Inside of the asd:// engine: its operation, and the messages of one. */
#ifndef META_KV_ASD_H
#define META_KV_ASD_H

#include "meta/kv_engine.h"
#include "net/asd_client.h"
#include "wire/asd_msg.h"
#include "wire/gather.h"

struct kv_asd {
    struct kv kv;
    struct asd_client *client;
    struct net_addr addr;
    char long_id[ASD_ID_BYTES_MAX + 1];
    struct list waiting; /* asd_op.link: to be sent again */
    struct list calls;   /* asd_op.link: at the ASD */
    uv_timer_t retry_timer;
    unsigned closing_parts;
};

struct asd_op {
    struct kv_op op;
    struct list link;
    struct asd_call call;
    struct gather request;
    size_t next_key;     /* GET: first key of the present batch */
    size_t batch;        /* … and how many */
    size_t batch_max;    /* 0: no damage was met so far */
    struct slice resume; /* RANGE: last key so far (with our byte), owned by a block */
    struct slice stop;   /* RANGE: a damaged one to go up to, likewise; empty: none */
    size_t range_bytes;  /* RANGE: gathered so far */
};

/* Encode what is to be sent next into a->request. */
void kv_asd_encode(struct asd_op *a);
/* Take a->call.reply into the results. 0: whole; 1: another request is to be sent; or an error. */
int kv_asd_take_reply(struct asd_op *a);
/* a->call failed with ERR_CORRUPT: one value fails the reads of all that are asked for with it.
 * 1: ask again, around it. 0: whole. ERR_CORRUPT: there is no telling which it is. */
int kv_asd_take_damage(struct asd_op *a);

#endif
