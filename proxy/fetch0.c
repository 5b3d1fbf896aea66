#include "proxy/fetch0.h"

#include <string.h>

#include "base/bigmem.h"
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
