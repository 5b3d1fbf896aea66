/* A path is judged by what the kernel opened, not by its text: the descriptor's real path must
 * lie below one of the directories, so neither ".." nor a symbolic link swapped in between
 * leads out. */
#include "proxy/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/rnd.h"

int fs_dir_check(const char *dir, char **ret_real, struct err *e)
{
    struct stat st;
    char *real;

    if (dir[0] != '/') {
        return err_set(e, ERR_CONFIG, "fs_dirs: %s is not an absolute path", dir);
    }
    real = realpath(dir, NULL);
    if (real == NULL) {
        return err_set(e, -errno, "fs_dirs: %s", dir);
    }
    if (stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
        free(real);
        return err_set(e, ERR_CONFIG, "fs_dirs: %s is not a directory", dir);
    }
    *ret_real = real;
    return 0;
}

static bool is_below(const struct fs_rules *rules, const char *path)
{
    for (unsigned i = 0; i < rules->dir_count; i++) {
        size_t bytes = strlen(rules->dirs[i]);

        if (strncmp(path, rules->dirs[i], bytes) == 0 &&
            (path[bytes] == '/' || path[bytes] == 0 || (bytes == 1 && path[0] == '/'))) {
            return true;
        }
    }
    return false;
}

/* 0 when the open descriptor lies below a directory of the rules. */
static int check_fd(const struct fs_rules *rules, int fd, const char *path, struct err *e)
{
    char link[64], real[PATH_MAX];
    ssize_t bytes;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bytes = readlink(link, real, sizeof(real) - 1);
    if (bytes < 0) {
        return err_set(e, -errno, "%s: real path", path);
    }
    real[bytes] = 0;
    if (!is_below(rules, real)) {
        return err_set(e, -EACCES,
                       "%s: file commands are allowed only below the directories "
                       "of the proxy's fs_dirs",
                       path);
    }
    return 0;
}

/* Whether what `text` names is there is told only of what lies below a directory of the rules: its
 * nearest folder that is there must. Returns `rc`, the error at hand, or that of the rule. */
static int told_below(const struct fs_rules *rules, const char *text, int rc, struct err *e)
{
    char *folder = mem_strdup(text);
    char *slash;
    int fd = -1;

    while (fd < 0 && (slash = strrchr(folder, '/')) != NULL) {
        slash[slash == folder] = 0; /* "/" itself stays */
        fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (slash == folder) {
            break;
        }
    }
    if (fd >= 0) {
        struct err why;

        if (check_fd(rules, fd, text, &why) != 0) {
            rc = why.code;
            err_copy(e, &why);
        }
        close(fd);
    }
    free(folder);
    return rc;
}

static int path_text(const struct fs_rules *rules, struct slice path, char **ret_text,
                     struct err *e)
{
    char *text;

    if (rules->dir_count == 0) {
        return err_set(e, -EACCES, "file commands are off: the proxy's fs_dirs is empty");
    }
    if (path.len == 0 || path.len >= PATH_MAX || memchr(path.data, 0, path.len) != NULL ||
        path.data[0] != '/') {
        return err_set(e, -EINVAL, "a file must be named by its absolute path");
    }
    text = mem_alloc(path.len + 1);
    memcpy(text, path.data, path.len);
    text[path.len] = 0;
    *ret_text = text;
    return 0;
}

int fs_open_read(const struct fs_rules *rules, struct slice path, int *ret_fd, uint64_t *ret_bytes,
                 struct err *e)
{
    struct stat st;
    char *text = NULL;
    int fd = -1;
    int rc;

    rc = path_text(rules, path, &text, e);
    if (rc != 0) {
        return rc;
    }
    fd = open(text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        rc = told_below(rules, text, err_set(e, -errno, "%s", text), e);
        goto out;
    }
    rc = check_fd(rules, fd, text, e);
    if (rc != 0) {
        goto out;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = err_set(e, -EINVAL, "%s: not a regular file", text);
        goto out;
    }
    *ret_bytes = (uint64_t)st.st_size;
    *ret_fd = fd;
    fd = -1;

out:
    if (fd >= 0) {
        close(fd);
    }
    free(text);
    return rc;
}

static char *temp_name(void)
{
    uint8_t random[8];
    char hex[sizeof(random) * 2 + 1];

    rnd_bytes(random, sizeof(random));
    hex_encode(hex, random, sizeof(random));
    return mem_printf(".alba-%s.part", hex);
}

int fs_file_create(const struct fs_rules *rules, struct slice path, struct fs_file *ret_file,
                   struct err *e)
{
    struct fs_file file = {.dir_fd = -1, .fd = -1};
    char *text = NULL, *slash;
    int rc;

    rc = path_text(rules, path, &text, e);
    if (rc != 0) {
        return rc;
    }
    slash = strrchr(text, '/');
    if (slash[1] == 0 || strcmp(slash + 1, "..") == 0 || strcmp(slash + 1, ".") == 0) {
        rc = err_set(e, -EINVAL, "%s: not the name of a file", text);
        goto out;
    }
    *slash = 0;
    file.name = mem_strdup(slash + 1);
    file.dir_fd = open(slash == text ? "/" : text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file.dir_fd < 0) {
        rc = told_below(rules, text, err_set(e, -errno, "%s", text), e);
        goto out;
    }
    rc = check_fd(rules, file.dir_fd, text, e);
    if (rc != 0) {
        goto out;
    }
    file.temp_name = temp_name();
    file.fd = openat(file.dir_fd, file.temp_name,
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0664);
    if (file.fd < 0) {
        rc = err_set(e, -errno, "%s/%s", text, file.temp_name);
        free(file.temp_name);
        file.temp_name = NULL;
        goto out;
    }
    *ret_file = file;
    file = (struct fs_file){.dir_fd = -1, .fd = -1};

out:
    fs_file_close(&file);
    free(text);
    return rc;
}

int fs_file_write(struct fs_file *file, const void *data, size_t bytes, uint64_t offset,
                  struct err *e)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        ssize_t n = pwrite(file->fd, at, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return err_set(e, n < 0 ? -errno : -EIO, "%s: writing", file->name);
        }
        at += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int fs_file_commit(struct fs_file *file, struct err *e)
{
    if (fsync(file->fd) != 0) {
        return err_set(e, -errno, "%s: fsync", file->name);
    }
    if (renameat(file->dir_fd, file->temp_name, file->dir_fd, file->name) != 0) {
        return err_set(e, -errno, "%s: rename", file->name);
    }
    free(file->temp_name);
    file->temp_name = NULL;
    if (fsync(file->dir_fd) != 0) {
        return err_set(e, -errno, "%s: directory fsync", file->name);
    }
    return 0;
}

void fs_file_close(struct fs_file *file)
{
    if (file->temp_name != NULL) {
        unlinkat(file->dir_fd, file->temp_name, 0);
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    if (file->dir_fd >= 0) {
        close(file->dir_fd);
    }
    free(file->name);
    free(file->temp_name);
    *file = (struct fs_file){.dir_fd = -1, .fd = -1};
}
