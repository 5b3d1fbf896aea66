/* The store's life. When it cannot be written (its disk is full or failing, or RocksDB has stopped
 * after an error of its own):
 *
 *   stuck   it is still read, and nothing is written; now and then its disk is tried
 *   broken  the disk takes data: the maps of all volumes fail, and when nobody is in the store any
 *           more it is removed and made anew */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/map_private.h"

enum { POOL_THREADS = 3, POOL_QUEUE_MAX = 1048576 /* more than NBD admits requests */ };
enum { RENEW_MS_MIN = 1000, RENEW_MS_MAX = 60000, RENEW_CALM_MS = 600000 };
enum { PROBE_BYTES = 1048576 };

/* ---- open and close ---- */

int map_open(uv_loop_t *loop, const char *dir, uint64_t budget_bytes, struct map **ret_map,
             struct err *e)
{
    struct map *map = mem_zalloc(sizeof(*map));
    int rc = map_db_open(dir, &map->db, e);

    *ret_map = NULL;
    if (rc != 0) {
        free(map);
        return rc;
    }
    map->loop = loop;
    map->dir = mem_strdup(dir);
    CHECK(uv_timer_init(loop, &map->renew_timer) == 0);
    map->budget_bytes = budget_bytes > MAP_BUDGET_BYTES_MIN ? budget_bytes : MAP_BUDGET_BYTES_MIN;
    list_init(&map->clean);
    list_init(&map->volumes);
    CHECK(pool_new(loop, "map", POOL_THREADS, POOL_QUEUE_MAX, &map->pool) == 0);
    *ret_map = map;
    return 0;
}

static void on_pool_closed(void *ctx)
{
    struct map *map = ctx;
    void (*cb)(void *) = map->close_cb;
    void *cb_ctx = map->close_ctx;

    map_db_close(map->db);
    free(map->dir);
    free(map);
    cb(cb_ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct map *map = container_of((uv_timer_t *)handle, struct map, renew_timer);

    pool_close(map->pool, on_pool_closed, map);
}

void map_close(struct map *map, void (*cb)(void *ctx), void *ctx)
{
    CHECK(list_empty(&map->volumes));
    map->close_cb = cb;
    map->close_ctx = ctx;
    uv_close((uv_handle_t *)&map->renew_timer, on_timer_closed);
}

/* ---- made anew ---- */

static bool in_use(const struct map *map)
{
    LIST_FOR_EACH (it, &map->volumes) {
        const struct map_volume *mv = container_of(it, struct map_volume, link);

        if (mv->loads != 0 || mv->parts != 0 || mv->storing) {
            return true;
        }
    }
    return map->freezes != 0;
}

static void renew_run(struct pool_work *work)
{
    struct map *map = container_of(work, struct map, renew);

    map_db_close(map->db);
    map->db = NULL;
    map->renew_rc = map_db_destroy(map->dir, &map->renew_err);
    if (map->renew_rc == 0) {
        map->renew_rc = map_db_open(map->dir, &map->db, &map->renew_err);
    }
}

static void turn_all(struct map *map)
{
    LIST_FOR_EACH (it, &map->volumes) {
        map_turn(container_of(it, struct map_volume, link));
    }
}

static void renew_done(struct pool_work *work, int rc)
{
    struct map *map = container_of(work, struct map, renew);

    map->renewing = false;
    map->renewed_ms = uv_now(map->loop);
    if (rc != 0) {
        return; /* the map is closing */
    }
    if (map->renew_rc != 0) {
        log_error("map", "no new store, trying on", "wait_ms=%llu why=%s",
                  (unsigned long long)map->renew_wait_ms, map->renew_err.msg);
        map_renew_step(map);
    } else {
        log_warn("map", "store made anew", "dir=%s", map->dir);
        map->broken = false;
    }
    turn_all(map); /* resets run, or fail */
}

/* ---- stuck ---- */

static void probe_run(struct pool_work *work)
{
    struct map *map = container_of(work, struct map, renew);
    char *path = mem_printf("%s.probe", map->dir);
    uint8_t *data = mem_zalloc(PROBE_BYTES);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = fd >= 0 ? write(fd, data, PROBE_BYTES) : -1;

    if (n < PROBE_BYTES || fsync(fd) != 0) {
        map->renew_rc = err_set(&map->renew_err, n >= 0 ? UV_ENOSPC : uv_translate_sys_error(errno),
                                "%s", path);
    } else {
        map->renew_rc = 0;
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(data);
    free(path);
}

static void probe_done(struct pool_work *work, int rc)
{
    struct map *map = container_of(work, struct map, renew);

    map->renewing = false;
    map->renewed_ms = uv_now(map->loop);
    if (rc != 0) {
        return; /* the map is closing */
    }
    if (map->renew_rc == 0) {
        struct err why;

        map->stuck = false;
        map->broken = true;
        map->renew_now = true;
        err_set(&why, ERR_FAILED, "map store: is being made anew");
        LIST_FOR_EACH (it, &map->volumes) {
            map_volume_fail(container_of(it, struct map_volume, link), ERR_FAILED, &why);
        }
        turn_all(map);
    }
    map_renew_step(map);
}

static void on_timer(uv_timer_t *timer)
{
    map_renew_step(container_of(timer, struct map, renew_timer));
}

void map_renew_step(struct map *map)
{
    uint64_t due = map->renewed_ms + map->renew_wait_ms, now = uv_now(map->loop);

    if ((!map->stuck && !map->broken) || map->renewing ||
        uv_is_closing((uv_handle_t *)&map->renew_timer) || (map->broken && in_use(map))) {
        return;
    }
    if (now < due && !map->renew_now) {
        uv_timer_start(&map->renew_timer, on_timer, due - now, 0);
        return;
    }
    if (!map->renew_now) {
        map->renew_wait_ms = map->renew_wait_ms == 0 || now > due + RENEW_CALM_MS ? RENEW_MS_MIN
                             : map->renew_wait_ms < RENEW_MS_MAX / 2 ? 2 * map->renew_wait_ms
                                                                     : RENEW_MS_MAX;
    }
    map->renew_now = false;
    map->renewing = true;
    map->renew_rc = 0;
    CHECK(pool_submit(map->pool, &map->renew, POOL_HIGH, map->broken ? renew_run : probe_run,
                      map->broken ? renew_done : probe_done) == 0);
}

void map_store_stuck(struct map *map, const struct err *why)
{
    if (map->stuck || map->broken) {
        return;
    }
    log_error("map", "store cannot be written", "why=%s", why->msg);
    map->stuck = true;
    map_renew_step(map);
}

bool map_can_store(const struct map *map)
{
    return !map->stuck && !(map->broken && !map->renewing && map->renew_rc != 0);
}
