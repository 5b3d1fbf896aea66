/* WAITING -> RUNNING -> forgotten, or after a failure -> LEAVING -> RESTING -> forgotten, or
 * WAITING again when a read finds another fragment lost.
 *
 * Once it closes: RUNNING (canceled) -> WAITING -> LEAVING -> forgotten, one after another, what
 * puts note that still end among them. The first that cannot be left ends it for the others: they
 * would wait in vain for the same. */
#include "proxy/repair_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/engine.h"
#include "proxy/repair_work.h"

enum entry_state {
    WAITING,
    RUNNING,
    LEAVING, /* to maintenance, as a work item */
    RESTING
};

struct entry {
    struct repair_queue *queue;
    struct repair_spec spec; /* its spots are ours */
    struct repair_spot *spots;
    bool is_holes; /* all of them; else none is */
    enum entry_state state;
    bool is_left; /* there is a work item */
    uint64_t first_ms, due_ms;
    struct repair *repair; /* RUNNING */
    struct list link;
};

static void leave_next(struct repair_queue *queue);
static void give_up(struct repair_queue *queue, const struct err *why);

void repair_queue_init(struct repair_queue *queue, struct engine *engine)
{
    queue->engine = engine;
    list_init(&queue->entries);
}

static void forget(struct entry *entry)
{
    list_remove(&entry->link);
    entry->queue->count--;
    free(entry->spots);
    free(entry);
}

/* ---- what reads tell ---- */

static struct entry *find(struct repair_queue *queue, uint64_t ns_id, struct slice object_id,
                          bool is_holes)
{
    LIST_FOR_EACH (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (entry->spec.ns_id == ns_id && entry->is_holes == is_holes &&
            slice_eq(object_id, slice_of(entry->spec.object_id, sizeof(entry->spec.object_id)))) {
            return entry;
        }
    }
    return NULL;
}

/* For one more, of `max`. The oldest of those that rest gives way. */
static bool make_room(struct repair_queue *queue, unsigned max)
{
    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (queue->count < max) {
            break;
        }
        if (entry->state == RESTING) {
            forget(entry);
        }
    }
    return queue->count < max;
}

/* The object's entry of that kind, or a fresh one. NULL: there is no room. */
static struct entry *entry_for(struct repair_queue *queue, uint64_t ns_id, struct slice object_id,
                               bool is_holes)
{
    struct entry *entry = find(queue, ns_id, object_id, is_holes);

    if (entry != NULL) {
        return entry;
    }
    if (queue->has_given_up) {
        queue->lost++;
    } else if (!make_room(queue, is_holes ? REPAIR_QUEUE_HOLES_MAX : REPAIR_QUEUE_MAX)) {
        queue->engine->stats.totals.repairs_dropped++;
    } else {
        entry = mem_zalloc(sizeof(*entry));
        entry->queue = queue;
        entry->spec.ns_id = ns_id;
        memcpy(entry->spec.object_id, object_id.data, sizeof(entry->spec.object_id));
        entry->is_holes = is_holes;
        entry->first_ms = clock_mono_ms();
        list_push(&queue->entries, &entry->link);
        queue->count++;
    }
    return entry;
}

/* One hole stands for all of them. */
static bool has_spot(const struct entry *entry, const struct repair_spot *spot)
{
    for (unsigned i = 0; i < entry->spec.spot_count; i++) {
        const struct repair_spot *known = &entry->spots[i];

        if (entry->is_holes || (known->chunk == spot->chunk && known->fragment == spot->fragment &&
                                known->osd_id == spot->osd_id && known->version == spot->version)) {
            return true;
        }
    }
    return false;
}

static void put_off(struct entry *entry)
{
    uint64_t due = clock_mono_ms() + REPAIR_QUEUE_DELAY_MS;
    uint64_t last = entry->first_ms + REPAIR_QUEUE_DELAY_MAX_MS;

    entry->due_ms = due < last ? due : last;
    if (entry->queue->is_closing) {
        leave_next(entry->queue);
    }
}

/* false: it takes no more just now; the next read finds it again. */
static bool add_spot(struct entry *entry, const struct repair_spot *spot)
{
    struct repair_spec *spec = &entry->spec;

    if (has_spot(entry, spot)) {
        return true;
    }
    if (entry->state == RUNNING || entry->state == LEAVING ||
        spec->spot_count == REPAIR_SPOTS_MAX) {
        return false;
    }
    if (entry->state == RESTING) { /* for the others, not for this one */
        entry->state = WAITING;
        entry->is_left = false;
        entry->first_ms = clock_mono_ms();
    }
    entry->spots = mem_realloc(entry->spots, (spec->spot_count + 1) * sizeof(*entry->spots));
    entry->spots[spec->spot_count++] = *spot;
    spec->spots = entry->spots;
    return true;
}

/* Of one kind. */
static void note(struct repair_queue *queue, uint64_t ns_id, struct slice object_id,
                 const struct repair_spot *spots, unsigned count)
{
    struct entry *entry;
    bool is_dropped = false;

    entry = count != 0 ? entry_for(queue, ns_id, object_id, spots[0].osd_id == 0) : NULL;
    if (entry == NULL) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        is_dropped = !add_spot(entry, &spots[i]) || is_dropped;
    }
    queue->engine->stats.totals.repairs_dropped += is_dropped;
    if (entry->state == WAITING) {
        put_off(entry);
    }
}

void repair_queue_add(struct repair_queue *queue, uint64_t ns_id, struct slice object_id,
                      const struct repair_spot *spot)
{
    note(queue, ns_id, object_id, spot, 1);
}

void repair_queue_note(struct repair_queue *queue, const struct object *object, uint32_t chunk,
                       uint32_t bad)
{
    struct repair_spot spots[PRESET_FRAGMENTS_MAX];
    unsigned count = 0;

    for (uint32_t i = 0; i < manifest_fragments_per_chunk(&object->manifest); i++) {
        const struct manifest_fragment *f = manifest_fragment_at(&object->manifest, chunk, i);

        if ((bad >> i & 1) != 0 && f->has_osd) {
            spots[count++] = (struct repair_spot){
                .chunk = chunk, .fragment = i, .osd_id = f->osd_id, .version = f->version};
        }
    }
    note(queue, object->ns_id, object->manifest.object_id, spots, count);
}

/* ---- repairs ---- */

/* So much may be done at once, and is waited for afterwards. */
enum { BURST_MS = 1000 };

static void pay(struct repair_queue *queue, uint64_t ms)
{
    uint64_t now = clock_mono_ms();

    queue->paid_ms = (queue->paid_ms > now ? queue->paid_ms : now) + ms;
}

static void rest(struct entry *entry)
{
    entry->state = RESTING;
    entry->due_ms = clock_mono_ms() + REPAIR_QUEUE_REST_MS;
}

/* The next one, unless this one shows that there is no use in it. */
static void leave_after(struct repair_queue *queue, struct entry *left, const struct err *e)
{
    struct err late;

    queue->last_ms += clock_mono_ms() - queue->leave_began_ms;
    if (!left->is_left) {
        give_up(queue, e);
        return;
    }
    forget(left);
    if (queue->last_ms > REPAIR_QUEUE_LAST_MS) {
        err_say(&late, UV_ETIMEDOUT, "it takes too long");
        give_up(queue, &late);
    }
    leave_next(queue);
}

static void on_left(void *ctx, int rc, const struct err *e)
{
    struct entry *entry = ctx;
    struct repair_queue *queue = entry->queue;
    struct engine *engine = queue->engine;
    unsigned long skipped;

    entry->is_left = rc == 0 || rc == ERR_EXISTS;
    if (rc == 0) {
        engine->stats.totals.repairs_left++;
    } else if (rc != ERR_EXISTS && !queue->is_closing &&
               log_limit_pass(&queue->log_left, 1000, &skipped)) {
        log_warn("repair", "not left to maintenance", "why=\"%s\" skipped=%lu", e->msg, skipped);
    }
    queue->running--;
    rest(entry);
    if (!queue->is_closing) {
        repair_queue_tick(queue);
    } else {
        leave_after(queue, entry, e);
    }
    engine_drop(engine);
}

/* Whoever reads the object next would find it again, but perhaps nobody does. */
static void leave(struct entry *entry)
{
    struct engine *engine = entry->queue->engine;

    entry->state = LEAVING;
    pay(entry->queue, REPAIR_QUEUE_LEAVE_MS);
    engine_hold(engine);
    repair_work_add(engine->registry, &entry->spec, on_left, entry);
}

static void log_end(struct repair_queue *queue, const struct entry *entry, int rc,
                    const struct repair_result *result)
{
    bool no_place = rc == ERR_NO_POLICY; /* OSDs are away: that was said, and may be so for long */
    unsigned long skipped;

    if ((rc == 0 && result->fragments == 0) ||
        !log_limit_pass(no_place ? &queue->log_no_place : &queue->log, no_place ? 60000 : 1000,
                        &skipped)) {
        return;
    }
    if (rc == 0) {
        log_info("repair", "object repaired", "ns_id=%llu fragments=%u skipped=%lu",
                 (unsigned long long)entry->spec.ns_id, result->fragments, skipped);
    } else {
        log_warn("repair", "repair failed, will be tried again",
                 "fragments=%u why=\"%s\" skipped=%lu", result->fragments, result->err.msg,
                 skipped);
    }
}

static void on_repaired(void *ctx, int rc, const struct repair_result *result)
{
    struct entry *entry = ctx;
    struct repair_queue *queue = entry->queue;
    struct engine *engine = queue->engine;

    entry->repair = NULL;
    pay(queue, result->moved_bytes * 1000 / REPAIR_QUEUE_BYTES_PER_S);
    if (rc != ERR_CANCELED) {
        log_end(queue, entry, rc, result);
    }
    if (rc == 0 || rc == ERR_NOT_FOUND) {
        queue->running--;
        forget(entry);
        repair_queue_tick(queue);
        return;
    }
    engine->stats.totals.repairs_failed += rc != ERR_CANCELED;
    if (queue->is_closing) {
        queue->running--;
        entry->state = WAITING;
        leave_next(queue);
    } else {
        leave(entry);
    }
}

/* Two at the same object would only be in each other's way. */
static bool other_kind_runs(struct entry *entry)
{
    const struct repair_spec *spec = &entry->spec;
    const struct entry *other =
        find(entry->queue, spec->ns_id, slice_of(spec->object_id, sizeof(spec->object_id)),
             !entry->is_holes);

    return other != NULL && other->state == RUNNING;
}

static void start_due(struct repair_queue *queue, bool holes, uint64_t now)
{
    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (queue->running >= REPAIR_QUEUE_AT_ONCE || queue->paid_ms >= now + BURST_MS) {
            return;
        }
        if (entry->state == WAITING && entry->is_holes == holes && now >= entry->due_ms &&
            !other_kind_runs(entry)) {
            entry->state = RUNNING;
            queue->running++;
            entry->repair = repair_start(queue->engine, &entry->spec, on_repaired, entry);
        }
    }
}

/* What was lost goes before holes, of which there may be as many as objects put in an outage. */
void repair_queue_tick(struct repair_queue *queue)
{
    uint64_t now = clock_mono_ms();

    if (queue->is_closing) {
        return;
    }
    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (entry->state == RESTING && now >= entry->due_ms) {
            forget(entry);
        }
    }
    start_due(queue, false, now);
    start_due(queue, true, now);
}

/* ---- close ---- */

static bool is_to_be_left(const struct entry *entry)
{
    return entry->state == WAITING || (entry->state == RESTING && !entry->is_left);
}

static void give_up(struct repair_queue *queue, const struct err *why)
{
    if (!queue->has_given_up) {
        queue->has_given_up = true;
        err_copy(&queue->why, why);
    }
    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (is_to_be_left(entry)) {
            queue->lost++;
            forget(entry);
        }
    }
}

/* One at a time, as each is a change of the registry. */
static void leave_next(struct repair_queue *queue)
{
    struct entry *next = NULL;
    bool is_leaving = false;

    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        is_leaving = is_leaving || entry->state == LEAVING;
        next = next == NULL && is_to_be_left(entry) ? entry : next;
    }
    if (queue->has_given_up) {
        give_up(queue, &queue->why);
    } else if (!is_leaving && next != NULL) {
        queue->running++;
        queue->leave_began_ms = clock_mono_ms();
        leave(next);
    }
}

void repair_queue_close(struct repair_queue *queue)
{
    queue->is_closing = true;
    LIST_FOR_EACH_SAFE (it, &queue->entries) {
        struct entry *entry = container_of(it, struct entry, link);

        if (entry->state == RUNNING) {
            repair_cancel(entry->repair);
        } else if (entry->state == RESTING && entry->is_left) {
            forget(entry);
        }
    }
    leave_next(queue);
}

void repair_queue_release(struct repair_queue *queue)
{
    CHECK(queue->count == 0);
    if (queue->lost > 0) {
        log_warn("repair", "at the end, not left to maintenance", "objects=%u why=\"%s\"",
                 queue->lost, queue->why.msg);
    }
}
