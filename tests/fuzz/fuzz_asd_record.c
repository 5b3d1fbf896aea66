/* Index records of an ASD, each under a key.
 *
 * Input: kind, key length, key, record. Kinds from 128 on get their checksum made right, so that
 * the fuzzer gets beyond it. What decodes must encode to a record that says the same. */
#include <stdlib.h>
#include <string.h>

#include "asd/record.h"
#include "asd/scrub_record.h"
#include "base/check.h"
#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum kind { STORE, USAGE, SLAB, FREE, VALUE, NAME, KEYS, SCRUB, KINDS, MAKE_RIGHT = 128 };

static void check_store(struct slice key, struct slice record)
{
    struct asd_store_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_store_record_get(key, record, &r, &e) == 0) {
        asd_store_record_put(&b, key, &r);
        CHECK(asd_store_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(memcmp(&r, &again, sizeof(r)) == 0);
    }
    buf_release(&b);
}

static void check_usage(struct slice key, struct slice record)
{
    struct asd_usage_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_usage_record_get(key, record, &r, &e) == 0) {
        asd_usage_record_put(&b, key, &r);
        CHECK(asd_usage_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(memcmp(&r, &again, sizeof(r)) == 0);
    }
    buf_release(&b);
}

static void check_slab(struct slice key, struct slice record)
{
    struct asd_slab_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_slab_record_get(key, record, &r, &e) == 0) {
        CHECK(r.tail <= r.size_bytes && r.live_bytes <= r.tail && r.tail % 4096 == 0);
        asd_slab_record_put(&b, key, &r);
        CHECK(asd_slab_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(r.size_bytes == again.size_bytes && r.tail == again.tail &&
              r.live_bytes == again.live_bytes && r.sealed == again.sealed);
    }
    buf_release(&b);
}

static void check_free(struct slice key, struct slice record)
{
    struct asd_free_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_free_record_get(key, record, &r, &e) == 0) {
        asd_free_record_put(&b, key, &r);
        CHECK(asd_free_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(r.bytes == again.bytes);
    }
    buf_release(&b);
}

static void check_name(struct slice key, struct slice record)
{
    struct asd_name_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_name_record_get(key, record, &r, &e) == 0) {
        CHECK(r.client_key.len != 0 && r.client_key.len < record.len);
        asd_name_record_put(&b, key, &r);
        CHECK(asd_name_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(slice_eq(r.client_key, again.client_key));
    }
    buf_release(&b);
}

static void check_scrub(struct slice key, struct slice record)
{
    struct asd_scrub_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_scrub_record_get(key, record, &r, &e) == 0) {
        CHECK(r.next.len < record.len);
        asd_scrub_record_put(&b, key, &r);
        CHECK(asd_scrub_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(r.pass == again.pass && r.running == again.running && r.bad == again.bad &&
              r.paused_s == again.paused_s && slice_eq(r.next, again.next));
    }
    buf_release(&b);
}

static void check_value(struct slice key, struct slice record)
{
    struct asd_value_record r, again;
    struct buf b = {0};
    struct err e;

    if (asd_value_record_get(key, record, &r, &e) == 0) {
        if (r.in_slab) {
            CHECK(r.offset >= ASD_SLAB_HEADER_BYTES && r.offset + r.bytes > r.offset);
        } else {
            CHECK(r.value.len == r.bytes && r.value.len <= record.len);
        }
        asd_value_record_put(&b, key, &r);
        buf_put(&b, r.value.data, r.value.len);
        CHECK(asd_value_record_get(key, slice_buf(&b), &again, &e) == 0);
        CHECK(r.in_slab == again.in_slab && r.assertable == again.assertable &&
              r.bytes == again.bytes && r.crc == again.crc && r.slab == again.slab &&
              r.offset == again.offset && checksum_eq(&r.checksum, &again.checksum) &&
              slice_eq(r.value, again.value));
    }
    buf_release(&b);
}

static void check_keys(struct slice key)
{
    struct asd_internal_key again;
    uint64_t slab = 0;
    uint64_t offset = 0;
    struct err e;

    if (asd_key_slab_parse(key, &slab, &e) == 0) {
        again = asd_key_slab(slab);
        CHECK(slice_eq(key, asd_internal_slice(&again)));
    }
    if (asd_key_free_parse(key, &slab, &offset, &e) == 0) {
        again = asd_key_free(slab, offset);
        CHECK(slice_eq(key, asd_internal_slice(&again)));
    }
    if (asd_key_name_parse(key, &slab, &offset, &e) == 0) {
        again = asd_key_name(slab, offset);
        CHECK(slice_eq(key, asd_internal_slice(&again)));
    }
}

/* FORMAT.md: that of a value is at 12 and leaves inline bytes out, any other is at the end. */
static void make_right(enum kind kind, struct slice key, uint8_t *p, size_t bytes)
{
    uint32_t crc = crc32c(0, key.data, key.len);

    if (kind != VALUE && bytes >= 4) {
        put_u32le(p + bytes - 4, crc32c(crc, p, bytes - 4));
    } else if (kind == VALUE && bytes >= 16) {
        size_t tail = (p[2] == CHECKSUM_SHA1     ? 20u
                       : p[2] == CHECKSUM_CRC32C ? 4u
                                                 : 0u) +
                      ((p[1] & 1) != 0 ? 16u : 0u);

        if (bytes >= 16 + tail) {
            put_u32le(p + 12, crc32c(crc32c(crc, p, 12), p + 16, tail));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice key;
    struct slice record;
    enum kind kind;
    uint8_t *copy;
    size_t key_bytes;

    if (bytes < 2) {
        return 0;
    }
    kind = (enum kind)(data[0] % MAKE_RIGHT % KINDS);
    key_bytes = data[1] < bytes - 2 ? data[1] : bytes - 2;
    copy = malloc(bytes - 2); /* of that size, so that a byte too far is seen */
    CHECK(copy != NULL || bytes == 2);
    if (bytes > 2) {
        memcpy(copy, data + 2, bytes - 2);
    }
    key = slice_of(copy, key_bytes);
    record = slice_of(copy + key_bytes, bytes - 2 - key_bytes);
    if (data[0] >= MAKE_RIGHT) {
        make_right(kind, key, copy + key_bytes, record.len);
    }
    switch (kind) {
    case STORE:
        check_store(key, record);
        break;
    case USAGE:
        check_usage(key, record);
        break;
    case SLAB:
        check_slab(key, record);
        break;
    case FREE:
        check_free(key, record);
        break;
    case NAME:
        check_name(key, record);
        break;
    case SCRUB:
        check_scrub(key, record);
        break;
    case VALUE:
        check_value(key, record);
        break;
    default:
        check_keys(key);
    }
    free(copy);
    return 0;
}
