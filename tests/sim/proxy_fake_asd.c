#include "sim/proxy_fake_asd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "net/server.h"
#include "wire/asd_reply.h"

struct fake_entry {
    struct slice key, value; /* owned */
    struct checksum checksum;
};

/* ---- the store: a sorted array ---- */

static size_t lower_bound(const struct fake_asd *asd, struct slice key)
{
    size_t low = 0, high = asd->key_count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (slice_cmp(asd->entries[mid]->key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct fake_entry *find(const struct fake_asd *asd, struct slice key)
{
    size_t at = lower_bound(asd, key);

    return at < asd->key_count && slice_eq(asd->entries[at]->key, key) ? asd->entries[at] : NULL;
}

static void free_slice(struct slice s)
{
    free((void *)(uintptr_t)s.data);
}

static void entry_free(struct fake_entry *entry)
{
    free_slice(entry->key);
    free_slice(entry->value);
    free(entry);
}

static struct slice dup_slice(struct slice s)
{
    return slice_of(mem_dup(s.len > 0 ? s.data : (const uint8_t *)"", s.len), s.len);
}

bool fake_asd_remove(struct fake_asd *asd, struct slice key)
{
    size_t at = lower_bound(asd, key);

    if (at == asd->key_count || !slice_eq(asd->entries[at]->key, key)) {
        return false;
    }
    entry_free(asd->entries[at]);
    asd->key_count--;
    memmove(asd->entries + at, asd->entries + at + 1,
            (asd->key_count - at) * sizeof(struct fake_entry *));
    return true;
}

static void put(struct fake_asd *asd, struct slice key, struct slice value,
                const struct checksum *checksum)
{
    struct fake_entry *entry = find(asd, key);
    size_t at;

    if (entry == NULL) {
        at = lower_bound(asd, key);
        entry = mem_zalloc(sizeof(*entry));
        entry->key = dup_slice(key);
        asd->entries =
            mem_realloc(asd->entries, (asd->key_count + 1) * sizeof(struct fake_entry *));
        memmove(asd->entries + at + 1, asd->entries + at,
                (asd->key_count - at) * sizeof(struct fake_entry *));
        asd->entries[at] = entry;
        asd->key_count++;
    } else {
        free_slice(entry->value);
    }
    entry->value = dup_slice(value);
    entry->checksum = *checksum;
}

void fake_asd_put(struct fake_asd *asd, struct slice key, struct slice value)
{
    struct checksum none = checksum_none();

    put(asd, key, value, &none);
}

static bool has_prefix(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
}

size_t fake_asd_count_prefix(const struct fake_asd *asd, struct slice prefix)
{
    size_t count = 0;

    for (size_t i = 0; i < asd->key_count; i++) {
        count += has_prefix(asd->entries[i]->key, prefix);
    }
    return count;
}

struct slice fake_asd_key(const struct fake_asd *asd, struct slice prefix, size_t n)
{
    for (size_t i = 0; i < asd->key_count; i++) {
        if (has_prefix(asd->entries[i]->key, prefix) && n-- == 0) {
            return asd->entries[i]->key;
        }
    }
    return slice_of(NULL, 0);
}

bool fake_asd_has(const struct fake_asd *asd, struct slice key)
{
    return find(asd, key) != NULL;
}

struct slice fake_asd_value(const struct fake_asd *asd, struct slice key)
{
    struct fake_entry *entry = find(asd, key);

    return entry == NULL ? (struct slice){0} : entry->value;
}

bool fake_asd_flip(struct fake_asd *asd, struct slice key, size_t offset)
{
    struct fake_entry *entry = find(asd, key);

    if (entry == NULL || offset >= entry->value.len) {
        return false;
    }
    ((uint8_t *)(uintptr_t)entry->value.data)[offset] ^= 0x10;
    return true;
}

/* ---- executing ---- */

static int32_t apply(struct fake_asd *asd, const struct asd_apply *a, struct slice *ret_failed)
{
    for (uint32_t i = 0; i < a->assert_count; i++) {
        struct fake_entry *entry = find(asd, a->asserts[i].key);
        bool ok = a->asserts[i].has_value
                      ? entry != NULL && slice_eq(entry->value, a->asserts[i].value)
                      : entry == NULL;

        if (!ok) {
            *ret_failed = a->asserts[i].key;
            return ASD_RC_ASSERT_FAILED;
        }
    }
    for (uint32_t i = 0; i < a->update_count; i++) {
        if (a->updates[i].is_delete) {
            fake_asd_remove(asd, a->updates[i].key);
        } else {
            put(asd, a->updates[i].key, a->updates[i].value, &a->updates[i].checksum);
        }
    }
    return ASD_RC_OK;
}

static bool in_range(const struct asd_range *r, struct slice key)
{
    int first = slice_cmp(key, r->first);
    int last = r->has_last ? slice_cmp(key, r->last) : -1;

    CHECK(!r->reverse); /* nobody asks for it here */
    return (first > 0 || (first == 0 && r->first_included)) &&
           (last < 0 || (last == 0 && r->last_included));
}

static void range(struct fake_asd *asd, const struct asd_range *r, struct asd_reply *reply)
{
    uint32_t max = r->max < 0 || r->max > ASD_RANGE_MAX ? ASD_RANGE_MAX : (uint32_t)r->max;

    reply->keys.items = mem_array(max + 1, sizeof(struct slice));
    for (size_t i = 0; i < asd->key_count; i++) {
        if (in_range(r, asd->entries[i]->key)) {
            if (reply->keys.count == max) {
                reply->keys.more = true;
                return;
            }
            reply->keys.items[reply->keys.count++] = asd->entries[i]->key;
        }
    }
}

static int32_t partial_get(struct fake_asd *asd, const struct asd_request *request,
                           struct asd_reply *reply, struct slice **ret_parts)
{
    struct fake_entry *entry = find(asd, request->partial.key);
    struct slice *parts = mem_array(request->partial.part_count + 1, sizeof(*parts));

    *ret_parts = parts;
    reply->partial.found = entry != NULL;
    for (uint32_t i = 0; i < request->partial.part_count && entry != NULL; i++) {
        const struct asd_part *part = &request->partial.parts[i];

        if (part->offset > entry->value.len || part->bytes > entry->value.len - part->offset) {
            return ASD_RC_BAD_SLICE;
        }
        parts[i] = slice_of(entry->value.data + part->offset, part->bytes);
    }
    reply->partial.parts = parts;
    reply->partial.part_count = entry != NULL ? request->partial.part_count : 0;
    return ASD_RC_OK;
}

/* Writes a whole reply frame. */
static void execute(struct fake_asd *asd, const struct asd_request *request, unsigned version,
                    uint32_t id, struct buf *out)
{
    struct asd_reply reply = {.code = request->code};
    struct asd_value *values = NULL;
    bool *exists = NULL;
    struct slice *parts = NULL;
    struct slice text = slice_of(NULL, 0);
    struct gather g = {0};
    int32_t rc = ASD_RC_OK;

    switch (request->code) {
    case ASD_APPLY:
        asd->applies++;
        rc = apply(asd, &request->apply, &text);
        break;
    case ASD_RANGE:
        asd->ranges++;
        range(asd, &request->range, &reply);
        break;
    case ASD_PARTIAL_GET:
        asd->reads++;
        rc = partial_get(asd, request, &reply, &parts);
        break;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
        values = mem_array(request->keys.count + 1, sizeof(*values));
        for (uint32_t i = 0; i < request->keys.count; i++) {
            struct fake_entry *entry = find(asd, request->keys.items[i]);

            if (entry != NULL) {
                values[i] = (struct asd_value){
                    .found = true, .value = entry->value, .checksum = entry->checksum};
            }
        }
        reply.values.items = values;
        reply.values.count = request->keys.count;
        break;
    case ASD_MULTI_EXISTS:
        exists = mem_array(request->keys.count + 1, sizeof(*exists));
        for (uint32_t i = 0; i < request->keys.count; i++) {
            exists[i] = find(asd, request->keys.items[i]) != NULL;
        }
        reply.exists.items = exists;
        reply.exists.count = request->keys.count;
        break;
    case ASD_GET_DISK_USAGE:
        reply.usage.used_bytes = 1 << 20;
        reply.usage.capacity_bytes = 1 << 30;
        break;
    default:
        rc = ASD_RC_UNKNOWN_OPERATION;
        break;
    }
    if (rc == ASD_RC_OK) {
        asd_reply_encode(&reply, version, id, &g);
        gather_flatten(&g, out);
        gather_release(&g);
    } else {
        asd_error_put(out, version, id, rc, text);
    }
    if (request->code == ASD_RANGE) {
        free(reply.keys.items);
    }
    free(values);
    free(exists);
    free(parts);
}

/* ---- answering ---- */

struct late {
    uv_timer_t timer;
    struct fake_asd *asd;
    struct net_conn *conn;
    struct buf reply;
};

static void on_late_closed(uv_handle_t *handle)
{
    struct late *late = container_of((uv_timer_t *)handle, struct late, timer);

    late->asd->late--;
    buf_release(&late->reply);
    free(late);
}

static void on_late(uv_timer_t *timer)
{
    struct late *late = container_of(timer, struct late, timer);

    net_conn_write(late->conn, late->reply.data, late->reply.len);
    net_conn_drop(late->conn);
    uv_close((uv_handle_t *)timer, on_late_closed);
}

static void answer_late(struct fake_asd *asd, struct net_conn *conn, struct buf *take_reply)
{
    struct late *late = mem_zalloc(sizeof(*late));

    late->asd = asd;
    late->conn = conn;
    late->reply = *take_reply;
    *take_reply = (struct buf){0};
    asd->late++;
    net_conn_hold(conn);
    CHECK(uv_timer_init(asd->loop, &late->timer) == 0);
    CHECK(uv_timer_start(&late->timer, on_late, asd->delay_ms, 0) == 0);
}

static void garbage(struct buf *out)
{
    uint8_t bytes[64];

    rnd_bytes(bytes, sizeof(bytes));
    buf_put_u32le(out, sizeof(bytes));
    buf_put(out, bytes, sizeof(bytes));
}

static void serve(struct fake_asd *asd, struct net_conn *conn, const struct asd_request *request,
                  unsigned version, uint32_t id)
{
    enum fake_fate fate = asd->fate == NULL ? FAKE_NORMAL : asd->fate(asd->fate_ctx, asd, request);
    struct slice none = slice_of(NULL, 0);
    struct buf out = {0};

    switch (fate) {
    case FAKE_NORMAL:
    case FAKE_DELAY:
    case FAKE_HANG_LATE:
    case FAKE_DROP_AFTER:
        execute(asd, request, version, id, &out);
        break;
    case FAKE_ERROR:
        asd_error_put(&out, version, id, ASD_RC_UNKNOWN, slice_str("injected"));
        break;
    case FAKE_FULL:
        asd_error_put(&out, version, id, ASD_RC_FULL, none);
        break;
    case FAKE_BUSY:
        asd_error_put(&out, version, id, ASD_RC_BUSY, none);
        break;
    case FAKE_GARBAGE:
        garbage(&out);
        break;
    case FAKE_HANG:
    case FAKE_DROP:
        break;
    }
    if (fate == FAKE_DROP || fate == FAKE_DROP_AFTER) {
        net_conn_close(conn);
    } else if (fate == FAKE_DELAY) {
        answer_late(asd, conn, &out);
    } else if (fate != FAKE_HANG && fate != FAKE_HANG_LATE) {
        net_conn_write(conn, out.data, out.len);
    }
    buf_release(&out);
}

/* ---- sockets ---- */

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct fake_asd *asd = net_conn_server_ctx(conn);
    struct asd_preamble preamble;
    struct buf out = {0};
    int taken = asd_preamble_parse(data, bytes, &preamble);

    if (taken <= 0) {
        return taken;
    }
    asd_hello_put(&out, slice_str(asd->long_id));
    net_conn_write(conn, out.data, out.len);
    buf_release(&out);
    net_conn_set_user(conn, (void *)(uintptr_t)preamble.version);
    return taken;
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    struct fake_asd *asd = net_conn_server_ctx(conn);
    unsigned version = (unsigned)(uintptr_t)net_conn_user(conn);
    struct asd_request request;
    uint32_t id = 0;
    struct err e;

    CHECK(asd_request_decode(rd_of(frame, bytes), version, &id, &request, &e) == 0);
    serve(asd, conn, &request, version, id);
    asd_request_release(&request);
    free(frame);
}

static void on_close(struct net_conn *conn)
{
    (void)conn;
}

static const struct net_server_ops ops = {
    .on_preamble = on_preamble, .on_frame = on_frame, .on_close = on_close};

static void listen_on(struct fake_asd *asd, uint16_t port)
{
    struct net_addr addr;
    struct net_server_options options = {.addrs = &addr,
                                         .addr_count = 1,
                                         .ops = &ops,
                                         .ctx = asd,
                                         .connections_max = 64,
                                         .frame_bytes_max = ASD_FRAME_BYTES_MAX};
    struct err e;

    CHECK(net_addr_tcp(&addr, "127.0.0.1", port, &e) == 0);
    if (net_server_new(asd->loop, &options, &asd->server, &e) != 0) {
        fprintf(stderr, "fake asd: %s\n", e.msg);
        abort();
    }
    asd->port = net_server_port(asd->server, 0);
}

struct fake_asd *fake_asd_new(uv_loop_t *loop, const char *long_id)
{
    struct fake_asd *asd = mem_zalloc(sizeof(*asd));

    asd->loop = loop;
    snprintf(asd->long_id, sizeof(asd->long_id), "%s", long_id);
    listen_on(asd, 0);
    return asd;
}

void fake_asd_set_fate(struct fake_asd *asd, fake_fate_cb fate, void *ctx)
{
    asd->fate = fate;
    asd->fate_ctx = ctx;
}

static void on_down(void *ctx)
{
    (void)ctx;
}

void fake_asd_down(struct fake_asd *asd)
{
    if (!asd->is_down) {
        asd->is_down = true;
        net_server_close(asd->server, 0, on_down, NULL);
    }
}

void fake_asd_up(struct fake_asd *asd)
{
    if (asd->is_down) {
        listen_on(asd, asd->port);
        asd->is_down = false;
    }
}

static void on_freed(void *ctx)
{
    struct fake_asd *asd = ctx;

    CHECK(asd->late == 0);
    for (size_t i = 0; i < asd->key_count; i++) {
        entry_free(asd->entries[i]);
    }
    free(asd->entries);
    free(asd);
}

void fake_asd_free(struct fake_asd *asd)
{
    if (asd->is_down) {
        on_freed(asd);
    } else {
        net_server_close(asd->server, 0, on_freed, asd);
    }
}
