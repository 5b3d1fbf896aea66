/* Reads of data. Replies borrow the bytes that were read: a struct get lives until they
 * were sent. */
#include <stdlib.h>

#include "base/mem.h"
#include "proxy/fs_get.h"
#include "proxy/get.h"
#include "proxy/ops.h"

struct read_op {
    struct session *session;
    struct get *get;
    struct get_item *items; /* owned */
};

static void read_op_free(void *ctx)
{
    struct read_op *op = ctx;

    get_free(op->get);
    free(op->items);
    free(op);
}

static void on_cancel(struct session *s)
{
    struct read_op *op = s->op;

    get_cancel(op->get);
}

static void fail(struct read_op *op)
{
    session_fail(op->session, get_proxy_rc(op->get), get_err(op->get)->msg);
    read_op_free(op);
}

static bool is_too_many(struct session *s, uint32_t count)
{
    if (count > GET_OBJECTS_MAX) {
        session_fail(s, PROXY_RC_TOO_LARGE, "too many objects in one request");
        return true;
    }
    return false;
}

/* ---- slices ---- */

static void on_slices(void *ctx, struct get *get, int rc)
{
    struct read_op *op = ctx;
    struct session *s = op->session;
    uint32_t count = s->request.reads.count;
    struct slice data = get_all_data(get);
    struct proxy_object_info *infos;
    struct proxy_reply reply = {.code = s->request.code,
                                .objects = {.parts = &data, .part_count = 1}};

    op->get = get;
    if (rc != 0) {
        fail(op);
        return;
    }
    infos = mem_array(count + 1, sizeof(*infos));
    for (uint32_t i = 0; i < count && s->request.code == PROXY_READ_SLICES2; i++) {
        struct object *object = get_object(get, i);

        infos[reply.objects.count++] = (struct proxy_object_info){.name = object->manifest.name,
                                                                  .namespace_id = get_ns_id(get),
                                                                  .manifest = &object->manifest};
    }
    reply.objects.items = infos;
    session_reply(s, &reply, read_op_free, op);
    free(infos);
}

void op_read_slices(struct session *s)
{
    const struct proxy_request *request = &s->request;
    struct read_op *op;
    struct get_spec spec = {.ns = request->ns,
                            .count = request->reads.count,
                            .consistent = request->consistent_read,
                            .should_cache = true,
                            .is_partial = true};

    if (is_too_many(s, request->reads.count)) {
        return;
    }
    op = mem_zalloc(sizeof(*op));
    op->session = s;
    op->items = mem_array(request->reads.count + 1, sizeof(*op->items));
    for (uint32_t i = 0; i < request->reads.count; i++) {
        const struct proxy_object_slices *asked = &request->reads.items[i];
        static const struct proxy_slice none;

        op->items[i] = (struct get_item){.name = asked->name,
                                         .slices = asked->slice_count > 0 ? asked->slices : &none,
                                         .slice_count = asked->slice_count};
    }
    spec.items = op->items;
    s->op = op;
    s->cancel = on_cancel;
    op->get = get_start(s->server->engine, &spec, on_slices, op);
}

/* ---- whole objects ---- */

static void on_objects(void *ctx, struct get *get, int rc)
{
    struct read_op *op = ctx;
    struct session *s = op->session;
    uint32_t count = s->request.names.count;
    struct proxy_object *objects;
    struct proxy_reply reply = {.code = s->request.code};

    op->get = get;
    if (rc != 0) {
        fail(op);
        return;
    }
    objects = mem_array(count + 1, sizeof(*objects));
    for (uint32_t i = 0; i < count; i++) {
        struct object *object = get_object(get, i);

        if (object != NULL) {
            objects[i] = (struct proxy_object){
                .found = true, .manifest = &object->manifest, .data = get_data(get, i)};
        }
    }
    reply.read.namespace_id = get_ns_id(get);
    reply.read.items = objects;
    reply.read.count = count;
    session_reply(s, &reply, read_op_free, op);
    free(objects);
}

void op_read_objects(struct session *s)
{
    const struct proxy_request *request = &s->request;
    struct read_op *op;
    struct get_spec spec = {.ns = request->ns,
                            .count = request->names.count,
                            .consistent = request->consistent_read,
                            .should_cache = request->should_cache,
                            .missing_ok = true};

    if (is_too_many(s, request->names.count)) {
        return;
    }
    op = mem_zalloc(sizeof(*op));
    op->session = s;
    op->items = mem_array(request->names.count + 1, sizeof(*op->items));
    for (uint32_t i = 0; i < request->names.count; i++) {
        op->items[i].name = request->names.items[i];
    }
    spec.items = op->items;
    s->op = op;
    s->cancel = on_cancel;
    op->get = get_start(s->server->engine, &spec, on_objects, op);
}

/* ---- into a file ---- */

static void on_fs_cancel(struct session *s)
{
    fs_get_cancel(s->op);
}

static bool is_fs_in_doubt(struct session *s)
{
    return fs_get_is_in_doubt(s->op);
}

static void on_fs_done(void *ctx, struct fs_get *get, int rc)
{
    struct session *s = ctx;

    if (rc == 0) {
        session_reply_unit(s);
    } else {
        session_fail(s, fs_get_proxy_rc(get), fs_get_err(get)->msg);
    }
}

void op_read_object_fs(struct session *s)
{
    const struct proxy_request *request = &s->request;
    struct fs_get_spec spec = {.ns = request->ns,
                               .name = request->object.name,
                               .path = request->object.file,
                               .fs = session_fs_rules(s),
                               .consistent = request->consistent_read,
                               .should_cache = request->should_cache};

    if (spec.fs == NULL) {
        session_fail(s, PROXY_RC_UNKNOWN,
                     "file commands are allowed only over a unix socket or from this machine");
        return;
    }
    s->cancel = on_fs_cancel;
    s->is_in_doubt = is_fs_in_doubt;
    s->op = fs_get_start(s->server->engine, &spec, on_fs_done, s);
}
