/* The programs people use, against the NBD server over memory (tests/lib/nbd_ram_server.c).
 * A program that is not installed skips its test, by name. */
#include <fcntl.h>
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
#include "base/rnd.h"
#include "lib/tempdir.h"

struct fixture {
    char *dir;
    pid_t server;
    char unix_uri[512]; /* of the export "ram" */
    char tcp_uri[512];
};

/* The child dies with us. */
static pid_t start_server(const char *dir, int *ret_out)
{
    char *address = mem_printf("unix://%s/nbd.sock", dir);
    int pipe_fds[2];
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pipe_fds[1], STDOUT_FILENO);
        close(pipe_fds[0]);
        execl(NBD_RAM_SERVER, "nbd_ram_server", "256", address, "tcp://127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    free(address);
    *ret_out = pipe_fds[0];
    return pid;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    FILE *in;
    int out;

    f->dir = tempdir_make();
    f->server = start_server(f->dir, &out);
    in = fdopen(out, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "listening %511s listening %511s", f->unix_uri, f->tcp_uri), 2);
    fclose(in);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int status;

    assert_int_equal(kill(f->server, SIGTERM), 0);
    assert_int_equal(waitpid(f->server, &status, 0), f->server);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    tempdir_remove(f->dir);
    free(f);
    return 0;
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

/* With $DIR, $UNIX and $TCP. What it printed ends in DIR/log. */
static void run(const struct fixture *f, const char *script)
{
    char *command = mem_printf("DIR='%s' UNIX='%s' TCP='%s'; export DIR; set -e; ( %s ) "
                               ">'%s/log' 2>&1",
                               f->dir, f->unix_uri, f->tcp_uri, script, f->dir);
    int rc = system(command);

    free(command);
    if (rc != 0) {
        command = mem_printf("cat '%s/log' >&2", f->dir);
        rc = system(command);
        free(command);
        fail_msg("failed: %s", script);
    }
}

static void make_image(const struct fixture *f)
{
    char *path = tempdir_path(f->dir, "image");
    uint8_t *data = mem_alloc(8 << 20);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    rnd_bytes(data, 8 << 20);
    for (off_t at = 0; at < 5; at++) { /* data and holes take turns */
        assert_int_equal(pwrite(fd, data, 8 << 20, at * (20 << 20)), 8 << 20);
    }
    assert_int_equal(ftruncate(fd, 128 << 20), 0);
    close(fd);
    free(data);
    free(path);
}

static void nbdinfo_sees_what_we_offer(void **state)
{
    need("nbdinfo");
    run(*state, "nbdinfo \"$UNIX\" | tee $DIR/info;"
                "for line in 'can_multi_conn: true' 'can_fua: true' 'can_trim: true'"
                "  'can_zero: true' 'can_fast_zero: true' 'can_df: true' 'can_flush: true'"
                "  'can_cache: false' 'is_read_only: false' 'block_size_minimum: 512'"
                "  'block_size_preferred: 4096' 'block_size_maximum: 33554432'"
                "  'base:allocation' 'export-size: 268435456';"
                "do grep -q \"$line\" $DIR/info; done;"
                "nbdinfo --list \"$TCP\" | grep -q 'export=\"readonly\"';"
                "nbdinfo --map \"$TCP\" | grep -q 'hole,zero';"
                "nbdinfo \"${TCP%ram}readonly\" | grep -q 'is_read_only: true';"
                "if nbdinfo \"${TCP%ram}nope\"; then exit 1; fi");
}

static void nbdcopy_brings_every_byte_there_and_back(void **state)
{
    need("nbdcopy");
    make_image(*state);
    run(*state, "nbdcopy --flush $DIR/image \"$UNIX\";"
                "nbdcopy --connections=4 --requests=32 \"$TCP\" $DIR/back;"
                "cmp -n 134217728 $DIR/image $DIR/back;"
                "nbdcopy --no-extents \"$UNIX\" $DIR/back; cmp -n 134217728 $DIR/image $DIR/back");
}

static void qemu_img_converts_and_compares(void **state)
{
    need("qemu-img");
    make_image(*state);
    run(*state, "qemu-img convert -n -f raw -O raw $DIR/image \"$TCP\";"
                "qemu-img compare -f raw -F raw $DIR/image \"$UNIX\";"
                "qemu-img convert -n -f raw -O raw -W -m 16 $DIR/image \"$UNIX\";"
                "qemu-img compare -f raw -F raw $DIR/image \"$TCP\";"
                "qemu-img map -f raw --output=json \"$UNIX\"");
}

static void qemu_io_writes_zeroes_discards_and_reads(void **state)
{
    need("qemu-io");
    run(*state, "qemu-io -f raw"
                " -c 'write -P 0x55 4k 64k' -c 'read -P 0x55 4k 64k'"
                " -c 'write -z 8k 4k' -c 'read -P 0 8k 4k'"
                " -c 'write -z -u 16k 4k' -c 'read -P 0 16k 4k'"
                " -c 'write -f -P 1 1M 2M' -c 'discard 1M 1M' -c 'read -P 0 1M 1M'"
                " -c 'read -P 1 2M 1M' -c 'flush' -c 'write -P 7 512 512' -c 'read -P 7 512 512'"
                " -c 'aio_write -P 9 8M 8M' -c 'aio_flush' -c 'read -P 9 8M 8M' \"$UNIX\"");
}

static void qemu_io_is_refused_writing_where_it_may_not(void **state)
{
    need("qemu-io");
    run(*state, "if qemu-io -f raw -c 'write 0 4k' \"${TCP%ram}readonly\"; then exit 1; fi;"
                "qemu-io -r -f raw -c 'read 0 4k' \"${TCP%ram}readonly\"");
}

static void fio_verifies_what_it_wrote(void **state)
{
    need("fio");
    run(*state, "fio --enghelp | grep -qw nbd || exit 0;"
                "fio --name=v --ioengine=nbd --uri=\"$UNIX\" --rw=randrw --bsrange=512-256k"
                " --bs_unaligned=0 --size=64m --iodepth=32 --verify=crc32c --fsync=50"
                " --output=$DIR/fio.log");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nbdinfo_sees_what_we_offer),
        TEST(nbdcopy_brings_every_byte_there_and_back),
        TEST(qemu_img_converts_and_compares),
        TEST(qemu_io_writes_zeroes_discards_and_reads),
        TEST(qemu_io_is_refused_writing_where_it_may_not),
        TEST(fio_verifies_what_it_wrote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
