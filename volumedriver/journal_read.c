/* Pieces come in the order of the volume; in the journal they lie in the order of the writes. So
 * they are sorted, and what lies close together is read by one call, straight to where it
 * belongs; headers of frames and other volumes' data in between go to waste. */
#include "volumedriver/journal_read.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/journal_private.h"

enum {
    GAP_BYTES_MAX = 8 * FRAME_BLOCK_BYTES, /* cheaper to read than another call */
    IOVS_MAX = 256,
};

struct place {
    uint64_t offset;
    const struct journal_piece *piece;
};

struct gather {
    struct iovec iovs[IOVS_MAX];
    int iov_count;
    uint64_t offset; /* of the first byte */
    uint64_t end;
    size_t first; /* place */
    uint8_t waste[GAP_BYTES_MAX];
};

static uint64_t piece_offset(const struct journal_piece *p)
{
    return p->record->data_offset + (uint64_t)p->skip * FRAME_BLOCK_BYTES;
}

static size_t piece_bytes(const struct journal_piece *p)
{
    return (size_t)p->count * FRAME_BLOCK_BYTES;
}

static int by_offset(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* True when all came in one call. Anything else is found out piece by piece. */
static bool read_gather(struct journal *j, const struct gather *g)
{
    return j->io->ops->preadv(j->io, j->fd, g->iovs, g->iov_count, g->offset) ==
           (ssize_t)(g->end - g->offset);
}

static int read_alone(struct journal *j, const struct place *places, size_t count,
                      const struct journal_piece **ret_bad)
{
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        *ret_bad = places[i].piece;
        rc = io_read_full(j->io, j->fd, places[i].piece->data, piece_bytes(places[i].piece),
                          places[i].offset);
    }
    return rc;
}

/* The piece is added when it lies close behind what is there. */
static bool gather_add(struct gather *g, const struct place *p)
{
    uint64_t gap = p->offset - g->end;

    if (g->iov_count != 0 &&
        (p->offset < g->end || gap > GAP_BYTES_MAX || g->iov_count + 2 > IOVS_MAX)) {
        return false;
    }
    if (g->iov_count == 0) {
        g->offset = p->offset;
    } else if (gap != 0) {
        g->iovs[g->iov_count++] = (struct iovec){.iov_base = g->waste, .iov_len = (size_t)gap};
    }
    g->iovs[g->iov_count++] =
        (struct iovec){.iov_base = p->piece->data, .iov_len = piece_bytes(p->piece)};
    g->end = p->offset + piece_bytes(p->piece);
    return true;
}

static int read_places(struct journal *j, const struct place *places, size_t count,
                       const struct journal_piece **ret_bad)
{
    struct gather g;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0;) {
        g.iov_count = 0;
        g.end = 0;
        g.first = i;
        while (i < count && gather_add(&g, &places[i])) {
            i++;
        }
        if (!read_gather(j, &g)) {
            rc = read_alone(j, &places[g.first], i - g.first, ret_bad);
        }
    }
    return rc;
}

static int check(const struct journal_piece *p)
{
    for (uint32_t c = 0; c < p->count; c++) {
        if (crc32c(0, p->data + (size_t)c * FRAME_BLOCK_BYTES, FRAME_BLOCK_BYTES) !=
            p->record->crcs[p->skip + c]) {
            return ERR_CORRUPT;
        }
    }
    return 0;
}

static void read_run(struct pool_work *work)
{
    struct journal_read *read = container_of(work, struct journal_read, work);
    struct place *places = mem_array(read->piece_count + (size_t)1, sizeof(*places));
    const struct journal_piece *bad = NULL;

    for (uint32_t i = 0; i < read->piece_count; i++) {
        places[i] = (struct place){piece_offset(&read->pieces[i]), &read->pieces[i]};
    }
    qsort(places, read->piece_count, sizeof(*places), by_offset);
    read->rc = read_places(read->journal, places, read->piece_count, &bad);
    for (uint32_t i = 0; i < read->piece_count && read->rc == 0; i++) {
        bad = places[i].piece;
        read->rc = check(bad);
    }
    if (read->rc != 0) {
        err_set(&read->err, read->rc, "journal %s: record %" PRIu64 " at %" PRIu64,
                read->journal->path, bad->record->seq, piece_offset(bad));
        read->bad = read->rc == ERR_CORRUPT ? bad->record : NULL;
    }
    free(places);
}

static void read_done(struct pool_work *work, int rc)
{
    struct journal_read *read = container_of(work, struct journal_read, work);
    struct journal *j = read->journal;

    j->reads--;
    read->cb(read, rc != 0 ? rc : read->rc);
    journal_kick(j);
}

int journal_read(struct journal *j, struct journal_read *read, journal_read_cb cb)
{
    int rc;

    read->journal = j;
    read->rc = 0;
    read->bad = NULL;
    read->cb = cb;
    rc = pool_submit(j->read_pool, &read->work, POOL_HIGH, read_run, read_done);
    j->reads += rc == 0;
    return rc;
}
