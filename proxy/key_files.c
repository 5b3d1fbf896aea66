#include "proxy/key_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"

enum { WARN_EVERY_MS = 60000 };

static int check_file(const struct stat *st, struct err *e)
{
    if (!S_ISREG(st->st_mode)) {
        return err_say(e, ERR_CONFIG, "is no regular file");
    }
    if ((st->st_mode & 077) != 0) {
        return err_say(e, ERR_CONFIG, "has mode %03o: nobody but its owner may read it, chmod 600",
                       (unsigned)st->st_mode & 0777);
    }
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        return err_say(e, ERR_CONFIG, "belongs to user %u, not to root or user %u",
                       (unsigned)st->st_uid, (unsigned)geteuid());
    }
    if (st->st_size != CIPHER_KEY_BYTES) {
        return err_say(e, ERR_CONFIG, "has %jd bytes: a key is %d raw bytes", (intmax_t)st->st_size,
                       CIPHER_KEY_BYTES);
    }
    return 0;
}

int key_file_read(const char *path, uint8_t ret_bytes[CIPHER_KEY_BYTES], struct err *e)
{
    /* O_NONBLOCK: a FIFO is told from a file without waiting for its writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    int rc;

    if (fd < 0) {
        rc = err_say(e, ERR_CONFIG, "%s", err_text(-errno));
    } else if (fstat(fd, &st) != 0) {
        rc = err_say(e, ERR_CONFIG, "%s", err_text(-errno));
    } else {
        rc = check_file(&st, e);
        if (rc == 0 && read(fd, ret_bytes, CIPHER_KEY_BYTES) != CIPHER_KEY_BYTES) {
            rc = err_say(e, ERR_CONFIG, "cannot be read whole");
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc == 0 ? 0 : err_wrap(e, "key file %s", path);
}

static int add_file(struct key_files *files, const char *path, struct err *e)
{
    uint8_t bytes[CIPHER_KEY_BYTES];
    int rc = key_file_read(path, bytes, e);

    if (rc == 0) {
        key_ring_add(&files->ring, bytes);
    }
    key_wipe(bytes, sizeof(bytes));
    return rc;
}

/* Names that begin with a dot are no keys: editors and mounted secrets have such. What else is
 * none is told of when a key is missed: it may be that one. */
static int add_dir(struct key_files *files, const char *path, bool tell, struct err *e)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned long skipped;
    struct err why;

    if (dir == NULL) {
        return err_say(e, ERR_CONFIG, "directory of keys %s: %s", path, err_text(-errno));
    }
    while ((entry = readdir(dir)) != NULL) {
        char *name;

        if (entry->d_name[0] == '.') {
            continue;
        }
        name = mem_printf("%s/%s", path, entry->d_name);
        if (add_file(files, name, &why) != 0 && tell &&
            log_limit_pass(&files->limit, WARN_EVERY_MS, &skipped)) {
            log_warn("keys", "skipped", "why=\"%s\" skipped=%lu", why.msg, skipped);
        }
        free(name);
    }
    closedir(dir);
    return 0;
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void free_paths(char **paths, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(paths[i]);
    }
    free(paths);
}

void key_files_init(struct key_files *files)
{
    *files = (struct key_files){0};
    CHECK(pthread_mutex_init(&files->lock, NULL) == 0);
    key_ring_init(&files->ring);
}

void key_files_release(struct key_files *files)
{
    key_ring_release(&files->ring);
    free_paths(files->paths, files->path_count);
    CHECK(pthread_mutex_destroy(&files->lock) == 0);
}

int key_files_set(struct key_files *files, const char *const *paths, unsigned path_count,
                  struct err *e)
{
    int rc = path_count <= KEY_FILES_PATHS_MAX
                 ? 0
                 : err_say(e, ERR_CONFIG, "at most %d key_files", KEY_FILES_PATHS_MAX);

    pthread_mutex_lock(&files->lock);
    for (unsigned i = 0; i < path_count && rc == 0; i++) {
        rc = paths[i][0] != '/' ? err_say(e, ERR_CONFIG, "key_files: %s is not absolute", paths[i])
             : is_dir(paths[i]) ? add_dir(files, paths[i], false, e)
                                : add_file(files, paths[i], e);
    }
    if (rc == 0) {
        free_paths(files->paths, files->path_count);
        files->paths = mem_array(path_count + 1, sizeof(files->paths[0]));
        files->path_count = path_count;
        for (unsigned i = 0; i < path_count; i++) {
            files->paths[i] = mem_strdup(paths[i]);
        }
    }
    pthread_mutex_unlock(&files->lock);
    return rc;
}

int key_files_check(const char *const *paths, unsigned path_count, struct err *e)
{
    struct key_files files;
    int rc;

    key_files_init(&files);
    rc = key_files_set(&files, paths, path_count, e);
    key_files_release(&files);
    return rc;
}

/* Now and then: whoever asks for keys that are not there does not make us read files all day. */
static void look_again(struct key_files *files)
{
    uint64_t now_ms = clock_mono_ms();
    unsigned long skipped;
    struct err e;

    if (now_ms < files->next_look_ms) {
        return;
    }
    files->next_look_ms = now_ms + KEY_FILES_LOOK_MS;
    for (unsigned i = 0; i < files->path_count; i++) {
        if (is_dir(files->paths[i]) && add_dir(files, files->paths[i], true, &e) != 0 &&
            log_limit_pass(&files->limit, WARN_EVERY_MS, &skipped)) {
            log_warn("keys", "skipped", "why=\"%s\" skipped=%lu", e.msg, skipped);
        }
    }
}

int key_files_find(struct key_files *files, const uint8_t id[KEY_ID_BYTES],
                   const struct master_key **ret_key, struct err *e)
{
    const struct master_key *key = NULL;
    char text[KEY_ID_TEXT_BYTES];

    if (files != NULL) {
        pthread_mutex_lock(&files->lock);
        key = key_ring_find(&files->ring, id);
        if (key == NULL) {
            look_again(files);
            key = key_ring_find(&files->ring, id);
        }
        pthread_mutex_unlock(&files->lock);
    }
    if (key == NULL) {
        hex_encode(text, id, KEY_ID_BYTES);
        return err_say(e, ERR_KEY, "encryption key %s is in no file of the setting 'key_files'",
                       text);
    }
    *ret_key = key;
    return 0;
}
