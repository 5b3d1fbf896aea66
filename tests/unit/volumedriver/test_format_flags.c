/* What a later version writes and this one meets, after a step back: flags by class. */
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
#include "volumedriver/checkpoint.h"
#include "volumedriver/frame.h"
#include "volumedriver/owner.h"
#include "volumedriver/root.h"
#include "volumedriver/sco.h"
#include "volumedriver/seal.h"
#include "volumedriver/volume_private.h"

enum { BYTES = 8 << 20, SCO_BYTES = 1 << 20, CLUSTER = 4096 };

#define REFUSE (UINT32_C(1) << 15)
#define READ_ONLY (UINT32_C(1) << 16)
#define IGNORE (UINT32_C(1) << 24)

static const uint8_t volume[16] = "volume-uuid-0001";

/* ---- decoders ---- */

static int root_with(uint32_t flags, bool *ret_read_only)
{
    struct root r, got = {0};
    struct buf b = {0};
    struct err e;
    int rc;

    root_init(&r, volume, 1, BYTES, SCO_BYTES);
    root_encode(&r, &b);
    put_u32le(b.data + 64, flags);
    put_u32le(b.data + SEAL_AT, seal_crc(0, b.data, b.len, SEAL_AT));
    rc = root_decode(b.data, b.len, volume, &got, &e);
    *ret_read_only = got.read_only;
    root_release(&got);
    root_release(&r);
    buf_release(&b);
    return rc;
}

static int owner_with(uint32_t flags)
{
    struct owner o = {.incarnation = 7, .epoch = 9, .since = 5}, got;
    uint8_t bytes[OWNER_BYTES];
    struct err e;

    memcpy(o.volume, volume, 16);
    owner_encode(&o, bytes);
    put_u32le(bytes + 88, flags);
    put_u32le(bytes + SEAL_AT, seal_crc(0, bytes, sizeof(bytes), SEAL_AT));
    return owner_decode(bytes, sizeof(bytes), volume, &got, &e);
}

static int footer_with(uint32_t flags)
{
    struct sco_footer f = {.number = 0x90002,
                           .predecessor = 0x90001,
                           .kind = SCO_EMPTY,
                           .generation = 1,
                           .epoch = 9,
                           .first_seq = 5,
                           .last_seq = 9};
    uint8_t bytes[SCO_FOOTER_BYTES];
    struct err e;

    memcpy(f.volume, volume, 16);
    sco_trailer_encode(&f, NULL, NULL, bytes);
    put_u32le(bytes + 156, flags);
    put_u32le(bytes + SEAL_AT, seal_crc(0, bytes, sizeof(bytes), SEAL_AT));
    return sco_footer_decode(bytes, volume, f.number, sizeof(bytes), &f, &e);
}

static int checkpoint_with(uint32_t flags)
{
    struct checkpoint_header h = {.number = 0x90001, .kind = CHECKPOINT_BASE, .generation = 1};
    struct checkpoint_writer w = {0};
    struct checkpoint_reader r;
    struct buf b;
    struct err e;
    int rc;

    memcpy(h.volume, volume, 16);
    checkpoint_writer_finish(&w, &h, &b);
    put_u32le(b.data + 156, flags);
    put_u32le(b.data + SEAL_AT, seal_crc(0, b.data, CHECKPOINT_HEADER_BYTES, SEAL_AT));
    rc = checkpoint_reader_init(&r, b.data, b.len, volume, h.number, &e);
    buf_release(&b);
    return rc;
}

static int super_with(uint32_t flags)
{
    struct frame_super super = {.segment_bytes = 64 << 20};
    uint8_t block[JOURNAL_SUPER_BYTES];
    struct err e;

    frame_super_encode(&super, block);
    put_u32le(block + 12, flags);
    put_u32le(block + 40, crc32c(0, block, 40));
    return frame_super_decode(block, &super, &e);
}

static int frame_with(uint32_t flags)
{
    struct frame_header h = {
        .lsn = 7, .first_lsn = 1, .segment_bytes = 64 << 20, .header_blocks = 1};
    uint8_t block[FRAME_BLOCK_BYTES] = {0};
    int rc;

    frame_header_seal(&h, block);
    put_u32le(block + 104, flags);
    put_u32le(block + 8, seal_crc(crc32c(0, h.salt, sizeof(h.salt)), block, sizeof(block), 8));
    rc = frame_header_check(block, &h);
    assert_int_equal(frame_header_peek(block, &h), rc);
    assert_int_equal(h.lsn, 7);
    return rc;
}

static void flags_of_a_later_version_follow_their_class(void **state)
{
    bool read_only;

    (void)state;
    assert_int_equal(root_with(REFUSE, &read_only), ERR_VERSION);
    assert_int_equal(root_with(REFUSE | IGNORE, &read_only), ERR_VERSION);
    assert_int_equal(root_with(READ_ONLY, &read_only), 0);
    assert_true(read_only);
    assert_int_equal(root_with(IGNORE, &read_only), 0);
    assert_false(read_only);

    assert_int_equal(footer_with(REFUSE), ERR_VERSION);
    assert_int_equal(footer_with(READ_ONLY | IGNORE), 0);
    assert_int_equal(checkpoint_with(REFUSE), ERR_VERSION);
    assert_int_equal(checkpoint_with(READ_ONLY | IGNORE), 0);

    /* To open these is to write them. */
    assert_int_equal(owner_with(REFUSE), ERR_VERSION);
    assert_int_equal(owner_with(READ_ONLY), ERR_VERSION);
    assert_int_equal(owner_with(IGNORE), 0);
    assert_int_equal(super_with(REFUSE), ERR_VERSION);
    assert_int_equal(super_with(READ_ONLY), ERR_VERSION);
    assert_int_equal(super_with(IGNORE), 0);
    assert_int_equal(frame_with(REFUSE), ERR_VERSION);
    assert_int_equal(frame_with(READ_ONLY), ERR_VERSION);
    assert_int_equal(frame_with(IGNORE), 0);
}

/* ---- a volume ---- */

struct fixture {
    struct vol_world world;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    vol_world_init(&f->world, 1, BYTES, SCO_BYTES);
    f->world.node.host.sco_age_ms = 20;
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

static void set_root_flags(struct fixture *f, uint32_t flags)
{
    struct vol_object *o = vol_store_find(&f->world.store, "volume");
    struct buf b = {0};

    buf_put(&b, o->data, o->bytes);
    put_u32le(b.data + 64, flags);
    put_u32le(b.data + SEAL_AT, seal_crc(0, b.data, b.len, SEAL_AT));
    vol_store_delete(&f->world.store, "volume");
    vol_store_add(&f->world.store, "volume", b.data, b.len);
    buf_release(&b);
}

static int put(struct fixture *f, uint8_t byte)
{
    return vol_put(&f->world.node, (uint64_t)byte * CLUSTER, byte, CLUSTER, 0);
}

static void expect(struct fixture *f, uint8_t byte)
{
    vol_expect(&f->world.node, (uint64_t)byte * CLUSTER, byte, CLUSTER);
}

static void a_volume_of_a_newer_version_is_served_and_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    unsigned scos;
    uint32_t crc;

    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_int_equal(put(f, 1), 0);
    assert_int_equal(vol_drain(&f->world.node), 0);
    f->world.store.hold_scos = true;
    assert_int_equal(put(f, 2), 0); /* in the journal only */
    vol_node_kill(&f->world.node);
    f->world.store.hold_scos = false;
    vol_store_add(&f->world.store, "m_0000090001", "of a root that is not there yet", 31);
    set_root_flags(f, READ_ONLY);
    crc = vol_store_find(&f->world.store, "volume")->crc;
    scos = vol_store_count(&f->world.store, "s_");

    for (unsigned life = 0; life < 2; life++) {
        assert_int_equal(vol_node_start(&f->world.node), 0);
        assert_int_equal(volume_state(f->world.node.volume), VOLUME_RUNNING);
        assert_true(volume_is_readonly(f->world.node.volume));
        expect(f, 1);
        expect(f, 2);
        assert_int_equal(put(f, 3), -EROFS);
        assert_true(vol_drain(&f->world.node) != 0);
        for (unsigned i = 0; i < 200; i++) {
            vol_node_turn(&f->world.node, false);
        }
        vol_node_stop(&f->world.node, 100);
        assert_int_equal(vol_store_find(&f->world.store, "volume")->crc, crc);
        assert_int_equal(vol_store_count(&f->world.store, "s_"), scos);
        assert_non_null(vol_store_find(&f->world.store, "m_0000090001"));
    }
    set_root_flags(f, 0); /* back at the version that wrote it */
    assert_int_equal(vol_node_start(&f->world.node), 0);
    assert_false(volume_is_readonly(f->world.node.volume));
    expect(f, 2);
    assert_int_equal(put(f, 3), 0);
    assert_int_equal(vol_drain(&f->world.node), 0);
    expect(f, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_of_a_later_version_follow_their_class),
        cmocka_unit_test_setup_teardown(a_volume_of_a_newer_version_is_served_and_left_as_it_is,
                                        setup, teardown),
    };

    log_set_level(getenv("VOL_LOG") != NULL ? LOG_INFO : LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
