/* Clients, errors, and what every call can be given. Part of <albacore/albacore.h>. */
#ifndef ALBACORE_CLIENT_H
#define ALBACORE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(ALBACORE_BUILD)
#define ALBACORE_API __attribute__((visibility("default")))
#else
#define ALBACORE_API
#endif

/* More may be added: treat an unknown one as ALBACORE_FAILED. */
enum albacore_code {
    ALBACORE_OK = 0,
    ALBACORE_FAILED = -1,         /* anything else; the text says what */
    ALBACORE_NOT_FOUND = -2,      /* the object, the namespace, the preset, the file */
    ALBACORE_EXISTS = -3,         /* already */
    ALBACORE_ASSERT_FAILED = -4,  /* nothing was changed */
    ALBACORE_IN_DOUBT = -5,       /* a change that may have happened, or may not */
    ALBACORE_TIMED_OUT = -6,      /* and certainly nothing was changed */
    ALBACORE_CANCELED = -7,       /* likewise */
    ALBACORE_UNREACHABLE = -8,    /* no proxy answers */
    ALBACORE_INVALID = -9,        /* the arguments make no sense */
    ALBACORE_TOO_LARGE = -10,     /* over a limit, which the text names */
    ALBACORE_OUT_OF_RANGE = -11,  /* a slice beyond the end of the object */
    ALBACORE_CHECKSUM = -12,      /* the data is not what its checksum says */
    ALBACORE_NO_POLICY = -13,     /* too few disks are well for any policy of the preset */
    ALBACORE_FULL = -14,          /* the disks are */
    ALBACORE_BUSY = -15,          /* not executed; try again later */
    ALBACORE_NOT_READABLE = -16,  /* too many fragments of the object cannot be read now */
    ALBACORE_NOT_SUPPORTED = -17, /* by this proxy */
    ALBACORE_TLS = -18            /* certificates, identities */
};

enum { ALBACORE_TEXT_BYTES = 400 };

struct albacore_error {
    int code;                       /* enum albacore_code */
    int proxy_code;                 /* what the proxy said, for programs that know its protocol */
    char text[ALBACORE_TEXT_BYTES]; /* one line for people; names the peer */
};

struct albacore;

enum albacore_option_flags {
    ALBACORE_PROXY_ONLY = 1, /* never read from the disks directly */
    ALBACORE_LAZY = 2,       /* connect only when something is asked for */
    ALBACORE_WAIT = 4        /* connecting waits for a proxy up to timeout_ms, as later calls do */
};

struct albacore_options {
    size_t size; /* sizeof(struct albacore_options) */
    const char *const
        *proxies; /* "tcp://192.0.2.1:10000", "tls://…", "unix:///run/p.sock"; 1 to 16 */
    size_t proxy_count;
    uint32_t flags;          /* enum albacore_option_flags */
    uint32_t timeout_ms;     /* of calls that have none of their own; 0: 60000 */
    uint32_t direct_ms;      /* a disk that takes longer is left alone for a while; 0: 500 */
    uint32_t preferred;      /* the proxy to use while it is well: an index; others step in */
    uint64_t manifest_bytes; /* memory for what is known of objects; 0: 32 MiB */
    const char *tls_ca_cert; /* PEM files: who signs our peers' certificates ... */
    const char *tls_cert;    /* ... and who we are; NULL: no TLS */
    const char *tls_key;
    /* Read preference: node ids of disks that are near us; none: all are. Of replicas a near one is
     * read first. What lies on a far disk and can be computed from near ones is left to a proxy:
     * prefer one that is near and names these nodes in its own read_preference. Datacenters, which
     * that may name as well, are not known here. */
    const char *const *near_nodes;
    size_t near_node_count;
};

/* All zero but its size. */
static inline struct albacore_options albacore_options_init(void)
{
    struct albacore_options options = {
        sizeof(struct albacore_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

    return options;
}

/* Starts a thread of its own, which takes no signals. Options are copied. Without ALBACORE_LAZY one
 * proxy must answer. Each is tried once, all together; if none does, *e names each with its cause:
 * at once when that is known, else after 5 s to connect or 10 s to answer. */
ALBACORE_API int albacore_connect(const struct albacore_options *options,
                                  struct albacore **ret_client, struct albacore_error *e);
/* No other call is under way, and none follows. NULL is accepted. */
ALBACORE_API void albacore_close(struct albacore *client);

/* ---- what any call may be given ---- */

enum albacore_call_flags {
    ALBACORE_CONSISTENT = 1, /* reads: not older than the call; by a proxy, from the metadata */
    ALBACORE_NEW = 2,        /* puts: ALBACORE_EXISTS when the name is taken */
    ALBACORE_IF_THERE = 4,   /* deletes: an absent name is fine */
    ALBACORE_LOW_PRIORITY = 8
};

/* A wish to end calls early, from another thread. */
struct albacore_cancel;

ALBACORE_API struct albacore_cancel *albacore_cancel_new(void);
/* The calls that use it now end soon, with ALBACORE_CANCELED or how they end anyway; those that
 * begin later, at once. */
ALBACORE_API void albacore_cancel_fire(struct albacore_cancel *cancel);
/* No call uses it any more. NULL is accepted. */
ALBACORE_API void albacore_cancel_free(struct albacore_cancel *cancel);

/* NULL wherever it is taken: all zero. */
struct albacore_call {
    size_t size;                    /* sizeof(struct albacore_call) */
    uint32_t flags;                 /* enum albacore_call_flags; others are ignored */
    uint32_t timeout_ms;            /* 0: the client's */
    struct albacore_cancel *cancel; /* borrowed; NULL: none */
};

/* ---- figures and versions ---- */

/* Since albacore_connect(). Reads count under direct_reads or proxy_reads. */
struct albacore_counters {
    size_t size; /* in: sizeof(struct albacore_counters) */
    uint64_t direct_reads, direct_bytes, direct_round_trips;
    uint64_t proxy_reads, proxy_bytes;
    uint64_t not_known, suspect, aside;     /* why a read was not tried directly */
    uint64_t missing, damaged, unreachable; /* tried, and then read through a proxy */
    uint64_t proxy_tries;                   /* requests sent to proxies, repeated ones included */
    uint64_t known_objects, known_bytes;    /* now */
    uint64_t disks_aside;                   /* now */
    uint64_t far;                           /* not tried: read preference */
    uint64_t direct_far_trips;              /* of direct_round_trips: to far disks */
};

ALBACORE_API int albacore_counters(struct albacore *client, struct albacore_counters *counters);
/* Of this library: "0.1.0". */
ALBACORE_API const char *albacore_version(void);
/* Of a proxy, as text: "0.1.0 <hash>", cut to `bytes` with its terminating zero. */
ALBACORE_API int albacore_proxy_version(struct albacore *client, char *ret_text, size_t bytes,
                                        const struct albacore_call *call, struct albacore_error *e);

#ifdef __cplusplus
}
#endif

#endif
