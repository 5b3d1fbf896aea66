/* The backend of one volume: its namespace, seen through the few operations that a volume
 * needs. Loop thread only.
 *
 * Callbacks come exactly once, later, never from inside the call. Every operation ends within
 * the implementation's deadline with 0 or
 *   ERR_ASSERT_FAILED  `failed` says which assert; nothing was changed
 *   ERR_IN_DOUBT       the transaction may or may not have happened, now or a little later
 *   ERR_NOT_FOUND      no such object
 *   ERR_FULL, ERR_NO_POLICY, or a code of the network: not done, worth another try. */
#ifndef VOLUMEDRIVER_BACKEND_H
#define VOLUMEDRIVER_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    BACKEND_NAME_BYTES = 16, /* with the NUL */
    BACKEND_UPDATES_MAX = 100,
};

enum backend_flags { BACKEND_RESERVE = 1 /* may use the last 2 % of the disks */ };
enum backend_assert_kind { BACKEND_ABSENT, BACKEND_CHECKSUM };

struct backend_assert {
    const char *name;
    uint32_t crc; /* CHECKSUM: crc-32c of its content */
    enum backend_assert_kind kind;
};

struct backend_update { /* an upload with crc-32c, or, with data NULL, a delete (absent is fine) */
    const char *name;
    const uint8_t *data; /* borrowed until the callback */
    size_t bytes;
    uint32_t crc;
};

/* Asserts are judged in order. Names and arrays are copied, data is not. */
struct backend_transaction {
    const struct backend_assert *asserts;
    unsigned assert_count;
    const struct backend_update *updates;
    unsigned update_count;
    unsigned flags;
};

struct backend_slice {
    uint64_t offset;
    uint32_t bytes;
    uint8_t *data; /* filled in */
};

/* All slices or an error; they do not overlap. `slices` and what they point to stay until the
 * callback. */
struct backend_read {
    const char *name;
    const struct backend_slice *slices;
    unsigned slice_count;
    /* As the metadata has it now, and it is not remembered: of a SCO that may be deleted as none of
     * ours, and another put under its name. */
    bool fresh;
};

struct backend_req;
typedef void (*backend_cb)(struct backend_req *req, int rc);

/* Embed it; needs no initialisation. */
struct backend_req {
    struct err err;   /* out: says why, if rc != 0 */
    unsigned failed;  /* out, with ERR_ASSERT_FAILED: index of the assert */
    bool complete;    /* out of apply and info: every fragment of the object is placed */
    uint64_t bytes;   /* out of info */
    uint32_t crc;     /* out of info */
    struct buf names; /* out of list: names, each with its NUL, rising; the caller releases */
    bool more;        /* out of list */
    backend_cb cb;    /* private from here on */
    void *impl;
};

struct backend;

struct backend_ops {
    void (*apply)(struct backend *b, struct backend_req *req,
                  const struct backend_transaction *transaction, backend_cb cb);
    void (*read)(struct backend *b, struct backend_req *req, const struct backend_read *read,
                 backend_cb cb);
    /* As the metadata has it now, not from a cache. */
    void (*info)(struct backend *b, struct backend_req *req, const char *name, backend_cb cb);
    /* Names that start with `prefix` and lie behind `after` ("": from the first one). Shows all
     * transactions that ended before the call. */
    void (*list)(struct backend *b, struct backend_req *req, const char *prefix, const char *after,
                 backend_cb cb);
};

/* First member of an implementation. */
struct backend {
    const struct backend_ops *ops;
};

static inline void backend_read_slice(struct backend *b, struct backend_req *req, const char *name,
                                      const struct backend_slice *slice, backend_cb cb)
{
    struct backend_read read = {.name = name, .slices = slice, .slice_count = 1};

    b->ops->read(b, req, &read, cb);
}

static inline void backend_read_fresh(struct backend *b, struct backend_req *req, const char *name,
                                      const struct backend_slice *slice, backend_cb cb)
{
    struct backend_read read = {.name = name, .slices = slice, .slice_count = 1, .fresh = true};

    b->ops->read(b, req, &read, cb);
}

#endif
