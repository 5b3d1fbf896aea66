/* A slab goes: pick -> steps over its names -> (something still lives there) steps over all
 * values -> empty: dropped as a dead slab (reclaim.c); not empty: left alone until that changes.
 *
 * A step: (thread) from where the last one ended, look up whose value lies there, read and check
 * it, until there is enough -> (loop) submit moves -> all answered -> wait as the rate demands.
 *
 * - a move is lost to a client's change: that freed the range, nothing is to be done;
 * - no room for a copy, too many requests wait, no descriptor or memory, the index fails: the same
 *   step again, later and later; for the index not for ever;
 * - a value cannot be read or is not what its record says: nothing there is touched any more,
 *   the slab is left alone, as no fresh record may say that bad bytes are good, until a client
 *   changes what lives there; until half of it, if all values had to be looked at;
 * - the store goes out of service or closes: the end; what was moved was moved. */
#include "asd/evacuate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/room.h"
#include "asd/space_sparse.h"
#include "asd/store_private.h"
#include "asd/value.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    STEP_KEY_BYTES_MAX = 1048576,
    STEP_RECORDS_MAX = 65536, /* seen by a step over all values */
};

struct asd_evacuate_move {
    struct asd_store *store;
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    struct asd_move move;
    struct buf key;
    uint8_t *data;
};

static struct asd_store *store_of(struct asd_evacuation *v)
{
    return container_of(v, struct asd_store, evacuation);
}

static void move_free(struct asd_evacuate_move *m)
{
    buf_release(&m->key);
    free(m->data);
    free(m);
}

static void moves_free(struct asd_evacuation *v)
{
    while (v->move_count > 0) {
        move_free(v->moves[--v->move_count]);
    }
    v->move_bytes = 0;
}

/* ---- thread: whose values may lie in the slab ---- */

/* A key to look up, and the index key it was found by. */
struct candidate {
    struct buf at;
    struct buf client_key;
};

struct search {
    struct asd_evacuation *v;
    struct candidate found[ASD_EVACUATE_MOVES_MAX];
    size_t count;
    size_t key_bytes;
    size_t seen;
    uint64_t seen_bytes;
};

/* A slice of the index, so that neither an iterator nor a step lasts for long. */
static bool see_more(struct search *s, struct slice key, struct slice record)
{
    s->seen_bytes += key.len + record.len;
    return ++s->seen < STEP_RECORDS_MAX && s->seen_bytes < ASD_EVACUATE_BYTES_MAX;
}

static bool found_add(struct search *s, struct slice at, struct slice client_key)
{
    struct candidate *c = &s->found[s->count++];

    buf_put(&c->at, at.data, at.len);
    buf_put(&c->client_key, client_key.data, client_key.len);
    s->key_bytes += at.len + client_key.len;
    return s->count < ASD_EVACUATE_MOVES_MAX && s->key_bytes < STEP_KEY_BYTES_MAX;
}

/* Where a step over the index goes on that stopped at `key`, which was or was not dealt with. */
static void go_on_from(struct asd_evacuation *v, struct slice key, bool dealt_with)
{
    v->at_end = false;
    v->next.len = 0;
    buf_put(&v->next, key.data, key.len);
    if (dealt_with) {
        buf_put_u8(&v->next, 0); /* the least key behind it */
    }
}

static bool see_name(void *ctx, struct slice key, struct slice record)
{
    struct search *s = ctx;
    struct asd_name_record r;
    bool more = see_more(s, key, record);
    struct err e;

    /* A bad hint is none: the pass over all values finds what it stood for. */
    if (asd_name_record_get(key, record, &r, &e) == 0) {
        more = found_add(s, key, r.client_key) && more;
    }
    if (!more) {
        go_on_from(s->v, key, true);
    }
    return more && !atomic_load(&s->v->stop);
}

static bool see_value(void *ctx, struct slice key, struct slice record)
{
    struct search *s = ctx;
    struct asd_value_record r;
    bool more = see_more(s, key, record);
    struct err e;

    /* A damaged record is told when its value is asked for; its slab cannot be known. */
    if (asd_value_record_get(key, record, &r, &e) == 0 && r.in_slab && r.slab == s->v->slab) {
        more = found_add(s, key, slice_of(key.data + 1, key.len - 1)) && more;
    }
    if (!more) {
        go_on_from(s->v, key, true);
    }
    return more && !atomic_load(&s->v->stop);
}

static int search_run(struct search *s, struct err *e)
{
    struct asd_evacuation *v = s->v;
    struct asd_index *index = store_of(v)->index;
    bool by_name = v->pass == ASD_EVACUATE_NAMES;
    struct asd_internal_key first = by_name ? asd_key_name(v->slab, 0) : asd_key_of(ASD_KEY_VALUE);
    struct asd_internal_key end =
        by_name ? asd_key_name(v->slab + 1, 0) : asd_key_of(ASD_KEY_VALUE + 1);
    struct slice from = v->from.len != 0 ? slice_buf(&v->from) : asd_internal_slice(&first);
    int rc;

    v->at_end = true;
    rc = index->ops->iterate(index, from, asd_internal_slice(&end), false,
                             by_name ? see_name : see_value, s, e);
    return asd_value_note_index(store_of(v), from, rc);
}

static void search_release(struct search *s)
{
    for (size_t i = 0; i < s->count; i++) {
        buf_release(&s->found[i].at);
        buf_release(&s->found[i].client_key);
    }
}

/* ---- thread: reading them ---- */

static void move_add(struct asd_evacuation *v, struct slice client_key,
                     const struct asd_value_record *r, uint8_t *take_data)
{
    struct asd_evacuate_move *m = mem_zalloc(sizeof(*m));

    m->store = store_of(v);
    m->data = take_data;
    buf_put(&m->key, client_key.data, client_key.len);
    m->update = (struct asd_update){.key = slice_buf(&m->key),
                                    .value = slice_of(m->data, r->bytes),
                                    .checksum = r->checksum,
                                    .assertable = r->assertable};
    m->what = (struct asd_apply){.updates = &m->update, .update_count = 1};
    m->move = (struct asd_move){.slab = r->slab, .offset = r->offset, .crc = r->crc};
    v->moves[v->move_count++] = m;
    v->move_bytes += r->bytes;
}

/* 0, also when the value does not lie there; -EAGAIN: enough has been read; or why it cannot be
 * moved. The pin that the look-up took keeps the bytes until they are read. */
static int read_one(struct asd_evacuation *v, struct slice client_key, struct err *e)
{
    struct asd_store *store = store_of(v);
    struct buf index_key = {0};
    struct asd_found found;
    const struct asd_value_record *r = &found.record;
    uint8_t *data = NULL;
    int rc;

    asd_key_value_put(&index_key, client_key);
    rc = asd_value_find(store, slice_buf(&index_key), &found, e);
    if (rc == ERR_NOT_FOUND) {
        rc = 0; /* the client was faster, or an old name */
    } else if (rc != 0) {
        v->again = rc != ERR_CORRUPT; /* else it is the index that failed, not this slab */
    } else if (rc == 0 && r->in_slab && r->slab == v->slab) {
        if (v->move_count != 0 && v->move_bytes + r->bytes > ASD_EVACUATE_BYTES_MAX) {
            rc = -EAGAIN;
        } else {
            data = mem_alloc(r->bytes);
            rc = asd_value_read(store, &found, data, e);
        }
        if (rc == 0) {
            move_add(v, client_key, r, data);
        } else {
            free(data);
        }
    }
    asd_value_found_release(store, &found);
    buf_release(&index_key);
    return rc;
}

static void evacuate_work(struct pool_work *work)
{
    struct asd_evacuation *v = container_of(work, struct asd_evacuation, work);
    struct search *s = mem_zalloc(sizeof(*s));
    int rc;

    s->v = v;
    rc = search_run(s, &v->bad_err);
    v->seen_bytes = s->seen_bytes;
    v->again = rc != 0;
    for (size_t i = 0; rc == 0 && i < s->count && !atomic_load(&v->stop); i++) {
        rc = read_one(v, slice_buf(&s->found[i].client_key), &v->bad_err);
        if (rc == -EAGAIN) {
            go_on_from(v, slice_buf(&s->found[i].at), false);
        }
    }
    if (asd_health_is_passing(rc)) {
        v->again = true;
    } else if (rc != -EAGAIN && !(v->again && v->tries < ASD_EVACUATE_INDEX_TRIES)) {
        v->again = false;
        v->bad_rc = rc;
    }
    search_release(s);
    free(s);
}

/* ---- loop: steps ---- */

static void step_start(struct asd_evacuation *v);
static void step_end(struct asd_evacuation *v);

static bool is_over(const struct asd_store *store)
{
    return store->closing || store->failed;
}

/* Without the mark an index that lost a move could not be told from a sound one. */
static bool is_allowed(struct asd_store *store)
{
    return store->evacuation.rate != 0 && store->mark.fd >= 0;
}

static void on_timer(uv_timer_t *timer)
{
    step_start(container_of(timer, struct asd_evacuation, timer));
}

static void wait_ms(struct asd_evacuation *v, uint64_t ms)
{
    v->state = ASD_EVACUATE_WAITING;
    v->rate_waited = v->rate;
    CHECK(uv_timer_start(&v->timer, on_timer, ms, 0) == 0);
}

/* The slab is done with, one way or the other. */
static void slab_end(struct asd_evacuation *v, const char *stuck_why)
{
    struct asd_store *store = store_of(v);

    if (stuck_why != NULL) {
        log_error("asd", "slab cannot be emptied", "slab=%" PRIu64 " error=\"%s\"", v->slab,
                  stuck_why);
        asd_space_set_stuck(&store->space, v->slab, v->pass == ASD_EVACUATE_VALUES);
    } else if (v->slab_moves != 0) {
        log_info("asd", "slab emptied", "slab=%" PRIu64 " moves=%" PRIu64, v->slab, v->slab_moves);
        asd_count(&store->counters.slabs_evacuated, 1);
    }
    v->has_slab = false;
}

static void on_moved(struct asd_store_op *op, int rc)
{
    struct asd_store_apply *apply = container_of(op, struct asd_store_apply, op);
    struct asd_evacuate_move *m = container_of(apply, struct asd_evacuate_move, apply);
    struct asd_evacuation *v = &m->store->evacuation;

    v->slab_moves += rc == 0;
    if (rc == ERR_FULL || rc == ERR_BUSY || asd_health_is_passing(rc) ||
        (rc == -EIO && v->tries < ASD_EVACUATE_INDEX_TRIES)) { /* of the index */
        v->again = true;
    } else if (rc != 0 && rc != ERR_ASSERT_FAILED && v->bad_rc == 0) {
        v->bad_rc = rc;
        err_copy(&v->bad_err, &op->err);
    }
    if (--v->waiting == 0) {
        step_end(v);
    }
}

static bool has_room(const struct asd_store *store, uint64_t bytes)
{
    return store->room == NULL || asd_room_has(store->room, bytes, false);
}

static void moves_submit(struct asd_evacuation *v)
{
    struct asd_store *store = store_of(v);

    v->state = ASD_EVACUATE_MOVING;
    v->waiting = 1; /* ours, so that no answer ends the step early */
    v->again = v->again || !has_room(store, v->move_bytes);
    for (size_t i = 0; i < v->move_count && !v->again; i++) {
        struct asd_evacuate_move *m = v->moves[i];
        int rc = asd_store_move(store, &m->apply, &m->what, &m->move, on_moved);

        v->waiting += rc == 0;
        v->again = rc != 0;
    }
    if (--v->waiting == 0) {
        step_end(v);
    }
}

static void evacuate_done(struct pool_work *work, int rc)
{
    struct asd_evacuation *v = container_of(work, struct asd_evacuation, work);

    if (rc != 0 || is_over(store_of(v)) || v->bad_rc != 0) {
        v->waiting = 0;
        step_end(v);
    } else {
        moves_submit(v);
    }
}

/* How long the bytes of the last step take at the rate; longer if it was in vain. */
static uint64_t step_ms(const struct asd_evacuation *v)
{
    uint64_t rate = v->rate;
    uint64_t ms = rate == 0 ? 0 : v->step_bytes * 1000 / rate;
    uint64_t retry_ms = 0;

    if (v->tries > 0) {
        retry_ms = (uint64_t)ASD_EVACUATE_RETRY_MS << (v->tries < 8 ? v->tries - 1 : 7);
        retry_ms = retry_ms < ASD_EVACUATE_RETRY_MS_MAX ? retry_ms : ASD_EVACUATE_RETRY_MS_MAX;
    }
    return ms > retry_ms ? ms : retry_ms;
}

/* Every answer is there. */
static void step_end(struct asd_evacuation *v)
{
    struct asd_store *store = store_of(v);

    v->step_bytes = v->move_bytes + v->seen_bytes;
    v->tries = v->again && v->bad_rc == 0 ? v->tries + 1 : 0;
    moves_free(v);
    if (is_over(store)) {
        v->state = ASD_EVACUATE_IDLE;
        return;
    }
    if (v->bad_rc != 0) {
        slab_end(v, v->bad_err.msg);
    } else if (v->again) {
        ; /* from where it began */
    } else if (!v->at_end) {
        v->from.len = 0;
        buf_put(&v->from, v->next.data, v->next.len);
    } else if (asd_space_live_bytes(&store->space, v->slab) == 0) {
        slab_end(v, NULL);
    } else if (v->pass == ASD_EVACUATE_NAMES) {
        v->pass = ASD_EVACUATE_VALUES;
        v->from.len = 0;
    } else {
        slab_end(v, "no value record names what is said to live there");
    }
    wait_ms(v, step_ms(v));
}

/* Both copies are there until the old one is punched: not begun with little room. */
static bool step_has_room(struct asd_evacuation *v)
{
    struct asd_store *store = store_of(v);
    uint64_t live = asd_space_live_bytes(&store->space, v->slab);

    return has_room(store, live < ASD_EVACUATE_BYTES_MAX ? live : ASD_EVACUATE_BYTES_MAX);
}

static void step_start(struct asd_evacuation *v)
{
    struct asd_store *store = store_of(v);

    v->state = ASD_EVACUATE_IDLE;
    if (is_over(store) || !is_allowed(store)) {
        return;
    }
    if (!v->has_slab) {
        if (!asd_space_pick_sparse(&store->space, &v->slab)) {
            return;
        }
        v->has_slab = true;
        v->slab_moves = 0;
        v->pass = ASD_EVACUATE_NAMES;
        v->from.len = 0;
    }
    if (!step_has_room(v)) {
        v->again = true;
        wait_ms(v, ASD_EVACUATE_RETRY_MS);
        return;
    }
    v->again = false;
    v->bad_rc = 0;
    v->state = ASD_EVACUATE_READING;
    CHECK(pool_submit(v->pool, &v->work, POOL_LOW, evacuate_work, evacuate_done) == 0);
}

/* ---- the store ---- */

void asd_evacuate_init(struct asd_store *store, uint64_t rate)
{
    CHECK(uv_timer_init(store->loop, &store->evacuation.timer) == 0);
    atomic_store(&store->evacuation.rate, rate);
    asd_evacuate_soon(store);
}

/* What is waited for at the old rate may be due by now. */
static void rate_changed(struct asd_evacuation *v)
{
    uint64_t left = uv_timer_get_due_in(&v->timer);
    uint64_t ms = step_ms(v);

    if (v->rate == 0) {
        uv_timer_stop(&v->timer);
        v->state = ASD_EVACUATE_IDLE;
    } else {
        wait_ms(v, ms < left ? ms : left);
    }
}

/* As punching, it waits a little: a client that deletes much may be about to delete the rest. */
void asd_evacuate_soon(struct asd_store *store)
{
    struct asd_evacuation *v = &store->evacuation;
    uint64_t slab;

    if (v->state == ASD_EVACUATE_WAITING && !is_over(store) && v->rate != v->rate_waited) {
        rate_changed(v);
    }
    if (v->state == ASD_EVACUATE_IDLE && !is_over(store) && is_allowed(store) &&
        (v->has_slab || asd_space_pick_sparse(&store->space, &slab))) {
        wait_ms(v, store->punch_delay_ms);
    }
}

bool asd_evacuate_is_busy(struct asd_store *store)
{
    const struct asd_evacuation *v = &store->evacuation;
    enum asd_evacuate_state state = (enum asd_evacuate_state)atomic_load(&v->state);
    uint64_t slab;

    if (state != ASD_EVACUATE_IDLE) {
        return !atomic_load(&v->again);
    }
    return !atomic_load(&v->stop) && !atomic_load(&store->failed) && is_allowed(store) &&
           asd_space_pick_sparse(&store->space, &slab);
}

void asd_evacuate_stop(struct asd_store *store)
{
    atomic_store(&store->evacuation.stop, true);
    uv_timer_stop(&store->evacuation.timer);
}

void asd_evacuate_release(struct asd_store *store)
{
    struct asd_evacuation *v = &store->evacuation;

    CHECK(v->waiting == 0);
    buf_release(&v->from);
    buf_release(&v->next);
}
