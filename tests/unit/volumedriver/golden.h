/* Golden files of the volume driver: bytes that every later version must still produce or
 * read. GOLDEN_WRITE=1 in the environment writes them anew. */
#ifndef TESTS_UNIT_VOLUMEDRIVER_GOLDEN_H
#define TESTS_UNIT_VOLUMEDRIVER_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static inline void golden_expect(const char *name, const void *data, size_t bytes)
{
    char *path = mem_printf("%s/volumedriver/%s", GOLDEN_DIR, name);
    uint8_t *have = mem_alloc(bytes + 1);
    FILE *f;

    if (getenv("GOLDEN_WRITE") != NULL) {
        f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, bytes, f), bytes);
        fclose(f);
    }
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(have, 1, bytes + 1, f), bytes);
    fclose(f);
    assert_memory_equal(have, data, bytes);
    free(have);
    free(path);
}

#endif
