/* What a volume may contain: every write with when it was submitted and completed, and per sector
 * who wrote it. No two writes that overlap are ever in flight together.
 *
 * After a crash a volume must equal some prefix of its writes, in an order that respects completion
 * before submission. vol_model_check() looks at what is there: a write that is there makes all
 * that completed before it was submitted mandatory, and so does a flush, or an upload when
 * the journal is gone. */
#ifndef TESTS_LIB_VOL_MODEL_H
#define TESTS_LIB_VOL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rnd.h"

enum { VOL_SECTOR = 512 };

struct vol_write {
    uint64_t sector;
    uint32_t count;
    bool zero;
    bool flushed;
    bool uploaded;
    uint64_t submitted; /* by the model's clock */
    uint64_t completed; /* 0: not */
    uint64_t last_seq;  /* of the volume, when it completed: it has none above; or UINT64_MAX */
};

struct vol_sector {
    uint32_t *writers; /* indices of writes, oldest first */
    uint32_t count;
    uint32_t cap;
    bool busy; /* somebody reads or writes it now */
};

struct vol_model {
    struct vol_write *writes; /* [0] is unused */
    uint32_t count;
    uint32_t cap;
    struct vol_sector *sectors;
    uint64_t sector_count;
    uint64_t clock;
};

void vol_model_init(struct vol_model *m, uint64_t bytes);
void vol_model_release(struct vol_model *m);
bool vol_model_is_free(const struct vol_model *m, uint64_t sector, uint32_t count);
void vol_model_set_busy(struct vol_model *m, uint64_t sector, uint32_t count, bool busy);

/* A new write, submitted now; its sectors become busy. Returns its id. */
uint32_t vol_model_submit(struct vol_model *m, uint64_t sector, uint32_t count, bool zero);
/* Its data. */
void vol_model_content(const struct vol_model *m, uint32_t id, uint8_t *ret_data);
void vol_model_complete(struct vol_model *m, uint32_t id, bool flushed);
/* All that has completed is durable, or in the backend. */
void vol_model_flushed(struct vol_model *m, uint64_t clock);
void vol_model_uploaded(struct vol_model *m, uint64_t clock);
/* After a check: writes that did not complete, and are there, have no seq above this one. */
void vol_model_bound(struct vol_model *m, uint64_t last_seq);
/* The committed prefix ends at this seq. */
void vol_model_committed(struct vol_model *m, uint64_t seq);

/* What a read of free sectors must give while nothing has crashed. */
void vol_model_expect(const struct vol_model *m, uint64_t sector, uint32_t count,
                      const uint8_t *data);
/* `image` is the whole volume after a crash. `journal`: everything flushed must be there, and what
 * is there now is durable. Else everything uploaded. What is gone is forgotten. */
void vol_model_check(struct vol_model *m, const uint8_t *image, bool journal);

#endif
