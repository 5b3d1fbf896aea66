#include "volumedriver/volume_chain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

enum { FETCHES_MAX = 16 };

struct fetch {
    struct backend_req req;
    struct chain *chain;
    struct chain_link *link;
    struct backend_slice slice;
    uint8_t footer[SCO_FOOTER_BYTES];
};

void chain_add(struct chain *chain, uint64_t number)
{
    if (chain->count == chain->cap) {
        chain->cap = chain->cap != 0 ? 2 * chain->cap : 64;
        chain->links = mem_realloc(chain->links, chain->cap * sizeof(*chain->links));
    }
    chain->links[chain->count++] = (struct chain_link){.footer.number = number};
}

void chain_release(struct chain *chain)
{
    free(chain->links);
    *chain = (struct chain){0};
}

static int by_number(const void *a, const void *b)
{
    const struct chain_link *x = a, *y = b;

    return x->footer.number < y->footer.number ? -1 : x->footer.number > y->footer.number;
}

const struct chain_link *chain_find(const struct chain *chain, uint64_t number)
{
    struct chain_link key = {.footer.number = number};

    return chain->count == 0 ? NULL
                             : bsearch(&key, chain->links, chain->count, sizeof(key), by_number);
}

static bool claims_passed_place(const struct chain *chain, const struct chain_link *link,
                                struct map_place start)
{
    const struct chain_link *before = chain_find(chain, link->footer.predecessor);

    return link->footer.predecessor == start.number || (before != NULL && before->in_chain);
}

int chain_connect(struct chain *chain, struct map_place start, struct err *e)
{
    struct map_place end = start;

    for (uint32_t i = 0; i < chain->count; i++) {
        struct chain_link *link = &chain->links[i];
        const struct sco_footer *f = &link->footer;

        link->in_chain = false;
        if (f->number <= start.number) {
            continue;
        }
        if (f->predecessor != end.number) {
            if (claims_passed_place(chain, link, start)) {
                return err_set(e, ERR_CORRUPT, "SCO %010" PRIx64 " claims a place that is taken",
                               f->number);
            }
            continue;
        }
        if (f->kind != SCO_GC && f->first_seq != end.seq + 1) {
            return err_set(e, ERR_CORRUPT,
                           "SCO %010" PRIx64 " starts at %" PRIu64 " behind %" PRIu64, f->number,
                           f->first_seq, end.seq);
        }
        link->in_chain = true;
        end.number = f->number;
        end.seq = f->kind != SCO_GC ? f->last_seq : end.seq;
    }
    chain->end = end;
    return 0;
}

/* ---- fetching ---- */

static void fetch_next(struct chain *chain);

static void fetch_end(struct fetch *fetch, int rc, const struct err *why)
{
    struct chain *chain = fetch->chain;

    if (rc != 0 && chain->rc == 0) {
        chain->rc = rc;
        err_copy(&chain->err, why);
    }
    free(fetch);
    chain->pending--;
    fetch_next(chain);
}

static void on_footer(struct backend_req *req, int rc)
{
    struct fetch *fetch = container_of(req, struct fetch, req);
    struct chain_link *link = fetch->link;

    if (rc == 0) {
        rc = sco_footer_decode(fetch->footer, fetch->chain->volume, link->footer.number,
                               link->bytes, &link->footer, &req->err);
    }
    fetch_end(fetch, rc, &req->err);
}

static void on_info(struct backend_req *req, int rc)
{
    struct fetch *fetch = container_of(req, struct fetch, req);
    struct chain *chain = fetch->chain;
    char name[SCO_NAME_BYTES];

    sco_name(fetch->link->footer.number, name);
    if (rc == 0 && (req->bytes < SCO_FOOTER_BYTES || req->bytes > SCO_BYTES_MAX)) {
        rc = err_set(&req->err, ERR_CORRUPT, "%s has %" PRIu64 " bytes", name, req->bytes);
    }
    if (rc != 0) {
        fetch_end(fetch, rc, &req->err);
        return;
    }
    fetch->link->bytes = req->bytes;
    fetch->slice = (struct backend_slice){
        .offset = req->bytes - SCO_FOOTER_BYTES, .bytes = SCO_FOOTER_BYTES, .data = fetch->footer};
    backend_read_fresh(chain->backend, req, name, &fetch->slice, on_footer);
}

static void fetch_next(struct chain *chain)
{
    while (chain->rc == 0 && chain->next < chain->count && chain->pending < FETCHES_MAX) {
        struct fetch *fetch = mem_zalloc(sizeof(*fetch));
        char name[SCO_NAME_BYTES];

        fetch->chain = chain;
        fetch->link = &chain->links[chain->next++];
        chain->pending++;
        sco_name(fetch->link->footer.number, name);
        chain->backend->ops->info(chain->backend, &fetch->req, name, on_info);
    }
    if (chain->pending == 0) {
        chain->cb(chain, chain->rc);
    }
}

void chain_fetch(struct chain *chain, struct backend *backend, const uint8_t volume[UUID_BYTES],
                 chain_cb cb)
{
    CHECK(chain->count != 0); /* so that the callback does not come from inside */
    qsort(chain->links, chain->count, sizeof(*chain->links), by_number);
    chain->backend = backend;
    memcpy(chain->volume, volume, UUID_BYTES);
    chain->next = 0;
    chain->pending = 0;
    chain->rc = 0;
    chain->cb = cb;
    fetch_next(chain);
}
