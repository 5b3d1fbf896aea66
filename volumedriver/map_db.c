#include "volumedriver/map_db.h"

#include <stdlib.h>
#include <string.h>

#include <rocksdb/c.h>

#include "base/log.h"
#include "base/mem.h"

enum {
    WRITE_BUFFER_BYTES = 32 * 1048576,
    BLOCK_CACHE_BYTES = 16 * 1048576, /* pages are cached above */
    BLOOM_BITS = 10,
    BACKGROUND_JOBS = 2,
    OPEN_FILES_MAX = 512,
};

#if defined(__SANITIZE_THREAD__)
/* The library is not instrumented, so that its own synchronisation is not seen. */
const char *__tsan_default_suppressions(void);
__attribute__((weak)) const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librocksdb.so\nrace:librocksdb.so\nrace:libstdc++.so\n";
}
#endif

struct map_db {
    rocksdb_t *rocks;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read;
    rocksdb_writeoptions_t *write;
};

struct map_batch {
    rocksdb_writebatch_t *rocks;
};

struct map_iter {
    rocksdb_iterator_t *rocks;
    rocksdb_readoptions_t *read;
    uint8_t *upper; /* RocksDB borrows it */
};

static int db_error(struct err *e, char *text, const char *what)
{
    int rc = err_set(e, ERR_FAILED, "map store: %s: %s", what, text);

    rocksdb_free(text);
    return rc;
}

static rocksdb_options_t *make_options(void)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    rocksdb_options_t *o = rocksdb_options_create();

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_background_jobs(o, BACKGROUND_JOBS);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_info_log_level(o, 3 /* errors */);
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom(BLOOM_BITS));
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_cache_destroy(cache);
    return o;
}

int map_db_open(const char *dir, struct map_db **ret_db, struct err *e)
{
    struct map_db *db = mem_zalloc(sizeof(*db));
    char *text = NULL;

    db->options = make_options();
    db->read = rocksdb_readoptions_create();
    db->write = rocksdb_writeoptions_create();
    db->rocks = rocksdb_open(db->options, dir, &text);
    if (db->rocks == NULL) {
        char *why = text;

        log_warn("map", "store does not open, making a new one", "dir=%s why=%s", dir, why);
        text = NULL;
        rocksdb_destroy_db(db->options, dir, &text);
        rocksdb_free(why);
        if (text == NULL) {
            db->rocks = rocksdb_open(db->options, dir, &text);
        }
    }
    if (db->rocks == NULL) {
        int rc = db_error(e, text, dir);

        map_db_close(db);
        return rc;
    }
    *ret_db = db;
    return 0;
}

int map_db_destroy(const char *dir, struct err *e)
{
    rocksdb_options_t *options = make_options();
    char *text = NULL;

    rocksdb_destroy_db(options, dir, &text);
    rocksdb_options_destroy(options);
    return text != NULL ? db_error(e, text, dir) : 0;
}

void map_db_close(struct map_db *db)
{
    if (db == NULL) {
        return;
    }
    if (db->rocks != NULL) {
        rocksdb_cancel_all_background_work(db->rocks, 1);
        rocksdb_close(db->rocks);
    }
    rocksdb_readoptions_destroy(db->read);
    rocksdb_writeoptions_destroy(db->write);
    rocksdb_options_destroy(db->options);
    free(db);
}

int map_db_get(struct map_db *db, struct slice key, void *ret_data, size_t bytes_max,
               size_t *ret_bytes, struct err *e)
{
    rocksdb_pinnableslice_t *value;
    char *text = NULL;
    const char *data;
    size_t bytes;

    value = rocksdb_get_pinned(db->rocks, db->read, (const char *)key.data, key.len, &text);
    if (text != NULL) {
        return db_error(e, text, "get");
    }
    if (value == NULL) {
        return ERR_NOT_FOUND;
    }
    data = rocksdb_pinnableslice_value(value, &bytes);
    memcpy(ret_data, data, bytes < bytes_max ? bytes : bytes_max);
    *ret_bytes = bytes;
    rocksdb_pinnableslice_destroy(value);
    return 0;
}

struct map_batch *map_batch_new(void)
{
    struct map_batch *b = mem_alloc(sizeof(*b));

    b->rocks = rocksdb_writebatch_create();
    return b;
}

void map_batch_put(struct map_batch *b, struct slice key, struct slice value)
{
    rocksdb_writebatch_put(b->rocks, (const char *)key.data, key.len, (const char *)value.data,
                           value.len);
}

void map_batch_delete(struct map_batch *b, struct slice key)
{
    rocksdb_writebatch_delete(b->rocks, (const char *)key.data, key.len);
}

void map_batch_delete_range(struct map_batch *b, struct slice from, struct slice to)
{
    rocksdb_writebatch_delete_range(b->rocks, (const char *)from.data, from.len,
                                    (const char *)to.data, to.len);
}

int map_batch_write(struct map_db *db, struct map_batch *b, struct err *e)
{
    char *text = NULL;

    rocksdb_write(db->rocks, db->write, b->rocks, &text);
    rocksdb_writebatch_destroy(b->rocks);
    free(b);
    return text != NULL ? db_error(e, text, "write") : 0;
}

struct map_iter *map_iter_new(struct map_db *db, struct slice from, struct slice to)
{
    struct map_iter *it = mem_alloc(sizeof(*it));

    it->upper = mem_dup(to.data, to.len);
    it->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_upper_bound(it->read, (const char *)it->upper, to.len);
    rocksdb_readoptions_set_fill_cache(it->read, 0);
    it->rocks = rocksdb_create_iterator(db->rocks, it->read);
    map_iter_seek(it, from);
    return it;
}

void map_iter_free(struct map_iter *it)
{
    if (it == NULL) {
        return;
    }
    rocksdb_iter_destroy(it->rocks);
    rocksdb_readoptions_destroy(it->read);
    free(it->upper);
    free(it);
}

void map_iter_seek(struct map_iter *it, struct slice key)
{
    rocksdb_iter_seek(it->rocks, (const char *)key.data, key.len);
}

bool map_iter_get(struct map_iter *it, struct slice *ret_key, struct slice *ret_value)
{
    size_t key_bytes, value_bytes;
    const char *key, *value;

    if (!rocksdb_iter_valid(it->rocks)) {
        return false;
    }
    key = rocksdb_iter_key(it->rocks, &key_bytes);
    value = rocksdb_iter_value(it->rocks, &value_bytes);
    *ret_key = slice_of(key, key_bytes);
    *ret_value = slice_of(value, value_bytes);
    return true;
}

void map_iter_next(struct map_iter *it)
{
    rocksdb_iter_next(it->rocks);
}

int map_iter_error(struct map_iter *it, struct err *e)
{
    char *text = NULL;

    rocksdb_iter_get_error(it->rocks, &text);
    return text != NULL ? db_error(e, text, "iterate") : 0;
}
