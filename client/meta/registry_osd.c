/* OSDs of the registry, and claiming them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/osd_identity.h"
#include "meta/registry_private.h"

enum { CLAIM_TIMEOUT_MS = 10000 };

static int check_osd(const struct registry_osd *osd, struct err *e)
{
    struct net_addr addr;

    if (record_check_name("long id", osd->long_id, REGISTRY_ID_BYTES_MAX, e) != 0 ||
        record_check_name("node id", osd->node_id, REGISTRY_ID_BYTES_MAX, e) != 0) {
        return e->code;
    }
    if (osd->datacenter != NULL && osd->datacenter[0] != '\0' &&
        record_check_name("datacenter", osd->datacenter, REGISTRY_ID_BYTES_MAX, e) != 0) {
        return e->code;
    }
    if (osd->ip_count == 0 || osd->ip_count > REGISTRY_OSD_IPS_MAX || osd->port == 0) {
        return err_say(e, ERR_CONFIG, "OSD '%s' needs 1 to %d addresses and a port", osd->long_id,
                       REGISTRY_OSD_IPS_MAX);
    }
    for (unsigned i = 0; i < osd->ip_count; i++) {
        if (net_addr_tcp(&addr, osd->ips[i], osd->port, e) != 0) {
            return err_say(e, ERR_CONFIG, "OSD '%s': '%s' is no IP address", osd->long_id,
                           osd->ips[i]);
        }
    }
    if (osd->capacity_bytes > INT64_MAX) {
        return err_say(e, ERR_CONFIG, "OSD '%s': its capacity is out of range", osd->long_id);
    }
    return 0;
}

int registry_osd_addr(const struct registry_osd *osd, unsigned index, struct net_addr *ret_addr,
                      struct err *e)
{
    int rc = index < osd->ip_count
                 ? net_addr_tcp(ret_addr, osd->ips[index], osd->port, e)
                 : err_say(e, -EINVAL, "no address is registered for OSD '%s'", osd->long_id);

    if (rc == 0 && osd->use_tls) {
        net_addr_set_tls(ret_addr);
    }
    return rc;
}

unsigned registry_osd_addrs(const struct registry_osd *osd,
                            struct net_addr ret_addrs[REGISTRY_OSD_IPS_MAX], struct err *e)
{
    unsigned count = 0;

    for (unsigned i = 0; i == 0 || i < osd->ip_count; i++) {
        count += registry_osd_addr(osd, i, &ret_addrs[count], e) == 0;
    }
    return count;
}

int registry_osd_client_options(const struct registry_osd *osd,
                                struct net_addr addrs[REGISTRY_OSD_IPS_MAX],
                                struct asd_client_options *options, struct err *e)
{
    unsigned count = registry_osd_addrs(osd, addrs, e);

    if (count == 0) {
        return e->code;
    }
    options->long_id = osd->long_id;
    options->addr = addrs[0];
    options->others = addrs + 1;
    options->other_count = count - 1;
    return 0;
}

/* ---- add, update, remove ---- */

static int build_add(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (registry_view_osd_find(view, op->name) != NULL) {
        return err_set(&c->err, ERR_EXISTS, "OSD '%s'", op->name);
    }
    if (registry_view_osd_count(view) == REGISTRY_OSDS_MAX) {
        return err_set(&c->err, ERR_TOO_LARGE, "%d OSDs", REGISTRY_OSDS_MAX);
    }
    change_put(c, REG_OSD, op->name, op->json);
    return 0;
}

static void start_osd(struct registry *registry, const struct registry_osd *osd,
                      change_build_cb build, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(osd->long_id, NULL, cb, ctx);
    struct registry_osd plain = *osd;

    if (check_osd(osd, &op->change.err) != 0) {
        reg_op_refuse(registry, op);
        return;
    }
    plain.is_claimed = false;
    op->json = record_osd_json(&plain);
    change_start(registry, &op->change, build, reg_op_done);
}

void registry_osd_add(struct registry *registry, const struct registry_osd *osd, registry_cb cb,
                      void *ctx)
{
    start_osd(registry, osd, build_add, cb, ctx);
}

static int build_update(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct registry_osd *old = registry_view_osd_find(view, op->name);

    if (old == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "OSD '%s'", op->name);
    }
    if (old->is_claimed) {
        json_object_set_new(op->json, "osd_id", json_integer((json_int_t)old->osd_id));
        json_object_set_new(op->json, "claimed_since_us",
                            json_integer((json_int_t)old->claimed_since_us));
    }
    change_put(c, REG_OSD, op->name, op->json);
    return 0;
}

void registry_osd_update(struct registry *registry, const struct registry_osd *osd, registry_cb cb,
                         void *ctx)
{
    start_osd(registry, osd, build_update, cb, ctx);
}

static int build_remove(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct registry_osd *osd = registry_view_osd_find(view, op->name);

    if (osd == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "OSD '%s'", op->name);
    }
    if (osd->is_claimed) {
        return err_say(&c->err, ERR_BUSY, "OSD '%s' is claimed", op->name);
    }
    change_delete(c, REG_OSD, op->name);
    return 0;
}

void registry_osd_remove(struct registry *registry, const char *long_id, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(long_id, NULL, cb, ctx);

    if (record_check_name("long id", long_id, REGISTRY_ID_BYTES_MAX, &op->change.err) != 0) {
        reg_op_refuse(registry, op);
        return;
    }
    change_start(registry, &op->change, build_remove, reg_op_done);
}

/* ---- claim ---- */

/* On the OSD first, then here: a claim that stops between the two is found on the OSD as
 * ours by the next one. The other order could give an OSD an id that another alba owns. */
struct claim_op {
    struct reg_op op; /* number: which of the addresses */
    struct registry *registry;
    char *alba_id;
};

static void claim_try(struct claim_op *claim);

static void claim_done(struct change *change, int rc)
{
    struct reg_op *op = container_of(change, struct reg_op, change);
    struct claim_op *claim = container_of(op, struct claim_op, op);

    free(claim->alba_id);
    reg_op_done(change, rc); /* frees from the first member on: all of it */
}

static int build_claim(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct registry_osd *osd = registry_view_osd_find(view, op->name);
    struct registry_osd claimed;

    if (osd == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "OSD '%s'", op->name);
    }
    if (osd->is_claimed) {
        return 1;
    }
    claimed = *osd;
    claimed.is_claimed = true;
    claimed.osd_id = change_take_id(c, view, NEXT_OSD);
    claimed.claimed_since_us = clock_wall_us();
    change_put_new(c, REG_OSD, op->name, record_osd_json(&claimed));
    return 0;
}

static void on_claimed(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    struct claim_op *claim = ctx;
    struct registry *registry = claim->registry;
    struct change *c = &claim->op.change;

    if (registry->closing) {
        err_set(&c->err, ERR_CANCELED, "claim of OSD '%s'", claim->op.name);
        claim_done(c, ERR_CANCELED);
    } else if (rc == 0) {
        change_start(registry, c, build_claim, claim_done);
    } else if (rc == ERR_EXISTS && strcmp(identity->owner, OSD_OWNER_METADATA) == 0) {
        err_say(&c->err, ERR_EXISTS, "OSD '%s' holds metadata and cannot be storage",
                claim->op.name);
        claim_done(c, ERR_EXISTS);
    } else if (rc == ERR_EXISTS) {
        err_say(&c->err, ERR_EXISTS, "OSD '%s' is claimed by alba %s", claim->op.name,
                identity->owner);
        claim_done(c, ERR_EXISTS);
    } else if (rc != ERR_IDENTITY && rc != ERR_REMOTE && rc != ERR_IN_DOUBT) {
        err_copy(&c->err, e); /* the last address decides */
        claim->op.number++;
        claim_try(claim);
    } else {
        err_copy(&c->err, e);
        claim_done(c, rc);
    }
    registry->external--;
    registry_part_closed(registry);
}

static void claim_try(struct claim_op *claim)
{
    struct change *c = &claim->op.change;
    const struct registry_osd *osd = registry_view_osd_find(claim->registry->view, claim->op.name);
    struct kv *kv = claim->registry->kv;
    struct osd_question question = {
        .tls = kv_tls(kv), .claimer = claim->alba_id, .timeout_ms = CLAIM_TIMEOUT_MS};
    struct err e;

    if (osd == NULL) {
        err_set(&c->err, ERR_NOT_FOUND, "OSD '%s'", claim->op.name);
        claim_done(c, c->err.code);
    } else if (claim->op.number >= osd->ip_count) {
        err_wrap(&c->err, "claim of OSD '%s'", claim->op.name);
        claim_done(c, c->err.code);
    } else if (osd->is_claimed) {
        claim_done(c, 0);
    } else if (registry_osd_addr(osd, (unsigned)claim->op.number, &question.addr, &e) != 0) {
        err_copy(&c->err, &e);
        claim_done(c, e.code);
    } else {
        claim->registry->external++;
        question.long_id = osd->long_id;
        osd_ask(kv_loop(kv), &question, on_claimed, claim);
    }
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct claim_op *claim = ctx;

    if (rc != 0) {
        err_copy(&claim->op.change.err, e);
        claim_done(&claim->op.change, rc);
        return;
    }
    claim->alba_id = mem_strdup(registry_view_alba_id(claim->registry->view));
    claim_try(claim);
}

void registry_osd_claim(struct registry *registry, const char *long_id, registry_cb cb, void *ctx)
{
    struct claim_op *claim = mem_zalloc(sizeof(*claim));

    claim->registry = registry;
    claim->op.name = mem_strdup(long_id);
    claim->op.cb = cb;
    claim->op.ctx = ctx;
    registry_refresh(registry, on_refreshed, claim);
}
