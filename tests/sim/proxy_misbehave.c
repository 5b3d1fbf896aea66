/* Everything an OSD may do wrong, from one of its first requests on, during each thing that a
 * client asks for. Two of eight do it: what the client asked for happens all the same, what it
 * reads is right, and nothing is wrong when they are well again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/run.h"
#include "meta/bytes.h"
#include "sim/proxy_world.h"

enum {
    ASDS = 8,
    NODES = 4,
    BAD = 2,
    STARTS = 4, /* it begins with its first, second … request */
    OBJECT_BYTES = 60000,
    SLICE_OFFSET = 20001,
    SLICE_BYTES = 9000
};

#define PRESET WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[4,2,4,2]]", 8192, "lz4")

static const struct slice all_keys = {.data = (const uint8_t *)"", .len = 0};

/* What an OSD does to requests is a fate; what becomes of itself or of its values is done between
 * them. */
struct misbehaviour {
    const char *name;
    enum fake_fate fate;
    void (*spoil)(struct world *w, struct fake_asd *asd);
};

enum request { PUT, OVERWRITE, READ, SLICES, DELETE, REQUESTS };

struct play {
    struct world *w;
    const struct misbehaviour *bad;
    unsigned start;
    struct fake_asd *asds[BAD];
    unsigned seen[BAD];
    bool is_spoilt[BAD];
    bool done;
    int rc;
    char why[ERR_MSG_BYTES];
    struct proxy_update update;
    struct proxy_apply apply;
    struct proxy_slice slice;
    struct get_item item;
    uint8_t *got;
    size_t got_bytes;
};

/* ---- what goes wrong ---- */

static void go_down(struct world *w, struct fake_asd *asd)
{
    fake_asd_down(asd);
    loop_fixture_run_ms(&w->base, 5);
}

static void lose_all(struct fake_asd *asd)
{
    while (asd->key_count > 0) {
        struct slice key = slice_dup(fake_asd_key(asd, all_keys, 0));

        assert_true(fake_asd_remove(asd, key));
        slice_release(&key);
    }
}

/* Its disk is not mounted: it comes back empty, without our claim. */
static void come_back_empty(struct world *w, struct fake_asd *asd)
{
    go_down(w, asd);
    lose_all(asd);
    fake_asd_up(asd);
}

static bool is_fragment(const struct fake_asd *asd, size_t i)
{
    return fake_asd_value(asd, fake_asd_key(asd, all_keys, i)).len > 1000;
}

static void lose_fragments(struct world *w, struct fake_asd *asd)
{
    (void)w;
    for (size_t i = 0; i < asd->key_count;) {
        if (is_fragment(asd, i)) {
            struct slice key = slice_dup(fake_asd_key(asd, all_keys, i));

            assert_true(fake_asd_remove(asd, key));
            slice_release(&key);
        } else {
            i++;
        }
    }
}

static void flip_bits(struct world *w, struct fake_asd *asd)
{
    for (size_t i = 0; i < asd->key_count; i++) {
        struct slice key = fake_asd_key(asd, all_keys, i);

        if (is_fragment(asd, i)) {
            fake_asd_flip(asd, key, rnd_below(&w->rnd, fake_asd_value(asd, key).len));
        }
    }
}

/* Every fragment's key gives the bytes of the first one. */
static void mix_up(struct world *w, struct fake_asd *asd)
{
    struct slice other;

    (void)w;
    for (size_t i = 0, first = SIZE_MAX; i < asd->key_count; i++) {
        if (!is_fragment(asd, i)) {
            continue;
        }
        if (first == SIZE_MAX) {
            first = i;
        } else {
            struct slice key = slice_dup(fake_asd_key(asd, all_keys, i));

            other = slice_dup(fake_asd_value(asd, fake_asd_key(asd, all_keys, first)));
            fake_asd_put(asd, key, other);
            slice_release(&other);
            slice_release(&key);
        }
    }
}

static const struct misbehaviour misbehaviours[] = {
    {.name = "hangs", .fate = FAKE_HANG},
    {.name = "does it and hangs", .fate = FAKE_HANG_LATE},
    {.name = "drops the connection", .fate = FAKE_DROP},
    {.name = "does it and drops the connection", .fate = FAKE_DROP_AFTER},
    {.name = "fails", .fate = FAKE_ERROR},
    {.name = "is full", .fate = FAKE_FULL},
    {.name = "is busy", .fate = FAKE_BUSY},
    {.name = "answers garbage", .fate = FAKE_GARBAGE},
    {.name = "dies", .spoil = go_down},
    {.name = "comes back empty", .spoil = come_back_empty},
    {.name = "loses fragments", .spoil = lose_fragments},
    {.name = "flips bits", .spoil = flip_bits},
    {.name = "mixes up fragments", .spoil = mix_up},
};

static enum fake_fate fate(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct play *p = ctx;
    unsigned i = asd == p->asds[0] ? 0 : 1;

    (void)request;
    return p->seen[i]++ < p->start ? FAKE_NORMAL : p->bad->fate;
}

static void spoil_in_time(struct play *p)
{
    for (unsigned i = 0; i < BAD && p->bad->spoil != NULL; i++) {
        if (!p->is_spoilt[i] && p->seen[i] >= p->start) {
            p->is_spoilt[i] = true;
            p->bad->spoil(p->w, p->asds[i]);
        }
    }
}

/* ---- what clients ask for ---- */

static void on_sequence(void *ctx, struct sequence *sequence, int rc)
{
    struct play *p = ctx;

    p->rc = rc;
    memcpy(p->why, sequence_err(sequence)->msg, sizeof(p->why));
    p->done = true;
}

static void on_get(void *ctx, struct get *get, int rc)
{
    struct play *p = ctx;

    p->rc = rc;
    memcpy(p->why, get_err(get)->msg, sizeof(p->why));
    if (rc == 0) {
        p->got_bytes = get_data(get, 0).len;
        p->got = mem_dup(get_data(get, 0).data, p->got_bytes);
    }
    get_free(get);
    p->done = true;
}

static void ask(struct play *p, enum request request, const char *name, struct slice data)
{
    struct sequence_spec write = {.ns = slice_str("ns"), .apply = &p->apply};
    struct get_spec read = {.ns = slice_str("ns"), .items = &p->item, .count = 1};

    p->done = false;
    if (request == READ || request == SLICES) {
        p->item = (struct get_item){.name = slice_str(name)};
        p->slice = (struct proxy_slice){.offset = SLICE_OFFSET, .bytes = SLICE_BYTES};
        if (request == SLICES) {
            p->item.slices = &p->slice;
            p->item.slice_count = 1;
            read.is_partial = true;
        }
        get_start(p->w->engine, &read, on_get, p);
        return;
    }
    p->update =
        (struct proxy_update){.kind = request == DELETE ? PROXY_UPDATE_DELETE : PROXY_UPDATE_UPLOAD,
                              .name = slice_str(name),
                              .data = data};
    p->apply = (struct proxy_apply){.updates = &p->update, .update_count = 1};
    sequence_start(p->w->engine, &write, on_sequence, p);
}

static void await(struct play *p, const char *what)
{
    for (unsigned ms = 0; !p->done && ms < LOOP_FIXTURE_WAIT_MS; ms++) {
        loop_fixture_run_ms(&p->w->base, 1);
        spoil_in_time(p);
    }
    if (!p->done || p->rc != 0) {
        fail_msg("%s, while two OSDs each %s from request %u on: %s", what, p->bad->name, p->start,
                 p->done ? p->why : "never ended");
    }
}

static void expect_read(struct play *p, struct slice whole, enum request request)
{
    struct slice expected =
        request == SLICES ? slice_of(whole.data + SLICE_OFFSET, SLICE_BYTES) : whole;

    assert_int_equal(p->got_bytes, expected.len);
    assert_memory_equal(p->got, expected.data, expected.len);
    free(p->got);
    p->got = NULL;
}

/* Fragments of this object on the two become unreadable at worst: k others are left. */
static void play(struct play *p, enum request request)
{
    static const char *const whats[] = {"a put", "an overwrite", "a read", "slices", "a delete"};
    struct world *w = p->w;
    uint8_t a[OBJECT_BYTES], b[OBJECT_BYTES];
    struct slice now;
    struct manifest m;

    if (fake_fate_is_silent(p->bad->fate)) {
        world_make_hasty(w);
    }
    world_fill(w, a, sizeof(a));
    world_fill(w, b, sizeof(b));
    if (request != PUT) {
        assert_int_equal(world_put(w, "o", a, sizeof(a)), 0);
    }
    world_settle(w);
    for (unsigned i = 0; i < BAD; i++) {
        fake_asd_set_fate(p->asds[i], fate, p);
    }
    now = request == PUT || request == OVERWRITE ? slice_of(b, sizeof(b)) : slice_of(a, sizeof(a));
    ask(p, request, "o", now);
    await(p, whats[request]);
    if (request == READ || request == SLICES) {
        expect_read(p, now, request);
    }
    if (request != DELETE) { /* while it goes on */
        ask(p, READ, "o", now);
        await(p, "a read afterwards");
        expect_read(p, now, READ);
    }
    for (unsigned i = 0; i < BAD; i++) {
        fake_asd_set_fate(p->asds[i], NULL, NULL);
        fake_asd_up(p->asds[i]);
    }
    world_settle(w);
    world_new_engine(w);
    if (request == DELETE) {
        assert_false(world_manifest(w, "o", &m));
    } else {
        world_expect(w, "o", now.data, now.len);
    }
}

static void nothing_that_two_of_eight_osds_do_wrong_is_seen_by_clients(void **state)
{
    uint64_t seed = world_seed();
    struct rnd rnd = rnd_seed(seed);

    (void)state;
    for (size_t i = 0; i < sizeof(misbehaviours) / sizeof(*misbehaviours); i++) {
        for (unsigned r = 0; r < REQUESTS; r++) {
            struct play p = {.w = world_new_of(rnd_next(&rnd), ASDS, NODES, PRESET),
                             .bad = &misbehaviours[i],
                             .start = (unsigned)rnd_below(&rnd, STARTS)};
            unsigned first = (unsigned)rnd_below(&rnd, ASDS);

            p.asds[0] = p.w->asds[first];
            p.asds[1] = p.w->asds[(first + 1 + rnd_below(&rnd, ASDS - 1)) % ASDS];
            play(&p, r);
            world_free(p.w);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_two_of_eight_osds_do_wrong_is_seen_by_clients),
    };

    return cmocka_run_group_tests_name("misbehave", tests, NULL, NULL);
}
