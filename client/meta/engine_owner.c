/* look -> (are there namespaces?) -> one transaction -> (look again, if its asserts failed)
 *
 * - the reply is lost: the same transaction again; it fails on its own mark, which is then seen;
 * - two at once: the asserts of one fail, and it sees the mark, or the registry, of the other. */
#include "meta/engine_owner.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/kv_commit.h"
#include "meta/registry_record.h"

enum { LOOKS_MAX = 8 };

/* What is read at once, and asserted absent. */
enum { KEY_MARK, KEY_VERSION, KEY_ALBA, KEY_RECOVERING, KEYS };

struct engine_op {
    struct kv *kv;
    char *alba_id, *host_id;
    enum engine_claimer claimer;
    unsigned looks;
    bool is_damaged; /* the mark: an operator has it written anew */
    struct kv_txn txn;
    struct err err;
    engine_claim_cb cb;
    void *ctx;
};

struct slice engine_mark_key(struct key *key)
{
    key->len = 0;
    key_put_text(key, "/alba/v1/host");
    return slice_key(key);
}

static struct slice key_of(struct key *key, unsigned which)
{
    static const char *const names[KEYS] = {
        [KEY_VERSION] = REG_VERSION, [KEY_ALBA] = REG_ALBA, [KEY_RECOVERING] = REG_RECOVERING};

    return which == KEY_MARK ? engine_mark_key(key) : reg_key(key, names[which], "");
}

static void finish(struct engine_op *op, int rc, bool is_registry)
{
    op->cb(op->ctx, rc, &op->err, is_registry);
    kv_txn_release(&op->txn);
    free(op->alba_id);
    free(op->host_id);
    free(op);
}

static void fail(struct engine_op *op, int rc, const struct err *e)
{
    err_copy(&op->err, e);
    finish(op, rc, false);
}

static void look(struct engine_op *op);

/* ---- marking ---- */

static void on_marked(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct engine_op *op = ctx;

    if (rc == ERR_ASSERT_FAILED && op->looks < LOOKS_MAX) {
        look(op);
    } else if (rc != 0) {
        fail(op, rc, result->err);
    } else {
        finish(op, 0, false);
    }
}

static void mark(struct engine_op *op)
{
    json_t *json = json_pack("{s:s, s:s}", "alba_id", op->alba_id, "host_id", op->host_id);
    struct buf value = {0};
    struct key key;

    kv_txn_release(&op->txn);
    for (unsigned i = op->is_damaged ? KEY_VERSION : KEY_MARK; i < KEYS; i++) {
        kv_txn_assert_absent(&op->txn, key_of(&key, i));
    }
    value_make_json(&value, engine_mark_key(&key), json);
    kv_txn_put(&op->txn, engine_mark_key(&key), slice_buf(&value));
    op->txn.reserve = true; /* a host that is full is marked, too */
    buf_release(&value);
    json_decref(json);
    kv_commit(op->kv, &op->txn, clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS, on_marked, op);
}

/* ---- namespaces ---- */

static void on_namespaces(void *ctx, int rc, const struct kv_reply *reply)
{
    struct engine_op *op = ctx;

    if (rc != 0) {
        fail(op, rc, reply->err);
    } else if (reply->count != 0) {
        err_say(&op->err, ERR_EXISTS,
                "metadata %.90s has namespaces, and nothing says of which alba: only if it was an "
                "NSM host of this one, --adopt takes it; else take an empty one",
                kv_url(op->kv));
        finish(op, ERR_EXISTS, false);
    } else {
        mark(op);
    }
}

/* Its objects would seem not to exist. */
static void refuse_move(struct engine_op *op)
{
    err_say(&op->err, ERR_NOT_FOUND,
            "metadata %.90s does not say that it is NSM host '%.50s', which has namespaces: are "
            "they there (--adopt)? If they are gone: update-nsm-host --lost, then restore-metadata "
            "--host=%.50s",
            kv_url(op->kv), op->host_id, op->host_id);
    finish(op, ERR_NOT_FOUND, false);
}

static void look_for_namespaces(struct engine_op *op)
{
    struct key low = {0}, high;

    key_put_text(&low, "/alba/v1/ns/");
    high = low;
    key_prefix_end(&high);
    kv_range(op->kv,
             &(struct kv_range){
                 .low = slice_key(&low), .high = slice_key(&high), .limit = 1, .keys_only = true},
             0, on_namespaces, op);
}

/* ---- looking ---- */

/* What to do when it is another's. */
static const char *advice(enum engine_claimer claimer)
{
    return claimer == ENGINE_KNOWN
               ? "alba update-nsm-host says where the host is now, or --lost that it is gone"
               : "take an empty one";
}

static int refuse_mark(const char *url, struct slice value, const char *what_to_do, struct err *e)
{
    json_t *json = NULL;
    struct key key;
    struct err why;

    if (value_open_json(engine_mark_key(&key), value, &json, &why) != 0) {
        return err_say(e, ERR_EXISTS, "metadata %.90s is an NSM host, of which alba is damaged: %s",
                       url, what_to_do);
    }
    err_say(e, ERR_EXISTS, "metadata %.90s is NSM host '%.50s' of alba %.40s: %s", url,
            json_text(json, "host_id", ""), json_text(json, "alba_id", ""), what_to_do);
    json_decref(json);
    return ERR_EXISTS;
}

/* A registry is there, perhaps half made or half restored. */
static void judge_registry(struct engine_op *op, const struct kv_item *alba)
{
    json_t *json = NULL;
    const char *id = "of unknown id";
    struct err why;

    if (alba->found && !alba->is_damaged &&
        value_open_json(alba->key, alba->value, &json, &why) == 0) {
        id = json_text(json, "id", id);
    }
    if (strcmp(id, op->alba_id) == 0) {
        finish(op, 0, true);
    } else {
        err_say(&op->err, ERR_EXISTS, "metadata %.90s holds the registry of alba %.40s: %s",
                kv_url(op->kv), id, advice(op->claimer));
        finish(op, ERR_EXISTS, false);
    }
    json_decref(json);
}

static void judge_mark(struct engine_op *op, const struct kv_item *item)
{
    json_t *json = NULL;
    const char *host;

    op->is_damaged =
        item->is_damaged || value_open_json(item->key, item->value, &json, &op->err) != 0;
    host = json_text(json, "host_id", "");
    if (op->is_damaged && op->claimer == ENGINE_ADOPT) {
        mark(op);
    } else if (op->is_damaged) {
        err_say(&op->err, ERR_CORRUPT,
                "metadata %.90s: the mark that says whose it is is damaged; if it is NSM host "
                "'%.60s': alba update-nsm-host --adopt --id=%.60s",
                kv_url(op->kv), op->host_id, op->host_id);
        finish(op, ERR_CORRUPT, false);
    } else if (strcmp(json_text(json, "alba_id", ""), op->alba_id) != 0) {
        refuse_mark(kv_url(op->kv), item->value, advice(op->claimer), &op->err);
        finish(op, ERR_EXISTS, false);
    } else if (strcmp(host, op->host_id) == 0 || op->claimer == ENGINE_KNOWN) {
        finish(op, 0, false);
    } else {
        err_say(&op->err, ERR_EXISTS,
                "metadata %.90s is NSM host '%.60s' of this alba: --id=%.60s, if that is meant; "
                "else take an empty one",
                kv_url(op->kv), host, host);
        finish(op, ERR_EXISTS, false);
    }
    json_decref(json);
}

static void on_looked(void *ctx, int rc, const struct kv_reply *reply)
{
    struct engine_op *op = ctx;
    const struct kv_item *items = reply->items;

    if (rc != 0) {
        fail(op, rc, reply->err);
    } else if (items[KEY_VERSION].found || items[KEY_ALBA].found || items[KEY_RECOVERING].found) {
        judge_registry(op, &items[KEY_ALBA]);
    } else if (items[KEY_MARK].found) {
        judge_mark(op, &items[KEY_MARK]);
    } else if (op->claimer == ENGINE_NEW) {
        look_for_namespaces(op);
    } else if (op->claimer == ENGINE_MOVED) {
        refuse_move(op);
    } else {
        mark(op);
    }
}

static void look(struct engine_op *op)
{
    struct key keys[KEYS];
    struct slice slices[KEYS];

    op->looks++;
    for (unsigned i = 0; i < KEYS; i++) {
        slices[i] = key_of(&keys[i], i);
    }
    kv_get(op->kv, slices, KEYS, 0, on_looked, op);
}

void engine_claim(struct kv *kv, const struct engine_claim *claim, engine_claim_cb cb, void *ctx)
{
    struct engine_op *op = mem_zalloc(sizeof(*op));

    *op = (struct engine_op){.kv = kv,
                             .alba_id = mem_strdup(claim->alba_id),
                             .host_id = mem_strdup(claim->host_id),
                             .claimer = claim->claimer,
                             .cb = cb,
                             .ctx = ctx};
    look(op);
}

int engine_mark_refuse(const char *url, struct slice value, struct err *e)
{
    return refuse_mark(url, value, advice(ENGINE_NEW), e);
}
