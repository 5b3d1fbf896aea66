/* GB/s per core of what a put does to its bytes: erasure code, CRC, lz4, packing.
 *
 * Usage: bench_policy [seconds per row]   (default 0.5)
 * Rates count object bytes (erasure code) or raw fragment bytes, by CPU time of this
 * thread; memcpy of the same size stands in the first rows as what the memory can do. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "policy/erasure.h"
#include "policy/fragment_read.h"
#include "repeat.h"

enum { FRAGMENT_BYTES = 4 << 20, SLICE_BYTES = 32768, FRAGMENTS = PRESET_FRAGMENTS_MAX };

struct bench {
    uint8_t *at[FRAGMENTS]; /* fragments, FRAGMENT_BYTES each */
    uint8_t *soft;          /* one fragment that lz4 halves, about */
    uint8_t *image;
    uint8_t *trailer;
    struct erasure_decoder decoder;
    const struct erasure *code;
    struct fragment_ref ref;
    struct fragment_index index;
};

static double seconds_per_row = 0.5;

/* Repeat `run`, which handles `bytes`, and print a row. */
static void measure(struct bench *b, const char *name, uint64_t bytes, void (*run)(struct bench *))
{
    struct repeat_took took = repeat_for(seconds_per_row, run, b);
    double gb = (double)(bytes * took.rounds) / 1e9;

    printf("%-44s %8.2f GB/s  %7.3f CPU-s/GB  %6.2f s wall %6.2f s CPU\n", name, gb / took.cpu_s,
           took.cpu_s / gb, took.wall_s, took.cpu_s);
}

static void run_memcpy_large(struct bench *b)
{
    memcpy(b->at[1], b->at[0], FRAGMENT_BYTES);
}

static void run_memcpy_hot(struct bench *b)
{
    for (int i = 0; i < FRAGMENT_BYTES / SLICE_BYTES; i++) {
        memcpy(b->image, b->at[0], SLICE_BYTES);
        __asm__ volatile("" ::"r"(b->image) : "memory");
    }
}

static void run_crc_large(struct bench *b)
{
    b->index.payload_bytes ^= crc32c(0, b->at[0], FRAGMENT_BYTES);
}

static void run_crc_4k(struct bench *b)
{
    for (int i = 0; i < FRAGMENT_BYTES / 4096; i++) {
        b->index.payload_bytes ^= crc32c(0, b->at[0], 4096);
    }
}

static void run_encode(struct bench *b)
{
    erasure_encode(b->code, FRAGMENT_BYTES, (const uint8_t *const *)b->at, b->at + b->code->k);
}

/* Slice by slice: what the pipeline does, so that packing finds the slice in the cache. */
static void run_encode_sliced(struct bench *b)
{
    uint8_t *at[FRAGMENTS];

    memcpy(at, b->at, sizeof at);
    for (uint32_t done = 0; done < FRAGMENT_BYTES; done += SLICE_BYTES) {
        erasure_encode(b->code, SLICE_BYTES, (const uint8_t *const *)at, at + b->code->k);
        for (int i = 0; i < FRAGMENTS; i++) {
            at[i] += SLICE_BYTES;
        }
    }
}

static void run_encode_add(struct bench *b)
{
    for (uint32_t i = 0; i < b->code->m; i++) {
        memset(b->at[b->code->k + i], 0, FRAGMENT_BYTES);
    }
    for (uint32_t i = 0; i < b->code->k; i++) {
        erasure_encode_add(b->code, FRAGMENT_BYTES, i, b->at[i], b->at + b->code->k);
    }
}

/* The first m fragments are lost. */
static void run_decode(struct bench *b)
{
    erasure_decode(&b->decoder, FRAGMENT_BYTES, (const uint8_t *const *)b->at + b->code->m, b->at);
}

static void pack(struct bench *b, const uint8_t *raw, enum compress_codec codec)
{
    static const uint8_t salt[FRAGMENT_SALT_BYTES] = {1};
    uint32_t crc;

    b->ref.shape = fragment_shape_of(FRAGMENT_BYTES, codec, CIPHER_NONE);
    b->ref.stored_bytes = fragment_pack(&b->ref.id, &b->ref.shape, NULL, salt, raw, b->image, &crc);
}

static void run_pack_lz4_soft(struct bench *b)
{
    pack(b, b->soft, COMPRESS_LZ4);
}

static void run_pack_lz4_hard(struct bench *b)
{
    pack(b, b->at[0], COMPRESS_LZ4);
}

static void run_pack_plain(struct bench *b)
{
    pack(b, b->at[0], COMPRESS_NONE);
}

/* Trailer only; the payload is sent from where it is. */
static void run_pack_in_place(struct bench *b)
{
    static const uint8_t salt[FRAGMENT_SALT_BYTES] = {1};
    struct fragment_shape shape = fragment_shape_of(FRAGMENT_BYTES, COMPRESS_NONE, CIPHER_NONE);
    struct fragment_packer p;
    uint32_t bytes, crc;

    fragment_pack_start(&p, &b->ref.id, &shape, NULL, salt, NULL, b->trailer);
    fragment_pack_add(&p, b->at[0], FRAGMENT_BYTES);
    fragment_pack_end(&p, &bytes, &crc);
}

/* One chunk of 4+2, slice by slice: encode, then trailer of all six fragments. */
static void run_put_plain(struct bench *b)
{
    static const uint8_t salt[FRAGMENT_SALT_BYTES] = {1};
    struct fragment_shape shape = fragment_shape_of(FRAGMENT_BYTES, COMPRESS_NONE, CIPHER_NONE);
    uint32_t trailer_bytes = fragment_trailer_bytes(&shape);
    struct fragment_packer packers[6];
    uint8_t *at[6];
    uint32_t bytes, crc;

    memcpy(at, b->at, sizeof at);
    for (uint32_t i = 0; i < 6; i++) {
        fragment_pack_start(&packers[i], &b->ref.id, &shape, NULL, salt, NULL,
                            b->trailer + (size_t)i * trailer_bytes);
    }
    for (uint32_t done = 0; done < FRAGMENT_BYTES; done += SLICE_BYTES) {
        erasure_encode(b->code, SLICE_BYTES, (const uint8_t *const *)at, at + 4);
        for (uint32_t i = 0; i < 6; i++) {
            fragment_pack_add(&packers[i], at[i], SLICE_BYTES);
            at[i] += SLICE_BYTES;
        }
    }
    for (uint32_t i = 0; i < 6; i++) {
        fragment_pack_end(&packers[i], &bytes, &crc);
    }
}

static void run_unpack(struct bench *b)
{
    struct err e;

    if (fragment_unpack(&b->ref, b->image, b->ref.stored_bytes, b->at[1], &e) != 0) {
        fprintf(stderr, "bench_policy: %s\n", e.msg);
        exit(1);
    }
}

static void bench_code(struct bench *b, uint32_t k, uint32_t m)
{
    uint64_t bytes = (uint64_t)k * FRAGMENT_BYTES;
    uint8_t have[PRESET_K_MAX], want[PRESET_M_MAX];
    char name[64];

    b->code = erasure_get(k, m);
    for (uint32_t i = 0; i < k; i++) {
        have[i] = (uint8_t)(m + i);
    }
    for (uint32_t i = 0; i < m; i++) {
        want[i] = (uint8_t)i;
    }
    erasure_decoder_init(&b->decoder, b->code, have, want, m);
    snprintf(name, sizeof name, "encode %" PRIu32 "+%" PRIu32 ", whole fragments", k, m);
    measure(b, name, bytes, run_encode);
    snprintf(name, sizeof name, "encode %" PRIu32 "+%" PRIu32 ", 32 KiB slices", k, m);
    measure(b, name, bytes, run_encode_sliced);
    snprintf(name, sizeof name, "encode %" PRIu32 "+%" PRIu32 ", fragment by fragment", k, m);
    measure(b, name, bytes, run_encode_add);
    snprintf(name, sizeof name, "decode %" PRIu32 "+%" PRIu32 ", %" PRIu32 " data lost", k, m, m);
    measure(b, name, bytes, run_decode);
}

static void bench_init(struct bench *b)
{
    struct rnd rnd = rnd_seed(1);

    for (int i = 0; i < FRAGMENTS; i++) {
        b->at[i] = mem_aligned(4096, FRAGMENT_BYTES);
        for (size_t at = 0; at < FRAGMENT_BYTES; at += 8) {
            uint64_t word = rnd_next(&rnd);

            memcpy(b->at[i] + at, &word, 8);
        }
    }
    b->soft = mem_aligned(4096, FRAGMENT_BYTES);
    memcpy(b->soft, b->at[0], FRAGMENT_BYTES);
    for (size_t at = 0; at < FRAGMENT_BYTES; at += 64) {
        memset(b->soft + at, 0, 32);
    }
    b->image = mem_aligned(4096, FRAGMENT_BYTES + (1 << 20));
    b->trailer = mem_alloc(1 << 20);
}

static void bench_release(struct bench *b)
{
    for (int i = 0; i < FRAGMENTS; i++) {
        free(b->at[i]);
    }
    free(b->soft);
    free(b->image);
    free(b->trailer);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    struct utsname host;

    if (argc > 1) {
        seconds_per_row = strtod(argv[1], NULL);
    }
    uname(&host);
    printf("host %s %s %s, one thread, fragments of %d bytes, %.2f s per row\n", host.nodename,
           host.release, host.machine, FRAGMENT_BYTES, seconds_per_row);

    bench_init(&b);
    measure(&b, "reference: memcpy, 4 MiB", FRAGMENT_BYTES, run_memcpy_large);
    measure(&b, "reference: memcpy, 32 KiB in cache", FRAGMENT_BYTES, run_memcpy_hot);
    measure(&b, "crc32c, 4 MiB", FRAGMENT_BYTES, run_crc_large);
    measure(&b, "crc32c, 4 KiB in cache", FRAGMENT_BYTES, run_crc_4k);
    bench_code(&b, 4, 2);
    bench_code(&b, 16, 4);
    measure(&b, "pack lz4, half of it zeroes", FRAGMENT_BYTES, run_pack_lz4_soft);
    measure(&b, "unpack that", FRAGMENT_BYTES, run_unpack);
    measure(&b, "pack lz4, random bytes (stored raw)", FRAGMENT_BYTES, run_pack_lz4_hard);
    measure(&b, "unpack that", FRAGMENT_BYTES, run_unpack);
    measure(&b, "pack plain, copied", FRAGMENT_BYTES, run_pack_plain);
    measure(&b, "unpack that", FRAGMENT_BYTES, run_unpack);
    measure(&b, "pack plain, payload left in place", FRAGMENT_BYTES, run_pack_in_place);
    b.code = erasure_get(4, 2);
    measure(&b, "put 4+2 plain: encode and pack, slices", 4ull * FRAGMENT_BYTES, run_put_plain);
    bench_release(&b);
    return 0;
}
