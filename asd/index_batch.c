#include "asd/index.h"

#include <stdlib.h>

#include "base/mem.h"

static struct asd_index_change *change_add(struct asd_index_batch *batch, struct slice key)
{
    struct asd_index_change *change;

    if (batch->change_count == batch->change_cap) {
        batch->change_cap = batch->change_cap == 0 ? 64 : batch->change_cap * 2;
        batch->changes = mem_realloc(batch->changes, batch->change_cap * sizeof(batch->changes[0]));
    }
    change = &batch->changes[batch->change_count++];
    *change = (struct asd_index_change){.key_at = batch->bytes.len, .key_bytes = key.len};
    buf_put(&batch->bytes, key.data, key.len);
    return change;
}

void asd_index_batch_delete(struct asd_index_batch *batch, struct slice key)
{
    change_add(batch, key)->is_delete = true;
}

void asd_index_batch_put(struct asd_index_batch *batch, struct slice key, struct slice head,
                         struct slice body)
{
    struct asd_index_change *change = change_add(batch, key);

    change->head_at = batch->bytes.len;
    change->head_bytes = head.len;
    change->body = body;
    batch->body_bytes += body.len;
    buf_put(&batch->bytes, head.data, head.len);
}

void asd_index_batch_release(struct asd_index_batch *batch)
{
    buf_release(&batch->bytes);
    free(batch->changes);
    *batch = (struct asd_index_batch){0};
}
