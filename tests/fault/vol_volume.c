/* Volumes over a simulated backend that fails, doubts, delays and reorders, through kill -9, power
 * loss, loss of the node, and takeover by another node. After each the volume must equal a
 * prefix of its writes: with its journal, one that holds everything flushed; without, one that
 * holds everything uploaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "lib/vol_load.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20 };

struct world {
    struct vol_store store;
    struct vol_registry registry;
    struct vol_node nodes[2];
    struct vol_load load;
    struct rnd rnd;
    uint64_t seed;
};

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .rnd = rnd_seed(seed ^ 0xabcdef)};
    vol_store_init(&w->store, seed);
    for (unsigned i = 0; i < 2; i++) {
        vol_node_init(&w->nodes[i], &w->store, &w->registry, seed + i);
        w->nodes[i].host.sco_age_ms = 20;
        w->nodes[i].host.incomplete_ms = 30;
        w->nodes[i].host.checkpoint_bytes = 4096;
    }
    assert_int_equal(vol_create(&w->nodes[0], BYTES, SCO_BYTES), 0);
    vol_load_init(&w->load, &w->nodes[0], BYTES, seed);
}

static void world_release(struct world *w)
{
    vol_load_release(&w->load);
    vol_node_release(&w->nodes[0]);
    vol_node_release(&w->nodes[1]);
    vol_store_release(&w->store);
}

static void start(struct world *w, struct vol_node *n)
{
    int rc = vol_node_start(n);

    if (rc != 0 || volume_state(n->volume) != VOLUME_RUNNING) {
        fail_msg("seed %llu: %s", (unsigned long long)w->seed,
                 rc != 0 ? err_text(rc) : volume_error(n->volume)->msg);
    }
}

static void run(struct world *w, unsigned steps)
{
    while (steps-- != 0 && !w->load.failed) {
        vol_load_step(&w->load);
        if (rnd_below(&w->rnd, 60) == 0) {
            vol_store_late(&w->store, 30);
        }
    }
}

/* ---- scenarios ---- */

static void without_trouble_everything_comes_back_after_a_clean_stop(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct world w;

        world_init(&w, seed);
        for (unsigned life = 0; life < 3; life++) {
            start(&w, &w.nodes[0]);
            vol_load_check(&w.load, true);
            run(&w, 400);
            vol_load_settle(&w.load);
            vol_model_flushed(&w.load.model, w.load.model.clock);
            assert_false(w.load.failed);
            assert_int_equal(vol_node_stop(&w.nodes[0], 60000), 0);
            assert_true(vol_store_count(&w.store, "m_") > 0);
        }
        /* A drained volume needs nothing but the backend. */
        vol_model_uploaded(&w.load.model, w.load.model.clock);
        vol_node_lose(&w.nodes[0], seed);
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, false);
        world_release(&w);
    }
}

static void kill_9_loses_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world w;

        world_init(&w, seed);
        vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
        for (unsigned life = 0; life < 2; life++) {
            start(&w, &w.nodes[0]);
            vol_load_check(&w.load, true);
            run(&w, 50 + (unsigned)rnd_below(&w.rnd, 250));
            /* A completed write survives: as if it had been flushed. */
            vol_model_flushed(&w.load.model, w.load.model.clock);
            vol_node_kill(&w.nodes[0]);
            if (rnd_below(&w.rnd, 3) == 0) {
                vol_node_forget_map(&w.nodes[0]);
            }
            vol_store_late(&w.store, 50);
        }
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, true);
        world_release(&w);
    }
}

static void power_loss_keeps_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;

        world_init(&w, seed);
        vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
        w.nodes[0].backend.reversed = seed % 2 == 0;
        for (unsigned life = 0; life < 4; life++) {
            struct crash_disk *d = w.nodes[0].disk;

            start(&w, &w.nodes[0]);
            vol_load_check(&w.load, true);
            crash_disk_power_off_at(d, crash_disk_io_count(d) + 1 + rnd_below(&w.rnd, 300));
            run(&w, 500);
            vol_node_power(&w.nodes[0], (enum crash_mode)rnd_below(&w.rnd, 4), seed + life);
            if (rnd_below(&w.rnd, 3) == 0) {
                vol_node_forget_map(&w.nodes[0]);
            }
            vol_store_late(&w.store, 50);
        }
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, true);
        world_release(&w);
    }
}

static void loss_of_the_node_keeps_a_prefix_with_all_uploaded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world w;

        world_init(&w, seed);
        vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
        for (unsigned life = 0; life < 4; life++) {
            bool journal = life == 0;

            start(&w, &w.nodes[0]);
            vol_load_check(&w.load, journal);
            run(&w, 300);
            if (rnd_below(&w.rnd, 2) == 0 && !w.load.failed) {
                vol_load_settle(&w.load);
                vol_load_upload(&w.load);
                run(&w, 100);
            }
            vol_node_lose(&w.nodes[0], seed * 10 + life);
            w.nodes[0].accept_loss = true;
            vol_store_late(&w.store, 50);
        }
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, false);
        world_release(&w);
    }
}

/* The other node takes the volume without asking (accepting loss); the first one lives on for a
 * while, and comes back later with a journal that has slept through it. */
static void a_takeover_fences_the_old_owner_and_voids_its_journal(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 15; seed++) {
        struct world w;

        world_init(&w, seed);
        vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
        start(&w, &w.nodes[0]);
        for (unsigned life = 0; life < 5; life++) {
            struct vol_node *old = w.load.node;
            struct vol_node *new = old == &w.nodes[0] ? &w.nodes[1] : &w.nodes[0];

            run(&w, 50 + (unsigned)rnd_below(&w.rnd, 250));
            vol_load_settle(&w.load);
            new->accept_loss = true;
            start(&w, new);
            new->accept_loss = false;
            w.load.node = new;
            vol_load_check(&w.load, false);
            run(&w, (unsigned)rnd_below(&w.rnd, 200));
            for (unsigned i = 0; i < 50; i++) {
                vol_node_turn(old, false); /* its puts go on, and fail */
                vol_node_turn(new, false);
            }
            vol_node_kill(old);
            vol_store_late(&w.store, 50);
        }
        vol_load_settle(&w.load);
        vol_model_flushed(&w.load.model, w.load.model.clock);
        vol_node_kill(w.load.node);
        start(&w, w.load.node);
        vol_load_check(&w.load, true);
        world_release(&w);
    }
}

/* Puts land newest first while the journal's newest records are not durable: what the backend has
 * must never be ahead of the journal that power loss leaves. */
static void reversed_uploads_and_power_loss_agree(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world w;

        world_init(&w, seed);
        w.load.never_flush = true;
        start(&w, &w.nodes[0]);
        w.nodes[0].backend.reversed = true;
        w.store.hold_scos = true;
        run(&w, 100 + (unsigned)rnd_below(&w.rnd, 150));
        w.store.hold_scos = false;
        w.store.lazy_percent = 70;
        run(&w, (unsigned)rnd_below(&w.rnd, 12));
        vol_node_power(&w.nodes[0], seed % 2 == 0 ? CRASH_DROP_ALL : CRASH_REVERSED, seed);
        vol_store_late(&w.store, 50);
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, true);
        world_release(&w);
    }
}

/* Writes go on while the next epoch is taken, and its record passes those that still wait for the
 * journal. */
static void numbers_that_run_out_under_load_lose_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world w;

        world_init(&w, seed);
        w.load.in_flight_max = 40;
        w.nodes[0].host.sco_age_ms = 2;
        vol_store_trouble(&w.store, (unsigned)seed % 3 * 5);
        for (unsigned life = 0; life < 3; life++) {
            start(&w, &w.nodes[0]);
            vol_load_check(&w.load, true);
            for (unsigned i = 1 + (unsigned)rnd_below(&w.rnd, 12); i != 0; i--) {
                struct volume *v = w.nodes[0].volume;

                w.load.failed = false; /* reading in front of a write may fail */
                v->next_index = v->next_index < SCO_INDEX_MAX ? SCO_INDEX_MAX : v->next_index;
                run(&w, 20 + (unsigned)rnd_below(&w.rnd, 60));
            }
            if (volume_state(w.nodes[0].volume) != VOLUME_RUNNING) {
                fail_msg("seed %llu: %s", (unsigned long long)seed,
                         volume_error(w.nodes[0].volume)->msg);
            }
            vol_model_flushed(&w.load.model, w.load.model.clock);
            if (life == 1) {
                vol_load_settle(&w.load);
                vol_store_trouble(&w.store, 0);
                assert_int_equal(vol_node_reopen(&w.nodes[0], 0), 0);
                vol_load_check(&w.load, true);
            }
            vol_node_kill(&w.nodes[0]);
            vol_store_late(&w.store, 50);
        }
        start(&w, &w.nodes[0]);
        vol_load_check(&w.load, true);
        world_release(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_trouble_everything_comes_back_after_a_clean_stop),
        cmocka_unit_test(kill_9_loses_nothing_that_was_acknowledged),
        cmocka_unit_test(power_loss_keeps_a_prefix_with_all_flushed),
        cmocka_unit_test(loss_of_the_node_keeps_a_prefix_with_all_uploaded),
        cmocka_unit_test(a_takeover_fences_the_old_owner_and_voids_its_journal),
        cmocka_unit_test(reversed_uploads_and_power_loss_agree),
        cmocka_unit_test(numbers_that_run_out_under_load_lose_nothing),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    cmocka_set_test_filter(getenv("VOL_TEST")); /* one of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
