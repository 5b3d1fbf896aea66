#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rnd.h"
#include "proxy/epochs.h"
#include "proxy/index_cache.h"
#include "proxy/manifest_cache.h"

static struct object *make(uint64_t ns_id, const char *name, uint32_t chunks)
{
    struct manifest m = {.size_bytes = chunks, .scheme = {.k = 4, .m = 2}};

    manifest_set(&m.name, slice_str(name));
    manifest_set(&m.object_id, slice_str("id"));
    manifest_alloc_chunks(&m, chunks);
    return object_new(ns_id, &m);
}

static void put(struct manifest_cache *cache, uint64_t ns_id, const char *name, uint32_t chunks)
{
    struct object *object = make(ns_id, name, chunks);

    manifest_cache_put(cache, object);
    object_drop(object);
}

/* Size of the cached object, 0: not there. */
static uint64_t peek(struct manifest_cache *cache, uint64_t ns_id, const char *name)
{
    struct object *object = manifest_cache_get(cache, ns_id, slice_str(name));
    uint64_t size = object == NULL ? 0 : object->manifest.size_bytes;

    object_drop(object);
    return size;
}

static void a_name_has_one_manifest_for_each_namespace(void **state)
{
    struct manifest_cache cache;

    (void)state;
    manifest_cache_init(&cache, 1 << 20);
    put(&cache, 1, "a", 1);
    put(&cache, 2, "a", 2);
    put(&cache, 1, "a", 3);
    assert_int_equal(peek(&cache, 1, "a"), 3);
    assert_int_equal(peek(&cache, 2, "a"), 2);
    assert_int_equal(cache.items.count, 2);
    manifest_cache_remove(&cache, 1, slice_str("a"));
    manifest_cache_remove(&cache, 1, slice_str("a"));
    assert_int_equal(peek(&cache, 1, "a"), 0);
    manifest_cache_release(&cache);
    assert_int_equal(cache.items.used_bytes, 0);
}

static void offer(struct manifest_cache *cache, const char *name, uint32_t chunks, uint32_t stamp)
{
    struct object *object = make(1, name, chunks);

    manifest_cache_offer(cache, object, stamp);
    object_drop(object);
}

static void an_answer_older_than_a_change_of_its_name_is_not_kept(void **state)
{
    struct manifest_cache cache;
    uint32_t a, b;

    (void)state;
    manifest_cache_init(&cache, 1 << 20);
    a = manifest_cache_stamp(&cache, 1, slice_str("a"));
    offer(&cache, "a", 1, a); /* nothing happened */
    assert_int_equal(peek(&cache, 1, "a"), 1);
    a = manifest_cache_stamp(&cache, 1, slice_str("a"));
    b = manifest_cache_stamp(&cache, 1, slice_str("b"));
    put(&cache, 1, "a", 2); /* written while the question was under way */
    offer(&cache, "a", 1, a);
    assert_int_equal(peek(&cache, 1, "a"), 0);
    a = manifest_cache_stamp(&cache, 1, slice_str("a"));
    manifest_cache_remove(&cache, 1, slice_str("a")); /* deleted, and nothing was cached */
    offer(&cache, "a", 1, a);
    assert_int_equal(peek(&cache, 1, "a"), 0);
    offer(&cache, "b", 3, b); /* other names do not mind */
    assert_int_equal(peek(&cache, 1, "b"), 3);
    b = manifest_cache_stamp(&cache, 1, slice_str("b"));
    manifest_cache_remove_namespace(&cache, 1);
    offer(&cache, "b", 3, b);
    assert_int_equal(peek(&cache, 1, "b"), 0);
    manifest_cache_release(&cache);
}

static void bytes_are_bounded_and_what_is_used_stays(void **state)
{
    struct manifest_cache cache;
    char name[16];

    (void)state;
    manifest_cache_init(&cache, 20000);
    put(&cache, 1, "kept", 9);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "o%u", i);
        put(&cache, 1, name, 1);
        assert_true(cache.items.used_bytes <= 20000);
        assert_int_equal(peek(&cache, 1, "kept"), 9); /* used all the time */
    }
    assert_int_equal(peek(&cache, 1, "o0"), 0);
    assert_int_equal(peek(&cache, 1, "o999"), 1);
    put(&cache, 1, "too large", 10000);
    assert_int_equal(peek(&cache, 1, "too large"), 0);
    manifest_cache_release(&cache);
}

static void a_namespace_is_dropped_whole(void **state)
{
    struct manifest_cache cache;

    (void)state;
    manifest_cache_init(&cache, 1 << 20);
    put(&cache, 1, "a", 1);
    put(&cache, 2, "b", 1);
    put(&cache, 1, "c", 1);
    manifest_cache_remove_namespace(&cache, 1);
    assert_int_equal(peek(&cache, 1, "a") + peek(&cache, 1, "c"), 0);
    assert_int_equal(peek(&cache, 2, "b"), 1);
    manifest_cache_release(&cache);
}

static void a_reader_keeps_its_manifest_when_the_cache_lets_go(void **state)
{
    struct manifest_cache cache;
    struct object *held;

    (void)state;
    manifest_cache_init(&cache, 1 << 20);
    put(&cache, 1, "a", 7);
    held = manifest_cache_get(&cache, 1, slice_str("a"));
    manifest_cache_release(&cache);
    assert_int_equal(held->manifest.size_bytes, 7);
    object_drop(held);
}

static void one_in_doubt_goes_unless_it_is_fresh_or_was_replaced(void **state)
{
    struct manifest_cache cache;
    struct object *old;

    (void)state;
    manifest_cache_init(&cache, 1 << 20);
    put(&cache, 1, "a", 1);
    old = manifest_cache_get(&cache, 1, slice_str("a"));
    manifest_cache_doubt(&cache, old); /* fresh */
    assert_int_not_equal(peek(&cache, 1, "a"), 0);
    old->born_ms -= MANIFEST_CACHE_DOUBT_MS;
    put(&cache, 1, "a", 2);
    manifest_cache_doubt(&cache, old); /* replaced */
    assert_int_not_equal(peek(&cache, 1, "a"), 0);
    manifest_cache_put(&cache, old);
    manifest_cache_doubt(&cache, old);
    assert_int_equal(peek(&cache, 1, "a"), 0);
    object_drop(old);
    manifest_cache_release(&cache);
}

static void trailers_are_kept_by_what_they_describe(void **state)
{
    struct index_cache cache;
    struct index_key key = {.id = {.chunk = 1, .fragment = 2}, .stored_bytes = 100};
    enum { OTHERS = 6 };
    struct index_key others[OTHERS] = {key, key, key, key, key, key};

    (void)state;
    index_cache_init(&cache, 4000);
    others[0].version = 1;
    others[1].raw_bytes = 1;
    others[2].block_bytes = 1;
    others[3].codec = 1;
    others[4].cipher = 1;
    others[5].stored_bytes = 101;
    for (uint32_t i = 0; i < 100; i++) {
        struct fragment_index index = {.block_count = 10,
                                       .entries = mem_array(10, sizeof(struct fragment_entry))};
        struct shared_index *shared = shared_index_new(&index);

        key.id.chunk = i;
        index_cache_put(&cache, &key, shared);
        shared_index_drop(shared);
        assert_true(cache.items.used_bytes <= 4000);
        shared = index_cache_get(&cache, &key);
        assert_non_null(shared);
        shared_index_drop(shared);
        for (size_t o = 0; o < OTHERS; o++) {
            others[o].id.chunk = i;
            assert_null(index_cache_get(&cache, &others[o]));
        }
    }
    assert_int_equal(cache.hits, 100);
    assert_int_equal(cache.misses, 100 * OTHERS);
    index_cache_release(&cache);
}

static void epochs_are_remembered_and_forgotten(void **state)
{
    struct epochs epochs;
    uint64_t epoch = 0;

    (void)state;
    epochs_init(&epochs);
    assert_false(epochs_get(&epochs, 1, &epoch));
    epochs_set(&epochs, 1, 5);
    epochs_set(&epochs, 2, 6);
    epochs_set(&epochs, 1, 7);
    assert_true(epochs_get(&epochs, 1, &epoch));
    assert_int_equal(epoch, 7);
    epochs_forget(&epochs, 1);
    epochs_forget(&epochs, 1);
    assert_false(epochs_get(&epochs, 1, &epoch));
    assert_true(epochs_get(&epochs, 2, &epoch));
    epochs_release(&epochs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_one_manifest_for_each_namespace),
        cmocka_unit_test(an_answer_older_than_a_change_of_its_name_is_not_kept),
        cmocka_unit_test(bytes_are_bounded_and_what_is_used_stays),
        cmocka_unit_test(a_namespace_is_dropped_whole),
        cmocka_unit_test(a_reader_keeps_its_manifest_when_the_cache_lets_go),
        cmocka_unit_test(one_in_doubt_goes_unless_it_is_fresh_or_was_replaced),
        cmocka_unit_test(trailers_are_kept_by_what_they_describe),
        cmocka_unit_test(epochs_are_remembered_and_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
