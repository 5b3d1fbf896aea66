/* The local map of a volume fails at any moment: with a checkpoint, a commit, a closing, or the
 * taking of the next epoch under way, over a backend that fails, doubts and delays. Nothing that
 * was acknowledged may be lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "lib/vol_load.h"
#include "volumedriver/location.h"
#include "volumedriver/map_private.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, SEEDS = 12, SEEDS_ALL = 200, LIVES = 3 };

struct world {
    struct vol_store store;
    struct vol_registry registry;
    struct vol_node node;
    struct vol_load load;
    struct rnd rnd;
};

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.rnd = rnd_seed(seed ^ 0xabcdef)};
    vol_store_init(&w->store, seed);
    vol_node_init(&w->node, &w->store, &w->registry, seed);
    w->node.host.sco_age_ms = 20;
    w->node.host.incomplete_ms = 30;
    w->node.host.checkpoint_bytes = 4096;
    assert_int_equal(vol_create(&w->node, BYTES, SCO_BYTES), 0);
    vol_load_init(&w->load, &w->node, BYTES, seed);
}

static void world_release(struct world *w)
{
    vol_load_release(&w->load);
    vol_node_release(&w->node);
    vol_store_release(&w->store);
}

static void start(struct world *w, uint64_t seed)
{
    vol_store_trouble(&w->store, 0);
    assert_int_equal(vol_node_start(&w->node), 0);
    if (volume_state(w->node.volume) != VOLUME_RUNNING) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, volume_error(w->node.volume)->msg);
    }
    vol_load_check(&w->load, true);
}

static void run(struct world *w, uint64_t steps)
{
    while (steps-- != 0 && !w->load.failed) {
        vol_load_step(&w->load);
    }
}

static void fail_map(struct world *w)
{
    struct volume *v = w->node.volume;
    struct err why;

    err_set(&why, ERR_CORRUPT, "spoiled");
    map_volume_fail(&v->map, ERR_CORRUPT, &why);
    v->remap.tries = 0;
    v->remap.due_ms = 0;
}

static void live(struct world *w)
{
    for (unsigned i = 0; i < 6; i++) {
        run(w, rnd_below(&w->rnd, 80));
        fail_map(w);
        if (i == 3 && rnd_below(&w->rnd, 2) == 0) {
            w->node.volume->next_index = SCO_INDEX_MAX - 1;
        }
    }
}

static void die(struct world *w)
{
    static const uint64_t drain_ms[] = {0, 20, 60000};

    /* A completed write survives: as if it had been flushed. */
    vol_model_flushed(&w->load.model, w->load.model.clock);
    if (rnd_below(&w->rnd, 4) == 0) {
        vol_node_kill(&w->node);
    } else {
        (void)vol_node_stop(&w->node, drain_ms[rnd_below(&w->rnd, 3)]);
    }
    vol_store_late(&w->store, 50);
}

static void a_map_that_fails_at_any_moment_loses_nothing(void **state)
{
    uint64_t seeds = getenv("ALL_SEEDS") != NULL ? SEEDS_ALL : SEEDS;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct world w;

        world_init(&w, seed);
        for (unsigned i = 0; i < LIVES; i++) {
            start(&w, seed);
            vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
            live(&w);
            die(&w);
        }
        start(&w, seed);
        world_release(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_that_fails_at_any_moment_loses_nothing),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
