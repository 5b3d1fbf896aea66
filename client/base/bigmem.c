/* Kept blocks are an array in the order in which they were freed: the last is the warmest.
 * All state is behind one lock, which nobody holds while asking the system for memory. */
#include "base/bigmem.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    HUGE_PAGE_BYTES = 2 << 20,
    ROUND_BYTES = 64 << 10, /* so that frames of nearly one size fit into each other's place */
    WASTE_MAX = 4           /* a block may be larger by 1/WASTE_MAX than what is asked for */
};

struct block {
    void *data;
    size_t bytes;
    uint64_t freed_ms;
};

static struct {
    pthread_mutex_t lock;
    size_t bytes_max;
    size_t bytes;
    size_t held_bytes; /* had from the system: kept or in use */
    unsigned count;
    struct block blocks[BIGMEM_BLOCKS_MAX];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Locked. */
static struct block take_at(unsigned index)
{
    struct block block = kept.blocks[index];

    kept.count--;
    kept.bytes -= block.bytes;
    memmove(&kept.blocks[index], &kept.blocks[index + 1],
            (kept.count - index) * sizeof(kept.blocks[0]));
    return block;
}

static void *take_kept(size_t bytes)
{
    void *data = NULL;

    pthread_mutex_lock(&kept.lock);
    for (unsigned i = kept.count; i-- > 0 && data == NULL;) {
        if (kept.blocks[i].bytes >= bytes && kept.blocks[i].bytes - bytes <= bytes / WASTE_MAX) {
            data = take_at(i).data;
        }
    }
    pthread_mutex_unlock(&kept.lock);
    return data;
}

/* The coldest, if with `bytes` more from the system there would be too much; else NULL. */
static void *take_for(size_t bytes)
{
    void *data = NULL;

    pthread_mutex_lock(&kept.lock);
    if (kept.count != 0 &&
        (kept.held_bytes > kept.bytes_max || bytes > kept.bytes_max - kept.held_bytes)) {
        struct block block = take_at(0);

        kept.held_bytes -= block.bytes;
        data = block.data;
    }
    pthread_mutex_unlock(&kept.lock);
    return data;
}

static void *take_fresh(size_t bytes)
{
    void *data;

    while ((data = take_for(bytes)) != NULL) {
        free(data);
    }
    if (posix_memalign(&data, HUGE_PAGE_BYTES, bytes) != 0) {
        return NULL;
    }
    (void)madvise(data, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES,
                  MADV_HUGEPAGE); /* a wish: not every kernel has them */
    pthread_mutex_lock(&kept.lock);
    kept.held_bytes += malloc_usable_size(data);
    pthread_mutex_unlock(&kept.lock);
    return data;
}

/* Back to the system. free() of a buffer in use goes unnoticed: it counts as in use. */
static void give_back(void *data, size_t bytes)
{
    pthread_mutex_lock(&kept.lock);
    kept.held_bytes -= bytes < kept.held_bytes ? bytes : kept.held_bytes;
    pthread_mutex_unlock(&kept.lock);
    free(data);
}

void *bigmem_try(size_t bytes)
{
    void *data;

    if (bytes < BIGMEM_BYTES_MIN) {
        return malloc(bytes != 0 ? bytes : 1);
    }
    if (bytes > SIZE_MAX - ROUND_BYTES) {
        return NULL;
    }
    bytes = (bytes + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES;
    data = take_kept(bytes);
    return data != NULL ? data : take_fresh(bytes);
}

void *bigmem_alloc(size_t bytes)
{
    void *data = bigmem_try(bytes);

    return data != NULL ? data : mem_alloc(bytes); /* which says so and aborts */
}

/* Cheaper than to clear and fault in the pages again, when the system has no need of them. */
void bigmem_cool(void *data, size_t bytes)
{
    if (bytes > HUGE_PAGE_BYTES && (uintptr_t)data % HUGE_PAGE_BYTES == 0) {
        (void)madvise(data, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_FREE);
    }
}

/* Makes room by letting go of the coldest; returns it, or NULL. Locked. */
static void *make_room(size_t bytes)
{
    if (kept.count == 0 ||
        (kept.count < BIGMEM_BLOCKS_MAX && kept.bytes <= kept.bytes_max - bytes)) {
        return NULL;
    }
    return take_at(0).data;
}

void bigmem_free(void *data)
{
    size_t bytes = data != NULL ? malloc_usable_size(data) : 0;
    bool is_kept = false;
    void *cold = NULL;

    if (bytes < BIGMEM_BYTES_MIN || (uintptr_t)data % HUGE_PAGE_BYTES != 0) {
        free(data);
        return;
    }
    do {
        if (cold != NULL) {
            give_back(cold, malloc_usable_size(cold));
        }
        cold = NULL;
        pthread_mutex_lock(&kept.lock);
        if (bytes <= kept.bytes_max) {
            cold = make_room(bytes);
            if (cold == NULL) {
                kept.blocks[kept.count++] =
                    (struct block){.data = data, .bytes = bytes, .freed_ms = clock_mono_ms()};
                kept.bytes += bytes;
                is_kept = true;
            }
        }
        pthread_mutex_unlock(&kept.lock);
    } while (cold != NULL);
    if (!is_kept) {
        give_back(data, bytes);
    }
}

/* The coldest, if it is older or there is more than allowed; else NULL. */
static void *take_cold(uint64_t freed_before_ms)
{
    void *data = NULL;

    pthread_mutex_lock(&kept.lock);
    if (kept.count != 0 &&
        (kept.bytes > kept.bytes_max || kept.blocks[0].freed_ms < freed_before_ms)) {
        data = take_at(0).data;
    }
    pthread_mutex_unlock(&kept.lock);
    return data;
}

static void trim(uint64_t freed_before_ms)
{
    void *data;

    while ((data = take_cold(freed_before_ms)) != NULL) {
        give_back(data, malloc_usable_size(data));
    }
}

void bigmem_trim(uint64_t now_ms)
{
    trim(now_ms > BIGMEM_IDLE_MS ? now_ms - BIGMEM_IDLE_MS : 0);
}

void bigmem_keep(size_t bytes_max)
{
    pthread_mutex_lock(&kept.lock);
    kept.bytes_max = bytes_max;
    pthread_mutex_unlock(&kept.lock);
    trim(0);
}

size_t bigmem_kept_bytes(void)
{
    size_t bytes;

    pthread_mutex_lock(&kept.lock);
    bytes = kept.bytes;
    pthread_mutex_unlock(&kept.lock);
    return bytes;
}
