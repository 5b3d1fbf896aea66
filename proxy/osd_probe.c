/* Setting aside and taking back, and the usage figures that placement weighs by.
 *
 * fail -> aside, probe in 1 s -> probe fails: next in 1.5 x the time (up to 60 s)
 *                             -> probe says full: back for reads, probed again
 *                             -> probe succeeds: back for everything.
 * slow -> probe after its own delay, then as above, until one takes no longer than it may. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/osd_probe.h"
#include "proxy/osds_private.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

struct osd_probe {
    struct asd_call call;
    struct gather request;
    struct osd *osd;
    uint64_t begun_ms;
    uint64_t serial; /* higher than that of any before it */
};

static void on_tick(uv_timer_t *timer);

static double wall_s(void)
{
    return (double)clock_wall_us() / 1e6;
}

/* At most one event a second: ten of them then tell more than the last millisecond. */
void osd_event_push(double events[OSD_EVENTS_MAX])
{
    double now = wall_s();

    if (now - events[0] < 1.0 && now >= events[0]) {
        return;
    }
    memmove(events + 1, events, (OSD_EVENTS_MAX - 1) * sizeof(*events));
    events[0] = now;
}

static void push_failure(struct osd *osd, int rc, const char *why)
{
    struct osd_failure *f = osd->failures;

    memmove(f + 1, f, (OSD_EVENTS_MAX - 1) * sizeof(*f));
    f->time_s = wall_s();
    snprintf(f->text, sizeof(f->text), "%s", why[0] != 0 ? why : err_text(rc));
}

static bool is_out(const struct osd *osd)
{
    return !osd->gone && (osd->aside || osd->full);
}

static bool wants_probe(const struct osd *osd)
{
    return is_out(osd) || (!osd->gone && osd->slow.is);
}

/* The timer ended if it was gone from the registry when that was the only one to probe. */
void osd_probe_returned(struct osd *osd)
{
    if (wants_probe(osd)) {
        osd_probe_schedule(osd);
    }
}

void osd_probe_schedule(struct osd *osd)
{
    struct osds *osds = osd->osds;

    if (osds->closing || osd->probe != NULL) {
        return;
    }
    if (osd->probe_at_ms == 0) {
        osd->probe_delay_ms = OSD_PROBE_FIRST_MS;
        osd->probe_at_ms = clock_mono_ms() + osd->probe_delay_ms;
    }
    if (!osds->tick_on) {
        osds->tick_on = true;
        CHECK(uv_timer_start(&osds->tick, on_tick, OSDS_TICK_MS, OSDS_TICK_MS) == 0);
    }
}

/* Said again when it is no longer unreachable but another store: that needs a hand. */
void osd_set_aside(struct osd *osd, int rc, const char *why)
{
    bool is_another = rc == ERR_IDENTITY;

    if (!osd->aside || (is_another && osd->aside_rc != rc)) {
        osd->aside = true;
        osd->aside_rc = rc;
        push_failure(osd, rc, why);
        log_line(is_another ? LOG_ERROR : LOG_WARN, "osds",
                 is_another ? "set aside, not its store: mount its disk, or decommission it"
                            : "set aside",
                 "osd=%llu long_id=%s why=\"%s\"", (unsigned long long)osd->id, osd->long_id, why);
    }
    osd_probe_schedule(osd);
}

void osd_note_write(struct osd *osd, uint64_t begun_ms, uint64_t ended_ms, uint64_t usual_ms)
{
    char why[160];

    if (!osd_slow_wrote(&osd->slow, begun_ms, ended_ms, usual_ms)) {
        return;
    }
    snprintf(why, sizeof(why), "%u fragments in a row too slow, the last took %llu ms, others %llu",
             OSD_SLOW_WRITES, (unsigned long long)(ended_ms - begun_ms),
             (unsigned long long)usual_ms);
    push_failure(osd, 0, why);
    log_warn("osds", "set aside for new fragments", "osd=%llu long_id=%s why=\"%s\"",
             (unsigned long long)osd->id, osd->long_id, why);
    osd_probe_schedule(osd);
    if (osd->probe == NULL && !osd->aside) {
        osd->probe_delay_ms = osd->slow.delay_ms;
        osd->probe_at_ms = clock_mono_ms() + osd->probe_delay_ms;
    }
}

/* It answered, a probe at that. */
static void take_back(struct osd *osd, bool full, uint64_t begun_ms)
{
    bool is_fast = osd_slow_probed(&osd->slow, begun_ms, clock_mono_ms());

    if (osd->aside || osd->full || is_fast) { /* else it took long: reads have nothing to forget */
        osd->latency_ms = 0;
        osd->suspect = (struct osd_suspect){0};
    }
    if (osd->aside || osd->full != full || is_fast) {
        log_info("osds", full ? "answers again, is full" : "taken back", "osd=%llu long_id=%s",
                 (unsigned long long)osd->id, osd->long_id);
    }
    osd->osds->returns += osd->aside;
    osd->aside = false;
    osd->full = full;
}

/* The serial of the oldest probe under way that somebody may wait for; UINT64_MAX: there is none.
 * One of an OSD that is only slow becomes such a probe when the OSD is set aside. */
static uint64_t oldest_awaited(const struct osds *osds)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < osds->all_count; i++) {
        const struct osd *osd = osds->all[i];

        if (osd->probe != NULL && is_out(osd) && osd->probe->serial < oldest) {
            oldest = osd->probe->serial;
        }
    }
    return oldest;
}

/* A callback may make another one forget its wait. */
static void end_probe_waits(struct osds *osds)
{
    uint64_t oldest = oldest_awaited(osds);
    struct list ready, *link;

    list_init(&ready);
    LIST_FOR_EACH_SAFE (it, &osds->probe_waits) {
        struct osds_probe_wait *wait = container_of(it, struct osds_probe_wait, link);

        if (oldest > wait->serial) {
            list_remove(it);
            list_push(&ready, it);
        }
    }
    while ((link = list_pop(&ready)) != NULL) {
        struct osds_probe_wait *wait = container_of(link, struct osds_probe_wait, link);

        wait->cb(wait);
    }
}

static void on_probe(struct asd_call *call, int rc)
{
    struct osd_probe *probe = container_of(call, struct osd_probe, call);
    struct osd *osd = probe->osd;
    struct osds *osds = osd->osds;

    osd->probe = NULL;
    if (rc == 0 || rc == ERR_FULL) {
        take_back(osd, rc == ERR_FULL, probe->begun_ms);
    }
    if (rc == 0 && !osd->slow.is) {
        osd->probe_delay_ms = 0;
    } else {
        osd->probe_delay_ms += osd->probe_delay_ms / 2;
        if (osd->probe_delay_ms > OSD_PROBE_MAX_MS) {
            osd->probe_delay_ms = OSD_PROBE_MAX_MS;
        }
        osd->probe_at_ms = clock_mono_ms() + osd->probe_delay_ms;
        if (rc == ERR_IDENTITY) {
            osd_set_aside(osd, rc, call->err.msg);
        }
        log_debug("osds", "probe failed", "osd=%llu why=\"%s\" next_ms=%u",
                  (unsigned long long)osd->id, call->err.msg, osd->probe_delay_ms);
    }
    buf_release(&call->failed_key);
    gather_release(&probe->request);
    free(probe);
    end_probe_waits(osds);
    osds_release_one(osds);
}

static int probe_start(struct osd *osd)
{
    struct osds *osds = osd->osds;
    struct osd_probe *probe = mem_zalloc(sizeof(*probe));
    struct asd_update update = {.key = slice_str(OSD_KEY_TEST),
                                .value = slice_of(osds->probe_data, OSD_PROBE_BYTES),
                                .checksum =
                                    checksum_crc32c(crc32c(0, osds->probe_data, OSD_PROBE_BYTES))};
    struct asd_request request = {
        .code = ASD_APPLY, .prio = ASD_PRIO_HIGH, .apply = {.updates = &update, .update_count = 1}};
    int rc;

    probe->osd = osd;
    probe->begun_ms = clock_mono_ms();
    probe->serial = ++osds->probe_serial;
    asd_request_encode(&request, &probe->request);
    rc = asd_client_call(osd->client, &probe->call, &probe->request, osds->probe_timeout_ms,
                         on_probe);
    if (rc != 0) {
        osd->probe_at_ms = clock_mono_ms() + osd->probe_delay_ms;
        gather_release(&probe->request);
        free(probe);
        return rc;
    }
    osd->probe = probe;
    osd->probe_at_ms = 0;
    osds->open++;
    return 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct osds *osds = container_of(timer, struct osds, tick);
    uint64_t now = clock_mono_ms();
    bool more = false;

    for (unsigned i = 0; i < osds->live_count; i++) {
        struct osd *osd = osds->live[i];

        if (wants_probe(osd) && osd->probe == NULL && osd->probe_at_ms <= now) {
            probe_start(osd);
        }
        more = more || wants_probe(osd);
    }
    if (!more) {
        osds->tick_on = false;
        uv_timer_stop(&osds->tick);
    }
}

static void on_nothing_to_probe(struct later_item *item)
{
    struct osds_probe_wait *wait = container_of(item, struct osds_probe_wait, none);

    wait->cb(wait);
}

void osds_probe_all(struct osds *osds, struct osds_probe_wait *wait,
                    void (*cb)(struct osds_probe_wait *wait))
{
    wait->cb = cb;
    for (unsigned i = 0; i < osds->live_count; i++) {
        struct osd *osd = osds->live[i];

        if (is_out(osd) && osd->probe == NULL) {
            probe_start(osd);
        }
    }
    wait->serial = osds->probe_serial;
    wait->is_later = oldest_awaited(osds) > wait->serial;
    if (wait->is_later) {
        later_run(&osds->later, &wait->none, on_nothing_to_probe);
        return;
    }
    list_push(&osds->probe_waits, &wait->link);
}

void osds_probe_forget(struct osds_probe_wait *wait)
{
    list_remove(wait->is_later ? &wait->none.link : &wait->link);
}

/* ---- usage ---- */

struct usage_call {
    struct asd_call call;
    struct gather request;
    struct osd *osd;
};

static void on_usage(struct asd_call *call, int rc)
{
    struct usage_call *usage = container_of(call, struct usage_call, call);
    struct osd *osd = usage->osd;
    struct osds *osds = osd->osds;
    struct asd_reply reply;
    struct err e;

    osd->usage_asked = false;
    if (rc == 0 && asd_reply_decode(call->reply, ASD_GET_DISK_USAGE, &reply, &e) == 0) {
        if (reply.usage.used_bytes >= 0 && reply.usage.capacity_bytes > 0) {
            osd->used_bytes = (uint64_t)reply.usage.used_bytes;
            osd->total_bytes = (uint64_t)reply.usage.capacity_bytes;
        }
        asd_reply_release(&reply);
    }
    buf_release(&call->failed_key);
    gather_release(&usage->request);
    free(usage);
    osds_release_one(osds);
}

static void on_usage_due(uv_timer_t *timer)
{
    struct osds *osds = container_of(timer, struct osds, usage);
    struct asd_request request = {.code = ASD_GET_DISK_USAGE};

    for (unsigned i = 0; i < osds->live_count; i++) {
        struct osd *osd = osds->live[i];
        struct usage_call *usage;

        if (osd->aside || osd->usage_asked) {
            continue;
        }
        usage = mem_zalloc(sizeof(*usage));
        usage->osd = osd;
        asd_request_encode(&request, &usage->request);
        if (asd_client_call(osd->client, &usage->call, &usage->request, osds->probe_timeout_ms,
                            on_usage) != 0) {
            gather_release(&usage->request);
            free(usage);
            continue;
        }
        osd->usage_asked = true;
        osds->open++;
    }
}

void osds_probes_init(struct osds *osds)
{
    osds->probe_data = mem_alloc(OSD_PROBE_BYTES);
    memset(osds->probe_data, 'a', OSD_PROBE_BYTES);
    CHECK(uv_timer_init(osds->loop, &osds->tick) == 0);
    CHECK(uv_timer_init(osds->loop, &osds->usage) == 0);
    CHECK(uv_timer_start(&osds->usage, on_usage_due, OSDS_USAGE_EVERY_MS / 30,
                         OSDS_USAGE_EVERY_MS) == 0);
}
