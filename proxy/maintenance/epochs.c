/* Gc epochs of a namespace: when one ends and the next begins (collect.c tells why). */
#include "base/clock.h"
#include "proxy/maintenance/agent_private.h"

int agent_epochs_get(struct agent *agent, const struct agent_ns *ns, uint64_t *ret_oldest,
                     uint64_t *ret_current, struct err *e)
{
    struct agent_nsm_wait wait = {0};
    int rc;

    agent_pace(agent);
    nsm_gc_epochs(ns->nsm, ns->record->id, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    if (rc == 0 && wait.reply->count == 0) {
        rc = err_set(e, ERR_NOT_FOUND, "namespace %s: live gc epochs", ns->record->name);
    }
    if (rc == 0) {
        *ret_oldest = wait.reply->epochs[0];
        *ret_current = wait.reply->epochs[wait.reply->count - 1];
    }
    agent_nsm_release(&wait);
    return rc;
}

/* Has `epoch` begun at least the grace time ago? */
static int is_past_grace(struct agent *agent, const struct agent_ns *ns, uint64_t epoch,
                         bool *ret_past, struct err *e)
{
    struct agent_nsm_wait wait = {0};
    uint64_t now_us = clock_wall_us();
    int rc;

    agent_pace(agent);
    nsm_gc_began(ns->nsm, ns->record->id, epoch, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    if (rc == 0) {
        uint64_t began_us = wait.reply->count > 0 ? wait.reply->epochs[0] : 0;

        *ret_past =
            now_us > began_us && now_us - began_us >= (uint64_t)agent->options.grace_ms * 1000;
    }
    agent_nsm_release(&wait);
    return rc;
}

static int advance(struct agent *agent, const struct agent_ns *ns, uint64_t current, struct err *e)
{
    struct agent_nsm_wait wait = {0};
    int rc;

    agent_pace(agent);
    nsm_gc_advance(ns->nsm, ns->record->id, current, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    agent_nsm_release(&wait);
    if (rc == 0) {
        agent_count(agent, &agent->status.counts.epochs_begun, 1);
    }
    return rc == ERR_STALE ? 0 : rc;
}

static int disable(struct agent *agent, const struct agent_ns *ns, uint64_t oldest, struct err *e)
{
    struct agent_nsm_wait wait = {0};
    int rc;

    agent_pace(agent);
    nsm_gc_disable(ns->nsm, ns->record->id, oldest, agent_nsm_done, &wait);
    rc = agent_nsm_wait(agent, &wait, e);
    agent_nsm_release(&wait);
    if (rc == 0) {
        agent_count(agent, &agent->status.counts.epochs_ended, 1);
    }
    return rc;
}

int agent_epochs_turn(struct agent *agent, const struct agent_ns *ns, uint64_t *ret_oldest,
                      struct err *e)
{
    uint64_t oldest, current;
    bool past = false;
    int rc = agent_epochs_get(agent, ns, &oldest, &current, e);

    while (rc == 0 && oldest < current && agent_may_act(agent)) {
        rc = is_past_grace(agent, ns, oldest + 1, &past, e);
        if (rc != 0 || !past) {
            break;
        }
        rc = disable(agent, ns, oldest, e);
        oldest += rc == 0;
    }
    if (rc == 0) {
        rc = is_past_grace(agent, ns, current, &past, e);
    }
    if (rc == 0 && past && agent_may_act(agent)) {
        rc = advance(agent, ns, current, e);
    }
    *ret_oldest = rc == 0 ? oldest : 0;
    return rc;
}
