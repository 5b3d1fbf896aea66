#include "volumedriver/nbd_proto.h"

#include <errno.h>

#include "base/buf.h"
#include "base/err.h"

static uint16_t get_u16be(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_u16be(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

int nbd_request_decode(struct nbd_request *ret_request, const uint8_t *data)
{
    if (get_u32be(data) != NBD_REQUEST_MAGIC) {
        return ERR_PROTOCOL;
    }
    *ret_request = (struct nbd_request){
        .flags = get_u16be(data + 4),
        .type = get_u16be(data + 6),
        .cookie = get_u64be(data + 8),
        .offset = get_u64be(data + 16),
        .length = get_u32be(data + 24),
    };
    return 0;
}

void nbd_request_encode(uint8_t *ret_data, const struct nbd_request *request)
{
    put_u32be(ret_data, NBD_REQUEST_MAGIC);
    put_u16be(ret_data + 4, request->flags);
    put_u16be(ret_data + 6, request->type);
    put_u64be(ret_data + 8, request->cookie);
    put_u64be(ret_data + 16, request->offset);
    put_u32be(ret_data + 24, request->length);
}

void nbd_simple_reply_encode(uint8_t *ret_data, uint64_t cookie, enum nbd_error error)
{
    put_u32be(ret_data, NBD_SIMPLE_REPLY_MAGIC);
    put_u32be(ret_data + 4, error);
    put_u64be(ret_data + 8, cookie);
}

void nbd_chunk_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, enum nbd_reply_type type,
                      uint32_t payload_bytes)
{
    put_u32be(ret_data, NBD_STRUCTURED_REPLY_MAGIC);
    put_u16be(ret_data + 4, flags);
    put_u16be(ret_data + 6, (uint16_t)type);
    put_u64be(ret_data + 8, cookie);
    put_u32be(ret_data + 16, payload_bytes);
}

void nbd_offset_data_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, uint64_t offset,
                            uint32_t bytes)
{
    nbd_chunk_encode(ret_data, cookie, flags, NBD_REPLY_TYPE_OFFSET_DATA, bytes + 8);
    put_u64be(ret_data + NBD_CHUNK_HEAD_BYTES, offset);
}

void nbd_offset_hole_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, uint64_t offset,
                            uint32_t bytes)
{
    nbd_chunk_encode(ret_data, cookie, flags, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
    put_u64be(ret_data + NBD_CHUNK_HEAD_BYTES, offset);
    put_u32be(ret_data + NBD_CHUNK_HEAD_BYTES + 8, bytes);
}

void nbd_error_chunk_encode(uint8_t *ret_data, uint64_t cookie, enum nbd_error error,
                            uint16_t message_bytes)
{
    nbd_chunk_encode(ret_data, cookie, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_ERROR,
                     6U + message_bytes);
    put_u32be(ret_data + NBD_CHUNK_HEAD_BYTES, error);
    put_u16be(ret_data + NBD_CHUNK_HEAD_BYTES + 4, message_bytes);
}

enum nbd_error nbd_error_of(int rc)
{
    switch (rc) {
    case 0:
        return NBD_SUCCESS;
    case -EPERM:
    case -EACCES:
    case -EROFS:
        return NBD_EPERM;
    case -ENOMEM:
        return NBD_ENOMEM;
    case -EINVAL:
        return NBD_EINVAL;
    case -ENOSPC:
    case -EDQUOT:
    case -EFBIG:
    case ERR_FULL:
        return NBD_ENOSPC;
    case -EOVERFLOW:
    case ERR_TOO_LARGE:
        return NBD_EOVERFLOW;
    case -ENOTSUP:
        return NBD_ENOTSUP;
    case -ESHUTDOWN:
    case ERR_CANCELED: /* the volume is closing */
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}
