/* A full journal: the volumes of a driver share it, and one that cannot upload (its backend
 * refuses, it is damaged, or belongs to another driver now) keeps the oldest segment. The operator
 * has to know which one, and no guest waits without end. */
#include "volumedriver/driver_full.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "volumedriver/driver.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/volume_host.h"

enum {
    TELL_MS = 10000, /* slow uploads are no event */
    OVER_MS = 1000,
    NAMES_MAX = 8
};

struct pins {
    const struct driver *d;
    struct buf text;
    unsigned count;
};

static void add_name(void *ctx, const uint8_t uuid[UUID_BYTES])
{
    struct pins *p = ctx;
    const struct driver_volume *v = driver_volume_find_uuid(p->d, uuid);
    char text[RND_UUID_TEXT_BYTES];

    if (p->count++ >= NAMES_MAX) {
        return;
    }
    if (p->count > 1) {
        buf_printf(&p->text, ", ");
    }
    if (v != NULL) {
        buf_printf(&p->text, "%s", v->name);
    } else {
        hex_encode_uuid(text, uuid);
        buf_printf(&p->text, "%s (not a volume of this driver)", text);
    }
}

/* Who has records in the oldest segment; the caller releases it. */
static struct buf pins_text(const struct driver *d)
{
    struct pins p = {.d = d};

    volume_host_pins(&d->host, add_name, &p);
    if (p.count > NAMES_MAX) {
        buf_printf(&p.text, " and %u more", p.count - NAMES_MAX);
    }
    if (journal_damage_lsn(d->journal) != 0) {
        buf_printf(&p.text, "%sa lost frame that is not settled", p.count != 0 ? ", " : "");
    }
    if (p.text.len == 0) { /* released a moment ago */
        buf_printf(&p.text, "nobody");
    }
    return p.text;
}

static uint64_t waited_ms(const struct driver *d)
{
    uint64_t ms = 0;

    return journal_waiting(d->journal, &ms) != NULL ? ms : 0;
}

/* Once for each that it waits for. */
static void tell(struct driver *d, uint64_t ms)
{
    struct buf text = pins_text(d);

    if (!d->full_told || !slice_eq(slice_buf(&text), slice_buf(&d->full_pins))) {
        log_warn("driver", "journal full, writes wait", "waited_ms=%" PRIu64 " pinned_by=\"%.*s\"",
                 ms, (int)text.len, (const char *)text.data);
    }
    buf_release(&d->full_pins);
    d->full_pins = text;
    d->full_told = true;
}

void driver_full_watch(struct driver *d)
{
    uint64_t ms = waited_ms(d);

    if (ms >= TELL_MS) {
        tell(d, ms);
    } else if (d->full_told && ms < OVER_MS && !journal_is_full(d->journal)) {
        d->full_told = false;
        log_info("driver", "journal has room again", "home=%s", d->config->home);
    }
    volume_host_end_waits(&d->host, (uint64_t)d->config->journal_full_ms);
}

bool driver_volume_is_full(const struct driver_volume *v)
{
    return v->driver->full_told && volume_wait_ms(v->volume) >= OVER_MS;
}

json_t *driver_full_json(const struct driver *d)
{
    struct buf text;
    json_t *o;

    if (d->journal == NULL || !d->full_told) {
        return json_string("well");
    }
    text = pins_text(d);
    o = json_pack("{s:I, s:s#}", "full_ms", (json_int_t)waited_ms(d), "pinned_by",
                  (const char *)text.data, (int)text.len);
    buf_release(&text);
    return o;
}
