#include "meta/volume_record.h"

#include <string.h>

#include "base/hex.h"
#include "base/rnd.h"
#include "meta/registry_record.h"

enum { STAMP_TEXT_BYTES = 33 };

static const char *const state_names[] = {[REGISTRY_VOLUME_CREATING] = "creating",
                                          [REGISTRY_VOLUME_READY] = "ready",
                                          [REGISTRY_VOLUME_DELETING] = "deleting"};
/* State of a volume that is ready and carries a verdict: a program that does not know verdicts
 * knows no such state either, and leaves the volume alone. */
static const char damaged_name[] = "damaged";
static const char *const dtl_names[] = {[REGISTRY_DTL_NONE] = "none",
                                        [REGISTRY_DTL_SYNC] = "sync",
                                        [REGISTRY_DTL_ASYNC] = "async",
                                        [REGISTRY_DTL_DEGRADED] = "degraded"};

static int take_text(char *to, size_t bytes, const json_t *json, const char *field)
{
    const char *text = json_text(json, field, "");

    if (strlen(text) >= bytes) {
        return -1;
    }
    memcpy(to, text, strlen(text) + 1);
    return 0;
}

int volume_take_name(struct registry_volume *v, const json_t *json)
{
    return take_text(v->name, sizeof(v->name), json, "name") != 0 || v->name[0] == '\0'
               ? ERR_CORRUPT
               : 0;
}

/* Index of the name, or -1. */
static int name_index(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool take_damage(struct registry_damage *damage, const json_t *json)
{
    const json_t *object = json_object_get(json, "damaged");

    if (object == NULL) {
        return true;
    }
    damage->incarnation = json_u64(object, "incarnation", UINT64_MAX);
    damage->first_seq = json_u64(object, "first_seq", 0);
    return take_text(damage->journal, sizeof(damage->journal), object, "journal") == 0 &&
           take_text(damage->why, sizeof(damage->why), object, "why") == 0 &&
           damage->first_seq != 0 && damage->incarnation != UINT64_MAX;
}

static int take_state(const struct registry_volume *v, const char *name)
{
    if (strcmp(name, damaged_name) == 0) {
        return v->damage.first_seq != 0 ? REGISTRY_VOLUME_READY : -1;
    }
    return name_index(state_names, 3, name);
}

int volume_parse(struct slice key, struct slice value, struct registry_volume *ret_volume,
                 struct err *e)
{
    char text[KEY_TEXT_BYTES];
    struct registry_volume fresh = {0};
    struct registry_volume *v = &fresh;
    json_t *json;
    int state, dtl;
    int rc;

    if (value_open_json(key, value, &json, e) != 0) {
        return e->code;
    }
    v->size_bytes = json_u64(json, "size_bytes", UINT64_MAX);
    v->epoch = json_u64(json, "epoch", UINT64_MAX);
    v->created_us = json_u64(json, "created_us", 0);
    state = -1;
    if (take_damage(&v->damage, json)) {
        state = take_state(v, json_text(json, "state", ""));
    }
    dtl = name_index(dtl_names, 4, json_text(json, "dtl", ""));
    rc = take_text(v->name, sizeof(v->name), json, "name") |
         take_text(v->uuid, sizeof(v->uuid), json, "uuid") |
         take_text(v->preset, sizeof(v->preset), json, "preset") |
         take_text(v->owner, sizeof(v->owner), json, "owner") |
         take_text(v->device, sizeof(v->device), json, "device");
    json_decref(json);
    /* A state this program does not know must not be taken for another. */
    if (rc != 0 || state < 0 || dtl < 0 || v->size_bytes == UINT64_MAX ||
        v->epoch > REGISTRY_EPOCH_MAX || v->name[0] == '\0' ||
        strlen(v->uuid) != RND_UUID_TEXT_BYTES - 1) {
        key_text(key, text);
        return err_set(e, ERR_CORRUPT, "%s: a field is missing or wrong", text);
    }
    v->state = (enum registry_volume_state)state;
    v->dtl = (enum registry_dtl_state)dtl;
    buf_put(&v->raw, value.data, value.len);
    *ret_volume = fresh;
    return 0;
}

static const char *state_name(const struct registry_volume *v)
{
    bool damaged = v->state == REGISTRY_VOLUME_READY && v->damage.first_seq != 0;

    return damaged ? damaged_name : state_names[v->state];
}

json_t *volume_json(const struct registry_volume *v)
{
    const struct registry_damage *d = &v->damage;
    json_t *damaged = NULL;
    uint8_t stamp[16];
    char stamp_text[STAMP_TEXT_BYTES];

    rnd_bytes(stamp, sizeof(stamp));
    hex_encode(stamp_text, stamp, sizeof(stamp));
    if (d->first_seq != 0) {
        damaged = json_pack("{s:s, s:I, s:I, s:s}", "journal", d->journal, "incarnation",
                            (json_int_t)d->incarnation, "first_seq", (json_int_t)d->first_seq,
                            "why", d->why);
        if (damaged == NULL) {
            return NULL;
        }
    }
    /* NULL: a text is not UTF-8 */
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:I, s:s, s:o*}", "name",
                     v->name, "uuid", v->uuid, "preset", v->preset, "owner", v->owner, "device",
                     v->device, "size_bytes", (json_int_t)v->size_bytes, "epoch",
                     (json_int_t)v->epoch, "state", state_name(v), "dtl", dtl_names[v->dtl],
                     "created_us", (json_int_t)v->created_us, "stamp", stamp_text, "damaged",
                     damaged);
}

/* C0, DEL, and C1 as UTF-8 has it: they would reach terminals and logs. */
static bool has_control(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    for (; *p != '\0'; p++) {
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

int registry_volume_check_new(const char *name, uint64_t size_bytes, struct err *e)
{
    if (has_control(name)) {
        return err_say(e, -EINVAL, "volume name: want no control characters in it");
    }
    if (name[0] == '\0' || strlen(name) >= REGISTRY_VOLUME_NAME_BYTES ||
        strpbrk(name, "/@") != NULL) {
        return err_say(e, -EINVAL,
                       "volume name '%.40s': want 1 to %d characters without '/' and '@'", name,
                       REGISTRY_VOLUME_NAME_BYTES - 1);
    }
    if (size_bytes == 0 || size_bytes % REGISTRY_VOLUME_BYTES_UNIT != 0 ||
        size_bytes > REGISTRY_VOLUME_BYTES_MAX) {
        return err_say(e, -EINVAL, "size %llu: want a multiple of %d, at most 64 TiB",
                       (unsigned long long)size_bytes, REGISTRY_VOLUME_BYTES_UNIT);
    }
    return 0;
}

int volume_check(const struct registry_volume *v, struct err *e)
{
    if (record_check_name("volume name", v->name, REGISTRY_VOLUME_NAME_BYTES - 1, e) != 0) {
        return e->code;
    }
    if (strlen(v->uuid) != RND_UUID_TEXT_BYTES - 1) {
        return err_set(e, ERR_CONFIG, "volume '%s': UUID '%s'", v->name, v->uuid);
    }
    if (v->size_bytes > INT64_MAX || v->epoch > REGISTRY_EPOCH_MAX ||
        v->damage.first_seq > INT64_MAX || v->damage.incarnation > INT64_MAX) {
        return err_set(e, ERR_CONFIG, "volume '%s': size or epoch out of range", v->name);
    }
    return 0;
}
