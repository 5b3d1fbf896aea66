#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "loop/run.h"
#include "volumedriver/location.h"
#include "volumedriver/map.h"
#include "volumedriver/map_checkpoint.h"
#include "volumedriver/map_db.h"
#include "volumedriver/map_key.h"

enum { CLUSTERS = 20 * MAP_PAGE_CLUSTERS + 100, EXTENTS_MAX = 40 };

struct fixture {
    uv_loop_t loop;
    char dir[64];
    struct map *map;
    struct map_volume mv;
    uint64_t model[CLUSTERS];
    struct rnd rnd;
    uint64_t number, seq;
    bool done;
    int rc;
};

static const uint8_t uuid[16] = "volume-uuid-0001";

static void open_map(struct fixture *f)
{
    struct err e;

    assert_int_equal(map_open(&f->loop, f->dir, 0, &f->map, &e), 0);
    map_volume_init(&f->mv, f->map, uuid);
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->done = true;
}

static void wait_done(struct fixture *f)
{
    loop_run_until(&f->loop, &f->done);
    f->done = false;
}

static void close_map(struct fixture *f)
{
    map_volume_close(&f->mv, on_closed, f);
    wait_done(f);
    map_close(f->map, on_closed, f);
    wait_done(f);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    const char *tmp = getenv("TMPDIR");

    snprintf(f->dir, sizeof(f->dir), "%s/map-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->rnd = rnd_seed(5);
    open_map(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char *command = mem_printf("rm -rf %s", f->dir);

    close_map(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(system(command), 0);
    free(command);
    free(f);
    return 0;
}

struct call {
    struct map_task task;
    struct fixture *f;
};

static void on_task(struct map_task *task, int rc)
{
    struct fixture *f = container_of(task, struct call, task)->f;

    f->done = true;
    f->rc = rc;
}

static void finish(struct call *c)
{
    wait_done(c->f);
    assert_int_equal(c->f->rc, 0);
}

static void on_lookup(struct map_lookup *lookup, int rc)
{
    assert_int_equal(rc, 0);
    lookup->count = 0;
}

static bool is_answered(void *ctx)
{
    return ((struct map_lookup *)ctx)->count == 0;
}

static void compare(struct fixture *f)
{
    static uint64_t locations[CLUSTERS];
    struct map_lookup l = {.count = CLUSTERS, .locations = locations};
    struct sco_row *row, *next;
    uint64_t live = 0, data = 0;

    if (map_lookup(&f->mv, &l, on_lookup) == 1) {
        loop_run_until_true(&f->loop, is_answered, &l);
    }
    assert_memory_equal(locations, f->model, sizeof(locations));
    for (unsigned i = 0; i < CLUSTERS; i++) {
        data += location_has_data(f->model[i]);
    }
    HASH_ITER (hh, f->mv.scos, row, next) {
        live += row->entry.live;
    }
    assert_int_equal(live, data);
}

/* A SCO of random extents, into the model and the map. */
static void apply_one(struct fixture *f)
{
    struct sco_extent x[EXTENTS_MAX];
    struct sco_footer footer = {.kind = SCO_CLIENT, .generation = 1, .epoch = 1};
    struct call c = {.f = f};
    uint64_t at = 0;
    uint32_t offset = 0;

    f->number = f->number == 0 ? sco_number(1, 1) : f->number + 1;
    while (footer.extent_count < EXTENTS_MAX) {
        uint32_t count = 1 + (uint32_t)rnd_below(&f->rnd, rnd_below(&f->rnd, 8) == 0 ? 700 : 5);
        bool zero = rnd_below(&f->rnd, 3) == 0;

        at += rnd_below(&f->rnd, 500);
        if (at + count > CLUSTERS) {
            break;
        }
        x[footer.extent_count++] = (struct sco_extent){
            .cluster = at, .count = count, .seq = 1, .flags = zero ? SCO_EXTENT_ZERO : 0};
        for (uint32_t i = 0; i < count; i++) {
            f->model[at + i] = zero ? LOCATION_NONE : location_make(0, f->number, offset++);
        }
        at += count;
    }
    footer.number = f->number;
    footer.last_seq = ++f->seq;
    footer.data_bytes = (uint64_t)offset * SCO_CLUSTER_BYTES;
    map_apply_sco(&f->mv, &c.task, &footer, x, on_task);
    finish(&c);
}

static void begin(struct fixture *f)
{
    static const uint8_t root[16] = "root-0000000001";

    map_volume_begin(&f->mv, root, 0, (struct map_place){0});
}

static void flush(struct fixture *f)
{
    struct call c = {.f = f};

    map_flush(&f->mv, &c.task, on_task);
    finish(&c);
}

static void scos_applied_in_order_equal_an_array(void **state)
{
    struct fixture *f = *state;

    begin(f);
    for (int i = 0; i < 60; i++) {
        apply_one(f);
        compare(f);
        if (i % 7 == 0) {
            flush(f);
        }
    }
}

static void what_is_stored_is_exactly_the_state_at_the_last_flush(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    uint64_t model[CLUSTERS];
    uint64_t number;

    begin(f);
    for (int i = 0; i < 20; i++) {
        apply_one(f);
    }
    flush(f);
    memcpy(model, f->model, sizeof(model));
    number = f->number;
    apply_one(f); /* not stored */
    close_map(f);
    open_map(f);
    map_volume_load(&f->mv, &c.task, on_task);
    finish(&c);
    assert_true(c.task.found);
    assert_int_equal(f->mv.applied.number, number);
    memcpy(f->model, model, sizeof(model));
    compare(f);
    map_volume_reset(&f->mv, &c.task, on_task);
    finish(&c);
    memset(f->model, 0, sizeof(f->model));
    compare(f);
    map_volume_load(&f->mv, &c.task, on_task);
    finish(&c);
    assert_false(c.task.found);
}

static void a_gc_sco_moves_only_what_still_is_where_it_read_it(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    struct sco_extent x = {.cluster = 100, .count = 4, .seq = 1};
    struct sco_footer footer = {.kind = SCO_CLIENT,
                                .generation = 1,
                                .number = sco_number(1, 1),
                                .last_seq = 1,
                                .extent_count = 1,
                                .data_bytes = 4 * SCO_CLUSTER_BYTES};

    begin(f);
    map_apply_sco(&f->mv, &c.task, &footer, &x, on_task);
    finish(&c);
    footer.number++;
    footer.data_bytes = SCO_CLUSTER_BYTES;
    x = (struct sco_extent){.cluster = 102, .count = 1, .seq = 2};
    map_apply_sco(&f->mv, &c.task, &footer, &x, on_task);
    finish(&c);
    footer.number++;
    footer.kind = SCO_GC;
    footer.data_bytes = 4 * SCO_CLUSTER_BYTES;
    x = (struct sco_extent){
        .cluster = 100, .count = 4, .seq = 1, .source = location_make(0, sco_number(1, 1), 0)};
    map_apply_sco(&f->mv, &c.task, &footer, &x, on_task);
    finish(&c);
    for (uint32_t i = 0; i < 4; i++) {
        f->model[100 + i] = location_make(0, footer.number, i);
    }
    f->model[102] = location_make(0, sco_number(1, 2), 0);
    compare(f);
    assert_int_equal(map_find_sco(&f->mv, sco_number(1, 1))->live, 0);
    assert_int_equal(map_find_sco(&f->mv, footer.number)->live, 3);
}

struct build {
    struct map_checkpoint cp;
    struct fixture *f;
};

static void on_checkpoint(struct map_checkpoint *cp, int rc)
{
    struct fixture *f = container_of(cp, struct build, cp)->f;

    f->done = true;
    f->rc = rc;
}

/* One checkpoint of one part; the root then names it. */
static struct buf checkpoint(struct fixture *f, bool full, uint64_t number)
{
    struct build *b = mem_zalloc(sizeof(*b));
    struct call c = {.f = f};
    struct buf object;
    uint8_t root[16] = {(uint8_t)number, 1};

    b->f = f;
    map_checkpoint_begin(&f->mv, &b->cp, full, on_checkpoint);
    wait_done(f);
    assert_int_equal(f->rc, 0);
    map_checkpoint_next(&b->cp, number, 1, on_checkpoint);
    wait_done(f);
    assert_int_equal(f->rc, 0);
    assert_true(b->cp.last);
    object = b->cp.object;
    b->cp.object = (struct buf){0};
    map_set_next_root(&f->mv, &c.task, root, on_task);
    finish(&c);
    map_root_replaced(&f->mv, &c.task, b->cp.ordinal, b->cp.upto_ordinal, on_task);
    finish(&c);
    map_checkpoint_end(&b->cp);
    free(b);
    return object;
}

static void lay(struct fixture *f, const struct buf *object, uint64_t number)
{
    struct map_run *runs = mem_array(CLUSTERS, sizeof(*runs));
    struct checkpoint_reader r;
    struct checkpoint_run run;
    struct call c = {.f = f};
    struct sco_entry sco;
    uint32_t count = 0;
    struct err e;

    assert_int_equal(checkpoint_reader_init(&r, object->data, object->len, uuid, number, &e), 0);
    while (checkpoint_reader_run(&r, &run) == 1) {
        runs[count++] = (struct map_run){
            .cluster = run.cluster, .count = (uint32_t)run.count, .location = run.location};
    }
    map_apply_runs(&f->mv, &c.task, runs, count, on_task);
    finish(&c);
    while (checkpoint_reader_sco(&r, &sco) == 1) {
        map_put_sco(&f->mv, &sco);
    }
}

static void a_base_and_deltas_rebuild_the_map(void **state)
{
    struct fixture *f = *state;
    struct call c = {.f = f};
    struct buf parts[4];

    begin(f);
    for (uint64_t i = 0; i < 4; i++) {
        for (int k = 0; k < 6; k++) {
            apply_one(f);
        }
        parts[i] = checkpoint(f, i == 0, i + 1);
        if (i != 0) {
            assert_true(parts[i].len < parts[0].len * 3);
        }
    }
    map_volume_reset(&f->mv, &c.task, on_task);
    finish(&c);
    for (uint64_t i = 0; i < 4; i++) {
        lay(f, &parts[i], i + 1);
        buf_release(&parts[i]);
    }
    compare(f);
}

static void a_delta_holds_only_what_changed(void **state)
{
    struct fixture *f = *state;
    struct checkpoint_reader r;
    struct buf part;
    struct err e;

    begin(f);
    apply_one(f);
    part = checkpoint(f, false, 1);
    buf_release(&part);
    part = checkpoint(f, false, 2);
    assert_int_equal(checkpoint_reader_init(&r, part.data, part.len, uuid, 2, &e), 0);
    assert_int_equal(r.header.run_count, 0);
    assert_int_equal(r.header.sco_count, 0);
    buf_release(&part);
}

static unsigned fails_told;

static void on_fail(struct map_volume *mv)
{
    assert_int_equal(mv->err.code, ERR_CORRUPT);
    fails_told++;
}

static void on_failed_lookup(struct map_lookup *lookup, int rc)
{
    assert_int_equal(rc, ERR_CORRUPT);
    lookup->count = 0;
}

/* No task of the owner may be under way: what waits for the map would wait for ever. */
static void a_store_that_fails_under_a_lookup_tells_the_owner(void **state)
{
    struct fixture *f = *state;
    struct map_key key = map_key_page(uuid, 3, 1);
    uint64_t location;
    struct map_lookup l = {.cluster = 3 * MAP_PAGE_CLUSTERS, .count = 1, .locations = &location};
    struct map_batch *b;
    struct map_db *db;
    struct err e;

    close_map(f);
    assert_int_equal(map_db_open(f->dir, &db, &e), 0);
    b = map_batch_new();
    map_batch_put(b, map_key_slice(&key), slice_of("garbage", 7));
    assert_int_equal(map_batch_write(db, b, &e), 0);
    map_db_close(db);
    open_map(f);
    f->mv.on_fail = on_fail;
    assert_int_equal(map_lookup(&f->mv, &l, on_failed_lookup), 1);
    loop_run_until_true(&f->loop, is_answered, &l);
    assert_int_equal(fails_told, 1);
    assert_int_equal(f->mv.failed, ERR_CORRUPT);
}

/* ---- life of what waits in the pool ---- */

enum { QUEUED = 24 };

struct waiting { /* on the heap and freed by its callback: who touches it later is found out */
    struct fixture *f;
    struct map_task task;
    struct map_lookup lookup;
    uint64_t location;
};

static unsigned ended, canceled;

static void on_end(struct waiting *w, int rc)
{
    ended++;
    canceled += rc == ERR_CANCELED;
    free(w);
}

static void on_waiting_task(struct map_task *task, int rc)
{
    assert_true(rc == 0 || (rc == ERR_CANCELED && task->err.code == rc));
    on_end(container_of(task, struct waiting, task), rc);
}

static void on_waiting_lookup(struct map_lookup *lookup, int rc)
{
    assert_true(rc == 0 || rc == ERR_CANCELED);
    on_end(container_of(lookup, struct waiting, lookup), rc);
}

static struct waiting *waiting_new(struct fixture *f)
{
    struct waiting *w = mem_zalloc(sizeof(*w));

    w->f = f;
    return w;
}

static void look_up(struct fixture *f, uint64_t page)
{
    struct waiting *w = waiting_new(f);

    w->lookup = (struct map_lookup){
        .cluster = page * MAP_PAGE_CLUSTERS, .count = 1, .locations = &w->location};
    if (map_lookup(&f->mv, &w->lookup, on_waiting_lookup) == 0) {
        on_end(w, 0);
    }
}

static void change(struct fixture *f, uint64_t page)
{
    struct map_run *runs = mem_array(1, sizeof(*runs));

    runs[0] = (struct map_run){.cluster = page * MAP_PAGE_CLUSTERS,
                               .location = location_make(0, sco_number(1, 1), 0),
                               .count = 1};
    map_apply_runs(&f->mv, &waiting_new(f)->task, runs, 1, on_waiting_task);
}

static bool has_ended(void *ctx)
{
    return ended == *(unsigned *)ctx;
}

/* The load that a look-up started ends, and steps the tasks, before the job comes round that was
 * to step them: the task is gone by then. */
static void a_task_may_end_before_its_turn_comes_round(void **state)
{
    struct fixture *f = *state;

    begin(f);
    ended = 0;
    for (unsigned i = 0; i < 300; i++) {
        unsigned expected = ended + 7;

        for (uint64_t page = 0; page < 6; page++) {
            look_up(f, UINT64_C(1000) + 6 * (uint64_t)i + page);
        }
        change(f, UINT64_C(1000) + 6 * (uint64_t)i);
        loop_run_until_true(&f->loop, has_ended, &expected);
    }
}

static void a_close_ends_what_is_queued_exactly_once(void **state)
{
    struct fixture *f = *state;

    for (unsigned turns = 0; turns < 40; turns++) {
        begin(f);
        ended = canceled = 0;
        for (uint64_t i = 0; i < QUEUED; i++) {
            look_up(f, 20 * i);
            change(f, 20 * i + 7);
            if (i % 4 == 0) {
                map_flush(&f->mv, &waiting_new(f)->task, on_waiting_task);
            }
        }
        for (unsigned i = 0; i < turns / 4; i++) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        close_map(f);
        assert_int_equal(ended, 2 * QUEUED + QUEUED / 4);
        assert_true(turns >= 4 || canceled != 0);
        open_map(f);
    }
}

/* ---- bounds ---- */

enum { SCATTERED = 5000, ROWS = 700000 };

/* One cluster in each of many pages from `page` on: more dirty memory than the least budget. */
static void scatter(struct fixture *f, uint64_t page, struct call *ret_call)
{
    struct sco_extent *x = mem_zalloc(SCATTERED * sizeof(*x));
    struct sco_footer footer = {.kind = SCO_CLIENT,
                                .generation = 1,
                                .epoch = 1,
                                .number = f->number =
                                    f->number == 0 ? sco_number(1, 1) : f->number + 1,
                                .last_seq = ++f->seq,
                                .extent_count = SCATTERED,
                                .data_bytes = (uint64_t)SCATTERED * SCO_CLUSTER_BYTES};

    for (uint64_t i = 0; i < SCATTERED; i++) {
        x[i] = (struct sco_extent){
            .cluster = (page + i) * MAP_PAGE_CLUSTERS + 7, .count = 1, .seq = f->seq};
    }
    ret_call->f = f;
    map_apply_sco(&f->mv, &ret_call->task, &footer, x, on_task);
    free(x);
}

/* Two lookups that share a page, over a cache that has no room: each has to end. */
static void lookups_end_though_dirty_pages_take_all_the_cache(void **state)
{
    struct fixture *f = *state;
    uint64_t locations[2][MAP_LOOKUP_CLUSTERS_MAX];
    struct call c;

    begin(f);
    for (uint64_t round = 0; round < 3; round++) {
        uint64_t at = (50000 + 40 * round) * MAP_PAGE_CLUSTERS;
        struct map_lookup one = {.cluster = at, .count = 1, .locations = locations[0]};
        struct map_lookup two = {
            .cluster = at, .count = MAP_LOOKUP_CLUSTERS_MAX, .locations = locations[1]};

        scatter(f, round * SCATTERED, &c);
        finish(&c);
        assert_int_equal(map_lookup(&f->mv, &one, on_lookup), 1);
        assert_int_equal(map_lookup(&f->mv, &two, on_lookup), 1);
        loop_run_until_true(&f->loop, is_answered, &one);
        loop_run_until_true(&f->loop, is_answered, &two);
        assert_int_equal(locations[1][MAP_LOOKUP_CLUSTERS_MAX - 1], LOCATION_NONE);
    }
}

/* What many scattered SCOs make dirty is stored without a checkpoint, and is still right. */
static void dirty_pages_are_stored_when_they_fill_half_the_budget(void **state)
{
    struct fixture *f = *state;
    uint64_t location;
    struct call c;

    begin(f);
    for (uint64_t round = 0; round < 3; round++) {
        scatter(f, round * SCATTERED, &c);
        finish(&c);
    }
    flush(f); /* behind whatever is being stored */
    assert_true(map_cached_bytes(f->map) <= MAP_BUDGET_BYTES_MIN);
    for (uint64_t page = 0; page < 3 * SCATTERED; page += 997) {
        struct map_lookup l = {
            .cluster = page * MAP_PAGE_CLUSTERS + 7, .count = 1, .locations = &location};

        if (map_lookup(&f->mv, &l, on_lookup) == 1) {
            loop_run_until_true(&f->loop, is_answered, &l);
        }
        assert_int_equal(location, location_make(0, sco_number(1, 1) + page / SCATTERED,
                                                 (uint32_t)(page % SCATTERED)));
    }
}

/* A checkpoint's table is put beside the tasks, also while a flush runs in the pool. */
static void rows_put_during_a_flush_are_stored_by_the_next(void **state)
{
    struct fixture *f = *state;
    struct sco_entry entry = {.generation = 1, .data_clusters = 9, .kind = SCO_CLIENT};
    struct call c = {.f = f};

    begin(f);
    for (uint32_t i = 0; i < 1000; i++) {
        if (i % 100 == 50) {
            map_flush(&f->mv, &c.task, on_task);
        }
        entry.number = sco_number(1, i);
        entry.live = 1;
        map_put_sco(&f->mv, &entry);
        entry.number = sco_number(1, i / 2); /* one that the flush may be storing */
        entry.live = 2;
        map_put_sco(&f->mv, &entry);
        if (i % 100 == 60) {
            uv_run(&f->loop, UV_RUN_NOWAIT); /* the flush has begun */
        } else if (i % 100 == 70) {
            finish(&c);
        }
    }
    flush(f);
    close_map(f);
    open_map(f);
    map_volume_load(&f->mv, &c.task, on_task);
    finish(&c);
    assert_true(c.task.found);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_non_null(map_find_sco(&f->mv, sco_number(1, i)));
        assert_int_equal(map_find_sco(&f->mv, sco_number(1, i))->live, i < 500 ? 2 : 1);
    }
}

static void a_large_sco_table_goes_into_several_parts_that_rebuild_it(void **state)
{
    struct fixture *f = *state;
    struct build *b = mem_zalloc(sizeof(*b));
    struct sco_entry entry = {.generation = 1, .data_clusters = 9, .live = 3, .kind = SCO_CLIENT};
    uint32_t rows = 0, parts = 0;

    begin(f);
    for (uint32_t i = 0; i < ROWS; i++) {
        entry.number = sco_number(1 + i / SCO_INDEX_MAX, i % SCO_INDEX_MAX);
        map_put_sco(&f->mv, &entry);
    }
    b->f = f;
    map_checkpoint_begin(&f->mv, &b->cp, true, on_checkpoint);
    wait_done(f);
    while (!b->cp.last) {
        struct checkpoint_reader r;
        struct sco_entry sco;
        struct err e;

        map_checkpoint_next(&b->cp, ++parts, 1, on_checkpoint);
        wait_done(f);
        assert_int_equal(f->rc, 0);
        assert_int_equal(
            checkpoint_reader_init(&r, b->cp.object.data, b->cp.object.len, uuid, parts, &e), 0);
        for (; checkpoint_reader_sco(&r, &sco) == 1; rows++) {
            assert_int_equal(map_find_sco(&f->mv, sco.number)->live, sco.live);
        }
        buf_release(&b->cp.object);
    }
    assert_int_equal(rows, ROWS);
    assert_int_equal(parts, 2);
    map_checkpoint_end(&b->cp);
    free(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(scos_applied_in_order_equal_an_array),
        T(what_is_stored_is_exactly_the_state_at_the_last_flush),
        T(a_gc_sco_moves_only_what_still_is_where_it_read_it),
        T(a_base_and_deltas_rebuild_the_map),
        T(a_delta_holds_only_what_changed),
        T(a_store_that_fails_under_a_lookup_tells_the_owner),
        T(a_task_may_end_before_its_turn_comes_round),
        T(a_close_ends_what_is_queued_exactly_once),
        T(lookups_end_though_dirty_pages_take_all_the_cache),
        T(dirty_pages_are_stored_when_they_fill_half_the_budget),
        T(rows_put_during_a_flush_are_stored_by_the_next),
        T(a_large_sco_table_goes_into_several_parts_that_rebuild_it),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
