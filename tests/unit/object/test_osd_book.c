/* Which OSDs a client keeps in mind as the proxy's list changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/loop_fixture.h"
#include "object/osd_book.h"
#include "wire/proxy_reply.h"

enum { OSDS_MAX = 8 };

struct fixture {
    struct loop_fixture base;
    struct osd_book *book;
};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){0};
    loop_fixture_init(&f.base);
    f.book = osd_book_new(&f.base.loop, &(struct osd_book_options){.connect_timeout_ms = 100});
    *state = &f;
    return 0;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    bool closed = false;

    osd_book_close(f->book, on_closed, &closed);
    loop_fixture_run_until(&f->base, &closed);
    loop_fixture_release(&f->base);
    return 0;
}

/* The OSDs first … first + count - 1, each at an address of its own. */
static void list(struct fixture *f, uint64_t first, uint32_t count)
{
    struct slice host = slice_str("127.0.0.1");
    struct proxy_osd osds[OSDS_MAX] = {0};
    struct proxy_alba alba = {.alba_id = slice_str("ours"), .osds = osds, .osd_count = count};

    for (uint32_t i = 0; i < count; i++) {
        osds[i].osd_id = first + i;
        osds[i].info = (struct osd_info){.kind = OSD_KIND_ASD,
                                         .hosts = &host,
                                         .host_count = 1,
                                         .port = (int32_t)(1 + first + i),
                                         .long_id = slice_str("long")};
    }
    osd_book_set(f->book, &alba);
}

static void osds_that_are_not_listed_any_more_are_forgotten(void **state)
{
    struct fixture *f = *state;

    list(f, 1, 4);
    for (uint64_t first = 1; first < 1000; first += 2) {
        assert_non_null(book_osd_client(osd_book_find(f->book, first)));
        list(f, first + 2, 4);
        assert_int_equal(osd_book_count(f->book), 4);
        assert_null(osd_book_find(f->book, first));
        assert_non_null(osd_book_find(f->book, first + 2));
    }
    list(f, 0, 0);
    assert_int_equal(osd_book_count(f->book), 0);
}

static void one_that_is_in_use_is_forgotten_when_it_is_let_go(void **state)
{
    struct fixture *f = *state;
    struct book_osd *osd;

    list(f, 1, 3);
    osd = osd_book_find(f->book, 2);
    book_osd_hold(osd);
    book_osd_hold(osd);
    list(f, 5, 2);
    assert_int_equal(osd_book_count(f->book), 3);
    assert_true(osd->gone);
    assert_false(book_osd_take(osd, 1));
    book_osd_release(osd);
    assert_int_equal(osd_book_count(f->book), 3);
    book_osd_release(osd);
    assert_int_equal(osd_book_count(f->book), 2);
    assert_null(osd_book_find(f->book, 2));
}

static void one_that_comes_back_while_it_is_in_use_is_the_same(void **state)
{
    struct fixture *f = *state;
    struct book_osd *osd;

    list(f, 1, 3);
    osd = osd_book_find(f->book, 2);
    book_osd_hold(osd);
    list(f, 5, 2);
    list(f, 1, 3);
    assert_ptr_equal(osd_book_find(f->book, 2), osd);
    assert_true(book_osd_take(osd, 1));
    book_osd_note(osd, 0);
    book_osd_release(osd);
    assert_int_equal(osd_book_count(f->book), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(osds_that_are_not_listed_any_more_are_forgotten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_is_in_use_is_forgotten_when_it_is_let_go, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_that_comes_back_while_it_is_in_use_is_the_same, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
