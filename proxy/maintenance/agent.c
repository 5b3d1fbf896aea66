#include "proxy/maintenance/agent.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/maintenance/agent_private.h"

enum { STANDBY_MS = 500 };

static void on_wake(uv_async_t *wake)
{
    (void)wake; /* the loop has turned: that is all */
}

void agent_init(struct agent *agent, struct registry *registry, struct engine *engine,
                const struct agent_options *options)
{
    memset(agent, 0, sizeof(*agent));
    agent->loop = engine->loop;
    agent->registry = registry;
    agent->engine = engine;
    agent->options = *options;
    atomic_init(&agent->stop, false);
    CHECK(uv_async_init(agent->loop, &agent->wake, on_wake) == 0);
    CHECK(uv_timer_init(agent->loop, &agent->timer) == 0);
    CHECK(uv_mutex_init(&agent->lock) == 0);
}

static void note_leader(struct agent *agent, bool is_leader)
{
    uv_mutex_lock(&agent->lock);
    if (agent->status.is_leader != is_leader) {
        log_info("maintenance", is_leader ? "this agent works" : "another agent works", "");
    }
    agent->status.is_leader = is_leader;
    uv_mutex_unlock(&agent->lock);
}

/* ---- a round ---- */

static bool open_ns(struct agent *agent, const struct registry_view *view,
                    const struct registry_namespace *record, struct agent_ns *ret_ns)
{
    struct agent_ns ns = {.view = view, .record = record};
    struct err e;

    if (agent_nsm(agent, record->nsm_host, &ns.nsm, &e) != 0) {
        agent_trouble(agent, &e);
        return false;
    }
    ns.notes = notes_of(&agent->notes, record->id);
    *ret_ns = ns;
    return true;
}

static void work_on_namespaces(struct agent *agent, const struct registry_view *view)
{
    struct agent_ns ns;

    for (size_t i = 0; i < registry_view_removed_count(view) && agent_may_act(agent); i++) {
        if (open_ns(agent, view, registry_view_removed(view, i), &ns)) {
            agent_remove_namespace(agent, &ns);
        }
    }
    for (size_t i = 0; i < registry_view_namespace_count(view) && agent_may_act(agent); i++) {
        const struct registry_namespace *record = registry_view_namespace(view, i);

        if (record->state == REGISTRY_NS_ACTIVE && open_ns(agent, view, record, &ns)) {
            agent_clean_obsolete(agent, &ns);
            agent_collect(agent, &ns);
        }
    }
}

static void log_round(struct agent *agent, const struct agent_counts *before, uint64_t start_ms)
{
    struct agent_counts now = agent->status.counts;

    if (memcmp(&now, before, sizeof(now)) == 0) {
        return; /* nothing was done: nothing to say */
    }
    log_info("maintenance", "round done",
             "ms=%llu objects=%llu fragments=%llu orphans=%llu tags=%llu epochs=%llu "
             "namespaces=%llu failures=%llu",
             (unsigned long long)(clock_mono_ms() - start_ms),
             (unsigned long long)(now.objects_cleaned - before->objects_cleaned),
             (unsigned long long)(now.fragments_deleted - before->fragments_deleted),
             (unsigned long long)(now.orphans_deleted - before->orphans_deleted),
             (unsigned long long)(now.tags_deleted - before->tags_deleted),
             (unsigned long long)(now.epochs_ended - before->epochs_ended),
             (unsigned long long)(now.namespaces_removed - before->namespaces_removed),
             (unsigned long long)(now.failures - before->failures));
}

static void note_state(struct agent *agent)
{
    const struct registry_view *view = registry_view(agent->registry);
    uint64_t left = 0, damaged = 0;
    unsigned aside = 0;

    for (const struct ns_notes *n = agent->notes; n != NULL; n = n->hh.next) {
        left += n->left;
        damaged += n->damaged;
    }
    for (unsigned i = 0; i < osds_count(agent->engine->osds); i++) {
        aside += osds_at(agent->engine->osds, i)->aside;
    }
    uv_mutex_lock(&agent->lock);
    agent->status.objects_left = left;
    agent->status.records_damaged = damaged;
    agent->status.namespaces_left = registry_view_removed_count(view);
    agent->status.osds_aside = aside;
    agent->status.counts.rounds++;
    if (!agent->had_trouble) {
        agent->status.trouble[0] = 0;
    }
    uv_mutex_unlock(&agent->lock);
}

static void look_for_unknown(struct agent *agent)
{
    bool had_more = agent->has_more;

    if (clock_mono_ms() < agent->unknown_scan_at_ms || !agent_may_act(agent)) {
        return;
    }
    agent->has_more = false;
    agent_remove_unknown(agent);
    if (!agent->has_more) {
        agent->unknown_scan_at_ms = clock_mono_ms() + agent->options.unknown_scan_ms;
    }
    agent->has_more = agent->has_more || had_more;
}

void agent_run_round(struct agent *agent)
{
    struct agent_counts before = agent->status.counts;
    uint64_t start_ms = clock_mono_ms();
    const struct registry_view *view;
    struct err e;

    agent->had_trouble = false;
    agent->has_more = false;
    agent_where(agent, "reading the registry");
    if (agent_registry_refresh(agent, &e) != 0) {
        agent_trouble(agent, &e);
        return;
    }
    if (agent_may_act(agent)) {
        agent_do_work(agent);
    }
    view = registry_view_hold(registry_view(agent->registry));
    work_on_namespaces(agent, view);
    registry_view_drop(view);
    if (agent_may_act(agent)) {
        notes_tidy(&agent->notes); /* every namespace had its turn */
    }
    look_for_unknown(agent);
    log_round(agent, &before, start_ms);
    note_state(agent);
    agent_where(agent, "waiting for the next round");
}

void agent_run(struct agent *agent)
{
    while (!atomic_load(&agent->stop)) {
        bool is_leader = agent_may_act(agent);

        note_leader(agent, is_leader);
        if (is_leader) {
            agent_run_round(agent);
            agent_sleep(agent, agent->has_more ? 0 : agent->options.pause_ms);
        } else {
            agent_where(agent, "standing by");
            agent_sleep(agent, STANDBY_MS);
        }
    }
}

/* ---- from anywhere ---- */

void agent_stop(struct agent *agent)
{
    atomic_store(&agent->stop, true);
    uv_async_send(&agent->wake);
}

void agent_status(struct agent *agent, struct agent_status *ret_status)
{
    uv_mutex_lock(&agent->lock);
    *ret_status = agent->status;
    uv_mutex_unlock(&agent->lock);
}

void agent_set_copies(struct agent *agent, const struct registry_copy_status *copies)
{
    uv_mutex_lock(&agent->lock);
    agent->status.copies = *copies;
    uv_mutex_unlock(&agent->lock);
}

/* ---- end ---- */

struct closing {
    unsigned open;
    bool done;
};

static void on_closed(uv_handle_t *handle)
{
    struct closing *closing = handle->data;

    closing->done = --closing->open == 0;
}

void agent_release(struct agent *agent)
{
    struct closing closing = {.open = 2};

    agent->wake.data = &closing;
    agent->timer.data = &closing;
    uv_close((uv_handle_t *)&agent->wake, on_closed);
    uv_close((uv_handle_t *)&agent->timer, on_closed);
    agent_until(agent, &closing.done);
    uv_mutex_destroy(&agent->lock);
    free(agent->unknown);
    free(agent->work_notes);
    notes_release(&agent->notes);
}
