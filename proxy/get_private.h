/* What get.c and get_object.c share; nobody else includes this. */
#ifndef PROXY_GET_PRIVATE_H
#define PROXY_GET_PRIVATE_H

#include "proxy/get.h"

enum { GET_AGAIN_MAX = 3 };

enum get_state { GET_NAMESPACE, GET_LOOKUP, GET_MEMORY, GET_READ, GET_AGAIN, GET_END };

/* What is known of each of a get's objects. */
struct get_result {
    struct object *object; /* a reference; NULL: none */
    uint8_t *data;         /* in get->data */
    uint64_t bytes;
    size_t scratch_bytes; /* that reading takes besides */
};

/* One that is under way. */
struct get_object {
    struct get *get;
    const struct get_item *item; /* NULL: a free slot */
    struct get_result *result;
    struct readable readable;
    struct object_read_range *ranges; /* owned */
    size_t scratch_bytes;             /* that it has, of the get's */
    bool is_reading;
    bool has_retried;
    struct object_read read;
    struct lookup again;
    struct pool_work digest;
    struct checksum checksum;
};

struct get {
    struct engine *engine;
    struct get_spec spec;
    get_cb cb;
    void *ctx;
    enum get_state state;
    struct err err;
    int rc;
    int32_t proxy_rc;
    unsigned pending;
    unsigned again_count;
    uint64_t start_ns;
    struct ns_open open;
    struct ns_use use;
    struct slice *names;
    struct lookup lookup;
    struct get_result *results; /* one per item */
    size_t next;                /* item, of those not started */
    size_t done;                /* items */
    struct get_object *objects; /* GET_OBJECTS_AT_ONCE or less */
    size_t object_count;
    size_t scratch_bytes; /* what reading takes besides, at most: in `share` */
    size_t scratch_used;  /* by those under way */
    uint32_t cache_hits;  /* of the block cache */
    uint32_t cache_misses;
    struct budget_share reply; /* of the data, until the peer has taken it */
    struct budget_share share; /* of what reading takes besides */
    uint8_t *data;
    uint64_t data_bytes;
    struct later_item later;
};

/* get.c */
void get_step(struct get *g);
void get_fail(struct get *g, int rc, int32_t proxy_rc); /* g->err is set */
/* A whole object has grown: its place in the reply is too small. */
void get_again(struct get *g);
/* False: what still ends is of no use any more. */
bool get_is_reading(const struct get *g);

void get_object_done(struct get_object *o);

/* get_object.c */
/* Everything about it that can be refused before it is read. Sets the bytes of *result, and
 * *ret_readable if there are any. */
int32_t get_object_check(struct get *g, const struct get_item *item, struct get_result *result,
                         struct readable *ret_readable);
/* Into result->data; get_object_done() when it is there, or the whole get fails. */
void get_object_start(struct get_object *o);

#endif
