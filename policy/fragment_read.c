#include "policy/fragment_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "policy/fragment_footer.h"

/* ---- any fragment, by its trailer ---- */

struct fragment_range fragment_trailer_range(const struct fragment_ref *ref)
{
    uint32_t bytes = fragment_trailer_bytes(&ref->shape);

    CHECK(ref->stored_bytes >= bytes);
    return (struct fragment_range){.offset = ref->stored_bytes - bytes, .bytes = bytes};
}

static bool entry_is_possible(const struct fragment_shape *shape, uint32_t index, uint32_t word)
{
    uint32_t length = word & ~FRAGMENT_RAW_BIT;
    uint32_t raw = fragment_block_bytes(shape, index);

    if ((word & FRAGMENT_RAW_BIT) != 0) {
        return length == raw;
    }
    return shape->codec != COMPRESS_NONE && length >= 1 && length < raw;
}

/* Stored lengths become offsets; one more entry tells where the last block ends. */
static int entries_parse(struct fragment_index *index, const struct fragment_footer *footer,
                         const uint8_t *bytes, struct err *e)
{
    uint32_t salt_crc = crc32c(0, footer->salt, FRAGMENT_SALT_BYTES);
    uint32_t offset = 0;

    for (uint32_t i = 0; i < index->block_count; i++) {
        const uint8_t *entry = bytes + (size_t)i * FRAGMENT_ENTRY_BYTES;
        uint32_t word = get_u32le(entry);

        if (!entry_is_possible(&index->shape, i, word)) {
            return err_set(e, ERR_CORRUPT, "entry %" PRIu32 " length %08" PRIx32, i, word);
        }
        index->entries[i].offset = offset | (word & FRAGMENT_RAW_BIT);
        index->entries[i].crc = get_u32le(entry + 4) ^ fragment_check_mask(salt_crc, i);
        offset += word & ~FRAGMENT_RAW_BIT;
    }
    if (offset != footer->payload_bytes) {
        return err_set(e, ERR_CORRUPT, "entries add up to %" PRIu32 ", footer says %" PRIu32,
                       offset, footer->payload_bytes);
    }
    index->entries[index->block_count].offset = offset;
    return 0;
}

int fragment_index_init(struct fragment_index *ret_index, const struct fragment_ref *ref,
                        const uint8_t *trailer, uint32_t trailer_bytes, struct err *e)
{
    struct fragment_index index = {.shape = ref->shape};
    struct fragment_footer footer;
    uint32_t entries_bytes;
    int rc;

    if (trailer_bytes != fragment_trailer_bytes(&ref->shape)) {
        rc = err_set(e, ERR_CORRUPT, "trailer of %" PRIu32 " bytes", trailer_bytes);
        goto out;
    }
    entries_bytes = trailer_bytes - FRAGMENT_FOOTER_BYTES;
    rc = fragment_footer_parse(&footer, trailer + entries_bytes, e);
    if (rc != 0) {
        goto out;
    }
    rc = fragment_footer_match(&footer, ref, e);
    if (rc != 0) {
        goto out;
    }
    if (crc32c(0, trailer, entries_bytes) != footer.entries_crc) {
        rc = err_set(e, ERR_CORRUPT, "entries checksum");
        goto out;
    }
    index.block_count = footer.block_count;
    index.payload_bytes = footer.payload_bytes;
    index.entries = mem_array((size_t)footer.block_count + 1, sizeof(index.entries[0]));
    rc = entries_parse(&index, &footer, trailer, e);

out:
    if (rc != 0) {
        fragment_index_release(&index);
        return err_wrap(e, "fragment %" PRIu32 " of chunk %" PRIu32, ref->id.fragment,
                        ref->id.chunk);
    }
    *ret_index = index;
    return 0;
}

void fragment_index_release(struct fragment_index *index)
{
    free(index->entries);
    *index = (struct fragment_index){0};
}

/* Blocks [first, end) hold the raw range. */
static void blocks_of(const struct fragment_shape *shape, uint32_t raw_offset, uint32_t raw_bytes,
                      uint32_t *ret_first, uint32_t *ret_end)
{
    CHECK(raw_offset <= shape->raw_bytes && raw_bytes <= shape->raw_bytes - raw_offset);

    *ret_first = raw_offset / shape->block_bytes;
    *ret_end = raw_bytes == 0 ? *ret_first : (raw_offset + raw_bytes - 1) / shape->block_bytes + 1;
}

static uint32_t block_offset(const struct fragment_index *index, uint32_t block)
{
    return index->entries[block].offset & ~FRAGMENT_RAW_BIT;
}

struct fragment_range fragment_index_range(const struct fragment_index *index, uint32_t raw_offset,
                                           uint32_t raw_bytes)
{
    uint32_t first, end;

    blocks_of(&index->shape, raw_offset, raw_bytes, &first, &end);
    if (first == end) {
        return (struct fragment_range){0};
    }
    return (struct fragment_range){.offset = block_offset(index, first),
                                   .bytes = block_offset(index, end) - block_offset(index, first)};
}

/* Raw [from, from + bytes) of one block, and where it goes. */
struct piece {
    uint32_t block;
    uint32_t from;
    uint32_t bytes;
    const uint8_t *stored; /* the whole block */
    uint8_t *raw;
};

/* *scratch is allocated on first need: a block of which only a part is wanted is decompressed
 * aside. */
static int unpack_piece(const struct fragment_index *index, const struct piece *p,
                        uint8_t **scratch, struct err *e)
{
    uint32_t stored_bytes = block_offset(index, p->block + 1) - block_offset(index, p->block);
    uint32_t raw_bytes = fragment_block_bytes(&index->shape, p->block);
    bool whole = p->bytes == raw_bytes;
    int rc;

    if (crc32c(0, p->stored, stored_bytes) != index->entries[p->block].crc) {
        return err_set(e, ERR_CORRUPT, "checksum");
    }
    if ((index->entries[p->block].offset & FRAGMENT_RAW_BIT) != 0) {
        memcpy(p->raw, p->stored + p->from, p->bytes);
        return 0;
    }
    if (!whole && *scratch == NULL) {
        *scratch = mem_alloc(index->shape.block_bytes);
    }
    rc = decompress_block(index->shape.codec, whole ? p->raw : *scratch, raw_bytes, p->stored,
                          stored_bytes, e);
    if (rc == 0 && !whole) {
        memcpy(p->raw, *scratch + p->from, p->bytes);
    }
    return rc;
}

int fragment_index_unpack(const struct fragment_index *index, uint32_t raw_offset,
                          uint32_t raw_bytes, struct slice stored, uint8_t *ret_raw, struct err *e)
{
    struct fragment_range range = fragment_index_range(index, raw_offset, raw_bytes);
    uint32_t raw_end = raw_offset + raw_bytes;
    uint8_t *scratch = NULL;
    uint32_t first, end;
    int rc = 0;

    if (stored.len != range.bytes) {
        return err_set(e, ERR_CORRUPT, "%zu stored bytes for a range of %" PRIu32, stored.len,
                       range.bytes);
    }
    blocks_of(&index->shape, raw_offset, raw_bytes, &first, &end);
    for (uint32_t block = first; block < end && rc == 0; block++) {
        uint32_t start = block * index->shape.block_bytes;
        uint32_t stop = start + fragment_block_bytes(&index->shape, block);
        uint32_t from = raw_offset > start ? raw_offset - start : 0;
        struct piece piece = {.block = block,
                              .from = from,
                              .bytes = (raw_end < stop ? raw_end : stop) - start - from,
                              .stored = stored.data + block_offset(index, block) - range.offset,
                              .raw = ret_raw + (start + from - raw_offset)};

        rc = unpack_piece(index, &piece, &scratch, e);
        if (rc != 0) {
            err_wrap(e, "block %" PRIu32, block);
        }
    }
    free(scratch);
    return rc;
}

/* ---- plain fragments, in one round trip ---- */

struct fragment_plain fragment_plain_ranges(const struct fragment_ref *ref, uint32_t raw_offset,
                                            uint32_t raw_bytes)
{
    const struct fragment_shape *shape = &ref->shape;
    struct fragment_plain ranges = {0};
    uint32_t first, end;

    CHECK(fragment_is_plain(shape));

    ranges.footer.offset = ref->stored_bytes - FRAGMENT_FOOTER_BYTES;
    ranges.footer.bytes = FRAGMENT_FOOTER_BYTES;
    blocks_of(shape, raw_offset, raw_bytes, &first, &end);
    if (first != end) {
        ranges.blocks.offset = first * shape->block_bytes;
        ranges.blocks.bytes =
            (end - 1 - first) * shape->block_bytes + fragment_block_bytes(shape, end - 1);
        ranges.entries.offset = shape->raw_bytes + first * FRAGMENT_ENTRY_BYTES;
        ranges.entries.bytes = (end - first) * FRAGMENT_ENTRY_BYTES;
    }
    return ranges;
}

static int plain_verify(const struct fragment_ref *ref, const struct fragment_plain *ranges,
                        const uint8_t *data, struct err *e)
{
    const struct fragment_shape *shape = &ref->shape;
    const uint8_t *entry = data + ranges->blocks.bytes;
    const uint8_t *footer = entry + ranges->entries.bytes;
    uint32_t block = ranges->blocks.offset / shape->block_bytes;
    struct fragment_footer f;
    uint32_t salt_crc;
    int rc;

    rc = fragment_footer_parse(&f, footer, e);
    if (rc != 0) {
        return rc;
    }
    rc = fragment_footer_match(&f, ref, e);
    if (rc != 0) {
        return rc;
    }
    salt_crc = crc32c(0, f.salt, FRAGMENT_SALT_BYTES);
    for (; entry < footer; entry += FRAGMENT_ENTRY_BYTES, block++) {
        uint32_t bytes = fragment_block_bytes(shape, block);

        if (!entry_is_possible(shape, block, get_u32le(entry))) {
            return err_set(e, ERR_CORRUPT, "entry %" PRIu32 " length %08" PRIx32, block,
                           get_u32le(entry));
        }
        if (crc32c(0, data, bytes) !=
            (get_u32le(entry + 4) ^ fragment_check_mask(salt_crc, block))) {
            return err_set(e, ERR_CORRUPT, "block %" PRIu32 ": checksum", block);
        }
        data += bytes;
    }
    return 0;
}

int fragment_plain_unpack(const struct fragment_ref *ref, uint32_t raw_offset, uint32_t raw_bytes,
                          struct slice stored, const uint8_t **ret_raw, struct err *e)
{
    struct fragment_plain ranges = fragment_plain_ranges(ref, raw_offset, raw_bytes);
    size_t bytes = (size_t)ranges.blocks.bytes + ranges.entries.bytes + ranges.footer.bytes;
    int rc = stored.len == bytes ? plain_verify(ref, &ranges, stored.data, e)
                                 : err_set(e, ERR_CORRUPT, "%zu stored bytes for a range of %zu",
                                           stored.len, bytes);

    if (rc != 0) {
        return err_wrap(e, "fragment %" PRIu32 " of chunk %" PRIu32, ref->id.fragment,
                        ref->id.chunk);
    }
    *ret_raw = raw_bytes == 0 ? stored.data : stored.data + (raw_offset - ranges.blocks.offset);
    return 0;
}
