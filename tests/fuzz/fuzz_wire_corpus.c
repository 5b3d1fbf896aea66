/* Writes one small random message of each kind as fuzz seeds.
 *
 * Usage: fuzz_wire_corpus FOLDER */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/check.h"
#include "unit/wire/gen.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"
#include "wire/snappy_block.h"

static const char *folder;

static void write_seed(const char *target, uint32_t number, const struct buf *b)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/wire_%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/wire_%s/seed_%02" PRIu32, folder, target, number);
    f = fopen(path, "wb");
    CHECK(f != NULL);
    CHECK(fwrite(b->data, 1, b->len, f) == b->len);
    CHECK(fclose(f) == 0);
}

/* `skip` bytes of head are left out; the command goes first when `with_code`. */
static void write_message(const char *target, uint32_t code, struct gather *m, size_t skip,
                          bool with_code)
{
    struct buf flat = {0};
    struct buf seed = {0};

    gather_flatten(m, &flat);
    if (with_code) {
        buf_put_u8(&seed, (uint8_t)code);
    }
    buf_put(&seed, flat.data + skip, flat.len - skip);
    write_seed(target, code, &seed);
    buf_release(&flat);
    buf_release(&seed);
    gather_release(m);
}

static void write_asd(struct gen *g)
{
    for (size_t i = 0; i < gen_asd_code_count; i++) {
        uint32_t code = gen_asd_codes[i];
        struct asd_request req;
        struct asd_reply reply;
        struct gather m = {0};

        gen_asd_request(g, code, &req);
        buf_put_u32le(&m.own, 0);
        asd_request_encode(&req, &m);
        write_message("asd_request", code, &m, 0, false);
        gen_asd_reply(g, code, &reply);
        asd_reply_encode(&reply, ASD_VERSION_2, 0, &m);
        write_message("asd_reply", code - ASD_RANGE, &m, 12, true);
        gen_release(g);
    }
}

static void write_proxy(struct gen *g)
{
    for (size_t i = 0; i < gen_proxy_code_count; i++) {
        uint32_t code = gen_proxy_codes[i];
        struct proxy_request req;
        struct proxy_reply reply;
        struct gather m = {0};
        struct err e;

        gen_proxy_request(g, code, &req);
        proxy_request_encode(&req, &m);
        write_message("proxy_request", code, &m, 0, false);
        gen_proxy_reply(g, code, &reply);
        CHECK(proxy_reply_encode(&reply, MANIFEST_V3, &m, &e) == 0);
        write_message("proxy_reply", code, &m, 8, true);
        gen_release(g);
    }
}

/* Places as in fuzz_wire_manifest.c. */
static void write_manifests(struct gen *g)
{
    struct recovery_info info;
    struct err e;

    for (uint32_t place = 0; place < 6; place++) {
        bool foreign = place == 1 || place == 2;
        unsigned version = foreign ? place : MANIFEST_V3;
        struct buf record = {0};
        struct buf seed = {0};
        struct rd r;

        if (place < 4) {
            CHECK(manifest_encode(gen_manifest(g, foreign), version, &record, &e) == 0);
        } else {
            gen_recovery_info(g, &info);
            CHECK(recovery_info_encode(&info, &record, &e) == 0);
        }
        buf_put_u8(&seed, (uint8_t)place);
        r = rd_of(record.data + 1, record.len - 1);
        if (foreign) {
            CHECK(snappy_block_get(llio_string(&r), MANIFEST_RAW_BYTES_MAX, &seed) == 0);
        } else if (place == 3 || place == 5) {
            CHECK(manifest_seal_get(&r, record.data[0], MANIFEST_RAW_BYTES_MAX, &seed, &e) == 0);
        } else {
            buf_put(&seed, record.data, record.len);
        }
        write_seed("manifest", place, &seed);
        buf_release(&record);
        buf_release(&seed);
        gen_release(g);
    }
}

/* A last chunk that is larger than the others, which no encoder of ours writes. */
static void write_larger_last(struct gen *g)
{
    static const uint8_t places[] = {2, 3};
    struct manifest m;
    struct err e;

    manifest_copy(&m, gen_manifest(g, true));
    manifest_alloc_chunks(&m, 2);
    m.chunk_bytes[0] = 4096 * m.scheme.k;
    m.chunk_bytes[1] = 65536 * m.scheme.k;
    m.size_bytes = m.chunk_bytes[0] + m.chunk_bytes[1];
    for (uint32_t i = 0; i < 2; i++) {
        struct buf seed = {0}, record = {0};
        struct rd r;

        buf_put_u8(&seed, places[i]);
        if (places[i] == 2) {
            manifest_v12_put(&seed, &m, MANIFEST_V2);
        } else {
            buf_put_u8(&record, MANIFEST_V3);
            CHECK(manifest_v3_put(&record, &m, &e) == 0);
            r = rd_of(record.data + 1, record.len - 1);
            CHECK(manifest_seal_get(&r, MANIFEST_V3, MANIFEST_RAW_BYTES_MAX, &seed, &e) == 0);
        }
        write_seed("manifest", 6 + i, &seed);
        buf_release(&record);
        buf_release(&seed);
    }
    manifest_release(&m);
    gen_release(g);
}

int main(int argc, char **argv)
{
    struct gen g;

    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_wire_corpus FOLDER\n");
        return 2;
    }
    folder = argv[1];
    gen_init(&g, 11);
    write_asd(&g);
    write_proxy(&g);
    write_manifests(&g);
    write_larger_last(&g);
    return 0;
}
