/* A world (tests/sim) with a maintenance agent, and what must be left after it. */
#ifndef TESTS_UNIT_PROXY_MAINTENANCE_FIXTURE_H
#define TESTS_UNIT_PROXY_MAINTENANCE_FIXTURE_H

#include "sim/proxy_world.h"

#include "proxy/maintenance/agent.h"
#include "wire/osd_keys.h"

#define FIXTURE_PRESET WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[4,2,4,2]]", 8192, "lz4")

enum { FIXTURE_GRACE_LONG_MS = 3600000, FIXTURE_GRACE_NONE_MS = 1 };

struct fixture {
    struct world *w;
    struct agent agent;
    bool has_agent;
};

struct fixture *fixture_new(unsigned asds);
void fixture_free(struct fixture *f);
/* Ends the one before, as if its process had died between two steps. */
struct agent *fixture_agent(struct fixture *f, unsigned grace_ms);
void fixture_end_agent(struct fixture *f);
/* Rounds with a little time between, so that a grace of 1 ms is over. */
void fixture_rounds(struct fixture *f, unsigned count);
/* With a fresh agent without grace: every epoch that was alive now ends and is collected. */
void fixture_collect_all(struct fixture *f);

/* Put (or overwrite) `bytes` bytes that the seed chooses; *ret_data is the caller's. */
uint8_t *fixture_put(struct fixture *f, const char *name, size_t bytes);
/* A fragment with recovery info and tag, as an upload leaves it; `id_seed` chooses the id. */
void fixture_orphan(struct fixture *f, unsigned asd, uint8_t id_seed, uint64_t epoch);
uint64_t fixture_current_epoch(struct fixture *f);
void fixture_osds_back(struct fixture *f); /* probe those that are set aside */

size_t fixture_count(struct fixture *f, enum osd_key_kind kind); /* on all ASDs */
size_t fixture_count_ns(struct fixture *f, uint64_t ns_id);      /* any kind of key */
/* Keys /alba/v1/ns/<id of "ns">/<kind>/… */
size_t fixture_count_meta(struct fixture *f, char kind);

/* On the ASDs are the fragments that manifests of "ns" name, each with its recovery info, and
 * nothing else; the metadata holds what belongs to live objects, and nothing else. */
void fixture_expect_clean(struct fixture *f);
/* Every fragment that a manifest names is there. */
void fixture_expect_whole(struct fixture *f);

/* A record of the registry, written behind its back. */
void fixture_poke_record(struct fixture *f, const char *prefix, const char *id, json_t *take_json);

#endif
