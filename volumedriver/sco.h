/* Codec of a SCO: the container of 4 KiB clusters that goes to the backend. Bytes:
 * FORMAT.md, section 2.
 *
 * Pure functions, any thread. Decoders treat their input as hostile. */
#ifndef VOLUMEDRIVER_SCO_H
#define VOLUMEDRIVER_SCO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "volumedriver/uuid.h"

enum {
    SCO_CLUSTER_BYTES = 4096,
    SCO_BYTES_MAX = 64 * 1048576,
    SCO_FOOTER_BYTES = 160,
    SCO_EXTENT_BYTES = 24,
    SCO_NAME_BYTES = 13, /* "s_0000010002" and a NUL */
    SCO_EXTENTS_MAX = SCO_BYTES_MAX / SCO_EXTENT_BYTES,
};

enum sco_kind { SCO_CLIENT = 1, SCO_GC = 2, SCO_EMPTY = 3 };
enum sco_extent_flags { SCO_EXTENT_ZERO = 1 };

struct sco_footer {
    uint8_t volume[UUID_BYTES];
    uint64_t number;
    uint64_t predecessor;
    uint8_t kind;
    uint32_t generation;
    uint64_t epoch; /* that of its number, also when it is put again under a later one */
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t data_bytes;
    uint32_t extent_count;
    uint32_t trailer_crc; /* private */
};

struct sco_extent {
    uint64_t cluster;
    uint64_t seq;
    uint64_t source; /* location it was copied from; kind gc only */
    uint32_t count;
    uint32_t flags;
};

void sco_name(uint64_t number, char ret_name[SCO_NAME_BYTES]);        /* s_%010x */
void checkpoint_name(uint64_t number, char ret_name[SCO_NAME_BYTES]); /* m_%010x */
/* Number of a listed object; -EINVAL when the name is not exactly `kind`_%010x. */
int sco_name_parse(const char *name, size_t bytes, char kind, uint64_t *ret_number);

/* Bytes behind the data, footer included. */
size_t sco_trailer_bytes(uint8_t kind, uint32_t data_clusters, uint32_t extent_count);
static inline size_t sco_bytes(const struct sco_footer *f)
{
    return (size_t)f->data_bytes + sco_trailer_bytes(f->kind,
                                                     (uint32_t)(f->data_bytes / SCO_CLUSTER_BYTES),
                                                     f->extent_count);
}

/* Write the trailer of `footer` at `ret_trailer`: `crcs` has one entry for each data cluster. */
void sco_trailer_encode(const struct sco_footer *footer, const uint32_t *crcs,
                        const struct sco_extent *extents, uint8_t *ret_trailer);

/* The last SCO_FOOTER_BYTES of an object of `object_bytes`: ERR_CORRUPT or ERR_VERSION unless
 * it is whole and of this volume and number. */
int sco_footer_decode(const uint8_t bytes[SCO_FOOTER_BYTES], const uint8_t volume[UUID_BYTES],
                      uint64_t number, uint64_t object_bytes, struct sco_footer *ret_footer,
                      struct err *e);
/* All between data and footer. The caller frees *ret_extents. */
int sco_trailer_decode(const struct sco_footer *footer, const uint8_t *bytes, size_t byte_count,
                       struct sco_extent **ret_extents, struct err *e);

/* For a put that failed because the name is taken. `ours` is the trailer that was to be put,
 * `stored` as many bytes from the end of what is there. 0: equal byte for byte, so the object
 * is ours (a trailer holds the CRC of every data cluster); else ERR_CORRUPT. When the sizes
 * of the objects differ, `stored` is not looked at. */
int sco_trailer_compare(const struct sco_footer *footer, const uint8_t *ours, const uint8_t *stored,
                        uint64_t stored_object_bytes, struct err *e);

#endif
