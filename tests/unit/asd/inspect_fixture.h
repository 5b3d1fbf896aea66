/* A store to damage, and looks at it that must not change anything. For test_inspect*.c. */
#ifndef TESTS_UNIT_ASD_INSPECT_FIXTURE_H
#define TESTS_UNIT_ASD_INSPECT_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/inspect.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "lib/flip.h"

enum { LARGE = 300000, LARGE_ALIGNED = 303104, SLAB = 1 << 20 };

static uint8_t *large; /* LARGE bytes */

/* Values "a" to "c" fill slab 0, "d" is in slab 1, "s" in the index; closed. */
static inline int setup(void **state)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, true, 7);
    f->options.slab_bytes = SLAB;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "s", "abc", 3), 0);
    for (const char *key = "abcd"; *key != '\0'; key++) {
        char name[2] = {*key, '\0'};

        assert_int_equal(asd_fixture_set(f, name, large, LARGE), 0);
    }
    asd_fixture_close(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

/* ---- looking ---- */

static struct buf listing; /* of a home: names, sizes, times */

static inline int list_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)type;
    (void)at;
    buf_printf(&listing, "%s %lld %lld.%09ld %lld.%09ld %llu %o\n", path, (long long)st->st_size,
               (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
               st->st_ctim.tv_nsec, (unsigned long long)st->st_ino, (unsigned)st->st_mode);
    return 0;
}

static inline struct buf list_home(const struct asd_fixture *f)
{
    struct buf made;

    assert_int_equal(nftw(f->dir, list_one, 16, FTW_PHYS), 0);
    made = listing;
    listing = (struct buf){0};
    return made;
}

/* Looks, and sees to it that this changes nothing. `io`: NULL is the operating system. */
static inline int look_by(struct asd_fixture *f, struct io *io, bool verify,
                          struct asd_inspection *ret_in, struct err *e)
{
    struct asd_inspect_options options = {.home = f->dir, .verify = verify, .io = io};
    struct buf before = list_home(f);
    struct buf after;
    int rc = asd_inspect(&options, ret_in, e);

    after = list_home(f);
    assert_true(slice_eq(slice_buf(&before), slice_buf(&after)));
    buf_release(&before);
    buf_release(&after);
    return rc;
}

static inline int look(struct asd_fixture *f, bool verify, struct asd_inspection *ret_in,
                       struct err *e)
{
    return look_by(f, NULL, verify, ret_in, e);
}

static inline struct asd_inspection inspect(struct asd_fixture *f, bool verify)
{
    struct asd_inspection in;
    struct err e = {0};
    int rc = look(f, verify, &in, &e);

    if (rc != 0) {
        print_message("%s\n", e.msg);
    }
    assert_int_equal(rc, 0);
    for (size_t i = 0; i < in.finding_count; i++) {
        print_message("%d %.*s %s\n", in.findings[i].kind, (int)in.findings[i].key.len,
                      in.findings[i].has_key ? (const char *)in.findings[i].key.data : "",
                      in.findings[i].text);
    }
    return in;
}

static inline void expect_counts(const struct asd_inspection *in, uint64_t damage, uint64_t settled,
                                 uint64_t notes)
{
    assert_int_equal(in->counts[ASD_FINDING_DAMAGE], damage);
    assert_int_equal(in->counts[ASD_FINDING_SETTLED], settled);
    assert_int_equal(in->counts[ASD_FINDING_NOTE], notes);
}

static inline void expect_clean(struct asd_fixture *f, bool verify)
{
    struct asd_inspection in = inspect(f, verify);

    expect_counts(&in, 0, 0, 0);
    assert_true(in.is_whole);
    asd_inspection_release(&in);
}

/* One finding of the kind says `text`; NULL for `key`: it is not about a value. */
static inline void expect(struct asd_fixture *f, bool verify, enum asd_finding_kind kind,
                          const char *key, const char *text)
{
    struct asd_inspection in = inspect(f, verify);
    unsigned found = 0;

    for (size_t i = 0; i < in.finding_count; i++) {
        const struct asd_finding *g = &in.findings[i];

        found += g->kind == kind && strstr(g->text, text) != NULL && g->has_key == (key != NULL) &&
                 (key == NULL || slice_eq(g->key, slice_str(key)));
    }
    assert_int_equal(found, 1);
    if (kind != ASD_FINDING_DAMAGE) {
        assert_int_equal(in.counts[ASD_FINDING_DAMAGE], 0);
    }
    asd_inspection_release(&in);
}

static inline void expect_damage(struct asd_fixture *f, const char *key, const char *text)
{
    expect(f, false, ASD_FINDING_DAMAGE, key, text);
}

/* ---- damaging ---- */

static inline struct asd_index *open_index(struct asd_fixture *f)
{
    struct asd_index_rocksdb_options options = {0};
    struct asd_index *index = NULL;
    char *path = mem_printf("%s/db", f->dir);
    struct err e;

    assert_int_equal(asd_index_rocksdb_open(path, &options, &index, &e), 0);
    free(path);
    return index;
}

static inline void write_record(struct asd_fixture *f, struct slice key, struct slice record)
{
    struct asd_index *index = open_index(f);
    struct asd_index_batch batch = {0};
    struct err e;

    if (record.data == NULL) {
        asd_index_batch_delete(&batch, key);
    } else {
        asd_index_batch_put(&batch, key, record, slice_of(NULL, 0));
    }
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
    index->ops->close(index);
}

/* Appends the record; free with buf_release(). */
static inline void read_record(struct asd_fixture *f, struct slice key, struct buf *ret_record)
{
    struct asd_index *index = open_index(f);
    struct asd_index_value value = {0};
    struct err e;

    assert_int_equal(index->ops->get(index, key, &value, &e), 0);
    buf_put(ret_record, value.bytes.data, value.bytes.len);
    index->ops->release(index, &value);
    index->ops->close(index);
}

static inline void value_key(const char *key, struct buf *ret_key)
{
    asd_key_value_put(ret_key, slice_str(key));
}

/* The value of `key` becomes what `change` makes of it. */
static inline void change_value(struct asd_fixture *f, const char *key,
                                void (*change)(struct asd_value_record *r))
{
    struct buf k = {0};
    struct buf b = {0};
    struct asd_value_record r;
    struct buf changed = {0};
    struct err e;

    value_key(key, &k);
    read_record(f, slice_buf(&k), &b);
    assert_int_equal(asd_value_record_get(slice_buf(&k), slice_buf(&b), &r, &e), 0);
    change(&r);
    asd_value_record_put(&changed, slice_buf(&k), &r);
    buf_put(&changed, r.value.data, r.value.len);
    write_record(f, slice_buf(&k), slice_buf(&changed));
    buf_release(&k);
    buf_release(&b);
    buf_release(&changed);
}

static inline char *slab_path(const struct asd_fixture *f, unsigned number)
{
    return mem_printf("%s/slabs/%016x", f->dir, number);
}

static inline void flip(struct asd_fixture *f, unsigned slab, off_t at)
{
    char *path = slab_path(f, slab);

    flip_in_file(path, at);
    free(path);
}

static inline void write_usage(struct asd_fixture *f, struct asd_usage_record usage)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_USAGE);
    struct buf b = {0};

    asd_usage_record_put(&b, asd_internal_slice(&key), &usage);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

static inline struct asd_usage_record read_usage(struct asd_fixture *f)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_USAGE);
    struct asd_usage_record usage = {0};
    struct buf b = {0};
    struct err e;

    read_record(f, asd_internal_slice(&key), &b);
    assert_int_equal(asd_usage_record_get(asd_internal_slice(&key), slice_buf(&b), &usage, &e), 0);
    buf_release(&b);
    return usage;
}

static inline void write_slab_record(struct asd_fixture *f, unsigned slab,
                                     struct asd_slab_record record)
{
    struct asd_internal_key key = asd_key_slab(slab);
    struct buf b = {0};

    asd_slab_record_put(&b, asd_internal_slice(&key), &record);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

static inline void write_free(struct asd_fixture *f, unsigned slab, uint64_t offset, uint64_t bytes)
{
    struct asd_internal_key key = asd_key_free(slab, offset);
    struct buf b = {0};

    asd_free_record_put(&b, asd_internal_slice(&key), &(struct asd_free_record){.bytes = bytes});
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
