#include "e2e/nbd_stamp_table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/rnd.h"

enum { TABLE_VERSION = 1, CRC_OFFSET = STAMP_BLOCK_BYTES - 4 };

static const char table_magic[8] = "NBDTABLE", stamp_magic[8] = "NBDSTAMP";

static int map_table(struct stamp_table *t, int fd, const char *path, struct err *e)
{
    struct stat st;
    void *map;

    if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof *t->header) {
        return err_set(e, ERR_CORRUPT, "%s: too short", path);
    }
    t->map_bytes = (size_t)st.st_size;
    map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return err_set(e, -errno, "%s: mmap", path);
    }
    t->header = map;
    t->blocks = (struct stamp_block *)(void *)(t->header + 1);
    return 0;
}

int stamp_table_open(struct stamp_table *t, const char *path, bool create, uint64_t first_block,
                     uint64_t block_count, struct err *e)
{
    size_t bytes = sizeof *t->header + block_count * sizeof *t->blocks;
    bool fresh = create && access(path, F_OK) != 0;
    int fd = open(path, O_RDWR | O_CLOEXEC | (fresh ? O_CREAT | O_EXCL : 0), 0600);
    int rc;

    *t = (struct stamp_table){0};
    if (fd < 0) {
        return err_set(e, -errno, "%s", path);
    }
    if (fresh && ftruncate(fd, (off_t)bytes) != 0) {
        rc = err_set(e, -errno, "%s", path);
        goto out;
    }
    rc = map_table(t, fd, path, e);
    if (rc != 0) {
        goto out;
    }
    if (fresh) {
        memcpy(t->header->magic, table_magic, sizeof table_magic);
        t->header->version = TABLE_VERSION;
        rnd_bytes(&t->header->seed, sizeof t->header->seed);
        t->header->first_block = first_block;
        t->header->block_count = block_count;
    }
    if (memcmp(t->header->magic, table_magic, sizeof table_magic) != 0 ||
        t->header->version != TABLE_VERSION ||
        t->header->block_count > t->map_bytes / sizeof *t->blocks ||
        t->map_bytes < sizeof *t->header + t->header->block_count * sizeof *t->blocks) {
        rc = err_set(e, ERR_CORRUPT, "%s: no table of stamps", path);
    }

out:
    close(fd);
    if (rc != 0) {
        stamp_table_close(t);
    }
    return rc;
}

void stamp_table_close(struct stamp_table *t)
{
    if (t->header != NULL) {
        munmap(t->header, t->map_bytes);
        t->header = NULL;
    }
}

void stamp_fill(uint8_t *ret_data, uint64_t seed, uint64_t block, uint64_t sequence)
{
    struct rnd r = rnd_seed(seed ^ block * UINT64_C(0x9e3779b97f4a7c15) ^ sequence << 20);

    memcpy(ret_data, stamp_magic, sizeof stamp_magic);
    put_u64le(ret_data + 8, seed);
    put_u64le(ret_data + 16, block);
    put_u64le(ret_data + 24, sequence);
    for (size_t at = 32; at < CRC_OFFSET; at += 8) {
        uint64_t word = rnd_next(&r);

        memcpy(ret_data + at, &word, at + 8 <= CRC_OFFSET ? 8 : CRC_OFFSET - at);
    }
    put_u32le(ret_data + CRC_OFFSET, crc32c(0, ret_data, CRC_OFFSET));
}

enum stamp_verdict stamp_judge(const uint8_t *data, uint64_t seed, uint64_t block, uint64_t floor,
                               uint64_t attempted, uint64_t *ret_sequence)
{
    static const uint8_t zeroes[STAMP_BLOCK_BYTES];
    uint64_t sequence = get_u64le(data + 24);

    *ret_sequence = 0;
    if (memcmp(data, zeroes, sizeof zeroes) == 0) {
        return floor == 0 ? STAMP_GOOD : STAMP_LOST;
    }
    if (get_u32le(data + CRC_OFFSET) != crc32c(0, data, CRC_OFFSET)) {
        return STAMP_TORN;
    }
    if (memcmp(data, stamp_magic, sizeof stamp_magic) != 0 || get_u64le(data + 8) != seed ||
        get_u64le(data + 16) != block || sequence > attempted) {
        return STAMP_FOREIGN;
    }
    *ret_sequence = sequence;
    return sequence >= floor ? STAMP_GOOD : STAMP_STALE;
}
