#include "lib/crash_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"

enum { PAGE_SECTORS = CRASH_PAGE_BYTES / CRASH_SECTOR_BYTES };

/* Stands for a page of zeroes that has space; a hole is NULL. Never written to. */
static uint8_t reserved[CRASH_PAGE_BYTES];

struct page {
    uint8_t *now;
    uint8_t *durable; /* owned apart from `now` when dirty, else unused */
    bool dirty;
};

/* One un-synced I/O: a run of sectors, and perhaps a new size. */
struct change {
    struct list link;
    uint64_t seq;
    uint64_t first_sector, sectors_count;
    uint8_t *image; /* the sectors as the page cache held them afterwards; NULL: zeroes */
    uint8_t *edges; /* with image NULL: first and last sector, which are not all zero */
    uint64_t bytes; /* that the caller wrote */
    bool has_size;
    bool cuts; /* shrinks: happens with its size or not at all */
    uint64_t size_bytes;
    bool lost; /* by a failed sync */
};

struct crash_file {
    struct page *pages;
    uint64_t pages_count;
    uint64_t pages_used;
    uint64_t *dirty; /* page numbers */
    size_t dirty_count, dirty_cap;
    uint64_t size_bytes, durable_size_bytes;
    struct list changes;
    bool strayed; /* a failed sync lost changes: dirty pages may never become clean */
};

static bool has_memory(const uint8_t *page)
{
    return page != NULL && page != reserved;
}

static void release(uint8_t *page)
{
    if (has_memory(page)) {
        free(page);
    }
}

static uint8_t *writable(uint8_t *page)
{
    return has_memory(page) ? page : mem_zalloc(CRASH_PAGE_BYTES);
}

struct crash_file *crash_file_new(void)
{
    struct crash_file *f = mem_zalloc(sizeof *f);

    list_init(&f->changes);
    return f;
}

static void change_free(struct change *c)
{
    list_remove(&c->link);
    free(c->image);
    free(c->edges);
    free(c);
}

static void drop_changes(struct crash_file *f)
{
    LIST_FOR_EACH_SAFE (it, &f->changes) {
        change_free(container_of(it, struct change, link));
    }
}

void crash_file_free(struct crash_file *f)
{
    if (f == NULL) {
        return;
    }
    for (uint64_t i = 0; i < f->pages_count; i++) {
        release(f->pages[i].now);
        if (f->pages[i].dirty) {
            release(f->pages[i].durable);
        }
    }
    drop_changes(f);
    free(f->pages);
    free(f->dirty);
    free(f);
}

uint64_t crash_file_size(const struct crash_file *f)
{
    return f->size_bytes;
}

uint64_t crash_file_pages_used(const struct crash_file *f)
{
    return f->pages_used;
}

static uint64_t pages_end(uint64_t offset, uint64_t bytes)
{
    return (offset + bytes + CRASH_PAGE_BYTES - 1) / CRASH_PAGE_BYTES;
}

uint64_t crash_file_pages_missing(const struct crash_file *f, uint64_t offset, uint64_t bytes)
{
    uint64_t end = pages_end(offset, bytes);
    uint64_t missing = 0;

    for (uint64_t i = offset / CRASH_PAGE_BYTES; bytes != 0 && i < end; i++) {
        missing += i >= f->pages_count || f->pages[i].now == NULL;
    }
    return missing;
}

static void grow(struct crash_file *f, uint64_t pages_count)
{
    uint64_t cap = f->pages_count;

    if (pages_count <= f->pages_count) {
        return;
    }
    CHECK(pages_count <= CRASH_FILE_BYTES_MAX / CRASH_PAGE_BYTES);
    while (cap < pages_count) {
        cap = cap != 0 ? 2 * cap : 16;
    }
    f->pages = mem_realloc(f->pages, cap * sizeof *f->pages);
    memset(f->pages + f->pages_count, 0, (cap - f->pages_count) * sizeof *f->pages);
    f->pages_count = cap;
}

/* The page, its durable content set aside. */
static struct page *touch(struct crash_file *f, uint64_t number)
{
    struct page *p = &f->pages[number];

    if (p->dirty) {
        return p;
    }
    p->dirty = true;
    p->durable = p->now;
    if (has_memory(p->now)) {
        p->now = mem_dup(p->now, CRASH_PAGE_BYTES);
    }
    if (f->dirty_count == f->dirty_cap) {
        f->dirty_cap = f->dirty_cap != 0 ? 2 * f->dirty_cap : 16;
        f->dirty = mem_realloc(f->dirty, f->dirty_cap * sizeof *f->dirty);
    }
    f->dirty[f->dirty_count++] = number;
    return p;
}

/* As if the file had no end. */
static void read_pages(const struct crash_file *f, uint8_t *to, size_t bytes, uint64_t offset)
{
    while (bytes != 0) {
        uint64_t number = offset / CRASH_PAGE_BYTES;
        size_t at = (size_t)(offset % CRASH_PAGE_BYTES);
        size_t n = CRASH_PAGE_BYTES - at < bytes ? CRASH_PAGE_BYTES - at : bytes;

        if (number < f->pages_count && has_memory(f->pages[number].now)) {
            memcpy(to, f->pages[number].now + at, n);
        } else {
            memset(to, 0, n);
        }
        to += n;
        bytes -= n;
        offset += n;
    }
}

size_t crash_file_read(const struct crash_file *f, void *ret_data, size_t bytes, uint64_t offset)
{
    if (offset >= f->size_bytes) {
        return 0;
    }
    if (bytes > f->size_bytes - offset) {
        bytes = (size_t)(f->size_bytes - offset);
    }
    read_pages(f, ret_data, bytes, offset);
    return bytes;
}

static struct change *add_change(struct crash_file *f, uint64_t seq, uint64_t offset,
                                 uint64_t bytes)
{
    struct change *c = mem_zalloc(sizeof *c);

    c->seq = seq;
    if (bytes != 0) {
        c->first_sector = offset / CRASH_SECTOR_BYTES;
        c->sectors_count =
            (offset + bytes + CRASH_SECTOR_BYTES - 1) / CRASH_SECTOR_BYTES - c->first_sector;
    }
    list_push(&f->changes, &c->link);
    return c;
}

static void set_size(struct crash_file *f, struct change *c, uint64_t size_bytes)
{
    c->has_size = true;
    c->size_bytes = size_bytes;
    f->size_bytes = size_bytes;
}

void crash_file_write(struct crash_file *f, uint64_t seq, const void *data, size_t bytes,
                      uint64_t offset)
{
    const uint8_t *from = data;
    struct change *c = add_change(f, seq, offset, bytes);
    uint64_t end = offset + bytes;

    grow(f, pages_end(offset, bytes));
    for (uint64_t pos = offset; pos < end;) {
        struct page *p = touch(f, pos / CRASH_PAGE_BYTES);
        size_t at = (size_t)(pos % CRASH_PAGE_BYTES);
        size_t n = CRASH_PAGE_BYTES - at < end - pos ? CRASH_PAGE_BYTES - at : (size_t)(end - pos);

        f->pages_used += p->now == NULL;
        p->now = writable(p->now);
        memcpy(p->now + at, from, n);
        from += n;
        pos += n;
    }
    c->bytes = bytes;
    c->image = mem_alloc((size_t)c->sectors_count * CRASH_SECTOR_BYTES);
    read_pages(f, c->image, (size_t)c->sectors_count * CRASH_SECTOR_BYTES,
               c->first_sector * CRASH_SECTOR_BYTES);
    if (bytes != 0 && end > f->size_bytes) {
        set_size(f, c, end);
    }
}

static void zero_pages(struct crash_file *f, uint64_t offset, uint64_t bytes, bool punch)
{
    uint64_t end = offset + bytes;

    if (end > f->pages_count * CRASH_PAGE_BYTES) {
        end = f->pages_count * CRASH_PAGE_BYTES;
    }
    for (uint64_t pos = offset; pos < end;) {
        size_t at = (size_t)(pos % CRASH_PAGE_BYTES);
        size_t n = CRASH_PAGE_BYTES - at < end - pos ? CRASH_PAGE_BYTES - at : (size_t)(end - pos);
        struct page *p = &f->pages[pos / CRASH_PAGE_BYTES];

        pos += n;
        if (p->now == NULL || (p->now == reserved && (!punch || n < CRASH_PAGE_BYTES))) {
            continue;
        }
        touch(f, (pos - 1) / CRASH_PAGE_BYTES);
        if (n < CRASH_PAGE_BYTES) {
            memset(p->now + at, 0, n);
        } else {
            release(p->now);
            p->now = punch ? NULL : reserved;
            f->pages_used -= punch;
        }
    }
}

void crash_file_zero(struct crash_file *f, uint64_t seq, uint64_t offset, uint64_t bytes,
                     bool punch)
{
    struct change *c = add_change(f, seq, offset, bytes);
    uint64_t last = c->first_sector + c->sectors_count - 1;

    zero_pages(f, offset, bytes, punch);
    if (bytes != 0 && (offset % CRASH_SECTOR_BYTES != 0 || (offset + bytes) % CRASH_SECTOR_BYTES)) {
        c->edges = mem_alloc((size_t)2 * CRASH_SECTOR_BYTES);
        read_pages(f, c->edges, CRASH_SECTOR_BYTES, c->first_sector * CRASH_SECTOR_BYTES);
        read_pages(f, c->edges + CRASH_SECTOR_BYTES, CRASH_SECTOR_BYTES, last * CRASH_SECTOR_BYTES);
    }
}

void crash_file_truncate(struct crash_file *f, uint64_t seq, uint64_t size_bytes)
{
    struct change *c;

    if (size_bytes < f->size_bytes) {
        crash_file_zero(f, seq, size_bytes,
                        pages_end(0, f->size_bytes) * CRASH_PAGE_BYTES - size_bytes, true);
        c = container_of(f->changes.prev, struct change, link);
        c->cuts = true;
    } else {
        c = add_change(f, seq, 0, 0);
    }
    set_size(f, c, size_bytes);
}

void crash_file_reserve(struct crash_file *f, uint64_t seq, uint64_t offset, uint64_t bytes)
{
    struct change *c = add_change(f, seq, 0, 0);
    uint64_t end = pages_end(offset, bytes);

    grow(f, end);
    for (uint64_t i = offset / CRASH_PAGE_BYTES; bytes != 0 && i < end; i++) {
        if (f->pages[i].now == NULL) {
            f->pages[i].now = reserved;
            f->pages_used++;
        }
    }
    if (offset + bytes > f->size_bytes) {
        set_size(f, c, offset + bytes);
    }
}

/* ---- from changes to durable bytes ---- */

static const uint8_t *sector_after(const struct change *c, uint64_t sector)
{
    uint64_t i = sector - c->first_sector;

    if (c->image != NULL) {
        return c->image + i * CRASH_SECTOR_BYTES;
    }
    if (c->edges != NULL && i == 0) {
        return c->edges;
    }
    if (c->edges != NULL && i == c->sectors_count - 1) {
        return c->edges + CRASH_SECTOR_BYTES;
    }
    return reserved;
}

/* Put the sectors of `c` into the durable pages; with `rnd`, each on a coin's fall. */
static void harden(struct crash_file *f, const struct change *c, struct rnd *rnd)
{
    uint64_t end = c->first_sector + c->sectors_count;

    for (uint64_t s = c->first_sector; s < end && s / PAGE_SECTORS < f->pages_count; s++) {
        struct page *p = &f->pages[s / PAGE_SECTORS];

        if (!p->dirty) {
            s |= PAGE_SECTORS - 1; /* the rest of it: zeroed when it was zero */
        } else if (rnd == NULL || rnd_below(rnd, 2) == 0) {
            p->durable = writable(p->durable);
            memcpy(p->durable + s % PAGE_SECTORS * CRASH_SECTOR_BYTES, sector_after(c, s),
                   CRASH_SECTOR_BYTES);
        }
    }
}

uint64_t crash_file_sync(struct crash_file *f)
{
    uint64_t bytes = 0;

    LIST_FOR_EACH (it, &f->changes) {
        const struct change *c = container_of(it, struct change, link);

        if (c->lost) {
            continue;
        }
        bytes += c->bytes;
        if (f->strayed) {
            harden(f, c, NULL);
        }
        f->durable_size_bytes = c->has_size ? c->size_bytes : f->durable_size_bytes;
    }
    drop_changes(f);
    if (f->strayed) {
        return bytes;
    }
    for (size_t i = 0; i < f->dirty_count; i++) {
        struct page *p = &f->pages[f->dirty[i]];

        release(p->durable);
        p->durable = NULL;
        p->dirty = false;
    }
    f->dirty_count = 0;
    return bytes;
}

void crash_file_sync_failed(struct crash_file *f)
{
    LIST_FOR_EACH (it, &f->changes) {
        container_of(it, struct change, link)->lost = true;
        f->strayed = true;
    }
}

void crash_file_list_changes(const struct crash_file *f, struct buf *seqs)
{
    LIST_FOR_EACH (it, &f->changes) {
        buf_put_u64le(seqs, container_of(it, struct change, link)->seq);
    }
}

bool crash_choice_keep(const struct crash_choice *choice, uint64_t seq)
{
    switch (choice->mode) {
    case CRASH_KEEP_ALL:
        return true;
    case CRASH_RANDOM:
        return rnd_below(choice->rnd, 100) < choice->keep_percent;
    case CRASH_REVERSED:
        return seq >= choice->seq_min;
    case CRASH_DROP_ALL:
    default:
        return false;
    }
}

/* The number of the last size change that survives; file systems log those in order,
 * so the ones before it have happened too. */
static uint64_t choose_size(const struct crash_file *f, const struct crash_choice *choice)
{
    uint64_t last = 0;

    LIST_FOR_EACH (it, &f->changes) {
        const struct change *c = container_of(it, struct change, link);

        if (c->has_size && !(c->lost && choice->mode == CRASH_KEEP_ALL) &&
            crash_choice_keep(choice, c->seq)) {
            last = c->seq;
        }
    }
    return last;
}

static void settle_change(struct crash_file *f, const struct change *c,
                          const struct crash_choice *choice, uint64_t last_size_seq)
{
    if (c->cuts) {
        if (c->seq <= last_size_seq) {
            harden(f, c, NULL);
        }
    } else if (c->lost && choice->mode == CRASH_KEEP_ALL) {
        return; /* the best that can happen to these is nothing */
    } else if (crash_choice_keep(choice, c->seq)) {
        harden(f, c, NULL);
    } else if (choice->mode == CRASH_RANDOM && rnd_below(choice->rnd, 2) == 0) {
        harden(f, c, choice->rnd);
    }
    if (c->has_size && c->seq <= last_size_seq) {
        f->durable_size_bytes = c->size_bytes;
    }
}

/* Bytes past the end are not there when the file grows later. */
static void clear_past_end(struct crash_file *f)
{
    uint64_t end = f->size_bytes;

    if (f->pages_count * CRASH_PAGE_BYTES > end) {
        zero_pages(f, end, f->pages_count * CRASH_PAGE_BYTES - end, true);
    }
    for (size_t i = 0; i < f->dirty_count; i++) {
        struct page *p = &f->pages[f->dirty[i]];

        release(p->durable);
        p->durable = NULL;
        p->dirty = false;
    }
    f->dirty_count = 0;
}

void crash_file_settle(struct crash_file *f, const struct crash_choice *choice)
{
    uint64_t last_size_seq = choose_size(f, choice);

    LIST_FOR_EACH (it, &f->changes) {
        settle_change(f, container_of(it, struct change, link), choice, last_size_seq);
    }
    drop_changes(f);
    for (size_t i = 0; i < f->dirty_count; i++) {
        struct page *p = &f->pages[f->dirty[i]];

        f->pages_used += p->durable != NULL;
        f->pages_used -= p->now != NULL;
        release(p->now);
        p->now = p->durable;
        p->durable = NULL;
        p->dirty = false;
    }
    f->dirty_count = 0;
    f->strayed = false;
    f->size_bytes = f->durable_size_bytes;
    clear_past_end(f);
}

bool crash_file_corrupt(struct crash_file *f, uint64_t offset)
{
    struct page *p;
    size_t at = (size_t)(offset % CRASH_PAGE_BYTES);

    if (offset >= f->size_bytes) {
        return false;
    }
    grow(f, pages_end(offset, 1));
    p = &f->pages[offset / CRASH_PAGE_BYTES];
    f->pages_used += p->now == NULL;
    p->now = writable(p->now);
    p->now[at] ^= 0x5a;
    if (p->dirty) {
        p->durable = writable(p->durable);
        p->durable[at] ^= 0x5a;
    }
    return true;
}
