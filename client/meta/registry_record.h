/* Records of the registry: one key and value, parsed. Inside of meta/.
 *
 * Counted, immutable, shared by views; any thread. The strings of a record live in its JSON. */
#ifndef META_REGISTRY_RECORD_H
#define META_REGISTRY_RECORD_H

#include <jansson.h>
#include <stdatomic.h>

#include "meta/registry_view.h"
#include "meta/value.h"

/* Kinds that a view lists, each under its prefix. */
enum record_kind {
    RECORD_OSD,
    RECORD_PRESET,
    RECORD_NSM_HOST,
    RECORD_NAMESPACE,
    RECORD_REMOVED,
    RECORD_KINDS
};

#define REG_VERSION "version"
#define REG_ALBA "alba"
#define REG_DEFAULT_PRESET "default-preset"
#define REG_NEXT_ID "next-id"
#define REG_RECOVERED "recovered"   /* where this registry came from */
#define REG_RECOVERING "recovering" /* it is not whole yet: registry_restore.h */
#define REG_CHANGE "change/"
#define REG_OSD "osd/"
#define REG_PRESET "preset/"
#define REG_NSM_HOST "nsm/"
#define REG_NAMESPACE "namespace/"
#define REG_REMOVED "removed/"
#define REG_CONFIG "config/"
#define REG_WORK "work/"
#define REG_WORK_KEY "work-key/"
#define REG_VOLUME "volume/"
#define REG_VOLUME_ID "volume-id/"
#define REG_LEASE "lease/"
#define REG_PROXY "lease/proxy/" /* as volatile as leases, and not more worth keeping */

enum { RECORD_ID_TEXT_BYTES = 17 }; /* ids are 16 hex digits in keys of the registry */

struct record {
    atomic_uint refs;
    enum record_kind kind;
    struct slice id; /* owned: the key behind its prefix */
    json_t *json;    /* owned */
    union {
        struct registry_osd osd;
        struct preset preset; /* owned */
        struct registry_nsm_host nsm_host;
        struct registry_namespace ns; /* NAMESPACE, REMOVED */
    };
};

/* "/alba/v1/reg/" + prefix + id, into a fresh key. `id` was bounded. */
struct slice reg_key(struct key *key, const char *prefix, const char *id);
/* The part behind "/alba/v1/reg/"; empty for other keys. */
struct slice reg_key_tail(struct slice key);
const char *record_prefix(enum record_kind kind);
void record_id_text(uint64_t id, char ret_text[RECORD_ID_TEXT_BYTES]);

/* ERR_CORRUPT, ERR_VERSION; the message names the key. */
int record_parse(enum record_kind kind, struct slice key, struct slice value,
                 struct record **ret_record, struct err *e);
struct record *record_hold(struct record *record);
void record_drop(struct record *record);

/* New references. */
json_t *record_osd_json(const struct registry_osd *osd);
json_t *record_namespace_json(const struct registry_namespace *ns);

/* A name from a user or peer: 1 … max bytes of UTF-8. ERR_CONFIG, `what` in the message. */
int record_check_name(const char *what, const char *name, size_t bytes_max, struct err *e);

/* Fields; the default when absent or of another type. */
const char *json_text(const json_t *object, const char *field, const char *otherwise);
uint64_t json_u64(const json_t *object, const char *field, uint64_t otherwise);
bool json_bool(const json_t *object, const char *field, bool otherwise);

#endif
