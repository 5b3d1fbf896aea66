/* Asking for a larger volume; volume_root.c makes it so. */
#include <errno.h>
#include <inttypes.h>

#include "volumedriver/volume_private.h"

int volume_resize(struct volume *v, struct volume_resize *resize, uint64_t size_bytes,
                  void (*cb)(struct volume_resize *resize, int rc))
{
    if (v->state != VOLUME_RUNNING || volume_is_readonly(v)) {
        return err_set(&resize->err, -EROFS, "volume %s", v->name);
    }
    if (v->resize != NULL) {
        return err_set(&resize->err, ERR_BUSY, "volume %s is being resized", v->name);
    }
    if (size_bytes % VOLUME_CLUSTER_BYTES != 0 || size_bytes < v->root.size_bytes ||
        size_bytes > ROOT_VOLUME_BYTES_MAX) {
        return err_set(&resize->err, -EINVAL, "size %" PRIu64, size_bytes);
    }
    resize->size_bytes = size_bytes;
    resize->cb = cb;
    v->resize = resize;
    volume_kick(v);
    return 0;
}
