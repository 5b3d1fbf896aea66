/* The maintenance agent stopped at every step, frozen, without its lease, and beside puts that
 * fail: what is live stays, and in the end nothing else is left. */
#include "loop/run.h"
#include "unit/proxy/maintenance_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/lease.h"
#include "meta/ns_keys.h"
#include "wire/gather.h"

static int setup(void **state)
{
    *state = fixture_new(6);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    kv_mem_set_fate(f->w->kv, NULL, NULL);
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        fake_asd_set_fate(f->w->asds[i], NULL, NULL);
    }
    fixture_free(f);
    return 0;
}

static void set_fates(struct fixture *f, fake_fate_cb fate, void *ctx)
{
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        fake_asd_set_fate(f->w->asds[i], fate, ctx);
    }
}

/* ---- stopped at every step ---- */

struct stopper {
    struct fixture *f;
    unsigned left; /* requests until the stop */
    bool executed; /* the last one is; its reply is lost */
    bool hit;
};

static void stop_now(struct stopper *s)
{
    s->hit = true;
    agent_stop(&s->f->agent);
}

static enum fake_fate stop_at_osd(void *ctx, struct fake_asd *asd,
                                  const struct asd_request *request)
{
    struct stopper *s = ctx;

    (void)asd;
    if (request->prio != ASD_PRIO_LOW || s->left == 0 || --s->left > 0) {
        return FAKE_NORMAL;
    }
    stop_now(s);
    return s->executed ? FAKE_DROP_AFTER : FAKE_DROP;
}

static enum kv_mem_fate stop_at_commit(void *ctx, const struct kv_txn *txn)
{
    struct stopper *s = ctx;

    (void)txn;
    if (s->left == 0 || --s->left > 0) {
        return KV_MEM_NORMAL;
    }
    stop_now(s);
    return s->executed ? KV_MEM_LOST_REPLY : KV_MEM_LOST_REQUEST;
}

/* Something for every step: deleted, overwritten and live objects, orphans, a namespace. */
static void make_work(struct fixture *f, uint8_t *live[2])
{
    uint64_t epoch = fixture_current_epoch(f);

    world_create_namespace(f->w, "gone");
    world_delete_namespace(f->w, "gone");
    for (unsigned i = 0; i < 2; i++) {
        char name[8];

        snprintf(name, sizeof(name), "live%u", i);
        free(live[i]);
        live[i] = fixture_put(f, name, 20000);
    }
    free(fixture_put(f, "gone", 3000));
    assert_int_equal(world_delete(f->w, "gone"), 0);
    fixture_orphan(f, 0, 5, epoch);
    fixture_orphan(f, 3, 6, epoch);
    fixture_orphan(f, 3, 7, epoch);
}

static void expect_live(struct fixture *f, uint8_t *live[2])
{
    fixture_expect_whole(f);
    world_expect(f->w, "live0", live[0], 20000);
    world_expect(f->w, "live1", live[1], 20000);
}

static void stop_at_every_step(struct fixture *f, bool executed)
{
    uint8_t *live[2] = {NULL, NULL};
    unsigned steps = 0;
    bool hit = true;

    while (hit) {
        struct stopper s = {.f = f, .left = ++steps, .executed = executed};

        make_work(f, live);
        fixture_agent(f, FIXTURE_GRACE_NONE_MS);
        set_fates(f, stop_at_osd, &s);
        kv_mem_set_fate(f->w->kv, stop_at_commit, &s);
        for (unsigned round = 0; round < 3 && !s.hit; round++) {
            fixture_rounds(f, 1);
        }
        hit = s.hit;
        set_fates(f, NULL, NULL);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        expect_live(f, live);
        fixture_osds_back(f);
        if (steps % 4 == 0 || !hit) { /* else the next one finds all that was left behind */
            fixture_collect_all(f);
            fixture_expect_clean(f);
            expect_live(f, live);
        }
    }
    print_message("%u steps\n", steps);
    assert_true(steps > 30);
    free(live[0]);
    free(live[1]);
}

static void an_agent_stopped_before_any_step_is_followed_by_one_that_ends_the_work(void **state)
{
    stop_at_every_step(*state, false);
}

static void an_agent_stopped_after_any_step_is_followed_by_one_that_ends_the_work(void **state)
{
    stop_at_every_step(*state, true);
}

/* ---- frozen ---- */

enum { CAUGHT_MAX = 64 };

/* Deletes of a frozen agent: kept, and executed much later. */
struct trap {
    struct fixture *f;
    struct caught {
        struct fake_asd *asd;
        struct buf request;
    } caught[CAUGHT_MAX];
    unsigned count;
};

static enum fake_fate catch_deletes(void *ctx, struct fake_asd *asd,
                                    const struct asd_request *request)
{
    struct trap *t = ctx;
    struct gather g = {0};

    if (request->code != ASD_APPLY || request->prio != ASD_PRIO_LOW) {
        return FAKE_NORMAL;
    }
    assert_in_range(t->count, 0, CAUGHT_MAX - 1);
    asd_request_encode(request, &g);
    gather_flatten(&g, &t->caught[t->count].request);
    gather_release(&g);
    t->caught[t->count++].asd = asd;
    agent_stop(&t->f->agent);
    return FAKE_DROP;
}

struct late_call {
    struct osd_call call;
    struct gather request;
    bool done;
};

static void on_late(struct osd_call *call, int rc)
{
    (void)rc;
    container_of(call, struct late_call, call)->done = true;
}

static struct osd *osd_of(struct fixture *f, const struct fake_asd *asd)
{
    for (unsigned i = 0; i < osds_count(f->w->engine->osds); i++) {
        if (strcmp(osds_at(f->w->engine->osds, i)->long_id, asd->long_id) == 0) {
            return osds_at(f->w->engine->osds, i);
        }
    }
    fail_msg("no osd %s", asd->long_id);
    return NULL;
}

/* All that was caught is executed now. */
static void spring(struct trap *t)
{
    fixture_osds_back(t->f);
    for (unsigned i = 0; i < t->count; i++) {
        struct late_call late = {0};

        gather_borrow(&late.request, slice_buf(&t->caught[i].request));
        assert_int_equal(osd_call_start(osd_of(t->f, t->caught[i].asd), &late.call, &late.request,
                                        OSD_WRITE, WORLD_PATIENT_MS, on_late),
                         0);
        loop_fixture_run_until(&t->f->w->base, &late.done);
        buf_release(&late.call.asd.failed_key);
        gather_release(&late.request);
        buf_release(&t->caught[i].request);
    }
}

/* The same fragment is written again, under a living epoch, after another agent has deleted it:
 * as a repair might do. */
static void a_frozen_agent_finds_its_tag_gone_and_deletes_nothing(void **state)
{
    struct fixture *f = *state;
    struct trap trap = {.f = f};

    fixture_orphan(f, 2, 5, fixture_current_epoch(f));
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    set_fates(f, catch_deletes, &trap);
    fixture_rounds(f, 3);
    set_fates(f, NULL, NULL);
    assert_true(trap.count > 0);
    fixture_osds_back(f);
    fixture_collect_all(f);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    fixture_orphan(f, 2, 5, fixture_current_epoch(f));
    spring(&trap);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 1);
    assert_int_equal(fixture_count(f, OSD_KEY_RECOVERY), 1);
    assert_int_equal(fixture_count(f, OSD_KEY_GC_TAG), 1);
}

/* Names are used again, objects are not. */
static void a_frozen_agent_that_cleans_an_old_object_does_not_meet_the_new_one(void **state)
{
    struct fixture *f = *state;
    struct trap trap = {.f = f};
    uint8_t *a = fixture_put(f, "a", 20000);

    free(a);
    a = fixture_put(f, "a", 20000);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    set_fates(f, catch_deletes, &trap);
    fixture_rounds(f, 1);
    set_fates(f, NULL, NULL);
    assert_true(trap.count > 0);
    fixture_osds_back(f);
    fixture_collect_all(f);
    free(a);
    a = fixture_put(f, "a", 15000);
    spring(&trap);
    world_expect(f->w, "a", a, 15000);
    fixture_collect_all(f);
    fixture_expect_clean(f);
    free(a);
}

/* ---- the lease ---- */

static uint64_t lease_clock_ms = 1000;

static uint64_t lease_now_ms(void)
{
    return lease_clock_ms;
}

static enum fake_fate pass_the_time(void *ctx, struct fake_asd *asd,
                                    const struct asd_request *request)
{
    if (request->code == ASD_RANGE && asd == ctx) {
        lease_clock_ms += 10 * AGENT_LEASE_MS; /* frozen for so long, with tags in its hand */
    }
    return FAKE_NORMAL;
}

static void an_agent_whose_lease_ran_out_does_nothing_more(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = kv_mem_open(&f->w->base.loop, f->w->store);
    struct lease_options options = {.name = "maintenance",
                                    .owner = "me",
                                    .ttl_ms = AGENT_LEASE_MS,
                                    .renew_ms = AGENT_LEASE_MS / 4,
                                    .now_ms = lease_now_ms};
    struct lease *lease = lease_new(kv, &options);
    bool closed = false;

    while (!lease_is_held(lease)) {
        loop_fixture_run_ms(&f->w->base, 10);
    }
    fixture_orphan(f, 2, 5, fixture_current_epoch(f));
    fixture_orphan(f, 4, 5, fixture_current_epoch(f));
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    f->agent.lease = lease;
    fixture_rounds(f, 1);
    set_fates(f, pass_the_time, f->w->asds[2]);
    fixture_rounds(f, 3);
    assert_false(lease_is_held(lease));
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 2);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 0);
    lease_close(lease, loop_set_true, &closed);
    loop_fixture_run_until(&f->w->base, &closed);
    closed = false;
    kv_close(kv, loop_set_true, &closed);
    loop_fixture_run_until(&f->w->base, &closed);
}

/* ---- across a restore of the metadata ---- */

/* Objects and epochs go, as a restore deletes them, while tags are read. */
struct restore {
    struct fixture *f;
    bool has_epochs; /* those of the backup are there: older ones */
    uint64_t last_epoch;
    struct kv_txn txn;
    bool began, ended;
};

static void on_emptied(void *ctx, int rc, const struct kv_reply *reply)
{
    struct restore *r = ctx;

    (void)reply;
    assert_int_equal(rc, 0);
    kv_txn_release(&r->txn);
    r->ended = true;
}

static void empty(struct restore *r)
{
    uint64_t ns_id = r->f->w->ns_id;
    struct buf first = {0}, value = {0};
    struct key key;

    kv_mem_first_key(r->f->w->store, ns_key_root(&key, ns_id, 'o'), &first);
    kv_txn_delete(&r->txn, slice_buf(&first));
    for (uint64_t epoch = 1; epoch <= r->last_epoch; epoch++) {
        struct slice k = ns_key_epoch(&key, ns_id, epoch);

        ns_value_epoch(&value, k);
        if (r->has_epochs) {
            kv_txn_put(&r->txn, k, slice_buf(&value));
        } else {
            kv_txn_delete(&r->txn, k);
        }
        value.len = 0;
    }
    kv_apply(r->f->w->kv, &r->txn, 0, on_emptied, r);
    buf_release(&first);
    buf_release(&value);
}

static enum fake_fate begin_restore(void *ctx, struct fake_asd *asd,
                                    const struct asd_request *request)
{
    struct restore *r = ctx;

    (void)asd;
    if (request->code == ASD_RANGE && !r->began) {
        r->began = true;
        empty(r);
    }
    return FAKE_NORMAL;
}

/* An object of an epoch that has just ended: its tags are judged while its manifest is away. */
static void judge_while_it_is_away(struct fixture *f, bool has_epochs)
{
    struct restore r = {.f = f, .has_epochs = has_epochs};
    size_t before;

    free(fixture_put(f, "a", 20000));
    before = fixture_count(f, OSD_KEY_FRAGMENT);
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 1);
    r.last_epoch = fixture_current_epoch(f) + 1;
    set_fates(f, begin_restore, &r);
    fixture_rounds(f, 1);
    set_fates(f, NULL, NULL);
    assert_true(r.ended);
    assert_int_equal(fixture_count_meta(f, 'o'), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), before);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 0);
    assert_true(f->agent.status.counts.failures > 0);
}

static void an_agent_in_the_midst_of_a_restore_deletes_nothing(void **state)
{
    judge_while_it_is_away(*state, false);
}

static void an_agent_that_meets_the_epochs_of_a_backup_deletes_nothing(void **state)
{
    judge_while_it_is_away(*state, true);
}

/* ---- beside puts that fail ---- */

enum { NAMES = 5, PUTS = 4, TURNS = 40 };

struct writer {
    uint8_t *data;
    size_t bytes;
    unsigned name;
    char name_text[8];
    struct proxy_update update;
    struct proxy_apply apply;
    bool done;
    int rc;
};

static void on_written(void *ctx, struct sequence *sequence, int rc)
{
    struct writer *writer = ctx;

    (void)sequence;
    writer->rc = rc;
    writer->done = true;
}

static void write_start(struct fixture *f, struct writer *writer, unsigned name)
{
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &writer->apply};
    bool is_delete = rnd_below(&f->w->rnd, 5) == 0;

    *writer = (struct writer){.name = name};
    snprintf(writer->name_text, sizeof(writer->name_text), "o%u", name);
    if (!is_delete) {
        writer->bytes = rnd_below(&f->w->rnd, 60000);
        writer->data = mem_alloc(writer->bytes + 1);
        world_fill(f->w, writer->data, writer->bytes);
    }
    writer->update =
        (struct proxy_update){.kind = is_delete ? PROXY_UPDATE_DELETE : PROXY_UPDATE_UPLOAD,
                              .name = slice_str(writer->name_text),
                              .data = slice_of(writer->data, writer->bytes)};
    writer->apply =
        (struct proxy_apply){.updates = &writer->update, .update_count = 1, .deadline_ms = 3000};
    sequence_start(f->w->engine, &spec, on_written, writer);
}

static enum fake_fate fail_sometimes(void *ctx, struct fake_asd *asd,
                                     const struct asd_request *request)
{
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP,  FAKE_DROP_AFTER,
                                           FAKE_BUSY,  FAKE_DELAY, FAKE_HANG_LATE};
    struct fixture *f = ctx;

    (void)asd;
    (void)request;
    if (rnd_below(&f->w->rnd, 40) != 0) {
        return FAKE_NORMAL;
    }
    return fates[rnd_below(&f->w->rnd, sizeof(fates) / sizeof(*fates))];
}

static enum kv_mem_fate lose_sometimes(void *ctx, const struct kv_txn *txn)
{
    struct fixture *f = ctx;

    (void)txn;
    switch (rnd_below(&f->w->rnd, 30)) {
    case 0:
        return KV_MEM_LOST_REQUEST;
    case 1:
        return KV_MEM_LOST_REPLY;
    default:
        return KV_MEM_NORMAL;
    }
}

/* What a name holds: NULL data and known: nothing. Unknown after an outcome in doubt. */
struct model {
    uint8_t *data;
    size_t bytes;
    bool is_unknown;
};

static void write_end(struct fixture *f, struct writer *writer, struct model *model)
{
    loop_fixture_run_until(&f->w->base, &writer->done);
    if (writer->rc == 0) {
        free(model->data);
        *model = (struct model){.data = writer->data, .bytes = writer->bytes};
        return;
    }
    model->is_unknown |= writer->rc == ERR_IN_DOUBT;
    free(writer->data);
}

static void expect_model(struct fixture *f, const struct model *models)
{
    for (unsigned n = 0; n < NAMES; n++) {
        char name[8];
        struct manifest m;

        snprintf(name, sizeof(name), "o%u", n);
        if (models[n].is_unknown) {
            continue;
        }
        if (models[n].data != NULL) {
            world_expect(f->w, name, models[n].data, models[n].bytes);
        } else {
            assert_false(world_manifest(f->w, name, &m));
        }
    }
}

/* Epochs end all the time here, under the uploads; no acknowledged object may miss anything. */
static void puts_that_fail_and_an_agent_in_a_hurry_leave_the_live_objects_only(void **state)
{
    struct fixture *f = *state;
    struct model models[NAMES] = {{0}};
    struct writer writers[PUTS];
    unsigned good = 0;

    world_make_hasty(f->w);
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        f->w->asds[i]->delay_ms = 20;
    }
    fixture_agent(f, 30);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned first = (unsigned)rnd_below(&f->w->rnd, NAMES);

        set_fates(f, fail_sometimes, f);
        kv_mem_set_fate(f->w->kv, lose_sometimes, f);
        for (unsigned i = 0; i < PUTS; i++) {
            write_start(f, &writers[i], (first + i) % NAMES);
        }
        agent_run_round(&f->agent);
        if (turn % 8 == 7) {
            fixture_agent(f, 30); /* died, another one takes over */
        }
        for (unsigned i = 0; i < PUTS; i++) {
            write_end(f, &writers[i], &models[writers[i].name]);
            good += writers[i].rc == 0;
        }
        set_fates(f, NULL, NULL);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        fixture_expect_whole(f);
        expect_model(f, models);
    }
    print_message("%u of %u writes succeeded\n", good, TURNS * PUTS);
    assert_true(good > TURNS);
    world_settle(f->w);
    fixture_osds_back(f);
    loop_fixture_run_ms(&f->w->base, 1200);
    world_settle(f->w);
    fixture_collect_all(f);
    fixture_expect_clean(f);
    expect_model(f, models);
    for (unsigned n = 0; n < NAMES; n++) {
        free(models[n].data);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_agent_stopped_before_any_step_is_followed_by_one_that_ends_the_work),
        T(an_agent_stopped_after_any_step_is_followed_by_one_that_ends_the_work),
        T(a_frozen_agent_finds_its_tag_gone_and_deletes_nothing),
        T(a_frozen_agent_that_cleans_an_old_object_does_not_meet_the_new_one),
        T(an_agent_whose_lease_ran_out_does_nothing_more),
        T(an_agent_in_the_midst_of_a_restore_deletes_nothing),
        T(an_agent_that_meets_the_epochs_of_a_backup_deletes_nothing),
        T(puts_that_fail_and_an_agent_in_a_hurry_leave_the_live_objects_only),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
