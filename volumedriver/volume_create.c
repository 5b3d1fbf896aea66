/* The first objects of a volume. */
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "volumedriver/location.h"
#include "volumedriver/owner.h"
#include "volumedriver/root.h"
#include "volumedriver/sco.h"
#include "volumedriver/volume_open.h"

static void on_created(struct backend_req *req, int rc)
{
    struct volume_create *create = container_of(req, struct volume_create, req);

    buf_release(&create->root);
    if (rc == ERR_ASSERT_FAILED) {
        rc = err_set(&create->err, ERR_EXISTS, "volume");
    } else if (rc != 0) {
        err_copy(&create->err, &req->err);
    }
    create->cb(create, rc);
}

void volume_create(struct backend *backend, struct volume_create *create,
                   const uint8_t uuid[UUID_BYTES], uint64_t size_bytes, uint32_t sco_bytes,
                   void (*cb)(struct volume_create *create, int rc))
{
    struct backend_assert asserts[3] = {{.name = "owner_tag", .kind = BACKEND_ABSENT},
                                        {.name = "volume", .kind = BACKEND_ABSENT},
                                        {.name = OWNER_NAME, .kind = BACKEND_ABSENT}};
    struct backend_update updates[3];
    struct owner owner;
    struct root root;

    CHECK(size_bytes % VOLUME_CLUSTER_BYTES == 0 && size_bytes <= ROOT_VOLUME_BYTES_MAX);
    CHECK(sco_bytes >= VOLUME_SCO_BYTES_MIN && sco_bytes <= SCO_BYTES_MAX);
    root_init(&root, uuid, 1, size_bytes, sco_bytes);
    create->root = (struct buf){0};
    root_encode(&root, &create->root);
    root_release(&root);
    put_u64le(create->tag, 1);
    owner_init(&owner, uuid);
    owner_encode(&owner, create->owner);
    create->cb = cb;
    updates[0] = (struct backend_update){.name = "owner_tag",
                                         .data = create->tag,
                                         .bytes = sizeof(create->tag),
                                         .crc = crc32c(0, create->tag, sizeof(create->tag))};
    updates[1] = (struct backend_update){.name = "volume",
                                         .data = create->root.data,
                                         .bytes = create->root.len,
                                         .crc = crc32c(0, create->root.data, create->root.len)};
    updates[2] = (struct backend_update){.name = OWNER_NAME,
                                         .data = create->owner,
                                         .bytes = OWNER_BYTES,
                                         .crc = crc32c(0, create->owner, OWNER_BYTES)};
    backend->ops->apply(backend, &create->req,
                        &(struct backend_transaction){.asserts = asserts,
                                                      .assert_count = 3,
                                                      .updates = updates,
                                                      .update_count = 3,
                                                      .flags = BACKEND_RESERVE},
                        on_created);
}
