/* Two volumes of one process: uploads of one that hang, or end, do not stop those of the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_load.h"
#include "volumedriver/volume_job.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096 };

static const uint8_t sick_uuid[16] = "the-other-volume";

struct fixture {
    struct vol_world world;
    struct vol_store sick_store; /* the second volume's */
    struct vol_backend sick_backend;
    struct volume *sick;
    struct volume_create create;
    bool done;
    int rc;
};

static void wait_done(struct fixture *f)
{
    while (!f->done) {
        vol_node_turn(&f->world.node, true);
    }
    f->done = false;
    assert_int_equal(f->rc, 0);
}

static void on_created(struct volume_create *create, int rc)
{
    struct fixture *f = container_of(create, struct fixture, create);

    f->done = true;
    f->rc = rc;
}

static void on_open(void *ctx, struct volume *v, int rc)
{
    struct fixture *f = ctx;

    (void)v;
    f->done = true;
    f->rc = rc;
}

static void on_closed(void *ctx, int rc)
{
    struct fixture *f = ctx;

    (void)rc; /* its tail stays in the journal */
    f->done = true;
    f->rc = 0;
}

static void open_sick(struct fixture *f, const char *preset)
{
    struct volume_options o = {.host = &f->world.node.host,
                               .name = "sick",
                               .preset = preset,
                               .backend = &f->sick_backend.backend,
                               .owner = f->world.node.volume->options.owner,
                               .owner_ctx = &f->world.node};

    memcpy(o.uuid, sick_uuid, 16);
    vol_backend_init(&f->sick_backend, &f->sick_store, f->world.node.loop);
    volume_create(&f->sick_backend.backend, &f->create, sick_uuid, BYTES, SCO_BYTES, on_created);
    wait_done(f);
    f->sick = volume_open(&o, on_open, f);
    wait_done(f);
}

static void await_sick_closed(struct fixture *f)
{
    wait_done(f);
    vol_backend_close(&f->sick_backend);
    while (!f->sick_backend.closed) {
        vol_node_turn(&f->world.node, true);
    }
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    vol_store_init(&f->sick_store, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vol_world_release(&f->world);
    vol_store_release(&f->sick_store);
    free(f);
    return 0;
}

struct call {
    struct volume_req req;
    bool done;
};

static void on_call(struct volume_req *req, int rc)
{
    assert_int_equal(rc, 0);
    container_of(req, struct call, req)->done = true;
}

/* One cluster, and a job for it. */
static void put(struct fixture *f, struct volume *v, uint64_t cluster)
{
    uint8_t data[CLUSTER] = {1};
    struct iovec iov = {.iov_base = data, .iov_len = CLUSTER};
    struct call c = {0};

    assert_int_equal(volume_write(v, &c.req, cluster * CLUSTER, &iov, 1, 0, on_call), 0);
    while (!c.done) {
        vol_node_turn(&f->world.node, true);
    }
    volume_range_close(v);
}

static struct sco_job *last_job(struct volume *v)
{
    return container_of(v->jobs.prev, struct sco_job, link);
}

static void wait_state(struct fixture *f, struct volume *v, enum sco_job_state state)
{
    while (last_job(v)->state != state) {
        vol_node_turn(&f->world.node, true);
    }
}

static void puts_that_hang_hold_up_those_of_their_preset_only(void **state)
{
    struct fixture *f = *state;

    f->world.node.host.puts_max = 2;
    assert_int_equal(vol_node_start(&f->world.node), 0);
    open_sick(f, "sick");
    f->sick_store.hold_scos = true;
    for (unsigned i = 0; i < 6; i++) {
        put(f, f->sick, i);
    }
    wait_state(f, f->sick, JOB_QUEUED);
    put(f, f->world.node.volume, 0);
    assert_int_equal(vol_drain(&f->world.node), 0);
    assert_int_equal(vol_store_count(&f->sick_store, "s_"), 0);
    f->sick_store.hold_scos = false;
    volume_close(f->sick, 0, on_closed, f);
    await_sick_closed(f);
}

/* Its put may take minutes to end. */
static void a_volume_that_closes_leaves_the_queue_at_once(void **state)
{
    struct fixture *f = *state;

    f->world.node.host.puts_max = 2;
    assert_int_equal(vol_node_start(&f->world.node), 0);
    open_sick(f, NULL);
    f->sick_store.hold_scos = f->world.store.hold_scos = true;
    put(f, f->sick, 0);
    wait_state(f, f->sick, JOB_PUTTING);
    put(f, f->world.node.volume, 0);
    wait_state(f, f->world.node.volume, JOB_PUTTING);
    put(f, f->sick, 1);
    wait_state(f, f->sick, JOB_QUEUED);
    put(f, f->world.node.volume, 1);
    wait_state(f, f->world.node.volume, JOB_QUEUED);
    volume_close(f->sick, 0, on_closed, f);
    f->world.store.hold_scos = false;
    assert_int_equal(vol_drain(&f->world.node), 0);
    assert_false(f->done);
    f->sick_store.hold_scos = false;
    await_sick_closed(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(puts_that_hang_hold_up_those_of_their_preset_only),
        T(a_volume_that_closes_leaves_the_queue_at_once),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
