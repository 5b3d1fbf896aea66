/* The conformance suite of metadata engines. */
#ifndef TESTS_UNIT_META_KV_SUITE_H
#define TESTS_UNIT_META_KV_SUITE_H

#include <uv.h>

#include "meta/kv.h"

/* `open` gives a client of the one store that is tested; the store begins empty and stays. What
 * cmocka_run_group_tests() returns. */
int kv_suite_run(struct kv *(*open)(uv_loop_t *loop));

#endif
