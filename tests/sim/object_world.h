/* The simulated backend with two proxies in front, a client library's inner client of both, and
 * calls that wait for their answer. */
#ifndef TESTS_SIM_OBJECT_WORLD_H
#define TESTS_SIM_OBJECT_WORLD_H

#include "object/object_read.h"
#include "proxy/server.h"
#include "sim/proxy_world.h"

enum { OBJECT_WORLD_DIRECT_MS = 300, OBJECT_WORLD_PROXIES = 2 };

struct object_world {
    struct world *w;
    struct proxy_server *servers[OBJECT_WORLD_PROXIES];
    struct object_client *client;
    const char *const *near_nodes; /* of the next client */
    unsigned near_node_count;
    int32_t proxy_code; /* of the last call */
};

struct object_world *object_world_new(unsigned asds, const char *preset_json);
/* Its proxies give up OSDs that are silent. */
struct object_world *object_world_new_hasty(unsigned asds, const char *preset_json);
/* Proxies and client prefer these nodes (borrowed), nobody hedges. ASD i is on node n<i>. */
struct object_world *object_world_new_near(unsigned asds, const char *preset_json,
                                           const char *const *near_nodes, unsigned count);
void object_world_free(struct object_world *o);
void object_world_new_client(struct object_world *o, size_t known_bytes);
struct object_counters object_world_counters(const struct object_world *o);

/* By the client; return its code. */
int object_world_put(struct object_world *o, const char *name, const void *data, size_t bytes);
int object_world_delete(struct object_world *o, const char *name);
int object_world_slice(struct object_world *o, const char *name, uint64_t offset, uint64_t bytes,
                       uint8_t *ret_data, bool *ret_direct);
int object_world_get(struct object_world *o, const char *name, bool consistent, uint8_t **ret_data,
                     size_t *ret_bytes, bool *ret_direct);
/* A slice, or the whole, must be those bytes of `data`; was it read directly? */
bool object_world_expect(struct object_world *o, const char *name, const uint8_t *data,
                         uint64_t offset, uint64_t bytes);
bool object_world_expect_all(struct object_world *o, const char *name, const uint8_t *data,
                             size_t bytes);
/* Wait until no background work is left in the proxies. */
void object_world_settle(struct object_world *o);
/* The list of OSDs is there: reads may go directly. */
void object_world_wait_osds(struct object_world *o);

#endif
