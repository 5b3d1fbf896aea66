/* Slabs of which little is left. Any thread. */
#ifndef ASD_SPACE_SPARSE_H
#define ASD_SPACE_SPARSE_H

#include "asd/space.h"

/* A sparse slab that is worth emptying now, the sparsest; false: none. */
bool asd_space_pick_sparse(struct asd_space *s, uint64_t *ret_number);
uint64_t asd_space_live_bytes(struct asd_space *s, uint64_t number); /* 0 also when it is gone */
/* It cannot be emptied: not picked again until less lives there; half, if it was dear to try. */
void asd_space_set_stuck(struct asd_space *s, uint64_t number, bool was_dear);
uint64_t asd_space_stuck_count(struct asd_space *s); /* that are there now */

#endif
