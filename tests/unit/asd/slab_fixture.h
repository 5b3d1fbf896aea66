/* Values in slabs of a small store: where they lie, moving them, slabs of which little is left.
 * For tests; what fails ends the test. */
#ifndef TESTS_UNIT_ASD_SLAB_FIXTURE_H
#define TESTS_UNIT_ASD_SLAB_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asd/record.h"
#include "asd/store_private.h"
#include "fault/asd_fixture.h"

enum { LARGE = 20000, LARGE_ALIGNED = 20480, SLAB_BYTES = 256 * 1024 };

struct value_place {
    const char *key;
    struct asd_value_record record;
    bool named;
};

/* A transaction or a move, of a seeded value. */
struct sent {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    struct asd_assert is;
    struct asd_move move;
    uint8_t *data;
    bool done;
    int rc;
};

/* 12 values to a slab, one of them is less than an eighth of it. */
enum { PER_SLAB = 12, KEY_NAME_BYTES = 16 };

int setup(void **state);
int setup_crash_disk(void **state);
int teardown(void **state);
void reopen(struct asd_fixture *f);
/* Value number `seed` under `key`. */
void set_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes);
bool has_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes);
void each(struct asd_fixture *f, uint8_t kind, asd_index_visit_cb visit, void *ctx);
unsigned count_of(struct asd_fixture *f, uint8_t kind);
/* The record of a value in a slab, and whether there is a name for it. */
struct value_place place_of(struct asd_fixture *f, const char *key);
/* What the store would look like, had software made it that knows no names. */
void forget_names(struct asd_fixture *f);
void send_move(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
               struct asd_value_record from);
/* `bytes` 0: delete. */
void send_change(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                 size_t bytes, uint8_t prio);
void send_assert(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                 size_t bytes, uint8_t prio);
int answer(struct asd_fixture *f, struct sent *s);
/* Every range is named by a value or was given back. */
void check_space(struct asd_fixture *f, uint64_t used_bytes);
void key_name(char ret_key[KEY_NAME_BYTES], unsigned i);
void fill(struct asd_fixture *f, unsigned first, unsigned count);
/* Deletes all of a slab's but `keep`, the last ones. */
void thin(struct asd_fixture *f, unsigned slab, unsigned keep);
void evacuate(struct asd_fixture *f);
void check_value(struct asd_fixture *f, unsigned i);
/* Slabs 0 to 2 hold one value each, the last; slab 3 takes what is set. */
void three_sparse_slabs(struct asd_fixture *f);
void check_three_emptied(struct asd_fixture *f);

#endif
