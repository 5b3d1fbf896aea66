/* A snapshot of the small part of the registry: OSDs, presets, namespaces, NSM hosts.
 *
 * Immutable and counted: any thread may hold one. Records are shared between
 * snapshots. Pointers into a view live as long as it is held. */
#ifndef META_REGISTRY_VIEW_H
#define META_REGISTRY_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/preset.h"

enum {
    REGISTRY_OSDS_MAX = 65536,
    REGISTRY_OSD_IPS_MAX = 16,
    REGISTRY_NAME_BYTES_MAX = 1024,
    REGISTRY_ID_BYTES_MAX = 255, /* long ids, node ids, datacenters, host ids */
    REGISTRY_ALBA_ID_BYTES = 37  /* UUID and NUL */
};

struct registry_osd {
    const char *long_id;
    const char *ips[REGISTRY_OSD_IPS_MAX];
    unsigned ip_count;
    uint16_t port;
    bool use_tls;
    const char *node_id;
    const char *datacenter; /* "": unnamed */
    uint64_t capacity_bytes;
    bool is_claimed;        /* by this alba; osd_id and claimed_since_us are set */
    bool is_decommissioned; /* gets no new fragments */
    bool is_purging;        /* … and those it has count as lost; is_decommissioned is set */
    uint64_t osd_id;
    uint64_t claimed_since_us;
};

enum registry_namespace_state {
    REGISTRY_NS_CREATING,
    REGISTRY_NS_ACTIVE,
    REGISTRY_NS_LOST, /* its manifests went with the metadata (KEYS.md, "Recovery") */
    REGISTRY_NS_REMOVING
};
const char *registry_namespace_state_text(enum registry_namespace_state state);

struct registry_namespace {
    uint64_t id;
    const char *name;
    const char *preset;
    const char *nsm_host;
    enum registry_namespace_state state;
    uint64_t created_us;
    uint64_t removed_at_us; /* REMOVING */
};

struct registry_nsm_host {
    const char *id;
    const char *url; /* "registry:" = the registry's own engine */
    bool is_lost;
};

struct registry_view;

const struct registry_view *registry_view_hold(const struct registry_view *view);
void registry_view_drop(const struct registry_view *view); /* accepts NULL */

/* Grows with every change of the registry. */
uint64_t registry_view_version(const struct registry_view *view);
/* "" when the registry was not initialised. */
const char *registry_view_alba_id(const struct registry_view *view);

/* Each list is in order of its key; `index` < count. Finders return NULL for "not there". */
size_t registry_view_osd_count(const struct registry_view *view);
const struct registry_osd *registry_view_osd(const struct registry_view *view, size_t index);
const struct registry_osd *registry_view_osd_find(const struct registry_view *view,
                                                  const char *long_id);
const struct registry_osd *registry_view_osd_by_id(const struct registry_view *view,
                                                   uint64_t osd_id);

/* Its is_default and in_use are not set: see registry_view_preset_copy(). */
size_t registry_view_preset_count(const struct registry_view *view);
const struct preset *registry_view_preset(const struct registry_view *view, size_t index);
/* `name` NULL or "": the default preset. */
const struct preset *registry_view_preset_find(const struct registry_view *view, const char *name);
/* With is_default and in_use; *ret_preset is fresh, the caller releases it. */
void registry_view_preset_copy(const struct registry_view *view, const struct preset *preset,
                               struct preset *ret_preset);

/* Live namespaces (creating, active), by name. */
size_t registry_view_namespace_count(const struct registry_view *view);
const struct registry_namespace *registry_view_namespace(const struct registry_view *view,
                                                         size_t index);
/* `name` as bytes: it comes from peers. */
const struct registry_namespace *registry_view_namespace_find(const struct registry_view *view,
                                                              const void *name, size_t bytes);
/* Index of the first name >= `name`, for listing by ranges. */
size_t registry_view_namespace_lower_bound(const struct registry_view *view, const void *name,
                                           size_t bytes);
/* Live or removed. */
const struct registry_namespace *registry_view_namespace_by_id(const struct registry_view *view,
                                                               uint64_t id);
/* The id that the next namespace will get: every id below it was given out, none from it on. */
uint64_t registry_view_next_namespace_id(const struct registry_view *view);
/* It may have been given out by a change that was lost with the metadata. */
bool registry_view_namespace_is_unsure(const struct registry_view *view, uint64_t id);
/* Deleted ones that are still to be cleaned up, by id. */
size_t registry_view_removed_count(const struct registry_view *view);
const struct registry_namespace *registry_view_removed(const struct registry_view *view,
                                                       size_t index);

size_t registry_view_nsm_host_count(const struct registry_view *view);
const struct registry_nsm_host *registry_view_nsm_host(const struct registry_view *view,
                                                       size_t index);
const struct registry_nsm_host *registry_view_nsm_host_find(const struct registry_view *view,
                                                            const char *id);
/* Live namespaces on it. */
size_t registry_view_nsm_host_load(const struct registry_view *view, const char *id);

#endif
