/* A transaction keeps its own copy of every name in the order of its asserts and updates. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "albacore/albacore.h"
#include "albacore/job.h"
#include "albacore/put_parts.h"
#include "albacore/put_source.h"
#include "base/mem.h"
#include "net/proxy_upload.h"
#include "wire/llio.h"

struct albacore_transaction {
    struct proxy_assert *asserts;
    size_t assert_count;
    struct proxy_update *updates;
    struct put_source *sources; /* of each update */
    size_t update_count;
    bool has_crc; /* for the next put */
    uint32_t crc;
    char *failed_name; /* or NULL */
};

/* ---- filling ---- */

struct albacore_transaction *albacore_transaction_new(void)
{
    return mem_zalloc(sizeof(struct albacore_transaction));
}

void albacore_transaction_free(struct albacore_transaction *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->assert_count; i++) {
        free((void *)(uintptr_t)t->asserts[i].name.data);
    }
    for (size_t i = 0; i < t->update_count; i++) {
        free((void *)(uintptr_t)t->updates[i].name.data);
        put_source_release(&t->sources[i]);
    }
    free(t->asserts);
    free(t->updates);
    free(t->sources);
    free(t->failed_name);
    free(t);
}

static struct slice name_of(const char *name)
{
    return slice_of(mem_strdup(name), strlen(name));
}

static struct proxy_assert *add_assert(struct albacore_transaction *t, uint8_t kind,
                                       const char *name)
{
    struct proxy_assert *a;

    t->asserts = mem_realloc(t->asserts, (t->assert_count + 1) * sizeof(*t->asserts));
    a = &t->asserts[t->assert_count++];
    *a = (struct proxy_assert){.kind = kind, .name = name_of(name)};
    return a;
}

void albacore_assert_exists(struct albacore_transaction *t, const char *name)
{
    add_assert(t, PROXY_ASSERT_EXISTS, name);
}

void albacore_assert_absent(struct albacore_transaction *t, const char *name)
{
    add_assert(t, PROXY_ASSERT_ABSENT, name);
}

void albacore_assert_crc32c(struct albacore_transaction *t, const char *name, uint32_t crc)
{
    add_assert(t, PROXY_ASSERT_HAS_CHECKSUM, name)->checksum = checksum_crc32c(crc);
}

static size_t add_update(struct albacore_transaction *t, uint8_t kind, const char *name)
{
    size_t count = t->update_count + 1;

    t->updates = mem_realloc(t->updates, count * sizeof(*t->updates));
    t->sources = mem_realloc(t->sources, count * sizeof(*t->sources));
    t->updates[count - 1] = (struct proxy_update){.kind = kind, .name = name_of(name)};
    put_source_init(&t->sources[count - 1]);
    if (kind != PROXY_UPDATE_DELETE && t->has_crc) {
        t->updates[count - 1].has_checksum = true;
        t->updates[count - 1].checksum = checksum_crc32c(t->crc);
        t->has_crc = false;
    }
    return t->update_count++;
}

void albacore_next_crc32c(struct albacore_transaction *t, uint32_t crc)
{
    t->has_crc = true;
    t->crc = crc;
}

void albacore_add_put(struct albacore_transaction *t, const char *name, const void *data,
                      size_t bytes)
{
    size_t index = add_update(t, PROXY_UPDATE_UPLOAD, name);

    t->updates[index].data = slice_of(data, bytes);
}

void albacore_add_put_fd(struct albacore_transaction *t, const char *name, int fd,
                         const struct albacore_extent *extents, size_t count)
{
    size_t index = add_update(t, PROXY_UPDATE_UPLOAD, name);

    put_source_set(&t->sources[index], fd, extents, count);
}

void albacore_add_delete(struct albacore_transaction *t, const char *name)
{
    add_update(t, PROXY_UPDATE_DELETE, name);
}

const char *albacore_failed_name(const struct albacore_transaction *t)
{
    return t->failed_name != NULL ? t->failed_name : "";
}

/* ---- applying ---- */

static bool has_files(const struct albacore_transaction *t)
{
    for (size_t i = 0; i < t->update_count; i++) {
        if (t->sources[i].fd >= 0) {
            return true;
        }
    }
    return false;
}

static int load_all(struct albacore_transaction *t, struct albacore_error *e)
{
    uint64_t left = ALBACORE_BYTES_MAX;
    int rc = 0;

    for (size_t i = 0; i < t->update_count && rc == 0; i++) {
        bool is_file = t->sources[i].fd >= 0;
        uint64_t bytes = t->updates[i].data.len;

        rc = is_file ? put_source_measure(&t->sources[i], &bytes, e) : 0;
        if (rc == 0 && bytes > left) {
            rc = error_say(e, ALBACORE_TOO_LARGE,
                           "more than %zu bytes in one transaction, and no proxy took its files "
                           "themselves; a larger file goes alone, in parts",
                           ALBACORE_BYTES_MAX);
        }
        if (rc == 0 && is_file) {
            rc = put_source_load(&t->sources[i], (size_t)bytes, &t->updates[i], e);
        }
        left -= bytes;
    }
    return rc;
}

static int apply_loaded(struct albacore *client, struct proxy_request *request,
                        struct albacore_transaction *t, const struct albacore_call *call,
                        struct albacore_error *e)
{
    int rc = load_all(t, e);

    if (rc == 0) {
        request->code = PROXY_APPLY;
        rc = apply_run(client, request, &t->failed_name, call, e);
    }
    for (size_t i = 0; i < t->update_count; i++) {
        put_source_unload(&t->sources[i], &t->updates[i]);
    }
    return rc;
}

/* Files go to the preferred proxy, if that is on this machine. False: nothing was executed, and
 * the files are to be read here. */
static bool apply_given(struct albacore *client, struct proxy_request *request,
                        struct albacore_transaction *t, const struct albacore_call *call,
                        struct albacore_error *e, int *ret_rc)
{
    bool given = client->has_side;
    int rc = 0;

    for (size_t i = 0; i < t->update_count && given; i++) {
        given = t->sources[i].fd < 0 ||
                put_source_give(&t->sources[i], &client->side, &t->updates[i]) == 0;
    }
    if (given) {
        request->code = PROXY_APPLY_FDS;
        rc = apply_run(client, request, &t->failed_name, call, e);
        /* Another proxy stepped in, or one that does not know how. */
        given = rc == 0 || (e->proxy_code != PROXY_RC_FILE_NOT_FOUND &&
                            e->proxy_code != PROXY_RC_UNKNOWN_OPERATION);
    }
    for (size_t i = 0; i < t->update_count; i++) {
        put_source_take_back(&t->sources[i]);
    }
    *ret_rc = rc;
    return given;
}

/* A file that is the only change, and not small, goes in parts; all else in one request. */
static int apply_read(struct albacore *client, struct proxy_request *request,
                      struct albacore_transaction *t, const struct albacore_call *call,
                      struct albacore_error *e)
{
    uint64_t bytes = 0;
    int rc = t->update_count == 1 ? put_source_measure(&t->sources[0], &bytes, e) : 0;

    if (rc != 0 || bytes <= PROXY_UPLOAD_BYTES_MIN) {
        return rc != 0 ? rc : apply_loaded(client, request, t, call, e);
    }
    rc = put_parts_run(client, request, &t->sources[0], bytes, &t->failed_name, call, e);
    if (rc == 0 || (e->proxy_code != PROXY_RC_UNKNOWN_OPERATION &&
                    e->proxy_code != PROXY_RC_TOO_LARGE)) { /* many asserts */
        return rc;
    }
    if (bytes <= ALBACORE_BYTES_MAX) {
        return apply_loaded(client, request, t, call, e);
    }
    return e->proxy_code == PROXY_RC_TOO_LARGE
               ? rc
               : error_say(e, ALBACORE_TOO_LARGE,
                           "a file of more than %zu bytes, and the proxy, an older one, takes none "
                           "in parts",
                           ALBACORE_BYTES_MAX);
}

/* Of what is given in memory; files have a bound of their own, and do not travel with the rest. */
static int check_given(const struct albacore_transaction *t, struct albacore_error *e)
{
    size_t left = ALBACORE_BYTES_MAX;

    if (t->assert_count > LLIO_COUNT_MAX || t->update_count > LLIO_COUNT_MAX) {
        return error_say(e, ALBACORE_TOO_LARGE, "more than %d asserts or changes",
                         (int)LLIO_COUNT_MAX);
    }
    for (size_t i = 0; i < t->update_count; i++) {
        if (t->updates[i].data.len > left) {
            return error_say(e, ALBACORE_TOO_LARGE, "more than %zu bytes in one transaction",
                             ALBACORE_BYTES_MAX);
        }
        left -= t->updates[i].data.len;
    }
    return 0;
}

int albacore_apply(struct albacore *client, const char *ns, struct albacore_transaction *t,
                   const struct albacore_call *call, struct albacore_error *e)
{
    bool low = (call_flags(call) & ALBACORE_LOW_PRIORITY) != 0;
    struct proxy_request request = {.code = PROXY_APPLY,
                                    .ns = slice_str(ns),
                                    .apply = {.asserts = t->asserts,
                                              .assert_count = (uint32_t)t->assert_count,
                                              .updates = t->updates,
                                              .update_count = (uint32_t)t->update_count,
                                              .flags = low ? PROXY_APPLY_LOW_PRIORITY : 0}};
    struct albacore_error own = {0};
    int rc = check_given(t, e);

    free(t->failed_name);
    t->failed_name = NULL;
    if (rc != 0) {
        return rc;
    }
    if (!has_files(t)) {
        rc = apply_loaded(client, &request, t, call, &own);
    } else if (!apply_given(client, &request, t, call, &own, &rc)) {
        rc = apply_read(client, &request, t, call, &own);
    }
    if (e != NULL) {
        *e = own;
    }
    return rc;
}

/* ---- transactions of one change ---- */

static int finish_put(struct albacore *client, const char *ns, const char *name,
                      struct albacore_transaction *t, const struct albacore_call *call,
                      struct albacore_error *e)
{
    int rc;

    if ((call_flags(call) & ALBACORE_NEW) != 0) {
        albacore_assert_absent(t, name);
    }
    rc = albacore_apply(client, ns, t, call, e);
    albacore_transaction_free(t);
    return rc == ALBACORE_ASSERT_FAILED
               ? error_say(e, ALBACORE_EXISTS, "object '%s' exists already", name)
               : rc;
}

int albacore_put(struct albacore *client, const char *ns, const char *name, const void *data,
                 size_t bytes, const struct albacore_call *call, struct albacore_error *e)
{
    struct albacore_transaction *t = albacore_transaction_new();

    albacore_add_put(t, name, data, bytes);
    return finish_put(client, ns, name, t, call, e);
}

int albacore_put_fd(struct albacore *client, const char *ns, const char *name, int fd,
                    const struct albacore_extent *extents, size_t count,
                    const struct albacore_call *call, struct albacore_error *e)
{
    struct albacore_transaction *t = albacore_transaction_new();

    albacore_add_put_fd(t, name, fd, extents, count);
    return finish_put(client, ns, name, t, call, e);
}

int albacore_put_file(struct albacore *client, const char *ns, const char *name, const char *path,
                      const struct albacore_call *call, struct albacore_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO is refused */
    int rc;

    if (fd < 0) {
        return error_say(e, errno == ENOENT ? ALBACORE_NOT_FOUND : ALBACORE_FAILED, "%s: %s", path,
                         err_text(-errno));
    }
    rc = albacore_put_fd(client, ns, name, fd, NULL, 0, call, e);
    close(fd);
    return rc;
}

int albacore_delete(struct albacore *client, const char *ns, const char *name,
                    const struct albacore_call *call, struct albacore_error *e)
{
    struct albacore_transaction *t = albacore_transaction_new();
    int rc;

    if ((call_flags(call) & ALBACORE_IF_THERE) == 0) {
        albacore_assert_exists(t, name);
    }
    albacore_add_delete(t, name);
    rc = albacore_apply(client, ns, t, call, e);
    albacore_transaction_free(t);
    return rc == ALBACORE_ASSERT_FAILED
               ? error_say(e, ALBACORE_NOT_FOUND, "object '%s' does not exist", name)
               : rc;
}
