/* The registry of one alba: what exists and who owns it. Keys: KEYS.md.
 *
 * A struct registry keeps the latest snapshot (registry_view.h) and makes changes. Each change
 * is one transaction on exactly the snapshot it was decided on, tried again when
 * another change came first, and recognised when its reply was lost; so an answer of
 * ERR_IN_DOUBT is rare and real. Loop thread only; every call is answered once, later.
 * After success the current view shows the change. Arguments are copied.
 *
 * Codes beside those of kv.h: ERR_EXISTS, ERR_NOT_FOUND, ERR_CONFIG (bad argument), ERR_BUSY (in
 * use, or too much contention). The message names the thing. */
#ifndef META_REGISTRY_H
#define META_REGISTRY_H

#include <uv.h>

#include "base/err.h"
#include "meta/kv.h"
#include "meta/registry_view.h"
#include "net/addr.h"
#include "net/asd_client.h"

struct registry;
struct nsm;

typedef void (*registry_cb)(void *ctx, int rc, const struct err *e);
typedef void (*registry_close_cb)(void *ctx);

/* Takes `kv` over: it is closed with the registry. */
struct registry *registry_new(struct kv *kv);
/* The latest snapshot: NULL before the first refresh. Hold it to keep it beyond this callback. */
const struct registry_view *registry_view(const struct registry *registry);
/* Bring the view up to date: one get when nothing changed. ERR_NOT_FOUND when the
 * store holds no registry (not initialised); ERR_CONFIG: it is half restored (BACKUP.md). */
void registry_refresh(struct registry *registry, registry_cb cb, void *ctx);
/* Refresh by itself every `interval_ms`; `on_change` (may be NULL) runs after the view was
 * replaced, whatever replaced it. */
void registry_poll(struct registry *registry, unsigned interval_ms, void (*on_change)(void *ctx),
                   void *ctx);
/* on_change comes no more: to be said before its `ctx` is closed. */
void registry_unwatch(struct registry *registry);
/* What is asked of its engines, now and later, is answered with ERR_CANCELED: for somebody who
 * wants to end and waits for calls. */
void registry_cancel(struct registry *registry);
/* … of those engines alone that have not answered something for `ms`. */
void registry_cancel_silent(struct registry *registry, unsigned ms);
/* Everything open is answered with ERR_CANCELED, then `cb`; *registry is freed. */
void registry_close(struct registry *registry, registry_close_cb cb, void *ctx);

struct kv *registry_kv(const struct registry *registry);
/* Namespace manager of a host in the current view; opened on first use, closed with the
 * registry. ERR_NOT_FOUND for an unknown host; ERR_CONFIG for a bad URL. */
int registry_nsm(struct registry *registry, const char *host_id, struct nsm **ret_nsm,
                 struct err *e);

/* Make the store (kv_prepare) and the registry: alba id, NSM host "registry" on the same engine,
 * preset "default". Again on a whole registry: nothing changes, 0. */
void registry_init(struct registry *registry, registry_cb cb, void *ctx);

/* The version becomes `version` at least: for a registry that was restored from something older
 * than what others have seen of it. Those are of the past from then on (copy_history.h). */
void registry_raise_version(struct registry *registry, uint64_t version, registry_cb cb, void *ctx);

/* ---- OSDs ---- */

/* Where TLS is spoken, `index` of its addresses says so. */
int registry_osd_addr(const struct registry_osd *osd, unsigned index, struct net_addr *ret_addr,
                      struct err *e);
/* All of them. 0, with a reason in *e: there is none. */
unsigned registry_osd_addrs(const struct registry_osd *osd,
                            struct net_addr ret_addrs[REGISTRY_OSD_IPS_MAX], struct err *e);
/* Fills in its identity and all its addresses, which stay in `addrs`. */
int registry_osd_client_options(const struct registry_osd *osd,
                                struct net_addr addrs[REGISTRY_OSD_IPS_MAX],
                                struct asd_client_options *options, struct err *e);
/* From `osd`: long_id, ips, port, use_tls, node_id, datacenter, capacity_bytes. ERR_EXISTS. */
void registry_osd_add(struct registry *registry, const struct registry_osd *osd, registry_cb cb,
                      void *ctx);
/* The same fields, is_decommissioned and is_purging; the claim stays as it is. ERR_NOT_FOUND. */
void registry_osd_update(struct registry *registry, const struct registry_osd *osd, registry_cb cb,
                         void *ctx);
/* Forget an OSD that is not claimed. ERR_BUSY when it is. */
void registry_osd_remove(struct registry *registry, const char *long_id, registry_cb cb, void *ctx);
/* Claim it on the OSD itself, then give it an osd id. 0 also when it was ours already. ERR_EXISTS
 * names the owner; the metadata store is refused this way, too. */
void registry_osd_claim(struct registry *registry, const char *long_id, registry_cb cb, void *ctx);

/* ---- presets ---- */

void registry_preset_create(struct registry *registry, const struct preset *preset, registry_cb cb,
                            void *ctx);
/* preset_update() with `json`; version + 1. */
void registry_preset_update(struct registry *registry, const char *name, const json_t *json,
                            registry_cb cb, void *ctx);
/* To its explicit list; version + 1 unless all are in it. ERR_CONFIG: it uses every OSD;
 * ERR_NOT_FOUND: the preset, or an OSD that is not claimed. */
void registry_preset_add_osds(struct registry *registry, const char *name, const uint64_t *osd_ids,
                              unsigned count, registry_cb cb, void *ctx);
/* ERR_BUSY while namespaces use it: the message names some. */
/* ERR_BUSY: a namespace uses it. -EPERM: it is the default. */
void registry_preset_delete(struct registry *registry, const char *name, registry_cb cb, void *ctx);
void registry_preset_set_default(struct registry *registry, const char *name, registry_cb cb,
                                 void *ctx);

/* ---- NSM hosts ---- */

/* The engine is marked as this host's first (engine_owner.h). ERR_EXISTS: the id, or the engine is
 * somebody's; the message says whose. `adopts`: it has namespaces without a mark, of this alba. */
void registry_nsm_host_add(struct registry *registry, const char *id, const char *url, bool adopts,
                           registry_cb cb, void *ctx);
/* The same; but the engine that the record names is not asked when it is lost. */
void registry_nsm_host_update(struct registry *registry, const char *id, const char *url,
                              bool is_lost, bool adopts, registry_cb cb, void *ctx);
/* Before something is made or deleted there: does the engine of a host of the current view belong
 * to this alba? 0: `cb` says; one without a mark gets it. 1: it is the registry's. Else failed. */
int registry_nsm_host_claim(struct registry *registry, const char *host_id, registry_cb cb,
                            void *ctx, struct err *e);

/* ---- namespaces ---- */

/* `preset` NULL or "": the default. On 0 it is active. ERR_EXISTS; ERR_NOT_FOUND: preset. A name
 * left `creating` by a crash is finished and then reported as ERR_EXISTS. */
void registry_namespace_create(struct registry *registry, const char *name, const char *preset,
                               registry_cb cb, void *ctx);
/* The name is free at once and no put commits any more (if the NSM host does not answer: once
 * maintenance has fenced it); space comes back by maintenance. One that gets the name while this
 * is under way is left alone: ERR_NOT_FOUND. That of a disk goes only once the disk's record says
 * that it is being deleted: -EINVAL. */
void registry_namespace_delete(struct registry *registry, const char *name, registry_cb cb,
                               void *ctx);
/* is_wanted(ctx) is asked each time before it is decided; false: UV_ECANCELED, nothing happened. */
void registry_namespace_delete_while(struct registry *registry, const char *name,
                                     bool (*is_wanted)(void *ctx), registry_cb cb, void *ctx);
/* For maintenance, when nothing is left of a removed namespace: drop its record. */
void registry_namespace_forget(struct registry *registry, uint64_t id, registry_cb cb, void *ctx);

#endif
