#include "proxy/osd_suspect.h"

static const uint64_t ns_per_ms = 1000000;

void osd_suspect_lost(struct osd_suspect *s, uint64_t begun_ns, uint64_t now_ns)
{
    s->lost++;
    if (s->is || (s->answered_ns > begun_ns && s->lost < OSD_SUSPECT_LOST)) {
        return;
    }
    s->is = true;
    s->try_delay_ns = OSD_TRY_FIRST_MS * ns_per_ms;
    s->try_ns = now_ns + s->try_delay_ns;
}

void osd_suspect_answered(struct osd_suspect *s, bool in_time, uint64_t now_ns)
{
    uint64_t soon_ns = now_ns + OSD_TRY_FIRST_MS * ns_per_ms;

    s->answered_ns = now_ns;
    if (in_time) {
        s->lost = 0;
    }
    if (s->lost < OSD_SUSPECT_LOST) {
        s->is = false;
    } else if (s->try_ns > soon_ns) {
        s->try_ns = soon_ns;
    }
}

bool osd_suspect_try(struct osd_suspect *s, uint64_t now_ns)
{
    if (!s->is || now_ns < s->try_ns) {
        return false;
    }
    s->try_delay_ns *= 2;
    if (s->try_delay_ns > OSD_TRY_MAX_MS * ns_per_ms) {
        s->try_delay_ns = OSD_TRY_MAX_MS * ns_per_ms;
    }
    s->try_ns = now_ns + s->try_delay_ns;
    return true;
}
