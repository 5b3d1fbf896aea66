/* One fragment: SEND -> SENDING (fragment_put.h) -> STORED, and when things fail:
 *
 * - the namespace is gone: the whole upload fails;
 * - the OSD is busy: again a little later;
 * - anything else: another OSD if the policy has one, else FAILED. What the first OSD may have
 *   stored carries a gc tag and is collected by it. */
#include <inttypes.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/upload_private.h"

enum { BUSY_TRIES_MAX = 40, BUSY_WAIT_MS = 50 };

static struct upload *upload_of(const struct upload_fragment *f)
{
    return f->chunk->upload;
}

void upload_fragment_send_to(struct upload_fragment *f, struct osd *osd)
{
    f->osd = osd;
    f->state = UPLOAD_FRAGMENT_SEND;
    f->send_at_ms = clock_mono_ms();
    f->busy_tries = 0;
}

static void fail(struct upload_fragment *f, const char *why)
{
    struct upload *u = upload_of(f);
    struct osd *other = NULL;

    u->engine->stats.totals.fragments_failed++;
    log_debug("upload", "fragment failed",
              "chunk=%" PRIu32 " fragment=%" PRIu32 " osd=%llu why=\"%s\"", f->chunk->index,
              f->index, (unsigned long long)f->osd->id, why);
    if (!upload_is_over(u) && f->replacements < UPLOAD_REPLACEMENTS_MAX) {
        other = upload_replacement(f, f->osd, true);
    }
    if (other == NULL) {
        f->state = UPLOAD_FRAGMENT_FAILED;
        return;
    }
    f->replacements++;
    u->engine->stats.totals.fragments_replaced++;
    u->targets[f->index] = other;
    upload_fragment_send_to(f, other);
}

static void note_stored(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);
    bool late = u->state == UPLOAD_STORED;

    f->state = UPLOAD_FRAGMENT_STORED;
    f->begun_ms = f->put.call.sent_ns / 1000000; /* not what it waited for others of ours */
    f->took_ms = clock_mono_ms() - f->begun_ms;
    u->engine->stats.totals.fragments_stored++;
    if (!late) {
        struct manifest_fragment *mf =
            manifest_fragment_at(&u->manifest, f->chunk->index, f->index);

        mf->has_osd = true;
        mf->osd_id = f->osd->id;
    }
    u->places = mem_realloc(u->places, (u->place_count + 1) * sizeof(*u->places));
    u->places[u->place_count++] = (struct upload_place){
        .osd = f->osd, .chunk = f->chunk->index, .fragment = f->index, .late = late};
}

static void on_put(struct fragment_put *put, int rc)
{
    struct upload_fragment *f = container_of(put, struct upload_fragment, put);
    struct upload *u = upload_of(f);

    u->pending--;
    if (rc == 0) {
        note_stored(f);
    } else if (upload_is_over(u)) {
        f->state = UPLOAD_FRAGMENT_FAILED;
    } else if (rc == ERR_BUSY && f->busy_tries++ < BUSY_TRIES_MAX) {
        f->state = UPLOAD_FRAGMENT_SEND;
        f->send_at_ms = clock_mono_ms() + BUSY_WAIT_MS;
    } else if (rc == ERR_NOT_FOUND) { /* the namespace is gone: no OSD will take it */
        f->state = UPLOAD_FRAGMENT_FAILED;
        if (u->state == UPLOAD_RUN) {
            err_copy(&u->err, &put->err);
            upload_fail_attempt(u, ERR_NOT_FOUND, true);
        }
    } else {
        fail(f, put->err.msg);
    }
    upload_step(u);
}

static void start_put(struct upload_fragment *f)
{
    struct upload *u = upload_of(f);
    const struct encode *x = &f->chunk->encode;
    struct fragment_put_spec spec = {.ns = u->spec.ns,
                                     .gc_epoch = u->spec.gc_epoch,
                                     .name = {.object_id = u->manifest.object_id,
                                              .chunk = f->chunk->index,
                                              .fragment = f->index},
                                     .sum = encode_sum(x, f->index),
                                     .tail_bytes = encode_tail_bytes(x, f->index),
                                     .recovery = slice_buf(&f->chunk->recovery),
                                     .reserve = u->spec.reserve,
                                     .low_priority = u->spec.low_priority};

    encode_value(x, f->index, &spec.payload, &spec.image);
    f->state = UPLOAD_FRAGMENT_SENDING;
    u->pending++;
    fragment_put_start(&f->put, u->engine, f->osd, &spec, on_put);
}

void upload_fragment_step(struct upload_fragment *f)
{
    if (f->state != UPLOAD_FRAGMENT_SEND) {
        return;
    }
    if (upload_is_over(upload_of(f))) {
        f->state = UPLOAD_FRAGMENT_FAILED;
    } else if (f->send_at_ms <= clock_mono_ms()) {
        start_put(f);
    }
}

void upload_fragment_cancel(struct upload_fragment *f)
{
    if (f->state == UPLOAD_FRAGMENT_SENDING) {
        fragment_put_cancel(&f->put);
    } else if (f->state == UPLOAD_FRAGMENT_SEND) {
        f->state = UPLOAD_FRAGMENT_FAILED;
    }
}
