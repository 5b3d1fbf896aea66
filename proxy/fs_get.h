/* An object into a file on this machine, window by window, so that memory stays bounded
 * whatever its size. The file appears whole and synced, or not at all. Loop thread only. */
#ifndef PROXY_FS_GET_H
#define PROXY_FS_GET_H

#include "base/err.h"
#include "proxy/engine.h"
#include "proxy/fs.h"

enum { FS_GET_WINDOW_BYTES = 16 << 20, FS_GET_WINDOW_BYTES_MAX = 64 << 20 };

struct fs_get;
typedef void (*fs_get_cb)(void *ctx, struct fs_get *get, int rc);

struct fs_get_spec {
    struct slice ns; /* borrowed until the callback, as is what follows */
    struct slice name;
    struct slice path;
    const struct fs_rules *fs;
    bool consistent;
    bool should_cache;
};

/* `cb` runs once, later; then *get may only be used until it returns. */
struct fs_get *fs_get_start(struct engine *engine, const struct fs_get_spec *spec, fs_get_cb cb,
                            void *ctx);
void fs_get_cancel(struct fs_get *get); /* a wish */
/* May the file have appeared, or appear yet, whatever is wished? */
bool fs_get_is_in_doubt(const struct fs_get *get);

/* ---- in the callback ---- */
const struct err *fs_get_err(const struct fs_get *get);
int32_t fs_get_proxy_rc(const struct fs_get *get);

#endif
