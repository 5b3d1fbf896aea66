/* What a proxy tells about OSDs: how to reach one, what it can, who owns it, how it fares.
 *
 * Strings are borrowed from the message; arrays are owned when decoded (release), borrowed
 * when encoding. Getters set r->bad on anything wrong; release in any case. Any thread. */
#ifndef WIRE_OSD_INFO_H
#define WIRE_OSD_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/arakoon_config.h"

/* ---- capabilities ---- */

enum osd_capability {
    OSD_CAP_MULTI_GET2 = 1,
    OSD_CAP_PARTIAL_GET = 2,
    OSD_CAP_RORA_FETCHER = 3, /* deprecated; read, never written */
    OSD_CAP_RORA_FETCHER2 = 4
};

struct osd_capabilities {
    uint32_t mask; /* 1 << enum osd_capability */
};

/* Writes only those of no argument: MULTI_GET2 and PARTIAL_GET. */
void osd_capabilities_put(struct buf *b, struct osd_capabilities caps);
struct osd_capabilities osd_capabilities_get(struct rd *r);

/* ---- OsdInfo ---- */

enum osd_kind {
    OSD_KIND_ASD = 1,
    OSD_KIND_KINETIC = 2,
    OSD_KIND_ALBA = 3,
    OSD_KIND_ALBA2 = 4,
    OSD_KIND_ALBA_PROXY = 5
};

struct osd_event {
    double time_s;
    struct slice text;
};

struct osd_info {
    uint8_t kind;        /* enum osd_kind */
    struct slice *hosts; /* IP literals; endpoint URIs of an ALBA_PROXY */
    uint32_t host_count;
    int32_t port; /* ASD, KINETIC */
    bool use_tls;
    bool use_rdma;
    struct slice long_id;          /* `id` of the ALBA kinds */
    struct slice prefix;           /* ALBA kinds */
    struct slice preset;           /* ALBA kinds */
    struct arakoon_config arakoon; /* ALBA, ALBA2 */
    struct slice node_id;
    bool decommissioned;
    struct slice other;
    int64_t total_bytes;
    int64_t used_bytes;
    double *seen; /* Unix times, newest first, as all three */
    uint32_t seen_count;
    double *read;
    uint32_t read_count;
    double *write;
    uint32_t write_count;
    struct osd_event *errors;
    uint32_t error_count;
    int64_t checksum_errors;
    bool has_claimed_since;
    double claimed_since_s;
};

/* Version 3, inside its outer string. */
void osd_info_put(struct buf *b, const struct osd_info *info);
/* Reads versions 1 to 3. */
void osd_info_get(struct rd *r, struct osd_info *ret_info);
void osd_info_release(struct osd_info *info);

/* ---- ClaimInfo ---- */

enum osd_claim_kind { OSD_CLAIM_THIS = 1, OSD_CLAIM_ANOTHER = 2, OSD_CLAIM_AVAILABLE = 3 };

struct osd_claim {
    uint8_t kind;
    uint64_t osd_id;      /* THIS */
    struct slice alba_id; /* ANOTHER */
};

void osd_claim_put(struct buf *b, const struct osd_claim *claim);
struct osd_claim osd_claim_get(struct rd *r);

/* ---- OsdState ---- */

struct osd_state {
    bool disqualified;
    double *read;
    uint32_t read_count;
    double *write;
    uint32_t write_count;
    struct osd_event *errors;
    uint32_t error_count;
    double *seen;
    uint32_t seen_count;
    bool has_json, has_ips, has_port, has_used, has_total, has_checksum_errors;
    struct slice json;
    struct slice *ips;
    uint32_t ip_count;
    int32_t port;
    int64_t used_bytes;
    int64_t total_bytes;
    int64_t checksum_errors;
};

void osd_state_put(struct buf *b, const struct osd_state *state);
void osd_state_get(struct rd *r, struct osd_state *ret_state);
void osd_state_release(struct osd_state *state);

#endif
