/* Replay, first half: which frames of the file prove themselves. Records are decoded while their
 * segment is in memory. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/journal_replay.h"

enum {
    READ_CHUNK_BYTES = 1048576,
    READ_THREADS = 8, /* reads in flight: a disk gives several times what it gives to one */
    UNREADABLE_BLOCKS_MAX = JOURNAL_FRAMES_IN_FLIGHT * (FRAME_BYTES_MAX / FRAME_BLOCK_BYTES),
};

struct first { /* a segment, by what its first header says */
    uint32_t segment;
    bool good;
    struct frame_header h;
};

static bool own(const struct replay *r, const struct frame_header *h, uint64_t offset)
{
    return memcmp(h->journal_id, r->j->id, UUID_BYTES) == 0 && h->offset == offset &&
           h->segment_bytes == r->j->segment_bytes && h->lsn >= h->first_lsn;
}

static void decode_item(struct found *f, const struct frame_extent *x, const uint8_t *data,
                        uint64_t data_offset)
{
    struct found_item *item = &f->items[f->item_count++];
    struct record *record;
    struct frame_sco sco;

    memcpy(item->volume, x->volume, UUID_BYTES);
    item->item = (struct tail_item){.lsn = f->h.lsn,
                                    .seq = x->seq,
                                    .a = x->a,
                                    .b = x->b,
                                    .epoch = x->epoch,
                                    .op = x->op,
                                    .kind = x->kind};
    item->data_offset = data_offset;
    if (x->op == FRAME_OP_SCO) {
        frame_sco_decode(x, &sco);
        item->item.predecessor = sco.predecessor;
        item->item.generation = sco.generation;
    } else if (!frame_op_is_data(x->op)) {
        return;
    }
    record = record_new(x->op, x->a, x->op == FRAME_OP_SCO ? 1 : x->count);
    record->seq = x->seq;
    record->lsn = f->h.lsn;
    record->epoch = x->epoch;
    for (uint32_t i = 0; i < frame_extent_data_blocks(x); i++) {
        record->crcs[i] = get_u32le(x->crcs + 4 * (size_t)i);
        item->item.bad = item->item.bad || crc32c(0, data + (size_t)i * FRAME_BLOCK_BYTES,
                                                  FRAME_BLOCK_BYTES) != record->crcs[i];
    }
    item->item.record = record;
    f->bad = f->bad || item->item.bad;
}

/* Takes the frame at `at` in the buffer when it proves itself; its bytes, or 0. */
static size_t take_frame(struct replay *r, uint32_t segment, uint64_t at, const uint8_t *salt)
{
    uint64_t offset = segment_offset(r->j, segment) + at;
    const uint8_t *header = r->buffer + at, *data;
    struct frame_header h;
    struct found *f;
    struct rd extents;
    int rc;

    if (frame_header_peek(header, &h) == ERR_CORRUPT || !own(r, &h, offset) ||
        frame_bytes(&h) > r->j->segment_bytes - at ||
        (salt != NULL && memcmp(h.salt, salt, UUID_BYTES) != 0)) {
        return 0;
    }
    rc = frame_header_check(header, &h);
    if (rc == ERR_CORRUPT) {
        return 0;
    }
    if (r->count == r->cap) {
        r->cap = r->cap != 0 ? r->cap * 2 : 1024;
        r->frames = mem_realloc(r->frames, r->cap * sizeof(*r->frames));
    }
    f = &r->frames[r->count++];
    *f = (struct found){.h = h, .segment = segment, .unknown = rc != 0};
    f->items = mem_array(h.extent_count + (size_t)1, sizeof(*f->items));
    extents = frame_extents(header, &h);
    data = header + (size_t)h.header_blocks * FRAME_BLOCK_BYTES;
    for (uint32_t i = 0; i < h.extent_count && !f->unknown; i++) {
        struct frame_extent x;

        frame_extent_decode(&extents, &x);
        decode_item(f, &x, data, offset + (uint64_t)(data - header));
        data += (size_t)frame_extent_data_blocks(&x) * FRAME_BLOCK_BYTES;
    }
    r->release_lsn = h.release_lsn > r->release_lsn ? h.release_lsn : r->release_lsn;
    return (size_t)frame_bytes(&h);
}

static int read_at(struct replay *r, uint64_t at, uint64_t offset, uint64_t bytes)
{
    return io_read_full(r->j->io, r->fd, r->buffer + at, (size_t)bytes, offset + at);
}

struct chunks { /* of a segment */
    struct replay *r;
    uint64_t offset;
    uint64_t end;
    atomic_uint next; /* one that nobody has taken */
    int *rcs;
};

static uint64_t chunk_bytes(const struct chunks *c, uint64_t at)
{
    return c->end - at < READ_CHUNK_BYTES ? c->end - at : READ_CHUNK_BYTES;
}

/* Any thread: a chunk is read by whoever took it. */
static void *read_chunks(void *arg)
{
    struct chunks *c = arg;
    unsigned i;

    while ((i = atomic_fetch_add(&c->next, 1)) <
           (c->end + READ_CHUNK_BYTES - 1) / READ_CHUNK_BYTES) {
        uint64_t at = (uint64_t)i * READ_CHUNK_BYTES;

        c->rcs[i] = read_at(c->r, at, c->offset, chunk_bytes(c, at));
    }
    return NULL;
}

static void read_all_chunks(struct chunks *c)
{
    pthread_t threads[READ_THREADS - 1];
    unsigned count = 0;

    while (count < READ_THREADS - 1 && (count + 1) * (uint64_t)READ_CHUNK_BYTES < c->end &&
           pthread_create(&threads[count], NULL, read_chunks, c) == 0) {
        count++;
    }
    read_chunks(c); /* alone, if there are no threads to be had */
    while (count != 0) {
        CHECK(pthread_join(threads[--count], NULL) == 0);
    }
}

/* Block by block where a larger read fails: a power loss may leave unreadable sectors in just the
 * frames that were in flight. Such a block reads as zeroes, so its frame is a bad one; more
 * of them than frames can be in flight is another fault, and no replay. */
static int read_blocks(struct replay *r, uint64_t at, uint64_t offset, uint64_t bytes)
{
    for (uint64_t block = at; block < at + bytes; block += FRAME_BLOCK_BYTES) {
        int rc = read_at(r, block, offset, FRAME_BLOCK_BYTES);

        if (rc == 0) {
            continue;
        }
        memset(r->buffer + block, 0, FRAME_BLOCK_BYTES);
        r->unreadable_rc = rc;
        if (++r->unreadable > UNREADABLE_BLOCKS_MAX) {
            return rc;
        }
    }
    return 0;
}

static int read_segment(struct replay *r, uint32_t segment, struct err *e)
{
    struct chunks c = {.r = r, .offset = segment_offset(r->j, segment), .end = r->j->segment_bytes};
    uint32_t before = r->unreadable;
    int rc = 0;

    c.rcs = mem_array((size_t)(c.end / READ_CHUNK_BYTES) + 1, sizeof(*c.rcs));
    read_all_chunks(&c);
    for (uint64_t at = 0; at < c.end && rc == 0; at += READ_CHUNK_BYTES) {
        if (c.rcs[at / READ_CHUNK_BYTES] != 0) {
            rc = read_blocks(r, at, c.offset, chunk_bytes(&c, at));
        }
    }
    free(c.rcs);
    if (rc != 0) {
        return err_set(e, rc, "reading segment %" PRIu32, segment);
    }
    if (r->unreadable != before) {
        r->j->segments[segment].bad = true;
        log_error("journal", "blocks cannot be read", "path=%s segment=%" PRIu32 " blocks=%" PRIu32,
                  r->j->path, segment, r->unreadable - before);
    }
    return 0;
}

/* All frames of a segment: end to end from its start, then whatever else proves itself. */
static int collect_segment(struct replay *r, const struct first *first, struct err *e)
{
    uint64_t at = 0;
    int rc = read_segment(r, first->segment, e);

    if (rc != 0) {
        return rc;
    }
    while (at + FRAME_BLOCK_BYTES <= r->j->segment_bytes) {
        size_t bytes = take_frame(r, first->segment, at, first->good ? first->h.salt : NULL);

        at += bytes != 0 ? bytes : FRAME_BLOCK_BYTES;
    }
    return 0;
}

/* One that cannot be read is no good header: the whole segment is looked at then. */
static void read_first(struct replay *r, uint32_t segment, struct first *ret_first)
{
    uint64_t offset = segment_offset(r->j, segment);
    struct first *f = ret_first;

    *f = (struct first){.segment = segment};
    if (read_at(r, 0, offset, FRAME_BLOCK_BYTES) != 0 ||
        frame_header_peek(r->buffer, &f->h) == ERR_CORRUPT || !own(r, &f->h, offset) ||
        frame_bytes(&f->h) > r->j->segment_bytes) {
        return;
    }
    f->good = read_at(r, 0, offset, (uint64_t)f->h.header_blocks * FRAME_BLOCK_BYTES) == 0 &&
              frame_header_check(r->buffer, &f->h) != ERR_CORRUPT;
}

/* Unreadable first headers first (nobody knows what they hold), then the newest. */
static int by_age(const void *a, const void *b)
{
    const struct first *x = a, *y = b;

    if (x->good != y->good) {
        return x->good ? 1 : -1;
    }
    return x->h.lsn < y->h.lsn ? 1 : x->h.lsn > y->h.lsn ? -1 : 0;
}

int replay_collect(struct replay *r, struct err *e)
{
    struct first *firsts = mem_array(r->j->segment_count + (size_t)1, sizeof(*firsts));
    uint64_t newer_lsn = UINT64_MAX; /* where the next newer segment starts */
    int rc = 0;

    for (uint32_t i = 0; i < r->j->segment_count; i++) {
        read_first(r, i, &firsts[i]);
    }
    qsort(firsts, r->j->segment_count, sizeof(*firsts), by_age);
    for (uint32_t i = 0; i < r->j->segment_count && rc == 0; i++) {
        if (firsts[i].good && newer_lsn < r->release_lsn) {
            break; /* it and all older ones lie below the release LSN */
        }
        rc = collect_segment(r, &firsts[i], e);
        newer_lsn = firsts[i].good ? firsts[i].h.lsn : newer_lsn;
    }
    if (rc == 0 && r->unreadable != 0 && r->count == 0) {
        rc = err_set(e, r->unreadable_rc, "reading: no frame is left");
    }
    free(firsts);
    return rc;
}
