#include "proxy/osd_slow.h"

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Slow again so soon: it is asked less often. */
static unsigned next_delay(const struct osd_slow *s, uint64_t now_ms)
{
    unsigned twice = 2 * s->delay_ms;

    if (s->delay_ms == 0 || now_ms - s->fast_ms > OSD_SLOW_FORGET_MS) {
        return OSD_SLOW_PROBE_FIRST_MS;
    }
    return twice < OSD_SLOW_PROBE_MAX_MS ? twice : OSD_SLOW_PROBE_MAX_MS;
}

bool osd_slow_wrote(struct osd_slow *s, uint64_t begun_ms, uint64_t ended_ms, uint64_t usual_ms)
{
    if (s->is) {
        return false;
    }
    if (ended_ms - begun_ms <= max_of(OSD_SLOW_MS, OSD_SLOW_TIMES * usual_ms)) {
        s->writes = 0;
        return false;
    }
    if (s->writes > 0 && begun_ms < s->ended_ms) {
        return false; /* slow for the same reason */
    }
    s->ended_ms = ended_ms;
    if (++s->writes < OSD_SLOW_WRITES) {
        return false;
    }
    s->is = true;
    s->writes = 0;
    s->delay_ms = next_delay(s, ended_ms);
    return true;
}

bool osd_slow_probed(struct osd_slow *s, uint64_t begun_ms, uint64_t ended_ms)
{
    if (!s->is || ended_ms - begun_ms > OSD_SLOW_MS) {
        return false;
    }
    s->is = false;
    s->fast_ms = ended_ms;
    return true;
}
