/* A namespace that was deleted: fence its metadata, wipe every OSD, delete the metadata, forget
 * it. In this order, so that whatever a crash leaves is still found by its record.
 *
 * On an OSD the status goes first: no later Apply of the namespace passes its assert. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/maintenance/agent_private.h"
#include "wire/osd_keys.h"

static int delete_keys(struct agent *agent, struct osd *osd, const struct agent_keys *keys,
                       struct err *e)
{
    struct asd_update *updates = mem_array(keys->count + 1, sizeof(*updates));
    struct asd_apply apply = {
        .updates = updates, .update_count = (uint32_t)keys->count, .flags = ASD_APPLY_RESERVE};
    struct buf failed = {0};
    int rc;

    for (size_t i = 0; i < keys->count; i++) {
        updates[i] = (struct asd_update){.key = keys->items[i], .is_delete = true};
    }
    rc = agent_osd_apply(agent, osd, &apply, &failed, e);
    buf_release(&failed);
    free(updates);
    return rc;
}

/* The status is the shortest key below the prefix, so it is in the first batch. */
int agent_wipe(struct agent *agent, struct osd *osd, uint64_t ns_id, bool *ret_clean, struct err *e)
{
    uint64_t end_ms = agent_slice_end_ms(agent);
    struct buf first = {0}, last = {0};
    bool is_clean = false;
    int rc = 0;

    osd_key_put_ns_status(&first, ns_id);
    osd_key_put_ns_status(&last, ns_id);
    osd_key_prefix_end(&last);
    while (rc == 0 && !is_clean && agent_may_act(agent) && !agent_slice_is_over(agent, end_ms)) {
        struct agent_keys keys;

        rc = agent_osd_range(agent, osd, slice_buf(&first), slice_buf(&last), ASD_RANGE_MAX, &keys,
                             e);
        if (rc == 0) {
            is_clean = keys.count == 0; /* until a look finds nothing */
            rc = is_clean ? 0 : delete_keys(agent, osd, &keys, e);
            agent_keys_release(&keys);
        }
    }
    *ret_clean = rc == 0 && is_clean;
    buf_release(&first);
    buf_release(&last);
    return rc;
}

static int nsm_step(struct agent *agent, const struct agent_ns *ns,
                    void (*call)(struct nsm *, uint64_t, nsm_cb, void *), struct err *e)
{
    struct agent_nsm_wait wait = {0};
    int rc;

    if (!agent_may_act(agent)) {
        return err_set(e, ERR_CANCELED, "removing namespace %s", ns->record->name);
    }
    agent_pace(agent);
    call(ns->nsm, ns->record->id, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    agent_nsm_release(&wait);
    return rc;
}

static int forget(struct agent *agent, uint64_t ns_id, struct err *e)
{
    struct agent_registry_wait wait = {0};

    registry_namespace_forget(agent->registry, ns_id, agent_registry_done, &wait);
    return agent_registry_wait(agent, &wait, e);
}

/* On every OSD that the registry knew when the namespace was removed already. */
static bool wipe_everywhere(struct agent *agent, const struct agent_ns *ns)
{
    bool all_clean = true;
    struct err e;

    if (agent_osds_check(agent, ns->view, &e) != 0) {
        agent_trouble(agent, &e);
        all_clean = false;
    }
    for (size_t i = 0; i < registry_view_osd_count(ns->view) && agent_may_act(agent); i++) {
        const struct registry_osd *known = registry_view_osd(ns->view, i);
        struct osd *osd = known->is_claimed ? osds_find(agent->engine->osds, known->osd_id) : NULL;
        bool is_clean = !known->is_claimed;

        if (osd != NULL && !osd->gone && !osd->aside &&
            agent_wipe(agent, osd, ns->record->id, &is_clean, &e) != 0) {
            agent_trouble(agent, &e);
        }
        all_clean = all_clean && is_clean;
    }
    return all_clean && agent_may_act(agent);
}

void agent_remove_namespace(struct agent *agent, const struct agent_ns *ns)
{
    struct err e;

    agent_where(agent, "removing namespace %.80s", ns->record->name);
    if (nsm_step(agent, ns, nsm_namespace_fence, &e) != 0) {
        agent_trouble(agent, &e);
        return;
    }
    if (!wipe_everywhere(agent, ns)) {
        return; /* the record stays */
    }
    if (nsm_step(agent, ns, nsm_namespace_destroy, &e) != 0 ||
        forget(agent, ns->record->id, &e) != 0) {
        agent_trouble(agent, &e);
        return;
    }
    log_info("maintenance", "namespace removed", "name=%s id=%llu", ns->record->name,
             (unsigned long long)ns->record->id);
    agent_count(agent, &agent->status.counts.namespaces_removed, 1);
}
