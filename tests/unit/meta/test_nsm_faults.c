/* Namespace manager: lost requests, lost replies, delayed commits. Whatever happens, what was
 * acknowledged is there, what was refused is not, and nothing happens twice. */
#include "unit/meta/nsm_fixture.h"

#include "base/rnd.h"

/* ---- every fate of the first sendings, for every kind of write ---- */

enum { FATES = 4, SENDINGS = 3 };

static const enum kv_mem_fate all_fates[FATES] = {KV_MEM_NORMAL, KV_MEM_LOST_REQUEST,
                                                  KV_MEM_LOST_REPLY, KV_MEM_LATE};

enum scenario { FRESH, OVERWRITE, DELETE, SCENARIOS };

/* The commit must be whole or absent, agree with its answer, and stay so when delayed copies of
 * it arrive in the end. */
static void play(enum scenario scenario, const enum kv_mem_fate fates[SENDINGS])
{
    void *state;
    struct fixture *f;
    struct manifest *old = make("x", 1);
    struct manifest *new = make("x", 2);
    struct script script = {.fates = fates, .count = SENDINGS};
    struct nsm_wait w;
    bool had = scenario != FRESH;
    bool happened;

    setup(&state);
    f = state;
    if (had) {
        assert_int_equal(put(f->b, old), 0);
    }
    kv_mem_set_fate(f->kv_a, scripted, &script);
    start(f->a, scenario == DELETE ? NULL : new, scenario == DELETE ? "x" : NULL, NULL, 0, &w);
    await(f->a, &w);
    for (int turn = 0; turn < 2; turn++) {
        happened = scenario == DELETE ? !has_object(f, old) : has_object(f, new);
        assert_true(w.rc == 0); /* with the store back in the end, every doubt is settled */
        assert_true(happened);
        expect_sound(f, scenario != DELETE, had);
        assert_true(!had || has_obsolete(f, old));
        kv_mem_run_late(f->store);
    }
    nsm_wait_release(&w);
    unmake(old);
    unmake(new);
    teardown(&state);
}

static void a_commit_happens_once_whatever_becomes_of_its_first_sendings(void **state)
{
    (void)state;
    for (int scenario = 0; scenario < SCENARIOS; scenario++) {
        for (int i = 0; i < FATES * FATES * FATES; i++) {
            enum kv_mem_fate fates[SENDINGS] = {all_fates[i % FATES], all_fates[i / FATES % FATES],
                                                all_fates[i / FATES / FATES]};

            play((enum scenario)scenario, fates);
        }
    }
}

static void a_refused_commit_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct script script = {.fates = (enum kv_mem_fate[]){KV_MEM_REFUSED}, .count = 1};

    kv_mem_set_fate(f->kv_a, scripted, &script);
    assert_int_equal(put(f->a, m), ERR_FULL);
    expect_sound(f, 0, 0);
    assert_int_equal(put(f->a, m), 0);
    unmake(m);
}

/* Executed, reply lost, then refused: the trace tells that it is there. */
static void a_commit_that_is_there_is_acknowledged_though_its_repetition_is_refused(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct script script = {.fates = (enum kv_mem_fate[]){KV_MEM_LOST_REPLY, KV_MEM_REFUSED},
                            .count = 2};

    kv_mem_set_fate(f->kv_a, scripted, &script);
    assert_int_equal(put(f->a, m), 0);
    expect_sound(f, 1, 0);
    unmake(m);
}

static void a_commit_never_answered_is_in_doubt(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    enum kv_mem_fate fates[64];
    struct script script = {.fates = fates, .count = 64};

    for (int i = 0; i < 64; i++) {
        fates[i] = KV_MEM_LATE;
    }
    kv_mem_set_fate(f->kv_a, scripted, &script);
    assert_int_equal(put(f->a, m), ERR_IN_DOUBT); /* after its timeout of a second */
    assert_int_equal(kv_mem_run_late(f->store), 1);
    expect_sound(f, 1, 0);
    assert_true(holds(f->b, "x", m));
    unmake(m);
}

/* ---- another writer between the sendings ---- */

struct meddler {
    struct fixture *f;
    enum kv_mem_fate first;
    void (*meddle)(struct meddler *m); /* before the second sending */
    struct manifest *other;
    unsigned sendings;
};

static enum kv_mem_fate meddled(void *ctx, const struct kv_txn *txn)
{
    struct meddler *m = ctx;

    (void)txn;
    if (m->sendings++ == 0) {
        return m->first;
    }
    if (m->sendings == 2) {
        return KV_MEM_HELD; /* the test lets it go */
    }
    return KV_MEM_NORMAL;
}

/* Start a write whose first sending has this fate; run `meddle`; let the second sending go. */
static int interrupted(struct fixture *f, struct manifest *upload, const char *delete,
                       enum kv_mem_fate first, void (*meddle)(struct meddler *),
                       struct manifest *other)
{
    struct meddler m = {.f = f, .first = first, .meddle = meddle, .other = other};
    struct nsm_wait w;

    kv_mem_set_fate(f->kv_a, meddled, &m);
    start(f->a, upload, delete, NULL, 0, &w);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
    meddle(&m);
    kv_mem_run_held(f->store);
    return await_rc(f->a, &w);
}

static void overwrite(struct meddler *m)
{
    assert_int_equal(put(m->f->b, m->other), 0);
}

static void delete_it(struct meddler *m)
{
    assert_int_equal(delete (m->f->b, "x"), 0);
}

static void delete_and_expand(struct meddler *m)
{
    assert_int_equal(delete (m->f->b, "x"), 0);
    assert_true(expand_all(m->f->b) >= 1);
}

static void delete_expand_and_write_again(struct meddler *m)
{
    delete_and_expand(m);
    assert_int_equal(put(m->f->b, m->other), 0);
}

static void a_put_that_was_overwritten_before_its_retry_is_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct manifest *mine = make("x", 1);
    struct manifest *other = make("x", 2);

    assert_int_equal(interrupted(f, mine, NULL, KV_MEM_LOST_REPLY, overwrite, other), 0);
    assert_true(holds(f->b, "x", other));
    expect_sound(f, 1, 1);
    unmake(mine);
    unmake(other);
}

static void
a_put_that_was_deleted_and_expanded_before_its_retry_is_acknowledged_and_stays_gone(void **state)
{
    struct fixture *f = *state;
    struct manifest *mine = make("x", 1);

    assert_int_equal(interrupted(f, mine, NULL, KV_MEM_LOST_REPLY, delete_and_expand, NULL), 0);
    expect_sound(f, 0, 0);
    assert_int_equal(count_kind(f, 't'), 1);
    unmake(mine);
}

static void a_put_deleted_but_not_yet_expanded_before_its_retry_stays_gone(void **state)
{
    struct fixture *f = *state;
    struct manifest *mine = make("x", 1);

    assert_int_equal(interrupted(f, mine, NULL, KV_MEM_LOST_REPLY, delete_it, NULL), 0);
    expect_sound(f, 0, 1);
    unmake(mine);
}

static void a_put_whose_name_was_taken_before_its_retry_has_an_unknown_outcome(void **state)
{
    struct fixture *f = *state;
    struct manifest *mine = make("x", 1);
    struct manifest *other = make("x", 2);

    assert_int_equal(interrupted(f, mine, NULL, KV_MEM_LATE, overwrite, other), ERR_IN_DOUBT);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    assert_true(holds(f->b, "x", other));
    expect_sound(f, 1, 0);
    unmake(mine);
    unmake(other);
}

static void a_delete_that_another_overtook_is_decided_anew(void **state)
{
    struct fixture *f = *state;
    struct manifest *old = make("x", 1);
    struct manifest *other = make("x", 2);

    assert_int_equal(put(f->b, old), 0);
    /* Never executed, and cannot be any more: it deletes what is there now. */
    assert_int_equal(interrupted(f, NULL, "x", KV_MEM_LATE, overwrite, other), 0);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    expect_sound(f, 0, 2);
    unmake(old);
    unmake(other);
}

static void a_delete_that_happened_does_not_hit_what_was_written_after_it(void **state)
{
    struct fixture *f = *state;
    struct manifest *old = make("x", 1);
    struct manifest *other = make("x", 2);

    assert_int_equal(put(f->b, old), 0);
    assert_int_equal(
        interrupted(f, NULL, "x", KV_MEM_LOST_REPLY, delete_expand_and_write_again, other), 0);
    assert_true(holds(f->b, "x", other));
    expect_sound(f, 1, 0);
    unmake(old);
    unmake(other);
}

static int on_edit(void *ctx, struct manifest *m)
{
    (void)ctx;
    m->version_id++;
    *manifest_fragment_at(m, 0, 2) = (struct manifest_fragment){
        .has_osd = true, .osd_id = 99, .version = m->version_id, .packed_bytes = 4096};
    return 0;
}

/* A fragment that an update places while the object is being replaced must be found by
 * clean-up: the record takes the manifest as it is at the commit. */
static void an_overwrite_retires_the_manifest_that_a_late_update_left(void **state)
{
    struct fixture *f = *state;
    struct manifest *old = make("x", 1);
    struct manifest *new = make("x", 2);
    struct script script = {.fates = (enum kv_mem_fate[]){KV_MEM_HELD}, .count = 1};
    struct nsm_obsolete_list *list;
    struct nsm_wait w, u = {0};
    size_t places = 0;
    size_t late = 0;

    assert_int_equal(put(f->b, old), 0);
    kv_mem_set_fate(f->kv_a, scripted, &script);
    start(f->a, new, NULL, NULL, 0, &w);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
    nsm_update(f->b, NS, old->object_id, 1, on_edit, nsm_wait_cb, &u);
    assert_int_equal(await_rc(f->b, &u), 0);
    kv_mem_run_held(f->store);
    assert_int_equal(await_rc(f->a, &w), 0);
    expect_sound(f, 1, 2);
    list = obsoletes(f->b);
    for (size_t i = 0; i < list->count; i++) {
        for (uint32_t j = 0; j < 3; j++) {
            const struct manifest_fragment *place =
                manifest_fragment_at(&list->items[i].manifest, 0, j);

            places += place->has_osd;
            late += place->has_osd && place->osd_id == 99;
        }
    }
    assert_int_equal(places, 4); /* three of the put, one of the update */
    assert_int_equal(late, 1);
    nsm_obsolete_list_free(list);
    unmake(old);
    unmake(new);
}

static void an_update_in_doubt_is_settled_by_what_is_stored(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REPLY, KV_MEM_LOST_REQUEST, KV_MEM_LATE};

    for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
        struct manifest *m = make("x", 1);
        struct script script = {.fates = &fates[i], .count = 1};
        struct nsm_wait u = {0};
        struct fixture *f;

        setup(state);
        f = *state;
        assert_int_equal(put(f->b, m), 0);
        kv_mem_set_fate(f->kv_a, scripted, &script);
        nsm_update(f->a, NS, m->object_id, 1, on_edit, nsm_wait_cb, &u);
        assert_int_equal(await_rc(f->a, &u), 0);
        assert_int_equal(kv_mem_run_late(f->store), 0);
        expect_sound(f, 1, 1);
        assert_int_equal(count_kind(f, 'd'), 3);
        unmake(m);
        teardown(state);
    }
}

/* ---- delayed copies against a deleted object ---- */

static void delete_expand_and_end_the_epoch(struct fixture *f)
{
    struct nsm_wait w = {0};

    assert_int_equal(delete (f->b, "x"), 0);
    assert_int_equal(expand_all(f->b), 1);
    nsm_gc_advance(f->b, NS, 1, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    nsm_gc_sweep(f->b, NS, 100, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    assert_int_equal(count_kind(f, 't'), 1); /* its epoch lives */
    nsm_gc_disable(f->b, NS, 1, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    nsm_gc_sweep(f->b, NS, 100, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->b, &w), 0);
    assert_int_equal(count_kind(f, 't'), 0);
}

static void a_delayed_copy_of_a_put_does_not_revive_a_deleted_object(void **state)
{
    for (int stage = 0; stage < 3; stage++) {
        struct manifest *m = make("x", 1);
        struct script script = {.fates = (enum kv_mem_fate[]){KV_MEM_LATE}, .count = 1};
        struct fixture *f;

        setup(state);
        f = *state;
        kv_mem_set_fate(f->kv_a, scripted, &script);
        assert_int_equal(put(f->a, m), 0); /* the second sending */
        if (stage == 2) {
            delete_expand_and_end_the_epoch(f);
        } else {
            assert_int_equal(delete (f->b, "x"), 0);
            assert_int_equal(stage == 0 ? 0 : expand_all(f->b), stage);
        }
        assert_int_equal(kv_mem_run_late(f->store), 0);
        expect_sound(f, 0, stage == 0);
        unmake(m);
        teardown(state);
    }
}

/* ---- everything at once ---- */

enum { WRITERS = 6, STEPS = 12 };

struct writer {
    struct nsm_wait wait;
    struct manifest *manifest; /* of the put that is open */
    bool busy;
};

struct chaos {
    struct fixture *f;
    struct rnd rnd;
    struct writer writers[WRITERS];
    struct {
        struct manifest *manifest;
        int rc;
    } puts[WRITERS * STEPS];
    size_t put_count;
};

static enum kv_mem_fate random_fate(void *ctx, const struct kv_txn *txn)
{
    struct chaos *c = ctx;
    uint64_t dice = rnd_below(&c->rnd, 10);

    (void)txn;
    return dice == 0   ? KV_MEM_LOST_REQUEST
           : dice == 1 ? KV_MEM_LOST_REPLY
           : dice == 2 ? KV_MEM_LATE
                       : KV_MEM_NORMAL;
}

static void chaos_step(struct chaos *c, struct writer *w)
{
    struct nsm *nsm = rnd_below(&c->rnd, 2) == 0 ? c->f->a : c->f->b;
    char name[2] = {(char)('a' + rnd_below(&c->rnd, 3)), '\0'};

    if (w->busy && w->wait.done) {
        if (w->manifest != NULL) {
            c->puts[c->put_count].manifest = w->manifest;
            c->puts[c->put_count++].rc = w->wait.rc;
        }
        nsm_wait_release(&w->wait);
        w->busy = false;
    }
    if (!w->busy) {
        w->busy = true;
        w->manifest = rnd_below(&c->rnd, 4) != 0 ? make(name, rnd_below(&c->rnd, 100)) : NULL;
        start(nsm, w->manifest, w->manifest == NULL ? name : NULL, NULL, 0, &w->wait);
    }
    if (rnd_below(&c->rnd, 8) == 0) {
        kv_mem_run_late(c->f->store);
    }
}

/* Each put is in one place at most; where it is agrees with its answer. */
static void chaos_check(const struct chaos *c)
{
    size_t live = 0;

    for (size_t i = 0; i < c->put_count; i++) {
        const struct manifest *m = c->puts[i].manifest;
        bool object = has_object(c->f, m);
        bool obsolete = has_obsolete(c->f, m);

        assert_false(object && obsolete);
        if (c->puts[i].rc == 0) {
            assert_true(object || obsolete);
        } else {
            assert_true(c->puts[i].rc == ERR_IN_DOUBT || c->puts[i].rc == ERR_BUSY);
            assert_true(c->puts[i].rc == ERR_IN_DOUBT || (!object && !obsolete));
        }
        live += object;
    }
    assert_int_equal(count_kind(c->f, 'n'), live);
    assert_int_equal(count_kind(c->f, 'o'), live);
}

static void chaos_run(uint64_t seed)
{
    struct chaos *c = mem_zalloc(sizeof(*c));
    void *state;

    setup_jitter(&state, seed, 6);
    c->f = state;
    c->rnd = rnd_seed(seed);
    kv_mem_set_fate(c->f->kv_a, random_fate, c);
    kv_mem_set_fate(c->f->kv_b, random_fate, c);
    for (int step = 0; step < STEPS * WRITERS; step++) {
        chaos_step(c, &c->writers[rnd_below(&c->rnd, WRITERS)]);
        for (uint64_t turns = rnd_below(&c->rnd, 6); turns != 0; turns--) {
            uv_run(&c->f->loop, UV_RUN_NOWAIT);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        struct writer *w = &c->writers[i];

        if (w->busy) {
            await(c->f->a, &w->wait);
            if (w->manifest != NULL) {
                c->puts[c->put_count].manifest = w->manifest;
                c->puts[c->put_count++].rc = w->wait.rc;
            }
            nsm_wait_release(&w->wait);
        }
    }
    chaos_check(c);
    kv_mem_run_late(c->f->store);
    chaos_check(c);
    kv_mem_set_fate(c->f->kv_a, NULL, NULL);
    kv_mem_set_fate(c->f->kv_b, NULL, NULL);
    expand_all(c->f->a);
    kv_mem_run_late(c->f->store);
    assert_int_equal(count_kind(c->f, 'x'), 0);
    for (size_t i = 0; i < c->put_count; i++) {
        unmake(c->puts[i].manifest);
    }
    teardown(&state);
    free(c);
}

static void random_writers_on_a_lossy_engine_never_contradict_their_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        print_message("seed %llu\r", (unsigned long long)seed);
        chaos_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_happens_once_whatever_becomes_of_its_first_sendings),
        TEST(a_refused_commit_changes_nothing),
        TEST(a_commit_that_is_there_is_acknowledged_though_its_repetition_is_refused),
        TEST(a_commit_never_answered_is_in_doubt),
        TEST(a_put_that_was_overwritten_before_its_retry_is_acknowledged),
        TEST(a_put_that_was_deleted_and_expanded_before_its_retry_is_acknowledged_and_stays_gone),
        TEST(a_put_deleted_but_not_yet_expanded_before_its_retry_stays_gone),
        TEST(a_put_whose_name_was_taken_before_its_retry_has_an_unknown_outcome),
        TEST(a_delete_that_another_overtook_is_decided_anew),
        TEST(a_delete_that_happened_does_not_hit_what_was_written_after_it),
        TEST(an_overwrite_retires_the_manifest_that_a_late_update_left),
        cmocka_unit_test(an_update_in_doubt_is_settled_by_what_is_stored),
        cmocka_unit_test(a_delayed_copy_of_a_put_does_not_revive_a_deleted_object),
        cmocka_unit_test(random_writers_on_a_lossy_engine_never_contradict_their_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
