/* The `owner` object of a volume: whose journal its tail is in. Codec and the rule of succession
 * (FORMAT.md, sections 2 and 3).
 *
 * It is replaced in the transaction that raises `owner_tag`, so that the two never disagree. Pure,
 * any thread. The decoder treats its input as hostile. */
#ifndef VOLUMEDRIVER_OWNER_H
#define VOLUMEDRIVER_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "volumedriver/uuid.h"

#define OWNER_NAME "owner"

enum { OWNER_BYTES = 96 };

struct owner {
    uint8_t volume[UUID_BYTES];
    uint8_t journal[UUID_BYTES]; /* its id; zeroes: none yet */
    uint64_t incarnation;        /* of the journal, when it opened the volume */
    uint32_t epoch;              /* = owner_tag */
    uint32_t since;    /* lowest epoch of the unbroken row of ownerships by this journal */
    bool drained;      /* the committed prefix ends at last_seq, journals hold nothing more */
    uint64_t last_seq; /* 0 unless drained */
};

/* Who wants to open. */
struct owner_claim {
    uint8_t journal[UUID_BYTES];
    uint64_t incarnation; /* that of the running journal */
    uint32_t epoch;       /* to be taken; not used before */
    bool wrote_before;    /* this process wrote what is there: it tried that epoch itself */
    bool accept_loss;
};

void owner_encode(const struct owner *o, uint8_t ret_bytes[OWNER_BYTES]);
/* ERR_CORRUPT or ERR_VERSION unless whole and of this volume. */
int owner_decode(const uint8_t *data, size_t bytes, const uint8_t volume[UUID_BYTES],
                 struct owner *ret_owner, struct err *e);
/* Of a new volume: epoch 1, drained at seq 0, no journal. */
void owner_init(struct owner *o, const uint8_t volume[UUID_BYTES]);

/* What replaces `before`. ERR_FENCED: its epoch is not below the claim's. Unless drained or loss is
 * accepted: ERR_IDENTITY, the tail is in another journal; ERR_STALE, this journal is an old
 * copy, it was replayed without what `before` knows of. */
int owner_succeed(const struct owner *before, const struct owner_claim *claim,
                  struct owner *ret_after, struct err *e);
/* `o`, drained at `last_seq`. */
struct owner owner_drained(const struct owner *o, uint64_t last_seq);

#endif
