/* The journal's part in opening a volume, and what is given back when it closes; see
 * volume_opening.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_opening.h"
#include "volumedriver/volume_past.h"

/* ---- RECORD ---- */

static void drop_stranded(struct volume *v)
{
    struct list *link;

    while ((link = list_pop(&v->stranded)) != NULL) {
        journal_record_drop(v->host->journal, container_of(link, struct record, link));
    }
}

static void run(struct volume_opening *o)
{
    struct volume *v = o->v;

    if (o->retake) {
        v->retaking = false;
    } else {
        drop_stranded(v); /* what the accepted loss has cut off */
        v->state = VOLUME_RUNNING;
        volume_sweep_start(v, &o->garbage);
    }
    log_info("volume", "open",
             "volume=%s epoch=%" PRIu32 " prefix=%010" PRIx64 "/%" PRIu64 " last_seq=%" PRIu64,
             v->name, v->epoch, v->committed.number, v->committed.seq, v->next_seq - 1);
    volume_opening_end(o, 0);
}

static void on_absolved(struct volume_judgement *judgement, int rc)
{
    struct volume_opening *o = container_of(judgement, struct volume_opening, judgement);

    if (rc != 0) {
        volume_opening_fail(o, rc, &judgement->err, "taking the verdict away");
        return;
    }
    run(o);
}

static void judge(struct volume_opening *o, const struct volume_verdict *verdict,
                  volume_judgement_cb cb)
{
    struct volume *v = o->v;

    o->judgement = (struct volume_judgement){.epoch = v->epoch, .verdict = *verdict, .cb = cb};
    v->options.owner->judge(v->options.owner_ctx, v, &o->judgement);
}

static void absolve(struct volume_opening *o)
{
    static const struct volume_verdict none;

    if (!o->retake && o->v->claim.verdict.first_seq != 0) {
        judge(o, &none, on_absolved);
    } else {
        run(o);
    }
}

/* What the accepted loss has stranded in the backend would be damage again at the next opening. */
static void on_cleared(void *ctx, int rc, const struct err *why)
{
    if (rc != 0) {
        volume_opening_fail(ctx, rc, why, "deleting what the accepted loss has stranded");
        return;
    }
    absolve(ctx);
}

static void on_record(struct journal_append *append, int rc)
{
    struct volume_opening *o = container_of(append, struct volume_opening, record);
    struct volume *v = o->v;
    struct err e;

    if (rc != 0) {
        err_set(&e, rc, "journal");
        volume_opening_fail(o, rc, &e, "recording the epoch");
        return;
    }
    v->opened = (struct tail_item){.lsn = append->lsn,
                                   .seq = append->seq,
                                   .epoch = append->epoch,
                                   .op = FRAME_OP_OPEN,
                                   .kind = append->kind};
    v->epoch = append->epoch;
    v->next_index = v->next_part_index = 0;
    if (o->loss_accepted && o->garbage.len != 0) {
        volume_sweep_await(v, &o->garbage, on_cleared, o);
    } else {
        absolve(o);
    }
}

void volume_record_epoch(struct volume_opening *o)
{
    struct volume *v = o->v;

    o->record =
        (struct journal_append){.volume = v->uuid,
                                .seq = v->next_seq,
                                .epoch = v->claim.epoch,
                                .op = FRAME_OP_OPEN,
                                .kind = o->loss_accepted ? FRAME_OPEN_LOSS_ACCEPTED : FRAME_OPEN,
                                .durable = true};
    journal_append(v->host->journal, &o->record, on_record);
}

/* ---- JOURNAL ---- */

static void take_records(struct volume *v, struct list *records, uint64_t upto, struct sco_job *job)
{
    while (!list_empty(records)) {
        struct record *record = container_of(records->next, struct record, link);

        if (record->seq > upto) {
            return;
        }
        list_remove(&record->link);
        volume_record_done(v, record);
        if (job != NULL) {
            extent_tree_insert(&job->tree, record);
        } else {
            volume_range_add(v, record, 0);
        }
    }
}

/* False when something else is there under its number. */
static bool take_sco(struct volume_opening *o, const struct tail_sco *sco, struct list *records)
{
    struct volume *v = o->v;
    const struct chain_link *link = chain_find(&o->chain, sco->number);
    struct sco_job *job = volume_job_new(v, sco->first_seq, sco->last_seq);

    volume_job_number(job, sco->number, sco->epoch);
    job->footer.kind = sco->kind;
    job->footer.generation = sco->generation;
    job->assigned = sco->record;
    take_records(v, records, sco->last_seq, job);
    job->state = JOB_QUEUED;
    if (link != NULL) {
        job->state = JOB_LANDED;
        job->landed_ms = volume_now_ms(v);
        return link->footer.predecessor == job->footer.predecessor &&
               link->footer.kind == sco->kind && link->footer.generation == sco->generation &&
               link->footer.first_seq == sco->first_seq && link->footer.last_seq == sco->last_seq &&
               link->footer.epoch == sco->epoch;
    }
    return true;
}

static bool is_assigned(const struct tail_history *h, uint64_t number)
{
    for (uint32_t i = 0; i < h->sco_count; i++) {
        if (h->scos[i].number == number) {
            return true;
        }
    }
    return false;
}

/* SCOs that are neither in the chain nor assigned. Without a journal that goes back to them they
 * are garbage. With one they prove that it has lost what was durable. */
static void judge_stranded(struct volume_opening *o, const struct tail_history *h,
                           const char **ret_damage)
{
    struct volume *v = o->v;

    for (uint32_t i = 0; i < o->chain.count; i++) {
        const struct chain_link *link = &o->chain.links[i];
        char name[SCO_NAME_BYTES];

        if (link->in_chain || link->footer.number <= v->root.prefix_number ||
            is_assigned(h, link->footer.number)) {
            continue;
        }
        if (link->footer.epoch >= v->owner.since && v->owner.since < v->owner.epoch) {
            *ret_damage = "the backend has a SCO that the journal should know and does not";
            if (!v->options.accept_loss) {
                continue;
            }
        }
        sco_name(link->footer.number, name);
        buf_put(&o->garbage, name, sizeof(name));
    }
}

/* The operator accepts that what is there under an assigned number goes: the journal has ours. */
static void put_anew(struct volume_opening *o, uint64_t number)
{
    struct sco_job *job = container_of(o->v->jobs.prev, struct sco_job, link);
    char name[SCO_NAME_BYTES];

    if (o->v->options.accept_loss) {
        sco_name(number, name);
        buf_put(&o->garbage, name, sizeof(name));
        job->state = JOB_QUEUED;
    }
}

static void drop_tail(void *ctx, struct record *record)
{
    journal_record_drop(((struct volume *)ctx)->host->journal, record);
}

/* Assigned SCOs become jobs, records behind them the open range. False when the backend has
 * something else under a number. */
static bool take_history(struct volume_opening *o, struct tail_history *h)
{
    struct volume *v = o->v;
    bool ours = true;

    v->last_number = v->committed.number;
    v->released_seq = v->committed.seq;
    v->open_first = v->committed.seq + 1;
    v->open_last = v->committed.seq;
    for (uint32_t i = 0; i < h->sco_count; i++) {
        if (!take_sco(o, &h->scos[i], &h->records)) {
            ours = false;
            put_anew(o, h->scos[i].number);
        }
        if (h->scos[i].kind != SCO_GC) {
            v->open_first = h->scos[i].last_seq + 1;
            v->open_last = h->scos[i].last_seq;
        }
    }
    take_records(v, &h->records, UINT64_MAX, NULL);
    list_splice(&v->stranded, &h->stranded);
    v->next_seq = h->last_seq + 1;
    return ours;
}

static void serve_damaged(struct volume_opening *o)
{
    struct volume *v = o->v;
    const char *why = v->claim.verdict.why;

    v->state = VOLUME_DAMAGED;
    err_set(&v->err, ERR_CORRUPT, "volume %s is damaged and read only: %s", v->name, why);
    log_error("volume", "damaged, read only", "volume=%s why=%s", v->name, why);
    volume_opening_end(o, 0);
}

static void on_judged(struct volume_judgement *judgement, int rc)
{
    struct volume_opening *o = container_of(judgement, struct volume_opening, judgement);

    if (rc != 0) {
        volume_opening_fail(o, rc, &judgement->err, "recording its damage");
        return;
    }
    o->v->claim.verdict = judgement->verdict;
    serve_damaged(o);
}

/* Nothing is served before the verdict is kept where the journal's loss cannot take it. */
static void open_damaged(struct volume_opening *o, const char *why)
{
    struct volume *v = o->v;
    struct volume_verdict verdict = {.first_seq = v->next_seq};
    struct journal_stats journal;

    v->found_damaged = true;
    v->epoch = v->claim.epoch;
    if (v->claim.verdict.first_seq != 0) {
        serve_damaged(o);
        return;
    }
    journal_stats(v->host->journal, &journal);
    memcpy(verdict.journal, journal_id(v->host->journal), UUID_BYTES);
    verdict.incarnation = journal.incarnation;
    snprintf(verdict.why, sizeof(verdict.why), "%s", why);
    judge(o, &verdict, on_judged);
}

/* A later version wrote what this one may only read: nothing is put, replaced or deleted, and what
 * the journal holds stays there. */
static void serve_newer(struct volume_opening *o)
{
    struct volume *v = o->v;

    v->epoch = v->claim.epoch;
    v->state = VOLUME_RUNNING;
    log_warn("volume", "read only, a newer version wrote it", "volume=%s epoch=%" PRIu32, v->name,
             v->epoch);
    volume_opening_end(o, 0);
}

void volume_merge_journal(struct volume_opening *o)
{
    struct volume *v = o->v;
    struct tail_bounds bounds = {.since = v->owner.since,
                                 .epoch = v->owner.epoch,
                                 .prefix_number = v->committed.number,
                                 .prefix_seq = v->committed.seq};
    const char *damage = NULL;
    struct tail_history h;
    struct tail tail;
    bool ours;

    volume_take_tail(v, &tail);
    tail_resolve(&tail, &bounds, drop_tail, v, &h);
    damage = h.damaged ? h.why : NULL;
    if (o->before.drained && o->before.last_seq != v->committed.seq) {
        damage = "the backend does not have what it had at the last clean close";
    }
    judge_stranded(o, &h, &damage);
    if (damage == NULL && v->claim.verdict.first_seq != 0) {
        damage = v->claim.verdict.why; /* the journal may show nothing any more */
    }
    ours = take_history(o, &h);
    free(h.scos);
    if (!ours) {
        damage = "a SCO in the backend is not the one that the journal assigned";
    }
    if (damage != NULL && (!v->options.accept_loss || v->root.read_only)) {
        open_damaged(o, damage);
    } else if (v->root.read_only) {
        serve_newer(o);
    } else {
        if (damage != NULL) {
            log_warn("volume", "loss accepted", "volume=%s why=%s last_seq=%" PRIu64, v->name,
                     damage, v->next_seq - 1);
            o->loss_accepted = true;
        }
        volume_record_epoch(o);
    }
}
