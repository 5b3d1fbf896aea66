/* What the tests of the crash disk share. */
#ifndef TESTS_UNIT_LOOP_CRASH_DISK_STEPS_H
#define TESTS_UNIT_LOOP_CRASH_DISK_STEPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/crash_disk.h"

enum { SEEDS = 300 };

static inline struct io *io_of(struct crash_disk *d)
{
    return crash_disk_io(d);
}

static inline int open_file(struct crash_disk *d, const char *path, int flags)
{
    int fd = io_of(d)->ops->open(io_of(d), path, flags);

    assert_true(fd >= 0);
    return fd;
}

static inline int create(struct crash_disk *d, const char *path)
{
    return open_file(d, path, IO_OPEN_WRITE | IO_OPEN_CREATE);
}

static inline void put(struct crash_disk *d, int fd, char byte, size_t bytes, uint64_t offset)
{
    uint8_t *data = mem_alloc(bytes);

    memset(data, byte, bytes);
    assert_int_equal(io_write_full(io_of(d), fd, data, bytes, offset), 0);
    free(data);
}

static inline void sync_file(struct crash_disk *d, int fd)
{
    assert_int_equal(io_of(d)->ops->fdatasync(io_of(d), fd), 0);
}

static inline void sync_dir(struct crash_disk *d, const char *path)
{
    assert_int_equal(io_of(d)->ops->sync_dir(io_of(d), path), 0);
}

static inline bool exists(struct crash_disk *d, const char *path)
{
    int fd = io_of(d)->ops->open(io_of(d), path, IO_OPEN_READ);

    if (fd >= 0) {
        io_of(d)->ops->close(io_of(d), fd);
    }
    return fd >= 0;
}

/* A new disk with the durable file "/f" that holds `bytes` times 'o'; *ret_fd is open. */
static inline struct crash_disk *disk_with_file(uint64_t seed, size_t bytes, int *ret_fd)
{
    struct crash_disk *d = crash_disk_new(seed);

    *ret_fd = create(d, "/f");
    if (bytes != 0) {
        put(d, *ret_fd, 'o', bytes, 0);
    }
    sync_file(d, *ret_fd);
    sync_dir(d, "/");
    return d;
}

struct content {
    uint8_t *data;
    size_t bytes;
};

static inline struct content load(struct crash_disk *d, const char *path)
{
    struct content c;

    assert_int_equal(io_load_file(io_of(d), path, 1 << 26, &c.data, &c.bytes), 0);
    return c;
}

/* The byte that all of sector `i` holds; '!' for a mixed one. */
static inline char sector(const struct content *c, size_t i)
{
    const uint8_t *p = c->data + i * CRASH_SECTOR_BYTES;

    for (size_t j = 1; j < CRASH_SECTOR_BYTES; j++) {
        if (p[j] != p[0]) {
            return '!';
        }
    }
    return (char)p[0];
}

#endif
