/* Namespaces, and lists of names. */
#include <stdlib.h>
#include <string.h>

#include "albacore/albacore.h"
#include "albacore/job.h"
#include "base/check.h"
#include "base/mem.h"

/* ---- namespaces ---- */

int albacore_namespace_create(struct albacore *client, const char *ns, const char *preset,
                              const struct albacore_call *call, struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_CREATE_NAMESPACE, .ns = slice_str(ns)};

    if (preset != NULL) {
        request.create.preset = slice_str(preset);
        request.create.has_preset = true;
    }
    return request_run(client, &request, NULL, NULL, call, e);
}

struct forget_job {
    struct job job;
    struct slice ns;
};

static void forget_start(struct job *job)
{
    object_client_forget(job->client->objects, container_of(job, struct forget_job, job)->ns);
    job_done(job, 0, NULL, 0);
}

static void forget(struct albacore *client, const char *ns)
{
    struct forget_job f = {.job = {.start = forget_start}, .ns = slice_str(ns)};

    job_run(client, &f.job, NULL, NULL);
}

int albacore_namespace_delete(struct albacore *client, const char *ns,
                              const struct albacore_call *call, struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_DELETE_NAMESPACE, .ns = slice_str(ns)};
    int rc = request_run(client, &request, NULL, NULL, call, e);

    forget(client, ns); /* whatever became of it */
    return rc;
}

static int take_yes(void *ctx, const struct proxy_reply *reply, struct err *why)
{
    (void)why;
    *(bool *)ctx = reply->yes;
    return 0;
}

int albacore_namespace_exists(struct albacore *client, const char *ns, bool *ret_exists,
                              const struct albacore_call *call, struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_NAMESPACE_EXISTS, .ns = slice_str(ns)};

    return request_run(client, &request, take_yes, ret_exists, call, e);
}

int albacore_invalidate(struct albacore *client, const char *ns, const struct albacore_call *call,
                        struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_INVALIDATE_CACHE, .ns = slice_str(ns)};
    int rc = request_run(client, &request, NULL, NULL, call, e);

    forget(client, ns);
    return rc;
}

/* ---- lists ---- */

struct albacore_names {
    size_t count;
    bool more;
    char **texts;
    size_t *bytes;
};

size_t albacore_names_count(const struct albacore_names *names)
{
    return names->count;
}

bool albacore_names_more(const struct albacore_names *names)
{
    return names->more;
}

const char *albacore_names_at(const struct albacore_names *names, size_t index, size_t *ret_bytes)
{
    if (ret_bytes != NULL) {
        *ret_bytes = names->bytes[index];
    }
    return names->texts[index];
}

void albacore_names_free(struct albacore_names *names)
{
    if (names == NULL) {
        return;
    }
    for (size_t i = 0; i < names->count; i++) {
        free(names->texts[i]);
    }
    free(names->texts);
    free(names->bytes);
    free(names);
}

static struct albacore_names *names_new(size_t count, bool more)
{
    struct albacore_names *names = mem_zalloc(sizeof(*names));

    names->more = more;
    names->texts = mem_array(count + 1, sizeof(*names->texts));
    names->bytes = mem_array(count + 1, sizeof(*names->bytes));
    return names;
}

static void names_add(struct albacore_names *names, struct slice name)
{
    char *text = mem_alloc(name.len + 1);

    if (name.len != 0) {
        memcpy(text, name.data, name.len);
    }
    text[name.len] = '\0';
    names->texts[names->count] = text;
    names->bytes[names->count++] = name.len;
}

static int take_names(void *ctx, const struct proxy_reply *reply, struct err *why)
{
    struct albacore_names *names;

    (void)why;
    if (reply->code == PROXY_LIST_OBJECTS) {
        names = names_new(reply->names.count, reply->names.more);
        for (uint32_t i = 0; i < reply->names.count; i++) {
            names_add(names, reply->names.items[i]);
        }
    } else {
        names = names_new(reply->namespaces.count, reply->namespaces.more);
        for (uint32_t i = 0; i < reply->namespaces.count; i++) {
            names_add(names, reply->namespaces.items[i].name);
        }
    }
    *(struct albacore_names **)ctx = names;
    return 0;
}

/* From the end means from a name that is behind all: 0xff is in no name of ours. */
static void set_range(struct proxy_range *r, const struct albacore_range *range)
{
    static const char behind_all[] = "\xff\xff\xff\xff";
    struct albacore_range own = {0};

    if (range != NULL) {
        memcpy(&own, range, range->size < sizeof(own) ? range->size : sizeof(own));
    }
    r->first = slice_str(own.first != NULL ? own.first : own.reverse ? behind_all : "");
    r->first_included = !own.first_excluded;
    r->has_last = own.last != NULL;
    r->last = slice_str(own.last != NULL ? own.last : "");
    r->last_included = !own.last_excluded;
    r->max = own.max == 0 || own.max > PROXY_RANGE_MAX ? -1 : (int32_t)own.max;
    r->reverse = own.reverse;
}

int albacore_namespace_list(struct albacore *client, const struct albacore_range *range,
                            struct albacore_names **ret_names, const struct albacore_call *call,
                            struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_LIST_NAMESPACES};

    set_range(&request.range, range);
    return request_run(client, &request, take_names, ret_names, call, e);
}

int albacore_list(struct albacore *client, const char *ns, const struct albacore_range *range,
                  struct albacore_names **ret_names, const struct albacore_call *call,
                  struct albacore_error *e)
{
    struct proxy_request request = {.code = PROXY_LIST_OBJECTS, .ns = slice_str(ns)};

    set_range(&request.range, range);
    return request_run(client, &request, take_names, ret_names, call, e);
}
