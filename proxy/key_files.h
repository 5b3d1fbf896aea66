/* Master keys out of files: 32 raw bytes each, which nobody but their owner may read.
 *
 * A path is a key file, or a directory of which each regular file is one. Directories are read
 * again when a key is asked for that is not known, so that a new key needs no restart. Files are
 * small and read where they are asked for. Any thread. */
#ifndef PROXY_KEY_FILES_H
#define PROXY_KEY_FILES_H

#include <pthread.h>

#include "base/log.h"
#include "policy/key_ring.h"

enum { KEY_FILES_LOOK_MS = 1000, KEY_FILES_PATHS_MAX = 64 };

struct key_files {
    pthread_mutex_t lock; /* private, all of it; the lock is of what follows */
    struct key_ring ring;
    char **paths;
    unsigned path_count;
    uint64_t next_look_ms;
    struct log_limit limit;
};

/* ERR_CONFIG names the file and what is wrong with it: absent, another length, readable by
 * others than its owner, owned by others than root or this process's user. Wipe the bytes. */
int key_file_read(const char *path, uint8_t ret_bytes[CIPHER_KEY_BYTES], struct err *e);

void key_files_init(struct key_files *files);
void key_files_release(struct key_files *files);
/* Read all of them. Files that are named must be keys (ERR_CONFIG, and nothing has changed); of a
 * directory others are skipped; the log names them when a key is missed that may be in them.
 * Keys known before stay known. */
int key_files_set(struct key_files *files, const char *const *paths, unsigned path_count,
                  struct err *e);
/* Could they all be read? Keeps nothing. */
int key_files_check(const char *const *paths, unsigned path_count, struct err *e);
/* The key stays until key_files_release(). ERR_KEY names the id. `files` may be NULL: none. */
int key_files_find(struct key_files *files, const uint8_t id[KEY_ID_BYTES],
                   const struct master_key **ret_key, struct err *e);

#endif
