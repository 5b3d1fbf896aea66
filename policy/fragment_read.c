#include "policy/fragment_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "policy/fragment_block.h"
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
    uint32_t entry_bytes = fragment_entry_bytes(&index->shape), offset = 0;

    for (uint32_t i = 0; i < index->block_count; i++) {
        const uint8_t *entry = bytes + (size_t)i * entry_bytes;
        uint32_t word = get_u32le(entry);

        if (!entry_is_possible(&index->shape, i, word)) {
            return err_set(e, ERR_CORRUPT, "entry %" PRIu32 " length %08" PRIx32, i, word);
        }
        index->entries[i].offset = offset | (word & FRAGMENT_RAW_BIT);
        if (index->tags != NULL) {
            memcpy(index->tags + (size_t)i * CIPHER_TAG_BYTES, entry + 4, CIPHER_TAG_BYTES);
        } else {
            index->entries[i].crc = get_u32le(entry + 4) ^ fragment_check_mask(salt_crc, i);
        }
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
    memcpy(index.salt, footer.salt, FRAGMENT_SALT_BYTES);
    index.entries = mem_array((size_t)footer.block_count + 1, sizeof(index.entries[0]));
    if (cipher_is_aead(ref->shape.cipher)) {
        index.tags = mem_array((size_t)footer.block_count + 1, CIPHER_TAG_BYTES);
    }
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
    free(index->tags);
    *index = (struct fragment_index){0};
}

size_t fragment_index_memory_bytes(const struct fragment_index *index)
{
    size_t tag_bytes = index->tags != NULL ? CIPHER_TAG_BYTES : 0;

    return ((size_t)index->block_count + 1) * (sizeof(index->entries[0]) + tag_bytes);
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

/* One block after another: where its part of the raw range starts in it, and how long it is. */
static void part_of_block(const struct fragment_shape *shape, uint32_t block, uint32_t raw_offset,
                          uint32_t raw_bytes, uint32_t *ret_from, uint32_t *ret_bytes)
{
    uint32_t start = block * shape->block_bytes;
    uint32_t stop = start + fragment_block_bytes(shape, block);
    uint32_t raw_end = raw_offset + raw_bytes;

    *ret_from = raw_offset > start ? raw_offset - start : 0;
    *ret_bytes = (raw_end < stop ? raw_end : stop) - start - *ret_from;
}

int fragment_index_unpack(const struct fragment_index *index, const struct fragment_ref *ref,
                          uint32_t raw_offset, uint32_t raw_bytes, struct slice stored,
                          uint8_t *ret_raw, struct err *e)
{
    struct fragment_range range = fragment_index_range(index, raw_offset, raw_bytes);
    struct fragment_unblock unblock;
    uint32_t first, end, from, bytes;
    int rc = 0;

    if (stored.len != range.bytes) {
        return err_set(e, ERR_CORRUPT, "%zu stored bytes for a range of %" PRIu32, stored.len,
                       range.bytes);
    }
    fragment_unblock_init(&unblock, ref, index->salt);
    blocks_of(&index->shape, raw_offset, raw_bytes, &first, &end);
    for (uint32_t i = first; i < end && rc == 0; i++, ret_raw += bytes) {
        uint32_t offset = block_offset(index, i);
        struct fragment_block block = {
            .place = {.block = i,
                      .offset = offset,
                      .is_raw = (index->entries[i].offset & FRAGMENT_RAW_BIT) != 0},
            .stored = slice_of(stored.data + (offset - range.offset),
                               block_offset(index, i + 1) - offset),
            .crc = index->entries[i].crc,
            .tag = index->tags != NULL ? index->tags + (size_t)i * CIPHER_TAG_BYTES : NULL};

        part_of_block(&index->shape, i, raw_offset, raw_bytes, &from, &bytes);
        rc = fragment_unblock(&unblock, &block, from, bytes, ret_raw, e);
    }
    fragment_unblock_release(&unblock);
    return rc;
}

/* ---- uncompressed fragments, in one round trip ---- */

struct fragment_flat fragment_flat_ranges(const struct fragment_ref *ref, uint32_t raw_offset,
                                          uint32_t raw_bytes)
{
    const struct fragment_shape *shape = &ref->shape;
    struct fragment_flat ranges = {0};
    uint32_t first, end;

    CHECK(fragment_is_flat(shape));

    ranges.footer.offset = ref->stored_bytes - FRAGMENT_FOOTER_BYTES;
    ranges.footer.bytes = FRAGMENT_FOOTER_BYTES;
    blocks_of(shape, raw_offset, raw_bytes, &first, &end);
    if (first != end) {
        ranges.blocks.offset = first * shape->block_bytes;
        ranges.blocks.bytes =
            (end - 1 - first) * shape->block_bytes + fragment_block_bytes(shape, end - 1);
        ranges.entries.offset = shape->raw_bytes + first * fragment_entry_bytes(shape);
        ranges.entries.bytes = (end - first) * fragment_entry_bytes(shape);
    }
    return ranges;
}

/* `data` and `entries` stand at the first block of the range, of which there is at least one. */
static int flat_blocks(const struct fragment_ref *ref, const struct fragment_footer *footer,
                       uint32_t raw_offset, uint32_t raw_bytes, const uint8_t *data,
                       const uint8_t *entry, uint8_t *ret_raw, struct err *e)
{
    const struct fragment_shape *shape = &ref->shape;
    uint32_t salt_crc = crc32c(0, footer->salt, FRAGMENT_SALT_BYTES);
    struct fragment_unblock unblock;
    uint32_t first, end, from, bytes;
    int rc = 0;

    fragment_unblock_init(&unblock, ref, footer->salt);
    blocks_of(shape, raw_offset, raw_bytes, &first, &end);
    for (uint32_t i = first; i < end && rc == 0; i++, ret_raw += bytes) {
        uint32_t length = fragment_block_bytes(shape, i);
        struct fragment_block block = {
            .place = {.block = i, .offset = i * shape->block_bytes, .is_raw = true},
            .stored = slice_of(data, length),
            .crc = get_u32le(entry + 4) ^ fragment_check_mask(salt_crc, i),
            .tag = entry + 4};

        part_of_block(shape, i, raw_offset, raw_bytes, &from, &bytes);
        rc = entry_is_possible(shape, i, get_u32le(entry))
                 ? fragment_unblock(&unblock, &block, from, bytes, ret_raw, e)
                 : err_set(e, ERR_CORRUPT, "entry %" PRIu32 " length %08" PRIx32, i,
                           get_u32le(entry));
        data += length;
        entry += fragment_entry_bytes(shape);
    }
    fragment_unblock_release(&unblock);
    return rc;
}

int fragment_flat_unpack(const struct fragment_ref *ref, uint32_t raw_offset, uint32_t raw_bytes,
                         struct slice stored, uint8_t *ret_raw, struct err *e)
{
    struct fragment_flat ranges = fragment_flat_ranges(ref, raw_offset, raw_bytes);
    size_t blocks_bytes = ranges.blocks.bytes, entries_bytes = ranges.entries.bytes;
    struct fragment_footer footer;
    int rc;

    if (stored.len != blocks_bytes + entries_bytes + FRAGMENT_FOOTER_BYTES) {
        rc = err_set(e, ERR_CORRUPT, "%zu stored bytes for a range of %zu", stored.len,
                     blocks_bytes + entries_bytes + FRAGMENT_FOOTER_BYTES);
        goto out;
    }
    rc = fragment_footer_parse(&footer, stored.data + blocks_bytes + entries_bytes, e);
    if (rc != 0) {
        goto out;
    }
    rc = fragment_footer_match(&footer, ref, e);
    if (rc != 0) {
        goto out;
    }
    rc = flat_blocks(ref, &footer, raw_offset, raw_bytes, stored.data, stored.data + blocks_bytes,
                     ret_raw, e);

out:
    return rc == 0 ? 0
                   : err_wrap(e, "fragment %" PRIu32 " of chunk %" PRIu32, ref->id.fragment,
                              ref->id.chunk);
}
