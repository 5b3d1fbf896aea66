/* A volume's record in the registry: who owns it, and whether it is damaged. Each change reads the
 * record and swaps it for another; when it was changed in between, the opening starts anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "volumedriver/driver.h"

static void answer(struct driver_volume *v, int rc, const struct err *e)
{
    struct volume_claim *claim = v->claim;

    v->claim = NULL;
    if (rc != 0) {
        err_copy(&claim->err, e);
    }
    claim->cb(claim, rc);
}

static void take_verdict(struct volume_claim *claim, const struct registry_damage *damage)
{
    struct volume_verdict *verdict = &claim->verdict;

    *verdict =
        (struct volume_verdict){.incarnation = damage->incarnation, .first_seq = damage->first_seq};
    hex_decode(verdict->journal, sizeof(verdict->journal), damage->journal);
    snprintf(verdict->why, sizeof(verdict->why), "%s", damage->why);
}

static void on_put(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_volume *v = ctx;
    struct err busy;

    if (rc == 0) {
        v->epoch = (uint32_t)record->epoch;
        v->size_bytes = record->size_bytes;
        v->claim->epoch = v->epoch;
        take_verdict(v->claim, &record->damage);
    } else if (rc == ERR_ASSERT_FAILED) {
        rc = err_say(&busy, ERR_BUSY, "volume '%s': the registry changed meanwhile", v->name);
        e = &busy;
    }
    answer(v, rc, e);
}

static int check_owner(const struct driver_volume *v, const struct registry_volume *record,
                       struct err *e)
{
    const char *me = v->driver->config->driver_id;

    if (record->state != REGISTRY_VOLUME_READY) {
        return err_say(e, ERR_BUSY, "volume '%s' is being %s", v->name,
                       record->state == REGISTRY_VOLUME_CREATING ? "created" : "deleted");
    }
    if (record->epoch != 0 && strcmp(record->owner, me) != 0 && !v->take) {
        return err_say(e, ERR_FENCED,
                       "volume '%s' belongs to driver '%s'; when that is gone for good: alba "
                       "vdisk-take %s --force --accept-loss",
                       v->name, record->owner, v->name);
    }
    if (record->epoch >= REGISTRY_EPOCH_MAX) {
        return err_say(e, ERR_FAILED, "volume '%s' has used up its epochs", v->name);
    }
    return 0;
}

static void on_get(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_volume *v = ctx;
    char device[UUID_HEX_BYTES];
    struct err why;

    if (rc == 0) {
        rc = check_owner(v, record, &why);
        e = &why;
    }
    if (rc != 0) {
        answer(v, rc, e);
        return;
    }
    record->epoch = (record->epoch > v->claim->floor ? record->epoch : v->claim->floor) + 1;
    hex_encode(device, journal_id(v->driver->journal), UUID_BYTES);
    snprintf(record->owner, sizeof(record->owner), "%s", v->driver->config->driver_id);
    snprintf(record->device, sizeof(record->device), "%s", device);
    registry_volume_put(v->driver->connect.registry, record, on_put, v);
}

static void claim(void *ctx, struct volume *volume, struct volume_claim *claim)
{
    struct driver_volume *v = ctx;

    (void)volume;
    v->claim = claim;
    registry_volume_get(v->driver->connect.registry, v->name, on_get, v);
}

/* ---- verdicts ---- */

static void judged(struct driver_volume *v, int rc, const struct err *e)
{
    struct volume_judgement *judgement = v->judgement;

    v->judgement = NULL;
    if (rc != 0) {
        err_copy(&judgement->err, e);
    }
    judgement->cb(judgement, rc);
}

static void on_judged(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_volume *v = ctx;
    struct err busy;

    (void)record;
    if (rc == ERR_ASSERT_FAILED) {
        rc = err_say(&busy, ERR_BUSY, "volume '%s': the registry changed meanwhile", v->name);
        e = &busy;
    }
    judged(v, rc, e);
}

static void on_accused(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_volume *v = ctx;
    const struct volume_verdict *verdict = &v->judgement->verdict;
    struct registry_damage *damage;
    struct err why;

    if (rc == 0 && (record->epoch != v->judgement->epoch ||
                    strcmp(record->owner, v->driver->config->driver_id) != 0)) {
        rc =
            err_say(&why, ERR_FENCED, "volume '%s' belongs to driver '%s'", v->name, record->owner);
        e = &why;
    }
    if (rc != 0) {
        judged(v, rc, e);
        return;
    }
    damage = &record->damage;
    *damage = (struct registry_damage){0};
    if (verdict->first_seq != 0) {
        hex_encode(damage->journal, verdict->journal, sizeof(verdict->journal));
        damage->incarnation = verdict->incarnation;
        damage->first_seq = verdict->first_seq;
        snprintf(damage->why, sizeof(damage->why), "%s", verdict->why);
    }
    registry_volume_put(v->driver->connect.registry, record, on_judged, v);
}

static void judge(void *ctx, struct volume *volume, struct volume_judgement *judgement)
{
    struct driver_volume *v = ctx;

    (void)volume;
    v->judgement = judgement;
    registry_volume_get(v->driver->connect.registry, v->name, on_accused, v);
}

const struct volume_owner_ops driver_owner_ops = {.claim = claim, .judge = judge};
