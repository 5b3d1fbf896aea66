/* nsm_apply: reads, one transaction, and its outcome.
 *
 * guess -> read names -> read objects -> judge -> build -> commit -> done
 *
 * - an assert fails for what was read: ERR_ASSERT_FAILED; for what was guessed: read everything,
 *   judge again;
 * - the commit's assert fails (another writer came first): from the start, without guesses, unless
 *   whoever asked has its answer or is gone: then what came first was acknowledged after that, and
 *   is not to be lost;
 * - a manifest that cannot be read, of an object that goes: its name must not be blocked by it.
 *   The object is retired without it;
 * - the commit was in doubt and sent again, and that failed: look for the trace only this commit
 *   can have left. Uploads: o/, then x/, then t/ of the fresh object id, in this order, because
 *   that is how an object moves. Deletes: x/, then t/ with our commit id. Found: done. Another
 *   commit's x/: ours never happens, from the start. Nothing: ERR_IN_DOUBT. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "meta/nsm_seq.h"

enum { TRACE_TIMEOUT_MS = 2000 };

static void seq_start(struct seq_op *s);
static void read_objects(struct seq_op *s);
static void commit(struct seq_op *s);
static void trace_next(struct seq_op *s);

static void finish(struct seq_op *s, int rc)
{
    struct nsm_reply *reply = s->op.reply;

    if (rc == 0) {
        seq_learn(s);
    } else {
        err_copy(&reply->err, &s->err);
    }
    reply->gc_epoch_ended = rc == ERR_STALE;
    nsm_op_finish(&s->op, rc, NULL);
    seq_release(s);
    free(s);
}

static void fail(struct seq_op *s, const struct err *e)
{
    if (e != &s->err) {
        err_copy(&s->err, e);
    }
    finish(s, s->err.code);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    (void)rc;
    fail(ctx, reply->err);
}

/* ---- reads ---- */

static int take_name(struct seq_name *n, const struct kv_item *item, struct err *e)
{
    struct rd payload;

    n->known = true;
    n->from_hint = false;
    n->has_object = item->found;
    if (!item->found) {
        return 0;
    }
    if (value_open(item->key, item->value, &payload, e) != 0) {
        return e->code;
    }
    if (rd_left(&payload) != NSM_OBJECT_ID_BYTES) {
        return err_set(e, ERR_CORRUPT, "object id of %zu bytes", rd_left(&payload));
    }
    memcpy(n->id, payload.pos, NSM_OBJECT_ID_BYTES);
    return 0;
}

/* While it is still decided what to do: canceled or not, it certainly did not happen. */
static void read_failed(struct seq_op *s, const struct err *e)
{
    err_copy(&s->err, e);
    if (s->err.code == ERR_CANCELED) {
        s->err.code = UV_ECANCELED;
    }
    fail(s, &s->err);
}

static void on_names(void *ctx, int rc, const struct kv_reply *reply)
{
    struct seq_op *s = ctx;

    if (rc != 0) {
        read_failed(s, reply->err);
        return;
    }
    for (size_t i = 0; i < s->asked_count; i++) {
        if (take_name(&s->names[s->asked[i]], &reply->items[i], &s->err) != 0) {
            fail(s, &s->err);
            return;
        }
    }
    read_objects(s);
}

static bool wants_name(const struct seq_name *n)
{
    return !n->known;
}

/* Its manifest moves to x/, or its checksum is asserted and not known. */
static bool wants_object(const struct seq_name *n)
{
    return n->has_object && (seq_updates(n) || (n->wants_checksum && !n->from_hint));
}

/* One get for all names that want it; false when there are none. */
static bool read_some(struct seq_op *s, bool (*wants)(const struct seq_name *), bool names,
                      kv_cb cb)
{
    struct key *keys;
    struct slice *slices;

    s->asked_count = 0;
    for (size_t i = 0; i < s->name_count; i++) {
        if (wants(&s->names[i])) {
            s->asked[s->asked_count++] = i;
        }
    }
    if (s->asked_count == 0) {
        return false;
    }
    keys = mem_array(s->asked_count, sizeof(*keys));
    slices = mem_array(s->asked_count, sizeof(*slices));
    for (size_t i = 0; i < s->asked_count; i++) {
        const struct seq_name *n = &s->names[s->asked[i]];

        slices[i] = names ? ns_key_name(&keys[i], s->op.ns_id, n->name)
                          : ns_key_object(&keys[i], s->op.ns_id, slice_of(n->id, sizeof(n->id)));
    }
    kv_get(s->op.nsm->kv, slices, s->asked_count, kv_left_ms(s->op.deadline_ms), cb, s);
    free(keys);
    free(slices);
    return true;
}

static void on_slept(void *ctx, int rc, const struct kv_reply *reply)
{
    if (rc != 0) {
        read_failed(ctx, reply->err);
        return;
    }
    seq_start(ctx);
}

static bool is_wanted(void *ctx)
{
    const struct seq_op *s = ctx;

    return s->is_wanted == NULL || s->is_wanted(s->op.ctx);
}

/* Something came between, so this attempt never happens: read everything and decide again. */
static void start_over(struct seq_op *s)
{
    uint8_t jitter;

    s->read_all = true;
    for (size_t i = 0; i < s->name_count; i++) {
        if (s->names[i].from_hint) {
            nsm_hint_forget(s->op.nsm, s->op.ns_id, s->names[i].name);
        }
    }
    if (clock_mono_ms() >= s->op.deadline_ms) {
        err_set(&s->err, UV_ETIMEDOUT, "others write these names");
        fail(s, &s->err);
        return;
    }
    if (!is_wanted(s)) {
        err_say(&s->err, UV_ECANCELED, "others came first, and nobody waits any more");
        fail(s, &s->err);
        return;
    }
    if (++s->tries >= NSM_TRIES_MAX) {
        err_set(&s->err, ERR_BUSY, "others write these names all the time");
        fail(s, &s->err);
        return;
    }
    /* The first times at once; then let the others get done. */
    rnd_bytes(&jitter, sizeof(jitter));
    kv_sleep(s->op.nsm->kv, s->tries < 4 ? 0 : jitter % 16u, on_slept, s);
}

static void on_objects(void *ctx, int rc, const struct kv_reply *reply)
{
    struct seq_op *s = ctx;

    if (rc != 0) {
        read_failed(s, reply->err);
        return;
    }
    for (size_t i = 0; i < s->asked_count; i++) {
        struct seq_name *n = &s->names[s->asked[i]];
        const struct kv_item *item = &reply->items[i];

        if (!item->found) { /* replaced since its name was read, or a wrong guess */
            start_over(s);
            return;
        }
        if (ns_value_manifest_open(item->key, item->value, slice_of(n->id, sizeof(n->id)),
                                   &n->manifest, &s->err) != 0) {
            if (n->wants_checksum || s->err.code != ERR_CORRUPT) {
                fail(s, &s->err);
                return;
            }
            n->is_damaged = true; /* it can still be replaced and deleted */
            continue;
        }
        n->value.len = 0;
        buf_put(&n->value, item->value.data, item->value.len);
        n->checksum = n->manifest.checksum;
    }
    commit(s);
}

static void read_objects(struct seq_op *s)
{
    if (!read_some(s, wants_object, false, on_objects)) {
        commit(s);
    }
}

static void seq_start(struct seq_op *s)
{
    seq_guess(s);
    if (!read_some(s, wants_name, true, on_names)) {
        read_objects(s);
    }
}

/* ---- commit ---- */

/* What the failed assert of a commit without doubt means. */
static void lost_race(struct seq_op *s, struct slice failed_key)
{
    struct key key;
    struct slice epoch = ns_key_epoch(&key, s->op.ns_id, s->gc_epoch);

    if (s->gc_epoch != 0 && slice_eq(failed_key, epoch)) {
        err_set(&s->err, ERR_STALE, "gc epoch %llu", (unsigned long long)s->gc_epoch);
        fail(s, &s->err);
        return;
    }
    for (size_t i = 0; i < s->upload_count; i++) {
        const struct manifest *m = s->uploads[i];

        if (slice_eq(failed_key, ns_key_obsolete(&key, s->op.ns_id, m->object_id)) ||
            slice_eq(failed_key, ns_key_tombstone(&key, s->op.ns_id, m->gc_epoch, m->object_id))) {
            err_set(&s->err, ERR_EXISTS, "object id was used before");
            fail(s, &s->err);
            return;
        }
    }
    start_over(s);
}

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct seq_op *s = ctx;

    s->op.reply->attempts += result->sent;
    if (rc == 0) {
        finish(s, 0);
        return;
    }
    err_copy(&s->err, result->err);
    if (rc == ERR_CANCELED) {
        fail(s, &s->err);
    } else if (result->doubted) {
        s->trace = 0;
        trace_next(s);
    } else if (rc == ERR_ASSERT_FAILED) {
        lost_race(s, result->failed_key);
    } else {
        fail(s, &s->err);
    }
}

static void on_nothing(void *ctx, int rc, const struct kv_reply *reply)
{
    if (rc != 0) {
        fail(ctx, reply->err);
        return;
    }
    finish(ctx, 0);
}

static void commit(struct seq_op *s)
{
    bool guessed = false;
    struct err e;

    if (seq_judge(s, &guessed) != 0) {
        if (guessed) {
            start_over(s);
        } else {
            kv_fail(s->op.nsm->kv, &s->err, on_refused, s);
        }
        return;
    }
    if (seq_build(s, &e) != 0) {
        kv_fail(s->op.nsm->kv, &e, on_refused, s);
        return;
    }
    if (s->txn.assert_count == 0) {
        kv_sleep(s->op.nsm->kv, 0, on_nothing, s);
        return;
    }
    kv_commit_while(s->op.nsm->kv, &s->txn, s->op.deadline_ms, is_wanted, on_commit, s);
}

/* ---- traces ---- */

/* Any update with an effect will do: the transaction is whole or absent. NULL: it has none. */
static const struct seq_name *traced_name(const struct seq_op *s)
{
    for (size_t i = 0; i < s->name_count; i++) {
        const struct seq_name *n = &s->names[i];

        if (n->upload != NO_UPLOAD || (n->is_delete && n->has_object)) {
            return n;
        }
    }
    return NULL;
}

static void give_up(struct seq_op *s, const char *why)
{
    char last[ERR_MSG_BYTES];

    memcpy(last, s->err.msg, sizeof(last));
    err_set(&s->err, ERR_IN_DOUBT, "%s; %.200s", why, last);
    fail(s, &s->err);
}

static void on_trace(void *ctx, int rc, const struct kv_reply *reply)
{
    struct seq_op *s = ctx;
    const struct seq_name *n = traced_name(s);
    const struct kv_item *item = reply->items;
    struct rd payload;
    const uint8_t *commit_id;

    if (rc != 0) {
        give_up(s, "no trace could be read");
        return;
    }
    if (!item->found) {
        s->trace++;
        trace_next(s);
        return;
    }
    if (n->upload != NO_UPLOAD) { /* nobody else has this object id */
        finish(s, 0);
        return;
    }
    if (value_open(item->key, item->value, &payload, &s->err) != 0) {
        give_up(s, "no trace could be read");
        return;
    }
    commit_id = rd_bytes(&payload, NS_COMMIT_ID_BYTES); /* x/ and t/ both begin with it */
    if (commit_id != NULL && memcmp(commit_id, s->commit_id, NS_COMMIT_ID_BYTES) == 0) {
        finish(s, 0);
    } else {
        start_over(s); /* another commit took the object away: ours cannot happen any more */
    }
}

static void trace_next(struct seq_op *s)
{
    const struct seq_name *n = traced_name(s);
    bool is_upload = n != NULL && n->upload != NO_UPLOAD;
    struct slice id;
    uint64_t epoch;
    struct key key;
    struct slice k;

    if (n == NULL) { /* only asserts: judging them again is as good */
        start_over(s);
        return;
    }
    id = is_upload ? s->uploads[n->upload]->object_id : slice_of(n->id, sizeof(n->id));
    epoch = is_upload ? s->gc_epoch : n->manifest.gc_epoch;
    switch (s->trace + (is_upload ? 0 : 1)) {
    case 0:
        k = ns_key_object(&key, s->op.ns_id, id);
        break;
    case 1:
        k = ns_key_obsolete(&key, s->op.ns_id, id);
        break;
    case 2:
        k = ns_key_tombstone(&key, s->op.ns_id, epoch, id);
        break;
    default:
        give_up(s, "no trace of the commit");
        return;
    }
    kv_get(s->op.nsm->kv, &k, 1, TRACE_TIMEOUT_MS, on_trace, s);
}

void nsm_apply(struct nsm *nsm, uint64_t ns_id, const struct nsm_sequence *sequence, nsm_cb cb,
               void *ctx)
{
    struct seq_op *s = mem_zalloc(sizeof(*s));
    struct err e;

    nsm_op_init(&s->op, nsm, ns_id, sequence->timeout_ms, cb, ctx);
    if (seq_take(s, sequence, &e) != 0) {
        kv_fail(nsm->kv, &e, on_refused, s);
        return;
    }
    seq_start(s);
}
