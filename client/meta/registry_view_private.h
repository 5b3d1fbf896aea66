/* Making a view: start empty or from another view, apply items, seal. Inside of meta/. */
#ifndef META_REGISTRY_VIEW_PRIVATE_H
#define META_REGISTRY_VIEW_PRIVATE_H

#include "meta/registry_record.h"

enum { REGISTRY_COMMIT_TEXT_BYTES = 33 }; /* 16 bytes in hex */

struct record_list {
    struct record **items; /* held, in order of id */
    size_t count, cap;
};

struct registry_view {
    atomic_uint refs;
    uint64_t version;
    /* Id of the change that made it: tells histories apart. */
    char commit[REGISTRY_COMMIT_TEXT_BYTES];
    struct buf version_value; /* as stored: asserted by the next change */
    char alba_id[REGISTRY_ALBA_ID_BYTES];
    char *default_preset; /* owned; "" when there is none */
    uint64_t next_osd_id, next_namespace_id, next_work_id;
    uint64_t work_items;             /* how many there are; WORK_ITEMS_UNKNOWN */
    uint64_t unsure_from, unsure_to; /* namespace ids: from <= id < to */
    json_t *recovered;               /* the record; NULL: none. Of this view alone */
    struct record_list lists[RECORD_KINDS];

    struct record **osds_by_id; /* borrowed from the lists; claimed ones */
    size_t osd_by_id_count;
    struct record **namespaces_by_id; /* live and removed */
    size_t namespace_by_id_count;
};

#define WORK_ITEMS_UNKNOWN UINT64_MAX

struct registry_view *registry_view_new(void);
/* A copy that may be changed. */
struct registry_view *registry_view_clone(const struct registry_view *view);
/* Does a view show what lies under /alba/v1/reg/ + `tail`? */
bool registry_view_shows(struct slice tail);
/* What is stored under `key` now (nothing, unless `found`). */
int registry_view_apply(struct registry_view *view, struct slice key, struct slice value,
                        bool found, struct err *e);
/* No changes from here on. */
void registry_view_seal(struct registry_view *view);

#endif
