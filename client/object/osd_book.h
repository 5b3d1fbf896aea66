/* The OSDs as a client of theirs sees them: where they are, connections, who is set aside.
 *
 * One that cannot be reached, does not answer in time, talks nonsense, or is not the store that
 * was asked for is set aside for a while that doubles; then one call may try it. Addresses come
 * from a proxy (OsdInfo2) and are taken anew with osd_book_set(). One that is not in the list any
 * more is forgotten with its last call. Loop thread only. */
#ifndef OBJECT_OSD_BOOK_H
#define OBJECT_OSD_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "net/addr.h"
#include "net/asd_client.h"

enum {
    OSD_BOOK_HOSTS_MAX = 4, /* addresses of one OSD that are tried, one after another */
    OSD_BOOK_ASIDE_MS_MIN = 500,
    OSD_BOOK_ASIDE_MS_MAX = 60000
};

struct proxy_alba; /* wire/proxy_reply.h */
struct net_tls;
struct osd_book;

struct book_osd {
    uint64_t id;
    bool gone; /* the proxy does not name it any more */
    bool far;  /* there is a read preference, and it names other nodes */
    uint64_t calls, failures;

    struct osd_book *book; /* private from here on */
    char *long_id;
    struct net_addr hosts[OSD_BOOK_HOSTS_MAX];
    unsigned host_count, host;
    struct asd_client *client; /* of this host; NULL: none yet */
    uint64_t aside_until_ms;   /* 0: it is well */
    unsigned aside_ms;
    bool trying;      /* a call finds out whether it is well again */
    unsigned holders; /* that know it by its address */
};

struct osd_book_options {
    struct net_tls *tls;           /* borrowed; NULL: no OSD that speaks TLS is asked */
    unsigned connect_timeout_ms;   /* of connecting, and of asking whose the store is */
    const char *const *near_nodes; /* read preference: node ids; copied. None: all are near */
    unsigned near_node_count;
};

struct osd_book *osd_book_new(uv_loop_t *loop, const struct osd_book_options *options);
/* The whole list, borrowed during the call; its alba_id is whose claim every store must carry.
 * An OSD of another address gets a new connection; calls to the old one are canceled. */
void osd_book_set(struct osd_book *book, const struct proxy_alba *alba);
bool osd_book_is_empty(const struct osd_book *book); /* never set */
unsigned osd_book_count(const struct osd_book *book);
/* NULL: unknown. It stays until the list is taken anew, or as long as it is held. */
struct book_osd *osd_book_find(struct osd_book *book, uint64_t id);
void book_osd_hold(struct book_osd *osd);
void book_osd_release(struct book_osd *osd);
unsigned osd_book_aside_count(const struct osd_book *book);

/* May it be asked now? When its time aside is over: once, until osd_book_note(). */
bool book_osd_take(struct book_osd *osd, uint64_t now_ms);
/* Is it worth asking? As book_osd_take(), but takes nothing. */
bool book_osd_is_well(const struct book_osd *osd, uint64_t now_ms);
/* A connection to it; after book_osd_take(). */
struct asd_client *book_osd_client(struct book_osd *osd);
/* How a call to it ended; exactly once per book_osd_take(). */
void book_osd_note(struct book_osd *osd, int rc);
/* Does the code say that the OSD is ill? Else: the call was. */
bool book_osd_is_fault(int rc);

/* No calls from here on; those under way are canceled; then `cb`, and it is freed. */
void osd_book_close(struct osd_book *book, void (*cb)(void *ctx), void *ctx);

#endif
