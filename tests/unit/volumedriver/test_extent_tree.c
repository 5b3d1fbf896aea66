#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rnd.h"
#include "volumedriver/extent_tree.h"
#include "volumedriver/frame.h"

enum { CLUSTERS = 600, ROUNDS = 400 };

struct model {
    struct record *owner[CLUSTERS];
};

static void compare(const struct extent_tree *t, const struct model *m)
{
    uint32_t data = 0, extents = 0;
    uint64_t zero = 0;

    for (uint64_t c = 0; c < CLUSTERS;) {
        const struct extent *x = extent_tree_find(t, c);

        while (c < CLUSTERS && (x == NULL || c < x->start)) {
            assert_null(m->owner[c++]);
        }
        if (x == NULL) {
            break;
        }
        extents++;
        for (; c < x->start + x->count; c++) {
            assert_ptr_equal(m->owner[c], x->record);
            assert_int_equal(x->record->cluster + x->skip + (c - x->start), c);
            data += x->record->op == FRAME_OP_WRITE;
            zero += x->record->op != FRAME_OP_WRITE;
        }
    }
    assert_int_equal(data, t->data_clusters);
    assert_int_equal(zero, t->zero_clusters);
    assert_int_equal(extents, t->count);
}

static void random_inserts_and_forgets_match_an_array(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct record *records[ROUNDS];
        struct extent_tree t = {0};
        struct rnd rnd = rnd_seed(seed);
        struct model m = {0};

        for (uint64_t i = 0; i < ROUNDS; i++) {
            uint32_t count = 1 + (uint32_t)rnd_below(&rnd, rnd_below(&rnd, 10) == 0 ? 200 : 8);
            uint64_t cluster = rnd_below(&rnd, CLUSTERS - count + 1);
            uint8_t op = rnd_below(&rnd, 4) == 0 ? FRAME_OP_TRIM : FRAME_OP_WRITE;

            records[i] = record_new(op, cluster, count);
            records[i]->seq = i + 1;
            extent_tree_insert(&t, records[i]);
            for (uint64_t c = cluster; c < cluster + count; c++) {
                m.owner[c] = records[i];
            }
            if (rnd_below(&rnd, 8) == 0) {
                uint64_t last = rnd_below(&rnd, i + 2);

                extent_tree_forget(&t, 0, CLUSTERS, last);
                for (uint64_t c = 0; c < CLUSTERS; c++) {
                    m.owner[c] = m.owner[c] && m.owner[c]->seq <= last ? NULL : m.owner[c];
                }
            }
            compare(&t, &m);
        }
        extent_tree_release(&t);
        for (uint64_t i = 0; i < ROUNDS; i++) {
            free(records[i]);
        }
    }
}

static void find_gives_the_first_extent_at_or_behind(void **state)
{
    struct record *a = record_new(FRAME_OP_WRITE, 10, 5), *b = record_new(FRAME_OP_WRITE, 20, 5);
    struct extent_tree t = {0};

    (void)state;
    assert_null(extent_tree_find(&t, 0));
    extent_tree_insert(&t, b);
    extent_tree_insert(&t, a);
    assert_int_equal(extent_tree_find(&t, 0)->start, 10);
    assert_int_equal(extent_tree_find(&t, 14)->start, 10);
    assert_int_equal(extent_tree_find(&t, 15)->start, 20);
    assert_null(extent_tree_find(&t, 25));
    extent_tree_release(&t);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_inserts_and_forgets_match_an_array),
        cmocka_unit_test(find_gives_the_first_extent_at_or_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
