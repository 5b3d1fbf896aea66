/* What sequence.c and sequence_end.c share; nobody else includes this. */
#ifndef PROXY_SEQUENCE_PRIVATE_H
#define PROXY_SEQUENCE_PRIVATE_H

#include "proxy/namespace.h"
#include "proxy/sequence.h"
#include "proxy/upload.h"

enum sequence_state {
    SEQUENCE_NAMESPACE,
    SEQUENCE_CHECK,
    SEQUENCE_FILES, /* open and measure them */
    SEQUENCE_EPOCH,
    SEQUENCE_UPLOAD,
    SEQUENCE_AGAIN, /* the gc epoch ended: wait for the uploads, then with a fresh one */
    SEQUENCE_COMMIT,
    SEQUENCE_FAIL,     /* wait for what was started, then report */
    SEQUENCE_SETTLE,   /* reported; wait for stragglers */
    SEQUENCE_EPILOGUE, /* enter them */
    SEQUENCE_END
};

struct sequence_upload {
    struct sequence *sequence;
    const struct proxy_update *update; /* borrowed until the report */
    int fd;                            /* -1: none */
    uint64_t size_bytes;
    struct upload *upload; /* NULL: not started */
    bool is_stored;
    bool is_settled;
    bool is_entered;      /* the epilogue succeeded */
    uint32_t cache_stamp; /* before the commit */
};

struct sequence {
    struct engine *engine;
    struct sequence_spec spec;
    sequence_cb cb;
    void *ctx;
    enum sequence_state state;
    struct err err;
    int rc;
    int32_t proxy_rc;
    bool canceled;
    bool is_reported;
    bool was_in_doubt;
    bool has_reopened; /* the namespace, after its gc epochs had ended */
    struct buf failed_name;
    uint64_t deadline_ms;
    uint64_t start_ns;
    uint64_t gc_epoch;
    uint64_t epoch_ms;   /* when it was asked for; it was current then: */
    bool epoch_is_fresh; /* else it was remembered */
    unsigned epoch_tries;
    unsigned pending; /* questions that will still call back */

    struct ns_open open;
    struct ns_use use;
    struct slice ns_name; /* owned copy, for counting after the report */
    struct pool_work files;
    struct err files_err; /* the pool thread's until files_done() */
    int files_rc;
    struct nsm_assert *asserts;
    struct slice *deletes;
    size_t delete_count;
    struct manifest **manifests;
    struct sequence_upload *uploads;
    size_t upload_count;
    unsigned osds_max; /* of one upload */
    size_t next_upload;
    size_t epilogue_at;
    struct later_item start;
};

/* sequence.c */
void sequence_step(struct sequence *s);
void sequence_reopen(struct sequence *s);
void sequence_fail(struct sequence *s, int rc, int32_t proxy_rc); /* s->err is set */

/* sequence_prepare.c */
void sequence_step_check(struct sequence *s);
void sequence_step_files(struct sequence *s);
void sequence_step_epoch(struct sequence *s);
/* The commit found its epoch ended. True, and s->err says it: another try would take as long. */
bool sequence_outlived_epoch(struct sequence *s);

/* sequence_end.c */
void sequence_committed(struct sequence *s); /* caches and counts */
void sequence_step_epilogue(struct sequence *s);
void sequence_drop_fragments(struct sequence *s); /* nothing will ever name them */
void sequence_free_uploads(struct sequence *s);

#endif
