/* The gc epoch that puts of a namespace are tagged with, remembered for a minute.
 *
 * An epoch that has ended is found out by the commit, which asserts it; so an old value
 * costs an upload, never correctness. Loop thread only. */
#ifndef PROXY_EPOCHS_H
#define PROXY_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

enum { EPOCHS_KEEP_MS = 60000, EPOCHS_MAX = 65536 };

struct epochs_entry;

struct epochs {
    unsigned keep_ms; /* EPOCHS_KEEP_MS; tests shorten it */

    struct epochs_entry *entries; /* private */
};

void epochs_init(struct epochs *epochs);
bool epochs_get(struct epochs *epochs, uint64_t ns_id, uint64_t *ret_epoch);
void epochs_set(struct epochs *epochs, uint64_t ns_id, uint64_t epoch);
void epochs_forget(struct epochs *epochs, uint64_t ns_id);
void epochs_release(struct epochs *epochs);

#endif
