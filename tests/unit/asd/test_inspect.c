/* The offline check: a sound store is clean, every kind of damage is found, and nothing in the home
 * changes by looking. RocksDB and real files. */
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
#include "asd/scrub_record.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { LARGE = 300000, LARGE_ALIGNED = 303104, SLAB = 1 << 20 };

static uint8_t *large; /* LARGE bytes */

/* Values "a" to "c" fill slab 0, "d" is in slab 1, "s" in the index; closed. */
static int setup(void **state)
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

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

/* ---- looking ---- */

static struct buf listing; /* of a home: names, sizes, times */

static int list_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)type;
    (void)at;
    buf_printf(&listing, "%s %lld %lld.%09ld %lld.%09ld %llu %o\n", path, (long long)st->st_size,
               (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
               st->st_ctim.tv_nsec, (unsigned long long)st->st_ino, (unsigned)st->st_mode);
    return 0;
}

static struct buf list_home(const struct asd_fixture *f)
{
    struct buf made;

    assert_int_equal(nftw(f->dir, list_one, 16, FTW_PHYS), 0);
    made = listing;
    listing = (struct buf){0};
    return made;
}

/* Looks, and sees to it that this changes nothing. */
static int look(struct asd_fixture *f, bool verify, struct asd_inspection *ret_in, struct err *e)
{
    struct asd_inspect_options options = {.home = f->dir, .verify = verify};
    struct buf before = list_home(f);
    struct buf after;
    int rc = asd_inspect(&options, ret_in, e);

    after = list_home(f);
    assert_true(slice_eq(slice_buf(&before), slice_buf(&after)));
    buf_release(&before);
    buf_release(&after);
    return rc;
}

static struct asd_inspection inspect(struct asd_fixture *f, bool verify)
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

static void expect_counts(const struct asd_inspection *in, uint64_t damage, uint64_t settled,
                          uint64_t notes)
{
    assert_int_equal(in->counts[ASD_FINDING_DAMAGE], damage);
    assert_int_equal(in->counts[ASD_FINDING_SETTLED], settled);
    assert_int_equal(in->counts[ASD_FINDING_NOTE], notes);
}

static void expect_clean(struct asd_fixture *f, bool verify)
{
    struct asd_inspection in = inspect(f, verify);

    expect_counts(&in, 0, 0, 0);
    assert_true(in.is_whole);
    asd_inspection_release(&in);
}

/* One finding of the kind says `text`; NULL for `key`: it is not about a value. */
static void expect(struct asd_fixture *f, bool verify, enum asd_finding_kind kind, const char *key,
                   const char *text)
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

static void expect_damage(struct asd_fixture *f, const char *key, const char *text)
{
    expect(f, false, ASD_FINDING_DAMAGE, key, text);
}

/* ---- damaging ---- */

static struct asd_index *open_index(struct asd_fixture *f)
{
    struct asd_index_rocksdb_options options = {0};
    struct asd_index *index = NULL;
    char *path = mem_printf("%s/db", f->dir);
    struct err e;

    assert_int_equal(asd_index_rocksdb_open(path, &options, &index, &e), 0);
    free(path);
    return index;
}

static void write_record(struct asd_fixture *f, struct slice key, struct slice record)
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
static void read_record(struct asd_fixture *f, struct slice key, struct buf *ret_record)
{
    struct asd_index *index = open_index(f);
    struct asd_index_value value = {0};
    struct err e;

    assert_int_equal(index->ops->get(index, key, &value, &e), 0);
    buf_put(ret_record, value.bytes.data, value.bytes.len);
    index->ops->release(index, &value);
    index->ops->close(index);
}

static void value_key(const char *key, struct buf *ret_key)
{
    asd_key_value_put(ret_key, slice_str(key));
}

/* The value of `key` becomes what `change` makes of it. */
static void change_value(struct asd_fixture *f, const char *key,
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

static char *slab_path(const struct asd_fixture *f, unsigned number)
{
    return mem_printf("%s/slabs/%016x", f->dir, number);
}

static void flip(struct asd_fixture *f, unsigned slab, off_t at)
{
    char *path = slab_path(f, slab);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    free(path);
}

static void write_usage(struct asd_fixture *f, struct asd_usage_record usage)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_USAGE);
    struct buf b = {0};

    asd_usage_record_put(&b, asd_internal_slice(&key), &usage);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

static struct asd_usage_record read_usage(struct asd_fixture *f)
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

static void write_slab_record(struct asd_fixture *f, unsigned slab, struct asd_slab_record record)
{
    struct asd_internal_key key = asd_key_slab(slab);
    struct buf b = {0};

    asd_slab_record_put(&b, asd_internal_slice(&key), &record);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

static void write_free(struct asd_fixture *f, unsigned slab, uint64_t offset, uint64_t bytes)
{
    struct asd_internal_key key = asd_key_free(slab, offset);
    struct buf b = {0};

    asd_free_record_put(&b, asd_internal_slice(&key), &(struct asd_free_record){.bytes = bytes});
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    buf_release(&b);
}

/* ---- sound stores ---- */

static void a_sound_store_is_clean(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspection in;

    expect_clean(f, false);
    in = inspect(f, true);
    expect_counts(&in, 0, 0, 0);
    assert_string_equal(in.asd_id, "asd-1");
    assert_string_equal(in.node_id, "node-1");
    assert_int_equal(in.values, 5);
    assert_int_equal(in.slab_values, 4);
    assert_int_equal(in.names, 4);
    assert_int_equal(in.read_values, 5);
    assert_int_equal(in.read_bytes, 4 * LARGE);
    assert_int_equal(in.used_bytes, 4 * LARGE_ALIGNED + 1 + 3 + ASD_INLINE_OVERHEAD_BYTES);
    assert_int_equal(in.used_bytes, in.usage.used_bytes);
    assert_int_equal(in.marked_commit, in.usage.commit);
    assert_int_equal(in.slab_count, 2);
    assert_true(in.slabs[0].record.sealed && !in.slabs[1].record.sealed);
    assert_int_equal(in.slabs[0].values, 3);
    assert_int_equal(in.slabs[0].live_bytes, 3 * LARGE_ALIGNED);
    asd_inspection_release(&in);
}

static void a_store_after_overwrites_and_deletes_is_clean(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "a", large + 1, LARGE - 1), 0);
    assert_int_equal(asd_fixture_set(f, "b", "small now", 9), 0);
    assert_int_equal(asd_fixture_delete(f, "s"), 0);
    assert_int_equal(asd_fixture_delete(f, "d"), 0);
    asd_fixture_settle(f);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void a_store_without_values_is_clean(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    teardown(state);
    f = mem_zalloc(sizeof(*f));
    asd_fixture_init(f, true, 7);
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    *state = f;
    expect_clean(f, true);
}

/* What a kill leaves at any moment: settled by the next start, and clean then. */
static void freed_ranges_wait_for_the_start_to_punch_them(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    f->options.punch_delay_ms = 3600000;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_delete(f, "a"), 0);
    assert_int_equal(asd_fixture_delete(f, "d"), 0);
    asd_fixture_close(f);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "2 freed ranges are punched");
    f->options.punch_delay_ms = 0;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_settle(f);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void bytes_behind_the_tail_are_settled_by_the_start(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    flip(f, 1, SLAB - 5000);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "behind its tail");
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void files_that_no_record_names_are_settled_by_the_start(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;
    char *orphan = slab_path(f, 9);
    char *junk = mem_printf("%s/slabs/junk", f->dir);
    int fd = open(orphan, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    close(fd);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "slab 9 is a file that no record names");
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    assert_int_equal(access(orphan, F_OK), -1);
    fd = open(junk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    expect(f, true, ASD_FINDING_NOTE, NULL, "slabs/junk");
    free(orphan);
    free(junk);
}

/* They are hints. */
static void a_name_without_value_and_a_value_without_name_are_no_damage(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key a = asd_key_name(0, ASD_SLAB_HEADER_BYTES);
    struct asd_internal_key stray = asd_key_name(0, ASD_SLAB_HEADER_BYTES + 4096);
    struct asd_internal_key b = asd_key_name(0, ASD_SLAB_HEADER_BYTES + LARGE_ALIGNED);
    struct asd_name_record name = {.client_key = slice_str("other")};
    struct buf record = {0};

    write_record(f, asd_internal_slice(&a), slice_of(NULL, 0));
    expect(f, true, ASD_FINDING_NOTE, NULL, "1 values in slabs have no name record");
    asd_name_record_put(&record, asd_internal_slice(&stray), &name);
    write_record(f, asd_internal_slice(&stray), slice_buf(&record));
    expect(f, true, ASD_FINDING_NOTE, NULL, "1 name records of places where no value begins");
    buf_release(&record);
    asd_name_record_put(&record, asd_internal_slice(&b), &name);
    write_record(f, asd_internal_slice(&b), slice_buf(&record));
    expect(f, true, ASD_FINDING_NOTE, "b", "names another key");
    buf_release(&record);
}

static void what_scrubbing_left_and_unknown_records_are_noted(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key key = asd_key_of(ASD_KEY_SCRUB);
    struct asd_internal_key unknown = asd_key_of(ASD_KEY_VALUE - 1);
    struct buf b = {0};

    asd_scrub_record_put(&b, asd_internal_slice(&key),
                         &(struct asd_scrub_record){.pass = 3, .last_bad = 2});
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect(f, true, ASD_FINDING_NOTE, NULL, "bad values: 2 in its last whole pass");
    b.data[4] ^= 1;
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect(f, true, ASD_FINDING_NOTE, NULL, "scrubbing begins anew");
    write_record(f, asd_internal_slice(&unknown), slice_of("x", 1));
    expect(f, true, ASD_FINDING_NOTE, NULL, "does not know, the first one 0x0f");
    buf_release(&b);
}

/* ---- damage to slabs ---- */

static void a_flipped_bit_is_found_when_values_are_read(void **state)
{
    struct asd_fixture *f = *state;

    flip(f, 0, ASD_SLAB_HEADER_BYTES + LARGE_ALIGNED + 1234);
    expect_clean(f, false);
    expect(f, true, ASD_FINDING_DAMAGE, "b", "do not have their checksum");
}

static void a_value_in_a_hole_is_found_without_reading_all(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ASD_SLAB_HEADER_BYTES + 8192,
                  4096) != 0) {
        print_message("SKIP: no holes here: %s\n", strerror(errno));
    } else {
        expect_damage(f, "a", "it lies in a hole");
    }
    close(fd);
    free(path);
}

static void a_missing_slab_is_found(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);

    assert_int_equal(unlink(path), 0);
    expect_damage(f, NULL, "slab 0 has no file");
    free(path);
}

static void a_cut_slab_is_found(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);

    assert_int_equal(truncate(path, SLAB - 4096), 0);
    expect_damage(f, NULL, "slab 0: the file has 1044480 bytes");
    assert_int_equal(truncate(path, 100), 0);
    expect_damage(f, NULL, "slab 0: its header cannot be read");
    free(path);
}

static void swapped_slabs_are_found(void **state)
{
    struct asd_fixture *f = *state;
    char *a = slab_path(f, 0);
    char *b = slab_path(f, 1);
    char *c = slab_path(f, 2);

    assert_int_equal(rename(a, c) | rename(b, a) | rename(c, b), 0);
    expect_damage(f, NULL, "slab 0: it is slab 1, by its header");
    expect_damage(f, NULL, "slab 1: it is slab 0, by its header");
    free(a);
    free(b);
    free(c);
}

static void a_slab_of_another_asd_and_a_damaged_header_are_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_slab_header h = {.store_id = {1, 2, 3}, .number = 0, .size_bytes = SLAB};
    uint8_t data[ASD_SLAB_HEADER_BYTES];
    char *path = slab_path(f, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    asd_slab_header_encode(data, &h);
    assert_int_equal(pwrite(fd, data, sizeof(data), 0), sizeof(data));
    expect_damage(f, NULL, "slab 0: it is the slab of another ASD");
    close(fd);
    flip(f, 0, 50);
    expect_damage(f, NULL, "slab 0: ");
    free(path);
}

/* ---- damage to the index ---- */

static void a_wrong_usage_record_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_usage_record usage = read_usage(f);

    usage.used_bytes += 4096;
    write_usage(f, usage);
    expect_damage(f, NULL, "the usage record counts");
    usage.used_bytes -= 4096;
    usage.next_slab = 1;
    write_usage(f, usage);
    expect_damage(f, NULL, "slab 1 is named, but the next new one would be 1");
    usage.next_slab = 2;
    usage.commit--;
    write_usage(f, usage);
    expect_damage(f, NULL, "its log lost its end");
}

static void a_wrong_slab_record_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_slab_record r = {
        .size_bytes = SLAB, .tail = ASD_SLAB_HEADER_BYTES + 3 * LARGE_ALIGNED, .sealed = true};

    r.live_bytes = 2 * LARGE_ALIGNED;
    write_slab_record(f, 0, r);
    expect_damage(f, NULL, "slab 0: its record counts 606208 live bytes, its values have 909312");
    r.live_bytes = 3 * LARGE_ALIGNED;
    r.sealed = false;
    write_slab_record(f, 0, r);
    expect_damage(f, NULL, "2 slabs are not sealed");
    r.sealed = true;
    r.tail = ASD_SLAB_HEADER_BYTES + 3 * LARGE_ALIGNED - 4096;
    r.live_bytes = r.tail - ASD_SLAB_HEADER_BYTES;
    write_slab_record(f, 0, r);
    expect_damage(f, "c", "are not below its tail");
}

static void beyond_the_tail(struct asd_value_record *r)
{
    r->offset = UINT64_C(1) << 40;
}

static void no_such_slab(struct asd_value_record *r)
{
    r->slab = 77;
}

static void where_a_is(struct asd_value_record *r)
{
    r->slab = 0;
    r->offset = ASD_SLAB_HEADER_BYTES;
}

static void another_client_checksum(struct asd_value_record *r)
{
    r->checksum = checksum_crc32c(r->crc ^ 1);
}

static void another_sha1(struct asd_value_record *r)
{
    r->checksum = (struct checksum){.algo = CHECKSUM_SHA1, .sha1 = {1}};
}

static void another_crc(struct asd_value_record *r)
{
    r->crc ^= 1;
}

static void values_that_point_to_the_wrong_place_are_found(void **state)
{
    struct asd_fixture *f = *state;

    change_value(f, "b", where_a_is);
    expect_damage(f, "b", "it shares bytes of slab 0 at 4096 with another value");
    change_value(f, "b", beyond_the_tail);
    expect_damage(f, "b", "are not below its tail");
    change_value(f, "b", no_such_slab);
    expect_damage(f, "b", "slab 77, which has no sound record");
}

static void values_with_another_checksum_are_found(void **state)
{
    struct asd_fixture *f = *state;

    change_value(f, "b", another_client_checksum);
    expect_clean(f, false);
    expect(f, true, ASD_FINDING_DAMAGE, "b", "that the client gave");
    change_value(f, "b", another_sha1);
    expect(f, true, ASD_FINDING_DAMAGE, "b", "that the client gave");
    change_value(f, "s", another_crc);
    expect_damage(f, "s", "3 bytes in the index: its bytes do not have their checksum");
}

static void damaged_records_are_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key free_key = asd_key_free(0, ASD_SLAB_HEADER_BYTES);
    struct asd_internal_key slab_key = asd_key_slab(0);
    struct buf k = {0};
    struct buf b = {0};

    value_key("b", &k);
    read_record(f, slice_buf(&k), &b);
    b.data[8] ^= 1;
    write_record(f, slice_buf(&k), slice_buf(&b));
    expect_damage(f, "b", "value record: checksum");
    write_record(f, asd_internal_slice(&free_key), slice_of("\1junk", 5));
    expect_damage(f, NULL, "free record of 5 bytes");
    write_record(f, asd_internal_slice(&slab_key), slice_of("\1junk", 5));
    expect_damage(f, NULL, "slab 0: slab record of 5 bytes");
    buf_release(&k);
    buf_release(&b);
}

static void free_records_that_do_harm_are_found(void **state)
{
    struct asd_fixture *f = *state;

    write_free(f, 50, 4096, 4096);
    expect(f, false, ASD_FINDING_NOTE, NULL, "slab 50, which is gone");
    write_free(f, 0, ASD_SLAB_HEADER_BYTES + 4096, 4096);
    expect_damage(f, "a", "where a free record would have it punched");
    write_free(f, 0, ASD_SLAB_HEADER_BYTES, 8192);
    expect_damage(f, NULL, "overlaps another");
    write_free(f, 1, SLAB - 4096, 4096);
    expect_damage(f, NULL, "not below its tail");
}

static void a_lost_index_record_of_the_store_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key key = asd_key_of(ASD_KEY_STORE);
    struct asd_store_record other = {.store_id = {9}};
    struct buf b = {0};

    asd_store_record_put(&b, asd_internal_slice(&key), &other);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect_damage(f, NULL, "the index belongs to another home");
    write_record(f, asd_internal_slice(&key), slice_of(NULL, 0));
    expect_damage(f, NULL, "the index has lost its store record");
    buf_release(&b);
}

static void a_damaged_identity_is_found_and_the_rest_looked_at(void **state)
{
    struct asd_fixture *f = *state;
    char *path = mem_printf("%s/identity", f->dir);
    struct asd_inspection in;

    assert_int_equal(truncate(path, 50), 0);
    in = inspect(f, true);
    expect_counts(&in, 1, 0, 0);
    assert_non_null(strstr(in.findings[0].text, "identity"));
    assert_null(in.asd_id);
    assert_int_equal(in.read_values, 5);
    asd_inspection_release(&in);
    free(path);
}

/* ---- what cannot be looked at ---- */

static void an_asd_that_runs_is_left_alone_and_named(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspection in;
    char pid[32];
    struct err e = {0};

    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(look(f, false, &in, &e), ERR_BUSY);
    snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
    assert_non_null(strstr(e.msg, "\"asd-1\""));
    assert_non_null(strstr(e.msg, f->dir));
    if (strstr(e.msg, "pid") != NULL) { /* not every kernel tells */
        assert_non_null(strstr(e.msg, pid));
    }
    asd_fixture_close(f);
    expect_clean(f, false); /* and the lock is given back */
}

static void a_directory_without_a_store_and_newer_software_are_told(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspect_options options = {.home = "/nowhere"};
    struct asd_internal_key key = asd_key_slab(0);
    struct asd_inspection in;
    struct buf b = {0};
    struct err e = {0};

    assert_int_equal(asd_inspect(&options, &in, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/nowhere"));
    read_record(f, asd_internal_slice(&key), &b);
    b.data[0] = 99;
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    assert_int_equal(look(f, false, &in, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "version 99"));
    buf_release(&b);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_sound_store_is_clean),
        WITH_STORE(a_store_after_overwrites_and_deletes_is_clean),
        WITH_STORE(a_store_without_values_is_clean),
        WITH_STORE(freed_ranges_wait_for_the_start_to_punch_them),
        WITH_STORE(bytes_behind_the_tail_are_settled_by_the_start),
        WITH_STORE(files_that_no_record_names_are_settled_by_the_start),
        WITH_STORE(a_name_without_value_and_a_value_without_name_are_no_damage),
        WITH_STORE(what_scrubbing_left_and_unknown_records_are_noted),
        WITH_STORE(a_flipped_bit_is_found_when_values_are_read),
        WITH_STORE(a_value_in_a_hole_is_found_without_reading_all),
        WITH_STORE(a_missing_slab_is_found),
        WITH_STORE(a_cut_slab_is_found),
        WITH_STORE(swapped_slabs_are_found),
        WITH_STORE(a_slab_of_another_asd_and_a_damaged_header_are_found),
        WITH_STORE(a_wrong_usage_record_is_found),
        WITH_STORE(a_wrong_slab_record_is_found),
        WITH_STORE(values_that_point_to_the_wrong_place_are_found),
        WITH_STORE(values_with_another_checksum_are_found),
        WITH_STORE(damaged_records_are_found),
        WITH_STORE(free_records_that_do_harm_are_found),
        WITH_STORE(a_lost_index_record_of_the_store_is_found),
        WITH_STORE(a_damaged_identity_is_found_and_the_rest_looked_at),
        WITH_STORE(an_asd_that_runs_is_left_alone_and_named),
        WITH_STORE(a_directory_without_a_store_and_newer_software_are_told),
    };
    int failed;

    log_set_level(LOG_ERROR);
    large = asd_fixture_bytes(5, LARGE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return failed;
}
