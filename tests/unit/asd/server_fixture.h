/* A store on a crash disk, a gate before its data, and a server with one loop or with several. For
 * tests; what fails ends the test. */
#ifndef TESTS_UNIT_ASD_SERVER_FIXTURE_H
#define TESTS_UNIT_ASD_SERVER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asd/server.h"
#include "fault/asd_fixture.h"
#include "lib/block_io.h"

/* Read threads of each loop; loops, where there are several. */
enum { SERVER_READERS = 2, SERVER_THREADS = 3 };

struct CMUnitTest;

struct server_fixture {
    struct asd_fixture base; /* set options between init and open */
    struct block_io gate;
    unsigned threads;
    uint64_t (*wall_us)(void); /* NULL: the real one */

    struct asd_server *server; /* NULL: closed */
    uv_loop_t *loop;
    uint16_t port;
    bool closed; /* the server */
};

void server_fixture_init(struct server_fixture *f, unsigned threads);
void server_fixture_open(struct server_fixture *f);
void server_fixture_close(struct server_fixture *f);
void server_fixture_release(struct server_fixture *f); /* closes */

/* Of a store that stays open. */
void server_fixture_serve(struct server_fixture *f);
void server_fixture_end_serving(struct server_fixture *f);

/* A fixture of its own for each test, with as many loops as server_run_tests() is at. */
int server_setup(void **state);
int server_teardown(void **state);
/* All tests with one loop, then with SERVER_THREADS. Returns how many failed. */
int server_run_tests(const struct CMUnitTest *tests, size_t count);

#endif
