/* Inside of nsm_apply(): what a sequence knows about its names, and its transaction. */
#ifndef META_NSM_SEQ_H
#define META_NSM_SEQ_H

#include "meta/nsm_private.h"

enum { NO_UPLOAD = -1 };

/* A name of the sequence and what it holds, as far as known. */
struct seq_name {
    struct slice name; /* owned */
    int upload;        /* index, or NO_UPLOAD */
    bool is_delete;
    bool wants_checksum; /* an assert compares it */

    bool known; /* has_object, id are set: read, taken from an assert, or from a hint */
    bool from_hint;
    bool has_object;
    uint8_t id[NSM_OBJECT_ID_BYTES];
    struct checksum checksum; /* valid with from_hint or `value` */
    bool is_damaged;          /* the o/ value cannot be read; then nothing below is set */
    struct buf value;         /* the o/ value as stored; empty: not read */
    struct manifest manifest; /* decoded from it */
};

struct seq_assert {
    enum nsm_assert_kind kind;
    size_t name; /* index */
    struct slice object_id;
    struct checksum checksum;
};

struct seq_op {
    struct nsm_op op;
    struct seq_name *names;
    size_t name_count;
    struct seq_assert *asserts;
    size_t assert_count;
    struct manifest **uploads; /* the array is owned, the manifests are borrowed */
    size_t upload_count;
    bool reserve, low_priority;
    bool (*is_wanted)(void *ctx);
    uint64_t gc_epoch;
    uint8_t commit_id[NS_COMMIT_ID_BYTES];

    bool read_all; /* no guesses: an earlier attempt showed that one was wrong */
    unsigned tries;
    struct kv_txn txn;
    size_t *asked; /* names of the present read */
    size_t asked_count;
    unsigned trace; /* which trace is being looked for */
    struct err err;
};

static inline bool seq_updates(const struct seq_name *n)
{
    return n->upload != NO_UPLOAD || n->is_delete;
}

/* Copy and check the caller's sequence. */
int seq_take(struct seq_op *s, const struct nsm_sequence *sequence, struct err *e);
/* Set what asserts and hints tell without a read; forget everything else. */
void seq_guess(struct seq_op *s);
/* Do the asserts hold for what is known? *ret_guessed: a failure rests on a guess. */
int seq_judge(struct seq_op *s, bool *ret_guessed);
/* Everything that is to be done, into s->txn; sets the timestamps. */
int seq_build(struct seq_op *s, struct err *e);
/* The names' hints after a commit. */
void seq_learn(struct seq_op *s);
void seq_release(struct seq_op *s);

#endif
