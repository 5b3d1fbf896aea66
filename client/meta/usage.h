/* Usage counts of one process: gathered here, written every few seconds.
 *
 * A crash loses what was not written: the counts are "about", maintenance recounts. Loop
 * thread only. */
#ifndef META_USAGE_H
#define META_USAGE_H

#include <uv.h>

#include "meta/nsm_gc.h"
#include "meta/registry.h"

struct usage;

/* `registry` is borrowed; its view tells where a namespace lies. interval_ms 0: 5000. */
struct usage *usage_new(struct registry *registry, unsigned interval_ms);
/* A put adds nsm_usage_of(manifest), a delete or overwrite takes away that of the old one. */
void usage_add(struct usage *usage, uint64_t ns_id, const struct nsm_usage *delta);
/* Writes what is left (a failure is ignored), then `cb`; *usage is freed. Before the registry. */
void usage_close(struct usage *usage, void (*cb)(void *ctx), void *ctx);

#endif
