#include "volumedriver/journal_full.h"

#include <string.h>

#include "base/check.h"
#include "volumedriver/journal_private.h"

bool journal_is_full(const struct journal *j)
{
    return j->full;
}

const uint8_t *journal_waiting(const struct journal *j, uint64_t *ret_ms)
{
    const struct journal_append *a;

    if (!j->full || list_empty(&j->data)) {
        return NULL;
    }
    a = container_of(j->data.next, struct journal_append, link); /* they wait in their order */
    *ret_ms = uv_now(j->options.loop) - a->since_ms;
    return a->volume;
}

uint64_t journal_cancel(struct journal *j, const uint8_t volume[UUID_BYTES], int rc)
{
    uint64_t first_seq = 0;

    LIST_FOR_EACH_SAFE (it, &j->data) {
        struct journal_append *a = container_of(it, struct journal_append, link);

        if (memcmp(a->volume, volume, UUID_BYTES) == 0) {
            first_seq = first_seq != 0 ? first_seq : a->seq;
            a->rc = rc;
            list_remove(it);
            list_push(&j->canceled, it);
        }
    }
    journal_kick(j);
    return first_seq;
}

void journal_end_canceled(struct journal *j)
{
    struct list *link;

    while ((link = list_pop(&j->canceled)) != NULL) {
        struct journal_append *a = container_of(link, struct journal_append, link);

        a->cb(a, a->rc);
    }
}

uint64_t journal_oldest_lsn(const struct journal *j)
{
    return list_empty(&j->used) ? 0 : container_of(j->used.next, struct segment, link)->last_lsn;
}

void journal_pins(const struct journal *j, uint64_t lsn,
                  void (*cb)(void *ctx, const uint8_t volume[UUID_BYTES]), void *ctx)
{
    const struct tail_entry *entry, *next;

    HASH_ITER (hh, j->tails, entry, next) {
        if (tail_pins(&entry->tail, lsn)) {
            cb(ctx, entry->volume);
        }
    }
}
