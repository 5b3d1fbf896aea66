/* A loop, a store in memory, two handles on it; and calls that wait for their answer. */
#ifndef TESTS_UNIT_META_FIXTURE_H
#define TESTS_UNIT_META_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/bytes.h"
#include "meta/kv.h"
#include "unit/meta/kv_mem.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline struct slice text(const char *s)
{
    return slice_str(s);
}

/* ---- waiting for a kv call ---- */

struct kv_wait {
    bool done;
    int rc;
    struct err err;
    struct kv_item *items; /* copies */
    size_t count;
    bool has_more;
    struct slice failed_key;
};

static inline void kv_wait_cb(void *ctx, int rc, const struct kv_reply *reply)
{
    struct kv_wait *w = ctx;

    assert_false(w->done);
    w->done = true;
    w->rc = rc;
    w->err = *reply->err;
    w->count = reply->count;
    w->has_more = reply->has_more;
    w->failed_key = slice_dup(reply->failed_key);
    w->items = mem_array(reply->count + 1, sizeof(*w->items));
    for (size_t i = 0; i < reply->count; i++) {
        w->items[i] = (struct kv_item){.key = slice_dup(reply->items[i].key),
                                       .value = slice_dup(reply->items[i].value),
                                       .found = reply->items[i].found,
                                       .is_damaged = reply->items[i].is_damaged};
    }
}

static inline void kv_wait_release(struct kv_wait *w)
{
    for (size_t i = 0; i < w->count && w->items != NULL; i++) {
        slice_release(&w->items[i].key);
        slice_release(&w->items[i].value);
    }
    free(w->items);
    slice_release(&w->failed_key);
    *w = (struct kv_wait){0};
}

static inline void close_kv(struct kv *kv)
{
    bool closed = false;
    uv_loop_t *loop = kv_loop(kv);

    kv_close(kv, loop_set_true, &closed);
    loop_run_until(loop, &closed);
}

#endif
