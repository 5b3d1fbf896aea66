/* Read what costs least, at first exactly as much as is needed:
 *
 * - a range: its own fragment, unless k others can be had from better OSDs. When that fails, the k
 *   cheapest others;
 * - a chunk: the k cheapest fragments, data before parity as long as the OSDs are well.
 *
 * A fragment that fails is replaced by the next cheapest, and so is one that is late, by one that
 * is with a well OSD. */
#include "base/clock.h"
#include "proxy/chunk_read_private.h"

/* What a parity fragment costs more than a data fragment: decoding. Less than an OSD being
 * far or set aside (osd_read_cost). */
static const double parity_cost = 2e6;
/* Of an OSD that seems not to answer: more than of one that is far, less than of one that is
 * set aside. */
static const double suspect_cost = 1e8;
/* And one that was found bad before, perhaps by mistake: more than all of those. */
static const double avoid_cost = 1e12;

struct osd *chunk_choose_osd(const struct chunk_read *r, uint32_t fragment)
{
    const struct manifest_fragment *f = readable_fragment(r->readable, r->chunk, fragment);

    return f->has_osd ? osds_find(r->engine->osds, f->osd_id) : NULL;
}

static bool is_suspect(const struct chunk_read *r, const struct osd *osd)
{
    return osd->suspect.is && osd != r->tried;
}

/* Of asking for this one, which is with `osd`. */
static double cost_of(const struct chunk_read *r, uint32_t fragment, const struct osd *osd)
{
    double cost = osd_read_cost(osd);

    if (osd == r->tried && !osd_is_far(osd) && !osd->aside && !osd->gone) {
        return 0; /* to be tried it has to be asked */
    }
    return cost + (chunk_is_wanted(r, fragment) || r->readable->k == 1 ? 0 : parity_cost) +
           (is_suspect(r, osd) ? suspect_cost : 0) +
           ((r->avoid >> fragment & 1) != 0 ? avoid_cost : 0);
}

/* Of those not yet asked; -1: none left. */
static int cheapest(const struct chunk_read *r, bool only_well)
{
    double best_cost = 0;
    int best = -1;

    for (uint32_t i = 0; i < r->readable->k + r->readable->m; i++) {
        const struct osd *osd = chunk_choose_osd(r, i);
        double cost;

        if (chunk_state_of(r, i) != CHUNK_PART_IDLE || osd == NULL || (r->never >> i & 1) != 0 ||
            (only_well && ((r->avoid >> i & 1) != 0 || !chunk_hedge_is_well(osd)))) {
            continue;
        }
        cost = cost_of(r, i, osd);
        if (best < 0 || cost < best_cost) {
            best = (int)i;
            best_cost = cost;
        }
    }
    return best;
}

/* Of a range: is its own fragment, alone, the first to be asked? Unless k others make it that can
 * be had from better OSDs: well ones if that of the fragment is set aside or suspect, near ones if
 * it is far. */
static bool goes_direct(const struct chunk_read *r)
{
    const struct osd *wanted;
    uint32_t better = 0;

    if (r->wanted == CHUNK_ALL || r->readable->k == 1 ||
        chunk_state_of(r, r->wanted) != CHUNK_PART_IDLE || r->good + r->reading > 0) {
        return false;
    }
    wanted = chunk_choose_osd(r, r->wanted);
    if (wanted == NULL || (r->never >> r->wanted & 1) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < r->readable->k + r->readable->m; i++) {
        const struct osd *osd = i != r->wanted ? chunk_choose_osd(r, i) : NULL;

        better += osd != NULL && !osd->aside && !osd->gone && !osd->suspect.is &&
                  chunk_state_of(r, i) == CHUNK_PART_IDLE &&
                  (wanted->aside || wanted->gone || is_suspect(r, wanted) ||
                   (osd_is_far(wanted) && !osd_is_far(osd)));
    }
    return better < r->readable->k;
}

uint32_t chunk_choose_late(const struct chunk_read *r)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX && r->is_hedged; i++) {
        count += chunk_state_of(r, i) == CHUNK_PART_READING && r->parts[i]->late;
    }
    return count;
}

/* How many must be under way: k, or just the one as long as it has not failed. */
static uint32_t needed(const struct chunk_read *r)
{
    bool is_asked = r->wanted != CHUNK_ALL && chunk_state_of(r, r->wanted) == CHUNK_PART_READING &&
                    (r->parts[r->wanted]->late || (r->good == 0 && r->reading == 1));

    return is_asked || goes_direct(r) ? 1 : r->readable->k;
}

int chunk_choose_next(const struct chunk_read *r, bool *ret_is_hedge)
{
    uint32_t late = chunk_choose_late(r);

    *ret_is_hedge = r->good + r->reading >= needed(r);
    if (!*ret_is_hedge) {
        return goes_direct(r) ? (int)r->wanted : cheapest(r, false);
    }
    return late > 0 && r->good + r->reading - late < r->readable->k ? cheapest(r, true) : -1;
}

/* Is it one of those that are asked at first? */
static bool is_first(const struct chunk_read *r, uint32_t fragment)
{
    double cost = cost_of(r, fragment, chunk_choose_osd(r, fragment));
    uint32_t cheaper = 0;

    if ((r->never >> fragment & 1) != 0) {
        return false;
    }
    if (r->wanted != CHUNK_ALL && r->readable->k > 1) {
        return goes_direct(r);
    }
    for (uint32_t i = 0; i < r->readable->k + r->readable->m; i++) {
        const struct osd *osd = (r->never >> i & 1) == 0 ? chunk_choose_osd(r, i) : NULL;

        if (osd != NULL && i != fragment) {
            double other = cost_of(r, i, osd);

            cheaper += other < cost || (other == cost && i < fragment);
        }
    }
    return cheaper < r->readable->k;
}

void chunk_choose_tried(struct chunk_read *r)
{
    uint32_t count = r->readable->k + (r->readable->k == 1 ? r->readable->m : 0);

    for (uint32_t i = 0; i < count && r->tried == NULL; i++) {
        struct osd *osd =
            chunk_is_wanted(r, i) || r->readable->k == 1 ? chunk_choose_osd(r, i) : NULL;

        if (osd != NULL && osd->suspect.is) {
            r->tried = osd; /* as if */
            if (!is_first(r, i) || !osd_suspect_try(&osd->suspect, clock_mono_ns())) {
                r->tried = NULL;
            }
        }
    }
}
