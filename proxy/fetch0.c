#include "proxy/fetch0.h"

#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "policy/fragment0.h"

static struct fragment0_ref ref_of(const struct fetch *f)
{
    const struct manifest_fragment *mf =
        readable_fragment(f->readable, f->range.chunk, f->range.fragment);
    struct fragment0_ref ref = {
        .id = f->ref.id,
        .raw_bytes = f->ref.shape.raw_bytes,
        .codec = f->ref.shape.codec,
        .stored_bytes = f->ref.stored_bytes,
        .sum = {.algo = (enum preset_checksum)mf->checksum.algo, .crc32c = mf->checksum.crc32c},
        .crypto = f->ref.crypto};

    memcpy(ref.sum.sha1, mf->checksum.sha1, sizeof(ref.sum.sha1));
    return ref;
}

int fetch0_check(struct fetch *f)
{
    struct fragment0_ref ref = ref_of(f);

    return fragment0_ref_check(&ref, &f->err);
}

int fetch0_unpack(struct fetch *f)
{
    struct fragment0_ref ref = ref_of(f);
    const struct slice *data = &f->wait.get->data;
    bool is_whole = f->range.bytes == ref.raw_bytes;
    uint8_t *raw = is_whole ? f->range.dest : bigmem_alloc(ref.raw_bytes);
    int rc = fragment0_unpack(&ref, data->data, (uint32_t)data->len, raw, &f->err);

    if (is_whole) {
        return rc;
    }
    if (rc != 0) {
        bigmem_free(raw);
        return rc;
    }
    memcpy(f->range.dest, raw + f->range.offset, f->range.bytes);
    f->raw = raw;
    return 0;
}

/* Does the manifest of the other say the same about these bytes? */
static bool is_alike(const struct fetch *f, const struct fetch *other)
{
    struct fragment0_ref a = ref_of(f), b = ref_of(other);

    return memcmp(&a.id, &b.id, sizeof(a.id)) == 0 && a.raw_bytes == b.raw_bytes &&
           a.codec == b.codec && a.stored_bytes == b.stored_bytes && a.sum.algo == b.sum.algo &&
           a.sum.crc32c == b.sum.crc32c &&
           memcmp(a.sum.sha1, b.sum.sha1, sizeof(a.sum.sha1)) == 0 &&
           f->readable->key == other->readable->key && f->crypto.cipher == other->crypto.cipher &&
           memcmp(f->crypto.ctr, other->crypto.ctr, sizeof(f->crypto.ctr)) == 0;
}

bool fetch0_join(struct fetch *f)
{
    struct shared_get *get = f->wait.get;

    if (!readable_is_format0(f->readable) || get->unpacker == NULL || !is_alike(f, get->unpacker)) {
        return false;
    }
    list_push(&get->unpack_waits, &f->link);
    f->engine->stats.totals.unpacks_shared++;
    return true;
}

void fetch0_give(struct fetch *f, int rc, struct list *ret_others)
{
    struct shared_get *get = f->wait.get;
    const uint8_t *raw = f->raw != NULL ? f->raw : f->range.dest;

    if (get->unpacker != f) {
        return;
    }
    get->unpacker = NULL;
    list_splice(ret_others, &get->unpack_waits);
    LIST_FOR_EACH (it, ret_others) {
        struct fetch *other = container_of(it, struct fetch, link);

        if (rc == 0) {
            memcpy(other->range.dest, raw + other->range.offset, other->range.bytes);
        }
    }
}

void fetch0_keep(struct fetch *f)
{
    struct block_source source = readable_source(f->readable, f->range.chunk, f->range.fragment);
    struct block_range all = {.bytes = source.raw_bytes};

    if (f->raw != NULL && f->range.fragment < f->readable->k &&
        readable_is_cached(f->readable, f->engine, f->range.bytes)) {
        block_cache_put(&f->engine->blocks, &source, all, f->raw);
    }
    bigmem_free(f->raw);
    f->raw = NULL;
}
