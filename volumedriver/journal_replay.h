/* Inside of the replay: what journal_scan.c finds and journal_replay.c judges. */
#ifndef VOLUMEDRIVER_JOURNAL_REPLAY_H
#define VOLUMEDRIVER_JOURNAL_REPLAY_H

#include "volumedriver/journal_private.h"
#include "volumedriver/uuid.h"

struct found_item {
    struct tail_item item;
    uint8_t volume[UUID_BYTES];
    uint64_t data_offset; /* the record's, from when it counts */
};

struct found { /* a frame whose header is whole */
    struct frame_header h;
    uint32_t segment;
    bool bad;     /* some of its data is not */
    bool unknown; /* a newer program wrote it; no items */
    struct found_item *items;
    uint32_t item_count;
};

struct incarnation {
    uint64_t number;
    uint64_t first_lsn;
    uint64_t durable_lsn; /* highest that one of its frames tells */
};

struct replay {
    struct journal *j;
    int fd;          /* O_DIRECT where that works */
    uint8_t *buffer; /* one segment */
    struct found *frames;
    uint32_t count;
    uint32_t cap;
    struct incarnation *incarnations; /* rising */
    uint32_t incarnation_count;
    uint64_t release_lsn;
    const struct found *end; /* the last frame accepted */
    uint32_t unreadable;     /* blocks */
    int unreadable_rc;
};

/* Every frame that proves itself, newest segments first, until the release LSN says that older ones
 * are not needed. Blocks that cannot be read make their frame a bad one. */
int replay_collect(struct replay *r, struct err *e);

#endif
