/* Fragments of objects that were deleted or overwritten, and fragments that an update of a
 * manifest dropped.
 *
 * List -> delete on each OSD (many fragments in one Apply) -> forget those whose fragments
 * are all gone. The deletes need no asserts and may be repeated or come late: an object id
 * never returns, and an update never uses a version of a fragment again, so no manifest will
 * name these keys.
 *
 * - An OSD cannot be reached: its objects stay on the list; notes say that they wait only for
 *   it. A pass that leaves objects is followed by a pause four times as long as it took.
 * - An OSD has left the registry: it has taken its fragments along.
 * - A record is damaged: it stays, is counted and named, and those behind it have their turn.
 * - An OSD is not known here: the registry is read again before that is believed, because
 *   the OSD may be newer than the view. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/maintenance/agent_private.h"
#include "wire/osd_keys.h"

enum { OBJECTS_AT_ONCE = AGENT_CALLS_MAX, UPDATES_MAX = 600, PAUSE_FACTOR = 4 };

/* What goes to one OSD. */
struct batch {
    struct osd *osd;
    struct buf keys;
    size_t *ends; /* of the keys in `keys` */
    uint32_t count, cap;
    uint32_t done;
    uint32_t sent; /* in the Apply under way */
    struct agent_osd_call call;
    bool failed;
};

struct work {
    const struct agent_ns *ns;
    const struct registry_view *view; /* newer than `list` where that matters */
    const struct nsm_obsolete_list *list;
    struct batch **batches;
    size_t batch_count;
};

/* ---- where fragments are ---- */

enum place { PLACE_NONE, PLACE_AWAY, PLACE_THERE };

/* NONE: nowhere, or with an OSD that left the registry. AWAY: the OSD cannot be asked now. */
static enum place place_of(struct agent *agent, const struct work *w,
                           const struct manifest_fragment *f, struct osd **ret_osd)
{
    struct osd *osd;

    if (!f->has_osd || registry_view_osd_by_id(w->view, f->osd_id) == NULL) {
        return PLACE_NONE;
    }
    osd = osds_find(agent->engine->osds, f->osd_id);
    if (osd == NULL || osd->gone || osd->aside) {
        return PLACE_AWAY;
    }
    *ret_osd = osd;
    return PLACE_THERE;
}

static uint32_t fragment_count(const struct manifest *m)
{
    return m->chunk_count * manifest_fragments_per_chunk(m);
}

static bool knows_osds(const struct registry_view *view, const struct nsm_obsolete_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct manifest *m = &list->items[i].manifest;

        for (uint32_t f = 0; f < fragment_count(m); f++) {
            if (m->fragments[f].has_osd &&
                registry_view_osd_by_id(view, m->fragments[f].osd_id) == NULL) {
                return false;
            }
        }
    }
    return true;
}

/* ---- what to delete ---- */

static struct batch *batch_of(struct work *w, struct osd *osd)
{
    struct batch *b;

    for (size_t i = 0; i < w->batch_count; i++) {
        if (w->batches[i]->osd == osd) {
            return w->batches[i];
        }
    }
    b = mem_zalloc(sizeof(*b));
    b->osd = osd;
    w->batches = mem_realloc(w->batches, (w->batch_count + 1) * sizeof(*w->batches));
    w->batches[w->batch_count++] = b;
    return b;
}

/* A key was appended. */
static void note_key(struct batch *b)
{
    if (b->count == b->cap) {
        b->cap = b->cap != 0 ? 2 * b->cap : 64;
        b->ends = mem_realloc(b->ends, b->cap * sizeof(*b->ends));
    }
    b->ends[b->count++] = b->keys.len;
}

static void add_fragment(struct batch *b, uint64_t ns_id, uint64_t gc_epoch,
                         const struct osd_fragment *name)
{
    osd_key_put_fragment(&b->keys, ns_id, name);
    note_key(b);
    osd_key_put_recovery(&b->keys, ns_id, name);
    note_key(b);
    osd_key_put_gc_tag(&b->keys, ns_id, gc_epoch, name);
    note_key(b);
}

static void add_object(struct agent *agent, struct work *w, const struct nsm_obsolete *item)
{
    const struct ns_stuck *stuck = notes_stuck_find(w->ns->notes, item->key);
    const struct manifest *m = &item->manifest;

    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            const struct manifest_fragment *f = manifest_fragment_at(m, c, i);
            struct osd_fragment name = {
                .object_id = m->object_id, .chunk = c, .fragment = i, .version = f->version};
            struct osd *osd;

            if (place_of(agent, w, f, &osd) == PLACE_THERE &&
                (stuck == NULL || notes_stuck_on(stuck, f->osd_id))) {
                add_fragment(batch_of(w, osd), w->ns->record->id, m->gc_epoch, &name);
            }
        }
    }
}

/* ---- deleting ---- */

static void start_part(struct agent *agent, struct batch *b)
{
    struct asd_update *updates = mem_array(UPDATES_MAX, sizeof(*updates));
    struct asd_apply apply = {.updates = updates, .flags = ASD_APPLY_RESERVE};

    b->sent = b->count - b->done < UPDATES_MAX ? b->count - b->done : UPDATES_MAX;
    for (uint32_t i = b->done; i < b->done + b->sent; i++) {
        size_t at = i > 0 ? b->ends[i - 1] : 0;

        updates[apply.update_count++] = (struct asd_update){
            .key = slice_of(b->keys.data + at, b->ends[i] - at), .is_delete = true};
    }
    agent_osd_start(agent, b->osd, &apply, &b->call);
    free(updates);
}

static void end_part(struct agent *agent, struct batch *b)
{
    struct err e;

    if (agent_osd_wait(agent, &b->call, NULL, &e) != 0) {
        b->failed = true;
        agent_trouble(agent, &e);
    } else {
        b->done += b->sent;
    }
    b->sent = 0;
}

/* One Apply for each OSD at a time, and for so many OSDs. */
static bool send_wave(struct agent *agent, struct work *w)
{
    unsigned started = 0;

    for (size_t i = 0; i < w->batch_count && started < AGENT_CALLS_MAX; i++) {
        struct batch *b = w->batches[i];

        if (!b->failed && b->done < b->count && agent_may_act(agent)) {
            start_part(agent, b);
            started++;
        }
    }
    for (size_t i = 0; i < w->batch_count; i++) {
        if (w->batches[i]->sent > 0) {
            end_part(agent, w->batches[i]);
        }
    }
    return started > 0;
}

/* ---- forgetting ---- */

static bool is_deleted_on(const struct work *w, const struct osd *osd)
{
    for (size_t i = 0; i < w->batch_count; i++) {
        if (w->batches[i]->osd == osd) {
            return !w->batches[i]->failed && w->batches[i]->done == w->batches[i]->count;
        }
    }
    return false; /* it came back between two looks */
}

/* Which OSDs may still hold fragments of it? Returns their number; *ret_ids is owned. */
static size_t left_on(struct agent *agent, const struct work *w, const struct nsm_obsolete *item,
                      uint64_t **ret_ids)
{
    const struct manifest *m = &item->manifest;
    struct ns_stuck *before = notes_stuck_find(w->ns->notes, item->key);
    struct ns_stuck left = {.osd_ids = mem_array(fragment_count(m) + 1, sizeof(uint64_t))};

    for (uint32_t i = 0; i < fragment_count(m); i++) {
        const struct manifest_fragment *f = &m->fragments[i];
        struct osd *osd = NULL;
        enum place place = place_of(agent, w, f, &osd);

        if ((before != NULL && !notes_stuck_on(before, f->osd_id)) ||
            notes_stuck_on(&left, f->osd_id)) {
            continue;
        }
        if (place == PLACE_AWAY || (place == PLACE_THERE && !is_deleted_on(w, osd))) {
            left.osd_ids[left.osd_count++] = f->osd_id;
        }
    }
    *ret_ids = left.osd_ids;
    return left.osd_count;
}

static void count_forgotten(struct agent *agent, const struct work *w,
                            const struct nsm_obsolete *item)
{
    const struct manifest *m = &item->manifest;
    struct nsm_usage usage = nsm_usage_of(m);
    uint64_t fragments = 0;

    for (uint32_t i = 0; i < fragment_count(m); i++) {
        fragments += m->fragments[i].has_osd;
    }
    agent_count(agent, &agent->status.counts.objects_cleaned, item->is_whole);
    agent_count(agent, &agent->status.counts.fragments_deleted, fragments);
    agent_count(agent, &agent->status.counts.bytes_deleted, (uint64_t)usage.stored_bytes);
    if (item->is_whole) {
        usage.objects = -usage.objects;
        usage.logical_bytes = -usage.logical_bytes;
        usage.stored_bytes = -usage.stored_bytes;
        usage_add(agent->engine->usage, w->ns->record->id, &usage);
    }
}

/* Returns how many stay on the list. */
static size_t forget_all(struct agent *agent, struct work *w)
{
    const struct agent_ns *ns = w->ns;
    struct agent_nsm_wait waits[OBJECTS_AT_ONCE] = {0};
    bool is_started[OBJECTS_AT_ONCE] = {false};
    size_t gone = 0;
    struct err e;

    for (size_t i = 0; i < w->list->count && agent_may_act(agent); i++) {
        const struct nsm_obsolete *item = &w->list->items[i];
        uint64_t *osd_ids;
        size_t left = left_on(agent, w, item, &osd_ids);

        notes_stuck_set(ns->notes, item->key, osd_ids, left);
        if (left == 0) {
            agent_pace(agent);
            nsm_obsolete_remove(ns->nsm, ns->record->id, item, agent_nsm_done, &waits[i]);
            is_started[i] = true;
        }
    }
    for (size_t i = 0; i < w->list->count; i++) {
        if (!is_started[i]) {
            continue;
        }
        if (agent_nsm_wait(agent, &waits[i], &e) != 0) {
            agent_trouble(agent, &e);
        } else {
            gone++;
            count_forgotten(agent, w, &w->list->items[i]);
        }
        agent_nsm_release(&waits[i]);
    }
    return w->list->count - gone;
}

static void work_release(struct work *w)
{
    for (size_t i = 0; i < w->batch_count; i++) {
        buf_release(&w->batches[i]->keys);
        free(w->batches[i]->ends);
        free(w->batches[i]);
    }
    free(w->batches);
    registry_view_drop(w->view);
}

/* *ret_left: how many stay on the list. */
static int clean_list(struct agent *agent, const struct agent_ns *ns,
                      const struct nsm_obsolete_list *list, size_t *ret_left, struct err *e)
{
    struct work w = {.ns = ns, .list = list};

    if (!knows_osds(registry_view(agent->registry), list) &&
        agent_registry_refresh(agent, e) != 0) {
        return e->code;
    }
    w.view = registry_view_hold(registry_view(agent->registry));
    for (size_t i = 0; i < list->count; i++) {
        add_object(agent, &w, &list->items[i]);
    }
    while (send_wave(agent, &w)) {
    }
    *ret_left = forget_all(agent, &w);
    work_release(&w);
    return 0;
}

/* ---- a pass over the list ---- */

struct list_wait {
    bool done;
    int rc;
    struct nsm_obsolete_list *list;
};

static void on_list(void *ctx, int rc, struct nsm_obsolete_list *list)
{
    struct list_wait *wait = ctx;

    wait->rc = rc;
    wait->list = list;
    wait->done = true;
}

/* They stay for a person to look at: what they named is not known, and is not deleted. */
static void note_damaged(struct agent *agent, struct ns_notes *notes,
                         const struct nsm_obsolete_list *list)
{
    notes->pass_damaged += list->bad_count;
    agent_trouble(agent, &list->bad);
}

/* The next few; *ret_more: there are others behind them. */
static int clean_some(struct agent *agent, const struct agent_ns *ns, bool *ret_more, struct err *e)
{
    struct ns_notes *notes = ns->notes;
    struct list_wait wait = {0};
    size_t left = 0;
    int rc;

    agent_pace(agent);
    nsm_obsolete_list(ns->nsm, ns->record->id, slice_buf(&notes->after), OBJECTS_AT_ONCE, on_list,
                      &wait);
    agent_until(agent, &wait.done);
    *ret_more = wait.list->has_more && wait.list->last.len > 0;
    rc = wait.rc != 0 ? err_copy(e, &wait.list->err) : 0;
    if (rc == 0 && wait.list->bad_count > 0) {
        note_damaged(agent, notes, wait.list);
    }
    if (rc == 0 && wait.list->count > 0) {
        rc = clean_list(agent, ns, wait.list, &left, e);
    }
    if (rc == 0) {
        notes->pass_left += left;
        notes->after.len = 0;
        buf_put(&notes->after, wait.list->last.data, wait.list->last.len);
    }
    nsm_obsolete_list_free(wait.list);
    return rc;
}

static void end_pass(struct ns_notes *notes, bool is_whole)
{
    if (is_whole) {
        notes_stuck_tidy(notes);
        notes->left = notes->pass_left;
        notes->damaged = notes->pass_damaged;
        notes->next_pass_ms = notes->left > 0 ? clock_mono_ms() + PAUSE_FACTOR * notes->pass_ms : 0;
    }
    notes->after.len = 0;
    notes->pass_left = 0;
    notes->pass_damaged = 0;
    notes->pass_ms = 0;
}

void agent_clean_obsolete(struct agent *agent, const struct agent_ns *ns)
{
    struct ns_notes *notes = ns->notes;
    uint64_t start_ms = clock_mono_ms();
    uint64_t end_ms = agent_slice_end_ms(agent);
    bool more = true;
    int rc = 0;
    struct err e;

    if (notes->after.len == 0 && start_ms < notes->next_pass_ms) {
        return;
    }
    agent_where(agent, "deleting fragments of obsolete objects of %.80s", ns->record->name);
    while (rc == 0 && more && agent_may_act(agent) && !agent_slice_is_over(agent, end_ms)) {
        rc = clean_some(agent, ns, &more, &e);
    }
    notes->pass_ms += clock_mono_ms() - start_ms;
    if (rc != 0) {
        agent_trouble(agent, &e);
    }
    if (rc != 0 || !more) {
        end_pass(notes, rc == 0);
    }
}
