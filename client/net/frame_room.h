/* Memory for large frames: what has come of them, not what they announce.
 *
 * A frame takes room in windows, each before it is read. While at most half of the limit is
 * used, every window has its room, so a peer that announces much and sends little keeps nobody
 * out. Beyond, a frame waits until all the rest of it has room, first come first served; then
 * that is promised to it, and it does not wait again. So frames that are all half there become
 * whole one after another.
 *
 * A frame of more than half of the limit would keep all others out: such giants are counted
 * apart. Beyond its first window one at a time has room, beside the limit, so that all together
 * stay within the limit and the longest frame: it waits for no others and they not for it, or one
 * peer who sends a giant slowly would keep them out. Loop thread only. */
#ifndef NET_FRAME_ROOM_H
#define NET_FRAME_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct frame_share;

struct frame_room {
    size_t limit_bytes; /* without the giant */
    size_t most_bytes;  /* with it */
    size_t used_bytes;  /* by all */

    size_t promised_bytes;     /* private: not used yet, by all */
    struct frame_share *giant; /* NULL: there is none */
    struct list waiting;
};

typedef void (*frame_room_cb)(struct frame_share *share);

/* Of one frame; {0} holds nothing. */
struct frame_share {
    uint32_t held_bytes; /* private */
    uint32_t promised_bytes;
    uint32_t window_bytes; /* waits for so many; 0: does not */
    uint32_t frame_bytes;
    frame_room_cb cb;
    struct list link;
};

void frame_room_init(struct frame_room *room, size_t limit_bytes, uint32_t frame_bytes_max);
/* Room for the next `window` bytes of a frame: true, or `cb` runs, from inside another's
 * frame_room_give(), when there is. */
bool frame_room_take(struct frame_room *room, struct frame_share *share, uint32_t frame_bytes,
                     uint32_t window, frame_room_cb cb);
/* All of it, or stop waiting. Accepts {0}. */
void frame_room_give(struct frame_room *room, struct frame_share *share);
/* What `from`, of a whole frame, holds is held by `to` from here on. */
void frame_share_move(struct frame_room *room, struct frame_share *to, struct frame_share *from);
bool frame_share_waits(const struct frame_share *share);
/* Does anybody wait? */
bool frame_room_is_wanted(const struct frame_room *room);

#endif
