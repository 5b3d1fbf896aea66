/* Verbs about objects, each as itself (through a private proxy) and as proxy-* twin. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alba/download.h"
#include "alba/manifest_json.h"
#include "alba/output.h"
#include "alba/target.h"
#include "alba/upload.h"
#include "alba/verb.h"
#include "meta/nsm.h"

enum { NSM_OBJECT_NOT_FOUND = 6 }; /* as of nsm_exn in older software */

/* A proxy answers some codes with the name alone: what the verb says. */
static int tell(struct cli *cli, const char *name, int rc)
{
    switch (rc != 0 ? cli->exception_code : PROXY_RC_OK) {
    case PROXY_RC_OVERWRITE_NOT_ALLOWED:
    case PROXY_RC_ASSERT_FAILED: /* the only assert of these verbs: it is absent */
        err_say(&cli->err, ERR_EXISTS, "object '%s' exists already; --allow-overwrite replaces it",
                name);
        cli->exception_code = PROXY_RC_OVERWRITE_NOT_ALLOWED;
        break;
    case PROXY_RC_OBJECT_NOT_FOUND:
        err_say(&cli->err, ERR_NOT_FOUND, "object '%s' does not exist", name);
        break;
    default:
        if (rc != 0 && strstr(cli->err.msg, name) == NULL) {
            err_wrap(&cli->err, "object '%.80s'", name);
        }
        break;
    }
    return rc;
}

/* ---- upload, download ---- */

static int run_upload(struct cli *cli)
{
    char *path = realpath(cli_arg(cli, 1), NULL);
    struct target t;
    struct stat st;
    int rc;

    if (cli_arg(cli, 2)[0] == '\0') {
        free(path);
        return err_say(&cli->err, -EINVAL, "NAME is empty: what shall the object be called?");
    }
    if (path == NULL || stat(path, &st) != 0) {
        rc = err_set(&cli->err, -errno, "file %s", cli_arg(cli, 1));
        free(path);
        return rc;
    }
    if (!S_ISREG(st.st_mode)) {
        free(path);
        return err_say(&cli->err, -EINVAL, "%s is not a regular file", cli_arg(cli, 1));
    }
    rc = target_open(&t, cli);
    if (rc == 0) {
        const struct upload upload = {.ns = cli_arg(cli, 0),
                                      .name = cli_arg(cli, 2),
                                      .path = path,
                                      .bytes = (uint64_t)st.st_size,
                                      .allow_overwrite = cli_flag(cli, "allow-overwrite")};

        rc = tell(cli, upload.name, upload_object(&t, cli, &upload));
    }
    target_close(&t);
    free(path);
    return rc;
}

static int run_download(struct cli *cli)
{
    struct target t;
    int rc = target_open(&t, cli);

    rc = rc != 0
             ? rc
             : tell(cli, cli_arg(cli, 1),
                    download_object(&t, cli, cli_arg(cli, 0), cli_arg(cli, 1), cli_arg(cli, 2)));
    target_close(&t);
    return rc;
}

/* ---- delete, list, show ---- */

static int run_delete(struct cli *cli)
{
    struct proxy_request request = {.code = PROXY_DELETE_OBJECT,
                                    .ns = slice_str(cli_arg(cli, 0)),
                                    .object = {.name = slice_str(cli_arg(cli, 1))}};
    struct proxy_reply reply;
    struct target t;
    int rc = target_open(&t, cli);

    if (rc == 0) {
        rc = tell(cli, cli_arg(cli, 1), target_call(&t, cli, &request, TARGET_TIMEOUT_MS, &reply));
    }
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    target_close(&t);
    return rc;
}

static void list_add(struct cli *cli, struct slice name, json_t *escaped)
{
    bool is_escaped;
    json_t *text = output_name(name, &is_escaped);

    if (is_escaped) {
        json_array_append_new(escaped, json_integer((json_int_t)json_array_size(cli->result)));
    }
    json_array_append_new(cli->result, text);
}

/* Pages of one list until `max` (< 0: all) names are there; `escaped`: which of them are. */
static int list_pages(struct target *t, struct cli *cli, int64_t max, json_t *escaped,
                      bool *ret_more)
{
    struct proxy_request request = {.code = PROXY_LIST_OBJECTS, .ns = slice_str(cli_arg(cli, 0))};
    struct buf from = {0}; /* any bytes: a name may hold zeroes */
    struct proxy_reply reply;
    int rc;

    request.range.reverse = cli_flag(cli, "reverse");
    if (request.range.reverse && !cli_flag(cli, "first")) { /* no name is greater than this */
        memset(buf_extend(&from, MANIFEST_NAME_BYTES_MAX), 0xff, MANIFEST_NAME_BYTES_MAX);
    } else {
        buf_put(&from, cli_option(cli, "first"), strlen(cli_option(cli, "first")));
    }
    request.range.first_included = true;
    do {
        int64_t left = max < 0 ? -1 : max - (int64_t)json_array_size(cli->result);

        request.range.first = slice_buf(&from);
        request.range.max = left < 0 || left > PROXY_RANGE_MAX ? -1 : (int32_t)left;
        rc = target_call(t, cli, &request, TARGET_TIMEOUT_MS, &reply);
        if (rc != 0) {
            break;
        }
        for (uint32_t i = 0; i < reply.names.count; i++) {
            list_add(cli, reply.names.items[i], escaped);
        }
        if (reply.names.count != 0) {
            struct slice last = reply.names.items[reply.names.count - 1];

            from.len = 0;
            buf_put(&from, last.data, last.len);
        }
        *ret_more = reply.names.more;
        proxy_reply_release(&reply);
        request.range.first_included = false;
    } while (*ret_more && (max < 0 || (int64_t)json_array_size(cli->result) < max));
    buf_release(&from);
    return rc;
}

static int run_list(struct cli *cli)
{
    bool more = false;
    json_t *escaped;
    struct target t;
    int64_t max;
    int rc = cli_number(cli, "max", -1, INT64_MAX, &max);

    cli->result = json_array();
    if (rc != 0) {
        return rc;
    }
    escaped = json_array();
    rc = target_open(&t, cli);
    rc = rc != 0 ? rc : list_pages(&t, cli, max, escaped, &more);
    target_close(&t);
    if (rc == 0) {
        json_t *names = cli->result;

        cli->result = json_pack("{s:b, s:I, s:o}", "have_more", more, "n",
                                (json_int_t)json_array_size(names), "objects", names);
        if (json_array_size(escaped) != 0) {
            json_object_set(cli->result, "escaped", escaped);
        }
    }
    json_decref(escaped);
    return rc;
}

static void show_list(const struct cli *cli)
{
    size_t index;
    json_t *name;

    json_array_foreach(json_object_get(cli->result, "objects"), index, name)
    {
        puts(json_string_value(name));
    }
    if (json_object_get(cli->result, "escaped") != NULL) {
        fprintf(stderr, "names that are not UTF-8 are shown with \\xNN for some bytes: %zu\n",
                json_array_size(json_object_get(cli->result, "escaped")));
    }
    if (json_is_true(json_object_get(cli->result, "have_more"))) {
        fprintf(stderr, "there are more; --max=-1 lists all\n");
    }
}

static void on_manifest(void *ctx, int rc, struct nsm_reply *reply)
{
    struct cli *cli = ((void **)ctx)[0];

    if (rc == 0 && reply->objects[0].damage != 0) {
        rc = err_say(&reply->err, reply->objects[0].damage,
                     "the metadata of object '%s' cannot be read", cli_arg(cli, 1));
    } else if (rc == 0 && !reply->objects[0].found) {
        rc = err_say(&reply->err, ERR_NOT_FOUND, "object '%s' does not exist", cli_arg(cli, 1));
    }
    if (rc == 0) {
        cli->result = manifest_json(&reply->objects[0].manifest);
        rc = cli->result != NULL ? 0 : err_say(&reply->err, -EINVAL, "the name is not UTF-8");
    }
    session_done(((void **)ctx)[1], rc, &reply->err);
}

static int run_show(struct cli *cli)
{
    const struct registry_namespace *ns = NULL;
    struct slice name = slice_str(cli_arg(cli, 1));
    struct nsm *nsm;
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        ns = registry_view_namespace_find(registry_view(s.registry), cli_arg(cli, 0),
                                          strlen(cli_arg(cli, 0)));
        rc = ns != NULL
                 ? registry_nsm(s.registry, ns->nsm_host, &nsm, &s.err)
                 : err_say(&s.err, ERR_NOT_FOUND, "namespace '%s' does not exist", cli_arg(cli, 0));
        if (rc == 0) {
            nsm_get(nsm, ns->id, &name, 1, on_manifest, (void *[]){cli, &s});
            rc = session_wait(&s);
        }
        if (rc != 0) {
            session_fail_mgr(&s, cli, ns == NULL ? MGR_NAMESPACE_NOT_FOUND : MGR_UNKNOWN);
        }
        if (rc == ERR_NOT_FOUND && ns != NULL) {
            cli->exception_type = "nsm_exn";
            cli->exception_code = NSM_OBJECT_NOT_FOUND;
        }
    }
    session_close(&s);
    return rc;
}

static void show_manifest(const struct cli *cli)
{
    manifest_show(cli->result);
}

#define LIST_OPTIONS                                                                               \
    {.name = "first", .arg = "NAME", .value_default = "", .help = "begin here"},                   \
        {.name = "max", .arg = "N", .value_default = "100", .help = "at most so many; -1: all"},   \
    {                                                                                              \
        .name = "reverse", .help = "from the end"                                                  \
    }
#define UPLOAD_OPTION                                                                              \
    {                                                                                              \
        .name = "allow-overwrite", .help = "replace an object of that name"                        \
    }

const struct verb object_verbs[] = {
    {.name = "upload-object",
     .group = "Objects",
     .positionals = "NAMESPACE FILE NAME",
     .summary = "store a file as an object",
     .options = {UPLOAD_OPTION},
     .run = run_upload,
     .wants_registry = true},
    {.name = "download-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME FILE",
     .summary = "read an object into a file, verified",
     .run = run_download,
     .wants_registry = true},
    {.name = "delete-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME",
     .summary = "delete an object",
     .run = run_delete,
     .wants_registry = true},
    {.name = "list-objects",
     .group = "Objects",
     .positionals = "NAMESPACE",
     .summary = "list the names in a namespace",
     .options = {LIST_OPTIONS},
     .run = run_list,
     .show = show_list,
     .wants_registry = true},
    {.name = "show-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME",
     .summary = "print an object's manifest: where its fragments are",
     .run = run_show,
     .show = show_manifest,
     .wants_registry = true},
    {.name = NULL},
};

const struct verb proxy_object_verbs[] = {
    {.name = "proxy-upload-object",
     .group = "Proxy",
     .positionals = "NAMESPACE FILE NAME",
     .summary = "the same as upload-object, through a running proxy",
     .options = {TARGET_OPTIONS, UPLOAD_OPTION},
     .run = run_upload},
    {.name = "proxy-download-object",
     .group = "Proxy",
     .positionals = "NAMESPACE NAME FILE",
     .summary = "the same as download-object",
     .options = {TARGET_OPTIONS},
     .run = run_download},
    {.name = "proxy-delete-object",
     .group = "Proxy",
     .positionals = "NAMESPACE NAME",
     .summary = "the same as delete-object",
     .options = {TARGET_OPTIONS},
     .run = run_delete},
    {.name = "proxy-list-objects",
     .group = "Proxy",
     .positionals = "NAMESPACE",
     .summary = "the same as list-objects",
     .options = {TARGET_OPTIONS, LIST_OPTIONS},
     .run = run_list,
     .show = show_list},
    {.name = NULL},
};
