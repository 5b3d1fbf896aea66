/* NAMESPACE -> CHECK -> FILES -> EPOCH -> UPLOAD -> COMMIT -> report, SETTLE -> EPILOGUE -> END.
 *
 * - anything wrong before the commit, or a commit that certainly did not happen: FAIL, which
 *   cancels and awaits the uploads, reports, and has their fragments deleted;
 * - the gc epoch ended meanwhile: AGAIN, everything is uploaded once more under a live one;
 *   no live one means the namespace was deleted. Deletes and asserts alone depend on it as
 *   well: else they would be answered from a namespace of that name which is gone;
 * - the commit stays in doubt: reported so, and no fragment is touched. */
#include "proxy/sequence.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/nsm_gc.h"
#include "proxy/rc.h"
#include "proxy/sequence_private.h"

/* With less time left than this a commit is more likely to end in doubt than well. */
enum { COMMIT_MS_MIN = 20 };

const struct err *sequence_err(const struct sequence *s)
{
    return &s->err;
}

int32_t sequence_proxy_rc(const struct sequence *s)
{
    return s->proxy_rc;
}

struct slice sequence_failed_name(const struct sequence *s)
{
    return slice_buf(&s->failed_name);
}

uint64_t sequence_ns_id(const struct sequence *s)
{
    return s->use.ns->id;
}

size_t sequence_upload_count(const struct sequence *s)
{
    return s->upload_count;
}

struct manifest *sequence_manifest(struct sequence *s, size_t index)
{
    return s->manifests[index];
}

/* s->err is set. */
void sequence_fail(struct sequence *s, int rc, int32_t proxy_rc)
{
    if (s->state == SEQUENCE_FAIL) {
        return;
    }
    s->rc = rc;
    s->proxy_rc = proxy_rc;
    s->state = SEQUENCE_FAIL;
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].upload != NULL && !s->uploads[i].is_settled) {
            upload_cancel(s->uploads[i].upload);
        }
    }
}

/* ---- namespace ---- */

static void on_namespace(void *ctx, int rc, const struct err *e)
{
    struct sequence *s = ctx;

    s->pending--;
    if (rc != 0) {
        err_copy(&s->err, e);
        sequence_fail(s, rc, rc == ERR_NOT_FOUND ? PROXY_RC_NAMESPACE_NOT_FOUND : rc_of(rc));
    } else if (s->state == SEQUENCE_NAMESPACE) {
        s->state = s->has_reopened ? SEQUENCE_EPOCH : SEQUENCE_CHECK;
    }
    sequence_step(s);
}

void sequence_reopen(struct sequence *s)
{
    s->has_reopened = true;
    ns_drop(&s->use);
    s->state = SEQUENCE_NAMESPACE;
    s->pending++;
    s->open.fresh = true;
    ns_open(&s->open);
}

/* ---- upload ---- */

static int32_t proxy_rc_of_upload(int rc)
{
    switch (rc) {
    case ERR_NO_POLICY:
    case ERR_NOT_ENOUGH:
        return PROXY_RC_NO_POLICY;
    case ERR_CHECKSUM:
        return PROXY_RC_CHECKSUM_MISMATCH;
    case ERR_NOT_FOUND:
        return PROXY_RC_NAMESPACE_NOT_FOUND;
    default:
        return rc_of(rc);
    }
}

static void on_stored(void *ctx, struct upload *upload, int rc)
{
    struct sequence_upload *up = ctx;
    struct sequence *s = up->sequence;

    if (rc == 0) {
        up->is_stored = true;
    } else if (s->state == SEQUENCE_UPLOAD) {
        err_copy(&s->err, upload_err(upload));
        err_wrap(&s->err, "put %.*s", up->update->name.len < 100 ? (int)up->update->name.len : 100,
                 (const char *)up->update->name.data);
        if (rc == ERR_NOT_FOUND) {
            epochs_forget(&s->engine->epochs, s->use.ns->id);
        }
        sequence_fail(s, rc, proxy_rc_of_upload(rc));
    }
    sequence_step(s);
}

static void on_settled(void *ctx, struct upload *upload, int rc)
{
    struct sequence_upload *up = ctx;

    (void)upload;
    (void)rc;
    up->is_settled = true;
    sequence_step(up->sequence);
}

static void start_upload(struct sequence *s, struct sequence_upload *up)
{
    const struct proxy_update *update = up->update;
    bool is_stream = update->kind == PROXY_UPDATE_UPLOAD_STREAM;
    struct upload_spec spec = {.ns = s->use.ns,
                               .preset = s->use.preset,
                               .name = update->name,
                               .gc_epoch = s->gc_epoch,
                               .data = up->fd < 0 ? update->data.data : NULL,
                               .data_stays = s->spec.release != NULL,
                               .fd = up->fd,
                               .stream = is_stream ? s->spec.stream : NULL,
                               .extents = update->extents,
                               .extent_count = update->extent_count,
                               .size_bytes = up->size_bytes,
                               .checksum = update->checksum,
                               .has_checksum = update->has_checksum,
                               .osds_max = s->osds_max,
                               .reserve = (s->spec.apply->flags & PROXY_APPLY_RESERVE) != 0,
                               .low_priority =
                                   (s->spec.apply->flags & PROXY_APPLY_LOW_PRIORITY) != 0,
                               .deadline_ms = s->deadline_ms};
    static const uint8_t nothing;

    if (up->fd < 0 && !is_stream && spec.data == NULL) {
        spec.data = &nothing; /* an empty object: still not a file */
    }
    up->is_stored = false;
    up->is_settled = false;
    up->upload = upload_start(s->engine, &spec, on_stored, on_settled, up);
}

static size_t count_stored(const struct sequence *s)
{
    size_t count = 0;

    for (size_t i = 0; i < s->upload_count; i++) {
        count += s->uploads[i].upload != NULL && s->uploads[i].is_stored;
    }
    return count;
}

static bool all_settled(const struct sequence *s)
{
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].upload != NULL && !s->uploads[i].is_settled) {
            return false;
        }
    }
    return true;
}

static void step_upload(struct sequence *s)
{
    size_t stored = count_stored(s);

    while (s->next_upload < s->upload_count && s->next_upload - stored < SEQUENCE_UPLOADS_AT_ONCE) {
        start_upload(s, &s->uploads[s->next_upload++]);
    }
    if (stored == s->upload_count) {
        s->state = SEQUENCE_COMMIT;
    }
}

/* ---- commit ---- */

static void on_commit(void *ctx, int rc, struct nsm_reply *reply);

static bool is_wanted(void *ctx)
{
    const struct sequence *s = ctx;

    return !s->canceled && (s->spec.is_wanted == NULL || s->spec.is_wanted(s->ctx));
}

static void start_commit(struct sequence *s)
{
    uint64_t now = clock_mono_ms();
    struct nsm_sequence sequence = {
        .asserts = s->asserts,
        .assert_count = s->spec.apply->assert_count,
        .uploads = s->manifests,
        .upload_count = s->upload_count,
        .deletes = s->deletes,
        .delete_count = s->delete_count,
        .gc_epoch = s->gc_epoch,
        .reserve = (s->spec.apply->flags & PROXY_APPLY_RESERVE) != 0,
        .low_priority = (s->spec.apply->flags & PROXY_APPLY_LOW_PRIORITY) != 0,
        .timeout_ms = now < s->deadline_ms ? (unsigned)(s->deadline_ms - now) : 1,
        .is_wanted = is_wanted};

    for (size_t i = 0; i < s->upload_count; i++) {
        s->manifests[i] = upload_manifest(s->uploads[i].upload);
        s->uploads[i].cache_stamp =
            manifest_cache_stamp(&s->engine->manifests, s->use.ns->id, s->uploads[i].update->name);
    }
    s->pending++;
    nsm_apply(s->use.nsm, s->use.ns->id, &sequence, on_commit, s);
}

static void step_commit(struct sequence *s)
{
    if (s->pending > 0) {
        return; /* its answer is awaited */
    }
    if (s->spec.apply->assert_count + s->upload_count + s->delete_count == 0) {
        s->state = SEQUENCE_SETTLE; /* an empty sequence is legal */
        s->is_reported = true;
        s->cb(s->ctx, s, 0);
        return;
    }
    if (clock_mono_ms() + COMMIT_MS_MIN > s->deadline_ms) {
        /* now it is certain that nothing happened */
        err_say(&s->err, UV_ETIMEDOUT, "the request's deadline is over");
        sequence_fail(s, UV_ETIMEDOUT, rc_of(UV_ETIMEDOUT));
        return;
    }
    start_commit(s);
}

static void forget_names(struct sequence *s)
{
    for (uint32_t i = 0; i < s->spec.apply->update_count; i++) {
        manifest_cache_remove(&s->engine->manifests, s->use.ns->id, s->spec.apply->updates[i].name);
    }
}

static void on_commit_failed(struct sequence *s, int rc, struct nsm_reply *reply)
{
    forget_names(s);
    err_copy(&s->err, &reply->err);
    if (rc == ERR_STALE && sequence_outlived_epoch(s)) {
        rc = s->err.code;
    } else if (rc == ERR_STALE && !s->canceled && ++s->epoch_tries < SEQUENCE_EPOCH_TRIES) {
        epochs_forget(&s->engine->epochs, s->use.ns->id);
        s->state = SEQUENCE_AGAIN;
        return;
    }
    s->was_in_doubt = rc == ERR_IN_DOUBT || rc == ERR_CANCELED;
    if (s->was_in_doubt) {
        if (rc == ERR_CANCELED) {
            err_wrap(&s->err, "%s", err_text(ERR_IN_DOUBT));
        }
        rc = ERR_IN_DOUBT;
        s->engine->stats.totals.in_doubt++;
        log_warn("sequence", "outcome unknown", "ns=%s why=\"%s\"", s->use.ns->name,
                 reply->err.msg);
    }
    if (rc == UV_ECANCELED) {
        rc = ERR_CANCELED; /* not the engine's, which leaves it open what happened */
    }
    if (rc == ERR_ASSERT_FAILED) {
        buf_put(&s->failed_name, reply->failed_name.data, reply->failed_name.len);
    }
    sequence_fail(s, rc, rc == ERR_ASSERT_FAILED ? PROXY_RC_ASSERT_FAILED : rc_of(rc));
}

static void on_commit(void *ctx, int rc, struct nsm_reply *reply)
{
    struct sequence *s = ctx;

    s->pending--;
    if (rc != 0) {
        on_commit_failed(s, rc, reply);
    } else {
        sequence_committed(s);
        s->state = SEQUENCE_SETTLE;
        s->is_reported = true;
        s->cb(s->ctx, s, 0);
    }
    sequence_step(s);
}

/* ---- the ends ---- */

static void step_again(struct sequence *s)
{
    for (size_t i = 0; i < s->upload_count; i++) {
        if (!s->uploads[i].is_settled) {
            upload_cancel(s->uploads[i].upload);
        }
    }
    if (!all_settled(s)) {
        return;
    }
    sequence_drop_fragments(s);
    sequence_free_uploads(s);
    s->state = SEQUENCE_EPOCH;
}

static void step_fail(struct sequence *s)
{
    if (s->pending > 0 || !all_settled(s)) {
        return;
    }
    if (!s->was_in_doubt) {
        sequence_drop_fragments(s);
    }
    s->engine->stats.totals.put_failures++;
    s->is_reported = true;
    s->cb(s->ctx, s, s->rc);
    s->state = SEQUENCE_END;
}

/* Nothing is sent any more. */
static void release_data(struct sequence *s)
{
    void (*release)(void *ctx) = s->spec.release;

    s->spec.release = NULL;
    if (release != NULL) {
        release(s->ctx);
    }
}

static void sequence_free(struct sequence *s)
{
    struct engine *engine = s->engine;

    sequence_free_uploads(s);
    release_data(s);
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].fd >= 0) {
            close(s->uploads[i].fd);
        }
    }
    ns_drop(&s->use);
    buf_release(&s->failed_name);
    free((void *)(uintptr_t)s->ns_name.data);
    free(s->asserts);
    free(s->deletes);
    free(s->uploads);
    free(s->manifests);
    free(s);
    engine_drop(engine);
}

static void step_once(struct sequence *s)
{
    switch (s->state) {
    case SEQUENCE_CHECK:
        sequence_step_check(s);
        break;
    case SEQUENCE_FILES:
        if (s->pending == 0) {
            sequence_step_files(s);
        }
        break;
    case SEQUENCE_EPOCH:
        if (s->pending == 0) {
            sequence_step_epoch(s);
        }
        break;
    case SEQUENCE_UPLOAD:
        step_upload(s);
        break;
    case SEQUENCE_AGAIN:
        step_again(s);
        break;
    case SEQUENCE_COMMIT:
        step_commit(s);
        break;
    case SEQUENCE_FAIL:
        step_fail(s);
        break;
    case SEQUENCE_SETTLE:
        if (all_settled(s)) {
            release_data(s);
            s->state = SEQUENCE_EPILOGUE;
        }
        break;
    case SEQUENCE_EPILOGUE:
        sequence_step_epilogue(s);
        break;
    case SEQUENCE_NAMESPACE:
    case SEQUENCE_END:
        break;
    }
}

void sequence_step(struct sequence *s)
{
    enum sequence_state before;

    do {
        before = s->state;
        step_once(s);
    } while (s->state != before);
    if (s->state == SEQUENCE_END) {
        sequence_free(s);
    }
}

struct sequence *sequence_start(struct engine *engine, const struct sequence_spec *spec,
                                sequence_cb cb, void *ctx)
{
    struct sequence *s = mem_zalloc(sizeof(*s));
    uint32_t ms = spec->apply->deadline_ms;

    s->engine = engine;
    s->spec = *spec;
    s->cb = cb;
    s->ctx = ctx;
    s->ns_name = slice_of(mem_dup(spec->ns.data, spec->ns.len), spec->ns.len);
    s->start_ns = clock_mono_ns();
    s->deadline_ms = spec->deadline_ms != 0
                         ? spec->deadline_ms
                         : s->start_ns / 1000000 + (ms != 0 ? ms : ENGINE_REQUEST_TIMEOUT_MS);
    engine_hold(engine);
    s->pending = 1;
    s->open = (struct ns_open){
        .engine = engine, .name = spec->ns, .ret_use = &s->use, .cb = on_namespace, .ctx = s};
    ns_open(&s->open);
    return s;
}

void sequence_extend(struct sequence *s, uint64_t deadline_ms)
{
    s->deadline_ms = deadline_ms > s->deadline_ms ? deadline_ms : s->deadline_ms;
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].upload != NULL && !s->uploads[i].is_settled) {
            upload_extend(s->uploads[i].upload, s->deadline_ms);
        }
    }
}

bool sequence_is_in_doubt(const struct sequence *s)
{
    return s->was_in_doubt || (s->state == SEQUENCE_COMMIT && s->pending > 0);
}

static void on_canceled(struct later_item *item)
{
    struct sequence *s = container_of(item, struct sequence, start);

    s->pending--;
    sequence_step(s);
}

void sequence_cancel(struct sequence *s)
{
    if (s->canceled || s->is_reported || s->state == SEQUENCE_FAIL) {
        return;
    }
    s->canceled = true;
    if (s->state == SEQUENCE_COMMIT) {
        return; /* its answer counts, but it is_wanted() no more */
    }
    err_set(&s->err, ERR_CANCELED, "put");
    sequence_fail(s, ERR_CANCELED, PROXY_RC_UNKNOWN);
    s->pending++; /* so that it is there when the turn comes */
    later_run(&s->engine->later, &s->start, on_canceled);
}
