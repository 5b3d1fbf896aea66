/* A small NBD client that blocks: one connection, simple replies, one thread.
 *
 * Knows nbd://HOST:PORT/EXPORT and nbd+unix:///EXPORT?socket=PATH. Functions return 0 or a
 * negative code; after a failure the connection is only good to be closed. */
#ifndef TESTS_E2E_NBD_STAMP_CLIENT_H
#define TESTS_E2E_NBD_STAMP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct stamp_uri {
    char host[256]; /* or the socket's path */
    char port[16];  /* "": a unix socket */
    char export[256];
};

struct stamp_client {
    int fd; /* -1: not connected */
    uint64_t size_bytes;
    unsigned timeout_ms; /* of a reply, and of sending */
};

int stamp_uri_parse(struct stamp_uri *ret_uri, const char *text, struct err *e);
/* Connects and shakes hands as far as transmission. */
int stamp_client_open(struct stamp_client *c, const struct stamp_uri *uri, unsigned timeout_ms,
                      struct err *e);
void stamp_client_close(struct stamp_client *c); /* says NBD_CMD_DISC; fine when not connected */

/* `data` follows, of a write. */
int stamp_client_send(struct stamp_client *c, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t length, const void *data);
/* The next reply's cookie and NBD error; its data, of a read, come next. */
int stamp_client_reply(struct stamp_client *c, uint64_t *ret_cookie, uint32_t *ret_error);
int stamp_client_receive(struct stamp_client *c, void *ret_data, size_t bytes);

#endif
