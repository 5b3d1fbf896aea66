/* Expected bytes written as hex, for tests of exact encodings. */
#ifndef TESTS_UNIT_WIRE_BYTES_H
#define TESTS_UNIT_WIRE_BYTES_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hex.h"
#include "wire/gather.h"

/* Append hex digits; blanks are for the reader. */
static inline void bytes_put(struct buf *b, const char *hex)
{
    char pair[3] = {0};

    for (const char *p = hex; *p != '\0'; p++) {
        if (isspace((unsigned char)*p)) {
            continue;
        }
        pair[strlen(pair)] = *p;
        if (strlen(pair) == 2) {
            assert_int_equal(hex_decode(buf_extend(b, 1), 1, pair), 0);
            memset(pair, 0, sizeof(pair));
        }
    }
    assert_int_equal(strlen(pair), 0);
}

static inline struct rd slice_rd(const struct buf *b)
{
    return rd_of(b->data, b->len);
}

/* Compare and release what was made; prints both when they differ. */
static inline void bytes_expect(struct buf *got, const char *hex)
{
    struct buf want = {0};
    char *text = calloc(2 * got->len + 1, 1);

    bytes_put(&want, hex);
    hex_encode(text, got->data, got->len);
    if (!slice_eq(slice_buf(&want), slice_buf(got))) {
        fprintf(stderr, "want %s\ngot  %s\n", hex, text);
        fail();
    }
    free(text);
    buf_release(&want);
    buf_release(got);
}

static inline void bytes_expect_gather(struct gather *got, const char *hex)
{
    struct buf flat = {0};

    gather_flatten(got, &flat);
    gather_release(got);
    bytes_expect(&flat, hex);
}

/* Read tests/golden/wire/<name>. */
static inline void bytes_golden(struct buf *b, const char *name)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/wire/%s", GOLDEN_DIR, name);
    f = fopen(path, "rb");
    assert_non_null(f);
    buf_reserve(b, 65536);
    b->len = fread(b->data, 1, b->cap, f);
    fclose(f);
}

/* Compare with tests/golden/wire/<name>. GOLDEN_WRITE=1 makes a file that is not there yet. */
static inline void bytes_expect_golden(const struct buf *got, const char *name)
{
    char path[512];
    struct buf want = {0};
    FILE *f;

    snprintf(path, sizeof(path), "%s/wire/%s", GOLDEN_DIR, name);
    if (getenv("GOLDEN_WRITE") != NULL) {
        f = fopen(path, "wxb");
        if (f != NULL) {
            assert_int_equal(fwrite(got->data, 1, got->len, f), got->len);
            assert_int_equal(fclose(f), 0);
        }
    }
    bytes_golden(&want, name);
    assert_int_equal(want.len, got->len);
    assert_memory_equal(want.data, got->data, got->len);
    buf_release(&want);
}

#endif
