#include "proxy/maintenance/notes.h"

#include <stdlib.h>

#include "base/mem.h"

struct ns_notes *notes_of(struct ns_notes **notes, uint64_t ns_id)
{
    struct ns_notes *n;

    HASH_FIND(hh, *notes, &ns_id, sizeof(ns_id), n);
    if (n == NULL) {
        n = mem_zalloc(sizeof(*n));
        n->ns_id = ns_id;
        HASH_ADD(hh, *notes, ns_id, sizeof(n->ns_id), n);
    }
    n->is_there = true;
    return n;
}

static void stuck_drop(struct ns_notes *notes, struct ns_stuck *stuck)
{
    HASH_DEL(notes->stuck, stuck);
    free(stuck->osd_ids);
    free(stuck);
}

static void drop(struct ns_notes **notes, struct ns_notes *n)
{
    struct ns_stuck *stuck, *next;

    HASH_ITER (hh, n->stuck, stuck, next) {
        stuck_drop(n, stuck);
    }
    HASH_DEL(*notes, n);
    buf_release(&n->after);
    free(n);
}

void notes_tidy(struct ns_notes **notes)
{
    struct ns_notes *n, *next;

    HASH_ITER (hh, *notes, n, next) {
        if (!n->is_there) {
            drop(notes, n);
        } else {
            n->is_there = false;
        }
    }
}

void notes_release(struct ns_notes **notes)
{
    struct ns_notes *n, *next;

    HASH_ITER (hh, *notes, n, next) {
        drop(notes, n);
    }
}

struct ns_stuck *notes_stuck_find(struct ns_notes *notes, struct slice key)
{
    struct ns_stuck *stuck;

    HASH_FIND(hh, notes->stuck, key.data, key.len, stuck);
    if (stuck != NULL) {
        stuck->is_seen = true;
    }
    return stuck;
}

bool notes_stuck_on(const struct ns_stuck *stuck, uint64_t osd_id)
{
    for (size_t i = 0; i < stuck->osd_count; i++) {
        if (stuck->osd_ids[i] == osd_id) {
            return true;
        }
    }
    return false;
}

void notes_stuck_set(struct ns_notes *notes, struct slice key, uint64_t *take_osd_ids,
                     size_t osd_count)
{
    struct ns_stuck *stuck = notes_stuck_find(notes, key);

    if (stuck != NULL) {
        stuck_drop(notes, stuck);
    }
    if (osd_count == 0 || HASH_COUNT(notes->stuck) >= NOTES_STUCK_MAX) {
        free(take_osd_ids);
        return;
    }
    stuck = mem_zalloc(sizeof(*stuck) + key.len);
    stuck->is_seen = true;
    stuck->osd_ids = take_osd_ids;
    stuck->osd_count = osd_count;
    memcpy(stuck->key, key.data, key.len);
    HASH_ADD_KEYPTR(hh, notes->stuck, stuck->key, key.len, stuck);
}

void notes_stuck_tidy(struct ns_notes *notes)
{
    struct ns_stuck *stuck, *next;

    HASH_ITER (hh, notes->stuck, stuck, next) {
        if (!stuck->is_seen) {
            stuck_drop(notes, stuck);
        } else {
            stuck->is_seen = false;
        }
    }
}
