/* Which slabs are worth emptying. The commit thread judges a slab when what lives in it changes;
 * who empties them asks from another thread. */
#include "asd/space_sparse.h"

#include "asd/space_file.h"
#include "base/check.h"

/* Under lock, by the commit thread or at start-up. */
bool asd_space_show(struct asd_space *s, struct asd_slab *slab)
{
    bool was = slab->sparse && slab->stuck_above == 0;
    uint64_t room_was = s->room_shown;

    if (slab->stuck_above != 0 && (slab->dead || slab->live_bytes <= slab->stuck_above)) {
        slab->stuck_above = 0; /* what was bad there may be gone */
        s->stuck_count--;
    }
    slab->live_shown = slab->live_bytes;
    list_remove(&slab->among);
    slab->sparse = slab->sealed && !slab->kept && !slab->dead && slab->live_bytes != 0 &&
                   slab->live_bytes <= (slab->tail - ASD_SLAB_HEADER_BYTES) / s->sparse_part;
    if (slab->sparse) {
        list_push(&s->sparse, &slab->among);
    }
    s->room_shown = s->active != NULL ? s->active->size_bytes - s->active->tail : 0;
    return (slab->sparse && slab->stuck_above == 0 && !was) || s->room_shown > room_was;
}

void asd_space_show_all(struct asd_space *s)
{
    struct asd_slab *slab;
    struct asd_slab *next;

    uv_mutex_lock(&s->lock);
    HASH_ITER (hh, s->slabs, slab, next) {
        asd_space_show(s, slab);
    }
    uv_mutex_unlock(&s->lock);
}

/* Emptying one slab pays if what it holds fits behind the tail of the active one; else that would
 * cost a new slab for the one it frees, unless the new one takes what two hold. */
bool asd_space_pick_sparse(struct asd_space *s, uint64_t *ret_number)
{
    struct asd_slab *first = NULL;
    uint64_t second = UINT64_MAX; /* live bytes of the next sparsest */
    bool pays;

    uv_mutex_lock(&s->lock);
    LIST_FOR_EACH (it, &s->sparse) {
        struct asd_slab *slab = container_of(it, struct asd_slab, among);

        if (slab->stuck_above != 0) {
            continue;
        }
        if (first == NULL || slab->live_shown < first->live_shown) {
            second = first != NULL ? first->live_shown : second;
            first = slab;
        } else if (slab->live_shown < second) {
            second = slab->live_shown;
        }
    }
    pays = first != NULL && (first->live_shown <= s->room_shown ||
                             (second <= s->slab_bytes &&
                              first->live_shown + second <= s->slab_bytes - ASD_SLAB_HEADER_BYTES));
    if (pays) {
        *ret_number = first->number;
    }
    uv_mutex_unlock(&s->lock);
    return pays;
}

uint64_t asd_space_live_bytes(struct asd_space *s, uint64_t number)
{
    struct asd_slab *slab;
    uint64_t live;

    uv_mutex_lock(&s->lock);
    HASH_FIND(hh, s->slabs, &number, sizeof(number), slab);
    live = slab != NULL && !slab->dead ? slab->live_shown : 0;
    uv_mutex_unlock(&s->lock);
    return live;
}

void asd_space_set_stuck(struct asd_space *s, uint64_t number, bool was_dear)
{
    struct asd_slab *slab;

    uv_mutex_lock(&s->lock);
    HASH_FIND(hh, s->slabs, &number, sizeof(number), slab);
    if (slab != NULL && !slab->dead && slab->stuck_above == 0) {
        slab->stuck_above = was_dear ? slab->live_shown / 2 : slab->live_shown - 1;
        s->stuck_count++;
    }
    uv_mutex_unlock(&s->lock);
}

uint64_t asd_space_stuck_count(struct asd_space *s)
{
    uint64_t count;

    uv_mutex_lock(&s->lock);
    count = s->stuck_count;
    uv_mutex_unlock(&s->lock);
    return count;
}
