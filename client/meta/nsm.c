/* Namespace manager: handle, replies, hints. */
#include "meta/nsm.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/nsm_private.h"

struct reply_box {
    struct nsm_reply reply;
    bool taken;
};

struct nsm *nsm_new(struct kv *kv)
{
    struct nsm *nsm = mem_zalloc(sizeof(*nsm));

    nsm->kv = kv;
    return nsm;
}

void nsm_free(struct nsm *nsm)
{
    if (nsm == NULL) {
        return;
    }
    CHECK(nsm->op_count == 0);
    for (size_t i = 0; i < NSM_HINTS; i++) {
        slice_release(&nsm->hints[i].name);
    }
    free(nsm);
}

struct kv *nsm_kv(const struct nsm *nsm)
{
    return nsm->kv;
}

/* ---- hints ---- */

static size_t hint_slot(uint64_t ns_id, struct slice name)
{
    uint8_t id[8];

    put_u64le(id, ns_id);
    return crc32c(crc32c(0, id, sizeof(id)), name.data, name.len) % NSM_HINTS;
}

const struct nsm_hint *nsm_hint_find(const struct nsm *nsm, uint64_t ns_id, struct slice name)
{
    const struct nsm_hint *hint = &nsm->hints[hint_slot(ns_id, name)];

    if (hint->name.data == NULL || hint->ns_id != ns_id || !slice_eq(hint->name, name)) {
        return NULL;
    }
    return hint;
}

void nsm_hint_set(struct nsm *nsm, uint64_t ns_id, struct slice name, struct slice object_id,
                  const struct checksum *checksum)
{
    struct nsm_hint *hint = &nsm->hints[hint_slot(ns_id, name)];

    if (name.len == 0 || object_id.len != NSM_OBJECT_ID_BYTES) {
        return;
    }
    if (hint->ns_id != ns_id || !slice_eq(hint->name, name)) {
        struct slice fresh = slice_dup(name);

        slice_release(&hint->name);
        hint->name = fresh;
        hint->ns_id = ns_id;
    }
    memcpy(hint->object_id, object_id.data, NSM_OBJECT_ID_BYTES);
    hint->checksum = *checksum;
}

void nsm_hint_forget(struct nsm *nsm, uint64_t ns_id, struct slice name)
{
    struct nsm_hint *hint = &nsm->hints[hint_slot(ns_id, name)];

    if (hint->ns_id == ns_id && slice_eq(hint->name, name)) {
        slice_release(&hint->name);
    }
}

/* ---- operations and replies ---- */

void nsm_op_init(struct nsm_op *op, struct nsm *nsm, uint64_t ns_id, unsigned timeout_ms, nsm_cb cb,
                 void *ctx)
{
    struct reply_box *box = mem_zalloc(sizeof(*box));

    nsm->op_count++;
    *op = (struct nsm_op){
        .nsm = nsm,
        .ns_id = ns_id,
        .deadline_ms = clock_mono_ms() + (timeout_ms != 0 ? timeout_ms : KV_TIMEOUT_DEFAULT_MS),
        .reply = &box->reply,
        .cb = cb,
        .ctx = ctx,
    };
}

void nsm_op_finish(struct nsm_op *op, int rc, const struct err *e)
{
    struct reply_box *box = container_of(op->reply, struct reply_box, reply);

    if (e != NULL) {
        err_copy(&box->reply.err, e);
    }
    op->nsm->op_count--;
    op->cb(op->ctx, rc, &box->reply);
    if (!box->taken) {
        nsm_reply_free(&box->reply);
    }
}

void nsm_reply_take(struct nsm_reply *reply)
{
    container_of(reply, struct reply_box, reply)->taken = true;
}

void nsm_reply_free(struct nsm_reply *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; reply->objects != NULL && i < reply->count; i++) {
        manifest_release(&reply->objects[i].manifest);
    }
    for (size_t i = 0; reply->names != NULL && i < reply->count; i++) {
        slice_release(&reply->names[i]);
    }
    free(reply->objects);
    free(reply->names);
    free(reply->exists);
    free(reply->epochs);
    slice_release(&reply->failed_name);
    free(container_of(reply, struct reply_box, reply));
}

/* ---- limits ---- */

int nsm_sequence_check(const struct nsm_sequence_size *size, unsigned *ret_osds_max, struct err *e)
{
    size_t uploads = size->upload_count, deletes = size->delete_count;
    size_t updates, asserts;

    if (uploads > KV_UPDATES_MAX || deletes > KV_UPDATES_MAX ||
        size->fragments_per_upload > KV_UPDATES_MAX || size->name_count > KV_ASSERTS_MAX) {
        return err_set(e, ERR_TOO_LARGE,
                       "%zu uploads of %u fragments, %zu deletes, %zu names in one transaction",
                       uploads, size->fragments_per_upload, deletes, size->name_count);
    }
    updates = uploads * (NSM_UPDATES_PER_UPLOAD + (size_t)size->fragments_per_upload) +
              deletes * NSM_UPDATES_PER_DELETE;
    if (updates > KV_UPDATES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%zu uploads and %zu deletes are %zu updates (at most %d)",
                       uploads, deletes, updates, KV_UPDATES_MAX);
    }
    /* The epoch, what each name holds, what is replaced or must not have been there before. */
    asserts = 1 + size->name_count + NSM_ASSERTS_PER_UPLOAD * uploads + deletes;
    if (asserts > KV_ASSERTS_MAX) {
        return err_set(e, ERR_TOO_LARGE,
                       "%zu uploads, %zu deletes and %zu names are %zu asserts (at most %d)",
                       uploads, deletes, size->name_count, asserts, KV_ASSERTS_MAX);
    }
    *ret_osds_max = size->fragments_per_upload;
    if (uploads != 0) {
        *ret_osds_max += (unsigned)((KV_UPDATES_MAX - updates) / uploads);
    }
    return 0;
}

int nsm_manifest_check(size_t name_bytes, size_t preset_bytes, uint64_t chunk_count,
                       unsigned fragments_per_chunk, const struct manifest_fragment *largest,
                       struct err *e)
{
    uint64_t bytes;

    if (name_bytes > MANIFEST_NAME_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "name of %zu bytes (at most %d)", name_bytes,
                       MANIFEST_NAME_BYTES_MAX);
    }
    bytes = manifest_v3_bytes_bound(name_bytes, preset_bytes, chunk_count, fragments_per_chunk,
                                    largest);
    if (bytes > NSM_MANIFEST_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "manifest of up to %llu bytes (at most %d)",
                       (unsigned long long)bytes, NSM_MANIFEST_BYTES_MAX);
    }
    return 0;
}
