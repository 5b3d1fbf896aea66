/* Files that clients name in requests: only below configured directories.
 *
 * These calls block: pool threads only. Any thread. */
#ifndef PROXY_FS_H
#define PROXY_FS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Which directories. Constant while in use. */
struct fs_rules {
    const char *const *dirs; /* absolute, without symbolic links (fs_dir_check) */
    unsigned dir_count;
};

/* At start-up: each must be an absolute path of a directory. Writes the real path. */
int fs_dir_check(const char *dir, char **ret_real, struct err *e);

/* A regular file, to read. -EACCES names the rule; UV_ENOENT. */
int fs_open_read(const struct fs_rules *rules, struct slice path, int *ret_fd, uint64_t *ret_bytes,
                 struct err *e);

/* A file to be written: it appears under its name, whole, with fs_file_commit(). */
struct fs_file {
    int dir_fd; /* -1: none */
    int fd;
    char *name;
    char *temp_name;
};

int fs_file_create(const struct fs_rules *rules, struct slice path, struct fs_file *ret_file,
                   struct err *e);
int fs_file_write(struct fs_file *file, const void *data, size_t bytes, uint64_t offset,
                  struct err *e);
/* fsync, rename over what was there. */
int fs_file_commit(struct fs_file *file, struct err *e);
void fs_file_close(struct fs_file *file); /* without a commit nothing remains; accepts {-1, -1} */

#endif
