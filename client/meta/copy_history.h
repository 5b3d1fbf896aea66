/* Is a copy on an OSD of this registry's past, or of another history? Any thread.
 *
 * Versions alone do not tell once a backup was restored: the registry goes on from there, and its
 * numbers reach those of the changes that are lost (KEYS.md, "Copies of the registry"). */
#ifndef META_COPY_HISTORY_H
#define META_COPY_HISTORY_H

#include "meta/copy_record.h"

enum copy_age { COPY_OLDER, COPY_CURRENT, COPY_AHEAD };

struct copy_change;

/* What the registry knows of its own past; zeroes: nothing yet. */
struct copy_history {
    uint64_t restored_from; /* version of the backup that was restored; 0: none was */
    uint64_t restored_us;
    struct copy_change *changes; /* those that are kept, by version */
    size_t change_count;
};

/* A record of the registry, any of them, in order of their keys. */
void copy_history_note(struct copy_history *history, struct slice key, struct slice value);
/* Of `copy`, when the registry is at `now`. */
enum copy_age copy_history_judge(const struct copy_history *history, const struct copy_head *now,
                                 const struct copy_head *copy);
void copy_history_release(struct copy_history *history);

#endif
