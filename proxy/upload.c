/* CHOOSE -> MEMORY -> RUN -> STORED -> SETTLED, and when things fail:
 *
 * - no policy can be satisfied: PROBE those that are set aside, once, CHOOSE again; still
 *   none: ERR_NO_POLICY;
 * - a chunk cannot get enough fragments any more: a later policy of the preset with the same
 *   k and m that asks for fewer takes over in place; without one, UNDO and CHOOSE again under a
 *   fresh object id (the OSDs that failed are set aside by then);
 * - canceled, too late, bad checksum, unreadable file, namespace gone: UNDO, then report.
 *
 * UNDO cancels what is in flight and waits for it, because calls borrow the buffers. */
#include "proxy/upload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/nsm.h"
#include "proxy/upload_private.h"

const struct err *upload_err(const struct upload *u)
{
    return &u->err;
}

struct manifest *upload_manifest(struct upload *u)
{
    return &u->manifest;
}

bool upload_is_over(const struct upload *u)
{
    return u->state == UPLOAD_UNDO || (u->state == UPLOAD_STORED && u->canceled);
}

/* ---- choose ---- */

static void on_memory(struct budget_share *share)
{
    struct upload *u = container_of(share, struct upload, share);

    u->pending--;
    if (u->state == UPLOAD_MEMORY) {
        u->state = UPLOAD_RUN;
    }
    upload_step(u);
}

static void on_probed(struct osds_probe_wait *wait)
{
    struct upload *u = container_of(wait, struct upload, probe);

    u->pending--;
    u->is_probing = false;
    u->state = UPLOAD_CHOOSE;
    upload_step(u);
}

/* Canceled, or too late? Then the upload is given up. One that comes in parts and found no memory
 * may come again: what it waited for were others. */
static bool is_given_up(struct upload *u)
{
    int rc;

    if (u->canceled) {
        rc = err_set(&u->err, ERR_CANCELED, "upload");
    } else if (clock_mono_ms() < u->spec.deadline_ms) {
        return false;
    } else if (u->state == UPLOAD_MEMORY && u->spec.stream != NULL) {
        rc = err_say(&u->err, ERR_BUSY, "other puts that come in parts hold the memory for such");
    } else {
        rc = err_say(&u->err, UV_ETIMEDOUT, "the request's deadline is over");
    }
    upload_fail_attempt(u, rc, true);
    return true;
}

static void step_choose(struct upload *u)
{
    int rc;

    if (is_given_up(u)) {
        return;
    }
    rc = upload_choose(u);
    if (rc == ERR_NO_POLICY && !u->has_probed && osds_aside_count(u->engine->osds) > 0) {
        u->has_probed = true;
        u->state = UPLOAD_PROBE;
        u->is_probing = true;
        u->pending++;
        osds_probe_all(u->engine->osds, &u->probe, on_probed);
        return;
    }
    if (rc != 0) {
        upload_fail_attempt(u, rc, true);
        return;
    }
    u->attempts++;
    u->state = UPLOAD_MEMORY;
    u->pending++;
    budget_take(u->spec.stream != NULL ? &u->engine->streams : &u->engine->budget, &u->share,
                upload_memory_bytes(u), on_memory);
}

/* ---- run ---- */

static void close_chunk(struct upload *u, struct upload_chunk *chunk)
{
    list_remove(&chunk->link);
    u->open_count--;
    upload_chunk_free(chunk);
}

static bool can_still_succeed(struct upload *u, const struct upload_chunk *chunk)
{
    unsigned failed = upload_chunk_count(chunk, UPLOAD_FRAGMENT_FAILED);
    unsigned possible = chunk->fragment_count - failed;

    return possible >= u->policy.min_fragments || upload_relax(u, possible);
}

/* Drives the open chunks; false when the attempt was given up. */
static bool drive_chunks(struct upload *u)
{
    LIST_FOR_EACH_SAFE (it, &u->chunks) {
        struct upload_chunk *chunk = container_of(it, struct upload_chunk, link);
        bool is_done;

        if (!chunk->is_encoded) {
            continue;
        }
        is_done = upload_chunk_step(chunk);
        if (u->state == UPLOAD_UNDO) {
            return false;
        }
        if (u->state == UPLOAD_RUN && !can_still_succeed(u, chunk)) {
            err_set(&u->err, ERR_NOT_ENOUGH, "chunk %" PRIu32 ": %u of %" PRIu32 " fragments",
                    chunk->index, upload_chunk_count(chunk, UPLOAD_FRAGMENT_STORED),
                    u->policy.min_fragments);
            upload_fail_attempt(u, ERR_NOT_ENOUGH, false);
            return false;
        }
        if (chunk->enough_ms == 0 &&
            upload_chunk_count(chunk, UPLOAD_FRAGMENT_STORED) >= u->policy.min_fragments) {
            chunk->enough_ms = clock_mono_ms();
        }
        if (is_done) {
            if (!u->spec.low_priority) { /* else an OSD lets it wait behind others */
                upload_chunk_judge(chunk);
            }
            close_chunk(u, chunk);
        }
    }
    return true;
}

static bool is_stored(const struct upload *u)
{
    uint64_t now = clock_mono_ms();

    if (u->next_chunk < u->layout.chunk_count) {
        return false;
    }
    LIST_FOR_EACH (it, &u->chunks) {
        const struct upload_chunk *chunk = container_of(it, struct upload_chunk, link);
        uint64_t patience = upload_chunk_patience_ms(chunk);

        if (patience == 0 || now < patience) {
            return false;
        }
    }
    return true;
}

static void step_run(struct upload *u)
{
    if (is_given_up(u) || !drive_chunks(u)) {
        return;
    }
    if (!u->is_encoding && u->open_count < UPLOAD_CHUNKS_IN_MEMORY &&
        u->next_chunk < u->layout.chunk_count) {
        upload_chunk_start(u);
    }
    if (u->state == UPLOAD_RUN && is_stored(u)) {
        u->state = UPLOAD_STORED;
        u->on_stored(u->ctx, u, 0);
    }
}

/* ---- failure ---- */

void upload_fail_attempt(struct upload *u, int rc, bool is_final)
{
    CHECK(u->state != UPLOAD_STORED && u->state != UPLOAD_SETTLED);
    u->rc = rc;
    u->is_final = is_final || u->attempts >= UPLOAD_ATTEMPTS_MAX || u->canceled;
    u->state = UPLOAD_UNDO;
    log_debug("upload", "attempt failed", "attempt=%u final=%d why=\"%s\"", u->attempts,
              u->is_final, u->err.msg);
    if (u->share.state == BUDGET_WAITING || u->share.state == BUDGET_GRANTED) {
        budget_give(&u->share);
        u->pending--;
    }
    if (u->is_probing) {
        osds_probe_forget(&u->probe);
        u->is_probing = false;
        u->pending--;
    }
    LIST_FOR_EACH (it, &u->chunks) {
        upload_chunk_cancel(container_of(it, struct upload_chunk, link));
    }
}

/* What this attempt stored will never be named: give the space back soon. */
static void drop_places(struct upload *u)
{
    struct tags_item item = {
        .ns_id = u->spec.ns->id, .gc_epoch = u->spec.gc_epoch, .with_data = true};

    for (size_t i = 0; i < u->place_count; i++) {
        memcpy(item.object_id, u->manifest.object_id.data, sizeof(item.object_id));
        item.chunk = u->places[i].chunk;
        item.fragment = u->places[i].fragment;
        tags_delete(&u->engine->tags, u->places[i].osd, &item);
    }
    u->place_count = 0;
}

static void step_undo(struct upload *u)
{
    if (u->pending > 0) {
        return;
    }
    while (!list_empty(&u->chunks)) {
        struct upload_chunk *chunk = container_of(u->chunks.next, struct upload_chunk, link);

        list_remove(&chunk->link);
        upload_chunk_free(chunk);
    }
    u->open_count = 0;
    u->next_chunk = 0;
    drop_places(u);
    budget_give(&u->share);
    if (!u->is_final) {
        u->state = UPLOAD_CHOOSE;
        return;
    }
    u->state = UPLOAD_SETTLED;
    u->on_stored(u->ctx, u, u->rc);
    u->on_settled(u->ctx, u, u->rc);
}

/* ---- drive ---- */

static void step_stored(struct upload *u)
{
    drive_chunks(u);
    if (list_empty(&u->chunks) && u->pending == 0) {
        budget_give(&u->share);
        u->state = UPLOAD_SETTLED;
        u->on_settled(u->ctx, u, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    upload_step(container_of(timer, struct upload, timer));
}

static uint64_t min_due(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* Wake up for the deadline, the end of the slack, and fragments that wait to be sent. */
static void arm_timer(struct upload *u)
{
    uint64_t due = UINT64_MAX;
    uint64_t now = clock_mono_ms();

    if (u->state == UPLOAD_PROBE || u->state == UPLOAD_MEMORY || u->state == UPLOAD_RUN) {
        due = u->spec.deadline_ms;
    } else if (u->state != UPLOAD_STORED) {
        uv_timer_stop(&u->timer);
        return;
    }
    LIST_FOR_EACH (it, &u->chunks) {
        const struct upload_chunk *chunk = container_of(it, struct upload_chunk, link);

        if (u->state == UPLOAD_RUN && upload_chunk_patience_ms(chunk) > now) {
            due = min_due(due, upload_chunk_patience_ms(chunk));
        }
        for (uint32_t i = 0; i < chunk->fragment_count && chunk->is_encoded; i++) {
            const struct upload_fragment *f = &chunk->fragments[i];

            if (f->state == UPLOAD_FRAGMENT_SEND) {
                due = min_due(due, f->send_at_ms);
            }
        }
    }
    if (due == UINT64_MAX) {
        uv_timer_stop(&u->timer);
        return;
    }
    CHECK(uv_timer_start(&u->timer, on_timer, due > now ? due - now : 1, 0) == 0);
}

void upload_step(struct upload *u)
{
    enum upload_state before;

    do {
        before = u->state;
        switch (u->state) {
        case UPLOAD_CHOOSE:
            step_choose(u);
            break;
        case UPLOAD_RUN:
            step_run(u);
            break;
        case UPLOAD_UNDO:
            step_undo(u);
            break;
        case UPLOAD_STORED:
            step_stored(u);
            break;
        case UPLOAD_PROBE:
        case UPLOAD_MEMORY:
            is_given_up(u);
            break;
        case UPLOAD_SETTLED:
            break;
        }
    } while (u->state != before);
    arm_timer(u);
}

static void on_start(struct later_item *item)
{
    struct upload *u = container_of(item, struct upload, start);

    u->pending--;
    upload_step(u);
}

static void step_soon(struct upload *u)
{
    u->pending++;
    later_run(&u->engine->later, &u->start, on_start);
}

struct upload *upload_start(struct engine *engine, const struct upload_spec *spec,
                            upload_cb on_stored, upload_cb on_settled, void *ctx)
{
    struct upload *u = mem_zalloc(sizeof(*u));

    u->engine = engine;
    u->spec = *spec;
    u->spec.name = slice_of(mem_dup(spec->name.data, spec->name.len), spec->name.len);
    u->on_stored = on_stored;
    u->on_settled = on_settled;
    u->ctx = ctx;
    list_init(&u->chunks);
    CHECK(uv_timer_init(engine->loop, &u->timer) == 0);
    engine_hold(engine);
    step_soon(u);
    return u;
}

void upload_extend(struct upload *u, uint64_t deadline_ms)
{
    u->spec.deadline_ms = deadline_ms; /* the timer looks at it */
}

void upload_cancel(struct upload *u)
{
    if (u->canceled || u->state == UPLOAD_SETTLED) {
        return;
    }
    u->canceled = true;
    if (u->state == UPLOAD_STORED) {
        LIST_FOR_EACH (it, &u->chunks) {
            upload_chunk_cancel(container_of(it, struct upload_chunk, link));
        }
        step_soon(u);
    } else if (u->state == UPLOAD_PROBE || u->state == UPLOAD_MEMORY || u->state == UPLOAD_RUN) {
        err_set(&u->err, ERR_CANCELED, "upload");
        upload_fail_attempt(u, ERR_CANCELED, true);
        step_soon(u);
    } /* else it is found out in UPLOAD_CHOOSE */
}

/* ---- afterwards ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct upload *u = container_of((uv_timer_t *)handle, struct upload, timer);
    struct engine *engine = u->engine;

    free((void *)(uintptr_t)u->spec.name.data);
    manifest_release(&u->manifest);
    digest_release(&u->digest);
    free(u->places);
    free(u);
    engine_drop(engine);
}

void upload_free(struct upload *u)
{
    CHECK(u->state == UPLOAD_SETTLED);
    uv_close((uv_handle_t *)&u->timer, on_timer_closed);
}
