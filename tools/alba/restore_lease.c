#include "alba/restore_lease.h"

#include <stdio.h>
#include <string.h>

#include "alba/output.h"
#include "base/clock.h"
#include "base/rnd.h"
#include "meta/kv_commit.h"
#include "meta/registry_record.h"

enum {
    LOOK_FIRST_MS = 5,
    LOOK_EVERY_MS = 200,
    WAIT_MS = 3 * LEASE_MAINTENANCE_MS,
    COMMIT_TIMEOUT_MS = 10000
};

#define OWNER_PREFIX "restore-metadata "

/* A read of the lease. */
struct look {
    struct backup_page page;
    char owner[128]; /* "": nobody's, or damaged */
};

static int look_at(struct session *s, struct slice key, struct look *ret_look)
{
    int rc = backup_get(s, s->kv, &key, 1, &ret_look->page);
    json_t *json = NULL;
    struct err e;

    ret_look->owner[0] = '\0';
    if (rc == 0 && ret_look->page.items[0].found && !ret_look->page.items[0].is_damaged &&
        value_open_json(key, ret_look->page.items[0].value, &json, &e) == 0) {
        snprintf(ret_look->owner, sizeof(ret_look->owner), "%s", json_text(json, "owner", ""));
        json_decref(json);
    }
    return rc;
}

static void on_committed(void *ctx, int rc, const struct kv_commit_result *result)
{
    session_done(ctx, rc, result->err);
}

/* Of a restore that was cut, or still runs: its fence keeps that one from going on, not the lease.
 * Somebody else may have done it before. */
static int drop_of_restore(struct session *s, struct slice key)
{
    struct look look = {0};
    struct kv_txn txn = {.reserve = true};
    int rc = look_at(s, key, &look);

    if (rc == 0 && strncmp(look.owner, OWNER_PREFIX, strlen(OWNER_PREFIX)) == 0) {
        kv_txn_assert_equal(&txn, key, look.page.items[0].value);
        kv_txn_delete(&txn, key);
        kv_commit(s->kv, &txn, clock_mono_ms() + COMMIT_TIMEOUT_MS, on_committed, s);
        rc = session_wait(s);
        rc = rc == ERR_ASSERT_FAILED ? 0 : rc;
        kv_txn_release(&txn);
    }
    backup_page_release(&look.page);
    return rc;
}

/* ERR_BUSY: another owner has renewed it since `seen`, what an earlier look has seen of it. */
static int check_still(struct session *s, struct slice key, const char *ours, struct buf *seen)
{
    struct look look = {0};
    int rc = look_at(s, key, &look);

    if (rc == 0 && look.owner[0] != '\0' && strcmp(look.owner, ours) != 0) {
        struct slice value = look.page.items[0].value;

        if (seen->len == 0) {
            buf_put(seen, value.data, value.len);
            output_note("waiting up to %d s for the lease of maintenance agent %s", WAIT_MS / 1000,
                        look.owner);
        } else if (!slice_eq(value, slice_buf(seen))) {
            rc = err_say(&s->err, ERR_BUSY,
                         "maintenance agent %.60s works on this metadata: stop it first",
                         look.owner);
        }
    }
    backup_page_release(&look.page);
    return rc;
}

static void on_slept(void *ctx, int rc, const struct kv_reply *reply)
{
    session_done(ctx, rc, reply->err);
}

int restore_lease_take(struct session *s, struct lease **ret_lease)
{
    struct lease_options options = {.name = LEASE_MAINTENANCE,
                                    .ttl_ms = LEASE_MAINTENANCE_MS,
                                    .renew_ms = LEASE_MAINTENANCE_MS / 20};
    char owner[sizeof(OWNER_PREFIX) + RND_UUID_TEXT_BYTES] = OWNER_PREFIX;
    uint64_t end_ms = clock_mono_ms() + WAIT_MS;
    unsigned look_ms = LOOK_FIRST_MS;
    struct buf seen = {0};
    struct key key;
    struct slice k = reg_key(&key, REG_LEASE, LEASE_MAINTENANCE);
    int rc = drop_of_restore(s, k);

    if (rc != 0) {
        return rc;
    }
    rnd_uuid_text(owner + strlen(OWNER_PREFIX));
    options.owner = owner;
    *ret_lease = lease_new(s->kv, &options);
    while (rc == 0 && !lease_is_held(*ret_lease)) {
        rc = backup_interrupted(s);
        rc = rc != 0 ? rc : check_still(s, k, owner, &seen);
        if (rc == 0 && clock_mono_ms() >= end_ms) {
            rc = err_say(&s->err, UV_ETIMEDOUT, "the lease of the maintenance agents");
        }
        if (rc == 0) {
            kv_sleep(s->kv, look_ms, on_slept, s);
            rc = session_wait(s);
            look_ms = look_ms < LOOK_EVERY_MS / 2 ? 2 * look_ms : LOOK_EVERY_MS;
        }
    }
    buf_release(&seen);
    return rc;
}

static void on_closed(void *ctx)
{
    session_done(ctx, 0, NULL);
}

void restore_lease_end(struct session *s, struct lease *lease)
{
    if (lease != NULL) {
        lease_close(lease, on_closed, s);
        session_wait(s);
    }
}
