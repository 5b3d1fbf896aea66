/* Reads: slices of an object, or all of it; see object_client.h for which way they go.
 *
 * Callbacks come exactly once, later. Loop thread only. */
#ifndef OBJECT_OBJECT_READ_H
#define OBJECT_OBJECT_READ_H

#include "object/direct_read.h"
#include "object/object_client.h"

enum {
    OBJECT_READ_BYTES_MAX = (1 << 30) - (1 << 20), /* all slices of one read */
    OBJECT_READ_SLICES_MAX = 1 << 18               /* of one read: what a list on the wire takes */
};

struct client_read_spec { /* all of it borrowed until the callback */
    struct slice ns;
    struct slice name;
    const struct object_slice *slices; /* may not overlap; OBJECT_READ_BYTES_MAX together */
    size_t slice_count;
    bool consistent;  /* not older than the call: always by a proxy, from the metadata */
    bool direct_only; /* ends with an error instead of asking a proxy */
};

struct client_read;
typedef void (*client_read_cb)(struct client_read *read, int rc);

struct client_read {
    struct err err;
    int32_t proxy_code;
    bool was_direct; /* out */

    struct object_client *client; /* private from here on */
    struct client_read_spec spec;
    uint64_t deadline_ms;
    uint64_t bytes;
    bool is_direct; /* on its way to the OSDs */
    bool doubtful;  /* ask the metadata: what was known is wrong somewhere */
    bool canceled;
    struct known_object *object;
    struct direct_read direct;
    struct object_call call;
    client_read_cb cb;
    int rc;
    struct later_item later;
    struct list link;
};

/* Fills all slices, or ends with an error and may have written to any of them: ERR_NOT_FOUND,
 * -ERANGE (beyond the object), -EINVAL, ERR_TOO_LARGE, UV_ETIMEDOUT, … */
void object_client_read(struct object_client *client, struct client_read *read,
                        const struct client_read_spec *spec, unsigned timeout_ms,
                        client_read_cb cb);
void object_client_read_cancel(struct client_read *read); /* a wish */

struct client_get;
typedef void (*client_get_cb)(struct client_get *get, int rc);

/* A whole object, of at most OBJECT_READ_BYTES_MAX. */
struct client_get {
    struct err err;
    int32_t proxy_code;
    bool was_direct; /* out, as what follows, which is the caller's after rc 0: bigmem_free() */
    uint8_t *data;
    size_t bytes;

    struct object_client *client; /* private from here on */
    struct slice ns, name;
    bool consistent;
    bool canceled;
    uint64_t deadline_ms;
    struct object_slice slice;
    struct client_read read;
    struct object_call call;
    bool is_direct;
    client_get_cb cb;
};

/* `ns` and `name` are borrowed until the callback. */
void object_client_get(struct object_client *client, struct client_get *get, struct slice ns,
                       struct slice name, bool consistent, unsigned timeout_ms, client_get_cb cb);
void object_client_get_cancel(struct client_get *get); /* a wish */

#endif
