/* OSDs that die, hang, talk nonsense or are not the ones they were: reads still give the right
 * bytes, and the client leaves such an OSD alone. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "meta/bytes.h"
#include "policy/fragment.h"
#include "sim/object_world.h"
#include "wire/osd_keys.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"
#define PLAIN WORLD_PRESET(P42, 262144, "none")
#define PACKED WORLD_PRESET(P42, 262144, "lz4")

enum { BYTES = 2 << 20, FRAGMENT = 262144 };

/* An object in a world, and the ASD of its first data fragment. */
struct scene {
    struct object_world *o;
    uint8_t *data;
    struct manifest m;
    struct fake_asd *asd;
};

static struct scene scene_in(struct object_world *o)
{
    struct scene s = {.o = o, .data = mem_alloc(BYTES)};

    world_fill(s.o->w, s.data, BYTES);
    assert_int_equal(object_world_put(s.o, "o", s.data, BYTES), 0);
    object_world_wait_osds(s.o);
    object_world_settle(s.o);
    assert_true(world_manifest(s.o->w, "o", &s.m));
    s.asd = world_asd_of(s.o->w, manifest_fragment_at(&s.m, 0, 0)->osd_id);
    assert_true(object_world_expect(s.o, "o", s.data, 0, 4096));
    return s;
}

static struct scene scene_new(const char *preset)
{
    return scene_in(object_world_new(6, preset));
}

static void scene_free(struct scene *s)
{
    manifest_release(&s->m);
    free(s->data);
    object_world_free(s->o);
}

static bool read_first(struct scene *s)
{
    return object_world_expect(s->o, "o", s->data, 100, 4096);
}

static bool read_second(struct scene *s)
{
    return object_world_expect(s->o, "o", s->data, FRAGMENT + 100, 4096);
}

static enum fake_fate always(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)asd;
    (void)request;
    return *(enum fake_fate *)ctx;
}

/* The first read finds out, the others do not ask; the fragments of the others are as near as
 * before; and when it is well again it is read again. */
static void one_is_ill(enum fake_fate fate, uint64_t *(*count)(struct object_counters *))
{
    struct scene s = scene_in(object_world_new_hasty(6, PLAIN));
    struct object_counters counters;
    unsigned asked;

    fake_asd_set_fate(s.asd, always, &fate);
    assert_false(read_first(&s));
    counters = object_world_counters(s.o);
    assert_int_equal(*count(&counters), 1);
    assert_int_equal(counters.osds_aside, 1);
    asked = s.asd->reads;
    assert_false(read_first(&s));
    counters = object_world_counters(s.o);
    assert_int_equal(counters.aside, 1);
    assert_int_equal(*count(&counters), 1);
    assert_true(read_second(&s));
    assert_in_range(s.asd->reads, asked, asked + 1); /* the proxy may ask it, we do not */
    fake_asd_set_fate(s.asd, NULL, NULL);
    loop_fixture_run_ms(&s.o->w->base, OSD_BOOK_ASIDE_MS_MIN + 50);
    assert_true(read_first(&s));
    assert_int_equal(object_world_counters(s.o).osds_aside, 0);
    scene_free(&s);
}

static uint64_t *unreachable(struct object_counters *c)
{
    return &c->unreachable;
}

static void an_asd_that_hangs_is_waited_for_once(void **state)
{
    (void)state;
    one_is_ill(FAKE_HANG, unreachable);
}

static void an_asd_that_breaks_off_is_set_aside(void **state)
{
    (void)state;
    one_is_ill(FAKE_DROP, unreachable);
}

static void an_asd_that_answers_garbage_gives_no_bytes(void **state)
{
    enum fake_fate fate = FAKE_GARBAGE;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct scene s = scene_in(object_world_new_hasty(6, i % 2 == 0 ? PLAIN : PACKED));

        fake_asd_set_fate(s.asd, always, &fate);
        assert_false(read_first(&s));
        assert_false(object_world_expect_all(s.o, "o", s.data, BYTES));
        scene_free(&s);
    }
}

static void an_asd_that_died_is_read_again_when_it_is_back(void **state)
{
    struct scene s = scene_new(PACKED);

    (void)state;
    fake_asd_down(s.asd);
    loop_fixture_run_ms(&s.o->w->base, 50);
    assert_false(read_first(&s));
    assert_false(read_first(&s));
    assert_int_equal(object_world_counters(s.o).unreachable, 1);
    assert_true(read_second(&s));
    fake_asd_up(s.asd);
    loop_fixture_run_ms(&s.o->w->base, OSD_BOOK_ASIDE_MS_MIN + 50);
    assert_true(read_first(&s));
    scene_free(&s);
}

/* Its address is another disk's now. */
static void an_asd_with_another_identity_is_not_read(void **state)
{
    struct scene s = scene_new(PLAIN);
    char was[sizeof(s.asd->long_id)];

    (void)state;
    memcpy(was, s.asd->long_id, sizeof(was));
    fake_asd_down(s.asd);
    loop_fixture_run_ms(&s.o->w->base, 50);
    memcpy(s.asd->long_id, "another", sizeof("another"));
    fake_asd_up(s.asd);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(read_first(&s));
        loop_fixture_run_ms(&s.o->w->base, OSD_BOOK_ASIDE_MS_MIN / 2);
    }
    assert_in_range(object_world_counters(s.o).unreachable, 1, 3);
    memcpy(s.asd->long_id, was, sizeof(was));
    scene_free(&s);
}

/* The same disk by name, but its store is not the one that was claimed: not mounted, say. */
static void an_asd_without_our_claim_is_not_read(void **state)
{
    struct scene s = scene_new(PLAIN);
    struct buf log = {0}, index = {0};
    struct slice key;

    (void)state;
    osd_key_put_instance_log(&log);
    index.len = 0;
    buf_put_u8(&index, 'j');
    key = fake_asd_key(s.asd, slice_buf(&index), 0);
    assert_non_null(key.data);
    buf_release(&index);
    buf_put(&index, key.data, key.len);
    assert_true(fake_asd_remove(s.asd, slice_buf(&log)));
    assert_true(fake_asd_remove(s.asd, slice_buf(&index)));
    fake_asd_down(s.asd); /* asked at every connect */
    loop_fixture_run_ms(&s.o->w->base, 50);
    fake_asd_up(s.asd);
    assert_false(read_first(&s));
    assert_int_equal(object_world_counters(s.o).unreachable, 1);
    buf_release(&log);
    buf_release(&index);
    scene_free(&s);
}

/* Any byte that the read depends on: the bytes are right, or came by a proxy that made them
 * right; and the object is left to proxies for a while. */
static void flipped_bytes_are_never_given_out(const char *preset)
{
    struct scene s = scene_new(preset);
    struct buf key = world_fragment_key(s.o->w, &s.m, 0, 0);
    size_t bytes = fake_asd_value(s.asd, slice_buf(&key)).len;
    unsigned damaged = 0;

    for (unsigned i = 0; i < 25; i++) {
        size_t at = i % 3 == 0 ? bytes - 1 - rnd_below(&s.o->w->rnd, 200)
                               : rnd_below(&s.o->w->rnd, i % 2 == 0 ? 4096 : bytes);

        assert_true(fake_asd_flip(s.asd, slice_buf(&key), at));
        object_world_new_client(s.o, 1 << 20);
        assert_false(read_first(&s)); /* makes it known */
        object_world_wait_osds(s.o);
        if (!read_first(&s)) {
            damaged++;
            assert_int_equal(object_world_counters(s.o).damaged, 1);
            assert_false(read_first(&s));
            assert_int_equal(object_world_counters(s.o).suspect, 1);
        }
        object_world_expect_all(s.o, "o", s.data, BYTES);
        assert_true(fake_asd_flip(s.asd, slice_buf(&key), at));
    }
    assert_true(damaged > 0);
    buf_release(&key);
    scene_free(&s);
}

static void damaged_fragments_are_noticed_and_read_by_a_proxy(void **state)
{
    (void)state;
    flipped_bytes_are_never_given_out(PLAIN);
    flipped_bytes_are_never_given_out(PACKED);
}

/* As an alba to come may store it: that says nothing about the OSD. */
static void a_fragment_of_a_newer_format_does_not_set_its_osd_aside(void **state)
{
    struct scene s = scene_new(PLAIN);
    struct buf key = world_fragment_key(s.o->w, &s.m, 0, 0);
    struct slice value = slice_dup(fake_asd_value(s.asd, slice_buf(&key)));
    uint8_t *footer = (uint8_t *)value.data + value.len - FRAGMENT_FOOTER_BYTES;

    (void)state;
    put_u16le(footer + 4, 2);
    put_u32le(footer + 124, crc32c(0, footer, 124));
    fake_asd_put(s.asd, slice_buf(&key), value);
    assert_false(read_first(&s));
    assert_int_equal(object_world_counters(s.o).damaged, 1);
    assert_int_equal(object_world_counters(s.o).osds_aside, 0);
    slice_release(&value);
    buf_release(&key);
    scene_free(&s);
}

static void another_replica_is_read_when_one_is_ill(void **state)
{
    struct scene s = scene_new(WORLD_PRESET("[[1,2,3,1]]", 1048576, "none"));
    enum fake_fate fate = FAKE_DROP;

    (void)state;
    fake_asd_set_fate(s.asd, always, &fate);
    assert_false(read_first(&s));
    assert_true(read_first(&s));
    scene_free(&s);
}

/* ---- commits in doubt ---- */

static enum kv_mem_fate always_lost(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_LOST_REQUEST;
}

struct hasty {
    struct object_call call;
    bool done;
    int rc;
};

static void on_hasty(struct object_call *call, int rc)
{
    struct hasty *h = container_of(call, struct hasty, call);

    h->rc = rc;
    h->done = true;
}

static void delete_within(struct scene *s, struct hasty *h, unsigned timeout_ms)
{
    struct proxy_update update = {.kind = PROXY_UPDATE_DELETE, .name = slice_str("o")};
    struct proxy_request request = {.code = PROXY_APPLY,
                                    .ns = slice_str("ns"),
                                    .apply = {.updates = &update, .update_count = 1}};

    object_client_call(s->o->client, &h->call, &request, timeout_ms, on_hasty);
    loop_fixture_run_until(&s->o->w->base, &h->done);
}

/* So that the proxy has given up, too, when the client does. */
static void a_proxy_is_told_how_long_a_transaction_may_take(void **state)
{
    struct scene s = scene_new(PLAIN);
    struct hasty h = {0};

    (void)state;
    kv_mem_set_fate(s.o->w->kv, always_lost, NULL);
    delete_within(&s, &h, 8000);
    kv_mem_set_fate(s.o->w->kv, NULL, NULL);
    assert_int_equal(h.rc, ERR_IN_DOUBT);
    assert_int_equal(h.call.proxy_code, PROXY_RC_IN_DOUBT); /* it answered in time */
    assert_non_null(strstr(h.call.err.msg, err_text(ERR_IN_DOUBT)));
    scene_free(&s);
}

/* A proxy that says nothing at all. */
static void an_error_that_leaves_it_open_what_happened_says_so(void **state)
{
    struct scene s = scene_new(PLAIN);
    struct hasty h = {0};

    (void)state;
    kv_mem_freeze(s.o->w->kv, true);
    delete_within(&s, &h, 300);
    kv_mem_freeze(s.o->w->kv, false);
    assert_int_equal(h.rc, ERR_IN_DOUBT);
    assert_int_equal(h.call.proxy_code, 0);
    assert_non_null(strstr(h.call.err.msg, err_text(ERR_IN_DOUBT)));
    assert_non_null(strstr(h.call.err.msg, err_text(UV_ETIMEDOUT)));
    scene_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_asd_that_hangs_is_waited_for_once),
        cmocka_unit_test(an_asd_that_breaks_off_is_set_aside),
        cmocka_unit_test(an_asd_that_answers_garbage_gives_no_bytes),
        cmocka_unit_test(an_asd_that_died_is_read_again_when_it_is_back),
        cmocka_unit_test(an_asd_with_another_identity_is_not_read),
        cmocka_unit_test(an_asd_without_our_claim_is_not_read),
        cmocka_unit_test(damaged_fragments_are_noticed_and_read_by_a_proxy),
        cmocka_unit_test(a_fragment_of_a_newer_format_does_not_set_its_osd_aside),
        cmocka_unit_test(another_replica_is_read_when_one_is_ill),
        cmocka_unit_test(a_proxy_is_told_how_long_a_transaction_may_take),
        cmocka_unit_test(an_error_that_leaves_it_open_what_happened_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
