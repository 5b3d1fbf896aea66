/* A frame of the journal is lost and nobody can name whose records it held (FORMAT.md, section 1,
 * Opening 5). The journal gives nothing back from there on, so that every replay finds the loss,
 * until each volume that could have had a record in it is known to be whole, or carries a verdict
 * in the registry. A registry that does not answer delays that and decides nothing. */
#include "volumedriver/driver_settle.h"

#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "volumedriver/driver.h"

enum { LIST_LIMIT = 200, AGAIN_MS = 10000 };

static void settle_from(struct driver *d, const char *after);

/* By its device, or because it is ours: what stands there as its device is where it was claimed
 * last, which need not be where it was opened last. */
static bool may_be_concerned(const struct driver *d, const struct registry_volume *record)
{
    char device[UUID_HEX_BYTES];

    hex_encode(device, journal_id(d->journal), UUID_BYTES);
    return record->state == REGISTRY_VOLUME_READY && record->epoch != 0 &&
           (strcmp(record->device, device) == 0 ||
            strcmp(record->owner, d->config->driver_id) == 0);
}

static bool is_known(const struct driver *d, const struct registry_volume *record)
{
    const struct driver_volume *v = driver_volume_find(d, record->name);

    return record->damage.first_seq != 0 ||
           (v != NULL && v->judged && strcmp(v->uuid, record->uuid) == 0);
}

static void on_list(void *ctx, int rc, const struct err *e, const struct registry_volume *volumes,
                    size_t count, bool has_more)
{
    struct driver *d = ctx;

    d->settling = false;
    if (d->stopping) {
        return;
    }
    if (rc != 0) {
        log_warn("driver", "lost frame not settled", "error=\"%s\"", e->msg);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (may_be_concerned(d, &volumes[i]) && !is_known(d, &volumes[i])) {
            log_warn("driver", "lost frame not settled: volume was not open yet", "name=%s",
                     volumes[i].name);
            return;
        }
    }
    if (has_more && count != 0) {
        settle_from(d, volumes[count - 1].name);
        return;
    }
    log_info("driver", "lost frame settled", "lsn=%llu",
             (unsigned long long)journal_damage_lsn(d->journal));
    journal_damage_settle(d->journal);
}

static void settle_from(struct driver *d, const char *after)
{
    d->settling = true;
    registry_volume_list(d->connect.registry, after, LIST_LIMIT, on_list, d);
}

void driver_settle(struct driver *d)
{
    uint64_t now = uv_now(d->loop);

    if (journal_damage_lsn(d->journal) == 0 || d->settling || !d->ready || now < d->settle_ms) {
        return;
    }
    d->settle_ms = now + AGAIN_MS;
    settle_from(d, "");
}
