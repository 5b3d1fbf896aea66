/* The NBD server over a volume in memory, for real clients and for measuring the front end
 * alone:
 *
 *   nbd_ram_server SIZE_MIB ADDRESS...      tcp://127.0.0.1:0 or unix:///path
 *
 * serves "ram" (also the default export), and "readonly" over the same bytes; prints a line
 * "listening URI" for each address, then serves until SIGTERM or SIGINT. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "lib/volume_double.h"
#include "volumedriver/nbd_server.h"
#include "volumedriver/nbd_worker.h"

struct ram {
    struct nbd_exports exports;
    uv_loop_t loop;
    struct volume *volume;
    struct nbd_worker *worker;
    struct nbd_server *server;
    struct nbd_export writable, readonly;
    uv_signal_t signals[2];
};

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    struct ram *r = container_of(exports, struct ram, exports);

    each(ctx, r->writable.name, r->writable.description);
    each(ctx, r->readonly.name, r->readonly.description);
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct ram *r = container_of(exports, struct ram, exports);

    if (*name == '\0' || strcmp(name, "ram") == 0) {
        return &r->writable;
    }
    return strcmp(name, "readonly") == 0 ? &r->readonly : NULL;
}

static void on_worker_closed(void *ctx)
{
    struct ram *r = ctx;

    volume_double_free(r->volume);
}

static void on_server_closed(void *ctx)
{
    struct ram *r = ctx;

    nbd_worker_close(r->worker, on_worker_closed, r);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct ram *r = handle->data;

    (void)number;
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    }
    nbd_server_close(r->server, 2000, on_server_closed, r);
}

static void print_addresses(const struct ram *r, const struct net_addr *addrs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (addrs[i].is_unix) {
            printf("listening nbd+unix:///ram?socket=%s\n", addrs[i].path);
        } else {
            printf("listening nbd://127.0.0.1:%u/ram\n", nbd_server_port(r->server, i));
        }
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct nbd_exports_ops ops = {.list = list_exports, .find = find_export};
    struct ram r = {.exports.ops = &ops};
    struct net_addr addrs[NBD_ADDRS_MAX];
    struct nbd_server_options options = {.addrs = addrs, .exports = &r.exports};
    struct err e;
    unsigned long size_mib = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;

    if (size_mib == 0 || size_mib > 1048576 || argc - 2 > NBD_ADDRS_MAX) {
        fprintf(stderr, "usage: nbd_ram_server SIZE_MIB ADDRESS...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (net_addr_parse(&addrs[options.addr_count++], argv[i], &e) != 0) {
            fprintf(stderr, "%s\n", e.msg);
            return 2;
        }
    }
    log_set_level(LOG_WARN);
    CHECK(uv_loop_init(&r.loop) == 0);
    r.volume = volume_double_new(&r.loop, "ram", (uint64_t)size_mib << 20, false);
    r.worker = nbd_worker_new(&r.loop);
    r.writable = (struct nbd_export){.name = "ram",
                                     .description = "memory of a test program",
                                     .volume = r.volume,
                                     .worker = r.worker,
                                     .size_bytes = (uint64_t)size_mib << 20};
    r.readonly = r.writable;
    r.readonly.name = "readonly";
    r.readonly.read_only = true;
    if (nbd_server_new(&r.loop, &options, &r.server, &e) != 0) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&r.loop, &r.signals[i]);
        r.signals[i].data = &r;
        uv_signal_start(&r.signals[i], on_signal, i == 0 ? SIGTERM : SIGINT);
    }
    print_addresses(&r, addrs, options.addr_count);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&r.loop) == 0);
    return 0;
}
