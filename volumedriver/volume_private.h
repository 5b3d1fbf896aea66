/* Inside of a volume, shared by its source files only.
 *
 *   write  volume_write.c   request -> records in the journal -> tree and open range
 *   read   volume_read.c    request -> clusters; cluster_read.c: tree -> map -> backend
 *   upload volume_job.h     open range -> assigned -> image -> put -> committed -> released
 *   root   volume_root.c    checkpoints, resize: replacing the root
 *   open   volume_opening.h claim -> owner_tag -> root -> chain -> map -> journal -> running
 *   close  volume_close.c
 *
 * Everything that may become possible when something else ends is tried by volume_pump(), once at
 * the end of a loop turn in which volume_kick() was called. */
#ifndef VOLUMEDRIVER_VOLUME_PRIVATE_H
#define VOLUMEDRIVER_VOLUME_PRIVATE_H

#include "volumedriver/extent_tree.h"
#include "volumedriver/map_checkpoint.h"
#include "volumedriver/owner.h"
#include "volumedriver/root.h"
#include "volumedriver/sco.h"
#include "volumedriver/uuid.h"
#include "volumedriver/volume_open.h"
#include "volumedriver/volume_remap.h"

struct sco_job;
struct volume {
    struct volume_options options;
    struct volume_host *host;
    struct backend *backend;
    char *name;
    uint8_t uuid[UUID_BYTES];
    enum volume_state state;
    struct err err;   /* why it is not running */
    struct list link; /* volume_host.volumes */
    struct later_item pump;
    bool kicked; /* it is queued */
    uv_timer_t timer;

    uint32_t epoch;
    struct owner owner; /* as it is in the backend */
    struct root root;
    uint32_t root_crc; /* of the object as it is in the backend */
    struct map_volume map;

    unsigned requests; /* accepted, not answered */
    uint64_t next_seq;
    uint64_t written_lsn; /* of the last record that completed */
    struct list writes;   /* struct write_plan, in order of arrival */
    unsigned rmw_count;   /* of those, how many read first */

    struct extent_tree tree; /* what is not in the map yet */
    struct list records;     /* struct record not released, by seq */
    struct list stranded;    /* of a damaged volume */
    bool has_tail;           /* what the journal held is ours to give back */
    bool found_damaged;
    struct tail_item opened; /* record 4 of this epoch */
    struct extent_tree open; /* of the range that is being filled */
    uint64_t open_first;     /* seqs; open_last < open_first: empty */
    uint64_t open_last;
    uint64_t open_lsn;
    uint64_t open_since_ms;

    struct list jobs;
    struct volume_puts *puts;
    uint32_t next_index; /* of a SCO under this epoch */
    uint32_t next_part_index;
    uint64_t last_number;       /* assigned; predecessor of the next one */
    struct map_place committed; /* end of the prefix, in the map */
    uint64_t released_seq;
    bool applying;
    bool retaking;      /* the epoch is used up, a new one is being taken */
    uint64_t retake_ms; /* not before */
    struct volume_claim claim;
    struct list drains;
    struct volume_remap remap;
    struct root_change *change; /* the root is being replaced */
    uint64_t trailer_bytes;     /* since the last checkpoint */
    struct volume_resize *resize;
    uint64_t root_retry_ms;
    struct volume_sweep *sweep;

    struct volume_opening *opening;
    volume_close_cb close_cb;
    void *close_ctx;
    uint64_t drain_until_ms;
    bool checkpointed; /* while closing */
    bool canceled;
    struct volume_closing *closing;

    struct volume_stats stats;
};

/* volume.c */
void volume_req_end(struct volume_req *req, int rc);

/* volume_pump.c */
void volume_kick(struct volume *v);
void volume_stop(struct volume *v, enum volume_state state, const struct err *why);
bool volume_may_upload(const struct volume *v);
struct backend_assert volume_tag_assert(const struct volume *v);
uint64_t volume_now_ms(const struct volume *v);
/* True when `rc` of a transaction whose first assert is owner_tag means another owner. */
bool volume_is_fenced(struct volume *v, const struct backend_req *req, int rc);

/* volume_close.c */
void volume_dispose(struct volume *v); /* it did not open */
void volume_closing_pump(struct volume *v);

/* volume_write.c */
void volume_submit_write(struct volume_req *req);
void volume_record_done(struct volume *v, struct record *record); /* it is in the journal */

/* volume_read.c */
void volume_submit_read(struct volume_req *req);
void volume_submit_status(struct volume_req *req);

/* volume_upload.c */
void volume_range_add(struct volume *v, const struct record *record, uint64_t lsn);
void volume_range_close(struct volume *v);
struct sco_job *volume_job_new(struct volume *v, uint64_t first, uint64_t last);
void volume_job_number(struct sco_job *job, uint64_t number, uint32_t epoch);
void volume_uploads_stop(struct volume *v); /* its jobs leave the queue */
bool volume_numbers_used_up(const struct volume *v);
void volume_uploads_pump(struct volume *v);
void volume_jobs_free(struct volume *v);
uint64_t volume_uploads_due(const struct volume *v); /* when to look again, 0: no need */
bool volume_uploads_busy(const struct volume *v);    /* something is under way */
void volume_drains_pump(struct volume *v);

/* volume_root.c */
void volume_root_pump(struct volume *v);
bool volume_root_busy(const struct volume *v);
bool volume_wants_checkpoint(const struct volume *v);

/* volume_sweep.c */
void volume_sweep_start(struct volume *v, struct buf *names); /* takes over `names` */

/* volume_open.c */
void volume_retake(struct volume *v); /* the next epoch, when this one's numbers are used up */
void volume_opening_free(struct volume *v);

#endif
