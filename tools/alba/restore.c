/* check all of it -> is the target empty? -> mark it -> (empty it) -> put values -> unmark it */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alba/backup.h"
#include "alba/progress.h"
#include "alba/restore_end.h"
#include "alba/restore_lease.h"
#include "alba/restore_target.h"
#include "base/mem.h"
#include "base/table.h"
#include "meta/engine_owner.h"
#include "meta/ns_keys.h"
#include "meta/nsm.h"
#include "meta/registry_record.h"

enum { TXN_KEYS = 100, TXN_BYTES = 512 * 1024 };

/* An object that has a late record of deletion. */
struct late {
    uint8_t key[8 + NSM_OBJECT_ID_BYTES]; /* namespace id, object id */
    bool is_live;                         /* the stream has the object itself */
    UT_hash_handle hh;
};

struct restoring {
    struct session *s;
    const struct restore_options *options;
    struct restore_result *result;
    struct progress progress;
    struct late *late;
    json_t *hosts; /* NSM host id -> URL, of the registry in the stream */

    struct lease *lease;
    struct restore_target own;          /* s->kv */
    struct restore_fence there;         /* of the namespace on `other` that is written now */
    const struct restore_fence *target; /* where values go; NULL: nowhere, they are left out */
    struct kv *other;                   /* opened for a place; NULL: none */
    char *other_host;
    struct kv_txn txn;
};

/* ---- a key of the stream ---- */

struct place {
    uint64_t ns_id; /* of the last place */
    bool is_ns;
};

/* Is it of the place it stands in? A key of another could overwrite anything. */
static bool belongs(const struct place *place, struct slice key)
{
    struct key prefix = {0}, fence;

    if (!place->is_ns) {
        return copy_keeps(reg_key_tail(key));
    }
    ns_key_info(&prefix, place->ns_id); /* …/ns/<id>/i: all but its last byte */
    return key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len - 1) == 0 &&
           !slice_eq(key, ns_key_restore(&fence, place->ns_id));
}

/* 'n', 'o', …: of a key of a namespace. */
static char kind_of(struct slice key)
{
    return (char)key.data[ns_key_prefix_bytes() - 2];
}

/* What names an object in `late`, from an o/ or x/ key; false: the key is too short. */
static bool late_key(const struct place *place, struct slice key,
                     uint8_t ret_key[8 + NSM_OBJECT_ID_BYTES])
{
    size_t head = ns_key_prefix_bytes();

    if (key.len < head + NSM_OBJECT_ID_BYTES) {
        return false;
    }
    put_u64be(ret_key, place->ns_id);
    memcpy(ret_key + 8, key.data + head, NSM_OBJECT_ID_BYTES);
    return true;
}

static struct late *find_late(struct restoring *r, const struct place *place, struct slice key)
{
    uint8_t wanted[8 + NSM_OBJECT_ID_BYTES];
    struct late *found = NULL;

    if (late_key(place, key, wanted)) {
        HASH_FIND(hh, r->late, wanted, sizeof(wanted), found);
    }
    return found;
}

/* ---- the first reading: nothing is written ---- */

static int note_late(struct restoring *r, const struct place *place, struct slice key)
{
    struct late *late;

    if (find_late(r, place, key) != NULL) {
        return 0;
    }
    late = mem_zalloc(sizeof(*late));
    if (!place->is_ns || kind_of(key) != 'x' || !late_key(place, key, late->key)) {
        free(late);
        return err_say(&r->s->err, ERR_CORRUPT, "a late record of something else");
    }
    HASH_ADD(hh, r->late, key, sizeof(late->key), late);
    return 0;
}

static int check_value(struct restoring *r, struct place *place, const struct backup_record *record)
{
    struct session *s = r->s;
    struct rd payload;

    if (!belongs(place, record->key)) {
        char text[KEY_TEXT_BYTES];

        key_text(record->key, text);
        return err_say(&s->err, ERR_CORRUPT, "key %s stands in the wrong place", text);
    }
    if (record->type == BACKUP_DAMAGED) {
        r->result->counts.damaged++;
        return 0;
    }
    if (value_open(record->key, record->value, &payload, &s->err) != 0) {
        return s->err.code;
    }
    r->result->counts.values++;
    r->result->counts.objects += place->is_ns && kind_of(record->key) == 'o';
    return record->type == BACKUP_LATE ? note_late(r, place, record->key) : 0;
}

/* Remembers where the stream's registry says that namespaces lie. */
static void note_host(struct restoring *r, const struct backup_record *record)
{
    struct slice tail = reg_key_tail(record->key);
    json_t *host = NULL;
    struct err why;

    if (tail.len > strlen(REG_NSM_HOST) &&
        memcmp(tail.data, REG_NSM_HOST, strlen(REG_NSM_HOST)) == 0 &&
        value_open_json(record->key, record->value, &host, &why) == 0) {
        json_object_set_new(r->hosts, json_text(host, "id", ""),
                            json_string(json_text(host, "url", "")));
        json_decref(host);
    }
}

/* Every record, in order. `act` NULL: only checked. */
static int each_record(struct restoring *r, FILE *file,
                       int (*act)(struct restoring *r, struct place *place,
                                  const struct backup_record *record))
{
    struct backup_file in = {0};
    struct backup_record record;
    struct place place = {0};
    struct err *e = &r->s->err;
    int rc;

    rewind(file);
    rc = backup_open(&in, file, e);
    r->result->head = in.head;
    while (rc == 0 && (rc = backup_read(&in, &record, e)) == 1) {
        rc = backup_interrupted(r->s);
        if (record.type == BACKUP_PLACE) {
            place = (struct place){.ns_id = record.ns_id, .is_ns = true};
        }
        rc = rc != 0 ? rc : act(r, &place, &record);
        progress_show(&r->progress, in.bytes);
    }
    backup_release(&in);
    return rc;
}

static int check_record(struct restoring *r, struct place *place,
                        const struct backup_record *record)
{
    if (record->type == BACKUP_PLACE) {
        r->result->counts.namespaces++;
        return json_object_get(r->hosts, record->host) != NULL
                   ? 0
                   : err_say(&r->s->err, ERR_CORRUPT, "a namespace of an unknown NSM host '%.60s'",
                             record->host);
    }
    if (!place->is_ns && record->type == BACKUP_VALUE) {
        note_host(r, record);
        restore_target_note_osd(&r->own, record->key, record->value);
    }
    return check_value(r, place, record);
}

static int flush(struct restoring *r)
{
    return r->txn.update_count == 0 ? 0 : restore_fence_commit(r->s, r->target, &r->txn);
}

/* ---- the target ---- */

static void on_prepared(void *ctx, int rc, const struct kv_reply *reply)
{
    session_done(ctx, rc, reply->err);
}

/* ---- the second reading ---- */

static void on_closed(void *ctx)
{
    session_done(ctx, 0, NULL);
}

static void close_other(struct restoring *r)
{
    if (r->other != NULL) {
        kv_close(r->other, on_closed, r->s);
        session_wait(r->s);
    }
    free(r->other_host);
    r->other = NULL;
    r->other_host = NULL;
}

static bool is_wanted(const struct restoring *r, const char *host)
{
    size_t len = strlen(host);

    for (const char *at = r->options->hosts; at != NULL && *at != '\0'; at += *at == ',') {
        size_t part = strcspn(at, ",");

        if (part == len && memcmp(at, host, len) == 0) {
            return true;
        }
        at += part;
    }
    return false;
}

static void on_claimed(void *ctx, int rc, const struct err *e, bool is_registry)
{
    (void)is_registry;
    session_done(ctx, rc, e);
}

static int open_other(struct restoring *r, const char *host, const char *url)
{
    struct session *s = r->s;
    const struct engine_claim claim = {
        .alba_id = r->result->head.alba_id, .host_id = host, .claimer = ENGINE_KNOWN};
    int rc;

    if (r->other_host != NULL && strcmp(r->other_host, host) == 0) {
        return 0;
    }
    close_other(r);
    if (kv_open(&s->loop, url, s->tls, &r->other, &s->err) != 0) {
        return s->err.code;
    }
    r->other_host = mem_strdup(host);
    kv_prepare(r->other, on_prepared, s);
    rc = session_wait(s);
    if (rc == 0) {
        engine_claim(r->other, &claim, on_claimed, s);
        rc = session_wait(s);
    }
    return rc;
}

static int check_nothing_there(struct restoring *r, struct key low, struct slice high,
                               uint64_t ns_id)
{
    struct backup_page page = {0};
    int rc = backup_range(r->s, r->other, slice_key(&low), high, 1, true, &page);

    if (rc == 0 && page.count != 0) {
        rc = err_say(&r->s->err, ERR_EXISTS,
                     "NSM host '%.60s' has metadata of namespace %" PRIu64
                     " already; --force deletes it and restores",
                     r->other_host, ns_id);
    }
    backup_page_release(&page);
    return rc;
}

/* A namespace on another engine. Its fence is looked at before ours is checked: a restore that
 * began after that check changes it, so that ours fails here. It stays there for that. */
static int take_other(struct restoring *r, uint64_t ns_id)
{
    struct restore_fence *fence = &r->there;
    struct key low, high;
    int rc;

    ns_key_info(&low, ns_id);
    low.len--; /* …/ns/<id>/ */
    high = low;
    key_prefix_end(&high);
    fence->kv = r->other;
    ns_key_restore(&fence->key, ns_id);
    rc = restore_fence_look(r->s, fence);
    rc = rc != 0 ? rc : restore_fence_check(r->s, &r->own.fence);
    if (rc == 0 && !r->options->force) {
        rc = check_nothing_there(r, low, slice_key(&high), ns_id);
    }
    rc = rc != 0 ? rc : restore_fence_swap(r->s, fence, "restoring", NULL, NULL);
    if (rc == 0 && r->options->force) {
        rc = restore_fence_empty(r->s, fence, low, slice_key(&high));
    }
    return rc != 0 ? rc : restore_fence_swap(r->s, fence, "restoring", NULL, NULL);
}

/* The values of the place before are written. */
static int leave_place(struct restoring *r)
{
    int rc = flush(r);

    if (rc == 0 && r->target == &r->there) {
        rc = restore_fence_swap(r->s, &r->there, "restored", NULL, NULL);
    }
    restore_fence_release(&r->there);
    r->target = NULL;
    return rc;
}

static int enter_place(struct restoring *r, const struct backup_record *record)
{
    const char *url = json_string_value(json_object_get(r->hosts, record->host));
    int rc = leave_place(r);

    if (rc != 0) {
        return rc;
    }
    if (strcmp(url, "registry:") == 0) {
        r->target = &r->own.fence;
        return 0;
    }
    if (!is_wanted(r, record->host)) {
        json_object_set_new(r->result->left_out, record->host, json_true());
        return 0;
    }
    rc = open_other(r, record->host, url);
    rc = rc != 0 ? rc : take_other(r, record->ns_id);
    r->target = &r->there;
    return rc;
}

static int put_record(struct restoring *r, struct place *place, const struct backup_record *record)
{
    struct late *late;

    if (record->type == BACKUP_PLACE) {
        return enter_place(r, record);
    }
    if (record->type == BACKUP_DAMAGED || r->target == NULL) {
        return 0;
    }
    if (!place->is_ns && restore_target_keeps(&r->own, record->key)) {
        return 0;
    }
    late = place->is_ns && r->late != NULL ? find_late(r, place, record->key) : NULL;
    if (late != NULL && kind_of(record->key) == 'o') {
        late->is_live = true;
    }
    if (late != NULL && record->type == BACKUP_LATE && late->is_live) {
        return 0; /* it is there in this picture: its fragments must stay */
    }
    kv_txn_put(&r->txn, record->key, record->value);
    return r->txn.update_count >= TXN_KEYS || r->txn.bytes >= TXN_BYTES ? flush(r) : 0;
}

static int write_all(struct restoring *r, FILE *file)
{
    struct session *s = r->s;
    int rc;

    kv_prepare(s->kv, on_prepared, s);
    rc = session_wait(s);
    rc = rc != 0 ? rc : restore_target_check(s, &r->own);
    rc = rc != 0 ? rc : restore_lease_take(s, &r->lease);
    rc = rc != 0 ? rc : restore_target_take(s, &r->own);
    if (rc == 0) {
        r->target = &r->own.fence;
        progress_begin(&r->progress, "restoring", r->progress.total, true);
        rc = each_record(r, file, put_record);
        rc = rc != 0 ? rc : leave_place(r);
        progress_end(&r->progress);
    }
    return rc != 0 ? rc : restore_end(s, &r->result->head, &r->own.fence, r->own.ids);
}

int restore_run(struct session *s, FILE *file, const struct restore_options *options,
                struct restore_result *ret_result)
{
    struct restoring r = {.s = s, .options = options, .result = ret_result, .hosts = json_object()};
    struct late *late, *next;
    long bytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    int rc;

    ret_result->left_out = json_object();
    ret_result->kept_osds = json_object();
    restore_target_init(&r.own, options, ret_result);
    progress_begin(&r.progress, "checking", bytes > 0 ? (uint64_t)bytes : 0, true);
    rc = bytes < 0 ? err_say(&s->err, -ESPIPE, "want a file, which is read twice")
                   : each_record(&r, file, check_record);
    progress_end(&r.progress);
    if (rc == 0 && !options->only_check) {
        rc = write_all(&r, file);
    }
    HASH_ITER (hh, r.late, late, next) {
        HASH_DEL(r.late, late);
        free(late);
    }
    close_other(&r);
    restore_lease_end(s, r.lease);
    kv_txn_release(&r.txn);
    restore_target_release(&r.own);
    restore_fence_release(&r.there);
    json_decref(r.hosts);
    return rc;
}
