/* A volume's states, and the pump that everything asynchronous leads back to. */
#include <inttypes.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/volume_private.h"

/* ---- state ---- */

uint64_t volume_now_ms(const struct volume *v)
{
    return uv_now(v->host->loop);
}

bool volume_may_upload(const struct volume *v)
{
    return !v->root.read_only &&
           (v->state == VOLUME_RUNNING ||
            (v->state == VOLUME_CLOSING && volume_now_ms(v) < v->drain_until_ms));
}

struct backend_assert volume_tag_assert(const struct volume *v)
{
    uint8_t tag[8];

    put_u64le(tag, v->epoch);
    return (struct backend_assert){
        .name = "owner_tag", .kind = BACKEND_CHECKSUM, .crc = crc32c(0, tag, sizeof(tag))};
}

void volume_stop(struct volume *v, enum volume_state state, const struct err *why)
{
    uint64_t first_seq;

    if (v->state != VOLUME_RUNNING && v->state != VOLUME_CLOSING) {
        return;
    }
    err_copy(&v->err, why);
    v->err.code = state == VOLUME_FENCED ? ERR_FENCED : ERR_FAILED;
    log_error("volume", state == VOLUME_FENCED ? "another owner took over" : "out of service",
              "volume=%s epoch=%" PRIu32 " why=%s", v->name, v->epoch, why->msg);
    if (v->state == VOLUME_CLOSING) {
        v->drain_until_ms = 0;
    } else {
        v->state = state;
    }
    if (state == VOLUME_FENCED) { /* what waits for room would wait in vain */
        first_seq = journal_cancel(v->host->journal, v->uuid, ERR_FENCED);
        v->next_seq = first_seq != 0 ? first_seq : v->next_seq;
    }
    volume_uploads_stop(v);
    volume_kick(v);
}

bool volume_is_fenced(struct volume *v, const struct backend_req *req, int rc)
{
    struct err e;

    if (rc != ERR_ASSERT_FAILED || req->failed != 0) {
        return false;
    }
    err_set(&e, ERR_FENCED, "owner_tag is not %" PRIu32 " any more", v->epoch);
    volume_stop(v, VOLUME_FENCED, &e);
    return true;
}

/* ---- pump ---- */

static void on_timer(uv_timer_t *timer)
{
    volume_kick(container_of(timer, struct volume, timer));
}

static void schedule(struct volume *v)
{
    uint64_t now = volume_now_ms(v), due = volume_uploads_due(v), remap_due = volume_remap_due(v);

    if (v->change != NULL && !volume_root_busy(v) && (due == 0 || v->root_retry_ms < due)) {
        due = v->root_retry_ms;
    }
    if (v->retaking && v->opening == NULL && volume_may_upload(v) &&
        (due == 0 || v->retake_ms < due)) {
        due = v->retake_ms;
    }
    if (remap_due != 0 && (due == 0 || remap_due < due)) {
        due = remap_due;
    }
    if (v->state == VOLUME_CLOSING && v->drain_until_ms > now &&
        (due == 0 || v->drain_until_ms < due)) {
        due = v->drain_until_ms;
    }
    if (due == 0) {
        uv_timer_stop(&v->timer);
    } else {
        uv_timer_start(&v->timer, on_timer, due > now ? due - now : 1, 0);
    }
}

/* The numbers of this one are used up; or a try to take the next one failed. */
static bool volume_wants_epoch(const struct volume *v)
{
    return v->opening == NULL && volume_may_upload(v) && volume_now_ms(v) >= v->retake_ms &&
           (v->retaking || (volume_numbers_used_up(v) && !volume_uploads_busy(v) &&
                            v->change == NULL && v->sweep == NULL));
}

static void volume_pump(struct later_item *item)
{
    struct volume *v = container_of(item, struct volume, pump);

    v->kicked = false;
    if (v->opening != NULL && !v->retaking && !v->remap.going) {
        return;
    }
    if (v->state == VOLUME_CLOSING && !volume_may_upload(v)) {
        volume_uploads_stop(v); /* at once: the jobs of others may stand behind its own */
    } else if (v->state == VOLUME_CLOSING && v->requests == 0) {
        volume_range_close(v);
    }
    volume_uploads_pump(v);
    if (volume_wants_epoch(v)) {
        volume_retake(v);
    }
    volume_root_pump(v);
    volume_remap_pump(v);
    volume_drains_pump(v);
    schedule(v);
    if (v->state == VOLUME_CLOSING) {
        volume_closing_pump(v);
    }
}

void volume_kick(struct volume *v)
{
    if (!v->kicked) {
        v->kicked = true;
        later_run(v->host->later, &v->pump, volume_pump);
    }
}
