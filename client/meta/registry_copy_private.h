/* One OSD in a round of the copier; inside of meta/.
 *
 * open -> read the head -> (write) -> close. Each ends with the callback, from the loop. */
#ifndef META_REGISTRY_COPY_PRIVATE_H
#define META_REGISTRY_COPY_PRIVATE_H

#include "meta/registry_copy.h"
#include "net/asd_client.h"
#include "wire/gather.h"

struct copy_target;
typedef void (*copy_target_cb)(struct copy_target *target);

struct copy_target {
    char *long_id;
    int rc; /* of what was done last; ERR_ASSERT_FAILED: somebody else wrote meanwhile */
    struct err err;
    bool has_head; /* there is a value … */
    bool is_whole; /* … which `head` is; else it is damaged, or of a format not known here */
    struct copy_head head;

    struct asd_client *client; /* private from here on */
    struct asd_call call;
    struct gather request;
    struct buf head_value; /* as it was read: asserted by the write */
    unsigned timeout_ms;
    copy_target_cb cb;
    void *ctx;
};

/* Connects to `osd`, which must carry the claim of `owner`, and reads its head. */
void copy_target_open(struct copy_target *target, uv_loop_t *loop, struct net_tls *tls,
                      const struct registry_osd *osd, const char *owner, unsigned timeout_ms,
                      copy_target_cb cb, void *ctx);
/* Replaces the head that was read, and its chunks, in one Apply. `chunks` (copy_chunks()) is
 * borrowed until the callback. */
void copy_target_write(struct copy_target *target, const struct copy_head *head,
                       struct slice chunks, copy_target_cb cb);
/* A wish: the callback of what is under way comes soon. */
void copy_target_cancel(struct copy_target *target);
/* What it held is freed, then the callback. Nothing is under way. */
void copy_target_close(struct copy_target *target, copy_target_cb cb);

#endif
