/* Payloads of a proxy: the first byte is the command. */
#include "base/check.h"
#include "unit/wire/remake.h"
#include "wire/proxy_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct buf once = {0};
    struct buf twice = {0};
    uint32_t code;

    if (bytes == 0 || proxy_code_name(data[0])[0] == '?') {
        return 0;
    }
    code = data[0];
    data++;
    bytes--;
    if (remake_proxy_reply(code, rd_of(data, bytes), &once) == 0) {
        CHECK(remake_proxy_reply(code, rd_of(once.data, once.len), &twice) == 0);
        CHECK(slice_eq(slice_buf(&once), slice_buf(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
