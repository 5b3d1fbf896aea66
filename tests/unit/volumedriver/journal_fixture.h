/* A journal on a disk in memory, with two volumes that write to it. */
#ifndef TESTS_UNIT_VOLUMEDRIVER_JOURNAL_FIXTURE_H
#define TESTS_UNIT_VOLUMEDRIVER_JOURNAL_FIXTURE_H

#include "base/buf.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/crash_disk.h"
#include "loop/run.h"
#include "volumedriver/journal.h"

enum { CLUSTER = 4096, SEGMENT_BYTES = 131072, SUPER = 4096 };

struct fixture {
    struct crash_disk *disk;
    uv_loop_t loop;
    struct journal *j;
    uint8_t uuid[2][16];
    uint64_t seq[2];
    uint8_t data[8 * CLUSTER];
    struct iovec iov;
    struct list live; /* records */
    unsigned ended, awaited, failed, pressed;
    uint64_t pressed_lsn;
    uint64_t segment_bytes; /* 0: SEGMENT_BYTES */
    uint64_t journal_bytes; /* 0: six segments */
    uint64_t grow_again_ms;
    bool closed;
};

struct write {
    struct journal_append append;
    struct fixture *f;
};

static inline void on_pressure(void *ctx, uint64_t lsn)
{
    struct fixture *f = ctx;

    f->pressed++;
    f->pressed_lsn = lsn;
}

static inline int open_journal(struct fixture *f, struct err *e)
{
    uint64_t segment_bytes = f->segment_bytes != 0 ? f->segment_bytes : SEGMENT_BYTES;
    struct journal_options o = {.loop = &f->loop,
                                .io = crash_disk_io(f->disk),
                                .dir = "/",
                                .segment_bytes = segment_bytes,
                                .journal_bytes =
                                    f->journal_bytes != 0 ? f->journal_bytes : 6 * segment_bytes,
                                .grow_again_ms = f->grow_again_ms,
                                .on_pressure = on_pressure,
                                .ctx = f};

    return journal_open(&o, &f->j, e);
}

static inline int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    f->disk = crash_disk_new(1);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    list_init(&f->live);
    memset(f->uuid[0], 1, 16);
    memset(f->uuid[1], 2, 16);
    memset(f->data, 0x5a, sizeof(f->data));
    f->iov = (struct iovec){.iov_base = f->data, .iov_len = sizeof(f->data)};
    assert_int_equal(open_journal(f, &e), 0);
    *state = f;
    return 0;
}

static inline void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static inline void close_journal(struct fixture *f)
{
    struct list *link;

    if (f->j == NULL) {
        return;
    }
    while ((link = list_pop(&f->live)) != NULL) {
        journal_record_abandon(f->j, container_of(link, struct record, link));
    }
    f->closed = false;
    journal_close(f->j, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    f->j = NULL;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    close_journal(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(crash_disk_open_count(f->disk), 0);
    crash_disk_free(f->disk);
    free(f);
    return 0;
}

static inline void on_append(struct journal_append *append, int rc)
{
    struct write *w = container_of(append, struct write, append);
    struct fixture *f = w->f;

    f->ended++;
    if (append->record == NULL) {
        assert_int_equal(rc, 0);
    } else if (rc == 0) {
        list_push(&f->live, &append->record->link);
    } else {
        assert_true(rc == ERR_FAILED || rc == ERR_CANCELED);
        f->failed++;
        journal_record_drop(f->j, append->record);
    }
    free(w);
}

static inline void append(struct fixture *f, unsigned v, uint32_t clusters, bool durable)
{
    struct write *w = mem_zalloc(sizeof(*w));

    w->f = f;
    w->append = (struct journal_append){.volume = f->uuid[v],
                                        .seq = ++f->seq[v],
                                        .epoch = 1,
                                        .op = FRAME_OP_WRITE,
                                        .durable = durable,
                                        .record = record_new(FRAME_OP_WRITE, 10, clusters),
                                        .iov = &f->iov};
    journal_append(f->j, &w->append, on_append);
}

/* Any other record of volume `v`: `append` says which. */
static inline void append_other(struct fixture *f, unsigned v, struct journal_append append)
{
    struct write *w = mem_zalloc(sizeof(*w));

    w->f = f;
    w->append = append;
    w->append.volume = f->uuid[v];
    w->append.durable = true;
    journal_append(f->j, &w->append, on_append);
}

static inline bool has_ended(void *ctx)
{
    const struct fixture *f = ctx;

    return f->ended >= f->awaited;
}

static inline void run_until(struct fixture *f, unsigned ended)
{
    f->awaited = ended;
    loop_run_until_true(&f->loop, has_ended, f);
}

static inline void on_time(uv_timer_t *timer)
{
    uv_stop(timer->loop); /* I/O may be held back */
    uv_close((uv_handle_t *)timer, NULL);
}

static inline void wait_ms(struct fixture *f, uint64_t ms)
{
    uv_timer_t timer;

    uv_timer_init(&f->loop, &timer);
    uv_timer_start(&timer, on_time, ms, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static inline struct journal_stats stats_of(const struct fixture *f)
{
    struct journal_stats stats;

    journal_stats(f->j, &stats);
    return stats;
}

static inline void drop(void *ctx, struct record *record)
{
    journal_record_drop(((struct fixture *)ctx)->j, record);
}

static inline void drop_all(struct fixture *f)
{
    struct list *link;

    while ((link = list_pop(&f->live)) != NULL) {
        drop(f, container_of(link, struct record, link));
    }
}

/* Append and give back `n` records of 7 clusters of volume 0: four of them fill a segment. */
static inline void churn(struct fixture *f, unsigned n)
{
    while (n-- != 0) {
        append(f, 0, 7, true);
        run_until(f, f->ended + 1);
        drop_all(f);
    }
}

static inline void reopen(struct fixture *f)
{
    struct err e;

    close_journal(f);
    assert_int_equal(open_journal(f, &e), 0);
}

/* Reopen and sort out the tail of volume `v`; its records go to f->live. */
static inline struct tail_history history(struct fixture *f, unsigned v)
{
    struct tail_history h;
    struct tail tail;

    journal_take_tail(f->j, f->uuid[v], &tail);
    tail_resolve(&tail, &(struct tail_bounds){.since = 1, .epoch = 2}, drop, f, &h);
    list_splice(&f->live, &h.records);
    list_splice(&f->live, &h.stranded);
    for (uint32_t i = 0; i < h.sco_count; i++) {
        list_push(&f->live, &h.scos[i].record->link);
    }
    free(h.scos);
    return h;
}

/* Offset in the file of the n-th byte of data of the record with `seq`. */
static inline uint64_t data_offset(struct fixture *f, uint64_t seq)
{
    LIST_FOR_EACH (it, &f->live) {
        const struct record *record = container_of(it, struct record, link);

        if (record->seq == seq) {
            return record->data_offset;
        }
    }
    fail();
    return 0;
}

#endif
