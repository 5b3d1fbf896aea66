/* An inspection from the lock to the totals. */
#include "asd/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "asd/health.h"
#include "asd/inspect_private.h"
#include "asd/mark.h"
#include "asd/store.h"
#include "base/mem.h"

enum {
    IDENTITY_BYTES_MAX = 4096,
    TEXT_BYTES = 512,
    LOCK_LINE_BYTES = 256,
};

/* ---- findings ---- */

static void add_finding(struct inspect *in, struct asd_finding finding)
{
    struct asd_inspection *out = in->out;

    out->counts[finding.kind]++;
    if (out->finding_count == ASD_FINDINGS_MAX) {
        free(finding.text);
        free((void *)(uintptr_t)finding.key.data);
        return;
    }
    if (out->findings == NULL) {
        out->findings = mem_array(ASD_FINDINGS_MAX, sizeof(out->findings[0]));
    }
    out->findings[out->finding_count++] = finding;
}

__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list args)
{
    char text[TEXT_BYTES];

    vsnprintf(text, sizeof(text), fmt, args);
    return mem_strdup(text);
}

void inspect_found(struct inspect *in, enum asd_finding_kind kind, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_finding(in, (struct asd_finding){.kind = kind, .text = format(fmt, args)});
    va_end(args);
}

void inspect_found_key(struct inspect *in, enum asd_finding_kind kind, struct slice client_key,
                       const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_finding(in, (struct asd_finding){
                        .kind = kind,
                        .has_key = true,
                        .key = slice_of(mem_dup(client_key.data, client_key.len), client_key.len),
                        .text = format(fmt, args)});
    va_end(args);
}

void asd_inspection_release(struct asd_inspection *inspection)
{
    for (size_t i = 0; i < inspection->finding_count; i++) {
        free(inspection->findings[i].text);
        free((void *)(uintptr_t)inspection->findings[i].key.data);
    }
    free(inspection->findings);
    free(inspection->slabs);
    free(inspection->asd_id);
    free(inspection->node_id);
    *inspection = (struct asd_inspection){0};
}

bool inspect_is_damage(int rc)
{
    return rc == ERR_CORRUPT || asd_health_is_medium(rc) || rc == -EISDIR || rc == -ENOENT;
}

/* ---- who lives here ---- */

/* Damage is a finding; then the index says whose the slabs are. */
static int load_identity(struct inspect *in, struct err *e)
{
    char *path = mem_printf("%s/identity", in->home.path);
    uint8_t *data = NULL;
    size_t bytes = 0;
    int rc = io_load_file(in->home.io, path, IDENTITY_BYTES_MAX, &data, &bytes);

    free(path);
    if (rc == -ENOENT) {
        return err_say(e, ERR_NOT_FOUND,
                       "home %s: no store is here (no identity). Is it the "
                       "right directory, and its disk mounted?",
                       in->home.path);
    }
    if (rc == 0) {
        rc = asd_identity_decode(slice_of(data, bytes), &in->home, e);
        free(data);
    } else {
        err_set(e, rc, "identity");
    }
    if (rc == ERR_TOO_LARGE || inspect_is_damage(rc)) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%s", e->msg);
        free(in->home.asd_id);
        in->home.asd_id = NULL;
        return 0;
    }
    return rc == 0 ? 0 : err_wrap(e, "home %s", in->home.path);
}

/* Who holds the lock; 0: the kernel does not tell. */
static long lock_holder(int fd)
{
    FILE *locks = fopen("/proc/locks", "re");
    char line[LOCK_LINE_BYTES];
    struct stat st;
    char file[64];
    long found = 0;

    if (locks == NULL) {
        return 0;
    }
    if (fstat(fd, &st) == 0) {
        snprintf(file, sizeof(file), " %02x:%02x:%" PRIu64 " ", major(st.st_dev), minor(st.st_dev),
                 (uint64_t)st.st_ino);
        while (found == 0 && fgets(line, sizeof(line), locks) != NULL) {
            const char *pid = strstr(line, "WRITE ");

            if (pid != NULL && strstr(line, " FLOCK ") != NULL && strstr(line, file) != NULL) {
                found = strtol(pid + strlen("WRITE "), NULL, 10);
            }
        }
    }
    fclose(locks);
    return found;
}

/* As asd_home_lock(), but nothing is made or written. Without the file nobody holds it. */
static int lock(struct inspect *in, int *ret_fd, struct err *e)
{
    char *path = mem_printf("%s/lock", in->home.path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = 0;

    free(path);
    if (fd < 0 && errno == ENOENT) {
        inspect_found(in, ASD_FINDING_NOTE, "there is no lock file: nobody is kept from starting");
    } else if (fd < 0) {
        rc = err_set(e, -errno, "home %s: lock", in->home.path);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        long pid = errno == EWOULDBLOCK ? lock_holder(fd) : 0;
        const char *id = in->home.asd_id != NULL ? in->home.asd_id : "?";

        rc = errno != EWOULDBLOCK ? err_set(e, -errno, "home %s: lock", in->home.path)
             : pid > 0 ? err_say(e, ERR_BUSY, "ASD \"%s\" (pid %ld) uses home %s; stop it first",
                                 id, pid, in->home.path)
                       : err_say(e, ERR_BUSY, "ASD \"%s\" uses home %s; stop it first", id,
                                 in->home.path);
        close(fd);
    } else {
        *ret_fd = fd;
    }
    return rc;
}

/* ---- the index ---- */

static int open_index(struct inspect *in, struct err *e)
{
    struct asd_index_rocksdb_options options = {
        .read_only = true, .count = asd_store_count_commits, .commits_min = in->out->marked_commit};
    int rc;

    if (access(in->home.db_path, R_OK | X_OK) != 0 && errno == EACCES) {
        return err_set(e, -EACCES, "%s", in->home.db_path); /* RocksDB would call it an I/O error */
    }
    rc = asd_index_rocksdb_open(in->home.db_path, &options, &in->index, e);
    if (inspect_is_damage(rc)) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%s", e->msg);
        return 0;
    }
    if (rc == 0 && in->index->is_torn) {
        inspect_found(in, ASD_FINDING_SETTLED,
                      "the log of the index ends in a commit that power loss cut off: the start "
                      "goes on without it");
    }
    return rc;
}

typedef int (*record_get_cb)(struct slice key, struct slice record, void *ret_record,
                             struct err *e);

static int store_get(struct slice key, struct slice record, void *ret_record, struct err *e)
{
    return asd_store_record_get(key, record, ret_record, e);
}

static int usage_get(struct slice key, struct slice record, void *ret_record, struct err *e)
{
    return asd_usage_record_get(key, record, ret_record, e);
}

/* Damage is told and returned as ERR_CORRUPT. */
static int get_one(struct inspect *in, uint8_t kind, const char *what, record_get_cb get,
                   void *ret_record, struct err *e)
{
    struct asd_internal_key key = asd_key_of(kind);
    struct asd_index_value value = {0};
    int rc = in->index->ops->get(in->index, asd_internal_slice(&key), &value, e);

    if (rc == 0) {
        rc = get(asd_internal_slice(&key), value.bytes, ret_record, e);
        in->index->ops->release(in->index, &value);
    }
    if (inspect_is_damage(rc)) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%s record: %s", what, e->msg);
        rc = ERR_CORRUPT;
    }
    return rc;
}

static int check_store(struct inspect *in, struct err *e)
{
    struct asd_store_record store;
    int rc = get_one(in, ASD_KEY_STORE, "store", store_get, &store, e);

    if (rc == ERR_NOT_FOUND) {
        inspect_found(in, ASD_FINDING_DAMAGE, "the index has lost its store record");
    } else if (rc == 0 && in->home.asd_id == NULL) {
        memcpy(in->home.store_id, store.store_id, ASD_STORE_ID_BYTES);
    } else if (rc == 0 && memcmp(store.store_id, in->home.store_id, ASD_STORE_ID_BYTES) != 0) {
        inspect_found(in, ASD_FINDING_DAMAGE, "the index belongs to another home");
    }
    memcpy(in->out->store_id, in->home.store_id, ASD_STORE_ID_BYTES);
    return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT ? 0 : rc;
}

static int check_usage(struct inspect *in, struct err *e)
{
    struct asd_inspection *out = in->out;
    int rc = get_one(in, ASD_KEY_USAGE, "usage", usage_get, &out->usage, e);

    if (rc == ERR_CORRUPT) {
        out->usage.next_slab = UINT64_MAX; /* not known */
        return 0;
    }
    if (rc != 0 && rc != ERR_NOT_FOUND) {
        return rc;
    }
    if (out->usage.commit < out->marked_commit) {
        inspect_found(in, ASD_FINDING_DAMAGE,
                      "the index holds %" PRIu64 " commits, but %" PRIu64
                      " were acknowledged: its log lost its end",
                      out->usage.commit, out->marked_commit);
    }
    return 0;
}

/* ---- the whole ---- */

static int look(struct inspect *in, struct err *e)
{
    struct asd_inspection *out = in->out;
    int rc = check_store(in, e);

    out->is_whole = true;
    rc = rc != 0 ? rc : check_usage(in, e);
    rc = rc != 0 ? rc : inspect_records(in, e);
    if (rc != 0) {
        return err_wrap(e, "home %s", in->home.path);
    }
    if (out->free_records != 0) {
        inspect_found(in, ASD_FINDING_SETTLED,
                      "%" PRIu64 " freed ranges are punched after the start", out->free_records);
    }
    if (!out->is_whole) {
        return 0; /* the sums would be short */
    }
    if (in->bad_values == 0 && out->usage.used_bytes != out->used_bytes &&
        out->usage.next_slab != UINT64_MAX) {
        inspect_found(in, ASD_FINDING_DAMAGE,
                      "the usage record counts %" PRIu64 " bytes, the values have %" PRIu64,
                      out->usage.used_bytes, out->used_bytes);
    }
    return 0;
}

static int inspect_home(struct inspect *in, struct err *e)
{
    int lock_fd = -1;
    int rc = load_identity(in, e);

    rc = rc != 0 ? rc : lock(in, &lock_fd, e);
    if (rc == 0 && in->home.asd_id != NULL) {
        rc = asd_mark_read(&in->home, &in->out->marked_commit, e);
    }
    rc = rc != 0 ? rc : open_index(in, e);
    if (rc == 0 && in->index != NULL) {
        rc = look(in, e);
        inspect_slab_totals(in);
    }
    if (in->index != NULL) {
        in->index->ops->close(in->index);
    }
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    return rc;
}

int asd_inspect(const struct asd_inspect_options *options, struct asd_inspection *ret_inspection,
                struct err *e)
{
    struct asd_inspection out = {0};
    struct inspect in = {.options = options,
                         .out = &out,
                         .home = {.io = options->io != NULL ? options->io : io_real(),
                                  .path = mem_strdup(options->home),
                                  .slabs_path = mem_printf("%s/slabs", options->home),
                                  .db_path = mem_printf("%s/db", options->home)}};
    int rc = inspect_home(&in, e);

    inspect_slabs_release(&in);
    free(in.chunk);
    if (rc == 0) {
        out.asd_id = in.home.asd_id;
        out.node_id = in.home.node_id;
        in.home.asd_id = in.home.node_id = NULL;
        *ret_inspection = out;
    } else {
        asd_inspection_release(&out);
    }
    asd_home_release(&in.home);
    return rc;
}
