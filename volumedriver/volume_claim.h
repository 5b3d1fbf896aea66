/* What a volume asks of the registry: to be elected its owner, and to keep a verdict of damage
 * where no journal is needed to find it. Each is one compare-and-swap of the volume's record. Loop
 * thread only; answers come later, never from inside the call. */
#ifndef VOLUMEDRIVER_VOLUME_CLAIM_H
#define VOLUMEDRIVER_VOLUME_CLAIM_H

#include <stdint.h>

#include "base/err.h"
#include "volumedriver/uuid.h"

enum { VOLUME_WHY_BYTES = 160 };

struct volume;
struct volume_claim;
struct volume_judgement;
typedef void (*volume_claim_cb)(struct volume_claim *claim, int rc);
typedef void (*volume_judgement_cb)(struct volume_judgement *judgement, int rc);

/* Why a volume may only be read, until an operator accepts the loss. */
struct volume_verdict {
    uint8_t journal[UUID_BYTES]; /* that lost something, or was there when it was found */
    uint64_t incarnation;        /* of that journal */
    uint64_t first_seq;          /* first one that is missing; 0: there is no verdict */
    char why[VOLUME_WHY_BYTES];
};

/* Election: {owner, epoch}. It only says who may try; the volume is taken by the transaction
 * on `owner_tag` and `owner` that follows. */
struct volume_claim {
    struct err err; /* out: says why, if rc != 0 */
    uint32_t epoch; /* out: ours alone, above `floor` and all that the registry gave before */
    uint32_t floor; /* in */
    struct volume_verdict verdict; /* out: the one that is stored */
    volume_claim_cb cb;
};

/* Stores `verdict`, or takes the stored one away when it is none. ERR_FENCED: the record has
 * another epoch by now. */
struct volume_judgement {
    struct err err; /* out: says why, if rc != 0 */
    uint32_t epoch; /* in: the one that was claimed */
    struct volume_verdict verdict;
    volume_judgement_cb cb;
};

struct volume_owner_ops {
    void (*claim)(void *ctx, struct volume *v, struct volume_claim *claim);
    void (*judge)(void *ctx, struct volume *v, struct volume_judgement *judgement);
};

#endif
