#include "object/osd_book.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/table.h"
#include "wire/proxy_reply.h"

struct book_entry {
    struct book_osd osd; /* first, so that a pointer to it stays */
    bool seen;           /* in the list that is being taken */
    UT_hash_handle hh;
};

struct osd_book {
    uv_loop_t *loop;
    struct osd_book_options options;
    char *owner;
    char **near_nodes;
    struct book_entry *entries;
    unsigned clients_open;
    bool closing;
    uv_idle_t idle; /* closing must not call back at once */
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void settle(struct osd_book *book);

static struct book_entry *entry_of(struct book_osd *osd)
{
    return container_of(osd, struct book_entry, osd);
}

/* ---- connections ---- */

static void on_client_closed(void *ctx)
{
    struct osd_book *book = ctx;

    book->clients_open--;
    settle(book);
}

static void drop_client(struct book_osd *osd)
{
    if (osd->client != NULL) {
        asd_client_close(osd->client, on_client_closed, osd->book);
        osd->client = NULL;
    }
}

struct asd_client *book_osd_client(struct book_osd *osd)
{
    struct osd_book *book = osd->book;

    CHECK(!book->closing && osd->host_count > 0);
    if (osd->client == NULL) {
        osd->client = asd_client_new(
            book->loop,
            &(struct asd_client_options){.addr = osd->hosts[osd->host],
                                         .tls = book->options.tls,
                                         .long_id = osd->long_id,
                                         .owner = book->owner,
                                         .connect_timeout_ms = book->options.connect_timeout_ms,
                                         .claim_timeout_ms = book->options.connect_timeout_ms});
        book->clients_open++;
    }
    return osd->client;
}

/* ---- health ---- */

bool book_osd_is_fault(int rc)
{
    switch (rc) {
    case 0:
    case ERR_CANCELED:
    case ERR_NOT_FOUND:
    case ERR_CORRUPT: /* of this fragment */
    case ERR_BUSY:
    case ERR_TOO_LARGE:
    case ERR_REMOTE: /* a slice beyond the end, say: this fragment again */
    case -ERANGE:
    case -EINVAL:
        return false;
    default:
        return true;
    }
}

bool book_osd_is_well(const struct book_osd *osd, uint64_t now_ms)
{
    if (osd->gone || osd->host_count == 0) {
        return false;
    }
    return osd->aside_until_ms == 0 || (!osd->trying && now_ms >= osd->aside_until_ms);
}

bool book_osd_take(struct book_osd *osd, uint64_t now_ms)
{
    if (!book_osd_is_well(osd, now_ms)) {
        return false;
    }
    osd->calls++;
    osd->trying = osd->aside_until_ms != 0;
    return true;
}

static void set_aside(struct book_osd *osd, int rc, uint64_t now_ms)
{
    if (osd->aside_until_ms > now_ms) {
        return; /* others of the same moment */
    }
    osd->aside_ms = osd->aside_ms == 0                          ? OSD_BOOK_ASIDE_MS_MIN
                    : osd->aside_ms < OSD_BOOK_ASIDE_MS_MAX / 2 ? 2 * osd->aside_ms
                                                                : OSD_BOOK_ASIDE_MS_MAX;
    osd->aside_until_ms = now_ms + osd->aside_ms;
    log_debug("object", "osd set aside", "osd=%" PRIu64 " ms=%u why=\"%s\"", osd->id, osd->aside_ms,
              err_text(rc));
    if (osd->host_count > 1) { /* another of its addresses may be the one that we reach */
        drop_client(osd);
        osd->host = (osd->host + 1) % osd->host_count;
    }
}

void book_osd_note(struct book_osd *osd, int rc)
{
    osd->trying = false;
    if (book_osd_is_fault(rc)) {
        osd->failures++;
        set_aside(osd, rc, clock_mono_ms());
    } else if (rc != ERR_CANCELED && rc != ERR_BUSY) {
        osd->aside_until_ms = 0;
        osd->aside_ms = 0;
    }
}

/* ---- the list ---- */

bool osd_book_is_empty(const struct osd_book *book)
{
    return book->owner == NULL;
}

struct book_osd *osd_book_find(struct osd_book *book, uint64_t id)
{
    struct book_entry *entry;

    HASH_FIND(hh, book->entries, &id, sizeof(id), entry);
    return entry != NULL ? &entry->osd : NULL;
}

unsigned osd_book_count(const struct osd_book *book)
{
    return HASH_COUNT(book->entries);
}

void book_osd_hold(struct book_osd *osd)
{
    osd->holders++;
}

static void forget_if_gone(struct book_osd *osd)
{
    if (osd->gone && osd->holders == 0) {
        HASH_DEL(osd->book->entries, entry_of(osd));
        free(osd->long_id);
        free(entry_of(osd));
    }
}

void book_osd_release(struct book_osd *osd)
{
    CHECK(osd->holders > 0);
    osd->holders--;
    forget_if_gone(osd);
}

unsigned osd_book_aside_count(const struct osd_book *book)
{
    unsigned count = 0;

    for (const struct book_entry *e = book->entries; e != NULL; e = e->hh.next) {
        count += !e->osd.gone && e->osd.aside_until_ms != 0;
    }
    return count;
}

static unsigned hosts_of(const struct osd_info *info, struct net_addr hosts[OSD_BOOK_HOSTS_MAX])
{
    unsigned count = 0;

    for (uint32_t i = 0; i < info->host_count && count < OSD_BOOK_HOSTS_MAX; i++) {
        char *host = mem_printf("%.*s", (int)info->hosts[i].len, (const char *)info->hosts[i].data);
        struct err e;

        if (info->hosts[i].len < NET_ADDR_IP_MAX && info->port > 0 && info->port <= UINT16_MAX &&
            net_addr_tcp(&hosts[count], host, (uint16_t)info->port, &e) == 0) {
            if (info->use_tls) {
                net_addr_set_tls(&hosts[count]);
            }
            count++;
        }
        free(host);
    }
    return count;
}

static bool is_same_place(const struct book_osd *osd, const struct net_addr *hosts, unsigned count,
                          struct slice long_id)
{
    if (osd->host_count != count || !slice_eq(slice_str(osd->long_id), long_id)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(osd->hosts[i].text, hosts[i].text) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_far(const struct osd_book *book, struct slice node_id)
{
    for (unsigned i = 0; i < book->options.near_node_count; i++) {
        if (slice_eq(slice_str(book->near_nodes[i]), node_id)) {
            return false;
        }
    }
    return book->options.near_node_count > 0;
}

static void take_osd(struct osd_book *book, const struct proxy_osd *row)
{
    struct net_addr hosts[OSD_BOOK_HOSTS_MAX];
    struct book_osd *osd = osd_book_find(book, row->osd_id);
    unsigned host_count = row->info.kind == OSD_KIND_ASD ? hosts_of(&row->info, hosts) : 0;

    if (osd == NULL) {
        struct book_entry *entry = mem_zalloc(sizeof(*entry));

        osd = &entry->osd;
        osd->id = row->osd_id;
        osd->book = book;
        osd->long_id = mem_strdup("");
        HASH_ADD(hh, book->entries, osd.id, sizeof(osd->id), entry);
    }
    entry_of(osd)->seen = true;
    osd->gone = false;
    osd->far = is_far(book, row->info.node_id);
    if (is_same_place(osd, hosts, host_count, row->info.long_id)) {
        return;
    }
    drop_client(osd);
    memcpy(osd->hosts, hosts, host_count * sizeof(*hosts));
    osd->host_count = host_count;
    osd->host = 0;
    osd->aside_until_ms = 0;
    osd->aside_ms = 0;
    free(osd->long_id);
    osd->long_id =
        mem_printf("%.*s", (int)row->info.long_id.len, (const char *)row->info.long_id.data);
}

void osd_book_set(struct osd_book *book, const struct proxy_alba *alba)
{
    struct book_entry *entry, *next;

    if (book->owner == NULL || !slice_eq(slice_str(book->owner), alba->alba_id)) {
        free(book->owner);
        book->owner = mem_printf("%.*s", (int)alba->alba_id.len, (const char *)alba->alba_id.data);
        for (struct book_entry *e = book->entries; e != NULL; e = e->hh.next) {
            drop_client(&e->osd);
        }
    }
    for (struct book_entry *e = book->entries; e != NULL; e = e->hh.next) {
        e->seen = false;
    }
    for (uint32_t i = 0; i < alba->osd_count; i++) {
        take_osd(book, &alba->osds[i]);
    }
    HASH_ITER (hh, book->entries, entry, next) {
        if (!entry->seen) {
            entry->osd.gone = true;
            drop_client(&entry->osd);
            forget_if_gone(&entry->osd);
        }
    }
}

/* ---- life ---- */

struct osd_book *osd_book_new(uv_loop_t *loop, const struct osd_book_options *options)
{
    struct osd_book *book = mem_zalloc(sizeof(*book));

    book->loop = loop;
    book->options = *options;
    book->options.near_nodes = NULL;
    book->near_nodes = mem_array(options->near_node_count + 1, sizeof(*book->near_nodes));
    for (unsigned i = 0; i < options->near_node_count; i++) {
        book->near_nodes[i] = mem_strdup(options->near_nodes[i]);
    }
    CHECK(uv_idle_init(loop, &book->idle) == 0);
    book->clients_open = 1; /* the handle */
    return book;
}

static void on_idle_closed(uv_handle_t *handle)
{
    on_client_closed(container_of((uv_idle_t *)handle, struct osd_book, idle));
}

static void settle(struct osd_book *book)
{
    struct book_entry *entry, *next;

    if (!book->closing || book->clients_open != 0) {
        return;
    }
    HASH_ITER (hh, book->entries, entry, next) {
        HASH_DEL(book->entries, entry);
        free(entry->osd.long_id);
        free(entry);
    }
    for (unsigned i = 0; i < book->options.near_node_count; i++) {
        free(book->near_nodes[i]);
    }
    free(book->near_nodes);
    book->close_cb(book->close_ctx);
    free(book->owner);
    free(book);
}

void osd_book_close(struct osd_book *book, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!book->closing);
    book->closing = true;
    book->close_cb = cb;
    book->close_ctx = ctx;
    for (struct book_entry *e = book->entries; e != NULL; e = e->hh.next) {
        drop_client(&e->osd);
    }
    uv_close((uv_handle_t *)&book->idle, on_idle_closed);
}
