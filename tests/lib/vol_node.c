#include "lib/vol_node.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"

const uint8_t vol_uuid[16] = "simulated-volume";

enum { TURN_MS_MAX = 20 };

struct claim_call {
    struct later_item later;
    struct volume_claim *claim;
    struct vol_node *node;
    unsigned turns;
};

static void on_claim_later(struct later_item *item)
{
    struct claim_call *call = container_of(item, struct claim_call, later);
    struct volume_claim *claim = call->claim;
    struct vol_registry *r = call->node->registry;

    if (call->turns++ < r->slow_turns) {
        later_run(&call->node->later, &call->later, on_claim_later);
        return;
    }
    r->epoch = (r->epoch > claim->floor ? r->epoch : claim->floor) + 1;
    claim->epoch = r->epoch;
    claim->verdict = r->verdict;
    free(call);
    if (r->claimed != NULL) {
        r->claimed(r->ctx);
    }
    claim->cb(claim, 0);
}

static void claim(void *ctx, struct volume *v, struct volume_claim *c)
{
    struct vol_node *n = ctx;
    struct claim_call *call = mem_zalloc(sizeof(*call));

    (void)v;
    call->claim = c;
    call->node = n;
    later_run(&n->later, &call->later, on_claim_later);
}

struct judge_call {
    struct later_item later;
    struct volume_judgement *judgement;
    struct vol_node *node;
};

static void on_judge_later(struct later_item *item)
{
    struct judge_call *call = container_of(item, struct judge_call, later);
    struct volume_judgement *j = call->judgement;
    struct vol_registry *r = call->node->registry;
    int rc = 0;

    if (j->epoch != r->epoch) {
        rc = err_set(&j->err, ERR_FENCED, "epoch %u", r->epoch);
    } else if (!r->judge_fails) {
        r->verdict = j->verdict;
    }
    if (rc == 0 && (r->judge_fails || r->judge_lost)) {
        rc = err_set(&j->err, ERR_BUSY, "registry");
    }
    free(call);
    j->cb(j, rc);
}

static void judge(void *ctx, struct volume *v, struct volume_judgement *j)
{
    struct vol_node *n = ctx;
    struct judge_call *call = mem_zalloc(sizeof(*call));

    (void)v;
    call->judgement = j;
    call->node = n;
    later_run(&n->later, &call->later, on_judge_later);
}

static const struct volume_owner_ops owner = {.claim = claim, .judge = judge};

static void on_pressure(void *ctx, uint64_t lsn)
{
    volume_host_pressure(&((struct vol_node *)ctx)->host, lsn);
}

/* UV_RUN_ONCE would run due timers first, then wait for an event, though it was a timer that the
 * caller waits for. */
void vol_node_turn(struct vol_node *n, bool wait)
{
    if (wait) {
        struct pollfd events = {.fd = uv_backend_fd(n->loop), .events = POLLIN};
        int wait_ms;

        uv_update_time(n->loop);
        wait_ms = uv_backend_timeout(n->loop);
        poll(&events, 1, wait_ms < 0 || wait_ms > TURN_MS_MAX ? TURN_MS_MAX : wait_ms);
    }
    uv_run(n->loop, UV_RUN_NOWAIT);
}

static bool is_idle(void *ctx)
{
    return ((const struct vol_node *)ctx)->pending == 0;
}

static void wait_for(struct vol_node *n)
{
    loop_run_until_true(n->loop, is_idle, n);
}

static void on_closed(void *ctx)
{
    ((struct vol_node *)ctx)->pending--;
}

static void on_volume_closed(void *ctx, int rc)
{
    struct vol_node *n = ctx;

    n->pending--;
    n->rc = rc;
}

static void close_parts(struct vol_node *n)
{
    volume_host_release(&n->host);
    n->pending = 4;
    journal_close(n->journal, on_closed, n);
    map_close(n->map, on_closed, n);
    pool_close(n->pool, on_closed, n);
    later_close(&n->later, on_closed, n);
    wait_for(n);
    n->up = false;
}

static struct backend *open_backend(struct vol_node *n)
{
    if (n->link != NULL) {
        return n->link->open(n->link->ctx);
    }
    vol_backend_init(&n->backend, n->store, n->loop);
    return &n->backend.backend;
}

static void close_backend(struct vol_node *n)
{
    if (n->link != NULL) {
        n->link->close(n->link->ctx);
        return;
    }
    vol_backend_close(&n->backend);
    while (!n->backend.closed) {
        vol_node_turn(n, true);
    }
}

static int close_volume(struct vol_node *n, uint64_t drain_ms)
{
    if (n->volume != NULL) {
        n->pending = 1;
        volume_close(n->volume, drain_ms, on_volume_closed, n);
        wait_for(n);
        n->volume = NULL;
        close_backend(n);
        return n->rc;
    }
    return 0;
}

static void on_open(void *ctx, struct volume *v, int rc)
{
    struct vol_node *n = ctx;

    (void)v;
    n->pending--;
    n->rc = rc;
}

static int open_volume(struct vol_node *n)
{
    struct volume_options o = {.host = &n->host,
                               .name = "disk",
                               .backend = open_backend(n),
                               .owner = &owner,
                               .owner_ctx = n,
                               .accept_loss = n->accept_loss};

    memcpy(o.uuid, vol_uuid, 16);
    n->pending = 1;
    n->volume = volume_open(&o, on_open, n);
    wait_for(n);
    if (n->rc != 0) {
        while (!list_empty(&n->host.volumes)) {
            vol_node_turn(n, true);
        }
        n->volume = NULL;
        close_backend(n);
    }
    return n->rc;
}

static int start_parts(struct vol_node *n)
{
    struct journal_options o = {.loop = n->loop,
                                .io = &n->io.io,
                                .dir = "/",
                                .segment_bytes = n->segment_bytes,
                                .journal_bytes = n->journal_bytes,
                                .on_pressure = on_pressure,
                                .ctx = n};
    struct err e;
    int rc;

    rc = journal_open(&o, &n->journal, &e);
    if (rc != 0) {
        return rc;
    }
    CHECK(map_open(n->loop, n->map_dir, 0, &n->map, &e) == 0);
    CHECK(pool_new(n->loop, "cpu", 2, 64, &n->pool) == 0);
    later_init(&n->later, n->loop);
    n->host.loop = n->loop;
    n->host.later = &n->later;
    n->host.journal = n->journal;
    n->host.map = n->map;
    n->host.pool = n->pool;
    n->host.retry_ms_max = 5;
    volume_host_init(&n->host);
    n->up = true;
    return 0;
}

int vol_node_try(struct vol_node *n)
{
    int rc = n->up ? 0 : start_parts(n);

    return rc == 0 ? open_volume(n) : rc;
}

int vol_node_start(struct vol_node *n)
{
    int rc;

    CHECK(!n->up);
    do {
        rc = vol_node_try(n);
    } while (rc == UV_ECONNRESET || rc == ERR_IN_DOUBT); /* as the driver would */
    if (rc != 0 && n->up) {
        close_parts(n);
    }
    return rc;
}

int vol_node_reopen(struct vol_node *n, uint64_t drain_ms)
{
    bool down = n->store->down;
    int rc;

    close_volume(n, drain_ms);
    n->store->down = false;
    rc = open_volume(n);
    n->store->down = down;
    return rc;
}

void vol_node_kill(struct vol_node *n)
{
    if (!n->up) {
        return;
    }
    vol_io_kill(&n->io);
    if (n->link != NULL) {
        n->link->kill(n->link->ctx);
    } else {
        vol_backend_kill(&n->backend);
    }
    close_volume(n, 0);
    close_parts(n);
    vol_io_revive(&n->io);
    CHECK(crash_disk_open_count(n->disk) == 0);
}

int vol_node_stop(struct vol_node *n, uint64_t drain_ms)
{
    int rc = close_volume(n, drain_ms);

    close_parts(n);
    CHECK(crash_disk_open_count(n->disk) == 0);
    return rc;
}

void vol_node_power(struct vol_node *n, enum crash_mode mode, uint64_t seed)
{
    crash_disk_power_off(n->disk);
    vol_node_kill(n);
    crash_disk_reboot(n->disk, mode, seed);
}

void vol_node_forget_map(struct vol_node *n)
{
    char *command = mem_printf("rm -rf %s", n->map_dir);

    CHECK(!n->up);
    CHECK(system(command) == 0);
    free(command);
}

void vol_node_lose(struct vol_node *n, uint64_t seed)
{
    vol_node_kill(n);
    crash_disk_free(n->disk);
    n->disk = crash_disk_new(seed);
    n->io.below = crash_disk_io(n->disk);
    vol_node_forget_map(n);
}

static void init(struct vol_node *n, struct vol_registry *r, uint64_t seed)
{
    const char *tmp = getenv("TMPDIR");

    *n = (struct vol_node){.registry = r};
    n->disk = crash_disk_new(seed);
    vol_io_init(&n->io, crash_disk_io(n->disk), (unsigned)seed);
    n->segment_bytes = 524288;
    n->journal_bytes = 8 * n->segment_bytes;
    snprintf(n->map_dir, sizeof(n->map_dir), "%s/vol-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(n->map_dir) != NULL);
}

void vol_node_init(struct vol_node *n, struct vol_store *s, struct vol_registry *r, uint64_t seed)
{
    init(n, r, seed);
    n->store = s;
    n->loop = &n->own_loop;
    CHECK(uv_loop_init(n->loop) == 0);
}

void vol_node_init_on(struct vol_node *n, uv_loop_t *loop, const struct vol_link *link,
                      struct vol_registry *r, uint64_t seed)
{
    init(n, r, seed);
    n->loop = loop;
    n->link = link;
}

void vol_node_release(struct vol_node *n)
{
    vol_node_kill(n);
    vol_node_forget_map(n);
    if (n->loop == &n->own_loop) {
        uv_run(n->loop, UV_RUN_DEFAULT);
        CHECK(uv_loop_close(n->loop) == 0);
    }
    crash_disk_free(n->disk);
}

/* ---- blocking calls ---- */

struct create {
    struct volume_create create;
    struct vol_node *node;
};

static void on_created(struct volume_create *c, int rc)
{
    struct vol_node *n = container_of(c, struct create, create)->node;

    n->rc = rc;
    n->pending--;
}

int vol_create(struct vol_node *n, uint64_t size_bytes, uint32_t sco_bytes)
{
    struct create c = {.node = n};

    n->pending = 1;
    volume_create(open_backend(n), &c.create, vol_uuid, size_bytes, sco_bytes, on_created);
    wait_for(n);
    close_backend(n);
    n->registry->epoch = 1;
    return n->rc;
}

struct drain {
    struct volume_drain drain;
    struct vol_node *node;
};

static void on_drained(struct volume_drain *d, int rc)
{
    struct vol_node *n = container_of(d, struct drain, drain)->node;

    n->rc = rc;
    n->pending--;
}

int vol_drain(struct vol_node *n)
{
    struct drain d = {.node = n};

    n->pending = 1;
    volume_drain(n->volume, &d.drain, on_drained);
    wait_for(n);
    return n->rc;
}

struct call {
    struct volume_req req;
    struct vol_node *node;
};

static void on_call(struct volume_req *req, int rc)
{
    struct vol_node *n = container_of(req, struct call, req)->node;

    n->rc = rc;
    n->pending--;
}

int vol_flush(struct vol_node *n)
{
    struct call c = {.node = n};
    int rc = volume_flush(n->volume, &c.req, on_call);

    if (rc == 0) {
        n->pending = 1;
        wait_for(n);
        rc = n->rc;
    }
    return rc;
}

int vol_read(struct vol_node *n, uint64_t offset, void *ret_data, size_t bytes)
{
    struct call c = {.node = n};
    struct iovec iov = {.iov_base = ret_data, .iov_len = bytes};
    int rc = volume_read(n->volume, &c.req, offset, &iov, 1, on_call);

    if (rc == 0) {
        n->pending = 1;
        wait_for(n);
        rc = n->rc;
    }
    return rc;
}

/* ---- world ---- */

void vol_world_init(struct vol_world *w, uint64_t seed, uint64_t size_bytes, uint32_t sco_bytes)
{
    *w = (struct vol_world){0};
    vol_store_init(&w->store, seed);
    vol_node_init(&w->node, &w->store, &w->registry, seed);
    w->node.host.incomplete_ms = 10;
    CHECK(vol_create(&w->node, size_bytes, sco_bytes) == 0);
}

void vol_world_release(struct vol_world *w)
{
    vol_node_release(&w->node);
    vol_store_release(&w->store);
}
