/* One request by way of the proxies, and what is learned from it: manifests that came with the
 * answer are noted under the names that were asked for or written. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "object/object_private.h"

/* May be executed twice. */
static bool is_repeatable(uint32_t code)
{
    switch (code) {
    case PROXY_CREATE_NAMESPACE:
    case PROXY_DELETE_NAMESPACE:
    case PROXY_DELETE_OBJECT:
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        return false;
    default:
        return true;
    }
}

/* ---- notes ---- */

static struct slice slice_dup(struct slice s)
{
    return slice_of(mem_dup(s.data, s.len), s.len);
}

static void note(struct object_call *c, struct slice name)
{
    struct known_objects *known = &c->client->known;
    struct object_noted *noted = &c->noted[c->noted_count++];

    noted->name = slice_dup(name);
    noted->stamp =
        c->is_write ? known_write_begin(known, c->ns, name) : known_ask(known, c->ns, name);
}

static void note_updates(struct object_call *c, const struct proxy_apply *apply)
{
    c->is_write = true;
    for (uint32_t i = 0; i < apply->update_count; i++) {
        bool before = false; /* the same name twice is one write */

        for (size_t j = 0; j < c->noted_count && !before; j++) {
            before = slice_eq(c->noted[j].name, apply->updates[i].name);
        }
        if (!before) {
            note(c, apply->updates[i].name);
        }
    }
}

static size_t notes_max(const struct proxy_request *request)
{
    switch (request->code) {
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        return request->apply.update_count;
    case PROXY_READ_SLICES2:
        return request->reads.count;
    case PROXY_READ_OBJECTS:
        return request->names.count;
    default:
        return 1;
    }
}

static void note_names(struct object_call *c, const struct proxy_request *request)
{
    c->ns = slice_dup(c->stream != NULL ? c->stream->ns : request->ns);
    c->noted = mem_array(notes_max(request) + 1, sizeof(*c->noted));
    switch (request->code) {
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        note_updates(c, &request->apply);
        break;
    case PROXY_DELETE_OBJECT:
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        c->is_write = true;
        note(c, request->object.name);
        break;
    case PROXY_APPLY_STREAM: /* any of them may be the last one */
    case PROXY_STREAM_PART:
        c->is_write = true;
        note(c, c->stream->name);
        break;
    case PROXY_READ_SLICES2:
        for (uint32_t i = 0; i < request->reads.count; i++) {
            note(c, request->reads.items[i].name);
        }
        break;
    case PROXY_READ_OBJECTS:
        for (uint32_t i = 0; i < request->names.count; i++) {
            note(c, request->names.items[i]);
        }
        break;
    default:
        break;
    }
}

struct found {
    uint64_t ns_id;
    const struct manifest *manifest; /* NULL: the answer does not tell */
    bool absent;
};

static bool has_objects(const struct object_call *c)
{
    switch (c->code) {
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        return !c->reply.wants_part;
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_READ_SLICES2:
        return true;
    default:
        return false;
    }
}

static struct found find_object(const struct object_call *c, size_t index)
{
    const struct proxy_reply *reply = &c->reply;
    struct found found = {0};

    if (c->code == PROXY_READ_OBJECTS) {
        if (index < reply->read.count) {
            found.absent = !reply->read.items[index].found;
            found.manifest = found.absent ? NULL : reply->read.items[index].manifest;
            found.ns_id = reply->read.namespace_id;
        }
        return found;
    }
    if (!has_objects(c)) {
        return found;
    }
    for (uint32_t i = 0; i < reply->objects.count; i++) {
        const struct proxy_object_info *info = &reply->objects.items[i];

        if (info->alba_id.len == 0 && slice_eq(info->name, c->noted[index].name)) {
            found.manifest = info->manifest;
            found.ns_id = info->namespace_id;
        }
    }
    return found;
}

/* NULL: nothing that could be read directly. */
static struct known_object *known_of(const struct object_call *c, const struct found *found)
{
    struct known_object *object = NULL;
    struct manifest copy;
    struct err e;

    if (found->manifest == NULL || !object_goes_direct(c->client)) {
        return NULL;
    }
    manifest_copy(&copy, found->manifest);
    if (known_object_new(found->ns_id, &copy, &object, &e) != 0) {
        manifest_release(&copy);
        return NULL;
    }
    return object;
}

static void learn(struct object_call *c, int rc)
{
    struct known_objects *known = &c->client->known;

    for (size_t i = 0; i < c->noted_count; i++) {
        struct found found = rc == 0 ? find_object(c, i) : (struct found){0};
        struct known_object *object = known_of(c, &found);

        if (c->is_write) {
            known_write_end(known, c->ns, c->noted[i].name, c->noted[i].stamp, object);
        } else if (object != NULL || found.absent || rc == ERR_NOT_FOUND) {
            known_answer(known, c->ns, c->noted[i].name, c->noted[i].stamp, object);
        }
        known_object_drop(object);
    }
    if (rc == 0 && osd_book_is_empty(c->client->book) && object_goes_direct(c->client)) {
        object_client_refresh(c->client);
    }
}

/* ---- answers ---- */

/* Of the parts of a stream only its owner knows whether they can have changed anything. */
static bool may_change(const struct object_call *c)
{
    return !c->way.repeatable && c->stream == NULL;
}

static int judge_error(struct object_call *c, int rc)
{
    const struct proxy_call *p = &c->way.proxy;
    bool in_doubt = may_change(c) && rc != ERR_ASSERT_FAILED && p->maybe_executed &&
                    (p->proxy_code == 0 || rc == ERR_IN_DOUBT);

    err_copy(&c->err, &p->err);
    c->proxy_code = p->proxy_code;
    if (in_doubt && rc != ERR_IN_DOUBT) { /* else the proxy says so */
        err_wrap(&c->err, "%s", err_text(ERR_IN_DOUBT));
    }
    return in_doubt ? (c->err.code = ERR_IN_DOUBT) : rc;
}

static void finish(struct object_call *c, int rc)
{
    struct object_client *client = c->client;
    struct proxy_reply reply;

    learn(c, rc);
    gather_release(&c->request);
    for (size_t i = 0; i < c->noted_count; i++) {
        free((void *)(uintptr_t)c->noted[i].name.data);
    }
    free(c->noted);
    free((void *)(uintptr_t)c->ns.data);
    c->noted = NULL;
    list_remove(&c->link);
    reply = c->reply;
    c->cb(c, rc); /* may free c */
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    object_client_idle(client);
}

static void on_answer(struct proxy_route_call *way, int rc)
{
    struct object_call *c = container_of(way, struct object_call, way);

    c->client->counters.proxy_tries += way->tries;
    if (rc == ERR_BUSY && way->proxy.proxy_code == PROXY_RC_BUSY &&
        proxy_route_again(way, false, &way->proxy.err)) {
        c->client->counters.proxy_tries -= way->tries; /* counted when it ends */
        return;
    }
    if (rc == 0) {
        rc = proxy_reply_decode(way->proxy.reply, c->code, &c->reply, &c->err);
        if (rc != 0 && may_change(c)) { /* it happened; what it says cannot be read */
            rc = err_set(&c->err, ERR_IN_DOUBT, "reply of the proxy");
        }
    } else {
        rc = judge_error(c, rc);
    }
    if (rc != 0 && c->stream != NULL) {
        c->stream->spread++;
    }
    finish(c, rc);
}

uint8_t *object_call_detach(struct object_call *c)
{
    return proxy_call_detach_reply(&c->way.proxy);
}

void object_call_start(struct object_client *client, struct object_call *c,
                       struct object_stream *stream, const struct proxy_request *request,
                       unsigned timeout_ms, object_call_cb cb)
{
    CHECK(!client->closing || client->busy > 0);
    *c = (struct object_call){.client = client, .stream = stream, .code = request->code, .cb = cb};
    note_names(c, request);
    proxy_request_encode(request, &c->request);
    c->way.request = &c->request;
    c->way.spread = stream != NULL ? stream->spread : client->options.spread;
    c->way.repeatable = is_repeatable(request->code);
    c->way.deadline_at = proxy_request_deadline_at(request, &c->request);
    c->way.timeout_ms = timeout_ms;
    client->busy++;
    list_push(&client->calls, &c->link);
    proxy_route_submit(stream != NULL ? stream->route : client->route, &c->way, on_answer);
}

void object_client_call(struct object_client *client, struct object_call *c,
                        const struct proxy_request *request, unsigned timeout_ms, object_call_cb cb)
{
    object_call_start(client, c, NULL, request, timeout_ms, cb);
}

void object_call_cancel(struct object_call *c)
{
    proxy_route_cancel(&c->way);
}
