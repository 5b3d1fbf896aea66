/* A resize that cannot come to its end does not keep a volume from its close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_load.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, DRAIN_MS = 24 * 3600 * 1000 };

struct fixture {
    struct vol_world world;
    struct volume_resize resize;
    unsigned answers;
    int rc;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    assert_int_equal(vol_node_start(&f->world.node), 0);
    f->world.store.down = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vol_world_release(&f->world);
    free(f);
    return 0;
}

static void on_resized(struct volume_resize *resize, int rc)
{
    struct fixture *f = container_of(resize, struct fixture, resize);

    f->answers++;
    f->rc = rc;
}

static void resize(struct fixture *f)
{
    assert_int_equal(
        volume_resize(f->world.node.volume, &f->resize, (uint64_t)2 * BYTES, on_resized), 0);
}

static void close_and_look(struct fixture *f)
{
    vol_node_stop(&f->world.node, DRAIN_MS);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->rc, ERR_CANCELED);
    assert_non_null(strstr(f->resize.err.msg, "is closing"));
    f->world.store.down = false;
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(volume_size_bytes(f->world.node.volume), BYTES);
}

static void one_that_is_tried_again_and_again_ends_with_the_close(void **state)
{
    struct fixture *f = *state;
    struct volume *v = f->world.node.volume;

    resize(f);
    while (v->change == NULL || volume_root_busy(v)) {
        vol_node_turn(&f->world.node, true);
    }
    assert_int_equal(f->answers, 0);
    close_and_look(f);
}

static void one_that_has_not_begun_does_not_begin(void **state)
{
    struct fixture *f = *state;

    resize(f);
    close_and_look(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_is_tried_again_and_again_ends_with_the_close,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_has_not_begun_does_not_begin, setup, teardown),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
