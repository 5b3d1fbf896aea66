#include "meta/proxy_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/registry_record.h"

bool proxy_record_is_near(const char *uri)
{
    struct net_addr addr;
    struct err e;

    return net_addr_parse(&addr, uri, &e) == 0 && net_addr_is_local(&addr);
}

void proxy_record_this_machine(char ret_text[PROXY_RECORD_TEXT_BYTES])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    ret_text[0] = '\0';
    if (file != NULL) {
        if (fgets(ret_text, PROXY_RECORD_TEXT_BYTES, file) != NULL) {
            ret_text[strcspn(ret_text, "\n")] = '\0';
        }
        fclose(file);
    }
}

bool proxy_record_add_endpoint(struct proxy_record *record, const char *uri)
{
    for (unsigned i = 0; i < record->endpoint_count; i++) {
        if (strcmp(record->endpoints[i], uri) == 0) {
            return true;
        }
    }
    if (record->endpoint_count == PROXY_RECORD_ENDPOINTS_MAX || strlen(uri) >= NET_ADDR_TEXT_MAX) {
        return false;
    }
    snprintf(record->endpoints[record->endpoint_count++], NET_ADDR_TEXT_MAX, "%s", uri);
    return true;
}

/* ---- key and value ---- */

struct slice proxy_record_key(struct key *key, const char *id)
{
    return reg_key(key, REG_PROXY, id);
}

void proxy_record_range(struct key *ret_low, struct key *ret_high)
{
    reg_key(ret_low, REG_PROXY, "");
    *ret_high = *ret_low;
    key_prefix_end(ret_high);
}

/* Of a machine's configuration: what is no UTF-8 is left out. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);

    return json != NULL ? json : json_string("");
}

void proxy_record_put(struct buf *value, struct slice key, const struct proxy_record *record)
{
    json_t *endpoints = json_array();
    json_t *json;

    for (unsigned i = 0; i < record->endpoint_count; i++) {
        CHECK(json_array_append_new(endpoints, text_json(record->endpoints[i])) == 0);
    }
    json = json_pack("{s:I, s:I, s:o, s:o, s:o, s:I, s:o}", "counter", (json_int_t)record->counter,
                     "ttl_ms", (json_int_t)record->ttl_ms, "machine", text_json(record->machine),
                     "host", text_json(record->host), "version", text_json(record->version),
                     "started_us", (json_int_t)record->started_us, "endpoints", endpoints);
    CHECK(json != NULL);
    value_make_json(value, key, json);
    json_decref(json);
}

static void take_text(char ret_text[PROXY_RECORD_TEXT_BYTES], const json_t *json, const char *field)
{
    snprintf(ret_text, PROXY_RECORD_TEXT_BYTES, "%s", json_text(json, field, ""));
}

static void take_endpoints(struct proxy_record *record, const json_t *list)
{
    struct net_addr addr;
    struct err ignored;
    size_t index;
    json_t *item;

    json_array_foreach(list, index, item)
    {
        const char *uri = json_string_value(item);

        if (uri != NULL && net_addr_parse(&addr, uri, &ignored) == 0) {
            proxy_record_add_endpoint(record, uri);
        }
    }
}

int proxy_record_open(struct slice key, struct slice value, struct proxy_record *ret_record,
                      struct err *e)
{
    struct slice id = reg_key_tail(key);
    struct proxy_record record = {0};
    uint64_t ttl_ms;
    json_t *json;

    if (value_open_json(key, value, &json, e) != 0) {
        return e->code;
    }
    ttl_ms = json_u64(json, "ttl_ms", PROXY_RECORD_TTL_MS_MAX);
    record.ttl_ms = ttl_ms < PROXY_RECORD_TTL_MS_MIN   ? PROXY_RECORD_TTL_MS_MIN
                    : ttl_ms > PROXY_RECORD_TTL_MS_MAX ? PROXY_RECORD_TTL_MS_MAX
                                                       : (uint32_t)ttl_ms;
    record.counter = json_u64(json, "counter", 0);
    record.started_us = json_u64(json, "started_us", 0);
    snprintf(record.id, sizeof(record.id), "%.*s", (int)(id.len - strlen(REG_PROXY)),
             (const char *)id.data + strlen(REG_PROXY));
    take_text(record.machine, json, "machine");
    take_text(record.host, json, "host");
    take_text(record.version, json, "version");
    take_endpoints(&record, json_object_get(json, "endpoints"));
    json_decref(json);
    *ret_record = record;
    return 0;
}

/* ---- list ---- */

struct list_op {
    proxy_records_cb cb;
    void *ctx;
};

static void on_range(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *op = ctx;
    struct proxy_record *records = mem_array(reply->count + 1, sizeof(*records));
    size_t count = 0, damaged = 0;
    struct err ignored;

    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];

        if (!item->is_damaged &&
            proxy_record_open(item->key, item->value, &records[count], &ignored) == 0) {
            count++;
        } else {
            damaged++;
        }
    }
    op->cb(op->ctx, rc, reply->err, records, count, damaged);
    free(records);
    free(op);
}

void proxy_records_list(struct kv *kv, proxy_records_cb cb, void *ctx)
{
    struct list_op *op = mem_zalloc(sizeof(*op));
    struct key low, high;

    op->cb = cb;
    op->ctx = ctx;
    proxy_record_range(&low, &high);
    kv_range(kv,
             &(struct kv_range){
                 .low = slice_key(&low), .high = slice_key(&high), .limit = PROXY_RECORDS_MAX},
             0, on_range, op);
}
