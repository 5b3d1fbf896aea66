/* The asd:// engine against real alba-asd processes: conformance, kill -9, claims, and registry
 * and namespace manager on it. */
#include "unit/meta/asd_process.h"
#include "unit/meta/fixture.h"
#include "unit/meta/kv_suite.h"

#include <signal.h>

#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rnd.h"
#include "lib/tempdir.h"
#include "meta/kv_commit.h"
#include "meta/ns_keys.h"
#include "meta/osd_identity.h"
#include "meta/registry.h"

struct fixture {
    uv_loop_t loop;
    struct asd_process meta, storage;
    struct registry *registry;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    assert_int_equal(uv_loop_init(&f->loop), 0);
    asd_process_start(&f->meta, "meta");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->registry != NULL) {
        bool closed = false;

        registry_close(f->registry, loop_set_true, &closed);
        loop_run_until(&f->loop, &closed);
    }
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    asd_process_remove(&f->meta);
    asd_process_remove(&f->storage);
    free(f);
    return 0;
}

static struct kv *open_engine(struct fixture *f, const char *url)
{
    struct kv *kv;
    struct err e;

    assert_int_equal(kv_open(&f->loop, url, NULL, &kv, &e), 0);
    return kv;
}

static struct kv *prepared(uv_loop_t *loop, struct kv *kv)
{
    struct kv_wait w = {0};

    kv_prepare(kv, kv_wait_cb, &w);
    loop_run_until(loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    return kv;
}

static struct kv *open_store(struct fixture *f, const char *url)
{
    return prepared(&f->loop, open_engine(f, url));
}

/* ---- kill -9 ---- */

struct commit_wait {
    bool done;
    int rc;
    bool doubted;
};

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    *(struct commit_wait *)ctx =
        (struct commit_wait){.done = true, .rc = rc, .doubted = result->doubted};
}

/* counter: n -> n + 1, with a mark of its own. Returns 0, or what is to be settled. */
static int count_up(struct fixture *f, struct kv *kv, unsigned n, bool killed, bool *ret_doubted)
{
    struct kv_txn txn = {0};
    struct commit_wait w = {0};
    char old[16], new[16], mark[32];

    snprintf(old, sizeof(old), "%u", n);
    snprintf(new, sizeof(new), "%u", n + 1);
    snprintf(mark, sizeof(mark), "/t/mark %u", n + 1);
    if (n == 0) {
        kv_txn_assert_absent(&txn, text("/t/counter"));
    } else {
        kv_txn_assert_equal(&txn, text("/t/counter"), text(old));
    }
    kv_txn_put(&txn, text("/t/counter"), text(new));
    kv_txn_put(&txn, text(mark), text("here"));
    kv_commit(kv, &txn, clock_mono_ms() + 20000, on_commit, &w);
    if (killed) {
        for (uint64_t turns = clock_mono_ns() % 4; turns != 0; turns--) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
        }
        asd_process_kill(&f->meta);
        asd_process_start(&f->meta, "meta");
    }
    loop_run_until(&f->loop, &w.done);
    kv_txn_release(&txn);
    *ret_doubted = w.doubted;
    return w.rc;
}

static void commits_survive_kill_9_and_happen_once(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_store(f, f->meta.url);
    struct kv_wait w = {0};
    unsigned doubts = 0;

    for (unsigned n = 0; n < 24; n++) {
        bool doubted;
        int rc = count_up(f, kv, n, n % 3 == 2, &doubted);

        /* Refused after a doubt: only its own first sending can have raised the counter. */
        assert_true(rc == 0 || (rc == ERR_ASSERT_FAILED && doubted));
        doubts += doubted;
    }
    kv_range(kv, &(struct kv_range){.low = text("/t/"), .high = text("/t0"), .limit = 100}, 0,
             kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, 25);
    assert_true(slice_eq(w.items[0].value, text("24")));
    print_message("%u of 8 kills left a doubt\n", doubts);
    kv_wait_release(&w);
    close_kv(kv);
}

static void reads_wait_for_an_engine_that_comes_back(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_store(f, f->meta.url);
    struct kv_wait w = {0};
    struct slice key = text("/t/x");

    kv_get(kv, &key, 1, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    asd_process_kill(&f->meta);
    kv_get(kv, &key, 1, 15000, kv_wait_cb, &w);
    for (int i = 0; i < 50; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        uv_sleep(2);
    }
    assert_false(w.done);
    asd_process_start(&f->meta, "meta");
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_false(w.items[0].found);
    kv_wait_release(&w);
    close_kv(kv);
}

/* The deadline is an hour away. */
static void canceling_ends_what_waits_for_a_silent_engine(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_store(f, f->meta.url);
    struct kv_wait w = {0}, late = {0};
    struct slice key = text("/t/x");

    kv_get(kv, &key, 1, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    kv_wait_release(&w);
    asd_process_stop(&f->meta);
    w.done = false;
    kv_get(kv, &key, 1, 3600000, kv_wait_cb, &w);
    for (int i = 0; i < 50; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        uv_sleep(2);
    }
    assert_false(w.done);
    kv_cancel(kv);
    kv_get(kv, &key, 1, 3600000, kv_wait_cb, &late);
    loop_run_until(&f->loop, &late.done);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_CANCELED);
    assert_int_equal(late.rc, ERR_CANCELED);
    kv_wait_release(&w);
    kv_wait_release(&late);
    close_kv(kv);
}

static void only_an_engine_that_is_silent_long_enough_is_canceled(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_store(f, f->meta.url);
    struct kv_wait w = {0};
    struct slice key = text("/t/x");

    kv_cancel_silent(kv, 0); /* nothing is open */
    kv_get(kv, &key, 1, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    asd_process_stop(&f->meta);
    w.done = false;
    kv_get(kv, &key, 1, 3600000, kv_wait_cb, &w);
    kv_cancel_silent(kv, 3600000);
    for (int i = 0; i < 50; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        uv_sleep(2);
    }
    assert_false(w.done);
    kv_cancel_silent(kv, 100);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_CANCELED);
    kv_wait_release(&w);
    close_kv(kv);
}

static void an_engine_that_is_not_there_is_an_error_in_time_that_names_it(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_engine(f, f->meta.url);
    struct kv_wait w = {0};
    struct kv_txn txn = {0};
    struct slice key = text("/t/x");
    uint64_t began = clock_mono_ms();
    char where[32];

    asd_process_kill(&f->meta);
    snprintf(where, sizeof(where), "127.0.0.1:%u", f->meta.port);
    kv_get(kv, &key, 1, 500, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_not_equal(w.rc, 0);
    assert_non_null(strstr(w.err.msg, where));
    assert_in_range(clock_mono_ms() - began, 0, 3000);
    kv_wait_release(&w);
    kv_txn_put(&txn, key, text("1"));
    kv_apply(kv, &txn, 500, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_not_equal(w.rc, 0);
    assert_int_not_equal(w.rc, ERR_IN_DOUBT); /* it was certainly not sent */
    kv_wait_release(&w);
    kv_txn_release(&txn);
    close_kv(kv);
}

static void another_asd_at_that_address_is_refused(void **state)
{
    struct fixture *f = *state;
    char url[128];
    struct kv *kv;
    struct kv_wait w = {0};
    struct slice key = text("/t/x");

    snprintf(url, sizeof(url), "%s/somebody-else", f->meta.url);
    kv = open_engine(f, url);
    kv_get(kv, &key, 1, 3000, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_IDENTITY);
    kv_wait_release(&w);
    close_kv(kv);
    snprintf(url, sizeof(url), "%s/meta", f->meta.url);
    kv = open_store(f, url);
    kv_get(kv, &key, 1, 3000, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    close_kv(kv);
}

/* "Not found" would be a lie about every object; a commit would lie on what the mount hides. */
static void a_store_that_is_not_metadata_answers_nothing(void **state)
{
    struct fixture *f = *state;
    struct kv *kv = open_engine(f, f->meta.url);
    struct kv_wait w = {0};
    struct kv_txn txn = {0};
    struct slice key = text("/t/x");

    kv_get(kv, &key, 1, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_IDENTITY);
    assert_non_null(strstr(w.err.msg, "is its disk mounted?"));
    kv_wait_release(&w);
    kv_txn_put(&txn, key, text("1"));
    kv_apply(kv, &txn, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, ERR_IDENTITY);
    kv_wait_release(&w);
    kv = prepared(&f->loop, kv); /* seen by the same engine */
    kv_apply(kv, &txn, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_txn_release(&txn);
    close_kv(kv);
}

/* ---- claims ---- */

struct reg_wait {
    bool done;
    int rc;
    struct err err;
};

static void on_reg(void *ctx, int rc, const struct err *e)
{
    *(struct reg_wait *)ctx = (struct reg_wait){.done = true, .rc = rc, .err = *e};
}

static int reg_await(struct fixture *f, struct reg_wait *w)
{
    loop_run_until(&f->loop, &w->done);
    w->done = false;
    return w->rc;
}

struct probe_wait {
    bool done;
    int rc;
    char long_id[64], owner[64];
    uint64_t capacity_bytes;
};

static void on_probe(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct probe_wait *w = ctx;

    (void)e;
    w->done = true;
    w->rc = rc;
    w->capacity_bytes = identity->capacity_bytes;
    snprintf(w->long_id, sizeof(w->long_id), "%s", identity->long_id);
    snprintf(w->owner, sizeof(w->owner), "%s", identity->owner);
}

static struct net_addr addr_of(const struct asd_process *asd)
{
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_tcp(&addr, "127.0.0.1", asd->port, &e), 0);
    return addr;
}

static void expect_owner(struct fixture *f, const struct asd_process *asd, const char *owner)
{
    struct osd_question question = {.addr = addr_of(asd), .timeout_ms = 5000};
    struct probe_wait w = {0};

    osd_ask(&f->loop, &question, on_probe, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_string_equal(w.owner, owner);
    assert_string_equal(w.long_id, asd == &f->meta ? "meta" : "storage");
    assert_true(w.capacity_bytes > 0);
}

static int claim_as(struct fixture *f, const struct asd_process *asd, const char *owner)
{
    struct osd_question question = {.addr = addr_of(asd), .claimer = owner, .timeout_ms = 5000};
    struct probe_wait w = {0};

    osd_ask(&f->loop, &question, on_probe, &w);
    loop_run_until(&f->loop, &w.done);
    return w.rc;
}

static void add_osd(struct fixture *f, const char *long_id, uint16_t port)
{
    struct registry_osd osd = {
        .long_id = long_id, .ips = {"127.0.0.1"}, .ip_count = 1, .port = port, .node_id = "n"};
    struct reg_wait w = {0};

    registry_osd_add(f->registry, &osd, on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
}

static void open_registry(struct fixture *f)
{
    struct reg_wait w = {0};

    f->registry = registry_new(open_engine(f, f->meta.url));
    registry_init(f->registry, on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
}

static void storage_is_claimed_once_and_metadata_never(void **state)
{
    struct fixture *f = *state;
    const struct registry_osd *osd;
    struct reg_wait w = {0};

    asd_process_start(&f->storage, "storage");
    expect_owner(f, &f->meta, "");
    open_registry(f);
    expect_owner(f, &f->meta, OSD_OWNER_METADATA);
    add_osd(f, "storage", f->storage.port);
    add_osd(f, "meta", f->meta.port);

    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
    osd = registry_view_osd_find(registry_view(f->registry), "storage");
    assert_true(osd->is_claimed);
    assert_int_equal(osd->osd_id, 1);
    assert_ptr_equal(registry_view_osd_by_id(registry_view(f->registry), 1), osd);
    expect_owner(f, &f->storage, registry_view_alba_id(registry_view(f->registry)));
    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(registry_view_osd_find(registry_view(f->registry), "storage")->osd_id, 1);

    registry_osd_claim(f->registry, "meta", on_reg, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "holds metadata"));
    registry_osd_claim(f->registry, "nobody", on_reg, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
}

static void an_asd_of_another_alba_is_refused_with_its_owner(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct kv *kv;
    struct kv_wait k = {0};

    asd_process_start(&f->storage, "storage");
    open_registry(f);
    add_osd(f, "storage", f->storage.port);
    assert_int_equal(claim_as(f, &f->storage, "another-alba"), 0);
    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "another-alba"));
    assert_false(registry_view_osd_find(registry_view(f->registry), "storage")->is_claimed);
    /* What is storage cannot become a metadata store. */
    kv = open_engine(f, f->storage.url);
    kv_prepare(kv, kv_wait_cb, &k);
    loop_run_until(&f->loop, &k.done);
    assert_int_equal(k.rc, ERR_EXISTS);
    assert_non_null(strstr(k.err.msg, "another-alba"));
    kv_wait_release(&k);
    close_kv(kv);
}

/* The claim stopped between the OSD and the registry. */
static void a_claim_that_was_interrupted_goes_on(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    asd_process_start(&f->storage, "storage");
    open_registry(f);
    add_osd(f, "storage", f->storage.port);
    assert_int_equal(claim_as(f, &f->storage, registry_view_alba_id(registry_view(f->registry))),
                     0);
    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_true(registry_view_osd_find(registry_view(f->registry), "storage")->is_claimed);
}

static void a_claim_of_an_osd_that_is_down_or_another_fails_in_time(void **state)
{
    struct fixture *f = *state;
    struct asd_process other = {0};
    struct reg_wait w = {0};

    asd_process_start(&f->storage, "storage");
    open_registry(f);
    add_osd(f, "storage", f->storage.port);
    asd_process_kill(&f->storage);
    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_not_equal(reg_await(f, &w), 0);
    assert_non_null(strstr(w.err.msg, "storage"));
    other.port = f->storage.port;
    asd_process_start(&other, "other"); /* took its address */
    registry_osd_claim(f->registry, "storage", on_reg, &w);
    assert_int_equal(reg_await(f, &w), ERR_IDENTITY);
    asd_process_remove(&other);
}

/* ---- a namespace on it ---- */

struct nsm_wait {
    bool done;
    int rc;
    bool found;
};

static void on_nsm(void *ctx, int rc, struct nsm_reply *reply)
{
    *(struct nsm_wait *)ctx = (struct nsm_wait){
        .done = true,
        .rc = rc,
        .found = reply->objects != NULL && reply->count == 1 && reply->objects[0].found};
}

static void a_namespace_lives_through_kill_9(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct nsm_wait n = {0};
    struct manifest m = {0};
    struct manifest *upload = &m;
    struct slice name = text("object");
    const struct registry_namespace *ns;
    uint8_t id[NSM_OBJECT_ID_BYTES];
    struct nsm *nsm;
    struct err e;

    open_registry(f);
    registry_namespace_create(f->registry, "ns", NULL, on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
    ns = registry_view_namespace_find(registry_view(f->registry), "ns", 2);
    assert_int_equal(registry_nsm(f->registry, ns->nsm_host, &nsm, &e), 0);
    rnd_bytes(id, sizeof(id));
    manifest_set(&m.name, name);
    manifest_set(&m.object_id, slice_of(id, sizeof(id)));
    m.scheme.k = 1;
    m.scheme.codec = MANIFEST_CODEC_NONE;
    m.scheme.cipher = MANIFEST_CIPHER_NONE;
    m.gc_epoch = 1;
    manifest_alloc_chunks(&m, 1);
    nsm_apply(nsm, ns->id, &(struct nsm_sequence){.uploads = &upload, .upload_count = 1}, on_nsm,
              &n);
    loop_run_until(&f->loop, &n.done);
    assert_int_equal(n.rc, 0);
    asd_process_kill(&f->meta);
    asd_process_start(&f->meta, "meta");
    n.done = false;
    nsm_get(nsm, ns->id, &name, 1, on_nsm, &n);
    loop_run_until(&f->loop, &n.done);
    assert_int_equal(n.rc, 0);
    assert_true(n.found);
    registry_namespace_delete(f->registry, "ns", on_reg, &w);
    assert_int_equal(reg_await(f, &w), 0);
    manifest_release(&m);
}

/* ---- damaged values ---- */

enum { BIG_VALUE_BYTES = 20000, BIG_KEYS = 70 };

/* Values so large that each lies in a slab, of one byte all over. */
static void put_big_values(struct fixture *f, struct kv *kv)
{
    uint8_t *bytes = mem_alloc(BIG_VALUE_BYTES);

    for (unsigned i = 0; i < BIG_KEYS; i++) {
        struct kv_txn txn = {0};
        struct kv_wait w = {0};
        char key[16];

        snprintf(key, sizeof(key), "/t/%02u", i);
        memset(bytes, 100 + (int)i, BIG_VALUE_BYTES);
        kv_txn_put(&txn, text(key), slice_of(bytes, BIG_VALUE_BYTES));
        kv_apply(kv, &txn, 0, kv_wait_cb, &w);
        loop_run_until(&f->loop, &w.done);
        assert_int_equal(w.rc, 0);
        kv_wait_release(&w);
        kv_txn_release(&txn);
    }
    free(bytes);
}

/* Flips a bit in the value whose bytes are `fill`. */
static void damage_on_disk(const struct fixture *f, uint8_t fill)
{
    char *pattern = tempdir_path(f->meta.dir, "home/slabs/*");
    uint8_t want[512], got[512];
    bool found = false;
    glob_t slabs;
    int fd;

    assert_int_equal(glob(pattern, 0, NULL, &slabs), 0);
    assert_int_equal(slabs.gl_pathc, 1);
    fd = open(slabs.gl_pathv[0], O_RDWR);
    assert_true(fd >= 0);
    memset(want, fill, sizeof(want));
    for (off_t at = 0; !found && pread(fd, got, sizeof(got), at) == (ssize_t)sizeof(got);
         at += (off_t)sizeof(got)) {
        if (memcmp(got, want, sizeof(want)) == 0) {
            got[7] ^= 1;
            assert_int_equal(pwrite(fd, got, sizeof(got), at), sizeof(got));
            found = true;
        }
    }
    assert_true(found);
    close(fd);
    globfree(&slabs);
    free(pattern);
}

static bool is_one_of(size_t i, const unsigned bad[3])
{
    return i == bad[0] || i == bad[1] || i == bad[2];
}

static void expect_values(const struct kv_wait *w, const unsigned bad[3], size_t first,
                          bool reverse)
{
    for (size_t i = 0; i < w->count; i++) {
        size_t nr = reverse ? first - i : first + i;
        const struct kv_item *item = &w->items[i];
        char key[16];

        snprintf(key, sizeof(key), "/t/%02zu", nr);
        assert_true(slice_eq(item->key, text(key)) && item->found);
        assert_int_equal(item->is_damaged, is_one_of(nr, bad));
        assert_int_equal(item->value.len, item->is_damaged ? 0 : BIG_VALUE_BYTES);
        assert_true(item->is_damaged || item->value.data[9] == 100 + nr);
    }
}

static void expect_range(struct fixture *f, struct kv *kv, const unsigned bad[3], size_t limit,
                         bool reverse)
{
    struct kv_wait w = {0};

    kv_range(kv,
             &(struct kv_range){
                 .low = text("/t/"), .high = text("/t0"), .limit = limit, .reverse = reverse},
             0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, limit < BIG_KEYS ? limit : BIG_KEYS);
    assert_int_equal(w.has_more, limit < BIG_KEYS);
    expect_values(&w, bad, reverse ? BIG_KEYS - 1 : 0, reverse);
    kv_wait_release(&w);
}

static void a_damaged_value_fails_no_read_of_the_others(void **state)
{
    static const unsigned bad[3] = {0, 3, BIG_KEYS - 1};
    struct fixture *f = *state;
    struct kv *kv = open_store(f, f->meta.url);
    char texts[BIG_KEYS][16];
    struct slice keys[BIG_KEYS];
    struct kv_txn txn = {0};
    struct kv_wait w = {0};

    put_big_values(f, kv);
    for (unsigned i = 0; i < BIG_KEYS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "/t/%02u", i);
        keys[i] = text(texts[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        damage_on_disk(f, (uint8_t)(100 + bad[i]));
    }
    kv_get(kv, keys, BIG_KEYS, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, BIG_KEYS);
    expect_values(&w, bad, 0, false);
    kv_wait_release(&w);
    for (size_t limit = 1; limit < 6; limit++) {
        expect_range(f, kv, bad, limit, false);
        expect_range(f, kv, bad, limit, true);
    }
    expect_range(f, kv, bad, 1000, false);
    expect_range(f, kv, bad, 1000, true);
    kv_txn_delete(&txn, keys[0]); /* what cannot be read can be replaced */
    kv_txn_put(&txn, keys[3], text("anew"));
    kv_apply(kv, &txn, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_get(kv, keys, 4, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_false(w.items[0].found);
    assert_true(slice_eq(w.items[3].value, text("anew")) && !w.items[3].is_damaged);
    kv_wait_release(&w);
    kv_txn_release(&txn);
    close_kv(kv);
}

static struct asd_process suite_asd;

static struct kv *open_suite(uv_loop_t *loop)
{
    struct kv *kv;
    struct err e;

    assert_int_equal(kv_open(loop, suite_asd.url, NULL, &kv, &e), 0);
    return prepared(loop, kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commits_survive_kill_9_and_happen_once),
        TEST(reads_wait_for_an_engine_that_comes_back),
        TEST(canceling_ends_what_waits_for_a_silent_engine),
        TEST(only_an_engine_that_is_silent_long_enough_is_canceled),
        TEST(an_engine_that_is_not_there_is_an_error_in_time_that_names_it),
        TEST(another_asd_at_that_address_is_refused),
        TEST(a_store_that_is_not_metadata_answers_nothing),
        TEST(storage_is_claimed_once_and_metadata_never),
        TEST(an_asd_of_another_alba_is_refused_with_its_owner),
        TEST(a_claim_that_was_interrupted_goes_on),
        TEST(a_claim_of_an_osd_that_is_down_or_another_fails_in_time),
        TEST(a_namespace_lives_through_kill_9),
        TEST(a_damaged_value_fails_no_read_of_the_others),
    };
    int failed;

    asd_process_start(&suite_asd, NULL);
    failed = kv_suite_run(open_suite);
    asd_process_remove(&suite_asd);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
