#include "volumedriver/sco.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/format_flags.h"
#include "volumedriver/location.h"
#include "volumedriver/seal.h"

static const uint8_t footer_magic[8] = "ALBASCO1";

enum { FOOTER_VERSION = 1, FOOTER_FLAGS_AT = 156, NAME_DIGITS = 10 };

void sco_name(uint64_t number, char ret_name[SCO_NAME_BYTES])
{
    CHECK(number != 0 && number <= SCO_NUMBER_MAX);
    snprintf(ret_name, SCO_NAME_BYTES, "s_%010" PRIx64, number);
}

void checkpoint_name(uint64_t number, char ret_name[SCO_NAME_BYTES])
{
    CHECK(number != 0 && number <= SCO_NUMBER_MAX);
    snprintf(ret_name, SCO_NAME_BYTES, "m_%010" PRIx64, number);
}

int sco_name_parse(const char *name, size_t bytes, char kind, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (bytes != 2 + NAME_DIGITS || name[0] != kind || name[1] != '_') {
        return -EINVAL;
    }
    for (size_t i = 2; i < bytes; i++) {
        char c = name[i];

        if (c >= '0' && c <= '9') {
            number = number << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            number = number << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return -EINVAL;
        }
    }
    if (number == 0) {
        return -EINVAL;
    }
    *ret_number = number;
    return 0;
}

static size_t extent_bytes(uint8_t kind)
{
    return kind == SCO_GC ? SCO_EXTENT_BYTES + 8 : SCO_EXTENT_BYTES;
}

size_t sco_trailer_bytes(uint8_t kind, uint32_t data_clusters, uint32_t extent_count)
{
    return 4 * (size_t)data_clusters + extent_bytes(kind) * extent_count + SCO_FOOTER_BYTES;
}

static void footer_encode(const struct sco_footer *f, uint32_t trailer_crc, uint8_t *at)
{
    memset(at, 0, SCO_FOOTER_BYTES);
    memcpy(at, footer_magic, 8);
    put_u32le(at + 8, FOOTER_VERSION);
    memcpy(at + 16, f->volume, UUID_BYTES);
    put_u64le(at + 32, f->number);
    put_u64le(at + 40, f->predecessor);
    at[48] = f->kind;
    put_u32le(at + 52, f->generation);
    put_u64le(at + 56, f->epoch);
    put_u64le(at + 64, f->first_seq);
    put_u64le(at + 72, f->last_seq);
    put_u64le(at + 80, f->data_bytes);
    put_u32le(at + 88, f->extent_count);
    put_u32le(at + 92, trailer_crc);
    put_u32le(at + SEAL_AT, seal_crc(0, at, SCO_FOOTER_BYTES, SEAL_AT));
}

void sco_trailer_encode(const struct sco_footer *footer, const uint32_t *crcs,
                        const struct sco_extent *extents, uint8_t *ret_trailer)
{
    uint32_t clusters = (uint32_t)(footer->data_bytes / SCO_CLUSTER_BYTES);
    uint8_t *at = ret_trailer;

    CHECK(sco_bytes(footer) <= SCO_BYTES_MAX);
    CHECK(footer->epoch == number_epoch(footer->number));
    for (uint32_t i = 0; i < clusters; i++, at += 4) {
        put_u32le(at, crcs[i]);
    }
    for (uint32_t i = 0; i < footer->extent_count; i++, at += SCO_EXTENT_BYTES) {
        put_u64le(at, extents[i].cluster);
        put_u64le(at + 8, extents[i].seq);
        put_u32le(at + 16, extents[i].count);
        put_u32le(at + 20, extents[i].flags);
    }
    for (uint32_t i = 0; footer->kind == SCO_GC && i < footer->extent_count; i++, at += 8) {
        put_u64le(at, extents[i].source);
    }
    footer_encode(footer, crc32c(0, ret_trailer, (size_t)(at - ret_trailer)), at);
}

static int footer_bounds(const struct sco_footer *f, uint64_t object_bytes)
{
    bool has_seqs = f->kind == SCO_CLIENT || f->kind == SCO_EMPTY;

    if (f->kind < SCO_CLIENT || f->kind > SCO_EMPTY || f->number == 0 ||
        f->predecessor >= f->number || f->epoch != number_epoch(f->number) ||
        f->data_bytes > SCO_BYTES_MAX || f->data_bytes % SCO_CLUSTER_BYTES != 0 ||
        f->extent_count > SCO_EXTENTS_MAX || sco_bytes(f) > SCO_BYTES_MAX ||
        sco_bytes(f) != object_bytes) {
        return ERR_CORRUPT;
    }
    if (f->kind == SCO_EMPTY && (f->data_bytes != 0 || f->extent_count != 0)) {
        return ERR_CORRUPT;
    }
    return has_seqs == (f->first_seq != 0) && f->first_seq <= f->last_seq ? 0 : ERR_CORRUPT;
}

int sco_footer_decode(const uint8_t bytes[SCO_FOOTER_BYTES], const uint8_t volume[UUID_BYTES],
                      uint64_t number, uint64_t object_bytes, struct sco_footer *ret_footer,
                      struct err *e)
{
    struct sco_footer f;

    if (memcmp(bytes, footer_magic, 8) != 0 ||
        get_u32le(bytes + SEAL_AT) != seal_crc(0, bytes, SCO_FOOTER_BYTES, SEAL_AT)) {
        return err_set(e, ERR_CORRUPT, "footer of SCO %010" PRIx64, number);
    }
    if (get_u32le(bytes + 8) != FOOTER_VERSION ||
        !format_flags_readable(get_u32le(bytes + FOOTER_FLAGS_AT))) {
        return err_set(e, ERR_VERSION, "SCO %010" PRIx64 " has version %" PRIu32, number,
                       get_u32le(bytes + 8));
    }
    memcpy(f.volume, bytes + 16, UUID_BYTES);
    f.number = get_u64le(bytes + 32);
    f.predecessor = get_u64le(bytes + 40);
    f.kind = bytes[48];
    f.generation = get_u32le(bytes + 52);
    f.epoch = get_u64le(bytes + 56);
    f.first_seq = get_u64le(bytes + 64);
    f.last_seq = get_u64le(bytes + 72);
    f.data_bytes = get_u64le(bytes + 80);
    f.extent_count = get_u32le(bytes + 88);
    f.trailer_crc = get_u32le(bytes + 92);
    if (memcmp(f.volume, volume, UUID_BYTES) != 0 || f.number != number ||
        footer_bounds(&f, object_bytes) != 0) {
        return err_set(e, ERR_CORRUPT, "SCO %010" PRIx64 ": footer of another object", number);
    }
    *ret_footer = f;
    return 0;
}

static int extents_check(const struct sco_footer *f, const struct sco_extent *extents)
{
    uint64_t end = 0, clusters = 0;

    for (uint32_t i = 0; i < f->extent_count; i++) {
        const struct sco_extent *x = &extents[i];

        if (x->cluster < end || x->count == 0 || x->cluster > UINT64_MAX - x->count ||
            (x->flags & ~(uint32_t)SCO_EXTENT_ZERO) != 0) {
            return ERR_CORRUPT;
        }
        end = x->cluster + x->count;
        clusters += x->flags & SCO_EXTENT_ZERO ? 0 : x->count;
    }
    return clusters == f->data_bytes / SCO_CLUSTER_BYTES ? 0 : ERR_CORRUPT;
}

int sco_trailer_decode(const struct sco_footer *footer, const uint8_t *bytes, size_t byte_count,
                       struct sco_extent **ret_extents, struct err *e)
{
    uint32_t clusters = (uint32_t)(footer->data_bytes / SCO_CLUSTER_BYTES);
    const uint8_t *at = bytes + 4 * (size_t)clusters, *source;
    struct sco_extent *extents = NULL;

    if (byte_count + SCO_FOOTER_BYTES !=
            sco_trailer_bytes(footer->kind, clusters, footer->extent_count) ||
        crc32c(0, bytes, byte_count) != footer->trailer_crc) {
        return err_set(e, ERR_CORRUPT, "trailer of SCO %010" PRIx64, footer->number);
    }
    extents = mem_array(footer->extent_count != 0 ? footer->extent_count : 1, sizeof(*extents));
    source = at + (size_t)footer->extent_count * SCO_EXTENT_BYTES;
    for (uint32_t i = 0; i < footer->extent_count; i++, at += SCO_EXTENT_BYTES) {
        extents[i].cluster = get_u64le(at);
        extents[i].seq = get_u64le(at + 8);
        extents[i].count = get_u32le(at + 16);
        extents[i].flags = get_u32le(at + 20);
        if (footer->kind == SCO_GC) {
            extents[i].source = get_u64le(source + 8 * (size_t)i);
        }
    }
    if (extents_check(footer, extents) != 0) {
        free(extents);
        return err_set(e, ERR_CORRUPT, "extents of SCO %010" PRIx64, footer->number);
    }
    *ret_extents = extents;
    return 0;
}

int sco_trailer_compare(const struct sco_footer *footer, const uint8_t *ours, const uint8_t *stored,
                        uint64_t stored_object_bytes, struct err *e)
{
    size_t bytes = sco_bytes(footer) - (size_t)footer->data_bytes;

    if (stored_object_bytes != sco_bytes(footer)) {
        return err_set(e, ERR_CORRUPT, "SCO %010" PRIx64 ": %" PRIu64 " bytes are stored, not %zu",
                       footer->number, stored_object_bytes, sco_bytes(footer));
    }
    for (size_t i = 0; i < bytes; i++) {
        if (ours[i] != stored[i]) {
            return err_set(e, ERR_CORRUPT,
                           "SCO %010" PRIx64 ": another trailer is stored, byte %zu",
                           footer->number, i);
        }
    }
    return 0;
}
