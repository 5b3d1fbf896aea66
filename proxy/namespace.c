#include "proxy/namespace.h"

#include "base/check.h"

/* `ret_use` is untouched on failure. */
static int find(struct engine *engine, struct slice name, struct ns_use *ret_use, struct err *e)
{
    const struct registry_view *view = registry_view(engine->registry);
    struct ns_use use;
    int rc;

    use.ns = registry_view_namespace_find(view, name.data, name.len);
    if (use.ns != NULL && use.ns->state == REGISTRY_NS_LOST) {
        return err_say(e, ERR_LOST,
                       "namespace %s is lost: its manifests went with the metadata; from a backup "
                       "of that, alba restore-metadata brings it back",
                       use.ns->name);
    }
    if (use.ns == NULL || use.ns->state != REGISTRY_NS_ACTIVE) {
        return err_set(e, ERR_NOT_FOUND, "namespace %.*s", name.len < 200 ? (int)name.len : 200,
                       (const char *)name.data);
    }
    use.preset = registry_view_preset_find(view, use.ns->preset);
    if (use.preset == NULL) {
        return err_set(e, ERR_CORRUPT, "registry: namespace %s: preset %s is missing", use.ns->name,
                       use.ns->preset);
    }
    rc = registry_nsm(engine->registry, use.ns->nsm_host, &use.nsm, e);
    if (rc != 0) {
        return err_wrap(e, "namespace %s", use.ns->name);
    }
    use.view = registry_view_hold(view);
    *ret_use = use;
    return 0;
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct ns_open *open = ctx;
    struct err why;

    if (rc != 0) {
        open->cb(open->ctx, rc, e);
        return;
    }
    rc = find(open->engine, open->name, open->ret_use, &why);
    open->cb(open->ctx, rc, &why);
}

static void on_later(struct later_item *item)
{
    struct ns_open *open = container_of(item, struct ns_open, later);
    struct err e;
    int rc = find(open->engine, open->name, open->ret_use, &e);

    if (rc == ERR_NOT_FOUND) {
        registry_refresh(open->engine->registry, on_refreshed, open);
        return;
    }
    open->cb(open->ctx, rc, &e);
}

void ns_open(struct ns_open *open)
{
    if (open->fresh) {
        registry_refresh(open->engine->registry, on_refreshed, open);
    } else {
        later_run(&open->engine->later, &open->later, on_later);
    }
}

void ns_drop(struct ns_use *use)
{
    registry_view_drop(use->view);
    *use = (struct ns_use){0};
}
