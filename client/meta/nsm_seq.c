/* A sequence as data: taking it over, judging its asserts, building its transaction. */
#include "meta/nsm_seq.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "meta/bytes.h"

/* ---- taking over ---- */

/* Index of the name, entered when new. A sequence is short: at most 240 names. */
static size_t name_index(struct seq_op *s, struct slice name)
{
    for (size_t i = 0; i < s->name_count; i++) {
        if (slice_eq(s->names[i].name, name)) {
            return i;
        }
    }
    s->names[s->name_count] = (struct seq_name){.name = slice_dup(name), .upload = NO_UPLOAD};
    return s->name_count++;
}

static int check_name(struct slice name, struct err *e)
{
    if (name.len > MANIFEST_NAME_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "name of %zu bytes (at most %d)", name.len,
                       MANIFEST_NAME_BYTES_MAX);
    }
    return 0;
}

static int take_asserts(struct seq_op *s, const struct nsm_sequence *sequence, struct err *e)
{
    for (size_t i = 0; i < sequence->assert_count; i++) {
        const struct nsm_assert *from = &sequence->asserts[i];
        struct seq_assert *to = &s->asserts[i];

        if (check_name(from->name, e) != 0) {
            return e->code;
        }
        *to = (struct seq_assert){.kind = from->kind,
                                  .name = name_index(s, from->name),
                                  .object_id = slice_dup(from->object_id),
                                  .checksum = from->checksum};
        s->assert_count++;
        s->names[to->name].wants_checksum |= to->kind == NSM_ASSERT_HAS_CHECKSUM;
    }
    return 0;
}

static int take_update(struct seq_op *s, struct slice name, int upload, struct err *e)
{
    struct seq_name *n;

    if (check_name(name, e) != 0) {
        return e->code;
    }
    n = &s->names[name_index(s, name)];
    if (seq_updates(n)) {
        return err_set(e, -EINVAL, "name '%.*s' is updated twice in one sequence", (int)name.len,
                       name.data != NULL ? (const char *)name.data : "");
    }
    n->upload = upload;
    n->is_delete = upload == NO_UPLOAD;
    return 0;
}

int seq_take(struct seq_op *s, const struct nsm_sequence *sequence, struct err *e)
{
    size_t names = sequence->assert_count + sequence->upload_count + sequence->delete_count;

    if (sequence->assert_count > KV_ASSERTS_MAX || sequence->upload_count > KV_UPDATES_MAX ||
        sequence->delete_count > KV_UPDATES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "sequence of %zu asserts, %zu uploads, %zu deletes",
                       sequence->assert_count, sequence->upload_count, sequence->delete_count);
    }
    s->names = mem_array(names + 1, sizeof(*s->names));
    s->asserts = mem_array(sequence->assert_count + 1, sizeof(*s->asserts));
    s->uploads = mem_array(sequence->upload_count + 1, sizeof(struct manifest *));
    s->asked = mem_array(names + 1, sizeof(*s->asked));
    s->gc_epoch = sequence->gc_epoch;
    s->reserve = sequence->reserve;
    s->low_priority = sequence->low_priority;
    s->is_wanted = sequence->is_wanted;
    rnd_bytes(s->commit_id, sizeof(s->commit_id));
    if (take_asserts(s, sequence, e) != 0) {
        return e->code;
    }
    for (size_t i = 0; i < sequence->upload_count; i++) {
        struct manifest *m = sequence->uploads[i];

        s->uploads[i] = m;
        s->upload_count++;
        if (s->gc_epoch == 0) {
            s->gc_epoch = m->gc_epoch;
        }
        if (m->object_id.len != NSM_OBJECT_ID_BYTES || m->gc_epoch == 0 ||
            m->gc_epoch != s->gc_epoch) {
            return err_set(e, -EINVAL, "manifest without object id, or of another gc epoch");
        }
        if (take_update(s, m->name, (int)i, e) != 0) {
            return e->code;
        }
    }
    for (size_t i = 0; i < sequence->delete_count; i++) {
        if (take_update(s, sequence->deletes[i], NO_UPLOAD, e) != 0) {
            return e->code;
        }
    }
    return 0;
}

void seq_release(struct seq_op *s)
{
    for (size_t i = 0; i < s->name_count; i++) {
        slice_release(&s->names[i].name);
        buf_release(&s->names[i].value);
        manifest_release(&s->names[i].manifest);
    }
    for (size_t i = 0; i < s->assert_count; i++) {
        slice_release(&s->asserts[i].object_id);
    }
    kv_txn_release(&s->txn);
    free(s->names);
    free(s->asserts);
    free((void *)s->uploads);
    free(s->asked);
}

/* ---- what is known ---- */

static void guess_from_assert(struct seq_op *s, const struct seq_assert *a)
{
    struct seq_name *n = &s->names[a->name];

    if (n->known) {
        return; /* a second assert on the name is judged against the first */
    }
    if (a->kind == NSM_ASSERT_ABSENT) {
        n->known = true;
        n->from_hint = true;
    } else if (a->kind == NSM_ASSERT_HAS_ID && a->object_id.len == NSM_OBJECT_ID_BYTES) {
        n->known = true;
        n->from_hint = true;
        n->has_object = true;
        memcpy(n->id, a->object_id.data, NSM_OBJECT_ID_BYTES);
    }
}

static void guess_from_hint(struct seq_op *s, struct seq_name *n)
{
    const struct nsm_hint *hint = nsm_hint_find(s->op.nsm, s->op.ns_id, n->name);

    if (hint == NULL || n->known) {
        return;
    }
    n->known = true;
    n->from_hint = true;
    n->has_object = true;
    memcpy(n->id, hint->object_id, NSM_OBJECT_ID_BYTES);
    n->checksum = hint->checksum;
}

void seq_guess(struct seq_op *s)
{
    for (size_t i = 0; i < s->name_count; i++) {
        struct seq_name *n = &s->names[i];

        n->known = n->from_hint = n->has_object = n->is_damaged = false;
        n->checksum = checksum_none();
        n->value.len = 0;
        manifest_release(&n->manifest);
    }
    if (s->read_all) {
        return;
    }
    for (size_t i = 0; i < s->assert_count; i++) {
        if (!s->names[s->asserts[i].name].wants_checksum) {
            guess_from_assert(s, &s->asserts[i]);
        }
    }
    for (size_t i = 0; i < s->name_count; i++) {
        guess_from_hint(s, &s->names[i]);
    }
}

static bool holds(const struct seq_assert *a, const struct seq_name *n)
{
    switch (a->kind) {
    case NSM_ASSERT_EXISTS:
        return n->has_object;
    case NSM_ASSERT_ABSENT:
        return !n->has_object;
    case NSM_ASSERT_HAS_ID:
        return n->has_object && slice_eq(a->object_id, slice_of(n->id, sizeof(n->id)));
    case NSM_ASSERT_HAS_CHECKSUM:
        return n->has_object && checksum_eq(&a->checksum, &n->checksum);
    }
    return false;
}

int seq_judge(struct seq_op *s, bool *ret_guessed)
{
    for (size_t i = 0; i < s->assert_count; i++) {
        const struct seq_name *n = &s->names[s->asserts[i].name];

        if (!holds(&s->asserts[i], n)) {
            *ret_guessed = n->from_hint;
            slice_release(&s->op.reply->failed_name);
            s->op.reply->failed_name = slice_dup(n->name);
            return err_set(&s->err, ERR_ASSERT_FAILED, "object '%.*s'", (int)n->name.len,
                           n->name.data != NULL ? (const char *)n->name.data : "");
        }
    }
    return 0;
}

void seq_learn(struct seq_op *s)
{
    for (size_t i = 0; i < s->name_count; i++) {
        const struct seq_name *n = &s->names[i];

        if (n->upload != NO_UPLOAD) {
            const struct manifest *m = s->uploads[n->upload];

            nsm_hint_set(s->op.nsm, s->op.ns_id, n->name, m->object_id, &m->checksum);
        } else if (n->is_delete) {
            nsm_hint_forget(s->op.nsm, s->op.ns_id, n->name);
        } else if (n->wants_checksum && n->value.len != 0) {
            nsm_hint_set(s->op.nsm, s->op.ns_id, n->name, slice_of(n->id, sizeof(n->id)),
                         &n->checksum);
        }
    }
}

/* ---- the transaction ---- */

static void assert_name(struct seq_op *s, const struct seq_name *n)
{
    struct key key;
    struct buf value = {0};
    struct slice k = ns_key_name(&key, s->op.ns_id, n->name);

    if (n->has_object) {
        value_make(&value, k, slice_of(n->id, sizeof(n->id)));
        kv_txn_assert_equal(&s->txn, k, slice_buf(&value));
        buf_release(&value);
    } else {
        kv_txn_assert_absent(&s->txn, k);
    }
}

/* o/ -> x/ of what the name holds now. A damaged o/ can neither be asserted nor copied: that the
 * name still holds this id is enough for a record without manifest. */
static void retire(struct seq_op *s, const struct seq_name *n)
{
    struct slice id = slice_of(n->id, sizeof(n->id));
    struct slice payload = slice_of(NULL, 0);
    struct buf record = {0};
    struct key key;
    struct slice k = ns_key_object(&key, s->op.ns_id, id);

    if (!n->is_damaged) {
        payload = slice_of(n->value.data + VALUE_HEAD_BYTES, n->value.len - VALUE_HEAD_BYTES);
        kv_txn_assert_equal(&s->txn, k, slice_buf(&n->value));
    }
    kv_txn_delete(&s->txn, k);
    k = ns_key_obsolete(&key, s->op.ns_id, id);
    ns_value_obsolete(&record, k, s->commit_id, payload);
    kv_txn_put(&s->txn, k, slice_buf(&record));
    buf_release(&record);
}

static int build_upload(struct seq_op *s, const struct seq_name *n, struct err *e)
{
    struct manifest *m = s->uploads[n->upload];
    int64_t now = (int64_t)clock_wall_us();
    uint64_t *osds = NULL;
    size_t osd_count;
    struct buf value = {0};
    struct key key;
    struct slice k;
    int rc;

    m->timestamp_us = now;
    if (n->has_object && n->manifest.timestamp_us >= now) {
        m->timestamp_us = n->manifest.timestamp_us + 1;
    }
    k = ns_key_object(&key, s->op.ns_id, m->object_id);
    rc = ns_value_manifest(&value, k, m, e);
    if (rc != 0) {
        goto out;
    }
    kv_txn_put(&s->txn, k, slice_buf(&value));

    value.len = 0;
    k = ns_key_name(&key, s->op.ns_id, n->name);
    value_make(&value, k, m->object_id);
    kv_txn_put(&s->txn, k, slice_buf(&value));

    osd_count = ns_manifest_osds(m, &osds);
    for (size_t i = 0; i < osd_count; i++) {
        k = ns_key_osd(&key, s->op.ns_id, osds[i], m->object_id);
        value.len = 0;
        value_make(&value, k, slice_of(NULL, 0));
        kv_txn_put(&s->txn, k, slice_buf(&value));
    }
    if (!n->has_object) { /* a delayed copy of this commit must not revive the object */
        kv_txn_assert_absent(&s->txn, ns_key_obsolete(&key, s->op.ns_id, m->object_id));
        kv_txn_assert_absent(&s->txn,
                             ns_key_tombstone(&key, s->op.ns_id, m->gc_epoch, m->object_id));
    }

out:
    free(osds);
    buf_release(&value);
    return rc;
}

static void assert_epoch(struct seq_op *s)
{
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_epoch(&key, s->op.ns_id, s->gc_epoch);

    ns_value_epoch(&value, k);
    kv_txn_assert_equal(&s->txn, k, slice_buf(&value));
    buf_release(&value);
}

int seq_build(struct seq_op *s, struct err *e)
{
    kv_txn_release(&s->txn);
    s->txn.reserve = s->reserve || s->upload_count == 0; /* deletes make room */
    s->txn.low_priority = s->low_priority;
    if (s->gc_epoch != 0) {
        assert_epoch(s);
    }
    for (size_t i = 0; i < s->name_count; i++) {
        struct seq_name *n = &s->names[i];

        assert_name(s, n);
        if (seq_updates(n) && n->has_object) {
            retire(s, n);
        }
        if (n->upload != NO_UPLOAD) {
            if (build_upload(s, n, e) != 0) {
                return e->code;
            }
        } else if (n->is_delete && n->has_object) {
            struct key key;

            kv_txn_delete(&s->txn, ns_key_name(&key, s->op.ns_id, n->name));
        }
    }
    return kv_txn_check(&s->txn, e);
}
