#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/registry_copy_private.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

static void done(struct copy_target *t, int rc)
{
    gather_release(&t->request);
    t->rc = rc;
    if (rc != 0) {
        err_wrap(&t->err, "OSD %s", t->long_id);
    }
    t->cb(t);
}

/* ---- reading the head ---- */

static int take_head(struct copy_target *t, struct rd payload)
{
    struct asd_reply reply;
    struct err e;
    int rc = asd_reply_decode(payload, ASD_MULTI_GET, &reply, &t->err);

    if (rc != 0) {
        return rc;
    }
    if (reply.values.count != 1) {
        rc = err_set(&t->err, ERR_PROTOCOL, "another number of values than keys");
    } else if (reply.values.items[0].found) {
        struct slice value = reply.values.items[0].value;

        t->has_head = true;
        t->is_whole = copy_head_decode(value, &t->head, &e) == 0;
        buf_put(&t->head_value, value.data, value.len);
        if (!t->is_whole &&
            e.code == ERR_VERSION) { /* newer software keeps it: not ours to touch */
            rc = err_copy(&t->err, &e);
        }
    }
    asd_reply_release(&reply);
    return rc;
}

static void on_head(struct asd_call *call, int rc)
{
    struct copy_target *t = container_of(call, struct copy_target, call);

    buf_release(&call->failed_key);
    if (rc != 0) {
        err_copy(&t->err, &call->err);
    } else {
        rc = take_head(t, call->reply);
    }
    done(t, rc);
}

void copy_target_open(struct copy_target *t, uv_loop_t *loop, struct net_tls *tls,
                      const struct registry_osd *osd, const char *owner, unsigned timeout_ms,
                      copy_target_cb cb, void *ctx)
{
    struct asd_client_options options = {
        .tls = tls, .long_id = osd->long_id, .owner = owner, .claim_timeout_ms = timeout_ms};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    struct buf key = {0};
    struct slice k;
    struct asd_request request = {
        .code = ASD_MULTI_GET, .prio = ASD_PRIO_LOW, .keys = {.items = &k, .count = 1}};

    *t = (struct copy_target){
        .long_id = mem_strdup(osd->long_id), .timeout_ms = timeout_ms, .cb = cb, .ctx = ctx};
    registry_osd_client_options(osd, addrs, &options, &t->err); /* none: no answer, below */
    osd_key_put_copy_head(&key);
    k = slice_buf(&key);
    asd_request_encode(&request, &t->request);
    buf_release(&key);
    t->client = asd_client_new(loop, &options);
    CHECK(asd_client_call(t->client, &t->call, &t->request, timeout_ms, on_head) == 0);
}

/* ---- writing ---- */

static void on_written(struct asd_call *call, int rc)
{
    struct copy_target *t = container_of(call, struct copy_target, call);

    buf_release(&call->failed_key);
    if (rc != 0) {
        err_copy(&t->err, &call->err);
    }
    done(t, rc);
}

/* How many chunks lie there: those that the new copy does not replace go. */
static uint32_t old_chunks(const struct copy_target *t)
{
    return t->is_whole ? t->head.chunk_count : COPY_BYTES_MAX / COPY_CHUNK_BYTES;
}

static void encode_apply(struct copy_target *t, const struct copy_head *head, struct slice chunks)
{
    uint32_t keys = head->chunk_count;
    uint32_t count = 0;
    struct asd_update *updates;
    struct buf *names;
    uint8_t bytes[COPY_HEAD_BYTES];

    if (t->has_head && old_chunks(t) > keys) {
        keys = old_chunks(t);
    }
    updates = mem_array(keys + 1, sizeof(*updates));
    names = mem_array(keys + 1, sizeof(*names));
    for (uint32_t i = 0; i < keys; i++) {
        struct asd_update *u = &updates[count++];

        osd_key_put_copy_chunk(&names[i], i);
        *u = (struct asd_update){.key = slice_buf(&names[i]),
                                 .checksum = checksum_none(),
                                 .is_delete = i >= head->chunk_count};
        if (!u->is_delete) {
            u->value = copy_chunk_at(chunks, i);
        }
    }
    osd_key_put_copy_head(&names[keys]);
    copy_head_encode(head, bytes);
    updates[count++] = (struct asd_update){.key = slice_buf(&names[keys]),
                                           .value = slice_of(bytes, sizeof(bytes)),
                                           .checksum = checksum_none(),
                                           .assertable = true};

    struct asd_assert guard = {.key = slice_buf(&names[keys]),
                               .value = slice_buf(&t->head_value),
                               .has_value = t->has_head};
    struct asd_request request = {.code = ASD_APPLY,
                                  .prio = ASD_PRIO_LOW,
                                  .apply = {.asserts = &guard,
                                            .assert_count = 1,
                                            .updates = updates,
                                            .update_count = count,
                                            .flags = ASD_APPLY_RESERVE}};

    asd_request_encode(&request, &t->request);
    for (uint32_t i = 0; i <= keys; i++) {
        buf_release(&names[i]);
    }
    free(names);
    free(updates);
}

void copy_target_write(struct copy_target *t, const struct copy_head *head, struct slice chunks,
                       copy_target_cb cb)
{
    t->cb = cb;
    t->call = (struct asd_call){0};
    encode_apply(t, head, chunks);
    CHECK(asd_client_call(t->client, &t->call, &t->request, t->timeout_ms, on_written) == 0);
}

/* ---- end ---- */

void copy_target_cancel(struct copy_target *t)
{
    asd_call_cancel(&t->call);
}

static void on_closed(void *ctx)
{
    struct copy_target *t = ctx;

    buf_release(&t->head_value);
    free(t->long_id);
    t->long_id = NULL;
    t->client = NULL;
    t->cb(t);
}

void copy_target_close(struct copy_target *t, copy_target_cb cb)
{
    t->cb = cb;
    asd_client_close(t->client, on_closed, t);
}
