/* What this process remembers of a volume that it had open: the records that its journal still
 * holds (only a replay reads them from the disk), and the epochs that it tried to take (a try
 * with a doubtful outcome may succeed when later ones have been made). */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_past.h"

struct volume_past {
    uint8_t uuid[UUID_BYTES];
    uint32_t *epochs;
    uint32_t epoch_count;
    struct tail tail;
    UT_hash_handle hh;
};

static struct volume_past *past_find(const struct volume_host *host, const uint8_t uuid[UUID_BYTES])
{
    struct volume_past *past;

    HASH_FIND(hh, host->pasts, uuid, UUID_BYTES, past);
    return past;
}

static struct volume_past *past_of(struct volume_host *host, const uint8_t uuid[UUID_BYTES])
{
    struct volume_past *past = past_find(host, uuid);

    if (past == NULL) {
        past = mem_zalloc(sizeof(*past));
        memcpy(past->uuid, uuid, UUID_BYTES);
        HASH_ADD(hh, host->pasts, uuid, UUID_BYTES, past);
    }
    return past;
}

void volume_note_epoch(struct volume *v, uint32_t epoch)
{
    struct volume_past *past = past_of(v->host, v->uuid);

    past->epochs =
        mem_realloc(past->epochs, (past->epoch_count + (size_t)1) * sizeof(*past->epochs));
    past->epochs[past->epoch_count++] = epoch;
}

bool volume_tried_epoch(const struct volume *v, uint32_t epoch)
{
    const struct volume_past *past = past_find(v->host, v->uuid);

    for (uint32_t i = 0; past != NULL && i < past->epoch_count; i++) {
        if (past->epochs[i] == epoch) {
            return true;
        }
    }
    return false;
}

uint32_t volume_epoch_seen(const struct volume *v)
{
    const struct volume_past *past = past_find(v->host, v->uuid);
    uint32_t epoch = journal_tail_epoch(v->host->journal, v->uuid);

    for (uint32_t i = 0; past != NULL && i < past->epoch_count; i++) {
        epoch = past->epochs[i] > epoch ? past->epochs[i] : epoch;
    }
    return epoch;
}

void volume_take_tail(struct volume *v, struct tail *ret_tail)
{
    struct volume_past *past = past_find(v->host, v->uuid);
    uint64_t lost_lsn;

    journal_take_tail(v->host->journal, v->uuid, ret_tail);
    if (past != NULL && (past->tail.count != 0 || past->tail.damaged)) {
        CHECK(ret_tail->count == 0); /* it was taken when the volume was opened before */
        lost_lsn = ret_tail->lost_lsn;
        *ret_tail = past->tail;
        ret_tail->lost_lsn = lost_lsn;
        past->tail = (struct tail){0};
    }
    v->has_tail = true;
}

uint32_t volume_past_epoch(const struct volume_host *host, const uint8_t uuid[UUID_BYTES])
{
    const struct volume_past *past = past_find(host, uuid);
    uint32_t epoch = journal_tail_epoch(host->journal, uuid);

    for (uint32_t i = 0; past != NULL && i < past->tail.count; i++) {
        epoch = past->tail.items[i].epoch > epoch ? past->tail.items[i].epoch : epoch;
    }
    return epoch;
}

void volume_pasts_pin(const struct volume_host *host, uint64_t lsn,
                      void (*cb)(void *ctx, const uint8_t uuid[UUID_BYTES]), void *ctx)
{
    const struct volume_past *past, *next;

    HASH_ITER (hh, host->pasts, past, next) {
        if (tail_pins(&past->tail, lsn)) {
            cb(ctx, past->uuid);
        }
    }
}

static void abandon(void *ctx, struct record *record)
{
    journal_record_abandon(ctx, record);
}

void volume_pasts_release(struct volume_host *host)
{
    struct volume_past *past, *next;

    HASH_ITER (hh, host->pasts, past, next) {
        HASH_DEL(host->pasts, past);
        tail_release(&past->tail, abandon, host->journal);
        free(past->epochs);
        free(past);
    }
}

static void drop(void *ctx, struct record *record)
{
    journal_record_drop(ctx, record);
}

void volume_past_forget(struct volume_host *host, const uint8_t uuid[UUID_BYTES])
{
    struct volume_past *past = past_find(host, uuid);
    struct tail tail;

    journal_take_tail(host->journal, uuid, &tail);
    tail_release(&tail, drop, host->journal);
    if (past != NULL) {
        HASH_DEL(host->pasts, past);
        tail_release(&past->tail, drop, host->journal);
        free(past->epochs);
        free(past);
    }
}

static int by_lsn(const void *a, const void *b)
{
    const struct tail_item *x = a, *y = b;
    bool x_data = frame_op_is_data(x->op), y_data = frame_op_is_data(y->op);

    if (x->lsn != y->lsn) {
        return x->lsn < y->lsn ? -1 : 1;
    }
    if (x_data != y_data) {
        return x_data ? 1 : -1;
    }
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void return_records(struct tail *tail, struct list *records, bool bad)
{
    struct list *link;

    while ((link = list_pop(records)) != NULL) {
        struct record *record = container_of(link, struct record, link);
        struct tail_item item = {.lsn = record->lsn,
                                 .seq = record->seq,
                                 .a = record->cluster,
                                 .record = record,
                                 .epoch = record->epoch,
                                 .op = record->op,
                                 .bad = bad || record->bad};

        tail_push(tail, &item);
    }
}

void volume_return_tail(struct volume *v)
{
    struct tail tail = {.damaged = v->found_damaged};

    if (!v->has_tail) {
        return;
    }
    return_records(&tail, &v->records, false);
    return_records(&tail, &v->stranded, true); /* not to be taken for whole the next time */
    LIST_FOR_EACH (it, &v->jobs) {
        struct sco_job *job = container_of(it, struct sco_job, link);
        const struct sco_footer *f = &job->footer;

        if (job->assigned != NULL) {
            struct tail_item item = {.lsn = job->assigned->lsn,
                                     .seq = f->first_seq,
                                     .a = f->number,
                                     .b = f->last_seq,
                                     .predecessor = f->predecessor,
                                     .record = job->assigned,
                                     .generation = f->generation,
                                     .epoch = (uint32_t)f->epoch,
                                     .op = FRAME_OP_SCO,
                                     .kind = f->kind};

            tail_push(&tail, &item);
            job->assigned = NULL;
        }
    }
    if (v->opened.lsn != 0) {
        tail_push(&tail, &v->opened);
    }
    if (tail.count != 0) { /* UBSan: no NULL for qsort */
        qsort(tail.items, tail.count, sizeof(*tail.items), by_lsn);
    }
    past_of(v->host, v->uuid)->tail = tail;
}
