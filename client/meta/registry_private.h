/* What the files of the registry share: the handle, and changes. */
#ifndef META_REGISTRY_PRIVATE_H
#define META_REGISTRY_PRIVATE_H

#include "base/list.h"
#include "meta/kv_commit.h"
#include "meta/nsm.h"
#include "meta/registry.h"
#include "meta/registry_view_private.h"

enum { REGISTRY_CHANGES_KEPT = 1024, REGISTRY_TRIES_MAX = 64 };

struct registry_host { /* engine of an NSM host */
    struct list link;
    char *url;
    struct kv *kv;
    struct nsm *nsm;
};

typedef int (*registry_open_kv_cb)(uv_loop_t *loop, const char *url, struct net_tls *tls,
                                   struct kv **ret_kv, struct err *e);

struct registry {
    struct kv *kv;
    struct nsm *own_nsm; /* url "registry:" */
    const struct registry_view *view;
    struct list hosts;
    registry_open_kv_cb open_kv; /* kv_open, but in tests */

    struct list waiting; /* refresh_wait.link: want a refresh that starts from now on */
    struct list served;  /* … served by the one that runs */
    bool refreshing;
    struct registry_view *next; /* under construction */
    uint64_t next_version;
    char next_commit[REGISTRY_COMMIT_TEXT_BYTES];
    unsigned load_kind; /* full load: the list being read */

    struct list changes; /* struct change, the first one runs */

    unsigned poll_ms;
    void (*on_change)(void *ctx);
    void *on_change_ctx;

    uint64_t work_counted_ms; /* when work items were counted at their limit; 0: never */
    unsigned external;        /* calls that no engine of ours answers */
    unsigned closing_parts;
    bool closing;
    registry_close_cb close_cb;
    void *close_ctx;
};

/* An engine, or a call outside all engines, has ended. */
void registry_part_closed(struct registry *registry);

/* ---- a change: one transaction on exactly one version of the registry ---- */

struct change;

/* Decide on `view` and fill the transaction. 0: commit; 1: nothing to do; negative: change->err. */
typedef int (*change_build_cb)(struct change *change, const struct registry_view *view);
typedef void (*change_done_cb)(struct change *change, int rc); /* frees */

/* First member of an operation. */
struct change {
    struct list link; /* private from here on, but err */
    struct registry *registry;
    change_build_cb build;
    change_done_cb done;
    struct kv_txn txn;
    json_t *keys;
    char commit_id[REGISTRY_COMMIT_TEXT_BYTES];
    uint64_t base_version;
    uint64_t version; /* that it makes: base_version + 1, or what `build` has set, if higher */
    uint64_t deadline_ms;
    unsigned tries;
    bool committed; /* what is left is to bring the view up to date */
    /* An assert of the operation's own failed (not the version): the code to answer. */
    int refusal;
    struct err err;
};

void change_start(struct registry *registry, struct change *change, change_build_cb build,
                  change_done_cb done);

/* For build: key = /alba/v1/reg/ + prefix + id. */
void change_put(struct change *change, const char *prefix, const char *id, const json_t *json);
void change_put_new(struct change *change, const char *prefix, const char *id, json_t *take_json);
/* A value made before. */
void change_put_value(struct change *change, const char *prefix, const char *id,
                      struct slice value);
void change_delete(struct change *change, const char *prefix, const char *id);
/* Things that no view shows are asserted; `refusal` is the answer when that fails. */
void change_assert_absent(struct change *change, const char *prefix, const char *id, int refusal);
void change_assert_value(struct change *change, const char *prefix, const char *id,
                         struct slice value, int refusal);
/* Next id of a kind in the view, written as taken. */
enum next_id { NEXT_OSD, NEXT_NAMESPACE, NEXT_WORK };
uint64_t change_take_id(struct change *change, const struct registry_view *view, enum next_id kind);
/* The same of a work item, of which there are `items` then (WORK_ITEMS_UNKNOWN); or one goes. */
uint64_t change_take_work_id(struct change *change, const struct registry_view *view,
                             uint64_t items);
void change_put_work_items(struct change *change, const struct registry_view *view, uint64_t items);

/* The transaction's version keys, for v -> v + 1 (v = 0: there is no registry yet). */
void change_seal(struct change *change, const struct registry_view *view);

/* ---- the usual operation ---- */

/* Some arguments, a callback. */
struct reg_op {
    struct change change;
    char *name;
    json_t *json;
    uint64_t number;
    bool flag;
    registry_cb cb;
    void *ctx;
};

struct reg_op *reg_op_new(const char *name, json_t *take_json, registry_cb cb, void *ctx);
/* Answer and free: the `done` of simple operations. */
void reg_op_done(struct change *change, int rc);
/* Answer with op->change.err soon; for arguments that are refused. */
void reg_op_refuse(struct registry *registry, struct reg_op *op);

#endif
