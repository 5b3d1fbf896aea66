/* Lazy deletes on OSDs: gc tags of committed objects, and whole fragments of uploads that
 * certainly will not be committed. Gathered for each OSD and sent once a second, many in
 * one Apply.
 *
 * Every delete asserts the gc tag it acts on, so a late or repeated one harms nothing.
 * What is not sent (an OSD that is set aside, too much at once, a crash) is left to
 * the collection by gc epochs, which judges by manifests. Loop thread only. */
#ifndef PROXY_TAGS_H
#define PROXY_TAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "wire/manifest.h"

enum {
    TAGS_BATCH_MAX = 64,    /* in one Apply */
    TAGS_PER_OSD_MAX = 4096 /* waiting; more are left to garbage collection */
};

struct engine;
struct osd;

struct tags {
    struct engine *engine; /* private */
    struct list osds;      /* those with something to delete */
};

/* One stored fragment and its tag. */
struct tags_item {
    uint64_t ns_id;
    uint64_t gc_epoch;
    uint8_t object_id[MANIFEST_OBJECT_ID_BYTES];
    uint32_t chunk;
    uint32_t fragment;
    uint32_t version;
    bool with_data; /* the fragment and its recovery info too */
};

void tags_init(struct tags *tags, struct engine *engine);
void tags_delete(struct tags *tags, struct osd *osd, const struct tags_item *item);
void tags_flush(struct tags *tags);
void tags_release(struct tags *tags);

#endif
