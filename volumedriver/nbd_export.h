/* What the NBD server offers: volumes under names, and which client hosts may use them.
 *
 * The owner (the volume driver's main, a test) embeds a struct nbd_export beside each volume
 * and answers list and find. A writable export that is not `shared` serves one client host
 * at a time, over any number of connections: two hosts that both believe they own a disk
 * destroy its file system. All peers on this machine (unix sockets, loopback) are one host.
 * Server thread only (volumedriver/nbd_server.h). */
#ifndef VOLUMEDRIVER_NBD_EXPORT_H
#define VOLUMEDRIVER_NBD_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "net/addr.h"

struct volume;
struct nbd_worker;

struct nbd_host {
    bool is_local;
    uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    char text[NET_ADDR_TEXT_MAX];
};

/* Zero it, fill the first part in, keep it until nbd_server_drop_export() has called back. */
struct nbd_export {
    const char *name;        /* borrowed; 1 to NBD_STRING_BYTES_MAX bytes */
    const char *description; /* borrowed; may be NULL; as long at most */
    struct volume *volume;
    struct nbd_worker *worker; /* of the volume's loop */
    uint64_t size_bytes;       /* told to new clients; change it after a resize */
    bool read_only;
    bool shared; /* several client hosts may write */

    unsigned attached;    /* private from here on: connections that chose this export */
    struct nbd_host host; /* whose they are */
    bool dropped;
    struct log_limit log;
};

struct nbd_exports;
typedef void (*nbd_export_each_cb)(void *ctx, const char *name, const char *description);

struct nbd_exports_ops {
    void (*list)(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx);
    /* NULL: no such export. "" asks for the default one, if there is one. */
    struct nbd_export *(*find)(struct nbd_exports *exports, const char *name);
    /* Of a name that find() has nothing for: ERR_BUSY: it may be there soon, and the client is
     * held for a while; ERR_NOT_FOUND; or why it cannot be had. *e is told to the client. `name`
     * NULL: 0 when list() is whole, or ERR_BUSY. NULL instead of a function: ERR_NOT_FOUND, 0. */
    int (*missing)(struct nbd_exports *exports, const char *name, struct err *e);
};

struct nbd_exports { /* first member of the owner's table */
    const struct nbd_exports_ops *ops;
};

struct nbd_host nbd_host_of(const struct net_addr *peer);

/* -EBUSY, with a message for the client, when another host has the export. */
int nbd_export_check(const struct nbd_export *export, const struct nbd_host *host, struct err *e);
/* As check, and takes a place; give it back with detach. */
int nbd_export_attach(struct nbd_export *export, const struct nbd_host *host, struct err *e);
void nbd_export_detach(struct nbd_export *export);

#endif
