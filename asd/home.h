/* The home directory of an ASD: its identity, its lock, its paths. Layout: FORMAT.md.
 *
 * Blocking calls, for start-up and shutdown. */
#ifndef ASD_HOME_H
#define ASD_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "asd/record.h"
#include "base/err.h"
#include "loop/io.h"

enum { ASD_NAME_BYTES_MAX = 255 };
#define ASD_HOME_NEW "new" /* whoever made the directory for a store leaves it there */

struct asd_home {
    struct io *io;
    char *path;
    char *slabs_path; /* <path>/slabs */
    char *db_path;    /* <path>/db */
    char *asd_id;
    char *node_id;
    uint8_t store_id[ASD_STORE_ID_BYTES];
    bool fresh; /* no identity yet: asd_home_commit() makes it */
};

/* Hold the lock of the home for as long as the descriptor is open; made if absent.
 * ERR_BUSY when another process has it. */
int asd_home_lock(const char *path, int *ret_fd, struct err *e);

/* Before anything is written: 0 if a store is in `path`, or may be made there because the caller
 * says so (the directory is made) or the file ASD_HOME_NEW lies in it. Else ERR_NOT_FOUND, and what
 * to do: where a disk is to be mounted, its empty directory must not become a store of that name.
 */
int asd_home_admit(struct io *io, const char *path, bool may_create, struct err *e);
/* Read who lives here. `asd_id` NULL: take what is there, or a fresh UUID. ERR_IDENTITY when
 * asd_id or node_id is another one than the home's. Makes `slabs/`. */
int asd_home_open(struct io *io, const char *path, const char *asd_id, const char *node_id,
                  struct asd_home *ret_home, struct err *e);
/* The last step of creation: write the identity. */
int asd_home_commit(struct asd_home *home, struct err *e);
void asd_home_release(struct asd_home *home);

/* identity as bytes; for the golden test. `home`: asd_id, node_id, store_id. */
void asd_identity_encode(struct buf *b, const struct asd_home *home);
int asd_identity_decode(struct slice data, struct asd_home *home, struct err *e);

#endif
