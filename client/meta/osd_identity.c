/* A question goes: connect -> read the owner -> (claim: Apply -> read the owner again unless it
 * succeeded) -> disk usage -> answer. A claim whose reply was lost is judged by the owner that
 * is read afterwards: a claim, once written, never changes. */
#include "meta/osd_identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/asd_client.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

enum { CLAIM_TRIES_MAX = 3 };

enum step { STEP_OWNER, STEP_CLAIM, STEP_USAGE, STEP_CLOSE };

struct identity_op {
    struct asd_client *client;
    struct asd_call call;
    struct gather request;
    enum step step;
    char *claimer; /* NULL: only ask */
    char *owner;
    char *long_id;
    unsigned claim_tries;
    uint64_t deadline_ms;
    struct osd_identity identity;
    int rc;
    struct err err;
    osd_identity_cb cb;
    void *ctx;
};

static void step(struct identity_op *op);

static void on_closed(void *ctx)
{
    struct identity_op *op = ctx;

    op->cb(op->ctx, op->rc, &op->err, &op->identity);
    free(op->claimer);
    free(op->owner);
    free(op->long_id);
    free(op);
}

static void finish(struct identity_op *op, int rc)
{
    op->rc = rc;
    op->step = STEP_CLOSE;
    op->identity.owner = op->owner;
    op->long_id = mem_strdup(asd_client_long_id(op->client));
    op->identity.long_id = op->long_id;
    asd_client_close(op->client, on_closed, op);
}

/* Text of a peer that will be printed and kept as a C string. */
static char *owner_text(struct slice owner)
{
    enum { OWNER_BYTES_MAX = 256 };
    size_t bytes = owner.len < OWNER_BYTES_MAX ? owner.len : OWNER_BYTES_MAX;
    char *text = mem_zalloc(bytes + 1);

    for (size_t i = 0; i < bytes; i++) {
        text[i] = owner.data[i] > 0x20 && owner.data[i] < 0x7f ? (char)owner.data[i] : '?';
    }
    return text;
}

static int take_owner(struct identity_op *op, const struct asd_reply *reply)
{
    const struct asd_value *next = &reply->values.items[0];
    const struct asd_value *log = &reply->values.items[1];

    if (reply->values.count != 2) {
        return err_set(&op->err, ERR_PROTOCOL, "another number of values than keys");
    }
    free(op->owner);
    op->owner = log->found ? owner_text(log->value) : mem_strdup("");
    if (next->found && op->owner[0] == '\0') {
        return err_set(&op->err, ERR_CORRUPT, "claimed, but the owner is not readable");
    }
    if (op->claimer == NULL || strcmp(op->owner, op->claimer) == 0) {
        op->step = STEP_USAGE;
    } else if (op->owner[0] != '\0') {
        return err_set(&op->err, ERR_EXISTS, "claimed by %s", op->owner);
    } else if (op->claim_tries++ < CLAIM_TRIES_MAX) {
        op->step = STEP_CLAIM;
    } else {
        return op->err.code != 0 ? op->err.code : err_set(&op->err, ERR_IN_DOUBT, "claim");
    }
    return 0;
}

static int take_reply(struct identity_op *op)
{
    static const uint32_t codes[] = {
        [STEP_OWNER] = ASD_MULTI_GET, [STEP_CLAIM] = ASD_APPLY, [STEP_USAGE] = ASD_GET_DISK_USAGE};
    struct asd_reply reply;
    int rc = asd_reply_decode(op->call.reply, codes[op->step], &reply, &op->err);

    if (rc != 0) {
        return rc;
    }
    switch (op->step) {
    case STEP_OWNER:
        rc = take_owner(op, &reply);
        break;
    case STEP_CLAIM:
        op->step = STEP_OWNER;
        break;
    case STEP_USAGE:
        op->identity.used_bytes = (uint64_t)reply.usage.used_bytes;
        op->identity.capacity_bytes = (uint64_t)reply.usage.capacity_bytes;
        op->step = STEP_CLOSE;
        break;
    case STEP_CLOSE:
        CHECK(false);
    }
    asd_reply_release(&reply);
    return rc;
}

static void on_call(struct asd_call *call, int rc)
{
    struct identity_op *op = container_of(call, struct identity_op, call);

    gather_release(&op->request);
    buf_release(&call->failed_key);
    if (rc == 0) {
        rc = take_reply(op);
    } else {
        err_copy(&op->err, &call->err);
        if (op->step == STEP_CLAIM && (rc == ERR_ASSERT_FAILED || call->maybe_executed)) {
            op->step = STEP_OWNER;
            rc = 0;
        }
    }
    if (rc != 0 || op->step == STEP_CLOSE) {
        finish(op, rc);
    } else {
        step(op);
    }
}

static void encode_owner(struct identity_op *op)
{
    struct buf log = {0};
    struct slice keys[2];
    struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = keys, .count = 2}};

    osd_key_put_instance_log(&log);
    keys[0] = slice_str(OSD_KEY_INSTANCE_NEXT);
    keys[1] = slice_buf(&log);
    asd_request_encode(&request, &op->request);
    buf_release(&log);
}

static void encode_claim(struct identity_op *op)
{
    struct slice owner = slice_str(op->claimer);
    uint8_t one[4], zero[4];
    struct slice values[3] = {slice_of(one, 4), owner, slice_of(zero, 4)};
    struct buf keys[3] = {0};
    struct asd_assert asserts[3] = {0};
    struct asd_update updates[3] = {0};
    struct asd_request request = {
        .code = ASD_APPLY,
        .apply = {.asserts = asserts, .updates = updates, .assert_count = 3, .update_count = 3}};

    put_u32le(one, 1);
    put_u32le(zero, 0);
    buf_put(&keys[0], OSD_KEY_INSTANCE_NEXT, strlen(OSD_KEY_INSTANCE_NEXT));
    osd_key_put_instance_log(&keys[1]);
    osd_key_put_instance_index(&keys[2], owner);
    for (int i = 0; i < 3; i++) {
        asserts[i].key = slice_buf(&keys[i]);
        updates[i] = (struct asd_update){.key = slice_buf(&keys[i]),
                                         .value = values[i],
                                         .checksum = checksum_none(),
                                         .assertable = true};
    }
    asd_request_encode(&request, &op->request);
    for (int i = 0; i < 3; i++) {
        buf_release(&keys[i]);
    }
}

static void step(struct identity_op *op)
{
    uint64_t now = clock_mono_ms();
    unsigned timeout_ms = now < op->deadline_ms ? (unsigned)(op->deadline_ms - now) : 1;
    int rc;

    if (op->step == STEP_OWNER) {
        encode_owner(op);
    } else if (op->step == STEP_CLAIM) {
        encode_claim(op);
    } else {
        struct asd_request request = {.code = ASD_GET_DISK_USAGE};

        asd_request_encode(&request, &op->request);
    }
    op->call = (struct asd_call){0};
    rc = asd_client_call(op->client, &op->call, &op->request, timeout_ms, on_call);
    CHECK(rc == 0); /* the client is ours alone: its queue is not full */
}

void osd_ask(uv_loop_t *loop, const struct osd_question *question, osd_identity_cb cb, void *ctx)
{
    struct identity_op *op = mem_zalloc(sizeof(*op));
    struct asd_client_options options = {
        .addr = question->addr, .tls = question->tls, .long_id = question->long_id};

    op->claimer = question->claimer != NULL ? mem_strdup(question->claimer) : NULL;
    op->owner = mem_strdup("");
    op->deadline_ms = clock_mono_ms() + question->timeout_ms;
    op->cb = cb;
    op->ctx = ctx;
    op->client = asd_client_new(loop, &options);
    step(op);
}
