/* One volume on one node over a backend in memory: what the block API and the opening promise,
 * case by case. The random histories are in tests/fault/vol_volume.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/vol_call.h"
#include "lib/vol_load.h"
#include "volumedriver/location.h"
#include "volumedriver/owner.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096 };

struct fixture {
    struct vol_store store;
    struct vol_registry registry;
    struct vol_node node;
    struct vol_node other;
    uint8_t *data;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_store_init(&f->store, 1);
    vol_node_init(&f->node, &f->store, &f->registry, 1);
    vol_node_init(&f->other, &f->store, &f->registry, 2);
    f->node.host.incomplete_ms = f->other.host.incomplete_ms = 10;
    assert_int_equal(vol_create(&f->node, BYTES, SCO_BYTES), 0);
    f->data = mem_alloc(BYTES);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    vol_node_release(&f->node);
    vol_node_release(&f->other);
    vol_store_release(&f->store);
    free(f->data);
    free(f);
    return 0;
}

static void start(struct vol_node *n)
{
    assert_int_equal(vol_node_start(n), 0);
    assert_int_equal(volume_state(n->volume), VOLUME_RUNNING);
}

/* ---- the block API ---- */

static void requests_outside_or_off_the_grid_are_refused(void **state)
{
    struct fixture *f = *state;
    struct vol_call c = {0};
    struct iovec iov = {.iov_base = f->data, .iov_len = 512};
    struct volume *v;

    start(&f->node);
    v = f->node.volume;
    assert_int_equal(volume_read(v, &c.req, 100, &iov, 1, vol_call_done), -EINVAL);
    assert_int_equal(volume_read(v, &c.req, BYTES, &iov, 1, vol_call_done), -EINVAL);
    iov.iov_len = 513;
    assert_int_equal(volume_write(v, &c.req, 0, &iov, 1, 0, vol_call_done), -EINVAL);
    iov.iov_len = 1024;
    assert_int_equal(volume_write(v, &c.req, BYTES - 512, &iov, 1, 0, vol_call_done), -EINVAL);
    assert_int_equal(volume_trim(v, &c.req, UINT64_MAX - 511, 512, 0, vol_call_done), -EINVAL);
    assert_int_equal(volume_trim(v, &c.req, 0, 0, 0, vol_call_done), -EINVAL);
    assert_false(c.done);
}

static void parts_of_a_cluster_are_merged_wherever_the_rest_lies(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, 3 * CLUSTER, 0), 0); /* in the journal */
    assert_int_equal(vol_put(&f->node, 512, 2, 512, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0); /* in the backend */
    assert_int_equal(vol_put(&f->node, CLUSTER - 512, 3, 1024, 0), 0);
    assert_int_equal(vol_put(&f->node, 20 * CLUSTER + 512, 4, 512, 0), 0); /* nowhere */
    vol_expect(&f->node, 0, 1, 512);
    vol_expect(&f->node, 512, 2, 512);
    vol_expect(&f->node, 1024, 1, CLUSTER - 1536);
    vol_expect(&f->node, CLUSTER - 512, 3, 1024);
    vol_expect(&f->node, CLUSTER + 512, 1, 2 * CLUSTER - 512);
    vol_expect(&f->node, 20 * CLUSTER, 0, 512);
    vol_expect(&f->node, 20 * CLUSTER + 512, 4, 512);
    vol_expect(&f->node, 20 * CLUSTER + 1024, 0, 100 * 512);
}

/* Both change the same cluster; neither may lose the other's half. */
static void writes_of_parts_of_one_cluster_in_flight_together_both_last(void **state)
{
    struct fixture *f = *state;
    struct iovec iov[8];
    struct vol_call c[8] = {0};

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 9, CLUSTER, 0), 0);
    for (unsigned round = 0; round < 30; round++) {
        for (unsigned i = 0; i < 8; i++) {
            c[i] = (struct vol_call){0};
            memset(f->data + 512 * i, (int)(round + i), 512);
            iov[i] = (struct iovec){.iov_base = f->data + 512 * i, .iov_len = 512};
            assert_int_equal(
                volume_write(f->node.volume, &c[i].req, 512 * i, &iov[i], 1, 0, vol_call_done), 0);
        }
        for (unsigned i = 0; i < 8; i++) {
            while (!c[i].done) {
                vol_node_turn(&f->node, true);
            }
            assert_int_equal(c[i].rc, 0);
        }
        for (unsigned i = 0; i < 8; i++) {
            vol_expect(&f->node, 512 * i, (uint8_t)(round + i), 512);
        }
    }
}

static void trims_and_zeroes_read_as_zeroes_from_journal_and_backend(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 7, 1 << 20, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0);
    for (unsigned drained = 0; drained < 2; drained++) {
        struct vol_call trim = {0}, zero = {0};

        assert_int_equal(vol_call_wait(&f->node, &trim,
                                       volume_trim(f->node.volume, &trim.req, 512, 40 * CLUSTER, 0,
                                                   vol_call_done)),
                         0);
        assert_int_equal(vol_call_wait(&f->node, &zero,
                                       volume_write_zeroes(f->node.volume, &zero.req, 100 * CLUSTER,
                                                           CLUSTER, VOLUME_FUA, vol_call_done)),
                         0);
        vol_expect(&f->node, 0, 7, 512);
        vol_expect(&f->node, 512, 0, 40 * CLUSTER);
        vol_expect(&f->node, 40 * CLUSTER + 512, 7, 59 * CLUSTER - 512);
        vol_expect(&f->node, 100 * CLUSTER, 0, CLUSTER);
        vol_expect(&f->node, 101 * CLUSTER, 7, CLUSTER);
        assert_int_equal(vol_drain(&f->node), 0);
    }
}

static void block_status_tells_data_zeroes_and_holes(void **state)
{
    struct fixture *f = *state;
    struct volume_extent x[8];
    struct vol_call c = {0};

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 2 * CLUSTER, 1, CLUSTER, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0);
    assert_int_equal(vol_put(&f->node, 3 * CLUSTER, 1, CLUSTER, 0), 0);
    assert_int_equal(vol_call_wait(&f->node, &c,
                                   volume_block_status(f->node.volume, &c.req, 512, 10 * CLUSTER, x,
                                                       8, vol_call_done)),
                     0);
    assert_int_equal(c.req.extent_count, 3);
    assert_int_equal(x[0].bytes, 2 * CLUSTER - 512);
    assert_int_equal(x[0].flags, VOLUME_EXTENT_ZERO | VOLUME_EXTENT_HOLE);
    assert_int_equal(x[1].bytes, 2 * CLUSTER);
    assert_int_equal(x[1].flags, 0);
    assert_int_equal(x[2].bytes, 6 * CLUSTER + 512);
    c = (struct vol_call){0};
    assert_int_equal(
        vol_call_wait(&f->node, &c,
                      volume_block_status(f->node.volume, &c.req, 0, BYTES, x, 1, vol_call_done)),
        0);
    assert_int_equal(c.req.extent_count, 1);
}

static void a_request_of_32_mib_is_cut_and_comes_back(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 5, BYTES, 0), 0);
    vol_expect(&f->node, 0, 5, BYTES);
    assert_int_equal(vol_drain(&f->node), 0);
    vol_expect(&f->node, 0, 5, BYTES);
}

static void an_overwritten_cluster_is_uploaded_once(void **state)
{
    struct fixture *f = *state;
    struct volume_stats s;

    start(&f->node);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(vol_put(&f->node, 0, (uint8_t)i, CLUSTER, 0), 0);
    }
    assert_int_equal(vol_drain(&f->node), 0);
    volume_stats(f->node.volume, &s);
    assert_int_equal(s.sco_puts, 1);
    assert_true(s.sco_put_bytes < 2 * CLUSTER);
    vol_expect(&f->node, 0, 199, CLUSTER);
}

/* ---- opening and closing ---- */

static void a_volume_closed_without_draining_opens_again_in_the_same_process(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(vol_put(&f->node, i * CLUSTER, (uint8_t)(i + 1), CLUSTER, 0), 0);
        f->store.down = i % 2 == 1;
        assert_int_equal(vol_node_reopen(&f->node, i == 2 ? 100 : 0), 0);
        f->store.down = false;
        assert_int_equal(volume_state(f->node.volume), VOLUME_RUNNING);
        for (unsigned k = 0; k <= i; k++) {
            vol_expect(&f->node, k * CLUSTER, (uint8_t)(k + 1), CLUSTER);
        }
    }
    /* What went through memory is still on the disk, too. */
    vol_node_kill(&f->node);
    start(&f->node);
    for (unsigned k = 0; k < 5; k++) {
        vol_expect(&f->node, k * CLUSTER, (uint8_t)(k + 1), CLUSTER);
    }
}

static void a_drained_volume_opens_anywhere_another_one_only_with_accepted_loss(void **state)
{
    struct fixture *f = *state;
    uint32_t epoch;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    assert_int_equal(vol_node_stop(&f->node, 60000), 0);
    start(&f->other);
    vol_expect(&f->other, 0, 1, CLUSTER);
    assert_int_equal(vol_put(&f->other, 0, 2, CLUSTER, VOLUME_FUA), 0);
    vol_node_kill(&f->other);
    epoch = f->registry.epoch;
    assert_int_equal(vol_node_start(&f->node), ERR_IDENTITY);
    assert_int_equal(f->registry.epoch, epoch); /* a try that is in vain costs none */
    f->node.accept_loss = true;
    start(&f->node);
    vol_expect(&f->node, 0, 1, CLUSTER);
}

static void an_old_copy_of_the_journal_is_refused(void **state)
{
    struct fixture *f = *state;
    struct crash_disk *disk = f->node.disk;
    uint32_t epoch;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, VOLUME_FUA), 0);
    vol_node_kill(&f->node);
    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 2, CLUSTER, VOLUME_FUA), 0);
    vol_node_kill(&f->node);
    /* Roll the machine back: the opening frames of both lives are gone. */
    for (uint64_t at = 4096; at < 4096 + 600000; at += 512) {
        crash_disk_corrupt(disk, "/journal", at);
    }
    epoch = f->registry.epoch;
    assert_int_equal(vol_node_start(&f->node), ERR_STALE);
    assert_int_equal(f->registry.epoch, epoch);
}

/* An object that lacks fragments may still be lost: the journal's records must go on to count. */
static void a_close_marks_the_volume_drained_only_when_its_objects_are_complete(void **state)
{
    struct fixture *f = *state;

    f->node.host.incomplete_ms = 60000;
    f->store.incomplete_percent = 100;
    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0);
    assert_int_equal(vol_node_stop(&f->node, 100), 0);
    assert_int_equal(vol_node_start(&f->other), ERR_IDENTITY);
    f->store.incomplete_percent = 0;
    start(&f->node);
    vol_expect(&f->node, 0, 1, CLUSTER);
    assert_int_equal(vol_put(&f->node, 0, 2, CLUSTER, 0), 0);
    assert_int_equal(vol_node_stop(&f->node, 1000000), 0); /* nothing to wait for */
    start(&f->other);
    vol_expect(&f->other, 0, 2, CLUSTER);
}

/* The backend has the second of two SCOs and not the first one, and the second is not what was
 * assigned. */
static void a_sco_of_another_generation_is_not_taken_for_the_assigned_one(void **state)
{
    struct fixture *f = *state;
    struct vol_object *o;
    struct sco_footer footer;
    struct err e;
    char name[SCO_NAME_BYTES];
    uint64_t first, second;

    f->node.host.incomplete_ms = 60000;
    f->store.incomplete_percent = 100;
    start(&f->node);
    first = sco_number(f->node.volume->epoch, 0);
    second = first + 1;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(vol_put(&f->node, 0, (uint8_t)(i + 1), CLUSTER, VOLUME_FUA), 0);
        assert_int_equal(vol_drain(&f->node), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        vol_node_kill(&f->node);
        sco_name(first, name);
        vol_store_delete(&f->store, name);
        sco_name(second, name);
        o = vol_store_find(&f->store, name);
        assert_non_null(o);
        if (i == 1) {
            uint8_t trailer[4 + 24 + SCO_FOOTER_BYTES];
            const uint8_t *at = o->data + o->bytes - SCO_FOOTER_BYTES;
            struct sco_extent *extents;
            uint32_t crc = get_u32le(o->data + CLUSTER);
            uint8_t *copy = mem_dup(o->data, o->bytes);

            assert_int_equal(sco_footer_decode(at, vol_uuid, second, o->bytes, &footer, &e), 0);
            assert_int_equal(sco_trailer_decode(&footer, o->data + CLUSTER, 28, &extents, &e), 0);
            footer.generation++;
            sco_trailer_encode(&footer, &crc, extents, trailer);
            memcpy(copy + CLUSTER, trailer, sizeof(trailer));
            vol_store_add(&f->store, name, copy, CLUSTER + sizeof(trailer));
            free(extents);
            free(copy);
        }
        assert_int_equal(vol_node_start(&f->node), 0);
        assert_int_equal(volume_state(f->node.volume), i == 0 ? VOLUME_RUNNING : VOLUME_DAMAGED);
        vol_expect(&f->node, 0, 2, CLUSTER);
    }
    /* The operator gives up what is there: the journal has what was assigned. */
    vol_node_kill(&f->node);
    f->node.accept_loss = true;
    start(&f->node);
    assert_int_equal(vol_drain(&f->node), 0);
    assert_int_equal(vol_put(&f->node, CLUSTER, 3, CLUSTER, VOLUME_FUA), 0);
    vol_node_kill(&f->node);
    f->node.accept_loss = false;
    start(&f->node);
    vol_expect(&f->node, 0, 2, CLUSTER);
    vol_expect(&f->node, CLUSTER, 3, CLUSTER);
}

/* Registry and backend went back to an older state; the journal did not, or the root did not. */
static void the_next_epoch_is_above_all_that_was_written_under(void **state)
{
    struct fixture *f = *state;
    struct vol_object tag, owner, *o;
    struct root root;
    struct buf bytes = {0};
    struct err e;

    start(&f->node);
    tag = *vol_store_find(&f->store, "owner_tag");
    owner = *vol_store_find(&f->store, OWNER_NAME);
    tag.data = mem_dup(tag.data, tag.bytes);
    owner.data = mem_dup(owner.data, owner.bytes);
    for (unsigned i = 0; i < 3; i++) {
        vol_node_kill(&f->node);
        start(&f->node);
        assert_int_equal(vol_put(&f->node, 0, (uint8_t)(i + 1), CLUSTER, VOLUME_FUA), 0);
    }
    vol_node_kill(&f->node);
    vol_store_add(&f->store, "owner_tag", tag.data, tag.bytes);
    vol_store_add(&f->store, OWNER_NAME, owner.data, owner.bytes);
    free(tag.data);
    free(owner.data);
    f->registry.epoch = 2;
    start(&f->node);
    assert_true(f->node.volume->epoch > 5);
    vol_expect(&f->node, 0, 3, CLUSTER);
    vol_node_kill(&f->node);
    o = vol_store_find(&f->store, "volume");
    assert_int_equal(root_decode(o->data, o->bytes, vol_uuid, &root, &e), 0);
    root.epoch = 50;
    root_encode(&root, &bytes);
    root_release(&root);
    vol_store_add(&f->store, "volume", bytes.data, bytes.len);
    buf_release(&bytes);
    start(&f->node);
    assert_true(f->node.volume->epoch > 50);
    vol_expect(&f->node, 0, 3, CLUSTER);
}

/* As SIGTERM does, while the registry takes its time. */
static void a_volume_closes_while_it_takes_the_next_epoch(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    f->registry.slow_turns = 50;
    f->node.volume->next_index = SCO_INDEX_MAX + 1;
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    volume_range_close(f->node.volume);
    while (f->node.volume->opening == NULL) {
        vol_node_turn(&f->node, true);
    }
    assert_int_equal(vol_node_stop(&f->node, 0), 0);
    f->registry.slow_turns = 0;
    start(&f->node);
    vol_expect(&f->node, 0, 1, CLUSTER);
}

static void numbers_that_run_out_take_the_next_epoch(void **state)
{
    struct fixture *f = *state;
    uint32_t epoch;

    start(&f->node);
    epoch = f->node.volume->epoch;
    f->store.fail_percent = f->store.doubt_percent = 20;
    f->node.volume->next_index = SCO_INDEX_MAX - 1;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(vol_put(&f->node, i * CLUSTER, (uint8_t)(i + 1), CLUSTER, 0), 0);
        assert_int_equal(vol_drain(&f->node), 0);
    }
    assert_true(f->node.volume->epoch > epoch);
    f->store.fail_percent = f->store.doubt_percent = 0;
    vol_node_lose(&f->node, 7);
    f->node.accept_loss = true;
    start(&f->node);
    for (unsigned i = 0; i < 8; i++) {
        vol_expect(&f->node, i * CLUSTER, (uint8_t)(i + 1), CLUSTER);
    }
}

struct resizing {
    struct volume_resize resize;
    int rc;
};

static void on_resized(struct volume_resize *resize, int rc)
{
    container_of(resize, struct resizing, resize)->rc = rc;
}

static int resize(struct vol_node *n, uint64_t bytes)
{
    struct resizing r = {.rc = 1};
    int rc = volume_resize(n->volume, &r.resize, bytes, on_resized);

    while (rc == 0 && r.rc == 1) {
        vol_node_turn(n, true);
    }
    return rc != 0 ? rc : r.rc;
}

static void a_volume_grows_and_stays_grown(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    assert_int_equal(resize(&f->node, BYTES - CLUSTER), -EINVAL);
    assert_int_equal(resize(&f->node, BYTES + 100), -EINVAL);
    f->store.doubt_percent = 60;
    assert_int_equal(resize(&f->node, 2 * BYTES), 0);
    f->store.doubt_percent = 0;
    assert_int_equal(volume_size_bytes(f->node.volume), 2 * BYTES);
    assert_int_equal(vol_put(&f->node, 2 * BYTES - CLUSTER, 3, CLUSTER, 0), 0);
    vol_node_kill(&f->node);
    start(&f->node);
    assert_int_equal(volume_size_bytes(f->node.volume), 2 * BYTES);
    vol_expect(&f->node, 2 * BYTES - CLUSTER, 3, CLUSTER);
}

static void the_second_creation_of_a_volume_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(vol_create(&f->node, BYTES, SCO_BYTES), ERR_EXISTS);
}

/* ---- trouble ---- */

static void a_fenced_volume_answers_so_and_keeps_its_tail(void **state)
{
    struct fixture *f = *state;
    struct vol_call c = {0};
    struct iovec iov = {.iov_base = f->data, .iov_len = CLUSTER};

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    f->other.accept_loss = true;
    start(&f->other);
    assert_int_equal(vol_drain(&f->node), ERR_FENCED);
    assert_int_equal(volume_state(f->node.volume), VOLUME_FENCED);
    assert_int_equal(volume_read(f->node.volume, &c.req, 0, &iov, 1, vol_call_done), ERR_FENCED);
    assert_int_equal(volume_write(f->node.volume, &c.req, 0, &iov, 1, 0, vol_call_done),
                     ERR_FENCED);
    assert_int_equal(vol_store_count(&f->store, "s_"), 0);
    vol_expect(&f->other, 0, 0, CLUSTER);
}

/* What a life before this one had sent when it died happens only now. */
static void an_earlier_take_lands(void *ctx)
{
    struct fixture *f = ctx;
    struct vol_object *o = vol_store_find(&f->store, OWNER_NAME);
    uint8_t bytes[OWNER_BYTES], tag[8];
    struct owner earlier;
    struct err e;

    assert_int_equal(owner_decode(o->data, o->bytes, vol_uuid, &earlier, &e), 0);
    earlier.epoch = f->registry.epoch - 1;
    owner_encode(&earlier, bytes);
    put_u64le(tag, earlier.epoch);
    vol_store_add(&f->store, OWNER_NAME, bytes, sizeof(bytes));
    vol_store_add(&f->store, "owner_tag", tag, sizeof(tag));
    f->registry.claimed = NULL;
}

/* ERR_FENCED would say that somebody came later, and nobody would try again soon. */
static void a_take_of_an_earlier_life_that_lands_late_does_not_fence(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    vol_node_kill(&f->node);
    f->registry.epoch++; /* of the life whose take is on its way */
    f->registry.claimed = an_earlier_take_lands;
    f->registry.ctx = f;
    assert_int_equal(vol_node_start(&f->node), ERR_BUSY);
    start(&f->node);
    vol_expect(&f->node, 0, 1, CLUSTER);
}

static void a_damaged_journal_opens_read_only_until_the_loss_is_accepted(void **state)
{
    struct fixture *f = *state;
    struct vol_call c = {0};
    struct iovec iov = {.iov_base = f->data, .iov_len = CLUSTER};
    uint64_t at;

    start(&f->node);
    f->store.down = true;
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, VOLUME_FUA), 0);
    assert_int_equal(vol_put(&f->node, 0, 2, CLUSTER, VOLUME_FUA), 0);
    at = container_of(f->node.volume->records.prev, struct record, link)->data_offset;
    assert_int_equal(vol_put(&f->node, CLUSTER, 3, CLUSTER, VOLUME_FUA), 0);
    vol_node_kill(&f->node);
    f->store.down = false;
    assert_int_equal(crash_disk_corrupt(f->node.disk, "/journal", at), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(i == 0 ? vol_node_start(&f->node) : vol_node_reopen(&f->node, 0), 0);
        assert_int_equal(volume_state(f->node.volume), VOLUME_DAMAGED);
        assert_true(volume_is_readonly(f->node.volume));
        assert_int_equal(volume_write(f->node.volume, &c.req, 0, &iov, 1, 0, vol_call_done),
                         -EROFS);
        vol_expect(&f->node, 0, 1, CLUSTER); /* the prefix in front of the damage */
        vol_expect(&f->node, CLUSTER, 0, CLUSTER);
    }
    f->node.accept_loss = true;
    assert_int_equal(vol_node_reopen(&f->node, 0), 0);
    assert_int_equal(volume_state(f->node.volume), VOLUME_RUNNING);
    vol_expect(&f->node, 0, 1, CLUSTER);
    assert_int_equal(vol_put(&f->node, 0, 4, CLUSTER, VOLUME_FUA), 0);
    f->node.accept_loss = false;
    vol_node_kill(&f->node);
    start(&f->node);
    vol_expect(&f->node, 0, 4, CLUSTER);
}

static struct vol_object *first_sco(struct fixture *f)
{
    struct vol_object *o, *next;

    HASH_ITER (hh, f->store.objects, o, next) {
        if (strncmp(o->name, "s_", 2) == 0) {
            return o;
        }
    }
    return NULL;
}

static void a_changed_byte_in_a_sco_is_an_error_never_data(void **state)
{
    struct fixture *f = *state;
    struct vol_object *o;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, 4 * CLUSTER, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0);
    o = first_sco(f);
    o->data[CLUSTER + 17] ^= 1;
    assert_int_equal(vol_read(&f->node, 0, f->data, 4 * CLUSTER), ERR_CORRUPT);
    vol_expect(&f->node, 0, 1, CLUSTER);
    o->data[CLUSTER + 17] ^= 1;
    o->data[4 * CLUSTER + 5] ^= 1; /* a CRC */
    assert_int_equal(vol_read(&f->node, CLUSTER, f->data, CLUSTER), ERR_CORRUPT);
    vol_store_delete(&f->store, o->name);
    assert_int_equal(vol_read(&f->node, 0, f->data, CLUSTER), ERR_NOT_FOUND);
}

static void a_backend_that_lost_a_sco_of_a_drained_volume_is_noticed(void **state)
{
    struct fixture *f = *state;

    start(&f->node);
    f->node.volume->trailer_bytes = 0;
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    assert_int_equal(vol_drain(&f->node), 0);
    f->node.volume->checkpointed = true; /* none at the close: the SCO is the only copy */
    f->node.volume->trailer_bytes = 0;
    assert_int_equal(vol_node_stop(&f->node, 60000), 0);
    vol_store_delete(&f->store, first_sco(f)->name);
    assert_int_equal(vol_node_start(&f->node), 0);
    assert_int_equal(volume_state(f->node.volume), VOLUME_DAMAGED);
}

static unsigned list_count(const struct list *list)
{
    unsigned n = 0;

    LIST_FOR_EACH (it, list) {
        n++;
    }
    return n;
}

static void a_read_of_many_scos_leaves_room_for_others(void **state)
{
    struct fixture *f = *state;
    struct iovec iov = {.iov_base = f->data, .iov_len = 100 * CLUSTER};
    struct vol_call c = {0};
    unsigned most = 0;

    start(&f->node);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(vol_put(&f->node, (uint64_t)i * CLUSTER, (uint8_t)(i + 1), CLUSTER, 0), 0);
        assert_int_equal(vol_drain(&f->node), 0);
    }
    assert_int_equal(volume_read(f->node.volume, &c.req, 0, &iov, 1, vol_call_done), 0);
    while (!c.done) {
        unsigned now = list_count(&f->node.backend.queue);

        most = now > most ? now : most;
        vol_node_turn(&f->node, false);
    }
    assert_int_equal(c.rc, 0);
    assert_in_range(most, 8, 32);
    for (unsigned i = 0; i < 100 * CLUSTER; i++) {
        assert_int_equal(f->data[i], i / CLUSTER + 1);
    }
}

static void a_backend_that_is_down_only_delays(void **state)
{
    struct fixture *f = *state;
    struct volume_stats s;

    start(&f->node);
    f->store.down = true;
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(vol_put(&f->node, (uint64_t)i << 18, (uint8_t)(i + 1), 1 << 18, 0), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        vol_expect(&f->node, (uint64_t)i << 18, (uint8_t)(i + 1), 1 << 18);
    }
    f->store.down = false;
    assert_int_equal(vol_drain(&f->node), 0);
    volume_stats(f->node.volume, &s);
    assert_int_equal(s.committed_seq, s.last_seq);
    for (unsigned i = 0; i < 6; i++) {
        vol_expect(&f->node, (uint64_t)i << 18, (uint8_t)(i + 1), 1 << 18);
    }
}

static void a_failed_journal_stops_writes_but_not_reads(void **state)
{
    struct fixture *f = *state;
    struct vol_call c = {0};
    int rc = 0;

    start(&f->node);
    assert_int_equal(vol_put(&f->node, 0, 1, CLUSTER, 0), 0);
    for (unsigned i = 0; i < 8 && rc == 0; i++) { /* the growing ring may take the error first */
        crash_disk_fail_at(f->node.disk, crash_disk_io_count(f->node.disk) + 1, -EIO);
        rc = vol_put(&f->node, CLUSTER, 2, CLUSTER, 0);
    }
    assert_int_equal(rc, ERR_FAILED);
    assert_int_equal(vol_put(&f->node, CLUSTER, 2, CLUSTER, 0), ERR_FAILED);
    assert_int_equal(volume_flush(f->node.volume, &c.req, vol_call_done), ERR_FAILED);
    assert_int_equal(volume_state(f->node.volume), VOLUME_FAILED);
    vol_expect(&f->node, 0, 1, CLUSTER);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(requests_outside_or_off_the_grid_are_refused),
        T(parts_of_a_cluster_are_merged_wherever_the_rest_lies),
        T(writes_of_parts_of_one_cluster_in_flight_together_both_last),
        T(trims_and_zeroes_read_as_zeroes_from_journal_and_backend),
        T(block_status_tells_data_zeroes_and_holes),
        T(a_request_of_32_mib_is_cut_and_comes_back),
        T(an_overwritten_cluster_is_uploaded_once),
        T(a_volume_closed_without_draining_opens_again_in_the_same_process),
        T(a_drained_volume_opens_anywhere_another_one_only_with_accepted_loss),
        T(an_old_copy_of_the_journal_is_refused),
        T(a_close_marks_the_volume_drained_only_when_its_objects_are_complete),
        T(a_sco_of_another_generation_is_not_taken_for_the_assigned_one),
        T(the_next_epoch_is_above_all_that_was_written_under),
        T(a_volume_closes_while_it_takes_the_next_epoch),
        T(numbers_that_run_out_take_the_next_epoch),
        T(a_volume_grows_and_stays_grown),
        T(the_second_creation_of_a_volume_is_refused),
        T(a_fenced_volume_answers_so_and_keeps_its_tail),
        T(a_take_of_an_earlier_life_that_lands_late_does_not_fence),
        T(a_damaged_journal_opens_read_only_until_the_loss_is_accepted),
        T(a_changed_byte_in_a_sco_is_an_error_never_data),
        T(a_backend_that_lost_a_sco_of_a_drained_volume_is_noticed),
        T(a_read_of_many_scos_leaves_room_for_others),
        T(a_backend_that_is_down_only_delays),
        T(a_failed_journal_stops_writes_but_not_reads),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    cmocka_set_test_filter(getenv("VOL_TEST")); /* one of them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
