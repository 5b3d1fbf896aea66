#include "alba/copy_read.h"

#include "alba/asd_call.h"
#include "wire/osd_keys.h"

static int read_key(struct session *s, struct asd_client *client, const struct buf *key,
                    struct asd_answer *ret_answer, struct err *e)
{
    struct slice k = slice_buf(key);
    const struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = &k, .count = 1}};
    int rc = asd_call_with(&s->loop, client, &request, COPY_READ_TIMEOUT_MS, ret_answer, e);

    if (rc == 0 && ret_answer->reply.values.count != 1) {
        asd_answer_release(ret_answer);
        return err_set(e, ERR_PROTOCOL, "another number of values than keys");
    }
    return rc;
}

int copy_read_head(struct session *s, struct asd_client *client, struct copy_head *ret_head,
                   struct err *e)
{
    struct buf key = {0};
    struct asd_answer answer;
    int rc;

    osd_key_put_copy_head(&key);
    rc = read_key(s, client, &key, &answer, e);
    buf_release(&key);
    if (rc != 0) {
        return rc;
    }
    rc = answer.reply.values.items[0].found
             ? copy_head_decode(answer.reply.values.items[0].value, ret_head, e)
             : err_say(e, ERR_NOT_FOUND, "no copy of a registry");
    asd_answer_release(&answer);
    return rc;
}

static int read_chunk(struct session *s, struct asd_client *client, const struct copy_head *head,
                      uint32_t index, struct buf *ret_snapshot, struct err *e)
{
    struct buf key = {0};
    struct asd_answer answer;
    struct slice part;
    int rc;

    osd_key_put_copy_chunk(&key, index);
    rc = read_key(s, client, &key, &answer, e);
    buf_release(&key);
    if (rc != 0) {
        return rc;
    }
    rc = copy_chunk_decode(head, index, answer.reply.values.items[0].value, &part, e);
    if (rc == 0) {
        buf_put(ret_snapshot, part.data, part.len);
    }
    asd_answer_release(&answer);
    return rc;
}

int copy_read_snapshot(struct session *s, struct asd_client *client, const struct copy_head *head,
                       struct buf *ret_snapshot, struct err *e)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < head->chunk_count; i++) {
        rc = read_chunk(s, client, head, i, ret_snapshot, e);
    }
    return rc != 0 ? rc : copy_verify(head, slice_buf(ret_snapshot), e);
}
