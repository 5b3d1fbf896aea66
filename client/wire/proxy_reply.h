/* Replies of a proxy (return code 0), both directions.
 *
 * A server fills a struct proxy_reply and encodes the whole frame; a client decodes the
 * payload and releases. Bytes are borrowed: from the payload when decoded, by the message
 * when encoded (data of GATHER_BORROW_BYTES_MIN and more). Arrays and manifests are owned
 * when decoded, borrowed when encoding. Any thread. */
#ifndef WIRE_PROXY_REPLY_H
#define WIRE_PROXY_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/arakoon_config.h"
#include "wire/checksum.h"
#include "wire/gather.h"
#include "wire/manifest.h"
#include "wire/osd_info.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_stats.h"

struct proxy_object_info {
    struct slice name;
    struct slice alba_id; /* "": the proxy's own */
    uint64_t namespace_id;
    struct manifest *manifest;
};

struct proxy_object {
    bool found;
    struct manifest *manifest;
    struct slice data;
};

struct proxy_osd {
    uint64_t osd_id;
    struct osd_info info;
    struct osd_capabilities capabilities;
};

struct proxy_alba {
    struct slice alba_id;
    struct proxy_osd *osds;
    uint32_t osd_count;
};

struct proxy_claim {
    struct slice long_id;
    struct osd_claim claim;
};

struct proxy_osd_state {
    uint64_t osd_id;
    struct slice info_json;
    struct osd_state state;
};

struct proxy_namespace {
    struct slice name;
    struct slice preset; /* ListNamespaces2 */
};

struct proxy_setting {
    struct slice key;
    struct slice value;
};

struct proxy_reply {
    uint32_t code;   /* of the request */
    bool wants_part; /* ApplyStream, StreamPart: `want` is what to send next; else `objects` */
    union {
        struct {
            uint64_t offset;
            uint32_t bytes_max; /* at least 1 */
        } want;
        struct { /* ListNamespaces, ListNamespaces2 */
            struct proxy_namespace *items;
            uint32_t count;
            bool more;
        } namespaces;
        struct { /* ListObjects */
            struct slice *items;
            uint32_t count;
            bool more;
        } names;
        bool yes;          /* NamespaceExists, HasLocalFragmentCache */
        double time_s;     /* Ping */
        struct slice text; /* GetAlbaId */
        struct {           /* GetObjectInfo */
            uint64_t size_bytes;
            struct checksum checksum;
        } info;
        struct { /* ReadSlices, ReadSlices2; WriteObjectFs2, ApplySequence, Apply… */
            const struct slice *parts; /* encoding: the data, in pieces */
            uint32_t part_count;
            struct slice data;               /* decoded: ReadSlices* */
            struct proxy_object_info *items; /* all but ReadSlices; one of WriteObjectFs2, */
            uint32_t count;                  /* of which only manifest and namespace_id */
        } objects;
        struct { /* ReadObjects */
            uint64_t namespace_id;
            struct proxy_object *items;
            uint32_t count;
        } read;
        struct { /* MultiExists */
            bool *items;
            uint32_t count;
        } exists;
        struct proxy_statistics statistics;
        struct arakoon_config client_config;
        struct { /* GetVersion */
            int32_t major;
            int32_t minor;
            int32_t patch;
            struct slice hash;
        } version;
        struct { /* OsdView */
            struct proxy_claim *claims;
            struct proxy_osd_state *states;
            uint32_t claim_count;
            uint32_t state_count;
        } view;
        struct { /* OsdInfo (one alba, its alba_id unused), OsdInfo2 */
            struct proxy_alba *items;
            uint32_t count;
        } albas;
        struct { /* UpdateSession */
            struct proxy_setting *items;
            uint32_t count;
        } session;
        struct { /* GetFragmentEncryptionKey */
            struct slice key;
            bool has_key;
        } key;
    };
};

/* Append a whole frame; nothing on failure (a manifest or the whole reply too large). */
int proxy_reply_encode(const struct proxy_reply *reply, unsigned manifest_version, struct gather *g,
                       struct err *e);
/* `payload` starts behind return code 0. On success *ret_reply is to be released.
 * ERR_PROTOCOL, or what manifest_decode() returned: nothing to release. */
int proxy_reply_decode(struct rd payload, uint32_t code, struct proxy_reply *ret_reply,
                       struct err *e);
void proxy_reply_release(struct proxy_reply *reply);

#endif
