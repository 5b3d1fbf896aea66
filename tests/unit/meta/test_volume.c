/* Volume records and the usage tracker: things that live in the registry's store. */
#include "unit/meta/registry_fixture.h"

#include "meta/registry_volume.h"
#include "meta/usage.h"

struct volume_wait {
    bool done;
    int rc;
    struct err err;
    struct registry_volume volume; /* taken */
};

static void on_volume(void *ctx, int rc, const struct err *e, struct registry_volume *volume)
{
    struct volume_wait *w = ctx;

    assert_false(w->done);
    w->done = true;
    w->rc = rc;
    w->err = *e;
    registry_volume_move(&w->volume, volume);
}

static int vol_await(struct fixture *f, struct volume_wait *w)
{
    loop_run_until(&f->loop, &w->done);
    w->done = false;
    return w->rc;
}

static struct registry_volume volume_of(const char *name)
{
    struct registry_volume v = {.size_bytes = 10 << 20, .state = REGISTRY_VOLUME_CREATING};

    snprintf(v.name, sizeof(v.name), "%s", name);
    snprintf(v.preset, sizeof(v.preset), "default");
    rnd_uuid_text(v.uuid);
    return v;
}

/* Created and read; the caller releases. */
static struct volume_wait made(struct fixture *f, const char *name)
{
    struct registry_volume v = volume_of(name);
    struct volume_wait w = {0};

    registry_volume_create(f->a, &v, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    return w;
}

static void a_verdict_stays_with_the_volume_until_it_is_taken_away(void **state)
{
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");

    w.volume.state = REGISTRY_VOLUME_READY;
    w.volume.damage.incarnation = 7;
    w.volume.damage.first_seq = 42;
    snprintf(w.volume.damage.why, sizeof(w.volume.damage.why), "a frame is lost");
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    /* A program that does not know of verdicts must not take the volume for whole. */
    assert_non_null(memmem(w.volume.raw.data, w.volume.raw.len, "\"state\":\"damaged\"", 17));
    registry_volume_get(f->b, "vol", on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(w.volume.state, REGISTRY_VOLUME_READY);
    assert_int_equal(w.volume.damage.first_seq, 42);
    assert_int_equal(w.volume.damage.incarnation, 7);
    assert_string_equal(w.volume.damage.why, "a frame is lost");
    w.volume.damage = (struct registry_damage){0};
    registry_volume_put(f->b, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    registry_volume_get(f->a, "vol", on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(w.volume.state, REGISTRY_VOLUME_READY);
    assert_int_equal(w.volume.damage.first_seq, 0);
    registry_volume_release(&w.volume);
}

static void a_volume_is_found_by_name_and_uuid(void **state)
{
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");
    struct registry_volume same_uuid = volume_of("other");
    char uuid[RND_UUID_TEXT_BYTES];

    memcpy(uuid, w.volume.uuid, sizeof(uuid));
    registry_volume_get(f->b, "vol", on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_string_equal(w.volume.uuid, uuid);
    assert_int_equal(w.volume.size_bytes, 10 << 20);
    assert_int_equal(w.volume.epoch, 0);
    assert_string_equal(w.volume.owner, "");
    registry_volume_get_uuid(f->b, uuid, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_string_equal(w.volume.name, "vol");
    registry_volume_get(f->b, "nope", on_volume, &w);
    assert_int_equal(vol_await(f, &w), ERR_NOT_FOUND);
    assert_non_null(strstr(w.err.msg, "nope"));
    registry_volume_get_uuid(f->b, "nope", on_volume, &w);
    assert_int_equal(vol_await(f, &w), ERR_NOT_FOUND);
    memcpy(same_uuid.uuid, uuid, sizeof(uuid));
    registry_volume_create(f->b, &same_uuid, on_volume, &w);
    assert_int_equal(vol_await(f, &w), ERR_EXISTS);
    registry_volume_release(&w.volume);
}

static void of_two_creators_of_a_name_one_succeeds(void **state)
{
    struct fixture *f = *state;
    struct registry_volume va = volume_of("vol");
    struct registry_volume vb = volume_of("vol");
    struct volume_wait wa = {0};
    struct volume_wait wb = {0};

    registry_volume_create(f->a, &va, on_volume, &wa);
    registry_volume_create(f->b, &vb, on_volume, &wb);
    assert_int_equal(vol_await(f, &wa) + vol_await(f, &wb), ERR_EXISTS);
    registry_volume_release(&wa.volume);
    registry_volume_release(&wb.volume);
}

static void of_two_owners_with_the_next_epoch_exactly_one_wins(void **state)
{
    struct fixture *f = *state;

    for (uint64_t round = 0; round < 20; round++) {
        char name[16];
        struct volume_wait w, wa = {0}, wb = {0};
        struct registry_volume va, vb;

        snprintf(name, sizeof(name), "vol%d", (int)round);
        w = made(f, name);
        va = vb = w.volume;
        va.epoch = vb.epoch = 1;
        va.state = vb.state = REGISTRY_VOLUME_READY;
        snprintf(va.owner, sizeof(va.owner), "node a");
        snprintf(vb.owner, sizeof(vb.owner), "node b");
        kv_mem_store_jitter(f->store, 4);
        registry_volume_put(f->a, &va, on_volume, &wa);
        registry_volume_put(f->b, &vb, on_volume, &wb);
        assert_int_equal(vol_await(f, &wa) + vol_await(f, &wb), ERR_ASSERT_FAILED);
        /* Both know now who it is. */
        assert_string_equal(wa.volume.owner, wb.volume.owner);
        assert_string_equal(wa.volume.owner, wa.rc == 0 ? "node a" : "node b");
        registry_volume_release(&w.volume);
        registry_volume_release(&wa.volume);
        registry_volume_release(&wb.volume);
    }
}

static void an_owner_changes_only_with_a_higher_epoch(void **state)
{
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");

    w.volume.epoch = 5;
    snprintf(w.volume.owner, sizeof(w.volume.owner), "a");
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    snprintf(w.volume.owner, sizeof(w.volume.owner), "b");
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), -EINVAL);
    w.volume.epoch = 4;
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), -EINVAL);
    w.volume.epoch = REGISTRY_EPOCH_MAX + 1;
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), ERR_CONFIG);
    w.volume.epoch = 6;
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(w.volume.epoch, 6);
    registry_volume_release(&w.volume);
}

static void a_put_happens_once_whatever_replies_are_lost(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY, KV_MEM_LATE};

    for (int i = 0; i < 12; i++) {
        enum kv_mem_fate row[2] = {fates[i % 3], i / 3 == 0 ? KV_MEM_NORMAL : fates[i / 3 - 1]};
        struct script script = {.fates = row, .count = 2};
        struct volume_wait w;
        struct fixture *f;

        setup(state);
        f = *state;
        w = made(f, "vol");
        w.volume.epoch = 1;
        kv_mem_set_fate(f->kv_a, scripted, &script);
        registry_volume_put(f->a, &w.volume, on_volume, &w);
        assert_int_equal(vol_await(f, &w), 0);
        w.volume.dtl = REGISTRY_DTL_DEGRADED;
        registry_volume_put(f->b, &w.volume, on_volume, &w); /* what it got is what is stored */
        assert_int_equal(vol_await(f, &w), 0);
        assert_int_equal(kv_mem_run_late(f->store), 0);
        registry_volume_get(f->b, "vol", on_volume, &w);
        assert_int_equal(vol_await(f, &w), 0);
        assert_int_equal(w.volume.dtl, REGISTRY_DTL_DEGRADED);
        assert_int_equal(w.volume.epoch, 1);
        registry_volume_release(&w.volume);
        teardown(state);
    }
}

static void a_resize_and_a_delete_are_changes_of_the_registry(void **state)
{
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");
    struct volume_wait stale = {0};
    uint64_t version = registry_view_version(refreshed(f, f->a));

    registry_volume_get(f->b, "vol", on_volume, &stale);
    assert_int_equal(vol_await(f, &stale), 0);
    w.volume.epoch = 1;
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(registry_view_version(refreshed(f, f->a)), version);
    w.volume.size_bytes *= 2;
    registry_volume_put(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(registry_view_version(refreshed(f, f->a)), version + 1);

    registry_volume_delete(f->b, &stale.volume, on_volume, &stale);
    assert_int_equal(vol_await(f, &stale), ERR_ASSERT_FAILED);
    assert_int_equal(stale.volume.size_bytes, w.volume.size_bytes);
    registry_volume_delete(f->b, &stale.volume, on_volume, &stale);
    assert_int_equal(vol_await(f, &stale), 0);
    registry_volume_get_uuid(f->a, w.volume.uuid, on_volume, &w);
    assert_int_equal(vol_await(f, &w), ERR_NOT_FOUND);
    registry_volume_release(&w.volume);
    registry_volume_release(&stale.volume);
}

struct list_wait {
    bool done;
    size_t count;
    bool has_more;
    char names[8][REGISTRY_VOLUME_NAME_BYTES];
};

/* ---- the namespace of a disk ---- */

static void put_state(struct fixture *f, struct volume_wait *w, enum registry_volume_state state)
{
    w->volume.state = state;
    registry_volume_put(f->b, &w->volume, on_volume, w);
    assert_int_equal(vol_await(f, w), 0);
}

static int delete_namespace(struct fixture *f, const char *name, struct reg_wait *w)
{
    registry_namespace_delete(f->a, name, reg_wait_cb, w);
    return reg_await(f, w);
}

static void the_namespace_of_a_disk_is_deleted_only_with_the_disk(void **state)
{
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");
    struct reg_wait deleted = {0};
    char uuid[RND_UUID_TEXT_BYTES];

    memcpy(uuid, w.volume.uuid, sizeof(uuid));
    assert_int_equal(delete_namespace(f, uuid, &deleted), ERR_NOT_FOUND); /* before it is made */
    assert_int_equal(create_namespace(f, f->a, uuid, NULL), 0);
    assert_int_equal(delete_namespace(f, uuid, &deleted), -EINVAL); /* `creating` may be old */
    put_state(f, &w, REGISTRY_VOLUME_READY);
    assert_int_equal(delete_namespace(f, uuid, &deleted), -EINVAL);
    assert_non_null(strstr(deleted.err.msg, "holds disk 'vol': `alba vdisk-delete vol`"));
    assert_non_null(ns_find(refreshed(f, f->b), uuid));
    put_state(f, &w, REGISTRY_VOLUME_DELETING);
    assert_int_equal(delete_namespace(f, uuid, &deleted), 0);
    assert_null(ns_find(refreshed(f, f->b), uuid));
    registry_volume_delete(f->a, &w.volume, on_volume, &w);
    assert_int_equal(vol_await(f, &w), 0);
    assert_int_equal(create_namespace(f, f->a, uuid, NULL), 0); /* nobody's disk now */
    assert_int_equal(delete_namespace(f, uuid, &deleted), 0);
    registry_volume_release(&w.volume);
}

static void a_disk_that_is_ready_meanwhile_keeps_its_namespace(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_HELD};
    struct script script = {.fates = fates, .count = 1};
    struct fixture *f = *state;
    struct volume_wait w = made(f, "vol");
    struct reg_wait deleted = {0};

    assert_int_equal(create_namespace(f, f->a, w.volume.uuid, NULL), 0);
    put_state(f, &w, REGISTRY_VOLUME_DELETING);
    kv_mem_set_fate(f->kv_a, scripted, &script);
    registry_namespace_delete(f->a, w.volume.uuid, reg_wait_cb, &deleted);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
    put_state(f, &w, REGISTRY_VOLUME_READY);
    assert_int_equal(kv_mem_run_held(f->store), 0);
    assert_int_equal(reg_await(f, &deleted), -EINVAL);
    assert_non_null(ns_find(refreshed(f, f->b), w.volume.uuid));
    registry_volume_release(&w.volume);
}

/* As damage, or half a restore, leaves it: whose data that is nobody knows. */
static void a_uuid_that_names_no_disk_refuses_the_delete(void **state)
{
    static const char *const names[] = {"none", "another"};
    struct fixture *f = *state;
    struct volume_wait another = made(f, "another");
    struct reg_wait deleted = {0};

    put_state(f, &another, REGISTRY_VOLUME_DELETING);
    for (size_t i = 0; i < 2; i++) {
        json_t *json = json_pack("{s:s}", "name", names[i]);
        char uuid[RND_UUID_TEXT_BYTES];
        struct buf value = {0};
        struct slice k;
        struct key key;

        rnd_uuid_text(uuid);
        k = reg_key(&key, REG_VOLUME_ID, uuid);
        value_make_json(&value, k, json);
        kv_mem_poke(f->store, k, slice_buf(&value));
        buf_release(&value);
        json_decref(json);
        assert_int_equal(create_namespace(f, f->a, uuid, NULL), 0);
        assert_int_equal(delete_namespace(f, uuid, &deleted), ERR_CORRUPT);
        assert_non_null(strstr(deleted.err.msg, uuid));
        assert_non_null(strstr(deleted.err.msg, "volume-id/"));
        assert_non_null(ns_find(refreshed(f, f->b), uuid));
    }
    registry_volume_release(&another.volume);
}

static void on_volumes(void *ctx, int rc, const struct err *e,
                       const struct registry_volume *volumes, size_t count, bool has_more)
{
    struct list_wait *w = ctx;

    (void)e;
    assert_int_equal(rc, 0);
    w->done = true;
    w->count = count;
    w->has_more = has_more;
    for (size_t i = 0; i < count && i < 8; i++) {
        memcpy(w->names[i], volumes[i].name, sizeof(w->names[i]));
    }
}

static void volumes_are_listed_in_pages(void **state)
{
    struct fixture *f = *state;
    struct list_wait l = {0};

    for (const char *name = "cab"; *name != '\0'; name++) {
        struct volume_wait w = made(f, (char[]){*name, '\0'});

        registry_volume_release(&w.volume);
    }
    registry_volume_list(f->b, "", 2, on_volumes, &l);
    loop_run_until(&f->loop, &l.done);
    assert_int_equal(l.count, 2);
    assert_true(l.has_more);
    assert_string_equal(l.names[0], "a");
    assert_string_equal(l.names[1], "b");
    l.done = false;
    registry_volume_list(f->b, "b", 2, on_volumes, &l);
    loop_run_until(&f->loop, &l.done);
    assert_int_equal(l.count, 1);
    assert_false(l.has_more);
    assert_string_equal(l.names[0], "c");
}

/* ---- usage ---- */

struct usage_wait {
    bool done;
    struct nsm_usage usage;
};

static void on_usage(void *ctx, int rc, const struct err *e, const struct nsm_usage *usage)
{
    (void)e;
    assert_int_equal(rc, 0);
    *(struct usage_wait *)ctx = (struct usage_wait){.done = true, .usage = *usage};
}

static int64_t objects_counted(struct fixture *f, uint64_t ns_id)
{
    struct usage_wait w = {0};
    struct nsm *nsm;
    struct err e;

    assert_int_equal(registry_nsm(f->b, "registry", &nsm, &e), 0);
    nsm_usage_get(nsm, ns_id, on_usage, &w);
    loop_run_until(&f->loop, &w.done);
    return w.usage.objects;
}

static void usage_is_written_now_and_then_and_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct nsm_usage one = {.objects = 1, .logical_bytes = 100};
    struct usage *usage = usage_new(f->a, 10);
    bool closed = false;
    uint64_t ns_id;

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    refreshed(f, f->b);
    ns_id = ns_find(registry_view(f->b), "one")->id;
    usage_add(usage, ns_id, &one);
    usage_add(usage, ns_id, &one);
    usage_add(usage, ns_id + 1, &one); /* of a namespace that is gone: ignored */
    assert_int_equal(objects_counted(f, ns_id), 0);
    while (objects_counted(f, ns_id) != 2) {
        uv_sleep(1);
    }
    usage_add(usage, ns_id, &one);
    usage_close(usage, loop_set_true, &closed);
    loop_run_until(&f->loop, &closed);
    assert_int_equal(objects_counted(f, ns_id), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_volume_is_found_by_name_and_uuid),
        TEST(a_verdict_stays_with_the_volume_until_it_is_taken_away),
        TEST(of_two_creators_of_a_name_one_succeeds),
        TEST(of_two_owners_with_the_next_epoch_exactly_one_wins),
        TEST(an_owner_changes_only_with_a_higher_epoch),
        cmocka_unit_test(a_put_happens_once_whatever_replies_are_lost),
        TEST(a_resize_and_a_delete_are_changes_of_the_registry),
        TEST(the_namespace_of_a_disk_is_deleted_only_with_the_disk),
        TEST(a_disk_that_is_ready_meanwhile_keeps_its_namespace),
        TEST(a_uuid_that_names_no_disk_refuses_the_delete),
        TEST(volumes_are_listed_in_pages),
        TEST(usage_is_written_now_and_then_and_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
