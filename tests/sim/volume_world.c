#include "sim/volume_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/tempdir.h"
#include "loop/run.h"

#define POLICIES "[[2,2,3,1]]"

enum { TRIES_MAX = 200, PROXY_TIMEOUT_MS = 5000 };

static void say(const struct volume_world *w, const char *what)
{
    static const char *const kinds[] = {"kill", "power", "lose"};

    log_info("world", what,
             "seed=%llu kind=%s mode=%d steps=%u clock=%llu flushed_clock=%llu lost=%d",
             (unsigned long long)w->seed, kinds[w->kind], (int)w->mode, atomic_load(&w->steps),
             (unsigned long long)w->load.model.clock, (unsigned long long)w->killed_clock, w->lost);
}

/* ---- crashing ---- */

/* Any thread. What happens to the I/O or the commit that counted is the caller's. */
static bool step(struct volume_world *w)
{
    struct crash_disk *d = w->node.disk;
    unsigned this_one = atomic_fetch_add(&w->steps, 1) + 1;

    if (!atomic_compare_exchange_strong(&w->crash_at, &this_one, 0)) {
        return false;
    }
    atomic_store(&w->crashed, true); /* before anything fails of it */
    if (w->kind == CRASH_POWER) {
        crash_disk_power_off_at(d, crash_disk_io_count(d) + 1); /* and tear what comes */
    } else {
        vol_io_kill(&w->node.io);
    }
    return true;
}

static void on_io(void *ctx, const char *what, const char *path)
{
    struct volume_world *w = ctx;

    (void)path;
    if (strcmp(what, "preadv") != 0) {
        step(w);
    }
}

/* ---- faults ---- */

static bool chance(struct volume_world *w, unsigned thousandths)
{
    return thousandths != 0 && rnd_below(&w->rnd, 1000) < thousandths;
}

static enum fake_fate asd_fate(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    static const enum fake_fate refusals[] = {FAKE_ERROR, FAKE_FULL, FAKE_BUSY};
    struct volume_world *w = ctx;

    if (request->code != ASD_APPLY) {
        return chance(w, w->faults.unread) ? FAKE_ERROR : FAKE_NORMAL;
    }
    step(w);
    if (chance(w, w->faults.refused)) {
        return refusals[rnd_below(&w->rnd, 3)];
    }
    if (chance(w, w->faults.dropped)) {
        return rnd_below(&w->rnd, 2) == 0 ? FAKE_DROP : FAKE_DROP_AFTER;
    }
    if (chance(w, w->faults.hung)) {
        return rnd_below(&w->rnd, 2) == 0 ? FAKE_HANG : FAKE_HANG_LATE;
    }
    if (chance(w, w->faults.delayed)) {
        asd->delay_ms = 1 + rnd_below(&w->rnd, 20);
        return FAKE_DELAY;
    }
    return FAKE_NORMAL;
}

/* Objects, not the registry. */
static bool is_of_objects(const struct kv_txn *txn)
{
    static const char prefix[] = "/alba/v1/ns/";

    for (unsigned i = 0; i < txn->update_count; i++) {
        struct slice key = txn->updates[i].key;

        if (key.len > sizeof(prefix) && memcmp(key.data, prefix, sizeof(prefix) - 1) == 0) {
            return true;
        }
    }
    return false;
}

static enum kv_mem_fate kv_fate(void *ctx, const struct kv_txn *txn)
{
    static const enum kv_mem_fate doubts[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY, KV_MEM_LATE};
    struct volume_world *w = ctx;

    if (!is_of_objects(txn)) {
        return KV_MEM_NORMAL;
    }
    if (step(w) && rnd_below(&w->rnd, 2) == 0) {
        return doubts[rnd_below(&w->rnd, 3)];
    }
    if (chance(w, w->faults.doubted)) {
        return doubts[rnd_below(&w->rnd, 3)];
    }
    return w->hold && !atomic_load(&w->crashed) ? KV_MEM_HELD : KV_MEM_NORMAL;
}

unsigned volume_world_held(const struct volume_world *w)
{
    return kv_mem_held_count(w->base->store);
}

void volume_world_release_newest(struct volume_world *w)
{
    kv_mem_run_newest_held(w->base->store);
}

/* ---- the world ---- */

static void set_host(struct vol_node *n)
{
    n->host.sco_age_ms = 20;
    n->host.incomplete_ms = 30;
    n->host.checkpoint_bytes = 4096;
}

static void serve(struct volume_world *w)
{
    struct proxy_server_options options = {
        .addrs = &w->addr, .addr_count = 1, .request_timeout_ms = PROXY_TIMEOUT_MS};
    char *path = tempdir_path(w->dir, "proxy.sock");
    char *url = mem_printf("unix://%s", path);
    struct err e;

    assert_int_equal(net_addr_parse(&w->addr, url, &e), 0);
    assert_int_equal(proxy_server_new(w->base->engine, &options, &w->server, &e), 0);
    free(url);
    free(path);
}

struct volume_world *volume_world_new(uint64_t seed)
{
    struct volume_world *w = mem_zalloc(sizeof(*w));
    uv_loop_t *loop;

    w->seed = seed;
    w->rnd = rnd_seed(seed ^ 0x5ca1ab1e);
    w->base = world_new_of(seed, VOLUME_WORLD_ASDS, VOLUME_WORLD_ASDS,
                           WORLD_PRESET(POLICIES, 1048576, "none"));
    world_make_hasty(w->base);
    loop = &w->base->base.loop;
    kv_mem_store_jitter(w->base->store, 4);
    w->dir = tempdir_make();
    serve(w);
    w->link = volume_link_new(&w->node, &w->addr, "ns", seed);
    vol_node_init_on(&w->node, loop, &w->link->ops, &w->registry, seed);
    set_host(&w->node);
    assert_int_equal(vol_create(&w->node, VOLUME_WORLD_BYTES, VOLUME_WORLD_SCO_BYTES), 0);
    vol_load_init(&w->load, &w->node, VOLUME_WORLD_BYTES, seed);
    for (unsigned i = 0; i < VOLUME_WORLD_ASDS; i++) {
        fake_asd_set_fate(w->base->asds[i], asd_fate, w);
    }
    kv_mem_set_fate(w->base->kv, kv_fate, w);
    crash_disk_set_hook(w->node.disk, on_io, w);
    return w;
}

void volume_world_free(struct volume_world *w)
{
    bool closed = false;

    volume_world_disarm(w);
    w->hold = false;
    volume_world_fail(w, &(struct volume_faults){0});
    kv_mem_run_held(w->base->store);
    vol_node_kill(&w->node);
    volume_link_free(w->link);
    vol_load_release(&w->load);
    vol_node_release(&w->node);
    proxy_server_close(w->server, loop_set_true, &closed);
    loop_run_until(&w->base->base.loop, &closed);
    world_free(w->base);
    tempdir_remove(w->dir);
    free(w);
}

/* ---- a node's life ---- */

void volume_world_fail(struct volume_world *w, const struct volume_faults *faults)
{
    w->faults = *faults;
    w->link->cut = faults->cut;
}

void volume_world_crash_at(struct volume_world *w, enum volume_crash kind, unsigned at_step)
{
    w->kind = kind;
    w->armed = at_step != 0;
    atomic_store(&w->steps, 0);
    atomic_store(&w->crashed, false);
    atomic_store(&w->crash_at, at_step);
}

bool volume_world_disarm(struct volume_world *w)
{
    if (w->armed && atomic_exchange(&w->crash_at, 0) == 0) {
        while (!atomic_load(&w->crashed)) { /* a thread is about to set it */
            uv_sleep(0);
        }
    }
    w->armed = false;
    return !atomic_load(&w->crashed);
}

/* Worth another try: the backend is in trouble, or one of our own tries was late. */
static bool may_pass(int rc)
{
    return rc != ERR_CORRUPT && rc != ERR_CONFIG && rc != -EINVAL && rc != ERR_NOT_FOUND;
}

bool volume_world_start(struct volume_world *w)
{
    struct vol_node *n = &w->node;
    int rc = -1;

    for (unsigned i = 0; i < TRIES_MAX && rc != 0 && !atomic_load(&w->crashed); i++) {
        rc = vol_node_try(n);
        if (rc != 0 && (!n->up || !may_pass(rc))) {
            break;
        }
    }
    if (atomic_load(&w->crashed)) {
        return false;
    }
    if (rc != 0 || volume_state(n->volume) != VOLUME_RUNNING) {
        fail_msg("seed %llu: not opened: %s", (unsigned long long)w->seed,
                 rc != 0 ? err_text(rc) : volume_error(n->volume)->msg);
    }
    return true;
}

static void do_late(struct volume_world *w)
{
    if (w->faults.late_turns != 0 && rnd_below(&w->rnd, w->faults.late_turns) == 0) {
        kv_mem_run_late(w->base->store);
        volume_link_late(w->link);
    }
}

void volume_world_turn(struct volume_world *w)
{
    vol_node_turn(&w->node, false);
    do_late(w);
}

struct wait {
    struct volume_world *w;
    bool (*is_done)(struct volume_world *w);
};

static bool is_over(void *ctx)
{
    struct wait *wait = ctx;

    do_late(wait->w);
    return atomic_load(&wait->w->crashed) || wait->is_done(wait->w);
}

void volume_world_wait(struct volume_world *w, bool (*is_done)(struct volume_world *w))
{
    struct wait wait = {.w = w, .is_done = is_done};

    loop_run_until_true(w->node.loop, is_over, &wait);
}

static bool is_settled(struct volume_world *w)
{
    return w->load.in_flight == 0;
}

void volume_world_settle(struct volume_world *w)
{
    volume_world_wait(w, is_settled);
}

/* What its dead author had asked for happens now, or never; what is late, now or later. */
static void end_held(struct volume_world *w)
{
    if (rnd_below(&w->rnd, 2) == 0) {
        kv_mem_run_held(w->base->store);
    } else {
        kv_mem_refuse_held(w->base->store);
    }
    if (rnd_below(&w->rnd, 2) == 0) {
        kv_mem_run_late(w->base->store);
    }
}

void volume_world_crash(struct volume_world *w)
{
    struct vol_node *n = &w->node;
    struct volume_stats stats;
    uint64_t seed = rnd_next(&w->rnd);

    if (n->volume != NULL) {
        volume_stats(n->volume, &stats);
        vol_model_committed(&w->load.model, stats.committed_seq);
    }
    volume_world_disarm(w);
    say(w, "dies");
    if (w->kind == CRASH_KILL) {
        w->killed_clock = w->dark ? 0 : w->load.model.clock;
        vol_node_kill(n);
    } else if (w->kind == CRASH_POWER) {
        w->killed_clock = 0;
        w->dark = true;
        vol_node_power(n, w->mode, seed);
    } else {
        w->lost = true;
        vol_node_lose(n, seed);
        crash_disk_set_hook(n->disk, on_io, w);
    }
    vol_io_revive(&n->io); /* it may have died before it was up */
    if (rnd_below(&w->rnd, 3) == 0) {
        vol_node_forget_map(n);
    }
    end_held(w);
    n->accept_loss = w->lost;
    atomic_store(&w->crashed, false);
}

void volume_world_check(struct volume_world *w, uint8_t *ret_image)
{
    uint8_t *image = ret_image != NULL ? ret_image : mem_alloc(VOLUME_WORLD_BYTES);
    struct volume_stats stats;

    say(w, "is checked");
    /* Opening made the journal durable, if there is one. */
    vol_model_flushed(&w->load.model, w->killed_clock);
    vol_load_image(&w->load, image);
    vol_model_check(&w->load.model, image, !w->lost);
    volume_stats(w->node.volume, &stats);
    vol_model_bound(&w->load.model, stats.last_seq);
    w->killed_clock = 0;
    w->dark = false;
    w->lost = false;
    w->load.failed = false;
    if (ret_image == NULL) {
        free(image);
    }
}

static void crash_now(struct volume_world *w, enum volume_crash kind)
{
    w->kind = kind;
    volume_world_crash(w);
}

/* It takes writes, and what is drained is in the backend alone. */
static void write_on(struct volume_world *w)
{
    w->load.sectors_max = 256;
    for (unsigned i = 0; i < 12; i++) {
        vol_load_step(&w->load);
    }
    vol_load_settle(&w->load);
    assert_false(w->load.failed);
    vol_load_upload(&w->load);
    crash_now(w, CRASH_LOSE);
    assert_true(volume_world_start(w));
    volume_world_check(w, NULL);
}

void volume_world_verify(struct volume_world *w)
{
    uint8_t *first = mem_alloc(VOLUME_WORLD_BYTES);
    uint8_t *second = mem_alloc(VOLUME_WORLD_BYTES);

    assert_true(volume_world_start(w));
    volume_world_check(w, first);
    crash_now(w, CRASH_KILL);
    kv_mem_run_late(w->base->store);
    assert_true(volume_world_start(w));
    volume_link_late(w->link);
    volume_world_check(w, second);
    assert_memory_equal(first, second, VOLUME_WORLD_BYTES);
    free(first);
    free(second);
    write_on(w);
}
