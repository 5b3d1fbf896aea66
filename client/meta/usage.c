#include "meta/usage.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "base/table.h"

enum { USAGE_INTERVAL_MS = 5000 };

struct usage_entry {
    uint64_t ns_id;
    struct usage *usage;
    struct nsm_usage delta;   /* not written yet */
    struct nsm_usage writing; /* on its way */
    bool is_writing;
    UT_hash_handle hh;
};

struct usage {
    struct registry *registry;
    struct usage_entry *entries;
    char writer[RND_UUID_TEXT_BYTES];
    uv_timer_t timer;
    unsigned writes_open;
    bool closing;
    bool timer_closed;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void write_all(struct usage *u);

static void sum_up(struct nsm_usage *to, const struct nsm_usage *from)
{
    to->objects += from->objects;
    to->logical_bytes += from->logical_bytes;
    to->stored_bytes += from->stored_bytes;
}

static bool is_zero(const struct nsm_usage *usage)
{
    return usage->objects == 0 && usage->logical_bytes == 0 && usage->stored_bytes == 0;
}

static void drop_entry(struct usage_entry *entry)
{
    HASH_DEL(entry->usage->entries, entry);
    free(entry);
}

static void close_when_idle(struct usage *u)
{
    struct usage_entry *entry, *next;

    if (!u->timer_closed || u->writes_open != 0) {
        return;
    }
    HASH_ITER (hh, u->entries, entry, next) {
        drop_entry(entry);
    }
    u->close_cb(u->close_ctx);
    free(u);
}

static void on_written(void *ctx, int rc, const struct err *e, const struct nsm_usage *usage)
{
    struct usage_entry *entry = ctx;
    struct usage *u = entry->usage;

    (void)e;
    (void)usage;
    entry->is_writing = false;
    if (rc != 0) { /* with the next turn */
        sum_up(&entry->delta, &entry->writing);
    } else if (is_zero(&entry->delta)) {
        drop_entry(entry);
    }
    u->writes_open--;
    if (u->closing) {
        close_when_idle(u);
    }
}

static void write_entry(struct usage *u, struct usage_entry *entry)
{
    const struct registry_view *view = registry_view(u->registry);
    const struct registry_namespace *ns =
        view != NULL ? registry_view_namespace_by_id(view, entry->ns_id) : NULL;
    struct nsm *nsm;
    struct err e;

    if (entry->is_writing) {
        return;
    }
    if (ns == NULL || ns->state == REGISTRY_NS_REMOVING || is_zero(&entry->delta)) {
        drop_entry(entry); /* nobody will ask */
        return;
    }
    if (registry_nsm(u->registry, ns->nsm_host, &nsm, &e) != 0) {
        return;
    }
    entry->writing = entry->delta;
    entry->delta = (struct nsm_usage){0};
    entry->is_writing = true;
    u->writes_open++;
    nsm_usage_add(nsm, entry->ns_id, u->writer, &entry->writing, on_written, entry);
}

static void write_all(struct usage *u)
{
    struct usage_entry *entry, *next;

    HASH_ITER (hh, u->entries, entry, next) {
        write_entry(u, entry);
    }
}

static void on_time(uv_timer_t *timer)
{
    write_all(container_of(timer, struct usage, timer));
}

struct usage *usage_new(struct registry *registry, unsigned interval_ms)
{
    struct usage *u = mem_zalloc(sizeof(*u));
    unsigned every_ms = interval_ms != 0 ? interval_ms : USAGE_INTERVAL_MS;

    u->registry = registry;
    rnd_uuid_text(u->writer);
    CHECK(uv_timer_init(kv_loop(registry_kv(registry)), &u->timer) == 0);
    uv_timer_start(&u->timer, on_time, every_ms, every_ms);
    uv_unref((uv_handle_t *)&u->timer); /* does not keep a loop alive by itself */
    return u;
}

void usage_add(struct usage *usage, uint64_t ns_id, const struct nsm_usage *delta)
{
    struct usage_entry *entry;

    CHECK(!usage->closing);
    HASH_FIND(hh, usage->entries, &ns_id, sizeof(ns_id), entry);
    if (entry == NULL) {
        entry = mem_zalloc(sizeof(*entry));
        entry->ns_id = ns_id;
        entry->usage = usage;
        HASH_ADD(hh, usage->entries, ns_id, sizeof(entry->ns_id), entry);
    }
    sum_up(&entry->delta, delta);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct usage *u = container_of((uv_timer_t *)handle, struct usage, timer);

    u->timer_closed = true;
    close_when_idle(u);
}

void usage_close(struct usage *usage, void (*cb)(void *ctx), void *ctx)
{
    usage->closing = true;
    usage->close_cb = cb;
    usage->close_ctx = ctx;
    write_all(usage);
    uv_close((uv_handle_t *)&usage->timer, on_timer_closed);
}
