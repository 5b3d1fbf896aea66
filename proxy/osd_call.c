/* A call goes: osd_call_start -> waiting -> client -> on_reply -> cb.
 *
 * What a failure says about the OSD:
 * - assert failed, server busy, canceled: nothing;
 * - full: no new fragments until a probe succeeds;
 * - a value fails its checks: counted, the value is the caller's concern;
 * - everything else (no connection, time-out, garbage, another identity, an error code of
 *   the server): set aside. Those that wait behind a time-out or a lost connection fail
 *   at once instead of waiting for the same. */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "proxy/osds_private.h"

static void on_reply(struct asd_call *asd, int rc);

static bool is_connection_lost(int rc)
{
    return rc == UV_EOF || rc == UV_ECONNRESET || rc == UV_EPIPE;
}

/* Codes of the transport are above ours. A slice beyond the value is the value's fault. */
static bool is_transport(int rc)
{
    return rc < 0 && rc > ERR_BUSY && rc != -ERANGE;
}

static void note_result(struct osd *osd, const struct osd_call *call, int rc)
{
    osd->calls++;
    switch (rc) {
    case 0:
    case ERR_ASSERT_FAILED:
        osd_event_push(call->kind == OSD_READ ? osd->read_s : osd->write_s);
        osd_event_push(osd->seen_s);
        return;
    case ERR_CANCELED:
    case ERR_BUSY:
        return;
    case ERR_FULL:
        if (!osd->full) {
            osd->full = true;
            log_warn("osds", "full", "osd=%llu long_id=%s", (unsigned long long)osd->id,
                     osd->long_id);
        }
        osd_probe_schedule(osd);
        return;
    case ERR_CORRUPT:
    case -ERANGE:
        osd_note_corrupt(osd);
        return;
    default:
        osd->failed_calls++;
        osd_set_aside(osd, rc, call->asd.err.msg);
    }
}

static void on_failing(struct later_item *item)
{
    struct osd_call *call = container_of(item, struct osd_call, failing);

    call->cb(call, call->rc);
}

/* For a call that the client does not have. */
static void fail_later(struct osd_call *call, int rc, const char *why)
{
    call->rc = rc;
    call->asd.maybe_executed = false;
    err_set(&call->asd.err, rc, "%s", why);
    later_run(&call->osd->osds->later, &call->failing, on_failing);
}

static void pump(struct osd *osd)
{
    while (osd->in_flight < OSD_CALLS_MAX && osd->waiting > 0) {
        struct osd_call *call = container_of(list_pop(&osd->calls_waiting), struct osd_call, link);
        uint64_t now_ns = clock_mono_ns(), now = now_ns / 1000000;
        int rc;

        osd->waiting--;
        if (now >= call->deadline_ms) {
            fail_later(call, UV_ETIMEDOUT, "waited for earlier calls");
            continue;
        }
        rc = asd_client_call(osd->client, &call->asd, call->request,
                             (unsigned)(call->deadline_ms - now), on_reply);
        if (rc != 0) {
            fail_later(call, rc, "too many calls");
            continue;
        }
        call->submitted = true;
        call->sent_ns = now_ns;
        osd->in_flight++;
        list_push(&osd->calls_in_flight, &call->link);
    }
}

static bool should_retry(const struct osd_call *call, int rc)
{
    return is_connection_lost(rc) && call->retries_left > 0 && !call->canceled &&
           !call->osd->osds->closing;
}

static void on_reply(struct asd_call *asd, int rc)
{
    struct osd_call *call = container_of(asd, struct osd_call, asd);
    struct osd *osd = call->osd;
    uint64_t ms = (clock_mono_ns() - call->sent_ns) / 1000000;

    list_remove(&call->link);
    osd->in_flight--;
    call->submitted = false;
    osd->latency_ms += ((double)ms - osd->latency_ms) * 0.1;
    if (rc == ERR_CANCELED && !call->canceled && !osd->osds->closing) {
        rc = UV_ECONNRESET; /* the OSD has moved, its old client was closed */
    }
    if (should_retry(call, rc)) {
        call->retries_left--;
        buf_release(&call->asd.failed_key);
        call->sent_ns = 0;
        list_push_front(&osd->calls_waiting, &call->link);
        osd->waiting++;
        pump(osd);
        return;
    }
    note_result(osd, call, rc);
    if (!osd->osds->closing) {
        if (is_transport(rc)) {
            osd_calls_fail_waiting(osd, rc, call->asd.err.msg);
        }
        pump(osd);
    }
    call->cb(call, rc);
}

void osd_calls_fail_waiting(struct osd *osd, int rc, const char *why)
{
    struct list *link;

    while ((link = list_pop(&osd->calls_waiting)) != NULL) {
        osd->waiting--;
        fail_later(container_of(link, struct osd_call, link), rc, why);
    }
}

int osd_call_start(struct osd *osd, struct osd_call *call, struct gather *request,
                   enum osd_call_kind kind, unsigned timeout_ms, osd_call_cb cb)
{
    if (osd->osds->closing) {
        return ERR_CANCELED;
    }
    if (osd->waiting >= OSD_WAITING_MAX) {
        return ERR_BUSY;
    }
    *call = (struct osd_call){.osd = osd,
                              .request = request,
                              .kind = kind,
                              .retries_left = 1,
                              .deadline_ms = clock_mono_ms() + timeout_ms,
                              .cb = cb};
    list_push(&osd->calls_waiting, &call->link);
    osd->waiting++;
    pump(osd);
    return 0;
}

void osd_call_cancel(struct osd_call *call)
{
    if (call->canceled) {
        return;
    }
    call->canceled = true;
    if (call->submitted) {
        asd_call_cancel(&call->asd);
    } else if (call->failing.cb == NULL) { /* else its callback is on the way already */
        list_remove(&call->link);
        call->osd->waiting--;
        fail_later(call, ERR_CANCELED, "waiting");
    }
}

void osd_note_corrupt(struct osd *osd)
{
    osd->checksum_errors++;
}
