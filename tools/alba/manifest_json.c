#include "alba/manifest_json.h"

#include <stdlib.h>

#include "alba/output.h"
#include "base/hex.h"
#include "base/mem.h"
#include "wire/checksum.h"
#include "wire/manifest.h"

json_t *checksum_json(const struct checksum *c)
{
    char text[CHECKSUM_TEXT_BYTES];

    checksum_text(c, text);
    switch (c->algo) {
    case CHECKSUM_CRC32C:
        return json_pack("[s, s]", "Crc32c", text);
    case CHECKSUM_SHA1:
        return json_pack("[s, s]", "SHA1", text);
    default:
        return json_pack("[s]", "NO_CHECKSUM");
    }
}

static json_t *hex_json(struct slice bytes)
{
    char *text = mem_alloc(2 * bytes.len + 1);
    json_t *json;

    hex_encode(text, bytes.data, bytes.len);
    json = json_string(text);
    free(text);
    return json;
}

static json_t *codec_json(uint8_t codec)
{
    switch (codec) {
    case MANIFEST_CODEC_NONE:
        return json_pack("[s]", "NoCompression");
    case MANIFEST_CODEC_SNAPPY:
        return json_pack("[s]", "Snappy");
    case MANIFEST_CODEC_BZIP2:
        return json_pack("[s]", "Bzip2");
    case MANIFEST_CODEC_LZ4:
        return json_pack("[s]", "Lz4");
    default:
        return json_pack("[s, i]", "Other", (int)codec);
    }
}

static json_t *fragment_json(const struct manifest_fragment *f)
{
    json_t *o =
        json_pack("{s:i, s:o, s:I, s:o, s:o}", "ver", (int)f->version, "crc",
                  checksum_json(&f->checksum), "len", (json_int_t)f->packed_bytes, "ctr",
                  f->has_ctr ? hex_json(slice_of(f->ctr, sizeof(f->ctr))) : json_null(), "fnr",
                  f->fnr_bytes != 0 ? hex_json(slice_of(f->fnr, f->fnr_bytes)) : json_null());

    json_object_set_new(o, "osd", f->has_osd ? json_integer((json_int_t)f->osd_id) : json_null());
    return o;
}

static json_t *encryption_json(const struct manifest_scheme *scheme)
{
    json_t *algo;

    switch (scheme->cipher) {
    case MANIFEST_CIPHER_NONE:
        return json_pack("[s]", "NoEncryption");
    case MANIFEST_CIPHER_AES_CBC_256:
        algo = json_pack("[s, [s], [s]]", "AES", "CBC", "L256");
        break;
    case MANIFEST_CIPHER_AES_CTR_256:
        algo = json_pack("[s, [s], [s]]", "AES", "CTR", "L256");
        break;
    case MANIFEST_CIPHER_AES_GCM_256:
        algo = json_pack("[s, [s], [s]]", "AES", "GCM", "L256");
        break;
    default:
        algo = json_pack("[s]", scheme->cipher == MANIFEST_CIPHER_XCHACHA20_POLY1305
                                    ? "XChaCha20-Poly1305"
                                    : "Unknown");
    }
    return json_pack("[s, o, [s, o]]", "Encrypted", algo, "KeySha256",
                     hex_json(slice_of(scheme->key_id, sizeof(scheme->key_id))));
}

json_t *manifest_json(const struct manifest *m)
{
    json_t *chunk_sizes = json_array();
    json_t *chunks = json_array();
    bool escaped;
    json_t *o;

    for (uint32_t c = 0; c < m->chunk_count; c++) {
        json_t *fragments = json_array();

        for (uint32_t f = 0; f < manifest_fragments_per_chunk(m); f++) {
            json_array_append_new(fragments, fragment_json(manifest_fragment_at(m, c, f)));
        }
        json_array_append_new(chunks, fragments);
        json_array_append_new(chunk_sizes, json_integer((json_int_t)m->chunk_bytes[c]));
    }
    o = json_pack("{s:o, s:o, s:[s, [s, i, i, [s]], o], s:o, s:o, s:I, s:o, s:o}", "name",
                  output_name(m->name, &escaped), "object_id", hex_json(m->object_id),
                  "storage_scheme", "EncodeCompressEncrypt", "RSVM", (int)m->scheme.k,
                  (int)m->scheme.m, "W8", codec_json(m->scheme.codec), "encrypt_info",
                  encryption_json(&m->scheme), "chunk_sizes", chunk_sizes, "size",
                  (json_int_t)m->size_bytes, "checksum", checksum_json(&m->checksum), "fragments",
                  chunks);
    if (escaped) {
        json_object_set_new(o, "name_escaped", json_true());
    }
    json_object_set_new(o, "version_id", json_integer((json_int_t)m->version_id));
    json_object_set_new(o, "max_disks_per_node",
                        json_integer((json_int_t)m->scheme.max_disks_per_node));
    json_object_set_new(o, "timestamp", json_real((double)m->timestamp_us / 1e6));
    json_object_set_new(o, "fragment_format", json_integer(m->scheme.fragment_format));
    json_object_set_new(o, "gc_epoch", json_integer((json_int_t)m->gc_epoch));
    json_object_set_new(o, "preset", json_stringn((const char *)m->preset.data, m->preset.len));
    return o;
}
