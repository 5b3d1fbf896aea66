/* Start-up of the store. FORMAT.md, "What a crash may leave". */
#include <inttypes.h>
#include <string.h>

#include "asd/store_private.h"
#include "base/log.h"

struct load {
    struct asd_store *store;
    struct err *e;
    int rc;
};

static int record_find(struct asd_store *store, struct slice key, struct asd_index_value *ret_value,
                       struct err *e)
{
    *ret_value = (struct asd_index_value){0};
    return store->index->ops->get(store->index, key, ret_value, e);
}

static bool stop_at_first(void *ctx, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)ctx = true;
    return false;
}

/* A home without identity: its index must be as good as empty. */
static int create(struct asd_store *store, struct err *e)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_STORE);
    struct asd_internal_key from = asd_key_of(ASD_KEY_USAGE);
    struct asd_internal_key to = asd_key_of(ASD_KEY_VALUE + 1);
    struct asd_store_record record;
    struct asd_index_batch batch = {0};
    struct buf b = {0};
    bool any = false;
    int rc = store->index->ops->iterate(store->index, asd_internal_slice(&from),
                                        asd_internal_slice(&to), false, stop_at_first, &any, e);

    if (rc != 0) {
        return rc;
    }
    if (any) {
        return err_set(e, ERR_IDENTITY, "index holds values, but there is no identity");
    }
    memcpy(record.store_id, store->home->store_id, ASD_STORE_ID_BYTES);
    asd_store_record_put(&b, asd_internal_slice(&key), &record);
    asd_index_batch_put(&batch, asd_internal_slice(&key), slice_buf(&b), slice_of(NULL, 0));
    rc = store->index->ops->write(store->index, &batch, true, e);
    asd_index_batch_release(&batch);
    buf_release(&b);
    return rc;
}

static int check_store(struct asd_store *store, struct err *e)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_STORE);
    struct asd_index_value value;
    struct asd_store_record record;
    int rc = record_find(store, asd_internal_slice(&key), &value, e);

    if (rc == ERR_NOT_FOUND) {
        return err_set(e, ERR_CORRUPT, "index has lost its store record" ASD_INDEX_LOST_HINT);
    }
    if (rc != 0) {
        return rc;
    }
    rc = asd_store_record_get(asd_internal_slice(&key), value.bytes, &record, e);
    store->index->ops->release(store->index, &value);
    if (rc == 0 && memcmp(record.store_id, store->home->store_id, ASD_STORE_ID_BYTES) != 0) {
        rc = err_set(e, ERR_IDENTITY, "index belongs to another home");
    }
    return rc;
}

/* All zero before the first commit. */
static int usage_get(struct asd_index *index, struct asd_usage_record *ret_usage, struct err *e)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_USAGE);
    struct asd_index_value value = {0};
    int rc = index->ops->get(index, asd_internal_slice(&key), &value, e);

    *ret_usage = (struct asd_usage_record){0};
    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    if (rc == 0) {
        rc = asd_usage_record_get(asd_internal_slice(&key), value.bytes, ret_usage, e);
        index->ops->release(index, &value);
    }
    return rc;
}

int asd_store_count_commits(struct asd_index *index, uint64_t *ret_commits, struct err *e)
{
    struct asd_usage_record usage;
    int rc = usage_get(index, &usage, e);

    *ret_commits = usage.commit;
    return rc;
}

/* The index must hold every commit that the mark knows of. */
static int check_mark(struct asd_store *store, struct err *e)
{
    uint64_t marked = 0;
    int rc = asd_mark_read(store->home, &marked, e);

    if (rc == 0 && store->commit.number < marked) {
        rc = err_say(e, ERR_CORRUPT,
                     "%s has lost its end: it holds %" PRIu64 " commits, %" PRIu64
                     " were acknowledged" ASD_INDEX_LOST_HINT,
                     store->home->db_path, store->commit.number, marked);
    }
    return rc == 0 ? asd_mark_open(&store->mark, store->home, e) : rc;
}

static int load_usage(struct asd_store *store, struct err *e)
{
    struct asd_usage_record usage;
    int rc = usage_get(store->index, &usage, e);

    if (rc == 0) {
        store->commit.used_bytes = usage.used_bytes;
        store->commit.number = usage.commit;
        store->space.next_slab = usage.next_slab;
        atomic_store(&store->counters.used_bytes, usage.used_bytes);
    }
    return rc;
}

static bool load_slab(void *ctx, struct slice key, struct slice value)
{
    struct load *load = ctx;
    struct asd_slab_record record;
    uint64_t number;

    load->rc = asd_key_slab_parse(key, &number, load->e);
    if (load->rc == 0) {
        load->rc = asd_slab_record_get(key, value, &record, load->e);
    }
    if (load->rc == 0) {
        load->rc = asd_space_load_slab(&load->store->space, number, &record, load->e);
    }
    return load->rc == 0;
}

static bool load_free(void *ctx, struct slice key, struct slice value)
{
    struct load *load = ctx;
    struct asd_free_record record;
    uint64_t number;
    uint64_t offset;

    load->rc = asd_key_free_parse(key, &number, &offset, load->e);
    if (load->rc == 0) {
        load->rc = asd_free_record_get(key, value, &record, load->e);
    }
    if (load->rc == 0) {
        load->rc = asd_space_load_free(&load->store->space, number, offset, record.bytes, load->e);
    }
    return load->rc == 0;
}

static int load_all(struct asd_store *store, uint8_t kind, asd_index_visit_cb visit, struct err *e)
{
    struct asd_internal_key from = asd_key_of(kind);
    struct asd_internal_key to = asd_key_of((uint8_t)(kind + 1));
    struct load load = {.store = store, .e = e};
    int rc = store->index->ops->iterate(store->index, asd_internal_slice(&from),
                                        asd_internal_slice(&to), false, visit, &load, e);

    return rc != 0 ? rc : load.rc;
}

int asd_store_recover(struct asd_store *store, struct err *e)
{
    bool fresh = store->home->fresh;
    int rc = fresh ? create(store, e) : check_store(store, e);

    rc = rc == 0 ? load_usage(store, e) : rc;
    rc = rc == 0 ? check_mark(store, e) : rc;
    rc = rc == 0 ? load_all(store, ASD_KEY_SLAB, load_slab, e) : rc;
    rc = rc == 0 ? load_all(store, ASD_KEY_FREE, load_free, e) : rc;
    rc = rc == 0 ? asd_space_recover(&store->space, store->index->is_torn, e) : rc;
    if (rc == 0 && fresh) {
        rc = asd_home_commit(store->home, e);
    }
    if (rc == 0) {
        log_info("asd", fresh ? "store created" : "store opened",
                 "home=%s asd_id=%s used_bytes=%" PRIu64 " slabs=%" PRIu64 " frees=%" PRIu64,
                 store->home->path, store->home->asd_id, store->commit.used_bytes,
                 asd_space_slab_count(&store->space), asd_space_pending(&store->space));
    }
    return rc;
}
