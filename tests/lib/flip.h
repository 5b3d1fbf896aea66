/* Turns one bit over, of any object or of a file: tests that a checksum covers it. */
#ifndef TESTS_LIB_FLIP_H
#define TESTS_LIB_FLIP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

static inline void flip_bit(void *object, unsigned bit)
{
    uint8_t *byte = (uint8_t *)object + bit / 8;

    *byte = (uint8_t)(*byte ^ (1u << bit % 8));
}

static inline void flip_in_file(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    flip_bit(&byte, 6);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

#endif
