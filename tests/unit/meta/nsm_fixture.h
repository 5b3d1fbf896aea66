/* Two namespace managers on one store in memory, one namespace; calls that wait. */
#ifndef TESTS_UNIT_META_NSM_FIXTURE_H
#define TESTS_UNIT_META_NSM_FIXTURE_H

#include "unit/meta/fixture.h"

#include "meta/ns_keys.h"
#include "meta/nsm.h"
#include "meta/nsm_gc.h"

enum { NS = 7 };

struct fixture {
    uv_loop_t loop;
    struct kv_mem_store *store;
    struct kv *kv_a, *kv_b;
    struct nsm *a, *b;
};

struct nsm_wait {
    bool done;
    int rc;
    struct nsm_reply *reply; /* taken */
};

struct script {
    const enum kv_mem_fate *fates;
    unsigned count, used;
};

struct obsolete_wait {
    bool done;
    int rc;
    struct nsm_obsolete_list *list;
};

void nsm_wait_cb(void *ctx, int rc, struct nsm_reply *reply);
void nsm_wait_release(struct nsm_wait *w);
void await(struct nsm *nsm, struct nsm_wait *w);
/* For calls of which only the code matters. */
int await_rc(struct nsm *nsm, struct nsm_wait *w);
int setup_jitter(void **state, uint64_t seed, unsigned jitter);
int setup(void **state);
int teardown(void **state);
/* A manifest of one chunk, 2+1, fragments on OSDs first_osd, + 1, + 2. */
struct manifest *make(const char *name, uint64_t first_osd);
void unmake(struct manifest *m);
void start(struct nsm *nsm, struct manifest *upload, const char *delete,
           const struct nsm_assert *asserts, size_t assert_count, struct nsm_wait *w);
int put(struct nsm *nsm, struct manifest *m);
int delete (struct nsm *nsm, const char *name);
/* The object that the name holds: its id, or nothing. */
bool lookup(struct nsm *nsm, const char *name, uint8_t ret_id[NSM_OBJECT_ID_BYTES]);
bool holds(struct nsm *nsm, const char *name, const struct manifest *m);
size_t count_kind(const struct fixture *f, char kind);
bool has_object(const struct fixture *f, const struct manifest *m);
bool has_obsolete(const struct fixture *f, const struct manifest *m);
/* Names, objects and obsolete records agree. */
void expect_sound(const struct fixture *f, size_t live, size_t obsolete);
enum kv_mem_fate scripted(void *ctx, const struct kv_txn *txn);
void obsolete_cb(void *ctx, int rc, struct nsm_obsolete_list *list);
struct nsm_obsolete_list *obsoletes(struct nsm *nsm);
/* What maintenance does when the fragments are gone. Returns how many records there were. */
size_t expand_all(struct nsm *nsm);

#endif
