/* The engine in memory passes the conformance suite (so that what is tested on it means
 * something), commits in doubt, and engine URLs. */
#include <unistd.h>

#include "unit/meta/fixture.h"
#include "unit/meta/kv_suite.h"

#include "meta/kv_commit.h"

struct fixture {
    uv_loop_t loop;
    struct kv_mem_store *store;
    struct kv *a, *b; /* two clients of one store */
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = kv_mem_store_new(1);
    kv_mem_store_jitter(f->store, 4);
    f->a = kv_mem_open(&f->loop, f->store);
    f->b = kv_mem_open(&f->loop, f->store);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_kv(f->a);
    close_kv(f->b);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    kv_mem_store_free(f->store);
    free(f);
    return 0;
}

static void set(struct kv *kv, const char *key, const char *value)
{
    struct kv_txn txn = {0};
    struct kv_wait w = {0};

    if (value != NULL) {
        kv_txn_put(&txn, text(key), text(value));
    } else {
        kv_txn_delete(&txn, text(key));
    }
    kv_apply(kv, &txn, 0, kv_wait_cb, &w);
    loop_run_until(kv_loop(kv), &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_txn_release(&txn);
}

static void expect(const struct fixture *f, const char *key, const char *value)
{
    struct slice found;

    assert_true(kv_mem_peek(f->store, text(key), &found));
    assert_true(slice_eq(found, text(value)));
}

static enum kv_mem_fate hold(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_HELD;
}

static void a_transaction_paused_before_its_commit_loses_to_one_that_was_not(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w = {0};

    set(f->a, "/t/cas", "0");
    kv_mem_set_fate(f->a, hold, NULL);
    kv_txn_assert_equal(&txn, text("/t/cas"), text("0"));
    kv_txn_put(&txn, text("/t/cas"), text("paused"));
    kv_apply(f->a, &txn, 0, kv_wait_cb, &w);
    set(f->b, "/t/cas", "1");
    assert_int_equal(kv_mem_run_held(f->store), 0);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    expect(f, "/t/cas", "1");
    kv_wait_release(&w);
    kv_txn_release(&txn);
}

struct script {
    const enum kv_mem_fate *fates;
    unsigned count, used;
};

static enum kv_mem_fate scripted(void *ctx, const struct kv_txn *txn)
{
    struct script *s = ctx;

    (void)txn;
    return s->used < s->count ? s->fates[s->used++] : KV_MEM_NORMAL;
}

struct commit_wait {
    bool done;
    int rc;
    bool doubted;
    unsigned sent;
};

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    *(struct commit_wait *)ctx = (struct commit_wait){
        .done = true, .rc = rc, .doubted = result->doubted, .sent = result->sent};
}

static void commit(struct fixture *f, const enum kv_mem_fate *fates, unsigned count,
                   struct commit_wait *w)
{
    struct script script = {.fates = fates, .count = count};
    struct kv_txn txn = {0};

    *w = (struct commit_wait){0};
    kv_mem_set_fate(f->a, scripted, &script);
    kv_txn_assert_absent(&txn, text("/t/once"));
    kv_txn_put(&txn, text("/t/once"), text("1"));
    kv_commit(f->a, &txn, UINT64_MAX / 2, on_commit, w);
    loop_run_until(&f->loop, &w->done);
    kv_txn_release(&txn);
    kv_mem_set_fate(f->a, NULL, NULL);
}

static void a_commit_in_doubt_is_sent_again_and_executed_once(void **state)
{
    struct fixture *f = *state;
    struct commit_wait w;

    commit(f, (enum kv_mem_fate[]){KV_MEM_LOST_REQUEST}, 1, &w);
    assert_int_equal(w.rc, 0);
    assert_true(w.doubted);
    assert_int_equal(w.sent, 2);
    set(f->b, "/t/once", NULL);

    commit(f, (enum kv_mem_fate[]){KV_MEM_LOST_REPLY, KV_MEM_LOST_REQUEST}, 2, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED); /* and the caller finds its trace */
    assert_true(w.doubted);
    assert_int_equal(w.sent, 3);
    expect(f, "/t/once", "1");
    set(f->b, "/t/once", NULL);

    commit(f, (enum kv_mem_fate[]){KV_MEM_LATE}, 1, &w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(kv_mem_run_late(f->store), 0); /* the delayed copy changes nothing */
    commit(f, NULL, 0, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    assert_false(w.doubted);
}

/* ---- URLs ---- */

static void expect_refused(const char *where, const char *why)
{
    char url[KV_URL_BYTES_MAX];
    struct err e;

    assert_int_not_equal(kv_url_load(where, url, &e), 0);
    if (strstr(e.msg, why) == NULL) {
        fail_msg("'%s' does not say '%s'", e.msg, why);
    }
}

static void engines_are_refused_by_name(void **state)
{
    (void)state;
    expect_refused("arakoon://host:4000", "arakoon is not supported");
    expect_refused("etcd://host:2379", "no etcd engine");
    expect_refused("postgresql://host/db", "no postgresql engine");
    expect_refused("http://host", "not an engine URL such as asd://");
    expect_refused("ASD://127.0.0.1:1", "not an engine URL such as asd://");
    expect_refused("127.0.0.1:1",
                   "'127.0.0.1:1' is neither a file nor an engine URL such as asd://");
    expect_refused("", "the engine URL is empty; one looks like asd://");
    expect_refused("/no/such/file", "/no/such/file");
    expect_refused("file:///no/such/file", "/no/such/file");
}

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_url_may_lie_in_a_file(void **state)
{
    char path[] = "/tmp/test_meta_kv.XXXXXX";
    char as_url[64];
    char url[KV_URL_BYTES_MAX];
    int fd = mkstemp(path);
    struct err e;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    snprintf(as_url, sizeof(as_url), "file://%s", path);
    write_file(path, "\n  asd://127.0.0.1:8000\n");
    assert_int_equal(kv_url_load(path, url, &e), 0);
    assert_string_equal(url, "asd://127.0.0.1:8000");
    assert_int_equal(kv_url_load(as_url, url, &e), 0);
    assert_string_equal(url, "asd://127.0.0.1:8000");
    assert_int_equal(kv_url_load("asd://[::1]:1/x", url, &e), 0);
    assert_string_equal(url, "asd://[::1]:1/x");
    assert_int_equal(kv_url_load("asd+tls://[::1]:1/x", url, &e), 0);
    assert_string_equal(url, "asd+tls://[::1]:1/x");
    write_file(path, "[global]\ncluster = node_0\n");
    expect_refused(path, "arakoon configuration");
    write_file(path, "arakoon://x\n");
    expect_refused(path, "arakoon is not supported");
    write_file(path, "\n\n");
    expect_refused(path, "holds no engine URL");
    unlink(path);
}

static struct kv_mem_store *suite_store;

static struct kv *open_mem(uv_loop_t *loop)
{
    return kv_mem_open(loop, suite_store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_transaction_paused_before_its_commit_loses_to_one_that_was_not),
        TEST(a_commit_in_doubt_is_sent_again_and_executed_once),
        cmocka_unit_test(engines_are_refused_by_name),
        cmocka_unit_test(a_url_may_lie_in_a_file),
    };
    int failed;

    suite_store = kv_mem_store_new(1);
    kv_mem_store_jitter(suite_store, 4);
    failed = kv_suite_run(open_mem);
    kv_mem_store_free(suite_store);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
