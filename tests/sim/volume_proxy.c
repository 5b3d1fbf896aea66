/* A volume over a proxy, through kill -9, power loss and loss of the node at every point. After
 * each the volume must equal a prefix of its writes: with its journal, one that holds everything
 * flushed (and, when only the process died, everything completed); without, one that holds
 * everything committed. It must read the same behind another kill, and go on.
 *
 * SIM_SEED repeats a run as far as threads and sockets let it. POINTS is the number of points
 * tried by each test, 0 for every one; SEEDS that of random runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sim/volume_world.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_private.h"

enum { HELD = 6, HELD_AGE_MS = 5 };

static uint64_t seed;

static unsigned number(const char *name, unsigned usual)
{
    const char *text = getenv(name);

    return text != NULL ? (unsigned)strtoul(text, NULL, 0) : usual;
}

/* ---- the script: some 5 MB in several SCOs, a checkpoint after each, an epoch in between ---- */

enum { NEW_EPOCH = 100, WAIT_IDLE = 101, PAUSE = 102 };

struct line {
    unsigned kind; /* enum vol_load_kind, or one of the above */
    uint32_t sector, count;
    bool fua;
};

static const struct line script[] = {
    {VOL_LOAD_WRITE, 0, 1, false},
    {VOL_LOAD_WRITE, 3, 2, false},
    {VOL_LOAD_WRITE, 64, 8, false},
    {VOL_LOAD_FLUSH, 0, 0, false},
    {VOL_LOAD_WRITE, 1024, 2048, false},
    {VOL_LOAD_WRITE, 0, 8, false},
    {VOL_LOAD_WRITE, 4000, 200, true},
    {VOL_LOAD_TRIM, 1024, 512, false},
    {VOL_LOAD_WRITE, 5, 1, false},
    {PAUSE, 30, 0, false},
    {VOL_LOAD_ZERO, 2000, 600, false},
    {VOL_LOAD_WRITE, 6000, 2048, false},
    {VOL_LOAD_FLUSH, 0, 0, false},
    {NEW_EPOCH, 0, 0, false},
    {VOL_LOAD_WRITE, 1100, 7, false},
    {VOL_LOAD_WRITE, 512, 1024, false},
    {VOL_LOAD_WRITE, 6001, 31, false},
    {PAUSE, 30, 0, false},
    {VOL_LOAD_WRITE, 2048, 2048, false},
    {VOL_LOAD_TRIM, 5000, 1024, true},
    {VOL_LOAD_WRITE, 64, 8, false},
    {VOL_LOAD_FLUSH, 0, 0, false},
    {VOL_LOAD_ZERO, 0, 16, false},
    {VOL_LOAD_WRITE, 8, 1, false},
    {WAIT_IDLE, 0, 0, false},
    {VOL_LOAD_WRITE, 7000, 128, false},
};

static bool is_uploaded(struct volume_world *w)
{
    struct volume_stats stats;

    volume_stats(w->node.volume, &stats);
    return stats.committed_seq == stats.last_seq;
}

static void pause_ms(struct volume_world *w, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000;

    while (uv_hrtime() < end && !atomic_load(&w->crashed)) {
        volume_world_turn(w);
        uv_sleep(1);
    }
}

static void run_line(struct volume_world *w, const struct line *line)
{
    struct volume *v = w->node.volume;

    switch (line->kind) {
    case NEW_EPOCH:
        v->next_index = v->next_index < SCO_INDEX_MAX ? SCO_INDEX_MAX : v->next_index;
        break;
    case WAIT_IDLE:
        volume_world_wait(w, is_uploaded);
        break;
    case PAUSE:
        pause_ms(w, line->sector);
        break;
    default:
        while (!vol_model_is_free(&w->load.model, line->sector, line->count) &&
               !atomic_load(&w->crashed)) {
            volume_world_turn(w);
        }
        if (!atomic_load(&w->crashed)) {
            vol_load_submit(&w->load, line->kind, line->sector, line->count, line->fua);
            volume_world_turn(w);
        }
    }
}

/* False: it ended before it crashed. */
static bool run_script(struct volume_world *w)
{
    for (unsigned i = 0; i < sizeof(script) / sizeof(*script); i++) {
        if (atomic_load(&w->crashed)) {
            return true;
        }
        run_line(w, &script[i]);
    }
    volume_world_settle(w);
    if (!atomic_load(&w->crashed)) {
        volume_world_wait(w, is_uploaded);
    }
    return atomic_load(&w->crashed);
}

/* ---- every point ---- */

/* False: there is no such point any more. */
static bool crash_at(enum volume_crash kind, unsigned at, const struct volume_faults *faults)
{
    struct volume_world *w = volume_world_new(seed + at);
    bool crashed;

    w->mode = (enum crash_mode)(at % 4);
    volume_world_fail(w, faults);
    volume_world_crash_at(w, kind, at);
    crashed = !volume_world_start(w) || run_script(w);
    volume_world_crash(w);
    volume_world_verify(w);
    volume_world_free(w);
    return crashed;
}

/* A run without a crash says how many points there are; some of them at equal distances. */
static void crash_everywhere(enum volume_crash kind, const struct volume_faults *faults,
                             unsigned usual)
{
    unsigned wanted = number("POINTS", usual), total, stride, at;
    struct volume_world *w = volume_world_new(seed);

    volume_world_fail(w, faults);
    volume_world_crash_at(w, kind, 0);
    assert_true(volume_world_start(w));
    assert_false(run_script(w));
    total = atomic_load(&w->steps);
    volume_world_free(w);
    stride = wanted == 0 || total <= wanted ? 1 : total / wanted;
    at = 1 + (unsigned)(seed % stride);
    while (crash_at(kind, at, faults)) {
        at += stride;
    }
    print_message("%u steps, every %u. of them\n", total, stride);
}

static const struct volume_faults no_faults = {0};
static const struct volume_faults some_faults = {.refused = 60,
                                                 .dropped = 40,
                                                 .delayed = 150,
                                                 .hung = 4,
                                                 .doubted = 80,
                                                 .cut = 60,
                                                 .late_turns = 200};
static const struct volume_faults many_faults = {
    .refused = 120,
    .dropped = 80,
    .delayed = 300,
    .hung = 4,
    .unread = 80,
    .doubted = 200,
    .cut = 300,
    .late_turns = 100,
};

static void kill_9_at_any_point_loses_nothing_that_completed(void **state)
{
    (void)state;
    crash_everywhere(CRASH_KILL, &no_faults, 12);
}

static void power_loss_at_any_point_leaves_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    crash_everywhere(CRASH_POWER, &no_faults, 12);
}

static void loss_of_the_node_at_any_point_leaves_a_prefix_with_all_committed(void **state)
{
    (void)state;
    crash_everywhere(CRASH_LOSE, &no_faults, 12);
}

static void the_same_while_puts_fail_and_are_delayed(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < CRASH_KINDS; kind++) {
        crash_everywhere((enum volume_crash)kind, &some_faults, 6);
    }
}

/* The first process dies while it makes the journal; what the second one flushes must not hang on
 * things that only the page cache knows. */
static void a_journal_whose_making_was_killed_survives_power_loss(void **state)
{
    bool crashed = true;

    (void)state;
    for (unsigned at = 1; crashed; at++) {
        struct volume_world *w = volume_world_new(seed + at);

        w->mode = CRASH_DROP_ALL;
        volume_world_crash_at(w, CRASH_KILL, at);
        crashed = !volume_world_start(w);
        volume_world_crash(w);
        volume_world_crash_at(w, CRASH_POWER, 0);
        assert_true(volume_world_start(w));
        vol_load_submit(&w->load, VOL_LOAD_WRITE, 0, 100, true);
        vol_load_settle(&w->load);
        volume_world_crash(w);
        assert_true(volume_world_start(w));
        volume_world_check(w, NULL);
        volume_world_free(w);
    }
}

/* ---- reversed ---- */

static bool holds_all(struct volume_world *w)
{
    return volume_world_held(w) >= HELD;
}

/* Every write becomes a SCO of its own, whose commit waits. */
static void fill_held(struct volume_world *w)
{
    uint64_t at = 0;

    w->hold = true;
    for (unsigned i = 0; i < HELD && !atomic_load(&w->crashed); i++) {
        uint32_t count = 8 + (uint32_t)rnd_below(&w->rnd, 600);

        vol_load_submit(&w->load, VOL_LOAD_WRITE, at, count, false);
        at += rnd_below(&w->rnd, 2) == 0 ? count : count / 2; /* some overwrite */
        volume_world_settle(w);
        pause_ms(w, 2 * HELD_AGE_MS);
    }
    volume_world_wait(w, holds_all);
}

/* `releases` commits happen, last first, while writes that nobody flushes go on; then the node
 * dies. False: that many were not held. */
static bool reversed_until(enum volume_crash kind, unsigned releases)
{
    struct volume_world *w = volume_world_new(seed + releases);
    unsigned held, done = 0;

    w->mode = releases % 2 == 0 ? CRASH_DROP_ALL : CRASH_REVERSED;
    w->load.never_flush = true;
    w->node.host.sco_age_ms = HELD_AGE_MS;
    w->node.host.puts_max = HELD;
    volume_world_crash_at(w, kind, 0);
    assert_true(volume_world_start(w));
    fill_held(w);
    held = volume_world_held(w);
    assert_int_equal(held, HELD);
    for (; done < releases && volume_world_held(w) != 0; done++) {
        volume_world_release_newest(w);
        vol_load_submit(&w->load, VOL_LOAD_WRITE, 8000, 8, false);
        volume_world_settle(w);
        pause_ms(w, 3);
    }
    volume_world_crash(w);
    w->hold = false;
    volume_world_verify(w);
    volume_world_free(w);
    return releases < held;
}

static void reversed_commits_and_power_loss_agree(void **state)
{
    (void)state;
    for (unsigned releases = 0; reversed_until(CRASH_POWER, releases); releases++) {
    }
}

static void reversed_commits_and_loss_of_the_node_leave_no_hole(void **state)
{
    (void)state;
    for (unsigned releases = 0; reversed_until(CRASH_LOSE, releases); releases++) {
    }
}

/* ---- by chance ---- */

/* Several lives in a row; a crash may come while the one before is being mended. */
static void random_lives(uint64_t lives_seed)
{
    struct volume_world *w = volume_world_new(lives_seed);
    static const struct volume_faults *const faults[] = {&no_faults, &some_faults, &many_faults};

    volume_world_fail(w, faults[lives_seed % 3]);
    w->load.sectors_max = 1024;
    for (unsigned life = 0; life < 5; life++) {
        enum volume_crash kind = (enum volume_crash)rnd_below(&w->rnd, CRASH_KINDS);
        bool hasty = rnd_below(&w->rnd, 2) == 0;

        w->mode = (enum crash_mode)rnd_below(&w->rnd, 4);
        volume_world_crash_at(w, kind, hasty ? 1 + (unsigned)rnd_below(&w->rnd, 25) : 0);
        if (volume_world_start(w) && volume_world_disarm(w)) {
            volume_link_late(w->link);
            volume_world_check(w, NULL);
            volume_world_crash_at(w, kind, 1 + (unsigned)rnd_below(&w->rnd, 120));
            for (unsigned i = 0; i < 150 && !atomic_load(&w->crashed); i++) {
                vol_load_step(&w->load);
                volume_world_turn(w);
            }
        }
        volume_world_crash(w);
    }
    volume_world_fail(w, &no_faults);
    volume_world_verify(w);
    volume_world_free(w);
}

static void random_lives_under_trouble_leave_a_prefix(void **state)
{
    unsigned seeds = number("SEEDS", 8);

    (void)state;
    for (unsigned i = 0; i < seeds; i++) {
        random_lives(seed + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9_at_any_point_loses_nothing_that_completed),
        cmocka_unit_test(power_loss_at_any_point_leaves_a_prefix_with_all_flushed),
        cmocka_unit_test(loss_of_the_node_at_any_point_leaves_a_prefix_with_all_committed),
        cmocka_unit_test(a_journal_whose_making_was_killed_survives_power_loss),
        cmocka_unit_test(reversed_commits_and_power_loss_agree),
        cmocka_unit_test(reversed_commits_and_loss_of_the_node_leave_no_hole),
        cmocka_unit_test(random_lives_under_trouble_leave_a_prefix),
        cmocka_unit_test(the_same_while_puts_fail_and_are_delayed),
    };

    seed = world_seed();
    cmocka_set_test_filter(getenv("SIM_TEST")); /* one of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
