/* Reads of clients: whole objects or slices of them, of many objects of a namespace at once.
 *
 * Loop thread only. Manifests, then memory, then data; an object that cannot be read with the
 * manifest at hand is tried once more with a fresh one. Whole objects are checked against the
 * object's checksum besides. */
#ifndef PROXY_GET_H
#define PROXY_GET_H

#include "proxy/lookup.h"
#include "proxy/object_read.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_request.h"

enum {
    GET_OBJECTS_AT_ONCE = 8,
    GET_BYTES_MAX = 1 << 30, /* of one reply */
    GET_OBJECTS_MAX = 65536
};

struct get;
typedef void (*get_cb)(void *ctx, struct get *get, int rc);

struct get_item {
    struct slice name;                /* borrowed until the callback */
    const struct proxy_slice *slices; /* borrowed; NULL: the whole object */
    uint32_t slice_count;
};

struct get_spec {
    struct slice ns; /* borrowed until the callback */
    const struct get_item *items;
    size_t count;
    bool consistent;
    bool should_cache;
    bool missing_ok; /* else an object that does not exist is an error */
    bool is_partial; /* for the statistics: slices */
};

/* `cb` runs once, later. The result stays until get_free(). */
struct get *get_start(struct engine *engine, const struct get_spec *spec, get_cb cb, void *ctx);
void get_cancel(struct get *get); /* a wish */

/* Do these slices make sense for an object of this size? PROXY_RC_OK, or what is wrong with
 * them. */
int32_t get_check_slices(const struct get_item *item, uint64_t size_bytes, struct err *e);

/* ---- from the callback on ---- */

const struct err *get_err(const struct get *get);
int32_t get_proxy_rc(const struct get *get); /* enum proxy_rc */
uint64_t get_ns_id(const struct get *get);
/* NULL: no such object. */
struct object *get_object(const struct get *get, size_t index);
/* Of item `index`: its slices one behind the other, or the object. */
struct slice get_data(const struct get *get, size_t index);
/* The slices of all items, one behind the other. Not of whole objects: one that was replaced by a
 * smaller one meanwhile leaves a gap. */
struct slice get_all_data(const struct get *get);
void get_free(struct get *get);

#endif
