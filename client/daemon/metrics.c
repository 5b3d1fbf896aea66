#include "daemon/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log_scale.h"
#include "daemon/process.h"

static void metric_register(struct metrics *m, struct metric *metric, enum metric_type type,
                            const char *name, const char *labels, const char *help)
{
    struct list *place = &m->metrics;

    *metric = (struct metric){.name = name, .help = help, .labels = labels, .type = type};
    for (struct list *it = m->metrics.prev; it != &m->metrics; it = it->prev) {
        if (strcmp(container_of(it, struct metric, link)->name, name) == 0) {
            place = it->next; /* behind the others of its family */
            break;
        }
    }
    list_push(place, &metric->link);
}

void metrics_init(struct metrics *m)
{
    list_init(&m->metrics);
    list_init(&m->collectors);
}

void metrics_counter(struct metrics *m, struct metric_counter *c, const char *name,
                     const char *labels, double scale, const char *help)
{
    atomic_init(&c->value, 0);
    c->scale = scale;
    c->more = NULL;
    metric_register(m, &c->metric, METRIC_COUNTER, name, labels, help);
}

void metrics_gauge(struct metrics *m, struct metric_gauge *g, const char *name, const char *labels,
                   double scale, const char *help)
{
    atomic_init(&g->value, 0);
    g->scale = scale;
    metric_register(m, &g->metric, METRIC_GAUGE, name, labels, help);
}

void metrics_histogram(struct metrics *m, struct metric_histogram *h, const char *name,
                       const char *labels, double scale, uint64_t first, uint64_t last,
                       const char *help)
{
    CHECK(first != 0 && (first & (first - 1)) == 0 && (last & (last - 1)) == 0 && first <= last);
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        atomic_init(&h->buckets[i], 0);
    }
    atomic_init(&h->sum, 0);
    h->scale = scale;
    h->first = first;
    h->last = last;
    h->more = NULL;
    metric_register(m, &h->metric, METRIC_HISTOGRAM, name, labels, help);
}

void metrics_collector(struct metrics *m, struct metric_collector *c)
{
    list_push(&m->collectors, &c->link);
}

void metric_counter_join(struct metric_counter *whole, struct metric_counter *part)
{
    part->more = whole->more;
    whole->more = part;
}

void metric_histogram_join(struct metric_histogram *whole, struct metric_histogram *part)
{
    part->more = whole->more;
    whole->more = part;
}

void metrics_remove(struct metric *metric)
{
    list_remove(&metric->link);
}

/* ---- histograms ---- */

static uint64_t bucket_count(const struct metric_histogram *h, unsigned index)
{
    uint64_t count = 0;

    for (; h != NULL; h = h->more) {
        count += atomic_load_explicit(&h->buckets[index], memory_order_relaxed);
    }
    return count;
}

static uint64_t sum_of(const struct metric_histogram *h)
{
    uint64_t sum = 0;

    for (; h != NULL; h = h->more) {
        sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
    }
    return sum;
}

void metric_observe(struct metric_histogram *h, uint64_t value)
{
    unsigned i = log_scale_index(value);
    uint64_t count = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed);

    atomic_store_explicit(&h->buckets[i], count + 1, memory_order_relaxed);
    atomic_store_explicit(&h->sum, sum + value, memory_order_relaxed);
}

uint64_t metric_count(const struct metric_histogram *h)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        total += bucket_count(h, i);
    }
    return total;
}

uint64_t metric_quantile(const struct metric_histogram *h, double quantile)
{
    double rank = ceil(quantile * (double)metric_count(h));
    uint64_t seen = 0;

    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        seen += bucket_count(h, i);
        if (seen != 0 && (double)seen >= rank) {
            return log_scale_upper(i);
        }
    }
    return 0;
}

/* ---- text ---- */

static const char *type_name(enum metric_type type)
{
    static const char *const names[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};

    return names[type];
}

void metrics_put_family(struct buf *out, const char *name, enum metric_type type, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    for (; *help != '\0'; help++) {
        if (*help == '\n') {
            buf_put(out, "\\n", 2);
        } else if (*help == '\\') {
            buf_put(out, "\\\\", 2);
        } else {
            buf_put(out, help, 1);
        }
    }
    buf_printf(out, "\n# TYPE %s %s\n", name, type_name(type));
}

/* Whole numbers in full, so that a counter never loses its last digits. */
static void put_value(struct buf *out, double value)
{
    if (value == floor(value) && fabs(value) <= 9007199254740992.0 /* 2^53 */) {
        buf_printf(out, " %.0f\n", value);
    } else {
        buf_printf(out, " %.9g\n", value);
    }
}

void metrics_put_sample(struct buf *out, const char *name, const char *labels, double value)
{
    if (labels != NULL && *labels != '\0') {
        buf_printf(out, "%s{%s}", name, labels);
    } else {
        buf_printf(out, "%s", name);
    }
    put_value(out, value);
}

void metrics_put_singles(struct buf *out, const struct metric_single *singles, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        metrics_put_family(out, singles[i].name, singles[i].type, singles[i].help);
        metrics_put_sample(out, singles[i].name, NULL, (double)singles[i].value);
    }
}

void metrics_put_label(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "%s=\"", name);
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            buf_put(out, "\\n", 2);
            continue;
        }
        if (*text == '\\' || *text == '"') {
            buf_put(out, "\\", 1);
        }
        buf_put(out, text, 1);
    }
    buf_put(out, "\"", 1);
}

static void print_histogram(struct buf *out, const struct metric_histogram *h)
{
    const struct metric *metric = &h->metric;
    const char *labels = metric->labels != NULL ? metric->labels : "";
    const char *comma = *labels != '\0' ? "," : "";
    uint64_t seen = 0;
    uint64_t total;
    unsigned i = 0;

    for (uint64_t bound = h->first; bound != 0 && bound <= h->last; bound *= 2) {
        for (; i < METRIC_BUCKETS && log_scale_upper(i) < bound; i++) {
            seen += bucket_count(h, i);
        }
        buf_printf(out, "%s_bucket{%s%sle=\"%.9g\"}", metric->name, labels, comma,
                   (double)bound * h->scale);
        put_value(out, (double)seen);
    }
    for (total = seen; i < METRIC_BUCKETS; i++) {
        total += bucket_count(h, i);
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"}", metric->name, labels, comma);
    put_value(out, (double)total);
    buf_printf(out, *labels != '\0' ? "%s_sum{%s}" : "%s_sum%s", metric->name, labels);
    put_value(out, (double)sum_of(h) * h->scale);
    buf_printf(out, *labels != '\0' ? "%s_count{%s}" : "%s_count%s", metric->name, labels);
    put_value(out, (double)total);
}

static void print_metric(struct buf *out, struct metric *metric)
{
    switch (metric->type) {
    case METRIC_COUNTER: {
        struct metric_counter *c = container_of(metric, struct metric_counter, metric);

        metrics_put_sample(out, metric->name, metric->labels, (double)metric_value(c) * c->scale);
        break;
    }
    case METRIC_GAUGE: {
        struct metric_gauge *g = container_of(metric, struct metric_gauge, metric);
        int64_t v = atomic_load_explicit(&g->value, memory_order_relaxed);

        metrics_put_sample(out, metric->name, metric->labels, (double)v * g->scale);
        break;
    }
    case METRIC_HISTOGRAM:
        print_histogram(out, container_of(metric, struct metric_histogram, metric));
        break;
    }
}

void metrics_print(struct metrics *m, struct buf *out)
{
    const char *family = "";

    LIST_FOR_EACH (it, &m->metrics) {
        struct metric *metric = container_of(it, struct metric, link);

        if (strcmp(metric->name, family) != 0) {
            family = metric->name;
            metrics_put_family(out, family, metric->type, metric->help);
        }
        print_metric(out, metric);
    }
    LIST_FOR_EACH (it, &m->collectors) {
        struct metric_collector *c = container_of(it, struct metric_collector, link);

        c->collect(c, out);
    }
    process_print_metrics(out);
}
