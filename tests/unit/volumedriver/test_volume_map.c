/* The local map is only a cache: whatever becomes of its store, a volume goes on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_call.h"
#include "lib/vol_load.h"
#include "volumedriver/location.h"
#include "volumedriver/map_db.h"
#include "volumedriver/map_key.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096 };

struct fixture {
    struct vol_world world;
    struct rlimit limit;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &f->limit), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &f->limit), 0);
    vol_world_release(&f->world);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
}

static void put(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    assert_int_equal(vol_put(&f->world.node, cluster * CLUSTER, byte, CLUSTER, 0), 0);
}

static void expect(struct fixture *f, uint64_t cluster, uint8_t byte)
{
    vol_expect(&f->world.node, cluster * CLUSTER, byte, CLUSTER);
}

/* The first page of the map gets a value that is none. */
static void spoil_first_page(struct fixture *f)
{
    struct map_key key = map_key_page(vol_uuid, 0, 1);
    struct map_batch *b = map_batch_new();
    uint8_t page[MAP_PAGE_BYTES];
    struct map_db *db;
    struct err e;
    size_t bytes;

    assert_int_equal(map_db_open(f->world.node.map_dir, &db, &e), 0);
    assert_int_equal(map_db_get(db, map_key_slice(&key), page, sizeof(page), &bytes, &e), 0);
    map_batch_put(b, map_key_slice(&key), slice_of("rotten!", 7));
    assert_int_equal(map_batch_write(db, b, &e), 0);
    map_db_close(db);
}

static void expect_commits(struct fixture *f, uint64_t cluster)
{
    struct volume_stats s;

    put(f, cluster, 77);
    assert_int_equal(vol_drain(&f->world.node), 0);
    volume_stats(f->world.node.volume, &s);
    assert_int_equal(s.committed_seq, s.last_seq);
    expect(f, cluster, 77);
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
}

static void a_rotten_page_that_is_read_is_rebuilt_and_the_read_answered(void **state)
{
    struct fixture *f = *state;

    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    spoil_first_page(f);
    start(f);
    expect(f, 3, 1);
    expect(f, 4, 0);
    expect_commits(f, 5);
    assert_int_equal(vol_node_reopen(&f->world.node, 60000), 0);
    expect(f, 3, 1);
    expect(f, 5, 77);
}

static void a_rotten_page_does_not_keep_a_volume_from_opening(void **state)
{
    struct fixture *f = *state;

    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    start(f);
    put(f, 4, 2); /* into the same page, by its trailer */
    assert_int_equal(vol_drain(&f->world.node), 0);
    vol_node_kill(&f->world.node);
    spoil_first_page(f);
    start(f);
    expect(f, 3, 1);
    expect(f, 4, 2);
    expect_commits(f, 5);
}

/* Two failures: while the map is used, and while it is built anew. The backend is away in between,
 * so what waits gets an error and what comes later does not. */
static void a_rebuilding_that_fails_is_tried_again(void **state)
{
    struct fixture *f = *state;
    uint8_t data[CLUSTER];

    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    spoil_first_page(f);
    start(f);
    f->world.store.down = true;
    assert_int_not_equal(vol_read(&f->world.node, 3 * CLUSTER, data, CLUSTER), 0);
    f->world.store.down = false;
    expect(f, 3, 1);
    expect_commits(f, 5);
}

static void limit_files(struct fixture *f, rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = f->limit.rlim_max};

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk of the map is full for a while. Commits and checkpoints wait, no request fails. */
static void a_store_that_cannot_be_written_is_made_anew(void **state)
{
    struct fixture *f = *state;

    f->world.node.host.checkpoint_bytes = 1; /* every commit stores the map */
    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_drain(&f->world.node), 0);
    limit_files(f, 1);
    for (unsigned i = 0; i < 8; i++) {
        put(f, 10 + i, (uint8_t)(i + 1));
        expect(f, 3, 1);
    }
    for (unsigned i = 0; i < 1000 && map_can_store(f->world.node.map); i++) {
        volume_range_close(f->world.node.volume);
        vol_node_turn(&f->world.node, true);
    }
    assert_false(map_can_store(f->world.node.map));
    for (unsigned i = 0; i < 8; i++) { /* from the journal, or the store that still can be read */
        expect(f, 10 + i, (uint8_t)(i + 1));
        expect(f, 30, 0);
    }
    assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
    limit_files(f, f->limit.rlim_cur);
    expect(f, 3, 1);
    expect_commits(f, 5);
    for (unsigned i = 0; i < 8; i++) {
        expect(f, 10 + i, (uint8_t)(i + 1));
    }
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    start(f);
    expect(f, 3, 1);
}

static void a_volume_closes_while_its_map_cannot_be_stored(void **state)
{
    struct fixture *f = *state;

    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_drain(&f->world.node), 0);
    put(f, 4, 2);
    limit_files(f, 1);
    (void)vol_node_stop(&f->world.node, 200);
    limit_files(f, f->limit.rlim_cur);
    start(f);
    expect(f, 3, 1);
    expect(f, 4, 2);
}

static void read_begin(struct fixture *f, struct vol_call *c, struct iovec *iov)
{
    assert_int_equal(volume_read(f->world.node.volume, &c->req, 3 * CLUSTER, iov, 1, vol_call_done),
                     0);
    while (f->world.node.volume->opening == NULL) {
        vol_node_turn(&f->world.node, true);
    }
}

static void a_volume_closes_while_its_map_is_built_anew(void **state)
{
    struct fixture *f = *state;
    uint8_t data[CLUSTER];
    struct iovec iov = {.iov_base = data, .iov_len = CLUSTER};

    for (unsigned i = 0; i < 8; i++) {
        struct vol_call c = {0};

        start(f);
        put(f, 3, (uint8_t)(i + 1));
        assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
        spoil_first_page(f);
        start(f);
        f->world.store.lazy_percent = 90;
        read_begin(f, &c, &iov);
        for (unsigned k = 0; k < 5 * i; k++) {
            vol_node_turn(&f->world.node, true);
        }
        assert_int_equal(vol_node_stop(&f->world.node, 0), 0);
        assert_true(c.done);
        assert_true(c.rc != 0 || data[0] == i + 1);
        f->world.store.lazy_percent = 0;
    }
}

/* The numbers run out while no new map can be had. */
static void the_next_epoch_is_taken_while_the_map_waits(void **state)
{
    struct fixture *f = *state;
    uint8_t data[CLUSTER];
    uint32_t epoch;

    start(f);
    put(f, 3, 1);
    assert_int_equal(vol_node_stop(&f->world.node, 60000), 0);
    spoil_first_page(f);
    start(f);
    f->world.store.down = true;
    assert_int_not_equal(vol_read(&f->world.node, 3 * CLUSTER, data, CLUSTER), 0);
    epoch = f->world.node.volume->epoch;
    f->world.node.volume->next_index = SCO_INDEX_MAX + 1;
    put(f, 4, 2);
    volume_range_close(f->world.node.volume);
    f->world.store.down = false;
    while (f->world.node.volume->epoch == epoch) {
        vol_node_turn(&f->world.node, true);
    }
    expect(f, 3, 1);
    expect_commits(f, 5);
    expect(f, 4, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_rotten_page_that_is_read_is_rebuilt_and_the_read_answered),
        T(a_rotten_page_does_not_keep_a_volume_from_opening),
        T(a_rebuilding_that_fails_is_tried_again),
        T(a_store_that_cannot_be_written_is_made_anew),
        T(a_volume_closes_while_its_map_cannot_be_stored),
        T(a_volume_closes_while_its_map_is_built_anew),
        T(the_next_epoch_is_taken_while_the_map_waits),
    };

    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails, as on a full disk */
    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
