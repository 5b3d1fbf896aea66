/* The index on RocksDB. The only file that knows its C API. */
#include "asd/index.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

#include "asd/torn.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    BLOCK_CACHE_BYTES_DEFAULT = 32 * 1048576,
    WRITE_BUFFER_BYTES = 64 * 1048576,
    WRITE_BUFFERS = 3,
    BLOCK_BYTES = 8192,
    BLOOM_BITS_PER_KEY = 10,
    INFO_LOG_FILES = 4,
    INFO_LOG_BYTES = 4 * 1048576,
    INFO_LOG_LEVEL = 5,  /* the options at opening, nothing later: RocksDB's number */
    MULTI_GET_KEYS = 64, /* looked up together */
    READ_TIER_CACHE = 1, /* memtables and block cache: RocksDB's number */
};

/* What to do with a bad record in the log: RocksDB's numbers. */
enum log_mode {
    LOG_STRICT = 1,   /* refuse */
    LOG_STOP = 2,     /* take it as the end */
    LOG_SKIP_BAD = 3, /* go on behind it */
};

#if defined(__SANITIZE_THREAD__)
/* The library is not instrumented, so that its own synchronisation is not seen. */
const char *__tsan_default_suppressions(void);
__attribute__((weak)) const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librocksdb.so\nrace:librocksdb.so\nrace:libstdc++.so\n";
}
#endif

struct rocks {
    struct asd_index index;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;
    rocksdb_readoptions_t *read_cached;
    rocksdb_writeoptions_t *write;
    rocksdb_writeoptions_t *write_sync;
};

static struct rocks *rocks_of(struct asd_index *index)
{
    return container_of(index, struct rocks, index);
}

/* Takes over `text`. RocksDB tells its errors apart by text only. */
static int rocks_error(char *text, const char *what, struct err *e)
{
    int rc = -EIO;

    if (strncmp(text, "Corruption", 10) == 0) {
        rc = ERR_CORRUPT;
    } else if (strstr(text, "No space left") != NULL) {
        rc = -ENOSPC;
    } else if (strstr(text, "Too many open files") != NULL) {
        rc = -EMFILE; /* a table is opened when it is first read */
    } else if (strstr(text, "Cannot allocate memory") != NULL) {
        rc = -ENOMEM;
    }
    err_say(e, rc, "index %s: %s", what, text);
    rocksdb_free(text);
    return rc;
}

static int get_with(struct rocks *r, const rocksdb_readoptions_t *read, struct slice key,
                    struct asd_index_value *ret_value, struct err *e)
{
    char *error = NULL;
    size_t bytes = 0;
    rocksdb_pinnableslice_t *found =
        rocksdb_get_pinned(r->db, read, (const char *)key.data, key.len, &error);

    if (error != NULL && strncmp(error, "Result incomplete", 17) == 0) {
        rocksdb_free(error);
        return ERR_BUSY;
    }
    if (error != NULL) {
        return rocks_error(error, "get", e);
    }
    if (found == NULL) {
        return ERR_NOT_FOUND;
    }
    const char *data = rocksdb_pinnableslice_value(found, &bytes);
    *ret_value = (struct asd_index_value){.bytes = slice_of(data, bytes), .handle = found};
    return 0;
}

static int rocks_get(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                     struct err *e)
{
    struct rocks *r = rocks_of(index);

    return get_with(r, r->read, key, ret_value, e);
}

static int rocks_get_cached(struct asd_index *index, struct slice key,
                            struct asd_index_value *ret_value, struct err *e)
{
    struct rocks *r = rocks_of(index);

    return get_with(r, r->read_cached, key, ret_value, e);
}

static void multi_get_some(struct rocks *r, size_t count, const struct slice *keys,
                           struct asd_index_value *ret_values, int *ret_rcs, struct err *e)
{
    const char *data[MULTI_GET_KEYS];
    size_t bytes[MULTI_GET_KEYS];
    rocksdb_pinnableslice_t *found[MULTI_GET_KEYS] = {NULL};
    char *errors[MULTI_GET_KEYS] = {NULL};

    for (size_t i = 0; i < count; i++) {
        data[i] = (const char *)keys[i].data;
        bytes[i] = keys[i].len;
    }
    rocksdb_batched_multi_get_cf(r->db, r->read, r->family, count, data, bytes, found, errors,
                                 false);
    for (size_t i = 0; i < count; i++) {
        if (errors[i] != NULL) {
            ret_rcs[i] = rocks_error(errors[i], "get", e);
        } else if (found[i] == NULL) {
            ret_rcs[i] = ERR_NOT_FOUND;
        } else {
            size_t value_bytes = 0;
            const char *value = rocksdb_pinnableslice_value(found[i], &value_bytes);

            ret_values[i] =
                (struct asd_index_value){.bytes = slice_of(value, value_bytes), .handle = found[i]};
            ret_rcs[i] = 0;
        }
    }
}

static void rocks_multi_get(struct asd_index *index, size_t count, const struct slice *keys,
                            struct asd_index_value *ret_values, int *ret_rcs, struct err *e)
{
    for (size_t i = 0; i < count; i += MULTI_GET_KEYS) {
        size_t some = count - i < MULTI_GET_KEYS ? count - i : MULTI_GET_KEYS;

        multi_get_some(rocks_of(index), some, keys + i, ret_values + i, ret_rcs + i, e);
    }
}

static void rocks_release(struct asd_index *index, struct asd_index_value *value)
{
    (void)index;
    if (value->handle != NULL) {
        rocksdb_pinnableslice_destroy(value->handle);
    }
    *value = (struct asd_index_value){0};
}

static int rocks_iterate(struct asd_index *index, struct slice from, struct slice to, bool reverse,
                         asd_index_visit_cb visit, void *ctx, struct err *e)
{
    struct rocks *r = rocks_of(index);
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    rocksdb_iterator_t *it;
    char *error = NULL;

    rocksdb_readoptions_set_iterate_lower_bound(read, (const char *)from.data, from.len);
    rocksdb_readoptions_set_iterate_upper_bound(read, (const char *)to.data, to.len);
    it = rocksdb_create_iterator(r->db, read);
    if (reverse) {
        rocksdb_iter_seek_to_last(it);
    } else {
        rocksdb_iter_seek_to_first(it);
    }
    while (rocksdb_iter_valid(it)) {
        size_t key_bytes;
        size_t value_bytes;
        const char *key = rocksdb_iter_key(it, &key_bytes);
        const char *value = rocksdb_iter_value(it, &value_bytes);

        if (!visit(ctx, slice_of(key, key_bytes), slice_of(value, value_bytes))) {
            break;
        }
        if (reverse) {
            rocksdb_iter_prev(it);
        } else {
            rocksdb_iter_next(it);
        }
    }
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(read);
    return error != NULL ? rocks_error(error, "iterate", e) : 0;
}

static int rocks_write(struct asd_index *index, const struct asd_index_batch *batch, bool sync,
                       struct err *e)
{
    struct rocks *r = rocks_of(index);
    rocksdb_writebatch_t *wb = rocksdb_writebatch_create();
    char *error = NULL;

    for (size_t i = 0; i < batch->change_count; i++) {
        struct slice key = asd_index_change_key(batch, i);
        struct slice head = asd_index_change_head(batch, i);
        struct slice body = batch->changes[i].body;
        const char *key_data = (const char *)key.data;

        if (batch->changes[i].is_delete) {
            rocksdb_writebatch_delete(wb, key_data, key.len);
        } else {
            const char *parts[2] = {(const char *)head.data, (const char *)body.data};
            size_t part_bytes[2] = {head.len, body.len};

            rocksdb_writebatch_putv(wb, 1, &key_data, &key.len, body.len != 0 ? 2 : 1, parts,
                                    part_bytes);
        }
    }
    rocksdb_write(r->db, sync ? r->write_sync : r->write, wb, &error);
    rocksdb_writebatch_destroy(wb);
    return error != NULL ? rocks_error(error, "write", e) : 0;
}

static void rocks_close(struct asd_index *index)
{
    struct rocks *r = rocks_of(index);

    if (r->family != NULL) {
        rocksdb_column_family_handle_destroy(r->family);
    }
    if (r->db != NULL) {
        rocksdb_close(r->db);
    }
    rocksdb_writeoptions_destroy(r->write_sync);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_readoptions_destroy(r->read_cached);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_options_destroy(r->options);
    rocksdb_cache_destroy(r->cache);
    free(r);
}

static const struct asd_index_ops rocks_ops = {.get = rocks_get,
                                               .get_cached = rocks_get_cached,
                                               .multi_get = rocks_multi_get,
                                               .release = rocks_release,
                                               .iterate = rocks_iterate,
                                               .write = rocks_write,
                                               .close = rocks_close};

static void set_options(struct rocks *r, const struct asd_index_rocksdb_options *options,
                        enum log_mode mode)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    uint64_t cache_bytes = options->block_cache_bytes;

    r->cache = rocksdb_cache_create_lru(cache_bytes != 0 ? cache_bytes : BLOCK_CACHE_BYTES_DEFAULT);
    rocksdb_block_based_options_set_block_cache(table, r->cache);
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    /* Index and filter blocks count against the cache, so that memory stays bounded; they are cut
     * into small ones, since the whole filter of a file is larger than a shard of the cache and
     * would be read anew for each key. */
    rocksdb_block_based_options_set_index_type(
        table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_metadata_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);

    r->options = rocksdb_options_create();
    rocksdb_options_set_block_based_table_factory(r->options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_create_if_missing(r->options, options->create);
    rocksdb_options_set_paranoid_checks(r->options, 1);
    rocksdb_options_set_max_open_files(r->options, ASD_INDEX_FILES_MAX);
    rocksdb_options_set_write_buffer_size(r->options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(r->options, WRITE_BUFFERS);
    rocksdb_options_set_compression(r->options, rocksdb_no_compression);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(r->options, 1);
    rocksdb_options_set_wal_recovery_mode(r->options, (int)mode);
    rocksdb_options_set_keep_log_file_num(r->options, INFO_LOG_FILES);
    rocksdb_options_set_max_log_file_size(r->options, INFO_LOG_BYTES);
    /* It aborts the process when LOG cannot be written (7.8: Append() behind a failed flush), which
     * on a full disk is its first line about that very disk. */
    rocksdb_options_set_info_log_level(r->options, INFO_LOG_LEVEL);

    r->read = rocksdb_readoptions_create();
    r->read_cached = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(r->read_cached, READ_TIER_CACHE);
    r->write = rocksdb_writeoptions_create();
    r->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write_sync, 1);
}

/* ---- opening ---- */

/* Keep what was read from the log in memory, and the log. Only for a log that is sound: a torn
 * one must not lie before one that is written to. */
static void set_lean(struct rocks *r)
{
    rocksdb_options_t *lean = rocksdb_options_create();
    char *error = NULL;

    rocksdb_get_options_from_string(r->options, "avoid_flush_during_recovery=true", lean, &error);
    CHECK(error == NULL);
    rocksdb_options_destroy(r->options);
    r->options = lean;
}

static int open_mode(const char *path, const struct asd_index_rocksdb_options *options,
                     enum log_mode mode, bool read_only, struct rocks **ret_rocks, struct err *e)
{
    struct rocks *r = mem_zalloc(sizeof(*r));
    const char *names[1] = {"default"};
    char *error = NULL;

    r->index.ops = &rocks_ops;
    set_options(r, options, mode);
    if (options->lean && mode == LOG_STRICT) {
        set_lean(r);
    }
    const rocksdb_options_t *families[1] = {r->options};
    if (read_only) {
        r->db = rocksdb_open_for_read_only_column_families(r->options, path, 1, names, families,
                                                           &r->family, 0, &error);
    } else {
        r->db =
            rocksdb_open_column_families(r->options, path, 1, names, families, &r->family, &error);
    }
    if (error != NULL) {
        int rc = rocks_error(error, "open", e);

        rocks_close(&r->index);
        return rc;
    }
    *ret_rocks = r;
    return 0;
}

/* How many commits there would be. Changes nothing on the disk. */
static int count_commits(const char *path, const struct asd_index_rocksdb_options *options,
                         enum log_mode mode, uint64_t *ret_commits, struct err *e)
{
    struct rocks *r;
    int rc = open_mode(path, options, mode, true, &r, e);

    if (rc == 0) {
        rc = options->count(&r->index, ret_commits, e);
        rocks_close(&r->index);
    }
    return rc;
}

/* RocksDB does not say which of its logs is bad: all that are there, for a message. */
static void log_names(const char *path, struct buf *ret_names)
{
    DIR *dir = opendir(path);

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);

        if (len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0) {
            buf_put(ret_names, ret_names->len == 0 ? "" : " ", ret_names->len != 0);
            buf_put(ret_names, entry->d_name, len);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    buf_put_u8(ret_names, 0);
}

/* `why` is what the log was refused for. A commit is written when the one before is durable, so
 * acknowledged ones are gone if more than the last that the log still holds lie behind the bad
 * record, or if the mark knows more than the log holds. If just one lies behind it, nothing but
 * removals of free records is bad, and start-up does those again. */
static int judge_log(const char *path, const struct asd_index_rocksdb_options *options,
                     const struct err *why, enum log_mode *ret_mode, struct err *e)
{
    uint64_t before = 0; /* the bad record */
    uint64_t all = 0;
    int rc = count_commits(path, options, LOG_STOP, &before, e);

    rc = rc == 0 ? count_commits(path, options, LOG_SKIP_BAD, &all, e) : rc;
    if (rc != 0) {
        return rc;
    }
    if (all > before + 1 || all < options->commits_min) {
        uint64_t acked = all > options->commits_min ? all - 1 : options->commits_min;

        struct buf names = {0};

        log_names(path, &names);
        rc = err_say(e, ERR_CORRUPT,
                     "%s (%s): damaged behind commit %" PRIu64 ", at least %" PRIu64
                     " were acknowledged" ASD_INDEX_LOST_HINT " (%s)",
                     path, (const char *)names.data, before, acked, why->msg);
        buf_release(&names);
        return rc;
    }
    *ret_mode = all > before ? LOG_SKIP_BAD : LOG_STOP;
    log_warn("asd", "log ends in a torn record", "index=%s commits=%" PRIu64 " error=\"%s\"", path,
             all, why->msg);
    return 0;
}

/* Opening puts what is sound into a table and removes the logs. */
static void keep_logs(const char *path, const struct asd_index_rocksdb_options *options)
{
    struct err e;

    if (options->torn_path != NULL && asd_torn_keep_logs(path, options->torn_path, &e) != 0) {
        /* For the case of rot only: no reason not to start. */
        log_warn("asd", "torn log is not kept", "error=\"%s\"", e.msg);
    }
}

int asd_index_rocksdb_open(const char *path, const struct asd_index_rocksdb_options *options,
                           struct asd_index **ret_index, struct err *e)
{
    struct rocks *r = NULL;
    enum log_mode mode = LOG_STRICT;
    struct err why;
    int rc = open_mode(path, options, mode, options->read_only, &r, e);

    *ret_index = NULL;
    if (rc == ERR_CORRUPT && options->count != NULL) {
        err_copy(&why, e);
        rc = judge_log(path, options, &why, &mode, e);
        if (rc == 0) {
            if (!options->read_only) {
                keep_logs(path, options);
            }
            rc = open_mode(path, options, mode, options->read_only, &r, e);
        }
    }
    if (rc == 0) {
        r->index.is_torn = mode == LOG_STOP;
        *ret_index = &r->index;
    }
    return rc;
}
