/* Writes seeds for the targets of the ASD and of the framer: what our own encoders make.
 *
 * Usage: fuzz_asd_corpus FOLDER */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "asd/home.h"
#include "asd/mark.h"
#include "asd/record.h"
#include "asd/scrub_record.h"
#include "base/check.h"
#include "base/mem.h"

static const char *folder;
static unsigned seed_number;

static void write_seed(const char *target, const struct buf *b)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/seed_%02u", folder, target, seed_number++);
    f = fopen(path, "wb");
    CHECK(f != NULL);
    CHECK(fwrite(b->data, 1, b->len, f) == b->len);
    CHECK(fclose(f) == 0);
}

/* ---- records: kinds as in fuzz_asd_record.c ---- */

static void write_record(uint8_t kind, struct slice key, struct buf *record)
{
    struct buf seed = {0};

    buf_put_u8(&seed, kind);
    buf_put_u8(&seed, (uint8_t)key.len);
    buf_put(&seed, key.data, key.len);
    buf_put(&seed, record->data, record->len);
    write_seed("asd_record", &seed);
    seed.data[0] |= 128; /* whose checksum the target makes right */
    write_seed("asd_record", &seed);
    buf_release(&seed);
    record->len = 0;
}

static void write_value(struct asd_value_record r)
{
    struct buf key = {0};
    struct buf record = {0};

    asd_key_value_put(&key, slice_str("some key"));
    asd_value_record_put(&record, slice_buf(&key), &r);
    buf_put(&record, r.value.data, r.value.len);
    write_record(4, slice_buf(&key), &record);
    buf_release(&key);
    buf_release(&record);
}

static void write_records(void)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_STORE);
    struct asd_store_record store = {.store_id = "fifteen letters"};
    struct asd_usage_record usage = {.used_bytes = 1 << 20, .next_slab = 3, .commit = 77};
    struct asd_slab_record slab = {.size_bytes = 1 << 20, .tail = 8192, .live_bytes = 4096};
    struct asd_free_record free_record = {.bytes = 8192};
    struct asd_scrub_record scrub = {.pass = 3, .running = true, .next = slice_str("some key")};
    struct asd_name_record name = {.client_key = slice_str("some key")};
    struct buf b = {0};

    asd_store_record_put(&b, asd_internal_slice(&key), &store);
    write_record(0, asd_internal_slice(&key), &b);
    key = asd_key_of(ASD_KEY_USAGE);
    asd_usage_record_put(&b, asd_internal_slice(&key), &usage);
    write_record(1, asd_internal_slice(&key), &b);
    key = asd_key_slab(2);
    asd_slab_record_put(&b, asd_internal_slice(&key), &slab);
    write_record(2, asd_internal_slice(&key), &b);
    key = asd_key_free(2, 4096);
    asd_free_record_put(&b, asd_internal_slice(&key), &free_record);
    write_record(3, asd_internal_slice(&key), &b);
    write_record(6, asd_internal_slice(&key), &b);
    key = asd_key_name(2, 4096);
    asd_name_record_put(&b, asd_internal_slice(&key), &name);
    write_record(5, asd_internal_slice(&key), &b);
    write_record(6, asd_internal_slice(&key), &b);
    key = asd_key_of(ASD_KEY_SCRUB);
    asd_scrub_record_put(&b, asd_internal_slice(&key), &scrub);
    write_record(7, asd_internal_slice(&key), &b);
    buf_release(&b);
    write_value((struct asd_value_record){
        .checksum = checksum_none(), .bytes = 5, .value = slice_str("hello")});
    write_value((struct asd_value_record){.checksum = checksum_crc32c(7), .assertable = true});
    write_value((struct asd_value_record){.checksum = {.algo = CHECKSUM_SHA1},
                                          .bytes = 20000,
                                          .in_slab = true,
                                          .slab = 2,
                                          .offset = 4096});
}

/* ---- files of a home: kinds as in fuzz_asd_home.c ---- */

static void write_file(uint8_t kind, const void *data, size_t bytes)
{
    struct buf seed = {0};

    buf_put_u8(&seed, kind);
    buf_put(&seed, data, bytes);
    write_seed("asd_home", &seed);
    seed.data[0] |= 128;
    write_seed("asd_home", &seed);
    buf_release(&seed);
}

static void write_home(void)
{
    struct asd_slab_header header = {.number = 5, .size_bytes = 1 << 20};
    struct asd_home home = {.asd_id = mem_strdup("asd_1"), .node_id = mem_strdup("node 1")};
    uint8_t slab[ASD_SLAB_HEADER_BYTES];
    uint8_t mark[ASD_MARK_BYTES];
    struct buf b = {0};

    asd_slab_header_encode(slab, &header);
    write_file(0, slab, sizeof(slab));
    write_file(0, slab, 48);
    asd_identity_encode(&b, &home);
    write_file(1, b.data, b.len);
    asd_mark_encode(mark, header.store_id, 99);
    write_file(2, mark, sizeof(mark));
    asd_home_release(&home);
    buf_release(&b);
}

/* ---- streams: flags, seed, program length, program, plain bytes: fuzz_net_framer.c ---- */

static void write_streams(void)
{
    static const uint8_t program[] = {0, 1, 3, 127, 128, 200, 239, 240, 254, 4, 255, 17, 250};
    static const uint8_t plain[] = {4, 0, 0, 0, 'a', 'b', 'c', 'd', 0, 0, 0, 0, 1, 0, 0, 0, 'z'};

    for (unsigned flags = 0; flags < 32; flags++) {
        struct buf seed = {0};

        buf_put_u8(&seed, (uint8_t)flags);
        buf_put_u8(&seed, (uint8_t)(flags * 7 + 3));
        buf_put_u8(&seed, (uint8_t)(sizeof(program) - flags % 3));
        buf_put(&seed, program, sizeof(program) - flags % 3);
        buf_put(&seed, plain, sizeof(plain));
        write_seed("net_framer", &seed);
        buf_release(&seed);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_asd_corpus FOLDER\n");
        return 2;
    }
    folder = argv[1];
    write_records();
    seed_number = 0;
    write_home();
    seed_number = 0;
    write_streams();
    return 0;
}
