#include "alba/up_config.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "loop/io.h"
#include "net/addr.h"

#define ASD_HOME_NEW "new" /* asd/FORMAT.md */

/* The port that serves /metrics and /status of a daemon. */
static uint16_t http_port(struct deployment *d, const char *name, struct err *e)
{
    char *key = mem_printf("%s-http", name);
    uint16_t port = deployment_port(d, key, e);

    free(key);
    return port;
}

/* Writes the configuration unless a port was not to be had. */
static int finish(struct deployment *d, const char *name, json_t *config, uint16_t http,
                  struct err *e)
{
    if (http == 0) {
        json_decref(config);
        return e->code;
    }
    json_object_set_new(config, "http_port", json_integer(http));
    json_object_set_new(config, "log_level", json_string("info"));
    return deployment_write_config(d, name, config, e);
}

/* What the files below `path` take; those that cannot be read are not counted. */
static uint64_t held_bytes(char *path)
{
    char *paths[2] = {path, NULL};
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    uint64_t bytes = 0;

    for (FTSENT *entry; tree != NULL && (entry = fts_read(tree)) != NULL;) {
        if (entry->fts_info == FTS_F) {
            bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
        }
    }
    if (tree != NULL) {
        fts_close(tree);
    }
    return bytes;
}

/* Every ASD's part of what is free in the file system they share, or theirs already: each start
 * comes to the same. Some is left for journals and the rest. */
static json_int_t capacity(const struct deployment *d)
{
    enum { CAPACITY_MIN = 1 << 20 };
    char *data = deployment_path(d, "", "data", "");
    uint64_t bytes = held_bytes(data);
    struct statvfs fs;

    free(data);
    if (statvfs(d->dir, &fs) != 0) {
        return (json_int_t)1 << 40;
    }
    bytes = (bytes + (uint64_t)fs.f_bavail * fs.f_frsize) / (d->asds + 2);
    return (json_int_t)(bytes > CAPACITY_MIN ? bytes : CAPACITY_MIN);
}

/* The first time only, so before the configuration is there: a directory that the ASD may make a
 * store of. One that comes up empty later, as an unmounted disk does, it refuses. */
static int make_home(const struct deployment *d, const char *name, const char *home, struct err *e)
{
    struct io *io = io_real();
    char *config = deployment_path(d, "etc", name, ".json");
    int rc = 0;

    if (access(config, F_OK) != 0) {
        rc = io_make_dir(io, home);
        rc = rc == 0 ? io_store_file(io, home, ASD_HOME_NEW, "", 0) : rc;
    }
    free(config);
    return rc == 0 ? 0 : err_set(e, rc, "make %s", home);
}

/* Where ASDs and proxy meet, if the names of sockets can be as long as that. */
static void set_socket_dir(const struct deployment *d, json_t *config, const char *key)
{
    static const char longest[] = "01234567-89ab-cdef-0123-456789abcdef"; /* an ASD's long id */
    char *dir = deployment_path(d, "", "run", "");
    struct net_addr addr;
    struct err e;

    if (net_addr_unix_in(&addr, dir, longest, &e) == 0) {
        json_object_set_new(config, key, json_string(dir));
    }
    free(dir);
}

int up_config_asd(struct deployment *d, const char *name, const char *node_id, struct err *e)
{
    uint16_t port = deployment_port(d, name, e);
    uint16_t http = port != 0 ? http_port(d, name, e) : 0;
    char *home = deployment_path(d, "data", name, "");
    json_t *config = json_pack("{s:[s], s:i, s:s, s:s, s:n}", "ips", "127.0.0.1", "port", (int)port,
                               "home", home, "node_id", node_id, "multicast");

    int rc = make_home(d, name, home, e);

    json_object_set_new(config, "capacity", json_integer(capacity(d)));
    set_socket_dir(d, config, "socket_dir");
    free(home);
    if (rc != 0) {
        json_decref(config);
        return rc;
    }
    return finish(d, name, config, http, e);
}

static json_t *with_registry(struct deployment *d)
{
    char *url = deployment_path(d, "", "alba.url", "");
    json_t *config = json_pack("{s:s}", "albamgr_cfg_url", url);

    free(url);
    return config;
}

/* Keys lie in a directory that only its owner may look into, empty at first. */
static int set_key_files(const struct deployment *d, json_t *config, struct err *e)
{
    char *keys = deployment_path(d, "", "keys", "");
    int rc = mkdir(keys, 0700) == 0 || errno == EEXIST ? 0 : err_set(e, -errno, "make %s", keys);

    json_object_set_new(config, "key_files", json_pack("[s]", keys));
    free(keys);
    return rc;
}

int up_config_proxy(struct deployment *d, struct err *e)
{
    uint16_t port = deployment_port(d, "proxy", e);
    uint16_t http = port != 0 ? http_port(d, "proxy", e) : 0;
    char *socket = deployment_path(d, "run", "proxy", ".sock");
    char *files = deployment_path(d, "", "files", "");
    json_t *config = with_registry(d);

    json_object_set_new(config, "ips", json_pack("[s]", "127.0.0.1"));
    json_object_set_new(config, "port", json_integer(port));
    json_object_set_new(config, "socket", json_string(socket));
    json_object_set_new(config, "fs_dirs", json_pack("[s]", files));
    set_socket_dir(d, config, "asd_socket_dir");
    free(socket);
    free(files);
    if (set_key_files(d, config, e) != 0) {
        json_decref(config);
        return e->code;
    }
    return finish(d, "proxy", config, http, e);
}

int up_config_maintenance(struct deployment *d, struct err *e)
{
    json_t *config = with_registry(d);

    if (set_key_files(d, config, e) != 0) {
        json_decref(config);
        return e->code;
    }
    return finish(d, "maintenance", config, http_port(d, "maintenance", e), e);
}

int up_config_volumedriver(struct deployment *d, struct err *e)
{
    uint16_t port = deployment_port(d, "nbd", e);
    uint16_t http = port != 0 ? http_port(d, "volumedriver", e) : 0;
    char *proxy = mem_printf("unix://%s/run/proxy.sock", d->dir);
    char *home = deployment_path(d, "data", "volumedriver", "");
    char *nbd = deployment_path(d, "run", "nbd", ".sock");
    char *management = deployment_path(d, "run", "volumedriver", ".sock");
    json_t *config = with_registry(d);

    json_object_set_new(config, "proxies", json_pack("[s]", proxy));
    json_object_set_new(config, "home", json_string(home));
    json_object_set_new(config, "driver_id", json_string("volumedriver"));
    json_object_set_new(config, "default_preset", json_string(UP_PRESET));
    json_object_set_new(config, "nbd_port", json_integer(port));
    json_object_set_new(config, "nbd_socket", json_string(nbd));
    json_object_set_new(config, "socket", json_string(management));
    free(proxy);
    free(home);
    free(nbd);
    free(management);
    return finish(d, "volumedriver", config, http, e);
}

void up_preset(const struct deployment *d, struct preset *ret_preset)
{
    unsigned fragments = d->asds >= 6 ? 6 : d->asds >= 3 ? 3 : d->asds;
    uint32_t k = fragments == 6 ? 4 : fragments == 3 ? 2 : 1;
    uint32_t per_node = (fragments + d->nodes - 1) / d->nodes;

    preset_init_volumes(ret_preset, UP_PRESET);
    ret_preset->policy_count = 0;
    for (uint32_t c = fragments; c >= k; c--) {
        ret_preset->policies[ret_preset->policy_count++] = (struct preset_policy){
            .k = k, .m = fragments - k, .min_fragments = c, .max_per_node = per_node};
    }
}
