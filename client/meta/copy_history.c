#include "meta/copy_history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/registry_record.h"

struct copy_change {
    uint64_t version;
    char commit[COPY_COMMIT_TEXT_BYTES];
};

static bool begins(struct slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

static void note_change(struct copy_history *h, struct slice tail, const json_t *json)
{
    char id[RECORD_ID_TEXT_BYTES] = "";
    struct copy_change *change;

    if (tail.len != strlen(REG_CHANGE) + sizeof(id) - 1) {
        return;
    }
    memcpy(id, tail.data + strlen(REG_CHANGE), sizeof(id) - 1);
    if ((h->change_count & (h->change_count - 1)) == 0) { /* full at every power of two */
        h->changes = mem_realloc(h->changes, 2 * (h->change_count + 1) * sizeof(*h->changes));
    }
    change = &h->changes[h->change_count++];
    change->version = strtoull(id, NULL, 16);
    snprintf(change->commit, sizeof(change->commit), "%s", json_text(json, "commit", ""));
}

void copy_history_note(struct copy_history *h, struct slice key, struct slice value)
{
    struct slice tail = reg_key_tail(key);
    bool is_recovered = slice_eq(tail, slice_str(REG_RECOVERED));
    struct err e;
    json_t *json;

    /* One that is damaged proves nothing. */
    if ((!is_recovered && !begins(tail, REG_CHANGE)) ||
        value_open_json(key, value, &json, &e) != 0) {
        return;
    }
    if (is_recovered) {
        h->restored_from = json_u64(json, "restored_from_version", 0);
        h->restored_us = json_u64(json, "at_us", 0);
    } else {
        note_change(h, tail, json);
    }
    json_decref(json);
}

static int by_version(const void *a, const void *b)
{
    const struct copy_change *x = a;
    const struct copy_change *y = b;

    return (x->version > y->version) - (x->version < y->version);
}

/* Of a version between the one that was restored and the present one. */
static bool is_ours(const struct copy_history *h, const struct copy_head *copy)
{
    const struct copy_change wanted = {.version = copy->version};
    const struct copy_change *change = NULL;

    if (h->change_count != 0) {
        change = bsearch(&wanted, h->changes, h->change_count, sizeof(wanted), by_version);
    }
    /* Too long ago to be known by its change: what was read after the restore is of it. */
    return change != NULL ? strcmp(change->commit, copy->commit) == 0
                          : copy->time_us >= h->restored_us;
}

enum copy_age copy_history_judge(const struct copy_history *h, const struct copy_head *now,
                                 const struct copy_head *copy)
{
    if (copy->version == now->version) {
        return strcmp(copy->commit, now->commit) == 0 ? COPY_CURRENT : COPY_AHEAD;
    }
    if (copy->version > now->version) {
        return COPY_AHEAD;
    }
    return h->restored_from != 0 && copy->version > h->restored_from && !is_ours(h, copy)
               ? COPY_AHEAD
               : COPY_OLDER;
}

void copy_history_release(struct copy_history *h)
{
    free(h->changes);
    *h = (struct copy_history){0};
}
