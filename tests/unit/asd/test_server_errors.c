/* What every command answers to arguments that are too long, too short, wrong or out of bounds, to
 * damage and to full queues: byte by byte, in both protocol versions, with one loop and with
 * several. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/log.h"
#include "unit/asd/server_fixture.h"
#include "unit/asd/session.h"
#include "unit/wire/bytes.h"

enum { LARGE = 70000 };

static uint8_t *large;

/* Values: "d" and "s" inline, "l" in a slab. */
static int setup(void **state)
{
    struct server_fixture *f;

    server_setup(state);
    f = *state;
    assert_int_equal(asd_fixture_set(&f->base, "d", "inline", 6), 0);
    assert_int_equal(asd_fixture_set(&f->base, "l", large, LARGE), 0);
    assert_int_equal(asd_fixture_set(&f->base, "s", "small", 5), 0);
    return 0;
}

typedef void (*check_cb)(struct server_fixture *f, struct session *s);

static void check_versions(void **state, check_cb check)
{
    struct server_fixture *f = *state;

    for (unsigned version = ASD_VERSION_1; version <= ASD_VERSION_2; version++) {
        struct session s = session_open(f->loop, f->port, version);

        check(f, &s);
        expect_rc(&s, (struct asd_request){.code = ASD_GET_VERSION}, 0); /* it goes on */
        close(s.fd);
    }
}

/* Version 1 has no codes of its own. */
static int32_t code_of(const struct session *s, int32_t rc)
{
    return s->version == ASD_VERSION_1 && rc >= ASD_RC_CORRUPT ? ASD_RC_UNKNOWN : rc;
}

/* The code, and the text, or part of it; or the whole key. */
static void expect_answer(struct session *s, const struct answer *a, int32_t rc, const char *text)
{
    struct rd payload = a->payload;
    char got[300];
    struct slice key;
    struct slice said;
    uint32_t bytes;
    struct err e;

    if (a->rc != code_of(s, rc)) {
        fail_msg("code %d, not %d", (int)a->rc, (int)code_of(s, rc));
    }
    asd_error_get(a->rc, a->payload, &key, &e);
    if (a->rc == ASD_RC_CORRUPT || a->rc == ASD_RC_ASSERT_FAILED) {
        assert_true(slice_eq(key, slice_str(text)));
        return;
    }
    bytes = rd_u32le(&payload);
    said = slice_of(rd_bytes(&payload, bytes), bytes);
    assert_false(payload.bad);
    assert_int_equal(rd_left(&payload), 0);
    assert_in_range(said.len, 1, sizeof got - 1);
    memcpy(got, said.data, said.len);
    got[said.len] = '\0';
    if (rc != ASD_RC_CORRUPT && strstr(got, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", got, text);
    }
}

static void expect_error(struct session *s, struct asd_request request, int32_t rc,
                         const char *text)
{
    struct answer a = ask(s, request);

    expect_answer(s, &a, rc, text);
    buf_release(&a.bytes);
}

/* ---- one good request of each command ---- */

static struct asd_request example(uint32_t code)
{
    static struct slice keys[] = {{(const uint8_t *)"s", 1}, {(const uint8_t *)"l", 1}};
    static struct asd_part parts[] = {{0, 3}, {1, 4}};
    static struct asd_assert check;
    static struct asd_update update;
    struct asd_request r = {.code = code};

    check =
        (struct asd_assert){.key = slice_str("s"), .value = slice_str("small"), .has_value = true};
    update = set("new", "n", 1);
    switch (code) {
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
    case ASD_RANGE_VALIDATE:
        r.range = (struct asd_range){.first = slice_str("e"),
                                     .last = slice_str("t"),
                                     .has_last = true,
                                     .first_included = true,
                                     .max = 1};
        r.show_all = true;
        break;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        r.keys.items = keys;
        r.keys.count = 2;
        break;
    case ASD_PARTIAL_GET:
        r.partial.key = keys[0];
        r.partial.parts = parts;
        r.partial.part_count = 1;
        break;
    case ASD_APPLY:
        return apply_of(&check, &update);
    case ASD_SLOWNESS:
        r.slowness.on = true; /* by nothing */
        break;
    default:
        break;
    }
    return r;
}

/* Its reply is the same whenever it is asked. */
static bool is_steady(uint32_t code)
{
    return code != ASD_STATISTICS && code != ASD_GET_DISK_USAGE;
}

static void check_trailing(struct server_fixture *f, struct session *s)
{
    (void)f;
    for (uint32_t code = ASD_RANGE; code <= ASD_SLOWNESS; code++) {
        struct asd_request r = example(code);
        struct buf body = body_of(s, &r);
        struct answer plain = ask(s, r);

        assert_int_equal(plain.rc, 0);
        for (unsigned more = 1; more <= 9; more++) {
            buf_put_u8(&body, 0xff);
            struct answer a = recv_whole_answer(s, send_body(s, slice_buf(&body)), r);

            if (a.rc != 0) {
                fail_msg("%s: %u bytes behind it: code %d", asd_code_name(code), more, (int)a.rc);
            }
            if (is_steady(code)) {
                assert_int_equal(rd_left(&a.payload), rd_left(&plain.payload));
                assert_memory_equal(a.payload.pos, plain.payload.pos, rd_left(&plain.payload));
            }
            buf_release(&a.bytes);
        }
        buf_release(&plain.bytes);
        buf_release(&body);
    }
}

static void bytes_behind_the_arguments_of_any_command_are_ignored(void **state)
{
    check_versions(state, check_trailing);
}

/* ---- malformed ---- */

/* Bytes at the end that a client may leave out, one by one. */
static size_t optional_bytes(uint32_t code, unsigned version)
{
    switch (code) {
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        return 1; /* priority */
    case ASD_APPLY:
        return version == ASD_VERSION_1 ? 1 : 2; /* and flags */
    default:
        return 0;
    }
}

static void check_cut(struct server_fixture *f, struct session *s)
{
    uint64_t applies = asd_store_stats(f->base.store).applies;

    for (uint32_t code = ASD_RANGE; code <= ASD_SLOWNESS; code++) {
        struct asd_request r = example(code);
        struct buf body = body_of(s, &r);
        size_t optional = optional_bytes(code, s->version);

        for (size_t n = 1; n < body.len - optional; n++) {
            send_body(s, slice_of(body.data, n));
            struct answer a = recv_answer(s);

            expect_answer(s, &a, ASD_RC_UNKNOWN,
                          n < 4 ? "request too short" : "malformed arguments");
            buf_release(&a.bytes);
        }
        assert_int_equal(asd_store_stats(f->base.store).applies, applies);
        for (size_t n = body.len - optional; n <= body.len; n++) {
            struct answer a = recv_whole_answer(s, send_body(s, slice_of(body.data, n)), r);

            assert_int_equal(a.rc, 0);
            buf_release(&a.bytes);
            applies += code == ASD_APPLY;
        }
        buf_release(&body);
    }
}

static void arguments_cut_short_are_malformed_and_execute_nothing(void **state)
{
    check_versions(state, check_cut);
}

/* The command, its arguments: each wrong in one place. */
static const struct {
    const char *what;
    const char *body;
    bool only_2;
} malformed[] = {
    {"Range: first_included", "01000000 01000000 61 02 00 00 ffffffff 01", false},
    {"Range: option of last", "01000000 01000000 61 01 02 00 ffffffff 01", false},
    {"Range: last_included", "01000000 01000000 61 01 01 01000000 61 02 00 ffffffff 01", false},
    {"Range: reverse", "01000000 01000000 61 01 00 02 ffffffff 01", false},
    {"Range: prio 0", "01000000 01000000 61 01 00 00 ffffffff 00", false},
    {"Range: prio 3", "01000000 01000000 61 01 00 00 ffffffff 03", false},
    {"Range: length of first", "01000000 ffffffff 61 01 00 00 ffffffff 01", false},
    {"RangeEntries: reverse", "04000000 01000000 61 01 00 02 ffffffff 01", false},
    {"RangeEntries: prio 3", "04000000 01000000 61 01 00 00 ffffffff 03", false},
    {"RangeValidate: verify", "0d000000 01000000 61 01 00 00 ffffffff 02 00 01", false},
    {"RangeValidate: show_all", "0d000000 01000000 61 01 00 00 ffffffff 00 02 01", false},
    {"RangeValidate: prio 0", "0d000000 01000000 61 01 00 00 ffffffff 00 00 00", false},
    {"MultiGet: count", "02000000 02000000 01000000 61 01", false},
    {"MultiGet: count over all", "02000000 01000400 01000000 61 01", false},
    {"MultiGet: count negative", "02000000 ffffffff 01000000 61 01", false},
    {"MultiGet: length", "02000000 01000000 03000000 61 01", false},
    {"MultiGet: prio 3", "02000000 01000000 01000000 61 03", false},
    {"MultiGet2: count", "08000000 02000000 01000000 61 01", false},
    {"MultiGet2: prio 0", "08000000 01000000 01000000 61 00", false},
    {"MultiExists: count", "09000000 02000000 01000000 61 01", false},
    {"MultiExists: prio 3", "09000000 01000000 01000000 61 03", false},
    {"Apply: tag of assert", "03000000 01000000 02 01000000 61 00 00000000 01", false},
    {"Apply: option of assert", "03000000 01000000 01 01000000 61 02 00000000 01", false},
    {"Apply: asserts", "03000000 ffffff7f 00000000 01", false},
    {"Apply: updates", "03000000 00000000 ffffff7f 01", false},
    {"Apply: tag of update", "03000000 00000000 01000000 00 01000000 61 00 01", false},
    {"Apply: option", "03000000 00000000 01000000 01 01000000 61 02 01", false},
    {"Apply: checksum 0", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 00 00 01",
     false},
    {"Apply: checksum 4", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 04 00 01",
     false},
    {"Apply: SHA-1 of 2 bytes",
     "03000000 00000000 01000000 01 01000000 61 01 01000000 61 02 02000000 0000 00 01", false},
    {"Apply: assertable", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 01 02 01",
     false},
    {"Apply: prio 3", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 01 00 03", false},
    {"Apply: flag 1", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 01 00 01 02", true},
    {"Apply: flag 7", "03000000 00000000 01000000 01 01000000 61 01 01000000 61 01 00 01 81", true},
    {"PartialGet: count", "0b000000 01000000 61 02000000 00000000 01000000 01", false},
    {"PartialGet: offset", "0b000000 01000000 61 01000000 ffffffff 01000000 01", false},
    {"PartialGet: length", "0b000000 01000000 61 01000000 00000000 ffffffff 01", false},
    {"PartialGet: sum", "0b000000 01000000 61 02000000 00000000 00008002 00000000 00008002 01",
     false},
    {"PartialGet: prio 0", "0b000000 01000000 61 01000000 00000000 01000000 00", false},
    {"Statistics: clear", "05000000 02", false},
    {"SetFull: full", "06000000 02", false},
    {"Slowness: option", "0e000000 02 0000000000000000 0000000000000000", false},
    {"Slowness: negative", "0e000000 01 000000000000f0bf 0000000000000000", false},
    {"Slowness: infinite", "0e000000 01 000000000000f07f 0000000000000000", false},
    {"Slowness: no number", "0e000000 01 0000000000000000 000000000000f87f", false},
};

static void check_malformed(struct server_fixture *f, struct session *s)
{
    uint64_t applies = asd_store_stats(f->base.store).applies;

    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        struct buf body = {0};
        struct answer a;

        if (malformed[i].only_2 && s->version == ASD_VERSION_1) {
            continue;
        }
        bytes_put(&body, malformed[i].body);
        send_body(s, slice_buf(&body));
        a = recv_answer(s);
        if (a.rc != ASD_RC_UNKNOWN) {
            fail_msg("%s: code %d", malformed[i].what, (int)a.rc);
        }
        expect_answer(s, &a, ASD_RC_UNKNOWN, "malformed arguments");
        buf_release(&a.bytes);
        buf_release(&body);
    }
    assert_int_equal(asd_store_stats(f->base.store).applies, applies);
}

static void malformed_arguments_of_any_command_get_code_1_and_execute_nothing(void **state)
{
    check_versions(state, check_malformed);
}

/* ---- out of bounds ---- */

/* `r` naming `key` instead of one of its own, in every place that it has for one. */
static void expect_read_refused(struct session *s, struct asd_request r, struct slice key,
                                const char *text)
{
    struct slice keys[] = {slice_str("s"), key};

    switch (r.code) {
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
    case ASD_RANGE_VALIDATE:
        r.range.last = key;
        expect_error(s, r, ASD_RC_UNKNOWN, text);
        r.range.has_last = false;
        r.range.first = key;
        break;
    case ASD_PARTIAL_GET:
        r.partial.key = key;
        break;
    default:
        r.keys.items = keys;
        break;
    }
    expect_error(s, r, ASD_RC_UNKNOWN, text);
}

/* Those that name keys, then those of a range. */
static const uint32_t reads[] = {ASD_MULTI_GET,     ASD_MULTI_GET2, ASD_MULTI_EXISTS,
                                 ASD_PARTIAL_GET,   ASD_RANGE,      ASD_RANGE_ENTRIES,
                                 ASD_RANGE_VALIDATE};
enum { READS = sizeof(reads) / sizeof(reads[0]), FIRST_RANGE = 4 };

static void expect_change_refused(struct session *s, struct slice key, const char *text)
{
    struct asd_assert check = {.key = key};
    struct asd_update update = {.key = key, .is_delete = true};
    struct asd_update good = set("new", "n", 1);

    expect_error(s, apply_of(NULL, &update), ASD_RC_UNKNOWN, text);
    expect_error(s, apply_of(&check, &good), ASD_RC_UNKNOWN, text);
}

static void check_keys(struct server_fixture *f, struct session *s)
{
    struct slice longest = slice_of(large, ASD_KEY_BYTES_MAX);
    struct slice longer = slice_of(large, ASD_KEY_BYTES_MAX + 1);
    struct asd_update put = {.key = longest, .value = slice_str("v")};
    struct asd_update gone = {.key = longest, .is_delete = true};
    struct asd_request get = {.code = ASD_MULTI_GET, .keys = {&longest, 1}};
    struct slice empty = slice_str("");
    struct answer a;
    struct asd_reply reply;

    expect_change_refused(s, longer, "key of 65537 bytes");
    expect_change_refused(s, empty, "key of 0 bytes");
    for (unsigned i = 0; i < READS; i++) {
        expect_read_refused(s, example(reads[i]), longer, "key of 65537 bytes");
    }
    assert_false(asd_fixture_has(&f->base, "new", "n", 1));
    expect_rc(s, apply_of(NULL, &put), 0);
    for (unsigned i = 0; i < 3; i++) { /* there; not there; never there */
        a = ask(s, get);
        reply = decode(&a, get.code);
        assert_int_equal(reply.values.items[0].found, i == 0);
        asd_reply_release(&reply);
        buf_release(&a.bytes);
        expect_rc(s, apply_of(NULL, &gone), 0);
        get.keys.items = i == 0 ? &longest : &empty;
    }
}

static void keys_out_of_bounds_get_code_1_from_every_command_that_has_one(void **state)
{
    check_versions(state, check_keys);
}

/* One more than a request may have; and a reply that no frame can hold. */
static void check_counts(struct server_fixture *f, struct session *s)
{
    enum { N = ASD_STORE_ITEMS_MAX + 1, TOO_MUCH = ASD_FRAME_BYTES_MAX / LARGE + 1 };
    struct slice *keys = mem_array(N, sizeof(*keys));
    struct asd_part *parts = mem_array(N, sizeof(*parts));
    struct asd_assert *asserts = mem_array(N, sizeof(*asserts));
    struct asd_update *updates = mem_array(N, sizeof(*updates));
    struct asd_request r = {.code = ASD_APPLY};
    uint64_t applies = asd_store_stats(f->base.store).applies;

    for (unsigned i = 0; i < N; i++) {
        keys[i] = slice_str("l");
        asserts[i].key = slice_str("none");
        updates[i] = (struct asd_update){.key = slice_str("none"), .is_delete = true};
    }
    r.apply = (struct asd_apply){.asserts = asserts, .assert_count = N};
    expect_error(s, r, ASD_RC_UNKNOWN, "65537 asserts");
    r.apply = (struct asd_apply){.updates = updates, .update_count = N};
    expect_error(s, r, ASD_RC_UNKNOWN, "65537 updates");
    assert_int_equal(asd_store_stats(f->base.store).applies, applies);
    for (unsigned i = 0; i < 3; i++) {
        r = (struct asd_request){.code = reads[i], .keys = {keys, N}};
        expect_error(s, r, ASD_RC_UNKNOWN, "65537 keys");
        r.keys.count = TOO_MUCH;
        if (reads[i] == ASD_MULTI_EXISTS) {
            expect_rc(s, r, 0);
        } else {
            expect_error(s, r, ASD_RC_UNKNOWN, "a reply of");
        }
    }
    r = (struct asd_request){.code = ASD_PARTIAL_GET,
                             .partial = {.key = keys[0], .parts = parts, .part_count = N}};
    expect_error(s, r, ASD_RC_UNKNOWN, "65537 parts");
    free(keys);
    free(parts);
    free(asserts);
    free(updates);
}

static void more_than_a_request_or_a_reply_may_hold_gets_code_1(void **state)
{
    check_versions(state, check_counts);
}

/* ---- damage ---- */

static struct asd_request read_of(uint32_t code, struct slice *key)
{
    struct asd_request r = example(code);

    if (code == ASD_PARTIAL_GET) {
        r.partial.key = *key;
    } else {
        r.keys.items = key;
        r.keys.count = 1;
    }
    return r;
}

static void check_damage(struct server_fixture *f, struct session *s)
{
    struct slice keys[] = {slice_str("s"), slice_str("l"), slice_str("d")};
    struct asd_assert same = {
        .key = slice_str("l"), .value = slice_of(large, LARGE), .has_value = true};
    struct asd_update u = set("new", "n", 1);
    struct asd_request r;

    (void)f;
    for (unsigned i = 0; i < 3; i++) {
        r = (struct asd_request){.code = reads[i], .keys = {keys, 3}};
        expect_error(s, r, ASD_RC_CORRUPT, reads[i] == ASD_MULTI_EXISTS ? "d" : "l");
        r = read_of(reads[i], &keys[2]);
        expect_error(s, r, ASD_RC_CORRUPT, "d");
    }
    expect_error(s, read_of(ASD_PARTIAL_GET, &keys[2]), ASD_RC_CORRUPT, "d");
    r = example(ASD_RANGE_ENTRIES);
    expect_error(s, r, ASD_RC_CORRUPT, "l");
    r.range.first = slice_str("");
    expect_error(s, r, ASD_RC_CORRUPT, "d");
    expect_error(s, apply_of(&same, &u), ASD_RC_CORRUPT, "l");
    same.key = slice_str("d");
    expect_error(s, apply_of(&same, &u), ASD_RC_CORRUPT, "d");
    expect_rc(s, read_of(ASD_MULTI_GET, &keys[0]), 0);
}

/* One bit of a value in a slab, and one of a record. */
static void damage(struct server_fixture *f, size_t at)
{
    assert_int_equal(
        crash_disk_corrupt(f->base.disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES + 9),
        0);
    index_double_corrupt(f->base.index,
                         slice_str("\x10"
                                   "d"),
                         at);
}

static void damage_is_told_with_its_key_by_every_command_that_meets_it(void **state)
{
    struct server_fixture *f = *state;

    damage(f, 4);
    check_versions(state, check_damage);
    assert_false(asd_fixture_has(&f->base, "new", "n", 1));
}

/* Its version is 17, so it says no more than that: code 7 is about the protocol's. */
static void a_record_of_newer_software_is_told_as_damage_of_its_key(void **state)
{
    struct server_fixture *f = *state;
    uint64_t bad_values;
    struct session s;
    struct slice d = slice_str("d");

    damage(f, 0);
    check_versions(state, check_damage);
    bad_values = asd_store_stats(f->base.store).bad_values;
    s = session_open(f->loop, f->port, ASD_VERSION_2);
    expect_error(&s, read_of(ASD_MULTI_GET, &d), ASD_RC_CORRUPT, "d");
    assert_int_equal(asd_store_stats(f->base.store).bad_values, bad_values + 1);
    close(s.fd);
}

static void check_unreadable(struct server_fixture *f, struct session *s)
{
    struct slice l = slice_str("l");

    (void)f;
    for (unsigned i = 0; i < 2; i++) {
        expect_error(s, read_of(reads[i], &l), ASD_RC_CORRUPT, "l");
    }
    expect_error(s, read_of(ASD_PARTIAL_GET, &l), ASD_RC_CORRUPT, "l");
    expect_error(s, example(ASD_RANGE_ENTRIES), ASD_RC_CORRUPT, "l");
}

static void a_bad_sector_is_told_as_damage_of_its_key(void **state)
{
    struct server_fixture *f = *state;

    crash_disk_fail_reads(f->base.disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES, -EIO);
    check_versions(state, check_unreadable);
}

static atomic_int index_rc; /* threads of loops read it; 0: the index is as good as it was */
static const struct asd_index_ops *good_index;

static int bad_get(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                   struct err *e)
{
    return index_rc == 0 ? good_index->get(index, key, ret_value, e)
                         : err_set(e, index_rc, "index get");
}

static void bad_multi_get(struct asd_index *index, size_t count, const struct slice *keys,
                          struct asd_index_value *ret_values, int *ret_rcs, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        ret_rcs[i] = bad_get(index, keys[i], &ret_values[i], e);
    }
}

static int bad_iterate(struct asd_index *index, struct slice from, struct slice to, bool reverse,
                       asd_index_visit_cb visit, void *ctx, struct err *e)
{
    return index_rc == 0 ? good_index->iterate(index, from, to, reverse, visit, ctx, e)
                         : err_set(e, index_rc, "index iterate");
}

static void check_bad_index(struct server_fixture *f, struct session *s)
{
    struct asd_update u = set("new", "n", 1);

    (void)f;
    for (unsigned i = 0; i < READS; i++) {
        bool has_keys = reads[i] != ASD_PARTIAL_GET && i < FIRST_RANGE;

        if (index_rc == -EIO) {
            expect_error(s, example(reads[i]), ASD_RC_FAILED, has_keys ? "key of" : "index");
        } else {
            expect_error(s, example(reads[i]), ASD_RC_CORRUPT, i < FIRST_RANGE ? "s" : "");
        }
    }
    if (index_rc == -EIO) {
        expect_error(s, apply_of(NULL, &u), ASD_RC_FAILED, "index");
    } else {
        expect_error(s, apply_of(NULL, &u), ASD_RC_CORRUPT, "new");
    }
}

/* It names the first key asked for or to be set, a range none: 64. Or it cannot be read at all:
 * 67. */
static void a_damaged_index_is_told_by_every_command_that_meets_it(void **state)
{
    struct server_fixture *f = *state;
    struct asd_index *index = f->base.options.index;
    static struct asd_index_ops bad;

    good_index = index->ops;
    bad = *good_index;
    bad.get = bad_get;
    bad.get_cached = bad_get;
    bad.multi_get = bad_multi_get;
    bad.iterate = bad_iterate;
    server_fixture_close(f);
    index->ops = &bad;
    server_fixture_open(f);
    index_rc = ERR_CORRUPT;
    check_versions(state, check_bad_index);
    index_rc = -EIO;
    check_versions(state, check_bad_index);
    index_rc = 0;
    server_fixture_close(f);
    index->ops = good_index;
    server_fixture_open(f);
}

/* ---- full queues ---- */

/* Enough of `r`, over as many connections as that takes, with the gate shut. */
static void fill(struct server_fixture *f, const struct asd_request *r, struct session *sessions,
                 unsigned count, unsigned first)
{
    for (unsigned i = 0; i < count; i++) {
        if (i != 0) {
            sessions[i] = session_open(f->loop, f->port, ASD_VERSION_2);
        }
        for (unsigned n = i == 0 ? first : 0; n < ASD_SERVER_REQUESTS_MAX; n++) {
            send_request(&sessions[i], r);
        }
        RAW_UNTIL(f->loop, asd_server_requests(f->server) == (i + 1) * ASD_SERVER_REQUESTS_MAX);
    }
}

/* What was let in ends well; then there is room again. */
static void drain(struct server_fixture *f, struct session *sessions, unsigned count)
{
    block_io_open(&f->gate);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 0);
    for (unsigned i = 0; i < count; i++) {
        close(sessions[i].fd);
    }
}

static void applies_beyond_what_may_wait_are_busy_and_not_executed(void **state)
{
    enum { N = ASD_STORE_APPLIES_MAX / ASD_SERVER_REQUESTS_MAX };
    struct server_fixture *f = *state;
    struct asd_update u = set("k", large, 10);
    struct asd_update refused = set("refused", "r", 1);
    struct asd_request r = apply_of(NULL, &u);
    struct asd_request again = apply_of(NULL, &refused);
    uint64_t updates = asd_store_stats(f->base.store).updates;
    struct session sessions[N];
    struct session s[2];

    block_io_shut(&f->gate);
    sessions[0] = session_open(f->loop, f->port, ASD_VERSION_2);
    fill(f, &r, sessions, N, 0);
    for (unsigned i = 0; i < 2; i++) {
        s[i] = session_open(f->loop, f->port, i == 0 ? ASD_VERSION_1 : ASD_VERSION_2);
        expect_error(&s[i], again, ASD_RC_BUSY, "4096 applies wait");
    }
    drain(f, sessions, N);
    assert_int_equal(asd_store_stats(f->base.store).updates, updates + ASD_STORE_APPLIES_MAX);
    assert_false(asd_fixture_has(&f->base, "refused", "r", 1));
    for (unsigned i = 0; i < 2; i++) {
        expect_rc(&s[i], again, 0);
        close(s[i].fd);
    }
}

/* Those of one loop: each has its own. */
static void reads_beyond_what_may_wait_are_busy(void **state)
{
    enum { N = ASD_STORE_READS_MAX / ASD_SERVER_REQUESTS_MAX };
    struct server_fixture *f = *state;
    struct slice l = slice_str("l");
    struct asd_request get = read_of(ASD_MULTI_GET2, &l);
    struct asd_request exists = read_of(ASD_MULTI_EXISTS, &l);
    struct session sessions[N];
    struct session s[2];

    if (f->threads != 1) {
        return;
    }
    block_io_shut(&f->gate);
    sessions[0] = session_open(f->loop, f->port, ASD_VERSION_2);
    for (unsigned i = 0; i < SERVER_READERS; i++) {
        send_request(&sessions[0], &get);
    }
    RAW_UNTIL(f->loop, block_io_waiting(&f->gate) == SERVER_READERS);
    fill(f, &exists, sessions, N, SERVER_READERS);
    for (unsigned i = 0; i < 2; i++) {
        s[i] = session_open(f->loop, f->port, i == 0 ? ASD_VERSION_1 : ASD_VERSION_2);
        for (unsigned j = 0; j < READS; j++) {
            struct asd_request r = j < FIRST_RANGE ? read_of(reads[j], &l) : example(reads[j]);

            expect_error(&s[i], r, ASD_RC_BUSY, "reads");
        }
    }
    drain(f, sessions, N);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < READS; j++) {
            expect_rc(&s[i], example(reads[j]), 0);
        }
        close(s[i].fd);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_behind_the_arguments_of_any_command_are_ignored),
        TEST(arguments_cut_short_are_malformed_and_execute_nothing),
        TEST(malformed_arguments_of_any_command_get_code_1_and_execute_nothing),
        TEST(keys_out_of_bounds_get_code_1_from_every_command_that_has_one),
        TEST(more_than_a_request_or_a_reply_may_hold_gets_code_1),
        TEST(damage_is_told_with_its_key_by_every_command_that_meets_it),
        TEST(a_record_of_newer_software_is_told_as_damage_of_its_key),
        TEST(a_bad_sector_is_told_as_damage_of_its_key),
        TEST(a_damaged_index_is_told_by_every_command_that_meets_it),
        TEST(applies_beyond_what_may_wait_are_busy_and_not_executed),
        TEST(reads_beyond_what_may_wait_are_busy),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = server_run_tests(tests, sizeof(tests) / sizeof(tests[0]));
    free(large);
    return rc;
}
