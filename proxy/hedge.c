/* Reads wait in lists, one for each time that they wait: of their kind, and those that are looked
 * at again. So each goes to the end of one. Before them all is one timer, which runs only while
 * there are some. It is not moved when a read ends or one begins that is due later: what a read
 * that is fast costs is a list entry. */
#include "proxy/hedge.h"

#include "base/check.h"
#include "base/clock.h"
#include "proxy/engine.h"

static const uint64_t ns_per_ms = 1000000;
static const uint32_t size_limits[HEDGE_SIZES - 1] = {64 << 10, 1 << 20};

static void on_timer(uv_timer_t *timer);

/* ---- tokens ---- */

void hedge_bucket_begin(struct hedge_bucket *bucket)
{
    bucket->reads += bucket->reads < HEDGE_BURST * HEDGE_READS_PER_TOKEN;
}

bool hedge_bucket_take(struct hedge_bucket *bucket)
{
    if (bucket->reads < HEDGE_READS_PER_TOKEN) {
        return false;
    }
    bucket->reads -= HEDGE_READS_PER_TOKEN;
    return true;
}

bool hedge_take(struct hedge *hedge)
{
    return hedge_bucket_take(&hedge->bucket);
}

bool hedge_is_saturated(const struct engine *engine)
{
    return pool_load(engine->pool) > HEDGE_POOL_LOAD_MAX;
}

/* ---- how long is too long ---- */

unsigned hedge_kind(bool is_far, uint32_t bytes)
{
    unsigned size = 0;

    while (size < HEDGE_SIZES - 1 && bytes > size_limits[size]) {
        size++;
    }
    return (is_far ? HEDGE_SIZES : 0) + size;
}

void hedge_note(struct hedge *hedge, unsigned kind, uint64_t took_ns)
{
    CHECK(kind < HEDGE_KINDS);
    read_times_add(&hedge->times[kind], took_ns / 1000);
}

uint64_t hedge_delay_ns(const struct hedge *hedge, unsigned kind)
{
    const struct read_times *t = &hedge->times[kind];
    uint64_t max_ns = hedge->engine->options.osd_timeout_ms * ns_per_ms / 2;
    uint64_t us = t->p99_us > 3 * (uint64_t)t->p50_us ? t->p99_us : 3 * (uint64_t)t->p50_us;
    uint64_t ns = us == 0 ? HEDGE_DELAY_FIRST_MS * ns_per_ms : us * 1000;

    ns = ns < HEDGE_DELAY_MIN_MS * ns_per_ms ? HEDGE_DELAY_MIN_MS * ns_per_ms : ns;
    return ns < max_ns ? ns : max_ns;
}

/* ---- waiting ---- */

static uint64_t due_of(const struct list *link)
{
    return container_of(link, struct hedge_wait, link)->due_ns;
}

static void run_timer(struct hedge *hedge, uint64_t due_ns, uint64_t now_ns)
{
    uint64_t ms = due_ns > now_ns ? (due_ns - now_ns + ns_per_ms - 1) / ns_per_ms : 0;

    if (hedge->timer_ns == 0 || due_ns < hedge->timer_ns) {
        hedge->timer_ns = due_ns;
        CHECK(uv_timer_start(&hedge->timer, on_timer, ms, 0) == 0);
    }
}

/* Behind those that are due earlier: the last, unless reads of its kind took longer before. */
static void enlist(struct hedge_wait *wait, struct list *waits, uint64_t after_ns, uint64_t now_ns)
{
    struct list *before = waits->prev;

    wait->due_ns = now_ns + after_ns;
    while (before != waits && due_of(before) > wait->due_ns) {
        before = before->prev;
    }
    list_push_front(before, &wait->link);
}

/* Those that are due, off their lists. */
static void take_due(struct hedge *hedge, uint64_t now_ns, struct list *ret_due)
{
    for (unsigned i = 0; i < HEDGE_LISTS; i++) {
        struct list *waits = &hedge->waits[i];

        while (!list_empty(waits) && due_of(waits->next) <= now_ns) {
            list_push(ret_due, list_pop(waits));
        }
    }
}

static void run_timer_for_first(struct hedge *hedge, uint64_t now_ns)
{
    for (unsigned i = 0; i < HEDGE_LISTS; i++) {
        if (!list_empty(&hedge->waits[i])) {
            run_timer(hedge, due_of(hedge->waits[i].next), now_ns);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct hedge *hedge = container_of(timer, struct hedge, timer);
    uint64_t now_ns = clock_mono_ns();
    bool is_late = now_ns > hedge->timer_ns + HEDGE_LOOP_LATE_MS * ns_per_ms;
    struct list due, *link;

    hedge->timer_ns = 0;
    list_init(&due);
    take_due(hedge, now_ns, &due);
    while ((link = list_pop(&due)) != NULL) {
        struct hedge_wait *wait = container_of(link, struct hedge_wait, link);

        enlist(wait, &hedge->waits[wait->kind], wait->delay_ns, now_ns);
        wait->cb(wait, is_late);
    }
    run_timer_for_first(hedge, now_ns);
}

void hedge_begin(struct hedge *hedge, struct hedge_wait *wait, unsigned kind, uint64_t now_ns,
                 hedge_cb cb)
{
    CHECK(kind < HEDGE_KINDS);
    hedge_bucket_begin(&hedge->bucket);
    *wait = (struct hedge_wait){
        .delay_ns = hedge_delay_ns(hedge, kind), .hedge = hedge, .kind = kind, .cb = cb};
    enlist(wait, &hedge->waits[kind], wait->delay_ns, now_ns);
    run_timer(hedge, wait->due_ns, now_ns);
}

void hedge_again(struct hedge_wait *wait, uint64_t now_ns)
{
    unsigned step = wait->refused < HEDGE_AGAIN_STEPS ? wait->refused++ : HEDGE_AGAIN_STEPS - 1;
    uint64_t ms = (uint64_t)HEDGE_AGAIN_MIN_MS << step;

    list_remove(&wait->link);
    enlist(wait, &wait->hedge->waits[HEDGE_KINDS + step],
           (ms < HEDGE_AGAIN_MAX_MS ? ms : HEDGE_AGAIN_MAX_MS) * ns_per_ms, now_ns);
}

void hedge_end(struct hedge_wait *wait)
{
    if (wait->hedge != NULL) {
        wait->hedge = NULL;
        list_remove(&wait->link);
    }
}

/* ---- life ---- */

void hedge_init(struct hedge *hedge, struct engine *engine)
{
    hedge->bucket.reads = HEDGE_BURST * HEDGE_READS_PER_TOKEN;
    hedge->engine = engine;
    hedge->timer_ns = 0;
    for (unsigned i = 0; i < HEDGE_LISTS; i++) {
        list_init(&hedge->waits[i]);
    }
    CHECK(uv_timer_init(engine->loop, &hedge->timer) == 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct hedge *hedge = container_of((uv_timer_t *)handle, struct hedge, timer);

    hedge->close_cb(hedge->engine);
}

void hedge_close(struct hedge *hedge, void (*cb)(void *engine))
{
    for (unsigned i = 0; i < HEDGE_LISTS; i++) {
        CHECK(list_empty(&hedge->waits[i]));
    }
    hedge->close_cb = cb;
    uv_close((uv_handle_t *)&hedge->timer, on_closed);
}
