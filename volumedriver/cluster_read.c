/* Reading whole clusters: the journal tree first, the map for what it does not hold, the
 * backend for what the map names; each cluster is checked against the CRC made at ingress.
 *
 * Within one SCO a read asks for runs of data and the CRCs of those runs in one call; it has at
 * most OBJECT_READS_MAX under way, so that one of scattered clusters leaves room for others. When
 * a SCO is gone or fails its check the places are looked up again, once: it may have been
 * rewritten. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "volumedriver/cluster_read.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_private.h"

enum { ATTEMPTS_MAX = 2, OBJECT_READS_MAX = 32, CLUSTER = VOLUME_CLUSTER_BYTES };

struct data_run { /* clusters that lie next to each other in the volume and in a SCO */
    uint64_t number;
    uint32_t offset;
    uint32_t index; /* in the read */
    uint32_t count;
};

struct object_read { /* runs of one SCO */
    struct object_read *next;
    struct cluster_read *rd;
    struct backend_req req;
    struct data_run *runs;
    uint32_t run_count;
    uint8_t *crcs; /* as stored, 4 bytes each */
    struct backend_slice *slices;
};

static void lookup_places(struct cluster_read *rd);

/* ---- the end ---- */

static void drop_pieces(struct cluster_read *rd)
{
    for (uint32_t i = 0; i < rd->journal.piece_count; i++) {
        journal_record_drop(rd->v->host->journal, rd->pieces[i].record);
    }
    rd->journal.piece_count = 0;
}

static void free_objects(struct cluster_read *rd)
{
    free(rd->runs);
    rd->runs = NULL;
    rd->run_count = 0;
    while (rd->objects != NULL) {
        struct object_read *o = rd->objects;

        rd->objects = o->next;
        free(o->runs);
        free(o->crcs);
        free(o->slices);
        free(o);
    }
}

void cluster_read_release(struct cluster_read *rd)
{
    free(rd->locations);
    free(rd->where);
    free(rd->pieces);
    rd->locations = NULL;
    rd->where = NULL;
    rd->pieces = NULL;
}

static void on_answer(struct later_item *item)
{
    struct cluster_read *rd = container_of(item, struct cluster_read, later);

    rd->cb(rd, rd->rc);
}

/* One of the things the read waits for has ended. */
static void part_done(struct cluster_read *rd)
{
    if (--rd->pending != 0) {
        return;
    }
    free_objects(rd);
    if ((rd->rc == ERR_NOT_FOUND || rd->rc == ERR_CORRUPT) && rd->attempt < ATTEMPTS_MAX &&
        rd->locations != NULL) {
        rd->rc = 0;
        rd->pending = 1;
        lookup_places(rd);
        part_done(rd);
        return;
    }
    drop_pieces(rd);
    later_run(rd->v->host->later, &rd->later, on_answer);
}

static void part_failed(struct cluster_read *rd, int rc, const struct err *why)
{
    if (rd->rc == 0) {
        rd->rc = rc;
        err_copy(&rd->err, why);
        rd->err.code = rc;
    }
}

/* ---- backend ---- */

static void check_object(struct object_read *o)
{
    struct cluster_read *rd = o->rd;
    const uint8_t *crc = o->crcs;
    struct err e;

    for (uint32_t i = 0; i < o->run_count; i++) {
        for (uint32_t k = 0; k < o->runs[i].count; k++, crc += 4) {
            const uint8_t *data = rd->data + (size_t)(o->runs[i].index + k) * CLUSTER;

            if (crc32c(0, data, CLUSTER) != get_u32le(crc)) {
                err_set(&e, ERR_CORRUPT, "cluster %" PRIu32 " of SCO %010" PRIx64,
                        o->runs[i].offset + k, o->runs[i].number);
                part_failed(rd, ERR_CORRUPT, &e);
                return;
            }
        }
    }
}

static void read_objects(struct cluster_read *rd);

static void on_object(struct backend_req *req, int rc)
{
    struct object_read *o = container_of(req, struct object_read, req);
    struct cluster_read *rd = o->rd;

    if (rc == 0) {
        check_object(o);
    } else {
        part_failed(rd, rc, &req->err);
    }
    rd->reading--;
    read_objects(rd);
    part_done(rd);
}

static void read_object(struct cluster_read *rd, const struct data_run *runs, uint32_t run_count)
{
    const struct sco_entry *sco = map_find_sco(&rd->v->map, runs[0].number);
    struct object_read *o;
    uint32_t crc_at = 0, total = 0;
    char name[SCO_NAME_BYTES];
    struct err e;

    for (uint32_t i = 0; i < run_count; i++) {
        total += runs[i].count;
    }
    if (sco == NULL ||
        runs[run_count - 1].offset + runs[run_count - 1].count > sco->data_clusters) {
        err_set(&e, ERR_CORRUPT, "the map names SCO %010" PRIx64 ", the table does not",
                runs[0].number);
        part_failed(rd, ERR_CORRUPT, &e);
        return;
    }
    o = mem_zalloc(sizeof(*o));
    o->next = rd->objects;
    rd->objects = o;
    o->rd = rd;
    o->runs = mem_dup(runs, run_count * sizeof(*runs));
    o->run_count = run_count;
    o->crcs = mem_alloc(4 * (size_t)total);
    o->slices = mem_array(2 * (size_t)run_count, sizeof(*o->slices));
    for (uint32_t i = 0; i < run_count; i++) {
        const struct data_run *r = &runs[i];

        o->slices[2 * i] = (struct backend_slice){.offset = (uint64_t)r->offset * CLUSTER,
                                                  .bytes = r->count * CLUSTER,
                                                  .data = rd->data + (size_t)r->index * CLUSTER};
        o->slices[2 * i + 1] = (struct backend_slice){
            .offset = (uint64_t)sco->data_clusters * CLUSTER + 4 * (uint64_t)r->offset,
            .bytes = 4 * r->count,
            .data = o->crcs + 4 * (size_t)crc_at};
        crc_at += r->count;
    }
    rd->v->stats.backend_read_calls++;
    rd->v->stats.backend_read_bytes += (uint64_t)total * CLUSTER;
    rd->pending++;
    rd->reading++;
    sco_name(runs[0].number, name);
    rd->v->backend->ops->read(
        rd->v->backend, &o->req,
        &(struct backend_read){.name = name, .slices = o->slices, .slice_count = 2 * run_count},
        on_object);
}

/* The next ones, while there is room. What failed has failed as a whole. */
static void read_objects(struct cluster_read *rd)
{
    while (rd->run_next < rd->run_count && rd->reading < OBJECT_READS_MAX && rd->rc == 0) {
        const struct data_run *first = &rd->runs[rd->run_next];
        uint32_t n = 1;

        while (rd->run_next + n < rd->run_count && first[n].number == first->number) {
            n++;
        }
        rd->run_next += n;
        read_object(rd, first, n);
    }
}

static int by_place(const void *a, const void *b)
{
    const struct data_run *x = a, *y = b;

    if (x->number != y->number) {
        return x->number < y->number ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The map said where the clusters are. */
static void read_places(struct cluster_read *rd)
{
    struct data_run *runs = mem_array(rd->count, sizeof(*runs));
    uint32_t count = 0;

    for (uint32_t i = 0; i < rd->count; i++) {
        uint64_t place = rd->locations[i];
        struct data_run *last = count != 0 ? &runs[count - 1] : NULL;

        if (rd->where[i] != IN_MAP) {
            continue;
        }
        if (!location_has_data(place)) {
            memset(rd->data + (size_t)i * CLUSTER, 0, CLUSTER);
        } else if (last != NULL && last->index + last->count == i &&
                   last->number == location_number(place) &&
                   last->offset + last->count == location_offset(place)) {
            last->count++;
        } else {
            runs[count++] = (struct data_run){.number = location_number(place),
                                              .offset = location_offset(place),
                                              .index = i,
                                              .count = 1};
        }
    }
    qsort(runs, count, sizeof(*runs), by_place);
    rd->runs = runs;
    rd->run_count = count;
    rd->run_next = 0;
    read_objects(rd);
}

/* ---- map ---- */

static void on_lookup(struct map_lookup *lookup, int rc)
{
    struct cluster_read *rd = container_of(lookup, struct cluster_read, lookup);
    struct err e;

    if (rc != 0 && volume_map_heals(rd->v)) {
        list_push(&rd->v->remap.waits, &rd->map_wait);
        volume_kick(rd->v);
        return;
    }
    if (rc != 0) {
        err_set(&e, rc, "map");
        part_failed(rd, rc, &e);
    } else if (rd->data != NULL) {
        read_places(rd);
    }
    part_done(rd);
}

static void ask_map(struct cluster_read *rd)
{
    int rc = volume_map_ready(rd->v) ? map_lookup(&rd->v->map, &rd->lookup, on_lookup) : ERR_FAILED;

    if (rc <= 0) {
        on_lookup(&rd->lookup, rc);
    }
}

void volume_reads_resume(struct volume *v, const struct err *why)
{
    struct list waits, *link;

    list_init(&waits);
    list_splice(&waits, &v->remap.waits);
    while ((link = list_pop(&waits)) != NULL) {
        struct cluster_read *rd = container_of(link, struct cluster_read, map_wait);

        if (why == NULL) {
            ask_map(rd);
        } else {
            part_failed(rd, why->code, why);
            part_done(rd);
        }
    }
}

static void lookup_places(struct cluster_read *rd)
{
    rd->attempt++;
    rd->lookup.cluster = rd->cluster;
    rd->lookup.count = rd->count;
    rd->lookup.locations = rd->locations;
    rd->pending++;
    ask_map(rd);
}

/* ---- journal ---- */

static void on_journal(struct journal_read *read, int rc)
{
    struct cluster_read *rd = container_of(read, struct cluster_read, journal);

    if (rc != 0) {
        /* The journal is the only place that has it: looking again is of no use. */
        rd->attempt = ATTEMPTS_MAX;
        part_failed(rd, rc, &read->err);
    }
    part_done(rd);
}

static void add_piece(struct cluster_read *rd, const struct extent *x, uint64_t from,
                      uint32_t count)
{
    struct record *record = (struct record *)(uintptr_t)x->record;

    if (rd->journal.piece_count == rd->piece_cap) {
        rd->piece_cap = rd->piece_cap != 0 ? 2 * rd->piece_cap : 4;
        rd->pieces = mem_realloc(rd->pieces, rd->piece_cap * sizeof(*rd->pieces));
    }
    journal_record_hold(record);
    rd->pieces[rd->journal.piece_count++] =
        (struct journal_piece){.record = record,
                               .skip = x->skip + (uint32_t)(from - x->start),
                               .count = count,
                               .data = rd->data + (size_t)(from - rd->cluster) * CLUSTER};
}

/* Fills in `where`; returns whether the map has to be asked. */
static bool walk_tree(struct cluster_read *rd)
{
    uint64_t end = rd->cluster + rd->count, covered = 0;
    const struct extent *x = extent_tree_find(&rd->v->tree, rd->cluster);

    for (; x != NULL && x->start < end; x = extent_tree_find(&rd->v->tree, x->start + x->count)) {
        uint64_t from = x->start > rd->cluster ? x->start : rd->cluster;
        uint64_t to = x->start + x->count < end ? x->start + x->count : end;
        bool data = x->record->op == FRAME_OP_WRITE;

        covered += to - from;
        memset(rd->where + (from - rd->cluster), data ? IN_JOURNAL : IS_ZERO, (size_t)(to - from));
        if (rd->data != NULL && data) {
            add_piece(rd, x, from, (uint32_t)(to - from));
        } else if (rd->data != NULL) {
            memset(rd->data + (size_t)(from - rd->cluster) * CLUSTER, 0,
                   (size_t)(to - from) * CLUSTER);
        }
    }
    return covered != rd->count;
}

void cluster_read_start(struct cluster_read *rd, cluster_read_cb cb)
{
    int rc;

    rd->cb = cb;
    rd->rc = 0;
    rd->attempt = 0;
    rd->pending = 1;
    rd->objects = NULL;
    rd->runs = NULL;
    rd->run_count = rd->run_next = rd->reading = 0;
    rd->pieces = NULL;
    rd->piece_cap = 0;
    rd->journal.piece_count = 0;
    rd->locations = NULL;
    rd->where = mem_zalloc(rd->count);
    if (walk_tree(rd)) {
        rd->locations = mem_array(rd->count, sizeof(*rd->locations));
        lookup_places(rd);
    }
    if (rd->journal.piece_count != 0) {
        rd->journal.pieces = rd->pieces;
        rd->pending++;
        rc = journal_read(rd->v->host->journal, &rd->journal, on_journal);
        if (rc != 0) {
            err_set(&rd->journal.err, rc, "journal");
            on_journal(&rd->journal, rc);
        } else {
            for (uint32_t i = 0; i < rd->journal.piece_count; i++) {
                rd->v->stats.journal_read_bytes += (uint64_t)rd->pieces[i].count * CLUSTER;
            }
        }
    }
    part_done(rd);
}
