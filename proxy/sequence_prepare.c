/* What comes before the first byte goes out: is the request sound, do its files open, which gc
 * epoch is alive? */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/nsm_gc.h"
#include "proxy/rc.h"
#include "proxy/sequence_private.h"
#include "proxy/source.h"

/* ---- check ---- */

static bool is_too_large(const struct sequence *s, uint64_t bytes, struct err *e)
{
    uint64_t max = s->engine->options.object_bytes_max;

    if (max == 0 || bytes <= max) {
        return false;
    }
    err_say(e, ERR_TOO_LARGE, "object of %" PRIu64 " bytes, max_object_size is %" PRIu64, bytes,
            max);
    return true;
}

static int check_update(struct sequence *s, const struct proxy_update *update)
{
    if (update->name.len > MANIFEST_NAME_BYTES_MAX) {
        err_set(&s->err, ERR_TOO_LARGE, "object name of %zu bytes, the limit is %d",
                update->name.len, MANIFEST_NAME_BYTES_MAX);
        return PROXY_RC_TOO_LARGE;
    }
    if (update->kind != PROXY_UPDATE_DELETE && update->has_checksum &&
        !preset_allows_checksum(s->use.preset, (enum preset_checksum)update->checksum.algo)) {
        err_set(&s->err, ERR_CHECKSUM, "preset %s does not allow %s", s->use.preset->name,
                checksum_algo_name(update->checksum.algo));
        return PROXY_RC_CHECKSUM_ALGO_NOT_ALLOWED;
    }
    if (update->data.len > SEQUENCE_OBJECT_BYTES_MAX) {
        err_set(&s->err, ERR_TOO_LARGE, "object of %zu bytes in a request", update->data.len);
        return PROXY_RC_TOO_LARGE;
    }
    if (is_too_large(s, update->data.len, &s->err) ||
        (update->kind == PROXY_UPDATE_UPLOAD_STREAM && is_too_large(s, update->bytes, &s->err))) {
        return PROXY_RC_TOO_LARGE;
    }
    if (update->kind == PROXY_UPDATE_UPLOAD_FILE && s->spec.fs == NULL) {
        err_set(&s->err, -EACCES,
                "file commands are allowed only over a unix socket or from "
                "this machine");
        return PROXY_RC_UNKNOWN;
    }
    if (update->kind == PROXY_UPDATE_UPLOAD_FD && s->spec.fds == NULL) {
        err_say(&s->err, -EACCES, "files are handed over only to a proxy's unix socket");
        return PROXY_RC_FILE_NOT_FOUND;
    }
    if (update->kind == PROXY_UPDATE_UPLOAD_FD &&
        source_bytes(update->extents, update->extent_count) == UINT64_MAX) {
        err_set(&s->err, ERR_TOO_LARGE, "extents of a file");
        return PROXY_RC_TOO_LARGE;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static int check_names(struct sequence *s)
{
    const struct proxy_apply *apply = s->spec.apply;
    struct slice *names = mem_array(apply->update_count + 1, sizeof(*names));
    int rc = 0;

    for (uint32_t i = 0; i < apply->update_count; i++) {
        names[i] = apply->updates[i].name;
    }
    qsort(names, apply->update_count, sizeof(*names), compare_names);
    for (uint32_t i = 1; i < apply->update_count && rc == 0; i++) {
        if (slice_eq(names[i - 1], names[i])) {
            err_set(&s->err, -EINVAL, "object %.*s is named twice", (int)names[i].len,
                    (const char *)names[i].data);
            rc = PROXY_RC_BAD_ARGUMENT;
        }
    }
    free(names);
    return rc;
}

static size_t count_names(const struct proxy_apply *apply)
{
    size_t count = (size_t)apply->update_count + apply->assert_count;
    struct slice *names = mem_array(count + 1, sizeof(*names));
    size_t different = count != 0;

    for (uint32_t i = 0; i < apply->update_count; i++) {
        names[i] = apply->updates[i].name;
    }
    for (uint32_t i = 0; i < apply->assert_count; i++) {
        names[apply->update_count + i] = apply->asserts[i].name;
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 1; i < count; i++) {
        different += !slice_eq(names[i - 1], names[i]);
    }
    free(names);
    return different;
}

static uint32_t widest_policy(const struct preset *preset)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < preset->policy_count; i++) {
        uint32_t count = preset->policies[i].k + preset->policies[i].m;

        most = count > most ? count : most;
    }
    return most;
}

/* Files that clients name are measured later. */
static uint64_t size_of(const struct proxy_update *update)
{
    switch (update->kind) {
    case PROXY_UPDATE_UPLOAD_FD:
        return source_bytes(update->extents, update->extent_count);
    case PROXY_UPDATE_UPLOAD_STREAM:
        return update->bytes;
    default:
        return update->data.len;
    }
}

static void take_request(struct sequence *s)
{
    const struct proxy_apply *apply = s->spec.apply;

    s->asserts = mem_array(apply->assert_count + 1, sizeof(*s->asserts));
    s->deletes = mem_array(apply->update_count + 1, sizeof(*s->deletes));
    s->uploads = mem_array(apply->update_count + 1, sizeof(*s->uploads));
    s->manifests = mem_array(apply->update_count + 1, sizeof(*s->manifests));
    for (uint32_t i = 0; i < apply->assert_count; i++) {
        const struct proxy_assert *a = &apply->asserts[i];

        s->asserts[i] = (struct nsm_assert){.kind = (enum nsm_assert_kind)a->kind,
                                            .name = a->name,
                                            .object_id = a->object_id,
                                            .checksum = a->checksum};
    }
    for (uint32_t i = 0; i < apply->update_count; i++) {
        const struct proxy_update *update = &apply->updates[i];

        if (update->kind == PROXY_UPDATE_DELETE) {
            s->deletes[s->delete_count++] = update->name;
        } else {
            s->uploads[s->upload_count++] = (struct sequence_upload){
                .sequence = s, .update = update, .fd = -1, .size_bytes = size_of(update)};
        }
    }
}

void sequence_step_check(struct sequence *s)
{
    const struct proxy_apply *apply = s->spec.apply;
    int rc;

    for (uint32_t i = 0; i < apply->update_count; i++) {
        rc = check_update(s, &apply->updates[i]);
        if (rc != 0) {
            sequence_fail(s, s->err.code, rc);
            return;
        }
    }
    rc = check_names(s);
    if (rc != 0) {
        sequence_fail(s, s->err.code, rc);
        return;
    }
    take_request(s);
    rc = nsm_sequence_check(
        &(struct nsm_sequence_size){.upload_count = s->upload_count,
                                    .fragments_per_upload = widest_policy(s->use.preset),
                                    .delete_count = s->delete_count,
                                    .name_count = count_names(apply)},
        &s->osds_max, &s->err);
    if (rc != 0) {
        sequence_fail(s, rc, rc_of(rc));
        return;
    }
    if (apply->assert_count + apply->update_count == 0) {
        s->state = SEQUENCE_COMMIT; /* which has nothing to do */
    } else {
        s->state = s->upload_count > 0 ? SEQUENCE_FILES : SEQUENCE_EPOCH;
    }
}

/* ---- files ---- */

/* Pool thread: uses the uploads' own fields and the rules, which are constant. */
static void files_run(struct pool_work *work)
{
    struct sequence *s = container_of(work, struct sequence, files);

    for (size_t i = 0; i < s->upload_count && s->files_rc == 0; i++) {
        struct sequence_upload *up = &s->uploads[i];

        if (up->update->kind == PROXY_UPDATE_UPLOAD_FILE) {
            s->files_rc =
                fs_open_read(s->spec.fs, up->update->file, &up->fd, &up->size_bytes, &s->files_err);
        } else if (up->update->kind == PROXY_UPDATE_UPLOAD_FD) {
            s->files_rc =
                source_check(&up->fd, up->update->extents, up->update->extent_count, &s->files_err);
        }
    }
}

static void files_done(struct pool_work *work, int rc)
{
    struct sequence *s = container_of(work, struct sequence, files);

    s->pending--;
    if (rc != 0) {
        s->files_rc = err_set(&s->files_err, rc, "opening files");
    }
    rc = s->files_rc;
    for (size_t i = 0; i < s->upload_count && rc == 0; i++) {
        if (is_too_large(s, s->uploads[i].size_bytes, &s->files_err)) {
            rc = ERR_TOO_LARGE;
        }
    }
    if (s->state == SEQUENCE_FILES && rc == 0) {
        s->state = SEQUENCE_EPOCH;
    } else if (s->state == SEQUENCE_FILES) {
        err_copy(&s->err, &s->files_err);
        sequence_fail(s, rc, rc == -ENOENT ? PROXY_RC_FILE_NOT_FOUND : rc_of(rc));
    }
    sequence_step(s);
}

/* From here on the connection that it came on may end. */
static int take_files(struct sequence *s)
{
    int rc = 0;

    for (size_t i = 0; i < s->upload_count && rc == 0; i++) {
        struct sequence_upload *up = &s->uploads[i];

        if (up->update->kind == PROXY_UPDATE_UPLOAD_FD) {
            rc = fds_dup(s->spec.fds, up->update->token, &up->fd, &s->err);
        }
    }
    return rc;
}

void sequence_step_files(struct sequence *s)
{
    bool any = false;
    int rc = take_files(s);

    if (rc != 0) {
        sequence_fail(s, rc, rc == ERR_NOT_FOUND ? PROXY_RC_FILE_NOT_FOUND : rc_of(rc));
        return;
    }
    for (size_t i = 0; i < s->upload_count; i++) {
        any =
            any || s->uploads[i].update->kind == PROXY_UPDATE_UPLOAD_FILE || s->uploads[i].fd >= 0;
    }
    if (!any) {
        s->state = SEQUENCE_EPOCH;
        return;
    }
    rc = pool_submit(s->engine->pool, &s->files, POOL_HIGH, files_run, files_done);
    if (rc != 0) {
        err_set(&s->err, rc, "opening files");
        sequence_fail(s, rc, rc_of(rc));
        return;
    }
    s->pending++;
}

/* ---- epoch ---- */

static void on_epochs(void *ctx, int rc, struct nsm_reply *reply)
{
    struct sequence *s = ctx;

    s->pending--;
    if (s->state != SEQUENCE_EPOCH) {
        sequence_step(s);
        return;
    }
    if (rc != 0) {
        err_copy(&s->err, &reply->err);
        sequence_fail(s, rc, rc_of(rc));
    } else if (reply->count == 0 && !s->has_reopened) {
        sequence_reopen(s); /* it was deleted, and perhaps made anew */
    } else if (reply->count == 0) {
        err_set(&s->err, ERR_NOT_FOUND, "namespace %s", s->use.ns->name);
        sequence_fail(s, ERR_NOT_FOUND, PROXY_RC_NAMESPACE_NOT_FOUND);
    } else {
        s->gc_epoch = reply->epochs[reply->count - 1];
        s->epoch_is_fresh = true;
        epochs_set(&s->engine->epochs, s->use.ns->id, s->gc_epoch);
        s->state = SEQUENCE_UPLOAD;
    }
    sequence_step(s);
}

void sequence_step_epoch(struct sequence *s)
{
    s->next_upload = 0;
    s->epoch_ms = clock_mono_ms();
    s->epoch_is_fresh = false;
    /* What may take long needs the whole life of its epoch. */
    if (s->spec.stream == NULL && epochs_get(&s->engine->epochs, s->use.ns->id, &s->gc_epoch)) {
        s->state = SEQUENCE_UPLOAD;
        return;
    }
    s->pending++;
    nsm_gc_epochs(s->use.nsm, s->use.ns->id, on_epochs, s);
}

/* An epoch lives on for the grace time, at least, after it was current. So what took longer than
 * any mishap (a wrong clock, an epoch that was remembered) explains will take too long again. */
bool sequence_outlived_epoch(struct sequence *s)
{
    uint64_t took_ms = clock_mono_ms() - s->epoch_ms;

    if (s->upload_count == 0 || !s->epoch_is_fresh || took_ms < s->engine->epochs.keep_ms) {
        return false;
    }
    err_say(&s->err, UV_ETIMEDOUT,
            "it took %" PRIu64 " s, longer than gc_grace_seconds of the maintenance agents allows: "
            "nothing was stored; send it faster, or in smaller objects, or have that raised",
            took_ms / 1000);
    return true;
}
