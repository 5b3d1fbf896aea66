/* Metadata of a deployment as a stream, and back (client/meta/BACKUP.md). One thread; calls
 * block; SIGINT and SIGTERM end them early, with ERR_CANCELED. */
#ifndef ALBA_BACKUP_H
#define ALBA_BACKUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "alba/session.h"
#include "meta/backup_file.h"

struct backup_counts {
    uint64_t values;
    uint64_t namespaces;
    uint64_t objects;
    uint64_t damaged; /* values that could not be read: not in the stream */
};

/* Writes the stream of s->registry's deployment; `lost` (an array) gets the names of namespaces
 * whose manifests are lost: nothing of their objects is in it. Fails with s->err. */
int backup_write(struct session *s, FILE *file, struct backup_head *ret_head,
                 struct backup_counts *ret_counts, json_t *lost);

struct restore_options {
    const char *hosts;        /* "a,b": further NSM hosts whose sections are restored; NULL: none */
    bool force;               /* delete what is there */
    const char *replace_alba; /* … also when it is of this alba; NULL: only the stream's */
    bool only_check;          /* of the stream; s->kv is not needed */
};

struct restore_result {
    struct backup_head head;
    struct backup_counts counts;
    json_t *left_out;  /* keys: NSM hosts whose sections were not restored; the caller's */
    json_t *kept_osds; /* claimed since the backup: long id -> OSD id; the caller's */
};

/* Checks the stream, then writes it to s->kv. Fails with s->err. */
int restore_run(struct session *s, FILE *file, const struct restore_options *options,
                struct restore_result *ret_result);

/* ---- for both ---- */

/* From here on SIGINT and SIGTERM only set what backup_interrupted() tells. */
void backup_catch_signals(void);
int backup_interrupted(struct session *s); /* 0 or ERR_CANCELED, in s->err */

/* What a read brought, in memory of its own. */
struct backup_page {
    struct kv_item *items;
    size_t count;
    bool has_more;
    struct buf bytes; /* private */
};
/* low <= key < high. Release it in any case; it may be used again. */
int backup_range(struct session *s, struct kv *kv, struct slice low, struct slice high,
                 size_t limit, bool keys_only, struct backup_page *page);
int backup_get(struct session *s, struct kv *kv, const struct slice *keys, size_t count,
               struct backup_page *page);
void backup_page_release(struct backup_page *page);

#endif
