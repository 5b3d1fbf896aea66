/* What bounds a connection: how many of its requests run or have replies that were not sent, and
 * the memory that its large frames take. While it has too many, or a frame waits for memory, it is
 * not read. And what took long. */
#include "asd/server_limits.h"

#include <inttypes.h>
#include <stdlib.h>

#include "asd/server_private.h"
#include "base/check.h"
#include "base/mem.h"

enum { SLOW_LOG_EVERY_MS = 1000 };

static void pause_as_needed(struct asd_session *s)
{
    unsigned requests_max = s->version == ASD_VERSION_1 ? 1 : ASD_SERVER_REQUESTS_MAX;

    net_conn_pause(s->conn, s->requests >= requests_max || frame_share_waits(&s->share));
}

static void room_changed(struct asd_lane *lane)
{
    atomic_store_explicit(&lane->request_bytes, lane->room.used_bytes, memory_order_relaxed);
}

void asd_session_new(struct asd_lane *lane, struct net_conn *conn, unsigned version)
{
    struct asd_session *s = mem_zalloc(sizeof(*s));

    s->lane = lane;
    s->conn = conn;
    s->version = version;
    s->holds = 1;
    list_init(&s->running);
    net_conn_set_user(conn, s);
}

static void give(struct asd_session *s, struct frame_share *share)
{
    frame_room_give(&s->lane->room, share);
    room_changed(s->lane);
}

static void drop(struct asd_session *s)
{
    if (--s->holds == 0) {
        free(s);
    }
}

void asd_session_on_close(struct asd_session *s)
{
    give(s, &s->share);
    drop(s);
}

static void on_room(struct frame_share *share)
{
    pause_as_needed(container_of(share, struct asd_session, share));
}

void asd_session_on_window(struct asd_session *s, uint32_t frame_bytes, uint32_t window)
{
    if (!frame_room_take(&s->lane->room, &s->share, frame_bytes, window, on_room)) {
        pause_as_needed(s);
    }
    room_changed(s->lane);
}

void asd_session_begin(struct asd_server_request *r)
{
    struct asd_session *s = r->session;

    frame_share_move(&s->lane->room, &r->share, &s->share);
    s->requests++;
    s->holds++;
    pause_as_needed(s);
}

void asd_session_sent(struct asd_server_request *r)
{
    r->session->requests--;
    pause_as_needed(r->session);
}

void asd_session_give(struct asd_server_request *r)
{
    give(r->session, &r->share);
}

void asd_session_end(struct asd_server_request *r)
{
    drop(r->session);
}

/* ---- what took long ---- */

/* One that stands for all of it. */
static struct slice key_of(const struct asd_request *in)
{
    switch (in->code) {
    case ASD_APPLY:
        return in->apply.update_count != 0   ? in->apply.updates[0].key
               : in->apply.assert_count != 0 ? in->apply.asserts[0].key
                                             : slice_of(NULL, 0);
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        return in->keys.count != 0 ? in->keys.items[0] : slice_of(NULL, 0);
    case ASD_PARTIAL_GET:
        return in->partial.key;
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
    case ASD_RANGE_VALIDATE:
        return in->range.first;
    default:
        return slice_of(NULL, 0);
    }
}

void asd_server_note_slow(struct asd_server_request *r, uint64_t ns)
{
    struct asd_lane *lane = r->lane;
    uint64_t slow_ms = atomic_load_explicit(&lane->server->slow_request_ms, memory_order_relaxed);
    uint64_t ms = ns / 1000000;
    char key[ASD_KEY_TEXT_BYTES];
    unsigned long skipped;

    if (slow_ms == 0 || ms < slow_ms) {
        return;
    }
    metric_inc(&lane->slow_total);
    if (log_limit_pass(&lane->slow_log, SLOW_LOG_EVERY_MS, &skipped)) {
        asd_key_text(key_of(&r->in), key);
        log_warn("asd", "slow request",
                 "op=%s ms=%" PRIu64 " key=\"%s\" prio=%s peer=%s skipped=%lu",
                 asd_code_name(r->in.code), ms, key, r->in.prio == ASD_PRIO_LOW ? "low" : "high",
                 net_conn_peer(r->conn)->text, skipped);
    }
}
