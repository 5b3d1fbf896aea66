/* Slab files as seen by the reclaim thread: giving back what nobody can see any more. */
#ifndef ASD_SPACE_RECLAIM_H
#define ASD_SPACE_RECLAIM_H

#include "asd/space.h"

/* Moves at most `max` frees to `ret_frees`; the caller gives each back to
 * asd_space_free_done(). Frees of dead slabs are left out and done with. */
unsigned asd_space_take_ready(struct asd_space *s, unsigned max, struct list *ret_frees);
struct asd_slab *asd_space_take_dead(struct asd_space *s); /* NULL: none that nobody has pinned */
void asd_space_dead_again(struct asd_space *s, struct asd_slab *slab); /* back to dead */
int asd_space_punch(struct asd_space *s, struct asd_slab *slab, uint64_t offset, uint64_t bytes,
                    struct err *e);
int asd_space_flush_slab(struct asd_space *s, struct asd_slab *slab, struct err *e);
void asd_space_free_done(struct asd_space *s, struct asd_free *f);
void asd_space_free_again(struct asd_space *s, struct asd_free *f); /* back to ready */
/* The slab's record is gone: unlink its file and forget it. */
int asd_space_drop(struct asd_space *s, struct asd_slab *slab, struct err *e);
bool asd_space_has_work(struct asd_space *s);
/* So much waits to be punched that it should not gather for long: the disk is that much fuller
 * than what the values cost. */
bool asd_space_is_urgent(struct asd_space *s);

#endif
