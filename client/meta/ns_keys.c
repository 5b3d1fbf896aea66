#include "meta/ns_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static const char root[] = "/alba/v1/ns/";

enum { ROOT_BYTES = sizeof(root) - 1, KIND_AT = ROOT_BYTES + 9, PREFIX_BYTES = KIND_AT + 2 };

size_t ns_key_prefix_bytes(void)
{
    return PREFIX_BYTES;
}

struct slice ns_key_root(struct key *key, uint64_t ns_id, char kind)
{
    uint8_t tail[3] = {'/', (uint8_t)kind, '/'};

    key->len = 0;
    key_put(key, root, ROOT_BYTES);
    key_put_u64be(key, ns_id);
    key_put(key, tail, sizeof(tail));
    return slice_key(key);
}

struct slice ns_key_info(struct key *key, uint64_t ns_id)
{
    ns_key_root(key, ns_id, 'i');
    key->len--; /* it has nothing behind it, not even the slash */
    return slice_key(key);
}

struct slice ns_key_restore(struct key *key, uint64_t ns_id)
{
    ns_key_root(key, ns_id, 'r');
    key->len--;
    return slice_key(key);
}

static struct slice with_u64(struct key *key, uint64_t ns_id, char kind, uint64_t v)
{
    ns_key_root(key, ns_id, kind);
    key_put_u64be(key, v);
    return slice_key(key);
}

static struct slice with_bytes(struct key *key, uint64_t ns_id, char kind, struct slice s)
{
    ns_key_root(key, ns_id, kind);
    key_put(key, s.data, s.len);
    return slice_key(key);
}

struct slice ns_key_epoch(struct key *key, uint64_t ns_id, uint64_t epoch)
{
    return with_u64(key, ns_id, 'e', epoch);
}

struct slice ns_key_epoch_began(struct key *key, uint64_t ns_id, uint64_t epoch)
{
    return with_u64(key, ns_id, 'a', epoch);
}

struct slice ns_key_name(struct key *key, uint64_t ns_id, struct slice name)
{
    return with_bytes(key, ns_id, 'n', name);
}

struct slice ns_key_object(struct key *key, uint64_t ns_id, struct slice id)
{
    return with_bytes(key, ns_id, 'o', id);
}

struct slice ns_key_osd(struct key *key, uint64_t ns_id, uint64_t osd_id, struct slice id)
{
    with_u64(key, ns_id, 'd', osd_id);
    key_put(key, "/", 1);
    key_put(key, id.data, id.len);
    return slice_key(key);
}

struct slice ns_key_obsolete(struct key *key, uint64_t ns_id, struct slice id)
{
    return with_bytes(key, ns_id, 'x', id);
}

struct slice ns_key_dropped(struct key *key, uint64_t ns_id, struct slice id, uint32_t version)
{
    with_bytes(key, ns_id, 'x', id);
    key_put_u32be(key, version);
    return slice_key(key);
}

struct slice ns_key_tombstone(struct key *key, uint64_t ns_id, uint64_t epoch, struct slice id)
{
    with_u64(key, ns_id, 't', epoch);
    key_put(key, "/", 1);
    key_put(key, id.data, id.len);
    return slice_key(key);
}

struct slice ns_key_usage(struct key *key, uint64_t ns_id, const char *writer)
{
    return with_bytes(key, ns_id, 'u', slice_str(writer));
}

int ns_key_parse_id(struct slice key, uint64_t *ret_ns_id, struct err *e)
{
    if (key.len <= KIND_AT || memcmp(key.data, root, ROOT_BYTES) != 0 ||
        key.data[KIND_AT - 1] != '/') {
        return err_set(e, ERR_CORRUPT, "not a key of a namespace");
    }
    *ret_ns_id = get_u64be(key.data + ROOT_BYTES);
    return 0;
}

/* ---- values ---- */

void ns_value_epoch(struct buf *b, struct slice key)
{
    value_make(b, key, slice_of(NULL, 0));
}

int ns_value_manifest(struct buf *b, struct slice key, const struct manifest *m, struct err *e)
{
    size_t limit = (size_t)NSM_MANIFEST_BYTES_MAX + VALUE_HEAD_BYTES;

    value_begin(b);
    if (manifest_encode(m, MANIFEST_V3, b, e) != 0) {
        return e->code;
    }
    if (b->len > limit) {
        return err_set(e, ERR_TOO_LARGE, "manifest of %zu bytes (at most %d)", b->len,
                       NSM_MANIFEST_BYTES_MAX);
    }
    value_end(b, key);
    return 0;
}

static int open_manifest(struct slice key, struct rd *payload, struct slice id,
                         struct manifest *ret_manifest, struct err *e)
{
    char text[KEY_TEXT_BYTES];

    key_text(key, text);
    if (manifest_decode(payload, ret_manifest, e) != 0) {
        return err_wrap(e, "%s", text);
    }
    if (!slice_eq(ret_manifest->object_id, id)) {
        manifest_release(ret_manifest);
        return err_set(e, ERR_CORRUPT, "%s: manifest of another object", text);
    }
    return 0;
}

int ns_value_manifest_open(struct slice key, struct slice value, struct slice id,
                           struct manifest *ret_manifest, struct err *e)
{
    struct rd payload;

    if (value_open(key, value, &payload, e) != 0) {
        return e->code;
    }
    return open_manifest(key, &payload, id, ret_manifest, e);
}

void ns_value_obsolete(struct buf *b, struct slice key, const uint8_t commit[NS_COMMIT_ID_BYTES],
                       struct slice object)
{
    value_begin(b);
    buf_put(b, commit, NS_COMMIT_ID_BYTES);
    buf_put_u64le(b, clock_wall_us());
    buf_put(b, object.data, object.len);
    value_end(b, key);
}

int ns_value_obsolete_open(struct slice key, struct slice value,
                           uint8_t ret_commit[NS_COMMIT_ID_BYTES], int64_t *ret_time_us,
                           struct manifest *ret_manifest, struct err *e)
{
    struct rd r;
    const uint8_t *commit;
    int64_t time_us;

    if (key.len < PREFIX_BYTES + NSM_OBJECT_ID_BYTES) {
        return err_set(e, ERR_CORRUPT, "key of %zu bytes in x/", key.len);
    }
    if (value_open(key, value, &r, e) != 0) {
        return e->code;
    }
    commit = rd_bytes(&r, NS_COMMIT_ID_BYTES);
    time_us = (int64_t)rd_u64le(&r);
    if (open_manifest(key, &r, slice_of(key.data + PREFIX_BYTES, NSM_OBJECT_ID_BYTES), ret_manifest,
                      e) != 0) {
        return e->code;
    }
    memcpy(ret_commit, commit, NS_COMMIT_ID_BYTES); /* a short record did not get here */
    *ret_time_us = time_us;
    return 0;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

size_t ns_manifest_osds(const struct manifest *m, uint64_t **ret_osd_ids)
{
    size_t fragments = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);
    uint64_t *ids = mem_array(fragments + 1, sizeof(*ids));
    size_t count = 0;
    size_t distinct = 0;

    for (size_t i = 0; i < fragments; i++) {
        if (m->fragments[i].has_osd) {
            ids[count++] = m->fragments[i].osd_id;
        }
    }
    qsort(ids, count, sizeof(*ids), compare_u64);
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || ids[distinct - 1] != ids[i]) {
            ids[distinct++] = ids[i];
        }
    }
    *ret_osd_ids = ids;
    return distinct;
}
