#include "asd/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/health.h"
#include "asd/store_private.h"
#include "base/crc32c.h"
#include "base/mem.h"

enum { CACHED_KEY_BYTES_MAX = 511, EQUALS_CHUNK_BYTES = 1048576 };

static int bad_value(struct asd_store *store, int rc)
{
    if (rc == ERR_CORRUPT) {
        asd_count(&store->counters.bad_values, 1);
    }
    return rc;
}

int asd_value_note_index(struct asd_store *store, struct slice index_key, int rc)
{
    if (rc == -EIO) {
        asd_health_index_error(store, crc32c(0, index_key.data, index_key.len));
    }
    return bad_value(store, rc);
}

/* A look-up in a thread gave `rc`. What is inline has been read with it. */
static int find_tell(struct asd_store *store, struct slice index_key, const struct asd_found *found,
                     int rc)
{
    if (rc == 0 && !found->record.in_slab) {
        asd_health_read(store, 0, 0, 0);
    }
    return asd_value_note_index(store, index_key, rc);
}

/* What a look-up begun at `seq` gave. -EAGAIN: look up again. */
static int found_take(struct asd_store *store, struct slice index_key, uint64_t seq,
                      struct asd_index_value *value, struct asd_found *ret_found, struct err *e)
{
    struct asd_value_record *record = &ret_found->record;
    int rc = asd_value_record_get(index_key, value->bytes, record, e);

    if (rc == ERR_VERSION) {
        rc = e->code = ERR_CORRUPT; /* this key's trouble; no version of a protocol */
    }
    if (rc != 0 || record->in_slab) {
        store->index->ops->release(store->index, value);
    } else {
        ret_found->index_value = *value;
    }
    if (rc == 0 && record->in_slab) {
        rc = asd_space_pin(&store->space, record->slab, seq, &ret_found->pin);
        if (rc == ERR_CORRUPT) {
            err_set(e, rc, "slab %" PRIu64 " does not exist", record->slab);
        }
    }
    return rc;
}

typedef int (*find_cb)(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                       struct err *e);

static int find_by(struct asd_store *store, find_cb get, struct slice index_key,
                   struct asd_found *ret_found, struct err *e)
{
    int rc;

    *ret_found = (struct asd_found){0};
    do {
        uint64_t seq = asd_space_seq(&store->space);
        struct asd_index_value value = {0};

        rc = get(store->index, index_key, &value, e);
        if (rc == 0) {
            rc = found_take(store, index_key, seq, &value, ret_found, e);
        }
    } while (rc == -EAGAIN);
    return rc;
}

int asd_value_find(struct asd_store *store, struct slice index_key, struct asd_found *ret_found,
                   struct err *e)
{
    int rc = find_by(store, store->index->ops->get, index_key, ret_found, e);

    return find_tell(store, index_key, ret_found, rc);
}

int asd_value_find_cached(struct asd_store *store, struct slice key, struct asd_found *ret_found,
                          struct err *e)
{
    uint8_t index_key[1 + CACHED_KEY_BYTES_MAX];
    int rc;

    *ret_found = (struct asd_found){0};
    if (key.len > CACHED_KEY_BYTES_MAX) {
        return ERR_BUSY;
    }
    index_key[0] = ASD_KEY_VALUE;
    memcpy(index_key + 1, key.data, key.len);
    rc = find_by(store, store->index->ops->get_cached, slice_of(index_key, key.len + 1), ret_found,
                 e);
    return rc == 0 || rc == ERR_NOT_FOUND ? rc : ERR_BUSY;
}

void asd_value_find_many(struct asd_store *store, const struct slice *index_keys, size_t count,
                         struct asd_found *ret_found, int *ret_rcs, struct err *e)
{
    struct asd_index_value *values = mem_array(count, sizeof(values[0]));
    uint64_t seq = asd_space_seq(&store->space);

    store->index->ops->multi_get(store->index, count, index_keys, values, ret_rcs, e);
    for (size_t i = 0; i < count; i++) {
        ret_found[i] = (struct asd_found){0};
        if (ret_rcs[i] == 0) {
            ret_rcs[i] = found_take(store, index_keys[i], seq, &values[i], &ret_found[i], e);
        }
        if (ret_rcs[i] == -EAGAIN) {
            ret_rcs[i] = asd_value_find(store, index_keys[i], &ret_found[i], e);
        } else {
            find_tell(store, index_keys[i], &ret_found[i], ret_rcs[i]);
        }
    }
    free(values);
}

void asd_value_found_release(struct asd_store *store, struct asd_found *found)
{
    store->index->ops->release(store->index, &found->index_value);
    asd_space_unpin(&store->space, &found->pin);
}

int asd_value_read_part(struct asd_store *store, const struct asd_found *found, uint32_t offset,
                        uint32_t bytes, uint8_t *ret_data, struct err *e)
{
    const struct asd_value_record *record = &found->record;
    int rc;

    if (offset > record->bytes || bytes > record->bytes - offset) {
        return err_set(e, -ERANGE, "%" PRIu32 " bytes at %" PRIu32 " of a value of %" PRIu32, bytes,
                       offset, record->bytes);
    }
    if (bytes == 0) {
        return 0;
    }
    if (!record->in_slab) {
        memcpy(ret_data, record->value.data + offset, bytes);
        return 0;
    }
    rc =
        asd_space_read(&store->space, found->pin.slab, record->offset + offset, ret_data, bytes, e);
    asd_health_read(store, rc, record->slab, record->offset + offset);
    if (asd_health_is_device(rc) || rc == ERR_VERSION) {
        rc = e->code = ERR_CORRUPT; /* a bad sector, or slab, is this key's trouble */
    }
    return bad_value(store, rc);
}

static int check_crc(struct asd_store *store, const struct asd_found *found, uint32_t crc,
                     struct err *e)
{
    const struct asd_value_record *record = &found->record;

    if (crc == record->crc) {
        return 0;
    }
    if (record->in_slab) {
        err_set(e, ERR_CORRUPT, "slab %" PRIu64 ": value at %" PRIu64, record->slab,
                record->offset);
    } else {
        err_set(e, ERR_CORRUPT, "inline value of %" PRIu32 " bytes", record->bytes);
    }
    return bad_value(store, ERR_CORRUPT);
}

int asd_value_read(struct asd_store *store, const struct asd_found *found, uint8_t *ret_data,
                   struct err *e)
{
    uint32_t bytes = found->record.bytes;
    int rc = asd_value_read_part(store, found, 0, bytes, ret_data, e);

    return rc == 0 ? check_crc(store, found, crc32c(0, ret_data, bytes), e) : rc;
}

int asd_value_equals(struct asd_store *store, const struct asd_found *found, struct slice wanted,
                     struct err *e)
{
    const struct asd_value_record *record = &found->record;
    uint8_t *chunk;
    uint32_t crc = 0;
    bool same = true;
    int rc = 0;

    if (record->bytes != wanted.len) {
        return ERR_ASSERT_FAILED;
    }
    chunk = mem_alloc(record->bytes < EQUALS_CHUNK_BYTES ? record->bytes : EQUALS_CHUNK_BYTES);
    for (uint32_t at = 0; at < record->bytes && rc == 0; at += EQUALS_CHUNK_BYTES) {
        uint32_t left = record->bytes - at;
        uint32_t bytes = left < EQUALS_CHUNK_BYTES ? left : EQUALS_CHUNK_BYTES;

        rc = asd_value_read_part(store, found, at, bytes, chunk, e);
        if (rc == 0) {
            crc = crc32c(crc, chunk, bytes);
            same = same && memcmp(chunk, wanted.data + at, bytes) == 0;
        }
    }
    free(chunk);
    if (rc == 0) {
        rc = check_crc(store, found, crc, e);
    }
    return rc != 0 ? rc : same ? 0 : ERR_ASSERT_FAILED;
}
