/* The bytes of a copy of the registry: version 1 is read for ever, damage is told. */
#include "unit/meta/fixture.h"

#include "base/hex.h"
#include "meta/copy_record.h"
#include "meta/registry_record.h"

enum { GOLDEN_BYTES_MAX = 4096 };

static void put(struct buf *snapshot, const char *prefix, const char *id, const char *json_text)
{
    json_t *json = json_loads(json_text, 0, NULL);
    struct buf value = {0};
    struct key key;
    struct err e;

    reg_key(&key, prefix, id);
    value_make_json(&value, slice_key(&key), json);
    assert_int_equal(copy_put(snapshot, slice_key(&key), slice_buf(&value), &e), 0);
    buf_release(&value);
    json_decref(json);
}

/* The same bytes for ever. */
static void make(struct copy_head *ret_head, struct buf *ret_snapshot, struct buf *ret_chunks)
{
    *ret_head = (struct copy_head){.version = 0x0102030405, .time_us = 1700000000000000};
    memset(ret_head->commit, 'a', COPY_COMMIT_TEXT_BYTES - 1);
    snprintf(ret_head->alba_id, sizeof(ret_head->alba_id), "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0");
    put(ret_snapshot, REG_ALBA, "", "{\"id\":\"0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0\"}");
    put(ret_snapshot, REG_NEXT_ID, "", "{\"osd\":3,\"namespace\":4,\"work\":5}");
    ret_head->record_count = 2;
    copy_seal(ret_head, slice_buf(ret_snapshot));
    for (int i = 0; i < COPY_ID_BYTES; i++) {
        ret_head->id[i] = (uint8_t)(0xf0 + i);
    }
    copy_chunks(ret_head, slice_buf(ret_snapshot), ret_chunks);
}

static size_t golden_line(FILE *file, uint8_t *ret_bytes)
{
    char line[2 * GOLDEN_BYTES_MAX + 2];
    size_t bytes;

    do {
        assert_non_null(fgets(line, sizeof(line), file));
    } while (line[0] == '#');
    line[strcspn(line, "\n")] = '\0';
    bytes = strlen(line) / 2;
    assert_int_equal(hex_decode(ret_bytes, bytes, line), 0);
    return bytes;
}

static void version_1_is_written_and_read_as_ever(void **state)
{
    FILE *file = fopen(GOLDEN_DIR "/meta/copy_v1.txt", "r");
    uint8_t golden[GOLDEN_BYTES_MAX];
    uint8_t bytes[COPY_HEAD_BYTES];
    struct buf snapshot = {0}, chunks = {0};
    struct copy_head head, read;
    struct slice part;
    struct err e;

    (void)state;
    assert_non_null(file);
    make(&head, &snapshot, &chunks);
    copy_head_encode(&head, bytes);
    assert_int_equal(golden_line(file, golden), COPY_HEAD_BYTES);
    assert_memory_equal(bytes, golden, COPY_HEAD_BYTES);
    assert_int_equal(copy_head_decode(slice_of(golden, COPY_HEAD_BYTES), &read, &e), 0);
    assert_int_equal(read.version, head.version);
    assert_string_equal(read.commit, head.commit);
    assert_string_equal(read.alba_id, head.alba_id);
    assert_int_equal(read.time_us, head.time_us);
    assert_int_equal(golden_line(file, golden), chunks.len);
    assert_memory_equal(chunks.data, golden, chunks.len);
    assert_int_equal(copy_chunk_decode(&read, 0, slice_of(golden, chunks.len), &part, &e), 0);
    assert_int_equal(copy_verify(&read, part, &e), 0);
    fclose(file);
    buf_release(&snapshot);
    buf_release(&chunks);
}

static void every_flipped_bit_is_detected(void **state)
{
    struct buf snapshot = {0}, chunks = {0};
    uint8_t bytes[COPY_HEAD_BYTES];
    struct copy_head head, read;
    struct slice part;
    struct err e;

    (void)state;
    make(&head, &snapshot, &chunks);
    copy_head_encode(&head, bytes);
    for (size_t bit = 0; bit < 8 * COPY_HEAD_BYTES; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(copy_head_decode(slice_of(bytes, sizeof(bytes)), &read, &e), 0);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < COPY_HEAD_BYTES; len++) {
        assert_int_not_equal(copy_head_decode(slice_of(bytes, len), &read, &e), 0);
    }
    for (size_t bit = 0; bit < 8 * chunks.len; bit++) {
        chunks.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(copy_chunk_decode(&head, 0, slice_buf(&chunks), &part, &e), ERR_CORRUPT);
        chunks.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < chunks.len; len++) {
        assert_int_equal(copy_chunk_decode(&head, 0, slice_of(chunks.data, len), &part, &e),
                         ERR_CORRUPT);
    }
    assert_int_equal(copy_chunk_decode(&head, 1, slice_buf(&chunks), &part, &e), ERR_CORRUPT);
    head.id[0] ^= 1; /* the chunk of another copy */
    assert_int_equal(copy_chunk_decode(&head, 0, slice_buf(&chunks), &part, &e), ERR_CORRUPT);
    buf_release(&snapshot);
    buf_release(&chunks);
}

/* A snapshot whose own checksum holds may be hostile all the same. */
static void a_snapshot_of_anything_else_is_refused(void **state)
{
    struct buf snapshot = {0}, chunks = {0};
    struct copy_head head;
    struct err e;

    (void)state;
    make(&head, &snapshot, &chunks);
    assert_int_equal(copy_check(slice_buf(&snapshot), 2, &e), 0);
    assert_int_equal(copy_check(slice_buf(&snapshot), 3, &e), ERR_CORRUPT);
    for (size_t len = 0; len < snapshot.len; len++) {
        assert_int_equal(copy_check(slice_of(snapshot.data, len), 2, &e), ERR_CORRUPT);
    }
    for (size_t i = 0; i < snapshot.len; i++) {
        snapshot.data[i] ^= 0x10;
        assert_int_not_equal(copy_check(slice_buf(&snapshot), 2, &e), 0);
        snapshot.data[i] ^= 0x10;
    }
    buf_release(&snapshot);
    buf_release(&chunks);
}

static void what_is_no_part_of_a_copy_is_left_out(void **state)
{
    (void)state;
    assert_true(copy_keeps(text("alba")));
    assert_true(copy_keeps(text("next-id")));
    assert_true(copy_keeps(text("recovered")));
    assert_true(copy_keeps(text("osd/x")));
    assert_true(copy_keeps(text("volume-id/x")));
    assert_false(copy_keeps(text("version")));
    assert_false(copy_keeps(text("change/0000000000000001")));
    assert_false(copy_keeps(text("lease/maintenance")));
    assert_false(copy_keeps(text("work/0000000000000001")));
    assert_false(copy_keeps(text("recovering")));
    assert_false(copy_keeps(text("")));
}

static void passwords_of_urls_are_left_out(void **state)
{
    struct buf snapshot = {0};

    (void)state;
    put(&snapshot, REG_NSM_HOST, "a",
        "{\"id\":\"a\",\"lost\":false,\"url\":\"postgresql://u:s3cret@host/db\"}");
    put(&snapshot, REG_NSM_HOST, "b", "{\"id\":\"b\",\"lost\":false,\"url\":\"registry:\"}");
    assert_null(memmem(snapshot.data, snapshot.len, "s3cret", 6));
    assert_non_null(memmem(snapshot.data, snapshot.len, "postgresql://u@host/db", 22));
    assert_non_null(memmem(snapshot.data, snapshot.len, "registry:", 9));
    buf_release(&snapshot);
}

static void a_snapshot_of_many_chunks_comes_back(void **state)
{
    struct copy_head head = {.version = 7};
    struct buf snapshot = {0}, chunks = {0}, back = {0};
    struct slice part;
    struct err e;

    (void)state;
    memset(head.commit, 'b', COPY_COMMIT_TEXT_BYTES - 1);
    for (unsigned i = 0; i < 20000; i++) {
        char id[32], json[200];

        snprintf(id, sizeof(id), "v%06u", i);
        snprintf(json, sizeof(json), "{\"name\":\"%s\",\"more\":\"%0100u\"}", id, i);
        put(&snapshot, REG_VOLUME, id, json);
    }
    head.record_count = 20000;
    copy_seal(&head, slice_buf(&snapshot));
    assert_true(head.chunk_count > 2);
    copy_chunks(&head, slice_buf(&snapshot), &chunks);
    for (uint32_t i = 0; i < head.chunk_count; i++) {
        assert_int_equal(
            copy_chunk_decode(&head, i, copy_chunk_at(slice_buf(&chunks), i), &part, &e), 0);
        buf_put(&back, part.data, part.len);
    }
    assert_int_equal(copy_verify(&head, slice_buf(&back), &e), 0);
    buf_release(&snapshot);
    buf_release(&chunks);
    buf_release(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_written_and_read_as_ever),
        cmocka_unit_test(every_flipped_bit_is_detected),
        cmocka_unit_test(a_snapshot_of_anything_else_is_refused),
        cmocka_unit_test(what_is_no_part_of_a_copy_is_left_out),
        cmocka_unit_test(passwords_of_urls_are_left_out),
        cmocka_unit_test(a_snapshot_of_many_chunks_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
