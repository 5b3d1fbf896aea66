/* The ring of segments. Inside of the journal. */
#ifndef VOLUMEDRIVER_JOURNAL_SEGMENT_H
#define VOLUMEDRIVER_JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct journal;
struct record;

enum { JOURNAL_RESERVE = 2 }; /* ready segments for what drains a full journal */

enum segment_state {
    SEGMENT_READY,
    SEGMENT_ACTIVE,
    SEGMENT_FULL,
    SEGMENT_RELEASED,
    SEGMENT_RETIRED, /* the disk cannot read all of it: not written again */
};

struct segment {
    struct list link; /* by state: journal.ready, .used (ACTIVE and FULL, by LSN), .released */
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t cover_lsn; /* RELEASED: first frame whose release_lsn is behind it; 0: none yet */
    uint32_t live;      /* records not dropped */
    enum segment_state state;
    bool bad; /* some of it could not be read */
};

void segments_init(struct journal *j, uint32_t count);
bool segment_roll(struct journal *j, bool for_data);    /* false: no segment may be taken */
void segments_covered(struct journal *j, uint64_t lsn); /* a frame tells the release_lsn */
bool segments_wait_for_cover(const struct journal *j);  /* no frame has told it yet */
void segments_pump(struct journal *j);
void segment_record_added(struct journal *j, struct record *record, struct segment *s);
/* Any thread, blocks: zero-filled segments at the end of the file; a sync is still to come. */
int segments_fill(struct journal *j, uint32_t count);
void segments_add(struct journal *j, uint32_t count); /* they are ready */
void segment_retire(struct journal *j, struct segment *s);

#endif
