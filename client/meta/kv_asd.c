/* The asd:// engine: metadata in a dedicated ASD, under one leading byte of ours.
 *
 * start -> send -> on_call -> (next page: send | finish)
 *
 * - the connection breaks, or the ASD is busy: a read is sent again after RETRY_MS until its
 *   deadline; so is an Apply that certainly was not executed;
 * - an Apply that may have been executed: ERR_IN_DOUBT, never sent again from here. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/kv_asd.h"
#include "meta/osd_identity.h"

enum { RETRY_MS = 100 };

static struct kv_asd *asd_of(struct kv *kv)
{
    return container_of(kv, struct kv_asd, kv);
}

static struct asd_op *op_of(struct kv_op *op)
{
    return container_of(op, struct asd_op, op);
}

/* Errors are told from the loop: the call may still be on the stack. */
static void op_done(struct asd_op *a, int rc)
{
    if (rc == 0) {
        kv_op_finish(&a->op, 0);
        return;
    }
    if (a->op.err.code != rc) {
        err_set(&a->op.err, rc, "%s", a->op.kv->url);
    }
    kv_op_fail(&a->op);
}

/* ---- sending ---- */

static void op_send(struct asd_op *a);

static void on_retry(uv_timer_t *timer)
{
    struct kv_asd *asd = container_of(timer, struct kv_asd, retry_timer);
    struct list batch;
    struct list *link;

    list_init(&batch);
    list_splice(&batch, &asd->waiting);
    while ((link = list_pop(&batch)) != NULL) {
        op_send(container_of(link, struct asd_op, link));
    }
}

static bool is_silence(int rc)
{
    return rc > ERR_BUSY && rc != -EINVAL; /* what the transport says */
}

/* People know the metadata by its URL, not as one of the ASDs. Other errors stay as they are. */
static int say_silent(struct asd_op *a, int rc)
{
    const struct kv_asd *asd = asd_of(a->op.kv);
    char inner[ERR_MSG_BYTES];
    char prefix[sizeof(asd->addr.text) + 8];
    size_t len;

    if (!is_silence(rc)) {
        return rc;
    }
    len = (size_t)snprintf(prefix, sizeof(prefix), "asd %s: ", asd->addr.text);
    memcpy(inner, a->op.err.msg, sizeof(inner));
    if (strncmp(inner, prefix, len) != 0) {
        len = 0;
    }
    return err_say(&a->op.err, rc, "metadata %.100s does not answer: %s", a->op.kv->url,
                   inner + len);
}

/* Again in a moment, or the deadline ends it with the error at hand. */
static void wait_or_fail(struct asd_op *a, int rc)
{
    struct kv_asd *asd = asd_of(a->op.kv);

    if (asd->kv.canceled || clock_mono_ms() + RETRY_MS >= a->op.deadline_ms) {
        op_done(a, say_silent(a, rc));
        return;
    }
    list_push(&asd->waiting, &a->link);
    if (!uv_is_active((uv_handle_t *)&asd->retry_timer)) {
        uv_timer_start(&asd->retry_timer, on_retry, RETRY_MS, 0);
    }
}

/* The server said so, or nothing was sent. */
static bool is_definite(const struct asd_op *a, int rc)
{
    switch (rc) {
    case ERR_ASSERT_FAILED:
    case ERR_FULL:
    case ERR_UNKNOWN_OPERATION:
    case ERR_BUSY:
    case ERR_CORRUPT: /* the value that an assert would have read */
    case ERR_IDENTITY:
        return true;
    case ERR_REMOTE: /* a failed commit may be on the disk all the same */
    case ERR_FAILED:
    case ERR_PROTOCOL:
        return false;
    default:
        return !a->call.maybe_executed;
    }
}

static bool is_transient(int rc)
{
    return rc == ERR_BUSY || is_silence(rc);
}

static int say_in_doubt(struct asd_op *a)
{
    char why[ERR_MSG_BYTES];

    memcpy(why, a->op.err.msg, sizeof(why));
    return err_say(&a->op.err, ERR_IN_DOUBT, "%.250s: %s", why, err_text(ERR_IN_DOUBT));
}

static void on_call(struct asd_call *call, int rc)
{
    struct asd_op *a = container_of(call, struct asd_op, call);
    bool is_apply = a->op.kind == KV_OP_APPLY;

    list_remove(&a->link);
    gather_release(&a->request);
    if (rc == 0) {
        rc = kv_asd_take_reply(a);
        if (rc == 1) {
            op_send(a);
        } else {
            op_done(a, rc);
        }
        return;
    }
    err_copy(&a->op.err, &call->err);
    if (rc == ERR_CORRUPT && !is_apply) {
        rc = kv_asd_take_damage(a);
        buf_release(&call->failed_key);
        if (rc == 1) {
            op_send(a);
        } else {
            op_done(a, rc);
        }
        return;
    }
    if (rc == ERR_ASSERT_FAILED && call->failed_key.len > 1) {
        buf_put(&a->op.failed_key, call->failed_key.data + 1, call->failed_key.len - 1);
    }
    buf_release(&call->failed_key);
    if (rc == ERR_CANCELED) {
        op_done(a, rc);
    } else if (is_apply && !is_definite(a, rc)) {
        say_silent(a, rc);
        op_done(a, say_in_doubt(a));
    } else if (is_transient(rc)) {
        wait_or_fail(a, rc);
    } else {
        op_done(a, rc);
    }
}

static void op_send(struct asd_op *a)
{
    struct kv_asd *asd = asd_of(a->op.kv);
    uint64_t now = clock_mono_ms();
    unsigned timeout_ms;
    int rc;

    if (asd->kv.canceled) {
        op_done(a, ERR_CANCELED);
        return;
    }
    if (now >= a->op.deadline_ms) {
        if (a->op.err.code == 0) {
            err_say(&a->op.err, UV_ETIMEDOUT, "%s", err_text(UV_ETIMEDOUT));
        }
        op_done(a, say_silent(a, a->op.err.code));
        return;
    }
    timeout_ms = (unsigned)(a->op.deadline_ms - now);
    kv_asd_encode(a);
    a->call = (struct asd_call){0};
    rc = asd_client_call(asd->client, &a->call, &a->request, timeout_ms, on_call);
    if (rc != 0) {
        gather_release(&a->request);
        err_set(&a->op.err, rc, "%s", asd->kv.url);
        wait_or_fail(a, rc);
        return;
    }
    list_push(&asd->calls, &a->link);
}

/* ---- engine ---- */

static void on_prepared(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct asd_op *a = ctx;

    if (rc != 0) {
        err_copy(&a->op.err, e);
        if (rc == ERR_EXISTS) {
            rc = err_say(&a->op.err, ERR_EXISTS, "%s is storage of alba %s", a->op.kv->url,
                         identity->owner);
        }
    }
    op_done(a, rc);
}

static void asd_start(struct kv *kv, struct kv_op *op)
{
    struct kv_asd *asd = asd_of(kv);
    struct asd_op *a = op_of(op);

    list_init(&a->link);
    if (op->kind == KV_OP_PREPARE) {
        osd_ask(kv->loop,
                &(struct osd_question){.addr = asd->addr,
                                       .tls = kv->tls,
                                       .long_id = asd->long_id[0] != '\0' ? asd->long_id : NULL,
                                       .claimer = OSD_OWNER_METADATA,
                                       .timeout_ms = KV_TIMEOUT_DEFAULT_MS},
                on_prepared, a);
    } else {
        op_send(a);
    }
}

static void close_part(struct kv_asd *asd)
{
    if (--asd->closing_parts == 0) {
        kv_engine_closed(&asd->kv);
    }
}

static void on_client_closed(void *ctx)
{
    close_part(ctx);
}

static void on_timer_closed(uv_handle_t *handle)
{
    close_part(container_of(handle, struct kv_asd, retry_timer));
}

static void asd_cancel(struct kv *kv)
{
    struct kv_asd *asd = asd_of(kv);
    struct list *link;

    while ((link = list_pop(&asd->waiting)) != NULL) {
        struct asd_op *a = container_of(link, struct asd_op, link);

        err_set(&a->op.err, ERR_CANCELED, "%s", kv->url);
        kv_op_fail(&a->op);
    }
    LIST_FOR_EACH (it, &asd->calls) {
        asd_call_cancel(&container_of(it, struct asd_op, link)->call); /* on_call() comes later */
    }
}

static void asd_close(struct kv *kv)
{
    struct kv_asd *asd = asd_of(kv);

    asd->closing_parts = 2;
    asd_client_close(asd->client, on_client_closed, asd);
    uv_close((uv_handle_t *)&asd->retry_timer, on_timer_closed);
}

static const struct kv_engine_ops asd_ops = {.start = asd_start,
                                             .cancel = asd_cancel,
                                             .close = asd_close,
                                             .op_bytes = sizeof(struct asd_op)};

/* asd://IP:port[/long-id], asd+tls://… */
static int parse_url(struct kv_asd *asd, const char *url, struct err *e)
{
    bool is_tls = strncmp(url, "asd+tls", strlen("asd+tls")) == 0;
    const char *authority = strstr(url, "://") + strlen("://");
    size_t authority_bytes = strcspn(authority, "/");
    const char *long_id = authority + authority_bytes;
    char tcp[NET_ADDR_TEXT_MAX];
    int n = snprintf(tcp, sizeof(tcp), "tcp://%.*s", (int)authority_bytes, authority);

    if (n < 0 || (size_t)n >= sizeof(tcp) || net_addr_parse(&asd->addr, tcp, e) != 0) {
        return err_say(
            e, ERR_CONFIG,
            "engine URL '%s': want asd%s://IP:PORT[/LONG-ID], one address; names are not "
            "looked up",
            url, is_tls ? "+tls" : "");
    }
    if (is_tls) {
        net_addr_set_tls(&asd->addr);
    }
    long_id += *long_id == '/';
    if (strlen(long_id) > ASD_ID_BYTES_MAX) {
        return err_set(e, ERR_CONFIG, "long id in '%s'", url);
    }
    snprintf(asd->long_id, sizeof(asd->long_id), "%s", long_id);
    return 0;
}

int kv_asd_open(uv_loop_t *loop, const char *url, struct net_tls *tls, struct kv **ret_kv,
                struct err *e)
{
    struct kv_asd *asd = mem_zalloc(sizeof(*asd));
    struct asd_client_options options = {0};

    if (parse_url(asd, url, e) != 0) {
        free(asd);
        return e->code;
    }
    kv_engine_init(&asd->kv, &asd_ops, loop, url);
    asd->kv.tls = tls;
    list_init(&asd->waiting);
    list_init(&asd->calls);
    CHECK(uv_timer_init(loop, &asd->retry_timer) == 0);
    options.addr = asd->addr;
    options.tls = tls;
    options.long_id = asd->long_id[0] != '\0' ? asd->long_id : NULL;
    options.owner = OSD_OWNER_METADATA; /* an empty store would say that nothing exists */
    asd->client = asd_client_new(loop, &options);
    *ret_kv = &asd->kv;
    return 0;
}
