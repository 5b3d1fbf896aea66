#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/daemon.h"

/* A daemon that runs in a forked child and writes what happens to a pipe. */
struct test_config {
    char *level;
    char *mode; /* what to do wrong */
    int64_t live;
    int64_t fixed;
};

static const struct config_key keys[] = {{.name = "log_level",
                                          .type = CONFIG_STRING,
                                          .flags = CONFIG_LIVE,
                                          .default_json = "\"info\"",
                                          .offset = CONFIG_AT(struct test_config, level),
                                          .help = "x"},
                                         {.name = "mode",
                                          .type = CONFIG_STRING,
                                          .default_json = "\"good\"",
                                          .offset = CONFIG_AT(struct test_config, mode),
                                          .help = "x"},
                                         {.name = "live",
                                          .type = CONFIG_INT,
                                          .flags = CONFIG_LIVE,
                                          .default_json = "1",
                                          .offset = CONFIG_AT(struct test_config, live),
                                          .help = "x"},
                                         {.name = "fixed",
                                          .type = CONFIG_INT,
                                          .default_json = "1",
                                          .offset = CONFIG_AT(struct test_config, fixed),
                                          .help = "x"},
                                         {0}};

static int report_fd;

static void report(const char *text)
{
    assert_int_equal(write(report_fd, text, strlen(text)), (ssize_t)strlen(text));
}

static const struct test_config *config(const struct daemon *d)
{
    return daemon_config(d);
}

static bool mode_is(const struct daemon *d, const char *mode)
{
    return strcmp(config(d)->mode, mode) == 0;
}

static int on_check(const void *c, struct err *e)
{
    return ((const struct test_config *)c)->live == 13
               ? err_set(e, ERR_CONFIG, "key 'live': 13 is unlucky")
               : 0;
}

static int on_start(struct daemon *d, struct err *e)
{
    if (mode_is(d, "refuse")) {
        return err_set(e, ERR_BUSY, "no");
    }
    if (mode_is(d, "fail")) {
        struct err why;

        err_set(&why, ERR_FAILED, "disk");
        daemon_fail(d, &why); /* even before start has returned */
        return 0;
    }
    report("start ");
    daemon_ready(d, "all good");
    return 0;
}

static void on_stop(struct daemon *d)
{
    report("stop ");
    if (!mode_is(d, "hang")) {
        daemon_stopped(d);
    }
}

static void on_reload(struct daemon *d, const void *old)
{
    char text[64];

    snprintf(text, sizeof text, "reload:%d->%d,%d ", (int)((const struct test_config *)old)->live,
             (int)config(d)->live, (int)config(d)->fixed);
    report(text);
}

static const struct daemon_options options = {.name = "test-daemon",
                                              .summary = "does nothing",
                                              .keys = keys,
                                              .config_bytes = sizeof(struct test_config),
                                              .check = on_check,
                                              .start = on_start,
                                              .stop = on_stop,
                                              .reload = on_reload};

struct fixture {
    char dir[100];
    char config[128];
    char socket[128];
    int notify_fd;
    int out_fd; /* reports, stdout and stderr of the child */
    pid_t pid;
    char text[20000]; /* all of it so far */
    size_t text_bytes;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *tmp = getenv("TMPDIR");

    snprintf(f->dir, sizeof f->dir, "%.60s/albacore-daemon-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->config, sizeof f->config, "%s/c.json", f->dir);
    snprintf(f->socket, sizeof f->socket, "%s/notify", f->dir);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%.100s", f->socket);
    f->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->notify_fd, (struct sockaddr *)&sa, sizeof sa), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    close(f->notify_fd);
    close(f->out_fd);
    unlink(f->config);
    unlink(f->socket);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void write_config(struct fixture *f, const char *text)
{
    FILE *file = fopen(f->config, "w");

    fputs(text, file);
    fclose(file);
}

static void launch(struct fixture *f, const char *arg1, const char *arg2, const char *arg3)
{
    char *argv[] = {(char *)(uintptr_t) "test-daemon", (char *)(uintptr_t)arg1,
                    (char *)(uintptr_t)arg2, (char *)(uintptr_t)arg3, NULL};
    int argc = 1 + (arg1 != NULL) + (arg2 != NULL) + (arg3 != NULL);
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(stdout);
    f->pid = fork();
    if (f->pid == 0) {
        int code;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("NOTIFY_SOCKET", f->socket, 1);
        report_fd = ends[1];
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        code = daemon_main(&options, argc, argv);
        fflush(stdout);
        _exit(code);
    }
    close(ends[1]);
    close(f->out_fd);
    f->out_fd = ends[0];
}

/* Reads until `text` has come. */
static void expect(struct fixture *f, const char *text)
{
    while (strstr(f->text, text) == NULL) {
        struct pollfd p = {.fd = f->out_fd, .events = POLLIN};
        ssize_t n = -1;

        if (poll(&p, 1, 5000) == 1) {
            n = read(f->out_fd, f->text + f->text_bytes, sizeof f->text - 1 - f->text_bytes);
        }
        if (n <= 0) {
            fail_msg("no \"%s\" in: %s", text, f->text);
        }
        f->text_bytes += (size_t)n;
        f->text[f->text_bytes] = '\0';
    }
}

static int wait_code(struct fixture *f)
{
    int status;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    if (!WIFEXITED(status)) {
        fail_msg("signal %d after: %s", WTERMSIG(status), f->text);
    }
    return WEXITSTATUS(status);
}

static void expect_notify(struct fixture *f, const char *text)
{
    struct pollfd p = {.fd = f->notify_fd, .events = POLLIN};
    char got[300];
    ssize_t n;

    assert_int_equal(poll(&p, 1, 5000), 1);
    n = recv(f->notify_fd, got, sizeof got - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    assert_int_equal(strncmp(got, text, strlen(text)), 0);
}

static void sigterm_stops_gracefully_and_systemd_is_told(void **state)
{
    struct fixture *f = *state;

    write_config(f, "{}");
    launch(f, "--config", f->config, "--log-sink=syslog:");
    expect(f, "start ");
    expect(f, "log sink not supported");
    expect_notify(f, "READY=1\nSTATUS=all good");
    kill(f->pid, SIGTERM);
    expect(f, "stop ");
    expect_notify(f, "STOPPING=1");
    assert_int_equal(wait_code(f), 0);
}

static void a_second_signal_ends_a_hanging_stop(void **state)
{
    struct fixture *f = *state;

    write_config(f, "{\"mode\": \"hang\"}");
    for (unsigned i = 0; i < 2; i++) {
        f->text_bytes = 0;
        f->text[0] = '\0';
        launch(f, "--config", f->config, NULL);
        expect(f, "start ");
        kill(f->pid, i == 0 ? SIGTERM : SIGINT);
        expect(f, "stop ");
        kill(f->pid, i == 0 ? SIGTERM : SIGINT);
        assert_int_equal(wait_code(f), i == 0 ? 143 : 130);
    }
}

static void a_reload_takes_over_live_keys_only(void **state)
{
    struct fixture *f = *state;

    write_config(f, "{}");
    launch(f, "--config", f->config, NULL);
    expect(f, "start ");
    write_config(f, "{\"live\": 2, \"fixed\": 2, \"log_level\": \"debug\"}");
    kill(f->pid, SIGHUP);
    expect(f, "reload:1->2,1 ");
    expect(f, "needs a restart key=fixed");
    write_config(f, "{\"live\": 3}");
    kill(f->pid, SIGUSR1);
    expect(f, "reload:2->3,1 ");
    write_config(f, "{\"live\": 4, \"oops\": 1}"); /* a bad file changes nothing */
    kill(f->pid, SIGHUP);
    expect(f, "configuration not reloaded");
    expect(f, "unknown key 'oops'");
    write_config(f, "{\"live\": 5}");
    kill(f->pid, SIGHUP);
    expect(f, "reload:3->5,1 ");
    kill(f->pid, SIGTERM);
    assert_int_equal(wait_code(f), 0);
}

static void failures_to_start_exit_with_1_and_say_why(void **state)
{
    struct fixture *f = *state;

    write_config(f, "{\"mode\": \"refuse\"}");
    launch(f, "--config", f->config, NULL);
    expect(f, "start failed error=\"no: ");
    assert_int_equal(wait_code(f), 1);
    write_config(f, "{\"mode\": \"fail\"}");
    launch(f, "--config", f->config, NULL);
    expect(f, "failed error=\"disk: ");
    expect(f, "stop ");
    assert_int_equal(wait_code(f), 1);
    write_config(f, "{\"live\": 13}");
    launch(f, "--config", f->config, NULL);
    expect(f, "13 is unlucky");
    assert_int_equal(wait_code(f), 1);
    launch(f, "--config", "/does/not/exist", NULL);
    expect(f, "/does/not/exist");
    assert_int_equal(wait_code(f), 1);
}

static void check_only_reads_the_configuration(void **state)
{
    struct fixture *f = *state;

    write_config(f, "{\"mode\": \"refuse\"}");
    launch(f, "--check", "--config", f->config);
    expect(f, "configuration is good");
    assert_int_equal(wait_code(f), 0);
    write_config(f, "{\"prot\": 1}");
    launch(f, "--check", "--config", f->config);
    expect(f, "unknown key 'prot'");
    assert_int_equal(wait_code(f), 1);
}

static void options_are_explained_and_checked(void **state)
{
    static const struct {
        const char *option;
        const char *text;
        int code;
    } cases[] = {{"--help", "usage: test-daemon --config", 0},
                 {"--help-config", "live: an integer from 0, default 1", 0},
                 {"--version", "test-daemon 0.", 0},
                 {"--frobnicate", "try test-daemon --help", 2},
                 {"extra", "unexpected argument 'extra'", 2},
                 {NULL, "--config is missing", 2}};
    struct fixture *f = *state;

    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        launch(f, cases[i].option, NULL, NULL);
        expect(f, cases[i].text);
        assert_int_equal(wait_code(f), cases[i].code);
    }
}

static void a_child_dies_with_its_parent(void **state)
{
    struct fixture *f = *state;
    pid_t parent;

    write_config(f, "{}");
    parent = fork();
    if (parent == 0) { /* starts the daemon, waits for it, and is killed */
        char byte = 'x';

        launch(f, "--config", f->config, "--die-with-parent");
        expect(f, "start ");
        _exit(byte == 'x' ? 0 : 1);
    }
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    expect_notify(f, "READY=1");
    expect_notify(f, "STOPPING=1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sigterm_stops_gracefully_and_systemd_is_told),
        TEST(a_second_signal_ends_a_hanging_stop),
        TEST(a_reload_takes_over_live_keys_only),
        TEST(failures_to_start_exit_with_1_and_say_why),
        TEST(check_only_reads_the_configuration),
        TEST(options_are_explained_and_checked),
        TEST(a_child_dies_with_its_parent),
    };

    return cmocka_run_group_tests_name("daemon/daemon", tests, NULL, NULL);
}
