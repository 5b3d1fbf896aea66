/* Is a history of concurrent transactions on a few names linearizable?
 *
 * A name holds a value, 0 = nothing; at first all hold nothing. A transaction asserts something of
 * some names and writes some; a read is one that asserts the value it saw and writes nothing. The
 * history is linearizable if there is one order of all transactions that agrees with every outcome
 * and in which nothing stands before what had ended before it was called.
 *
 * Search after Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of
 * visited states that Lowe added ("Testing for Linearizability", 2017). One thread. */
#ifndef TESTS_LIB_LINEAR_H
#define TESTS_LIB_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINEAR_NAMES = 3, LINEAR_OPS_MAX = 256, LINEAR_NAME_ANY = LINEAR_NAMES };

enum linear_assert_kind { LINEAR_ANY, LINEAR_IS, LINEAR_EXISTS };

struct linear_assert {
    enum linear_assert_kind kind;
    uint32_t value; /* of LINEAR_IS; 0: absent */
};

enum linear_outcome {
    LINEAR_DONE,
    LINEAR_REFUSED, /* an assert did not hold: that of refused_name, or LINEAR_NAME_ANY */
    LINEAR_UNKNOWN  /* happened at some time after the call, or never will */
};

struct linear_op {
    uint64_t called; /* all times of a history are different */
    uint64_t returned;
    uint64_t until; /* not 0: if it happens, then before whatever is called after this */
    enum linear_outcome outcome;
    unsigned refused_name;
    struct linear_assert asserts[LINEAR_NAMES];
    bool writes[LINEAR_NAMES];
    uint32_t values[LINEAR_NAMES]; /* what it writes; 0: deletes */
};

/* `ops` in order of their call. False: no order explains them; then ret_blocked[0 … *ret_count - 1]
 * are the transactions of which one must have come next where the search got farthest. */
bool linear_check(const struct linear_op *ops, size_t count, size_t ret_blocked[LINEAR_OPS_MAX],
                  size_t *ret_count);

#endif
