/* Codec of the options a client sends during the NBD handshake, and of the replies.
 *
 * Decoders take an option's data whole (at most NBD_OPTION_BYTES_MAX) and borrow it.
 * Strings hold no NUL. No I/O; any thread. */
#ifndef VOLUMEDRIVER_NBD_OPTION_H
#define VOLUMEDRIVER_NBD_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "volumedriver/nbd_proto.h"

enum { NBD_OPTION_BYTES_MAX = 16384 }; /* longer ones are answered NBD_REP_ERR_TOO_BIG */

struct nbd_option {
    uint32_t option; /* NBD_OPT_…, or anything */
    uint32_t bytes;  /* of data that follow */
};

/* NBD_OPT_INFO and NBD_OPT_GO. */
struct nbd_option_go {
    struct slice name;
    bool want_name, want_description, want_block_size;
};

/* NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
struct nbd_option_meta {
    struct slice name;
    bool allocation; /* "base:allocation" is listed, or selected */
};

/* `data` is NBD_OPTION_HEAD_BYTES long. ERR_PROTOCOL when the magic is wrong. */
int nbd_option_decode(struct nbd_option *ret_option, const uint8_t *data);

/* -EINVAL: too short, too long, a string that is none. ERR_TOO_LARGE: a string of more than
 * NBD_STRING_BYTES_MAX. */
int nbd_option_name_decode(struct slice *ret_name, struct slice data); /* NBD_OPT_EXPORT_NAME */
int nbd_option_go_decode(struct nbd_option_go *ret_go, struct slice data);
/* `listing`: the rules of LIST, where no query and "base:" mean everything. */
int nbd_option_meta_decode(struct nbd_option_meta *ret_meta, struct slice data, bool listing);

/* Append one reply. */
void nbd_option_reply_put(struct buf *out, uint32_t option, enum nbd_rep type, struct slice data);
/* An error, with text for people. */
void nbd_option_error_put(struct buf *out, uint32_t option, enum nbd_rep type, const char *text);
/* NBD_REP_SERVER; `description` may be NULL. */
void nbd_option_server_put(struct buf *out, uint32_t option, const char *name,
                           const char *description);
/* NBD_REP_INFO of each kind. */
void nbd_option_export_put(struct buf *out, uint32_t option, uint64_t size_bytes, uint16_t flags);
void nbd_option_text_put(struct buf *out, uint32_t option, enum nbd_info kind, const char *text);
void nbd_option_block_size_put(struct buf *out, uint32_t option, uint32_t min_bytes,
                               uint32_t preferred_bytes, uint32_t max_bytes);
/* NBD_REP_META_CONTEXT */
void nbd_option_context_put(struct buf *out, uint32_t option, uint32_t id, const char *name);

#endif
