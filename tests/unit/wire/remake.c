#include "unit/wire/remake.h"

#include "base/check.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"
#include "wire/recovery_info.h"
#include "wire/snappy_block.h"

int remake_asd_request(uint32_t code, struct rd r, struct buf *again)
{
    struct asd_request req;
    struct gather g = {0};
    struct err e;
    uint32_t id = 0;
    int rc = asd_request_decode(r, ASD_VERSION_2, &id, &req, &e);

    (void)code;
    if (rc != 0) {
        return rc;
    }
    buf_put_u32le(&g.own, id);
    asd_request_encode(&req, &g);
    gather_flatten(&g, again);
    gather_release(&g);
    asd_request_release(&req);
    return 0;
}

int remake_asd_reply(uint32_t code, struct rd r, struct buf *again)
{
    enum { HEAD_BYTES = 12 };
    struct asd_reply reply;
    struct gather g = {0};
    struct buf flat = {0};
    struct slice data;
    struct err e;
    int rc = asd_reply_decode(r, code, &reply, &e);

    if (rc != 0) {
        return rc;
    }
    if (code == ASD_PARTIAL_GET) {
        data = reply.partial.data;
        reply.partial.parts = &data;
        reply.partial.part_count = 1;
    }
    asd_reply_encode(&reply, ASD_VERSION_2, 7, &g);
    gather_flatten(&g, &flat);
    buf_put(again, flat.data + HEAD_BYTES, flat.len - HEAD_BYTES);
    buf_release(&flat);
    gather_release(&g);
    asd_reply_release(&reply);
    return 0;
}

int remake_proxy_request(uint32_t code, struct rd r, struct buf *again)
{
    struct proxy_request req;
    struct gather g = {0};
    struct err e;
    int rc = proxy_request_decode(r, &req, &e);

    (void)code;
    if (rc != 0) {
        return rc;
    }
    proxy_request_encode(&req, &g);
    gather_flatten(&g, again);
    gather_release(&g);
    proxy_request_release(&req);
    return 0;
}

int remake_proxy_reply(uint32_t code, struct rd r, struct buf *again)
{
    enum { HEAD_BYTES = 8 };
    struct proxy_reply reply;
    struct gather g = {0};
    struct buf flat = {0};
    struct slice data;
    struct err e;
    int rc = proxy_reply_decode(r, code, &reply, &e);

    if (rc != 0) {
        return rc;
    }
    if (code == PROXY_READ_SLICES || code == PROXY_READ_SLICES2) {
        data = reply.objects.data;
        reply.objects.parts = &data;
        reply.objects.part_count = 1;
    }
    rc = proxy_reply_encode(&reply, MANIFEST_V3, &g, &e);
    if (rc == 0) {
        gather_flatten(&g, &flat);
        buf_put(again, flat.data + HEAD_BYTES, flat.len - HEAD_BYTES);
    }
    buf_release(&flat);
    gather_release(&g);
    proxy_reply_release(&reply);
    return rc;
}

int remake_manifest(uint32_t code, struct rd r, struct buf *again)
{
    struct manifest m;
    struct err e;
    int rc = manifest_decode(&r, &m, &e);

    if (rc != 0) {
        return rc;
    }
    rc = manifest_encode(&m, code, again, &e);
    manifest_release(&m);
    return rc;
}

int remake_inner(uint32_t code, struct rd r, struct buf *again)
{
    struct buf b = {0};
    struct slice block;
    struct rd packed;
    size_t mark;
    int rc;

    buf_put_u8(&b, (uint8_t)code);
    mark = llio_sub_begin(&b);
    snappy_block_put(&b, slice_of(r.pos, rd_left(&r)));
    llio_sub_end(&b, mark);
    rc = remake_manifest(code, rd_of(b.data, b.len), &b);
    if (rc == 0) {
        packed = rd_of(b.data, b.len);
        rd_u8(&packed);
        llio_string(&packed);
        rd_u8(&packed);
        block = llio_string(&packed);
        CHECK(snappy_block_get(block, MANIFEST_RAW_BYTES_MAX, again) == 0);
    }
    buf_release(&b);
    return rc;
}

int remake_recovery_info(uint32_t code, struct rd r, struct buf *again)
{
    struct recovery_info info;
    struct err e;
    int rc = recovery_info_decode(slice_of(r.pos, rd_left(&r)), &info, &e);

    (void)code;
    if (rc != 0) {
        return rc;
    }
    rc = recovery_info_encode(&info, again, &e);
    recovery_info_release(&info);
    return rc;
}

int remake_body(uint32_t code, struct rd r, struct buf *again)
{
    struct buf b = {0};
    int rc;

    buf_put_u8(&b, (uint8_t)code);
    manifest_seal_put(&b, slice_of(r.pos, rd_left(&r)));
    if (code == MANIFEST_V3) {
        rc = remake_manifest(code, rd_of(b.data, b.len), again);
    } else {
        rc = remake_recovery_info(code, rd_of(b.data, b.len), again);
    }
    buf_release(&b);
    return rc;
}
