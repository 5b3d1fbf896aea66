/* Writes: every one is a transaction (sequence.h). */
#include <stdlib.h>

#include "base/mem.h"
#include "proxy/ops.h"
#include "proxy/sequence.h"

struct write_op {
    struct session *session;    /* until the reply */
    struct session_frame frame; /* until the last fragment is sent */
    struct proxy_apply apply;   /* made from the simpler commands */
    struct proxy_assert assert;
    struct proxy_update update;
    int32_t assert_rc; /* what a failed assert means in this command */
};

static void on_cancel(struct session *s)
{
    sequence_cancel(s->op);
}

static bool is_in_doubt(struct session *s)
{
    return sequence_is_in_doubt(s->op);
}

/* Manifests are copied into the reply while it is encoded. */
void op_reply_manifests(struct session *s, struct sequence *sequence)
{
    size_t count = sequence_upload_count(sequence);
    struct proxy_object_info *items = mem_array(count + 1, sizeof(*items));
    struct proxy_reply reply = {.code = s->request.code,
                                .objects = {.items = items, .count = (uint32_t)count}};

    for (size_t i = 0; i < count; i++) {
        items[i] = (struct proxy_object_info){.name = sequence_manifest(sequence, i)->name,
                                              .namespace_id = sequence_ns_id(sequence),
                                              .manifest = sequence_manifest(sequence, i)};
    }
    session_reply(s, &reply, NULL, NULL);
    free(items);
}

static void on_done(void *ctx, struct sequence *sequence, int rc)
{
    struct write_op *op = ctx;
    struct session *s = op->session;

    if (rc == ERR_ASSERT_FAILED) {
        session_fail_name(s, op->assert_rc, sequence_failed_name(sequence));
    } else if (rc != 0) {
        session_fail(s, sequence_proxy_rc(sequence), sequence_err(sequence)->msg);
    } else if (s->request.code == PROXY_DELETE_OBJECT || s->request.code == PROXY_WRITE_OBJECT_FS) {
        session_reply_unit(s);
    } else {
        op_reply_manifests(s, sequence);
    }
}

static void on_release(void *ctx)
{
    struct write_op *op = ctx;

    session_frame_release(&op->frame);
    free(op);
}

static bool is_wanted(void *ctx)
{
    const struct write_op *op = ctx;

    return session_is_wanted(op->session);
}

static void start(struct session *s, struct write_op *op, const struct proxy_apply *apply)
{
    struct sequence_spec spec = {.ns = s->request.ns,
                                 .apply = apply,
                                 .deadline_ms = s->deadline_ms,
                                 .fs = session_fs_rules(s),
                                 .fds = session_fds(s),
                                 .release = on_release,
                                 .is_wanted = is_wanted};

    op->session = s;
    session_keep_frame(s, &op->frame);
    s->cancel = on_cancel;
    s->is_in_doubt = is_in_doubt;
    s->op = sequence_start(s->server->engine, &spec, on_done, op);
}

void op_apply(struct session *s)
{
    struct write_op *op = mem_zalloc(sizeof(*op));

    op->assert_rc = PROXY_RC_ASSERT_FAILED;
    start(s, op, &s->request.apply);
}

void op_delete_object(struct session *s)
{
    struct write_op *op = mem_zalloc(sizeof(*op));

    op->assert_rc = PROXY_RC_OBJECT_NOT_FOUND;
    op->assert = (struct proxy_assert){.kind = PROXY_ASSERT_EXISTS, .name = s->request.object.name};
    op->update = (struct proxy_update){.kind = PROXY_UPDATE_DELETE, .name = s->request.object.name};
    op->apply = (struct proxy_apply){.asserts = &op->assert,
                                     .assert_count = s->request.object.may_not_exist ? 0 : 1,
                                     .updates = &op->update,
                                     .update_count = 1};
    start(s, op, &op->apply);
}

void op_write_object_fs(struct session *s)
{
    struct write_op *op = mem_zalloc(sizeof(*op));

    op->assert_rc = PROXY_RC_OVERWRITE_NOT_ALLOWED;
    op->assert = (struct proxy_assert){.kind = PROXY_ASSERT_ABSENT, .name = s->request.object.name};
    op->update = (struct proxy_update){.kind = PROXY_UPDATE_UPLOAD_FILE,
                                       .name = s->request.object.name,
                                       .file = s->request.object.file,
                                       .checksum = s->request.object.checksum,
                                       .has_checksum = s->request.object.has_checksum};
    op->apply = (struct proxy_apply){.asserts = &op->assert,
                                     .assert_count = s->request.object.allow_overwrite ? 0 : 1,
                                     .updates = &op->update,
                                     .update_count = 1};
    start(s, op, &op->apply);
}
