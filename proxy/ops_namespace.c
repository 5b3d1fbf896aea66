/* Namespaces: answered from a fresh view of the registry, so that a namespace another
 * proxy has just made or deleted is seen. */
#include <stdlib.h>

#include "base/mem.h"
#include "proxy/ops.h"
#include "proxy/rc.h"

static struct registry *registry_of(struct session *s)
{
    return s->server->engine->registry;
}

static const struct registry_view *view_of(struct session *s)
{
    return registry_view(registry_of(s));
}

static struct slice name_of(const struct registry_namespace *ns)
{
    return slice_str(ns->name);
}

/* ---- list ---- */

/* Is `name` within the range, seen from `first` towards `last`? */
static bool is_behind_first(const struct proxy_range *range, struct slice name)
{
    int order = slice_cmp(name, range->first);

    if (order == 0) {
        return range->first_included;
    }
    return range->reverse ? order < 0 : order > 0;
}

static bool is_before_last(const struct proxy_range *range, struct slice name)
{
    int order;

    if (!range->has_last) {
        return true;
    }
    order = slice_cmp(name, range->last);
    if (order == 0) {
        return range->last_included;
    }
    return range->reverse ? order > 0 : order < 0;
}

static uint32_t range_max(const struct proxy_range *range)
{
    return range->max < 0 || range->max > PROXY_RANGE_MAX ? PROXY_RANGE_MAX : (uint32_t)range->max;
}

static void list(struct session *s)
{
    const struct proxy_range *range = &s->request.range;
    const struct registry_view *view = view_of(s);
    size_t count = registry_view_namespace_count(view);
    size_t at = registry_view_namespace_lower_bound(view, range->first.data, range->first.len);
    uint32_t max = range_max(range);
    struct proxy_namespace *items = mem_array(max + 1, sizeof(*items));
    struct proxy_reply reply = {.code = s->request.code, .namespaces = {.items = items}};

    if (range->reverse) {
        at = at < count ? at + 1 : count; /* the next to look at is at - 1 */
    }
    while (range->reverse ? at > 0 : at < count) {
        const struct registry_namespace *ns =
            registry_view_namespace(view, range->reverse ? --at : at++);

        if (ns->state == REGISTRY_NS_CREATING || !is_behind_first(range, name_of(ns))) {
            continue;
        }
        if (!is_before_last(range, name_of(ns))) {
            break;
        }
        if (reply.namespaces.count == max) {
            reply.namespaces.more = true;
            break;
        }
        items[reply.namespaces.count++] =
            (struct proxy_namespace){.name = name_of(ns), .preset = slice_str(ns->preset)};
    }
    session_reply(s, &reply, NULL, NULL);
    free(items);
}

static void on_list_refreshed(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    if (rc != 0) {
        session_fail(s, rc_of(rc), e->msg);
    } else {
        list(s);
    }
}

void op_list_namespaces(struct session *s)
{
    registry_refresh(registry_of(s), on_list_refreshed, s);
}

/* ---- exists ---- */

static const struct registry_namespace *find(struct session *s)
{
    const struct registry_namespace *ns =
        registry_view_namespace_find(view_of(s), s->request.ns.data, s->request.ns.len);

    return ns != NULL && ns->state != REGISTRY_NS_CREATING ? ns : NULL;
}

static void on_exists_refreshed(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    if (rc != 0) {
        session_fail(s, rc_of(rc), e->msg);
        return;
    }
    session_reply(s, &(struct proxy_reply){.code = s->request.code, .yes = find(s) != NULL}, NULL,
                  NULL);
}

void op_namespace_exists(struct session *s)
{
    registry_refresh(registry_of(s), on_exists_refreshed, s);
}

/* ---- create, delete ---- */

/* The registry takes text; a name with a zero byte in it is none. NULL: refused. */
static char *text_of(struct slice name)
{
    char *text;

    if (name.len == 0 || name.len > REGISTRY_NAME_BYTES_MAX ||
        memchr(name.data, 0, name.len) != NULL) {
        return NULL;
    }
    text = mem_alloc(name.len + 1);
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    return text;
}

/* A change of the registry, once begun, cannot be called off. */
static bool always(struct session *s)
{
    (void)s;
    return true;
}

static void on_created(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    switch (rc) {
    case 0:
        session_reply_unit(s);
        break;
    case ERR_EXISTS:
        session_fail(s, PROXY_RC_NAMESPACE_EXISTS, e->msg);
        break;
    case ERR_NOT_FOUND:
        session_fail(s, PROXY_RC_PRESET_NOT_FOUND, e->msg);
        break;
    default:
        session_fail(s, rc_of(rc), e->msg);
        break;
    }
}

void op_create_namespace(struct session *s)
{
    char *name = text_of(s->request.ns);
    char *preset = s->request.create.has_preset ? text_of(s->request.create.preset) : NULL;

    if (name == NULL) {
        session_fail(s, PROXY_RC_BAD_ARGUMENT, "a namespace's name has 1 to 1024 bytes, none zero");
    } else if (preset == NULL && s->request.create.has_preset) {
        session_fail(s, PROXY_RC_PRESET_NOT_FOUND, "no preset has such a name");
    } else {
        s->is_in_doubt = always;
        registry_namespace_create(registry_of(s), name, preset, on_created, s);
    }
    free(name);
    free(preset);
}

static void on_deleted(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    if (rc == 0) {
        session_reply_unit(s);
    } else if (rc == ERR_NOT_FOUND) {
        session_fail(s, PROXY_RC_NAMESPACE_NOT_FOUND, e->msg);
    } else {
        session_fail(s, rc == UV_ECANCELED ? PROXY_RC_TIMED_OUT : rc_of(rc), e->msg);
    }
}

static bool is_wanted(void *session)
{
    return session_is_wanted(session);
}

static void drop_cached(struct session *s)
{
    const struct registry_namespace *ns = find(s);

    if (ns != NULL) {
        manifest_cache_remove_namespace(&s->server->engine->manifests, ns->id);
        block_cache_remove_namespace(&s->server->engine->blocks, ns->id);
        epochs_forget(&s->server->engine->epochs, ns->id);
    }
}

void op_delete_namespace(struct session *s)
{
    char *name = text_of(s->request.ns);

    if (name == NULL) {
        session_fail(s, PROXY_RC_NAMESPACE_NOT_FOUND, "no namespace has such a name");
        return;
    }
    drop_cached(s);
    s->is_in_doubt = always;
    registry_namespace_delete_while(registry_of(s), name, is_wanted, on_deleted, s);
    free(name);
}

/* ---- caches ---- */

/* Of a namespace that does not exist nothing is cached under a live name: fine, too. */
static void on_drop_refreshed(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    drop_cached(s);
    if (rc != 0) {
        session_fail(s, rc_of(rc), e->msg);
    } else {
        session_reply_unit(s);
    }
}

void op_drop_cache(struct session *s)
{
    registry_refresh(registry_of(s), on_drop_refreshed, s);
}
