/* The journal against a disk that loses power at every I/O.
 *
 * A scripted workload of three volumes writes, trims, flushes, assigns SCOs and gives prefixes
 * back in a ring of small segments; power fails at mutating I/O n = 1, 2, 3, ...; after a
 * reboot in each mode the journal must yield a prefix of what was appended, in that order,
 * that holds everything flushed, byte for byte, and every assignment that was durable, and
 * must not call anything damaged. Some lives end by kill -9 instead, which leaves the page
 * cache to the next one; some leave a block of a frame in flight unreadable. Then the same
 * again on what is left, so that every open is also an open after an open. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "lib/crash_disk.h"
#include "lib/vol_io.h"
#include "loop/run.h"
#include "volumedriver/journal.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"

enum {
    VOLUMES = 3,
    CLUSTER = 4096,
    SEGMENT_BYTES = 131072,
    JOURNAL_BYTES = 8 * SEGMENT_BYTES,
    RECORD_CLUSTERS = 6,
    IN_FLIGHT_MAX = 12,
    LIVES = 4,
};

struct entry { /* one append, in order */
    unsigned volume;
    uint64_t seq;
    uint8_t op;
    uint64_t cluster;
    uint32_t count;
    uint64_t at; /* of its data, when it did not complete; 0: unknown */
    bool completed;
    bool flushed;
};

struct assignment {
    struct journal_append append;
    struct list link;
    struct rig *rig;
    bool durable;
    bool ended;
};

struct rig;

struct write {
    struct journal_append append;
    struct rig *rig;
    uint32_t entry;
    struct iovec iov;
    uint8_t *data;
};

struct flush {
    struct journal_flush flush;
    struct rig *rig;
    uint32_t upto; /* entries completed when it was asked */
};

struct rig {
    struct crash_disk *disk;
    struct vol_io io;
    uv_loop_t loop;
    struct journal *j;
    struct rnd rnd;
    uint64_t seed;
    struct entry *entries;
    uint32_t count, cap;
    uint32_t completed; /* entries up to here have completed */
    uint64_t last_seq[VOLUMES], flushed_seq[VOLUMES], committed[VOLUMES];
    uint64_t committed_number[VOLUMES], last_number[VOLUMES], assigned_seq[VOLUMES];
    struct list assignments[VOLUMES]; /* struct assignment behind the prefix */
    uint32_t epoch[VOLUMES], next_index[VOLUMES];
    uint8_t uuid[VOLUMES][16];
    struct list live[VOLUMES]; /* records not dropped */
    unsigned in_flight, flushes;
    bool closed, failed, pressed;
};

static void content(uint64_t seed, unsigned volume, uint64_t seq, uint8_t *data, size_t bytes)
{
    struct rnd rnd = rnd_seed(seed * 1000003 + volume * 7919 + seq);

    for (size_t i = 0; i < bytes; i += 8) {
        put_u64le(data + i, rnd_next(&rnd));
    }
}

static void on_pressure(void *ctx, uint64_t lsn)
{
    struct rig *r = ctx;

    (void)lsn;
    r->pressed = true;
}

static int rig_open(struct rig *r)
{
    struct journal_options o = {.loop = &r->loop,
                                .io = &r->io.io,
                                .dir = "/",
                                .segment_bytes = SEGMENT_BYTES,
                                .journal_bytes = JOURNAL_BYTES,
                                .on_pressure = on_pressure,
                                .ctx = r};
    struct err e;

    return journal_open(&o, &r->j, &e);
}

static void on_closed(void *ctx)
{
    ((struct rig *)ctx)->closed = true;
}

static void drop(void *ctx, struct record *record)
{
    journal_record_drop(((struct rig *)ctx)->j, record);
}

static void abandon_live(struct rig *r)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        struct list *link;

        while ((link = list_pop(&r->live[v])) != NULL) {
            journal_record_abandon(r->j, container_of(link, struct record, link));
        }
        LIST_FOR_EACH (it, &r->assignments[v]) {
            struct journal_append *a = &container_of(it, struct assignment, link)->append;

            if (a->record != NULL) {
                journal_record_abandon(r->j, a->record);
                a->record = NULL;
            }
        }
    }
}

static void on_append(struct journal_append *append, int rc)
{
    struct write *w = container_of(append, struct write, append);
    struct rig *r = w->rig;

    r->in_flight--;
    if (rc == 0) {
        assert_int_equal(r->completed, w->entry); /* in order */
        r->completed++;
        r->entries[w->entry].completed = true;
        r->entries[w->entry].flushed = r->entries[w->entry].flushed || append->durable;
        if (append->durable) {
            for (uint32_t i = 0; i < w->entry; i++) {
                r->entries[i].flushed = true;
            }
        }
        list_push(&r->live[r->entries[w->entry].volume], &append->record->link);
    } else {
        r->failed = true;
        r->entries[w->entry].at = append->record->data_offset;
        journal_record_drop(r->j, append->record);
    }
    free(w->data);
    free(w);
}

static void submit(struct rig *r)
{
    unsigned v = (unsigned)rnd_below(&r->rnd, VOLUMES);
    uint32_t count = 1 + (uint32_t)rnd_below(&r->rnd, RECORD_CLUSTERS);
    uint8_t op = rnd_below(&r->rnd, 5) == 0 ? FRAME_OP_TRIM : FRAME_OP_WRITE;
    struct write *w = mem_zalloc(sizeof(*w));
    struct entry *x;

    if (r->count == r->cap) {
        r->cap = r->cap != 0 ? 2 * r->cap : 64;
        r->entries = mem_realloc(r->entries, r->cap * sizeof(*r->entries));
    }
    x = &r->entries[r->count];
    *x = (struct entry){.volume = v,
                        .seq = ++r->last_seq[v],
                        .op = op,
                        .cluster = rnd_below(&r->rnd, 1000),
                        .count = count};
    w->rig = r;
    w->entry = r->count++;
    w->data = mem_alloc((size_t)count * CLUSTER);
    content(r->seed, v, x->seq, w->data, (size_t)count * CLUSTER);
    w->iov = (struct iovec){.iov_base = w->data, .iov_len = (size_t)count * CLUSTER};
    w->append = (struct journal_append){.volume = r->uuid[v],
                                        .seq = x->seq,
                                        .epoch = r->epoch[v],
                                        .op = op,
                                        .record = record_new(op, x->cluster, count),
                                        .iov = &w->iov};
    r->in_flight++;
    journal_append(r->j, &w->append, on_append);
}

static void on_flush(struct journal_flush *flush, int rc)
{
    struct flush *f = container_of(flush, struct flush, flush);

    for (uint32_t i = 0; rc == 0 && i < f->upto; i++) {
        struct entry *x = &f->rig->entries[i];

        x->flushed = true;
        f->rig->flushed_seq[x->volume] = x->seq;
    }
    f->rig->failed = f->rig->failed || rc != 0;
    f->rig->flushes--;
    free(f);
}

static void flush(struct rig *r)
{
    struct flush *f = mem_zalloc(sizeof(*f));
    struct journal_stats stats;

    f->rig = r;
    f->upto = r->completed;
    r->flushes++;
    journal_stats(r->j, &stats);
    /* Nothing completed means that nothing has to be waited for. */
    journal_flush(r->j, &f->flush, stats.completed_lsn, on_flush);
}

static bool is_flushed(void *ctx)
{
    return ((const struct rig *)ctx)->flushes == 0;
}

static void on_assigned(struct journal_append *append, int rc)
{
    struct assignment *a = container_of(append, struct assignment, append);

    a->ended = true;
    a->durable = rc == 0;
    if (rc != 0) {
        a->rig->failed = true;
        journal_record_drop(a->rig->j, append->record);
        append->record = NULL;
    }
}

/* A client SCO of all that is flushed, or a gc SCO. */
static void assign(struct rig *r, unsigned v, uint8_t kind)
{
    uint64_t number = sco_number(r->epoch[v], r->next_index[v]++);
    struct assignment *a = mem_zalloc(sizeof(*a));

    a->rig = r;
    a->append = (struct journal_append){.volume = r->uuid[v],
                                        .seq = kind == SCO_GC ? 0 : r->assigned_seq[v] + 1,
                                        .a = number,
                                        .b = kind == SCO_GC ? 0 : r->flushed_seq[v],
                                        .predecessor = r->last_number[v],
                                        .generation = (uint32_t)number % 7,
                                        .epoch = r->epoch[v],
                                        .op = FRAME_OP_SCO,
                                        .kind = kind,
                                        .durable = true,
                                        .record = record_new(FRAME_OP_SCO, number, 1)};
    r->last_number[v] = number;
    r->assigned_seq[v] = kind == SCO_GC ? r->assigned_seq[v] : r->flushed_seq[v];
    list_push(&r->assignments[v], &a->link);
    journal_append(r->j, &a->append, on_assigned);
    loop_run_until(&r->loop, &a->ended);
}

/* As if the oldest SCO of a volume had been put and applied: its records are not needed. */
static void commit(struct rig *r, unsigned v)
{
    struct assignment *a = container_of(list_pop(&r->assignments[v]), struct assignment, link);

    r->committed_number[v] = a->append.a;
    if (a->append.kind != SCO_GC) {
        r->committed[v] = a->append.b;
    }
    while (!list_empty(&r->live[v])) {
        struct record *record = container_of(r->live[v].next, struct record, link);

        if (record->seq > r->committed[v]) {
            break;
        }
        list_remove(&record->link);
        drop(r, record);
    }
    drop(r, a->append.record);
    free(a);
}

static unsigned length(const struct list *list)
{
    unsigned n = 0;

    LIST_FOR_EACH (it, list) {
        n++;
    }
    return n;
}

/* Only what is durable is ever uploaded, and so committed. */
static void give_back(struct rig *r, unsigned keep_max)
{
    r->pressed = false;
    flush(r);
    loop_run_until_true(&r->loop, is_flushed, r);
    for (unsigned v = 0; v < VOLUMES; v++) {
        unsigned keep = (unsigned)rnd_below(&r->rnd, keep_max + 1);

        if (!r->failed && r->flushed_seq[v] > r->assigned_seq[v]) {
            assign(r, v, SCO_CLIENT);
        }
        if (!r->failed && rnd_below(&r->rnd, 4) == 0) {
            assign(r, v, SCO_GC);
        }
        while (!r->failed && length(&r->assignments[v]) > keep) {
            commit(r, v);
        }
    }
}

static void rig_close(struct rig *r)
{
    if (r->j == NULL) {
        return;
    }
    for (unsigned turns = 1; r->in_flight != 0 || r->flushes != 0; turns++) {
        uv_run(&r->loop, UV_RUN_NOWAIT);
        if (turns % 1000 == 0) {
            give_back(r, 0); /* it may wait for space */
        }
    }
    abandon_live(r);
    r->closed = false;
    journal_close(r->j, on_closed, r);
    loop_run_until(&r->loop, &r->closed);
    r->j = NULL;
    assert_int_equal(crash_disk_open_count(r->disk), 0);
}

/* One write and a flush, one after the other: after a few of them one job writes and syncs. */
static void write_and_flush(struct rig *r)
{
    for (unsigned round = 0; round < 8 && !r->failed; round++) {
        submit(r);
        for (unsigned turns = 1; r->in_flight != 0 && turns < 1000; turns++) { /* or for space */
            uv_run(&r->loop, UV_RUN_NOWAIT);
        }
        flush(r);
        loop_run_until_true(&r->loop, is_flushed, r);
    }
}

static void work(struct rig *r, unsigned steps)
{
    while (steps-- != 0 && !r->failed) {
        uint64_t dice = rnd_below(&r->rnd, 20);

        if (dice < 15 && r->in_flight < IN_FLIGHT_MAX) {
            submit(r);
        } else if (dice < 17 && r->seed % 3 != 0) {
            flush(r);
        } else if (dice == 17 || r->pressed) {
            give_back(r, 2);
        } else if (dice == 18 && rnd_below(&r->rnd, 4) == 0 && r->in_flight == 0) {
            write_and_flush(r);
        }
        uv_run(&r->loop, UV_RUN_NOWAIT);
    }
}

/* The data on disk is what was written. */
struct reading {
    struct journal_read read;
    int rc;
    bool done;
};

static void on_read(struct journal_read *read, int rc)
{
    container_of(read, struct reading, read)->rc = rc;
    container_of(read, struct reading, read)->done = true;
}

static void check_record(struct rig *r, unsigned v, struct record *record, const struct entry *x)
{
    size_t bytes = (size_t)x->count * CLUSTER;
    uint8_t *want = mem_alloc(bytes), *have = mem_alloc(bytes);
    struct journal_piece piece = {.record = record, .count = x->count, .data = have};
    struct reading reading = {.read = {.pieces = &piece, .piece_count = 1}};

    assert_int_equal(record->op, x->op);
    assert_int_equal(record->cluster, x->cluster);
    assert_int_equal(record->count, x->count);
    if (x->op == FRAME_OP_WRITE) {
        content(r->seed, v, x->seq, want, bytes);
        assert_int_equal(journal_read(r->j, &reading.read, on_read), 0);
        loop_run_until(&r->loop, &reading.done);
        if (reading.rc == 0) {
            assert_memory_equal(want, have, bytes);
        } else {
            assert_true(crash_disk_is_off(r->disk));
        }
    }
    free(want);
    free(have);
}

/* Those that were durable are there with all their fields, and perhaps the last one tried. */
static void check_assignments(struct rig *r, unsigned v, const struct tail_history *h)
{
    uint32_t i = 0;

    r->last_number[v] = r->committed_number[v];
    r->assigned_seq[v] = r->committed[v];
    LIST_FOR_EACH_SAFE (it, &r->assignments[v]) {
        struct assignment *a = container_of(it, struct assignment, link);

        if (i == h->sco_count) {
            assert_false(a->durable);
            list_remove(it);
            free(a);
            continue;
        }
        assert_int_equal(h->scos[i].number, a->append.a);
        assert_int_equal(h->scos[i].predecessor, a->append.predecessor);
        assert_int_equal(h->scos[i].first_seq, a->append.seq);
        assert_int_equal(h->scos[i].last_seq, a->append.b);
        assert_int_equal(h->scos[i].generation, a->append.generation);
        assert_int_equal(h->scos[i].kind, a->append.kind);
        a->append.record = h->scos[i++].record;
        a->durable = true; /* the next incarnation made it so */
        r->last_number[v] = a->append.a;
        r->assigned_seq[v] = a->append.kind == SCO_GC ? r->assigned_seq[v] : a->append.b;
    }
    assert_int_equal(i, h->sco_count);
    assert_int_equal(h->last_number, r->last_number[v]);
}

static void resolve(struct rig *r, unsigned v)
{
    struct tail_bounds bounds = {.since = 1,
                                 .epoch = r->epoch[v] + 1,
                                 .prefix_number = r->committed_number[v],
                                 .prefix_seq = r->committed[v]};
    struct tail_history h;
    struct tail tail;

    journal_take_tail(r->j, r->uuid[v], &tail);
    tail_resolve(&tail, &bounds, drop, r, &h);
    if (h.damaged) {
        fail_msg("seed %llu: volume %u is damaged: %s", (unsigned long long)r->seed, v, h.why);
    }
    assert_true(h.last_seq <= r->last_seq[v]);
    check_assignments(r, v, &h);
    list_splice(&r->live[v], &h.records);
    r->last_seq[v] = r->flushed_seq[v] = h.last_seq;
    free(h.scos);
}

/* What is there must be a prefix of the appends in their order, with all that was flushed. */
static void check(struct rig *r)
{
    bool ended = false;
    uint32_t kept = 0;

    for (unsigned v = 0; v < VOLUMES; v++) {
        resolve(r, v);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        const struct entry *x = &r->entries[i];
        bool there = x->seq <= r->last_seq[x->volume];

        assert_false(x->flushed && !there);
        assert_false(ended && there);
        ended = ended || !there;
        kept += there;
    }
    for (uint32_t i = 0; i < kept; i++) {
        const struct entry *x = &r->entries[i];

        LIST_FOR_EACH (it, &r->live[x->volume]) {
            struct record *record = container_of(it, struct record, link);

            if (record->seq == x->seq) {
                check_record(r, x->volume, record, x);
                break;
            }
        }
        r->entries[i].flushed = true; /* the next incarnation made it durable */
        r->entries[i].completed = true;
    }
    r->count = r->completed = kept;
}

struct opening {
    struct journal_append append;
    int rc;
    bool done;
};

static void on_open(struct journal_append *append, int rc)
{
    container_of(append, struct opening, append)->rc = rc;
    container_of(append, struct opening, append)->done = true;
}

static void begin_epochs(struct rig *r)
{
    struct opening opens[VOLUMES];

    for (unsigned v = 0; v < VOLUMES; v++) {
        opens[v] = (struct opening){.append = {.volume = r->uuid[v],
                                               .seq = r->last_seq[v] + 1,
                                               .epoch = ++r->epoch[v],
                                               .op = FRAME_OP_OPEN,
                                               .durable = true}};
        journal_append(r->j, &opens[v].append, on_open);
    }
    for (unsigned v = 0; v < VOLUMES; v++) {
        loop_run_until(&r->loop, &opens[v].done);
        r->failed = r->failed || opens[v].rc != 0;
    }
}

static void rig_init(struct rig *r, uint64_t seed)
{
    *r = (struct rig){.seed = seed, .rnd = rnd_seed(seed)};
    r->disk = crash_disk_new(seed);
    vol_io_init(&r->io, crash_disk_io(r->disk), (unsigned)seed);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    for (unsigned v = 0; v < VOLUMES; v++) {
        memset(r->uuid[v], (int)(v + 1), 16);
        list_init(&r->live[v]);
        list_init(&r->assignments[v]);
    }
}

static void rig_release(struct rig *r)
{
    rig_close(r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    crash_disk_free(r->disk);
    for (unsigned v = 0; v < VOLUMES; v++) {
        while (!list_empty(&r->assignments[v])) {
            free(container_of(list_pop(&r->assignments[v]), struct assignment, link));
        }
    }
    free(r->entries);
}

/* A block of a frame that was in flight cannot be read any more. Of a write: a trim has no block,
 * and its place may be that of the next segment, whose frames are not in flight. */
static void lose_block(struct rig *r)
{
    uint64_t at = 0;

    for (uint32_t i = r->completed; i < r->count; i++) {
        const struct entry *x = &r->entries[i];

        if (x->op == FRAME_OP_WRITE && x->at != 0 && rnd_below(&r->rnd, 2) == 0) {
            at = x->at;
        }
    }
    crash_disk_fail_reads(r->disk, "/journal", at, at != 0 ? -EIO : 0);
}

/* So many seeds: every crash point of a script is tried in each mode anyway, more scripts at night
 * (ALL_SEEDS=1). */
static unsigned of(unsigned all, unsigned some)
{
    return getenv("ALL_SEEDS") != NULL ? all : some;
}

/* Power off at I/O n of each life in turn; false once a whole first life fits before n. */
static bool crash_at(uint64_t n, enum crash_mode mode, uint64_t seed, unsigned steps)
{
    bool reached = true, opened;
    struct rig r;

    rig_init(&r, seed);
    for (unsigned life = 0; life < LIVES; life++) {
        uint64_t at = life == 0 ? n : 1 + rnd_below(&r.rnd, 60);
        bool by_kill = life != 0 && rnd_below(&r.rnd, 2) == 0;

        crash_disk_power_off_at(r.disk, crash_disk_io_count(r.disk) + at);
        r.failed = false;
        opened = rig_open(&r) == 0;
        if (opened) {
            check(&r);
            begin_epochs(&r);
            work(&r, by_kill ? (unsigned)rnd_below(&r.rnd, steps) : steps);
        }
        reached = life != 0 ? reached : crash_disk_is_off(r.disk);
        if (by_kill) {
            vol_io_kill(&r.io);
        }
        rig_close(&r);
        vol_io_revive(&r.io);
        if (!by_kill || crash_disk_is_off(r.disk)) { /* power may have gone just before the kill */
            crash_disk_reboot(r.disk, mode, seed + life);
        }
        crash_disk_power_off_at(r.disk, 0);
        if (opened) { /* else what was in flight may have been accepted meanwhile */
            lose_block(&r);
        }
    }
    assert_int_equal(rig_open(&r), 0);
    check(&r);
    rig_release(&r);
    return reached;
}

/* Power fails in the opening itself, again and again: in its first sync, its frame, its last sync,
 * or in the first records of the volumes. */
static void crash_openings(uint64_t seed, enum crash_mode mode)
{
    struct journal_stats stats;
    uint64_t segments;
    struct rig r;

    rig_init(&r, seed);
    assert_int_equal(rig_open(&r), 0);
    check(&r);
    begin_epochs(&r);
    work(&r, 400);
    crash_disk_power_off(r.disk);
    journal_stats(r.j, &stats);
    segments = stats.segments;
    rig_close(&r);
    for (unsigned life = 0; life < 40; life++) {
        crash_disk_reboot(r.disk, mode, seed + life);
        crash_disk_power_off_at(r.disk, crash_disk_io_count(r.disk) + 1 + rnd_below(&r.rnd, 6));
        r.failed = false;
        if (rig_open(&r) == 0) {
            check(&r);
            begin_epochs(&r);
        }
        rig_close(&r);
    }
    crash_disk_reboot(r.disk, mode, seed);
    assert_int_equal(rig_open(&r), 0);
    check(&r);
    journal_stats(r.j, &stats);
    /* The reserve, and one that the blocks of 40 openings may fill. */
    assert_true(stats.segments <= segments + 4);
    rig_release(&r);
}

/* A life that ends by kill -9 leaves frames in the page cache only; then power fails in the opening
 * that found them: what it cut or went on from must not outlive them. */
static void crash_opening_after_kill(uint64_t seed, enum crash_mode mode)
{
    struct rig r;

    rig_init(&r, seed);
    for (unsigned life = 0; life < 12; life++) {
        r.failed = false;
        assert_int_equal(rig_open(&r), 0);
        check(&r);
        begin_epochs(&r);
        work(&r, 40);
        vol_io_kill(&r.io);
        rig_close(&r);
        vol_io_revive(&r.io);
        crash_disk_power_off_at(r.disk, crash_disk_io_count(r.disk) + 1 + rnd_below(&r.rnd, 4));
        if (rig_open(&r) == 0) {
            check(&r);
        }
        rig_close(&r);
        crash_disk_reboot(r.disk, mode, seed + life);
    }
    assert_int_equal(rig_open(&r), 0);
    check(&r);
    rig_release(&r);
}

static void an_opening_that_crashes_after_a_kill_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= of(60, 20); seed++) {
        crash_opening_after_kill(seed, (enum crash_mode)(seed % 4));
    }
}

static void openings_that_crash_one_after_another_lose_nothing_and_take_no_space(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= of(40, 12); seed++) {
        crash_openings(seed, (enum crash_mode)(seed % 4));
    }
}

static void enumerate(enum crash_mode mode, unsigned seeds, unsigned steps)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t n = 1;

        while (crash_at(n, mode, seed, steps)) {
            n++;
        }
        print_message("seed %llu: %llu crash points\n", (unsigned long long)seed,
                      (unsigned long long)n);
    }
}

static void power_loss_that_keeps_all_keeps_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    enumerate(CRASH_KEEP_ALL, 1, 150);
}

static void power_loss_that_drops_all_keeps_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    enumerate(CRASH_DROP_ALL, of(2, 1), 150);
}

static void power_loss_that_tears_keeps_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    enumerate(CRASH_RANDOM, of(4, 2), 150);
}

static void power_loss_that_reorders_keeps_a_prefix_with_all_flushed(void **state)
{
    (void)state;
    enumerate(CRASH_REVERSED, of(3, 1), 150);
}

/* Long enough to go round the ring many times. */
static void a_ring_that_wraps_survives_a_random_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 100 + of(60, 20); seed++) {
        struct rnd rnd = rnd_seed(seed);

        crash_at(200 + rnd_below(&rnd, 600), (enum crash_mode)(seed % 4), seed, 2500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_loss_that_keeps_all_keeps_a_prefix_with_all_flushed),
        cmocka_unit_test(power_loss_that_drops_all_keeps_a_prefix_with_all_flushed),
        cmocka_unit_test(power_loss_that_tears_keeps_a_prefix_with_all_flushed),
        cmocka_unit_test(power_loss_that_reorders_keeps_a_prefix_with_all_flushed),
        cmocka_unit_test(a_ring_that_wraps_survives_a_random_crash),
        cmocka_unit_test(an_opening_that_crashes_after_a_kill_loses_nothing),
        cmocka_unit_test(openings_that_crash_one_after_another_lose_nothing_and_take_no_space),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
