/* restore-metadata into an engine in memory: what it sends late, or another one sends after it,
 * does nothing; ids and versions are not given out twice. BACKUP.md, "Restore". */
#include "unit/meta/fixture.h"

#include "alba/backup.h"
#include "loop/run.h"
#include "meta/lease.h"
#include "meta/ns_keys.h"
#include "meta/registry_record.h"

enum { NAMES = 250, NS_ID = 7, VERSION = 42, NEXT_NAMESPACE = 20 };

struct fixture {
    struct session s;
    struct kv_mem_store *store;
    struct kv *kv_a, *kv_b;
    FILE *file;

    unsigned applies; /* of kv_a, without those of the lease */
    unsigned die_at;  /* from this one on nothing happens at once, and it gives up; 0: never */
    const char *replace_alba;
    bool delay; /* a copy of everything comes late */
};

/* ---- a stream ---- */

static void put_json(struct backup_file *b, const char *prefix, const char *id, json_t *take_json)
{
    struct buf value = {0};
    struct key key;
    struct slice k = reg_key(&key, prefix, id);
    struct err e;

    value_make_json(&value, k, take_json);
    assert_int_equal(backup_put(b, BACKUP_VALUE, k, slice_buf(&value), &e), 0);
    buf_release(&value);
    json_decref(take_json);
}

static void put_name(struct backup_file *b, unsigned i)
{
    struct buf value = {0};
    char name[16];
    struct key key;
    struct slice k;
    struct err e;

    snprintf(name, sizeof(name), "name%u", i);
    k = ns_key_name(&key, NS_ID, text(name));
    value_make(&value, k, text("as backed up"));
    assert_int_equal(backup_put(b, BACKUP_VALUE, k, slice_buf(&value), &e), 0);
    buf_release(&value);
}

static json_t *osd(const char *long_id, unsigned osd_id)
{
    json_t *json = json_pack("{s:s, s:s}", "long_id", long_id, "node_id", "n");

    if (osd_id != 0) {
        json_object_set_new(json, "osd_id", json_integer(osd_id));
    }
    return json;
}

static FILE *make_stream(void)
{
    struct backup_head head = {.version = VERSION, .time_us = 1700000000000000};
    FILE *file = tmpfile();
    struct backup_file b;
    struct err e;

    assert_non_null(file);
    memset(head.commit, 'a', COPY_COMMIT_TEXT_BYTES - 1);
    snprintf(head.alba_id, sizeof(head.alba_id), "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0");
    assert_int_equal(backup_begin(&b, file, &head, &e), 0);
    put_json(&b, REG_ALBA, "", json_pack("{s:s}", "id", head.alba_id));
    put_json(&b, REG_NEXT_ID, "",
             json_pack("{s:i, s:i, s:i}", "osd", 3, "namespace", NEXT_NAMESPACE, "work", 5));
    put_json(&b, REG_OSD, "added", osd("added", 0));
    put_json(&b, REG_OSD, "both", osd("both", 1));
    put_json(&b, REG_OSD, "purged", osd("purged", 2));
    put_json(&b, REG_NSM_HOST, "registry",
             json_pack("{s:s, s:s}", "id", "registry", "url", "registry:"));
    assert_int_equal(backup_put_place(&b, NS_ID, "registry", &e), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        put_name(&b, i);
    }
    assert_int_equal(backup_end(&b, &e), 0);
    assert_int_equal(fflush(file), 0);
    backup_release(&b);
    return file;
}

/* ---- the target ---- */

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    session_init(&f->s);
    f->store = kv_mem_store_new(1);
    f->kv_a = kv_mem_open(&f->s.loop, f->store);
    f->kv_b = kv_mem_open(&f->s.loop, f->store);
    f->file = make_stream();
    *state = f;
    return 0;
}

static void on_closed(void *ctx)
{
    session_done(ctx, 0, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    kv_close(f->kv_a, on_closed, &f->s);
    session_wait(&f->s);
    f->s.kv = f->kv_b;
    session_close(&f->s);
    kv_mem_store_free(f->store);
    fclose(f->file);
    free(f);
    return 0;
}

static int restore(struct fixture *f, struct kv *kv)
{
    struct restore_options options = {.force = true, .replace_alba = f->replace_alba};
    struct restore_result result = {0};
    int rc;

    f->s.kv = kv;
    rc = restore_run(&f->s, f->file, &options, &result);
    json_decref(result.left_out);
    json_decref(result.kept_osds);
    return rc;
}

static json_t *record(const struct fixture *f, const char *name)
{
    struct slice value;
    struct key key;
    struct slice k = reg_key(&key, name, "");
    struct err e;
    json_t *json;

    assert_true(kv_mem_peek(f->store, k, &value));
    assert_int_equal(value_open_json(k, value, &json, &e), 0);
    return json;
}

static uint64_t number(const struct fixture *f, const char *name, const char *field)
{
    json_t *json = record(f, name);
    uint64_t value = json_u64(json, field, 0);

    json_decref(json);
    return value;
}

static void poke_json(struct fixture *f, const char *name, json_t *take_json)
{
    struct buf value = {0};
    struct key key;
    struct slice k = reg_key(&key, name, "");

    value_make_json(&value, k, take_json);
    kv_mem_poke(f->store, k, slice_buf(&value));
    buf_release(&value);
    json_decref(take_json);
}

/* As clients do when service has resumed: one name is another object's, one is new. */
static void clients_write(struct fixture *f)
{
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_name(&key, NS_ID, text("name0"));

    value_make(&value, k, text("written since"));
    kv_mem_poke(f->store, k, slice_buf(&value));
    k = ns_key_name(&key, NS_ID, text("new"));
    kv_mem_poke(f->store, k, slice_buf(&value));
    buf_release(&value);
}

/* ---- fates ---- */

static bool is_lease(const struct kv_txn *txn)
{
    struct key key;

    return slice_eq(txn->updates[0].key, reg_key(&key, REG_LEASE, "maintenance"));
}

static enum kv_mem_fate fate_of_a(void *ctx, const struct kv_txn *txn)
{
    struct fixture *f = ctx;

    if (is_lease(txn)) {
        return KV_MEM_NORMAL;
    }
    f->applies++;
    if (f->die_at != 0 && f->applies >= f->die_at) {
        return f->applies == f->die_at ? KV_MEM_LATE : KV_MEM_REFUSED;
    }
    return f->delay && f->applies % 2 == 1 ? KV_MEM_LATE : KV_MEM_NORMAL;
}

/* ---- tests ---- */

static void what_a_restore_sends_late_does_nothing(void **state)
{
    struct fixture *f = *state;

    poke_json(f, REG_NEXT_ID, json_pack("{s:i}", "namespace", 1));
    f->delay = true; /* each transaction: one copy late, then it again */
    kv_mem_set_fate(f->kv_a, fate_of_a, f);
    assert_int_equal(restore(f, f->kv_a), 0);
    assert_true(f->applies >= 12);
    clients_write(f);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/ns/")), NAMES + 1);
}

/* Stopped before any of its steps; another one restores and clients write; then the first wakes. */
static void a_restore_that_wakes_after_another_does_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned steps;

    kv_mem_set_fate(f->kv_a, fate_of_a, f);
    assert_int_equal(restore(f, f->kv_a), 0);
    clients_write(f);
    assert_int_equal(restore(f, f->kv_a), 0);
    steps = f->applies / 2;
    assert_true(steps > 4);
    for (f->die_at = 1; f->die_at <= steps; f->die_at++) {
        uint64_t version;

        f->applies = 0;
        assert_int_not_equal(restore(f, f->kv_a), 0);
        assert_int_equal(restore(f, f->kv_b), 0);
        version = number(f, REG_VERSION, "version");
        clients_write(f);
        assert_int_equal(kv_mem_run_late(f->store), 0);
        assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/ns/")), NAMES + 1);
        assert_int_equal(number(f, REG_VERSION, "version"), version);
    }
}

static void the_state_that_was_backed_up_is_not_taken_for_the_restored_one(void **state)
{
    struct fixture *f = *state;
    char id[RECORD_ID_TEXT_BYTES];
    struct slice value;
    struct key key;
    json_t *json;

    assert_int_equal(restore(f, f->kv_a), 0);
    json = record(f, REG_VERSION);
    assert_int_equal(json_u64(json, "version", 0), VERSION + 1);
    assert_null(strstr(json_text(json, "commit", ""), "aaaaaaaaaaaaaaaa"));
    json_decref(json);
    record_id_text(VERSION + 1, id);
    assert_true(kv_mem_peek(f->store, reg_key(&key, REG_CHANGE, id), &value));
}

/* What the registry that is deleted has given out is not given out again, also when the first
 * restore was stopped after that. */
static void ids_go_on_above_those_of_the_target(void **state)
{
    struct fixture *f = *state;
    uint64_t first;

    assert_int_equal(restore(f, f->kv_b), 0);
    first = number(f, REG_NEXT_ID, "namespace");
    assert_true(first > NEXT_NAMESPACE);
    assert_int_equal(number(f, REG_RECOVERED, "unsure_from"), NEXT_NAMESPACE);
    poke_json(f, REG_NEXT_ID,
              json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)9000, "namespace",
                        (json_int_t)(first + 2), "work", (json_int_t)9000));
    kv_mem_set_fate(f->kv_a, fate_of_a, f);
    f->die_at = 5;
    assert_int_not_equal(restore(f, f->kv_a), 0);
    assert_int_equal(restore(f, f->kv_b), 0);
    assert_true(number(f, REG_NEXT_ID, "namespace") > first + 2);
    assert_true(number(f, REG_NEXT_ID, "osd") > 9000);
    assert_true(number(f, REG_NEXT_ID, "work") > 9000);
    assert_int_equal(number(f, REG_RECOVERED, "unsure_from"), NEXT_NAMESPACE);
    assert_int_equal(number(f, REG_RECOVERED, "unsure_to"), number(f, REG_NEXT_ID, "namespace"));
}

static void force_does_not_delete_another_alba(void **state)
{
    struct fixture *f = *state;

    poke_json(f, REG_ALBA, json_pack("{s:s}", "id", "another"));
    assert_int_equal(restore(f, f->kv_a), ERR_EXISTS);
    assert_non_null(strstr(f->s.err.msg, "of alba another, the backup is of alba 0b1c2d3e-"));
    f->replace_alba = "a third";
    assert_int_equal(restore(f, f->kv_a), ERR_EXISTS);
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/")), 1);
    f->replace_alba = "another";
    assert_int_equal(restore(f, f->kv_a), 0);
    f->replace_alba = NULL;
    assert_int_equal(restore(f, f->kv_a), 0); /* its own */
}

/* As the registry of this alba is some time after the backup. */
static void claim_since(struct fixture *f)
{
    poke_json(f, REG_ALBA, json_pack("{s:s}", "id", "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0"));
    poke_json(f, REG_OSD "added", osd("added", 8)); /* it was not claimed then */
    poke_json(f, REG_OSD "both", osd("both", 1));
    poke_json(f, REG_OSD "late", osd("late", 9));
    poke_json(f, REG_OSD "late-unclaimed", osd("late-unclaimed", 0));
    poke_json(f, REG_OSD "of another history", osd("of another history", 2));
}

static void assert_osds(const struct fixture *f, unsigned count)
{
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/reg/osd/")), count);
    assert_int_equal(number(f, REG_OSD "added", "osd_id"), count == 4 ? 8 : 0);
    assert_int_equal(number(f, REG_OSD "both", "osd_id"), 1);
    assert_int_equal(number(f, REG_OSD "purged", "osd_id"), 2);
    if (count == 4) {
        assert_int_equal(number(f, REG_OSD "late", "osd_id"), 9);
    }
}

/* Manifests of NSM hosts that are not restored name them. Not one whose id the backup gives to
 * another; also when a restore was cut at any step, and another one went on. */
static void osds_claimed_after_the_backup_keep_their_ids(void **state)
{
    struct fixture *f = *state;
    unsigned steps;

    claim_since(f);
    kv_mem_set_fate(f->kv_a, fate_of_a, f);
    assert_int_equal(restore(f, f->kv_a), 0);
    assert_osds(f, 4);
    steps = f->applies;
    for (f->die_at = 1; f->die_at <= steps; f->die_at++) {
        f->applies = 0;
        claim_since(f);
        assert_int_not_equal(restore(f, f->kv_a), 0);
        assert_int_equal(restore(f, f->kv_b), 0);
        assert_int_equal(kv_mem_run_late(f->store), 0);
        assert_osds(f, 4);
    }
}

/* Not those of another alba, which is replaced, also by the one that goes on after a cut. */
static void osds_of_an_alba_that_is_replaced_go(void **state)
{
    struct fixture *f = *state;
    unsigned steps;

    f->replace_alba = "another";
    claim_since(f);
    poke_json(f, REG_ALBA, json_pack("{s:s}", "id", "another"));
    kv_mem_set_fate(f->kv_a, fate_of_a, f);
    assert_int_equal(restore(f, f->kv_a), 0);
    assert_osds(f, 3);
    steps = f->applies;
    for (f->die_at = 1; f->die_at <= steps; f->die_at++) {
        f->applies = 0;
        claim_since(f);
        poke_json(f, REG_ALBA, json_pack("{s:s}", "id", "another"));
        assert_int_not_equal(restore(f, f->kv_a), 0);
        assert_int_equal(restore(f, f->kv_b), 0);
        assert_osds(f, 3);
    }
}

static bool is_held(void *lease)
{
    return lease_is_held(lease);
}

/* Its renewals are seen, and nothing is touched; when it has ended, the restore goes on. */
static void an_agent_that_works_is_not_restored_under(void **state)
{
    struct fixture *f = *state;
    struct lease_options options = {
        .name = LEASE_MAINTENANCE, .owner = "agent", .ttl_ms = 600, .renew_ms = 100};
    struct lease *lease;

    poke_json(f, REG_NEXT_ID, json_pack("{s:i}", "namespace", 1));
    lease = lease_new(f->kv_b, &options);
    loop_run_until_true(&f->s.loop, is_held, lease);
    assert_int_equal(restore(f, f->kv_a), ERR_BUSY);
    assert_non_null(strstr(f->s.err.msg, "agent works"));
    assert_int_equal(number(f, REG_NEXT_ID, "namespace"), 1);
    lease_close(lease, on_closed, &f->s);
    session_wait(&f->s);
    assert_int_equal(restore(f, f->kv_a), 0);
}

/* The lease of a restore that was killed is not waited for; it is given back in the end. */
static void the_lease_of_a_restore_that_was_cut_is_dropped(void **state)
{
    struct fixture *f = *state;
    json_t *json;

    poke_json(f, REG_LEASE "maintenance",
              json_pack("{s:s, s:i, s:i}", "owner", "restore-metadata x", "counter", 3, "ttl_ms",
                        LEASE_MAINTENANCE_MS));
    assert_int_equal(restore(f, f->kv_a), 0);
    json = record(f, REG_LEASE "maintenance");
    assert_string_equal(json_text(json, "owner", "?"), "");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_restore_sends_late_does_nothing),
        TEST(a_restore_that_wakes_after_another_does_nothing),
        TEST(the_state_that_was_backed_up_is_not_taken_for_the_restored_one),
        TEST(force_does_not_delete_another_alba),
        TEST(an_agent_that_works_is_not_restored_under),
        TEST(the_lease_of_a_restore_that_was_cut_is_dropped),
        TEST(ids_go_on_above_those_of_the_target),
        TEST(osds_claimed_after_the_backup_keep_their_ids),
        TEST(osds_of_an_alba_that_is_replaced_go),
    };

    return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
