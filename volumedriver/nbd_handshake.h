/* The handshake of one NBD connection, as a state machine without a socket.
 *
 * The caller keeps what it read and offers it until nothing more is taken; replies gather
 * in `out`, which the caller sends and empties before it offers more, so that a client
 * that asks without listening costs no memory. An option about an export that is not there yet
 * is not taken: the caller offers it again after a while, and when it has no more patience,
 * the client is told so. Server thread only. */
#ifndef VOLUMEDRIVER_NBD_HANDSHAKE_H
#define VOLUMEDRIVER_NBD_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "volumedriver/nbd_export.h"
#include "volumedriver/nbd_option.h"

enum {
    NBD_HANDSHAKE_INPUT_BYTES = NBD_OPTION_HEAD_BYTES + NBD_OPTION_BYTES_MAX, /* enough to go on */
    NBD_BLOCK_MIN_BYTES = 512,
    NBD_BLOCK_PREFERRED_BYTES = 4096,
    NBD_BLOCK_MAX_BYTES = 32 * 1048576,
    NBD_CONTEXT_ALLOCATION = 1, /* id of base:allocation */
};

enum nbd_handshake_state {
    NBD_HANDSHAKE_FLAGS,   /* the client's flags come first */
    NBD_HANDSHAKE_OPTIONS, /* an option's head and data */
    NBD_HANDSHAKE_SKIP,    /* data of an option that is too long */
    NBD_HANDSHAKE_DONE,    /* send `out`; then `export` is attached and transmission begins */
    NBD_HANDSHAKE_CLOSE,   /* send `out`, then close */
};

struct nbd_handshake {
    enum nbd_handshake_state state;
    struct buf out;
    struct err err; /* why, when the state is CLOSE and the client is to blame; code 0: it left */

    bool held;      /* out of take: it returned 0 because an export may be there soon */
    bool impatient; /* in: answer nevertheless */

    /* the outcome */
    struct nbd_export *export; /* attached; NULL before DONE */
    bool structured;           /* replies */
    bool allocation;           /* base:allocation was selected for this export */

    struct nbd_exports *exports; /* private from here on; borrowed */
    struct nbd_host host;
    bool fixed;
    bool no_zeroes;
    uint64_t refused_host; /* attempts on an export of another host */
    uint32_t option;       /* being answered or skipped */
    uint32_t skip_bytes;
    char *context_name; /* export that base:allocation was selected for; NULL: none */
};

/* Puts the greeting into `out`. */
void nbd_handshake_init(struct nbd_handshake *hs, struct nbd_exports *exports,
                        const struct nbd_host *host);
/* Takes at most one option; returns how many bytes it took, 0 for "not enough yet". Not when
 * the state is DONE or CLOSE. */
size_t nbd_handshake_take(struct nbd_handshake *hs, const uint8_t *data, size_t bytes);
/* The caller takes over the export's place. */
struct nbd_export *nbd_handshake_detach(struct nbd_handshake *hs);
/* Gives an export's place back that was not taken over. */
void nbd_handshake_release(struct nbd_handshake *hs);

#endif
