/* Collection by gc epochs: fragments that were uploaded and never named.
 *
 * A namespace's epochs go like this: a fresh one begins when the current one is older than
 * the grace time; one that has had a successor for the grace time ends (uploads that
 * take longer are told to start again). From then on no manifest that names a fragment tagged
 * with it can be committed, unless it already is: so its tags may be judged.
 *
 * - a manifest names the fragment, here and in this version: only the tag goes;
 * - none does: fragment, recovery info and tag go, in one Apply;
 * - the manifest cannot be read: all of it stays;
 * - it names an OSD id that the registry does not know (registered anew after a recovery, an OSD
 *   has another one): that may be this OSD, so all of it stays.
 *
 * Each Apply asserts the tags it acts on. An agent that was frozen between judging and deleting
 * finds its tag gone when somebody else has done the same; and a fragment that was written again
 * since then carries a tag of a living epoch, not this one.
 *
 * Tags are scanned when an epoch has ended, from the oldest epoch on, so what landed late is
 * found with the next one. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/maintenance/agent_private.h"
#include "wire/osd_keys.h"

enum { COLLECT_EVERY_MS_MAX = 600000, SWEEP_AT_ONCE = 1000 };

/* ---- judging tags ---- */

/* Of a namespace, on one OSD. */
struct collection {
    struct agent *agent;
    const struct agent_ns *ns;
    struct osd *osd;
    uint64_t oldest; /* gc epoch that is still alive: tags of those before it */
    uint64_t end_ms;
};

struct tag {
    struct slice key;
    struct osd_key parsed; /* borrows from `key` */
    bool is_named;
    bool is_left; /* not there any more, or not to be judged */
};

struct tag_list {
    struct tag *items;
    size_t count;
};

/* What the manifest says of this fragment, if it names this version of it. */
static const struct manifest_fragment *named(const struct nsm_object *object,
                                             const struct osd_fragment *f)
{
    const struct manifest *m = &object->manifest;
    const struct manifest_fragment *mf;

    if (!object->found || f->chunk >= m->chunk_count ||
        f->fragment >= manifest_fragments_per_chunk(m)) {
        return NULL;
    }
    mf = manifest_fragment_at(m, f->chunk, f->fragment);
    return mf->has_osd && mf->version == f->version ? mf : NULL;
}

/* `ids` are distinct, in the order of `tags`. */
static int judge_ids(const struct collection *c, const struct slice *ids, size_t id_count,
                     struct tag_list tags, struct err *e)
{
    const struct agent_ns *ns = c->ns;
    struct agent_nsm_wait wait = {0};
    int rc;

    agent_pace(c->agent);
    nsm_get_ids(ns->nsm, ns->record->id, ids, id_count, agent_nsm_done, &wait);
    rc = agent_nsm_wait(c->agent, &wait, e);
    for (size_t i = 0, at = 0; rc == 0 && i < tags.count; i++) {
        struct tag *tag = &tags.items[i];
        const struct manifest_fragment *mf;
        const struct nsm_object *object;

        at += !slice_eq(ids[at], tag->parsed.fragment.object_id);
        object = &wait.reply->objects[at];
        mf = named(object, &tag->parsed.fragment);
        tag->is_named = mf != NULL && mf->osd_id == c->osd->id;
        tag->is_left |= mf != NULL && registry_view_osd_by_id(ns->view, mf->osd_id) == NULL;
        if (object->damage != 0) {
            rc = err_set(e, ERR_CORRUPT, "manifest of an object in %s", ns->record->name);
        }
    }
    agent_nsm_release(&wait);
    return rc;
}

/* A manifest among them is damaged: ask for each alone. What the damaged one names is not known, so
 * its fragments and their tags stay, and the others are judged. */
static int judge_each(const struct collection *c, struct tag_list tags, struct err *e)
{
    size_t first = 0;

    while (first < tags.count) {
        struct slice id = tags.items[first].parsed.fragment.object_id;
        size_t end = first;
        int rc;

        while (end < tags.count && slice_eq(tags.items[end].parsed.fragment.object_id, id)) {
            end++;
        }
        if (!agent_may_act(c->agent)) {
            return err_set(e, ERR_CANCELED, "collection");
        }
        rc = judge_ids(c, &id, 1,
                       (struct tag_list){.items = tags.items + first, .count = end - first}, e);
        if (rc != 0 && rc != ERR_CORRUPT) {
            return rc;
        }
        for (size_t i = first; rc == ERR_CORRUPT && i < end; i++) {
            tags.items[i].is_left = true;
        }
        if (rc == ERR_CORRUPT) {
            agent_trouble(c->agent, e);
        }
        first = end;
    }
    return 0;
}

/* A restore of the metadata takes manifests away and brings them back, their epochs last and as
 * old as the backup. So what was not found is believed only while epochs are as they were. */
static int check_epochs(const struct collection *c, struct tag_list tags, struct err *e)
{
    uint64_t oldest, current;
    bool all_named = true;
    int rc;

    for (size_t i = 0; i < tags.count; i++) {
        all_named = all_named && (tags.items[i].is_named || tags.items[i].is_left);
    }
    if (all_named) {
        return 0;
    }
    rc = agent_epochs_get(c->agent, c->ns, &oldest, &current, e);
    if (rc == 0 && oldest < c->oldest) {
        rc = err_set(e, ERR_STALE, "metadata of %s was restored meanwhile", c->ns->record->name);
    }
    return rc;
}

/* Tags of one object stand together: its manifest is read once. */
static int judge(const struct collection *c, struct tag_list tags, struct err *e)
{
    struct slice *ids = mem_array(tags.count, sizeof(*ids));
    size_t id_count = 0;
    int rc;

    for (size_t i = 0; i < tags.count; i++) {
        struct slice id = tags.items[i].parsed.fragment.object_id;

        if (id_count == 0 || !slice_eq(ids[id_count - 1], id)) {
            ids[id_count++] = id;
        }
    }
    rc = judge_ids(c, ids, id_count, tags, e);
    if (rc == ERR_CORRUPT) {
        rc = judge_each(c, tags, e);
    }
    free(ids);
    return rc != 0 ? rc : check_epochs(c, tags, e);
}

/* ---- deleting ---- */

static struct asd_update delete_of(struct slice key)
{
    return (struct asd_update){.key = key, .is_delete = true};
}

static struct slice key_since(const struct buf *keys, size_t at)
{
    return slice_of(keys->data + at, keys->len - at);
}

/* Of the fragment, then of its recovery info. */
static void delete_data(struct buf *keys, uint64_t ns_id, const struct osd_fragment *f,
                        struct asd_update ret_updates[2])
{
    size_t at = keys->len;

    osd_key_put_fragment(keys, ns_id, f);
    ret_updates[0] = delete_of(key_since(keys, at));
    at = keys->len;
    osd_key_put_recovery(keys, ns_id, f);
    ret_updates[1] = delete_of(key_since(keys, at));
}

enum { KEY_BYTES_MAX = 512 };

static int send_deletes(const struct collection *c, struct tag_list tags, struct buf *ret_failed,
                        struct err *e)
{
    struct asd_assert *asserts = mem_array(tags.count + 1, sizeof(*asserts));
    struct asd_update *updates = mem_array(3 * tags.count + 1, sizeof(*updates));
    struct asd_apply apply = {.asserts = asserts, .updates = updates, .flags = ASD_APPLY_RESERVE};
    struct buf keys = {0};
    int rc = 0;

    buf_reserve(&keys, (tags.count + 1) * KEY_BYTES_MAX); /* slices into it stay */
    for (size_t i = 0; i < tags.count; i++) {
        const struct tag *tag = &tags.items[i];

        if (tag->is_left) {
            continue;
        }
        asserts[apply.assert_count++] =
            (struct asd_assert){.key = tag->key, .value = slice_of(NULL, 0), .has_value = true};
        updates[apply.update_count++] = delete_of(tag->key);
        if (!tag->is_named) {
            delete_data(&keys, c->ns->record->id, &tag->parsed.fragment,
                        updates + apply.update_count);
            apply.update_count += 2;
        }
    }
    if (apply.assert_count > 0) {
        rc = agent_osd_apply(c->agent, c->osd, &apply, ret_failed, e);
    }
    buf_release(&keys);
    free(asserts);
    free(updates);
    return rc;
}

static void count_deletes(struct agent *agent, struct tag_list tags)
{
    for (size_t i = 0; i < tags.count; i++) {
        if (!tags.items[i].is_left) {
            agent_count(agent, &agent->status.counts.tags_deleted, tags.items[i].is_named);
            agent_count(agent, &agent->status.counts.orphans_deleted, !tags.items[i].is_named);
        }
    }
}

/* A tag that is gone fails the whole Apply: again without it. */
static int delete_judged(const struct collection *c, struct tag_list tags, struct err *e)
{
    for (size_t tries = 0; tries <= tags.count; tries++) {
        struct buf failed = {0};
        int rc;

        if (!agent_may_act(c->agent)) {
            return err_set(e, ERR_CANCELED, "collection");
        }
        rc = send_deletes(c, tags, &failed, e);
        for (size_t i = 0; rc == ERR_ASSERT_FAILED && i < tags.count; i++) {
            struct tag *tag = &tags.items[i];

            tag->is_left = tag->is_left || slice_eq(tag->key, slice_buf(&failed));
        }
        buf_release(&failed);
        if (rc != ERR_ASSERT_FAILED) {
            if (rc == 0) {
                count_deletes(c->agent, tags);
            }
            return rc;
        }
    }
    return err_set(e, ERR_STALE, "tags of osd %s", c->osd->long_id);
}

/* ---- scanning ---- */

/* `keys` are tags of epochs that have ended. */
static int collect_keys(const struct collection *c, const struct agent_keys *keys, struct err *e)
{
    struct tag_list tags = {.items = mem_array(keys->count + 1, sizeof(struct tag))};
    int rc = 0;

    for (size_t i = 0; i < keys->count; i++) {
        struct tag *tag = &tags.items[tags.count];

        tag->key = keys->items[i];
        if (osd_key_parse(tag->key, &tag->parsed) == 0 && tag->parsed.kind == OSD_KEY_GC_TAG &&
            tag->parsed.fragment.object_id.len == NSM_OBJECT_ID_BYTES) {
            tags.count++;
        }
    }
    if (tags.count > 0) {
        rc = judge(c, tags, e);
        rc = rc != 0 ? rc : delete_judged(c, tags, e);
    }
    free(tags.items);
    return rc;
}

/* `first` moves behind the page. */
static int collect_page(const struct collection *c, struct buf *first, struct slice last,
                        bool *ret_more, struct err *e)
{
    struct agent_keys keys;
    int rc = agent_osd_range(c->agent, c->osd, slice_buf(first), last, ASD_RANGE_MAX, &keys, e);

    if (rc != 0) {
        return rc;
    }
    *ret_more = keys.more && keys.count > 0;
    if (keys.count > 0) {
        struct slice at = keys.items[keys.count - 1];

        rc = collect_keys(c, &keys, e);
        first->len = 0;
        buf_put(first, at.data, at.len);
        buf_put_u8(first, 0); /* the first key behind it */
    }
    agent_keys_release(&keys);
    return rc;
}

/* *ret_clean: no tag of an epoch before `oldest` is left. Else the time was up. */
static int collect(const struct collection *c, bool *ret_clean, struct err *e)
{
    struct buf first = {0}, last = {0};
    bool more = true;
    int rc = 0;

    osd_key_put_kind_prefix(&first, c->ns->record->id, OSD_KEY_GC_TAG);
    osd_key_put_gc_epoch_prefix(&last, c->ns->record->id, c->oldest);
    while (rc == 0 && more && agent_may_act(c->agent) &&
           !agent_slice_is_over(c->agent, c->end_ms)) {
        rc = collect_page(c, &first, slice_buf(&last), &more, e);
    }
    *ret_clean = rc == 0 && !more;
    buf_release(&first);
    buf_release(&last);
    return rc;
}

static bool collect_everywhere(struct agent *agent, const struct agent_ns *ns, uint64_t oldest,
                               uint64_t end_ms)
{
    struct collection c = {.agent = agent, .ns = ns, .oldest = oldest, .end_ms = end_ms};
    bool all_clean = true;
    struct err e;

    for (size_t i = 0; i < registry_view_osd_count(ns->view) && agent_may_act(agent); i++) {
        const struct registry_osd *known = registry_view_osd(ns->view, i);
        bool clean = !known->is_claimed;

        c.osd = known->is_claimed ? osds_find(agent->engine->osds, known->osd_id) : NULL;
        if (c.osd != NULL && !c.osd->gone && !c.osd->aside && collect(&c, &clean, &e) != 0) {
            agent_trouble(agent, &e);
        }
        all_clean = all_clean && clean;
    }
    return all_clean && agent_may_act(agent);
}

/* Tombstones of epochs before the oldest: what they guard against fails on the epoch by now. */
static bool sweep(struct agent *agent, const struct agent_ns *ns, uint64_t end_ms)
{
    bool more = true;
    struct err e;

    while (more && agent_may_act(agent) && !agent_slice_is_over(agent, end_ms)) {
        struct agent_nsm_wait wait = {0};
        int rc;

        agent_pace(agent);
        nsm_gc_sweep(ns->nsm, ns->record->id, SWEEP_AT_ONCE, agent_nsm_done, &wait);
        rc = agent_nsm_wait(agent, &wait, &e);
        more = rc == 0 && wait.reply->has_more;
        agent_nsm_release(&wait);
        if (rc != 0) {
            agent_trouble(agent, &e);
            return false;
        }
    }
    return !more;
}

void agent_collect(struct agent *agent, const struct agent_ns *ns)
{
    struct ns_notes *notes = ns->notes;
    unsigned every_ms = agent->options.grace_ms / 4;
    uint64_t oldest, end_ms;
    struct err e;

    if (clock_mono_ms() < notes->next_collect_ms) {
        return;
    }
    agent_where(agent, "collecting in %.80s", ns->record->name);
    notes->next_collect_ms =
        clock_mono_ms() + (every_ms < COLLECT_EVERY_MS_MAX ? every_ms : COLLECT_EVERY_MS_MAX);
    if (agent_epochs_turn(agent, ns, &oldest, &e) != 0) {
        agent_trouble(agent, &e);
        return;
    }
    end_ms = agent_slice_end_ms(agent);
    if (notes->collected_epoch != oldest && collect_everywhere(agent, ns, oldest, end_ms)) {
        notes->collected_epoch = oldest;
    }
    if (notes->swept_epoch != oldest && sweep(agent, ns, end_ms)) {
        notes->swept_epoch = oldest;
    }
    if (clock_mono_ms() >= end_ms) {
        notes->next_collect_ms = 0; /* the time was up: go on in the next round */
    }
}
