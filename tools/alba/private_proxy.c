#include "alba/private_proxy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "alba/daemons.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "net/tls.h"

enum { START_TRIES = 500, START_PAUSE_US = 20000 };

#define DIR_PREFIX "alba-verb."

extern char **environ;

/* ---- its folder ---- */

static void remove_dir(int parent_fd, const char *dir, int dir_fd)
{
    static const char *const names[] = {"proxy.json", "s", "s.fd"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
        unlinkat(dir_fd, names[i], 0);
    }
    unlinkat(parent_fd, dir, AT_REMOVEDIR);
}

/* A verb that was killed has left its own, and the lock of it. */
static void remove_if_left(int parent_fd, const char *dir)
{
    int fd = openat(parent_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return;
    }
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        remove_dir(parent_fd, dir, fd);
    }
    close(fd);
}

static void remove_left(const char *tmp)
{
    DIR *parent = opendir(tmp);

    if (parent == NULL) {
        return;
    }
    for (const struct dirent *d; (d = readdir(parent)) != NULL;) {
        if (strncmp(d->d_name, DIR_PREFIX, strlen(DIR_PREFIX)) == 0) {
            remove_if_left(dirfd(parent), d->d_name);
        }
    }
    closedir(parent);
}

/* It is locked until it is removed, or the verb is killed. */
static int make_dir(struct private_proxy *p, struct err *e)
{
    const char *tmp = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    int rc;

    remove_left(tmp);
    for (;;) {
        p->dir = mem_printf("%s/" DIR_PREFIX "XXXXXX", tmp);
        if (mkdtemp(p->dir) == NULL) {
            break;
        }
        p->dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p->dir_fd < 0 && errno != ENOENT) {
            break;
        }
        while (p->dir_fd >= 0 && flock(p->dir_fd, LOCK_EX) != 0 && errno == EINTR) {
        }
        if (access(p->dir, F_OK) == 0) {
            return 0;
        }
        if (p->dir_fd >= 0) { /* another verb took it for one that was left, before the lock */
            close(p->dir_fd);
        }
        free(p->dir);
    }
    rc = err_set(e, -errno, "make folder %s", p->dir);
    free(p->dir);
    p->dir = NULL;
    return rc;
}

/* ---- start ---- */

/* What is no file, as a URL, stays as it is. */
static json_t *absolute_path(const char *path)
{
    char *absolute = realpath(path, NULL);
    json_t *text = json_string(absolute != NULL ? absolute : path);

    free(absolute);
    return text;
}

/* As the proxy wants them. */
static json_t *tls_json(const struct net_tls_files *files)
{
    return json_pack("{s:o, s:[o, o]}", "ca_cert", absolute_path(files->ca_cert), "creds",
                     absolute_path(files->cert), absolute_path(files->key));
}

/* $ALBA_KEY_FILES, paths with colons between, else the keys of the deployment $ALBA_DIR. */
static json_t *key_files(void)
{
    const char *listed = cli_env("ALBA_KEY_FILES"), *dir = cli_env("ALBA_DIR");
    char *paths = listed != NULL ? mem_strdup(listed)
                  : dir != NULL  ? mem_printf("%s/keys", dir)
                                 : mem_strdup("");
    json_t *files = json_array();
    char *rest = paths;

    for (char *path; (path = strsep(&rest, ":")) != NULL;) {
        if (path[0] != '\0' && (listed != NULL || access(path, F_OK) == 0)) {
            json_array_append_new(files, absolute_path(path));
        }
    }
    free(paths);
    return files;
}

static int write_config(const struct private_proxy *p, const char *config,
                        const struct net_tls *tls, struct err *e)
{
    char *path = mem_printf("%s/proxy.json", p->dir);
    json_t *doc = json_pack("{s:o, s:s+, s:s, s:[s], s:o}", "albamgr_cfg_url",
                            absolute_path(config), "socket", p->dir, "/s", "log_level", "error",
                            "fs_dirs", "/", "key_files", key_files());
    int rc;

    json_object_set_new(doc, "announce_interval", json_integer(0)); /* nobody else's */
    if (tls != NULL) {
        json_object_set_new(doc, "tls_client", tls_json(net_tls_files(tls)));
    }
    rc = json_dump_file(doc, path, JSON_INDENT(2)) == 0
             ? 0
             : err_set(e, -EIO, "write the proxy's configuration %s", path);
    json_decref(doc);
    free(path);
    return rc;
}

static int spawn(struct private_proxy *p, struct err *e)
{
    char *program = daemons_path("alba-proxy", e);
    char *config = mem_printf("%s/proxy.json", p->dir);
    char option[] = "--config";
    char *die = mem_printf("--die-with-parent=%ld", (long)getpid()); /* who may be gone already */
    char *args[] = {program, option, config, die, NULL};
    posix_spawnattr_t attributes;
    int rc = program == NULL ? e->code : 0;

    if (rc == 0) { /* in a session of its own: Ctrl-C is for the verb, which may have to clean up */
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
        rc = -posix_spawn(&p->pid, program, NULL, &attributes, args, environ);
        posix_spawnattr_destroy(&attributes);
        if (rc != 0) {
            err_set(e, rc, "start %s", program);
        }
    }
    free(program);
    free(config);
    free(die);
    return rc;
}

static int wait_listening(struct private_proxy *p, struct err *e)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = ERR_BUSY;

    snprintf(at.sun_path, sizeof at.sun_path, "%s/s", p->dir);
    for (int i = 0; i < START_TRIES && rc == ERR_BUSY; i++) {
        int status;

        if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
            rc = 0;
        } else if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            rc = err_say(e, ERR_FAILED, "the proxy ended while it started (see above)");
        } else {
            usleep(START_PAUSE_US);
        }
    }
    close(fd);
    return rc == ERR_BUSY ? err_set(e, -ETIMEDOUT, "wait for the proxy to start") : rc;
}

int private_proxy_start(struct private_proxy *p, const char *config, const struct net_tls *tls,
                        struct err *e)
{
    int rc;

    *p = (struct private_proxy){0};
    rc = make_dir(p, e);
    if (rc != 0) {
        return rc;
    }
    p->uri = mem_printf("unix://%s/s", p->dir);
    rc = write_config(p, config, tls, e);
    rc = rc != 0 ? rc : spawn(p, e);
    return rc != 0 ? rc : wait_listening(p, e);
}

uint64_t private_proxy_bytes_read(const struct private_proxy *p)
{
    char *path = mem_printf("/proc/%ld/io", (long)p->pid);
    FILE *file = fopen(path, "re");
    unsigned long long bytes = 0;

    if (file != NULL) {
        if (fscanf(file, "rchar: %llu", &bytes) != 1) {
            bytes = 0;
        }
        fclose(file);
    }
    free(path);
    return bytes;
}

void private_proxy_stop(struct private_proxy *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGTERM);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (p->dir != NULL) {
        remove_dir(AT_FDCWD, p->dir, p->dir_fd);
        close(p->dir_fd);
    }
    free(p->dir);
    free(p->uri);
    *p = (struct private_proxy){0};
}
