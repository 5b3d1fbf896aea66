#include "alba/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"

/* The next request, if there is one. */
static void start_next(struct runner *r, unsigned place)
{
    struct err e;
    int rc;

    if (r->started == r->count || r->rc != 0 || (r->stop && !r->goes_on)) {
        return;
    }
    r->start_ns[place] = clock_mono_ns();
    rc = r->send(r->ctx, place, r->started++, &e);
    if (rc != 0) {
        r->rc = err_copy(&r->err, &e);
        return;
    }
    r->running++;
}

void runner_ended(struct runner *r, unsigned place, int rc, const struct err *e)
{
    latencies_add(&r->latencies, clock_mono_ns() - r->start_ns[place]);
    r->running--;
    r->ended++;
    if (rc != 0 && r->rc == 0) {
        r->rc = err_copy(&r->err, e);
    }
    progress_show(&r->progress, r->ended);
    start_next(r, place);
    r->done = r->running == 0;
}

int runner_run(struct runner *r, const char *name, bool cleans)
{
    uint64_t start_ns = clock_mono_ns();

    r->started = r->ended = 0;
    r->rc = 0;
    r->goes_on = cleans;
    r->latencies.count = 0;
    progress_begin(&r->progress, name, r->count, false);
    for (unsigned i = 0; i < r->depth; i++) {
        start_next(r, i);
    }
    r->done = r->running == 0;
    loop_run_until(r->loop, &r->done);
    progress_end(&r->progress);
    r->seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    return r->rc;
}

void runner_row(struct runner *r, const char *name, uint64_t bytes_each, json_t *rows)
{
    json_array_append_new(rows,
                          latencies_json(&r->latencies, name, r->seconds, bytes_each * r->ended));
}

static void on_sigint(uv_signal_t *handle, int signum)
{
    (void)signum;
    container_of(handle, struct runner, sigint)->stop = true;
}

void runner_init(struct runner *r)
{
    char uuid[RND_UUID_TEXT_BYTES];

    CHECK(r->count <= LATENCIES_MAX);
    rnd_uuid_text(uuid);
    snprintf(r->prefix, sizeof(r->prefix), "alba-bench/%s", uuid);
    r->value = mem_alloc(r->value_bytes);
    rnd_bytes(r->value, r->value_bytes);
    rnd_bytes(&r->rnd.state, sizeof(r->rnd.state));
    r->start_ns = mem_array(r->depth, sizeof(*r->start_ns));
    CHECK(uv_signal_init(r->loop, &r->sigint) == 0);
    CHECK(uv_signal_start(&r->sigint, on_sigint, SIGINT) == 0);
}

void runner_release(struct runner *r)
{
    uv_close((uv_handle_t *)&r->sigint, NULL);
    free(r->start_ns);
    free(r->value);
    latencies_release(&r->latencies);
}
