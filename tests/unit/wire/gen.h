/* Random messages for property tests and fuzz corpora.
 *
 * Everything a generator makes lives in its struct gen until gen_release(). */
#ifndef TESTS_UNIT_WIRE_GEN_H
#define TESTS_UNIT_WIRE_GEN_H

#include "base/rnd.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/manifest.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"
#include "wire/recovery_info.h"

enum { GEN_BLOCKS_MAX = 4096, GEN_MANIFESTS_MAX = 64 };

struct gen {
    struct rnd rnd;
    void *blocks[GEN_BLOCKS_MAX];
    size_t block_count;
    struct manifest *manifests[GEN_MANIFESTS_MAX];
    size_t manifest_count;
};

extern const uint32_t gen_asd_codes[];
extern const size_t gen_asd_code_count;
extern const uint32_t gen_proxy_codes[];
extern const size_t gen_proxy_code_count;

void gen_init(struct gen *g, uint64_t seed);
void gen_release(struct gen *g);

struct slice gen_bytes(struct gen *g, size_t bytes_max);
struct checksum gen_checksum(struct gen *g);
/* Fits versions 1 and 2 when `foreign`. */
struct manifest *gen_manifest(struct gen *g, bool foreign);
void gen_recovery_info(struct gen *g, struct recovery_info *ret_info);
void gen_asd_request(struct gen *g, uint32_t code, struct asd_request *ret_request);
void gen_asd_reply(struct gen *g, uint32_t code, struct asd_reply *ret_reply);
void gen_proxy_request(struct gen *g, uint32_t code, struct proxy_request *ret_request);
void gen_proxy_reply(struct gen *g, uint32_t code, struct proxy_reply *ret_reply);

#endif
