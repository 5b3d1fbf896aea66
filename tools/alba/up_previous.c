/* The daemons of an earlier `alba up` on this folder whose supervisor was killed. Its death told
 * them to stop, but they drain first; until they are gone they hold their stores and their ports.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alba/up.h"
#include "base/buf.h"
#include "base/mem.h"

enum { CMDLINE_BYTES_MAX = 3 * PATH_MAX, KILL_MS = 5000 };

/* What follows the program's name in the command line of a daemon: see start_daemon(). */
static const char *const words[] = {"--config", NULL, "--die-with-parent"};

/* A process in a container or chroot names files of its own; one that we may not look into is not
 * ours either. */
static bool sees_same(const char *etc, int pid)
{
    char *there = mem_printf("/proc/%d/root%s", pid, etc);
    struct stat a, b;
    bool same =
        stat(etc, &a) == 0 && stat(there, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;

    free(there);
    return same;
}

/* Appends " NAME (pid N)" when `pid` is a daemon of this deployment. A number in up.json would not
 * tell: the system may have given it to another process since. */
static bool is_daemon(const char *etc, int pid, struct buf *names)
{
    char path[64];
    char line[CMDLINE_BYTES_MAX + 1];
    size_t etc_len = strlen(etc);
    ssize_t len;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    len = fd >= 0 ? read(fd, line, CMDLINE_BYTES_MAX) : -1;
    if (fd >= 0) {
        close(fd);
    }
    if (len <= 0) {
        return false; /* gone, or a zombie */
    }
    line[len] = '\0';

    const char *config = NULL;
    const char *word = line;

    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        word += strlen(word) + 1;
        if (word >= line + len || (words[i] != NULL && strcmp(word, words[i]) != 0)) {
            return false;
        }
        config = words[i] == NULL ? word : config;
    }
    if (strncmp(config, etc, etc_len) != 0 || strchr(config + etc_len, '/') != NULL ||
        !sees_same(etc, pid)) {
        return false;
    }
    buf_printf(names, "%s%.*s (pid %d)", names->len != 0 ? ", " : "",
               (int)strcspn(config + etc_len, "."), config + etc_len, pid);
    return true;
}

/* How many are there; with `signum`, each gets it. */
static unsigned look(const struct up *up, int signum, struct buf *ret_names)
{
    char *etc = deployment_path(&up->d, "etc", "", "");
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    unsigned count = 0;

    ret_names->len = 0;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        int pid =
            isdigit((unsigned char)entry->d_name[0]) ? (int)strtol(entry->d_name, NULL, 10) : 0;

        if (pid != 0 && pid != getpid() && is_daemon(etc, pid, ret_names)) {
            count++;
            if (signum != 0) {
                kill(pid, signum);
            }
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
    free(etc);
    buf_put_u8(ret_names, 0);
    return count;
}

int up_wait_previous(struct up *up)
{
    uint64_t end_ms = uv_now(&up->s.loop) + SUPERVISOR_STOP_MS;
    struct buf names = {0};
    bool killed = false;
    int rc = 0;

    if (look(up, 0, &names) != 0) {
        fprintf(stderr, "waiting for the daemons of the run before, which end with it: %s\n",
                (const char *)names.data);
    }
    while (rc == 0 && look(up, 0, &names) != 0) {
        if (up->stop_signals != 0) {
            rc = err_set(&up->s.err, ERR_CANCELED, "start");
        } else if (uv_now(&up->s.loop) <= end_ms) {
            up_pause(up);
        } else if (!killed) { /* as their supervisor would have */
            look(up, SIGKILL, &names);
            fprintf(stderr, "killed, as they did not end within %d s: %s\n",
                    SUPERVISOR_STOP_MS / 1000, (const char *)names.data);
            killed = true;
            end_ms += KILL_MS;
        } else {
            rc = err_say(&up->s.err, -ETIMEDOUT, "daemons of the run before do not end: %s",
                         (const char *)names.data);
        }
    }
    buf_release(&names);
    return rc;
}
