/* Checksums that come with values: compared before a value is visible, and told by RangeValidate
 * with the names and forms of the protocol. */
#include "base/log.h"
#include "unit/asd/server_fixture.h"
#include "unit/asd/session.h"

#include <openssl/evp.h>

enum { LARGE = 70000, PLACE = 73728, SLABS = 4 << 20 };

static uint8_t *large;

static int setup(void **state)
{
    struct server_fixture *f = mem_alloc(sizeof(*f));

    server_fixture_init(f, 1);
    f->base.options.verify_checksums = true;
    f->base.options.slab_bytes = SLABS;
    server_fixture_open(f);
    *state = f;
    return 0;
}

static struct checksum sha1_of(const void *data, size_t bytes)
{
    struct checksum c = {.algo = CHECKSUM_SHA1};
    unsigned n;

    assert_int_equal(EVP_Digest(data, bytes, c.sha1, &n, EVP_sha1(), NULL), 1);
    return c;
}

static struct asd_update update_of(const char *key, size_t bytes, struct checksum c)
{
    return (struct asd_update){
        .key = slice_str(key), .value = slice_of(large, bytes), .checksum = c};
}

static int apply(struct server_fixture *f, struct asd_update *updates, uint32_t count,
                 struct err *e)
{
    struct asd_apply what = {.updates = updates, .update_count = count};

    return asd_fixture_apply(&f->base, &what, e);
}

/* ---- on write ---- */

static void right_checksums_pass(void **state)
{
    struct server_fixture *f = *state;
    struct asd_update u[] = {
        update_of("crc", LARGE, checksum_crc32c(crc32c(0, large, LARGE))),
        update_of("crc inline", 10, checksum_crc32c(crc32c(0, large, 10))),
        update_of("none", LARGE, checksum_none()),
        update_of("sha1", LARGE, sha1_of(large, LARGE)),
        update_of("sha1 of nothing", 0, sha1_of(large, 0)),
        {.key = slice_str("not there"), .is_delete = true},
    };

    assert_int_equal(apply(f, u, 6, NULL), 0);
    assert_true(asd_fixture_has(&f->base, "sha1", large, LARGE));
    assert_int_equal(asd_store_stats(f->base.store).refused_checksum, 0);
}

static void a_wrong_checksum_refuses_the_whole_apply_and_names_the_key(void **state)
{
    static const size_t sizes[] = {10, LARGE};
    struct server_fixture *f = *state;

    for (unsigned i = 0; i < 4; i++) {
        struct checksum wrong = i < 2 ? checksum_crc32c(1) : sha1_of("x", 1);
        struct asd_update u[] = {
            update_of("first", LARGE, checksum_crc32c(crc32c(0, large, LARGE))),
            update_of("bad\x01key", sizes[i % 2], wrong),
            update_of("last", LARGE, checksum_none()),
        };
        struct err e;

        assert_int_equal(apply(f, u, 3, &e), ERR_CHECKSUM);
        assert_non_null(strstr(e.msg, "bad\\x01key"));
        assert_non_null(strstr(e.msg, i < 2 ? "CRC32c" : "SHA1"));
        assert_int_equal(asd_store_stats(f->base.store).refused_checksum, i + 1);
        assert_int_equal(asd_store_stats(f->base.store).used_bytes, 0);
        assert_false(asd_fixture_has(&f->base, "first", large, LARGE));
        assert_false(asd_fixture_has(&f->base, "last", large, LARGE));
    }
    assert_false(asd_store_failed(f->base.store, NULL));
}

static void ranges_of_a_refused_apply_are_freed_in_its_batch(void **state)
{
    struct server_fixture *f = *state;
    struct err e;

    for (unsigned i = 0; i < 3; i++) {
        struct asd_update u = update_of("k", LARGE, checksum_crc32c(1));

        assert_int_equal(apply(f, &u, 1, &e), ERR_CHECKSUM);
    }
    assert_int_equal(asd_store_stats(f->base.store).frees, 3);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punched_bytes, 3 * PLACE);
}

static void a_value_that_is_replaced_in_its_own_apply_is_looked_at_too(void **state)
{
    struct server_fixture *f = *state;
    struct asd_update u[] = {
        update_of("k", LARGE, checksum_crc32c(1)),
        update_of("k", LARGE, checksum_crc32c(crc32c(0, large, LARGE))),
    };

    assert_int_equal(apply(f, u, 2, NULL), ERR_CHECKSUM);
}

static void others_of_the_batch_are_not_touched(void **state)
{
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    struct asd_update updates[] = {set("first", large, LARGE), set("good", large, LARGE),
                                   update_of("bad", LARGE, checksum_crc32c(1)),
                                   set("late", large, LARGE)};
    uint64_t batches;

    block_io_shut(&f->gate);
    for (unsigned i = 0; i < 4; i++) { /* while the first one is held up, the others gather */
        struct asd_request r = apply_of(NULL, &updates[i]);

        send_request(&s, &r);
        RAW_UNTIL(f->loop, asd_server_requests(f->server) == i + 1);
        RAW_UNTIL(f->loop, block_io_waiting(&f->gate) == 1);
    }
    batches = asd_store_stats(f->base.store).batches;
    asd_store_set_limits(f->base.store, 7 * PLACE / 2, 100); /* the bad one takes no room */
    block_io_open(&f->gate);
    for (unsigned i = 0; i < 4; i++) {
        struct answer a = recv_answer(&s);

        assert_int_equal(a.rc, a.id == 3 ? ASD_RC_CORRUPT : 0);
        buf_release(&a.bytes);
    }
    assert_int_equal(asd_store_stats(f->base.store).batches, batches + 2);
    assert_true(asd_fixture_has(&f->base, "good", large, LARGE));
    assert_false(asd_fixture_has(&f->base, "bad", large, LARGE));
    assert_true(asd_fixture_has(&f->base, "late", large, LARGE));
    close(s.fd);
}

static void the_error_has_the_code_of_its_version_and_names_the_key(void **state)
{
    struct server_fixture *f = *state;

    for (unsigned version = ASD_VERSION_1; version <= ASD_VERSION_2; version++) {
        struct session s = session_open(f->loop, f->port, version);
        struct asd_update bad = update_of("the key", LARGE, checksum_crc32c(1));
        struct answer a = ask(&s, apply_of(NULL, &bad));
        struct slice key;
        struct err e;

        assert_int_equal(a.rc, version == ASD_VERSION_1 ? ASD_RC_UNKNOWN : ASD_RC_CORRUPT);
        asd_error_get(a.rc, a.payload, &key, &e);
        assert_non_null(strstr(e.msg, "the key"));
        assert_int_equal(key.len, version == ASD_VERSION_1 ? 0 : 7);
        buf_release(&a.bytes);
        close(s.fd);
    }
}

static void it_can_be_switched_off_and_on_while_serving(void **state)
{
    struct server_fixture *f = *state;
    struct asd_update u = update_of("k", 10, checksum_crc32c(1));

    asd_store_verify_checksums(f->base.store, false);
    assert_int_equal(apply(f, &u, 1, NULL), 0);
    assert_true(asd_fixture_has(&f->base, "k", large, 10));
    asd_store_verify_checksums(f->base.store, true);
    assert_int_equal(apply(f, &u, 1, NULL), ERR_CHECKSUM);
}

/* ---- RangeValidate ---- */

/* One line per entry: "key: check=ok check=bad". */
static char *validate(struct session *s, bool verify, bool show_all, int32_t max)
{
    struct asd_request r = {.code = ASD_RANGE_VALIDATE,
                            .prio = ASD_PRIO_LOW,
                            .range = {.max = max, .first_included = true},
                            .verify_checksum = verify,
                            .show_all = show_all};
    struct answer a = ask(s, r);
    struct asd_reply reply = decode(&a, r.code);
    struct buf b = {0};

    for (uint32_t i = 0; i < reply.validations.count; i++) {
        const struct asd_validation *v = &reply.validations.items[i];

        buf_put(&b, v->key.data, v->key.len);
        buf_put_u8(&b, ':');
        for (uint32_t k = 0; k < v->check_count; k++) {
            buf_put_u8(&b, ' ');
            buf_put(&b, v->checks[k].name.data, v->checks[k].name.len);
            buf_put(&b, v->checks[k].ok ? "=ok" : "=bad", v->checks[k].ok ? 3 : 4);
        }
        buf_put_u8(&b, '\n');
    }
    if (reply.validations.has_next) {
        buf_put(&b, "next ", 5);
        buf_put(&b, reply.validations.next.data, reply.validations.next.len);
        buf_put_u8(&b, '\n');
    }
    buf_put_u8(&b, 0);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    return (char *)b.data;
}

static void expect(struct session *s, bool verify, bool show_all, int32_t max, const char *lines)
{
    char *got = validate(s, verify, show_all, max);

    assert_string_equal(got, lines);
    free(got);
}

static void put_all(struct server_fixture *f)
{
    struct asd_update u[] = {
        update_of("a", LARGE, checksum_crc32c(crc32c(0, large, LARGE))),
        update_of("b", LARGE, sha1_of(large, LARGE)),
        update_of("c", LARGE, checksum_none()),
        update_of("d", 10, checksum_crc32c(crc32c(0, large, 10))),
        update_of("e", 10, sha1_of(large, 10)),
        update_of("f", 10, checksum_none()),
    };

    for (unsigned i = 0; i < 6; i++) { /* one by one: they lie in the slab in this order */
        assert_int_equal(apply(f, &u[i], 1, NULL), 0);
    }
}

static uint64_t bad_values(struct server_fixture *f)
{
    return asd_store_stats(f->base.store).bad_values;
}

static void good_values_are_named_only_when_all_are_asked_for(void **state)
{
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);

    put_all(f);
    expect(&s, false, false, -1, "");
    expect(&s, true, false, -1, "");
    expect(&s, false, true, -1,
           "a: file_exists=ok\nb: file_exists=ok\nc: file_exists=ok\nd:\ne:\nf:\n");
    expect(&s, true, true, -1,
           "a: file_exists=ok CRC32c=ok\nb: file_exists=ok SHA1=ok\n"
           "c: file_exists=ok NO_CHECKSUM=ok\nd: CRC32c=ok\ne: SHA1=ok\nf: NO_CHECKSUM=ok\n");
    assert_int_equal(bad_values(f), 0);
    close(s.fd);
}

static void a_range_goes_on_where_the_last_one_stopped(void **state)
{
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_1);

    put_all(f);
    expect(&s, true, false, 2, "next c\n");
    expect(&s, true, true, 1, "a: file_exists=ok CRC32c=ok\nnext b\n");
    expect(&s, true, true, 0, "next a\n");
    close(s.fd);
}

static void each_kind_of_damage_has_its_form_and_counts_once(void **state)
{
    static const char slab[] = "/asd/slabs/0000000000000000";
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    struct asd_update u = update_of("d", 10, checksum_crc32c(1));

    put_all(f);
    asd_store_verify_checksums(f->base.store, false);
    assert_int_equal(apply(f, &u, 1, NULL), 0); /* a checksum that was wrong from the start */
    u = update_of("g", LARGE, sha1_of("x", 1));
    assert_int_equal(apply(f, &u, 1, NULL), 0);
    assert_int_equal(crash_disk_corrupt(f->base.disk, slab, ASD_SLAB_HEADER_BYTES + 9), 0);
    crash_disk_fail_reads(f->base.disk, slab, ASD_SLAB_HEADER_BYTES + PLACE + 69000, -EIO);
    index_double_corrupt(f->base.index,
                         slice_str("\x10"
                                   "f"),
                         13);
    expect(&s, true, false, -1,
           "a: file_exists=ok CRC32c=bad\nb: file_exists=ok SHA1:Input/output error=bad\nd: "
           "CRC32c=bad\n"
           "f: NO_CHECKSUM:stored data fails its checks=bad\ng: file_exists=ok SHA1=bad\n");
    assert_int_equal(bad_values(f), 5);
    /* Without looking inside, only what cannot be there is told. */
    expect(&s, false, false, -1, "f: NO_CHECKSUM:stored data fails its checks=bad\n");
    assert_int_equal(bad_values(f), 6);
    close(s.fd);
}

/* Its store was closed when it went, for the file of one that is open stays. */
static void a_slab_that_is_missing_is_told_and_counts_once_per_value(void **state)
{
    struct server_fixture *f = *state;
    struct io *io = crash_disk_io(f->base.disk);
    struct asd_update more = update_of("z", LARGE, checksum_none());
    struct session s;

    f->base.options.slab_bytes = 4 * PLACE + ASD_SLAB_HEADER_BYTES;
    server_fixture_close(f);
    server_fixture_open(f);
    put_all(f);
    for (unsigned i = 0; i < 2; i++) { /* the first slab is full and sealed */
        assert_int_equal(apply(f, &more, 1, NULL), 0);
    }
    server_fixture_close(f);
    assert_int_equal(io->ops->unlink(io, "/asd/slabs/0000000000000000"), 0);
    server_fixture_open(f);
    s = session_open(f->loop, f->port, ASD_VERSION_2);
    expect(&s, false, false, -1, "a: file_exists=bad\nb: file_exists=bad\nc: file_exists=bad\n");
    assert_int_equal(bad_values(f), 3);
    expect(&s, true, false, -1,
           "a: file_exists=bad CRC32c:stored data fails its checks=bad\n"
           "b: file_exists=bad SHA1:stored data fails its checks=bad\n"
           "c: file_exists=bad NO_CHECKSUM:stored data fails its checks=bad\n");
    assert_int_equal(bad_values(f), 6);
    close(s.fd);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(right_checksums_pass),
        TEST(a_wrong_checksum_refuses_the_whole_apply_and_names_the_key),
        TEST(ranges_of_a_refused_apply_are_freed_in_its_batch),
        TEST(a_value_that_is_replaced_in_its_own_apply_is_looked_at_too),
        TEST(others_of_the_batch_are_not_touched),
        TEST(the_error_has_the_code_of_its_version_and_names_the_key),
        TEST(it_can_be_switched_off_and_on_while_serving),
        TEST(good_values_are_named_only_when_all_are_asked_for),
        TEST(a_range_goes_on_where_the_last_one_stopped),
        TEST(each_kind_of_damage_has_its_form_and_counts_once),
        TEST(a_slab_that_is_missing_is_told_and_counts_once_per_value),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
