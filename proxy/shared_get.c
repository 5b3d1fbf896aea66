#include "proxy/shared_get.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"

enum { KEY_BYTES = FRAGMENT_OBJECT_ID_BYTES + 8 * 4 + 8 };

/* A stored value that is asked about. */
struct shared_fragment {
    struct list gets; /* that may be joined */
    UT_hash_handle hh;
    uint8_t key[KEY_BYTES];
};

static void make_key(uint8_t key[KEY_BYTES], const struct shared_get_spec *spec)
{
    const uint32_t numbers[8] = {spec->name.chunk,
                                 spec->name.fragment,
                                 spec->name.version,
                                 spec->stored_bytes,
                                 spec->shape.raw_bytes,
                                 spec->shape.block_bytes,
                                 (uint32_t)spec->shape.codec,
                                 (uint32_t)spec->shape.cipher};

    CHECK(spec->name.object_id.len == FRAGMENT_OBJECT_ID_BYTES);
    memcpy(key, spec->name.object_id.data, FRAGMENT_OBJECT_ID_BYTES);
    memcpy(key + FRAGMENT_OBJECT_ID_BYTES, numbers, sizeof(numbers));
    memcpy(key + FRAGMENT_OBJECT_ID_BYTES + sizeof(numbers), &spec->osd->id, 8);
}

/* ---- which ones may be joined ---- */

static struct shared_fragment *fragment_of(struct engine *engine,
                                           const struct shared_get_spec *spec)
{
    struct shared_fragment *fragment;
    uint8_t key[KEY_BYTES];

    make_key(key, spec);
    HASH_FIND(hh, engine->shared_gets, key, KEY_BYTES, fragment);
    if (fragment == NULL) {
        fragment = mem_zalloc(sizeof(*fragment));
        list_init(&fragment->gets);
        memcpy(fragment->key, key, KEY_BYTES);
        HASH_ADD(hh, engine->shared_gets, key, KEY_BYTES, fragment);
    }
    return fragment;
}

/* Nobody joins it from now on. */
static void withdraw(struct shared_get *get)
{
    struct shared_fragment *fragment = get->fragment;

    if (fragment == NULL) {
        return;
    }
    get->fragment = NULL;
    list_remove(&get->link);
    if (list_empty(&fragment->gets)) {
        HASH_DEL(get->engine->shared_gets, fragment);
        free(fragment);
    }
}

/* Who must not wait does not join one who gives way. */
static bool is_good_for(const struct shared_get *get, const struct shared_get_spec *spec)
{
    const struct shared_get_spec *has = &get->spec;

    if (has->low_priority && !spec->low_priority) {
        return false;
    }
    if (spec->exact) {
        return has->state == spec->state && has->raw_offset == spec->raw_offset &&
               has->raw_bytes == spec->raw_bytes;
    }
    if (has->state == FETCH_ALL || has->state == FETCH_TRAILER) {
        return has->state == FETCH_ALL || spec->state == FETCH_TRAILER;
    }
    return has->state == spec->state && spec->raw_offset >= has->raw_offset &&
           spec->raw_offset + spec->raw_bytes <= has->raw_offset + has->raw_bytes;
}

static struct shared_get *find(const struct shared_fragment *fragment,
                               const struct shared_get_spec *spec)
{
    unsigned looks = 0;

    LIST_FOR_EACH (it, &fragment->gets) {
        struct shared_get *get = container_of(it, struct shared_get, link);

        if (is_good_for(get, spec)) {
            return get;
        }
        if (++looks == SHARED_GET_LOOKS_MAX) {
            break;
        }
    }
    return NULL;
}

/* ---- the answer ---- */

static size_t expected_bytes(const struct shared_get *get)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < get->spec.part_count; i++) {
        sum += get->spec.parts[i].bytes;
    }
    return sum;
}

void shared_get_drop(struct shared_get *get)
{
    struct engine *engine;

    if (get == NULL || --get->refs > 0) {
        return;
    }
    engine = get->engine;
    engine->scratch_bytes -= expected_bytes(get);
    bigmem_free(get->frame);
    gather_release(&get->request);
    free(get);
    engine_drop(engine);
}

static int decode(struct shared_get *get)
{
    struct asd_reply reply;
    int rc = asd_reply_decode(get->call.asd.reply, ASD_PARTIAL_GET, &reply, &get->err);

    if (rc != 0) {
        return rc;
    }
    if (!reply.partial.found) {
        rc = err_set(&get->err, ERR_NOT_FOUND, "fragment");
    } else if (reply.partial.data.len != expected_bytes(get)) {
        rc = err_set(&get->err, ERR_CORRUPT, "%zu bytes came, %zu were asked for",
                     reply.partial.data.len, expected_bytes(get));
    }
    get->data = reply.partial.data;
    asd_reply_release(&reply);
    get->frame = asd_call_detach_reply(&get->call.asd); /* data outlives the callback */
    return rc;
}

/* ---- suspicion: by questions, however many wait for one ---- */

static void note_answered(const struct shared_get *get, int rc)
{
    const struct shared_get_spec *spec = &get->spec;
    bool is_answer = rc == 0 || rc == ERR_CORRUPT || rc == -ERANGE;
    uint64_t now_ns = clock_mono_ns();
    uint64_t delay_ns;

    if (!is_answer || spec->low_priority) {
        return;
    }
    delay_ns =
        hedge_delay_ns(&get->engine->hedge, hedge_kind(osd_is_far(spec->osd), spec->raw_bytes));
    osd_suspect_answered(&spec->osd->suspect,
                         rc == 0 && !get->is_lost && now_ns - get->call.sent_ns <= delay_ns,
                         now_ns);
}

static void note_lost(struct shared_get *get, uint64_t too_long_ns)
{
    uint64_t now_ns = clock_mono_ns(), sent_ns = get->call.sent_ns;

    if (!get->is_lost && sent_ns != 0 && now_ns - sent_ns >= too_long_ns) {
        get->is_lost = true;
        osd_suspect_lost(&get->spec.osd->suspect, sent_ns, now_ns);
    }
}

static void on_reply(struct osd_call *call, int rc)
{
    struct shared_get *get = container_of(call, struct shared_get, call);
    struct list *link;

    withdraw(get);
    buf_release(&call->asd.failed_key);
    note_answered(get, rc);
    if (!list_empty(&get->overtaken_link)) { /* what it says nobody looks at */
        list_remove(&get->overtaken_link);
        shared_get_drop(get);
        return;
    }
    if (rc != 0) {
        err_copy(&get->err, &call->asd.err);
    } else {
        rc = decode(get);
        if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
            osd_note_corrupt(get->spec.osd);
        }
    }
    while ((link = list_pop(&get->waits)) != NULL) {
        struct shared_wait *wait = container_of(link, struct shared_wait, link);

        wait->cb(wait, rc);
    }
    shared_get_drop(get); /* the call's own */
}

/* ---- the question ---- */

static int ask(struct shared_get *get)
{
    const struct shared_get_spec *spec = &get->spec;
    struct asd_part parts[SHARED_GET_PARTS_MAX];
    struct buf key = {0};
    struct asd_request request = {.code = ASD_PARTIAL_GET,
                                  .prio = spec->low_priority ? ASD_PRIO_LOW : ASD_PRIO_HIGH,
                                  .partial = {.parts = parts, .part_count = spec->part_count}};

    for (uint32_t i = 0; i < spec->part_count; i++) {
        parts[i] =
            (struct asd_part){.offset = spec->parts[i].offset, .bytes = spec->parts[i].bytes};
    }
    osd_key_put_fragment(&key, spec->ns_id, &spec->name);
    request.partial.key = slice_buf(&key);
    asd_request_encode(&request, &get->request);
    buf_release(&key);
    if (!spec->low_priority) {
        get->engine->stats.totals.near_reads += !osd_is_far(spec->osd);
        get->engine->stats.totals.far_reads += osd_is_far(spec->osd);
    }
    return osd_call_start(spec->osd, &get->call, &get->request, OSD_READ,
                          get->engine->options.osd_timeout_ms, on_reply);
}

static struct shared_get *get_new(struct engine *engine, const struct shared_get_spec *spec,
                                  struct shared_fragment *fragment)
{
    struct shared_get *get = mem_zalloc(sizeof(*get));

    get->engine = engine;
    get->spec = *spec;
    get->fragment = fragment;
    get->refs = 1;
    list_init(&get->waits);
    list_init(&get->unpack_waits);
    list_init(&get->overtaken_link);
    list_push(&fragment->gets, &get->link);
    engine->scratch_bytes += expected_bytes(get);
    engine_hold(engine);
    return get;
}

int shared_get_join(struct engine *engine, const struct shared_get_spec *spec,
                    struct shared_wait *wait, shared_wait_cb cb)
{
    struct shared_fragment *fragment = fragment_of(engine, spec);
    struct shared_get *get = find(fragment, spec);
    bool has_joined = get != NULL;

    if (has_joined) {
        engine->stats.totals.fragment_reads_shared++;
    } else {
        int rc;

        get = get_new(engine, spec, fragment);
        rc = ask(get);
        get->spec.name.object_id = (struct slice){0}; /* was borrowed */
        if (rc != 0) {
            withdraw(get);
            shared_get_drop(get);
            return rc;
        }
        engine->stats.totals.fragment_reads++;
    }
    get->refs++;
    *wait = (struct shared_wait){.get = get, .has_joined = has_joined, .cb = cb};
    list_push(&get->waits, &wait->link);
    return 0;
}

/* True: nobody waits for it any more, its answer has not come, and nobody joins it now. */
static bool leave(struct shared_wait *wait)
{
    struct shared_get *get = wait->get;

    list_remove(&wait->link);
    wait->get = NULL;
    if (!list_empty(&get->waits) || get->fragment == NULL) {
        return false;
    }
    withdraw(get);
    return true;
}

void shared_get_leave(struct shared_wait *wait)
{
    struct shared_get *get = wait->get;

    if (leave(wait)) {
        osd_call_cancel(&get->call);
    }
    shared_get_drop(get);
}

void shared_get_overtake(struct shared_wait *wait, uint64_t too_long_ns)
{
    struct shared_get *get = wait->get;

    note_lost(get, too_long_ns);
    if (leave(wait)) {
        if (get->call.sent_ns != 0 && !get->engine->closing) {
            list_push(&get->engine->overtaken_gets, &get->overtaken_link);
        } else {
            osd_call_cancel(&get->call);
        }
    }
    shared_get_drop(get);
}

void shared_gets_end_overtaken(struct engine *engine)
{
    LIST_FOR_EACH (it, &engine->overtaken_gets) {
        osd_call_cancel(&container_of(it, struct shared_get, overtaken_link)->call);
    }
}
