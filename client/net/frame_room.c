#include "net/frame_room.h"

#include "base/check.h"

void frame_room_init(struct frame_room *room, size_t limit_bytes, uint32_t frame_bytes_max)
{
    *room = (struct frame_room){.limit_bytes = limit_bytes,
                                .most_bytes = limit_bytes + frame_bytes_max};
    list_init(&room->waiting);
}

static bool is_giant(const struct frame_room *room, const struct frame_share *share)
{
    return share->frame_bytes > room->limit_bytes / 2;
}

static bool fits(const struct frame_room *room, size_t bytes, size_t limit_bytes)
{
    size_t all = room->used_bytes + room->promised_bytes;
    size_t giant = room->giant != NULL ? room->giant->frame_bytes : 0;

    return all - giant + bytes <= limit_bytes && all + bytes <= room->most_bytes;
}

static size_t rest_of(const struct frame_share *share)
{
    return share->frame_bytes - share->held_bytes;
}

static bool rest_fits(const struct frame_room *room, const struct frame_share *share)
{
    if (is_giant(room, share)) {
        return room->giant == NULL && fits(room, rest_of(share), room->most_bytes);
    }
    return fits(room, rest_of(share), room->limit_bytes);
}

/* Of a giant, only the first window. */
static bool window_fits(const struct frame_room *room, const struct frame_share *share,
                        uint32_t window)
{
    return (share->held_bytes == 0 || !is_giant(room, share)) &&
           fits(room, window, room->limit_bytes / 2);
}

static void hold(struct frame_room *room, struct frame_share *share, uint32_t bytes)
{
    share->held_bytes += bytes;
    room->used_bytes += bytes;
}

static void use_promise(struct frame_room *room, struct frame_share *share, uint32_t bytes)
{
    share->promised_bytes -= bytes;
    room->promised_bytes -= bytes;
    hold(room, share, bytes);
}

static void promise_rest(struct frame_room *room, struct frame_share *share)
{
    share->promised_bytes = (uint32_t)rest_of(share);
    room->promised_bytes += share->promised_bytes;
    if (is_giant(room, share)) {
        room->giant = share;
    }
}

static void grant_waiting(struct frame_room *room)
{
    bool one_is_next = false;

    LIST_FOR_EACH_SAFE (it, &room->waiting) {
        struct frame_share *share = container_of(it, struct frame_share, link);
        bool giant = is_giant(room, share);
        uint32_t window = share->window_bytes;

        if ((giant || !one_is_next) && rest_fits(room, share)) {
            list_remove(it);
            share->window_bytes = 0;
            promise_rest(room, share);
            use_promise(room, share, window);
            share->cb(share);
        } else {
            one_is_next = one_is_next || !giant;
        }
    }
}

/* Giants and others wait for their own kind only. */
static bool others_wait(const struct frame_room *room, bool giant)
{
    LIST_FOR_EACH (it, &room->waiting) {
        if (is_giant(room, container_of(it, struct frame_share, link)) == giant) {
            return true;
        }
    }
    return false;
}

bool frame_room_take(struct frame_room *room, struct frame_share *share, uint32_t frame_bytes,
                     uint32_t window, frame_room_cb cb)
{
    CHECK(share->window_bytes == 0);
    share->frame_bytes = frame_bytes;
    CHECK(window <= rest_of(share));
    if (share->promised_bytes != 0) {
        use_promise(room, share, window);
        return true;
    }
    if (window_fits(room, share, window)) {
        hold(room, share, window);
        return true;
    }
    if (!others_wait(room, is_giant(room, share)) && rest_fits(room, share)) {
        promise_rest(room, share);
        use_promise(room, share, window);
        return true;
    }
    share->window_bytes = window;
    share->cb = cb;
    list_push(&room->waiting, &share->link);
    return false;
}

void frame_room_give(struct frame_room *room, struct frame_share *share)
{
    if (share->window_bytes != 0) {
        list_remove(&share->link);
    }
    room->used_bytes -= share->held_bytes;
    room->promised_bytes -= share->promised_bytes;
    if (room->giant == share) {
        room->giant = NULL;
    }
    *share = (struct frame_share){0};
    grant_waiting(room);
}

void frame_share_move(struct frame_room *room, struct frame_share *to, struct frame_share *from)
{
    CHECK(from->window_bytes == 0);
    *to = *from;
    *from = (struct frame_share){0};
    if (room->giant == from) {
        room->giant = to;
    }
}

bool frame_share_waits(const struct frame_share *share)
{
    return share->window_bytes != 0;
}

bool frame_room_is_wanted(const struct frame_room *room)
{
    return !list_empty(&room->waiting);
}
