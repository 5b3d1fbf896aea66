/* Asserts, in order: against committed state plus what earlier members of the batch did. */
#include <stdlib.h>

#include "asd/commit_private.h"
#include "asd/value.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

struct slice commit_index_key(struct commit_batch *b, struct slice client_key)
{
    b->scratch.len = 0;
    asd_key_value_put(&b->scratch, client_key);
    return slice_buf(&b->scratch);
}

/* Committed state of `key`, looked up at its first use in the batch. */
static int key_load(struct commit_batch *b, struct slice key, struct commit_key **ret_state,
                    struct err *e)
{
    struct asd_index *index = b->store->index;
    struct asd_index_value found = {0};
    struct commit_key *state;
    int rc;

    HASH_FIND(hh, b->keys, key.data, key.len, state);
    if (state != NULL) {
        *ret_state = state;
        return 0;
    }
    rc = index->ops->get(index, commit_index_key(b, key), &found, e);
    if (rc != 0 && rc != ERR_NOT_FOUND) {
        return asd_value_note_index(b->store, slice_buf(&b->scratch), rc);
    }
    state = mem_zalloc(sizeof(*state));
    state->key = key;
    state->exists = rc == 0;
    if (state->exists &&
        asd_value_record_get(slice_buf(&b->scratch), found.bytes, &state->old, e) != 0) {
        log_warn("asd", "damaged value record", "error=%s", e->msg);
        asd_count(&b->store->counters.bad_values, 1);
        state->damaged = true;
    }
    state->old.value = slice_of(NULL, 0);
    index->ops->release(index, &found);
    HASH_ADD_KEYPTR(hh, b->keys, state->key.data, state->key.len, state);
    *ret_state = state;
    return 0;
}

/* 0: as asserted. */
static int judge_committed(struct commit_batch *b, const struct asd_assert *a,
                           const struct commit_key *state, struct err *e)
{
    struct asd_found f;
    int rc;

    if (!a->has_value || !state->exists) {
        return a->has_value == state->exists ? 0 : ERR_ASSERT_FAILED;
    }
    if (state->damaged) {
        return err_set(e, ERR_CORRUPT, "asserted value");
    }
    if (state->old.bytes != a->value.len) {
        return ERR_ASSERT_FAILED;
    }
    rc = asd_value_find(b->store, commit_index_key(b, a->key), &f, e);
    if (rc == 0) {
        rc = asd_value_equals(b->store, &f, a->value, e);
    }
    asd_value_found_release(b->store, &f);
    return rc;
}

static int judge_assert(struct commit_batch *b, const struct asd_assert *a, struct err *e)
{
    struct commit_key *state;
    int rc = key_load(b, a->key, &state, e);

    if (rc != 0) {
        return rc;
    }
    if (state->now == NULL) {
        return judge_committed(b, a, state, e);
    }
    if (state->now->update->is_delete) {
        return a->has_value ? ERR_ASSERT_FAILED : 0;
    }
    return a->has_value && slice_eq(a->value, state->now->update->value) ? 0 : ERR_ASSERT_FAILED;
}

int commit_move_check(struct commit_batch *b, struct commit_member *m)
{
    const struct asd_update *update = m->apply->what->updates;
    const struct asd_move *move = m->apply->move;
    struct err *e = &m->apply->op.err;
    struct commit_key *state;
    int rc = key_load(b, update->key, &state, e);
    bool there = rc == 0 && state->exists && !state->damaged && state->old.in_slab &&
                 state->old.slab == move->slab && state->old.offset == move->offset &&
                 state->old.bytes == update->value.len && state->old.crc == move->crc;

    return rc != 0 || there ? rc : err_set(e, ERR_ASSERT_FAILED, "its value lies elsewhere");
}

/* Its committed state was looked at before it was written. */
static int judge_move(struct commit_batch *b, struct commit_member *m)
{
    struct commit_change *c = m->changes;
    struct commit_key *state;

    HASH_FIND(hh, b->keys, c->update->key.data, c->update->key.len, state);
    CHECK(state != NULL);
    if (state->now != NULL) {
        return err_set(&m->apply->op.err, ERR_ASSERT_FAILED, "changed by this commit");
    }
    state->now = c;
    b->has_moves = true;
    return 0;
}

int commit_judge(struct commit_batch *b, struct commit_member *m)
{
    const struct asd_apply *what = m->apply->what;
    struct err *e = &m->apply->op.err;
    struct commit_key *state;
    int rc;

    if (m->apply->move != NULL) {
        return judge_move(b, m);
    }
    for (uint32_t i = 0; i < what->assert_count; i++) {
        rc = judge_assert(b, &what->asserts[i], e);
        if (rc == ERR_ASSERT_FAILED) {
            err_set(e, rc, "key of %zu bytes", what->asserts[i].key.len);
        }
        if (rc != 0) {
            m->apply->failed_key = what->asserts[i].key;
            return rc;
        }
    }
    for (uint32_t i = 0; i < what->update_count; i++) {
        rc = m->changes[i].update != NULL ? key_load(b, m->changes[i].update->key, &state, e) : 0;
        if (rc != 0) {
            m->apply->failed_key = what->updates[i].key;
            return rc;
        }
    }
    for (uint32_t i = 0; i < what->update_count; i++) {
        if (m->changes[i].update != NULL) {
            CHECK(key_load(b, m->changes[i].update->key, &state, e) == 0);
            state->now = &m->changes[i];
        }
    }
    return 0;
}
