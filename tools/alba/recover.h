/* The registry from its copies on OSDs: look at all that can be found, judge, put the newest whole
 * one into an empty store. One thread; calls block. */
#ifndef ALBA_RECOVER_H
#define ALBA_RECOVER_H

#include <stdbool.h>

#include <jansson.h>

#include "alba/session.h"
#include "meta/copy_record.h"
#include "meta/registry_restore.h"

/* One OSD that was asked. */
struct recover_source {
    char *where; /* host:port */
    struct net_addr addr;
    char *long_id;
    bool answers; /* as an OSD of the alba; else `why` */
    bool has_head;
    bool is_damaged; /* there is a copy, but it is not whole */
    struct copy_head head;
    char why[ERR_MSG_BYTES];
};

struct recover {
    struct session *s; /* loop, tls, err */
    struct recover_source *sources;
    size_t source_count;
    char alba_id[REGISTRY_ALBA_ID_BYTES];

    bool has_copy; /* the newest whole one: */
    struct copy_head head;
    size_t from; /* its source */
    struct buf snapshot;
    const struct registry_view *view;

    uint64_t version_seen;
    uint64_t namespace_id_seen;
    bool has_strange_id;             /* one that no registry has given out was seen, and told */
    struct restore_namespace *found; /* on OSDs; not in the copy */
    size_t found_count;
    json_t *doubts; /* why there may be a newer one: texts */
};

void recover_init(struct recover *r, struct session *s);
/* "host:port,[::1]:port,…": -EINVAL in s->err. */
int recover_add(struct recover *r, const char *addresses);
/* Asks those, and the OSDs that the copies name. Fails when no whole copy is found. */
int recover_look(struct recover *r);
/* What was found, for people and programs; new reference. */
json_t *recover_report(const struct recover *r);
/* Into the store behind `kv`. With doubts only if they are accepted. */
int recover_write(struct recover *r, struct kv *kv, bool accept_older);
void recover_release(struct recover *r);

#endif
