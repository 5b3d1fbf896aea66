/* What upload.c, upload_chunk.c and upload_fragment.c share; nobody else includes this. */
#ifndef PROXY_UPLOAD_PRIVATE_H
#define PROXY_UPLOAD_PRIVATE_H

#include "policy/choose.h"
#include "policy/layout.h"
#include "proxy/digest.h"
#include "proxy/encode.h"
#include "proxy/fragment_put.h"
#include "proxy/osd_probe.h"
#include "proxy/upload.h"

enum upload_fragment_state {
    UPLOAD_FRAGMENT_SEND, /* from send_at_ms on */
    UPLOAD_FRAGMENT_SENDING,
    UPLOAD_FRAGMENT_STORED,
    UPLOAD_FRAGMENT_FAILED
};

struct upload_fragment {
    struct upload_chunk *chunk;
    uint32_t index;
    enum upload_fragment_state state;
    struct osd *osd;
    unsigned replacements;
    unsigned busy_tries;
    uint64_t send_at_ms;
    uint64_t begun_ms, took_ms; /* once stored */
    struct fragment_put put;
};

struct upload_chunk {
    struct upload *upload;
    uint32_t index;
    bool is_filling; /* its data comes from a stream */
    bool is_encoded;
    int rc; /* of reading the file */
    struct err err;
    struct encode encode;
    uint8_t *raw; /* owned; read from the file or the stream */
    struct buf recovery;
    uint64_t start_ms;
    uint64_t enough_ms; /* when it had the fragments its policy asks for; 0: not yet */
    struct pool_work work;
    struct list link; /* in upload.chunks */
    uint32_t fragment_count;
    struct upload_fragment fragments[PRESET_FRAGMENTS_MAX];
};

enum upload_state {
    UPLOAD_CHOOSE, /* a policy, OSDs, an object id */
    UPLOAD_PROBE,  /* no policy: ask the OSDs that are set aside */
    UPLOAD_MEMORY, /* wait for our share */
    UPLOAD_RUN,    /* chunks go out */
    UPLOAD_UNDO,   /* the attempt failed; wait for what it started */
    UPLOAD_STORED, /* reported; stragglers go on */
    UPLOAD_SETTLED
};

struct upload {
    struct engine *engine;
    struct upload_spec spec;
    upload_cb on_stored;
    upload_cb on_settled;
    void *ctx;
    struct err err;
    int rc; /* why the attempt failed */
    enum upload_state state;
    bool is_final; /* no further attempt */
    bool canceled;
    bool has_probed;
    bool is_probing;
    unsigned attempts;

    struct preset_policy policy;
    uint32_t policy_index;
    struct layout layout;
    const struct master_key *key;              /* borrowed of the engine; NULL: no cipher */
    struct osd *targets[PRESET_FRAGMENTS_MAX]; /* NULL: none */
    struct manifest manifest;
    struct digest digest;
    struct list chunks; /* open ones, oldest first */
    uint32_t open_count;
    uint32_t next_chunk;
    bool is_encoding;
    unsigned pending; /* calls, jobs and questions that will still call back */
    struct upload_place *places;
    size_t place_count;

    struct budget_share share;
    struct osds_probe_wait probe;
    struct later_item start;
    uv_timer_t timer;
};

/* upload.c */
void upload_step(struct upload *u);
void upload_fail_attempt(struct upload *u, int rc, bool is_final); /* u->err is set */
bool upload_is_over(const struct upload *u);                       /* nothing new is started */

/* upload_place.c */
/* Policy, OSDs, object id and an empty manifest for a new attempt. */
int upload_choose(struct upload *u);
size_t upload_memory_bytes(const struct upload *u);
/* Go on under a later policy that needs no more than `possible` fragments of a chunk. */
bool upload_relax(struct upload *u, unsigned possible);

/* Its fragments' first OSDs: upload.targets, but for those that are of no use any more. */
void upload_chunk_place(struct upload_chunk *chunk);
/* Another OSD that the policy allows beside those of the chunk's other fragments, or NULL. */
struct osd *upload_replacement(const struct upload_fragment *f, const struct osd *failed,
                               bool slow_too);

/* upload_chunk.c */
void upload_chunk_start(struct upload *u);
/* Drive its fragments. Returns whether all of them have come to an end. */
bool upload_chunk_step(struct upload_chunk *chunk);
unsigned upload_chunk_count(const struct upload_chunk *chunk, enum upload_fragment_state state);
/* When its stragglers have had their time; 0: it has not enough fragments yet. */
uint64_t upload_chunk_patience_ms(const struct upload_chunk *chunk);
/* All of it has ended: who was slow? */
void upload_chunk_judge(const struct upload_chunk *chunk);
void upload_chunk_cancel(struct upload_chunk *chunk);
void upload_chunk_free(struct upload_chunk *chunk);

/* upload_fragment.c */
void upload_fragment_send_to(struct upload_fragment *f, struct osd *osd);
void upload_fragment_step(struct upload_fragment *f);
void upload_fragment_cancel(struct upload_fragment *f);

#endif
