#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/asd/key_set.h"

const char *key_set_key(unsigned i)
{
    static char key[16];

    snprintf(key, sizeof(key), "k%03u", i);
    return key;
}

size_t key_set_bytes(unsigned i)
{
    return i % 3 == 0 ? 200 + i : 100000 + 4099 * (size_t)i;
}

void key_set_put(struct asd_fixture *f, const uint8_t *large)
{
    for (unsigned i = 0; i < KEY_SET_COUNT; i++) {
        assert_int_equal(asd_fixture_set(f, key_set_key(i), large + i, key_set_bytes(i)), 0);
    }
}

int key_set_get(struct asd_fixture *f, const uint8_t *large, unsigned i)
{
    uint8_t *data = NULL;
    uint32_t bytes = 0;
    int rc = asd_fixture_get(f, slice_str(key_set_key(i)), &data, &bytes);

    if (rc == 0) {
        assert_int_equal(bytes, key_set_bytes(i));
        assert_memory_equal(data, large + i, bytes);
    }
    free(data);
    return rc;
}

void key_set_expect(struct asd_fixture *f, const uint8_t *large)
{
    for (unsigned i = 0; i < KEY_SET_COUNT; i++) {
        assert_int_equal(key_set_get(f, large, i), 0);
    }
}
