#include "unit/meta/asd_process.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/tempdir.h"

enum { START_MS = 20000 };

static void write_config(const struct asd_process *asd, const char *path, const char *asd_id)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fprintf(file, "{\"home\": \"%s/home\", \"ips\": [\"127.0.0.1\"], \"port\": %u, ", asd->dir,
            asd->port);
    if (asd_id != NULL) {
        fprintf(file, "\"asd_id\": \"%s\", ", asd_id);
    }
    if (asd->slab_size != NULL) {
        fprintf(file, "\"slab_size\": \"%s\", ", asd->slab_size);
    }
    fprintf(file, "\"node_id\": \"test\", \"threads\": 2}\n");
    assert_int_equal(fclose(file), 0);
}

/* The port behind "serving … port=" in the log, or 0. */
static uint16_t served_port(const char *log_path)
{
    char text[4096];
    const char *serving, *port;
    FILE *file = fopen(log_path, "r");
    size_t bytes;

    if (file == NULL) {
        return 0;
    }
    bytes = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[bytes] = '\0';
    serving = strstr(text, "serving");
    port = serving != NULL ? strstr(serving, "port=") : NULL;
    return port != NULL ? (uint16_t)strtoul(port + 5, NULL, 10) : 0;
}

static void run(const char *config, const char *log_path)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    dup2(log, STDERR_FILENO);
    dup2(log, STDOUT_FILENO);
    execl(ALBA_ASD, "alba-asd", "--config", config, "--create", "--die-with-parent", (char *)NULL);
    _exit(127);
}

void asd_process_start(struct asd_process *asd, const char *asd_id)
{
    uint64_t until = clock_mono_ms() + START_MS;
    char *config, *log;
    uint16_t port = 0;

    signal(SIGPIPE, SIG_IGN); /* as every daemon does; this one gets killed */
    if (asd->dir == NULL) {
        asd->dir = tempdir_make();
    }
    config = tempdir_path(asd->dir, "asd.json");
    log = tempdir_path(asd->dir, "asd.log");
    unlink(log);
    write_config(asd, config, asd_id);
    asd->pid = fork();
    assert_true(asd->pid >= 0);
    if (asd->pid == 0) {
        run(config, log);
    }
    while ((port = served_port(log)) == 0) {
        assert_true(clock_mono_ms() < until);
        assert_int_equal(waitpid(asd->pid, NULL, WNOHANG), 0); /* it has not ended */
        usleep(5000);
    }
    asd->port = port;
    snprintf(asd->url, sizeof(asd->url), "asd://127.0.0.1:%u", port);
    free(config);
    free(log);
}

void asd_process_stop(struct asd_process *asd)
{
    int status;

    assert_int_equal(kill(asd->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(asd->pid, &status, WUNTRACED), asd->pid);
    assert_true(WIFSTOPPED(status));
}

void asd_process_kill(struct asd_process *asd)
{
    if (asd->pid > 0) {
        kill(asd->pid, SIGKILL);
        assert_int_equal(waitpid(asd->pid, NULL, 0), asd->pid);
        asd->pid = 0;
    }
}

void asd_process_remove(struct asd_process *asd)
{
    asd_process_kill(asd);
    tempdir_remove(asd->dir);
    asd->dir = NULL;
}
