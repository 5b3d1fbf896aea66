/* Reads that a client or a metadata store makes as hard as it can. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/object_read.h"
#include "sim/proxy_world.h"

struct raw_read {
    struct object_read read;
    bool done;
    int rc;
};

static void on_raw_read(struct object_read *read, int rc)
{
    struct raw_read *raw = container_of(read, struct raw_read, read);

    raw->rc = rc;
    raw->done = true;
}

/* As a reader with this manifest would. */
static int read_by(struct world *w, const struct manifest *m, struct object_read_range range)
{
    struct raw_read raw = {.done = false};
    struct readable readable;
    struct object *object;
    struct manifest copy;
    struct err e;

    manifest_copy(&copy, m);
    object = object_new(w->ns_id, &copy);
    assert_int_equal(readable_init(&readable, w->engine, object, &e), 0);
    object_read_start(&raw.read, w->engine, &readable, &range, 1, on_raw_read);
    loop_fixture_run_until(&w->base, &raw.done);
    object_drop(object);
    return raw.rc;
}

/* The trailer that was kept is of a smaller fragment than the second manifest has. */
static void manifests_that_contradict_each_other_are_an_error(void **state)
{
    enum { BYTES = 4 * 131072 };
    static uint8_t data[BYTES], got[4096];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 131072, "lz4"));
    struct manifest m;

    (void)state;
    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(read_by(w, &m, (struct object_read_range){.bytes = sizeof(got), .dest = got}),
                     0);
    assert_memory_equal(got, data, sizeof(got));
    m.chunk_bytes[0] += BYTES / 4;
    m.size_bytes += BYTES / 4;
    assert_int_equal(read_by(w, &m,
                             (struct object_read_range){
                                 .offset = BYTES / 4 + 100, .bytes = sizeof(got), .dest = got}),
                     ERR_NOT_ENOUGH);
    manifest_release(&m);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_that_contradict_each_other_are_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
