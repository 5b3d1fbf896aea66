/* Deleting objects that nobody names. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/volume_opening.h"

struct volume_sweep {
    struct volume *v;
    struct buf names; /* each with its NUL */
    size_t at;
    size_t next;
    struct backend_req req;
    volume_sweep_cb cb; /* of one that is waited for, else NULL */
    void *ctx;
};

static void sweep_next(struct volume_sweep *s);

static void on_swept(struct backend_req *req, int rc)
{
    struct volume_sweep *s = container_of(req, struct volume_sweep, req);
    struct volume *v = s->v;
    volume_sweep_cb cb = s->cb;
    void *ctx = s->ctx;
    struct err e;

    s->at = s->next;
    if (rc == 0 && s->at < s->names.len && (cb != NULL || volume_may_upload(v))) {
        sweep_next(s);
        return;
    }
    err_copy(&e, &req->err);
    if (rc != 0 && !volume_is_fenced(v, req, rc) && cb == NULL) {
        log_info("volume", "sweep left to the next open", "volume=%s why=%s", v->name,
                 req->err.msg);
    }
    buf_release(&s->names);
    free(s);
    v->sweep = NULL;
    volume_kick(v);
    if (cb != NULL) {
        cb(ctx, rc, &e);
    }
}

static void sweep_next(struct volume_sweep *s)
{
    struct backend_update updates[BACKEND_UPDATES_MAX];
    struct backend_assert tag = volume_tag_assert(s->v);
    unsigned count = 0;

    for (s->next = s->at; s->next < s->names.len && count < BACKEND_UPDATES_MAX; count++) {
        const char *name = (const char *)s->names.data + s->next;

        updates[count] = (struct backend_update){.name = name};
        s->next += strlen(name) + 1;
    }
    s->v->backend->ops->apply(s->v->backend, &s->req,
                              &(struct backend_transaction){.asserts = &tag,
                                                            .assert_count = 1,
                                                            .updates = updates,
                                                            .update_count = count,
                                                            .flags = BACKEND_RESERVE},
                              on_swept);
}

static void sweep_new(struct volume *v, struct buf *names, volume_sweep_cb cb, void *ctx)
{
    struct volume_sweep *s = mem_zalloc(sizeof(*s));

    s->v = v;
    s->cb = cb;
    s->ctx = ctx;
    s->names = *names;
    *names = (struct buf){0};
    v->sweep = s;
    sweep_next(s);
}

void volume_sweep_await(struct volume *v, struct buf *names, volume_sweep_cb cb, void *ctx)
{
    CHECK(names->len != 0 && v->sweep == NULL);
    sweep_new(v, names, cb, ctx);
}

void volume_sweep_start(struct volume *v, struct buf *names)
{
    /* One at a time: an open sweeps the rest. */
    if (names->len == 0 || v->sweep != NULL || !volume_may_upload(v)) {
        buf_release(names);
        return;
    }
    sweep_new(v, names, NULL, NULL);
}
