/* One fragment to one OSD: an Apply that asserts the fragment's key absent and sets data,
 * recovery info and gc tag. Uploads and repairs store fragments in no other way.
 *
 * Loop thread only. A namespace that the OSD does not know is looked up in the registry and told
 * to it. A key that is there already is ours only if the tail of the value, with its random salt,
 * is what we sent: then an earlier sending was executed though its reply was lost. */
#ifndef PROXY_FRAGMENT_PUT_H
#define PROXY_FRAGMENT_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/engine.h"
#include "wire/gather.h"
#include "wire/osd_keys.h"

struct fragment_put;
typedef void (*fragment_put_cb)(struct fragment_put *put, int rc);

enum fragment_put_state {
    FRAGMENT_PUT_SEND,
    FRAGMENT_PUT_CHECK_STATUS, /* the OSD does not know the namespace: does the registry? */
    FRAGMENT_PUT_SET_STATUS,   /* it does: tell the OSD */
    FRAGMENT_PUT_COMPARE       /* the key is there: are these our bytes? */
};

/* Borrowed until the callback: what the slices point at. */
struct fragment_put_spec {
    const struct registry_namespace *ns;
    uint64_t gc_epoch; /* of the tag */
    struct osd_fragment name;
    struct slice payload; /* of the value, before `image`; may be empty */
    struct slice image;
    struct checksum
        sum; /* of both, as the manifest has it: the OSD refuses other bytes, and tells it
                          * to whoever asks */
    uint32_t tail_bytes; /* of the image: no other encoding has the same; 0: another may be all the
                          * same, so that what is there already is never ours */
    struct slice recovery;
    bool reserve;
    bool low_priority;
};

/* Embedded by the caller, left alone until the callback. */
struct fragment_put {
    struct err err; /* out: why, if rc != 0 */

    struct engine *engine; /* private from here on */
    struct osd *osd;
    struct fragment_put_spec spec;
    fragment_put_cb cb;
    enum fragment_put_state state;
    unsigned status_tries;
    bool is_calling;
    bool canceled;
    int rc;
    struct osd_call call;
    struct gather request;
    struct later_item later;
};

/* The callback comes once, later: 0 (stored), ERR_EXISTS (other bytes are there), ERR_NOT_FOUND
 * (the namespace is gone), ERR_BUSY (again a little later), ERR_CANCELED, or why the OSD did not
 * take it. What it may have stored after all carries its gc tag. */
void fragment_put_start(struct fragment_put *put, struct engine *engine, struct osd *osd,
                        const struct fragment_put_spec *spec, fragment_put_cb cb);
void fragment_put_cancel(struct fragment_put *put); /* a wish */

#endif
