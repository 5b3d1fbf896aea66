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

    if (r->started == r->limit || r->rc != 0 || (r->stop && r->kind != RUNNER_CLEANS)) {
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

int runner_run(struct runner *r, const char *name, enum runner_kind kind)
{
    uint64_t start_ns = clock_mono_ns();

    r->started = r->ended = 0;
    r->rc = 0;
    r->kind = kind;
    r->limit = kind == RUNNER_CLEANS ? r->written : r->count;
    r->latencies.count = 0;
    progress_begin(&r->progress, name, r->limit, false);
    for (unsigned i = 0; i < r->depth; i++) {
        start_next(r, i);
    }
    r->done = r->running == 0;
    loop_run_until(r->loop, &r->done);
    progress_end(&r->progress);
    if (kind == RUNNER_WRITES && r->started > r->written) {
        r->written = r->started;
    }
    r->seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    return r->rc;
}

void runner_row(struct runner *r, const char *name, uint64_t bytes_each, json_t *rows)
{
    json_array_append_new(rows,
                          latencies_json(&r->latencies, name, r->seconds, bytes_each * r->ended));
}

/* The third one ends the process, as if nobody listened. */
static void on_signal(uv_signal_t *handle, int signum)
{
    struct runner *r = handle->data;

    (void)signum;
    if (r->stop && r->rc == 0) {
        r->rc = err_say(&r->err, ERR_CANCELED, "interrupted; %s/… may be left", r->prefix);
        uv_signal_stop(handle);
    }
    r->stop = true;
}

void runner_init(struct runner *r)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    char uuid[RND_UUID_TEXT_BYTES];

    CHECK(r->count <= LATENCIES_MAX);
    rnd_uuid_text(uuid);
    snprintf(r->prefix, sizeof(r->prefix), "alba-bench/%s", uuid);
    r->value = mem_alloc(r->value_bytes);
    rnd_bytes(r->value, r->value_bytes);
    rnd_bytes(&r->rnd.state, sizeof(r->rnd.state));
    r->start_ns = mem_array(r->depth, sizeof(*r->start_ns));
    for (unsigned i = 0; i < 2; i++) {
        CHECK(uv_signal_init(r->loop, &r->signals[i]) == 0);
        r->signals[i].data = r;
        CHECK(uv_signal_start(&r->signals[i], on_signal, numbers[i]) == 0);
    }
}

void runner_release(struct runner *r)
{
    uv_close((uv_handle_t *)&r->signals[0], NULL);
    uv_close((uv_handle_t *)&r->signals[1], NULL);
    free(r->start_ns);
    free(r->value);
    latencies_release(&r->latencies);
}
