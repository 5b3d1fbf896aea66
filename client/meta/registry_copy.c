/* A round: heads of the next OSDs in order -> snapshot -> write where it is not -> close; too few
 * hold it and there are more OSDs: again with those.
 *
 * The snapshot is read after the heads: what replaces a head is newer than it, and a head of a
 * higher version is of another history (as some of lower ones: copy_history.h). An OSD that
 * fails is passed over in this round. */
#include "meta/registry_copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/registry_copy_private.h"
#include "meta/registry_private.h"

enum { SETTLE_MS = 1000, PAUSE_MS = 5000, RECHECK_MS = 60000, TIMEOUT_MS = 10000, TICK_MS = 200 };

struct registry_copier {
    uv_loop_t *loop;
    struct registry *registry;
    struct registry_copy_options options;
    struct registry_copy_status status;
    uv_timer_t timer;

    uint64_t seen_version; /* of the view at the last tick */
    uint64_t changed_ms;   /* when a version that has no copies was seen first; 0: none */
    uint64_t next_ms;      /* not before */
    uint64_t recheck_ms;   /* a round without a reason */
    unsigned told_copies;  /* so many were logged last */
    bool told_ahead;

    bool running;
    bool compared; /* the registry was read in this round */
    uint64_t round_ms;
    const struct registry_view *view; /* of the round: held */
    const struct registry_osd **order;
    size_t order_count, order_next;
    struct copy_target targets[REGISTRY_COPIES_WANTED];
    unsigned target_count, pending;
    struct copy_head head;
    struct buf chunks;
    uint64_t first_version; /* that the first pass has copied */
    unsigned copies, wanted, ahead;
    uint64_t ahead_version; /* the highest of those */
    struct err err;         /* the first failure of the round */
    registry_copy_cb run_cb;
    void *run_ctx;

    bool closing;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void pass_start(struct registry_copier *c);

static bool may_act(const struct registry_copier *c)
{
    return !c->closing && (c->options.may_act == NULL || c->options.may_act(c->options.ctx));
}

/* ---- which OSDs ---- */

struct ranked {
    const struct registry_osd *osd;
    size_t turn; /* how many of its node come before it */
};

static int by_id(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    return (x->osd->osd_id > y->osd->osd_id) - (x->osd->osd_id < y->osd->osd_id);
}

static int by_node(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    int order = strcmp(x->osd->node_id, y->osd->node_id);

    return order != 0 ? order : by_id(a, b);
}

static int by_turn(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    return x->turn != y->turn ? (x->turn > y->turn) - (x->turn < y->turn) : by_id(a, b);
}

size_t registry_copy_order(const struct registry_view *view, const struct registry_osd **ret_osds,
                           size_t max)
{
    size_t all = registry_view_osd_count(view);
    struct ranked *ranked = mem_array(all + 1, sizeof(*ranked));
    size_t count = 0;

    for (size_t i = 0; i < all; i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);

        if (osd->is_claimed && !osd->is_decommissioned) {
            ranked[count++].osd = osd;
        }
    }
    qsort(ranked, count, sizeof(*ranked), by_node);
    for (size_t i = 1; i < count; i++) {
        bool same = strcmp(ranked[i].osd->node_id, ranked[i - 1].osd->node_id) == 0;

        ranked[i].turn = same ? ranked[i - 1].turn + 1 : 0;
    }
    qsort(ranked, count, sizeof(*ranked), by_turn);
    count = count < max ? count : max;
    for (size_t i = 0; i < count; i++) {
        ret_osds[i] = ranked[i].osd;
    }
    free(ranked);
    return count;
}

/* ---- end of a round ---- */

static void note_trouble(struct registry_copier *c, const struct err *e)
{
    c->status.failures++;
    if (c->err.code == 0) {
        c->err = *e;
    }
}

static void tell(struct registry_copier *c)
{
    const struct registry_copy_status *s = &c->status;
    unsigned least = s->wanted < REGISTRY_COPIES_LEAST ? s->wanted : REGISTRY_COPIES_LEAST;

    if (s->copies < least && c->told_copies != s->copies + 1) {
        log_warn("registry", "too few OSDs hold a copy of the registry",
                 "copies=%u wanted=%u why=\"%s\"", s->copies, s->wanted, s->trouble);
        c->told_copies = s->copies + 1;
    } else if (s->copies >= least && c->told_copies != 0) {
        log_info("registry", "enough OSDs hold a copy of the registry again", "copies=%u",
                 s->copies);
        c->told_copies = 0;
    }
    if (s->ahead != 0 && !c->told_ahead) {
        log_error("registry",
                  "copies on OSDs are of a later registry than this one, which was restored from "
                  "something older: see alba registry-copies",
                  "osds=%u version=%" PRIu64 " copy_version=%" PRIu64, s->ahead, s->version,
                  s->ahead_version);
    }
    c->told_ahead = s->ahead != 0;
}

/* What this round found out; nothing, if the registry could not be read. */
static void take_result(struct registry_copier *c)
{
    struct registry_copy_status *s = &c->status;
    unsigned least = c->wanted < REGISTRY_COPIES_LEAST ? c->wanted : REGISTRY_COPIES_LEAST;

    if (!c->compared) {
        return;
    }
    s->version = c->head.version;
    s->time_us = c->head.time_us;
    s->copies = c->copies;
    s->wanted = c->wanted;
    s->ahead = c->ahead;
    s->ahead_version = c->ahead_version;
    if (c->copies >= least) { /* a change between two passes is on few of them */
        bool is_latest = c->head.version >= c->seen_version && c->head.version == c->first_version;

        c->changed_ms = is_latest ? 0 : c->round_ms;
        s->lag_ms = 0;
    }
}

static void round_end(struct registry_copier *c)
{
    struct registry_copy_status *s = &c->status;
    uint64_t now = clock_mono_ms();
    registry_copy_cb cb = c->run_cb;

    snprintf(s->trouble, sizeof(s->trouble), "%s", c->err.code != 0 ? c->err.msg : "");
    take_result(c);
    c->next_ms = now + c->options.pause_ms;
    c->recheck_ms = now + c->options.recheck_ms;
    registry_view_drop(c->view);
    c->view = NULL;
    free((void *)c->order);
    c->order = NULL;
    buf_release(&c->chunks);
    c->running = false;
    if (!c->closing) {
        tell(c);
    }
    if (cb != NULL) {
        c->run_cb = NULL;
        cb(c->run_ctx, c->err.code, &c->err, s);
    }
    if (c->options.on_status != NULL) {
        c->options.on_status(c->options.ctx, s);
    }
    if (c->closing) {
        registry_copier_close(c, c->close_cb, c->close_ctx);
    }
}

/* ---- a pass ---- */

static void on_target_closed(struct copy_target *t)
{
    struct registry_copier *c = t->ctx;

    if (--c->pending != 0) {
        return;
    }
    if (c->copies < c->wanted && c->order_next < c->order_count && may_act(c)) {
        pass_start(c);
    } else {
        round_end(c);
    }
}

static void close_targets(struct registry_copier *c)
{
    c->pending = c->target_count;
    for (unsigned i = 0; i < c->target_count; i++) {
        copy_target_close(&c->targets[i], on_target_closed);
    }
}

static void on_written(struct copy_target *t)
{
    struct registry_copier *c = t->ctx;

    if (t->rc == 0) {
        c->copies++;
        c->status.written++;
    } else if (!c->closing) {
        note_trouble(c, &t->err);
    }
    if (--c->pending == 0) {
        close_targets(c);
    }
}

static bool is_current(const struct copy_target *t, const struct copy_head *now)
{
    return t->is_whole && t->head.version == now->version && t->head.bytes == now->bytes &&
           t->head.crc == now->crc;
}

/* Who holds it, who is to get it, whose is not to be replaced. Returns how many get it. */
static unsigned sort_targets(struct registry_copier *c, const struct copy_history *history,
                             bool ret_write[REGISTRY_COPIES_WANTED])
{
    unsigned writes = 0;

    for (unsigned i = 0; i < c->target_count; i++) {
        struct copy_target *t = &c->targets[i];

        ret_write[i] = false;
        if (t->rc != 0) {
            continue;
        }
        if (t->is_whole && copy_history_judge(history, &c->head, &t->head) == COPY_AHEAD) {
            c->ahead++;
            c->ahead_version =
                t->head.version > c->ahead_version ? t->head.version : c->ahead_version;
        } else if (is_current(t, &c->head)) {
            c->copies++;
        } else {
            ret_write[i] = may_act(c);
            writes += ret_write[i];
        }
    }
    return writes;
}

static void on_snapshot(void *ctx, int rc, const struct err *e, struct registry_snapshot *snapshot)
{
    struct registry_copier *c = ctx;
    bool write[REGISTRY_COPIES_WANTED];

    if (rc != 0 || c->closing) {
        if (rc != 0 && !c->closing) {
            note_trouble(c, e);
        }
        c->order_next = c->order_count; /* no further pass */
        close_targets(c);
        return;
    }
    c->first_version = c->compared ? c->first_version : snapshot->head.version;
    c->compared = true;
    c->head = snapshot->head;
    copy_seal(&c->head, slice_buf(&snapshot->bytes));
    buf_release(&c->chunks);
    c->pending = sort_targets(c, &snapshot->history, write);
    if (c->pending == 0) {
        close_targets(c);
        return;
    }
    copy_chunks(&c->head, slice_buf(&snapshot->bytes), &c->chunks);
    for (unsigned i = 0; i < c->target_count; i++) {
        if (write[i]) {
            copy_target_write(&c->targets[i], &c->head, slice_buf(&c->chunks), on_written);
        }
    }
}

static void on_head(struct copy_target *t)
{
    struct registry_copier *c = t->ctx;

    if (t->rc != 0 && !c->closing) {
        note_trouble(c, &t->err);
    }
    if (--c->pending == 0) {
        registry_snapshot_read(registry_kv(c->registry), on_snapshot, c);
    }
}

static void pass_start(struct registry_copier *c)
{
    size_t left = c->order_count - c->order_next;
    size_t lacking = c->wanted - c->copies;

    c->target_count = (unsigned)(left < lacking ? left : lacking);
    c->pending = c->target_count;
    for (unsigned i = 0; i < c->target_count; i++) {
        copy_target_open(&c->targets[i], c->loop, kv_tls(registry_kv(c->registry)),
                         c->order[c->order_next++], registry_view_alba_id(c->view),
                         c->options.timeout_ms, on_head, c);
    }
}

static void round_start(struct registry_copier *c)
{
    size_t all = registry_view_osd_count(registry_view(c->registry));

    c->running = true;
    c->compared = false;
    c->round_ms = clock_mono_ms();
    c->view = registry_view_hold(registry_view(c->registry));
    c->order = mem_array(all + 1, sizeof(struct registry_osd *));
    c->order_count = registry_copy_order(c->view, c->order, all);
    c->order_next = 0;
    c->wanted = (unsigned)(c->order_count < REGISTRY_COPIES_WANTED ? c->order_count
                                                                   : REGISTRY_COPIES_WANTED);
    c->copies = c->ahead = 0;
    c->ahead_version = 0;
    c->err = (struct err){0};
    if (c->order_count == 0) { /* nowhere to keep it yet */
        c->compared = true;
        c->head = (struct copy_head){.version = registry_view_version(c->view)};
        c->first_version = c->head.version;
        round_end(c);
        return;
    }
    pass_start(c);
}

/* ---- when ---- */

static void on_tick(uv_timer_t *timer)
{
    struct registry_copier *c = container_of(timer, struct registry_copier, timer);
    const struct registry_view *view = registry_view(c->registry);
    uint64_t now = clock_mono_ms();
    uint64_t version = view != NULL ? registry_view_version(view) : 0;

    if (view == NULL || !may_act(c)) {
        c->changed_ms = 0; /* another one's concern */
        c->seen_version = 0;
        c->status.lag_ms = 0;
        return;
    }
    if (version != c->seen_version) {
        c->seen_version = version;
        if (c->changed_ms == 0 && version != c->status.version) {
            c->changed_ms = now;
        }
    }
    if (c->changed_ms != 0) {
        c->status.lag_ms = now - c->changed_ms;
        if (c->options.on_status != NULL) {
            c->options.on_status(c->options.ctx, &c->status);
        }
    }
    if (!c->running && now >= c->next_ms &&
        ((c->changed_ms != 0 && now >= c->changed_ms + c->options.settle_ms) ||
         now >= c->recheck_ms)) {
        round_start(c);
    }
}

/* ---- from outside ---- */

static unsigned or_default(unsigned value, unsigned otherwise)
{
    return value != 0 ? value : otherwise;
}

struct registry_copier *registry_copier_new(uv_loop_t *loop, struct registry *registry,
                                            const struct registry_copy_options *options)
{
    struct registry_copier *c = mem_zalloc(sizeof(*c));

    c->loop = loop;
    c->registry = registry;
    c->options = *options;
    c->options.settle_ms = or_default(options->settle_ms, SETTLE_MS);
    c->options.pause_ms = or_default(options->pause_ms, PAUSE_MS);
    c->options.recheck_ms = or_default(options->recheck_ms, RECHECK_MS);
    c->options.timeout_ms = or_default(options->timeout_ms, TIMEOUT_MS);
    CHECK(uv_timer_init(loop, &c->timer) == 0);
    if (!options->is_manual) {
        CHECK(uv_timer_start(&c->timer, on_tick, TICK_MS, TICK_MS) == 0);
    }
    return c;
}

void registry_copier_run(struct registry_copier *c, registry_copy_cb cb, void *ctx)
{
    CHECK(!c->running && !c->closing);
    c->run_cb = cb;
    c->run_ctx = ctx;
    round_start(c);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct registry_copier *c = container_of((uv_timer_t *)handle, struct registry_copier, timer);
    void (*cb)(void *) = c->close_cb;
    void *ctx = c->close_ctx;

    free(c);
    cb(ctx);
}

void registry_copier_close(struct registry_copier *c, void (*cb)(void *ctx), void *ctx)
{
    c->close_cb = cb;
    c->close_ctx = ctx;
    if (!c->closing) {
        c->closing = true;
        for (unsigned i = 0; c->running && i < c->target_count; i++) {
            if (c->targets[i].client != NULL) {
                copy_target_cancel(&c->targets[i]);
            }
        }
    }
    if (!c->running) {
        uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    }
}
