/* The tables of one commit, with keys that a client has chosen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "asd/commit_private.h"
#include "base/mem.h"

enum { KEYS = 5000, SHARED_BITS = 0x7f, CHAIN_MAX = 40 };

/* The next one, from *number, whose hash ends in zeros where nobody has keyed the hash: all such
 * keys share a bucket of the table, which then gives up growing. */
static uint64_t next_key(uint64_t *number)
{
    unsigned hash;

    do {
        (*number)++;
        HASH_JEN(number, sizeof *number, hash);
    } while ((hash & SHARED_BITS) != 0);
    return *number;
}

static unsigned longest_chain(const UT_hash_table *table)
{
    unsigned longest = 0;

    for (unsigned i = 0; i < table->num_buckets; i++) {
        longest = table->buckets[i].count > longest ? table->buckets[i].count : longest;
    }
    return longest;
}

static void keys_chosen_to_meet_in_one_bucket_do_not(void **state)
{
    struct commit_key *states = mem_array(KEYS, sizeof *states);
    struct commit_change *changes = mem_array(KEYS, sizeof *changes);
    uint64_t *keys = mem_array(KEYS, sizeof *keys);
    struct commit_key *looked_at = NULL;
    struct commit_change *seen = NULL;
    uint64_t number = 0;

    (void)state;
    for (unsigned i = 0; i < KEYS; i++) {
        struct commit_key *found;

        keys[i] = next_key(&number);
        HASH_ADD_KEYPTR(hh, looked_at, &keys[i], sizeof keys[i], &states[i]);
        HASH_ADD_KEYPTR(hh, seen, &keys[i], sizeof keys[i], &changes[i]);
        HASH_FIND(hh, looked_at, &number, sizeof number, found);
        assert_ptr_equal(found, &states[i]);
    }
    assert_in_range(longest_chain(looked_at->hh.tbl), 1, CHAIN_MAX);
    assert_in_range(longest_chain(seen->hh.tbl), 1, CHAIN_MAX);
    HASH_CLEAR(hh, looked_at);
    HASH_CLEAR(hh, seen);
    free(states);
    free(changes);
    free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_chosen_to_meet_in_one_bucket_do_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
