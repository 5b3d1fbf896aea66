#include "alba/deployment.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "alba/verb.h"
#include "base/mem.h"
#include "loop/io.h"

enum { DEPLOYMENT_VERSION = 1 };

/* A socket that is bound and never listens. Linux lets a second one bind the same port when both
 * have SO_REUSEADDR and none of them listens yet, as the daemon's does; but neither a bind to
 * port 0 nor an outgoing connection of any process is given a port that is held like this. */
struct deployment_port_hold {
    struct deployment_port_hold *next;
    char *name;
    int fd;
};

const char *deployment_dir(const char *option)
{
    const char *dir = option != NULL ? option : cli_env("ALBA_DIR");

    return dir != NULL ? dir : "albacore";
}

char *deployment_proxy_uri(void)
{
    const char *dir = cli_env("ALBA_DIR");
    char *absolute = dir != NULL ? realpath(dir, NULL) : NULL;
    char *uri = dir != NULL
                    ? mem_printf("unix://%s/run/proxy.sock", absolute != NULL ? absolute : dir)
                    : NULL;

    free(absolute);
    return uri;
}

char *deployment_config(void)
{
    const char *dir = cli_env("ALBA_DIR");

    return dir != NULL ? mem_printf("%s/alba.url", dir) : NULL;
}

char *deployment_path(const struct deployment *d, const char *sub, const char *name,
                      const char *suffix)
{
    return sub[0] != '\0' ? mem_printf("%s/%s/%s%s", d->dir, sub, name, suffix)
                          : mem_printf("%s/%s%s", d->dir, name, suffix);
}

static int make_dir(const char *path, struct err *e)
{
    int rc = io_make_dir(io_real(), path);

    return rc == 0 ? 0 : err_set(e, rc, "make directory %s", path);
}

static int make_dirs(struct deployment *d, struct err *e)
{
    static const char *const subs[] = {"etc", "log", "run", "data"};

    for (unsigned i = 0; i < sizeof subs / sizeof *subs; i++) {
        char *path = deployment_path(d, "", subs[i], "");
        int rc = make_dir(path, e);

        free(path);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int take_lock(struct deployment *d, struct err *e)
{
    char *path = deployment_path(d, "", "lock", "");
    int rc = 0;

    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (d->lock_fd < 0) {
        rc = err_set(e, -errno, "lock file %s", path);
    } else if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = err_say(e, ERR_BUSY, "%s is in use by another `alba up`", d->dir);
    }
    free(path);
    return rc;
}

static int check_count(const char *what, unsigned asked, unsigned had, struct err *e)
{
    if (asked != 0 && asked != had) {
        return err_say(e, -EINVAL, "this deployment has %u %s, not %u", had, what, asked);
    }
    return 0;
}

/* A deployment that is not there yet. */
static int begin(struct deployment *d, unsigned asds, unsigned nodes, struct err *e)
{
    d->ports = json_object();
    d->asds = asds != 0 ? asds : DEPLOYMENT_ASDS_DEFAULT;
    d->nodes = nodes != 0                           ? nodes
               : d->asds < DEPLOYMENT_NODES_DEFAULT ? d->asds
                                                    : DEPLOYMENT_NODES_DEFAULT;
    return d->nodes <= d->asds
               ? 0
               : err_say(e, -EINVAL, "%u ASDs cannot be spread over %u nodes", d->asds, d->nodes);
}

static int load(struct deployment *d, unsigned asds, unsigned nodes, struct err *e)
{
    char *path = deployment_path(d, "", "deployment.json", "");
    json_error_t je;
    json_t *doc = json_load_file(path, 0, &je);
    int version = 0;
    int rc = 0;

    if (doc == NULL && access(path, F_OK) != 0) {
        rc = begin(d, asds, nodes, e);
        goto out;
    }
    if (doc == NULL || json_unpack_ex(doc, &je, 0, "{s:i}", "version", &version) != 0) {
        rc = err_say(e, ERR_CONFIG, "%s: line %d: %s", path, je.line, je.text);
    } else if (version != DEPLOYMENT_VERSION) {
        rc = err_say(e, ERR_VERSION, "%s: version %d, this program knows %d", path, version,
                     DEPLOYMENT_VERSION);
    } else if (json_unpack_ex(doc, &je, 0, "{s:i, s:i, s:O}", "asds", &d->asds, "nodes", &d->nodes,
                              "ports", &d->ports) != 0) {
        rc = err_say(e, ERR_CONFIG, "%s: %s", path, je.text);
    } else if (d->asds < 1 || d->asds > DEPLOYMENT_ASDS_MAX || d->nodes < 1 ||
               d->nodes > DEPLOYMENT_ASDS_MAX || !json_is_object(d->ports)) {
        rc = err_say(e, ERR_CONFIG, "%s: counts or ports are out of range", path);
    } else {
        rc = check_count("ASDs", asds, d->asds, e);
        rc = rc != 0 ? rc : check_count("nodes", nodes, d->nodes, e);
    }
out:
    json_decref(doc);
    free(path);
    return rc;
}

/* Of a directory that need not be there; NULL when not even the place for it is. Free it. */
static char *absolute_path(const char *dir)
{
    char *whole = realpath(dir, NULL);

    if (whole != NULL) {
        return whole;
    }
    char *place = mem_strdup(dir);

    for (size_t len = strlen(place); len > 1 && place[len - 1] == '/'; len--) {
        place[len - 1] = '\0';
    }
    char *slash = strrchr(place, '/');
    char *parent;

    if (slash == NULL) {
        parent = realpath(".", NULL);
        whole = parent != NULL ? mem_printf("%s/%s", parent, place) : NULL;
    } else {
        *slash = '\0';
        parent = realpath(slash == place ? "/" : place, NULL);
        whole = parent != NULL ? mem_printf("%s/%s", parent, slash + 1) : NULL;
    }
    free(parent);
    free(place);
    return whole;
}

/* Before anything is made: a socket's path has little room. */
static int check_room(const char *dir, struct err *e)
{
    static const char longest[] = "/run/volumedriver.sock";
    const size_t bytes_max = sizeof((struct sockaddr_un){0}).sun_path - sizeof longest;
    char *absolute = absolute_path(dir);
    size_t bytes = absolute != NULL ? strlen(absolute) : 0;

    free(absolute);
    return bytes <= bytes_max
               ? 0
               : err_say(e, -ENAMETOOLONG,
                         "the path of the deployment has %zu bytes; for its sockets it may have "
                         "%zu: give a shorter --dir",
                         bytes, bytes_max);
}

int deployment_open(struct deployment *d, const char *dir, unsigned asds, unsigned nodes,
                    struct err *e)
{
    char absolute[PATH_MAX];
    int rc;

    *d = (struct deployment){.lock_fd = -1};
    rc = check_room(dir, e);
    rc = rc != 0 ? rc : make_dir(dir, e);
    if (rc != 0) {
        return rc;
    }
    if (realpath(dir, absolute) == NULL) {
        return err_set(e, -errno, "directory %s", dir);
    }
    d->dir = mem_strdup(absolute);
    rc = make_dirs(d, e);
    rc = rc != 0 ? rc : take_lock(d, e);
    return rc != 0 ? rc : load(d, asds, nodes, e);
}

static void release_ports(struct deployment *d)
{
    while (d->holds != NULL) {
        struct deployment_port_hold *hold = d->holds;

        d->holds = hold->next;
        close(hold->fd);
        free(hold->name);
        free(hold);
    }
}

void deployment_close(struct deployment *d)
{
    if (d->lock_fd >= 0) {
        close(d->lock_fd);
    }
    release_ports(d);
    json_decref(d->ports);
    free(d->dir);
    *d = (struct deployment){.lock_fd = -1};
}

/* Binds `port` (0: any) on loopback. Returns the socket, or -1. */
static int bind_port(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* Somebody else's listening socket, too, would let ours bind when it has SO_REUSEADDR: only a
 * listen tells. The socket that tried it is of no use as a hold. */
static bool port_is_free(uint16_t port)
{
    int fd = bind_port(port);
    bool is_free = fd >= 0 && listen(fd, 1) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

static uint16_t hold_port(struct deployment *d, const char *name, uint16_t port)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int fd = port == 0 || port_is_free(port) ? bind_port(port) : -1;

    if (fd < 0) {
        return 0;
    }
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        close(fd);
        return 0;
    }
    struct deployment_port_hold *hold = mem_alloc(sizeof *hold);

    *hold = (struct deployment_port_hold){.next = d->holds, .name = mem_strdup(name), .fd = fd};
    d->holds = hold;
    return ntohs(at.sin_port);
}

static bool is_held(const struct deployment *d, const char *name)
{
    for (const struct deployment_port_hold *hold = d->holds; hold != NULL; hold = hold->next) {
        if (strcmp(hold->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whoever was told the old port has to be told the new one. */
static void say_moved(const char *name, uint16_t from, uint16_t to)
{
    fprintf(stderr, "%s port was %d, is now %d: another program has taken %d\n",
            strcmp(name, "nbd") == 0 ? "NBD" : name, (int)from, (int)to, (int)from);
}

uint16_t deployment_port(struct deployment *d, const char *name, struct err *e)
{
    json_int_t kept = json_integer_value(json_object_get(d->ports, name));

    if (is_held(d, name)) {
        return (uint16_t)kept;
    }
    bool was_kept = kept > 0 && kept < 65536;
    uint16_t port = was_kept ? hold_port(d, name, (uint16_t)kept) : 0;

    if (port == 0) {
        port = hold_port(d, name, 0);
        if (port != 0 && was_kept) {
            say_moved(name, (uint16_t)kept, port);
        }
    }
    if (port == 0) {
        err_set(e, -EADDRINUSE, "find a free port for %s", name);
        return 0;
    }
    json_object_set_new(d->ports, name, json_integer(port));
    return port;
}

static int write_json(struct deployment *d, const char *sub, const char *name, json_t *doc,
                      struct err *e)
{
    char *text = json_dumps(doc, JSON_INDENT(2) | JSON_SORT_KEYS);
    char *dir = deployment_path(d, "", sub, "");
    struct io *io = io_real();
    int rc = text != NULL ? io_store_file(io, dir, name, text, strlen(text)) : -ENOMEM;

    if (rc != 0) {
        err_set(e, rc, "write %s/%s", dir, name);
    }
    free(dir);
    free(text);
    return rc;
}

int deployment_save(struct deployment *d, struct err *e)
{
    json_t *doc = json_pack("{s:i, s:i, s:i, s:O}", "version", DEPLOYMENT_VERSION, "asds",
                            (int)d->asds, "nodes", (int)d->nodes, "ports", d->ports);
    int rc = write_json(d, ".", "deployment.json", doc, e);

    json_decref(doc);
    return rc;
}

int deployment_write_config(struct deployment *d, const char *name, json_t *config, struct err *e)
{
    char *file = mem_printf("%s.json", name);
    int rc = write_json(d, "etc", file, config, e);

    free(file);
    json_decref(config);
    return rc;
}

int deployment_write_file(struct deployment *d, const char *name, const char *text, struct err *e)
{
    int rc = io_store_file(io_real(), d->dir, name, text, strlen(text));

    return rc == 0 ? 0 : err_set(e, rc, "write %s/%s", d->dir, name);
}
