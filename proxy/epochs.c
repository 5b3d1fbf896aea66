#include "proxy/epochs.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"

struct epochs_entry {
    uint64_t ns_id;
    uint64_t epoch;
    uint64_t until_ms;
    UT_hash_handle hh;
};

static struct epochs_entry *find(struct epochs *epochs, uint64_t ns_id)
{
    struct epochs_entry *entry;

    HASH_FIND(hh, epochs->entries, &ns_id, sizeof(ns_id), entry);
    return entry;
}

void epochs_init(struct epochs *epochs)
{
    *epochs = (struct epochs){.keep_ms = EPOCHS_KEEP_MS};
}

bool epochs_get(struct epochs *epochs, uint64_t ns_id, uint64_t *ret_epoch)
{
    struct epochs_entry *entry = find(epochs, ns_id);

    if (entry == NULL || clock_mono_ms() >= entry->until_ms) {
        return false;
    }
    *ret_epoch = entry->epoch;
    return true;
}

void epochs_set(struct epochs *epochs, uint64_t ns_id, uint64_t epoch)
{
    struct epochs_entry *entry = find(epochs, ns_id);

    if (entry == NULL) {
        if (HASH_COUNT(epochs->entries) >= EPOCHS_MAX) {
            epochs_release(epochs);
        }
        entry = mem_zalloc(sizeof(*entry));
        entry->ns_id = ns_id;
        HASH_ADD(hh, epochs->entries, ns_id, sizeof(ns_id), entry);
    }
    entry->epoch = epoch;
    entry->until_ms = clock_mono_ms() + epochs->keep_ms;
}

void epochs_forget(struct epochs *epochs, uint64_t ns_id)
{
    struct epochs_entry *entry = find(epochs, ns_id);

    if (entry != NULL) {
        HASH_DEL(epochs->entries, entry);
        free(entry);
    }
}

void epochs_release(struct epochs *epochs)
{
    struct epochs_entry *entry, *next;

    HASH_ITER (hh, epochs->entries, entry, next) {
        HASH_DEL(epochs->entries, entry);
        free(entry);
    }
}
