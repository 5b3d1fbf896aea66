/* Calls that wait, for a thread that has nothing else to do. */
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "loop/run.h"
#include "proxy/maintenance/agent_private.h"

enum { SLICE_MS_DEFAULT = 30000 };

void agent_until(struct agent *agent, const bool *done)
{
    loop_run_until(agent->loop, done);
}

static void on_timer(uv_timer_t *timer)
{
    container_of(timer, struct agent, timer)->timer_fired = true;
}

static bool has_slept(void *ctx)
{
    struct agent *agent = ctx;

    return agent->timer_fired || atomic_load(&agent->stop);
}

/* agent_stop() wakes the loop, too. */
void agent_sleep(struct agent *agent, uint64_t ms)
{
    agent->timer_fired = false;
    CHECK(uv_timer_start(&agent->timer, on_timer, ms, 0) == 0);
    loop_run_until_true(agent->loop, has_slept, agent);
    uv_timer_stop(&agent->timer);
}

void agent_pace(struct agent *agent)
{
    uint64_t now_us = clock_mono_ns() / 1000;

    if (agent->options.rate_per_s == 0) {
        return;
    }
    if (agent->next_call_us >= now_us + 1000) {
        agent_sleep(agent, (agent->next_call_us - now_us) / 1000);
    }
    if (agent->next_call_us < now_us) {
        agent->next_call_us = now_us; /* what was not used is not saved up */
    }
    agent->next_call_us += 1000000 / agent->options.rate_per_s;
}

bool agent_may_act(struct agent *agent)
{
    return !atomic_load(&agent->stop) && (agent->lease == NULL || lease_is_held(agent->lease));
}

uint64_t agent_slice_end_ms(struct agent *agent)
{
    unsigned ms = agent->options.slice_ms != 0 ? agent->options.slice_ms : SLICE_MS_DEFAULT;

    return clock_mono_ms() + ms;
}

bool agent_slice_is_over(struct agent *agent, uint64_t end_ms)
{
    if (clock_mono_ms() < end_ms) {
        return false;
    }
    agent->has_more = true;
    return true;
}

void agent_where(struct agent *agent, const char *fmt, ...)
{
    va_list args;

    uv_mutex_lock(&agent->lock);
    va_start(args, fmt);
    vsnprintf(agent->status.where, sizeof(agent->status.where), fmt, args);
    va_end(args);
    uv_mutex_unlock(&agent->lock);
}

void agent_trouble(struct agent *agent, const struct err *e)
{
    unsigned long skipped = 0;

    if (!agent_may_act(agent)) {
        return;
    }
    if (e->code != ERR_NO_POLICY || log_limit_pass(&agent->no_place_log, 60000, &skipped)) {
        log_info("maintenance", "step failed, will be tried again",
                 "where=\"%s\" why=\"%s\" skipped=%lu", agent->status.where, e->msg, skipped);
    }
    uv_mutex_lock(&agent->lock);
    agent->status.counts.failures++;
    snprintf(agent->status.trouble, sizeof(agent->status.trouble), "%s", e->msg);
    uv_mutex_unlock(&agent->lock);
    agent->had_trouble = true;
}

void agent_count(struct agent *agent, uint64_t *counter, uint64_t by)
{
    uv_mutex_lock(&agent->lock);
    *counter += by;
    uv_mutex_unlock(&agent->lock);
}

/* ---- namespace manager ---- */

void agent_nsm_done(void *ctx, int rc, struct nsm_reply *reply)
{
    struct agent_nsm_wait *wait = ctx;

    nsm_reply_take(reply);
    wait->reply = reply;
    wait->rc = rc;
    wait->done = true;
}

int agent_nsm_wait(struct agent *agent, struct agent_nsm_wait *wait, struct err *e)
{
    agent_until(agent, &wait->done);
    if (wait->rc != 0) {
        err_copy(e, &wait->reply->err);
    }
    return wait->rc;
}

void agent_nsm_release(struct agent_nsm_wait *wait)
{
    if (wait->reply != NULL) {
        nsm_reply_free(wait->reply);
    }
    *wait = (struct agent_nsm_wait){0};
}

/* ---- registry ---- */

void agent_registry_done(void *ctx, int rc, const struct err *e)
{
    struct agent_registry_wait *wait = ctx;

    wait->rc = rc;
    if (rc != 0) {
        wait->err = *e;
    }
    wait->done = true;
}

int agent_registry_wait(struct agent *agent, struct agent_registry_wait *wait, struct err *e)
{
    agent_until(agent, &wait->done);
    return wait->rc != 0 ? err_copy(e, &wait->err) : 0;
}

/* Also tells the engine, whatever else does. */
int agent_registry_refresh(struct agent *agent, struct err *e)
{
    struct agent_registry_wait wait = {0};
    int rc;

    registry_refresh(agent->registry, agent_registry_done, &wait);
    rc = agent_registry_wait(agent, &wait, e);
    if (rc == 0) {
        engine_registry_changed(agent->engine);
    }
    return rc;
}

int agent_nsm(struct agent *agent, const char *host_id, struct nsm **ret_nsm, struct err *e)
{
    struct agent_registry_wait wait = {0};
    int rc;

    agent_where(agent, "asking whose NSM host %s is", host_id);
    rc = registry_nsm_host_claim(agent->registry, host_id, agent_registry_done, &wait, e);

    rc = rc == 0 ? agent_registry_wait(agent, &wait, e) : rc;
    return rc < 0 ? rc : registry_nsm(agent->registry, host_id, ret_nsm, e);
}
