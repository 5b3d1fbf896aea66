/* A transaction on objects: asserts, uploads and deletes, all or nothing. Every write of
 * a client is one.
 *
 * Loop thread only. Data goes first, then one transaction of the namespace manager
 * commits. After the report the sequence lives on by itself: stragglers are awaited and
 * entered into the manifests (epilogue), gc tags are deleted.
 *
 * What a crash or a lost reply leaves: README.md, "A put". */
#ifndef PROXY_SEQUENCE_H
#define PROXY_SEQUENCE_H

#include "base/err.h"
#include "proxy/engine.h"
#include "proxy/fds.h"
#include "proxy/fs.h"
#include "proxy/put_stream.h"
#include "wire/proxy_request.h"

enum {
    SEQUENCE_UPLOADS_AT_ONCE = 4,
    SEQUENCE_EPOCH_TRIES = 3,
    SEQUENCE_OBJECT_BYTES_MAX = 1 << 30 /* sent along in a request; files may be larger */
};

struct sequence;
typedef void (*sequence_cb)(void *ctx, struct sequence *sequence, int rc);

struct sequence_spec {
    struct slice ns;                 /* borrowed until the callback, as is what follows */
    const struct proxy_apply *apply; /* its deadline_ms: 0 = the engine's default */
    uint64_t deadline_ms;            /* monotonic; 0: that of `apply`, or the engine's default */
    const struct fs_rules *fs;       /* NULL: this client may not name files */
    const struct fds *fds;           /* NULL: nor hand them over */
    struct put_stream *stream;       /* of its upload from a stream; NULL: it has none */
    /* Not NULL: what `apply` points at stays until this runs, once, after the callback: stragglers
     * are sent from it, too. NULL: fragments are copies. */
    void (*release)(void *ctx);
    /* NULL, or asked with the callback's ctx before a commit is sent: is the client still there? */
    bool (*is_wanted)(void *ctx);
};

/* `cb` runs once, later; then *sequence may only be used until it returns. */
struct sequence *sequence_start(struct engine *engine, const struct sequence_spec *spec,
                                sequence_cb cb, void *ctx);
/* It has until then, at least: for a client that sends more. Before the callback. */
void sequence_extend(struct sequence *sequence, uint64_t deadline_ms);
/* Its commit was begun, and what came of it is not known. Before the callback. */
bool sequence_is_in_doubt(const struct sequence *sequence);
/* A wish; the callback still comes. A commit that was sent is not taken back, and its answer
 * counts, but it is not sent again, nor decided anew when another one was faster. */
void sequence_cancel(struct sequence *sequence);

/* ---- in the callback ---- */

const struct err *sequence_err(const struct sequence *sequence);
int32_t sequence_proxy_rc(const struct sequence *sequence); /* enum proxy_rc */
/* Name of a failed assert; "" otherwise. */
struct slice sequence_failed_name(const struct sequence *sequence);
uint64_t sequence_ns_id(const struct sequence *sequence);
/* Manifests of the uploads, in order of the request. */
size_t sequence_upload_count(const struct sequence *sequence);
struct manifest *sequence_manifest(struct sequence *sequence, size_t index);

#endif
