#include "fault/asd_fixture.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/mark.h"
#include "asd/torn.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "lib/tempdir.h"
#include "loop/io.h"
#include "loop/ring.h"
#include "loop/run.h"

void asd_fixture_init(struct asd_fixture *f, bool real, uint64_t seed)
{
    *f = (struct asd_fixture){
        .options = {.capacity_bytes = UINT64_C(1) << 40, .limit_percent = 99, .read_threads = 2},
        .lock_fd = -1};
    loop_fixture_init(&f->base);
    if (real) {
        f->dir = tempdir_make();
    } else {
        f->disk = crash_disk_new(seed);
        f->index = index_double_new(f->disk);
        f->dir = mem_strdup("/asd");
        CHECK(crash_disk_io(f->disk)->ops->mkdir(crash_disk_io(f->disk), f->dir) == 0);
        CHECK(crash_disk_io(f->disk)->ops->sync_dir(crash_disk_io(f->disk), "/") == 0);
    }
}

static int open_rocks(struct asd_fixture *f, struct asd_index_rocksdb_options *rocks, struct err *e)
{
    int rc;

    if (!f->in_room) {
        char *torn_path = asd_torn_path(&f->home);

        rocks->torn_path = torn_path;
        rc = asd_index_rocksdb_open(f->home.db_path, rocks, &f->options.index, e);
        free(torn_path);
        return rc;
    }
    f->options.room = &f->room;
    rc = asd_room_init(&f->room, f->dir, 0, e);
    return rc != 0 ? rc : asd_room_open_index(&f->room, &f->home, rocks, &f->options.index, e);
}

static int open_parts(struct asd_fixture *f, struct err *e)
{
    struct io *io = f->disk != NULL ? crash_disk_io(f->disk) : io_real();
    struct asd_index_rocksdb_options rocks = {0};
    int rc = asd_home_open(io, f->dir, "asd-1", "node-1", &f->home, e);

    if (rc != 0) {
        return rc;
    }
    f->options.home = &f->home;
    if (f->disk != NULL) {
        f->options.index = index_double_open(f->index);
        f->options.index->is_torn = f->is_torn;
    } else {
        rocks.create = f->home.fresh;
        rocks.count = asd_store_count_commits;
        rc = asd_mark_read(&f->home, &rocks.commits_min, e);
        rc = rc != 0 ? rc : open_rocks(f, &rocks, e);
    }
    if (rc == 0) {
        rc = asd_store_open(&f->base.loop, &f->options, &f->store, e);
        if (rc != 0) {
            f->options.index->ops->close(f->options.index);
        }
    }
    if (rc != 0) {
        asd_home_release(&f->home);
        asd_room_release(&f->room);
        return rc;
    }
    f->front = asd_store_front(f->store);
    return 0;
}

int asd_fixture_open(struct asd_fixture *f, struct err *e)
{
    CHECK(f->store == NULL);
    if (f->disk == NULL) {
        int rc = asd_home_lock(f->dir, &f->lock_fd, e);

        if (rc != 0) {
            return rc;
        }
    }
    return open_parts(f, e);
}

void asd_fixture_close(struct asd_fixture *f)
{
    bool closed = false;

    if (f->store != NULL) {
        asd_store_close(f->store, loop_set_true, &closed);
        loop_fixture_run_until(&f->base, &closed);
        f->store = NULL;
        f->front = NULL;
        asd_home_release(&f->home);
        asd_room_release(&f->room);
    }
    if (f->lock_fd >= 0) {
        close(f->lock_fd);
        f->lock_fd = -1;
    }
}

void asd_fixture_release(struct asd_fixture *f)
{
    asd_fixture_close(f);
    loop_fixture_release(&f->base);
    if (f->disk != NULL) {
        assert_int_equal(crash_disk_open_count(f->disk), 0);
        index_double_free(f->index);
        crash_disk_free(f->disk);
        free(f->dir);
    } else {
        tempdir_remove(f->dir);
    }
}

char *asd_fixture_log_path(const struct asd_fixture *f)
{
    char *db = mem_printf("%s/db", f->dir);
    DIR *dir = opendir(db);
    char *found = NULL;

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        char *path = mem_printf("%s/%s", db, entry->d_name);
        struct stat st;
        bool is_log = len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0 &&
                      stat(path, &st) == 0 && st.st_size > 0;

        if (is_log && (found == NULL || strcmp(path, found) > 0)) {
            free(found);
            found = path;
        } else {
            free(path);
        }
    }
    closedir(dir);
    free(db);
    assert_non_null(found);
    return found;
}

bool asd_fixture_has_ring(struct asd_fixture *f)
{
    struct ring *ring;
    bool closed = false;

    if (ring_new(&f->base.loop, 8, 8, &ring) != 0) {
        return false;
    }
    ring_close(ring, loop_set_true, &closed);
    loop_fixture_run_until(&f->base, &closed);
    return true;
}

/* ---- calls that wait ---- */

struct waited {
    struct asd_store_op *op;
    bool done;
    int rc;
};

static struct waited *waiting; /* one request at a time, one thread */

static void on_op(struct asd_store_op *op, int rc)
{
    assert_ptr_equal(waiting->op, op);
    assert_false(waiting->done);
    waiting->rc = rc;
    waiting->done = true;
}

static int wait_for(struct asd_fixture *f, struct asd_store_op *op, int submit_rc)
{
    struct waited w = {.op = op};

    if (submit_rc != 0) {
        return submit_rc;
    }
    waiting = &w;
    loop_fixture_run_until(&f->base, &w.done);
    waiting = NULL;
    return w.rc;
}

int asd_fixture_apply(struct asd_fixture *f, const struct asd_apply *what, struct err *e)
{
    struct asd_store_apply apply;
    int rc = asd_store_apply(f->front, &apply, what, ASD_PRIO_HIGH, on_op);

    rc = wait_for(f, &apply.op, rc);
    if (e != NULL) {
        *e = apply.op.err;
    }
    return rc;
}

int asd_fixture_set(struct asd_fixture *f, const char *key, const void *data, size_t bytes)
{
    struct asd_update update = {.key = slice_str(key), .value = slice_of(data, bytes)};
    struct asd_apply what = {.updates = &update, .update_count = 1};

    return asd_fixture_apply(f, &what, NULL);
}

int asd_fixture_delete(struct asd_fixture *f, const char *key)
{
    struct asd_update update = {.key = slice_str(key), .is_delete = true};
    struct asd_apply what = {.updates = &update, .update_count = 1};

    return asd_fixture_apply(f, &what, NULL);
}

int asd_fixture_get(struct asd_fixture *f, struct slice key, uint8_t **ret_data,
                    uint32_t *ret_bytes)
{
    struct asd_store_get get;
    int rc = asd_store_get(f->front, &get, &key, 1, NULL, on_op);

    rc = wait_for(f, &get.op, rc);
    if (rc == 0) {
        rc = get.values[0].rc;
    }
    if (rc == 0) {
        *ret_data = get.values[0].data;
        *ret_bytes = get.values[0].bytes;
        get.values[0].data = NULL;
    }
    asd_store_get_release(&get);
    return rc;
}

bool asd_fixture_has(struct asd_fixture *f, const char *key, const void *data, size_t bytes)
{
    uint8_t *found = NULL;
    uint32_t found_bytes = 0;
    bool same = asd_fixture_get(f, slice_str(key), &found, &found_bytes) == 0 &&
                slice_eq(slice_of(found, found_bytes), slice_of(data, bytes));

    free(found);
    return same;
}

int asd_fixture_range(struct asd_fixture *f, struct asd_store_range *ret_range,
                      const struct asd_range *range, enum asd_store_range_kind kind)
{
    int rc = asd_store_range(f->front, ret_range, range, kind, NULL, on_op);

    return wait_for(f, &ret_range->op, rc);
}

void asd_fixture_settle(struct asd_fixture *f)
{
    for (unsigned i = 0; i < 5000; i++) {
        struct asd_store_stats stats = asd_store_stats(f->store);

        if (stats.frees_pending == 0 && !stats.evacuating) {
            return;
        }
        loop_fixture_run_ms(&f->base, 1);
    }
    fail_msg("space does not come back");
}

uint8_t *asd_fixture_bytes(uint64_t seed, size_t bytes)
{
    struct rnd rnd = rnd_seed(seed);
    uint8_t *data = mem_alloc(bytes);

    for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t word = rnd_next(&rnd);

        memcpy(data + i, &word, bytes - i < sizeof(word) ? bytes - i : sizeof(word));
    }
    return data;
}
