/* A request lives in a struct call from submit to callback. Proxies that do not answer are the
 * route's business; what they answer is judged here: a read that failed for a reason that may pass
 * is tried again until its deadline, a transaction is not, because its author knows better. */
#include "volumedriver/backend_proxy.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/proxy_route.h"
#include "wire/gather.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

struct backend_proxy {
    struct backend backend;
    struct proxy_route *route; /* borrowed */
    char *namespace;
    uint32_t spread;
    unsigned calls;
    struct backend_trouble reads, writes;
};

struct call {
    struct proxy_route_call way;
    struct gather gather;
    struct backend_proxy *owner;
    struct backend_req *req;
    uint32_t code;
    bool is_write;
    /* by command */
    const struct backend_slice *slices;
    unsigned slice_count;
    char **assert_names; /* owned */
    unsigned assert_count;
    struct slice prefix; /* owned, of a list */
};

static struct backend_proxy *proxy_of(struct backend *b)
{
    return container_of(b, struct backend_proxy, backend);
}

static void call_free(struct call *c)
{
    for (unsigned i = 0; i < c->assert_count; i++) {
        free(c->assert_names[i]);
    }
    free(c->assert_names);
    free((void *)(uintptr_t)c->prefix.data);
    gather_release(&c->gather);
    c->owner->calls--;
    free(c);
}

static void answer(struct call *c, int rc)
{
    struct backend_req *req = c->req;
    backend_cb cb = req->cb;

    call_free(c);
    cb(req, rc);
}

/* ---- what a reply says ---- */

/* Every fragment of the object has its place. */
static bool is_complete(const struct manifest *m)
{
    size_t count = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    for (size_t i = 0; i < count; i++) {
        if (!m->fragments[i].has_osd) {
            return false;
        }
    }
    return true;
}

static void take_infos(struct call *c, const struct proxy_reply *reply)
{
    c->req->complete = true;
    for (uint32_t i = 0; i < reply->objects.count; i++) {
        const struct manifest *m = reply->objects.items[i].manifest;

        c->req->complete = c->req->complete && is_complete(m);
        c->req->bytes = m->size_bytes;
        c->req->crc = m->checksum.crc32c;
    }
}

static int take_slices(struct call *c, const struct proxy_reply *reply, struct err *e)
{
    const uint8_t *at = reply->objects.data.data;
    size_t left = reply->objects.data.len;

    for (unsigned i = 0; i < c->slice_count; i++) {
        if (left < c->slices[i].bytes) {
            return err_set(e, ERR_PROTOCOL, "the proxy sent too few bytes");
        }
        memcpy(c->slices[i].data, at, c->slices[i].bytes);
        at += c->slices[i].bytes;
        left -= c->slices[i].bytes;
    }
    return left == 0 ? 0 : err_set(e, ERR_PROTOCOL, "the proxy sent too many bytes");
}

static void take_names(struct call *c, const struct proxy_reply *reply)
{
    c->req->more = reply->names.more;
    for (uint32_t i = 0; i < reply->names.count; i++) {
        struct slice name = reply->names.items[i];

        if (name.len < c->prefix.len || memcmp(name.data, c->prefix.data, c->prefix.len) != 0) {
            c->req->more = false;
            return;
        }
        buf_put(&c->req->names, name.data, name.len);
        buf_put_u8(&c->req->names, 0);
    }
}

static int take_reply(struct call *c, struct err *e)
{
    struct proxy_reply reply;
    int rc = proxy_reply_decode(c->way.proxy.reply, c->code, &reply, e);

    if (rc != 0) {
        return rc;
    }
    if (c->prefix.data != NULL) {
        take_names(c, &reply);
    } else if (c->slices != NULL) {
        rc = take_slices(c, &reply, e);
    } else if (!c->is_write && reply.objects.count != 1) {
        rc = err_set(e, ERR_PROTOCOL, "the proxy told of %u objects", reply.objects.count);
    } else {
        take_infos(c, &reply);
    }
    proxy_reply_release(&reply);
    return rc;
}

/* The message of a failed assert is the object's name. */
static unsigned failed_assert(const struct call *c)
{
    for (unsigned i = 0; i < c->assert_count; i++) {
        if (strstr(c->way.proxy.err.msg, c->assert_names[i]) != NULL) {
            return i;
        }
    }
    return 0;
}

/* An error that leaves open whether a transaction happened. */
static bool is_in_doubt(const struct call *c, int rc)
{
    return c->is_write && rc != ERR_ASSERT_FAILED && c->way.proxy.maybe_executed &&
           (c->way.proxy.proxy_code == 0 || rc == ERR_IN_DOUBT);
}

/* The proxy says that it could not; later it may, or another one. */
static bool may_pass(int32_t proxy_code)
{
    return proxy_code == PROXY_RC_UNKNOWN || proxy_code == PROXY_RC_BUSY ||
           proxy_code == PROXY_RC_TIMED_OUT || proxy_code == PROXY_RC_NOT_ENOUGH ||
           proxy_code == PROXY_RC_IN_DOUBT;
}

/* ---- what ails it ---- */

static void note_trouble(struct call *c, const struct err *why)
{
    struct backend_trouble *t = c->is_write ? &c->owner->writes : &c->owner->reads;

    if (t->err.code == 0) {
        t->since_us = clock_wall_us();
        log_warn("backend", c->is_write ? "not written" : "not read", "namespace=%s why=\"%s\"",
                 c->owner->namespace, why->msg);
    }
    err_copy(&t->err, why);
}

static void note_answer(struct call *c, int rc)
{
    struct backend_trouble *t = c->is_write ? &c->owner->writes : &c->owner->reads;

    if (c->way.proxy.proxy_code != 0 && rc != ERR_ASSERT_FAILED && rc != ERR_NOT_FOUND) {
        note_trouble(c, &c->req->err);
    } else if (rc == 0 && t->err.code != 0) {
        t->err.code = 0;
        log_info("backend", c->is_write ? "written again" : "read again", "namespace=%s",
                 c->owner->namespace);
    }
}

void backend_proxy_trouble(const struct backend *backend, struct backend_trouble *ret_trouble)
{
    const struct backend_proxy *p = container_of(backend, struct backend_proxy, backend);

    if (proxy_route_is_down(p->route, &ret_trouble->err, &ret_trouble->since_us)) {
        err_wrap(&ret_trouble->err, "unreachable");
    } else {
        *ret_trouble = p->writes.err.code != 0 ? p->writes : p->reads;
    }
}

/* ---- the answer ---- */

static int judge_error(struct call *c, int rc)
{
    struct backend_req *req = c->req;

    err_copy(&req->err, &c->way.proxy.err);
    if (is_in_doubt(c, rc)) {
        return req->err.code = ERR_IN_DOUBT;
    }
    if (rc == ERR_ASSERT_FAILED) {
        req->failed = failed_assert(c);
    } else if (c->way.proxy.proxy_code == PROXY_RC_NO_POLICY) {
        return req->err.code = ERR_NO_POLICY;
    }
    return rc;
}

static void on_reply(struct proxy_route_call *way, int rc)
{
    struct call *c = container_of(way, struct call, way);
    struct backend_req *req = c->req;
    bool is_nonsense = false;

    if (rc == 0) {
        rc = take_reply(c, &req->err);
        is_nonsense = rc != 0;
        if (is_nonsense && c->is_write) { /* it happened; what it says cannot be read */
            rc = err_set(&req->err, ERR_IN_DOUBT, "reply of the proxy");
        }
    } else {
        rc = judge_error(c, rc);
    }
    if (!c->is_write && (is_nonsense || may_pass(way->proxy.proxy_code)) &&
        proxy_route_again(way, is_nonsense, &req->err)) {
        note_trouble(c, &req->err);
        return;
    }
    note_answer(c, rc);
    answer(c, rc);
}

/* ---- submitting ---- */

static struct call *call_new(struct backend *b, struct backend_req *req, uint32_t code,
                             backend_cb cb)
{
    struct call *c = mem_zalloc(sizeof(*c));

    c->owner = proxy_of(b);
    c->owner->calls++;
    c->req = req;
    c->code = code;
    *req = (struct backend_req){.cb = cb, .impl = c};
    return c;
}

static void submit(struct call *c, struct proxy_request *request)
{
    request->code = c->code;
    request->ns = slice_str(c->owner->namespace);
    proxy_request_encode(request, &c->gather);
    c->way.request = &c->gather;
    c->way.spread = c->owner->spread;
    c->way.repeatable = !c->is_write;
    c->way.attempt_ms = c->is_write ? BACKEND_PROXY_APPLY_MS + BACKEND_PROXY_SLACK_MS : 0;
    proxy_route_submit(c->owner->route, &c->way, on_reply);
}

static void apply(struct backend *b, struct backend_req *req,
                  const struct backend_transaction *transaction, backend_cb cb)
{
    struct call *c = call_new(b, req, PROXY_APPLY, cb);
    struct proxy_assert *wire_asserts = mem_array(transaction->assert_count, sizeof(*wire_asserts));
    struct proxy_update *wire_updates = mem_array(transaction->update_count, sizeof(*wire_updates));
    struct proxy_request request = {
        .apply = {.asserts = wire_asserts,
                  .assert_count = transaction->assert_count,
                  .updates = wire_updates,
                  .update_count = transaction->update_count,
                  .flags = (transaction->flags & BACKEND_RESERVE) != 0 ? PROXY_APPLY_RESERVE : 0,
                  .deadline_ms = BACKEND_PROXY_APPLY_MS}};

    c->is_write = true;
    c->assert_names = mem_array(transaction->assert_count, sizeof(*c->assert_names));
    c->assert_count = transaction->assert_count;
    for (unsigned i = 0; i < c->assert_count; i++) {
        const struct backend_assert *assert = &transaction->asserts[i];

        c->assert_names[i] = mem_strdup(assert->name);
        wire_asserts[i] = (struct proxy_assert){.kind = assert->kind == BACKEND_ABSENT
                                                            ? PROXY_ASSERT_ABSENT
                                                            : PROXY_ASSERT_HAS_CHECKSUM,
                                                .name = slice_str(c->assert_names[i]),
                                                .checksum = checksum_crc32c(assert->crc)};
    }
    for (unsigned i = 0; i < transaction->update_count; i++) {
        const struct backend_update *update = &transaction->updates[i];

        wire_updates[i] = (struct proxy_update){.kind = update->data != NULL ? PROXY_UPDATE_UPLOAD
                                                                             : PROXY_UPDATE_DELETE,
                                                .name = slice_str(update->name),
                                                .data = slice_of(update->data, update->bytes),
                                                .has_checksum = update->data != NULL,
                                                .checksum = checksum_crc32c(update->crc)};
    }
    submit(c, &request);
    free(wire_asserts);
    free(wire_updates);
}

static void read_object(struct call *c, const struct backend_read *read)
{
    struct proxy_slice *slices = mem_array(read->slice_count, sizeof(*slices));
    struct proxy_object_slices object = {
        .name = slice_str(read->name), .slices = slices, .slice_count = read->slice_count};
    struct proxy_request request = {.consistent_read = read->fresh,
                                    .reads = {.items = &object, .count = 1}};

    for (unsigned i = 0; i < read->slice_count; i++) {
        slices[i] = (struct proxy_slice){.offset = (int64_t)read->slices[i].offset,
                                         .bytes = (int32_t)read->slices[i].bytes};
    }
    submit(c, &request);
    free(slices);
}

static void read_slices(struct backend *b, struct backend_req *req, const struct backend_read *read,
                        backend_cb cb)
{
    struct call *c = call_new(b, req, PROXY_READ_SLICES, cb);

    c->slices = read->slices;
    c->slice_count = read->slice_count;
    read_object(c, read);
}

static void info(struct backend *b, struct backend_req *req, const char *name, backend_cb cb)
{
    struct backend_read read = {.name = name, .fresh = true};

    read_object(call_new(b, req, PROXY_READ_SLICES2, cb), &read);
}

static void list(struct backend *b, struct backend_req *req, const char *prefix, const char *after,
                 backend_cb cb)
{
    struct call *c = call_new(b, req, PROXY_LIST_OBJECTS, cb);
    bool from_start = after[0] == '\0';
    struct proxy_request request = {.range = {.first = slice_str(from_start ? prefix : after),
                                              .first_included = from_start,
                                              .max = -1}};

    c->prefix = slice_of(mem_strdup(prefix), strlen(prefix));
    submit(c, &request);
}

static const struct backend_ops ops = {
    .apply = apply, .read = read_slices, .info = info, .list = list};

static uint32_t spread_of(const char *namespace)
{
    return crc32c(0, namespace, strlen(namespace));
}

struct backend *backend_proxy_new(struct proxy_route *route, const char *namespace)
{
    struct backend_proxy *p = mem_zalloc(sizeof(*p));

    p->backend.ops = &ops;
    p->route = route;
    p->namespace = mem_strdup(namespace);
    p->spread = spread_of(namespace);
    return &p->backend;
}

void backend_proxy_free(struct backend *backend)
{
    struct backend_proxy *p = proxy_of(backend);

    CHECK(p->calls == 0);
    free(p->namespace);
    free(p);
}

/* ---- the namespace itself ---- */

struct backend_namespace {
    struct proxy_route_call way;
    struct gather gather;
    backend_namespace_cb cb;
    void *ctx;
};

static void on_namespace(struct proxy_route_call *way, int rc)
{
    struct backend_namespace *n = container_of(way, struct backend_namespace, way);
    struct err e = way->proxy.err;

    gather_release(&n->gather);
    n->cb(n->ctx, rc, &e);
    free(n);
}

/* Twice is as good as once: the second gets ERR_EXISTS, or ERR_NOT_FOUND, which callers take for
 * success. */
static void namespace_call(struct proxy_route *route, const struct proxy_request *request,
                           backend_namespace_cb cb, void *ctx)
{
    struct backend_namespace *n = mem_zalloc(sizeof(*n));

    n->cb = cb;
    n->ctx = ctx;
    proxy_request_encode(request, &n->gather);
    n->way.request = &n->gather;
    n->way.repeatable = true;
    proxy_route_submit(route, &n->way, on_namespace);
}

void backend_namespace_create(struct proxy_route *route, const char *namespace, const char *preset,
                              backend_namespace_cb cb, void *ctx)
{
    struct proxy_request request = {.code = PROXY_CREATE_NAMESPACE, .ns = slice_str(namespace)};

    if (preset != NULL && preset[0] != '\0') {
        request.create.preset = slice_str(preset);
        request.create.has_preset = true;
    }
    namespace_call(route, &request, cb, ctx);
}

void backend_namespace_delete(struct proxy_route *route, const char *namespace,
                              backend_namespace_cb cb, void *ctx)
{
    namespace_call(
        route, &(struct proxy_request){.code = PROXY_DELETE_NAMESPACE, .ns = slice_str(namespace)},
        cb, ctx);
}
