/* Verbs about objects, each as itself (through a private proxy) and as proxy-* twin. */
#include <errno.h>
#include <fcntl.h>
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
#include "alba/walk.h"
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
        if (rc == ERR_IN_DOUBT || (rc != 0 && strstr(cli->err.msg, name) == NULL)) {
            err_wrap(&cli->err, "object '%.80s'", name);
        }
        break;
    }
    return rc;
}

/* ---- upload, download ---- */

/* A file whose size is not told, such as those in /proc: it would be stored empty. */
static bool is_of_unknown_size(const char *path, const struct stat *st)
{
    int fd = st->st_size == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char byte;
    bool has_some = fd >= 0 && read(fd, &byte, 1) == 1;

    if (fd >= 0) {
        close(fd);
    }
    return has_some;
}

static int run_upload(struct cli *cli)
{
    char *path = realpath(cli_arg(cli, 1), NULL);
    struct buf name = {0};
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
    if (is_of_unknown_size(path, &st)) {
        free(path);
        return err_say(&cli->err, -EINVAL,
                       "%s does not tell its size, as files of /proc; store a copy of it",
                       cli_arg(cli, 1));
    }
    rc = target_open(&t, cli);
    rc = rc != 0 ? rc : cli_bytes(cli, cli_arg(cli, 2), &name);
    if (rc == 0) {
        const struct upload upload = {.ns = cli_arg(cli, 0),
                                      .name = slice_buf(&name),
                                      .path = path,
                                      .bytes = (uint64_t)st.st_size,
                                      .allow_overwrite = cli_flag(cli, "allow-overwrite")};

        rc = tell(cli, cli_arg(cli, 2), upload_object(&t, cli, &upload));
    }
    buf_release(&name);
    target_close(&t);
    free(path);
    return rc;
}

static int run_download(struct cli *cli)
{
    struct buf name = {0};
    struct target t;
    int rc = target_open(&t, cli);

    rc = rc != 0 ? rc : cli_bytes(cli, cli_arg(cli, 1), &name);
    rc = rc != 0
             ? rc
             : tell(cli, cli_arg(cli, 1),
                    download_object(&t, cli, cli_arg(cli, 0), slice_buf(&name), cli_arg(cli, 2)));
    buf_release(&name);
    target_close(&t);
    return rc;
}

/* ---- delete, list, show ---- */

static int run_delete(struct cli *cli)
{
    struct proxy_request request = {.code = PROXY_DELETE_OBJECT, .ns = slice_str(cli_arg(cli, 0))};
    struct proxy_reply reply;
    struct buf name = {0};
    struct target t;
    int rc = target_open(&t, cli);

    rc = rc != 0 ? rc : cli_bytes(cli, cli_arg(cli, 1), &name);
    if (rc == 0) {
        request.object.name = slice_buf(&name);
        rc = tell(cli, cli_arg(cli, 1), target_call(&t, cli, &request, TARGET_TIMEOUT_MS, &reply));
    }
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    buf_release(&name);
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

/* Pages of one list; `escaped`: which names are. */
static int list_pages(struct target *t, struct cli *cli, struct walk *w, json_t *escaped)
{
    bool goes_on;

    do {
        struct proxy_request request = {.code = PROXY_LIST_OBJECTS,
                                        .ns = slice_str(cli_arg(cli, 0)),
                                        .range = walk_proxy_range(w)};
        struct slice last = w->first;
        struct proxy_reply reply;
        int rc = target_call(t, cli, &request, TARGET_TIMEOUT_MS, &reply);

        if (rc != 0) {
            return rc;
        }
        for (uint32_t i = 0; i < reply.names.count; i++) {
            last = reply.names.items[i];
            list_add(cli, last, escaped);
        }
        goes_on = walk_goes_on(w, reply.names.count, last, reply.names.more);
        proxy_reply_release(&reply);
    } while (goes_on);
    return 0;
}

static void tell_of_list(size_t escaped, bool more)
{
    if (escaped != 0) {
        fprintf(stderr, "names that are not UTF-8 are shown with \\xNN for some bytes: %zu\n",
                escaped);
    }
    if (more) {
        fprintf(stderr, "there are more; --max=-1 lists all\n");
    }
}

/* Programs get the names alone from list-objects; proxy-list-objects tells of them, too. */
static int run_list(struct cli *cli)
{
    json_t *escaped = json_array();
    struct walk w = {0};
    struct target t;
    int rc = target_open(&t, cli);

    cli->result = json_array();
    rc = rc != 0 ? rc : walk_init(&w, cli, MANIFEST_NAME_BYTES_MAX);
    rc = rc != 0 ? rc : list_pages(&t, cli, &w, escaped);
    if (rc == 0 && t.is_private && cli->to_json) {
        tell_of_list(json_array_size(escaped), w.more);
    } else if (rc == 0) {
        json_t *names = cli->result;

        cli->result = json_pack("{s:b, s:I, s:o}", "have_more", w.more, "n",
                                (json_int_t)json_array_size(names), "objects", names);
        if (json_array_size(escaped) != 0) {
            json_object_set(cli->result, "escaped", escaped);
        }
    }
    walk_release(&w);
    target_close(&t);
    json_decref(escaped);
    return rc;
}

static void show_list(const struct cli *cli)
{
    size_t index;
    json_t *name;

    json_array_foreach(json_object_get(cli->result, "objects"), index, name)
    {
        output_line(json_string_value(name));
    }
    tell_of_list(json_array_size(json_object_get(cli->result, "escaped")),
                 json_is_true(json_object_get(cli->result, "have_more")));
}

/* --attribute: the result is that field alone. */
static int cut_to_attribute(struct cli *cli, struct err *e)
{
    const char *name = cli_option(cli, "attribute");
    json_t *whole = cli->result;
    json_t *value;

    if (name == NULL) {
        return 0;
    }
    value = json_object_get(whole, name);
    if (value == NULL) {
        return err_say(e, -EINVAL,
                       "a manifest has no attribute '%.100s'; alba show-object --to-json without "
                       "--attribute shows which there are",
                       name);
    }
    cli->result = json_incref(value);
    json_decref(whole);
    return 0;
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
        rc = cli->result != NULL ? cut_to_attribute(cli, &reply->err)
                                 : err_say(&reply->err, -EINVAL, "the name is not UTF-8");
    }
    session_done(((void **)ctx)[1], rc, &reply->err);
}

static int run_show(struct cli *cli)
{
    const struct registry_namespace *ns = NULL;
    struct buf bytes = {0};
    struct slice name;
    struct nsm *nsm;
    struct session s;
    int rc = session_open(&s, cli);

    rc = rc != 0 ? rc : cli_bytes(cli, cli_arg(cli, 1), &bytes);
    name = slice_buf(&bytes);
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
    buf_release(&bytes);
    session_close(&s);
    return rc;
}

static void show_manifest(const struct cli *cli)
{
    const char *attribute = cli_option(cli, "attribute");
    json_t *one;

    if (attribute == NULL) {
        manifest_show(cli->result);
        return;
    }
    one = json_pack("{s:O}", attribute, cli->result);
    output_fields(one);
    json_decref(one);
}

#define UPLOAD_OPTION                                                                              \
    {                                                                                              \
        .name = "allow-overwrite", .help = "replace an object of that name"                        \
    }

#define DOWNLOAD_DETAILS                                                                           \
    "FILE is there when all of the object is, verified; until then what was there stays.\n"        \
    "Where the file system cannot hold a file without a name, the part that has come is\n"         \
    "FILE.part-PID, which a kill -9 leaves: it is of no use, delete it."

const struct verb object_verbs[] = {
    {.name = "upload-object",
     .group = "Objects",
     .positionals = "NAMESPACE FILE NAME",
     .summary = "store a file as an object",
     .options = {UPLOAD_OPTION, CLI_UNESCAPE},
     .run = run_upload,
     .wants_registry = true},
    {.name = "download-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME FILE",
     .summary = "read an object into a file, verified",
     .details = DOWNLOAD_DETAILS,
     .options = {CLI_UNESCAPE},
     .run = run_download,
     .wants_registry = true},
    {.name = "delete-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME",
     .summary = "delete an object",
     .options = {CLI_UNESCAPE},
     .run = run_delete,
     .wants_registry = true},
    {.name = "list-objects",
     .group = "Objects",
     .positionals = "NAMESPACE",
     .summary = "list the names in a namespace",
     .options = {WALK_OPTIONS("NAME", "100")},
     .run = run_list,
     .show = show_list,
     .wants_registry = true},
    {.name = "show-object",
     .group = "Objects",
     .positionals = "NAMESPACE NAME",
     .summary = "print an object's manifest: where its fragments are",
     .options = {{.name = "attribute", .arg = "NAME", .help = "only this field of it: checksum"},
                 CLI_UNESCAPE},
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
     .options = {TARGET_OPTIONS, UPLOAD_OPTION, CLI_UNESCAPE},
     .run = run_upload},
    {.name = "proxy-download-object",
     .group = "Proxy",
     .positionals = "NAMESPACE NAME FILE",
     .summary = "the same as download-object",
     .details = DOWNLOAD_DETAILS,
     .options = {TARGET_OPTIONS, CLI_UNESCAPE},
     .run = run_download},
    {.name = "proxy-delete-object",
     .group = "Proxy",
     .positionals = "NAMESPACE NAME",
     .summary = "the same as delete-object",
     .options = {TARGET_OPTIONS, CLI_UNESCAPE},
     .run = run_delete},
    {.name = "proxy-list-objects",
     .group = "Proxy",
     .positionals = "NAMESPACE",
     .summary = "the same as list-objects",
     .options = {TARGET_OPTIONS, WALK_OPTIONS("NAME", "100")},
     .run = run_list,
     .show = show_list},
    {.name = NULL},
};
