/* An ASD in memory behind a real socket, with faults on demand: for simulations of the
 * proxy. Speaks protocol version 2 (and 1) by the codecs of client/wire. One loop. */
#ifndef TESTS_SIM_PROXY_FAKE_ASD_H
#define TESTS_SIM_PROXY_FAKE_ASD_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/slice.h"
#include "wire/asd_request.h"

enum fake_fate {
    FAKE_NORMAL,
    FAKE_DELAY,      /* executed at once, answered after delay_ms */
    FAKE_HANG,       /* not executed, never answered */
    FAKE_HANG_LATE,  /* executed, never answered */
    FAKE_DROP,       /* the connection closes, not executed */
    FAKE_DROP_AFTER, /* executed, then the connection closes */
    FAKE_ERROR,      /* code 1 */
    FAKE_FULL,
    FAKE_BUSY,
    FAKE_GARBAGE /* a frame of random bytes */
};

/* Only a time-out ends it; of garbage, if it says that it is longer or another's reply. */
static inline bool fake_fate_is_silent(enum fake_fate fate)
{
    return fate == FAKE_HANG || fate == FAKE_HANG_LATE || fate == FAKE_GARBAGE;
}

struct fake_asd;
typedef enum fake_fate (*fake_fate_cb)(void *ctx, struct fake_asd *asd,
                                       const struct asd_request *request);

struct fake_asd {
    char long_id[32];
    uint16_t port;
    uint64_t delay_ms; /* of FAKE_DELAY */
    unsigned applies, reads, ranges;
    size_t key_count;

    uv_loop_t *loop; /* private from here on */
    struct net_server *server;
    fake_fate_cb fate;
    void *fate_ctx;
    struct fake_entry **entries;
    unsigned late; /* replies under way */
    bool is_down;
};

struct fake_asd *fake_asd_new(uv_loop_t *loop, const char *long_id);
/* NULL: always normal. */
void fake_asd_set_fate(struct fake_asd *asd, fake_fate_cb fate, void *ctx);
/* Stop listening and cut all connections; come back on the same port. Run the loop between. */
void fake_asd_down(struct fake_asd *asd);
void fake_asd_up(struct fake_asd *asd);
/* Handles close in the loop's next turns; it is freed by itself. */
void fake_asd_free(struct fake_asd *asd);

/* ---- looking at and spoiling what is stored ---- */
size_t fake_asd_count_prefix(const struct fake_asd *asd, struct slice prefix);
bool fake_asd_has(const struct fake_asd *asd, struct slice key);
/* i-th key with this prefix; data NULL: none. */
struct slice fake_asd_key(const struct fake_asd *asd, struct slice prefix, size_t i);
/* Flip a bit of byte `offset` of the value. */
bool fake_asd_flip(struct fake_asd *asd, struct slice key, size_t offset);
/* Borrowed until the next change; empty: none. */
struct slice fake_asd_value(const struct fake_asd *asd, struct slice key);
bool fake_asd_remove(struct fake_asd *asd, struct slice key);
void fake_asd_put(struct fake_asd *asd, struct slice key, struct slice value);

#endif
