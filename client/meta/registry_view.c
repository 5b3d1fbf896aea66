#include "meta/registry_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/registry_view_private.h"

/* ---- life ---- */

struct registry_view *registry_view_new(void)
{
    struct registry_view *view = mem_zalloc(sizeof(*view));

    atomic_init(&view->refs, 1);
    view->default_preset = mem_strdup("");
    view->next_osd_id = view->next_namespace_id = view->next_work_id = 1;
    view->work_items = WORK_ITEMS_UNKNOWN;
    return view;
}

struct registry_view *registry_view_clone(const struct registry_view *from)
{
    struct registry_view *view = registry_view_new();

    view->version = from->version;
    memcpy(view->alba_id, from->alba_id, sizeof(view->alba_id));
    free(view->default_preset);
    view->default_preset = mem_strdup(from->default_preset);
    view->next_osd_id = from->next_osd_id;
    view->next_namespace_id = from->next_namespace_id;
    view->next_work_id = from->next_work_id;
    view->work_items = from->work_items;
    view->unsure_from = from->unsure_from;
    view->unsure_to = from->unsure_to;
    view->recovered = json_deep_copy(from->recovered); /* NULL stays NULL */
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        const struct record_list *list = &from->lists[kind];
        struct record_list *to = &view->lists[kind];

        to->count = to->cap = list->count;
        to->items = mem_array(list->count + 1, sizeof(struct record *));
        for (size_t i = 0; i < list->count; i++) {
            to->items[i] = record_hold(list->items[i]);
        }
    }
    return view;
}

const struct registry_view *registry_view_hold(const struct registry_view *view)
{
    atomic_fetch_add((atomic_uint *)(uintptr_t)&view->refs, 1);
    return view;
}

void registry_view_drop(const struct registry_view *held)
{
    struct registry_view *view = (struct registry_view *)(uintptr_t)held;

    if (view == NULL || atomic_fetch_sub(&view->refs, 1) != 1) {
        return;
    }
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        for (size_t i = 0; i < view->lists[kind].count; i++) {
            record_drop(view->lists[kind].items[i]);
        }
        free((void *)view->lists[kind].items);
    }
    free((void *)view->osds_by_id);
    free((void *)view->namespaces_by_id);
    free(view->default_preset);
    buf_release(&view->version_value);
    json_decref(view->recovered);
    free(view);
}

/* ---- lists ---- */

/* First item with an id >= `id`. */
static size_t lower_bound(const struct record_list *list, struct slice id)
{
    size_t low = 0;
    size_t high = list->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (slice_cmp(list->items[mid]->id, id) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct record *list_find(const struct record_list *list, struct slice id)
{
    size_t at = lower_bound(list, id);

    return at < list->count && slice_eq(list->items[at]->id, id) ? list->items[at] : NULL;
}

static void list_set(struct record_list *list, struct record *record)
{
    size_t at = lower_bound(list, record->id);

    if (at < list->count && slice_eq(list->items[at]->id, record->id)) {
        record_drop(list->items[at]);
        list->items[at] = record;
        return;
    }
    if (list->count >= list->cap) {
        list->cap = list->cap != 0 ? 2 * list->cap : 16;
        list->items = mem_realloc((void *)list->items, list->cap * sizeof(struct record *));
    }
    memmove((void *)(list->items + at + 1), (const void *)(list->items + at),
            (list->count - at) * sizeof(struct record *));
    list->items[at] = record;
    list->count++;
}

static void list_unset(struct record_list *list, struct slice id)
{
    size_t at = lower_bound(list, id);

    if (at == list->count || !slice_eq(list->items[at]->id, id)) {
        return;
    }
    record_drop(list->items[at]);
    memmove((void *)(list->items + at), (const void *)(list->items + at + 1),
            (list->count - at - 1) * sizeof(struct record *));
    list->count--;
}

/* ---- making ---- */

static int apply_single(struct registry_view *view, struct slice tail, struct slice key,
                        struct slice value, struct err *e)
{
    json_t *json;

    if (value_open_json(key, value, &json, e) != 0) {
        return e->code;
    }
    if (slice_eq(tail, slice_str(REG_ALBA))) {
        const char *id = json_text(json, "id", "");
        size_t bytes = strlen(id);

        if (bytes >= sizeof(view->alba_id)) {
            bytes = sizeof(view->alba_id) - 1;
        }
        memcpy(view->alba_id, id, bytes);
        view->alba_id[bytes] = '\0';
    } else if (slice_eq(tail, slice_str(REG_DEFAULT_PRESET))) {
        free(view->default_preset);
        view->default_preset = mem_strdup(json_text(json, "name", ""));
    } else if (slice_eq(tail, slice_str(REG_NEXT_ID))) {
        view->next_osd_id = json_u64(json, "osd", 1);
        view->next_namespace_id = json_u64(json, "namespace", 1);
        view->next_work_id = json_u64(json, "work", 1);
        view->work_items = json_u64(json, "work_items", WORK_ITEMS_UNKNOWN);
    } else if (slice_eq(tail, slice_str(REG_RECOVERED))) {
        view->unsure_from = json_u64(json, "unsure_from", 0);
        view->unsure_to = json_u64(json, "unsure_to", 0);
        json_decref(view->recovered);
        view->recovered = json_incref(json);
    }
    json_decref(json);
    return 0;
}

bool registry_view_shows(struct slice tail)
{
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        struct slice prefix = slice_str(record_prefix((enum record_kind)kind));

        if (tail.len >= prefix.len && memcmp(tail.data, prefix.data, prefix.len) == 0) {
            return true;
        }
    }
    return slice_eq(tail, slice_str(REG_ALBA)) || slice_eq(tail, slice_str(REG_DEFAULT_PRESET)) ||
           slice_eq(tail, slice_str(REG_NEXT_ID)) || slice_eq(tail, slice_str(REG_RECOVERED));
}

int registry_view_apply(struct registry_view *view, struct slice key, struct slice value,
                        bool found, struct err *e)
{
    struct slice tail = reg_key_tail(key);

    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        struct slice prefix = slice_str(record_prefix((enum record_kind)kind));
        struct record *record;

        if (tail.len < prefix.len || memcmp(tail.data, prefix.data, prefix.len) != 0) {
            continue;
        }
        if (!found) {
            list_unset(&view->lists[kind], slice_of(tail.data + prefix.len, tail.len - prefix.len));
            return 0;
        }
        if (record_parse((enum record_kind)kind, key, value, &record, e) != 0) {
            return e->code;
        }
        list_set(&view->lists[kind], record);
        return 0;
    }
    return found ? apply_single(view, tail, key, value, e) : 0;
}

static int compare_osds(const void *a, const void *b)
{
    const struct record *x = *(struct record *const *)a;
    const struct record *y = *(struct record *const *)b;

    return (x->osd.osd_id > y->osd.osd_id) - (x->osd.osd_id < y->osd.osd_id);
}

static int compare_namespaces(const void *a, const void *b)
{
    const struct record *x = *(struct record *const *)a;
    const struct record *y = *(struct record *const *)b;

    return (x->ns.id > y->ns.id) - (x->ns.id < y->ns.id);
}

void registry_view_seal(struct registry_view *view)
{
    const struct record_list *osds = &view->lists[RECORD_OSD];
    const struct record_list *live = &view->lists[RECORD_NAMESPACE];
    const struct record_list *removed = &view->lists[RECORD_REMOVED];
    size_t n = 0;

    view->osds_by_id = mem_array(osds->count + 1, sizeof(struct record *));
    for (size_t i = 0; i < osds->count; i++) {
        if (osds->items[i]->osd.is_claimed) {
            view->osds_by_id[n++] = osds->items[i];
        }
    }
    view->osd_by_id_count = n;
    qsort((void *)view->osds_by_id, n, sizeof(struct record *), compare_osds);

    n = 0;
    view->namespaces_by_id = mem_array(live->count + removed->count + 1, sizeof(struct record *));
    for (size_t i = 0; i < live->count; i++) {
        view->namespaces_by_id[n++] = live->items[i];
    }
    for (size_t i = 0; i < removed->count; i++) {
        view->namespaces_by_id[n++] = removed->items[i];
    }
    view->namespace_by_id_count = n;
    qsort((void *)view->namespaces_by_id, n, sizeof(struct record *), compare_namespaces);
}

/* ---- reading ---- */

uint64_t registry_view_version(const struct registry_view *view)
{
    return view->version;
}

bool registry_view_namespace_is_unsure(const struct registry_view *view, uint64_t id)
{
    return id >= view->unsure_from && id < view->unsure_to;
}

const char *registry_namespace_state_text(enum registry_namespace_state state)
{
    static const char *const names[] = {[REGISTRY_NS_CREATING] = "creating",
                                        [REGISTRY_NS_ACTIVE] = "active",
                                        [REGISTRY_NS_LOST] = "lost",
                                        [REGISTRY_NS_REMOVING] = "removing"};

    return names[state];
}

uint64_t registry_view_next_namespace_id(const struct registry_view *view)
{
    return view->next_namespace_id;
}

const char *registry_view_alba_id(const struct registry_view *view)
{
    return view->alba_id;
}

size_t registry_view_osd_count(const struct registry_view *view)
{
    return view->lists[RECORD_OSD].count;
}

const struct registry_osd *registry_view_osd(const struct registry_view *view, size_t index)
{
    return &view->lists[RECORD_OSD].items[index]->osd;
}

const struct registry_osd *registry_view_osd_find(const struct registry_view *view,
                                                  const char *long_id)
{
    const struct record *r = list_find(&view->lists[RECORD_OSD], slice_str(long_id));

    return r != NULL ? &r->osd : NULL;
}

const struct registry_osd *registry_view_osd_by_id(const struct registry_view *view,
                                                   uint64_t osd_id)
{
    size_t low = 0;
    size_t high = view->osd_by_id_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct registry_osd *osd = &view->osds_by_id[mid]->osd;

        if (osd->osd_id == osd_id) {
            return osd;
        }
        if (osd->osd_id < osd_id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

size_t registry_view_preset_count(const struct registry_view *view)
{
    return view->lists[RECORD_PRESET].count;
}

const struct preset *registry_view_preset(const struct registry_view *view, size_t index)
{
    return &view->lists[RECORD_PRESET].items[index]->preset;
}

const struct preset *registry_view_preset_find(const struct registry_view *view, const char *name)
{
    const char *wanted = name == NULL || name[0] == '\0' ? view->default_preset : name;
    const struct record *r = list_find(&view->lists[RECORD_PRESET], slice_str(wanted));

    return r != NULL ? &r->preset : NULL;
}

void registry_view_preset_copy(const struct registry_view *view, const struct preset *preset,
                               struct preset *ret_preset)
{
    const struct record_list *namespaces = &view->lists[RECORD_NAMESPACE];

    preset_copy(ret_preset, preset);
    ret_preset->is_default = strcmp(preset->name, view->default_preset) == 0;
    ret_preset->in_use = false;
    for (size_t i = 0; i < namespaces->count && !ret_preset->in_use; i++) {
        ret_preset->in_use = strcmp(namespaces->items[i]->ns.preset, preset->name) == 0;
    }
}

size_t registry_view_namespace_count(const struct registry_view *view)
{
    return view->lists[RECORD_NAMESPACE].count;
}

const struct registry_namespace *registry_view_namespace(const struct registry_view *view,
                                                         size_t index)
{
    return &view->lists[RECORD_NAMESPACE].items[index]->ns;
}

const struct registry_namespace *registry_view_namespace_find(const struct registry_view *view,
                                                              const void *name, size_t bytes)
{
    const struct record *r = list_find(&view->lists[RECORD_NAMESPACE], slice_of(name, bytes));

    return r != NULL ? &r->ns : NULL;
}

size_t registry_view_namespace_lower_bound(const struct registry_view *view, const void *name,
                                           size_t bytes)
{
    return lower_bound(&view->lists[RECORD_NAMESPACE], slice_of(name, bytes));
}

const struct registry_namespace *registry_view_namespace_by_id(const struct registry_view *view,
                                                               uint64_t id)
{
    size_t low = 0;
    size_t high = view->namespace_by_id_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct registry_namespace *ns = &view->namespaces_by_id[mid]->ns;

        if (ns->id == id) {
            return ns;
        }
        if (ns->id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

size_t registry_view_removed_count(const struct registry_view *view)
{
    return view->lists[RECORD_REMOVED].count;
}

const struct registry_namespace *registry_view_removed(const struct registry_view *view,
                                                       size_t index)
{
    return &view->lists[RECORD_REMOVED].items[index]->ns;
}

size_t registry_view_nsm_host_count(const struct registry_view *view)
{
    return view->lists[RECORD_NSM_HOST].count;
}

const struct registry_nsm_host *registry_view_nsm_host(const struct registry_view *view,
                                                       size_t index)
{
    return &view->lists[RECORD_NSM_HOST].items[index]->nsm_host;
}

const struct registry_nsm_host *registry_view_nsm_host_find(const struct registry_view *view,
                                                            const char *id)
{
    const struct record *r = list_find(&view->lists[RECORD_NSM_HOST], slice_str(id));

    return r != NULL ? &r->nsm_host : NULL;
}

size_t registry_view_nsm_host_load(const struct registry_view *view, const char *id)
{
    const struct record_list *namespaces = &view->lists[RECORD_NAMESPACE];
    size_t load = 0;

    for (size_t i = 0; i < namespaces->count; i++) {
        load += strcmp(namespaces->items[i]->ns.nsm_host, id) == 0;
    }
    return load;
}
