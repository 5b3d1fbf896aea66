/* Pins and frees: the turn-taking that decides when a range may be punched.
 *
 * New pins count on pins[side]. While `waiting` holds frees, pins[!side] are the pins that
 * may still see them; when those are gone the frees are ready, the frees gathered meanwhile
 * become the waiting ones, and the sides swap. While nothing waits, pins[!side] is 0. */
#include "asd/space.h"

#include <errno.h>
#include <stdlib.h>

#include "asd/space_file.h"
#include "base/check.h"
#include "base/mem.h"

enum { URGENT_BYTES = 32 << 20 };

/* Under lock. Returns the descriptor to close behind it, or -1. */
static int slab_put(struct asd_slab *slab)
{
    int fd = -1;

    CHECK(slab->refs > 0);
    if (--slab->refs == 0) {
        fd = slab->fd;
        uv_mutex_destroy(&slab->flush_lock);
        free(slab);
    }
    return fd;
}

static void close_fd(struct asd_space *s, int fd)
{
    if (fd >= 0) {
        s->io->ops->close(s->io, fd);
    }
}

void asd_space_forget(struct asd_space *s, struct asd_slab *slab)
{
    int fd;

    uv_mutex_lock(&s->lock);
    HASH_DELETE(hh, s->slabs, slab);
    fd = slab_put(slab);
    uv_mutex_unlock(&s->lock);
    close_fd(s, fd);
}

struct asd_free *asd_space_free_new(struct asd_space *s, struct asd_slab *slab, uint64_t offset,
                                    uint64_t bytes)
{
    struct asd_free *f = mem_alloc(sizeof(*f));

    *f = (struct asd_free){.slab = slab, .offset = offset, .bytes = bytes};
    list_init(&f->link);
    uv_mutex_lock(&s->lock);
    slab->refs++;
    s->pending++;
    s->pending_bytes += bytes;
    uv_mutex_unlock(&s->lock);
    return f;
}

void asd_space_free_done(struct asd_space *s, struct asd_free *f)
{
    int fd;

    uv_mutex_lock(&s->lock);
    fd = slab_put(f->slab);
    if (fd >= 0) { /* its space comes back with the last descriptor, and not before */
        uv_mutex_unlock(&s->lock);
        close_fd(s, fd);
        uv_mutex_lock(&s->lock);
    }
    s->pending--;
    s->pending_bytes -= f->bytes;
    uv_mutex_unlock(&s->lock);
    free(f);
}

void asd_space_free_again(struct asd_space *s, struct asd_free *f)
{
    uv_mutex_lock(&s->lock);
    list_push(&s->ready, &f->link);
    uv_mutex_unlock(&s->lock);
}

/* Under lock. Its file must not go while somebody may have yet to open it. */
static bool is_droppable(const struct asd_slab *slab)
{
    return slab->dead && slab->pins[0] + slab->pins[1] == 0;
}

/* Under lock. Returns whether frees became ready. */
static bool take_turns(struct asd_space *s, struct asd_slab *slab)
{
    bool any = false;

    while (slab->pins[!slab->side] == 0 &&
           (!list_empty(&slab->waiting) || !list_empty(&slab->gathering))) {
        any = any || !list_empty(&slab->waiting);
        list_splice(&s->ready, &slab->waiting);
        if (!list_empty(&slab->gathering)) {
            list_splice(&slab->waiting, &slab->gathering);
            slab->side = !slab->side;
        }
    }
    return any;
}

void asd_space_bury(struct asd_space *s, struct asd_slab *slab)
{
    slab->dead = true;
    list_push(&s->dead, &slab->link);
    s->pending++;
}

void asd_space_publish(struct asd_space *s, struct list *frees)
{
    struct list *link;
    bool any = false;

    uv_mutex_lock(&s->lock);
    if (!list_empty(frees)) {
        atomic_fetch_add_explicit(&s->freed_seq, 1, memory_order_release);
    }
    while ((link = list_pop(frees)) != NULL) {
        struct asd_free *f = container_of(link, struct asd_free, link);

        list_push(&f->slab->gathering, link);
    }
    while ((link = list_pop(&s->changed)) != NULL) {
        struct asd_slab *slab = container_of(link, struct asd_slab, changed);

        if (slab->sealed && slab->live_bytes == 0 && !slab->dead && !slab->kept) {
            asd_space_bury(s, slab);
            any = true;
        }
        any = take_turns(s, slab) || any;
        any = asd_space_show(s, slab) || any;
    }
    uv_mutex_unlock(&s->lock);
    if (any) {
        s->on_ready(s->ctx);
    }
}

uint64_t asd_space_seq(struct asd_space *s)
{
    return atomic_load_explicit(&s->freed_seq, memory_order_acquire);
}

int asd_space_pin(struct asd_space *s, uint64_t number, uint64_t seq, struct asd_pin *ret_pin)
{
    struct asd_slab *slab;
    int rc = 0;

    uv_mutex_lock(&s->lock);
    HASH_FIND(hh, s->slabs, &number, sizeof(number), slab);
    if (atomic_load_explicit(&s->freed_seq, memory_order_relaxed) != seq) {
        rc = -EAGAIN;
    } else if (slab == NULL) {
        rc = ERR_CORRUPT;
    } else {
        slab->refs++;
        slab->pins[slab->side]++;
        *ret_pin = (struct asd_pin){.slab = slab, .side = slab->side};
    }
    uv_mutex_unlock(&s->lock);
    return rc;
}

void asd_space_unpin(struct asd_space *s, struct asd_pin *pin)
{
    struct asd_slab *slab = pin->slab;
    bool any;
    int fd;

    if (slab == NULL) {
        return;
    }
    uv_mutex_lock(&s->lock);
    CHECK(slab->pins[pin->side] > 0);
    slab->pins[pin->side]--;
    any = take_turns(s, slab) || is_droppable(slab);
    fd = slab_put(slab);
    uv_mutex_unlock(&s->lock);
    close_fd(s, fd);
    *pin = (struct asd_pin){0};
    if (any) {
        s->on_ready(s->ctx);
    }
}

/* ---- reclaim thread ---- */

unsigned asd_space_take_ready(struct asd_space *s, unsigned max, struct list *ret_frees)
{
    struct list gone;
    struct list *link;
    unsigned count = 0;

    list_init(&gone);
    uv_mutex_lock(&s->lock);
    while (count < max && (link = list_pop(&s->ready)) != NULL) {
        struct asd_free *f = container_of(link, struct asd_free, link);

        if (f->slab->dead) {
            list_push(&gone, link); /* they go with the slab */
        } else {
            list_push(ret_frees, link);
            count++;
        }
    }
    uv_mutex_unlock(&s->lock);
    while ((link = list_pop(&gone)) != NULL) {
        asd_space_free_done(s, container_of(link, struct asd_free, link));
    }
    return count;
}

/* Under lock. */
static struct asd_slab *first_droppable(struct asd_space *s)
{
    LIST_FOR_EACH (it, &s->dead) {
        struct asd_slab *slab = container_of(it, struct asd_slab, link);

        if (is_droppable(slab)) {
            return slab;
        }
    }
    return NULL;
}

struct asd_slab *asd_space_take_dead(struct asd_space *s)
{
    struct asd_slab *slab;

    uv_mutex_lock(&s->lock);
    slab = first_droppable(s);
    if (slab != NULL) {
        list_remove(&slab->link);
    }
    uv_mutex_unlock(&s->lock);
    return slab;
}

void asd_space_dead_again(struct asd_space *s, struct asd_slab *slab)
{
    uv_mutex_lock(&s->lock);
    list_push(&s->dead, &slab->link);
    uv_mutex_unlock(&s->lock);
}

int asd_space_drop(struct asd_space *s, struct asd_slab *slab, struct err *e)
{
    int rc = asd_space_unlink(s, slab->number, e);

    if (rc == 0) {
        asd_space_forget(s, slab); /* closes it, which gives its space back */
        uv_mutex_lock(&s->lock);
        s->pending--;
        uv_mutex_unlock(&s->lock);
    }
    return rc;
}

bool asd_space_is_urgent(struct asd_space *s)
{
    bool urgent;

    uv_mutex_lock(&s->lock);
    urgent = s->pending_bytes >= URGENT_BYTES;
    uv_mutex_unlock(&s->lock);
    return urgent;
}

bool asd_space_has_work(struct asd_space *s)
{
    bool work;

    uv_mutex_lock(&s->lock);
    work = !list_empty(&s->ready) || first_droppable(s) != NULL;
    uv_mutex_unlock(&s->lock);
    return work;
}

uint64_t asd_space_pending(struct asd_space *s)
{
    uint64_t pending;

    uv_mutex_lock(&s->lock);
    pending = s->pending;
    uv_mutex_unlock(&s->lock);
    return pending;
}

uint64_t asd_space_slab_count(struct asd_space *s)
{
    uint64_t count;

    uv_mutex_lock(&s->lock);
    count = HASH_COUNT(s->slabs);
    uv_mutex_unlock(&s->lock);
    return count;
}
