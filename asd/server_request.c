/* What each command does with the store, and the reply made of it. */
#include <stdlib.h>

#include "asd/front.h"
#include "asd/server_private.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

#ifndef ALBACORE_VERSION_MAJOR
#error "the build gives the version"
#endif

/* ---- replies made of what the store found ---- */

static struct asd_server_request *request_of(struct asd_store_op *op)
{
    return container_of(op, struct asd_server_request, op);
}

/* A value that could not be read fails the whole request: there is no code for one key. */
static int build_values(struct asd_server_request *r, struct asd_reply *reply,
                        struct slice *ret_key, struct err *e)
{
    uint32_t count = r->in.keys.count;
    struct asd_value *items = mem_array(count, sizeof *items);

    r->items = items;
    for (uint32_t i = 0; i < count; i++) {
        const struct asd_store_value *v = &r->get.values[i];

        if (v->rc != 0 && v->rc != ERR_NOT_FOUND) {
            *ret_key = r->in.keys.items[i];
            return err_set(e, v->rc, "value of a key of %zu bytes", ret_key->len);
        }
        if (v->rc == 0) {
            items[i] = (struct asd_value){
                .found = true, .value = slice_of(v->data, v->bytes), .checksum = v->checksum};
        }
    }
    reply->values.items = items;
    reply->values.count = count;
    return 0;
}

static void build_keys(struct asd_server_request *r, struct asd_reply *reply)
{
    struct slice *items = mem_array(r->range.entry_count, sizeof *items);

    r->items = items;
    for (uint32_t i = 0; i < r->range.entry_count; i++) {
        items[i] = r->range.entries[i].key;
    }
    reply->keys.items = items;
    reply->keys.count = r->range.entry_count;
    reply->keys.more = r->range.more;
}

static int build_entries(struct asd_server_request *r, struct asd_reply *reply,
                         struct slice *ret_key, struct err *e)
{
    struct asd_entry *items = mem_array(r->range.entry_count, sizeof *items);

    r->items = items;
    for (uint32_t i = 0; i < r->range.entry_count; i++) {
        const struct asd_store_entry *from = &r->range.entries[i];

        if (from->value.rc != 0) {
            *ret_key = from->key;
            return err_set(e, from->value.rc, "value of a key of %zu bytes", from->key.len);
        }
        items[i] = (struct asd_entry){.key = from->key,
                                      .value = slice_of(from->value.data, from->value.bytes),
                                      .checksum = from->value.checksum};
    }
    reply->entries.items = items;
    reply->entries.count = r->range.entry_count;
    reply->entries.more = r->range.more;
    return 0;
}

static void build_partial(struct asd_server_request *r, struct asd_reply *reply, bool found)
{
    struct slice *parts = mem_array(r->in.partial.part_count, sizeof *parts);
    size_t at = 0;

    r->items = parts;
    for (uint32_t i = 0; found && i < r->in.partial.part_count; i++) {
        parts[i] = slice_of(r->partial.data + at, r->in.partial.parts[i].bytes);
        at += parts[i].len;
    }
    reply->partial.found = found;
    reply->partial.parts = parts;
    reply->partial.part_count = found ? r->in.partial.part_count : 0;
}

static int build(struct asd_server_request *r, struct asd_reply *reply, struct slice *ret_key,
                 struct err *e)
{
    switch (r->in.code) {
    case ASD_RANGE:
        build_keys(r, reply);
        return 0;
    case ASD_RANGE_ENTRIES:
        return build_entries(r, reply, ret_key, e);
    case ASD_RANGE_VALIDATE:
        asd_server_build_validations(r, reply);
        return 0;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
        return build_values(r, reply, ret_key, e);
    case ASD_MULTI_EXISTS:
        reply->exists.items = r->get.exists;
        reply->exists.count = r->in.keys.count;
        return 0;
    case ASD_PARTIAL_GET:
        build_partial(r, reply, true);
        return 0;
    default:
        CHECK(r->in.code == ASD_APPLY);
        return 0; /* no file numbers: values have no files of their own */
    }
}

static void on_store(struct asd_store_op *op, int rc)
{
    struct asd_server_request *r = request_of(op);
    struct asd_reply reply = {.code = r->in.code};
    struct slice key = {0};

    r->submitted = false;
    if (r->left) {
        asd_server_count_canceled(r->lane);
        net_conn_close(r->conn); /* what else it asked for ends, too */
    }
    if (r->session->closed) {
        asd_server_drop(r);
        return;
    }
    if (rc == ERR_NOT_FOUND && r->in.code == ASD_PARTIAL_GET) {
        build_partial(r, &reply, false);
        asd_server_answer(r, &reply);
        return;
    }
    if (rc == 0) {
        rc = build(r, &reply, &key, &op->err);
    } else if (r->in.code == ASD_APPLY) {
        key = r->apply.failed_key;
    } else if (r->in.code == ASD_PARTIAL_GET) {
        key = r->in.partial.key;
    } else if (r->in.code == ASD_MULTI_EXISTS) {
        key = r->get.failed_key;
    }
    if (rc != 0) {
        asd_server_answer_err(r, rc, &op->err, key);
    } else {
        asd_server_answer(r, &reply);
    }
}

/* ---- commands that need no store ---- */

/* Of all lanes. */
static struct stat_sum take_stat(struct asd_server *server, uint32_t code, bool clear)
{
    struct stat_sum sum;

    stat_sum_init(&sum);
    for (unsigned i = 0; i < server->lane_count; i++) {
        struct asd_lane *lane = &server->lanes[i];

        uv_mutex_lock(&lane->stats_lock);
        stat_sum_merge(&sum, &lane->stats[code]);
        if (clear) {
            stat_sum_init(&lane->stats[code]);
        }
        uv_mutex_unlock(&lane->stats_lock);
    }
    return sum;
}

static void answer_statistics(struct asd_server_request *r)
{
    struct asd_server *server = r->lane->server;
    struct asd_stat_entry entries[ASD_CODES];
    uint64_t now_ns = clock_mono_ns();
    struct asd_reply reply = {.code = ASD_STATISTICS, .statistics = {.entries = entries}};

    uv_mutex_lock(&server->lock);
    reply.statistics.creation_s = server->created_s;
    reply.statistics.period_s = (double)(now_ns - server->created_ns) / 1e9;
    if (r->in.clear) {
        server->created_s = (double)server->wall_us() / 1e6;
        server->created_ns = now_ns;
    }
    uv_mutex_unlock(&server->lock);
    for (uint32_t code = ASD_RANGE; code < ASD_CODES; code++) {
        struct stat_sum stat = take_stat(server, code, r->in.clear);

        if (stat.n != 0) {
            entries[reply.statistics.entry_count++] =
                (struct asd_stat_entry){.code = code, .stat = stat};
        }
    }
    asd_server_answer(r, &reply);
}

/* A delay from a peer: no number, or out of range, counts as none. */
static double sane_delay(double seconds)
{
    return seconds >= 0 && seconds <= ASD_SERVER_SLOWNESS_S_MAX ? seconds : 0;
}

static void set_slowness(struct asd_server_request *r)
{
    struct asd_server *server = r->lane->server;

    uv_mutex_lock(&server->lock);
    server->slow_fixed_s = sane_delay(r->in.slowness.fixed_s);
    server->slow_variable_s = sane_delay(r->in.slowness.variable_s);
    uv_mutex_unlock(&server->lock);
    atomic_store(&server->slow, r->in.slowness.on);
}

/* False when the command is one for the store. */
static bool run_here(struct asd_server_request *r)
{
    struct asd_reply reply = {.code = r->in.code};
    struct asd_store_stats stats;

    switch (r->in.code) {
    case ASD_STATISTICS:
        answer_statistics(r);
        return true;
    case ASD_SET_FULL:
        asd_store_set_full(r->lane->server->store, r->in.full);
        break;
    case ASD_GET_VERSION:
        reply.version.major = ALBACORE_VERSION_MAJOR;
        reply.version.minor = ALBACORE_VERSION_MINOR;
        reply.version.patch = ALBACORE_VERSION_PATCH;
        reply.version.text = slice_str("albacore");
        break;
    case ASD_GET_DISK_USAGE:
        stats = asd_store_stats(r->lane->server->store);
        reply.usage.used_bytes = (int64_t)stats.used_bytes;
        reply.usage.capacity_bytes = (int64_t)stats.capacity_bytes;
        break;
    case ASD_CAPABILITIES:
        reply.capabilities.mask = 1u << OSD_CAP_MULTI_GET2 | 1u << OSD_CAP_PARTIAL_GET;
        break;
    case ASD_SLOWNESS:
        set_slowness(r);
        break;
    default:
        return false;
    }
    asd_server_answer(r, &reply);
    return true;
}

/* ---- commands for the store ---- */

/* Commit thread. In version 1 a closed side is no more than that. */
static bool is_wanted(struct asd_store_op *op)
{
    struct asd_server_request *r = request_of(op);

    r->left = r->version == ASD_VERSION_2 && net_fd_peer_left(r->conn_fd);
    return !r->left;
}

static int submit_apply(struct asd_server_request *r)
{
    int rc = asd_store_apply(r->lane->front, &r->apply, &r->in.apply, r->in.prio, on_store);

    if (rc == 0) {
        r->conn_fd = net_conn_fd(r->conn);
        asd_front_ask(&r->apply, is_wanted);
    }
    return rc;
}

static int submit(struct asd_server_request *r)
{
    struct asd_front *front = r->lane->front;
    struct asd_request *in = &r->in;
    const struct asd_reader reader = {.prio = in->prio, .owner = &r->session->results};

    switch (in->code) {
    case ASD_APPLY:
        return submit_apply(r);
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
        r->has_get = true;
        return asd_store_get(front, &r->get, in->keys.items, in->keys.count, &reader, on_store);
    case ASD_MULTI_EXISTS:
        r->has_get = true;
        return asd_store_exists(front, &r->get, in->keys.items, in->keys.count, &reader, on_store);
    case ASD_PARTIAL_GET:
        r->has_partial = true;
        return asd_store_partial(front, &r->partial, in->partial.key, in->partial.parts,
                                 in->partial.part_count, &reader, on_store);
    default:
        r->has_range = true;
        return asd_store_range(front, &r->range, &in->range,
                               in->code == ASD_RANGE           ? ASD_STORE_KEYS
                               : in->code == ASD_RANGE_ENTRIES ? ASD_STORE_ENTRIES
                               : in->verify_checksum           ? ASD_STORE_VERIFY
                                                               : ASD_STORE_CHECK,
                               &reader, on_store);
    }
}

void asd_server_request_run(struct asd_server_request *r)
{
    int rc;

    if (run_here(r)) {
        return;
    }
    rc = submit(r);
    if (rc != 0) {
        struct err e = r->op.err;

        r->has_get = r->has_partial = r->has_range = false;
        asd_server_answer_err(r, rc, &e, slice_of(NULL, 0));
    } else {
        r->submitted = true;
    }
}
