/* Volumes in the registry: name -> UUID, size, preset, owner, epoch, DTL state, in one key.
 *
 * Each change of a volume is a compare-and-swap of the whole record on what was read: exactly one
 * of two owners wins. Rules of calls as in registry.h. */
#ifndef META_REGISTRY_VOLUME_H
#define META_REGISTRY_VOLUME_H

#include "base/rnd.h"
#include "meta/registry.h"

enum {
    REGISTRY_VOLUME_NAME_BYTES = 256, /* with NUL */
    REGISTRY_VOLUME_BYTES_UNIT = 4096,
    REGISTRY_OWNER_BYTES = 128,
    REGISTRY_JOURNAL_BYTES = 33, /* 16 bytes in hex */
    REGISTRY_WHY_BYTES = 160,
    REGISTRY_EPOCH_MAX = (1 << 24) - 1 /* it is part of a SCO number */
};

#define REGISTRY_VOLUME_BYTES_MAX (UINT64_C(1) << 46) /* 64 TiB */

enum registry_volume_state {
    REGISTRY_VOLUME_CREATING,
    REGISTRY_VOLUME_READY,
    REGISTRY_VOLUME_DELETING
};
enum registry_dtl_state {
    REGISTRY_DTL_NONE,
    REGISTRY_DTL_SYNC,
    REGISTRY_DTL_ASYNC,
    REGISTRY_DTL_DEGRADED
};

/* The owner found that a part of the volume is lost: it is read only until that is accepted. */
struct registry_damage {
    char journal[REGISTRY_JOURNAL_BYTES]; /* its id */
    uint64_t incarnation;                 /* of that journal */
    uint64_t first_seq;                   /* first one that is missing; 0: there is no verdict */
    char why[REGISTRY_WHY_BYTES];
};

struct registry_volume {
    char name[REGISTRY_VOLUME_NAME_BYTES];
    char uuid[RND_UUID_TEXT_BYTES]; /* name of its namespace */
    char preset[REGISTRY_VOLUME_NAME_BYTES];
    char owner[REGISTRY_OWNER_BYTES];  /* "": never opened */
    char device[REGISTRY_OWNER_BYTES]; /* journal device at its owner, "": not chosen */
    uint64_t size_bytes;
    uint64_t epoch; /* 0: never opened */
    enum registry_volume_state state;
    enum registry_dtl_state dtl;
    struct registry_damage damage;
    uint64_t created_us;

    struct buf raw; /* private: the stored bytes this was read from; NULL in a new record */
};

/* What a volume may be called and how large it may be made: -EINVAL. */
int registry_volume_check_new(const char *name, uint64_t size_bytes, struct err *e);

/* Frees `raw`, leaves the rest. Accepts {0}. */
void registry_volume_release(struct registry_volume *volume);
/* What `to` held is released; `from` keeps all but `raw`. */
void registry_volume_move(struct registry_volume *to, struct registry_volume *from);

/* *volume is valid during the callback; it may be moved out. */
typedef void (*registry_volume_cb)(void *ctx, int rc, const struct err *e,
                                   struct registry_volume *volume);
typedef void (*registry_volumes_cb)(void *ctx, int rc, const struct err *e,
                                    const struct registry_volume *volumes, size_t count,
                                    bool has_more);

/* name, uuid, preset, size_bytes, state are taken from `volume`. ERR_EXISTS. */
void registry_volume_create(struct registry *registry, const struct registry_volume *volume,
                            registry_volume_cb cb, void *ctx);
/* ERR_NOT_FOUND. */
void registry_volume_get(struct registry *registry, const char *name, registry_volume_cb cb,
                         void *ctx);
void registry_volume_get_uuid(struct registry *registry, const char *uuid, registry_volume_cb cb,
                              void *ctx);
/* By name, behind `after` ("": from the start). */
void registry_volume_list(struct registry *registry, const char *after, size_t limit,
                          registry_volumes_cb cb, void *ctx);

/* Store `volume` if the record still is what `volume` was read from. The volume of the callback is
 * what is stored then. ERR_ASSERT_FAILED: it has changed (the callback's volume is the present
 * one). ERR_NOT_FOUND: deleted. An epoch or owner differing from the stored one is a change of
 * ownership: the epoch must be higher (-EINVAL). */
void registry_volume_put(struct registry *registry, const struct registry_volume *volume,
                         registry_volume_cb cb, void *ctx);
/* Remove the record, if it still is what it was read from. */
void registry_volume_delete(struct registry *registry, const struct registry_volume *volume,
                            registry_volume_cb cb, void *ctx);

#endif
