/* A store for a test, with calls that wait. The disk is real (RocksDB in a temporary directory) or
 * a crash disk with the index double. */
#ifndef TESTS_FAULT_ASD_FIXTURE_H
#define TESTS_FAULT_ASD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asd/home.h"
#include "asd/room.h"
#include "asd/store.h"
#include "asd/store_read.h"
#include "fault/asd_index_double.h"
#include "lib/crash_disk.h"
#include "lib/loop_fixture.h"

struct asd_fixture {
    struct loop_fixture base;
    struct asd_store_options options; /* set what you like between init and open */
    struct crash_disk *disk;          /* NULL: real */
    struct index_double *index;       /* with a crash disk */
    char *dir;                        /* the home */

    bool is_torn;         /* crash disk: the index says that its log was torn */
    bool in_room;         /* set between init and open: the store asks for room, as the daemon's */
    struct asd_room room; /* looks are the test's */
    struct asd_home home;
    struct asd_store *store; /* NULL: closed */
    struct asd_front *front; /* the first one */
    int lock_fd;
};

void asd_fixture_init(struct asd_fixture *f, bool real, uint64_t seed);
/* Opens what was closed, or a fresh home. */
int asd_fixture_open(struct asd_fixture *f, struct err *e);
void asd_fixture_close(struct asd_fixture *f);
/* Closes, removes. */
void asd_fixture_release(struct asd_fixture *f);
/* RocksDB's newest log with something in it; free() it. */
char *asd_fixture_log_path(const struct asd_fixture *f);

/* Does the kernel let us have an io_uring? */
bool asd_fixture_has_ring(struct asd_fixture *f);

/* ---- calls that wait ---- */

int asd_fixture_apply(struct asd_fixture *f, const struct asd_apply *what, struct err *e);
int asd_fixture_set(struct asd_fixture *f, const char *key, const void *data, size_t bytes);
int asd_fixture_delete(struct asd_fixture *f, const char *key);
/* The value in fresh memory (free() it). */
int asd_fixture_get(struct asd_fixture *f, struct slice key, uint8_t **ret_data,
                    uint32_t *ret_bytes);
/* Is it exactly this? */
bool asd_fixture_has(struct asd_fixture *f, const char *key, const void *data, size_t bytes);
int asd_fixture_range(struct asd_fixture *f, struct asd_store_range *ret_range,
                      const struct asd_range *range, enum asd_store_range_kind kind);
/* Until every free has been punched, dead slabs are gone, and none is to be emptied. */
void asd_fixture_settle(struct asd_fixture *f);

/* `bytes` repeatable bytes; free() them. */
uint8_t *asd_fixture_bytes(uint64_t seed, size_t bytes);

#endif
