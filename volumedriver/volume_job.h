/* A SCO on its way to the backend, shared by the files that bring it there:
 *
 *   volume_upload.c  the open range; jobs, their numbers, their turns
 *   volume_put.c     image and put
 *   volume_commit.c  into the map; its records given back */
#ifndef VOLUMEDRIVER_VOLUME_JOB_H
#define VOLUMEDRIVER_VOLUME_JOB_H

#include "base/table.h"
#include "volumedriver/volume_private.h"

enum sco_job_state {
    JOB_CLOSED,    /* has no number yet */
    JOB_ASSIGNING, /* its record is on the way to the disk */
    JOB_QUEUED,    /* waits for room for its image */
    JOB_READING,
    JOB_PACKING,
    JOB_PUTTING,
    JOB_CHECKING, /* something is there under its name: ours? */
    JOB_WAITING,  /* until retry_ms */
    JOB_LANDED,   /* in the backend; not in the prefix until all before it are */
    JOB_APPLYING,
    JOB_COMMITTED, /* in the prefix; its records are kept until it is complete */
};

struct sco_job {
    struct list link; /* volume.jobs, in order of the chain */
    struct list slot; /* volume_puts.queue */
    struct volume *v;
    enum sco_job_state state;
    bool has_slot;
    bool complete;
    bool asking; /* whether it is complete by now */
    struct sco_footer footer;
    struct extent_tree tree; /* what the range says, newest first only */
    struct sco_extent *extents;
    uint32_t *crcs;
    uint8_t *image;
    size_t bytes;
    uint32_t crc;
    struct journal_append assign;
    struct record *assigned; /* keeps the assignment's place in the journal */
    uint8_t *stored;         /* trailer that is there under its name */
    struct backend_slice slice;
    struct journal_read read;
    struct pool_work pack;
    struct backend_req req;
    struct map_task task;
    unsigned attempts;
    unsigned asked;
    uint64_t retry_ms;
    uint64_t landed_ms;
};

/* The uploads of one preset: those of another do not wait for them. */
struct volume_puts {
    char *preset;
    unsigned volumes;
    unsigned count; /* images in memory */
    struct list queue;
    UT_hash_handle hh;
};

/* volume_upload.c */
void sco_job_slot_free(struct sco_job *job); /* its image, and its place among those in memory */
void sco_job_free(struct sco_job *job);
void sco_job_retry(struct sco_job *job, const struct err *why);

/* volume_put.c */
void sco_job_start(struct sco_job *job); /* when there is room for its image */
void sco_job_count(struct sco_job *job); /* extents and footer from its tree */
struct volume_puts *volume_puts_join(struct volume_host *host, const char *preset);
void volume_puts_leave(struct volume_host *host, struct volume_puts *puts);

/* volume_commit.c */
void volume_commit_next(struct volume *v);
void volume_release_jobs(struct volume *v);
uint64_t sco_job_release_due(const struct sco_job *job);

#endif
