/* What the parts of the space share: finding, opening and forgetting slabs. Private to
 * space*.c, torn.c and read_ring.c. */
#ifndef ASD_SPACE_FILE_H
#define ASD_SPACE_FILE_H

#include "asd/space_reclaim.h"

/* NULL when there is none. Start-up: later a slab may go at any time. */
struct asd_slab *asd_space_find(struct asd_space *s, uint64_t number);
/* To change the file: opens it at first use and checks its header. ERR_CORRUPT: not this one. */
int asd_space_fd(struct asd_space *s, struct asd_slab *slab, int *ret_fd, struct err *e);
/* The operating system's descriptor; -1: the file is not open yet, or not the system's. For
 * read_ring.c, which has the slab pinned. */
int asd_space_os_fd(struct asd_space *s, const struct asd_slab *slab);
int asd_space_unlink(struct asd_space *s, uint64_t number, struct err *e);
/* Ends direct writes to the slab they went to; flushing it is still to be done. Commit thread. */
void asd_space_direct_close(struct asd_space *s);
/* Its record goes into the batch being made. Commit thread. */
void asd_space_change(struct asd_space *s, struct asd_slab *slab);
struct asd_free *asd_space_free_new(struct asd_space *s, struct asd_slab *slab, uint64_t offset,
                                    uint64_t bytes);
/* Sealed and nothing lives in it: to be dropped. Under lock, or at start-up. */
void asd_space_bury(struct asd_space *s, struct asd_slab *slab);
/* Let other threads see what lives in the slab. Under lock, commit thread or start-up. True: there
 * may be a slab to empty that was not before. */
bool asd_space_show(struct asd_space *s, struct asd_slab *slab);
void asd_space_show_all(struct asd_space *s); /* start-up */
/* Take it out of the table and drop the table's reference. */
void asd_space_forget(struct asd_space *s, struct asd_slab *slab);

#endif
