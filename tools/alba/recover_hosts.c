/* NSM hosts with an engine of their own have outlived the registry: what lies there has its
 * manifests, whether the copy knows it or not. */
#include <string.h>

#include "alba/recover_private.h"
#include "base/mem.h"
#include "meta/nsm_gc.h"

enum { LIST_AT_ONCE = 100 };

struct host {
    struct session *s;
    struct nsm *nsm;
    uint64_t ids[LIST_AT_ONCE];
    size_t count;
    bool has_more;
};

/* What a call answers with, ids or epochs. */
static void on_numbers(void *ctx, int rc, struct nsm_reply *reply)
{
    struct host *h = ctx;

    h->count = 0;
    h->has_more = rc == 0 && reply->has_more;
    for (size_t i = 0; rc == 0 && i < reply->count && h->count < LIST_AT_ONCE; i++) {
        h->ids[h->count++] = reply->epochs[i];
    }
    session_done(h->s, rc, &reply->err);
}

/* Without a gc epoch: it was being made, or deleted. */
static int note_one(struct recover *r, struct host *h, uint64_t id, const char *host_id)
{
    struct restore_namespace *found = recover_note(r, id, slice_of(NULL, 0));
    int rc;

    if (found == NULL) {
        return 0;
    }
    nsm_gc_epochs(h->nsm, id, on_numbers, h);
    rc = session_wait(r->s);
    if (rc == 0) {
        found->nsm_host = host_id;
        found->is_whole = h->count > 0;
    }
    return rc;
}

static int list(struct recover *r, struct host *h, const char *host_id)
{
    uint64_t after = 0;
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        uint64_t ids[LIST_AT_ONCE];
        size_t count;

        nsm_namespace_list(h->nsm, after, LIST_AT_ONCE, on_numbers, h);
        rc = session_wait(r->s);
        count = h->count;
        more = h->has_more && count > 0;
        memcpy(ids, h->ids, sizeof(ids));
        for (size_t i = 0; rc == 0 && i < count; i++) {
            after = ids[i];
            rc = note_one(r, h, ids[i], host_id);
        }
    }
    return rc;
}

static void on_closed(void *ctx)
{
    session_done(ctx, 0, NULL);
}

static int ask(struct recover *r, const struct registry_nsm_host *record)
{
    struct host h = {.s = r->s};
    struct kv *kv;
    struct err why;
    int rc = kv_open(&r->s->loop, record->url, r->s->tls, &kv, &r->s->err);

    if (rc != 0) {
        return rc;
    }
    h.nsm = nsm_new(kv);
    rc = list(r, &h, record->id);
    err_copy(&why, &r->s->err);
    kv_close(kv, on_closed, r->s);
    session_wait(r->s);
    nsm_free(h.nsm);
    err_copy(&r->s->err, &why);
    return rc;
}

void recover_hosts(struct recover *r)
{
    for (size_t i = 0; i < registry_view_nsm_host_count(r->view); i++) {
        const struct registry_nsm_host *host = registry_view_nsm_host(r->view, i);

        if (strcmp(host->url, "registry:") != 0 && ask(r, host) != 0 && !host->is_lost) {
            recover_doubt(r, mem_printf("NSM host %s (%s) does not answer: a namespace that was "
                                        "made there after the copy would be lost: %s",
                                        host->id, host->url, r->s->err.msg));
        }
    }
}
