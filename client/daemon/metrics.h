/* Counters, gauges and histograms, and the text Prometheus reads.
 *
 * Names: <program>_<what>_<unit>, base units, _total for counters ("asd_requests_total",
 * "asd_commit_seconds"). A metric is embedded in the struct of its owner and registered; name,
 * help and labels are borrowed until it is removed. Labels are written as they stand:
 * "op=\"get\",prio=\"high\"", or NULL.
 *
 * One thread at a time adds to a metric, any thread reads: increments are plain stores that
 * the reader may see a little late. Registering, removing and metrics_print() belong to one
 * thread (the one that serves HTTP). */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"

enum metric_type { METRIC_COUNTER = 1, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric { /* private */
    struct list link;
    const char *name;
    const char *help;
    const char *labels;
    enum metric_type type;
};

struct metric_counter {
    struct metric metric;
    _Atomic uint64_t value;
    double scale;                /* printed value = value * scale, e.g. 1e-9 for nanoseconds */
    struct metric_counter *more; /* joined */
};

struct metric_gauge {
    struct metric metric;
    _Atomic int64_t value;
    double scale;
};

/* Four buckets for every power of two: quantiles are right within 25 %. */
enum { METRIC_BUCKETS = 252 };

struct metric_histogram {
    struct metric metric;
    _Atomic uint64_t buckets[METRIC_BUCKETS];
    _Atomic uint64_t sum;
    double scale;   /* e.g. 1e-9: observed in ns, printed in seconds */
    uint64_t first; /* smallest and largest printed bound, powers of two */
    uint64_t last;
    struct metric_histogram *more; /* joined */
};

/* Prints lines of its own at each scrape, e.g. for thousands of volumes. */
struct metric_collector {
    void (*collect)(struct metric_collector *collector, struct buf *out);
    struct list link; /* private */
};

struct metrics {
    struct list metrics; /* private */
    struct list collectors;
};

void metrics_init(struct metrics *m); /* process_* gauges are always there */
void metrics_counter(struct metrics *m, struct metric_counter *c, const char *name,
                     const char *labels, double scale, const char *help);
void metrics_gauge(struct metrics *m, struct metric_gauge *g, const char *name, const char *labels,
                   double scale, const char *help);
/* Bounds are printed for every power of two from `first` to `last`. */
void metrics_histogram(struct metrics *m, struct metric_histogram *h, const char *name,
                       const char *labels, double scale, uint64_t first, uint64_t last,
                       const char *help);
/* What `part` ({0}, and not registered) counts is read in `whole` from now on: for several threads,
 * each of which adds to its own. The thread that registers. */
void metric_counter_join(struct metric_counter *whole, struct metric_counter *part);
void metric_histogram_join(struct metric_histogram *whole, struct metric_histogram *part);
void metrics_collector(struct metrics *m, struct metric_collector *c);
void metrics_remove(struct metric *metric);
void metrics_print(struct metrics *m, struct buf *out);

/* For collectors: "# HELP", "# TYPE", then samples of that name. */
void metrics_put_family(struct buf *out, const char *name, enum metric_type type, const char *help);
void metrics_put_sample(struct buf *out, const char *name, const char *labels, double value);
/* Families of one sample without labels. */
struct metric_single {
    const char *name;
    enum metric_type type;
    uint64_t value;
    const char *help;
};
void metrics_put_singles(struct buf *out, const struct metric_single *singles, size_t count);
/* Append `text` with what a label value may not hold escaped. */
void metrics_put_label(struct buf *out, const char *name, const char *text);

static inline void metric_add(struct metric_counter *c, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&c->value, memory_order_relaxed);

    atomic_store_explicit(&c->value, v + n, memory_order_relaxed);
}

static inline void metric_inc(struct metric_counter *c)
{
    metric_add(c, 1);
}

static inline uint64_t metric_value(struct metric_counter *c)
{
    uint64_t value = 0;

    for (; c != NULL; c = c->more) {
        value += atomic_load_explicit(&c->value, memory_order_relaxed);
    }
    return value;
}

static inline void metric_set(struct metric_gauge *g, int64_t v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}

static inline void metric_change(struct metric_gauge *g, int64_t by)
{
    metric_set(g, atomic_load_explicit(&g->value, memory_order_relaxed) + by);
}

void metric_observe(struct metric_histogram *h, uint64_t value);
/* Upper bound of the bucket that holds the quantile (0 … 1), unscaled; 0 when empty. */
uint64_t metric_quantile(const struct metric_histogram *h, double quantile);
uint64_t metric_count(const struct metric_histogram *h);

#endif
