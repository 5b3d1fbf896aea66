/* A preset says how the objects of a namespace are cut, coded, compressed and
 * placed. Its JSON is the one of create-preset and list-presets, plus
 * max_per_datacenter.
 *
 * Plain values, any thread. Fragment formats: policy/FORMAT.md. */
#ifndef POLICY_PRESET_H
#define POLICY_PRESET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/compress.h"
#include "policy/key_ring.h"

enum {
    PRESET_POLICIES_MAX = 16,
    PRESET_K_MAX = 20,
    PRESET_M_MAX = 8,
    PRESET_FRAGMENTS_MAX = PRESET_K_MAX + PRESET_M_MAX,
    PRESET_PER_NODE_MAX = 65535,
    PRESET_FRAGMENT_BYTES_STEP = 4096, /* fragment_size is a multiple of it in format 1 */
    PRESET_FRAGMENT0_BYTES_MIN = 16,   /* … and anything from here on in format 0 */
    PRESET_FRAGMENT_BYTES_MAX = 64 << 20,
    PRESET_OSDS_MAX = 65536, /* in an explicit list */
    PRESET_NAME_BYTES_MAX = 1024,
    PRESET_TEXT_BYTES_MAX = 2 << 20 /* JSON longer than this is refused unread */
};

/* k data and m parity fragments; an upload is good with min_fragments (k … k+m)
 * of them stored, at most max_per_node on the OSDs of one node. */
struct preset_policy {
    uint32_t k;
    uint32_t m;
    uint32_t min_fragments; /* "c" */
    uint32_t max_per_node;  /* "x" */
};

/* Values are the tags of the wire protocols. */
enum preset_checksum {
    PRESET_CHECKSUM_NONE = 1,
    PRESET_CHECKSUM_SHA1 = 2,
    PRESET_CHECKSUM_CRC32C = 3
};

struct preset {
    char *name; /* owned, never NULL; "" when the JSON has none */
    struct preset_policy policies[PRESET_POLICIES_MAX]; /* in order of preference */
    uint32_t policy_count;
    uint32_t fragment_bytes;
    enum compress_codec codec;
    enum preset_checksum fragment_checksum; /* CRC32C or SHA1: of stored fragments, in manifests */
    enum cipher cipher;                     /* of the fragments */
    uint8_t key_id[KEY_ID_BYTES];           /* of the master key; with a cipher */

    bool osds_explicit; /* false: every OSD */
    uint64_t *osd_ids;  /* owned, ascending, no duplicates; when osds_explicit */
    uint32_t osd_id_count;

    uint32_t object_checksums_allowed; /* bit 1 << enum preset_checksum */
    enum preset_checksum object_checksum;
    bool verify_upload; /* check a checksum that the client sent along */

    uint32_t max_per_datacenter; /* fragments of a chunk; 0: no limit */

    bool is_default; /* these three are told by the registry */
    bool in_use;
    int64_t version; /* -1: never stored */
};

/* The preset 'default' of every system: [[5,4,8,3],[2,2,3,4]], 1 MiB, lz4. */
void preset_init_default(struct preset *p);
/* The one `alba up` makes for volumes: 4+2 with 4 MiB fragments, lz4. */
void preset_init_volumes(struct preset *p, const char *name);
/* *to is fresh. */
void preset_copy(struct preset *to, const struct preset *from);
void preset_set_name(struct preset *p, const char *name);
void preset_release(struct preset *p); /* accepts {0} */

/* Read, fill in defaults and validate. Only "policies" must be there. Anything
 * wrong is ERR_CONFIG and names the field and its value; an unknown key is
 * refused with the nearest known one. *ret_preset is fresh, written on success. */
int preset_from_json(struct preset *ret_preset, const json_t *json, struct err *e);
int preset_from_text(struct preset *ret_preset, const char *text, size_t bytes, struct err *e);
/* The JSON of a preset or an update, unread; new reference. ERR_CONFIG names the line. */
int preset_load_text(json_t **ret_json, const char *text, size_t bytes, struct err *e);

/* Change what an update may change: of {policies, fragment_size, max_per_datacenter} those that
 * are in `json`, at least one. Objects that exist stay as they are. ERR_CONFIG: *p is unchanged. */
int preset_update(struct preset *p, const json_t *json, struct err *e);
/* Of a preset with an explicit list. Returns how many of them were not in it. */
uint32_t preset_add_osds(struct preset *p, const uint64_t *osd_ids, uint32_t count);

/* New reference. Reads back as the same preset. */
json_t *preset_to_json(const struct preset *p);

/* What preset_from_json checks behind the syntax; for presets made otherwise. */
int preset_validate(const struct preset *p, struct err *e);

/* 0 (snappy, bz2, aes-cbc-256: other implementations read it) or 1. */
unsigned preset_fragment_format(const struct preset *p);
bool preset_allows_osd(const struct preset *p, uint64_t osd_id);
bool preset_allows_checksum(const struct preset *p, enum preset_checksum algo);
const char *preset_checksum_name(enum preset_checksum algo); /* as in the JSON */

#endif
