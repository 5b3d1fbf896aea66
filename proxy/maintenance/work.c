/* Work items of the registry: what a proxy could not do and left.
 *
 * Each is done with the same code as the proxy has, and taken away when it is done or there is
 * nothing left to do. One that fails waits, twice as long each time, and says in the registry how
 * often it failed and why; after a restart it is tried at once, and then waits as long as before.
 * When an OSD was taken back since, or is new, it waits an eighth of that: perhaps that was what
 * it wanted, but one that comes and goes must not undo the waiting of them all.
 * A pass goes on where its time was over, so that those that fail do not keep the agent from the
 * others. Done twice, or by two agents, an item finds the second time that nothing is to be done.
 * Items of a kind that this program does not know stay: a newer one put them there. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/registry_record.h"
#include "proxy/maintenance/agent_private.h"
#include "proxy/repair_work.h"

enum { ITEMS_AT_ONCE = 64, WAIT_FIRST_MS = 2000, WAIT_MAX_MS = 1800000, RETURN_DIVISOR = 8 };

/* An item that has failed. */
struct agent_work_note {
    uint64_t id;
    uint64_t due_ms;
    uint64_t again_ms; /* when it may be tried if an OSD has come back */
    unsigned returns;  /* of OSDs, before it failed */
    bool is_seen;      /* in this pass */
};

static struct agent_work_note *note_of(struct agent *agent, uint64_t id)
{
    for (size_t i = 0; i < agent->work_note_count; i++) {
        if (agent->work_notes[i].id == id) {
            return &agent->work_notes[i];
        }
    }
    return NULL;
}

static unsigned wait_ms(uint64_t times)
{
    unsigned doublings = times < 10 ? (unsigned)times : 10;
    unsigned ms = (unsigned)WAIT_FIRST_MS << doublings;

    return ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS;
}

/* After the return of an OSD. */
static unsigned short_wait_ms(unsigned long_ms)
{
    unsigned ms = long_ms / RETURN_DIVISOR;

    return ms > WAIT_FIRST_MS ? ms : WAIT_FIRST_MS;
}

/* In the registry as well, where people see it, and the agent after this one. */
static void note_failure(struct agent *agent, const json_t *item, unsigned returns,
                         const struct err *why)
{
    uint64_t id = json_u64(item, "id", 0), now = clock_mono_ms();
    unsigned wait_for_ms = wait_ms(json_u64(json_object_get(item, "failed"), "times", 0));
    struct agent_work_note *note = note_of(agent, id);
    struct agent_registry_wait wait = {0};
    struct err e;

    if (note == NULL) {
        agent->work_notes = mem_realloc(agent->work_notes,
                                        (agent->work_note_count + 1) * sizeof(*agent->work_notes));
        note = &agent->work_notes[agent->work_note_count++];
        *note = (struct agent_work_note){.id = id, .is_seen = true};
    }
    note->returns = returns;
    note->again_ms = now + short_wait_ms(wait_for_ms);
    note->due_ms = now + wait_for_ms;
    if (!agent_may_act(agent)) {
        return;
    }
    registry_work_note(agent->registry, id, why->msg, agent_registry_done, &wait);
    if (agent_registry_wait(agent, &wait, &e) != 0) {
        agent_trouble(agent, &e);
    }
}

/* Those of items that are gone. */
static void drop_notes(struct agent *agent)
{
    size_t kept = 0;

    for (size_t i = 0; i < agent->work_note_count; i++) {
        if (agent->work_notes[i].is_seen) {
            agent->work_notes[kept] = agent->work_notes[i];
            agent->work_notes[kept++].is_seen = false;
        }
    }
    agent->work_note_count = kept;
}

/* ---- one repair ---- */

struct repairing {
    struct agent *agent;
    bool done;
    int rc;
    struct repair_result result;
};

static void on_repaired(void *ctx, int rc, const struct repair_result *result)
{
    struct repairing *r = ctx;

    r->rc = rc;
    r->result = *result;
    r->done = true;
}

static bool has_ended_or_must(void *ctx)
{
    const struct repairing *r = ctx;

    return r->done || atomic_load(&r->agent->stop);
}

/* ERR_NOT_FOUND: the namespace is gone. */
static int do_repair(struct agent *agent, json_t *item, struct err *e)
{
    struct repair_spot *spots = mem_array(REPAIR_SPOTS_MAX, sizeof(*spots));
    struct repairing r = {.agent = agent};
    struct repair_spec spec;
    struct repair *repair;
    int rc = repair_work_parse(item, &spec, spots, e);

    if (rc == 0) {
        repair = repair_start(agent->engine, &spec, on_repaired, &r);
        loop_run_until_true(agent->loop, has_ended_or_must, &r);
        if (!r.done) {
            repair_cancel(repair);
            agent_until(agent, &r.done);
        }
        agent_count(agent, &agent->status.counts.fragments_repaired, r.result.fragments);
        rc = r.rc != 0 ? err_copy(e, &r.result.err) : 0;
    }
    free(spots);
    return rc;
}

/* ---- items ---- */

static int take_away(struct agent *agent, uint64_t id, struct err *e)
{
    struct agent_registry_wait wait = {0};

    registry_work_remove(agent->registry, id, agent_registry_done, &wait);
    return agent_registry_wait(agent, &wait, e);
}

/* What it asked for is found again, by a read or a scrub. */
static void drop_damaged(struct agent *agent, uint64_t id)
{
    struct err e;

    if (!agent_may_act(agent)) {
        return;
    }
    if (take_away(agent, id, &e) != 0) {
        agent_trouble(agent, &e);
        return;
    }
    agent->work_pass_left--;
    log_error("maintenance", "a work item was damaged and is taken away", "id=%llu",
              (unsigned long long)id);
}

static bool is_due(const struct agent *agent, const struct agent_work_note *note)
{
    uint64_t now = clock_mono_ms();

    return note == NULL || now >= note->due_ms ||
           (now >= note->again_ms && osds_returns(agent->engine->osds) != note->returns);
}

static void do_item(struct agent *agent, json_t *item)
{
    const char *kind = json_string_value(json_object_get(item, "kind"));
    uint64_t id = (uint64_t)json_integer_value(json_object_get(item, "id"));
    struct agent_work_note *note = note_of(agent, id);
    unsigned returns = osds_returns(agent->engine->osds);
    struct err e;
    int rc;

    agent->work_pass_left++;
    if (note != NULL) {
        note->is_seen = true;
    }
    if (kind != NULL && strcmp(kind, REGISTRY_WORK_DAMAGED) == 0) {
        drop_damaged(agent, id);
        return;
    }
    if (kind == NULL || strcmp(kind, REPAIR_WORK_KIND) != 0 || !is_due(agent, note)) {
        return;
    }
    agent_where(agent, "work item %llu: %s", (unsigned long long)id, kind);
    rc = do_repair(agent, item, &e);
    if (rc == 0 || rc == ERR_NOT_FOUND) {
        rc = agent_may_act(agent) ? take_away(agent, id, &e) : ERR_CANCELED;
        agent->work_pass_left -= rc == 0;
        agent_count(agent, &agent->status.counts.work_done, rc == 0);
    }
    if (rc != 0) {
        agent_count(agent, &agent->status.counts.repairs_failed, 1);
        agent_trouble(agent, &e);
        note_failure(agent, item, returns, &e);
    }
}

struct list_wait {
    bool done;
    int rc;
    struct err err;
    json_t *items;
};

static void on_list(void *ctx, int rc, const struct err *e, json_t *items)
{
    struct list_wait *wait = ctx;

    wait->rc = rc;
    if (rc != 0) {
        wait->err = *e;
    }
    wait->items = json_incref(items);
    wait->done = true;
}

/* Those behind `*after`, which moves on; false: there are no more. */
static int do_some(struct agent *agent, uint64_t *after, bool *ret_more, struct err *e)
{
    struct list_wait wait = {0};
    size_t i;

    agent_pace(agent);
    registry_work_list(agent->registry, *after, ITEMS_AT_ONCE, on_list, &wait);
    agent_until(agent, &wait.done);
    if (wait.rc != 0) {
        return err_copy(e, &wait.err);
    }
    *ret_more = json_array_size(wait.items) == ITEMS_AT_ONCE;
    for (i = 0; i < json_array_size(wait.items) && agent_may_act(agent); i++) {
        json_t *item = json_array_get(wait.items, i);

        *after = (uint64_t)json_integer_value(json_object_get(item, "id"));
        do_item(agent, item);
    }
    json_decref(wait.items);
    return 0;
}

void agent_do_work(struct agent *agent)
{
    uint64_t end_ms = agent_slice_end_ms(agent);
    bool more = true;
    struct err e;
    int rc = 0;

    if (agent->work_after == 0) {
        agent->work_pass_left = 0;
    }
    while (rc == 0 && more && agent_may_act(agent) && !agent_slice_is_over(agent, end_ms)) {
        rc = do_some(agent, &agent->work_after, &more, &e);
    }
    if (rc != 0) {
        agent_trouble(agent, &e);
    } else if (!more) {
        agent->work_after = 0;
        drop_notes(agent);
        uv_mutex_lock(&agent->lock);
        agent->status.work_left = agent->work_pass_left;
        uv_mutex_unlock(&agent->lock);
    }
}
