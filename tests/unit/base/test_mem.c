#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

static void fresh_memory_is_as_the_names_say(void **state)
{
    uint64_t *array = mem_array(1000, sizeof *array);
    char *zeroes = mem_zalloc(1000), *aligned = mem_aligned(4096, 5000);
    char *copy = mem_dup("a\0b", 3), *text = mem_strdup("text");
    char *printed = mem_printf("%s/%d", "dir", 7);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_true(array[i] == 0 && zeroes[i] == 0);
    }
    assert_int_equal((uintptr_t)aligned % 4096, 0);
    memset(aligned, 1, 5000);
    assert_memory_equal(copy, "a\0b", 3);
    assert_string_equal(text, "text");
    assert_string_equal(printed, "dir/7");
    array = mem_realloc(array, 2000 * sizeof *array);
    array[1999] = 1;
    assert_true(array[999] == 0);
    free(array);
    free(zeroes);
    free(aligned);
    free(copy);
    free(text);
    free(printed);
}

static void no_bytes_are_a_pointer_to_free(void **state)
{
    void *all[] = {mem_alloc(0),        mem_zalloc(0),    mem_array(0, 8),
                   mem_aligned(512, 0), mem_dup(NULL, 0), mem_realloc(mem_alloc(1), 0)};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_non_null(all[i]);
        free(all[i]);
    }
}

static volatile size_t absurd = SIZE_MAX / 4; /* the compiler may not know */

static void allocate_absurdly(void)
{
    free(mem_alloc(absurd));
}

static void overflow_an_array(void)
{
    free(mem_array(absurd, 16));
}

static void fail_a_check(void)
{
    CHECK(absurd == 0);
}

/* In a child, which has to die of it. */
static void expect_death(void (*call)(void))
{
    static const struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        call();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void our_own_mistakes_and_lack_of_memory_end_the_process(void **state)
{
    (void)state;
    expect_death(allocate_absurdly);
    expect_death(overflow_an_array);
    expect_death(fail_a_check);
}

static void clocks_run_forward_and_in_their_units(void **state)
{
    uint64_t mono_ms = clock_mono_ms(), mono_ns = clock_mono_ns(), wall_us = clock_wall_us();

    (void)state;
    assert_true(wall_us > UINT64_C(1577836800) * 1000000); /* 2020 */
    assert_true(wall_us < UINT64_C(4102444800) * 1000000); /* 2100 */
    assert_true(mono_ns / 1000000 >= mono_ms && mono_ns / 1000000 - mono_ms < 1000);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_ns();

        assert_true(now >= mono_ns);
        mono_ns = now;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_is_as_the_names_say),
        cmocka_unit_test(no_bytes_are_a_pointer_to_free),
        cmocka_unit_test(our_own_mistakes_and_lack_of_memory_end_the_process),
        cmocka_unit_test(clocks_run_forward_and_in_their_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
