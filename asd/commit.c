/* One group commit, from first to last in the commit thread:
 *
 * plan   each member's updates (of several on a key the last counts); full: refused here, as is
 *        a move of a value that lies elsewhere by now
 * write  place large values, checksum and write all values
 * judge  in order: asserts against committed state and what earlier members did
 * build  index batch: values, frees of what they replace, slab records, usage
 * flush  fdatasync of each slab written, then the index batch, synced
 * publish the mark, then the frees
 *
 * - no space for a value, or its checksum is wrong: that member gets ERR_FULL or ERR_CHECKSUM, its
 *   ranges are freed in this batch;
 * - failed assert: that member gets it, when the batch is durable;
 * - anything else that fails: every member gets ERR_FAILED and the store is out of service. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/commit_private.h"
#include "asd/room.h"
#include "asd/space_reclaim.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"

static_assert(sizeof(struct asd_update) + sizeof(struct commit_change) +
                      sizeof(struct commit_key) <=
                  ASD_STORE_APPLY_ITEM_BYTES,
              "what one update becomes, at most");

/* ---- plan ---- */

static bool plan_needs_room(const struct asd_apply *what)
{
    static const uint8_t next_msg_id[6] = {'p', 0, 0, 0, 0, 'm'};

    for (uint32_t i = 0; i < what->update_count; i++) {
        if (!what->updates[i].is_delete) {
            return !slice_eq(what->updates[i].key, slice_of(next_msg_id, sizeof(next_msg_id)));
        }
    }
    return false;
}

static uint64_t change_cost(const struct commit_change *c)
{
    const struct asd_update *u = c->update;

    return u == NULL || u->is_delete
               ? 0
               : asd_value_cost(u->key.len, u->value.len > ASD_STORE_INLINE_BYTES_MAX,
                                (uint32_t)u->value.len);
}

/* What a member replaces or deletes is not credited: its space comes back after the commit. */
static int refuse_if_full(const struct commit_batch *b, const struct commit_member *m,
                          struct err *e)
{
    const struct asd_apply *what = m->apply->what;
    bool reserve = (what->flags & ASD_APPLY_RESERVE) != 0;
    uint64_t usable = b->commit->usable_bytes - (reserve ? 0 : b->commit->reserve_bytes);
    uint64_t cost = 0;

    if (!plan_needs_room(what)) {
        return 0;
    }
    if (b->commit->full && !reserve) {
        return err_set(e, ERR_FULL, "set full by request");
    }
    for (uint32_t i = 0; i < what->update_count; i++) {
        cost += change_cost(&m->changes[i]);
    }
    if (b->used_bytes > usable || cost > usable - b->used_bytes) {
        return err_set(e, ERR_FULL, "%" PRIu64 " bytes more, %" PRIu64 " of %" PRIu64 " used", cost,
                       b->used_bytes, usable);
    }
    if (b->store->room != NULL && !asd_room_has(b->store->room, cost, reserve)) {
        return err_set(e, ERR_FULL, "%" PRIu64 " bytes more, the file system has %" PRIu64, cost,
                       asd_room_left(b->store->room));
    }
    return 0;
}

/* Only the last update on a key counts. */
static void plan_member(struct commit_member *m, const struct asd_apply *what)
{
    struct commit_change *seen = NULL;

    m->changes = mem_array(what->update_count, sizeof(m->changes[0]));
    for (uint32_t i = what->update_count; i-- > 0;) {
        const struct asd_update *update = &what->updates[i];
        struct commit_change *later;

        HASH_FIND(hh, seen, update->key.data, update->key.len, later);
        if (later == NULL) {
            m->changes[i].update = update;
            HASH_ADD_KEYPTR(hh, seen, update->key.data, update->key.len, &m->changes[i]);
        }
    }
    HASH_CLEAR(hh, seen);
}

/* ---- write ---- */

static int write_change(struct commit_batch *b, struct commit_change *c, struct err *e)
{
    struct slice value = c->update->value;
    int rc;

    if (value.len <= ASD_STORE_INLINE_BYTES_MAX) {
        c->crc = crc32c(0, value.data, value.len);
        return 0;
    }
    rc = asd_space_place(&b->store->space, (uint32_t)value.len, &c->place, e);
    if (rc == 0) {
        rc = asd_space_write(&b->store->space, &c->place, value.data, (uint32_t)value.len, &c->crc,
                             e);
        b->slab_write_bytes += value.len;
    }
    return rc;
}

/* Between being read and being written the bytes of a move lay in memory: a fault there must not
 * get a record that says they are right. */
static int moved_crc_check(const struct asd_move *move, const struct commit_change *c,
                           struct err *e)
{
    return move == NULL || c->crc == move->crc
               ? 0
               : err_set(e, ERR_CORRUPT, "slab %" PRIu64 ": moving the value at %" PRIu64,
                         move->slab, move->offset);
}

/* A move uses no more bytes than before, and takes the client's checksum as it is. A value that a
 * later update of its own apply replaces is looked at, too: who sent it may have sent others that
 * are damaged. */
static int write_update(struct commit_batch *b, struct commit_member *m, uint32_t i, struct err *e)
{
    const struct asd_update *update = &m->apply->what->updates[i];
    const struct asd_move *move = m->apply->move;
    struct commit_change *c = &m->changes[i];
    int rc;

    if (update->is_delete) {
        return 0;
    }
    if (c->update == NULL) {
        return commit_checksum(b, update, crc32c(0, update->value.data, update->value.len), e);
    }
    b->used_bytes += move == NULL ? change_cost(c) : 0;
    if (b->store->room != NULL) {
        asd_room_wrote(b->store->room, change_cost(c));
    }
    b->store->space.direct.low = m->apply->low;
    rc = write_change(b, c, e);
    if (rc == 0 && move != NULL) {
        m->apply->op.rc = moved_crc_check(move, c, &m->apply->op.err);
    } else if (rc == 0) {
        rc = commit_checksum(b, update, c->crc, e);
    }
    return rc;
}

/* What an apply alone is refused with when one of its writes fails with `rc`; 0: that is the end
 * of the store's service. */
static int refusal_of(int rc)
{
    if (rc == -ENOSPC || rc == -EDQUOT) {
        return ERR_FULL;
    }
    if (asd_health_is_passing(rc)) {
        return ERR_BUSY;
    }
    return rc == ERR_CHECKSUM ? rc : 0;
}

/* 0, or why the store is out of service. */
static int write_member(struct commit_batch *b, struct commit_member *m, struct err *e)
{
    const struct asd_apply *what = m->apply->what;
    uint64_t used_before = b->used_bytes;

    for (uint32_t i = 0; i < what->update_count; i++) {
        int rc = write_update(b, m, i, e);

        if (rc != 0 && refusal_of(rc) != 0) {
            b->used_bytes = used_before;
            m->apply->op.rc = err_say(&m->apply->op.err, refusal_of(rc), "%s", e->msg);
            m->apply->failed_key = what->updates[i].key;
            return 0;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- build ---- */

static int build_free(struct commit_batch *b, uint64_t slab, uint64_t offset, uint64_t bytes,
                      bool named, struct err *e)
{
    struct asd_internal_key key = asd_key_free(slab, offset);
    struct asd_free_record record = {.bytes = bytes};
    int rc = asd_space_free(&b->store->space, slab, offset, bytes, named, &b->frees, e);

    if (rc == 0 && named) {
        struct asd_internal_key name = asd_key_name(slab, offset);

        asd_index_batch_delete(&b->index, asd_internal_slice(&name));
    }
    if (rc == 0) {
        b->record.len = 0;
        asd_free_record_put(&b->record, asd_internal_slice(&key), &record);
        asd_index_batch_put(&b->index, asd_internal_slice(&key), slice_buf(&b->record),
                            slice_of(NULL, 0));
        asd_count(&b->store->counters.frees, 1);
    }
    return rc;
}

/* Whose value lies there, for who empties the slab. */
static void build_name(struct commit_batch *b, const struct asd_place *place, struct slice key)
{
    struct asd_internal_key name = asd_key_name(place->slab->number, place->offset);
    struct asd_name_record record = {.client_key = key};

    b->record.len = 0;
    asd_name_record_put(&b->record, asd_internal_slice(&name), &record);
    asd_index_batch_put(&b->index, asd_internal_slice(&name), slice_buf(&b->record),
                        slice_of(NULL, 0));
    asd_space_name(&b->store->space, place);
}

static void build_value(struct commit_batch *b, const struct commit_change *c)
{
    const struct asd_update *u = c->update;
    struct slice key = commit_index_key(b, u->key);
    struct asd_value_record record = {.in_slab = c->place.slab != NULL,
                                      .assertable = u->assertable,
                                      .checksum = u->checksum,
                                      .bytes = (uint32_t)u->value.len,
                                      .crc = c->crc};

    if (record.in_slab) {
        record.slab = c->place.slab->number;
        record.offset = c->place.offset;
        build_name(b, &c->place, u->key);
    }
    b->record.len = 0;
    asd_value_record_put(&b->record, key, &record);
    asd_index_batch_put(&b->index, key, slice_buf(&b->record),
                        record.in_slab ? slice_of(NULL, 0) : u->value);
    b->used_bytes += asd_value_cost(u->key.len, record.in_slab, record.bytes);
}

/* A slab that counts less than its values name, or is not there, is no reason to end the service:
 * the place stays with the slab, as that of a damaged record does. */
static void build_replaced(struct commit_batch *b, const struct commit_key *state)
{
    const struct asd_value_record *old = &state->old;
    uint64_t cost = asd_value_cost(state->key.len, old->in_slab, old->bytes);
    struct err e;

    b->used_bytes -= cost < b->used_bytes ? cost : b->used_bytes;
    if (old->in_slab &&
        build_free(b, old->slab, old->offset, asd_slab_align(old->bytes), true, &e) != 0) {
        log_warn("asd", "a slab's account is wrong", "error=\"%s\"", e.msg);
    }
}

static void build_key(struct commit_batch *b, const struct commit_key *state)
{
    if (state->exists && !state->damaged) {
        build_replaced(b, state);
    }
    if (state->now->update->is_delete) {
        if (state->exists) {
            asd_index_batch_delete(&b->index, commit_index_key(b, state->key));
        }
    } else {
        build_value(b, state->now);
    }
}

/* Ranges that were placed and that no value came to name. */
static void build_unnamed(struct commit_batch *b, const struct commit_member *m)
{
    struct err e;

    for (uint32_t i = 0; i < m->apply->what->update_count; i++) {
        const struct commit_change *c = &m->changes[i];
        struct commit_key *state;

        if (c->place.slab == NULL) {
            continue;
        }
        HASH_FIND(hh, b->keys, c->update->key.data, c->update->key.len, state);
        if (state == NULL || state->now != c) {
            CHECK(build_free(b, c->place.slab->number, c->place.offset, c->place.bytes, false,
                             &e) == 0);
        }
    }
}

static void build_records(struct commit_batch *b)
{
    struct asd_internal_key usage_key = asd_key_of(ASD_KEY_USAGE);
    struct asd_usage_record usage = {.used_bytes = b->used_bytes,
                                     .next_slab = b->store->space.next_slab,
                                     .commit = b->commit->number + 1};

    LIST_FOR_EACH (it, &b->store->space.changed) {
        struct asd_slab *slab = container_of(it, struct asd_slab, changed);
        struct asd_internal_key key = asd_key_slab(slab->number);
        struct asd_slab_record record = asd_slab_record_of(slab);

        b->record.len = 0;
        asd_slab_record_put(&b->record, asd_internal_slice(&key), &record);
        asd_index_batch_put(&b->index, asd_internal_slice(&key), slice_buf(&b->record),
                            slice_of(NULL, 0));
    }
    b->record.len = 0;
    asd_usage_record_put(&b->record, asd_internal_slice(&usage_key), &usage);
    asd_index_batch_put(&b->index, asd_internal_slice(&usage_key), slice_buf(&b->record),
                        slice_of(NULL, 0));
}

static void build(struct commit_batch *b)
{
    struct commit_key *state;
    struct commit_key *next;

    b->used_bytes = b->commit->used_bytes;
    HASH_ITER (hh, b->keys, state, next) {
        if (state->now != NULL) {
            build_key(b, state);
        }
    }
    for (size_t i = 0; i < b->member_count; i++) {
        build_unnamed(b, &b->members[i]);
    }
    if (b->index.change_count != 0) {
        build_records(b);
    }
}

/* ---- all of it ---- */

static int batch_flush(struct commit_batch *b, struct err *e)
{
    struct asd_counters *counters = &b->store->counters;
    struct asd_index *index = b->store->index;
    uint64_t flushes = 0;
    int rc = asd_space_flush(&b->store->space, &flushes, e);

    asd_count(&counters->fdatasyncs, flushes);
    if (rc != 0) {
        return rc;
    }
    if (b->store->room != NULL) {
        asd_room_ready(b->store->room);
    }
    asd_count(&counters->index_syncs, 1);
    asd_count(&counters->index_write_bytes, b->index.bytes.len + b->index.body_bytes);
    rc = index->ops->write(index, &b->index, true, e);
    if (rc != 0) {
        return rc;
    }
    b->commit->used_bytes = b->used_bytes;
    b->commit->number++;
    atomic_store_explicit(&counters->used_bytes, b->used_bytes, memory_order_relaxed);
    rc = asd_mark_write(&b->store->mark, b->commit->number, e);
    if (rc == 0) { /* nothing is given back that the mark does not know of */
        if (b->has_moves) {
            atomic_store(&b->store->moved, true);
        }
        asd_space_publish(&b->store->space, &b->frees);
    }
    return rc;
}

static int batch_run(struct commit_batch *b, struct err *e)
{
    for (size_t i = 0; i < b->member_count; i++) {
        struct commit_member *m = &b->members[i];
        struct asd_store_op *op = &m->apply->op;

        plan_member(m, m->apply->what);
        op->rc = m->apply->move != NULL ? commit_move_check(b, m) : refuse_if_full(b, m, &op->err);
        if (op->rc == 0) {
            int rc = write_member(b, m, e);

            if (rc != 0) {
                return rc;
            }
        }
    }
    for (size_t i = 0; i < b->member_count; i++) {
        struct asd_store_op *op = &b->members[i].apply->op;

        if (op->rc == 0) {
            op->rc = commit_judge(b, &b->members[i]);
        }
    }
    build(b);
    return b->index.change_count != 0 ? batch_flush(b, e) : 0;
}

static void batch_init(struct commit_batch *b, struct asd_store *store)
{
    struct asd_commit *commit = &store->commit;

    *b = (struct commit_batch){.store = store, .commit = commit, .used_bytes = commit->used_bytes};
    list_init(&b->frees);
    LIST_FOR_EACH (it, &commit->members) {
        b->member_count++;
    }
    b->members = mem_array(b->member_count, sizeof(b->members[0]));
    size_t i = 0;
    LIST_FOR_EACH (it, &commit->members) {
        b->members[i].apply = container_of(it, struct asd_store_apply, op.link);
        b->members[i].apply->op.rc = 0;
        i++;
    }
}

static void batch_release(struct commit_batch *b)
{
    struct commit_key *state;
    struct commit_key *next;
    struct list *link;

    HASH_ITER (hh, b->keys, state, next) {
        HASH_DELETE(hh, b->keys, state);
        free(state);
    }
    while ((link = list_pop(&b->frees)) != NULL) { /* only after a failure */
        asd_space_free_done(&b->store->space, container_of(link, struct asd_free, link));
    }
    for (size_t i = 0; i < b->member_count; i++) {
        free(b->members[i].changes);
    }
    free(b->members);
    asd_index_batch_release(&b->index);
    buf_release(&b->scratch);
    buf_release(&b->record);
}

static void count_member(struct asd_counters *c, const struct asd_store_apply *apply)
{
    bool done = apply->op.rc == 0;
    bool failed = apply->op.rc == ERR_ASSERT_FAILED;

    if (apply->move != NULL) {
        asd_count(&c->moves, done);
        asd_count(&c->moves_lost, failed);
        asd_count(&c->moved_bytes, done ? apply->what->updates[0].value.len : 0);
        return;
    }
    asd_count(&c->updates, done ? apply->what->update_count : 0);
    asd_count(&c->asserts_failed, failed);
    asd_count(&c->refused_full, apply->op.rc == ERR_FULL);
    asd_count(&c->refused_checksum, apply->op.rc == ERR_CHECKSUM);
}

void asd_commit_run(struct asd_store *store)
{
    struct asd_commit *commit = &store->commit;
    struct commit_batch b;

    batch_init(&b, store);
    commit->rc = batch_run(&b, &commit->err);
    if (commit->rc != 0) {
        err_wrap(&commit->err, "commit");
        for (size_t i = 0; i < b.member_count; i++) {
            struct asd_store_op *op = &b.members[i].apply->op;

            op->rc = err_set(&op->err, ERR_FAILED, "%s", commit->err.msg);
        }
    }
    asd_count(&store->counters.batches, 1);
    asd_count(&store->counters.slab_write_bytes, b.slab_write_bytes);
    for (size_t i = 0; i < b.member_count; i++) {
        count_member(&store->counters, b.members[i].apply);
    }
    batch_release(&b);
}
