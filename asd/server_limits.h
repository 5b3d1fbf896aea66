/* What bounds a connection of the server. Loop of its lane. Private to the server. */
#ifndef ASD_SERVER_LIMITS_H
#define ASD_SERVER_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "asd/store_read.h"
#include "base/list.h"
#include "net/frame_room.h"

struct asd_lane;
struct asd_server_request;
struct net_conn;

/* Of a connection that has said hello. */
struct asd_session {
    struct asd_lane *lane;
    struct net_conn *conn;
    unsigned version;
    unsigned requests;        /* whose replies were not sent yet */
    unsigned holds;           /* requests, and the connection while it is there */
    bool closed;              /* nobody waits for answers any more */
    struct list running;      /* struct asd_server_request.in_session */
    struct frame_share share; /* of the frame under way */
    struct asd_results_owner results;
};

void asd_session_new(struct asd_lane *lane, struct net_conn *conn, unsigned version);
void asd_session_on_close(struct asd_session *s); /* its connection is gone */
void asd_session_on_window(struct asd_session *s, uint32_t frame_bytes, uint32_t window);
/* `r` came; what was asked for is not needed any more; its reply was sent, or thrown away while the
 * connection is there; it ends. */
void asd_session_begin(struct asd_server_request *r);
void asd_session_give(struct asd_server_request *r);
void asd_session_sent(struct asd_server_request *r);
void asd_session_end(struct asd_server_request *r);
/* Log and count it, if it took long. */
void asd_server_note_slow(struct asd_server_request *r, uint64_t ns);

#endif
