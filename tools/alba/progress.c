#include "alba/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "alba/output.h"
#include "base/clock.h"

#define EVERY_NS UINT64_C(200000000)
#define CLEAR_LINE "\r\033[K"

void progress_begin(struct progress *p, const char *what, uint64_t total, bool is_bytes)
{
    *p = (struct progress){.what = what,
                           .total = total,
                           .is_bytes = is_bytes,
                           .on = isatty(STDERR_FILENO) == 1,
                           .start_ns = clock_mono_ns()};
}

static void put_amount(const struct progress *p, double amount)
{
    char text[OUTPUT_SIZE_TEXT_BYTES];

    if (p->is_bytes) {
        output_size_text(text, (uint64_t)amount);
        fputs(text, stderr);
    } else {
        fprintf(stderr, "%.0f", amount);
    }
}

void progress_show(struct progress *p, uint64_t done)
{
    uint64_t now = clock_mono_ns();
    double seconds = (double)(now - p->start_ns) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;

    if (!p->on || now - p->shown_ns < EVERY_NS) {
        return;
    }
    p->shown_ns = now;
    fprintf(stderr, CLEAR_LINE "%s  ", p->what);
    put_amount(p, (double)done);
    if (p->total != 0) {
        fputs(" of ", stderr);
        put_amount(p, (double)p->total);
        fprintf(stderr, " (%.0f %%)", 100 * (double)done / (double)p->total);
    }
    fputs(", ", stderr);
    put_amount(p, rate);
    fputs("/s", stderr);
    if (p->total > done && rate > 0) {
        uint64_t left = (uint64_t)((double)(p->total - done) / rate);

        fprintf(stderr, ", %" PRIu64 ":%02" PRIu64 " left", left / 60, left % 60);
    }
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->on) {
        fputs(CLEAR_LINE, stderr);
        fflush(stderr);
    }
}
