#include "volumedriver/tail.h"

#include <stdlib.h>

#include "base/mem.h"
#include "volumedriver/frame.h"
#include "volumedriver/sco.h"

typedef void (*tail_drop_cb)(void *ctx, struct record *record);

struct resolve {
    struct tail *tail;
    const struct tail_bounds *bounds;
    struct tail_history *h;
    tail_drop_cb drop;
    void *ctx;
    uint64_t proof_lsn;    /* nothing is missing in what the frames before it held */
    uint64_t accepted_lsn; /* the operator accepted the loss of what was lost before it; 0: none */
};

void tail_push(struct tail *t, const struct tail_item *item)
{
    if (t->count == t->cap) {
        t->cap = t->cap != 0 ? t->cap * 2 : 16;
        t->items = mem_realloc(t->items, t->cap * sizeof(*t->items));
    }
    t->items[t->count++] = *item;
}

bool tail_pins(const struct tail *t, uint64_t lsn)
{
    for (uint32_t i = 0; i < t->count && t->items[i].lsn <= lsn; i++) {
        if (t->items[i].record != NULL) {
            return true;
        }
    }
    return false;
}

static void drop_item(struct tail_item *item, tail_drop_cb drop, void *ctx)
{
    if (item->record != NULL) {
        drop(ctx, item->record);
        item->record = NULL;
    }
    item->gone = true;
}

void tail_release(struct tail *t, tail_drop_cb drop, void *ctx)
{
    for (uint32_t i = 0; i < t->count; i++) {
        drop_item(&t->items[i], drop, ctx);
    }
    free(t->items);
    *t = (struct tail){0};
}

static void damage(struct tail_history *h, const char *why)
{
    if (!h->damaged) {
        h->damaged = true;
        h->why = why;
    }
}

static void strand(struct resolve *r, struct tail_item *item)
{
    list_push(&r->h->stranded, &item->record->link);
    item->record = NULL;
}

/* An open record voids what lower epochs wrote, assigned or opened at or behind its first seq. */
static void void_superseded(struct resolve *r)
{
    uint64_t void_from = UINT64_MAX;
    uint32_t void_below = 0;

    for (uint32_t i = r->tail->count; i-- > 0;) {
        struct tail_item *item = &r->tail->items[i];
        uint64_t last = item->op == FRAME_OP_SCO ? item->b : item->seq;

        if (item->epoch < r->bounds->since || (item->epoch < void_below && last >= void_from)) {
            drop_item(item, r->drop, r->ctx);
        } else if (item->op == FRAME_OP_OPEN) {
            void_from = item->seq < void_from ? item->seq : void_from;
            void_below = item->epoch > void_below ? item->epoch : void_below;
        }
    }
}

static void take_record(struct resolve *r, struct tail_item *item)
{
    struct tail_history *h = r->h;

    if (item->seq <= h->last_seq) {
        drop_item(item, r->drop, r->ctx);
        r->proof_lsn = item->lsn;
    } else if (item->seq != h->last_seq + 1) {
        damage(h, "records are missing in the journal");
        strand(r, item);
    } else if (item->bad) {
        damage(h, "records fail their checks in the journal");
        strand(r, item);
    } else {
        list_push(&h->records, &item->record->link);
        item->record = NULL;
        h->last_seq++;
        r->proof_lsn = item->lsn;
    }
}

/* Its seq is what the next record got: what it saw must still be there. */
static void take_open(struct resolve *r, const struct tail_item *item)
{
    if (item->seq > r->h->last_seq + 1) {
        damage(r->h, "records in front of an opening are missing in the journal");
    } else {
        r->proof_lsn = item->lsn;
    }
}

static void keep_sco(struct tail_history *h, struct tail_item *item)
{
    h->scos[h->sco_count++] = (struct tail_sco){.number = item->a,
                                                .predecessor = item->predecessor,
                                                .first_seq = item->seq,
                                                .last_seq = item->b,
                                                .record = item->record,
                                                .epoch = item->epoch,
                                                .generation = item->generation,
                                                .kind = item->kind};
    h->last_number = item->a;
    item->record = NULL;
}

/* Is it the next one of the chain? `next_seq` 0: it has no seqs. */
static bool follows(const struct tail_history *h, const struct tail_item *item, uint64_t next_seq)
{
    return !item->bad && item->predecessor == h->last_number &&
           (next_seq == 0 || (item->seq == next_seq && item->b <= h->last_seq));
}

/* Assignments behind the prefix form a chain, and those with seqs tile the records. A gc SCO has
 * no seqs: it is void with its predecessor. Anything else is missing through damage, and void when
 * that was accepted behind it. */
static void take_scos(struct resolve *r)
{
    struct tail_history *h = r->h;
    uint64_t next = r->bounds->prefix_seq + 1, void_number = 0;
    bool broken = false, cut = false;

    h->scos = mem_array(r->tail->count + 1, sizeof(*h->scos));
    for (uint32_t i = 0; i < r->tail->count; i++) {
        struct tail_item *item = &r->tail->items[i];
        bool has_seqs = item->kind != SCO_GC;

        if (item->op == FRAME_OP_OPEN && item->kind == FRAME_OPEN_LOSS_ACCEPTED) {
            cut = false; /* what comes behind it was assigned by who knew of that */
        }
        if (item->op != FRAME_OP_SCO || item->a <= r->bounds->prefix_number) {
            continue; /* what is left is dropped in the end */
        }
        if (item->gone || (!has_seqs && void_number != 0 && item->predecessor == void_number)) {
            void_number = item->a;
        } else if (item->lsn < r->accepted_lsn && (cut || !follows(h, item, has_seqs ? next : 0))) {
            cut = true;
        } else if (broken || !follows(h, item, has_seqs ? next : 0)) {
            damage(h, "a SCO's records are missing in the journal");
            strand(r, item);
            broken = true;
        } else {
            next = has_seqs ? item->b + 1 : next;
            keep_sco(h, item);
        }
    }
}

void tail_resolve(struct tail *t, const struct tail_bounds *bounds, tail_drop_cb drop, void *ctx,
                  struct tail_history *ret_history)
{
    struct resolve r = {.tail = t, .bounds = bounds, .h = ret_history, .drop = drop, .ctx = ctx};

    *r.h =
        (struct tail_history){.last_seq = bounds->prefix_seq, .last_number = bounds->prefix_number};
    list_init(&r.h->records);
    list_init(&r.h->stranded);
    void_superseded(&r);
    for (uint32_t i = 0; i < t->count; i++) {
        struct tail_item *item = &t->items[i];

        if (item->op == FRAME_OP_OPEN && item->kind == FRAME_OPEN_LOSS_ACCEPTED) {
            r.accepted_lsn = item->lsn; /* also when a later opening has voided its seq */
        }
        if (!item->gone && frame_op_is_data(item->op)) {
            take_record(&r, item);
        } else if (!item->gone && item->op == FRAME_OP_OPEN) {
            take_open(&r, item);
        }
    }
    take_scos(&r);
    if (t->lost_lsn != 0 && bounds->since < bounds->epoch && r.proof_lsn <= t->lost_lsn) {
        damage(r.h, "a frame is lost and nothing proves that it held no record of this volume");
    }
    if (t->damaged) {
        damage(r.h, "found damaged when it was opened before");
    }
    tail_release(t, drop, ctx);
}
