/* Namespace manager: reads, sequences and updates, nothing going wrong but contention. */
#include "unit/meta/nsm_fixture.h"

#include "base/clock.h"

static void what_was_put_is_found_by_name_id_and_osd(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("one", 10);
    struct nsm_wait w = {0};
    struct slice id;

    assert_int_equal(put(f->a, m), 0);
    assert_true(holds(f->b, "one", m));
    id = m->object_id;
    nsm_get_ids(f->b, NS, &id, 1, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.rc, 0);
    assert_true(w.reply->objects[0].found);
    assert_int_equal(w.reply->objects[0].manifest.timestamp_us, m->timestamp_us);
    assert_int_equal(w.reply->objects[0].manifest.fragments[2].osd_id, 12);
    assert_true(m->timestamp_us <= (int64_t)clock_wall_us());
    nsm_wait_release(&w);
    for (uint64_t osd = 9; osd < 14; osd++) {
        nsm_list_osd(f->b, NS, osd, slice_of(NULL, 0), 10, nsm_wait_cb, &w);
        await(f->b, &w);
        assert_int_equal(w.reply->count, osd >= 10 && osd <= 12);
        assert_true(w.reply->count == 0 || slice_eq(w.reply->names[0], id));
        nsm_wait_release(&w);
    }
    expect_sound(f, 1, 0);
    unmake(m);
}

static void names_that_do_not_exist_are_not_found(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("b", 1);
    struct slice names[] = {text("a"), text("b"), text(""), text("c")};
    struct nsm_wait w = {0};

    assert_int_equal(put(f->a, m), 0);
    nsm_get(f->b, NS, names, 4, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.rc, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(w.reply->objects[i].found, i == 1);
    }
    nsm_wait_release(&w);
    nsm_exists(f->b, NS, names, 4, nsm_wait_cb, &w);
    await(f->b, &w);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(w.reply->exists[i], i == 1);
    }
    nsm_wait_release(&w);
    unmake(m);
}

static void names_of_1024_bytes_work_and_longer_ones_are_refused(void **state)
{
    struct fixture *f = *state;
    char name[MANIFEST_NAME_BYTES_MAX + 2];
    struct slice n;
    struct manifest *m;
    struct nsm_wait w = {0};

    memset(name, 'x', sizeof(name));
    name[MANIFEST_NAME_BYTES_MAX] = '\0';
    m = make(name, 1);
    assert_int_equal(put(f->a, m), 0);
    assert_true(holds(f->b, name, m));
    name[MANIFEST_NAME_BYTES_MAX] = 'x';
    name[MANIFEST_NAME_BYTES_MAX + 1] = '\0';
    manifest_set(&m->name, text(name));
    assert_int_equal(put(f->a, m), ERR_TOO_LARGE);
    assert_int_equal(delete (f->a, name), ERR_TOO_LARGE);
    n = text(name);
    nsm_get(f->a, NS, &n, 1, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), ERR_TOO_LARGE);
    unmake(m);
}

static void expect_list(struct fixture *f, const struct nsm_range *range, const char *expected,
                        bool has_more)
{
    struct nsm_wait w = {0};
    char got[64] = "";

    nsm_list(f->a, NS, range, nsm_wait_cb, &w);
    await(f->a, &w);
    assert_int_equal(w.rc, 0);
    for (size_t i = 0; i < w.reply->count; i++) {
        assert_int_equal(w.reply->names[i].len, 1);
        got[i] = (char)w.reply->names[i].data[0];
        got[i + 1] = '\0';
    }
    assert_string_equal(got, expected);
    assert_int_equal(w.reply->has_more, has_more);
    nsm_wait_release(&w);
}

static void names_are_listed_by_range(void **state)
{
    struct fixture *f = *state;
    struct nsm_range all = {.first_included = true, .limit = 100};
    struct nsm_range some = {.first = text("b"), .has_last = true, .last = text("d"), .limit = 100};

    for (const char *name = "edcba"; *name != '\0'; name++) {
        struct manifest *m = make((char[]){*name, '\0'}, 1);

        assert_int_equal(put(f->a, m), 0);
        unmake(m);
    }
    expect_list(f, &all, "abcde", false);
    all.limit = 2;
    expect_list(f, &all, "ab", true);
    expect_list(f, &some, "c", false);
    some.first_included = true;
    expect_list(f, &some, "bc", false);
    some.last_included = true;
    expect_list(f, &some, "bcd", false);
    some = (struct nsm_range){.first = text("d"),
                              .first_included = true,
                              .has_last = true,
                              .last = text("b"),
                              .reverse = true,
                              .limit = 2};
    expect_list(f, &some, "dc", false);
    some.limit = 1;
    expect_list(f, &some, "d", true);
    some.limit = 9;
    some.last_included = true;
    some.first_included = false;
    expect_list(f, &some, "cb", false);
    some.has_last = false;
    expect_list(f, &some, "cba", false);
}

static void an_overwrite_keeps_exactly_one_obsolete_record(void **state)
{
    struct fixture *f = *state;
    struct manifest *m[4];

    for (int i = 0; i < 4; i++) {
        m[i] = make("x", 10 * (uint64_t)i);
        assert_int_equal(put(i % 2 == 0 ? f->a : f->b, m[i]), 0);
        expect_sound(f, 1, (size_t)i);
        assert_true(holds(f->a, "x", m[i]));
        assert_true(i == 0 || m[i]->timestamp_us > m[i - 1]->timestamp_us);
        assert_true(i == 0 || has_obsolete(f, m[i - 1]));
    }
    for (int i = 0; i < 4; i++) {
        unmake(m[i]);
    }
}

static void a_clock_that_went_back_does_not_turn_timestamps_round(void **state)
{
    struct fixture *f = *state;
    struct manifest *old = make("x", 1);
    struct manifest *new = make("x", 2);
    struct buf value = {0};
    struct key key;
    struct slice k;
    struct err e;

    assert_int_equal(put(f->a, old), 0);
    old->timestamp_us = INT64_MAX / 2; /* written by somebody far ahead */
    k = ns_key_object(&key, NS, old->object_id);
    assert_int_equal(ns_value_manifest(&value, k, old, &e), 0);
    kv_mem_poke(f->store, k, slice_buf(&value));
    buf_release(&value);
    assert_int_equal(put(f->a, new), 0);
    assert_true(new->timestamp_us == INT64_MAX / 2 + 1);
    unmake(old);
    unmake(new);
}

static void deletes_leave_an_obsolete_record_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);

    assert_int_equal(delete (f->a, "x"), 0);
    expect_sound(f, 0, 0);
    assert_int_equal(put(f->a, m), 0);
    assert_int_equal(delete (f->b, "x"), 0);
    expect_sound(f, 0, 1);
    assert_int_equal(delete (f->a, "x"), 0);
    expect_sound(f, 0, 1);
    assert_int_equal(count_kind(f, 'd'), 3); /* until the fragments are gone */
    assert_int_equal(expand_all(f->a), 1);
    assert_int_equal(count_kind(f, 'd'), 0);
    assert_int_equal(put(f->a, m), ERR_EXISTS); /* an object id is used once */
    unmake(m);
}

static void asserts_of_every_kind_are_judged(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("there", 5);
    struct manifest *other = make("there", 6);
    struct {
        struct nsm_assert assert;
        int rc;
    } cases[] = {
        {{.kind = NSM_ASSERT_EXISTS, .name = text("there")}, 0},
        {{.kind = NSM_ASSERT_EXISTS, .name = text("gone")}, ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_ABSENT, .name = text("gone")}, 0},
        {{.kind = NSM_ASSERT_ABSENT, .name = text("there")}, ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_HAS_ID, .name = text("there"), .object_id = m->object_id}, 0},
        {{.kind = NSM_ASSERT_HAS_ID, .name = text("there"), .object_id = other->object_id},
         ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_HAS_ID, .name = text("gone"), .object_id = m->object_id},
         ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_HAS_ID, .name = text("there"), .object_id = text("short")},
         ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_HAS_CHECKSUM, .name = text("there"), .checksum = m->checksum}, 0},
        {{.kind = NSM_ASSERT_HAS_CHECKSUM, .name = text("there"), .checksum = other->checksum},
         ERR_ASSERT_FAILED},
        {{.kind = NSM_ASSERT_HAS_CHECKSUM, .name = text("gone"), .checksum = m->checksum},
         ERR_ASSERT_FAILED},
    };

    assert_int_equal(put(f->a, m), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manifest *upload = make("witness", i);
        struct nsm_wait w;

        /* Twice: the first may read, the second may guess. */
        for (int turn = 0; turn < 2; turn++) {
            start(f->b, turn == 0 ? NULL : upload, NULL, &cases[i].assert, 1, &w);
            await(f->b, &w);
            assert_int_equal(w.rc, cases[i].rc);
            assert_true(w.rc == 0 || slice_eq(w.reply->failed_name, cases[i].assert.name));
            nsm_wait_release(&w);
        }
        assert_int_equal(holds(f->a, "witness", upload), cases[i].rc == 0);
        assert_int_equal(has_object(f, upload), cases[i].rc == 0);
        unmake(upload);
    }
    unmake(m);
    unmake(other);
}

static void a_sequence_is_one_transaction(void **state)
{
    struct fixture *f = *state;
    struct manifest *a = make("a", 1);
    struct manifest *b = make("b", 2);
    struct manifest *a2 = make("a", 3);
    struct manifest *c = make("c", 4);
    struct manifest *first[] = {a, b};
    struct manifest *second[] = {a2, c};
    struct slice deleted[] = {text("b"), text("never was")};
    struct nsm_assert asserts[] = {
        {.kind = NSM_ASSERT_HAS_ID, .name = text("a"), .object_id = a->object_id},
        {.kind = NSM_ASSERT_ABSENT, .name = text("c")}};
    struct nsm_sequence sequence = {.asserts = asserts,
                                    .assert_count = 2,
                                    .uploads = second,
                                    .upload_count = 2,
                                    .deletes = deleted,
                                    .delete_count = 2};
    struct nsm_wait w = {0};
    struct kv_mem_counts before, after;

    nsm_apply(f->a, NS, &(struct nsm_sequence){.uploads = first, .upload_count = 2}, nsm_wait_cb,
              &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    before = kv_mem_counts(f->store);
    nsm_apply(f->a, NS, &sequence, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    after = kv_mem_counts(f->store);
    assert_int_equal(after.applies - before.applies, 1);
    expect_sound(f, 2, 2);
    assert_true(holds(f->b, "a", a2));
    assert_true(holds(f->b, "c", c));

    /* The same again must fail whole. */
    nsm_apply(f->a, NS, &sequence, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), ERR_ASSERT_FAILED);
    expect_sound(f, 2, 2);
    nsm_apply(f->a, NS, &(struct nsm_sequence){0}, nsm_wait_cb, &w);
    assert_int_equal(await_rc(f->a, &w), 0);
    unmake(a);
    unmake(b);
    unmake(a2);
    unmake(c);
}

/* As in a namespace that was deleted, and perhaps made anew under another id. */
static void without_its_gc_epoch_nothing_is_deleted_and_no_assert_holds(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("a", 1);
    struct slice name = text("a");
    struct nsm_assert exists = {.kind = NSM_ASSERT_EXISTS, .name = name};
    struct nsm_sequence sequences[] = {
        {.deletes = &name, .delete_count = 1, .gc_epoch = 2},
        {.asserts = &exists, .assert_count = 1, .gc_epoch = 2},
    };
    struct nsm_wait w;

    assert_int_equal(put(f->a, m), 0);
    for (unsigned i = 0; i < 2; i++) {
        w = (struct nsm_wait){0};
        nsm_apply(f->a, NS, &sequences[i], nsm_wait_cb, &w);
        assert_int_equal(await_rc(f->a, &w), ERR_STALE);
        expect_sound(f, 1, 0);
        sequences[i].gc_epoch = 1;
    }
    for (unsigned i = 2; i-- > 0;) {
        w = (struct nsm_wait){0};
        nsm_apply(f->a, NS, &sequences[i], nsm_wait_cb, &w);
        assert_int_equal(await_rc(f->a, &w), 0);
    }
    expect_sound(f, 0, 1);
    unmake(m);
}

static void a_name_may_be_updated_once_in_a_sequence(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 1);
    struct nsm_wait w;

    start(f->a, m, "x", NULL, 0, &w);
    await(f->a, &w);
    assert_int_equal(w.rc, -EINVAL);
    assert_non_null(strstr(w.reply->err.msg, "'x' is updated twice"));
    nsm_wait_release(&w);
    unmake(m);
}

static int check_size(size_t uploads, unsigned fragments, size_t deletes, size_t names,
                      unsigned osds_max, struct err *e)
{
    struct nsm_sequence_size size = {.upload_count = uploads,
                                     .fragments_per_upload = fragments,
                                     .delete_count = deletes,
                                     .name_count = names};
    unsigned max = 0;
    int rc = nsm_sequence_check(&size, &max, e);

    assert_int_equal(max, osds_max);
    return rc;
}

static void what_does_not_fit_is_refused_before_an_upload(void **state)
{
    struct manifest_fragment f = {
        .has_osd = true, .osd_id = 99, .packed_bytes = INT32_MAX, .checksum = checksum_crc32c(0)};
    struct err e;

    (void)state;
    assert_int_equal(check_size(12, 6, 0, 12, 6, &e), 0);
    assert_int_equal(check_size(13, 6, 0, 13, 0, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.msg, "130 updates (at most 120)"));
    assert_int_equal(check_size(10, 6, 0, 10, 8, &e), 0);
    assert_int_equal(check_size(1, 6, 0, 1, 116, &e), 0);
    assert_int_equal(check_size(0, 6, 40, 40, 6, &e), 0);
    assert_int_equal(check_size(1, 28, 40, 41, 0, &e), ERR_TOO_LARGE);
    assert_int_equal(check_size(SIZE_MAX / 2, 28, 40, 1, 0, &e), ERR_TOO_LARGE);
    assert_int_equal(check_size(1, 6, 0, 117, 116, &e), 0);
    assert_int_equal(check_size(1, 6, 0, 118, 0, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.msg, "121 asserts (at most 120)"));
    assert_int_equal(check_size(1, 6, 0, SIZE_MAX, 0, &e), ERR_TOO_LARGE);
    assert_int_equal(nsm_manifest_check(100, 10, 16, 6, &f, &e), 0);
    assert_int_equal(nsm_manifest_check(100, 10, 5120, 3, &f, &e), 0); /* 5 GiB three times */
    assert_int_equal(nsm_manifest_check(100, 10, 1000000, 28, &f, &e), ERR_TOO_LARGE);
    assert_int_equal(nsm_manifest_check(1025, 10, 16, 6, &f, &e), ERR_TOO_LARGE);
    f.has_ctr = true;
    assert_int_equal(nsm_manifest_check(100, 10, 1024, 9, &f, &e), 0); /* at the default policy */
}

/* What a volume does for each SCO: one round trip, once the owner tag is known. */
static void a_put_of_a_new_name_under_a_known_owner_tag_is_one_round_trip(void **state)
{
    struct fixture *f = *state;
    struct manifest *tag = make("owner_tag", 1);
    struct manifest *tag2 = make("owner_tag", 2);
    struct nsm_assert asserts[] = {
        {.kind = NSM_ASSERT_HAS_CHECKSUM, .name = text("owner_tag"), .checksum = tag->checksum},
        {.kind = NSM_ASSERT_ABSENT}};

    assert_int_equal(put(f->b, tag), 0);
    for (int i = 0; i < 3; i++) {
        char name[16];
        struct manifest *sco;
        struct kv_mem_counts before = kv_mem_counts(f->store);
        struct kv_mem_counts after;
        struct nsm_wait w;

        snprintf(name, sizeof(name), "s_%d", i);
        sco = make(name, 1);
        asserts[1].name = text(name);
        start(f->a, sco, NULL, asserts, 2, &w);
        assert_int_equal(await_rc(f->a, &w), 0);
        after = kv_mem_counts(f->store);
        assert_int_equal(after.applies - before.applies, 1);
        assert_int_equal(after.gets - before.gets, i == 0 ? 2 : 0);
        unmake(sco);
    }
    /* A thief replaces the tag: what was known is refuted by the transaction itself. */
    assert_int_equal(put(f->b, tag2), 0);
    {
        struct manifest *sco = make("s_3", 1);
        struct nsm_wait w;

        asserts[1].name = text("s_3");
        start(f->a, sco, NULL, asserts, 2, &w);
        await(f->a, &w);
        assert_int_equal(w.rc, ERR_ASSERT_FAILED);
        assert_true(slice_eq(w.reply->failed_name, text("owner_tag")));
        nsm_wait_release(&w);
        assert_false(has_object(f, sco));
        unmake(sco);
    }
    unmake(tag);
    unmake(tag2);
}

static void writers_of_one_name_come_one_after_another(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        enum { WRITERS = 8 };
        struct manifest *m[WRITERS];
        struct nsm_wait w[WRITERS];
        struct fixture *f;
        int holders = 0;

        setup_jitter(state, seed, 5);
        f = *state;
        for (int i = 0; i < WRITERS; i++) {
            m[i] = make("x", (uint64_t)i);
            start(i % 2 == 0 ? f->a : f->b, m[i], NULL, NULL, 0, &w[i]);
        }
        for (int i = 0; i < WRITERS; i++) {
            assert_int_equal(await_rc(f->a, &w[i]), 0);
        }
        expect_sound(f, 1, WRITERS - 1);
        for (int i = 0; i < WRITERS; i++) {
            holders += holds(f->a, "x", m[i]);
            assert_int_equal(has_object(f, m[i]) + has_obsolete(f, m[i]), 1);
            unmake(m[i]);
        }
        assert_int_equal(holders, 1);
        teardown(state);
    }
}

static void of_writers_that_want_the_name_free_exactly_one_succeeds(void **state)
{
    struct nsm_assert absent = {.kind = NSM_ASSERT_ABSENT, .name = text("x")};

    for (uint64_t seed = 1; seed <= 20; seed++) {
        enum { WRITERS = 6 };
        struct manifest *m[WRITERS];
        struct nsm_wait w[WRITERS];
        struct fixture *f;
        int winner = -1;

        setup_jitter(state, seed, 4);
        f = *state;
        for (int i = 0; i < WRITERS; i++) {
            m[i] = make("x", (uint64_t)i);
            start(i % 2 == 0 ? f->a : f->b, m[i], NULL, &absent, 1, &w[i]);
        }
        for (int i = 0; i < WRITERS; i++) {
            int rc = await_rc(f->a, &w[i]);

            assert_true(rc == 0 || rc == ERR_ASSERT_FAILED);
            assert_true(rc != 0 || winner == -1);
            winner = rc == 0 ? i : winner;
        }
        assert_true(winner >= 0);
        assert_true(holds(f->b, "x", m[winner]));
        expect_sound(f, 1, 0);
        for (int i = 0; i < WRITERS; i++) {
            unmake(m[i]);
        }
        teardown(state);
    }
}

/* ---- updates ---- */

struct edit {
    struct nsm_wait wait; /* first: it is the ctx of both callbacks */
    uint32_t fragment;
    bool has_osd;
    uint64_t osd_id;
    unsigned calls;
    int answer;
};

static int on_edit(void *ctx, struct manifest *m)
{
    struct edit *edit = ctx;
    struct manifest_fragment *fragment = manifest_fragment_at(m, 0, edit->fragment);

    edit->calls++;
    m->version_id++;
    fragment->has_osd = edit->has_osd;
    fragment->osd_id = edit->osd_id;
    fragment->version = m->version_id;
    return edit->answer;
}

static void update(struct nsm *nsm, const struct manifest *m, uint64_t epoch, struct edit *edit)
{
    nsm_update(nsm, NS, m->object_id, epoch, on_edit, nsm_wait_cb, edit);
}

static void an_update_moves_a_fragment_and_lists_the_old_one(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 10);
    struct edit edit = {.fragment = 1, .has_osd = true, .osd_id = 77};
    struct nsm_obsolete_list *list;
    struct key key;

    assert_int_equal(put(f->a, m), 0);
    update(f->b, m, 1, &edit);
    await(f->b, &edit.wait);
    assert_int_equal(edit.wait.rc, 0);
    assert_int_equal(edit.wait.reply->objects[0].manifest.fragments[1].osd_id, 77);
    nsm_wait_release(&edit.wait);
    assert_false(kv_mem_peek(f->store, ns_key_osd(&key, NS, 11, m->object_id), NULL));
    assert_true(kv_mem_peek(f->store, ns_key_osd(&key, NS, 77, m->object_id), NULL));
    assert_int_equal(count_kind(f, 'd'), 3);

    list = obsoletes(f->a);
    assert_int_equal(list->count, 1);
    assert_false(list->items[0].is_whole);
    assert_false(list->items[0].manifest.fragments[0].has_osd);
    assert_true(list->items[0].manifest.fragments[1].has_osd);
    assert_int_equal(list->items[0].manifest.fragments[1].osd_id, 11);
    assert_int_equal(list->items[0].manifest.fragments[1].version, 0);
    nsm_obsolete_list_free(list);
    assert_int_equal(expand_all(f->a), 1);
    assert_int_equal(count_kind(f, 'd'), 3);
    assert_int_equal(count_kind(f, 't'), 0);
    unmake(m);
}

static void an_epilogue_adds_a_fragment_and_drops_nothing(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 10);
    struct edit edit = {.fragment = 2, .has_osd = true, .osd_id = 12};

    manifest_fragment_at(m, 0, 2)->has_osd = false;
    assert_int_equal(put(f->a, m), 0);
    assert_int_equal(count_kind(f, 'd'), 2);
    update(f->a, m, 1, &edit);
    assert_int_equal(await_rc(f->a, &edit.wait), 0);
    assert_int_equal(count_kind(f, 'd'), 3);
    assert_int_equal(count_kind(f, 'x'), 0);
    unmake(m);
}

static void updates_of_one_manifest_come_one_after_another(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct fixture *f;
        struct manifest *m = make("x", 10);
        struct edit edits[3];
        struct nsm_wait w = {0};
        struct slice id = m->object_id;

        setup_jitter(state, seed, 4);
        f = *state;
        assert_int_equal(put(f->a, m), 0);
        for (uint32_t i = 0; i < 3; i++) {
            edits[i] = (struct edit){.fragment = i, .has_osd = true, .osd_id = 100 + i};
            update(i == 0 ? f->a : f->b, m, 1, &edits[i]);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(await_rc(f->a, &edits[i].wait), 0);
        }
        nsm_get_ids(f->a, NS, &id, 1, nsm_wait_cb, &w);
        await(f->a, &w);
        assert_int_equal(w.reply->objects[0].manifest.version_id, 3);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(w.reply->objects[0].manifest.fragments[i].osd_id, 100 + i);
        }
        nsm_wait_release(&w);
        assert_int_equal(count_kind(f, 'x'), 3);
        teardown(state);
        unmake(m);
    }
}

static void an_update_of_what_is_gone_or_ended_is_refused(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 10);
    struct edit edit = {.fragment = 1, .has_osd = true, .osd_id = 77};

    assert_int_equal(put(f->a, m), 0);
    update(f->a, m, 9, &edit);
    await(f->a, &edit.wait);
    assert_int_equal(edit.wait.rc, ERR_STALE);
    assert_true(edit.wait.reply->gc_epoch_ended);
    nsm_wait_release(&edit.wait);
    edit.answer = -EPERM;
    update(f->a, m, 1, &edit);
    assert_int_equal(await_rc(f->a, &edit.wait), -EPERM);
    edit.answer = 1;
    update(f->a, m, 1, &edit);
    assert_int_equal(await_rc(f->a, &edit.wait), 0);
    assert_int_equal(count_kind(f, 'x'), 0);
    edit.answer = 0;
    assert_int_equal(delete (f->a, "x"), 0);
    update(f->a, m, 1, &edit);
    assert_int_equal(await_rc(f->a, &edit.wait), ERR_NOT_FOUND);
    unmake(m);
}

/* Flips a bit of what is stored, or lets the store itself fail on it. */
static void damage(struct fixture *f, const struct manifest *m, bool in_store)
{
    struct slice value;
    struct key key;
    uint8_t *bad;

    ns_key_object(&key, NS, m->object_id);
    if (in_store) {
        kv_mem_damage(f->store, slice_key(&key));
        return;
    }
    assert_true(kv_mem_peek(f->store, slice_key(&key), &value));
    bad = mem_dup(value.data, value.len);
    bad[value.len / 2] ^= 4;
    kv_mem_poke(f->store, slice_key(&key), slice_of(bad, value.len));
    free(bad);
}

static void expect_damaged_beside_a_good_one(struct fixture *f, struct slice bad, struct slice good)
{
    struct slice names[] = {bad, good};
    struct nsm_wait w = {0};

    nsm_get(f->b, NS, names, 2, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.rc, 0);
    assert_true(w.reply->objects[0].damage != 0 && !w.reply->objects[0].found);
    assert_true(w.reply->objects[1].found && w.reply->objects[1].damage == 0);
    nsm_wait_release(&w);
    nsm_list_objects(f->b, NS, slice_of(NULL, 0), 10, nsm_wait_cb, &w);
    await(f->b, &w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.reply->count, 2);
    assert_int_equal(w.reply->objects[0].found + w.reply->objects[1].found, 1);
    nsm_wait_release(&w);
}

static void expect_records(struct fixture *f, size_t damaged, size_t good)
{
    struct nsm_obsolete_list *list = obsoletes(f->a);

    assert_int_equal(list->bad_count, damaged);
    assert_int_equal(list->count, good);
    nsm_obsolete_list_free(list);
}

static void a_damaged_manifest_blocks_neither_its_name_nor_its_neighbours(void **state)
{
    struct fixture *f = *state;

    for (int in_store = 0; in_store < 2; in_store++) {
        struct manifest *m = make("x", 10);
        struct manifest *next = make("x", 20);
        struct manifest *other = make("y", 30);

        assert_int_equal(put(f->a, m), 0);
        assert_int_equal(put(f->a, other), 0);
        damage(f, m, in_store);
        expect_damaged_beside_a_good_one(f, text("x"), text("y"));
        assert_int_equal(put(f->a, next), 0); /* overwritten … */
        assert_true(holds(f->b, "x", next));
        assert_true(has_obsolete(f, m) && !has_object(f, m));
        damage(f, next, in_store);
        assert_int_equal(delete (f->a, "x"), 0); /* … and deleted */
        assert_true(has_obsolete(f, next) && !has_object(f, next));
        assert_int_equal(delete (f->a, "y"), 0);
        expect_records(f, 2 * (size_t)(in_store + 1), (size_t)in_store + 1);
        unmake(m);
        unmake(next);
        unmake(other);
    }
}

/* The record without manifest guards against what a record guards against. */
static void a_late_commit_does_not_revive_an_object_that_went_damaged(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LATE};
    struct fixture *f = *state;
    struct script script = {.fates = fates, .count = 1};
    struct manifest *m = make("x", 10);

    kv_mem_set_fate(f->kv_a, scripted, &script);
    assert_int_equal(put(f->a, m), 0); /* sent again */
    damage(f, m, true);
    assert_int_equal(delete (f->a, "x"), 0);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    expect_sound(f, 0, 1);
    unmake(m);
}

static void a_checksum_is_not_asserted_of_a_damaged_manifest(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 10);
    struct nsm_assert assert = {
        .kind = NSM_ASSERT_HAS_CHECKSUM, .name = text("x"), .checksum = m->checksum};
    struct nsm_wait w;

    assert_int_equal(put(f->a, m), 0);
    damage(f, m, true);
    start(f->b, NULL, "x", &assert, 1, &w);
    assert_int_equal(await_rc(f->b, &w), ERR_CORRUPT);
    expect_sound(f, 1, 0);
    unmake(m);
}

/* It is the trouble of nobody else, and unlike one that is damaged it is not deleted. */
static void a_manifest_of_a_newer_form_is_not_taken_for_damaged(void **state)
{
    struct fixture *f = *state;
    struct manifest *m = make("x", 10);
    struct manifest *other = make("y", 30);
    struct nsm_wait w = {0};
    struct slice name = text("x");
    struct slice value;
    struct key key;
    struct buf newer = {0};

    assert_int_equal(put(f->a, m), 0);
    assert_int_equal(put(f->a, other), 0);
    assert_true(kv_mem_peek(f->store, ns_key_object(&key, NS, m->object_id), &value));
    buf_put(&newer, value.data, value.len);
    newer.data[0] = 2;
    value_end(&newer, slice_key(&key));
    kv_mem_poke(f->store, slice_key(&key), slice_buf(&newer));
    nsm_get(f->a, NS, &name, 1, nsm_wait_cb, &w);
    await(f->a, &w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.reply->objects[0].damage, ERR_VERSION);
    nsm_wait_release(&w);
    expect_damaged_beside_a_good_one(f, name, text("y"));
    assert_int_equal(delete (f->a, "x"), ERR_VERSION);
    buf_release(&newer);
    unmake(m);
    unmake(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_found_by_name_id_and_osd),
        TEST(names_that_do_not_exist_are_not_found),
        TEST(names_of_1024_bytes_work_and_longer_ones_are_refused),
        TEST(names_are_listed_by_range),
        TEST(an_overwrite_keeps_exactly_one_obsolete_record),
        TEST(a_clock_that_went_back_does_not_turn_timestamps_round),
        TEST(deletes_leave_an_obsolete_record_or_nothing),
        TEST(asserts_of_every_kind_are_judged),
        TEST(a_sequence_is_one_transaction),
        TEST(without_its_gc_epoch_nothing_is_deleted_and_no_assert_holds),
        TEST(a_name_may_be_updated_once_in_a_sequence),
        TEST(what_does_not_fit_is_refused_before_an_upload),
        TEST(a_put_of_a_new_name_under_a_known_owner_tag_is_one_round_trip),
        cmocka_unit_test(writers_of_one_name_come_one_after_another),
        cmocka_unit_test(of_writers_that_want_the_name_free_exactly_one_succeeds),
        TEST(an_update_moves_a_fragment_and_lists_the_old_one),
        TEST(an_epilogue_adds_a_fragment_and_drops_nothing),
        cmocka_unit_test(updates_of_one_manifest_come_one_after_another),
        TEST(an_update_of_what_is_gone_or_ended_is_refused),
        TEST(a_damaged_manifest_blocks_neither_its_name_nor_its_neighbours),
        TEST(a_late_commit_does_not_revive_an_object_that_went_damaged),
        TEST(a_checksum_is_not_asserted_of_a_damaged_manifest),
        TEST(a_manifest_of_a_newer_form_is_not_taken_for_damaged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
