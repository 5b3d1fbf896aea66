/* One thread per connection, each with a part of the region of its own.
 *
 * A block has at most one write in flight. When a connection dies, its writes in flight are in
 * doubt: they may take effect or not, and should the server live, even a little later than a
 * write sent over the next connection. So their blocks rest for REST_MS after reconnecting. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "e2e/nbd_stamp.h"
#include "volumedriver/nbd_proto.h"

enum {
    WRITE_BLOCKS_MAX = 16,
    REST_MS = 10000,
    PICKS_MAX = 16,  /* random places tried before waiting for a reply instead */
    FUA_ONE_IN = 16, /* writes */
    ZERO_BYTES = 1 << 30,
};

struct mark { /* acknowledged, not yet flushed */
    uint64_t index, sequence;
    uint32_t count;
};

struct marks {
    struct mark *items;
    size_t count, capacity;
};

struct shared {
    const struct stamp_options *o;
    struct stamp_table table;
    pthread_mutex_t lock;
    struct marks acked; /* under lock, as is every stamp_block.flushed */
};

enum slot_state { SLOT_FREE, SLOT_WRITE, SLOT_FLUSH, SLOT_DOUBT };

struct slot {
    enum slot_state state;
    bool fua;
    struct mark mark;
    struct marks covered; /* by a flush in flight */
};

struct writer {
    pthread_t thread;
    struct shared *shared;
    struct stamp_client client;
    struct rnd rnd;
    uint64_t begin, end; /* its part, as indexes into the table */
    uint64_t *rests;     /* of its part: not before this time; UINT64_MAX: in flight */
    struct slot slots[STAMP_DEPTH_MAX];
    unsigned in_flight;
    unsigned since_flush;
    uint8_t *data;
    uint64_t writes, bytes, flushes, reconnects, doubts, errors;
    struct err err;
    bool failed;
};

/* ---- what is known ---- */

static void add_mark(struct marks *m, struct mark mark)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity != 0 ? m->capacity * 2 : 256;
        m->items = mem_realloc(m->items, m->capacity * sizeof *m->items);
    }
    m->items[m->count++] = mark;
}

static void mark_flushed(struct shared *s, struct mark mark)
{
    for (uint64_t i = mark.index; i < mark.index + mark.count; i++) {
        if (s->table.blocks[i].flushed < mark.sequence) {
            s->table.blocks[i].flushed = mark.sequence;
        }
    }
}

static void on_write_acked(struct writer *w, struct slot *slot)
{
    struct shared *s = w->shared;

    for (uint64_t i = slot->mark.index; i < slot->mark.index + slot->mark.count; i++) {
        s->table.blocks[i].acked = slot->mark.sequence;
    }
    pthread_mutex_lock(&s->lock);
    if (slot->fua) {
        mark_flushed(s, slot->mark);
    } else {
        add_mark(&s->acked, slot->mark);
    }
    pthread_mutex_unlock(&s->lock);
    w->writes++;
    w->bytes += (uint64_t)slot->mark.count * STAMP_BLOCK_BYTES;
}

/* The flush covered the writes of every connection that were acknowledged before it was sent. */
static void on_flushed(struct writer *w, struct slot *slot)
{
    struct shared *s = w->shared;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < slot->covered.count; i++) {
        mark_flushed(s, slot->covered.items[i]);
    }
    pthread_mutex_unlock(&s->lock);
    free(slot->covered.items);
    slot->covered = (struct marks){0};
    w->flushes++;
}

static void on_flush_failed(struct writer *w, struct slot *slot)
{
    struct shared *s = w->shared;

    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < slot->covered.count; i++) {
        add_mark(&s->acked, slot->covered.items[i]);
    }
    pthread_mutex_unlock(&s->lock);
    free(slot->covered.items);
    slot->covered = (struct marks){0};
}

static void rest(struct writer *w, struct mark mark, uint64_t until_ms)
{
    for (uint64_t i = mark.index; i < mark.index + mark.count; i++) {
        w->rests[i - w->begin] = until_ms;
    }
}

/* ---- connections ---- */

static void on_lost(struct writer *w)
{
    stamp_client_close(&w->client);
    for (unsigned i = 0; i < w->shared->o->depth; i++) {
        struct slot *slot = &w->slots[i];

        if (slot->state == SLOT_WRITE) {
            slot->state = SLOT_DOUBT;
            w->doubts++;
        } else if (slot->state == SLOT_FLUSH) {
            on_flush_failed(w, slot);
            slot->state = SLOT_FREE;
        }
    }
    w->in_flight = 0;
}

static int reconnect(struct writer *w)
{
    int rc = stamp_connect(&w->client, w->shared->o, &w->err);

    if (rc != 0) {
        w->failed = !atomic_load(w->shared->o->stop);
        return rc;
    }
    w->reconnects++;
    for (unsigned i = 0; i < w->shared->o->depth; i++) {
        if (w->slots[i].state == SLOT_DOUBT) {
            rest(w, w->slots[i].mark, clock_mono_ms() + REST_MS);
            w->slots[i].state = SLOT_FREE;
        }
    }
    return 0;
}

/* ---- requests ---- */

/* Blocks that may be written now; false: none found. */
static bool pick(struct writer *w, struct mark *ret_mark)
{
    uint64_t size = w->end - w->begin;
    uint64_t now = clock_mono_ms();

    for (int i = 0; i < PICKS_MAX; i++) {
        uint64_t count = 1 + rnd_below(&w->rnd, size < WRITE_BLOCKS_MAX ? size : WRITE_BLOCKS_MAX);
        uint64_t at = rnd_below(&w->rnd, size - count + 1);
        bool free_now = true;

        for (uint64_t j = at; j < at + count; j++) {
            free_now = free_now && w->rests[j] <= now;
        }
        if (free_now) {
            *ret_mark = (struct mark){.index = w->begin + at, .count = (uint32_t)count};
            return true;
        }
    }
    return false;
}

/* What is attempted stands in the table before a byte is sent. */
static int send_write(struct writer *w, unsigned number, struct mark mark)
{
    struct stamp_table *t = &w->shared->table;
    struct slot *slot = &w->slots[number];

    mark.sequence = atomic_fetch_add(&t->header->sequence, 1) + 1;
    *slot = (struct slot){.state = SLOT_WRITE, .mark = mark};
    slot->fua = rnd_below(&w->rnd, FUA_ONE_IN) == 0;
    for (uint32_t i = 0; i < mark.count; i++) {
        stamp_fill(w->data + (size_t)i * STAMP_BLOCK_BYTES, t->header->seed,
                   t->header->first_block + mark.index + i, mark.sequence);
        t->blocks[mark.index + i].attempted = mark.sequence;
    }
    rest(w, mark, UINT64_MAX);
    w->in_flight++;
    w->since_flush++;
    return stamp_client_send(&w->client, NBD_CMD_WRITE, slot->fua ? NBD_CMD_FLAG_FUA : 0, number,
                             (t->header->first_block + mark.index) * STAMP_BLOCK_BYTES,
                             mark.count * STAMP_BLOCK_BYTES, w->data);
}

static int send_flush(struct writer *w, unsigned number)
{
    struct slot *slot = &w->slots[number];

    *slot = (struct slot){.state = SLOT_FLUSH};
    pthread_mutex_lock(&w->shared->lock);
    slot->covered = w->shared->acked;
    w->shared->acked = (struct marks){0};
    pthread_mutex_unlock(&w->shared->lock);
    w->in_flight++;
    w->since_flush = 0;
    return stamp_client_send(&w->client, NBD_CMD_FLUSH, 0, number, 0, 0, NULL);
}

static int send_more(struct writer *w)
{
    int rc = 0;

    for (unsigned i = 0; i < w->shared->o->depth && rc == 0; i++) {
        struct mark mark;

        if (w->slots[i].state != SLOT_FREE) {
            continue;
        }
        if (w->since_flush >= w->shared->o->flush_every) {
            rc = send_flush(w, i);
        } else if (pick(w, &mark)) {
            rc = send_write(w, i, mark);
        }
    }
    return rc;
}

/* ESHUTDOWN ends the connection; another error counts, and leaves its blocks in doubt. */
static int take_reply(struct writer *w)
{
    uint64_t number;
    uint32_t error;
    struct slot *slot;
    int rc = stamp_client_reply(&w->client, &number, &error);

    if (rc != 0 || error == NBD_ESHUTDOWN) {
        return rc != 0 ? rc : ERR_CANCELED;
    }
    if (number >= w->shared->o->depth ||
        (w->slots[number].state != SLOT_WRITE && w->slots[number].state != SLOT_FLUSH)) {
        return ERR_PROTOCOL;
    }
    slot = &w->slots[number];
    if (error != 0) {
        err_say(&w->err, ERR_REMOTE, "NBD error %" PRIu32 " of a %s", error,
                slot->state == SLOT_WRITE ? "write" : "flush");
        w->errors++;
    }
    if (slot->state == SLOT_WRITE) {
        if (error == 0) {
            on_write_acked(w, slot);
        }
        rest(w, slot->mark, error == 0 ? 0 : clock_mono_ms() + REST_MS);
    } else if (error == 0) {
        on_flushed(w, slot);
    } else {
        on_flush_failed(w, slot);
    }
    slot->state = SLOT_FREE;
    w->in_flight--;
    return 0;
}

static void *run_writer(void *arg)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    struct writer *w = arg;
    bool flushed = false;
    int rc = 0;

    while (!w->failed) {
        bool stopping = atomic_load(w->shared->o->stop);

        if (w->client.fd < 0 && (stopping || reconnect(w) != 0)) {
            break; /* what is in doubt stays in doubt */
        }
        if (!stopping) {
            rc = send_more(w);
        } else if (w->in_flight == 0 && flushed) {
            break;
        } else if (w->in_flight == 0) {
            rc = send_flush(w, 0);
            flushed = true;
        }
        if (rc == 0 && w->in_flight != 0) {
            rc = take_reply(w);
        } else if (rc == 0) {
            nanosleep(&pause, NULL); /* every block rests */
        }
        if (rc != 0) {
            on_lost(w);
            rc = 0;
        }
    }
    stamp_client_close(&w->client);
    return NULL;
}

/* ---- the whole ---- */

/* Make the region known: zeroes, durably. */
static int prepare(struct stamp_table *t, struct stamp_client *c, struct err *e)
{
    uint64_t at = t->header->first_block * STAMP_BLOCK_BYTES;
    uint64_t left = t->header->block_count * STAMP_BLOCK_BYTES;

    while (t->header->prepared == 0) {
        uint32_t bytes = left < ZERO_BYTES ? (uint32_t)left : ZERO_BYTES;
        uint64_t cookie;
        uint32_t error;
        int rc = left != 0 ? stamp_client_send(c, NBD_CMD_WRITE_ZEROES, 0, 0, at, bytes, NULL)
                           : stamp_client_send(c, NBD_CMD_FLUSH, 0, 0, 0, 0, NULL);

        if (rc == 0) {
            rc = stamp_client_reply(c, &cookie, &error);
        }
        if (rc != 0 || error != 0) {
            return err_set(e, rc != 0 ? rc : ERR_REMOTE, "zero the region");
        }
        t->header->prepared = left == 0;
        at += bytes;
        left -= bytes;
    }
    return 0;
}

static int open_region(struct shared *s, struct err *e)
{
    const struct stamp_options *o = s->o;
    struct stamp_client c;
    uint64_t bytes;
    int rc = stamp_connect(&c, o, e);

    if (rc != 0) {
        return rc;
    }
    bytes = c.size_bytes > o->offset_bytes ? c.size_bytes - o->offset_bytes : 0;
    bytes = o->region_bytes != 0 && o->region_bytes < bytes ? o->region_bytes : bytes;
    rc = stamp_table_open(&s->table, o->table_path, true, o->offset_bytes / STAMP_BLOCK_BYTES,
                          bytes / STAMP_BLOCK_BYTES, e);
    if (rc == 0 && s->table.header->block_count < o->connections) {
        rc = err_say(e, -EINVAL, "the region is too small");
    }
    while (rc == 0) {
        rc = prepare(&s->table, &c, e);
        if (rc == 0 || rc == ERR_REMOTE) {
            break;
        }
        stamp_client_close(&c); /* the server died: zeroes again, from the start */
        rc = stamp_connect(&c, o, e);
        if (rc != 0) {
            return rc;
        }
    }
    stamp_client_close(&c);
    return rc;
}

static void start_writer(struct writer *w, struct shared *s, unsigned number)
{
    uint64_t blocks = s->table.header->block_count;

    w->shared = s;
    w->client.fd = -1;
    rnd_bytes(&w->rnd.state, sizeof w->rnd.state);
    w->begin = blocks * number / s->o->connections;
    w->end = blocks * (number + 1) / s->o->connections;
    w->rests = mem_array(w->end - w->begin, sizeof *w->rests);
    for (uint64_t i = w->begin; i < w->end; i++) { /* in doubt since another run */
        if (s->table.blocks[i].attempted != s->table.blocks[i].acked) {
            w->rests[i - w->begin] = clock_mono_ms() + REST_MS;
        }
    }
    w->data = mem_alloc((size_t)WRITE_BLOCKS_MAX * STAMP_BLOCK_BYTES);
    CHECK(pthread_create(&w->thread, NULL, run_writer, w) == 0);
}

static void sum_up(struct writer *sum, const struct writer *w)
{
    sum->writes += w->writes;
    sum->bytes += w->bytes;
    sum->flushes += w->flushes;
    sum->reconnects += w->reconnects - (w->reconnects != 0); /* the first was no re- */
    sum->doubts += w->doubts;
    sum->errors += w->errors;
    if (w->failed || w->errors != 0) {
        sum->failed = true;
        sum->err = w->err;
    }
}

/* Threads stop by *o->stop, which a signal or the time sets. */
static void wait_seconds(const struct stamp_options *o, uint64_t began_ms)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    while (!atomic_load(o->stop) && clock_mono_ms() - began_ms < (uint64_t)o->seconds * 1000) {
        nanosleep(&pause, NULL);
    }
    atomic_store(o->stop, true);
}

int stamp_write(const struct stamp_options *o)
{
    struct shared s = {.o = o, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct writer *writers = mem_array(o->connections, sizeof *writers);
    struct writer *sum = mem_zalloc(sizeof *sum);
    uint64_t began_ms;
    bool good = false;

    if (open_region(&s, &sum->err) != 0) {
        printf("write: %s\n", sum->err.msg);
        goto out;
    }
    began_ms = clock_mono_ms();
    for (unsigned i = 0; i < o->connections; i++) {
        start_writer(&writers[i], &s, i);
    }
    wait_seconds(o, began_ms);
    for (unsigned i = 0; i < o->connections; i++) {
        CHECK(pthread_join(writers[i].thread, NULL) == 0);
        sum_up(sum, &writers[i]);
        free(writers[i].rests);
        free(writers[i].data);
    }
    good = !sum->failed && sum->writes != 0;
    printf("write: %.1f s, %" PRIu64 " writes (%.1f MiB), %" PRIu64 " flushes, %" PRIu64
           " reconnects, %" PRIu64 " in doubt, %" PRIu64 " errors: %s\n",
           (double)(clock_mono_ms() - began_ms) / 1000, sum->writes, (double)sum->bytes / 1048576,
           sum->flushes, sum->reconnects, sum->doubts, sum->errors,
           good ? "ok" : (sum->writes == 0 ? "nothing was written" : sum->err.msg));

out:
    stamp_table_close(&s.table);
    free(s.acked.items);
    free(writers);
    free(sum);
    return good ? 0 : 1;
}
