/* NAMESPACE -> LOOKUP -> CREATE -> MEMORY -> (READ -> WRITE)* -> COMMIT -> END.
 *
 * A window that cannot be read is read again with a fresh manifest (AGAIN), once. If the object
 * was replaced meanwhile, the file starts anew: it never holds parts of two objects. */
#include "proxy/fs_get.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "proxy/digest.h"
#include "proxy/lookup.h"
#include "proxy/object_read.h"
#include "proxy/rc.h"
#include "wire/proxy_msg.h"

enum fs_get_state {
    FS_GET_NAMESPACE,
    FS_GET_LOOKUP,
    FS_GET_CREATE,
    FS_GET_MEMORY,
    FS_GET_READ,
    FS_GET_AGAIN,
    FS_GET_WRITE,
    FS_GET_COMMIT,
    FS_GET_END
};

struct fs_get {
    struct engine *engine;
    struct fs_get_spec spec;
    fs_get_cb cb;
    void *ctx;
    enum fs_get_state state;
    struct err err;
    int32_t proxy_rc;
    bool canceled;
    bool has_retried;
    bool is_in_doubt; /* the file is given its name, or has it */
    uint64_t start_ns;
    struct ns_open open;
    struct ns_use use;
    struct lookup lookup;
    struct object *object; /* a reference */
    struct readable readable;
    struct budget_share share;
    uint8_t *window;
    size_t window_bytes;
    size_t scratch_bytes; /* for reading it */
    uint64_t pos;
    struct object_read_range range;
    struct object_read read;
    struct fs_file file;
    struct digest digest;
    struct pool_work work;
    struct err work_err; /* the pool thread's */
    int work_rc;
};

static void start_window(struct fs_get *g);
static void start_lookup(struct fs_get *g, bool fresh);

const struct err *fs_get_err(const struct fs_get *g)
{
    return &g->err;
}

int32_t fs_get_proxy_rc(const struct fs_get *g)
{
    return g->proxy_rc;
}

/* ---- end ---- */

/* Pool thread: removes what was written, unless it was committed. */
static void close_run(struct pool_work *work)
{
    fs_file_close(&container_of(work, struct fs_get, work)->file);
}

static void fs_get_free(struct fs_get *g)
{
    struct engine *engine = g->engine;

    fs_file_close(&g->file);
    object_drop(g->object);
    digest_release(&g->digest);
    budget_give(&g->share);
    ns_drop(&g->use);
    bigmem_free(g->window);
    free(g);
    engine_drop(engine);
}

static void close_done(struct pool_work *work, int rc)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    (void)rc;
    rc = g->proxy_rc == PROXY_RC_OK ? 0 : g->err.code;
    if (rc == 0) {
        stat_sum_add(&stats_of(&g->engine->stats, g->spec.ns)->download,
                     (double)(clock_mono_ns() - g->start_ns) / 1e9);
        g->engine->stats.totals.gets++;
        g->engine->stats.totals.get_bytes += g->pos;
    } else {
        g->engine->stats.totals.get_failures++;
    }
    g->cb(g->ctx, g, rc);
    fs_get_free(g);
}

/* g->err is set, unless proxy_rc is PROXY_RC_OK. */
static void end(struct fs_get *g, int32_t proxy_rc)
{
    g->proxy_rc = proxy_rc;
    g->state = FS_GET_END;
    if (pool_submit(g->engine->pool, &g->work, POOL_HIGH, close_run, close_done) != 0) {
        close_done(&g->work, 0); /* closing on the loop is better than not at all */
    }
}

/* To be asked at the head of every callback. */
static bool ended_by_cancel(struct fs_get *g)
{
    if (!g->canceled) {
        return false;
    }
    err_set(&g->err, ERR_CANCELED, "get");
    end(g, PROXY_RC_UNKNOWN);
    return true;
}

static int32_t proxy_rc_of_file(int rc)
{
    return rc == -ENOENT ? PROXY_RC_FILE_NOT_FOUND : rc_of(rc);
}

/* ---- file ---- */

/* May free *g. */
static void submit(struct fs_get *g, enum fs_get_state state, pool_run_cb run, pool_done_cb done)
{
    int rc = pool_submit(g->engine->pool, &g->work, POOL_HIGH, run, done);

    g->state = state;
    g->is_in_doubt = rc == 0 && state == FS_GET_COMMIT;
    if (rc != 0) {
        err_set(&g->err, rc, "file");
        end(g, PROXY_RC_UNKNOWN);
    }
}

static void commit_run(struct pool_work *work)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    g->work_rc = fs_file_commit(&g->file, &g->work_err);
}

static void commit_done(struct pool_work *work, int rc)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    rc = rc != 0 ? err_set(&g->work_err, rc, "file") : g->work_rc;
    if (rc != 0) {
        err_copy(&g->err, &g->work_err);
    }
    end(g, rc == 0 ? PROXY_RC_OK : PROXY_RC_UNKNOWN);
}

static void start_commit(struct fs_get *g)
{
    const struct checksum *want = &g->object->manifest.checksum;
    struct checksum have = digest_result(&g->digest);

    if (want->algo != CHECKSUM_NONE && !checksum_eq(&have, want)) {
        err_set(&g->err, ERR_CHECKSUM, "object checksum");
        end(g, PROXY_RC_CHECKSUM_MISMATCH);
        return;
    }
    submit(g, FS_GET_COMMIT, commit_run, commit_done);
}

/* Pool thread: the window and the digest are its own meanwhile. */
static void write_run(struct pool_work *work)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    digest_add(&g->digest, g->window, g->range.bytes, crc32c(0, g->window, g->range.bytes));
    g->work_rc = fs_file_write(&g->file, g->window, g->range.bytes, g->pos, &g->work_err);
}

static void write_done(struct pool_work *work, int rc)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    if (ended_by_cancel(g)) {
        return;
    }
    rc = rc != 0 ? err_set(&g->work_err, rc, "file") : g->work_rc;
    if (rc != 0) {
        err_copy(&g->err, &g->work_err);
        end(g, rc_of(rc));
        return;
    }
    g->pos += g->range.bytes;
    start_window(g);
}

/* ---- windows ---- */

static void on_read(struct object_read *read, int rc)
{
    struct fs_get *g = container_of(read, struct fs_get, read);

    if (ended_by_cancel(g)) {
        return;
    }
    if (rc == 0) {
        submit(g, FS_GET_WRITE, write_run, write_done);
    } else if (!g->has_retried) {
        g->has_retried = true;
        g->state = FS_GET_AGAIN;
        g->engine->stats.totals.stale_manifests++;
        stats_add(&stats_of(&g->engine->stats, g->spec.ns)->manifest_stale, 1);
        start_lookup(g, true);
    } else {
        err_copy(&g->err, &read->err);
        end(g, rc_of(rc));
    }
}

static void start_window(struct fs_get *g)
{
    uint64_t left = g->object->manifest.size_bytes - g->pos;

    if (left == 0) {
        start_commit(g);
        return;
    }
    g->state = FS_GET_READ;
    g->range = (struct object_read_range){.offset = g->pos,
                                          .bytes = left < g->window_bytes ? left : g->window_bytes,
                                          .dest = g->window};
    object_read_start(&g->read, g->engine, &g->readable, &g->range, 1, g->scratch_bytes, on_read);
}

/* Whole chunks, as many as fit the window. */
static size_t window_bytes_of(const struct readable *readable)
{
    size_t chunk = layout_chunk_bytes(&readable->layout, 0);

    if (chunk == 0) {
        return 1;
    }
    if (chunk > FS_GET_WINDOW_BYTES) {
        return chunk < FS_GET_WINDOW_BYTES_MAX ? chunk : FS_GET_WINDOW_BYTES_MAX;
    }
    return FS_GET_WINDOW_BYTES / chunk * chunk;
}

static void on_memory(struct budget_share *share)
{
    struct fs_get *g = container_of(share, struct fs_get, share);

    if (ended_by_cancel(g)) {
        return;
    }
    bigmem_free(g->window);
    g->window = bigmem_alloc(g->window_bytes);
    start_window(g);
}

/* Of the longest window. */
/* For any of its windows. */
static size_t window_scratch_bytes(const struct fs_get *g)
{
    uint64_t size = g->object->manifest.size_bytes;
    size_t most = 0;

    for (uint64_t at = 0; at < size; at += g->window_bytes) {
        struct object_read_need need = object_read_need_of(g->engine, &g->readable);
        uint64_t left = size - at;
        size_t bytes;

        object_read_need_add(&need, at, left < g->window_bytes ? left : g->window_bytes);
        bytes = object_read_need_bytes(&need);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* From the first byte of g->object on. */
static void start_over(struct fs_get *g)
{
    g->pos = 0;
    digest_release(&g->digest);
    digest_init(&g->digest, g->object->manifest.checksum.algo);
    g->window_bytes = window_bytes_of(&g->readable);
    budget_give(&g->share);
    g->state = FS_GET_MEMORY;
    g->scratch_bytes = window_scratch_bytes(g);
    budget_take(&g->engine->budget, &g->share, g->window_bytes + g->scratch_bytes, on_memory);
}

static void create_run(struct pool_work *work)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    fs_file_close(&g->file);
    g->work_rc = fs_file_create(g->spec.fs, g->spec.path, &g->file, &g->work_err);
}

static void create_done(struct pool_work *work, int rc)
{
    struct fs_get *g = container_of(work, struct fs_get, work);

    if (ended_by_cancel(g)) {
        return;
    }
    rc = rc != 0 ? err_set(&g->work_err, rc, "file") : g->work_rc;
    if (rc != 0) {
        err_copy(&g->err, &g->work_err);
        end(g, proxy_rc_of_file(rc));
        return;
    }
    start_over(g);
}

/* ---- manifest ---- */

static bool same_object(const struct object *a, const struct object *b)
{
    return slice_eq(a->manifest.object_id, b->manifest.object_id);
}

static void on_looked_up(struct lookup *lookup, int rc)
{
    struct fs_get *g = container_of(lookup, struct fs_get, lookup);
    struct object *old = g->object;
    bool same;

    if (rc != 0) {
        err_copy(&g->err, &lookup->err);
        lookup_release(lookup);
        end(g, rc_of(rc));
        return;
    }
    g->object = lookup->objects[0];
    lookup->objects[0] = NULL;
    lookup_release(lookup);
    same = old != NULL && g->object != NULL && same_object(old, g->object);
    object_drop(old);
    if (ended_by_cancel(g)) {
        return;
    }
    if (g->object == NULL) {
        err_set(&g->err, ERR_NOT_FOUND, "object %.*s",
                g->spec.name.len < 200 ? (int)g->spec.name.len : 200,
                (const char *)g->spec.name.data);
        end(g, PROXY_RC_OBJECT_NOT_FOUND);
    } else if (readable_init(&g->readable, g->engine, g->object, &g->err) != 0) {
        end(g, PROXY_RC_UNKNOWN);
    } else if (same) {
        start_window(g);
    } else {
        submit(g, FS_GET_CREATE, create_run, create_done);
    }
}

static void start_lookup(struct fs_get *g, bool fresh)
{
    struct lookup_spec spec = {.use = &g->use,
                               .names = &g->spec.name,
                               .count = 1,
                               .consistent = fresh || g->spec.consistent,
                               .should_cache = g->spec.should_cache};

    lookup_start(&g->lookup, g->engine, &spec, on_looked_up);
}

static void on_namespace(void *ctx, int rc, const struct err *e)
{
    struct fs_get *g = ctx;

    if (ended_by_cancel(g)) {
        return;
    }
    if (rc != 0) {
        err_copy(&g->err, e);
        end(g, rc == ERR_NOT_FOUND ? PROXY_RC_NAMESPACE_NOT_FOUND : rc_of(rc));
        return;
    }
    g->state = FS_GET_LOOKUP;
    start_lookup(g, false);
}

struct fs_get *fs_get_start(struct engine *engine, const struct fs_get_spec *spec, fs_get_cb cb,
                            void *ctx)
{
    struct fs_get *g = mem_zalloc(sizeof(*g));

    g->engine = engine;
    g->spec = *spec;
    g->cb = cb;
    g->ctx = ctx;
    g->start_ns = clock_mono_ns();
    g->file = (struct fs_file){.dir_fd = -1, .fd = -1};
    engine_hold(engine);
    g->open = (struct ns_open){.engine = engine,
                               .name = spec->ns,
                               .fresh = spec->consistent,
                               .ret_use = &g->use,
                               .cb = on_namespace,
                               .ctx = g};
    ns_open(&g->open);
    return g;
}

/* What is under way ends by itself, reads soon; its callback sees `canceled`. */
void fs_get_cancel(struct fs_get *g)
{
    if (g->canceled || g->state == FS_GET_END) {
        return;
    }
    g->canceled = true;
    if (g->state == FS_GET_READ) {
        object_read_cancel(&g->read);
    } else if (g->state == FS_GET_MEMORY) {
        budget_give(&g->share);
        ended_by_cancel(g);
    } else if (g->state == FS_GET_COMMIT && pool_cancel(g->engine->pool, &g->work)) {
        g->is_in_doubt = false;
    }
}

bool fs_get_is_in_doubt(const struct fs_get *g)
{
    return g->is_in_doubt;
}
