/* A journal without room: nobody waits for ever, and it is known for whom. */
#include <errno.h>
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
#include "volumedriver/journal_full.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_host.h"
#include "volumedriver/volume_private.h"

enum {
    BYTES = 8 << 20,
    SCO_BYTES = 1 << 20,
    CLUSTER = 4096,
    WRITE_BYTES = 8 * CLUSTER,
    WRITES = 64
};

struct call {
    struct volume_req req;
    struct iovec iov;
    int rc;
    bool done;
};

struct fixture {
    struct vol_world world;
    struct call calls[WRITES];
    uint8_t *data;
    unsigned pins;
    unsigned opened;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    f->world.node.segment_bytes = 128 << 10;
    f->world.node.journal_bytes = 6 * f->world.node.segment_bytes;
    f->data = mem_alloc((size_t)WRITES * WRITE_BYTES);
    for (unsigned i = 0; i < WRITES; i++) {
        memset(f->data + (size_t)i * WRITE_BYTES, (int)i + 1, WRITE_BYTES);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vol_world_release(&f->world);
    free(f->data);
    free(f);
    return 0;
}

static void on_call(struct volume_req *req, int rc)
{
    struct call *c = container_of(req, struct call, req);

    c->rc = rc;
    c->done = true;
}

static void submit(struct fixture *f, unsigned i)
{
    struct call *c = &f->calls[i];

    *c = (struct call){
        .iov = {.iov_base = f->data + (size_t)i * WRITE_BYTES, .iov_len = WRITE_BYTES}};
    assert_int_equal(volume_write(f->world.node.volume, &c->req, (uint64_t)i * WRITE_BYTES, &c->iov,
                                  1, 0, on_call),
                     0);
}

static void turn(struct fixture *f, unsigned n)
{
    while (n-- != 0) {
        vol_node_turn(&f->world.node, true);
    }
}

/* More than the journal takes, while the backend takes nothing. */
static void fill(struct fixture *f)
{
    uint64_t ms;

    f->world.store.down = true;
    for (unsigned i = 0; i < WRITES; i++) {
        submit(f, i);
    }
    while (journal_waiting(f->world.node.journal, &ms) == NULL) {
        turn(f, 1);
    }
    turn(f, 50);
}

static void expect(struct fixture *f, unsigned i, uint8_t byte)
{
    uint8_t *data = mem_alloc(WRITE_BYTES);

    assert_int_equal(vol_read(&f->world.node, (uint64_t)i * WRITE_BYTES, data, WRITE_BYTES), 0);
    for (size_t k = 0; k < WRITE_BYTES; k++) {
        assert_int_equal(data[k], byte);
    }
    free(data);
}

static void a_write_that_waits_too_long_fails_and_the_volume_goes_on(void **state)
{
    struct fixture *f = *state;
    unsigned done = 0;
    uint64_t ms = 0;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    fill(f);
    while (done < WRITES && f->calls[done].done) {
        assert_int_equal(f->calls[done++].rc, 0);
    }
    assert_in_range(done, 8, WRITES - 8);
    assert_memory_equal(journal_waiting(f->world.node.journal, &ms), vol_uuid, 16);
    volume_host_end_waits(&f->world.node.host, 3600000); /* they have not waited for an hour */
    turn(f, 20);
    assert_false(f->calls[done].done);
    volume_host_end_waits(&f->world.node.host, 0);
    for (unsigned i = done; i < WRITES; i++) {
        while (!f->calls[i].done) {
            turn(f, 1);
        }
        assert_int_equal(f->calls[i].rc, -ENOSPC);
    }
    assert_int_equal(volume_wait_ms(f->world.node.volume), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    f->world.store.down = false; /* no seq is missing: what comes now is found after a crash */
    for (unsigned i = done; i < WRITES; i += 2) {
        submit(f, i);
        while (!f->calls[i].done) {
            turn(f, 1);
        }
        assert_int_equal(f->calls[i].rc, 0);
    }
    vol_node_kill(&f->world.node);
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    for (unsigned i = 0; i < WRITES; i++) {
        expect(f, i, i < done || (i - done) % 2 == 0 ? (uint8_t)(i + 1) : 0);
    }
}

static void on_pin(void *ctx, const uint8_t uuid[16])
{
    assert_memory_equal(uuid, vol_uuid, 16);
    ((struct fixture *)ctx)->pins++;
}

static unsigned pins(struct fixture *f)
{
    f->pins = 0;
    volume_host_pins(&f->world.node.host, on_pin, f);
    return f->pins;
}

static void while_it_opens(void *ctx)
{
    struct fixture *f = ctx;

    assert_int_equal(pins(f), 1);
    f->opened++;
}

static void who_keeps_the_oldest_segment_is_named_open_or_not(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(pins(f), 0);
    fill(f);
    assert_int_equal(pins(f), 1); /* its uploads fail */
    volume_host_end_waits(&f->world.node.host, 0);
    while (!f->calls[WRITES - 1].done) {
        turn(f, 1);
    }
    vol_node_kill(&f->world.node);
    f->world.store.down = false;
    f->world.registry.claimed = while_it_opens;
    f->world.registry.ctx = f;
    assert_int_equal(vol_node_start(&f->world.node), 0); /* nobody has its records yet */
    assert_int_equal(vol_node_reopen(&f->world.node, 0), 0);
    assert_int_equal(f->opened, 2);
    assert_int_equal(vol_drain(&f->world.node), 0);
    while (pins(f) != 0) {
        turn(f, 1);
    }
}

/* The canceled writes had seqs: the epoch's record must not tell of any behind them. */
static void writes_that_wait_while_an_epoch_is_taken_may_be_canceled(void **state)
{
    struct fixture *f = *state;
    uint64_t ms;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    f->world.registry.slow_turns = 50000;
    f->world.node.volume->next_index = SCO_INDEX_MAX + 1;
    for (unsigned i = 0; i < WRITES; i++) {
        submit(f, i);
    }
    while (journal_waiting(f->world.node.journal, &ms) == NULL ||
           f->world.node.volume->opening == NULL) {
        turn(f, 1);
    }
    (void)vol_node_stop(&f->world.node, 0);
    f->world.registry.slow_turns = 0;
    assert_int_equal(f->calls[WRITES - 1].rc, ERR_CANCELED);
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    for (unsigned i = 0; i < WRITES; i++) {
        if (f->calls[i].rc == 0) {
            expect(f, i, (uint8_t)(i + 1));
        }
    }
}

/* Nothing of it will ever be read: not what waits for room, nor what the journal has just taken. */
static void nothing_is_acknowledged_behind_the_fencing(void **state)
{
    struct fixture *f = *state;
    struct call flush = {0};
    bool before[WRITES];
    struct err why;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    fill(f);
    for (unsigned i = 0; i < WRITES; i++) {
        before[i] = f->calls[i].done;
    }
    assert_int_equal(volume_flush(f->world.node.volume, &flush.req, on_call), 0);
    err_set(&why, ERR_FENCED, "owner_tag");
    volume_stop(f->world.node.volume, VOLUME_FENCED, &why);
    turn(f, 1000);
    assert_true(flush.done);
    assert_int_equal(flush.rc, ERR_FENCED);
    for (unsigned i = 0; i < WRITES; i++) {
        assert_true(f->calls[i].done);
        assert_int_equal(f->calls[i].rc, before[i] ? 0 : ERR_FENCED);
    }
    assert_int_equal(f->calls[WRITES - 1].rc, ERR_FENCED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_write_that_waits_too_long_fails_and_the_volume_goes_on),
        T(who_keeps_the_oldest_segment_is_named_open_or_not),
        T(writes_that_wait_while_an_epoch_is_taken_may_be_canceled),
        T(nothing_is_acknowledged_behind_the_fencing),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
