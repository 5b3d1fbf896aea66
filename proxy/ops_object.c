/* What is known about objects without reading them: names, existence, size and checksum. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/lookup.h"
#include "proxy/namespace.h"
#include "proxy/ops.h"
#include "proxy/rc.h"

/* One operation on the metadata of one namespace. */
struct object_op {
    struct session *session;
    struct ns_open open;
    struct ns_use use;
    struct lookup lookup;
};

static void op_end(struct object_op *op)
{
    ns_drop(&op->use);
    lookup_release(&op->lookup);
    free(op);
}

static void op_fail(struct object_op *op, int32_t rc, const char *text)
{
    session_fail(op->session, rc, text);
    op_end(op);
}

static void op_start_in_namespace(struct session *s, bool fresh, ns_cb cb)
{
    struct object_op *op = mem_zalloc(sizeof(*op));

    op->session = s;
    op->open = (struct ns_open){.engine = s->server->engine,
                                .name = s->request.ns,
                                .fresh = fresh,
                                .ret_use = &op->use,
                                .cb = cb,
                                .ctx = op};
    ns_open(&op->open);
}

/* True when the namespace is open; otherwise the operation has ended. */
static bool is_open(struct object_op *op, int rc, const struct err *e)
{
    if (rc != 0) {
        op_fail(op, rc == ERR_NOT_FOUND ? PROXY_RC_NAMESPACE_NOT_FOUND : rc_of(rc), e->msg);
    }
    return rc == 0;
}

/* ---- list ---- */

static void on_listed(void *ctx, int rc, struct nsm_reply *found)
{
    struct object_op *op = ctx;
    struct proxy_reply reply = {.code = op->session->request.code};

    if (rc != 0) {
        op_fail(op, rc_of(rc), found->err.msg);
        return;
    }
    reply.names.items = found->names;
    reply.names.count = (uint32_t)found->count;
    reply.names.more = found->has_more;
    session_reply(op->session, &reply, NULL, NULL);
    op_end(op);
}

static void on_list_open(void *ctx, int rc, const struct err *e)
{
    struct object_op *op = ctx;
    const struct proxy_range *asked = &op->session->request.range;
    struct nsm_range range = {.first = asked->first,
                              .first_included = asked->first_included,
                              .has_last = asked->has_last,
                              .last = asked->last,
                              .last_included = asked->last_included,
                              .reverse = asked->reverse,
                              .limit = PROXY_RANGE_MAX};
    struct proxy_reply nothing = {.code = op->session->request.code};

    if (!is_open(op, rc, e)) {
        return;
    }
    if (asked->max >= 0 && asked->max < PROXY_RANGE_MAX) {
        range.limit = (size_t)asked->max;
    }
    if (range.limit == 0) {
        session_reply(op->session, &nothing, NULL, NULL);
        op_end(op);
        return;
    }
    nsm_list(op->use.nsm, op->use.ns->id, &range, on_listed, op);
}

void op_list_objects(struct session *s)
{
    op_start_in_namespace(s, true, on_list_open);
}

/* ---- exists ---- */

static void on_exists(void *ctx, int rc, struct nsm_reply *found)
{
    struct object_op *op = ctx;
    struct proxy_reply reply = {.code = op->session->request.code};

    if (rc != 0) {
        op_fail(op, rc_of(rc), found->err.msg);
        return;
    }
    reply.exists.items = found->exists;
    reply.exists.count = (uint32_t)found->count;
    session_reply(op->session, &reply, NULL, NULL);
    op_end(op);
}

static void on_exists_open(void *ctx, int rc, const struct err *e)
{
    struct object_op *op = ctx;
    const struct proxy_request *request = &op->session->request;

    if (!is_open(op, rc, e)) {
        return;
    }
    if (request->names.count == 0) {
        session_reply(op->session, &(struct proxy_reply){.code = request->code}, NULL, NULL);
        op_end(op);
        return;
    }
    nsm_exists(op->use.nsm, op->use.ns->id, request->names.items, request->names.count, on_exists,
               op);
}

void op_multi_exists(struct session *s)
{
    op_start_in_namespace(s, true, on_exists_open);
}

/* ---- info ---- */

static void on_info_looked_up(struct lookup *lookup, int rc)
{
    struct object_op *op = container_of(lookup, struct object_op, lookup);
    struct proxy_reply reply = {.code = op->session->request.code};
    const struct object *object;

    if (rc != 0) {
        op_fail(op, rc_of(rc), lookup->err.msg);
        return;
    }
    object = lookup->objects[0];
    if (object == NULL) {
        op_fail(op, PROXY_RC_OBJECT_NOT_FOUND, "object does not exist");
        return;
    }
    reply.info.size_bytes = object->manifest.size_bytes;
    reply.info.checksum = object->manifest.checksum;
    session_reply(op->session, &reply, NULL, NULL);
    op_end(op);
}

static void on_info_open(void *ctx, int rc, const struct err *e)
{
    struct object_op *op = ctx;
    const struct proxy_request *request = &op->session->request;
    struct lookup_spec spec = {.use = &op->use,
                               .names = &request->object.name,
                               .count = 1,
                               .consistent = request->consistent_read,
                               .should_cache = request->should_cache};

    if (is_open(op, rc, e)) {
        lookup_start(&op->lookup, op->session->server->engine, &spec, on_info_looked_up);
    }
}

void op_get_object_info(struct session *s)
{
    op_start_in_namespace(s, s->request.consistent_read, on_info_open);
}
