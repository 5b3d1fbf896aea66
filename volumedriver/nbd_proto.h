/* The NBD protocol's numbers and fixed-size messages, under the names of its
 * specification (doc/proto.md of the reference implementation). Everything on the wire
 * is big endian. No I/O here; any thread. Options: volumedriver/nbd_option.h. */
#ifndef VOLUMEDRIVER_NBD_PROTO_H
#define VOLUMEDRIVER_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC UINT64_C(0x4e42444d41474943)      /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPT_REPLY_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC UINT32_C(0x25609513)
#define NBD_SIMPLE_REPLY_MAGIC UINT32_C(0x67446698)
#define NBD_STRUCTURED_REPLY_MAGIC UINT32_C(0x668e33ef)

enum {
    NBD_GREETING_BYTES = 18,
    NBD_CLIENT_FLAGS_BYTES = 4,
    NBD_OPTION_HEAD_BYTES = 16,
    NBD_OPTION_REPLY_HEAD_BYTES = 20,
    NBD_EXPORT_NAME_ZEROES_BYTES = 124,
    NBD_REQUEST_BYTES = 28,
    NBD_SIMPLE_REPLY_BYTES = 16,
    NBD_CHUNK_HEAD_BYTES = 20,
    NBD_OFFSET_DATA_BYTES = NBD_CHUNK_HEAD_BYTES + 8, /* up to the data */
    NBD_OFFSET_HOLE_BYTES = NBD_CHUNK_HEAD_BYTES + 12,
    NBD_ERROR_CHUNK_BYTES = NBD_CHUNK_HEAD_BYTES + 6, /* up to the message */
    NBD_STRING_BYTES_MAX = 4096,
};

enum nbd_handshake_flags { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };
enum nbd_client_flags { NBD_FLAG_C_FIXED_NEWSTYLE = 1, NBD_FLAG_C_NO_ZEROES = 2 };

enum nbd_transmission_flags {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_opt {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

enum nbd_rep {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
    NBD_REP_ERR_UNSUP = 0x80000001,
    NBD_REP_ERR_POLICY = 0x80000002,
    NBD_REP_ERR_INVALID = 0x80000003,
    NBD_REP_ERR_PLATFORM = 0x80000004,
    NBD_REP_ERR_TLS_REQD = 0x80000005,
    NBD_REP_ERR_UNKNOWN = 0x80000006,
    NBD_REP_ERR_SHUTDOWN = 0x80000007,
    NBD_REP_ERR_BLOCK_SIZE_REQD = 0x80000008,
    NBD_REP_ERR_TOO_BIG = 0x80000009,
};

enum nbd_info { NBD_INFO_EXPORT, NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE };

enum nbd_cmd {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_cmd_flags {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
};

enum nbd_reply_flags { NBD_REPLY_FLAG_DONE = 1 };

enum nbd_reply_type {
    NBD_REPLY_TYPE_NONE = 0,
    NBD_REPLY_TYPE_OFFSET_DATA = 1,
    NBD_REPLY_TYPE_OFFSET_HOLE = 2,
    NBD_REPLY_TYPE_BLOCK_STATUS = 5,
    NBD_REPLY_TYPE_ERROR = 0x8001,
    NBD_REPLY_TYPE_ERROR_OFFSET = 0x8002,
};

enum nbd_state { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };

enum nbd_error {
    NBD_SUCCESS = 0,
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

struct nbd_request {
    uint16_t flags; /* NBD_CMD_FLAG_… */
    uint16_t type;  /* NBD_CMD_…, or anything */
    uint64_t cookie;
    uint64_t offset;
    uint32_t length;
};

/* `data` is NBD_REQUEST_BYTES long. ERR_PROTOCOL when the magic is wrong. */
int nbd_request_decode(struct nbd_request *ret_request, const uint8_t *data);
void nbd_request_encode(uint8_t *ret_data, const struct nbd_request *request);

void nbd_simple_reply_encode(uint8_t *ret_data, uint64_t cookie, enum nbd_error error);
/* `payload_bytes` follow the NBD_CHUNK_HEAD_BYTES this writes. */
void nbd_chunk_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, enum nbd_reply_type type,
                      uint32_t payload_bytes);
/* NBD_OFFSET_DATA_BYTES; `bytes` of data follow. */
void nbd_offset_data_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, uint64_t offset,
                            uint32_t bytes);
/* NBD_OFFSET_HOLE_BYTES. */
void nbd_offset_hole_encode(uint8_t *ret_data, uint64_t cookie, uint16_t flags, uint64_t offset,
                            uint32_t bytes);
/* NBD_ERROR_CHUNK_BYTES; `message_bytes` of text follow. Always the last chunk. */
void nbd_error_chunk_encode(uint8_t *ret_data, uint64_t cookie, enum nbd_error error,
                            uint16_t message_bytes);

/* What the protocol calls a code of ours (base/err.h, errno). */
enum nbd_error nbd_error_of(int rc);

#endif
