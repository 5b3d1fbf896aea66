/* Namespaces and objects. Part of <albacore/albacore.h>.
 *
 * Names are text that ends with a zero. `call` may be NULL, as may `e`. */
#ifndef ALBACORE_OBJECTS_H
#define ALBACORE_OBJECTS_H

#include <albacore/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One read, and one buffer that is put, takes at most this; larger objects are put from files and
 * read in slices. */
#define ALBACORE_BYTES_MAX ((size_t)((1 << 30) - (1 << 20)))

/* ---- namespaces ---- */

/* `preset` NULL: the default one. ALBACORE_EXISTS. */
ALBACORE_API int albacore_namespace_create(struct albacore *client, const char *ns,
                                           const char *preset, const struct albacore_call *call,
                                           struct albacore_error *e);
/* With all objects in it. ALBACORE_NOT_FOUND. */
ALBACORE_API int albacore_namespace_delete(struct albacore *client, const char *ns,
                                           const struct albacore_call *call,
                                           struct albacore_error *e);
ALBACORE_API int albacore_namespace_exists(struct albacore *client, const char *ns,
                                           bool *ret_exists, const struct albacore_call *call,
                                           struct albacore_error *e);

/* ---- lists: a page at a time ---- */

struct albacore_range {
    size_t size;       /* sizeof(struct albacore_range) */
    const char *first; /* NULL: from the start (or the end, when `reverse`) */
    const char *last;  /* NULL: no bound */
    bool first_excluded;
    bool last_excluded;
    bool reverse; /* down from `first` to `last` */
    uint32_t max; /* 0, or more than 200: 200 */
};

struct albacore_names;

ALBACORE_API size_t albacore_names_count(const struct albacore_names *names);
/* There are names behind the last one. */
ALBACORE_API bool albacore_names_more(const struct albacore_names *names);
/* Ends with a zero; a name may hold others: its length goes to *ret_bytes (NULL is allowed). */
ALBACORE_API const char *albacore_names_at(const struct albacore_names *names, size_t index,
                                           size_t *ret_bytes);
ALBACORE_API void albacore_names_free(struct albacore_names *names);

/* `range` NULL: from the start. *ret_names is the caller's to free. */
ALBACORE_API int albacore_namespace_list(struct albacore *client,
                                         const struct albacore_range *range,
                                         struct albacore_names **ret_names,
                                         const struct albacore_call *call,
                                         struct albacore_error *e);
ALBACORE_API int albacore_list(struct albacore *client, const char *ns,
                               const struct albacore_range *range,
                               struct albacore_names **ret_names, const struct albacore_call *call,
                               struct albacore_error *e);

/* ---- writing; several changes at once: transaction.h ---- */

/* Overwrites, unless ALBACORE_NEW. Durable after 0. `data` is borrowed during the call. */
ALBACORE_API int albacore_put(struct albacore *client, const char *ns, const char *name,
                              const void *data, size_t bytes, const struct albacore_call *call,
                              struct albacore_error *e);

/* A part of a file. */
struct albacore_extent {
    uint64_t offset;
    uint64_t bytes;
};

/* The extents of a regular file that is open for reading, one behind the other, of any size; count
 * 0: all of it. The file is not changed meanwhile; its position is not used. When the preferred
 * proxy is a unix socket the open file is handed to it, and no byte is copied through the socket;
 * else, or when another proxy steps in, it is read here and sent: in parts, of which one is in
 * memory, when it is over 16 MiB. To a proxy of before parts, ALBACORE_BYTES_MAX at most. The
 * time-out is for all of it: give large files enough. */
ALBACORE_API int albacore_put_fd(struct albacore *client, const char *ns, const char *name, int fd,
                                 const struct albacore_extent *extents, size_t count,
                                 const struct albacore_call *call, struct albacore_error *e);
ALBACORE_API int albacore_put_file(struct albacore *client, const char *ns, const char *name,
                                   const char *path, const struct albacore_call *call,
                                   struct albacore_error *e);
ALBACORE_API int albacore_delete(struct albacore *client, const char *ns, const char *name,
                                 const struct albacore_call *call, struct albacore_error *e);

/* ---- reading ---- */

/* The whole object; *ret_data is freed with albacore_free(). */
ALBACORE_API int albacore_get(struct albacore *client, const char *ns, const char *name,
                              void **ret_data, size_t *ret_bytes, const struct albacore_call *call,
                              struct albacore_error *e);
ALBACORE_API void albacore_free(void *data);

struct albacore_slice {
    uint64_t offset; /* in the object */
    size_t bytes;
    void *data; /* where it goes */
};

/* All of the slices, which may not overlap, or an error; then they may hold anything. */
ALBACORE_API int albacore_read(struct albacore *client, const char *ns, const char *name,
                               const struct albacore_slice *slices, size_t count,
                               const struct albacore_call *call, struct albacore_error *e);

enum albacore_checksum_kind { ALBACORE_NO_CHECKSUM = 1, ALBACORE_SHA1 = 2, ALBACORE_CRC32C = 3 };

struct albacore_info {
    size_t size;          /* in: sizeof(struct albacore_info) */
    uint64_t bytes;       /* of the object */
    int checksum_kind;    /* enum albacore_checksum_kind */
    uint8_t checksum[20]; /* SHA-1; or CRC-32C in the first four bytes, little endian */
};

ALBACORE_API int albacore_info(struct albacore *client, const char *ns, const char *name,
                               struct albacore_info *info, const struct albacore_call *call,
                               struct albacore_error *e);
/* ret_exists[i] for names[i]. */
ALBACORE_API int albacore_exists(struct albacore *client, const char *ns, const char *const *names,
                                 size_t count, bool *ret_exists, const struct albacore_call *call,
                                 struct albacore_error *e);
/* Forget what this client, and the proxy it uses, remember of the namespace. */
ALBACORE_API int albacore_invalidate(struct albacore *client, const char *ns,
                                     const struct albacore_call *call, struct albacore_error *e);

#ifdef __cplusplus
}
#endif

#endif
