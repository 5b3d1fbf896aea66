/* A file that is put: handed to a proxy on this machine, or read here, in parts or as a whole. Any
 * thread, blocking. */
#ifndef ALBACORE_PUT_SOURCE_H
#define ALBACORE_PUT_SOURCE_H

#include "albacore/objects.h"
#include "net/addr.h"
#include "net/fd_pass.h"
#include "wire/proxy_update.h"

struct put_source {
    int fd;                       /* borrowed; -1: the data is in memory */
    struct proxy_extent *extents; /* owned; NULL: all of it */
    uint32_t extent_count;

    uint8_t token[FD_PASS_TOKEN_BYTES]; /* while it is handed over */
    struct proxy_extent whole;
    int conn; /* -1: it is not */
};

void put_source_init(struct put_source *source);
void put_source_set(struct put_source *source, int fd, const struct albacore_extent *extents,
                    size_t count);
void put_source_release(struct put_source *source);

/* Hands it over and makes *update an upload of that; until put_source_take_back(). Nonzero: not
 * possible, and *update is as it was. */
int put_source_give(struct put_source *source, const struct net_addr *side,
                    struct proxy_update *update);
void put_source_take_back(struct put_source *source);

/* How much it is, if it makes sense. */
int put_source_measure(struct put_source *source, uint64_t *ret_bytes, struct albacore_error *e);
/* Of a source that was measured. ERR_FAILED; -EINVAL: beyond the end of the file. */
int put_source_read(struct put_source *source, uint64_t offset, uint8_t *ret_data, size_t bytes,
                    struct err *e);
/* All `bytes` of it, into memory that put_source_unload() frees; *update becomes an upload of
 * that. */
int put_source_load(struct put_source *source, size_t bytes, struct proxy_update *update,
                    struct albacore_error *e);
void put_source_unload(const struct put_source *source, struct proxy_update *update);

#endif
