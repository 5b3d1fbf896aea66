/* Durable file I/O: the system calls that the crash-enumerating test disk replaces.
 *
 * Everything a component must find again after a power loss is written through
 * a struct io. All calls block: use them in pool threads (loop/pool.h) or before
 * the loop runs. Any thread. Paths are plain strings; descriptors belong to the
 * struct io that opened them. Every function returns 0 (or a count or descriptor)
 * or a negative errno; EINTR is retried inside.
 *
 * What is durable when: bytes and size of a file after io->fdatasync() on it; a
 * name (create, rename, unlink, mkdir) after sync_dir() on its directory. */
#ifndef LOOP_IO_H
#define LOOP_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum io_open_flags {
    IO_OPEN_READ = 0, /* read only */
    IO_OPEN_WRITE = 1,
    IO_OPEN_CREATE = 2,    /* make it if absent */
    IO_OPEN_EXCLUSIVE = 4, /* with CREATE: -EEXIST when there */
    /* O_DIRECT: buffers, offsets and lengths are multiples of 4096. A file system that
     * has no direct I/O gives plain I/O. */
    IO_OPEN_DIRECT = 8,
};

enum io_allocate_mode {
    IO_ALLOCATE,  /* reserve space, grow the size, bytes read as zero */
    IO_ZERO,      /* bytes read as zero, size unchanged */
    IO_PUNCH_HOLE /* bytes read as zero and their space is given back, size unchanged */
};

enum { IO_DIRECT_BYTES = 4096 };

struct io;

/* One directory entry. Return false to stop. */
typedef bool (*io_list_cb)(void *ctx, const char *name);

struct io_ops {
    int (*open)(struct io *io, const char *path, int flags);
    int (*close)(struct io *io, int fd);
    ssize_t (*preadv)(struct io *io, int fd, const struct iovec *iov, int iov_count,
                      uint64_t offset);
    ssize_t (*pwritev)(struct io *io, int fd, const struct iovec *iov, int iov_count,
                       uint64_t offset);
    int (*fdatasync)(struct io *io, int fd);
    int (*truncate)(struct io *io, int fd, uint64_t size_bytes);
    int (*allocate)(struct io *io, int fd, enum io_allocate_mode mode, uint64_t offset,
                    uint64_t bytes);
    int (*size)(struct io *io, int fd, uint64_t *ret_bytes);
    int (*unlink)(struct io *io, const char *path);
    int (*rename)(struct io *io, const char *from, const char *to);
    int (*mkdir)(struct io *io, const char *path); /* -EEXIST when there */
    int (*sync_dir)(struct io *io, const char *path);
    int (*list_dir)(struct io *io, const char *path, io_list_cb cb, void *ctx);
    /* The operating system's descriptor, for loop/ring.h. NULL: there is none; so in every
     * implementation that has its own idea of a read. */
    int (*os_fd)(struct io *io, int fd);
};

/* First member of an implementation. */
struct io {
    const struct io_ops *ops;
};

/* The operating system. */
struct io *io_real(void);

/* Whole-buffer forms: 0, or a negative code; a short transfer is continued and
 * end of file before `bytes` gives ERR_CORRUPT (read) or ERR_SHORT_WRITE. */
int io_read_full(struct io *io, int fd, void *ret_data, size_t bytes, uint64_t offset);
int io_write_full(struct io *io, int fd, const void *data, size_t bytes, uint64_t offset);
/* For a descriptor opened with IO_OPEN_DIRECT: `data`, `bytes` and `offset` are multiples of
 * IO_DIRECT_BYTES, and what a short write left is written again from such a boundary. */
int io_write_direct(struct io *io, int fd, const void *data, size_t bytes, uint64_t offset);
/* The same of several buffers, behind one another in the file. `iov` is changed. */
int io_writev_direct(struct io *io, int fd, struct iovec *iov, int iov_count, uint64_t offset);
/* `iov` is changed. */
int io_writev_full(struct io *io, int fd, struct iovec *iov, int iov_count, uint64_t offset);

/* A small file: read whole (at most `bytes_max`; the caller frees *ret_data), or
 * replaced atomically and durably (temporary name, fdatasync, rename, sync_dir). */
int io_load_file(struct io *io, const char *path, size_t bytes_max, uint8_t **ret_data,
                 size_t *ret_bytes);
int io_store_file(struct io *io, const char *dir, const char *name, const void *data, size_t bytes);
/* A directory, or one that is there already. */
int io_make_dir(struct io *io, const char *path);

#endif
