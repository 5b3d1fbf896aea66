#include "proxy/holes.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "policy/choose.h"
#include "proxy/repair.h"

unsigned holes_count(const struct manifest *m)
{
    unsigned count = 0;

    for (size_t i = 0; i < (size_t)m->chunk_count * manifest_fragments_per_chunk(m); i++) {
        count += !m->fragments[i].has_osd;
    }
    return count;
}

static const struct preset *preset_of(const struct engine *engine, uint64_t ns_id)
{
    const struct registry_view *view = registry_view(engine->registry);
    const struct registry_namespace *ns = registry_view_namespace_by_id(view, ns_id);

    return ns != NULL ? registry_view_preset_find(view, ns->preset) : NULL;
}

/* All OSDs, as if they were well; the caller frees it. */
static struct choose_osd *all_osds(struct engine *engine, unsigned *ret_count)
{
    const struct choose_osd *now = osds_choose_list(engine->osds, true, NULL, ret_count);
    struct choose_osd *list = mem_array(*ret_count + 1, sizeof(*list));

    memcpy(list, now, *ret_count * sizeof(*list));
    for (unsigned i = 0; i < *ret_count; i++) {
        list[i].usable = !osds_at(engine->osds, i)->decommissioned;
    }
    return list;
}

/* The first fragment of the chunk that has no OSD, and whether there is one for it. */
static bool find_in_chunk(struct engine *engine, const struct preset *preset,
                          const struct manifest *m, uint32_t chunk, struct repair_spot *ret_spot)
{
    struct preset_policy policy = repair_policy_of(m);
    uint64_t held[PRESET_FRAGMENTS_MAX];
    struct choose_more more = {.policy = &policy, .held = held, .want = 1};
    uint32_t chosen[PRESET_FRAGMENTS_MAX];
    uint32_t all = manifest_fragments_per_chunk(m), hole = all;
    struct choose_osd *list;
    unsigned count;
    bool found;

    for (uint32_t i = all; i-- > 0;) {
        const struct manifest_fragment *f = manifest_fragment_at(m, chunk, i);

        if (f->has_osd) {
            held[more.held_count++] = f->osd_id;
        } else {
            hole = i;
        }
    }
    if (hole == all) {
        return false;
    }
    list = all_osds(engine, &count);
    found = choose_extra(preset, &more, list, count, &engine->rnd, chosen) == 1;
    free(list);
    *ret_spot = (struct repair_spot){.chunk = chunk, .fragment = hole};
    return found;
}

void holes_note(struct engine *engine, uint64_t ns_id, const struct manifest *m)
{
    const struct preset *preset = preset_of(engine, ns_id);
    struct repair_spot spot;

    for (uint32_t c = 0; c < m->chunk_count && preset != NULL; c++) {
        if (find_in_chunk(engine, preset, m, c, &spot)) {
            repair_queue_add(&engine->repairs, ns_id, m->object_id, &spot);
            return; /* it stands for all of the object */
        }
    }
}

void holes_seen(struct engine *engine, struct object *object)
{
    uint64_t now = clock_mono_ms();

    if (!object->has_holes || now < object->holes_due_ms ||
        (int64_t)clock_wall_us() - object->manifest.timestamp_us <= REPAIR_YOUNG_US) {
        return;
    }
    object->holes_due_ms = now + HOLES_SEEN_EVERY_MS;
    holes_note(engine, object->ns_id, &object->manifest);
}
