#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/hex.h"
#include "proxy/digest.h"

static struct checksum of_parts(uint8_t algo, const char *a, const char *b)
{
    struct digest digest;
    struct checksum result;

    digest_init(&digest, algo);
    digest_add(&digest, a, strlen(a), crc32c(0, a, strlen(a)));
    digest_add(&digest, b, strlen(b), crc32c(0, b, strlen(b)));
    result = digest_result(&digest);
    digest_release(&digest);
    return result;
}

static void checksums_of_parts_are_those_of_the_whole(void **state)
{
    uint8_t sha1[CHECKSUM_SHA1_BYTES];
    struct checksum c;

    (void)state;
    assert_int_equal(of_parts(CHECKSUM_CRC32C, "1234", "56789").crc32c, 0xe3069283);
    assert_int_equal(of_parts(CHECKSUM_CRC32C, "", "").crc32c, 0);
    c = of_parts(CHECKSUM_SHA1, "a", "bc"); /* FIPS 180: "abc" */
    assert_int_equal(hex_decode(sha1, sizeof(sha1), "a9993e364706816aba3e25717850c26c9cd0d89d"), 0);
    assert_memory_equal(c.sha1, sha1, sizeof(sha1));
    assert_int_equal(of_parts(CHECKSUM_NONE, "a", "b").algo, CHECKSUM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_of_parts_are_those_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
