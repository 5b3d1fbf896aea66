/* What chunk_read.c and chunk_stripes.c share; nobody else includes this. */
#ifndef PROXY_CHUNK_READ_PRIVATE_H
#define PROXY_CHUNK_READ_PRIVATE_H

#include "proxy/chunk_read.h"

/* chunk_read.c */

/* The part of `whole` [at, at + bytes) of its range, into the same places. Fragments in `never`
 * (bit i: fragment i) are not asked. */
void chunk_read_stripe(struct chunk_read *read, const struct chunk_read *whole, uint32_t at,
                       uint32_t bytes, uint32_t never, chunk_read_cb cb);

/* chunk_stripes.c */

/* May the stripes bring what the whole did not? */
bool chunk_stripes_have_hope(const struct chunk_read *whole);
/* Nothing of it is under way. `cb` comes once, later. */
void chunk_stripes_start(struct chunk_read *whole, chunk_read_cb cb);
void chunk_stripes_cancel(struct chunk_stripes *stripes);

#endif
