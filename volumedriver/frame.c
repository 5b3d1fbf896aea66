#include "volumedriver/frame.h"

#include <string.h>

#include "base/check.h"
#include "volumedriver/format_flags.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"
#include "volumedriver/seal.h"

static const uint8_t super_magic[8] = "ALBAJRN1";
static const uint8_t frame_magic[8] = "ALBAFRM1";

enum { SUPER_VERSION = 1, FRAME_VERSION = 1, CRC_AT = 8, FLAGS_AT = 104, SUPER_CRC_AT = 40 };

void frame_super_encode(const struct frame_super *super, uint8_t ret_block[JOURNAL_SUPER_BYTES])
{
    memset(ret_block, 0, JOURNAL_SUPER_BYTES);
    memcpy(ret_block, super_magic, 8);
    put_u32le(ret_block + 8, SUPER_VERSION);
    memcpy(ret_block + 16, super->journal_id, UUID_BYTES);
    put_u64le(ret_block + 32, super->segment_bytes);
    put_u32le(ret_block + SUPER_CRC_AT, crc32c(0, ret_block, SUPER_CRC_AT));
}

int frame_super_decode(const uint8_t block[JOURNAL_SUPER_BYTES], struct frame_super *ret_super,
                       struct err *e)
{
    uint64_t segment_bytes = get_u64le(block + 32);

    if (memcmp(block, super_magic, 8) != 0) {
        return err_set(e, ERR_CORRUPT, "no journal superblock");
    }
    if (get_u32le(block + SUPER_CRC_AT) != crc32c(0, block, SUPER_CRC_AT)) {
        return err_set(e, ERR_CORRUPT, "journal superblock");
    }
    if (get_u32le(block + 8) != SUPER_VERSION || !format_flags_writable(get_u32le(block + 12))) {
        return err_set(e, ERR_VERSION, "journal version %u, flags %#x", get_u32le(block + 8),
                       get_u32le(block + 12));
    }
    if (segment_bytes < JOURNAL_SEGMENT_BYTES_MIN || segment_bytes > JOURNAL_SEGMENT_BYTES_MAX ||
        segment_bytes % FRAME_BLOCK_BYTES != 0) {
        return err_set(e, ERR_CORRUPT, "journal segment size");
    }
    memcpy(ret_super->journal_id, block + 16, UUID_BYTES);
    ret_super->segment_bytes = segment_bytes;
    return 0;
}

uint8_t *frame_extent_encode(const struct frame_extent *x, uint8_t *at)
{
    memcpy(at, x->volume, UUID_BYTES);
    put_u32le(at + 16, x->epoch);
    at[20] = x->op;
    at[21] = x->kind;
    put_u16le(at + 22, x->crc_count);
    put_u64le(at + 24, x->seq);
    put_u64le(at + 32, x->a);
    put_u64le(at + 40, x->b);
    put_u32le(at + 48, x->count);
    if (x->crcs != NULL) {
        memcpy(at + FRAME_EXTENT_BYTES, x->crcs, 4 * (size_t)x->crc_count);
    }
    return at + frame_extent_bytes(x->crc_count);
}

void frame_extent_decode(struct rd *r, struct frame_extent *ret_x)
{
    const uint8_t *volume = rd_bytes(r, UUID_BYTES);

    *ret_x = (struct frame_extent){0};
    if (volume != NULL) {
        memcpy(ret_x->volume, volume, UUID_BYTES);
    }
    ret_x->epoch = rd_u32le(r);
    ret_x->op = rd_u8(r);
    ret_x->kind = rd_u8(r);
    ret_x->crc_count = rd_u16le(r);
    ret_x->seq = rd_u64le(r);
    ret_x->a = rd_u64le(r);
    ret_x->b = rd_u64le(r);
    ret_x->count = rd_u32le(r);
    ret_x->crcs = rd_bytes(r, 4 * (size_t)ret_x->crc_count);
}

void frame_sco_encode(const struct frame_sco *sco, uint8_t ret_payload[FRAME_SCO_BYTES])
{
    put_u64le(ret_payload, sco->predecessor);
    put_u32le(ret_payload + 8, sco->generation);
}

void frame_sco_decode(const struct frame_extent *x, struct frame_sco *ret_sco)
{
    ret_sco->predecessor = get_u64le(x->crcs);
    ret_sco->generation = get_u32le(x->crcs + 8);
}

static uint32_t header_crc(const struct frame_header *h, const uint8_t *header)
{
    return seal_crc(crc32c(0, h->salt, sizeof(h->salt)), header,
                    (size_t)h->header_blocks * FRAME_BLOCK_BYTES, CRC_AT);
}

void frame_header_seal(const struct frame_header *h, uint8_t *header)
{
    CHECK(h->header_blocks >= 1 && h->header_blocks <= FRAME_HEADER_BLOCKS_MAX);
    CHECK(frame_bytes(h) <= FRAME_BYTES_MAX);

    memset(header, 0, FRAME_HEAD_BYTES);
    memcpy(header, frame_magic, 8);
    put_u16le(header + 12, FRAME_VERSION);
    put_u16le(header + 14, (uint16_t)h->header_blocks);
    memcpy(header + 16, h->journal_id, UUID_BYTES);
    memcpy(header + 32, h->salt, UUID_BYTES);
    put_u64le(header + 48, h->offset);
    put_u64le(header + 56, h->lsn);
    put_u64le(header + 64, h->incarnation);
    put_u64le(header + 72, h->first_lsn);
    put_u64le(header + 80, h->durable_lsn);
    put_u64le(header + 88, h->release_lsn);
    put_u32le(header + 96, h->data_blocks);
    put_u32le(header + 100, h->extent_count);
    put_u64le(header + 112, h->segment_bytes);
    put_u32le(header + CRC_AT, header_crc(h, header));
}

/* The journal of a read-only frame cannot be opened: that is a write. */
static bool is_known(const uint8_t *head)
{
    return get_u16le(head + 12) == FRAME_VERSION &&
           format_flags_writable(get_u32le(head + FLAGS_AT));
}

int frame_header_peek(const uint8_t head[FRAME_HEAD_BYTES], struct frame_header *ret_h)
{
    struct frame_header h;

    if (memcmp(head, frame_magic, 8) != 0) {
        return ERR_CORRUPT;
    }
    h.header_blocks = get_u16le(head + 14);
    h.data_blocks = get_u32le(head + 96);
    h.extent_count = get_u32le(head + 100);
    if (h.header_blocks < 1 || h.header_blocks > FRAME_HEADER_BLOCKS_MAX ||
        frame_bytes(&h) > FRAME_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    memcpy(h.journal_id, head + 16, UUID_BYTES);
    memcpy(h.salt, head + 32, UUID_BYTES);
    h.offset = get_u64le(head + 48);
    h.lsn = get_u64le(head + 56);
    h.incarnation = get_u64le(head + 64);
    h.first_lsn = get_u64le(head + 72);
    h.durable_lsn = get_u64le(head + 80);
    h.release_lsn = get_u64le(head + 88);
    h.segment_bytes = get_u64le(head + 112);
    *ret_h = h;
    return is_known(head) ? 0 : ERR_VERSION;
}

enum { USES_KIND = 1, USES_B = 2, USES_WORDS = 4 };

/* Fields without a meaning are zero; a later version may give them one that must not be
 * missed. */
static int check_unused(const struct frame_extent *x, unsigned uses)
{
    return ((uses & USES_KIND) != 0 || x->kind == 0) && ((uses & USES_B) != 0 || x->b == 0) &&
                   ((uses & USES_WORDS) != 0 || x->crc_count == 0)
               ? 0
               : ERR_VERSION;
}

static int check_sco(const struct frame_extent *x)
{
    struct frame_sco sco;

    if (x->kind < SCO_CLIENT || x->kind > SCO_EMPTY) {
        return ERR_VERSION;
    }
    if (x->count != FRAME_SCO_BYTES || 4 * (uint32_t)x->crc_count != FRAME_SCO_BYTES || x->a == 0 ||
        x->a > SCO_NUMBER_MAX || number_epoch(x->a) != x->epoch) {
        return ERR_CORRUPT;
    }
    frame_sco_decode(x, &sco);
    if (sco.predecessor >= x->a) {
        return ERR_CORRUPT;
    }
    if (x->kind == SCO_GC) {
        return x->seq == 0 && x->b == 0 ? 0 : ERR_CORRUPT;
    }
    return x->seq != 0 && x->seq <= x->b ? 0 : ERR_CORRUPT;
}

int frame_extent_check(const struct frame_extent *x)
{
    uint32_t max = FRAME_ZERO_CLUSTERS_MAX;

    switch (x->op) {
    case FRAME_OP_WRITE:
        if (x->count != x->crc_count) {
            return ERR_CORRUPT;
        }
        max = FRAME_RECORD_CLUSTERS_MAX;
        __attribute__((fallthrough));
    case FRAME_OP_TRIM:
    case FRAME_OP_ZEROES:
        if (x->seq == 0 || x->count == 0 || x->count > max || x->a > UINT64_MAX - x->count) {
            return ERR_CORRUPT;
        }
        return check_unused(x, x->op == FRAME_OP_WRITE ? USES_WORDS : 0);
    case FRAME_OP_OPEN:
        if (x->seq == 0) {
            return ERR_CORRUPT;
        }
        return x->a == 0 && x->count == 0 && x->kind <= FRAME_OPEN_LOSS_ACCEPTED
                   ? check_unused(x, USES_KIND)
                   : ERR_VERSION;
    case FRAME_OP_SCO:
        return check_sco(x);
    case FRAME_OP_INCARNATION:
        return x->count == 0 && x->seq == 0 ? check_unused(x, USES_B) : ERR_VERSION;
    case 0:
        return ERR_CORRUPT;
    default:
        return ERR_VERSION; /* skipping it would lose a seq */
    }
}

int frame_header_check(const uint8_t *header, const struct frame_header *h)
{
    struct rd r = frame_extents(header, h);
    uint64_t data_blocks = 0;
    int rc = 0;

    if (get_u32le(header + CRC_AT) != header_crc(h, header)) {
        return ERR_CORRUPT;
    }
    if (!is_known(header)) {
        return ERR_VERSION;
    }
    for (uint32_t i = 0; i < h->extent_count && rc != ERR_CORRUPT; i++) {
        struct frame_extent x;
        int extent_rc;

        frame_extent_decode(&r, &x);
        extent_rc = r.bad ? ERR_CORRUPT : frame_extent_check(&x);
        rc = extent_rc != 0 ? extent_rc : rc;
        data_blocks += frame_extent_data_blocks(&x);
    }
    return rc != 0 ? rc : data_blocks == h->data_blocks ? 0 : ERR_CORRUPT;
}
