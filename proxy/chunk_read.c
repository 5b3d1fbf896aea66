/* What chunk_choose.c says is asked for, and what is late (chunk_hedge.c) is awaited, but others
 * are asked besides. What makes it enough first ends the read. With k good ones that are not all
 * data, the missing data is decoded. None left to ask: in stripes (chunk_stripes.c), if some were
 * only damaged; else ERR_NOT_ENOUGH. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "proxy/chunk_read_private.h"

static void step(struct chunk_read *r);

/* ---- end ---- */

static void keep_blocks(struct chunk_read *r)
{
    struct block_source source = readable_source(r->readable, r->chunk, r->wanted);

    block_cache_put(&r->engine->blocks, &source,
                    (struct block_range){.offset = r->offset, .bytes = r->bytes}, r->blocks);
    memcpy(r->asked.dest, r->blocks + (r->asked.offset - r->offset), r->asked.bytes);
}

static void release_parts(struct chunk_read *r)
{
    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        r->engine->scratch_bytes -= r->scratch[i] != NULL ? r->bytes : 0;
        free(r->parts[i]);
        bigmem_free(r->scratch[i]);
        r->parts[i] = NULL;
        r->scratch[i] = NULL;
    }
}

static void finish(struct chunk_read *r, int rc)
{
    hedge_end(&r->hedge);
    if (rc == 0 && r->blocks != NULL) {
        keep_blocks(r);
    }
    free(r->blocks);
    release_parts(r);
    r->cb(r, rc);
}

/* ---- fragments ---- */

/* Every replica is the data, but what one of them brings must not lie where another, which may yet
 * turn out bad, is being unpacked. */
static bool is_dest_taken(const struct chunk_read *r)
{
    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        if (chunk_state_of(r, i) == CHUNK_PART_READING && r->parts[i]->bytes == r->dest) {
            return true;
        }
    }
    return false;
}

static uint8_t *place_of(struct chunk_read *r, uint32_t fragment)
{
    if (r->readable->k == 1 ? !is_dest_taken(r) : fragment == r->wanted) {
        return r->dest;
    }
    if (r->readable->k > 1 && r->wanted == CHUNK_ALL && fragment < r->readable->k) {
        return r->dest + (size_t)fragment * r->stride;
    }
    r->scratch[fragment] = bigmem_alloc(r->bytes);
    r->engine->scratch_bytes += r->bytes;
    return r->scratch[fragment];
}

/* Not: its OSD cannot be asked, or speaks of a newer format. */
static bool is_fragment_lost(int rc)
{
    return rc == ERR_NOT_FOUND || rc == ERR_CORRUPT || rc == -ERANGE;
}

static void on_fetched(struct fetch *fetch, int rc)
{
    struct chunk_part *part = container_of(fetch, struct chunk_part, fetch);
    struct chunk_read *r = part->read;

    r->reading--;
    if (rc == 0) {
        part->state = CHUNK_PART_GOOD;
        r->good++;
        r->came |= UINT32_C(1) << fetch->range.fragment;
        chunk_hedge_came(r, part);
    } else {
        part->state = CHUNK_PART_BAD;
        err_copy(&r->err, &fetch->err);
        if (is_fragment_lost(rc)) {
            r->bad |= UINT32_C(1) << fetch->range.fragment;
        }
        if (rc == ERR_CORRUPT) {
            r->damaged |= UINT32_C(1) << fetch->range.fragment;
        }
    }
    step(r);
}

static void start_part(struct chunk_read *r, uint32_t fragment, bool is_hedge)
{
    struct chunk_part *part = mem_alloc(sizeof(*part));
    struct fetch_range range = {.chunk = r->chunk,
                                .fragment = fragment,
                                .offset = r->offset,
                                .bytes = r->bytes,
                                .exact = r->exact};

    part->read = r;
    part->state = CHUNK_PART_READING;
    part->late = false;
    part->is_hedge = is_hedge;
    part->osd = chunk_choose_osd(r, fragment);
    part->start_ns = clock_mono_ns();
    part->bytes = range.dest = place_of(r, fragment);
    r->parts[fragment] = part;
    r->reading++;
    fetch_start(&part->fetch, r->engine, r->readable, &range, on_fetched);
}

/* ---- decoding ---- */

/* Pool or loop thread: uses the parts and the decoder, which rest meanwhile. */
static void decode(struct chunk_read *r)
{
    const uint8_t *have[PRESET_K_MAX];
    uint8_t *want[PRESET_M_MAX];

    for (uint32_t i = 0; i < r->decoder.k; i++) {
        have[i] = r->parts[r->decoder.have[i]]->bytes;
    }
    for (uint32_t i = 0; i < r->decoder.want_count; i++) {
        want[i] =
            r->wanted == CHUNK_ALL ? r->dest + (size_t)r->decoder.want[i] * r->stride : r->dest;
    }
    erasure_decode(&r->decoder, r->bytes, have, want);
}

static void decode_run(struct pool_work *work)
{
    decode(container_of(work, struct chunk_read, work));
}

static void decode_done(struct pool_work *work, int rc)
{
    struct chunk_read *r = container_of(work, struct chunk_read, work);

    finish(r, rc != 0 ? err_set(&r->err, rc, "decoding") : 0);
}

/* k good ones are there. Returns false when nothing is missing. */
static bool prepare_decoder(struct chunk_read *r)
{
    uint32_t k = r->readable->k;
    uint8_t have[PRESET_K_MAX], want[PRESET_K_MAX];
    uint32_t have_count = 0, want_count = 0;

    if (k == 1) {
        return false;
    }
    for (uint32_t i = 0; i < k + r->readable->m; i++) {
        bool good = chunk_state_of(r, i) == CHUNK_PART_GOOD;

        if (good && have_count < k) {
            have[have_count++] = (uint8_t)i;
        }
        if (!good && chunk_is_wanted(r, i)) {
            want[want_count++] = (uint8_t)i;
        }
    }
    if (want_count == 0) {
        return false;
    }
    CHECK(have_count == k && want_count <= r->readable->m);
    erasure_decoder_init(&r->decoder, erasure_get(k, r->readable->m), have, want, want_count);
    return true;
}

/* Of replicas: a good one lies where it is wanted, or is copied there. */
static void place_replica(struct chunk_read *r)
{
    const uint8_t *good = NULL;

    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX && good != r->dest; i++) {
        good = chunk_state_of(r, i) == CHUNK_PART_GOOD ? r->parts[i]->bytes : good;
    }
    if (good != r->dest) {
        memcpy(r->dest, good, r->bytes);
    }
}

static void finish_good(struct chunk_read *r)
{
    int rc;

    if (!prepare_decoder(r)) {
        if (r->readable->k == 1) {
            place_replica(r);
        }
        finish(r, 0);
        return;
    }
    r->computed = true;
    r->engine->stats.totals.reconstructed += !r->exact;
    if (r->bytes <= FETCH_INLINE_BYTES) {
        decode(r);
        finish(r, 0);
        return;
    }
    rc = pool_submit(r->engine->pool, &r->work, r->readable->low_priority ? POOL_LOW : POOL_HIGH,
                     decode_run, decode_done);
    if (rc != 0) {
        finish(r, err_set(&r->err, rc, "decoding"));
    }
}

/* ---- drive ---- */

static bool is_satisfied(const struct chunk_read *r)
{
    if (r->wanted != CHUNK_ALL && chunk_state_of(r, r->wanted) == CHUNK_PART_GOOD) {
        return true;
    }
    return r->good >= r->readable->k;
}

/* " 0 2": the numbers of those in this state; empty: none. */
static void list_fragments(const struct chunk_read *r, enum chunk_part_state state, char *ret_text,
                           size_t bytes)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (uint32_t i = 0; i < r->readable->k + r->readable->m && used < bytes; i++) {
        if (chunk_state_of(r, i) == state) {
            used += (size_t)snprintf(ret_text + used, bytes - used, " %" PRIu32, i);
        }
    }
}

/* Each one has been asked, but those whose OSD is not known, or that failed before. */
static void give_up(struct chunk_read *r)
{
    char failed[3 * PRESET_FRAGMENTS_MAX + 1], unasked[3 * PRESET_FRAGMENTS_MAX + 1];
    struct err last = r->err;

    list_fragments(r, CHUNK_PART_BAD, failed, sizeof(failed));
    list_fragments(r, CHUNK_PART_IDLE, unasked, sizeof(unasked));
    err_say(&r->err, ERR_NOT_ENOUGH,
            "chunk %" PRIu32 ": not enough fragments: %" PRIu32 " of %" PRIu32 "%s%s%s%s%s%.160s",
            r->chunk, r->good, r->readable->k, unasked[0] != '\0' ? "; not to be had:" : "",
            unasked, failed[0] != '\0' ? "; failed:" : "", failed,
            failed[0] != '\0' ? ", the last: " : "", last.msg);
    finish(r, ERR_NOT_ENOUGH);
}

static void ask(struct chunk_read *r)
{
    bool is_hedge;
    int next;

    while ((next = chunk_choose_next(r, &is_hedge)) >= 0) {
        start_part(r, (uint32_t)next, is_hedge);
    }
}

/* What is under way borrows our memory: it is awaited, but need not take its time. */
static void end_reading(struct chunk_read *r)
{
    if (!r->is_over) {
        r->is_over = true;
        hedge_end(&r->hedge);
        chunk_hedge_end_reading(r);
    }
}

static void step(struct chunk_read *r)
{
    if (is_satisfied(r) || r->canceled) {
        if (r->reading > 0) {
            end_reading(r);
            return;
        }
        if (r->canceled) {
            finish(r, err_set(&r->err, ERR_CANCELED, "read"));
        } else {
            finish_good(r);
        }
        return;
    }
    ask(r);
    if (r->reading == 0 && !r->exact && chunk_stripes_have_hope(r)) {
        hedge_end(&r->hedge); /* each stripe has its own */
        release_parts(r);
        chunk_stripes_start(r, finish);
    } else if (r->reading == 0) {
        give_up(r);
    }
}

static void on_start(struct later_item *item)
{
    struct chunk_read *r = container_of(item, struct chunk_read, later);

    if (r->canceled) {
        step(r);
        return;
    }
    if (!r->readable->low_priority) {
        chunk_choose_tried(r);
    }
    ask(r);
    if (r->reading == 0) {
        give_up(r);
        return;
    }
    chunk_hedge_begin(r, step);
}

static void start(struct chunk_read *r, struct engine *engine, const struct readable *readable,
                  uint32_t chunk, uint8_t *dest, chunk_read_cb cb)
{
    r->err = (struct err){0};
    r->engine = engine;
    r->readable = readable;
    r->chunk = chunk;
    r->dest = dest;
    r->cb = cb;
    r->canceled = false;
    r->is_over = false;
    r->is_hedged = false;
    r->was_refused = false;
    r->was_saturated = false;
    r->hedge = (struct hedge_wait){0};
    r->tried = NULL;
    r->reading = 0;
    r->good = 0;
    r->bad = 0;
    r->came = 0;
    r->computed = false;
    r->damaged = 0;
    r->stripes = NULL;
    memset(r->parts, 0, sizeof(r->parts));
    memset(r->scratch, 0, sizeof(r->scratch));
    later_run(&engine->later, &r->later, on_start);
}

void chunk_read_all(struct chunk_read *r, struct engine *engine, const struct readable *readable,
                    uint32_t chunk, uint8_t *dest, chunk_read_cb cb)
{
    chunk_read_rest(r, engine, readable, chunk, 0, dest, cb);
}

void chunk_read_rest(struct chunk_read *r, struct engine *engine, const struct readable *readable,
                     uint32_t chunk, uint32_t avoid, uint8_t *dest, chunk_read_cb cb)
{
    r->wanted = CHUNK_ALL;
    r->blocks = NULL;
    r->avoid = avoid;
    r->never = 0;
    r->exact = false;
    r->offset = 0;
    r->bytes = layout_fragment_bytes(&readable->layout, chunk);
    r->stride = r->bytes;
    CHECK(r->bytes > 0);
    start(r, engine, readable, chunk, dest, cb);
}

void chunk_read_range(struct chunk_read *r, struct engine *engine, const struct readable *readable,
                      const struct fetch_range *range, chunk_read_cb cb)
{
    struct block_source source = readable_source(readable, range->chunk, range->fragment);
    struct block_range part = {.offset = range->offset, .bytes = range->bytes};

    CHECK(range->bytes > 0 && range->fragment < readable->k);
    r->wanted = range->fragment;
    r->avoid = 0;
    r->never = 0;
    r->exact = false;
    r->asked = *range;
    r->blocks = NULL;
    if (readable_is_cached(readable, engine, range->bytes)) {
        part = block_range_align(&source, part);
        r->blocks = mem_alloc(part.bytes);
    }
    r->offset = part.offset;
    r->bytes = part.bytes;
    r->stride = 0; /* there is but one */
    start(r, engine, readable, range->chunk, r->blocks != NULL ? r->blocks : range->dest, cb);
}

void chunk_read_stripe(struct chunk_read *r, const struct chunk_read *whole, uint32_t at,
                       uint32_t bytes, uint32_t never, chunk_read_cb cb)
{
    r->wanted = whole->wanted;
    r->blocks = NULL;
    r->avoid = 0;
    r->never = never;
    r->exact = true;
    r->offset = whole->offset + at;
    r->bytes = bytes;
    r->stride = whole->stride;
    start(r, whole->engine, whole->readable, whole->chunk, whole->dest + at, cb);
}

void chunk_read_cancel(struct chunk_read *r)
{
    if (r->canceled) {
        return;
    }
    r->canceled = true;
    if (r->stripes != NULL) {
        chunk_stripes_cancel(r->stripes);
    }
    end_reading(r);
}
