/* Shared by read*.c. */
#ifndef ASD_READ_PRIVATE_H
#define ASD_READ_PRIVATE_H

#include "asd/store_read.h"
#include "loop/pool.h"

struct asd_found;
struct asd_ring_op;
struct asd_spare;
struct asd_store_partial;

/* Run `run` in the front's read pool, then asd_read_done() and so `cb` with op->rc. */
int asd_read_submit(struct asd_front *front, struct asd_store_op *op,
                    const struct asd_reader *reader, pool_run_cb run, asd_store_cb cb);
/* The same again, from the start. */
void asd_read_again(struct asd_store_op *op);
/* ERR_TOO_LARGE: longer than any key there is. An empty one is merely not there. */
int asd_read_key_check(struct slice key, struct err *e);
/* ERR_TOO_LARGE, naming the limit: more than a reply may hold. */
int asd_reply_check(uint64_t bytes, struct err *e);
/* False: not one for the ring, nothing was done. `run_in_pool` is for what the ring cannot read. */
bool asd_read_by_ring(struct asd_front *front, struct asd_store_partial *partial,
                      const struct asd_reader *reader, pool_run_cb run_in_pool, asd_store_cb cb);
/* The whole value into a fresh buffer, or a spare one of the loop that runs this (NULL: none). */
int asd_read_value(struct asd_store *store, const struct asd_found *found, struct asd_spare *spare,
                   struct asd_store_value *ret_value, struct err *e);

/* What the kernel was given goes on, but nothing is read again. read_ring.c */
void asd_ring_cancel(struct asd_ring_op *op);

#endif
