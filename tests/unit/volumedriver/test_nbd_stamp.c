/* The stamping verifier must find what it is there to find. */
#include "e2e/nbd_stamp_table.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"
#include "lib/tempdir.h"

/* ---- one block ---- */

static void a_stamp_is_judged_by_its_sequence(void **state)
{
    uint8_t data[STAMP_BLOCK_BYTES];
    uint64_t found;

    (void)state;
    stamp_fill(data, 7, 100, 50);
    assert_int_equal(stamp_judge(data, 7, 100, 50, 50, &found), STAMP_GOOD);
    assert_int_equal(found, 50);
    assert_int_equal(stamp_judge(data, 7, 100, 40, 60, &found), STAMP_GOOD);
    assert_int_equal(stamp_judge(data, 7, 100, 0, 50, &found), STAMP_GOOD);
    assert_int_equal(stamp_judge(data, 7, 100, 51, 60, &found), STAMP_STALE);
    assert_int_equal(stamp_judge(data, 7, 100, 40, 49, &found), STAMP_FOREIGN);
    assert_int_equal(stamp_judge(data, 8, 100, 50, 50, &found), STAMP_FOREIGN);
    assert_int_equal(stamp_judge(data, 7, 101, 50, 50, &found), STAMP_FOREIGN);
}

static void zeroes_are_good_only_before_the_first_acknowledgement(void **state)
{
    uint8_t data[STAMP_BLOCK_BYTES] = {0};
    uint64_t found;

    (void)state;
    assert_int_equal(stamp_judge(data, 7, 100, 0, 50, &found), STAMP_GOOD);
    assert_int_equal(stamp_judge(data, 7, 100, 1, 50, &found), STAMP_LOST);
}

static void half_a_stamp_is_torn_wherever_it_is_cut(void **state)
{
    uint8_t old[STAMP_BLOCK_BYTES], new[STAMP_BLOCK_BYTES], data[STAMP_BLOCK_BYTES];
    uint64_t found;

    (void)state;
    stamp_fill(old, 7, 100, 50);
    stamp_fill(new, 7, 100, 51);
    for (size_t cut = 512; cut < STAMP_BLOCK_BYTES; cut += 512) {
        memcpy(data, new, cut);
        memcpy(data + cut, old + cut, STAMP_BLOCK_BYTES - cut);
        assert_int_equal(stamp_judge(data, 7, 100, 50, 51, &found), STAMP_TORN);
        memset(data + cut, 0, STAMP_BLOCK_BYTES - cut);
        assert_int_equal(stamp_judge(data, 7, 100, 50, 51, &found), STAMP_TORN);
    }
    stamp_fill(data, 7, 100, 50);
    data[1000] ^= 1;
    assert_int_equal(stamp_judge(data, 7, 100, 50, 51, &found), STAMP_TORN);
}

/* ---- the program ---- */

struct fixture {
    char *dir;
    pid_t server;
};

static pid_t start(const char *const *argv, int out)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (out >= 0) {
            dup2(out, STDOUT_FILENO);
        }
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static void start_ram(struct fixture *f)
{
    char *address = mem_printf("unix://%s/nbd.sock", f->dir);
    const char *argv[] = {NBD_RAM_SERVER, "64", address, NULL};
    char line[512];
    int fds[2];
    FILE *in;

    assert_int_equal(pipe(fds), 0);
    f->server = start(argv, fds[1]);
    close(fds[1]);
    in = fdopen(fds[0], "r");
    assert_non_null(fgets(line, sizeof(line), in)); /* it listens */
    fclose(in);
    free(address);
}

static void stop_server(struct fixture *f, int number)
{
    kill(f->server, number);
    assert_int_equal(waitpid(f->server, NULL, 0), f->server);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    f->dir = tempdir_make();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tempdir_remove(f->dir);
    free(f);
    return 0;
}

/* Its exit code; `verb` may hold options too. What it prints goes to DIR/NAME. */
static int stamp(const struct fixture *f, const char *verb, const char *options, const char *name)
{
    char *command = mem_printf("'%s' %s 'nbd+unix:///?socket=%s/nbd.sock' '%s/table' %s "
                               ">'%s/%s' 2>&1",
                               NBD_STAMP, verb, f->dir, f->dir, options, f->dir, name);
    int rc = system(command);

    free(command);
    assert_true(WIFEXITED(rc));
    return WEXITSTATUS(rc);
}

static bool printed(const struct fixture *f, const char *name, const char *pattern)
{
    char *command = mem_printf("grep -Eq '%s' '%s/%s'", pattern, f->dir, name);
    int rc = system(command);

    free(command);
    return rc == 0;
}

static void shell(const struct fixture *f, const char *command)
{
    char *line = mem_printf("cd '%s' && %s", f->dir, command);

    assert_int_equal(system(line), 0);
    free(line);
}

static void need(const char *program)
{
    char *command = mem_printf("command -v %s >/dev/null 2>&1", program);
    int rc = system(command);

    free(command);
    if (rc != 0) {
        print_message("skipped: %s is not installed\n", program);
        skip();
    }
}

static void a_disk_that_keeps_everything_passes(void **state)
{
    struct fixture *f = *state;

    start_ram(f);
    assert_int_equal(stamp(f, "write", "--seconds 1 --region 16777216", "w"), 0);
    assert_int_equal(stamp(f, "verify", "", "v"), 0);
    assert_int_equal(stamp(f, "verify", "--flushed", "v"), 0);
    assert_true(printed(f, "w", " 0 errors: ok$"));
    assert_true(printed(f, "v", " 0 lost, 0 stale, 0 torn, 0 foreign: ok$"));
    stop_server(f, SIGTERM);
}

static void a_disk_that_lost_everything_fails(void **state)
{
    struct fixture *f = *state;

    start_ram(f);
    assert_int_equal(stamp(f, "write", "--seconds 1 --region 16777216", "w"), 0);
    stop_server(f, SIGKILL);
    start_ram(f);
    assert_int_equal(stamp(f, "verify", "", "v"), 1);
    assert_true(printed(f, "v", "VIOLATED"));
    stop_server(f, SIGTERM);
}

static void a_disk_that_went_back_in_time_fails(void **state)
{
    struct fixture *f = *state;

    need("nbdcopy");
    start_ram(f);
    assert_int_equal(stamp(f, "write", "--seconds 1 --region 1048576", "w"), 0);
    shell(f, "nbdcopy 'nbd+unix:///?socket=nbd.sock' image");
    assert_int_equal(stamp(f, "write", "--seconds 1", "w"), 0);
    assert_int_equal(stamp(f, "verify", "", "v"), 0);
    shell(f, "nbdcopy image 'nbd+unix:///?socket=nbd.sock'");
    assert_int_equal(stamp(f, "verify", "", "v"), 1);
    assert_true(printed(f, "v", " 0 lost, [1-9][0-9]* stale, 0 torn, 0 foreign: VIOLATED$"));
    stop_server(f, SIGTERM);
}

static void no_server_is_an_error_within_the_deadline(void **state)
{
    struct fixture *f = *state;

    start_ram(f);
    assert_int_equal(stamp(f, "write", "--seconds 1 --region 1048576", "w"), 0);
    stop_server(f, SIGTERM);
    assert_int_equal(stamp(f, "verify", "--deadline 1", "v"), 1);
    assert_int_equal(stamp(f, "write", "--deadline 1", "w"), 1);
    assert_true(printed(f, "w", "no server within 1 s"));
    assert_int_equal(stamp(f, "write", "--depth 0", "w"), 2);
    assert_int_equal(stamp(f, "read", "", "w"), 2);
}

/* A foreign server over a file, which keeps its data when it is killed. */
static void the_writer_goes_on_after_its_server_was_killed(void **state)
{
    struct fixture *f = *state;
    char *path = tempdir_path(f->dir, "disk");
    char *socket_path = tempdir_path(f->dir, "nbd.sock");
    const char *kit[] = {"nbdkit", "-f", "-U", socket_path, "file", path, NULL};
    char *uri = mem_printf("nbd+unix:///?socket=%s", socket_path);
    char *table = tempdir_path(f->dir, "table");
    const char *writer[] = {NBD_STAMP, "write",    uri,       table, "--seconds",
                            "60",      "--region", "4194304", NULL};
    int status;
    pid_t pid;

    need("nbdkit");
    shell(f, "truncate -s 64M disk");
    f->server = start(kit, -1);
    pid = start(writer, -1);
    for (int i = 0; i < 4; i++) {
        usleep(400000);
        stop_server(f, SIGKILL);
        unlink(socket_path);
        usleep(100000);
        f->server = start(kit, -1);
    }
    usleep(400000);
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(stamp(f, "verify", "", "v"), 0);
    stop_server(f, SIGTERM);
    free(path);
    free(socket_path);
    free(uri);
    free(table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stamp_is_judged_by_its_sequence),
        cmocka_unit_test(zeroes_are_good_only_before_the_first_acknowledgement),
        cmocka_unit_test(half_a_stamp_is_torn_wherever_it_is_cut),
        TEST(a_disk_that_keeps_everything_passes),
        TEST(a_disk_that_lost_everything_fails),
        TEST(a_disk_that_went_back_in_time_fails),
        TEST(no_server_is_an_error_within_the_deadline),
        TEST(the_writer_goes_on_after_its_server_was_killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
