/* Calls to OSDs that wait. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "proxy/maintenance/agent_private.h"
#include "wire/asd_reply.h"

static int copy_keys(struct agent_osd_call *c)
{
    struct asd_reply reply;
    struct agent_keys *keys = c->keys;
    size_t bytes = 0;
    int rc = asd_reply_decode(c->call.asd.reply, ASD_RANGE, &reply, &c->err);

    if (rc != 0) {
        return rc;
    }
    keys->count = reply.keys.count;
    keys->more = reply.keys.more;
    keys->items = mem_array(keys->count + 1, sizeof(*keys->items));
    for (size_t i = 0; i < keys->count; i++) {
        bytes += reply.keys.items[i].len;
    }
    buf_reserve(&keys->bytes, bytes + 1); /* slices into it stay */
    for (size_t i = 0; i < keys->count; i++) {
        size_t at = keys->bytes.len;

        buf_put(&keys->bytes, reply.keys.items[i].data, reply.keys.items[i].len);
        keys->items[i] = slice_of(keys->bytes.data + at, reply.keys.items[i].len);
    }
    asd_reply_release(&reply);
    return 0;
}

static void on_reply(struct osd_call *call, int rc)
{
    struct agent_osd_call *c = container_of(call, struct agent_osd_call, call);

    c->rc = rc;
    if (rc != 0) {
        err_copy(&c->err, &call->asd.err);
    } else if (c->keys != NULL) {
        c->rc = copy_keys(c); /* while the reply is there */
    }
    c->done = true;
}

static void start(struct agent *agent, struct osd *osd, const struct asd_request *request,
                  enum osd_call_kind kind, struct agent_osd_call *c)
{
    int rc;

    agent_pace(agent);
    asd_request_encode(request, &c->request);
    if (osd->aside || osd->gone) {
        rc = ERR_FAILED;
    } else {
        rc = osd_call_start(osd, &c->call, &c->request, kind, agent->engine->options.osd_timeout_ms,
                            on_reply);
    }
    if (rc != 0) {
        c->rc = err_set(&c->err, rc, "osd %s", osd->long_id);
        c->done = true;
    }
}

void agent_osd_start(struct agent *agent, struct osd *osd, const struct asd_apply *apply,
                     struct agent_osd_call *c)
{
    struct asd_request request = {.code = ASD_APPLY, .prio = ASD_PRIO_LOW, .apply = *apply};

    *c = (struct agent_osd_call){0};
    start(agent, osd, &request, OSD_WRITE, c);
}

struct osd_wait {
    struct agent *agent;
    struct agent_osd_call *call;
};

static bool is_done_or_stopped(void *ctx)
{
    struct osd_wait *wait = ctx;

    return wait->call->done || atomic_load(&wait->agent->stop);
}

int agent_osd_wait(struct agent *agent, struct agent_osd_call *c, struct buf *ret_failed_key,
                   struct err *e)
{
    struct osd_wait wait = {.agent = agent, .call = c};

    loop_run_until_true(agent->loop, is_done_or_stopped, &wait);
    if (!c->done) {
        osd_call_cancel(&c->call);
        agent_until(agent, &c->done);
    }
    gather_release(&c->request);
    if (c->rc == ERR_ASSERT_FAILED && ret_failed_key != NULL) {
        *ret_failed_key = c->call.asd.failed_key;
    } else {
        buf_release(&c->call.asd.failed_key);
    }
    return c->rc != 0 ? err_copy(e, &c->err) : 0;
}

int agent_osd_apply(struct agent *agent, struct osd *osd, const struct asd_apply *apply,
                    struct buf *ret_failed_key, struct err *e)
{
    struct agent_osd_call call;

    agent_osd_start(agent, osd, apply, &call);
    return agent_osd_wait(agent, &call, ret_failed_key, e);
}

int agent_osd_range(struct agent *agent, struct osd *osd, struct slice first, struct slice last,
                    unsigned max, struct agent_keys *ret_keys, struct err *e)
{
    struct asd_request request = {.code = ASD_RANGE,
                                  .prio = ASD_PRIO_LOW,
                                  .range = {.first = first,
                                            .first_included = true,
                                            .has_last = true,
                                            .last = last,
                                            .max = (int32_t)max}};
    struct agent_osd_call call = {.keys = ret_keys};
    int rc;

    *ret_keys = (struct agent_keys){0};
    start(agent, osd, &request, OSD_READ, &call);
    rc = agent_osd_wait(agent, &call, NULL, e);
    if (rc != 0) {
        agent_keys_release(ret_keys);
    }
    return rc;
}

void agent_keys_release(struct agent_keys *keys)
{
    buf_release(&keys->bytes);
    free(keys->items);
    *keys = (struct agent_keys){0};
}

int agent_osds_check(struct agent *agent, const struct registry_view *view, struct err *e)
{
    for (size_t i = 0; i < registry_view_osd_count(view); i++) {
        const struct registry_osd *known = registry_view_osd(view, i);
        const struct osd *osd =
            known->is_claimed ? osds_find(agent->engine->osds, known->osd_id) : NULL;

        if (known->is_claimed && (osd == NULL || osd->gone)) {
            return err_say(e, ERR_FAILED, "osd %s has no address that could be used",
                           known->long_id);
        }
    }
    return 0;
}
