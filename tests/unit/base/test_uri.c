#include "base/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(const char *text, const char *also_plain, const char *escaped)
{
    char *got = uri_escape(text, also_plain);

    assert_string_equal(got, escaped);
    free(got);
}

static void what_a_uri_may_not_hold_is_escaped(void **state)
{
    (void)state;
    expect("", "", "");
    expect("aZ09-._~", "", "aZ09-._~");
    expect("a disk/1?x=100%&y#z", "", "a%20disk%2F1%3Fx%3D100%25%26y%23z");
    expect("/srv/my disk/nbd.sock", "/", "/srv/my%20disk/nbd.sock");
    expect("\xc3\xa4\x7f\x01", "/", "%C3%A4%7F%01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_a_uri_may_not_hold_is_escaped)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
