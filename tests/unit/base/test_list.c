#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/list.h"

struct item {
    int id;
    struct list link;
};

static void expect_ids(const struct list *l, const char *ids)
{
    LIST_FOR_EACH (it, l) {
        assert_int_equal(container_of(it, struct item, link)->id, *ids);
        assert_ptr_equal(it->next->prev, it);
        ids++;
    }
    assert_int_equal(*ids, '\0');
}

static void items_keep_the_order_they_were_put_in(void **state)
{
    struct item a = {.id = 'a'}, b = {.id = 'b'}, c = {.id = 'c'};
    struct list l;

    (void)state;
    list_init(&l);
    assert_true(list_empty(&l));
    expect_ids(&l, "");
    list_push(&l, &b.link);
    list_push(&l, &c.link);
    list_push_front(&l, &a.link);
    assert_false(list_empty(&l));
    expect_ids(&l, "abc");
    list_remove(&b.link);
    assert_true(list_empty(&b.link));
    list_remove(&b.link); /* on no list: harmless */
    expect_ids(&l, "ac");
    assert_ptr_equal(list_pop(&l), &a.link);
    assert_ptr_equal(list_pop(&l), &c.link);
    assert_null(list_pop(&l));
}

static void a_splice_appends_and_leaves_nothing(void **state)
{
    struct item items[4] = {{.id = 'a'}, {.id = 'b'}, {.id = 'c'}, {.id = 'd'}};
    struct list to, from;

    (void)state;
    list_init(&to);
    list_init(&from);
    list_splice(&to, &from);
    expect_ids(&to, "");
    list_push(&from, &items[0].link);
    list_push(&from, &items[1].link);
    list_splice(&to, &from);
    expect_ids(&to, "ab");
    assert_true(list_empty(&from));
    list_push(&from, &items[2].link);
    list_push(&from, &items[3].link);
    list_splice(&to, &from);
    expect_ids(&to, "abcd");
    list_splice(&to, &from);
    expect_ids(&to, "abcd");
}

static void the_safe_loop_may_remove_and_free(void **state)
{
    struct list l;

    (void)state;
    list_init(&l);
    for (int i = 'a'; i <= 'f'; i++) {
        struct item *item = malloc(sizeof *item);

        assert_non_null(item);
        item->id = i;
        list_push(&l, &item->link);
    }
    LIST_FOR_EACH_SAFE (it, &l) {
        struct item *item = container_of(it, struct item, link);

        if (item->id % 2 == 0) {
            list_remove(it);
            free(item);
        }
    }
    expect_ids(&l, "ace");
    LIST_FOR_EACH_SAFE (it, &l) {
        free(container_of(it, struct item, link));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_keep_the_order_they_were_put_in),
        cmocka_unit_test(a_splice_appends_and_leaves_nothing),
        cmocka_unit_test(the_safe_loop_may_remove_and_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
