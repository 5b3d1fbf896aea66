/* The files of an ASD's home: slab header, identity, mark.
 *
 * Input: kind, bytes. Kinds from 128 on get their checksum (and length) made right. */
#include <stdlib.h>
#include <string.h>

#include "asd/home.h"
#include "asd/mark.h"
#include "base/check.h"
#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum kind { SLAB_HEADER, IDENTITY, MARK, KINDS, MAKE_RIGHT = 128 };

static void seal(uint8_t *p, size_t bytes)
{
    put_u32le(p + bytes - 4, crc32c(0, p, bytes - 4));
}

static void check_slab_header(const uint8_t *data, size_t bytes, bool right)
{
    uint8_t *p = calloc(1, ASD_SLAB_HEADER_BYTES);
    uint8_t *again = calloc(1, ASD_SLAB_HEADER_BYTES);
    struct asd_slab_header h, h_again;
    struct err e;

    CHECK(p != NULL && again != NULL);
    memcpy(p, data, bytes < ASD_SLAB_HEADER_BYTES ? bytes : ASD_SLAB_HEADER_BYTES);
    if (right) {
        seal(p, ASD_SLAB_HEADER_BYTES);
    }
    if (asd_slab_header_decode(p, &h, &e) == 0) {
        asd_slab_header_encode(again, &h);
        CHECK(asd_slab_header_decode(again, &h_again, &e) == 0);
        CHECK(memcmp(h.store_id, h_again.store_id, sizeof(h.store_id)) == 0 &&
              h.number == h_again.number && h.size_bytes == h_again.size_bytes);
    }
    free(p);
    free(again);
}

static void check_identity(const uint8_t *data, size_t bytes, bool right)
{
    uint8_t *p = malloc(bytes);
    struct asd_home home = {0};
    struct buf b = {0};
    struct err e;

    CHECK(p != NULL || bytes == 0);
    if (bytes != 0) {
        memcpy(p, data, bytes);
    }
    if (right && bytes >= 20) {
        put_u32le(p + 12, (uint32_t)bytes);
        seal(p, bytes);
    }
    if (asd_identity_decode(slice_of(p, bytes), &home, &e) == 0) {
        struct asd_home again = {0};

        asd_identity_encode(&b, &home);
        CHECK(asd_identity_decode(slice_buf(&b), &again, &e) == 0);
        CHECK(strcmp(home.asd_id, again.asd_id) == 0 && strcmp(home.node_id, again.node_id) == 0 &&
              memcmp(home.store_id, again.store_id, sizeof(home.store_id)) == 0);
        asd_home_release(&again);
    }
    asd_home_release(&home);
    buf_release(&b);
    free(p);
}

static void check_mark(const uint8_t *data, size_t bytes, bool right)
{
    uint8_t p[ASD_MARK_BYTES] = {0};
    uint8_t again[ASD_MARK_BYTES];
    uint64_t commit;
    uint64_t commit_again;
    struct err e;

    memcpy(p, data, bytes < sizeof(p) ? bytes : sizeof(p));
    if (right) {
        seal(p, sizeof(p));
    }
    if (asd_mark_decode(p, p + 16, &commit, &e) == 0) {
        asd_mark_encode(again, p + 16, commit);
        CHECK(asd_mark_decode(again, p + 16, &commit_again, &e) == 0);
        CHECK(commit == commit_again);
        p[16] ^= 1;
        CHECK(asd_mark_decode(again, p + 16, &commit_again, &e) == ERR_CORRUPT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    bool right;

    if (bytes == 0) {
        return 0;
    }
    right = data[0] >= MAKE_RIGHT;
    switch ((enum kind)(data[0] % MAKE_RIGHT % KINDS)) {
    case SLAB_HEADER:
        check_slab_header(data + 1, bytes - 1, right);
        break;
    case IDENTITY:
        check_identity(data + 1, bytes - 1, right);
        break;
    default:
        check_mark(data + 1, bytes - 1, right);
    }
    return 0;
}
