#include "lib/vol_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

void vol_model_init(struct vol_model *m, uint64_t bytes)
{
    *m = (struct vol_model){.sector_count = bytes / VOL_SECTOR, .count = 1};
    m->sectors = mem_array(m->sector_count, sizeof(*m->sectors));
}

void vol_model_release(struct vol_model *m)
{
    for (uint64_t i = 0; i < m->sector_count; i++) {
        free(m->sectors[i].writers);
    }
    free(m->sectors);
    free(m->writes);
}

bool vol_model_is_free(const struct vol_model *m, uint64_t sector, uint32_t count)
{
    for (uint64_t s = sector; s < sector + count; s++) {
        if (m->sectors[s].busy) {
            return false;
        }
    }
    return true;
}

void vol_model_set_busy(struct vol_model *m, uint64_t sector, uint32_t count, bool busy)
{
    for (uint64_t s = sector; s < sector + count; s++) {
        m->sectors[s].busy = busy;
    }
}

uint32_t vol_model_submit(struct vol_model *m, uint64_t sector, uint32_t count, bool zero)
{
    uint32_t id = m->count++;

    if (m->count > m->cap) {
        m->cap = 2 * m->count + 64;
        m->writes = mem_realloc(m->writes, m->cap * sizeof(*m->writes));
    }
    m->writes[id] = (struct vol_write){.sector = sector,
                                       .count = count,
                                       .zero = zero,
                                       .submitted = ++m->clock,
                                       .last_seq = UINT64_MAX};
    for (uint64_t s = sector; s < sector + count; s++) {
        struct vol_sector *x = &m->sectors[s];

        if (x->count == x->cap) {
            x->cap = x->cap != 0 ? 2 * x->cap : 4;
            x->writers = mem_realloc(x->writers, x->cap * sizeof(*x->writers));
        }
        x->writers[x->count++] = id;
    }
    vol_model_set_busy(m, sector, count, true);
    return id;
}

static void sector_content(uint32_t id, uint64_t sector, uint8_t *data)
{
    struct rnd rnd = rnd_seed((uint64_t)id << 32 | sector);

    put_u64le(data, id);
    put_u64le(data + 8, sector);
    for (unsigned i = 16; i < VOL_SECTOR; i += 8) {
        put_u64le(data + i, rnd_next(&rnd));
    }
}

void vol_model_content(const struct vol_model *m, uint32_t id, uint8_t *ret_data)
{
    const struct vol_write *w = &m->writes[id];

    for (uint32_t i = 0; i < w->count; i++) {
        sector_content(id, w->sector + i, ret_data + (size_t)i * VOL_SECTOR);
    }
}

void vol_model_complete(struct vol_model *m, uint32_t id, bool flushed)
{
    struct vol_write *w = &m->writes[id];

    w->completed = ++m->clock;
    w->flushed = flushed;
    vol_model_set_busy(m, w->sector, w->count, false);
}

void vol_model_flushed(struct vol_model *m, uint64_t clock)
{
    for (uint32_t i = 1; i < m->count; i++) {
        struct vol_write *w = &m->writes[i];

        w->flushed = w->flushed || (w->completed != 0 && w->completed <= clock);
    }
}

void vol_model_uploaded(struct vol_model *m, uint64_t clock)
{
    for (uint32_t i = 1; i < m->count; i++) {
        struct vol_write *w = &m->writes[i];

        w->uploaded = w->uploaded || (w->completed != 0 && w->completed <= clock);
    }
}

void vol_model_bound(struct vol_model *m, uint64_t last_seq)
{
    for (uint32_t i = 1; i < m->count; i++) {
        struct vol_write *w = &m->writes[i];

        if (w->completed != 0 && w->last_seq == UINT64_MAX) {
            w->last_seq = last_seq;
        }
    }
}

void vol_model_committed(struct vol_model *m, uint64_t seq)
{
    for (uint32_t i = 1; i < m->count; i++) {
        struct vol_write *w = &m->writes[i];

        w->uploaded = w->uploaded || (w->completed != 0 && w->last_seq <= seq);
    }
}

/* Who wrote these bytes: 0 for zeroes. Anything that no write can have left fails the test. */
static uint32_t author(const struct vol_model *m, uint64_t sector, const uint8_t *data)
{
    uint8_t want[VOL_SECTOR] = {0};
    uint64_t id = get_u64le(data);

    if (id != 0) {
        assert_true(id < m->count);
        sector_content((uint32_t)id, sector, want);
    }
    assert_memory_equal(data, want, VOL_SECTOR);
    return (uint32_t)id;
}

static uint32_t value_of(const struct vol_model *m, uint32_t id)
{
    return m->writes[id].zero ? 0 : id;
}

void vol_model_expect(const struct vol_model *m, uint64_t sector, uint32_t count,
                      const uint8_t *data)
{
    for (uint64_t s = sector; s < sector + count; s++, data += VOL_SECTOR) {
        const struct vol_sector *x = &m->sectors[s];
        uint32_t want = x->count != 0 ? value_of(m, x->writers[x->count - 1]) : 0;

        assert_int_equal(author(m, s, data), want);
    }
}

/* Index of the newest writer of the sector that left `id`; -1: nobody did, it is zero as new. */
static int newest(const struct vol_model *m, const struct vol_sector *x, uint32_t id)
{
    for (uint32_t i = x->count; i-- > 0;) {
        if (value_of(m, x->writers[i]) == id) {
            return (int)i;
        }
    }
    return -1;
}

/* The oldest one from `must` on: zeroes do not tell who left them. */
static int oldest(const struct vol_model *m, const struct vol_sector *x, uint32_t id, int must)
{
    for (int i = must < 0 ? 0 : must; i < (int)x->count && (id != 0 || must >= 0); i++) {
        if (value_of(m, x->writers[i]) == id) {
            return i;
        }
    }
    return -1;
}

static int mandatory(const struct vol_model *m, const struct vol_sector *x, uint64_t latest,
                     bool journal)
{
    for (uint32_t i = x->count; i-- > 0;) {
        const struct vol_write *w = &m->writes[x->writers[i]];

        if ((w->completed != 0 && w->completed < latest) || (journal ? w->flushed : w->uploaded)) {
            return (int)i;
        }
    }
    return -1;
}

static void fail_lost(const struct vol_model *m, uint64_t s, int there, int must, uint64_t latest)
{
    const struct vol_sector *x = &m->sectors[s];
    const struct vol_write *w = &m->writes[x->writers[must]];

    fail_msg("sector %llu: write %u is lost, %d is there (%u at %llu, submitted %llu, completed "
             "%llu%s%s%s; newest there: %llu)",
             (unsigned long long)s, x->writers[must], there < 0 ? 0 : (int)x->writers[there],
             w->count, (unsigned long long)w->sector, (unsigned long long)w->submitted,
             (unsigned long long)w->completed, w->zero ? ", zero" : "",
             w->flushed ? ", flushed" : "", w->uploaded ? ", uploaded" : "",
             (unsigned long long)latest);
}

void vol_model_check(struct vol_model *m, const uint8_t *image, bool journal)
{
    uint64_t latest = 0; /* when the newest write that is there was submitted */
    int *sure;           /* per sector: writers up to this one are certainly there */

    for (uint64_t s = 0; s < m->sector_count; s++) {
        uint32_t id = author(m, s, image + s * VOL_SECTOR);

        if (id != 0) {
            assert_true(newest(m, &m->sectors[s], id) >= 0); /* it had not been lost before */
            latest = m->writes[id].submitted > latest ? m->writes[id].submitted : latest;
        }
    }
    sure = mem_array(m->sector_count, sizeof(*sure));
    for (uint64_t s = 0; s < m->sector_count; s++) {
        struct vol_sector *x = &m->sectors[s];
        uint32_t id = author(m, s, image + s * VOL_SECTOR);
        int there = newest(m, x, id), must = mandatory(m, x, latest, journal);

        if (there < must) {
            fail_lost(m, s, there, must, latest);
        }
        sure[s] = oldest(m, x, id, must);
        x->count = (uint32_t)(there + 1);
        x->busy = false;
    }
    for (uint64_t s = 0; s < m->sector_count; s++) {
        for (int i = 0; i <= sure[s]; i++) {
            struct vol_write *w = &m->writes[m->sectors[s].writers[i]];

            w->completed = w->completed != 0 ? w->completed : m->clock;
            w->flushed = w->flushed || journal;
            w->uploaded = w->uploaded || !journal;
        }
    }
    m->clock++;
    free(sure);
}
