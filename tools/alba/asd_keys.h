/* Keys of an ASD as verbs take them from the command line. One thread. */
#ifndef ALBA_ASD_KEYS_H
#define ALBA_ASD_KEYS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct cli;

struct asd_keys {
    struct slice *items; /* borrowed from `bytes` */
    uint32_t count;

    struct buf *bytes; /* private: one per key */
};

/* The positionals from `first` on. Release in any case. */
int asd_keys_take(struct asd_keys *keys, struct cli *cli, unsigned first);
void asd_keys_release(struct asd_keys *keys);

#endif
