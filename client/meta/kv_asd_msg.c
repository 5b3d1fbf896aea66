/* Messages of the asd:// engine: requests out of operations, results out of replies. */
#include <assert.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "meta/bytes.h"
#include "meta/kv_asd.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

enum { GET_BATCH = 64 /* keys of one MultiGet: bounds its reply */ };

static const uint8_t meta_byte = OSD_KEY_META_BYTE;

/* ---- requests ---- */

/* The keys of a request with our byte in front. The encoder copies them (they are
 * short), so they live as long as the encoding. */
static_assert(KV_KEY_BYTES_MAX + 1 < GATHER_BORROW_BYTES_MIN, "keys are copied");

struct keys {
    struct buf bytes;
    size_t at; /* read position, once all are put */
};

static void keys_put(struct keys *keys, struct slice key)
{
    buf_put(&keys->bytes, &meta_byte, 1);
    buf_put(&keys->bytes, key.data, key.len);
}

/* The next one; `key` as it was put. */
static struct slice keys_next(struct keys *keys, struct slice key)
{
    struct slice with_byte = slice_of(keys->bytes.data + keys->at, key.len + 1);

    keys->at += with_byte.len;
    return with_byte;
}

static void encode_get(struct asd_op *a)
{
    struct keys bytes = {0};
    struct slice keys[GET_BATCH];
    struct asd_request request = {.code = ASD_MULTI_GET};
    const struct slice *from = a->op.keys + a->next_key;
    size_t left = a->op.key_count - a->next_key;
    size_t max = a->batch_max != 0 ? a->batch_max : GET_BATCH;

    a->batch = left < max ? left : max;
    for (size_t i = 0; i < a->batch; i++) {
        keys_put(&bytes, from[i]);
    }
    for (size_t i = 0; i < a->batch; i++) {
        keys[i] = keys_next(&bytes, from[i]);
    }
    request.keys.items = keys;
    request.keys.count = (uint32_t)a->batch;
    asd_request_encode(&request, &a->request);
    buf_release(&bytes.bytes);
}

static void encode_range(struct asd_op *a)
{
    const struct kv_range *range = &a->op.range;
    size_t left = range->limit - a->op.item_count;
    struct keys bytes = {0};
    struct slice low, high;
    struct asd_request request = {.code = range->keys_only ? ASD_RANGE : ASD_RANGE_ENTRIES};

    keys_put(&bytes, range->low);
    keys_put(&bytes, range->high);
    low = keys_next(&bytes, range->low);
    high = keys_next(&bytes, range->high);
    request.range =
        (struct asd_range){.first = range->reverse ? high : low,
                           .first_included = !range->reverse,
                           .has_last = true,
                           .last = range->reverse ? low : high,
                           .last_included = range->reverse,
                           .max = (int32_t)(left < ASD_RANGE_MAX ? left : ASD_RANGE_MAX),
                           .reverse = range->reverse};
    if (a->resume.len != 0) {
        request.range.first = a->resume;
        request.range.first_included = false;
    }
    if (a->stop.len != 0) {
        request.range.last = a->stop;
        request.range.last_included = false;
    }
    asd_request_encode(&request, &a->request);
    buf_release(&bytes.bytes);
}

static void encode_apply(struct asd_op *a)
{
    const struct kv_txn *txn = a->op.txn;
    struct asd_assert asserts[KV_ASSERTS_MAX];
    struct asd_update updates[KV_UPDATES_MAX];
    struct keys bytes = {0};
    struct asd_request request = {.code = ASD_APPLY,
                                  .prio = txn->low_priority ? ASD_PRIO_LOW : ASD_PRIO_HIGH,
                                  .apply = {.asserts = asserts,
                                            .updates = updates,
                                            .assert_count = txn->assert_count,
                                            .update_count = txn->update_count,
                                            .flags = txn->reserve ? ASD_APPLY_RESERVE : 0}};

    for (unsigned i = 0; i < txn->assert_count; i++) {
        keys_put(&bytes, txn->asserts[i].key);
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        keys_put(&bytes, txn->updates[i].key);
    }
    for (unsigned i = 0; i < txn->assert_count; i++) {
        const struct kv_assert *from = &txn->asserts[i];

        asserts[i] = (struct asd_assert){.key = keys_next(&bytes, from->key),
                                         .value = from->value,
                                         .has_value = !from->is_absent};
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        const struct kv_update *from = &txn->updates[i];
        uint32_t crc = crc32c(0, from->value.data, from->value.len);

        updates[i] = (struct asd_update){.key = keys_next(&bytes, from->key),
                                         .value = from->value,
                                         .checksum = checksum_crc32c(crc),
                                         .is_delete = from->is_delete,
                                         .assertable = true};
    }
    asd_request_encode(&request, &a->request);
    buf_release(&bytes.bytes);
}

void kv_asd_encode(struct asd_op *a)
{
    switch (a->op.kind) {
    case KV_OP_GET:
        encode_get(a);
        break;
    case KV_OP_RANGE:
        encode_range(a);
        break;
    case KV_OP_APPLY:
        encode_apply(a);
        break;
    case KV_OP_PREPARE: /* goes another way: osd_ask() */
    case KV_OP_SLEEP:   /* never gets here: kv.c */
        CHECK(false);
    }
}

/* ---- replies ---- */

static struct slice without_byte(struct slice key)
{
    return slice_of(key.data + 1, key.len - 1);
}

static int bad_reply(struct asd_op *a, const char *what)
{
    return err_set(&a->op.err, ERR_PROTOCOL, "%s: %s", a->op.kv->url, what);
}

/* After damage the batches grow again. 1: another one is to be asked for. */
static int next_batch(struct asd_op *a)
{
    a->next_key += a->batch;
    if (a->batch_max != 0 && a->batch_max < GET_BATCH) {
        a->batch_max *= 2;
    }
    return a->next_key < a->op.key_count ? 1 : 0;
}

/* 1: another batch is to be asked for. */
static int take_values(struct asd_op *a, const struct asd_reply *reply)
{
    if (reply->values.count != a->batch) {
        return bad_reply(a, "another number of values than keys");
    }
    for (size_t i = 0; i < a->batch; i++) {
        const struct asd_value *v = &reply->values.items[i];

        kv_op_add(&a->op, a->op.keys[a->next_key + i], v->value, v->found);
    }
    return next_batch(a);
}

/* Inside the range, and behind what was taken: what pages on must end, whatever the other side
 * says. */
static bool is_next(const struct asd_op *a, struct slice key)
{
    const struct kv_range *range = &a->op.range;
    struct slice bare;

    if (key.len < 2 || key.data[0] != meta_byte) {
        return false;
    }
    bare = without_byte(key);
    return slice_cmp(bare, range->low) >= 0 && slice_cmp(bare, range->high) < 0 &&
           (a->resume.len == 0 || (slice_cmp(key, a->resume) > 0) != range->reverse);
}

static int take_entry(struct asd_op *a, struct slice key, struct slice value)
{
    if (!is_next(a, key)) {
        return bad_reply(a, "a key outside the range, or a range that goes back");
    }
    if (a->op.item_count == a->op.range.limit) {
        return bad_reply(a, "more entries than asked for");
    }
    kv_op_add(&a->op, without_byte(key), value, true);
    a->resume = key;
    a->range_bytes += key.len + value.len;
    return 0;
}

/* Everything before the damaged one is taken. 1: go on behind it. */
static int take_stop(struct asd_op *a)
{
    if (a->op.item_count == a->op.range.limit) {
        a->op.has_more = true;
        return 0;
    }
    kv_op_add_damaged(&a->op, without_byte(a->stop));
    a->resume = a->stop;
    a->stop = slice_of(NULL, 0);
    a->op.has_more = a->op.item_count == a->op.range.limit;
    return !a->op.has_more;
}

static int take_range(struct asd_op *a, const struct asd_reply *reply)
{
    bool is_keys = a->op.range.keys_only;
    size_t count = is_keys ? reply->keys.count : reply->entries.count;
    bool more = is_keys ? reply->keys.more : reply->entries.more;

    for (size_t i = 0; i < count; i++) {
        const struct asd_entry *entry = is_keys ? NULL : &reply->entries.items[i];
        int rc = is_keys ? take_entry(a, reply->keys.items[i], slice_of(NULL, 0))
                         : take_entry(a, entry->key, entry->value);

        if (rc != 0) {
            return rc;
        }
    }
    a->op.has_more = more;
    if (more && count == 0) {
        return bad_reply(a, "an empty page that has more");
    }
    if (!more && a->stop.len != 0) {
        return take_stop(a);
    }
    return more && a->op.item_count < a->op.range.limit && a->range_bytes < KV_RANGE_BYTES_MAX;
}

/* The ASD names the key. */
static int range_damage(struct asd_op *a)
{
    struct slice key = slice_buf(&a->call.failed_key);

    if (a->op.range.keys_only || !is_next(a, key) ||
        (a->stop.len != 0 && (slice_cmp(key, a->stop) < 0) == a->op.range.reverse)) {
        return a->op.err.code;
    }
    a->stop = slice_dup(key);
    kv_op_own(&a->op, (void *)(uintptr_t)a->stop.data);
    return 1;
}

/* Halves, until one key is left. */
static int get_damage(struct asd_op *a)
{
    if (a->batch > 1) {
        a->batch_max = a->batch / 2;
        return 1;
    }
    kv_op_add_damaged(&a->op, a->op.keys[a->next_key]);
    return next_batch(a);
}

int kv_asd_take_damage(struct asd_op *a)
{
    return a->op.kind == KV_OP_GET ? get_damage(a) : range_damage(a);
}

int kv_asd_take_reply(struct asd_op *a)
{
    static const uint32_t codes[] = {[KV_OP_GET] = ASD_MULTI_GET, [KV_OP_APPLY] = ASD_APPLY};
    uint32_t code = a->op.kind != KV_OP_RANGE ? codes[a->op.kind]
                    : a->op.range.keys_only   ? ASD_RANGE
                                              : ASD_RANGE_ENTRIES;
    struct asd_reply reply;
    int rc = asd_reply_decode(a->call.reply, code, &reply, &a->op.err);

    if (rc != 0) {
        return err_wrap(&a->op.err, "%s", a->op.kv->url);
    }
    if (a->op.kind == KV_OP_GET) {
        rc = take_values(a, &reply);
    } else if (a->op.kind == KV_OP_RANGE) {
        rc = take_range(a, &reply);
    }
    asd_reply_release(&reply);
    kv_op_own(&a->op, asd_call_detach_reply(&a->call));
    return rc;
}
