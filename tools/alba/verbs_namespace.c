/* Verbs about namespaces, as themselves and as proxy-* twins; other proxy verbs. */
#include <stdio.h>
#include <string.h>

#include "alba/ask.h"
#include "alba/output.h"
#include "alba/target.h"
#include "alba/verb.h"

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

static int run_list(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);
    const struct registry_view *view = rc == 0 ? registry_view(s.registry) : NULL;

    cli->result = json_array();
    for (size_t i = 0; view != NULL && i < registry_view_namespace_count(view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(view, i);

        json_array_append_new(cli->result,
                              json_pack("{s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)ns->id,
                                        "name", ns->name, "nsm_host_id", ns->nsm_host, "state",
                                        registry_namespace_state_text(ns->state), "preset_name",
                                        ns->preset));
    }
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

static int run_proxy_invalidate(struct cli *cli)
{
    return ask_proxy(
        cli,
        &(struct proxy_request){.code = PROXY_INVALIDATE_CACHE, .ns = slice_str(cli_arg(cli, 0))},
        NULL);
}

static int run_proxy_list(struct cli *cli)
{
    struct proxy_request request = {.code = PROXY_LIST_NAMESPACES,
                                    .range = {.first_included = true, .max = -1}};
    char last[REGISTRY_NAME_BYTES_MAX + 1] = "";
    struct proxy_reply reply;
    bool more = false;
    struct target t;
    int rc = target_open(&t, cli);

    cli->result = json_array();
    while (rc == 0) {
        request.range.first = slice_str(last);
        rc = target_call(&t, cli, &request, TARGET_TIMEOUT_MS, &reply);
        if (rc != 0) {
            break;
        }
        for (uint32_t i = 0; i < reply.namespaces.count; i++) {
            struct slice name = reply.namespaces.items[i].name;

            json_array_append_new(cli->result, json_stringn((const char *)name.data, name.len));
            snprintf(last, sizeof last, "%.*s", (int)name.len, (const char *)name.data);
        }
        more = reply.namespaces.more && reply.namespaces.count != 0;
        proxy_reply_release(&reply);
        request.range.first_included = false;
        if (!more) {
            break;
        }
    }
    target_close(&t);
    return rc;
}

static void show_names(const struct cli *cli)
{
    size_t index;
    json_t *name;

    json_array_foreach(cli->result, index, name)
    {
        puts(json_string_value(name));
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
     .options = {TARGET_OPTIONS},
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
