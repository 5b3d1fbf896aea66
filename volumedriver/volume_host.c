#include "volumedriver/volume_host.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_past.h"

void volume_host_init(struct volume_host *host)
{
    host->puts = NULL;
    host->remaps = 0;
    host->pasts = NULL;
    list_init(&host->volumes);
}

void volume_host_pressure(struct volume_host *host, uint64_t lsn)
{
    LIST_FOR_EACH (it, &host->volumes) {
        struct volume *v = container_of(it, struct volume, link);

        if (v->open_last >= v->open_first && v->open_lsn <= lsn && volume_may_upload(v)) {
            volume_range_close(v);
        }
    }
}

void volume_host_release(struct volume_host *host)
{
    CHECK(list_empty(&host->volumes));
    volume_pasts_release(host);
}

static struct volume *find(const struct volume_host *host, const uint8_t uuid[UUID_BYTES])
{
    LIST_FOR_EACH (it, &host->volumes) {
        struct volume *v = container_of(it, struct volume, link);

        if (memcmp(v->uuid, uuid, UUID_BYTES) == 0) {
            return v;
        }
    }
    return NULL;
}

/* A record behind another has the higher seq, so none may be taken out from between: all that wait
 * end together, and the next one starts where the first of them did. */
void volume_host_end_waits(struct volume_host *host, uint64_t wait_ms)
{
    const uint8_t *uuid;
    uint64_t waited;

    while ((uuid = journal_waiting(host->journal, &waited)) != NULL && waited >= wait_ms) {
        struct volume *v = find(host, uuid);

        CHECK(v != NULL); /* it stays until its requests have ended */
        v->next_seq = journal_cancel(host->journal, v->uuid, -ENOSPC);
    }
}

static bool list_pins(const struct list *records, uint64_t lsn)
{
    LIST_FOR_EACH (it, records) {
        if (container_of(it, const struct record, link)->lsn <= lsn) {
            return true;
        }
    }
    return false;
}

static bool pins(const struct volume *v, uint64_t lsn)
{
    /* By seq, and so by LSN. */
    if (!list_empty(&v->records) &&
        container_of(v->records.next, struct record, link)->lsn <= lsn) {
        return true;
    }
    LIST_FOR_EACH (it, &v->jobs) {
        const struct sco_job *job = container_of(it, struct sco_job, link);

        if (job->assigned != NULL && job->assigned->lsn <= lsn) {
            return true;
        }
    }
    return list_pins(&v->stranded, lsn);
}

void volume_host_pins(const struct volume_host *host,
                      void (*cb)(void *ctx, const uint8_t uuid[UUID_BYTES]), void *ctx)
{
    uint64_t lsn = journal_oldest_lsn(host->journal);

    LIST_FOR_EACH (it, &host->volumes) {
        const struct volume *v = container_of(it, struct volume, link);

        if (pins(v, lsn)) {
            cb(ctx, v->uuid);
        }
    }
    volume_pasts_pin(host, lsn, cb, ctx);
    journal_pins(host->journal, lsn, cb, ctx);
}
