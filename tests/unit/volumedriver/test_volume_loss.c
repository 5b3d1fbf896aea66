/* What nobody names in the backend: left by a crash, or stranded by a loss that the operator
 * accepts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_call.h"
#include "lib/vol_load.h"
#include "volumedriver/sco.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096 };

struct fixture {
    struct vol_world world;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vol_world_release(&f->world);
    free(f);
    return 0;
}

static void put(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    assert_int_equal(vol_put(&f->world.node, cluster * CLUSTER, byte, CLUSTER, VOLUME_FUA), 0);
}

static void expect(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    vol_expect(&f->world.node, cluster * CLUSTER, byte, CLUSTER);
}

static void start(struct fixture *f, enum volume_state state)
{
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(volume_state(f->world.node.volume), state);
}

/* In an object of its own, and nowhere else. */
static void put_uploaded(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    struct volume_stats s;

    put(f, cluster, byte);
    assert_int_equal(vol_drain(&f->world.node), 0);
    do {
        vol_node_turn(&f->world.node, true);
        volume_stats(f->world.node.volume, &s);
    } while (s.released_seq != s.last_seq);
}

/* The backend has a SCO of this journal's epoch whose record and predecessors are lost. */
static void strand(struct fixture *f)
{
    uint8_t data[CLUSTER] = {9}, *trailer;
    struct sco_footer footer = {.kind = SCO_CLIENT,
                                .data_bytes = CLUSTER,
                                .extent_count = 1,
                                .first_seq = 11,
                                .last_seq = 11};
    struct sco_extent extent = {.cluster = 1, .seq = 11, .count = 1};
    uint32_t crc = crc32c(0, data, CLUSTER);
    char name[SCO_NAME_BYTES];
    struct buf object = {0};

    start(f, VOLUME_RUNNING);
    put_uploaded(f, 0, 1);
    memcpy(footer.volume, vol_uuid, 16);
    footer.generation = f->world.node.volume->root.head_generation;
    footer.epoch = f->world.node.volume->epoch;
    footer.number = f->world.node.volume->committed.number + 5;
    footer.predecessor = footer.number - 1;
    vol_node_kill(&f->world.node);
    buf_put(&object, data, CLUSTER);
    trailer = buf_extend(&object, sco_bytes(&footer) - CLUSTER);
    sco_trailer_encode(&footer, &crc, &extent, trailer);
    sco_name(footer.number, name);
    vol_store_add(&f->world.store, name, object.data, object.len);
    buf_release(&object);
}

static void an_accepted_loss_does_not_come_back(void **state)
{
    struct fixture *f = *state;

    strand(f);
    start(f, VOLUME_DAMAGED);
    assert_int_equal(vol_store_count(&f->world.store, "s_"), 2);
    vol_node_kill(&f->world.node);
    f->world.node.accept_loss = true;
    f->world.store.keep_scos = true; /* so it is not over yet */
    assert_int_equal(vol_node_start(&f->world.node), UV_EIO);
    f->world.node.accept_loss = false;
    start(f, VOLUME_DAMAGED);
    vol_node_kill(&f->world.node);
    f->world.node.accept_loss = true;
    f->world.store.keep_scos = false;
    start(f, VOLUME_RUNNING);
    vol_node_kill(&f->world.node);
    f->world.node.accept_loss = false;
    start(f, VOLUME_RUNNING);
    assert_int_equal(vol_store_count(&f->world.store, "s_"), 1);
    expect(f, 0, 1);
    put(f, 0, 3);
    vol_node_kill(&f->world.node);
    start(f, VOLUME_RUNNING);
    expect(f, 0, 3);
    expect(f, 1, 0);
}

static uint64_t place_of(const struct fixture *f, uint64_t seq)
{
    LIST_FOR_EACH (it, &f->world.node.volume->records) {
        const struct record *record = container_of(it, const struct record, link);

        if (record->seq == seq) {
            return record->data_offset;
        }
    }
    fail();
    return 0;
}

static void accept_in_this_process(struct fixture *f)
{
    f->world.node.accept_loss = true;
    assert_int_equal(vol_node_reopen(&f->world.node, 0), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    f->world.node.accept_loss = false;
}

/* Else what is written behind it would be lost when the journal is read anew. */
static void a_loss_found_by_packing_is_cut_off_when_it_is_accepted(void **state)
{
    struct fixture *f = *state;

    start(f, VOLUME_RUNNING);
    put(f, 0, 1);
    put(f, 1, 2);
    put(f, 2, 3);
    assert_int_equal(crash_disk_corrupt(f->world.node.disk, "/journal", place_of(f, 2)), 0);
    assert_int_not_equal(vol_drain(&f->world.node), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_DAMAGED);
    accept_in_this_process(f);
    expect(f, 0, 1);
    expect(f, 1, 0);
    expect(f, 2, 0);
    put(f, 3, 4);
    vol_node_kill(&f->world.node);
    start(f, VOLUME_RUNNING);
    expect(f, 0, 1);
    expect(f, 3, 4);
    assert_int_equal(vol_drain(&f->world.node), 0);
}

/* The first SCO of all, assigned and not put, and a record of it lost. */
static void what_was_assigned_to_lost_records_is_not_put_once_that_is_accepted(void **state)
{
    struct fixture *f = *state;
    uint64_t at;

    start(f, VOLUME_RUNNING);
    f->world.store.down = true;
    put(f, 0, 1);
    put(f, 1, 2);
    at = place_of(f, 2);
    volume_range_close(f->world.node.volume);
    while (list_empty(&f->world.node.volume->jobs) ||
           container_of(f->world.node.volume->jobs.next, struct sco_job, link)->assigned == NULL) {
        vol_node_turn(&f->world.node, true);
    }
    for (unsigned i = 0; i < 20; i++) {
        vol_node_turn(&f->world.node, true); /* the assignment is durable */
    }
    vol_node_kill(&f->world.node);
    f->world.store.down = false;
    assert_int_equal(crash_disk_corrupt(f->world.node.disk, "/journal", at), 0);
    start(f, VOLUME_DAMAGED);
    accept_in_this_process(f);
    put(f, 2, 3);
    assert_int_equal(vol_drain(&f->world.node), 0);
    vol_node_kill(&f->world.node);
    start(f, VOLUME_RUNNING);
    expect(f, 0, 1);
    expect(f, 1, 0);
    expect(f, 2, 3);
}

static void stray_objects_are_swept_at_the_next_open(void **state)
{
    struct fixture *f = *state;
    unsigned parts;

    start(f, VOLUME_RUNNING);
    put(f, 0, 1);
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    parts = vol_store_count(&f->world.store, "m_");
    assert_int_equal(parts, 1);
    vol_store_add(&f->world.store, "m_0000010009", "left by a crash", 15);
    start(f, VOLUME_RUNNING);
    for (unsigned i = 0; i < 100 && vol_store_count(&f->world.store, "m_") != parts; i++) {
        vol_node_turn(&f->world.node, true);
    }
    assert_int_equal(vol_store_count(&f->world.store, "m_"), parts);
    expect(f, 0, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(stray_objects_are_swept_at_the_next_open),
        T(an_accepted_loss_does_not_come_back),
        T(a_loss_found_by_packing_is_cut_off_when_it_is_accepted),
        T(what_was_assigned_to_lost_records_is_not_put_once_that_is_accepted),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
