/* A proxy server over the simulated world, a client of it, and calls that wait. */
#ifndef TESTS_SIM_PROXY_FIXTURE_H
#define TESTS_SIM_PROXY_FIXTURE_H

#include "net/proxy_client.h"
#include "proxy/server.h"
#include "sim/proxy_world.h"
#include "wire/proxy_reply.h"

enum { REQUEST_BYTES_MAX = 3200000 }; /* one file of 3 MB, or four frames of 700 kB */

struct fixture {
    struct world *w;
    char *dir;
    char *real_dir;
    const char *fs_dirs[1];
    struct proxy_server *server; /* NULL it after closing it */
    struct net_addr addr;
    struct proxy_client *client;
};

/* dirs 0: no fs_dirs; 1: a directory of the test's own. */
struct fixture *fixture_new(unsigned dirs);
void fixture_free(struct fixture *f);
void fixture_on_closed(void *done); /* sets the bool */

struct call {
    struct proxy_call call;
    struct gather request;
    uint32_t code;
    bool done;
    int rc;
    int32_t proxy_code;
    char text[ERR_MSG_BYTES];
    struct proxy_reply reply; /* when rc is 0 */
    uint8_t *bytes;           /* what it borrows */
};

void fixture_on_call(struct proxy_call *call, int rc);
/* Returns the proxy's code; 0 and c->reply on success. */
int32_t fixture_call(struct fixture *f, const struct proxy_request *request, struct call *c);
void fixture_call_release(struct call *c);
/* Only the code. */
int32_t fixture_simple(struct fixture *f, const struct proxy_request *request);
int32_t fixture_put(struct fixture *f, const char *name, const void *data, size_t bytes);
struct slice fixture_ns(void);

#endif
