/* Verbs about namespaces, as themselves and as proxy-* twins; other proxy verbs. */
#include <stdio.h>
#include <string.h>

#include "alba/ask.h"
#include "alba/output.h"
#include "alba/target.h"
#include "alba/verb.h"
#include "alba/walk.h"

static int run_create(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        registry_namespace_create(s.registry, cli_arg(cli, 0), cli_arg(cli, 1), session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli,
                             rc == ERR_EXISTS      ? MGR_NAMESPACE_EXISTS
                             : rc == ERR_NOT_FOUND ? MGR_PRESET_NOT_FOUND
                                                   : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static int run_delete(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        registry_namespace_delete(s.registry, cli_arg(cli, 0), session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli, rc == ERR_NOT_FOUND ? MGR_NAMESPACE_NOT_FOUND : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static json_t *namespace_json(const struct registry_namespace *ns)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)ns->id, "name", ns->name,
                     "nsm_host_id", ns->nsm_host, "state", registry_namespace_state_text(ns->state),
                     "preset_name", ns->preset);
}

static int run_list(struct cli *cli)
{
    struct walk w = {0};
    struct session s;
    int rc = session_open(&s, cli);
    const struct registry_view *view;
    size_t count;

    cli->result = json_array();
    rc = rc != 0 ? rc : walk_init(&w, cli, REGISTRY_NAME_BYTES_MAX);
    view = rc == 0 ? registry_view(s.registry) : NULL;
    count = view != NULL ? registry_view_namespace_count(view) : 0;
    for (size_t i = 0; i < count; i++) {
        const struct registry_namespace *ns =
            registry_view_namespace(view, w.reverse ? count - 1 - i : i);

        if (walk_takes(&w, slice_str(ns->name))) {
            json_array_append_new(cli->result, namespace_json(ns));
        }
    }
    walk_release(&w);
    session_close(&s);
    return rc;
}

static void show_namespaces(const struct cli *cli)
{
    output_table(cli->result, "id=id name=name preset=preset_name state=state host=nsm_host_id");
}

/* ---- through a proxy ---- */

static int run_proxy_create(struct cli *cli)
{
    const char *preset = cli_arg(cli, 1);
    struct proxy_request request = {.code = PROXY_CREATE_NAMESPACE,
                                    .ns = slice_str(cli_arg(cli, 0))};

    if (preset != NULL) {
        request.create.preset = slice_str(preset);
        request.create.has_preset = true;
    }
    return ask_proxy(cli, &request, NULL);
}

static int run_proxy_delete(struct cli *cli)
{
    return ask_proxy(
        cli,
        &(struct proxy_request){.code = PROXY_DELETE_NAMESPACE, .ns = slice_str(cli_arg(cli, 0))},
        NULL);
}

static json_t *is_one(const struct proxy_reply *reply)
{
    return json_boolean(reply->namespaces.count == 1);
}

/* A proxy forgets what it never had as well: a mistyped name is told here. */
static int run_proxy_invalidate(struct cli *cli)
{
    const struct slice name = slice_str(cli_arg(cli, 0));
    const struct proxy_request find = {.code = PROXY_LIST_NAMESPACES,
                                       .range = {.first = name,
                                                 .first_included = true,
                                                 .has_last = true,
                                                 .last = name,
                                                 .last_included = true,
                                                 .max = 1}};
    const struct proxy_request forget = {.code = PROXY_INVALIDATE_CACHE, .ns = name};
    int rc = ask_proxy(cli, &find, is_one);

    if (rc == 0 && !json_is_true(cli->result)) {
        cli->exception_type = "proxy_exn";
        cli->exception_code = PROXY_RC_NAMESPACE_NOT_FOUND;
        rc =
            err_say(&cli->err, ERR_NOT_FOUND, "namespace '%.100s' does not exist", cli_arg(cli, 0));
    }
    cli->result = NULL; /* true and false are nobody's to release */
    return rc != 0 ? rc : ask_proxy(cli, &forget, NULL);
}

static int list_names(struct target *t, struct cli *cli, struct walk *w)
{
    bool goes_on;

    do {
        struct proxy_request request = {.code = PROXY_LIST_NAMESPACES,
                                        .range = walk_proxy_range(w)};
        struct slice last = w->first;
        struct proxy_reply reply;
        int rc = target_call(t, cli, &request, TARGET_TIMEOUT_MS, &reply);

        if (rc != 0) {
            return rc;
        }
        for (uint32_t i = 0; i < reply.namespaces.count; i++) {
            last = reply.namespaces.items[i].name;
            json_array_append_new(cli->result, json_stringn((const char *)last.data, last.len));
        }
        goes_on = walk_goes_on(w, reply.namespaces.count, last, reply.namespaces.more);
        proxy_reply_release(&reply);
    } while (goes_on);
    return 0;
}

static int run_proxy_list(struct cli *cli)
{
    struct walk w = {0};
    struct target t;
    int rc = target_open(&t, cli);

    cli->result = json_array();
    rc = rc != 0 ? rc : walk_init(&w, cli, REGISTRY_NAME_BYTES_MAX);
    rc = rc != 0 ? rc : list_names(&t, cli, &w);
    walk_release(&w);
    target_close(&t);
    return rc;
}

static void show_names(const struct cli *cli)
{
    size_t index;
    json_t *name;

    json_array_foreach(cli->result, index, name)
    {
        output_line(json_string_value(name));
    }
}

static int run_proxy_version(struct cli *cli)
{
    const struct proxy_request request = {.code = PROXY_GET_VERSION};
    struct proxy_reply reply;
    struct target t;
    int rc = target_open(&t, cli);

    if (rc == 0) {
        rc = target_call(&t, cli, &request, TARGET_TIMEOUT_MS, &reply);
    }
    if (rc == 0) {
        cli->result = json_pack("[i, i, i, s%]", reply.version.major, reply.version.minor,
                                reply.version.patch, (const char *)reply.version.hash.data,
                                reply.version.hash.len);
        proxy_reply_release(&reply);
    }
    target_close(&t);
    return rc;
}

static void show_version(const struct cli *cli)
{
    printf("%lld.%lld.%lld %s\n", json_integer_value(json_array_get(cli->result, 0)),
           json_integer_value(json_array_get(cli->result, 1)),
           json_integer_value(json_array_get(cli->result, 2)),
           json_string_value(json_array_get(cli->result, 3)));
}

const struct verb namespace_verbs[] = {
    {.name = "create-namespace",
     .group = "Namespaces",
     .positionals = "NAME [PRESET]",
     .summary = "make a namespace for objects",
     .run = run_create,
     .wants_registry = true},
    {.name = "delete-namespace",
     .group = "Namespaces",
     .positionals = "NAME",
     .summary = "delete a namespace and all that is in it",
     .run = run_delete,
     .wants_registry = true},
    {.name = "list-namespaces",
     .group = "Namespaces",
     .summary = "list the namespaces",
     .options = {WALK_OPTIONS("NAME", "-1")},
     .run = run_list,
     .show = show_namespaces,
     .wants_registry = true},
    {.name = NULL},
};

const struct verb proxy_verbs[] = {
    {.name = "proxy-create-namespace",
     .group = "Proxy",
     .positionals = "NAME [PRESET]",
     .summary = "the same as create-namespace, through a running proxy",
     .options = {TARGET_OPTIONS},
     .run = run_proxy_create},
    {.name = "proxy-delete-namespace",
     .group = "Proxy",
     .positionals = "NAME",
     .summary = "the same as delete-namespace",
     .options = {TARGET_OPTIONS},
     .run = run_proxy_delete},
    {.name = "proxy-list-namespaces",
     .group = "Proxy",
     .summary = "the same as list-namespaces",
     .options = {TARGET_OPTIONS, WALK_OPTIONS("NAME", "-1")},
     .run = run_proxy_list,
     .show = show_names},
    {.name = "proxy-invalidate-cache",
     .group = "Proxy",
     .positionals = "NAMESPACE",
     .summary = "let a proxy forget the manifests of a namespace",
     .options = {TARGET_OPTIONS},
     .run = run_proxy_invalidate},
    {.name = "proxy-get-version",
     .group = "Proxy",
     .summary = "ask a proxy for its version",
     .options = {TARGET_OPTIONS},
     .run = run_proxy_version,
     .show = show_version},
    {.name = NULL},
};
