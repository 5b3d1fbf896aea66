/* An NBD server over doubles of volumes, and a client played by hand.
 *
 * Exports: "disk" (also the default one, writable), "ro" (read only, same volume), "other"
 * (writable, a second volume). The client's socket never blocks: while it waits, the loop
 * turns. Everything fails the test after NBD_FIXTURE_WAIT_MS. */
#ifndef TESTS_LIB_NBD_FIXTURE_H
#define TESTS_LIB_NBD_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "lib/loop_fixture.h"
#include "lib/volume_double.h"
#include "volumedriver/nbd_proto.h"
#include "volumedriver/nbd_server.h"
#include "volumedriver/nbd_worker.h"

enum {
    NBD_FIXTURE_WAIT_MS = 10000,
    NBD_FIXTURE_DISK_BYTES = 128 * 1048576,
    NBD_FIXTURE_OTHER_BYTES = 1048576,
    NBD_FIXTURE_EXPORTS = 3,
};

struct nbd_fixture {
    struct loop_fixture base;
    struct nbd_exports exports;
    struct volume *disk, *other;
    struct nbd_worker *worker;
    struct nbd_server *server; /* NULL: closed */
    struct nbd_export table[NBD_FIXTURE_EXPORTS];
    bool hidden[NBD_FIXTURE_EXPORTS]; /* from list and find */
    bool opening;                     /* what is hidden may come */
    bool server_closed;
    bool worker_closed;
};

/* `options` may be NULL; its addresses and exports are set here. */
void nbd_fixture_init(struct nbd_fixture *f, const struct nbd_server_options *options);
/* Closes what is open and checks that nothing is left. */
void nbd_fixture_release(struct nbd_fixture *f);
void nbd_fixture_close_server(struct nbd_fixture *f, unsigned drain_ms); /* starts it */
struct nbd_server_stats nbd_fixture_stats(const struct nbd_fixture *f);
/* Turn the loop until there are so many connections. */
void nbd_fixture_wait_connections(struct nbd_fixture *f, unsigned count);
void nbd_fixture_turn(struct nbd_fixture *f, unsigned ms);
/* Turn the loop until the volume (of "disk", when none is named) has so many requests. */
void nbd_fixture_wait_in_flight(struct nbd_fixture *f, unsigned count);
void nbd_fixture_wait_in_flight_of(struct nbd_fixture *f, const struct volume *v, unsigned count);
/* For cmocka: a fixture with default options as the state. */
int nbd_fixture_setup(void **state);
int nbd_fixture_teardown(void **state);

/* ---- the client; `fd` is its socket ---- */

int nbd_play_connect(struct nbd_fixture *f);
/* Greeting checked, flags sent (fixed newstyle, no zeroes). */
int nbd_play_greet(struct nbd_fixture *f);
/* As far as transmission on `name`. */
int nbd_play_go(struct nbd_fixture *f, const char *name, bool structured, bool allocation);

void nbd_play_send(struct nbd_fixture *f, int fd, const void *data, size_t bytes);
void nbd_play_receive(struct nbd_fixture *f, int fd, void *ret_data, size_t bytes);
/* The server closes, and nothing more comes. */
void nbd_play_expect_end(struct nbd_fixture *f, int fd);
/* Nothing comes within some milliseconds. */
void nbd_play_expect_silence(struct nbd_fixture *f, int fd, unsigned ms);

void nbd_play_option(struct nbd_fixture *f, int fd, uint32_t option, const void *data,
                     size_t bytes);
/* The next reply is of this type; returns its data, in a buffer that the next call uses. */
struct slice nbd_play_reply(struct nbd_fixture *f, int fd, uint32_t option, uint32_t type);

void nbd_play_request(struct nbd_fixture *f, int fd, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t length);
void nbd_play_write(struct nbd_fixture *f, int fd, uint16_t flags, uint64_t cookie, uint64_t offset,
                    const void *data, uint32_t length);
void nbd_play_expect_simple(struct nbd_fixture *f, int fd, uint64_t cookie, uint32_t error);
/* A chunk's head; returns the length of its payload, which comes next. */
uint32_t nbd_play_expect_chunk(struct nbd_fixture *f, int fd, uint64_t cookie, uint16_t flags,
                               uint16_t type);
/* An error chunk; returns its message as nbd_play_reply() does. */
struct slice nbd_play_expect_error(struct nbd_fixture *f, int fd, uint64_t cookie, uint32_t error);
void nbd_play_pattern(uint8_t *ret_data, size_t bytes, uint64_t seed);

#endif
