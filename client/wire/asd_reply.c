#include "wire/asd_reply.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

enum { VALUE_INLINE = 1, VALUE_LATER = 2 };

/* Least bytes of an element of each list. */
enum {
    VALUE_BYTES_MIN = 1,           /* an absent one */
    FILE_NUMBER_BYTES_MIN = 4 + 4, /* key, number */
    ENTRY_BYTES_MIN = 4 + 4 + 1,   /* key, value, checksum */
    CHECK_BYTES_MIN = 4 + 1,       /* name, ok */
    VALIDATION_BYTES_MIN = 4 + 4   /* key, list */
};

/* ---- encode ---- */

static void put_values(const struct asd_reply *reply, struct gather *g)
{
    llio_put_count(&g->own, reply->values.count);
    for (uint32_t i = reply->values.count; i-- > 0;) {
        const struct asd_value *v = &reply->values.items[i];

        llio_put_bool(&g->own, v->found);
        if (v->found) {
            gather_put_string(g, v->value);
            checksum_put(&g->own, &v->checksum);
        }
    }
}

static bool goes_later(const struct asd_value *v)
{
    return v->found && v->value.len >= GATHER_BORROW_BYTES_MIN;
}

static void put_values2(const struct asd_reply *reply, struct gather *g)
{
    llio_put_count(&g->own, reply->values.count);
    for (uint32_t i = reply->values.count; i-- > 0;) {
        const struct asd_value *v = &reply->values.items[i];

        llio_put_bool(&g->own, v->found);
        if (!v->found) {
            continue;
        }
        if (goes_later(v)) {
            buf_put_u8(&g->own, VALUE_LATER);
            buf_put_u32le(&g->own, (uint32_t)v->value.len);
        } else {
            buf_put_u8(&g->own, VALUE_INLINE);
            llio_put_string(&g->own, v->value);
        }
        checksum_put(&g->own, &v->checksum);
    }
    gather_cut(g);
    for (uint32_t i = 0; i < reply->values.count; i++) {
        if (goes_later(&reply->values.items[i])) {
            gather_borrow(g, reply->values.items[i].value);
        }
    }
}

static void put_file_numbers(const struct asd_reply *reply, struct buf *b)
{
    llio_put_count(b, reply->file_numbers.count);
    for (uint32_t i = reply->file_numbers.count; i-- > 0;) {
        llio_put_string(b, reply->file_numbers.items[i].key);
        llio_put_string(b, reply->file_numbers.items[i].number);
    }
}

static void put_entries(const struct asd_reply *reply, struct gather *g)
{
    llio_put_count(&g->own, reply->entries.count);
    for (uint32_t i = reply->entries.count; i-- > 0;) {
        const struct asd_entry *entry = &reply->entries.items[i];

        llio_put_string(&g->own, entry->key);
        gather_put_string(g, entry->value);
        checksum_put(&g->own, &entry->checksum);
    }
    llio_put_bool(&g->own, reply->entries.more);
}

static void put_exists(const struct asd_reply *reply, struct buf *b)
{
    llio_put_count(b, reply->exists.count);
    for (uint32_t i = reply->exists.count; i-- > 0;) {
        llio_put_bool(b, reply->exists.items[i]);
    }
}

static void put_partial(const struct asd_reply *reply, struct gather *g)
{
    llio_put_bool(&g->own, reply->partial.found);
    gather_cut(g);
    for (uint32_t i = 0; reply->partial.found && i < reply->partial.part_count; i++) {
        gather_borrow(g, reply->partial.parts[i]);
    }
}

static void put_validations(const struct asd_reply *reply, struct buf *b)
{
    llio_put_count(b, reply->validations.count);
    for (uint32_t i = reply->validations.count; i-- > 0;) {
        const struct asd_validation *v = &reply->validations.items[i];

        llio_put_string(b, v->key);
        llio_put_count(b, v->check_count);
        for (uint32_t j = v->check_count; j-- > 0;) {
            llio_put_string(b, v->checks[j].name);
            llio_put_bool(b, v->checks[j].ok);
        }
    }
    llio_put_opt_string(b, reply->validations.has_next, reply->validations.next);
}

static void put_payload(const struct asd_reply *reply, struct gather *g)
{
    struct buf *b = &g->own;

    switch (reply->code) {
    case ASD_RANGE:
        llio_put_strings(b, reply->keys.items, reply->keys.count);
        llio_put_bool(b, reply->keys.more);
        break;
    case ASD_MULTI_GET:
        put_values(reply, g);
        break;
    case ASD_MULTI_GET2:
        put_values2(reply, g);
        break;
    case ASD_APPLY:
        put_file_numbers(reply, b);
        break;
    case ASD_RANGE_ENTRIES:
        put_entries(reply, g);
        break;
    case ASD_STATISTICS:
        asd_statistics_put(b, &reply->statistics);
        break;
    case ASD_GET_VERSION:
        llio_put_i32(b, reply->version.major);
        llio_put_i32(b, reply->version.minor);
        llio_put_i32(b, reply->version.patch);
        llio_put_string(b, reply->version.text);
        break;
    case ASD_MULTI_EXISTS:
        put_exists(reply, b);
        break;
    case ASD_GET_DISK_USAGE:
        llio_put_i64(b, reply->usage.used_bytes);
        llio_put_i64(b, reply->usage.capacity_bytes);
        break;
    case ASD_PARTIAL_GET:
        put_partial(reply, g);
        break;
    case ASD_CAPABILITIES:
        osd_capabilities_put(b, reply->capabilities);
        break;
    case ASD_RANGE_VALIDATE:
        put_validations(reply, b);
        break;
    default: /* nothing to tell */
        break;
    }
}

void asd_reply_encode(const struct asd_reply *reply, unsigned version, uint32_t request_id,
                      struct gather *g)
{
    size_t mark = llio_sub_begin(&g->own);
    size_t start = gather_bytes(g);
    size_t end;

    CHECK(asd_code_name(reply->code)[0] != '?');
    if (version != ASD_VERSION_1) {
        buf_put_u32le(&g->own, request_id);
    }
    llio_put_i32(&g->own, ASD_RC_OK);
    put_payload(reply, g);
    end = version == ASD_VERSION_1 && g->cut != 0 ? g->cut : gather_bytes(g);
    CHECK(end - start <= UINT32_MAX);
    put_u32le(g->own.data + mark, (uint32_t)(end - start));
}

/* ---- decode ---- */

static void get_values(struct rd *r, struct asd_reply *reply)
{
    uint32_t count = llio_count(r, VALUE_BYTES_MIN);

    reply->values.count = count;
    reply->values.items = count != 0 ? mem_array(count, sizeof(struct asd_value)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_value *v = &reply->values.items[i];

        v->value = llio_opt_string(r, &v->found);
        if (v->found) {
            v->checksum = checksum_get(r);
        }
    }
}

/* Sizes of later values are kept in value.len, with data NULL, until their bytes are met. */
static void get_values2(struct rd *r, struct asd_reply *reply)
{
    uint32_t count = llio_count(r, VALUE_BYTES_MIN);

    reply->values.count = count;
    reply->values.items = count != 0 ? mem_array(count, sizeof(struct asd_value)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_value *v = &reply->values.items[i];

        v->found = llio_bool(r);
        if (!v->found) {
            continue;
        }
        switch (rd_u8(r)) {
        case VALUE_INLINE:
            v->value = llio_string(r);
            break;
        case VALUE_LATER:
            v->value = slice_of(NULL, rd_u32le(r));
            break;
        default:
            rd_fail(r);
        }
        v->checksum = checksum_get(r);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct slice *value = &reply->values.items[i].value;

        if (value->data == NULL) {
            value->data = rd_bytes(r, value->len);
        }
    }
}

static void get_file_numbers(struct rd *r, struct asd_reply *reply)
{
    uint32_t count;

    if (!r->bad && rd_left(r) == 0) {
        return; /* servers from before file numbers */
    }
    count = llio_count(r, FILE_NUMBER_BYTES_MIN);
    reply->file_numbers.count = count;
    reply->file_numbers.items =
        count != 0 ? mem_array(count, sizeof(struct asd_file_number)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->file_numbers.items[i].key = llio_string(r);
        reply->file_numbers.items[i].number = llio_string(r);
    }
}

static void get_entries(struct rd *r, struct asd_reply *reply)
{
    uint32_t count = llio_count(r, ENTRY_BYTES_MIN);

    reply->entries.count = count;
    reply->entries.items = count != 0 ? mem_array(count, sizeof(struct asd_entry)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_entry *entry = &reply->entries.items[i];

        entry->key = llio_string(r);
        entry->value = llio_string(r);
        entry->checksum = checksum_get(r);
    }
    reply->entries.more = llio_bool(r);
}

static void get_exists(struct rd *r, struct asd_reply *reply)
{
    uint32_t count = llio_count(r, 1);

    reply->exists.count = count;
    reply->exists.items = count != 0 ? mem_array(count, sizeof(bool)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->exists.items[i] = llio_bool(r);
    }
}

static void get_partial(struct rd *r, struct asd_reply *reply)
{
    size_t bytes;

    reply->partial.found = llio_bool(r);
    bytes = rd_left(r);
    reply->partial.data = slice_of(rd_bytes(r, bytes), bytes);
}

static void get_validations(struct rd *r, struct asd_reply *reply)
{
    uint32_t count = llio_count(r, VALIDATION_BYTES_MIN);

    reply->validations.count = count;
    reply->validations.items = count != 0 ? mem_array(count, sizeof(struct asd_validation)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_validation *v = &reply->validations.items[i];

        v->key = llio_string(r);
        v->check_count = llio_count(r, CHECK_BYTES_MIN);
        v->checks = v->check_count != 0 ? mem_array(v->check_count, sizeof(v->checks[0])) : NULL;
        for (uint32_t j = v->check_count; j-- > 0;) {
            v->checks[j].name = llio_string(r);
            v->checks[j].ok = llio_bool(r);
        }
    }
    reply->validations.next = llio_opt_string(r, &reply->validations.has_next);
}

static bool get_payload(struct rd *r, struct asd_reply *reply)
{
    switch (reply->code) {
    case ASD_RANGE:
        reply->keys.count = llio_strings(r, &reply->keys.items);
        reply->keys.more = llio_bool(r);
        return true;
    case ASD_MULTI_GET:
        get_values(r, reply);
        return true;
    case ASD_MULTI_GET2:
        get_values2(r, reply);
        return true;
    case ASD_APPLY:
        get_file_numbers(r, reply);
        return true;
    case ASD_RANGE_ENTRIES:
        get_entries(r, reply);
        return true;
    case ASD_STATISTICS:
        asd_statistics_get(r, &reply->statistics);
        return true;
    case ASD_GET_VERSION:
        reply->version.major = llio_i32(r);
        reply->version.minor = llio_i32(r);
        reply->version.patch = llio_i32(r);
        reply->version.text = llio_string(r);
        return true;
    case ASD_MULTI_EXISTS:
        get_exists(r, reply);
        return true;
    case ASD_GET_DISK_USAGE:
        reply->usage.used_bytes = llio_i64(r);
        reply->usage.capacity_bytes = llio_i64(r);
        return true;
    case ASD_PARTIAL_GET:
        get_partial(r, reply);
        return true;
    case ASD_CAPABILITIES:
        reply->capabilities = osd_capabilities_get(r);
        return true;
    case ASD_RANGE_VALIDATE:
        get_validations(r, reply);
        return true;
    case ASD_SET_FULL:
    case ASD_SLOWNESS:
        return true;
    default:
        return false;
    }
}

int asd_reply_decode(struct rd payload, uint32_t code, struct asd_reply *ret_reply, struct err *e)
{
    struct asd_reply reply = {.code = code};

    CHECK(get_payload(&payload, &reply));
    if (payload.bad) {
        asd_reply_release(&reply);
        return err_set(e, ERR_PROTOCOL, "%s: malformed reply", asd_code_name(code));
    }
    *ret_reply = reply;
    return 0;
}

void asd_reply_release(struct asd_reply *reply)
{
    switch (reply->code) {
    case ASD_RANGE:
        free(reply->keys.items);
        break;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
        free(reply->values.items);
        break;
    case ASD_APPLY:
        free(reply->file_numbers.items);
        break;
    case ASD_RANGE_ENTRIES:
        free(reply->entries.items);
        break;
    case ASD_STATISTICS:
        asd_statistics_release(&reply->statistics);
        break;
    case ASD_MULTI_EXISTS:
        free(reply->exists.items);
        break;
    case ASD_RANGE_VALIDATE:
        for (uint32_t i = 0; i < reply->validations.count; i++) {
            free(reply->validations.items[i].checks);
        }
        free(reply->validations.items);
        break;
    default:
        break;
    }
    *reply = (struct asd_reply){0};
}
