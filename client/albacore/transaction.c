/* A transaction keeps its own copy of every name in the order of its asserts and updates. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "albacore/albacore.h"
#include "albacore/job.h"
#include "base/bigmem.h"
#include "base/mem.h"
#include "wire/llio.h"

struct put_source {
    int fd; /* -1: data is in memory */
    struct albacore_extent *extents;
    size_t extent_count;
};

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
        free(t->sources[i].extents);
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
    t->sources[count - 1] = (struct put_source){.fd = -1};
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
    struct put_source *source = &t->sources[index];

    source->fd = fd;
    source->extent_count = count;
    source->extents = mem_dup(extents, count * sizeof(*extents));
}

void albacore_add_delete(struct albacore_transaction *t, const char *name)
{
    add_update(t, PROXY_UPDATE_DELETE, name);
}

const char *albacore_failed_name(const struct albacore_transaction *t)
{
    return t->failed_name != NULL ? t->failed_name : "";
}

/* ---- files ---- */

static int read_extent(int fd, const struct albacore_extent *x, uint8_t *to,
                       struct albacore_error *e)
{
    uint64_t done = 0;

    while (done < x->bytes) {
        ssize_t n = pread(fd, to + done, (size_t)(x->bytes - done), (off_t)(x->offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return error_say(e, ALBACORE_FAILED, "reading the file: %s", err_text(-errno));
        }
        if (n == 0) {
            return error_say(e, ALBACORE_OUT_OF_RANGE, "an extent beyond the end of the file");
        }
        done += (uint64_t)n;
    }
    return 0;
}

/* Extents of a source that has none: the whole file. */
static int source_extents(const struct put_source *source, struct albacore_extent *whole,
                          const struct albacore_extent **ret_extents, size_t *ret_count,
                          struct albacore_error *e)
{
    struct stat st;

    *ret_extents = source->extents;
    *ret_count = source->extent_count;
    if (source->extent_count != 0) {
        return 0;
    }
    if (fstat(source->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return error_say(e, ALBACORE_INVALID, "not a regular file");
    }
    *whole = (struct albacore_extent){.bytes = (uint64_t)st.st_size};
    *ret_extents = whole;
    *ret_count = 1;
    return 0;
}

static int load(const struct put_source *source, uint8_t **ret_data, size_t *ret_bytes,
                struct albacore_error *e)
{
    const struct albacore_extent *extents;
    struct albacore_extent whole;
    uint64_t sum = 0;
    uint8_t *data;
    size_t count, at = 0;
    int rc = source_extents(source, &whole, &extents, &count, e);

    for (size_t i = 0; i < count && rc == 0; i++) {
        if (extents[i].bytes > ALBACORE_BYTES_MAX - sum || extents[i].offset > INT64_MAX / 2) {
            rc = error_say(e, ALBACORE_TOO_LARGE, "more than %zu bytes", ALBACORE_BYTES_MAX);
        } else {
            sum += extents[i].bytes;
        }
    }
    if (rc != 0) {
        return rc;
    }
    data = bigmem_alloc(sum != 0 ? (size_t)sum : 1);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = read_extent(source->fd, &extents[i], data + at, e);
        at += (size_t)extents[i].bytes;
    }
    if (rc != 0) {
        bigmem_free(data);
        return rc;
    }
    *ret_data = data;
    *ret_bytes = (size_t)sum;
    return 0;
}

/* ---- applying ---- */

static void unload(struct albacore_transaction *t)
{
    for (size_t i = 0; i < t->update_count; i++) {
        if (t->sources[i].fd >= 0) {
            bigmem_free((void *)(uintptr_t)t->updates[i].data.data);
            t->updates[i].data = (struct slice){0};
        }
    }
}

static int load_all(struct albacore_transaction *t, struct albacore_error *e)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < t->update_count; i++) {
        if (t->sources[i].fd >= 0) {
            uint8_t *data = NULL;
            size_t bytes = 0;
            int rc = load(&t->sources[i], &data, &bytes, e);

            if (rc != 0) {
                return rc;
            }
            t->updates[i].data = slice_of(data, bytes);
        }
        sum += t->updates[i].data.len;
    }
    if (sum > ALBACORE_BYTES_MAX) {
        return error_say(e, ALBACORE_TOO_LARGE, "more than %zu bytes in one transaction",
                         ALBACORE_BYTES_MAX);
    }
    return 0;
}

/* The text of a failed assert ends with "object '<name>': assert failed". */
static void note_failed(struct albacore_transaction *t, const char *text)
{
    for (size_t i = 0; i < t->assert_count && t->failed_name == NULL; i++) {
        const struct slice *name = &t->asserts[i].name;
        char *quoted = mem_printf("object '%.*s'", (int)name->len, (const char *)name->data);

        if (strstr(text, quoted) != NULL) {
            t->failed_name = mem_strdup((const char *)name->data);
        }
        free(quoted);
    }
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
    int rc;

    free(t->failed_name);
    t->failed_name = NULL;
    if (t->assert_count > LLIO_COUNT_MAX || t->update_count > LLIO_COUNT_MAX) {
        return error_say(e, ALBACORE_TOO_LARGE, "more than %d asserts or changes",
                         (int)LLIO_COUNT_MAX);
    }
    rc = load_all(t, &own);
    if (rc == 0) {
        rc = request_run(client, &request, NULL, NULL, call, &own);
    }
    unload(t);
    if (rc == ALBACORE_ASSERT_FAILED) {
        note_failed(t, own.text);
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
    int fd = open(path, O_RDONLY | O_CLOEXEC);
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
