/* One question to an OSD about a fragment, for all who want its answer while it is under way.
 *
 * Who asks for what a question under way will bring waits for that one: the same OSD, the same
 * stored value, a range inside. A fragment's value is written once and its manifest names it only
 * then, so an answer is as good for who asked late as for who asked first. One who stops waiting
 * does not disturb the others; the question is canceled when nobody waits. Loop thread only. */
#ifndef PROXY_SHARED_GET_H
#define PROXY_SHARED_GET_H

#include "base/err.h"
#include "base/list.h"
#include "policy/fragment_read.h"
#include "proxy/engine.h"
#include "wire/gather.h"
#include "wire/osd_keys.h"

enum {
    SHARED_GET_PARTS_MAX = 3,
    SHARED_GET_LOOKS_MAX = 64 /* questions about one fragment that are compared with a new one */
};

enum fetch_state {
    FETCH_FLAT,    /* blocks, their entries and the footer in one request */
    FETCH_ALL,     /* the whole value: serves everybody */
    FETCH_TRAILER, /* of a compressed fragment, to find the blocks */
    FETCH_BLOCKS
};

struct shared_get_spec {
    struct osd *osd;
    uint64_t ns_id;
    struct osd_fragment name; /* its object id has FRAGMENT_OBJECT_ID_BYTES; borrowed */
    uint32_t stored_bytes;
    struct fragment_shape shape; /* as the manifest has it: another may contradict that */
    enum fetch_state state;
    uint32_t raw_offset; /* FLAT, BLOCKS: what the answer is good for */
    uint32_t raw_bytes;
    struct fragment_range parts[SHARED_GET_PARTS_MAX]; /* of the stored value */
    uint32_t part_count;
    bool exact; /* an answer that is good for more than this will not do: it may be bad elsewhere */
    bool low_priority;
};

struct fetch;
struct shared_fragment;
struct shared_wait;
typedef void (*shared_wait_cb)(struct shared_wait *wait, int rc);

/* Counted: one reference for each who waits, and from the callback on for who had waited. */
struct shared_get {
    struct shared_get_spec spec; /* of who asked first; may be more than who joined wanted */
    struct err err;              /* why, if rc != 0 */
    struct slice data;           /* the parts, one behind the other, as they came */
    bool is_known_bad;           /* it came, and somebody has found it so */
    bool is_lost;                /* it took too long: osd_suspect.h has been told */
    struct fetch *unpacker;      /* who unpacks it in the pool, for `unpack_waits`, too: fetch0.h */
    struct list unpack_waits;

    struct engine *engine; /* private from here on */
    struct shared_fragment *fragment;
    struct list link;
    struct list waits;
    struct osd_call call;
    struct gather request;
    uint8_t *frame;
    struct list overtaken_link; /* in engine->overtaken_gets */
    unsigned refs;
};

/* Embedded by who asks, left alone until the callback. */
struct shared_wait {
    struct shared_get *get; /* out: a reference, from shared_get_join() on */
    bool has_joined;        /* out: another asked, perhaps long before */

    shared_wait_cb cb; /* private */
    struct list link;
};

/* 0: `cb` comes once, later: 0, ERR_NOT_FOUND (the OSD does not have it), ERR_CORRUPT (not as many
 * bytes as asked for), or why the OSD could not be asked. Else nothing was started. */
int shared_get_join(struct engine *engine, const struct shared_get_spec *spec,
                    struct shared_wait *wait, shared_wait_cb cb);
/* No callback comes any more, and the reference is given back. */
void shared_get_leave(struct shared_wait *wait);
/* The same for an answer that came another way meanwhile: when nobody else waits, and the OSD has
 * the question, it goes on alone, so that we learn whether the OSD answers at all. One that the
 * OSD has had for `too_long_ns` is held against it, once. */
void shared_get_overtake(struct shared_wait *wait, uint64_t too_long_ns);
void shared_gets_end_overtaken(struct engine *engine); /* those that go on alone */
void shared_get_drop(struct shared_get *get);          /* accepts NULL */

#endif
