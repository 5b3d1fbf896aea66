/* What a client of the NBD server sends. First byte: 0 = a handshake, fed to the state machine
 * in pieces of as many bytes as the second byte says; else = requests, through a socket to a
 * connection over a volume in memory (bit 1: structured replies, bit 2: base:allocation, bit
 * 3: read only, bit 4: a volume that is soon busy). */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/volume_double.h"
#include "volumedriver/nbd_conn.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { VOLUME_BYTES = 1048576 };

struct fuzz {
    struct nbd_exports exports;
    struct nbd_export export;
    uv_loop_t loop;
    struct nbd_mailbox home;
    struct list conns;
    bool ended;
};

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    (void)exports;
    each(ctx, "disk", "text");
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct fuzz *f = container_of(exports, struct fuzz, exports);

    return strcmp(name, "disk") == 0 ? &f->export : NULL;
}

static void shake_hands(struct fuzz *f, const uint8_t *data, size_t bytes)
{
    struct nbd_handshake hs;
    struct nbd_host host = {0};
    size_t step = bytes > 0 ? (size_t)data[0] + 1 : 1;
    size_t taken = 1, offered = 1;

    nbd_handshake_init(&hs, &f->exports, &host);
    while (hs.state != NBD_HANDSHAKE_DONE && hs.state != NBD_HANDSHAKE_CLOSE) {
        size_t n = offered > taken ? nbd_handshake_take(&hs, data + taken, offered - taken) : 0;

        CHECK(n <= offered - taken);
        CHECK(hs.out.len < 65536);
        hs.out.len = 0;
        taken += n;
        if (n == 0) {
            if (offered >= bytes) {
                break;
            }
            offered = bytes - offered < step ? bytes : offered + step;
        }
    }
    CHECK((hs.state == NBD_HANDSHAKE_DONE) == (hs.export != NULL));
    nbd_handshake_release(&hs);
    CHECK(f->export.attached == 0);
}

static void on_end(void *ctx, struct nbd_conn *conn)
{
    struct fuzz *f = ctx;

    nbd_conn_free(conn);
    f->ended = true;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void on_home_closed(struct nbd_mailbox *box)
{
    (void)box;
}

static void talk(struct fuzz *f, unsigned mode, const uint8_t *data, size_t bytes)
{
    static uint8_t sink[65536];
    struct nbd_conn_options options = {
        .export = &f->export,
        .conns = &f->conns,
        .structured = (mode & 2) != 0,
        .allocation = (mode & 6) == 6,
        .stall_timeout_ms = 1000,
        .peer = "fuzz",
        .home = &f->home,
        .end_cb = on_end,
        .ctx = f,
    };
    bool closed = false;
    int fds[2];

    CHECK(uv_loop_init(&f->loop) == 0);
    list_init(&f->conns);
    nbd_mailbox_init(&f->home, &f->loop);
    f->export.volume = volume_double_new(&f->loop, "disk", VOLUME_BYTES, false);
    f->export.worker = nbd_worker_new(&f->loop);
    f->export.read_only = (mode & 8) != 0;
    if ((mode & 16) != 0) {
        volume_double_reqs_max(f->export.volume, 2);
    }
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(bytes == 0 || write(fds[0], data, bytes) == (ssize_t)bytes);
    shutdown(fds[0], SHUT_WR);
    options.fd = fds[1];
    f->ended = false;
    nbd_conn_start(&options);
    while (!f->ended) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        while (recv(fds[0], sink, sizeof sink, 0) > 0) {
        }
    }
    close(fds[0]);
    nbd_worker_close(f->export.worker, on_closed, &closed);
    nbd_mailbox_close(&f->home, on_home_closed);
    volume_double_free(f->export.volume);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    CHECK(closed && uv_loop_close(&f->loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct nbd_exports_ops ops = {.list = list_exports, .find = find_export};
    struct fuzz f = {.exports.ops = &ops, .export = {.name = "disk", .size_bytes = VOLUME_BYTES}};

    log_set_level(LOG_NONE);
    if (bytes == 0 || bytes > 100000) {
        return 0;
    }
    if (data[0] == 0) {
        shake_hands(&f, data + 1, bytes - 1);
    } else {
        talk(&f, data[0], data + 1, bytes - 1);
    }
    return 0;
}
