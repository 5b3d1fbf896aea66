/* Slab files as seen by start-up and by the commit thread. */
#include "asd/space.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/slab_file.h"
#include "asd/space_file.h"
#include "asd/torn.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    /* Of what was written to the slab. Copying 1/8 to free 8/8 adds a seventh of a write to each
     * byte that was written, however early the slab was sealed. Punching alone gives back the same
     * bytes: what emptying wins is files, descriptors, records and extents. These are bounded by 16
     * times what the values would need: 8, and any two slabs that follow one another hold more than
     * one, as the second was begun by what did not fit into the first. */
    SPARSE_PART_DEFAULT = 8,
};

static const uint64_t SLAB_BYTES_DEFAULT = UINT64_C(4) << 30;

void asd_space_init(struct asd_space *s, const struct asd_home *home, uint64_t slab_bytes,
                    unsigned sparse_part, asd_space_ready_cb on_ready, asd_space_lost_cb on_lost,
                    void *ctx)
{
    *s = (struct asd_space){.io = home->io,
                            .home = home,
                            .slab_bytes =
                                asd_slab_align(slab_bytes != 0 ? slab_bytes : SLAB_BYTES_DEFAULT),
                            .sparse_part = sparse_part != 0 ? sparse_part : SPARSE_PART_DEFAULT,
                            .direct = {.fd = -1},
                            .on_ready = on_ready,
                            .on_lost = on_lost,
                            .ctx = ctx};
    list_init(&s->changed);
    list_init(&s->ready);
    list_init(&s->dead);
    list_init(&s->sparse);
    CHECK(uv_mutex_init(&s->lock) == 0);
    CHECK(uv_mutex_init(&s->open_lock) == 0);
}

static void frees_drop(struct asd_space *s, struct list *frees)
{
    struct list *link;

    while ((link = list_pop(frees)) != NULL) {
        asd_space_free_done(s, container_of(link, struct asd_free, link));
    }
}

void asd_space_release(struct asd_space *s)
{
    struct asd_slab *slab;
    struct asd_slab *next;

    asd_space_direct_close(s);
    bigmem_free(s->direct.bounce);
    frees_drop(s, &s->ready);
    HASH_ITER (hh, s->slabs, slab, next) {
        CHECK(slab->pins[0] + slab->pins[1] == 0);
        frees_drop(s, &slab->gathering);
        frees_drop(s, &slab->waiting);
        asd_space_forget(s, slab);
    }
    uv_mutex_destroy(&s->open_lock);
    uv_mutex_destroy(&s->lock);
}

/* ---- start-up ---- */

/* `fd` -1: its file is not open. */
static struct asd_slab *slab_add(struct asd_space *s, uint64_t number,
                                 const struct asd_slab_record *r, int fd)
{
    struct asd_slab *slab = mem_zalloc(sizeof(*slab));

    slab->number = number;
    slab->size_bytes = r->size_bytes;
    slab->tail = r->tail;
    slab->live_bytes = r->live_bytes;
    slab->sealed = r->sealed;
    slab->fd = fd;
    slab->refs = 1;
    CHECK(uv_mutex_init(&slab->flush_lock) == 0);
    list_init(&slab->changed);
    list_init(&slab->gathering);
    list_init(&slab->waiting);
    list_init(&slab->link);
    list_init(&slab->among);
    uv_mutex_lock(&s->lock);
    HASH_ADD(hh, s->slabs, number, sizeof(slab->number), slab);
    uv_mutex_unlock(&s->lock);
    return slab;
}

int asd_space_load_slab(struct asd_space *s, uint64_t number, const struct asd_slab_record *r,
                        struct err *e)
{
    struct asd_slab *slab;

    if (!r->sealed && s->active != NULL) {
        return err_set(e, ERR_CORRUPT, "slabs %" PRIu64 " and %" PRIu64 " are both open",
                       s->active->number, number);
    }
    slab = slab_add(s, number, r, -1);
    if (!r->sealed) {
        s->active = slab;
    } else if (r->live_bytes == 0) {
        asd_space_bury(s, slab);
    }
    return 0;
}

int asd_space_load_free(struct asd_space *s, uint64_t number, uint64_t offset, uint64_t bytes,
                        struct err *e)
{
    struct asd_slab *slab = asd_space_find(s, number);

    if (slab == NULL && number < s->next_slab) {
        /* The slab was dropped; the removal of this record was torn from the log. */
        log_warn("asd", "free record of a dropped slab", "slab=%" PRIu64, number);
        return 0;
    }
    if (slab == NULL || !asd_slab_range_ok(offset, bytes, slab->tail)) {
        return err_set(e, ERR_CORRUPT,
                       "free record of slab %" PRIu64 ": %" PRIu64 " bytes at %" PRIu64, number,
                       bytes, offset);
    }
    list_push(&s->ready, &asd_space_free_new(s, slab, offset, bytes)->link);
    return 0;
}

struct orphans {
    struct asd_space *space;
    uint64_t *numbers;
    size_t count;
    size_t cap;
};

static bool see_name(void *ctx, const char *name)
{
    struct orphans *o = ctx;
    uint64_t number;

    if (!asd_slab_name_parse(name, &number)) {
        log_warn("asd", "unknown name in slabs directory", "name=%s", name);
    } else if (asd_space_find(o->space, number) == NULL) {
        if (o->count == o->cap) {
            o->cap = o->cap == 0 ? 16 : o->cap * 2;
            o->numbers = mem_realloc(o->numbers, o->cap * sizeof(o->numbers[0]));
        }
        o->numbers[o->count++] = number;
    }
    return true;
}

static int by_number_down(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* What the index has never heard of is from commits behind the tear; what it knew and no longer
 * names was dropped for good. */
static int orphan_end(struct asd_space *s, uint64_t number, bool keep, struct err *e)
{
    struct err why;

    if (keep && asd_torn_keep_slab(s, number, &why) == 0) {
        return 0;
    }
    return asd_space_unlink(s, number, e);
}

static int end_orphans(struct asd_space *s, bool is_torn, struct err *e)
{
    struct orphans o = {.space = s};
    uint64_t known = s->next_slab;
    int rc = s->io->ops->list_dir(s->io, s->home->slabs_path, see_name, &o);

    if (rc != 0) {
        err_set(e, rc, "%s", s->home->slabs_path);
    }
    if (rc == 0 && s->home->fresh && o.count != 0) {
        rc = err_set(e, ERR_IDENTITY, "%s holds slabs, but there is no identity",
                     s->home->slabs_path);
    }
    if (o.count != 0) {
        qsort(o.numbers, o.count, sizeof(o.numbers[0]), by_number_down);
    }
    for (size_t i = 0; i < o.count && rc == 0; i++) {
        bool keep = is_torn && i < ASD_TORN_SLABS_MAX && o.numbers[i] >= known;

        rc = orphan_end(s, o.numbers[i], keep, e);
        if (o.numbers[i] >= s->next_slab) {
            s->next_slab = o.numbers[i] + 1;
        }
    }
    free(o.numbers);
    return rc;
}

static int punch_behind_tail(struct asd_space *s, struct err *e)
{
    struct asd_slab *slab = s->active;
    int rc;

    if (slab == NULL || slab->tail == slab->size_bytes) {
        return 0;
    }
    rc = asd_space_punch(s, slab, slab->tail, slab->size_bytes - slab->tail, e);
    slab->dirty = rc == 0; /* else it might be sealed, and then lose the punch with the power */
    if (rc == ERR_CORRUPT) {
        /* The file is gone or damaged: its values are lost, the other slabs are not. */
        log_error("asd", "open slab is unusable", "slab=%" PRIu64 " error=%s", slab->number,
                  e->msg);
        slab->sealed = true;
        s->active = NULL;
        asd_space_change(s, slab);
        return 0;
    }
    return rc;
}

/* Nothing will be written behind the tail; the next slab takes what comes. */
static bool keep_tail(struct asd_space *s)
{
    struct asd_slab *slab = s->active;
    struct err why;

    if (slab == NULL || slab->tail == slab->size_bytes) {
        return true;
    }
    if (asd_torn_keep_tail(s, slab, &why) != 0) {
        log_warn("asd", "what lies behind the tail is not kept", "error=\"%s\"", why.msg);
        return false;
    }
    slab->sealed = true;
    slab->kept = true;
    s->active = NULL;
    asd_space_change(s, slab);
    return true;
}

int asd_space_recover(struct asd_space *s, bool is_torn, struct err *e)
{
    int rc = asd_torn_clear(s, is_torn, e);

    rc = rc == 0 ? end_orphans(s, is_torn, e) : rc;
    if (rc == 0 && !(is_torn && keep_tail(s))) {
        rc = punch_behind_tail(s, e);
    }
    asd_space_show_all(s);
    return rc;
}

/* ---- commit thread ---- */

/* The file, whole and durable, before any record names it. */
static int slab_create(struct asd_space *s, uint64_t number, uint64_t size_bytes, int *ret_fd,
                       struct err *e)
{
    struct asd_slab_header h = {.number = number, .size_bytes = size_bytes};
    uint8_t *header = mem_alloc(ASD_SLAB_HEADER_BYTES);
    char *path = asd_slab_path(s->home, number);
    int fd;
    int rc;

    memcpy(h.store_id, s->home->store_id, ASD_STORE_ID_BYTES);
    asd_slab_header_encode(header, &h);
    fd = s->io->ops->open(s->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    rc = fd < 0 ? fd : s->io->ops->truncate(s->io, fd, size_bytes);
    rc = rc == 0 ? io_write_full(s->io, fd, header, ASD_SLAB_HEADER_BYTES, 0) : rc;
    rc = rc == 0 ? s->io->ops->fdatasync(s->io, fd) : rc;
    rc = rc == 0 ? s->io->ops->sync_dir(s->io, s->home->slabs_path) : rc;
    if (rc == 0) {
        *ret_fd = fd;
    } else if (fd >= 0) {
        s->io->ops->close(s->io, fd);
        s->io->ops->unlink(s->io, path); /* else start-up does it */
    }
    free(header);
    free(path);
    return rc == 0 ? 0 : err_set(e, rc, "new slab %" PRIu64, number);
}

static int roll(struct asd_space *s, uint64_t bytes, struct err *e)
{
    uint64_t need = ASD_SLAB_HEADER_BYTES + bytes;
    struct asd_slab_record r = {.size_bytes = need > s->slab_bytes ? need : s->slab_bytes,
                                .tail = ASD_SLAB_HEADER_BYTES};
    uint64_t number = s->next_slab;
    int fd = -1;
    int rc;

    s->next_slab++; /* also when it fails: what is left of the file is an orphan */
    rc = slab_create(s, number, r.size_bytes, &fd, e);
    if (rc != 0) {
        return rc;
    }
    if (s->active != NULL) {
        s->active->sealed = true;
        asd_space_direct_close(s);
        asd_space_change(s, s->active);
    }
    s->active = slab_add(s, number, &r, fd);
    asd_space_change(s, s->active);
    return 0;
}

int asd_space_place(struct asd_space *s, uint32_t bytes, struct asd_place *ret_place, struct err *e)
{
    uint64_t aligned = asd_slab_align(bytes);
    int rc = 0;

    if (s->active == NULL || aligned > s->active->size_bytes - s->active->tail) {
        rc = roll(s, aligned, e);
    }
    if (rc != 0) {
        return rc;
    }
    *ret_place = (struct asd_place){.slab = s->active, .offset = s->active->tail, .bytes = aligned};
    s->active->tail += aligned;
    asd_space_change(s, s->active);
    return 0;
}

int asd_space_flush(struct asd_space *s, uint64_t *count, struct err *e)
{
    LIST_FOR_EACH (it, &s->changed) {
        struct asd_slab *slab = container_of(it, struct asd_slab, changed);
        int rc;

        if (!slab->dirty) {
            continue;
        }
        rc = asd_space_flush_slab(s, slab, e);
        if (rc != 0) {
            return rc;
        }
        slab->dirty = false;
        (*count)++;
    }
    return 0;
}

void asd_space_name(struct asd_space *s, const struct asd_place *place)
{
    place->slab->live_bytes += place->bytes;
    asd_space_change(s, place->slab);
}

/* While a value lives in a slab it stays: this thread alone buries it. */
static struct asd_slab *find_alive(struct asd_space *s, uint64_t number)
{
    struct asd_slab *slab;

    uv_mutex_lock(&s->lock);
    HASH_FIND(hh, s->slabs, &number, sizeof(number), slab);
    slab = slab != NULL && !slab->dead ? slab : NULL;
    uv_mutex_unlock(&s->lock);
    return slab;
}

int asd_space_free(struct asd_space *s, uint64_t number, uint64_t offset, uint64_t bytes,
                   bool named, struct list *frees, struct err *e)
{
    struct asd_slab *slab = find_alive(s, number);
    uint64_t live = slab != NULL ? slab->live_bytes : 0;

    if (slab == NULL || !asd_slab_range_ok(offset, bytes, slab->tail) || (named && bytes > live)) {
        if (slab != NULL) { /* it counts too little: never to be taken for empty */
            slab->live_bytes = slab->tail - ASD_SLAB_HEADER_BYTES;
            asd_space_change(s, slab);
        }
        return err_set(e, ERR_CORRUPT,
                       "slab %" PRIu64 ": a value names %" PRIu64 " bytes at %" PRIu64 ", %" PRIu64
                       " live there",
                       number, bytes, offset, live);
    }
    if (named) {
        slab->live_bytes -= bytes;
    }
    asd_space_change(s, slab);
    list_push(frees, &asd_space_free_new(s, slab, offset, bytes)->link);
    return 0;
}

struct asd_slab_record asd_slab_record_of(const struct asd_slab *slab)
{
    return (struct asd_slab_record){.size_bytes = slab->size_bytes,
                                    .tail = slab->tail,
                                    .live_bytes = slab->live_bytes,
                                    .sealed = slab->sealed};
}
