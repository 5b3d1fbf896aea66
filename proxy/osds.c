#include "proxy/osds.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/osds_private.h"

enum { EXPLAINED_MAX = 8 }; /* OSDs that one message names */

struct osds *osds_new(uv_loop_t *loop, const struct osds_options *options)
{
    struct osds *osds = mem_zalloc(sizeof(*osds));

    osds->loop = loop;
    osds->tls = options->tls;
    osds->socket_dir = options->socket_dir != NULL ? mem_strdup(options->socket_dir) : NULL;
    osds->probe_timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : 10000;
    osds->near_place_count = options->near_place_count;
    osds->near_places = mem_array(options->near_place_count + 1, sizeof(*osds->near_places));
    for (unsigned i = 0; i < options->near_place_count; i++) {
        osds->near_places[i] = mem_strdup(options->near_places[i]);
    }
    list_init(&osds->probe_waits);
    later_init(&osds->later, loop);
    osds_probes_init(osds);
    osds->open = 3; /* later, two timers */
    return osds;
}

/* Where it is, or would be, in `all`, which is in order of id. */
static unsigned lower_bound(const struct osds *osds, uint64_t id)
{
    unsigned low = 0, high = osds->all_count;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (osds->all[mid]->id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct osd *osds_find(struct osds *osds, uint64_t id)
{
    unsigned at = lower_bound(osds, id);

    return at < osds->all_count && osds->all[at]->id == id ? osds->all[at] : NULL;
}

static struct osd *add(struct osds *osds, uint64_t id)
{
    struct osd *osd = mem_zalloc(sizeof(*osd));
    unsigned at = lower_bound(osds, id);

    osd->id = id;
    osd->osds = osds;
    list_init(&osd->calls_in_flight);
    list_init(&osd->calls_waiting);
    osds->all = mem_realloc(osds->all, (osds->all_count + 1) * sizeof(*osds->all));
    memmove(osds->all + at + 1, osds->all + at, (osds->all_count - at) * sizeof(*osds->all));
    osds->all[at] = osd;
    osds->all_count++;
    osds->returns++;
    return osd;
}

static void set_text(char **text, const char *value)
{
    free(*text);
    *text = mem_strdup(value != NULL ? value : "");
}

static void on_client_closed(void *ctx)
{
    osds_release_one(ctx);
}

static bool same_place(const struct osd *osd, const struct osds_entry *entry)
{
    if (osd->addr_count != entry->addr_count || strcmp(osd->long_id, entry->long_id) != 0) {
        return false;
    }
    for (unsigned i = 0; i < osd->addr_count; i++) {
        if (strcmp(osd->addrs[i].text, entry->addrs[i].text) != 0) {
            return false;
        }
    }
    return true;
}

/* Where it listens if it is on this machine. A name too long for a socket is none there, either. */
static bool local_addr(const struct osd *osd, struct net_addr *ret_addr)
{
    struct err e;

    return osd->osds->socket_dir != NULL && !osd->addrs[0].is_tls &&
           net_addr_unix_in(ret_addr, osd->osds->socket_dir, osd->long_id, &e) == 0;
}

static void connect_to(struct osd *osd, const struct osds_entry *entry)
{
    struct osds *osds = osd->osds;
    struct asd_client_options options;
    struct net_addr local;

    if (osd->client != NULL && same_place(osd, entry)) {
        return;
    }
    if (osd->client != NULL) {
        log_info("osds", "osd has moved", "osd=%llu from=%s to=%s", (unsigned long long)osd->id,
                 osd->addrs[0].text, entry->addrs[0].text);
        asd_client_close(osd->client, on_client_closed, osds);
    }
    free(osd->addrs);
    osd->addr_count = entry->addr_count;
    osd->addrs = mem_dup(entry->addrs, entry->addr_count * sizeof(*entry->addrs));
    set_text(&osd->long_id, entry->long_id);
    options = (struct asd_client_options){.addr = osd->addrs[0],
                                          .others = osd->addrs + 1,
                                          .other_count = osd->addr_count - 1,
                                          .local = local_addr(osd, &local) ? &local : NULL,
                                          .tls = osds->tls,
                                          .long_id = osd->long_id,
                                          .owner = entry->owner,
                                          .claim_timeout_ms = osds->probe_timeout_ms};
    osd->client = asd_client_new(osds->loop, &options);
    osds->open++;
}

/* On a node or in a datacenter that the read preference names. */
static bool is_near(const struct osds *osds, const struct osd *osd)
{
    for (unsigned i = 0; i < osds->near_place_count; i++) {
        const char *place = osds->near_places[i];

        if (place[0] != '\0' && /* the unnamed datacenter is none */
            (strcmp(place, osd->node_id) == 0 || strcmp(place, osd->datacenter) == 0)) {
            return true;
        }
    }
    return false;
}

static void update(struct osd *osd, const struct osds_entry *entry)
{
    struct osds *osds = osd->osds;

    connect_to(osd, entry);
    set_text(&osd->node_id, entry->node_id);
    set_text(&osd->datacenter, entry->datacenter);
    if (osd->total_bytes == 0) { /* else the OSD's own word is fresher */
        osd->total_bytes = entry->total_bytes;
        osd->used_bytes = entry->used_bytes;
    }
    osd->decommissioned = entry->decommissioned;
    osd->gone = false;
    osd_probe_returned(osd);
    osd->near = is_near(osds, osd);
}

/* `live` and `choose` anew: same order, so an index means the same in both. */
static void rebuild(struct osds *osds)
{
    free(osds->live);
    free(osds->choose);
    osds->live = mem_array(osds->all_count + 1, sizeof(*osds->live));
    osds->choose = mem_array(osds->all_count + 1, sizeof(*osds->choose));
    osds->live_count = 0;
    for (unsigned i = 0; i < osds->all_count; i++) {
        struct osd *osd = osds->all[i];

        if (!osd->gone) {
            osds->choose[osds->live_count] = (struct choose_osd){
                .osd_id = osd->id, .node_id = osd->node_id, .datacenter = osd->datacenter};
            osds->live[osds->live_count++] = osd;
        }
    }
    choose_index(osds->choose, osds->live_count);
}

void osds_set(struct osds *osds, const struct osds_entry *entries, unsigned count)
{
    if (osds->closing) {
        return;
    }
    for (unsigned i = 0; i < osds->all_count; i++) {
        osds->all[i]->gone = true;
    }
    for (unsigned i = 0; i < count; i++) {
        struct osd *osd = osds_find(osds, entries[i].id);

        update(osd != NULL ? osd : add(osds, entries[i].id), &entries[i]);
    }
    rebuild(osds);
}

unsigned osds_count(const struct osds *osds)
{
    return osds->live_count;
}

struct osd *osds_at(struct osds *osds, unsigned index)
{
    CHECK(index < osds->live_count);
    return osds->live[index];
}

unsigned osds_aside_count(const struct osds *osds)
{
    unsigned count = 0;

    for (unsigned i = 0; i < osds->live_count; i++) {
        count += osds->live[i]->aside || osds->live[i]->full;
    }
    return count;
}

unsigned osds_returns(const struct osds *osds)
{
    return osds->returns;
}

static bool is_full_only(const struct osd *osd)
{
    return osd->full && !osd->aside;
}

static bool is_silent(const struct osd *osd)
{
    return osd->aside && osd->aside_rc != ERR_IDENTITY;
}

static bool is_another(const struct osd *osd)
{
    return osd->aside && osd->aside_rc == ERR_IDENTITY;
}

/* What, and the ids of those that are neither gone nor decommissioned. */
static void put_ids(const struct osds *osds, const char *what, bool (*is_one)(const struct osd *),
                    struct buf *out)
{
    unsigned count = 0;

    for (unsigned i = 0; i < osds->live_count; i++) {
        const struct osd *osd = osds->live[i];

        if (osd->decommissioned || !is_one(osd)) {
            continue;
        }
        if (count < EXPLAINED_MAX) {
            buf_printf(out, "%s%" PRIu64, count != 0 ? ", " : what, osd->id);
        }
        count++;
    }
    if (count > EXPLAINED_MAX) {
        buf_printf(out, " and %u more", count - EXPLAINED_MAX);
    }
}

void osds_explain(const struct osds *osds, bool reserve, struct err *e)
{
    struct err plain = *e;
    struct buf text = {0};

    if (!reserve) {
        put_ids(osds, "; full: osd ", is_full_only, &text);
    }
    put_ids(osds, "; not answering: osd ", is_silent, &text);
    put_ids(osds, "; not the store that was claimed (is its disk mounted?): osd ", is_another,
            &text);
    if (text.len != 0) {
        err_say(e, plain.code, "%s%.*s", plain.msg, (int)text.len, (const char *)text.data);
    }
    buf_release(&text);
}

const struct choose_osd *osds_choose_list(struct osds *osds, bool reserve, const struct osd *except,
                                          unsigned *ret_count)
{
    for (unsigned i = 0; i < osds->live_count; i++) {
        const struct osd *osd = osds->live[i];

        osds->choose[i].usable = osd != except && !osd->slow.is && osd_is_usable(osd, reserve);
        osds->choose[i].total_bytes = osd->total_bytes;
        osds->choose[i].used_bytes = osd->used_bytes;
    }
    *ret_count = osds->live_count;
    return osds->choose;
}

bool osds_choose_slow_too(struct osds *osds, bool reserve, const struct osd *except)
{
    bool any = false;

    for (unsigned i = 0; i < osds->live_count; i++) {
        const struct osd *osd = osds->live[i];

        if (osd->slow.is && osd != except && osd_is_usable(osd, reserve)) {
            osds->choose[i].usable = true;
            any = true;
        }
    }
    return any;
}

bool osd_is_far(const struct osd *osd)
{
    return !osd->near && osd->osds->near_place_count > 0;
}

/* Health before nearness before load. An idle OSD of unknown speed counts as fast. */
double osd_read_cost(const struct osd *osd)
{
    double cost = (1.0 + osd->latency_ms) * (1.0 + osd->in_flight + osd->waiting);

    if (cost > 1e6) {
        cost = 1e6;
    }
    if (osd_is_far(osd)) {
        cost += 1e7;
    }
    if (osd->aside || osd->gone) {
        cost += 1e9;
    }
    return cost;
}

/* ---- close ---- */

static void osds_free(struct osds *osds)
{
    for (unsigned i = 0; i < osds->all_count; i++) {
        struct osd *osd = osds->all[i];

        free(osd->addrs);
        free(osd->long_id);
        free(osd->node_id);
        free(osd->datacenter);
        free(osd);
    }
    for (unsigned i = 0; i < osds->near_place_count; i++) {
        free(osds->near_places[i]);
    }
    free(osds->near_places);
    free(osds->socket_dir);
    free(osds->all);
    free(osds->live);
    free(osds->choose);
    free(osds->probe_data);
    free(osds);
}

static void on_later_closed(void *ctx)
{
    struct osds *osds = ctx;
    osds_close_cb cb = osds->close_cb;
    void *cb_ctx = osds->close_ctx;

    osds_free(osds);
    cb(cb_ctx);
}

/* The queue of late callbacks goes last: closing clients may still fill it. */
void osds_release_one(struct osds *osds)
{
    CHECK(osds->open > 0);
    if (--osds->open == 1 && osds->closing) {
        later_close(&osds->later, on_later_closed, osds);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    osds_release_one(handle->data);
}

static void on_close_turn(struct later_item *item)
{
    struct osds *osds = container_of(item, struct osds, close_item);

    for (unsigned i = 0; i < osds->all_count; i++) {
        asd_client_close(osds->all[i]->client, on_client_closed, osds);
    }
    osds->tick.data = osds;
    osds->usage.data = osds;
    uv_close((uv_handle_t *)&osds->tick, on_timer_closed);
    uv_close((uv_handle_t *)&osds->usage, on_timer_closed);
}

/* Waiting calls fail in the next turn of the loop, before the clients are closed. */
void osds_close(struct osds *osds, osds_close_cb cb, void *ctx)
{
    CHECK(!osds->closing);
    osds->closing = true;
    osds->close_cb = cb;
    osds->close_ctx = ctx;
    for (unsigned i = 0; i < osds->all_count; i++) {
        osd_calls_fail_waiting(osds->all[i], ERR_CANCELED, "closing");
    }
    later_run(&osds->later, &osds->close_item, on_close_turn);
}
