#include "asd/health.h"

#include <errno.h>
#include <inttypes.h>

#include "asd/store_private.h"
#include "base/log.h"

/* Adds to the score within its bounds. Returns what it is then. */
static int64_t score_add(struct asd_health_state *h, int64_t more)
{
    int64_t before = atomic_load(&h->score);
    int64_t after;

    do {
        after = before + more;
        after = after < 0 ? 0 : after > ASD_HEALTH_SCORE_MAX ? ASD_HEALTH_SCORE_MAX : after;
    } while (!atomic_compare_exchange_weak(&h->score, &before, after));
    return after;
}

/* Not one of the last that failed? Two threads may both say so: no harm. */
static bool is_new_place(struct asd_health_state *h, uint64_t place)
{
    for (unsigned i = 0; i < ASD_HEALTH_PLACES; i++) {
        if (atomic_load(&h->places[i]) == place) {
            return false;
        }
    }
    atomic_store(&h->places[atomic_fetch_add(&h->next_place, 1) % ASD_HEALTH_PLACES], place);
    return true;
}

static void forget_places(struct asd_health_state *h)
{
    for (unsigned i = 0; i < ASD_HEALTH_PLACES; i++) {
        atomic_store(&h->places[i], 0);
    }
}

static void read_failed(struct asd_store *store, uint64_t place)
{
    struct asd_health_state *h = &store->health;

    asd_count(&store->counters.read_errors, 1);
    if (is_new_place(h, place) && score_add(h, ASD_HEALTH_ERROR_COST) >= ASD_HEALTH_SCORE_BAD &&
        !atomic_exchange(&h->reads_fail, true)) {
        log_error("asd", "reads fail", "home=%s read_errors=%" PRIu64, store->home->path,
                  (uint64_t)store->counters.read_errors);
    }
}

bool asd_health_is_medium(int rc)
{
    return rc == -EIO || rc == -ENODATA || rc == -EILSEQ || rc == -EREMOTEIO || rc == -EBADMSG ||
           rc == -EUCLEAN;
}

bool asd_health_is_device(int rc)
{
    return asd_health_is_medium(rc) || rc == -ENOLINK || rc == -ETIMEDOUT || rc == -ENODEV ||
           rc == -ENXIO;
}

bool asd_health_is_passing(int rc)
{
    return rc == -ENOSPC || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM;
}

void asd_health_read(struct asd_store *store, int rc, uint64_t slab, uint64_t offset)
{
    struct asd_health_state *h = &store->health;

    if (asd_health_is_device(rc)) {
        read_failed(store, (slab << 40 ^ offset) | 1);
    } else if (rc == 0 && atomic_load_explicit(&h->score, memory_order_relaxed) != 0 &&
               score_add(h, -1) == 0 && atomic_exchange(&h->reads_fail, false)) {
        forget_places(h);
        log_info("asd", "reads work again", "home=%s", store->home->path);
    }
}

void asd_health_index_error(struct asd_store *store, uint32_t key_crc)
{
    read_failed(store, (uint64_t)key_crc << 1 | 1);
}

int asd_health(const struct asd_store *store, struct err *ret_err)
{
    if (asd_store_failed(store, ret_err)) {
        return ret_err->code;
    }
    if (atomic_load(&store->health.reads_fail)) {
        return err_say(ret_err, ERR_FAILED, "reads fail: the device is going");
    }
    return 0;
}
