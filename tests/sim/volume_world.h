/* A volume over a proxy over ASDs, all of them real but for the disks, in one process and on one
 * loop: the node of tests/lib (volume, map, journal on a disk that can lose power), a route to a
 * proxy server on a unix socket, its engine, fake ASDs behind sockets, metadata in memory.
 *
 * Steps are counted: each mutating I/O of the journal, each write at an ASD, each transaction of
 * the metadata. The node can be made to die in any of them. */
#ifndef TESTS_SIM_VOLUME_WORLD_H
#define TESTS_SIM_VOLUME_WORLD_H

#include <stdatomic.h>

#include "lib/vol_load.h"
#include "lib/vol_node.h"
#include "proxy/server.h"
#include "sim/proxy_world.h"
#include "sim/volume_link.h"

enum { VOLUME_WORLD_BYTES = 4 << 20, VOLUME_WORLD_SCO_BYTES = 1 << 20, VOLUME_WORLD_ASDS = 4 };

enum volume_crash {
    CRASH_KILL,  /* the process; what it wrote is in the page cache */
    CRASH_POWER, /* of the machine: what the disk keeps is by chance */
    CRASH_LOSE,  /* the machine: the journal is gone */
    CRASH_KINDS
};

/* In thousandths of the writes of ASDs, of the transactions of the metadata, of the volume's. */
struct volume_faults {
    unsigned refused;    /* an error, full, busy */
    unsigned dropped;    /* the connection, half of them after it was done */
    unsigned delayed;    /* done at once, told 1 to 20 ms later */
    unsigned hung;       /* no answer, half of them done */
    unsigned unread;     /* reads of ASDs are refused */
    unsigned doubted;    /* a commit ends in doubt: done, not done, or done much later */
    unsigned cut;        /* the volume hears nothing of a transaction: not sent, or on its way */
    unsigned late_turns; /* one turn in so many does what is much later; 0: only the test does */
};

struct volume_world {
    struct world *base;
    struct proxy_server *server;
    struct net_addr addr;
    char *dir;
    struct volume_link *link;
    struct vol_registry registry;
    struct vol_node node;
    struct vol_load load;
    struct rnd rnd;
    uint64_t seed;
    struct volume_faults faults;
    bool hold; /* commits wait for volume_world_release_newest() */

    enum volume_crash kind;
    enum crash_mode mode; /* of a power loss */
    atomic_uint steps;
    atomic_uint crash_at; /* 0: never, or it has come */
    atomic_bool crashed;
    bool armed; /* private */

    uint64_t killed_clock; /* the model's: what had completed then is in the page cache */
    bool dark;             /* power was lost since the last check: the page cache is gone */
    bool lost;             /* the journal is gone, and the volume was not opened since */
};

struct volume_world *volume_world_new(uint64_t seed);
void volume_world_free(struct volume_world *w);

void volume_world_fail(struct volume_world *w, const struct volume_faults *faults);
/* Set before the step can come, while nothing of the node runs. */
void volume_world_crash_at(struct volume_world *w, enum volume_crash kind, unsigned step);
/* It does not come any more; false: it has come. */
bool volume_world_disarm(struct volume_world *w);
/* Opens the volume, trying as the driver would; false when it crashed. Damage fails the test. */
bool volume_world_start(struct volume_world *w);
/* Ends the node as `kind` says, whether the step was reached or not. */
void volume_world_crash(struct volume_world *w);
/* One turn of the loop. */
void volume_world_turn(struct volume_world *w);
/* Until the condition, asked once in each turn, or the crash. */
void volume_world_wait(struct volume_world *w, bool (*is_done)(struct volume_world *w));
/* Until no request is in flight. */
void volume_world_settle(struct volume_world *w);
/* Open again behind crashes: compares the volume with the model. ret_image may be NULL. */
void volume_world_check(struct volume_world *w, uint8_t *ret_image);
/* Behind a crash: opens it, compares it with the model, kills it, compares again, and writes on. */
void volume_world_verify(struct volume_world *w);

/* Commits that are held. */
unsigned volume_world_held(const struct volume_world *w);
void volume_world_release_newest(struct volume_world *w);

#endif
