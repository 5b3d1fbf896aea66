#include "proxy/recovery.h"

#include <string.h>

#include "policy/recovery_seal.h"
#include "wire/recovery_info.h"

int recovery_of(const struct manifest *m, uint32_t chunk, bool has_checksum,
                const struct master_key *key, struct buf *b, struct err *e)
{
    struct buf record = {0};
    int rc;
    struct recovery_fragment fragments[MANIFEST_KM_MAX] = {0};
    struct recovery_info info = {.name = m->name,
                                 .object_id = m->object_id,
                                 .preset = m->preset,
                                 .preset_version = m->preset_version,
                                 .scheme = m->scheme,
                                 .timestamp_us = m->timestamp_us,
                                 .gc_epoch = m->gc_epoch,
                                 .chunk = chunk,
                                 .chunk_bytes = m->chunk_bytes[chunk],
                                 .fragments = fragments,
                                 .has_object = true,
                                 .size_bytes = m->size_bytes,
                                 .chunk_count = m->chunk_count,
                                 .all_chunk_bytes = m->chunk_bytes,
                                 .has_checksum = has_checksum};

    if (has_checksum) {
        info.checksum = m->checksum;
    }
    for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
        const struct manifest_fragment *f = manifest_fragment_at(m, chunk, i);

        fragments[i].packed_bytes = f->packed_bytes;
        fragments[i].checksum = f->checksum;
        fragments[i].has_ctr = f->has_ctr;
        memcpy(fragments[i].ctr, f->ctr, sizeof(fragments[i].ctr));
    }
    rc = recovery_info_encode(&info, key != NULL ? &record : b, e);
    if (rc == 0 && key != NULL) {
        recovery_seal_put(b, key, m->object_id, chunk, slice_buf(&record));
    }
    buf_release(&record);
    return rc;
}
