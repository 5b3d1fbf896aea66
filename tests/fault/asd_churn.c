/* Twenty times its capacity goes through a store that is kept as full as it lets itself be:
 * overwrites, deletes, and a share of values that stay, so that slabs are left with little in
 * them. What clients can keep stays near the capacity, what the home takes on the disk stays
 * bounded, and no live byte is lost, before and after a restart.
 *
 * ASD_CHURN=full: 2 GiB, values to 8 MiB. Else a small one. An argument is the seed. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "fault/asd_fixture.h"
#include "loop/run.h"

enum {
    MIB = 1 << 20,
    TIMES = 20, /* the capacity */
    GROUP = 16, /* in flight */
    VALUE_BYTES_MIN = 4096,
    USABLE_PERCENT_MIN = 85, /* of the capacity, and of the disk used */
    KEPT_PERCENT_MAX = 30,   /* of the capacity: values that stay to the end */
    SLABS_MAX = 10, /* times the capacity: one of which less than an eighth lives is emptied */
    PUNCH_DELAY_MS = 1000, /* as the daemon has it */
};

/* What the home may take beyond its capacity, whatever that is: RocksDB's log, which goes when a
 * memtable of 64 MiB has become a table, and that table; ranges freed and not yet punched: 32 MiB
 * wait at most until the reclaim thread begins, which goes on beside the writes. */
static const uint64_t MARGIN_BYTES = UINT64_C(192) * MIB;

struct size {
    uint64_t capacity_bytes;
    uint64_t slab_bytes;
    uint32_t value_bytes_max;
    bool is_disk_judged;
};

/* RocksDB's log and tables, and what waits to be punched, take 50 to 130 MiB whatever the capacity:
 * more than all of the small one, and of 1 GiB so much that 86 % is all it could leave for values.
 * 2 GiB is still less than any device. */
static const struct size small = {64 * MIB, 8 * MIB, MIB, false};
static const struct size full = {UINT64_C(2048) * MIB, 64 * MIB, 8 * MIB, true};

static uint64_t test_seed = 20261121;

struct value {
    uint32_t number; /* its key */
    uint32_t bytes;
    uint32_t at; /* in `bytes` of the churn */
    bool kept;
};

struct churn {
    struct asd_fixture f;
    struct size size;
    struct rnd rnd;
    uint8_t *bytes;       /* twice the longest value: values are parts of it */
    struct value *values; /* live */
    size_t count;
    size_t cap;
    uint32_t next_number;
    uint64_t live_bytes;
    uint64_t kept_bytes;
    uint64_t written_bytes;
    uint64_t live_at_refusal_min;
    uint64_t refusals;
    uint64_t disk_bytes_max;
    bool is_full;
};

/* ---- values ---- */

/* Log-uniform: as many between 4 and 8 KiB as between 4 and 8 MiB. */
static uint32_t random_bytes(struct churn *c)
{
    uint32_t low = VALUE_BYTES_MIN;
    unsigned doublings = 0;

    while (low << (doublings + 1) <= c->size.value_bytes_max) {
        doublings++;
    }
    low <<= rnd_below(&c->rnd, doublings);
    return low + (uint32_t)rnd_below(&c->rnd, low + 1);
}

static void value_renew(struct churn *c, struct value *v)
{
    v->bytes = random_bytes(c);
    v->at = (uint32_t)rnd_below(&c->rnd, c->size.value_bytes_max);
}

static void key_name(char ret_key[16], const struct value *v)
{
    snprintf(ret_key, 16, "%08x", v->number * 2654435761U); /* not in order */
}

static void value_add(struct churn *c, struct value v)
{
    if (c->count == c->cap) {
        c->cap = c->cap == 0 ? 1024 : 2 * c->cap;
        c->values = mem_realloc(c->values, c->cap * sizeof(c->values[0]));
    }
    c->values[c->count++] = v;
    c->live_bytes += v.bytes;
    c->kept_bytes += v.kept ? v.bytes : 0;
}

static struct value value_remove(struct churn *c, size_t at)
{
    struct value v = c->values[at];

    c->live_bytes -= v.bytes;
    c->kept_bytes -= v.kept ? v.bytes : 0;
    c->values[at] = c->values[--c->count];
    return v;
}

/* ---- what the home takes on the disk ---- */

static uint64_t disk_bytes(const char *path)
{
    DIR *dir = opendir(path);
    uint64_t bytes = 0;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char *name;
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        name = mem_printf("%s/%s", path, entry->d_name);
        if (lstat(name, &st) == 0) { /* else it went meanwhile */
            bytes += S_ISDIR(st.st_mode) ? disk_bytes(name) : (uint64_t)st.st_blocks * 512;
        }
        free(name);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return bytes;
}

static void look_at_disk(struct churn *c)
{
    uint64_t bytes = disk_bytes(c->f.dir);

    c->disk_bytes_max = bytes > c->disk_bytes_max ? bytes : c->disk_bytes_max;
}

/* ---- transactions ---- */

struct sent {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    struct value value; /* as it is to be */
    char key[16];
    bool done;
    int rc;
};

static void on_sent(struct asd_store_op *op, int rc)
{
    struct sent *s = container_of(op, struct sent, apply.op);

    s->rc = rc;
    s->done = true;
}

static void send_one(struct churn *c, struct sent *s)
{
    key_name(s->key, &s->value);
    s->update.key = slice_str(s->key);
    s->update.value = slice_of(c->bytes + s->value.at, s->update.is_delete ? 0 : s->value.bytes);
    s->what = (struct asd_apply){.updates = &s->update, .update_count = 1};
    assert_int_equal(
        asd_store_apply(asd_store_front(c->f.store), &s->apply, &s->what, ASD_PRIO_HIGH, on_sent),
        0);
}

/* A value that may change; `count` if there is none. */
static size_t random_value(struct churn *c)
{
    for (unsigned i = 0; c->count > 0 && i < 100; i++) {
        size_t at = rnd_below(&c->rnd, c->count);

        if (!c->values[at].kept) {
            return at;
        }
    }
    return c->count;
}

/* The value, as it was, is out of the list while something is sent for its key. */
static struct sent choose(struct churn *c, struct value *ret_old, bool *ret_has_old)
{
    size_t at = random_value(c);
    struct sent s = {.rc = 0};

    *ret_has_old = at != c->count && (c->is_full || rnd_below(&c->rnd, 3) == 0);
    if (*ret_has_old) {
        *ret_old = value_remove(c, at);
        s.value = *ret_old;
        s.update.is_delete = c->is_full || rnd_below(&c->rnd, 3) == 0;
    } else {
        s.value.number = c->next_number++;
        s.value.kept = rnd_below(&c->rnd, 10) == 0 &&
                       c->kept_bytes < c->size.capacity_bytes / 100 * KEPT_PERCENT_MAX;
    }
    if (!s.update.is_delete) {
        value_renew(c, &s.value);
    }
    return s;
}

static void refused(struct churn *c)
{
    c->is_full = true;
    c->refusals++;
    if (c->live_bytes < c->live_at_refusal_min) {
        c->live_at_refusal_min = c->live_bytes;
    }
}

static void run_group(struct churn *c)
{
    struct sent sent[GROUP];
    struct value old[GROUP];
    bool has_old[GROUP];
    bool any_refused = false;

    for (unsigned i = 0; i < GROUP; i++) {
        sent[i] = choose(c, &old[i], &has_old[i]);
        send_one(c, &sent[i]);
    }
    for (unsigned i = 0; i < GROUP; i++) {
        const struct sent *s = &sent[i];

        loop_run_until(&c->f.base.loop, &s->done);
        if (s->rc == ERR_FULL) {
            any_refused = true;
            if (has_old[i]) {
                value_add(c, old[i]);
            }
            continue;
        }
        assert_int_equal(s->rc, 0);
        if (!s->update.is_delete) {
            value_add(c, s->value);
            c->written_bytes += s->value.bytes;
        }
    }
    if (any_refused) {
        refused(c);
    } else if (c->live_bytes < c->size.capacity_bytes / 100 * 90) {
        c->is_full = false;
    }
    look_at_disk(c);
}

/* ---- all of it: waits have no end of their own, the disk may still be busy ---- */

struct got {
    struct asd_store_get get;
    bool done;
};

static void on_got(struct asd_store_op *op, int rc)
{
    assert_int_equal(rc, 0);
    container_of(op, struct got, get.op)->done = true;
}

static void check_value(struct churn *c, const struct value *v)
{
    struct got g = {.done = false};
    char key[16];
    struct slice keys[1];

    key_name(key, v);
    keys[0] = slice_str(key);
    assert_int_equal(asd_store_get(asd_store_front(c->f.store), &g.get, keys, 1, NULL, on_got), 0);
    loop_run_until(&c->f.base.loop, &g.done);
    assert_int_equal(g.get.values[0].rc, 0);
    assert_int_equal(g.get.values[0].bytes, v->bytes);
    assert_memory_equal(g.get.values[0].data, c->bytes + v->at, v->bytes);
    asd_store_get_release(&g.get);
}

static bool is_settled(void *ctx)
{
    struct churn *c = ctx;
    struct asd_store_stats s = asd_store_stats(c->f.store);

    return s.frees_pending == 0 && !s.evacuating;
}

static void check_values(struct churn *c)
{
    for (size_t i = 0; i < c->count; i++) {
        check_value(c, &c->values[i]);
    }
}

static void report(struct churn *c, const struct asd_store_stats *s)
{
    double mib = MIB;
    double capacity = (double)c->size.capacity_bytes;

    printf("capacity %.0f MiB, written %.0f MiB, %zu values live\n", capacity / mib,
           (double)c->written_bytes / mib, c->count);
    printf("live bytes when sets were refused, at least: %.1f %% of the capacity (%llu times)\n",
           100.0 * (double)c->live_at_refusal_min / capacity, (unsigned long long)c->refusals);
    printf("home on the disk, at most: %.0f MiB, capacity + %.0f MiB; index at the end: %.0f MiB\n",
           (double)c->disk_bytes_max / mib, ((double)c->disk_bytes_max - capacity) / mib,
           (double)disk_bytes(c->f.home.db_path) / mib);
    printf("least live bytes at a refusal of most disk bytes used: %.1f %%\n",
           100.0 * (double)c->live_at_refusal_min / (double)c->disk_bytes_max);
    printf("slabs: %llu of %.0f MiB, %llu unlinked, %llu emptied by %llu moves of %.0f MiB\n",
           (unsigned long long)s->slab_count, (double)c->size.slab_bytes / mib,
           (unsigned long long)s->slabs_unlinked, (unsigned long long)s->slabs_evacuated,
           (unsigned long long)s->moves, (double)s->moved_bytes / mib);
}

static void twenty_times_its_capacity_leaves_the_store_usable_and_whole(void **state)
{
    const char *size = getenv("ASD_CHURN");
    struct churn *c = mem_zalloc(sizeof(*c));
    struct asd_store_stats stats;
    struct err e;

    (void)state;
    c->size = size != NULL && strcmp(size, "full") == 0 ? full : small;
    c->rnd = rnd_seed(test_seed);
    c->live_at_refusal_min = UINT64_MAX;
    c->bytes = asd_fixture_bytes(test_seed, 2 * (size_t)c->size.value_bytes_max);
    asd_fixture_init(&c->f, true, test_seed);
    c->f.options.capacity_bytes = c->size.capacity_bytes;
    c->f.options.slab_bytes = c->size.slab_bytes;
    c->f.options.punch_delay_ms = PUNCH_DELAY_MS;
    c->f.options.evacuation_rate = UINT64_C(64) * MIB;
    assert_int_equal(asd_fixture_open(&c->f, &e), 0);
    while (c->written_bytes < TIMES * c->size.capacity_bytes) {
        run_group(c);
    }
    stats = asd_store_stats(c->f.store);
    report(c, &stats);
    assert_true(c->refusals > 0);
    assert_true(c->live_at_refusal_min >= c->size.capacity_bytes / 100 * USABLE_PERCENT_MIN);
    assert_true(c->disk_bytes_max <= c->size.capacity_bytes + MARGIN_BYTES);
    assert_true(!c->size.is_disk_judged ||
                c->live_at_refusal_min * 100 >= c->disk_bytes_max * USABLE_PERCENT_MIN);
    assert_true(stats.slabs_evacuated > 0);
    assert_int_equal(stats.bad_values, 0);
    check_values(c);
    loop_run_until_true(&c->f.base.loop, is_settled, c);
    stats = asd_store_stats(c->f.store);
    assert_true(stats.slab_count * c->size.slab_bytes <= SLABS_MAX * c->size.capacity_bytes);
    asd_fixture_close(&c->f);
    assert_int_equal(asd_fixture_open(&c->f, &e), 0);
    check_values(c);
    asd_fixture_release(&c->f);
    free(c->values);
    free(c->bytes);
    free(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_times_its_capacity_leaves_the_store_usable_and_whole),
    };

    if (argc > 1) {
        test_seed = strtoull(argv[1], NULL, 10);
    }
    printf("seed %llu\n", (unsigned long long)test_seed);
    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
