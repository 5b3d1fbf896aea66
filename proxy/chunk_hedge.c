/* A chunk read whose OSDs take too long: which of its fragments are late, and who lost when others
 * were faster. The rules of when and how often: hedge.h. */
#include "base/check.h"
#include "base/clock.h"
#include "proxy/chunk_read_private.h"

static bool is_reading(const struct chunk_read *r, uint32_t fragment)
{
    return chunk_state_of(r, fragment) == CHUNK_PART_READING;
}

bool chunk_hedge_is_well(const struct osd *osd)
{
    return !osd->aside && !osd->gone && !osd->suspect.is && osd->waiting == 0 &&
           osd->in_flight < OSD_CALLS_MAX / 2;
}

static unsigned kind_of(const struct chunk_read *r, const struct osd *osd)
{
    return hedge_kind(osd_is_far(osd), r->bytes);
}

/* ---- who is late ---- */

/* With one more late, is there another for each that is then missing? */
static bool has_other_ways(const struct chunk_read *r, bool may_be_far)
{
    uint32_t have = r->good + r->reading - chunk_choose_late(r) - 1;
    uint32_t well = 0;

    for (uint32_t i = 0; i < r->readable->k + r->readable->m; i++) {
        const struct osd *osd = r->parts[i] == NULL ? chunk_choose_osd(r, i) : NULL;

        well += osd != NULL && ((r->avoid | r->never) >> i & 1) == 0 && chunk_hedge_is_well(osd) &&
                (may_be_far || !osd_is_far(osd));
    }
    return have + well >= r->readable->k;
}

/* Is it the first time that this read is told no? */
static bool is_first(bool *flag)
{
    bool was = *flag;

    *flag = true;
    return !was;
}

/* A token, or: its OSD has been found not to answer, so that it is no better than set aside. What
 * such an OSD had when it was found is the most that goes without tokens. Nor does a read pay
 * twice: where two OSDs hang, a herd would spend all tokens on the first, and none would win. */
static bool may_hedge(struct chunk_read *r, const struct chunk_part *part)
{
    struct stats_totals *totals = &r->engine->stats.totals;

    if (part->osd->suspect.is || r->is_hedged) {
        totals->hedges_away++;
        return true;
    }
    if (!hedge_take(&r->engine->hedge)) {
        totals->hedges_refused += is_first(&r->was_refused);
        return false;
    }
    totals->hedges++;
    return true;
}

/* Its time is over, its OSD owes the answer, and there is another way. What a far one costs besides
 * is not spent on a read that is but a little slow. */
static bool is_late(const struct chunk_read *r, const struct chunk_part *part, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - part->start_ns;

    return !part->late && age_ns >= r->hedge.delay_ns && fetch_is_asking(&part->fetch) &&
           has_other_ways(r, osd_is_far(part->osd) || age_ns >= HEDGE_DELAY_FIRST_MS * 1000000ULL);
}

/* One at a time of those with tokens, so that each brings one fragment more. */
static bool find_late(struct chunk_read *r, uint64_t now_ns, bool suspect_only)
{
    bool found = false;

    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        struct chunk_part *part = r->parts[i];

        if (is_reading(r, i) && (part->osd->suspect.is || (!found && !suspect_only)) &&
            is_late(r, part, now_ns) && may_hedge(r, part)) {
            part->late = true;
            r->is_hedged = true;
            found = true;
        }
    }
    return found;
}

static void on_late(struct hedge_wait *wait, bool is_loop_late)
{
    struct chunk_read *r = container_of(wait, struct chunk_read, hedge);
    bool is_saturated = is_loop_late || hedge_is_saturated(r->engine);
    uint64_t now_ns = clock_mono_ns();

    r->engine->stats.totals.hedges_saturated += is_saturated && is_first(&r->was_saturated);
    /* What waits for an OSD that does not answer holds the memory that is short. */
    if (!is_loop_late && find_late(r, now_ns, is_saturated)) {
        r->late_cb(r);
    } else {
        hedge_again(wait, now_ns);
    }
}

void chunk_hedge_begin(struct chunk_read *r, void (*late)(struct chunk_read *read))
{
    bool is_far = false;

    r->hedge = (struct hedge_wait){0};
    if (!r->engine->options.hedge_reads || r->readable->low_priority || r->reading == 0) {
        return;
    }
    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        is_far = is_far || (is_reading(r, i) && osd_is_far(r->parts[i]->osd));
    }
    r->late_cb = late;
    hedge_begin(&r->engine->hedge, &r->hedge, hedge_kind(is_far, r->bytes), clock_mono_ns(),
                on_late);
}

/* ---- what is learned ---- */

/* Who joined another's question does not know how long it takes. */
void chunk_hedge_came(struct chunk_read *r, const struct chunk_part *part)
{
    if (!r->readable->low_priority && !part->fetch.has_joined) {
        hedge_note(&r->engine->hedge, kind_of(r, part->osd), clock_mono_ns() - part->start_ns);
    }
}

/* What it would have taken is not known, but longer than most, which is all that quantiles
 * ask. Not of an OSD that is suspect: it would make the time of all of them its own. */
static void overtake(struct chunk_read *r, struct chunk_part *part, uint64_t now_ns)
{
    bool is_asking = fetch_is_asking(&part->fetch);

    fetch_overtake(&part->fetch, r->hedge.delay_ns);
    if (is_asking && !part->fetch.has_joined && !part->osd->suspect.is) {
        hedge_note(&r->engine->hedge, kind_of(r, part->osd), now_ns - part->start_ns);
    }
}

void chunk_hedge_end_reading(struct chunk_read *r)
{
    uint64_t now_ns = r->is_hedged ? clock_mono_ns() : 0;
    bool won = false;

    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        if (!is_reading(r, i)) {
            continue;
        }
        if (r->is_hedged && !r->canceled && now_ns - r->parts[i]->start_ns >= r->hedge.delay_ns) {
            overtake(r, r->parts[i], now_ns);
            won = won || !r->parts[i]->is_hedge;
        } else {
            fetch_cancel(&r->parts[i]->fetch);
        }
    }
    r->engine->stats.totals.hedges_won += won;
}
