/* Namespaces that no registry knows: left by a writer that was frozen while its namespace was
 * deleted and wiped.
 *
 * Deleting what one does not know is dangerous, so: the OSD says that it is ours (its long id is
 * checked at every connection); the registry is read again after the id was seen; only
 * an id that the registry has given out is touched (others may come from a registry that was
 * restored from an old copy; after a recovery some below the next id may, too); and it must
 * be found by two scans with the grace time between them. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/maintenance/agent_private.h"
#include "wire/osd_keys.h"

struct agent_unknown {
    uint64_t ns_id;
    uint64_t since_ms; /* first seen */
    bool is_there;     /* in this scan */
};

static struct agent_unknown *note(struct agent *agent, uint64_t ns_id)
{
    struct agent_unknown *u;

    for (size_t i = 0; i < agent->unknown_count; i++) {
        if (agent->unknown[i].ns_id == ns_id) {
            return &agent->unknown[i];
        }
    }
    agent->unknown =
        mem_realloc(agent->unknown, (agent->unknown_count + 1) * sizeof(*agent->unknown));
    u = &agent->unknown[agent->unknown_count++];
    *u = (struct agent_unknown){.ns_id = ns_id, .since_ms = clock_mono_ms()};
    return u;
}

/* Certainly nobody's, and for long enough. */
static bool is_condemned(struct agent *agent, uint64_t ns_id, struct err *e)
{
    const struct registry_view *view = registry_view(agent->registry);
    struct agent_unknown *u;

    if (registry_view_namespace_by_id(view, ns_id) != NULL) {
        return false;
    }
    if (agent_registry_refresh(agent, e) != 0) {
        agent_trouble(agent, e);
        return false;
    }
    view = registry_view(agent->registry);
    if (registry_view_namespace_by_id(view, ns_id) != NULL ||
        ns_id >= registry_view_next_namespace_id(view) ||
        registry_view_namespace_is_unsure(view, ns_id)) {
        return false;
    }
    u = note(agent, ns_id);
    u->is_there = true;
    return clock_mono_ms() - u->since_ms >= agent->options.grace_ms;
}

static void removed(struct agent *agent, uint64_t ns_id, const char *where)
{
    log_warn("maintenance", "unknown namespace removed", "id=%llu from=%s",
             (unsigned long long)ns_id, where);
    agent_count(agent, &agent->status.counts.unknown_removed, 1);
}

/* The first namespace from key `first` on that has anything on this OSD. */
static int next_namespace(struct agent *agent, struct osd *osd, const struct buf *first,
                          bool *ret_found, uint64_t *ret_ns_id, struct err *e)
{
    struct buf last = {0};
    struct agent_keys keys;
    struct osd_key parsed;
    int rc;

    osd_key_put_all_namespaces(&last);
    osd_key_prefix_end(&last);
    rc = agent_osd_range(agent, osd, slice_buf(first), slice_buf(&last), ASD_RANGE_MAX, &keys, e);
    buf_release(&last);
    *ret_found = false;
    for (size_t i = 0; rc == 0 && i < keys.count && !*ret_found; i++) {
        if (osd_key_parse(keys.items[i], &parsed) == 0) {
            *ret_found = true;
            *ret_ns_id = parsed.namespace_id;
        }
    }
    agent_keys_release(&keys);
    return rc;
}

/* From one namespace to the next, behind everything of the one before. */
static int scan_osd(struct agent *agent, struct osd *osd, struct err *e)
{
    struct buf first = {0};
    uint64_t ns_id = 0;
    bool found = true, is_clean;
    int rc = 0;

    osd_key_put_all_namespaces(&first);
    while (rc == 0 && agent_may_act(agent)) {
        rc = next_namespace(agent, osd, &first, &found, &ns_id, e);
        if (rc != 0 || !found) {
            break;
        }
        if (is_condemned(agent, ns_id, e)) {
            rc = agent_wipe(agent, osd, ns_id, &is_clean, e);
            if (rc == 0 && is_clean) {
                removed(agent, ns_id, osd->long_id);
            }
        }
        first.len = 0;
        osd_key_put_ns_status(&first, ns_id);
        osd_key_prefix_end(&first);
    }
    buf_release(&first);
    return rc;
}

static int destroy(struct agent *agent, struct nsm *nsm, uint64_t ns_id, struct err *e)
{
    struct agent_nsm_wait wait = {0};
    int rc;

    agent_pace(agent);
    nsm_namespace_destroy(nsm, ns_id, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    agent_nsm_release(&wait);
    return rc;
}

static int scan_host(struct agent *agent, struct nsm *nsm, struct err *e)
{
    uint64_t after = 0;
    bool more = true;
    int rc = 0;

    agent_where(agent, "looking for unknown namespaces in metadata");
    while (rc == 0 && more && agent_may_act(agent)) {
        struct agent_nsm_wait wait = {0};

        agent_pace(agent);
        nsm_namespace_list(nsm, after, 100, agent_nsm_done, &wait);
        rc = agent_nsm_wait(agent, &wait, e);
        more = rc == 0 && wait.reply->has_more && wait.reply->count > 0;
        for (size_t i = 0; rc == 0 && i < wait.reply->count; i++) {
            after = wait.reply->epochs[i];
            if (agent_may_act(agent) && is_condemned(agent, after, e)) {
                rc = destroy(agent, nsm, after, e);
                if (rc == 0) {
                    removed(agent, after, "metadata");
                }
            }
        }
        agent_nsm_release(&wait);
    }
    return rc;
}

static void drop_unseen(struct agent *agent)
{
    size_t left = 0;

    for (size_t i = 0; i < agent->unknown_count; i++) {
        if (agent->unknown[i].is_there) {
            agent->unknown[left] = agent->unknown[i];
            agent->unknown[left++].is_there = false;
        }
    }
    agent->unknown_count = left;
}

void agent_remove_unknown(struct agent *agent)
{
    const struct registry_view *view = registry_view_hold(registry_view(agent->registry));
    struct err e;

    agent_where(agent, "looking for unknown namespaces");
    for (size_t i = 0; i < registry_view_osd_count(view) && agent_may_act(agent); i++) {
        const struct registry_osd *known = registry_view_osd(view, i);
        struct osd *osd = known->is_claimed ? osds_find(agent->engine->osds, known->osd_id) : NULL;

        if (osd != NULL && !osd->gone && !osd->aside && scan_osd(agent, osd, &e) != 0) {
            agent_trouble(agent, &e);
        }
    }
    for (size_t i = 0; i < registry_view_nsm_host_count(view) && agent_may_act(agent); i++) {
        struct nsm *nsm;
        int rc = agent_nsm(agent, registry_view_nsm_host(view, i)->id, &nsm, &e);

        rc = rc != 0 ? rc : scan_host(agent, nsm, &e);
        if (rc != 0) {
            agent_trouble(agent, &e);
        }
    }
    drop_unseen(agent);
    registry_view_drop(view);
}
