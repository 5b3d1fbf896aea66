/* Two registries (two processes, as it were) on one store in memory; calls that wait. */
#ifndef TESTS_UNIT_META_REGISTRY_FIXTURE_H
#define TESTS_UNIT_META_REGISTRY_FIXTURE_H

#include "unit/meta/fixture.h"

#include "base/rnd.h"
#include "meta/registry.h"
#include "meta/registry_private.h"

struct fixture {
    uv_loop_t loop;
    struct kv_mem_store *store;
    struct kv_mem_store *host_store; /* what NSM host URLs open */
    struct kv *kv_a, *kv_b;
    struct registry *a, *b;
};

struct reg_wait {
    bool done;
    int rc;
    struct err err;
};

static inline void reg_wait_cb(void *ctx, int rc, const struct err *e)
{
    struct reg_wait *w = ctx;

    assert_false(w->done);
    *w = (struct reg_wait){.done = true, .rc = rc, .err = *e};
    if (rc != 0) {
        assert_int_not_equal(e->msg[0], '\0');
    }
}

static inline int reg_await(struct fixture *f, struct reg_wait *w)
{
    loop_run_until(&f->loop, &w->done);
    w->done = false;
    return w->rc;
}

static struct fixture *current; /* for open_host, which has no context */

static inline int open_host(uv_loop_t *loop, const char *url, struct net_tls *tls,
                            struct kv **ret_kv, struct err *e)
{
    (void)e;
    (void)tls;
    (void)url;
    *ret_kv = kv_mem_open(loop, current->host_store);
    return 0;
}

static inline int setup_bare(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    current = f;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = kv_mem_store_new(1);
    f->host_store = kv_mem_store_new(2);
    f->kv_a = kv_mem_open(&f->loop, f->store);
    f->kv_b = kv_mem_open(&f->loop, f->store);
    f->a = registry_new(f->kv_a);
    f->b = registry_new(f->kv_b);
    f->a->open_kv = f->b->open_kv = open_host;
    *state = f;
    return 0;
}

static inline int setup(void **state)
{
    struct fixture *f;
    struct reg_wait w = {0};

    setup_bare(state);
    f = *state;
    registry_init(f->a, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    return 0;
}

static inline void close_registry(struct registry *registry)
{
    bool closed = false;
    uv_loop_t *loop = kv_loop(registry_kv(registry));

    registry_close(registry, loop_set_true, &closed);
    loop_run_until(loop, &closed);
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->a != NULL) {
        close_registry(f->a);
    }
    close_registry(f->b);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    kv_mem_store_free(f->store);
    kv_mem_store_free(f->host_store);
    free(f);
    return 0;
}

static inline const struct registry_view *refreshed(struct fixture *f, struct registry *registry)
{
    struct reg_wait w = {0};

    registry_refresh(registry, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    return registry_view(registry);
}

static inline int create_namespace(struct fixture *f, struct registry *registry, const char *name,
                                   const char *preset)
{
    struct reg_wait w = {0};

    registry_namespace_create(registry, name, preset, reg_wait_cb, &w);
    return reg_await(f, &w);
}

static inline const struct registry_namespace *ns_find(const struct registry_view *view,
                                                       const char *name)
{
    return registry_view_namespace_find(view, name, strlen(name));
}

/* ---- fates in a row ---- */

struct script {
    const enum kv_mem_fate *fates;
    unsigned count, used;
};

static inline enum kv_mem_fate scripted(void *ctx, const struct kv_txn *txn)
{
    struct script *s = ctx;

    (void)txn;
    return s->used < s->count ? s->fates[s->used++] : KV_MEM_NORMAL;
}

#endif
