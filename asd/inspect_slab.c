/* Slab files and their records; which page of a slab is whose. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "asd/inspect_private.h"
#include "asd/slab_file.h"
#include "base/mem.h"

enum {
    CHUNK_PAGES = 16384, /* 64 MiB of a slab */
    CHUNK_BYTES = CHUNK_PAGES / 2,
    OPEN_FILES_MAX = 256,
};

/* ---- the table ---- */

struct inspect_slab *inspect_slab_find(struct inspect *in, uint64_t number)
{
    struct inspect_slab *slab;

    HASH_FIND(hh, in->slabs, &number, sizeof(number), slab);
    return slab;
}

struct inspect_slab *inspect_slab_add(struct inspect *in, uint64_t number,
                                      const struct asd_slab_record *record)
{
    struct inspect_slab *slab = mem_zalloc(sizeof(*slab));

    slab->seen.number = number;
    slab->fd = -1;
    if (record != NULL) {
        uint64_t chunk_span = (uint64_t)CHUNK_PAGES * ASD_SLAB_ALIGN_BYTES;

        slab->seen.has_record = true;
        slab->seen.record = *record;
        slab->chunk_count = (size_t)(record->tail / chunk_span + 1);
    }
    HASH_ADD(hh, in->slabs, seen.number, sizeof(slab->seen.number), slab);
    return slab;
}

static void close_file(struct inspect *in, struct inspect_slab *slab)
{
    if (slab->fd >= 0) {
        in->home.io->ops->close(in->home.io, slab->fd);
        slab->fd = -1;
        in->open_files--;
    }
}

void inspect_slabs_release(struct inspect *in)
{
    struct inspect_slab *slab;
    struct inspect_slab *next;

    HASH_ITER (hh, in->slabs, slab, next) {
        close_file(in, slab);
        for (size_t i = 0; slab->pages != NULL && i < slab->chunk_count; i++) {
            free(slab->pages[i]);
        }
        free(slab->pages);
        HASH_DEL(in->slabs, slab);
        free(slab);
    }
}

/* ---- pages ---- */

unsigned inspect_slab_bits(const struct inspect_slab *slab, uint64_t offset)
{
    uint64_t page = offset / ASD_SLAB_ALIGN_BYTES;
    const uint8_t *chunk = slab->pages != NULL ? slab->pages[page / CHUNK_PAGES] : NULL;
    unsigned shift = page % 2 == 0 ? 0 : 4;

    return chunk != NULL ? (unsigned)chunk[page % CHUNK_PAGES / 2] >> shift & 0xf : 0;
}

unsigned inspect_slab_mark(struct inspect_slab *slab, uint64_t offset, uint64_t bytes,
                           unsigned bits)
{
    unsigned before = 0;

    if (slab->pages == NULL) {
        slab->pages = mem_array(slab->chunk_count, sizeof(slab->pages[0]));
    }
    for (uint64_t at = offset; at < offset + bytes; at += ASD_SLAB_ALIGN_BYTES) {
        uint64_t page = at / ASD_SLAB_ALIGN_BYTES;
        uint8_t **chunk = &slab->pages[page / CHUNK_PAGES];

        if (*chunk == NULL) {
            *chunk = mem_zalloc(CHUNK_BYTES);
        }
        before |= inspect_slab_bits(slab, at);
        (*chunk)[page % CHUNK_PAGES / 2] |= (uint8_t)(bits << (page % 2 == 0 ? 0 : 4));
    }
    return before;
}

/* ---- files ---- */

int inspect_slab_fd(struct inspect *in, struct inspect_slab *slab)
{
    struct io *io = in->home.io;
    struct inspect_slab *other;
    struct inspect_slab *next;
    char *path;

    if (slab->fd >= 0) {
        return slab->fd;
    }
    if (in->open_files == OPEN_FILES_MAX) {
        HASH_ITER (hh, in->slabs, other, next) {
            close_file(in, other);
        }
    }
    path = asd_slab_path(&in->home, slab->seen.number);
    slab->fd = io->ops->open(io, path, IO_OPEN_READ);
    in->open_files += slab->fd >= 0;
    free(path);
    return slab->fd;
}

static bool see_file(void *ctx, const char *name)
{
    struct inspect *in = ctx;
    uint64_t number;
    struct inspect_slab *slab;

    if (!asd_slab_name_parse(name, &number)) {
        inspect_found(in, ASD_FINDING_NOTE, "slabs/%.100s: not a slab; it is left alone", name);
        return true;
    }
    slab = inspect_slab_find(in, number);
    if (slab == NULL) {
        slab = inspect_slab_add(in, number, NULL);
        inspect_found(in, ASD_FINDING_SETTLED,
                      "slab %" PRIu64 " is a file that no record names: it is %s at start", number,
                      in->index->is_torn ? "put into torn/" : "removed");
    }
    slab->seen.has_file = true;
    return true;
}

/* 0, or what is wrong with the file. */
static int check_file(struct inspect *in, struct inspect_slab *slab, struct err *e)
{
    uint64_t size_bytes = slab->seen.record.size_bytes;
    int fd = inspect_slab_fd(in, slab);
    int rc = fd < 0 ? err_set(e, fd, "open")
                    : asd_slab_header_check(&in->home, fd, slab->seen.number, size_bytes, e);

    return rc != 0 ? rc : asd_slab_size_check(&in->home, fd, size_bytes, e);
}

/* Fails when it could not be looked at. */
static int check_slab(struct inspect *in, struct inspect_slab *slab, struct err *e)
{
    const struct asd_slab_record *record = &slab->seen.record;
    uint64_t number = slab->seen.number;
    int rc;

    if (number >= in->out->usage.next_slab) {
        inspect_found(in, ASD_FINDING_DAMAGE,
                      "slab %" PRIu64 " is named, but the next new one would be %" PRIu64, number,
                      in->out->usage.next_slab);
    }
    if (record->sealed && record->live_bytes == 0) {
        inspect_found(in, ASD_FINDING_SETTLED,
                      "slab %" PRIu64 " holds no value: it is removed at start", number);
        return 0;
    }
    if (!slab->seen.has_file && record->live_bytes == 0) {
        inspect_found(in, ASD_FINDING_SETTLED,
                      "slab %" PRIu64 " has no file, and no value: it is given up at start",
                      number);
        return 0;
    }
    if (!slab->seen.has_file) {
        inspect_found(in, ASD_FINDING_DAMAGE,
                      "slab %" PRIu64 " has no file: values of %" PRIu64 " bytes are lost", number,
                      record->live_bytes);
        return 0;
    }
    rc = check_file(in, slab, e);
    if (inspect_is_damage(rc)) {
        inspect_found(in, ASD_FINDING_DAMAGE, "slab %" PRIu64 ": %s", number, e->msg);
        return 0;
    }
    if (rc != 0) {
        return err_wrap(e, "slab %" PRIu64, number);
    }
    slab->usable = true;
    if (!record->sealed && record->tail < record->size_bytes) {
        off_t data = lseek(slab->fd, (off_t)record->tail, SEEK_DATA);

        if (data >= 0 && (uint64_t)data < record->size_bytes) {
            inspect_found(in, ASD_FINDING_SETTLED,
                          "slab %" PRIu64 " has bytes behind its tail, of a commit that did not "
                          "happen: they are punched at %s start",
                          number, in->index->is_torn ? "the next but one" : "the next");
        }
    }
    return 0;
}

int inspect_slab_files(struct inspect *in, struct err *e)
{
    struct io *io = in->home.io;
    struct inspect_slab *slab;
    struct inspect_slab *next;
    unsigned open_slabs = 0;
    int rc = io->ops->list_dir(io, in->home.slabs_path, see_file, in);

    if (rc == -ENOENT) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%s is gone", in->home.slabs_path);
    } else if (rc != 0) {
        return err_set(e, rc, "%s", in->home.slabs_path);
    }
    HASH_ITER (hh, in->slabs, slab, next) {
        if (slab->seen.has_record) {
            open_slabs += !slab->seen.record.sealed;
            rc = check_slab(in, slab, e);
            if (rc != 0) {
                return rc;
            }
        }
        if (in->options->verify) {
            in->bytes_wanted += slab->seen.record.live_bytes;
        }
    }
    if (open_slabs > 1) {
        inspect_found(in, ASD_FINDING_DAMAGE, "%u slabs are not sealed; there may be one",
                      open_slabs);
    }
    return 0;
}

/* ---- totals ---- */

/* Names of places where no value begins. Damage to a value record leaves such, too. */
static uint64_t count_stray_names(const struct inspect_slab *slab)
{
    uint64_t count = 0;

    for (uint64_t at = 0; slab->pages != NULL && at < slab->seen.record.tail;
         at += ASD_SLAB_ALIGN_BYTES) {
        unsigned bits = inspect_slab_bits(slab, at);

        count += (bits & PAGE_NAME) != 0 && (bits & PAGE_VALUE_BEGINS) == 0;
    }
    return count;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct asd_inspected_slab *)a)->number;
    uint64_t y = ((const struct asd_inspected_slab *)b)->number;

    return (x > y) - (x < y);
}

void inspect_slab_totals(struct inspect *in)
{
    struct asd_inspection *out = in->out;
    struct inspect_slab *slab;
    struct inspect_slab *next;
    uint64_t strays = 0;

    out->slabs = mem_array(HASH_COUNT(in->slabs), sizeof(out->slabs[0]));
    HASH_ITER (hh, in->slabs, slab, next) {
        const struct asd_inspected_slab *seen = &slab->seen;

        out->slabs[out->slab_count++] = *seen;
        strays += count_stray_names(slab);
        if (seen->live_bytes != seen->record.live_bytes && in->bad_values == 0 && out->is_whole) {
            inspect_found(in, ASD_FINDING_DAMAGE,
                          "slab %" PRIu64 ": its record counts %" PRIu64
                          " live bytes, its values have %" PRIu64,
                          seen->number, seen->record.live_bytes, seen->live_bytes);
        }
    }
    if (out->slab_count != 0) {
        qsort(out->slabs, out->slab_count, sizeof(out->slabs[0]), by_number);
    }
    if (strays != 0) {
        inspect_found(in, ASD_FINDING_NOTE,
                      "%" PRIu64 " name records of places where no value begins", strays);
    }
    if (in->nameless != 0) {
        inspect_found(in, ASD_FINDING_NOTE,
                      "%" PRIu64 " values in slabs have no name record (older software wrote them)",
                      in->nameless);
    }
}
