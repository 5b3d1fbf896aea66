/* The data of one new object on its way to the OSDs: everything but the commit.
 *
 * Loop thread only. Cut into chunks, at most two of which are in memory; each chunk is
 * encoded in the pool and its fragments are sent all at once, each in one Apply that asserts
 * the fragment's key absent and sets data, recovery info and gc tag. A failed OSD is replaced
 * by another where the policy allows.
 *
 * `on_stored` runs when every chunk has the fragments its policy asks for and stragglers
 * had their slack; then upload_manifest() is what to commit. Stragglers go on; `on_settled`
 * runs after the last of them, also when on_stored reported failure. Then upload_free().
 *
 * Every attempt has a fresh random object id, so that nothing of an attempt that failed
 * can be taken for another's; its fragments carry gc tags and are collected by those. */
#ifndef PROXY_UPLOAD_H
#define PROXY_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "meta/registry_view.h"
#include "proxy/engine.h"
#include "proxy/put_stream.h"
#include "wire/manifest.h"

enum {
    UPLOAD_CHUNKS_IN_MEMORY = 2,
    UPLOAD_ATTEMPTS_MAX = 4,
    UPLOAD_REPLACEMENTS_MAX = 4 /* of one fragment */
};

struct upload;
typedef void (*upload_cb)(void *ctx, struct upload *upload, int rc);

struct upload_spec {
    const struct registry_namespace *ns; /* borrowed until settled, as is the preset */
    const struct preset *preset;
    struct slice name; /* copied */
    uint64_t gc_epoch;
    const uint8_t *data;                /* borrowed until stored; NULL: read from what follows */
    bool data_stays;                    /* until settled: it is sent from where it lies */
    struct put_stream *stream;          /* borrowed until stored; NULL: it is a file */
    int fd;                             /* borrowed until settled */
    const struct proxy_extent *extents; /* of the file, borrowed until stored; NULL: all of it */
    uint32_t extent_count;
    uint64_t size_bytes;
    struct checksum checksum; /* sent along by the client */
    bool has_checksum;
    unsigned osds_max; /* that may have fragments of it: each costs the commit an update */
    bool reserve;
    bool low_priority;
    uint64_t deadline_ms; /* monotonic */
};

/* Callbacks come later. `on_stored` gets 0, ERR_NO_POLICY, ERR_CHECKSUM (the client's checksum is
 * not that of the data), ERR_NOT_FOUND (the namespace is gone), ERR_TOO_LARGE, UV_ETIMEDOUT,
 * ERR_CANCELED, or what reading the file gave. */
struct upload *upload_start(struct engine *engine, const struct upload_spec *spec,
                            upload_cb on_stored, upload_cb on_settled, void *ctx);
void upload_extend(struct upload *upload, uint64_t deadline_ms); /* as the spec's; a later one */
/* A wish; both callbacks still come. After on_stored it only stops the stragglers. */
void upload_cancel(struct upload *upload);

const struct err *upload_err(const struct upload *upload);
/* After on_stored with 0; the upload keeps it. Names the fragments that were stored by then. */
struct manifest *upload_manifest(struct upload *upload);

/* ---- after on_settled ---- */

/* Fragments stored after on_stored. */
bool upload_has_late(const struct upload *upload);
/* Enter those into a manifest: 0, or 1 when it needs none of them. For nsm_update(). */
int upload_add_late(struct upload *upload, struct manifest *manifest);

struct upload_place {
    struct osd *osd;
    uint32_t chunk;
    uint32_t fragment;
    bool late;
    bool is_named; /* late, and in the manifest that upload_add_late() made last */
};

/* Everything that is known to be stored, with its gc tag. */
const struct upload_place *upload_places(const struct upload *upload, size_t *ret_count);
void upload_free(struct upload *upload);

#endif
